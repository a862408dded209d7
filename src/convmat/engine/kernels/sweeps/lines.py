"""What kernels that sum share: walks along lines of elements, a fixed number of sums side by side.

A sum is taken in several vectors in turn, whose lanes are added at the end as a tree: the order depends on the number
of elements and on the CPU's vectors alone, and rounds less than one running sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from ....lazy_dataclass import dataclass
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Type, Value, const, extract, shuffle

Pair = Callable[[Value, Value], Value]
Of = Callable[[Value, Value, Value | None], Value]
"""From a vector as it is loaded, the offset of its first byte and the mask of the last one to what is added."""

ACCUMULATORS = 4
"""Sums side by side: an addition takes 4 cycles, and two loads a cycle feed it."""


@dataclass(frozen=True)
class Line:
    """Elements that follow each other: where they begin, their type, lanes of a vector, and how many they are.

    There may be several `runs` of them, `step` bytes from one to the next.
    """

    fn: Function
    x: Value
    type: Type
    lanes: int
    columns: Value
    runs: Value | int = 1
    step: Value | int = 0

    def walk(self, many: int, first: float, pair: Pair, of: Of, kept: Type | None = None) -> Value:
        """The scalar that `pair` makes of all vectors `of(vector, offset, mask)`; lanes outside hold `first`.

        `kept`: the type of the sums, where it is another.
        """
        kind, zero = (kept or self.type).x(self.lanes), self.columns - self.columns
        nothing = const(kind, first)
        with self.fn.loop(zero, self.runs, carried=[nothing] * many) as run:
            begin = run.index * self.step
            run.carry(*self._run(begin, run.carried, first, pair, of))
        return reduce_lanes(reduce(pair, run.results), pair)

    def _run(self, begin: Value, sums: Sequence[Value], first: float, pair: Pair, of: Of) -> list[Value]:
        """The sums with one run more."""
        fn, kind, item, many = self.fn, self.type.x(self.lanes), self.type.bytes, len(sums)
        zero = self.columns - self.columns
        stride = many * self.lanes
        with fn.loop(zero, self.columns - (stride - 1), stride, carried=[zero, *sums]) as main:
            added = []
            for i, total in enumerate(main.carried[1:]):
                at = begin + (main.index + i * self.lanes) * item
                added.append(pair(of(fn.load(self.x, kind, at), at, None), total))
            main.carry(main.index + stride, *added)
        start, *sums = main.results
        with fn.loop(start, self.columns, self.lanes, carried=[sums[0]]) as rest:
            mask = prefix_mask(self.lanes, self.columns - rest.index)
            at = begin + rest.index * item
            loaded = fn.load(self.x, kind, at, mask=mask, other=const(kind, first))
            rest.carry(pair(of(loaded, at, mask), rest.carried[0]))
        return [rest.results[0], *sums[1:]]

    def each(self, vector: Callable[[Value, Value | None], None]) -> None:
        """Emits `vector(offset, mask)` for all vectors of one run; the mask is None while they are whole."""
        fn, item, lanes = self.fn, self.type.bytes, self.lanes
        zero = self.columns - self.columns
        with fn.loop(zero, self.columns - (2 * lanes - 1), 2 * lanes, carried=[zero]) as main:
            for i in range(2):
                vector((main.index + i * lanes) * item, None)
            main.carry(main.index + 2 * lanes)
        with fn.loop(main.results[0], self.columns, lanes) as rest:
            vector(rest.index * item, prefix_mask(lanes, self.columns - rest.index))


def reduce_lanes(vector: Value, pair: Pair) -> Value:
    """All lanes made one, halves at a time."""
    width = vector.type.lanes
    while width > 1:
        width //= 2
        upper = shuffle(
            vector, vector, indices=[i + width if i < width else -1 for i in range(vector.type.lanes)]
        )
        vector = pair(vector, upper)
    return extract(vector, lane=0)


__all__ = ["ACCUMULATORS", "Line", "Pair", "reduce_lanes"]
