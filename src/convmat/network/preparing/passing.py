"""Where arrays of a Program's calls stand, for who does what it does without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph import Shape
from .program import Program
from .tasks import NodeTask, copy_first


class Passing(NamedTuple):
    """Where arrays of a Program's calls stand among the values: inputs by name, and what shows them with other shapes.

    `outputs`: made anew for each call, the name, shape and element type of each. `places`: of those in an arena of so
    many bytes, how far from its beginning.
    """

    inputs: Mapping[str, int]
    aliases: Mapping[int, int]
    outputs: Mapping[int, tuple[str, Shape, np.dtype[Any]]]
    places: Mapping[int, int]
    arena: int


def find_passing(program: Program) -> Passing | None:
    """That of a program; None where there is more to its calls, or its steps make arrays anew."""
    fresh = {slot: (shape, dtype) for slot, shape, dtype in program._fresh}
    if program.rest or program.bodies or program._kept or program._called:
        return None
    answers = {slot: name for name, slot, copied in program._answers if not copied}
    if answers.keys() != fresh.keys() or len(answers) != len(program.graph.outputs) or program.setting.held:
        return None
    return Passing(
        {each.name: program._slot[each.name] for each in program.graph.inputs},
        {slot: of for slot, of, _ in program._aliases},
        {slot: (name, *fresh[slot]) for slot, name in answers.items()},
        {program._slot[name]: place for name, place in program.memory.places.items()},
        program.memory.size,
    )


def copies(task: NodeTask) -> bool:
    """Whether a task copies the elements of its first operand as they are."""
    return task.run is copy_first


__all__ = ["Passing", "copies", "find_passing"]
