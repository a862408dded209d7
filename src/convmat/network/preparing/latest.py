"""What a network was called with last: arrays just like these need no second look."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...engine import thread_pool
from ..graph import Value
from .program import Program

NUMBERS = "biufc"
"""Kinds of element types whose arrays are compared: not texts, nor those that other packages bring."""


class LatestArray(NamedTuple):
    """An input by its name, its shape and its element type; of one that decides on branches the bytes, too."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: bytes | None

    def fits(self, x: Any) -> bool:
        """Whether x is such an array."""
        return (
            type(x) is np.ndarray
            and x.shape == self.shape
            and x.dtype == self.dtype
            and (self.value is None or x.tobytes() == self.value)
        )


class Latest(NamedTuple):
    """Arrays of numbers, how many threads there were, and what the network was prepared to for them."""

    arrays: tuple[LatestArray, ...]
    threads: int
    program: Program

    @classmethod
    def of(cls, given: Mapping[str, Value], program: Program, deciding: Container[str]) -> Latest | None:
        """What is kept of a call; None where an input is none of numbers. `deciding`: inputs that branches follow."""
        arrays = []
        for name, x in given.items():
            if type(x) is not np.ndarray or x.dtype.kind not in NUMBERS:
                return None
            value = x.tobytes() if name in deciding and x.size == 1 else None
            arrays.append(LatestArray(name, x.shape, x.dtype, value))
        return cls(tuple(arrays), thread_pool.count(), program)

    def match(self, x: Any) -> Mapping[str, Value] | None:
        """The inputs by their names, if x is such arrays: one alone, or a dict of them; otherwise None."""
        if thread_pool.count() != self.threads:
            return None
        if type(x) is dict:
            if len(x) != len(self.arrays):
                return None
            for each in self.arrays:  # no generator: that takes longer than all it asks
                if not each.fits(x.get(each.name)):
                    return None
            return x
        return {self.arrays[0].name: x} if len(self.arrays) == 1 and self.arrays[0].fits(x) else None
