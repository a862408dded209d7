"""Unpool: the gradient of maxima goes back to where each was, in windows that lie side by side.

    dx[l*r + i, c*s + j] = dy[l, c] where x[l*r + i, c*s + j] is the first of its window that is y[l, c], else 0

i < r, j < s; the first in the order of (i, j). A vector of y meets r*s vectors of x, every s-th element each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import TYPES, Type, Value, and_, const, equal, not_equal, select
from ...ir.shuffles import deinterleave, interleave
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal

MOST_TIMES = 4
"""Along a line: so many vectors are shuffled out of each other."""


@dataclass(frozen=True)
class Unpool(SweepRecipe):
    """Rows and columns of a window, the type, lanes of a vector."""

    rows: int
    times: int
    type: Type
    lanes: int
    words = ()
    arrays = ("dy", "x", "y", "dx")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A line is one of y: `rows` lines of x."""
        item, lanes, s, columns = self.type.bytes, self.lanes, self.times, words["columns"]
        kind, width = self.type.x(lanes), columns * (s * item)
        with fn.loop(share.first, share.stop) as line:
            dy, y = (words[name] + line.index * columns * item for name in ("dy", "y"))
            x, dx = (words[name] + line.index * width * self.rows for name in ("x", "dx"))

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                most, gradient = (fn.load(each, kind, column * item, mask=mask) for each in (y, dy))
                masks = [None if left is None else prefix_mask(lanes, left * s - i * lanes) for i in range(s)]
                free = equal(most, most)
                for row in range(self.rows):
                    at = [column * (s * item) + i * lanes * item for i in range(s)]
                    read = [fn.load(x + width * row, kind, at[i], mask=masks[i]) for i in range(s)]
                    made = []
                    for part in deinterleave(read) if s > 1 else read:
                        found = and_(free, equal(part, most))
                        made.append(select(found, gradient, const(kind, 0.0)))
                        free = and_(free, not_equal(part, most))
                    for i, each in enumerate(interleave(made)):
                        fn.store(each, dx + width * row, at[i], mask=masks[i])

            share.vectors(fn, lanes, vector)


def unpool(lines: int, columns: int, rows: int, times: int, dtype: str, threads: int) -> SweepPlan | str:
    """The kernel for windows of rows x times; a sentence where there is none.

    dy, y: (lines, columns), x: (lines * rows, columns * times) -> dx like x; all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(unpool(1, 2, 1, 2, "float32", 1))
    >>> made.load()
    >>> dy, x, y = (np.array([each], np.float32) for each in ([5, 7], [1, 3, 2, 2], [3, 2]))
    >>> dx = np.empty((1, 4), np.float32)
    >>> made(dy, x, y, dx)
    >>> dx
    array([[0., 5., 7., 0.]], dtype=float32)
    """
    if refusal := type_refusal(dtype):
        return refusal
    if not lines * columns:
        return f"takes lines with elements, got {lines} of {columns}"
    if max(rows, times) > MOST_TIMES:
        return f"takes windows up to {MOST_TIMES} wide, got {rows} x {times}"
    type = TYPES[dtype]
    words, tasks = share_lines(lines, columns * rows * times, threads, whole=True)
    words |= {"columns": columns, "piece": columns}
    recipe = Unpool(rows, times, type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, lines * columns * rows * times)


__all__ = ["Unpool", "unpool"]
