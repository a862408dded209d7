"""Running sums: every element and all before it along an axis.

    y[k, j, i] = sum of x[k, j', i] over j' <= j        (exclusive: j' < j; reverse: from the end)

Lanes lie along what is behind the axis; along the last one elements are added one by one. The order is the axis's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.conversions import ELEMENTS
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Type, Value, const
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .reductions import share_pieces

SUMMED = ("float32", "float64", "int32", "int64", "uint32", "uint64")


@dataclass(frozen=True)
class Running(SweepRecipe):
    """The type, lanes of a vector (0: along the last axis), and which sums."""

    type: Type
    lanes: int
    exclusive: bool
    reverse: bool
    words = ("count",)
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, or a vector of columns at a time."""
        item, count, columns = self.type.bytes, words["count"], words["columns"]
        with fn.loop(share.first, share.stop) as line:
            first = line.index * count * columns * item
            x, y = words["x"] + first, words["y"] + first
            if not self.lanes:
                self._sum(fn, (x, y), (count, count - count + item), None)
                return

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(self.lanes, left)
                self._sum(fn, (x + column * item, y + column * item), (count, columns * item), mask)

            share.vectors(fn, self.lanes, vector)

    def _sum(
        self, fn: Function, arrays: tuple[Value, Value], along: tuple[Value, Value], mask: Value | None
    ) -> None:
        """Elements, or vectors of them, so many, so many bytes apart."""
        (x, y), (count, step), kind = arrays, along, self.type.x(self.lanes)
        with fn.loop(0, count, carried=[const(kind, 0)]) as turn:
            at = (count - 1 - turn.index if self.reverse else turn.index) * step
            before = turn.carried[0]
            total = before + fn.load(x, kind, at, mask=mask)
            fn.store(before if self.exclusive else total, y, at, mask=mask)
            turn.carry(total)


def running_sums(
    shape: Sequence[int],
    axis: int,
    dtype: str,
    threads: int,
    *,
    exclusive: bool = False,
    reverse: bool = False,
) -> SweepPlan | str:
    """The kernel of CumSum along an axis; a sentence where there is none.

    x of that shape -> y, the same; both C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(running_sums((2, 3), 1, "int64", 1))
    >>> made.load()
    >>> y = np.empty((2, 3), np.int64)
    >>> made(np.array([[1, 2, 3], [4, 5, 6]]), y)
    >>> y.tolist()
    [[1, 3, 6], [4, 9, 15]]
    """
    if dtype not in SUMMED:
        return f"takes numbers of {', '.join(SUMMED)}, got {dtype}"
    if refusal := kernel_refusal():
        return refusal
    if not math.prod(shape):
        return f"takes elements to add, got {'x'.join(map(str, shape))}"
    count, behind, lines = shape[axis], math.prod(shape[axis + 1 :]), math.prod(shape[:axis])
    type = ELEMENTS[dtype]
    recipe = Running(type, host().lanes(type.bytes) if behind > 1 else 0, exclusive, reverse)
    words, tasks = share_lines(lines, behind * count, threads, whole=behind == 1)
    words, tasks = share_pieces(words, tasks, lines, behind)
    return SweepPlan(recipe, {**words, "count": count}, tasks, threads, lines * count * behind)


__all__ = ["Running", "running_sums"]
