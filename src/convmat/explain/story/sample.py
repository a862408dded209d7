"""What of a convolution is drawn: all of a small one, an honest sample of a large one.

A sample is the first channels, taps, outputs and pixels that fit a budget, and the box of the input that their
windows read. True sizes are written beside it, and the sums drawn are those of the whole. web/sample.js is its twin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmat.errors import PlanError
from convmat.geometry import Geometry, Shape


@dataclass(frozen=True)
class Budget:
    """The most rows and columns of the unrolled input, output and input channels, elements along an axis."""

    rows: int
    columns: int
    outs: int
    channels: int
    box: int


WIDE = Budget(rows=27, columns=25, outs=3, channels=5, box=10)
NARROW = Budget(rows=27, columns=9, outs=2, channels=3, box=8)


@dataclass(frozen=True)
class StorySample:
    """`channels` and `outs` of one group, `taps` and `pixels` per axis; the input from `start` up to `stop`.

    Coordinates count from the first element of x, so padding before it is negative. `whole`: nothing is left out.
    """

    channels: int
    outs: int
    taps: Shape
    pixels: Shape
    start: Shape
    stop: Shape
    whole: bool


def sample_of(g: Geometry, budget: Budget = WIDE) -> StorySample:
    """The sample of a geometry that fits the budget.

    Raises PlanError where there is nothing to draw: an array without elements.

    >>> s = sample_of(Geometry.of((1, 64, 56, 56), (128, 64, 3, 3), padding=1))
    >>> s.channels, s.taps, s.pixels, s.start, s.stop, s.whole
    (3, (3, 3), (5, 5), (-1, -1), (6, 6), False)
    """
    shapes = {"x": g.x_shape, "w": g.w_shape, "y": g.y_shape}
    empty = next((name for name, shape in shapes.items() if not math.prod(shape)), None)
    if empty is not None:
        sizes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
        raise PlanError(
            f"draw: there is nothing to draw\n  {sizes}: {empty} has no elements\n"
            f"  give every axis at least one element, e.g. a batch of 1"
        )
    rank = g.rank
    box = [2 * budget.box if rank == 1 else 3 if a < rank - 2 else budget.box for a in range(rank)]

    # Taps: as many as fit the rows, the last axis first, and whose window fits the box.
    taps, left = list(g.F), budget.rows
    for a in reversed(range(rank)):
        taps[a] = max(min(g.F[a], left, (box[a] - 1) // g.d[a] + 1), 1)
        left = max(left // taps[a], 1)
    channels = max(min(g.C // g.G, budget.rows // math.prod(taps), budget.channels), 1)
    outs = min(g.m, budget.outs)

    # Pixels: a box about as high as wide, whose windows fit the input's box.
    reach = [d * (f - 1) + 1 for d, f in zip(g.d, taps, strict=True)]
    most = [min(g.P[a], max((box[a] - reach[a]) // g.s[a] + 1, 1)) for a in range(rank)]
    side = _root(budget.columns, rank)
    pixels = [min(p, side) for p in most]
    for a in reversed(range(rank)):
        others = math.prod(pixels) // pixels[a]
        pixels[a] = min(most[a], max(budget.columns // others, 1))

    # The input: from its padding to the last element read, or to its end where every output is drawn.
    start = tuple(min(-lo, 0) for lo in g.lo)
    ends = [E + max(hi, 0) for E, hi in zip(g.E, g.hi, strict=True)]
    stop = []
    for a in range(rank):
        read = (pixels[a] - 1) * g.s[a] + reach[a] - g.lo[a]
        fits = pixels[a] == g.P[a] and ends[a] - start[a] <= box[a]
        stop.append(max(ends[a] if fits else start[a] + 1, read))
    whole = (
        (channels, outs) == (g.C // g.G, g.m)
        and (tuple(taps), tuple(pixels)) == (g.F, g.P)
        and all(end <= s for end, s in zip(ends, stop, strict=True))
    )
    return StorySample(channels, outs, tuple(taps), tuple(pixels), start, tuple(stop), whole)


def _root(n: int, power: int) -> int:
    """The largest r with r**power <= n."""
    r = 1
    while (r + 1) ** power <= n:
        r += 1
    return r
