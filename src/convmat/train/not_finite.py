"""Losses that are no numbers: where the first NaN or infinity of a step came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np

from ..network.graph import Array
from ..network.ops.gradients.losses import NotFiniteError
from ..network.preparing.program import Program
from ..network.preparing.tasks import NodeTask


def describe_not_finite(
    program: Program,
    inputs: Mapping[str, Array],
    held: Mapping[str, Array],
    parameters: Collection[str],
    said: str,
) -> NotFiniteError:
    """The error `said` by a step, with which input, parameter or node was the first that is no number."""
    first = [
        name for name, array in inputs.items() if array.dtype.kind == "f" and not np.isfinite(array).all()
    ]
    place = f"the input {first[0]!r} has NaN or inf in it" if first else ""
    lost = [name for name in parameters if not np.isfinite(held[name]).all()]
    if lost and not place:
        place = f"the parameter {lost[0]!r} has NaN or inf in it since an earlier step"
    place = place or first_not_finite(program, inputs)
    remedy = "look for it in the data" if first else "a smaller rate, clip=1.0, or a warm-up help"
    return NotFiniteError(f"{said}\n  {place}\n  {remedy}; the parameters are as they were before this step")


def first_not_finite(program: Program, inputs: Mapping[str, Array]) -> str:
    """Describe the first node of a program whose results are not finite for these inputs."""
    state = program.state()
    found: list[str] = []

    def watch(task: NodeTask) -> None:
        for name in task.node.outputs:
            value = state.values[program._slot[name]] if name else None
            if (
                not found
                and isinstance(value, np.ndarray)
                and value.dtype.kind == "f"
                and not np.isfinite(value).all()
            ):
                found.append(f"{task.node.label} is the first node that gives NaN or inf")

    program.idle.keep(state, program.layout)
    with suppress(NotFiniteError):
        program(inputs, watch)
    return found[0] if found else "no node before the loss gives NaN or inf"


__all__ = ["describe_not_finite", "first_not_finite"]
