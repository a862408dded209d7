"""Bytes that are rounded again: weighed sums of two, as those of a quantised Add are, or one by a factor.

    y = saturate(round(a * by + (b * with + add)))        halves to even, two sums rounded to float32
    q = saturate(round((q - zero) * factor + offset))     one sum rounded to float32

No number is so large that a sum passes int32. `engine.weighing` has the same in NumPy.
Up to four vectors of sums become one of bytes, packed with saturation: on x86 in blocks of 16 bytes, which are put in
order last.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...lazy_dataclass import dataclass
from ..ir.emitter import Function
from ..ir.instructions import (
    Value,
    f32,
    fma,
    i8,
    i32,
    maximum,
    minimum,
    regroup,
    sext,
    shuffle,
    sitofp,
    splat,
    zext,
)
from ..ir.saturation import nearest, pack_bytes, pack_words
from ..ir.shuffles import lane_range

VECTORS = 4
"""Vectors of sums to one of bytes."""

NEAREST = 12582912.0
"""1.5 * 2^23: added to a float32 below 2^22, it leaves the nearest integer in the last bits, halves to even."""


@dataclass(frozen=True)
class Addition:
    """What two bytes are weighed by, vectors of float32; which of a, b and y have signs, lanes of a vector of sums.

    `x86`: whether its instructions pack.
    """

    by: Value
    with_: Value
    add: Value
    signs: tuple[bool, bool, bool]
    lanes: int
    x86: bool

    @classmethod
    def load(cls, fn: Function, place: Value, lanes: int, *, signed: bool, x86: bool) -> Addition:
        """Emits the loads of three numbers, for bytes of one type."""
        by, with_, add = (splat(fn.load(place, f32, at * f32.bytes), lanes=lanes) for at in range(3))
        return cls(by, with_, add, (signed,) * 3, lanes, x86)

    def vectors(self, fn: Function, a: Sequence[Value], b: Sequence[Value]) -> Value:
        """Emits up to four vectors of sums as four of bytes in one, in order; those behind the last are of no use."""
        lanes = self.lanes

        def read(value: Value, sign: bool) -> Value:
            return sitofp((sext if sign else zext)(value, to=i32), to=f32)

        sums = []
        for first, second in zip(a, b, strict=True):
            inner = fma(read(second, self.signs[1]), self.with_, self.add)
            outer = fma(read(first, self.signs[0]), self.by, inner)
            sums.append(nearest(fn, outer, x86=self.x86, bounded=True))
        sums += sums[:1] * (VECTORS - len(sums))
        halves = [pack_words(fn, *sums[i : i + 2], x86=self.x86) for i in (0, 2)]
        made = pack_bytes(fn, *halves, signed=self.signs[2], x86=self.x86)
        if not self.x86:
            return made
        blocks = lanes // VECTORS
        order = [VECTORS * block + vector for vector in range(VECTORS) for block in range(blocks)]
        quads = regroup(made, to=i32.x(lanes))
        return regroup(shuffle(quads, quads, indices=order), to=i8.x(VECTORS * lanes))

    def line(self, fn: Function, a: Value, b: Value) -> Value:
        """Emits the same of one vector each: of one, two or four vectors of sums."""
        size, lanes = a.type.lanes, self.lanes
        parts = [[lane_range(each, at, lanes) for at in range(0, size, lanes)] for each in (a, b)]
        made = self.vectors(fn, *parts)
        return made if made.type.lanes == size else lane_range(made, 0, size)


def round_within(value: Value, low: Value, high: Value) -> Value:
    """Floats between two whole bounds as whole floats, halves to even."""
    return (minimum(maximum(value, low), high) + NEAREST) - NEAREST


__all__ = ["NEAREST", "VECTORS", "Addition", "round_within"]
