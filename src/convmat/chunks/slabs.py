"""Slabs: the parts of chunks that blocks beside them need, cut off where the chunk lies so that nothing else travels.

    chunk  --copy_slab-->   one part                    of any size
    chunk  --copy_slabs-->  its small parts, together   a task costs a scheduler more than their bytes do

A block that needs more than half of a chunk takes the chunk itself: nearly always the one that it is computed beside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import getitem
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.highlevelgraph import MaterializedLayer

from ..planner import dtype_of
from .cutting import ChunkCutting, CutBlock, Cuts
from .work import Whole, arrange_axes

Array = npt.NDArray[Any]
Key = tuple[Any, ...]
Place = tuple[slice, ...]

TOGETHER_BYTES = 1 << 20
"""Parts of one chunk that come to so much travel together. A task costs a scheduler about a millisecond, as long as a
megabyte is under way; each worker that has a neighbour gets them once."""


@dataclass(frozen=True)
class Piece:
    """What a block takes of chunk `at`: its `part` goes to `place`, and has `size` elements of the chunk's `of`."""

    at: tuple[int, ...]
    part: Place
    place: Place
    size: int
    of: int

    @property
    def is_slab(self) -> bool:
        """Whether the piece is cut off its chunk by a task of its own."""
        return 2 * self.size <= self.of


def list_pieces(whole: Whole, block: CutBlock, cuts: Sequence[Cuts], batch: int) -> list[Piece]:
    """The pieces that a block's x is put together from; `batch`: which of x's chunks along that axis."""
    channels = cuts[-1] if whole.channels_last else cuts[1]
    several = itertools.product(*(source.runs for source in block.sources))
    found = []
    for c, runs in itertools.product(range(len(channels) - 1), several):
        at = arrange_axes(whole, [run.at for run in runs], c, batch)
        extents = [cut[i + 1] - cut[i] for cut, i in zip(cuts, at, strict=True)]
        part = arrange_axes(whole, [slice(run.start, run.stop) for run in runs], slice(None), slice(None))
        size = math.prod(len(range(n)[p]) for p, n in zip(part, extents, strict=True))
        to = [slice(run.to, run.to + run.stop - run.start) for run in runs]
        place = arrange_axes(whole, to, slice(channels[c], channels[c + 1]), slice(None))
        found.append(Piece(at, part, place, size, math.prod(extents)))
    return found


class Slabs:
    """The pieces of all blocks, and the tasks that cut slabs off: `graph`.

    `name`: that of the Dask array that has the chunks; `channels`: its boundaries along that axis. `there`: the chunks
    are in memory anyhow, so that nothing is gained by copies of what is needed of them.
    """

    def __init__(
        self,
        whole: Whole,
        cutting: ChunkCutting,
        channels: Cuts,
        name: str,
        token: str,
        *,
        there: bool = False,
    ) -> None:
        self._there = there
        self.name, self.item = name, dtype_of(cutting.problem.dtype).itemsize
        self.graph: dict[Any, Any] = {}
        cuts = arrange_axes(whole, cutting.x, channels, cutting.batch)
        self._pieces = {at: list_pieces(whole, block, cuts, at[0]) for at, block in cutting.blocks()}
        wanted: dict[tuple[int, ...], dict[Key, Piece]] = {}
        for piece in itertools.chain(*self._pieces.values()):
            if piece.is_slab:
                wanted.setdefault(piece.at, {})[bounds(piece)] = piece
        self._sources: dict[Key, Any] = {}
        self._sizes: dict[Key, int] = {}
        for at, parts in wanted.items():
            self._cut(at, parts, token)

    def _cut(self, at: tuple[int, ...], parts: dict[Key, Piece], token: str) -> None:
        """Add the tasks that cut these parts off a chunk: the small ones together."""
        item, chunk = self.item, (self.name, *at)
        order = sorted(parts, key=lambda key: parts[key].size)
        bytes_ = list(itertools.accumulate(parts[key].size * item for key in order))
        few = sum(total <= TOGETHER_BYTES for total in bytes_)
        together = order[:few] if few > 1 else []
        if together:
            task: Key = (f"slabs-{token}", *at)
            self.graph[task] = (
                cut_slabs if self._there else copy_slabs,
                chunk,
                [parts[key].part for key in together],
            )
            self._sizes[task] = bytes_[few - 1]
            self._sources.update(
                (key, (task, (getitem, task, number))) for number, key in enumerate(together)
            )
        for key in order[len(together) :]:
            task = (f"slab-{token}", *key)
            self.graph[task] = (cut_slab if self._there else copy_slab, chunk, parts[key].part)
            self._sizes[task] = parts[key].size * item
            self._sources[key] = task, task

    def of_block(self, at: tuple[int, ...]) -> list[Piece]:
        """The pieces of a block's x."""
        return self._pieces[at]

    def pieces(self, at: tuple[int, ...]) -> tuple[list[Place], list[Any]]:
        """Where the pieces of a block's x lie in it, and what gives them in a task."""
        found = self._pieces[at]
        return [piece.place for piece in found], [self._source(piece)[1] for piece in found]

    def read(self, at: tuple[int, ...]) -> int:
        """Bytes that a block is put together from."""
        return sum(piece.size for piece in self._pieces[at]) * self.item

    def count_moved_bytes(self, at: tuple[int, ...]) -> int:
        """Bytes that come from elsewhere where a block is computed beside the largest of its pieces."""
        needed = {}
        for piece in self._pieces[at]:
            key = self._source(piece)[0]
            needed[key] = self._sizes.get(key, piece.of * self.item)
        return sum(needed.values()) - max(needed.values(), default=0)

    def _source(self, piece: Piece) -> tuple[Key, Any]:
        """The key that a piece comes from, and what gives it in a task."""
        if piece.is_slab:
            found: tuple[Key, Any] = self._sources[bounds(piece)]
            return found
        chunk: Key = (self.name, *piece.at)
        return chunk, chunk if piece.size == piece.of else (getitem, chunk, piece.part)


def bounds(piece: Piece) -> Key:
    """The key of a slab among others: its chunk's place, and where it begins and stops along each axis."""
    return (*piece.at, *(n for p in piece.part if p != slice(None) for n in (p.start, p.stop)))


def cut_slab(chunk: Array, place: Place) -> Array:
    """A part of a chunk, in the memory of that."""
    return chunk[place]


def cut_slabs(chunk: Array, places: Sequence[Place]) -> list[Array]:
    """Parts of a chunk, in the memory of that."""
    return [chunk[place] for place in places]


def copy_slab(chunk: Array, place: Place) -> Array:
    """A part of a chunk, in memory of its own: the chunk need not stay for it."""
    return chunk[place].copy()


def copy_slabs(chunk: Array, places: Sequence[Place]) -> list[Array]:
    """Parts of a chunk, each in memory of its own."""
    return [chunk[place].copy() for place in places]


def find_chunks(array: Any) -> dict[tuple[int, ...], Array]:
    """The chunks of a Dask array by their numbers; none where some are still to be made."""
    layer = array.dask.layers.get(array.name)
    if not isinstance(layer, MaterializedLayer):  # tasks by a rule, which need not be listed
        return {}
    own = ((key, chunk) for key, chunk in layer.items() if isinstance(key, tuple) and key[0] == array.name)
    found = {key[1:]: getattr(chunk, "value", chunk) for key, chunk in own}
    return found if all(type(chunk) is np.ndarray for chunk in found.values()) else {}


__all__ = ["Piece", "Slabs", "copy_slab", "copy_slabs", "cut_slab", "cut_slabs", "find_chunks", "list_pieces"]
