"""Sweeps that gradients' operators run: loaded as they are prepared, None where NumPy has to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....engine import Expression, ExpressionStep, Sweep, SweepPlan, elementwise, thread_pool
from ....errors import EngineError
from ...graph import Shape

LEAST = 4096
"""Elements from which on a kernel repays being compiled."""


def loaded(plan: SweepPlan | str) -> Sweep | None:
    """The kernel of a plan, ready; None where there is none, or nothing can be compiled."""
    if isinstance(plan, str):
        return None
    made = Sweep(plan)
    try:
        made.load()
    except EngineError:
        return None
    return made


def one_pass(
    steps: Sequence[tuple[Any, ...]], shapes: Sequence[Shape], out: Shape, dtype: str
) -> Sweep | None:
    """The kernel of an expression: `steps` are (operation, operands ..), inputs numbered first."""
    read = tuple(ExpressionStep(name, tuple(operands)) for name, *operands in steps)
    made = Expression((dtype,) * len(shapes), read)
    return loaded(elementwise(made, list(shapes), out, thread_pool.count()))
