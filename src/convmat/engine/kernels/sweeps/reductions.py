"""Reductions: one number of all elements along some axes.

    y[k] = of x[k, r] for all r        sum, mean, max, min, low, high, prod, l1, l2, square, log_sum,
                                       log_sum_exp

Neighbouring axes that are both kept or both reduced are one. Where the last is reduced, lanes lie along it and a line
ends in one number; where it is kept, lanes lie along that, BLOCK sums in a row are one sum of the next level. Lines of
up to SHORTEST columns would leave most lanes idle: their lanes lie along lines. So no long sum is a running sum, and
its order depends on extents and on the CPU's vectors alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.conversions import ELEMENTS
from ...ir.emitter import Function, prefix_mask
from ...ir.exponential import exp
from ...ir.formulas import greatest, least
from ...ir.instructions import Type, Value, const, fabs, maximum, minimum, select, sitofp, splat, sqrt, udiv
from ...ir.logarithm import log
from ...ir.shuffles import deinterleave
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .lines import ACCUMULATORS, Line, Pair

SHORTEST = 8
"""Columns of the longest lines that are taken across lanes."""

BLOCK = 64
"""Elements in a row that a lane adds up before it adds the sum to others."""

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64")


def _same(a: Value) -> Value:
    return a


@dataclass(frozen=True)
class Reducing:
    """What is there before the first element, how one is added, and functions of each and of the result."""

    first: float
    pair: Pair
    each: Callable[[Value], Value] = _same
    last: Callable[[Value], Value] = _same


def _sum(a: Value, b: Value) -> Value:
    return a + b


REDUCTIONS: dict[str, Reducing] = {
    "sum": Reducing(0.0, _sum),
    "mean": Reducing(0.0, _sum),
    "max": Reducing(-np.inf, lambda a, b: greatest(a, b) if a.type.is_float else maximum(a, b)),
    "min": Reducing(np.inf, lambda a, b: least(a, b) if a.type.is_float else minimum(a, b)),
    "low": Reducing(0.0, lambda a, b: minimum(a, b)),
    "high": Reducing(0.0, lambda a, b: maximum(a, b)),
    "prod": Reducing(1.0, lambda a, b: a * b),
    "l1": Reducing(0.0, _sum, fabs),
    "l2": Reducing(0.0, _sum, lambda a: a * a, sqrt),
    "square": Reducing(0.0, _sum, lambda a: a * a),
    "log_sum": Reducing(0.0, _sum, _same, lambda a: log(a)),
    "log_sum_exp": Reducing(0.0, _sum),
}
"""By name; the mean is the sum by the number, and log_sum_exp is taken around the largest.

low and high are least and greatest of 0 and of what is no NaN.
"""

WHOLE = ("sum", "max", "min", "prod")
"""Reductions of whole numbers too."""


def _first(name: str, type: Type) -> float:
    """What is there before the first element, in a type."""
    value = REDUCTIONS[name].first
    if type.is_float or np.isfinite(value):
        return value
    ends = np.iinfo(type.dtype)
    return int(ends.min if value < 0 else ends.max)


@dataclass(frozen=True)
class Reduce(SweepRecipe):
    """Lines that end in a number each: which, of which type, lanes of a vector.

    `short`: the columns of short lines, else 0.
    """

    name: str
    type: Type
    lanes: int
    short: int
    words = ("inner", "outer step", "line step", "runs", "run step", "count")
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, or short lines a vector of them at a time."""
        if self.short:
            self._across(fn, words, share)
            return
        how, item = REDUCTIONS[self.name], self.type.bytes
        with fn.loop(share.first, share.stop) as line:
            outer = udiv(line.index, words["inner"])
            inner = line.index - outer * words["inner"]
            x = words["x"] + (outer * words["outer step"] + inner * words["line step"])
            at = Line(fn, x, self.type, self.lanes, words["columns"], words["runs"], words["run step"])
            if self.name == "log_sum_exp":
                found = self._logarithm(at)
            else:
                first = _first(self.name, self.type)
                found = at.walk(ACCUMULATORS, first, how.pair, lambda vector, offset, mask: how.each(vector))
            found = found / sitofp(words["count"], to=self.type) if self.name == "mean" else found
            fn.store(how.last(found), words["y"], line.index * item)

    def _logarithm(self, at: Line) -> Value:
        """log(sum of e^x), around the largest so that nothing overflows."""
        most = at.walk(ACCUMULATORS, -np.inf, greatest, lambda vector, offset, mask: vector)
        around, kind = _finite(most), self.type.x(self.lanes)
        spread = splat(around, lanes=self.lanes)

        def power(vector: Value, offset: Value, mask: Value | None) -> Value:
            found = exp(vector - spread)
            return found if mask is None else select(mask, found, const(kind, 0.0))

        return log(at.walk(2, 0.0, _sum, power)) + around

    def _across(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        item, lanes, kind, s = self.type.bytes, self.lanes, self.type.x(self.lanes), self.short
        how = REDUCTIONS[self.name]
        with fn.loop(share.first, share.stop, lanes) as line:
            left = share.stop - line.index
            x = words["x"] + line.index * (s * item)
            vectors = [
                fn.load(x, kind, i * lanes * item, mask=prefix_mask(lanes, left * s - i * lanes))
                for i in range(s)
            ]
            columns = deinterleave(vectors)
            if self.name == "log_sum_exp":
                around = _finite(reduce(greatest, columns))
                found = log(reduce(_sum, [exp(each - around) for each in columns])) + around
            else:
                first = [const(kind, 0.0)] if self.name in ("low", "high") else []  # where 0 counts
                found = reduce(lambda total, each: how.pair(each, total), [*first, *map(how.each, columns)])
            found = found / float(s) if self.name == "mean" else found
            fn.store(how.last(found), words["y"], line.index * item, mask=prefix_mask(lanes, left))


def _finite(most: Value) -> Value:
    """The largest, 0 where that is infinite."""
    return select(fabs(most) < np.inf, most, const(most.type, 0.0))


@dataclass(frozen=True)
class ReduceAcross(SweepRecipe):
    """Numbers that lie side by side, each of elements a stride apart: which, of which type, lanes of a vector."""

    name: str
    type: Type
    lanes: int
    words = ("line step", "runs", "run step", "count", "step", "all")
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A vector of numbers at a time: `count` elements a `step` apart in each of `runs`."""
        how, item, lanes, kind = REDUCTIONS[self.name], self.type.bytes, self.lanes, self.type.x(self.lanes)
        with fn.loop(share.first, share.stop) as line:
            x = words["x"] + line.index * words["line step"]
            y = words["y"] + line.index * words["columns"] * item

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                at = ColumnVector(fn, x + column * item, kind, words, mask)
                if self.name == "log_sum_exp":
                    around = _finite(at.walk(-np.inf, greatest, _same))
                    found = log(at.walk(0.0, _sum, lambda each: exp(each - around))) + around
                else:
                    found = at.walk(_first(self.name, self.type), how.pair, how.each)
                if self.name == "mean":
                    found = found / splat(sitofp(words["all"], to=self.type), lanes=lanes)
                fn.store(how.last(found), y, column * item, mask=mask)

            share.vectors(fn, lanes, vector)


@dataclass(frozen=True)
class ColumnVector:
    """A vector of columns: `count` elements a `step` apart in each of `runs`, by their words."""

    fn: Function
    x: Value
    kind: Type
    words: Mapping[str, Value]
    mask: Value | None

    def walk(self, first: float, pair: Pair, of: Callable[[Value], Value]) -> Value:
        """What `pair` makes of all, BLOCK of them at a time."""
        fn, words, nothing = self.fn, self.words, const(self.kind, first)
        zero = words["count"] - words["count"]
        with fn.loop(zero, words["runs"], carried=[nothing]) as run:
            begin = self.x + run.index * words["run step"]
            with fn.loop(zero, words["count"], BLOCK, carried=[run.carried[0]]) as block:
                left = words["count"] - block.index
                end = block.index + minimum(left, BLOCK)
                with fn.loop(block.index, end, carried=[nothing], at_least_once=True) as row:
                    loaded = fn.load(begin, self.kind, row.index * words["step"], mask=self.mask)
                    row.carry(pair(of(loaded), row.carried[0]))
                block.carry(pair(row.results[0], block.carried[0]))
            run.carry(block.results[0])
        return run.results[0]


def reduction(
    name: str, shape: Sequence[int], axes: Sequence[int], dtype: str, threads: int
) -> SweepPlan | str:
    """The kernel of a reduction along axes; a sentence where there is none.

    x of that shape -> y, the axes that are kept; both C-contiguous.

    >>> from convmat.engine import Sweep
    >>> made = Sweep(reduction("sum", (2, 3), (1,), "float32", 1))
    >>> made.load()
    >>> y = np.empty(2, np.float32)
    >>> made(np.arange(6, dtype=np.float32).reshape(2, 3), y)
    >>> y
    array([ 3., 12.], dtype=float32)
    """
    if dtype not in (FLOATS + INTEGERS if name in WHOLE else FLOATS):
        return f"takes floats, and {', '.join(WHOLE)} signed integers, got {name} of {dtype}"
    if refusal := kernel_refusal():
        return refusal
    if not math.prod(shape):
        return f"takes elements, got {'x'.join(map(str, shape))}"
    groups = _group_axes(shape, axes)
    kept = [each for each in groups if each[1]]
    gone = [each for each in groups if not each[1]]
    if not gone or len(kept) > 2 or len(gone) > 2:
        return f"takes up to 2 groups of axes that are reduced, and 2 that are not, got {len(gone)} and {len(kept)}"
    type = ELEMENTS[dtype]
    if groups[-1][1]:
        return _side_by_side(name, kept, gone, type, threads)
    return _in_lines(name, kept, gone, type, threads)


Group = tuple[int, bool, int]
"""Extent, whether it is kept, and elements from one index to the next."""


def _group_axes(shape: Sequence[int], axes: Sequence[int]) -> list[Group]:
    found: list[Group] = []
    step = 1
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1:
            continue
        keep = axis not in axes
        if found and found[-1][1] == keep:
            found[-1] = (found[-1][0] * shape[axis], keep, found[-1][2])
        else:
            found.append((shape[axis], keep, step))
        step *= shape[axis]
    return found[::-1] or [(1, False, 1)]


def _in_lines(name: str, kept: Sequence[Group], gone: Sequence[Group], type: Type, threads: int) -> SweepPlan:
    """Where the last group is reduced."""
    item, columns = type.bytes, gone[-1][0]
    (outer, _, outer_step), (inner, _, step) = [(1, True, 0)] * (2 - len(kept)) + list(kept)
    runs, _, run_step = gone[0] if len(gone) == 2 else (1, False, 0)
    lines = outer * inner
    plain = len(kept) < 2 and runs == 1
    short = columns if plain and 1 < columns <= SHORTEST else 0
    words, tasks = share_lines(lines, columns * runs, threads, whole=True)
    words |= {"columns": columns, "piece": columns, "inner": inner, "outer step": outer_step * item}
    words |= {"line step": step * item, "runs": runs, "run step": run_step * item, "count": columns * runs}
    recipe = Reduce(name, type, host().lanes(item), short)
    return SweepPlan(recipe, words, tasks, threads, lines * columns * runs)


def _side_by_side(
    name: str, kept: Sequence[Group], gone: Sequence[Group], type: Type, threads: int
) -> SweepPlan:
    """Where the last group is kept."""
    item, columns = type.bytes, kept[-1][0]
    lines, _, step = kept[0] if len(kept) == 2 else (1, True, 0)
    runs, _, run_step = gone[0] if len(gone) == 2 else (1, False, 0)
    count, _, along = gone[-1]
    words, tasks = share_lines(lines, columns * runs * count, threads, whole=False)
    words, tasks = share_pieces(words, tasks, lines, columns)
    words |= {"line step": step * item, "runs": runs, "run step": run_step * item, "count": count}
    words |= {"step": along * item, "all": count * runs}
    recipe = ReduceAcross(name, type, host().lanes(item))
    return SweepPlan(recipe, words, tasks, threads, lines * columns * runs * count)


def share_pieces(words: dict[str, int], tasks: int, lines: int, columns: int) -> tuple[dict[str, int], int]:
    """The words of a share whose elements are more than its columns: as many tasks, of 64 columns at least."""
    if words["pieces"] == 1:
        return {**words, "columns": columns, "piece": columns}, tasks
    piece = max(-(-columns // words["pieces"] // 64) * 64, 64)
    pieces = -(-columns // piece)
    return {**words, "columns": columns, "pieces": pieces, "piece": piece}, lines * pieces


__all__ = ["REDUCTIONS", "Reduce", "ReduceAcross", "reduction"]
