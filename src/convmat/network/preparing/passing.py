"""Where arrays of a Program's calls stand, for who does what it does without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph import Shape
from .program import Program


class Passing(NamedTuple):
    """Where arrays of a Program's calls stand among the values: inputs by name, and what shows them with other shapes.

    `outputs`: made anew for each call, the name, shape and element type of each. `arena`: bytes of what lies in one.
    """

    inputs: Mapping[str, int]
    aliases: Mapping[int, int]
    outputs: Mapping[int, tuple[str, Shape, np.dtype[Any]]]
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
        program.memory.size,
    )


__all__ = ["Passing", "find_passing"]
