"""Scratch of one call, cut into arrays by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operands import Array, aligned_size


class Scratch:
    """Named runs of one buffer, each beginning on a multiple of 64 bytes of address: sizes in bytes, arrays of `dtype`.

    `lanes`: how many threads have such runs of their own.

    >>> scratch = Scratch({"panel": 100, "tile": 0}, np.dtype("float32"))
    >>> scratch.bytes, [run.size for run in scratch.over(np.empty(scratch.bytes, np.uint8)).values()]
    (192, [25, 0])
    """

    def __init__(self, sizes: dict[str, int], dtype: np.dtype[Any], lanes: int = 1) -> None:
        self.dtype = dtype
        self.empty = np.empty(0, dtype)
        self.places: dict[str, tuple[int, int]] = {}
        end = 0
        for name, size in sizes.items():
            self.places[name] = (end, size // dtype.itemsize)
            end += aligned_size(size)
        self.lane = end
        self.bytes = lanes * end + 64 if end else 0

    def over(self, buffer: Array, lane: int = 0) -> dict[str, Array]:
        """A lane's runs within a byte buffer of at least `bytes`."""
        if not self.bytes:
            return dict.fromkeys(self.places, self.empty)
        first = -buffer.__array_interface__["data"][0] % 64 + lane * self.lane
        return {
            name: np.ndarray((elements,), self.dtype, buffer, first + start) if elements else self.empty
            for name, (start, elements) in self.places.items()
        }
