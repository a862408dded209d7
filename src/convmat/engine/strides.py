"""Where the elements of a View lie in a C-contiguous array: how far each index moves, and where all begin."""

from __future__ import annotations

from collections.abc import Mapping

from ..product import View
from .memory import contiguous

Shapes = Mapping[str, tuple[int, ...]]


def strides(view: View, shape: tuple[int, ...], item: int) -> dict[str, int]:
    """How far a step of each index goes in a C-contiguous array of `item` bytes an element."""
    moves = dict.fromkeys(view.extents, 0)
    for coordinate, stride in zip(view.coordinates, contiguous(shape, item), strict=True):
        for name, by in coordinate.terms:
            moves[name] += by * stride
    return moves


def origin(view: View, shape: tuple[int, ...], item: int) -> int:
    """Where all indices are 0, in bytes from the start of a C-contiguous array."""
    steps = contiguous(shape, item)
    return sum(coordinate.offset * step for coordinate, step in zip(view.coordinates, steps, strict=True))


__all__ = ["Shapes", "origin", "strides"]
