"""Where along an axis the extreme is: ArgMax and ArgMin; and which element it is, for the first of TopK.

    y[k, i] = the j of the largest x[k, j, i], of equal ones the first (or last); NaN counts as the extreme

Each lane keeps the best element that it met and its place. Along the last axis lanes lie along a line, and are compared
at its end, of equal ones the one with the smaller place first; along another, lanes lie along what is behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.conversions import ELEMENTS
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Type,
    Value,
    const,
    equal,
    extract,
    greater,
    greater_equal,
    i32,
    i64,
    less,
    less_equal,
    not_equal,
    select,
    sext,
    shuffle,
    splat,
    trunc,
)
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .reductions import FLOATS, INTEGERS, share_pieces


@dataclass(frozen=True)
class ExtremesRecipe(SweepRecipe):
    """The least or the largest, of equal ones the last or the first; of which type, lanes of a vector.

    `across`: lanes lie along what is behind the axis. `valued`: the element itself is written too.
    """

    least: bool
    last: bool
    across: bool
    type: Type
    lanes: int
    valued: bool = False
    words = ("count",)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Those of a SweepRecipe."""
        return ("x", "values", "y") if self.valued else ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, or a vector of columns at a time."""
        item, columns, count = self.type.bytes, words["columns"], words["count"]
        with fn.loop(share.first, share.stop) as line:
            if not self.across:
                x = words["x"] + line.index * count * item
                best, place = self._along(fn, x, count)
                fn.store(place, words["y"], line.index * i64.bytes)
                if self.valued:
                    fn.store(best, words["values"], line.index * item)
                return
            x = words["x"] + line.index * count * columns * item
            y = words["y"] + line.index * columns * i64.bytes

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(self.lanes, left)
                best, found = self._column(fn, x + column * item, columns * item, count, mask)
                fn.store(found, y, column * i64.bytes, mask=mask)
                if self.valued:
                    values = words["values"] + line.index * columns * item
                    fn.store(best, values, column * item, mask=mask)

            share.vectors(fn, self.lanes, vector)

    def _column(
        self, fn: Function, x: Value, step: Value, count: Value, mask: Value | None
    ) -> tuple[Value, Value]:
        """The best of a vector of columns, and their places, of elements a step apart."""
        kind, places = self.type.x(self.lanes), i32.x(self.lanes)
        first = fn.load(x, kind, mask=mask)
        with fn.loop(count - count + 1, count, carried=[first, const(places, 0)]) as row:
            found, best = fn.load(x, kind, row.index * step, mask=mask), row.carried[0]
            here = splat(trunc(row.index, to=i32), lanes=self.lanes)
            row.carry(*self._better(self._beats(found, best), (found, here), row.carried))
        return row.results[0], sext(row.results[1], to=i64.x(self.lanes))

    def _along(self, fn: Function, x: Value, count: Value) -> tuple[Value, Value]:
        """The best of one line, and its place."""
        lanes, kind, item = self.lanes, self.type.x(self.lanes), self.type.bytes
        first, order = splat(fn.load(x, self.type), lanes=lanes), const(i32.x(lanes), tuple(range(lanes)))
        with fn.loop(count - count, count, lanes, carried=[first, const(order.type, 0)]) as part:
            mask = prefix_mask(lanes, count - part.index)
            found, best = fn.load(x, kind, part.index * item, mask=mask), part.carried[0]
            here = splat(trunc(part.index, to=i32), lanes=lanes) + order
            part.carry(*self._better(self._beats(found, best) & mask, (found, here), part.carried))
        best, place = part.results
        width = lanes
        while width > 1:
            width //= 2
            upper = [i + width if i < width else -1 for i in range(lanes)]
            other, there = (shuffle(each, each, indices=upper) for each in (best, place))
            ahead = greater(there, place) if self.last else less(there, place)
            ties = self._same(other, best) & ahead
            best, place = self._better(self._exceeds(other, best) | ties, (other, there), (best, place))
        return extract(best, lane=0), sext(extract(place, lane=0), to=i64)

    @staticmethod
    def _better(mask: Value, these: Sequence[Value], those: Sequence[Value]) -> tuple[Value, Value]:
        return select(mask, these[0], those[0]), select(mask, these[1], those[1])

    def _beats(self, found: Value, best: Value) -> Value:
        """Lanes in which an element is taken for the best: of equals the first is, or with `last` the last."""
        if not self.last:
            return self._exceeds(found, best)
        as_good = (less_equal if self.least else greater_equal)(found, best)
        return as_good | not_equal(found, found) if self.type.is_float else as_good

    def _exceeds(self, found: Value, best: Value) -> Value:
        more = (less if self.least else greater)(found, best)
        if not self.type.is_float:
            return more
        return more | (not_equal(found, found) & equal(best, best))

    def _same(self, a: Value, b: Value) -> Value:
        if not self.type.is_float:
            return equal(a, b)
        return equal(a, b) | (not_equal(a, a) & not_equal(b, b))


def extreme_places(
    shape: Sequence[int],
    axis: int,
    dtype: str,
    threads: int,
    *,
    least: bool = False,
    last: bool = False,
    valued: bool = False,
) -> SweepPlan | str:
    """The kernel of ArgMax (or ArgMin) along an axis; a sentence where there is none.

    x of that shape -> y, int64, without the axis (and before it the elements, if `valued`); all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(extreme_places((2, 3), 1, "float32", 1))
    >>> made.load()
    >>> y = np.empty(2, np.int64)
    >>> made(np.array([[0, 2, 1], [3, 3, 1]], np.float32), y)
    >>> y
    array([1, 0])
    """
    if dtype not in FLOATS + INTEGERS:
        return f"takes floats and signed integers, got {dtype}"
    if refusal := kernel_refusal():
        return refusal
    count, behind = shape[axis], math.prod(shape[axis + 1 :])
    if not math.prod(shape) or count >= 2**31:
        return (
            f"takes up to 2^31 - 1 elements along the axis, and one at least, got {'x'.join(map(str, shape))}"
        )
    type, lines = ELEMENTS[dtype], math.prod(shape[:axis])
    recipe = ExtremesRecipe(least, last, behind > 1, type, host().lanes(type.bytes), valued)
    if behind > 1:
        words, tasks = share_lines(lines, behind * count, threads, whole=False)
        words, tasks = share_pieces(words, tasks, lines, behind)
    else:
        words, tasks = share_lines(lines, count, threads, whole=True)
    return SweepPlan(recipe, {**words, "count": count}, tasks, threads, lines * count * behind)


__all__ = ["ExtremesRecipe", "extreme_places"]
