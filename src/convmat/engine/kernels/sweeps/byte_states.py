"""Byte states: a state in 8 bits with a scale of its own, times weights in 8 bits; for `recurrence`.

    scale = (max(h, 0) - min(h, 0)) / 255, 1 where h is 0;  zero = round(-min(h, 0) / scale)
    q     = saturate(round(h / scale) + zero)                     as DynamicQuantizeLinear has it, for each sequence
    R h   = (sum q r - zero * sum r - r_zero * sum q) * (scale * r_scale)        r less its zero point in `sum r`

A line of states is H bytes, filled up to whole vectors, then scale, zero point and sum as 32-bit numbers. R is packed
as [block of H][four of k][gate][lanes of a block], four bytes to a lane; behind each block are for each gate the sums,
the scales and the zero points of its columns. Sums of integers are exact, so bits depend on no instruction set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ...ir.dots import Unit, dot, signed_bytes, unsigned_bytes
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Value,
    const,
    equal,
    f32,
    fptosi,
    i8,
    i32,
    maximum,
    minimum,
    rint,
    select,
    sitofp,
    splat,
    trunc,
)
from .lines import reduce_lanes

Array = npt.NDArray[Any]

QUAD = 4
"""Bytes that are multiplied at once in a lane."""

MOST_STATES = 33_025
"""Products of bytes whose sum int32 surely holds: (2^31 - 1) // 255^2."""

LINE = 64
"""Bytes to whose multiple a line of states is filled up."""

NUMBERS = 3
"""What stands behind a line of states: scale, zero point, sum; and behind a block of R for each of its lanes."""


@dataclass(frozen=True)
class StateBytes:
    """How states are kept and multiplied: lanes of a vector, what multiplies, whether R has zero points but 0."""

    lanes: int
    unit: Unit
    shifted: bool

    def line_bytes(self, H: int) -> int:
        """Bytes of a line of H states.

        >>> StateBytes(16, Unit.VNNI, False).line_bytes(64), StateBytes(8, Unit.VNNI, False).line_bytes(50)
        (128, 128)
        """
        return -(-(-(-H // self.lanes) * self.lanes + NUMBERS * 4) // LINE) * LINE

    def quantise(self, fn: Function, h: Value, H: Value, line: Value, numbers: Value) -> None:
        """Emits one line of states at h as bytes at `line`, and its numbers."""
        lanes = self.lanes
        zeros = const(f32.x(lanes), 0.0)

        def read(column: Value) -> Value:
            return fn.load(h, f32.x(lanes), column * 4, mask=prefix_mask(lanes, H - column))

        with fn.loop(0, H, lanes, carried=[zeros, zeros], at_least_once=True) as ends:
            found, (low, high) = read(ends.index), ends.carried
            ends.carry(minimum(found, low), maximum(found, high))  # what is not a number is left out
        least, most = (
            reduce_lanes(each, pair) for each, pair in zip(ends.results, (minimum, maximum), strict=True)
        )
        scale = select(equal(least, most), const(f32, 1.0), (most - least) / 255.0)
        zero = minimum(maximum(rint(-least / scale), 0.0), 255.0)
        by, shift = splat(scale, lanes=lanes), splat(zero, lanes=lanes)
        with fn.loop(0, H, lanes, carried=[const(i32.x(lanes), 0), 0], at_least_once=True) as turn:
            total, _ = turn.carried
            value = minimum(maximum(rint(read(turn.index) / by), -shift), 255.0 - shift) + shift
            q = fptosi(value, to=i32)
            fn.store(trunc(q, to=i8), line, turn.index)
            turn.carry(total + q, turn.index + lanes)
        whole = fptosi(zero, to=i32)
        fn.store(scale, numbers)
        fn.store(whole - self.unit.moved, numbers, 4)
        if self.shifted:
            total, filled = turn.results
            summed = reduce_lanes(total, lambda a, b: a + b)
            # lanes beyond H hold the zero point
            beyond = whole * trunc(filled - H, to=i32)
            fn.store(summed - beyond - trunc(H, to=i32) * self.unit.moved, numbers, 8)

    @property
    def numbers_bytes(self) -> int:
        """Bytes of the numbers of a vector of columns."""
        return NUMBERS * self.lanes * QUAD

    def block_bytes(self, quads: Value, columns: int) -> Value:
        """Emits the bytes of a block of R with so many vectors of columns."""
        return quads * (columns * self.lanes * QUAD) + columns * self.numbers_bytes

    def sums(
        self, fn: Function, r: Value, quads: Value, lines: list[Value], numbers: list[Value], columns: int
    ) -> list[Value]:
        """Emits R h of so many vectors of columns for each line of states, in float32: line by line."""
        lanes, width = self.lanes, self.lanes * QUAD
        zeros = [const(i32.x(lanes), 0)] * (len(lines) * columns)
        with fn.loop(0, quads, carried=zeros, at_least_once=True) as k:
            at = r + k.index * (columns * width)
            weights = [signed_bytes(fn.load(at, i32.x(lanes), i * width), self.unit) for i in range(columns)]
            found, before = [], iter(k.carried)
            for line in lines:
                four = fn.load(line, i32, k.index * QUAD, align=4)
                states = unsigned_bytes(splat(four, lanes=lanes), self.unit)
                found += [dot(fn, next(before), states, each, self.unit) for each in weights]
            k.carry(*found)
        behind = r + quads * (columns * width)
        return [
            self._scale_sums(fn, k.results[i * columns + v], behind + v * self.numbers_bytes, own)
            for i, own in enumerate(numbers)
            for v in range(columns)
        ]

    def _scale_sums(self, fn: Function, total: Value, behind: Value, own: Value) -> Value:
        """Emits a vector of sums less what zero points add, times both scales.

        `behind`: the numbers of its columns, behind their block of R; `own`: those of its line of states.
        """
        lanes, width = self.lanes, self.lanes * QUAD

        def each(at: int) -> Value:
            return splat(fn.load(own, (f32, i32, i32)[at], 4 * at), lanes=lanes)

        total = total - each(1) * fn.load(behind, i32.x(lanes))
        if self.shifted:
            total = total - each(2) * fn.load(behind, i32.x(lanes), 2 * width)
        return sitofp(total, to=f32) * (each(0) * fn.load(behind, f32.x(lanes), width))


def pack_bytes_of_states(
    states: StateBytes, r: Array, scale: Array, zero: Array, gates: int, size: int
) -> Array:
    """R of one direction, (G*H, H) in int8, with a scale and a zero point for each row, as the kernel reads it: flat.

    `size`: numbers of a block.
    """
    (rows, H), lanes = r.shape, states.lanes
    blocks, quads = -(-rows // gates // size), -(-H // QUAD)
    filled = np.zeros((gates, blocks * size, quads * QUAD), np.int8)
    filled[:, : rows // gates, :H] = r.reshape(gates, -1, H)
    # [block][four of k][gate][lane][one of four]
    whole = filled.reshape(gates, blocks, size, quads, QUAD).transpose(1, 3, 0, 2, 4)
    behind = np.zeros((NUMBERS, gates, blocks * size), np.int32)
    less = r.astype(np.int64).sum(1) - H * zero.astype(np.int64)
    for at, each in enumerate((less.astype(np.int32), scale.astype(np.float32).view(np.int32), zero)):
        behind[at, :, : rows // gates] = each.reshape(gates, -1)
    # [block][gate][vector][sums, scales, zero points][lane]
    shaped = behind.reshape(NUMBERS, gates, blocks, size // lanes, lanes).transpose(2, 1, 3, 0, 4)
    both = [np.ascontiguousarray(each).reshape(blocks, -1).view(np.int8) for each in (whole, shaped)]
    return np.concatenate(both, axis=1).ravel()


__all__ = ["MOST_STATES", "NUMBERS", "QUAD", "StateBytes", "pack_bytes_of_states"]
