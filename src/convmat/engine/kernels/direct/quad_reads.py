"""How the direct kernel reads bytes of x along its contiguous axis, where four taps are one dot product.

    vector(f)[lane] = x[lane * step + f], .. , x[lane * step + f + 3]       32 bits

A load, and one permutation that gives each lane its four bytes. Bytes are unsigned: those with a sign are moved by 128,
as in `quads`. Under a mask no byte outside [0, limit) is read, and each is `zero`, what x counts from: as x is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....lazy_dataclass import dataclass
from ...cpu import Cpu
from ...ir.dots import Unit, unit_of
from ...ir.emitter import Function
from ...ir.instructions import (
    Value,
    below,
    const,
    i8,
    i32,
    maximum,
    minimum,
    regroup,
    select,
    shuffle,
    splat,
    trunc,
)
from .access import Reading, Windows

QUAD = 4
"""Taps of one dot product."""

FARTHEST = 4
"""Steps from one output to the next: a register holds what 16 of them read."""


@dataclass(frozen=True)
class QuadReads:
    """Four bytes for each of `lanes` outputs, which are `step` apart; `zero`: what is outside, if that is not 0."""

    lanes: int
    step: int
    signed: bool
    zero: Value | None = None

    @property
    def bytes(self) -> int:
        """Bytes of a load.

        >>> QuadReads(16, 1, False).bytes, QuadReads(16, 2, False).bytes
        (32, 64)
        """
        return 1 << ((self.lanes - 1) * self.step + QUAD - 1).bit_length()

    def masks(self, position: Value, limit: Value, distances: Sequence[int]) -> dict[int, Value]:
        """The mask of each tap's load. position: of lane 0 at distance 0; limit: of positions; both i64."""
        n, found = self.bytes, {}
        lanes = const(i8.x(n), [*range(n)])
        for distance in distances:
            before = minimum(maximum(-(position + distance), 0), n)
            behind = minimum(maximum(limit - (position + distance), before), n)
            first, count = (splat(trunc(each, to=i8), lanes=n) for each in (before, behind - before))
            found[distance] = below(lanes - first, count)
        return found

    def behind(self, distances: Sequence[int]) -> int:
        """How far behind its first element an unmasked vector of these taps is read."""
        return max(distances) + self.bytes - 1

    def line(self, fn: Function, x: Value, masks: dict[int, Value] | None) -> Callable[[int], Value]:
        """The function that gives the vector at a distance from `x`."""
        indices = [lane * self.step + tap for lane in range(self.lanes) for tap in range(QUAD)]

        def vector(distance: int) -> Value:
            mask = None if masks is None else masks[distance]
            found = fn.load(x, i8.x(self.bytes), distance, mask=mask)
            if self.signed:
                found = found ^ -128
            if mask is not None and self.zero is not None:
                found = select(mask, found, splat(self.zero, lanes=self.bytes))
            return regroup(shuffle(found, found, indices=indices), to=i32.x(self.lanes))

        return vector


def multiplies_quads(known: Reading, windows: Windows, cpu: Cpu) -> bool:
    """Whether four taps of a window may be one dot product: of a CPU that permutes the bytes of whole registers."""
    p, lane, last = known.product, windows.lane, known.a.cols[-1] if known.a.cols else None
    if not cpu.vbmi or unit_of(cpu) is not Unit.VNNI or p.a_zero is not None or p.maximum:
        return False
    if known.dtypes.w.name != "int8" or last is None or last.name != windows.lane_tap:
        return False
    alone = all(term.extent == 1 and term.check < 0 for term in windows.terms(known.w))
    return alone and lane.taps > 1 and lane.dilation == 1 and lane.step <= FARTHEST


__all__ = ["QUAD", "QuadReads", "multiplies_quads"]
