"""Windows: the sum, mean, greatest or least of each window along an axis, at a cost that hardly depends on its size.

    y[l, i, j] = of x[l, i + t, j]        0 <= t < size

Lanes along j where there is such an axis. Outputs a .. a+size-1 all reach x[a+size-1] or x[a+size]: each is a suffix
of the first `size` elements from a on, and a prefix of those behind, so three operations an element do:

    S[i] = x[i] + .. + x[a+size-1]        P[i] = x[a+size] + .. + x[i+size-1]        y[i] = S[i] + P[i]

Without a j, sums of 1, 2, 4, .. neighbours are made in scratch, a line at a time, and those that the bits of `size`
name are added up; two that overlap do for what is greatest or least. No sum runs on along the axis: a NaN stays in
its windows, and nothing drifts.
van Herk, "A fast algorithm for local minimum and maximum filters", 1992; Gil and Werman, 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import TYPES, Type, Value, const, equal, less, lshr, minimum, sitofp, splat, udiv
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal
from .reductions import REDUCTIONS

VECTORS = 4
"""Vectors side by side in a column: an addition takes 4 cycles."""


@dataclass(frozen=True)
class DownColumns(SweepRecipe):
    """Lanes along j: which of REDUCTIONS, of which type, lanes of a vector."""

    name: str
    type: Type
    lanes: int
    words = ("size", "outputs", "inner", "blocks")
    arrays = ("x", "scratch", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A few columns at a time, `size` outputs at a time."""
        item, lanes = self.type.bytes, self.lanes
        size, outputs, inner, blocks = (words[name] for name in self.words)
        pitch = inner * item
        with fn.loop(share.first, share.stop) as line:
            outer = udiv(line.index, blocks)
            column = (line.index - outer * blocks) * (VECTORS * lanes)
            masks = [prefix_mask(lanes, inner - column - v * lanes) for v in range(VECTORS)]
            x = words["x"] + (outer * (outputs + size - 1) * pitch + column * item)
            y = words["y"] + (outer * outputs * pitch + column * item)
            with fn.loop(0, outputs, size) as block:
                many = minimum(size, outputs - block.index)
                self._block(fn, x + block.index * pitch, y + block.index * pitch, masks, (size, many, pitch))

    def _block(
        self, fn: Function, x: Value, y: Value, masks: Sequence[Value], extents: tuple[Value, Value, Value]
    ) -> None:
        """The suffixes from the last row up, those of outputs stored; then the prefixes, added to them."""
        first, pair = REDUCTIONS[self.name].first, REDUCTIONS[self.name].pair
        size, many, pitch = extents
        kind, width = self.type.x(self.lanes), self.type.bytes * self.lanes
        divisor = splat(sitofp(size, to=self.type), lanes=self.lanes)
        nothing = [const(kind, first)] * VECTORS

        def onto(sums: Sequence[Value], row: Value) -> list[Value]:
            at = row * pitch
            return [
                pair(fn.load(x, kind, at + v * width, mask=mask), total)
                for v, (mask, total) in enumerate(zip(masks, sums, strict=True))
            ]

        def put(sums: Sequence[Value], row: Value) -> None:
            for v, (mask, total) in enumerate(zip(masks, sums, strict=True)):
                fn.store(total, y, row * pitch + v * width, mask=mask)

        with fn.loop(0, size - many, carried=nothing) as beyond:
            beyond.carry(*onto(beyond.carried, size - 1 - beyond.index))
        with fn.loop(size - many, size, carried=beyond.results) as within:
            row = size - 1 - within.index
            sums = onto(within.carried, row)
            put(sums, row)
            within.carry(*sums)
        if self.name == "mean":
            put([total / divisor for total in within.results], size - size)
        with fn.loop(1, many, carried=nothing) as after:
            sums = onto(after.carried, after.index + size - 1)
            made = [
                pair(fn.load(y, kind, after.index * pitch + v * width, mask=mask), total)
                for v, (mask, total) in enumerate(zip(masks, sums, strict=True))
            ]
            put([each / divisor for each in made] if self.name == "mean" else made, after.index)
            after.carry(*sums)


@dataclass(frozen=True)
class AlongRows(SweepRecipe):
    """Lanes along the axis itself: which of REDUCTIONS, of which type, lanes of a vector."""

    name: str
    type: Type
    lanes: int
    words = ("size", "outputs", "row")
    arrays = ("x", "scratch", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line: sums of 2, 4, .. neighbours in this thread's row of scratch."""
        item = self.type.bytes
        size, outputs, row = (words[name] for name in self.words)
        scratch = words["scratch"] + fn.arguments[2] * row
        inputs = outputs + size - 1
        with fn.loop(share.first, share.stop) as line:
            x, y = words["x"] + line.index * inputs * item, words["y"] + line.index * outputs * item
            if self.name in ("max", "min"):
                self._two(fn, x, y, scratch, (size, outputs))
            else:
                self._bits(fn, x, y, scratch, (size, outputs))
                if self.name == "mean":
                    divisor = splat(sitofp(size, to=self.type), lanes=self.lanes)
                    self._sweep(fn, y, outputs, [y], lambda of: of[0] / divisor)

    def _sweep(
        self,
        fn: Function,
        y: Value,
        count: Value,
        sources: list[Value],
        of: Callable[[list[Value]], Value] | None,
    ) -> None:
        """y = of the sources, over so many elements; each vector is read before it is written."""
        item, lanes, kind = self.type.bytes, self.lanes, self.type.x(self.lanes)
        pair = REDUCTIONS[self.name].pair

        def vector(column: Value, left: Value | None) -> None:
            mask = None if left is None else prefix_mask(lanes, left)
            found = [fn.load(each, kind, column * item, mask=mask) for each in sources]
            made = of(found) if of else pair(*found) if len(found) == 2 else found[0]
            fn.store(made, y, column * item, mask=mask)

        zero = count - count
        Share(zero, zero, zero, count).vectors(fn, lanes, vector, 2)

    def _bits(self, fn: Function, x: Value, y: Value, scratch: Value, extents: tuple[Value, Value]) -> None:
        """The sum over the bits of `size`, the least first."""
        size, outputs = extents
        item = self.type.bytes
        zero = size - size
        with fn.repeat(carried=[x, zero, zero + 1, size, outputs + size - 1]) as bit:
            source, offset, width, left, count = bit.carried
            odd = left - (lshr(left, 1) << 1)
            with fn.if_(equal(odd, 1)):
                with fn.if_(equal(offset, 0)):
                    self._sweep(fn, y, outputs, [source], None)
                with fn.if_(less(zero, offset)):
                    self._sweep(fn, y, outputs, [y, source + offset * item], None)
            left = lshr(left, 1)
            fewer = count - width
            with fn.if_(less(zero, left)):
                self._sweep(fn, scratch, fewer, [source, source + width * item], None)
            bit.carry(scratch, offset + odd * width, width + width, left, fewer)
            bit.again(less(zero, left))

    def _two(self, fn: Function, x: Value, y: Value, scratch: Value, extents: tuple[Value, Value]) -> None:
        """Take the first and the last run of the largest power of two in `size`."""
        size, outputs = extents
        item = self.type.bytes
        zero = size - size
        with fn.repeat(carried=[x, zero + 1, outputs + size - 1]) as double:
            source, width, count = double.carried
            more = less(width + width - 1, size)
            with fn.if_(more, default=[source, width, count]) as wider:
                self._sweep(fn, scratch, count - width, [source, source + width * item], None)
                wider.carry(scratch, width + width, count - width)
            double.carry(*wider.results)
            double.again(more)
        source, width, _ = double.results
        self._sweep(fn, y, outputs, [source, source + (size - width) * item], None)


def windows(
    name: str, shape: tuple[int, int, int], size: int, dtype: str, threads: int
) -> tuple[SweepPlan, int] | str:
    """The kernel of sums ("sum", "mean", "max", "min") of windows, and the bytes of scratch it wants; or a sentence.

    x: (l, n, j), scratch -> y: (l, n - size + 1, j), C-contiguous, of shape `shape` = (l, n, j).

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> plan, scratch = windows("sum", (1, 5, 1), 3, "float64", 1)
    >>> made = Sweep(plan)
    >>> made.load()
    >>> y = np.empty((1, 3, 1))
    >>> made(np.arange(5.0), np.empty(scratch, np.uint8), y)
    >>> y.ravel().tolist()
    [3.0, 6.0, 9.0]
    """
    if refusal := type_refusal(dtype):
        return refusal
    lines, extent, inner = shape
    outputs = extent - size + 1
    if size < 1 or not lines or not inner or outputs < 1:
        return f"takes windows within arrays with elements, got {size} in {shape}"
    type = TYPES[dtype]
    lanes = host().lanes(type.bytes)
    if inner > 1:
        blocks = -(-inner // (VECTORS * lanes))
        words, tasks = share_lines(lines * blocks, extent * VECTORS * lanes, threads, whole=True)
        words |= {"size": size, "outputs": outputs, "inner": inner, "blocks": blocks}
        return SweepPlan(DownColumns(name, type, lanes), words, tasks, threads, lines * extent * inner), 0
    words, tasks = share_lines(lines, extent, threads, whole=True)
    row = -(-extent * type.bytes // 64) * 64
    words |= {"size": size, "outputs": outputs, "row": row}
    return SweepPlan(AlongRows(name, type, lanes), words, tasks, threads, lines * extent), row * threads


__all__ = ["AlongRows", "DownColumns", "windows"]
