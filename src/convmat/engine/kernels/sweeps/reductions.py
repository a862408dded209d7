"""Rows: one number of each line of a matrix, and what divides a line by it.

    sum, mean, max, min      y[l]    = of x[l, 0 .. columns-1]
    softmax                  y[l, c] = e^(x[l, c] - m) / sum over c of e^(x[l, c] - m),   m = max of x[l]

A sum is taken in ACCUMULATORS vectors in turn, whose lanes are added at the end as a tree: the order depends on the
number of columns and on the CPU's vectors alone, and rounds less than one running sum. Lines of up to SHORTEST
columns would leave most lanes idle: their lanes lie along lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.exponential import exp
from ...ir.formulas import greatest, least
from ...ir.instructions import TYPES, Type, Value, const, extract, maximum, select, shuffle, sitofp, splat
from ...ir.shuffles import deinterleave
from .base import Share, SweepPlan, SweepRecipe, refuses, shared

ACCUMULATORS = 4
"""Sums side by side: an addition takes 4 cycles, and two loads a cycle feed it."""

SHORTEST = 8
"""Columns of the longest lines that are taken across lanes."""

Pair = Callable[[Value, Value], Value]


REDUCTIONS: dict[str, tuple[float, Pair]] = {
    "sum": (0.0, lambda a, b: a + b),
    "mean": (0.0, lambda a, b: a + b),
    "max": (-np.inf, greatest),
    "min": (np.inf, least),
}
"""What is there before the first element, and how one is added."""


@dataclass(frozen=True)
class Line:
    """One line while its code is written: where x begins, its elements and columns."""

    fn: Function
    x: Value
    type: Type
    lanes: int
    columns: Value

    def walk(
        self, many: int, first: float, pair: Pair, of: Callable[[Value, Value, Value | None], Value]
    ) -> Value:
        """The scalar that `pair` makes of all vectors `of(vector, column, mask)`; lanes outside hold `first`."""
        kind, lanes, item = self.type.x(self.lanes), self.lanes, self.type.bytes
        nothing, zero = const(kind, first), self.columns - self.columns
        with self.fn.loop(
            zero, self.columns - (many * lanes - 1), many * lanes, carried=[zero, *[nothing] * many]
        ) as main:
            sums = [
                pair(of(self.fn.load(self.x, kind, at * item), at, None), total)
                for i, total in enumerate(main.carried[1:])
                for at in (main.index + i * lanes,)
            ]
            main.carry(main.index + many * lanes, *sums)
        begin, *sums = main.results
        with self.fn.loop(begin, self.columns, lanes, carried=[sums[0]]) as rest:
            mask = prefix_mask(lanes, self.columns - rest.index)
            loaded = self.fn.load(self.x, kind, rest.index * item, mask=mask, other=nothing)
            rest.carry(pair(of(loaded, rest.index, mask), rest.carried[0]))
        return _tree(reduce(pair, [rest.results[0], *sums[1:]]), pair)


def _tree(vector: Value, pair: Pair) -> Value:
    """All lanes made one, halves at a time."""
    width = vector.type.lanes
    while width > 1:
        width //= 2
        upper = shuffle(
            vector, vector, indices=[i + width if i < width else -1 for i in range(vector.type.lanes)]
        )
        vector = pair(vector, upper)
    return extract(vector, lane=0)


@dataclass(frozen=True)
class Reduce(SweepRecipe):
    """One number a line: which, of which type, lanes of a vector; `short`: the columns of short lines, else 0."""

    name: str
    type: Type
    lanes: int
    short: int
    words = ()
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, or short lines a vector of them at a time."""
        first, pair = REDUCTIONS[self.name]
        item, columns = self.type.bytes, words["columns"]
        if self.short:
            self._across(fn, words, share, pair)
            return
        with fn.loop(share.first, share.stop) as line:
            at = Line(fn, words["x"] + line.index * columns * item, self.type, self.lanes, columns)
            found = at.walk(ACCUMULATORS, first, pair, lambda vector, column, mask: vector)
            if self.name == "mean":
                found = found / sitofp(columns, to=self.type)
            fn.store(found, words["y"], line.index * item)

    def _across(self, fn: Function, words: Mapping[str, Value], share: Share, pair: Pair) -> None:
        item, lanes, kind, s = self.type.bytes, self.lanes, self.type.x(self.lanes), self.short
        with fn.loop(share.first, share.stop, lanes) as line:
            left = share.stop - line.index
            x = words["x"] + line.index * (s * item)
            vectors = [
                fn.load(x, kind, i * lanes * item, mask=prefix_mask(lanes, left * s - i * lanes))
                for i in range(s)
            ]
            found = reduce(lambda total, each: pair(each, total), deinterleave(vectors))
            if self.name == "mean":
                found = found / float(s)
            fn.store(found, words["y"], line.index * item, mask=prefix_mask(lanes, left))


@dataclass(frozen=True)
class Softmax(SweepRecipe):
    """Each line's exponentials by their sum, of one type."""

    type: Type
    lanes: int
    words = ()
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Three passes over a line, which then lies in a cache; y may be x."""
        item, lanes, kind, columns = self.type.bytes, self.lanes, self.type.x(self.lanes), words["columns"]
        with fn.loop(share.first, share.stop) as line:
            moved = line.index * columns * item
            at, y = Line(fn, words["x"] + moved, self.type, lanes, columns), words["y"] + moved
            # A NaN may be passed over here: its own exponential, then the sum, then all are NaN.
            most = at.walk(ACCUMULATORS, -np.inf, maximum, lambda vector, column, mask: vector)
            around = splat(most, lanes=lanes)

            def power(vector: Value, column: Value, mask: Value | None) -> Value:
                found = exp(vector - around)
                fn.store(found, y, column * item, mask=mask)
                return found if mask is None else select(mask, found, const(kind, 0.0))

            total = splat(at.walk(2, 0.0, lambda a, b: a + b, power), lanes=lanes)
            zero = columns - columns
            with fn.loop(zero, columns - (lanes - 1), lanes, carried=[zero]) as main:
                fn.store(fn.load(y, kind, main.index * item) / total, y, main.index * item)
                main.carry(main.index + lanes)
            begin = main.results[0]
            mask = prefix_mask(lanes, columns - begin)
            fn.store(fn.load(y, kind, begin * item, mask=mask) / total, y, begin * item, mask=mask)


def reduce_rows(name: str, lines: int, columns: int, dtype: str, threads: int) -> SweepPlan | str:
    """The kernel of a reduction, or `softmax`, of each line; a sentence where there is none.

    x: (lines, columns) -> y: (lines,), for softmax (lines, columns); both C-contiguous.

    >>> from convmat.engine import Sweep
    >>> made = Sweep(reduce_rows("sum", 2, 3, "float32", 1))
    >>> made.load()
    >>> y = np.empty(2, np.float32)
    >>> made(np.arange(6, dtype=np.float32).reshape(2, 3), y)
    >>> y
    array([ 3., 12.], dtype=float32)
    """
    if refusal := refuses(dtype):
        return refusal
    if not lines or not columns:
        return f"takes lines with elements, got {lines} of {columns}"
    type = TYPES[dtype]
    lanes, short = host().lanes(type.bytes), columns if 1 < columns <= SHORTEST else 0
    recipe = Softmax(type, lanes) if name == "softmax" else Reduce(name, type, lanes, short)
    words, tasks = shared(lines, columns, threads, whole=True)
    return SweepPlan(recipe, words, tasks, threads, lines * columns)


__all__ = ["REDUCTIONS", "Reduce", "Softmax", "reduce_rows"]
