"""Arrays that a product reads and writes: their types, and where the elements of a View lie in them.

    bytes from the start to an element = origin + sum of index * stride, over the indices

for C-contiguous arrays of `item` bytes an element.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lazy_dataclass import dataclass
from ..processes import kept_property
from ..product import View

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Operands = Mapping[str, Array]
Span = tuple[int, int]  # start and stop of an index
Block = tuple[Span, ...]


@dataclass(frozen=True)
class Dtypes:
    """NumPy dtypes of x, of the sums, of the output, and of w where that is another than x's."""

    array: np.dtype[Any]
    work: np.dtype[Any]
    out: np.dtype[Any]
    weights: np.dtype[Any] | None = None

    @kept_property
    def names(self) -> tuple[str, str, str]:
        """The names of the first three: NumPy works its own out each time, in two microseconds."""
        return self.array.name, self.work.name, self.out.name

    @property
    def w(self) -> np.dtype[Any]:
        """Element type of w."""
        return self.array if self.weights is None else self.weights


def contiguous_strides(shape: Shape, item: int = 1) -> Shape:
    """The strides of a C-contiguous array.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    steps = [item]
    for extent in reversed(shape[1:]):
        steps.append(steps[-1] * extent)
    return tuple(reversed(steps)) if shape else ()


def strides(view: View, shape: Shape, item: int) -> dict[str, int]:
    """How far a step of each index goes in a C-contiguous array of `item` bytes an element."""
    moves = dict.fromkeys(view.extents, 0)
    for coordinate, stride in zip(view.coordinates, contiguous_strides(shape, item), strict=True):
        for name, by in coordinate.terms:
            moves[name] += by * stride
    return moves


def origin(view: View, shape: Shape, item: int) -> int:
    """Where all indices are 0, in bytes from the start of a C-contiguous array."""
    steps = contiguous_strides(shape, item)
    return sum(coordinate.offset * step for coordinate, step in zip(view.coordinates, steps, strict=True))


def count(block: Block) -> int:
    """Number of values in a block.

    >>> count(((0, 2), (3, 6)))
    6
    """
    return math.prod(stop - start for start, stop in block)


def aligned_size(size: int) -> int:
    """Bytes that a run of `size` bytes takes among others: rounded up to a multiple of 64.

    >>> aligned_size(65)
    128
    """
    return -(-size // 64) * 64


def odd_lines_size(size: int) -> int:
    """Bytes from one run of `size` bytes to the next, in an odd number of cache lines: they fall into different sets.

    >>> odd_lines_size(65), odd_lines_size(129)
    (192, 192)
    """
    return -(-size // 64) // 2 * 128 + 64


__all__ = [
    "Array",
    "Block",
    "Dtypes",
    "Operands",
    "Shape",
    "Shapes",
    "Span",
    "aligned_size",
    "contiguous_strides",
    "count",
    "odd_lines_size",
    "origin",
    "strides",
]
