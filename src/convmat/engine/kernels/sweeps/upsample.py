"""Repeat: every element of a plane several times along its rows and its columns, as nearest neighbours enlarge it.

    y[l, r, c*k + i] = x[l, c]        for r < rows and i < k, l over the lines of all planes

A vector of x becomes k vectors of y by shuffles, each stored `rows` times.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import TYPES, Type, Value, i8, shuffle
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines, type_refusal

MOST_TIMES = 8
"""Along a row: a vector becomes as many, which have to stay in registers."""


BYTES = {"int8": i8, "uint8": i8, "bool": i8}


@dataclass(frozen=True)
class UpsampleRecipe(SweepRecipe):
    """How often along a row and how many rows, of which type, lanes of a vector."""

    times: int
    rows: int
    type: Type
    lanes: int
    words = ()
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, a vector at a time, the last one masked."""
        item, lanes, k, columns = self.type.bytes, self.lanes, self.times, words["columns"]
        width = columns * (k * item)
        with fn.loop(share.first, share.stop) as line:
            x, y = words["x"] + line.index * columns * item, words["y"] + line.index * width * self.rows

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                loaded = fn.load(x, self.type.x(lanes), column * item, mask=mask)
                for i in range(k):
                    spread = [(i * lanes + lane) // k for lane in range(lanes)]
                    made = shuffle(loaded, loaded, indices=spread) if k > 1 else loaded
                    stored = None if left is None else prefix_mask(lanes, left * k - i * lanes)
                    for row in range(self.rows):
                        fn.store(made, y + width * row, column * (k * item) + i * lanes * item, mask=stored)

            share.vectors(fn, lanes, vector)


def upsample(lines: int, columns: int, rows: int, times: int, dtype: str, threads: int) -> SweepPlan | str:
    """The kernel that repeats; a sentence where there is none.

    x: (lines, columns) -> y: (lines, rows, columns * times); both C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(upsample(1, 2, 1, 3, "float32", 1))
    >>> made.load()
    >>> y = np.empty((1, 1, 6), np.float32)
    >>> made(np.array([[1, 2]], np.float32), y)
    >>> y
    array([[[1., 1., 1., 2., 2., 2.]]], dtype=float32)
    """
    if refusal := kernel_refusal() if dtype in BYTES else type_refusal(dtype):
        return refusal
    if not lines or not columns:
        return f"takes lines with elements, got {lines} of {columns}"
    if max(rows, times) > MOST_TIMES:
        return f"repeats up to {MOST_TIMES} times, got {rows} by {times}"
    type = BYTES.get(dtype) or TYPES[dtype]
    words, tasks = share_lines(lines, columns, threads, whole=False)
    made = lines * rows * columns * times
    return SweepPlan(UpsampleRecipe(times, rows, type, host().lanes(type.bytes)), words, tasks, threads, made)


__all__ = ["UpsampleRecipe", "upsample"]
