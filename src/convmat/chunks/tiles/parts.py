"""Parts: ranges along the axes of a value, and what a node needs for a part of its output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...network.graph import Node, Spec

Part = tuple[tuple[int, int], ...]
"""A range along every axis of a value."""


class WholeImage(Exception):
    """The node looks at all of an axis, or no rule says at what it looks: the reason."""


@dataclass(frozen=True)
class Needed:
    """What a node needs for a part of its output: a part of each input (None: all of it, or it is omitted).

    `attributes` are those that change; `inputs` constants that take the places of inputs, `drop` attributes that go,
    `omit` inputs that do; `makes` what comes out.
    """

    parts: tuple[Part | None, ...]
    makes: Part
    attributes: dict[str, Any] = field(default_factory=dict)
    inputs: dict[int, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    omit: tuple[int, ...] = ()


Rule = Callable[[Node, Sequence[Spec | None], Spec, Part], Needed]


def whole(shape: Sequence[int]) -> Part:
    """All of a value."""
    return tuple((0, n) for n in shape)


def first(inputs: Sequence[Spec | None]) -> Spec:
    """The first input, which every node with a rule has."""
    spec = inputs[0]
    assert spec is not None
    return spec


def others(inputs: Sequence[Spec | None]) -> tuple[None, ...]:
    """All of the inputs behind the first."""
    return (None,) * (len(inputs) - 1)


def require_all(axes: Sequence[int], out: Spec, part: Part) -> None:
    """Raise WholeImage where a part is less than all of one of these axes."""
    for a in axes:
        if part[a] != (0, out.shape[a]):
            raise WholeImage(f"looks at all of axis {a}")


def overlap(parts: Sequence[Part]) -> Part:
    """The smallest part that holds all of them."""
    return tuple((min(p[0] for p in axis), max(p[1] for p in axis)) for axis in zip(*parts, strict=True))


def extents(part: Part) -> tuple[int, ...]:
    """How much it is along each axis."""
    return tuple(b - a for a, b in part)


def middle_part(shape: tuple[int, ...], block: tuple[int, ...]) -> Part:
    """The part of an output of this shape that lies in its middle, so many pixels."""
    starts = ((n - b) // 2 for n, b in zip(shape[2:], block, strict=True))
    return (*((0, n) for n in shape[:2]), *((a, a + b) for a, b in zip(starts, block, strict=True)))


def elements(part: Part) -> int:
    """How much it is in all."""
    return math.prod(extents(part))


__all__ = [
    "Needed", "Part", "Rule", "WholeImage", "elements", "extents", "first", "middle_part", "others", "overlap",
    "require_all", "whole",
]  # fmt: skip
