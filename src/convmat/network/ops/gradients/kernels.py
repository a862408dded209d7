"""Sweeps that gradients' operators run: loaded as they are prepared, None where NumPy has to do."""

from __future__ import annotations

from ....engine import Sweep, SweepPlan
from ....errors import EngineError


def load(plan: SweepPlan | str) -> Sweep | None:
    """The kernel of a plan, ready; None where there is none, or nothing can be compiled."""
    if isinstance(plan, str):
        return None
    made = Sweep(plan)
    try:
        made.load()
    except EngineError:
        return None
    return made
