"""Softmax: exponentials of a line by their sum, or the logarithms of that.

    softmax(x)[i]       e^(x[i] - m) * (1 / s)  m = max of x,  s = sum over i of e^(x[i] - m)
    log_softmax(x)[i]   x[i] - m - log(s)

Along the last axis a line lies in the lanes; along another, lanes lie along what is behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.exponential import exp
from ...ir.instructions import TYPES, Type, Value, const, maximum, select, splat
from ...ir.logarithm import log
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal
from .lines import ACCUMULATORS, Line
from .reductions import BLOCK, share_pieces


@dataclass(frozen=True)
class Softmax(SweepRecipe):
    """Along lines, or their logarithms, of one type."""

    logarithm: bool
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
            most = at.walk(ACCUMULATORS, -np.inf, maximum, lambda vector, offset, mask: vector)
            around = splat(most, lanes=lanes)

            def power(vector: Value, offset: Value, mask: Value | None) -> Value:
                less = vector - around
                found = exp(less)
                fn.store(less if self.logarithm else found, y, offset, mask=mask)
                return found if mask is None else select(mask, found, const(kind, 0.0))

            total = at.walk(2, 0.0, lambda a, b: a + b, power)
            one = const(total.type, 1.0)
            share_of = splat(log(total) if self.logarithm else one / total, lanes=lanes)

            def finish(offset: Value, mask: Value | None) -> None:
                made = fn.load(y, kind, offset, mask=mask)
                fn.store(made - share_of if self.logarithm else made * share_of, y, offset, mask=mask)

            Line(fn, y, self.type, lanes, columns).each(finish)


@dataclass(frozen=True)
class SoftmaxAcross(SweepRecipe):
    """Along an axis that others follow: lanes lie along those."""

    logarithm: bool
    type: Type
    lanes: int
    words = ("count",)
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A vector of columns at a time, three passes over each; y may be x."""
        item, lanes, kind = self.type.bytes, self.lanes, self.type.x(self.lanes)
        step, count = words["columns"] * item, words["count"]
        with fn.loop(share.first, share.stop) as line:
            moved = line.index * count * step

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                x, y = (words[name] + (moved + column * item) for name in "xy")
                self._column(fn, x, y, kind, mask, count, step)

            share.vectors(fn, lanes, vector)

    def _column(
        self, fn: Function, x: Value, y: Value, kind: Type, mask: Value | None, count: Value, step: Value
    ) -> None:
        zero, nothing = count - count, const(kind, 0.0)
        with fn.loop(zero, count, carried=[const(kind, -np.inf)], at_least_once=True) as row:
            row.carry(maximum(fn.load(x, kind, row.index * step, mask=mask), row.carried[0]))
        most = row.results[0]
        with fn.loop(zero, count, BLOCK, carried=[nothing], at_least_once=True) as block:
            left = count - block.index
            end = block.index + select(left < BLOCK, left, const(left.type, BLOCK))
            with fn.loop(block.index, end, carried=[nothing], at_least_once=True) as row:
                less = fn.load(x, kind, row.index * step, mask=mask) - most
                power = exp(less)
                fn.store(less if self.logarithm else power, y, row.index * step, mask=mask)
                row.carry(row.carried[0] + power)
            block.carry(block.carried[0] + row.results[0])
        total = block.results[0]
        share = log(total) if self.logarithm else const(kind, 1.0) / total
        with fn.loop(zero, count) as row:
            made = fn.load(y, kind, row.index * step, mask=mask)
            fn.store(made - share if self.logarithm else made * share, y, row.index * step, mask=mask)


def softmax(
    shape: Sequence[int], along: tuple[int, int], logarithm: bool, dtype: str, threads: int
) -> SweepPlan | str:
    """The kernel of softmax along the axes from along[0] to before along[1]; a sentence where there is none.

    x of that shape -> y of the same; both C-contiguous, and y may be x.

    >>> from convmat.engine import Sweep
    >>> made = Sweep(softmax((2, 2), (0, 1), False, "float32", 1))
    >>> made.load()
    >>> y = np.empty((2, 2), np.float32)
    >>> made(np.array([[0, 1], [0, 1]], np.float32), y)
    >>> y
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    """
    if refusal := type_refusal(dtype):
        return refusal
    if not math.prod(shape):
        return f"takes elements, got {'x'.join(map(str, shape))}"
    type = TYPES[dtype]
    lanes = host().lanes(type.bytes)
    lines, count, behind = (
        math.prod(part) for part in (shape[: along[0]], shape[slice(*along)], shape[along[1] :])
    )
    if behind == 1:
        words, tasks = share_lines(lines, count, threads, whole=True)
        return SweepPlan(Softmax(logarithm, type, lanes), words, tasks, threads, lines * count)
    words, tasks = share_lines(lines, behind * count, threads, whole=False)
    words, tasks = share_pieces(words, tasks, lines, behind)
    recipe = SoftmaxAcross(logarithm, type, lanes)
    return SweepPlan(recipe, {**words, "count": count}, tasks, threads, lines * count * behind)


__all__ = ["Softmax", "SoftmaxAcross", "softmax"]
