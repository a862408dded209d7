"""A block in parts: what reads of one chunk alone reads it where it lies, and little is put together beside.

    middle    outputs whose windows lie in the chunk that most of the block's x comes from: nothing is copied
    strips    the outputs before and behind them along each axis, whose windows reach into chunks beside it

Parts begin at multiples of the lowering's tiles, as blocks do, so the bits are those of the block in one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ..engine import buffers
from ..geometry import Geometry, Shape
from .cutting import CutBlock

Array = npt.NDArray[Any]
Place = tuple[slice, ...]

CACHE_SHARE = 0.5
"""Share of the last cache up to which x is put together instead, for its copy stays in there with it, and reading it is
as quick as starting two parts more is."""


@dataclass(frozen=True)
class BlockPart:
    """Outputs of a block, along the spatial axes: from `start` to `stop`; its geometry, and what it reads of x."""

    start: Shape
    stop: Shape
    geometry: Geometry
    x: Place


def split_block(block: CutBlock, tile: Shape, inside: Place, itemsize: int, cache: int) -> list[BlockPart]:
    """The middle and the strips of a block of which one chunk holds x at `inside`; none where that saves too little.

    `cache`: bytes of the last cache.

    >>> from .cutting import range_source
    >>> g = Geometry.of((1, 64, 402, 512), (8, 64, 3, 3), padding=((0, 0), (1, 1)))
    >>> sources = (range_source((0, 1, 401, 402), 0, 402), range_source((0, 512), 0, 512))
    >>> block = CutBlock(g, (0, 0), (400, 512), (0, 1), sources, (slice(0, 400), slice(0, 512)))
    >>> [(each.start, each.stop) for each in split_block(block, (4, 4), (slice(1, 401), slice(0, 512)), 4, 1 << 25)]
    [((4, 0), (396, 512)), ((0, 0), (4, 512)), ((396, 0), (400, 512))]
    """
    g = block.geometry
    if block.crops or any(source.order is not None for source in block.sources):
        return []
    bounds = [_inner_outputs(g, a, tile[a], inside[a]) for a in range(g.rank)]
    if any(a >= b for a, b in bounds):
        return []
    low, high = tuple(a for a, _ in bounds), tuple(b for _, b in bounds)
    middle = _part(g, low, high)
    fits = all(p.start <= x.start and x.stop <= p.stop for x, p in zip(middle.x, inside, strict=True))
    boxes = [middle]
    for axis, (first, last) in enumerate(bounds):
        before, behind = (0,) * g.rank, g.P
        for begin, end in ((0, first), (last, g.P[axis])):
            start = (*low[:axis], begin, *before[axis + 1 :])
            stop = (*high[:axis], end, *behind[axis + 1 :])
            boxes += [_part(g, start, stop)] if begin < end else []
    saved = g.B * g.C * math.prod(x.stop - x.start for x in middle.x) * itemsize
    return boxes if fits and len(boxes) > 1 and saved > cache * CACHE_SHARE else []


def _part(g: Geometry, start: Shape, stop: Shape) -> BlockPart:
    found = g.block(start, stop)
    return BlockPart(start, stop, found.geometry, found.x)


def _inner_outputs(g: Geometry, axis: int, tile: int, inside: slice) -> tuple[int, int]:
    """The first output along an axis that reads nothing before `inside`, and the one behind the last before its end.

    Where x itself ends, there is nothing beyond that could be read.
    """
    e, s, lo = g.e[axis], g.s[axis], g.lo[axis]
    first, last = 0, g.P[axis]
    if inside.start > 0:
        first = -(-((inside.start - 1) * e + 1 + lo) // s)
        first = -(-max(first, 0) // tile) * tile
    if inside.stop < g.I[axis]:
        last = min((inside.stop * e + lo - g.reach[axis]) // s + 1, g.P[axis])
        last = last // tile * tile
    return first, last


def copy_region(pieces: Sequence[Array], places: Sequence[Place], region: Place) -> Array:
    """The part of an array at `region`, all axes of it, of which pieces lie at places.

    >>> import numpy as np
    >>> x = np.arange(6)
    >>> copy_region([x[:2], x[2:]], [(slice(0, 2),), (slice(2, 6),)], (slice(1, 4),))
    array([1, 2, 3])
    """
    made = buffers.empty(tuple(r.stop - r.start for r in region), pieces[0].dtype)
    for piece, place in zip(pieces, places, strict=True):
        each = itertools.zip_longest(place, region, piece.shape)
        bounds = [(r, p.start or 0, n if p.stop is None else p.stop) for p, r, n in each]
        common = [(max(r.start, a), min(r.stop, b)) for r, a, b in bounds]
        if all(a < b for a, b in common):
            to = tuple(
                slice(a - r.start, b - r.start) for (a, b), (r, _, _) in zip(common, bounds, strict=True)
            )
            of = tuple(slice(a - p, b - p) for (a, b), (_, p, _) in zip(common, bounds, strict=True))
            made[to] = piece[of]
    return made


__all__ = ["BlockPart", "copy_region", "split_block"]
