"""The phases of one axis: which of its outputs share their taps, where the input is dilated.

An output p reads tap f only where p*s + f*d - lo is a multiple of e. `Geometry.phases` puts the axes together.
"""

from __future__ import annotations

import math
from functools import lru_cache

from .lazy_dataclass import dataclass

SAMPLED = 1024
"""Taps that are looked at, at most, to find how often a window leaves x."""

MOST_PHASES = 4096
"""Phases of different kinds: each is a product of its own, planned and run one by one."""


@dataclass(frozen=True)
class AxisPhase:
    """Outputs start + j*step of an axis with their taps, tap_start + t*tap_step, and what they are of x alone.

    `count` such phases, of a kind: each `apart` behind the one before it, with taps `back` before its own.
    """

    start: int
    step: int
    outputs: int
    tap_start: int
    tap_step: int
    taps: int
    stride: int
    dilation: int
    lo: int
    count: int = 1
    apart: int = 1
    back: int = 0

    def inside(self, extent: int) -> float:
        """The share of its outputs' taps that lie inside x; of more than SAMPLED taps (or outputs) some stand for all.

        >>> AxisPhase(0, 1, 4, 0, 1, 3, 1, 1, 1).inside(4)
        0.8333333333333334
        """
        many, few = sorted(((self.outputs, self.stride), (self.taps, self.dilation)), reverse=True)
        (count, by), total, chosen = many, 0, range(0, few[0], -(-few[0] // SAMPLED))
        for at in chosen:
            low, high = self.lo - at * few[1], extent - 1 + self.lo - at * few[1]
            total += max(min(high // by, count - 1) - max(-(-low // by), 0) + 1, 0)
        return total / (count * len(chosen))


def _find_unreached(P: int, often: int, first: int | None) -> list[tuple[int, int, int, int]]:
    """The outputs of P that no tap reaches however long the filter: all but first + j*often, or all for None.

    As (start, step, outputs, count) of phases of a kind that lie side by side.
    """
    if first is None:
        return [(0, 1, P, 1)]
    more, found = P % often, []  # residues before the `more`-th have an output more
    for start, stop in ((0, first), (first + 1, often)):
        for low, high in ((start, min(stop, more)), (max(start, more), min(stop, P))):
            if low < high:
                found.append((low, often, -(-(P - low) // often), high - low))
    return found


def spread_extent(extent: int, e: int) -> int:
    """The extent once e - 1 zeros stand between neighbours; nothing stays nothing."""
    return (extent - 1) * e + 1 if extent else 0


@lru_cache(maxsize=256)
def split_axis(s: int, d: int, e: int, lo: int, F: int, P: int) -> tuple[AxisPhase, ...]:
    """The kinds of phases of an axis, by their first outputs; more than MOST_PHASES are not told to the end.

    Stride, dilation, input dilation, padding before, filter and output extent. Outputs r + j*T have the taps f0 + t*U.
    From r to r + ahead, f0 falls by `back`, and where in x both begin is the same, as
    (r + ahead)*s + (f0 - back)*d = r*s + f0*d.

    >>> [(each.start, each.step, each.taps) for each in split_axis(1, 1, 2, 1, 3, 8)]
    [(0, 2, 1), (1, 2, 2)]
    """
    if e == 1 or not P:
        return (AxisPhase(0, 1, P, 0, 1, F, s, d, lo),)
    both, T = math.gcd(d, e), e // math.gcd(s, e)
    U, often = e // both, both // math.gcd(s, both)
    ahead, back, residues = d // math.gcd(s, d), s // math.gcd(s, d), min(T, P)
    invert, first = pow(d // both, -1, U), _find_first_reached(s, d, e, lo, often)
    apart = s * T // e, d * U // e  # of x, from an output of a phase to its next and from tap to tap
    found = [
        AxisPhase(start, step, outputs, 0, 1, 0, *apart, 0, count)
        for start, step, outputs, count in _find_unreached(P, often, first)
    ]
    for start in () if first is None else range(first, min(ahead, residues), often):
        r = start
        while r < residues and len(found) <= MOST_PHASES:
            f0 = (lo - r * s) // both * invert % U
            outputs, taps = -(-(P - r) // T), max(-(-(F - f0) // U), 0)
            last = min(residues - 1, P - (outputs - 1) * T - 1)
            least = max(F - taps * U, 0) if taps else F
            count = min((last - r) // ahead, (f0 - least) // back) + 1
            if taps:
                x = -((r * s + f0 * d - lo) // e)
                at = AxisPhase(r, T, outputs, f0, U, taps, *apart, x, count, ahead, back)
            else:
                at = AxisPhase(r, T, outputs, 0, 1, 0, *apart, 0, count, ahead)
            found.append(at)
            r += count * ahead
    return tuple(sorted(found, key=lambda each: each.start))


@lru_cache(maxsize=1024)
def share_inside(s: int, d: int, e: int, lo: int, F: int, P: int, I: int) -> float:
    """The share of the taps of all outputs that lie inside an x of extent I; 1 where there are none.

    >>> share_inside(1, 1, 1, 1, 3, 4, 4)
    0.8333333333333334
    """
    kinds = [kind for kind in split_axis(s, d, e, lo, F, P) if kind.outputs and kind.taps]
    entries = [kind.count * kind.outputs * kind.taps for kind in kinds]
    shares = (kind.inside(I) for kind in kinds)
    return sum(n * share for n, share in zip(entries, shares, strict=True)) / sum(entries) if entries else 1.0


def _find_first_reached(s: int, d: int, e: int, lo: int, often: int) -> int | None:
    """The first output of those, one in `often`, that a filter long enough reaches; None where it reaches none."""
    common = math.gcd(s, d, e)
    return None if lo % common else lo // common * pow(s // common, -1, often) % often
