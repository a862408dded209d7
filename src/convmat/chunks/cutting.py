"""Where y is cut, and which runs of x's chunks a block of it is put together from.

    x's boundary at c  ->  y's at  ceil((2*(c*e + lo) - (reach - 1) - (e - 1)) / (2*s))

so an output belongs to the chunk that has the middle of its window: with "same" padding and stride 1, y's chunks are
x's. A block's part of x is, axis by axis, a list of source positions: a range, or with reflected and other explicit
padding whatever the borders repeat. Positions that follow each other within a chunk of x are one run; runs are read,
laid side by side and, where borders repeat some, taken apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry, Shape
from ..planner import padded_source
from ..problem import Pad, Problem

Array = npt.NDArray[Any]
Cuts = tuple[int, ...]
"""The boundaries of an axis: 0, .., its extent."""


@dataclass(frozen=True)
class ChunkRun:
    """Positions of an axis of x side by side in one of its chunks: chunk `at`, there from `start` to `stop`.

    `to`: where they begin in the block.
    """

    at: int
    start: int
    stop: int
    to: int


@dataclass(frozen=True)
class Source:
    """What a block reads of one axis of x: runs of its chunks, `extent` elements in all, rearranged by `order` then."""

    runs: tuple[ChunkRun, ...]
    extent: int
    order: tuple[int, ...] | None = None


def chunk_boundaries(chunks: Sequence[int]) -> Cuts:
    """The boundaries of chunks of these extents.

    >>> chunk_boundaries((3, 2))
    (0, 3, 5)
    """
    return (0, *itertools.accumulate(chunks))


def output_cuts(geometry: Geometry, axis: int, cuts: Cuts, before: int = 0) -> Cuts:
    """Where y is cut along a spatial axis of which x is cut at `cuts`; `before`: explicit padding before x.

    >>> output_cuts(Geometry.of((1, 1, 10), (1, 1, 3), padding=1), 0, (0, 4, 8, 10))
    (0, 4, 8, 10)
    """
    g, a = geometry, axis
    middle = g.reach[a] - 1 + g.e[a] - 1
    inner = (-((middle - 2 * (c * g.e[a] + g.lo[a] + before)) // (2 * g.s[a])) for c in cuts[1:-1])
    return tuple(sorted({0, g.P[a], *(min(max(c, 0), g.P[a]) for c in inner)}))


def range_source(cuts: Cuts, start: int, stop: int) -> Source:
    """The runs of a range of positions.

    >>> range_source((0, 4, 8), 3, 6).runs
    (ChunkRun(at=0, start=3, stop=4, to=0), ChunkRun(at=1, start=0, stop=2, to=1))
    """
    runs = []
    for at, (low, high) in enumerate(itertools.pairwise(cuts)):
        first, last = max(start, low), min(stop, high)
        if first < last:
            runs.append(ChunkRun(at, first - low, last - low, first - start))
    return Source(tuple(runs), stop - start)


def padded_range_source(cuts: Cuts, pad: Pad, axis: int, start: int, stop: int) -> Source:
    """The runs of a range of the explicitly padded axis, and the order in which its positions repeat them.

    >>> padded_range_source((0, 4), Pad("reflect", (2,), (0,)), 0, 0, 4)
    Source(runs=(ChunkRun(at=0, start=0, stop=3, to=0),), extent=3, order=(2, 1, 0, 1))
    """
    wanted = [padded_source(pad, axis, cuts[-1], position) for position in range(start, stop)]
    needed = sorted(set(wanted))
    runs: list[ChunkRun] = []
    for group in _side_by_side(needed):
        part = range_source(cuts, group[0], group[-1] + 1).runs
        done = sum(run.stop - run.start for run in runs)
        runs += [ChunkRun(run.at, run.start, run.stop, run.to + done) for run in part]
    where = {position: at for at, position in enumerate(needed)}
    order = tuple(where[position] for position in wanted)
    return Source(tuple(runs), len(needed), None if order == tuple(range(len(needed))) else order)


def _side_by_side(positions: Sequence[int]) -> list[list[int]]:
    """Sorted positions in groups without gaps."""
    groups: list[list[int]] = []
    for position in positions:
        if groups and groups[-1][-1] + 1 == position:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


@dataclass(frozen=True)
class CutBlock:
    """A block of y: its geometry, what it reads of each axis of x, and which of its outputs are asked for.

    `start` and `stop` are those in y, along the spatial axes; `batch` its images. `keep`: of the outputs that its
    geometry makes, along the spatial axes, which are the block's: a lowering that works in tiles makes whole ones.
    """

    geometry: Geometry
    start: Shape
    stop: Shape
    batch: tuple[int, int]
    sources: tuple[Source, ...]
    keep: tuple[slice, ...]

    @property
    def crops(self) -> bool:
        """Whether more outputs are made than kept."""
        return any(k.stop - k.start != p for k, p in zip(self.keep, self.geometry.P, strict=True))

    def read(self, itemsize: int) -> int:
        """Bytes of x that it reads."""
        g, extents = self.geometry, [s.extent for s in self.sources]
        return g.B * g.C * int(np.prod(extents, dtype=object)) * itemsize


class ChunkCutting:
    """How the y of a problem is cut: `batch` and `spatial` are its boundaries; `x` those of x along the same axes."""

    def __init__(
        self, problem: Problem, tile: Shape, batch: Cuts, spatial: Sequence[Cuts], x: Sequence[Cuts]
    ) -> None:
        self.problem, self.tile, self.batch = problem, tile, batch
        self.spatial, self.x = tuple(spatial), tuple(x)

    def blocks(self) -> list[tuple[tuple[int, ...], CutBlock]]:
        """Every block with its index (batch, *spatial)."""
        counts = [len(self.batch) - 1, *(len(c) - 1 for c in self.spatial)]
        return [(at, self.block(at)) for at in itertools.product(*map(range, counts))]

    def block(self, at: tuple[int, ...]) -> CutBlock:
        """The block of an index (batch, *spatial)."""
        batch = (self.batch[at[0]], self.batch[at[0] + 1])
        start = tuple(c[i] for c, i in zip(self.spatial, at[1:], strict=True))
        stop = tuple(c[i + 1] for c, i in zip(self.spatial, at[1:], strict=True))
        return self.outputs(start, stop, batch)

    def outputs(self, start: Shape, stop: Shape, batch: tuple[int, int]) -> CutBlock:
        """The block from `start` to `stop`, which may be any outputs."""
        problem, g, tile = self.problem, self.problem.geometry, self.tile
        first = tuple(p // t * t for p, t in zip(start, tile, strict=True))
        last = tuple(-(-p // t) * t for p, t in zip(stop, tile, strict=True))
        part = g.block(first, last, batch)
        keep = tuple(slice(p - f, q - f) for p, q, f in zip(start, stop, first, strict=True))
        pad = problem.pad if problem.pad is not None and problem.pad.operand == "x" else None
        if pad is None:
            sources = tuple(range_source(c, r.start, r.stop) for c, r in zip(self.x, part.x, strict=True))
        else:
            sources = tuple(
                padded_range_source(c, pad, a, r.start, r.stop)
                for a, (c, r) in enumerate(zip(self.x, part.x, strict=True))
            )
        return CutBlock(part.geometry, start, stop, batch, sources, keep)


__all__ = [
    "ChunkCutting",
    "ChunkRun",
    "CutBlock",
    "Cuts",
    "Source",
    "chunk_boundaries",
    "output_cuts",
    "range_source",
]
