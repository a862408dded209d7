"""Unpool: the gradient of maxima goes back to where each was.

    dx[i, j] = sum of dy[p, q] over the windows whose first element that is y[p, q] is x[i, j]

The first in the order of rows, then columns. In windows that lie side by side a vector of y meets rows * times vectors
of x, every times-th element each, and dx is written once. Where windows overlap dx begins as zeros and each tap of a
vector of windows adds to it, one tap after the other: no two windows of a vector have the same element at a tap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import TYPES, Type, Value, and_, below, const, equal, not_equal, select, xor
from ...ir.shuffles import deinterleave, interleave
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal

MOST_TIMES = 4
"""Along a line: so many vectors are shuffled out of each other."""

MOST_TAPS = 49
"""Most taps of windows that overlap, each of which is written out."""


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


@dataclass(frozen=True)
class UnpoolOverlapping(SweepRecipe):
    """Taps of a window along rows and columns, its strides, the padding before, the type, lanes of a vector."""

    taps: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]
    type: Type
    lanes: int
    words = ("P0", "P1", "I0", "I1")
    arrays = ("dy", "x", "y", "dx")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A line is a plane."""
        item, lanes = self.type.bytes, self.lanes
        P0, P1, I0, I1 = (words[name] for name in self.words)
        kind, zero = self.type.x(lanes), P0 - P0
        with fn.loop(share.first, share.stop) as plane:
            dy, y = (words[name] + plane.index * (P0 * P1) * item for name in ("dy", "y"))
            x, dx = (words[name] + plane.index * (I0 * I1) * item for name in ("x", "dx"))

            def clear(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                fn.store(const(kind, 0.0), dx, column * item, mask=mask)

            Share(zero, zero, zero, I0 * I1).vectors(fn, lanes, clear, 2)
            with fn.loop(zero, P0) as p, fn.loop(zero, P1, lanes) as q:
                mask, at = prefix_mask(lanes, P1 - q.index), (p.index * P1 + q.index) * item
                most, gradient = (fn.load(each, kind, at, mask=mask) for each in (y, dy))
                free = mask
                for row in range(self.taps[0]):
                    i = p.index * self.strides[0] + (row - self.before[0])
                    with fn.if_(below(i, I0), default=[free]) as there:
                        line = [each + i * I1 * item for each in (x, dx)]
                        there.carry(self._row(fn, line, q.index, I1, (most, gradient, free)))
                    (free,) = there.results

    def _row(
        self, fn: Function, line: list[Value], q: Value, I1: Value, held: tuple[Value, Value, Value]
    ) -> Value:
        """The taps along a row of x; which windows have not found their maximum in it."""
        item, lanes, s = self.type.bytes, self.lanes, self.strides[1]
        kind, (most, gradient, free) = self.type.x(lanes), held
        nowhere, (x, dx) = const(kind, math.nan), line
        for tap in range(self.taps[1]):
            first = q * s + (tap - self.before[1])
            starts = [first + i * lanes for i in range(s)]
            masks = [xor(prefix_mask(lanes, I1 - j), prefix_mask(lanes, -j)) for j in starts]
            pairs = list(zip(starts, masks, strict=True))
            read = [fn.load(x, kind, j * item, mask=mask, other=nowhere) for j, mask in pairs]
            found = and_(free, equal(deinterleave(read)[0] if s > 1 else read[0], most))
            free = xor(free, found)
            old = [fn.load(dx, kind, j * item, mask=mask) for j, mask in pairs]
            apart = deinterleave(old) if s > 1 else old
            apart = [apart[0] + select(found, gradient, const(kind, 0.0)), *apart[1:]]
            for made, (j, mask) in zip(interleave(apart) if s > 1 else apart, pairs, strict=True):
                fn.store(made, dx, j * item, mask=mask)
        return free


def unpool_overlapping(
    planes: int, along: tuple[tuple[int, ...], tuple[int, ...]], dtype: str, threads: int
) -> SweepPlan | str:
    """The kernel for windows that may overlap and reach over the border; a sentence where there is none.

    `along` rows and columns: taps, stride, padding before, extents of x and of y. dy, y: (planes, *P), x: (planes, *I)
    -> dx like x; all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(unpool_overlapping(1, ((1, 1, 0, 1, 1), (3, 2, 1, 4, 2)), "float32", 1))
    >>> made.load()
    >>> dy, x, y = (np.array([each], np.float32) for each in ([5, 7], [1, 3, 2, 2], [3, 3]))
    >>> dx = np.empty((1, 4), np.float32)
    >>> made(dy, x, y, dx)
    >>> dx
    array([[ 0., 12.,  0.,  0.]], dtype=float32)
    """
    if refusal := type_refusal(dtype):
        return refusal
    taps, strides, before, inputs, outputs = ((a, b) for a, b in zip(*along, strict=True))
    if not planes * math.prod(inputs) * math.prod(outputs):
        return f"takes planes with elements, got {planes} of {inputs} and {outputs}"
    if math.prod(taps) > MOST_TAPS or strides[1] > MOST_TIMES:
        return (
            f"takes windows of up to {MOST_TAPS} taps and strides up to {MOST_TIMES}, got {taps} by {strides}"
        )
    type = TYPES[dtype]
    words, tasks = share_lines(planes, math.prod(inputs), threads, whole=True)
    words |= {"P0": outputs[0], "P1": outputs[1], "I0": inputs[0], "I1": inputs[1]}
    recipe = UnpoolOverlapping(taps, strides, before, type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, planes * math.prod(inputs))


__all__ = ["Unpool", "UnpoolOverlapping", "unpool", "unpool_overlapping"]
