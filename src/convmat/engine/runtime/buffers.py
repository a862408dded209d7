"""Memory that is used again: fresh pages cost more than small layers do.

The first write to a page of new memory stops the program for a quarter of a microsecond and more; an array of 10 MiB
has 2560 of them. So arrays from LEAST_BYTES on come from a store of bounded size, and return to it once nobody holds
them, or a view of them, any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LEAST_BYTES = 1 << 20
"""Smaller arrays come from the allocator, which keeps their pages itself."""

MOST_BYTES = 64 << 20
"""What the store keeps at most, all arrays together, unless `keep_more` was called.

What was given back longest ago goes first.
"""

_bound = MOST_BYTES
_kept: dict[int, Array] = {}
# Any thread, and the end of any array, may come in between: each step alone is atomic, and none relies on the last.


class _Loan:
    """Stands for memory that is lent: an array made of it holds it, and its end gives the memory back."""

    __slots__ = ("__array_interface__", "__weakref__", "back", "memory")

    def __init__(self, memory: Array, back: Callable[[Array], object]) -> None:
        self.memory, self.back = memory, back
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self.back(self.memory)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Like `np.empty`; large arrays come from the store and return to it by themselves.

    >>> empty((2, 3), np.dtype("float32")).shape
    (2, 3)
    """
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST_BYTES:
        return np.empty(shape, dtype)
    return np.asarray(_Loan(take(size), give)).view(dtype).reshape(shape)


class Slots:
    """Arrays of up to `size` bytes, of which few are alive at a time: each comes in memory that an earlier one had.

    >>> slots = Slots(64)
    >>> slots.empty((2, 3), np.dtype("float32")).shape
    (2, 3)
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._free: list[Array] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Give copies and pickles memory of their own."""
        return Slots, (self.size,)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Like `np.empty`; its memory returns once nobody holds it, or a view of it, any more."""
        size = math.prod(shape) * dtype.itemsize
        if size > self.size:
            return np.empty(shape, dtype)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self.size, np.uint8)
        return np.asarray(_Loan(memory, self._free.append))[:size].view(dtype).reshape(shape)


def take(size: int) -> Array:
    """So many bytes, used before or new; `give` takes them back.

    >>> give(take(8))
    """
    for key, memory in list(_kept.items()):
        if memory.nbytes == size and _kept.pop(key, None) is not None:
            return memory
    return np.empty(size, np.uint8)


def give(memory: Array) -> None:
    """Keep memory that `take` gave, unless it is small or the store would grow beyond its bound."""
    if not LEAST_BYTES <= memory.nbytes <= _bound // 2:
        return
    _kept[id(memory)] = memory
    while sum(each.nbytes for each in list(_kept.values())) > _bound:
        _kept.pop(next(iter(list(_kept)), 0), None)


def keep_more(size: int) -> None:
    """Let the store keep so many bytes beside MOST_BYTES, for arrays that are held together and asked for again.

    >>> keep_more(0)
    """
    global _bound
    _bound = max(_bound, MOST_BYTES + size)


def clear() -> None:
    """Let go of all that is kept.

    >>> clear()
    """
    _kept.clear()
