"""A convolution from file to file: which blocks, and what each of them reads, computes and writes."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import format_shape
from ...engine import buffers, preloaded
from ...errors import GeometryError, PlanError
from ...lowering import find_lowering
from ...planner import (
    Candidate,
    Plan,
    PlanOptions,
    chosen_way,
    dtype_name,
    dtype_of,
    plan_short_block,
    request,
)
from ..cutting import ChunkCutting, CutBlock, Cuts
from ..memory import SPARE, anonymous_bytes, cut_down, describe_least_limit, even_cuts, largest_blocks
from ..work import Whole, arrange_axes, read_bias, run_block
from .stores import ArrayStore, Place, can_read_as, even_chunks, last_changed, open_array

Array = npt.NDArray[Any]

CHUNK_ELEMENTS = 1 << 22
"""Elements that a chunk of a Zarr result has at most."""

BLOCK_BYTES = 16 << 20
"""Blocks of x and y need not be larger than that: while one is computed others are read and written."""

TWICE = 8
"""Blocks that are made smaller than memory allows still are so many times what a window overlaps, and so many of the
chunks that the input is stored in, which are read whole."""


@dataclass(frozen=True)
class Shape:
    """Which axes the arrays in the files lack: a batch axis, or batch and channels (one image of one channel)."""

    batch: bool
    channels: bool

    def widen(self, shape: tuple[int, ...], *, last: bool) -> tuple[int, ...]:
        """A shape with all axes."""
        if not self.channels:
            shape = (*shape, 1) if last else (1, *shape)
        return shape if self.batch else (1, *shape)

    def narrow(self, each: tuple[Any, ...], *, last: bool) -> tuple[Any, ...]:
        """One thing an axis, without those of the axes that are lacking."""
        if not self.channels:
            each = each[:-1] if last else (each[0], *each[2:])
        return each if self.batch else each[1:]


@dataclass
class ConvJob:
    """A job of `files.stream`: the convolution of the array at `source`."""

    source: Path
    plan: Plan
    whole: Whole
    sizes: BlockSizes
    cutting: ChunkCutting
    kind: Shape
    shape: tuple[int, ...]
    run: dict[str, Any]

    def __post_init__(self) -> None:
        self.dtype = self.whole.dtype
        self._number()

    def _number(self) -> None:
        counts = [len(self.cutting.batch) - 1, *(len(c) - 1 for c in self.cutting.spatial)]
        self._indices = list(itertools.product(*map(range, counts)))
        self.count = len(self._indices)
        self._store: ArrayStore | None = None
        self._slots: tuple[buffers.Slots, buffers.Slots] | None = None

    def follow(self, before: dict[str, Any]) -> None:
        """Cut blocks as the run did that is resumed, and compute them that way, where all else is the same.

        Which blocks fit depends on what a process has already, and the way on what was measured. Raises PlanError
        where there is no room for such blocks now.
        """
        own = {name: before.get(name) for name in ("cuts", "way")}
        decision = self.plan.decision
        asked = decision.forced and own["way"] != self.run["way"]
        if asked or before == self.run or before != {**self.run, **own}:
            return
        ways = [each for each in decision.candidates if each.way == own["way"] and not each.refusal]
        if not ways:
            return
        whole = replace(self.whole, way=Candidate(ways[0].engine, ways[0].lowering, ways[0].packing))
        tile = find_lowering(whole.way.lowering).tile(whole.problem.geometry)
        sizes = replace(self.sizes, whole=whole, tile=tile)
        batch, *spatial = (tuple(each) for each in before["cuts"])
        cutting = ChunkCutting(whole.problem, tile, batch, spatial, sizes.x)
        if (
            sizes.needs(cutting) > sizes.limit - sizes.present - SPARE // 2
        ):  # what a process has by chance differs
            raise sizes.refuse(cutting)
        self.whole, self.sizes, self.cutting, self.run = whole, sizes, cutting, before
        self._number()

    def prepare(self, folder: Path) -> None:
        """Nothing: blocks read the input alone."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """The extents of the chunks of a Zarr result, which divide a block's."""
        first = [c[1] - c[0] for c in (self.cutting.batch, *self.cutting.spatial)]
        block = arrange_axes(self.whole, first[1:], self.whole.problem.geometry.O, first[0])
        return even_chunks(self.kind.narrow(block, last=self.whole.channels_last), CHUNK_ELEMENTS)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None, "_slots": None}

    @property
    def slots(self) -> tuple[buffers.Slots, buffers.Slots]:
        """Where blocks of x and of y lie in memory, one after another: fresh pages cost more than the products do."""
        if self._slots is None:
            one, g = typical_block(self.cutting), self.whole.problem.geometry
            y = one.geometry.B * g.O * math.prod(one.geometry.P) * self.dtype.itemsize
            x = one.read(np.dtype(self.run["dtype"]).itemsize)
            self._slots = buffers.Slots(x), buffers.Slots(y)
        return self._slots

    def block(self, number: int) -> CutBlock:
        """A block by its number."""
        return self.cutting.block(self._indices[number])

    def read(self, block: int) -> Array:
        """What the block needs, of the weights' element type."""
        if self._store is None:
            self._store = open_array(self.source)
        whole, this = self.whole, self.block(block)
        last, images = whole.channels_last, slice(*this.batch)
        extents = [source.extent for source in this.sources]
        channels = whole.problem.geometry.C
        wanted = arrange_axes(whole, extents, channels, images.stop - images.start)
        dtype = np.dtype(self.run["dtype"])
        x = None
        for runs in itertools.product(*(source.runs for source in this.sources)):
            there = [slice(run.start, run.stop) for run in runs]
            place = self.kind.narrow(arrange_axes(whole, there, slice(None), images), last=last)
            found = self._store.read(place, self.slots[0].empty)
            if found.dtype == dtype and found.size == math.prod(wanted):
                return np.ascontiguousarray(found.reshape(wanted))
            x = self.slots[0].empty(wanted, dtype) if x is None else x
            to = [slice(run.to, run.to + run.stop - run.start) for run in runs]
            part = arrange_axes(whole, to, slice(None), slice(None))
            x[part] = found.reshape(x[part].shape)
        return np.empty(wanted, dtype) if x is None else x

    def compute(self, block: int, x: Array, threads: int) -> Array:
        """The block."""
        this, g = self.block(block), self.whole.problem.geometry
        spatial = [b - a for a, b in zip(this.start, this.stop, strict=True)]
        shape = arrange_axes(self.whole, spatial, g.O, this.batch[1] - this.batch[0])
        y = run_block(self.whole, this, x, None, threads, self.slots[1].empty(shape, self.dtype))
        return y.reshape([p.stop - p.start for p in self.place(block)])

    def place(self, block: int) -> Place:
        """Where the block lies in the output."""
        this = self.block(block)
        spatial = [slice(a, b) for a, b in zip(this.start, this.stop, strict=True)]
        channels = slice(0, self.whole.problem.geometry.O)
        each = arrange_axes(self.whole, spatial, channels, slice(*this.batch))
        return self.kind.narrow(each, last=self.whole.channels_last)


def plan_files(
    source: Path,
    w: Array,
    bias: Array | None,
    options: PlanOptions,
    memory: int,
    threads: int,
    *,
    plain: bool = False,
) -> ConvJob:
    """The job of a convolution, in blocks that keep the process within `memory` bytes. Raises ConvmatError.

    `plain`: the arrays have spatial axes alone. What the file has is read as w's type: see `read_as`.
    """
    call = "conv"
    store = open_array(source)
    if len(store.shape) not in ((w.ndim,) if plain else (w.ndim, w.ndim - 1)):
        raise GeometryError(
            f"{call}: the file and the weights have different axes\n"
            f"  x {format_shape(store.shape)};  w {format_shape(w.shape)}\n"
            f"  x: (B, C, *I) or (C, *I) and w: (O, C//G, *F); or, plain, x: (*I) and w: (*F)"
        )
    kind = Shape(batch=not plain and len(store.shape) == w.ndim, channels=not plain)
    last = options.layout[-1] == "C"
    filters = w[None, None] if plain else w
    dtype = read_as(call, store.dtype, filters.dtype)
    filters = filters.astype(filters.dtype.newbyteorder("="), copy=False)
    if dtype != filters.dtype:
        options = options._replace(w_dtype=filters.dtype.name)
    x_shape = kind.widen(store.shape, last=last)
    plan = request(call, x_shape, filters.shape, dtype_name(dtype), options)
    whole = Whole(plan.problem, chosen_way(plan.decision), filters, read_bias(call, bias, plan))
    sizes = _sizes(plan, whole, kind, store, memory, threads)
    cutting = sizes.cut_to_fit(_stored_outputs(sizes, kind, store))
    shape = kind.narrow(plan.problem.shape("y"), last=last)
    return ConvJob(
        source.absolute(),
        plan,
        whole,
        sizes,
        cutting,
        kind,
        shape,
        _run(source, store, whole, cutting, dtype),
    )


def read_as(call: str, stored: np.dtype[Any], w: np.dtype[Any]) -> np.dtype[Any]:
    """The element type that the file's numbers are read as: w's, or their own of 8 bits. Raises GeometryError.

    See `can_read_as`.

    >>> read_as("conv", np.dtype(">i2"), np.dtype("float32"))
    dtype('float32')
    """
    own, w = stored.newbyteorder("="), w.newbyteorder("=")
    if own == w or (own.itemsize == w.itemsize == 1 and own.kind in "iu" and w.kind in "iu"):
        return own
    if can_read_as(own, w):
        return w
    both = np.result_type(own, w)
    raise GeometryError(
        f"{call}: the file's numbers do not fit the weights' element type\n  x is {stored}, w is {w}\n"
        f"  save w as {both if both.kind in 'fc' else 'float32'}"
    )


@dataclass(frozen=True)
class BlockSizes:
    """What blocks of a convolution take of memory: `x` are the boundaries of what is read, `stored` is its type there.

    `constant`: bytes that all blocks take together; `limit`: those that the process may have, and `present` has.
    """

    whole: Whole
    tile: tuple[int, ...]
    x: tuple[Cuts, ...]
    stored: np.dtype[Any]
    constant: int
    threads: int
    limit: int
    present: int

    def cut(self, block: tuple[int, ...]) -> ChunkCutting:
        """Blocks of these extents: images, then pixels of y."""
        problem = self.whole.problem
        g = problem.geometry
        batch, *spatial = (even_cuts(n, b) for n, b in zip((g.B, *g.P), block, strict=True))
        return ChunkCutting(problem, self.tile, batch, spatial, self.x)

    def needs(self, cutting: ChunkCutting) -> int:
        """Bytes that the process takes while blocks are read, computed and written."""
        problem, one = self.whole.problem, typical_block(cutting)
        item, out = dtype_of(problem.dtype).itemsize, self.whole.dtype.itemsize
        read = one.read(item) * (1 + (self.stored != np.dtype(problem.dtype)))
        again = one.read(item) if any(s.order for s in one.sources) else 0
        work = plan_short_block(
            replace(problem.of_block(one.geometry), threads=self.threads), self.whole.way
        ).workspace
        made = one.geometry.B * problem.geometry.O * math.prod(one.geometry.P) * out
        return 2 * read + again + (2 + one.crops) * made + work + self.constant

    def count_larger(self, cutting: ChunkCutting) -> int:
        """Bytes of a block's x or y, whichever has more."""
        one, problem = typical_block(cutting), self.whole.problem
        y = one.geometry.B * problem.geometry.O * math.prod(one.geometry.P) * self.whole.dtype.itemsize
        return max(one.read(dtype_of(problem.dtype).itemsize), y)

    def cut_to_fit(self, stored: Sequence[int]) -> ChunkCutting:
        """The blocks that keep within the limit; `stored`: pixels of y in a chunk of the file. Raises PlanError."""
        g = self.whole.problem.geometry
        # Less than four times what a window overlaps is mostly read twice.
        overlap = [max(r - s, 0) for r, s in zip(g.reach, g.s, strict=True)]
        units = [1, *(max(n, 4 * o // s, 1) for n, o, s in zip(stored, overlap, g.s, strict=True))]
        most = self.limit - self.present - SPARE
        block = largest_blocks((g.B, *g.P), units, lambda each: self.needs(self.cut(each)), most)
        if block is None:
            raise self.refuse(self.cut((1,) * (g.rank + 1)))
        # What overlaps by an element is read by the chunk: all of the one beside, and decoded once more.
        for a, more in enumerate(overlap):
            units[1 + a] = max(units[1 + a], TWICE * more // g.s[a], TWICE * stored[a] * bool(more))
        return self.cut(cut_down(block, units, lambda each: self.count_larger(self.cut(each)), BLOCK_BYTES))

    def refuse(self, cutting: ChunkCutting) -> PlanError:
        """The sentence for blocks that the limit has no room for."""
        return describe_least_limit("conv", self.limit, self.needs(cutting), self.present)


def _sizes(plan: Plan, whole: Whole, kind: Shape, store: ArrayStore, memory: int, threads: int) -> BlockSizes:
    g = plan.problem.geometry
    inner = store.shape[-g.rank - 1 : -1] if whole.channels_last and kind.channels else store.shape[-g.rank :]
    constant = store.overhead + (whole.w.nbytes * 2 if whole.w is not None else 0)
    tile, x = plan.lowering.tile(g), tuple((0, n) for n in inner)
    return BlockSizes(whole, tile, x, store.dtype, constant, threads, memory, anonymous_bytes())


def _stored_outputs(sizes: BlockSizes, kind: Shape, store: ArrayStore) -> list[int]:
    """Along every spatial axis about how many outputs there are to a chunk that the input is stored in."""
    g = sizes.whole.problem.geometry
    before = len(store.chunks) - g.rank - (sizes.whole.channels_last and kind.channels)
    return [-(-store.chunks[before + a] * g.P[a] // max(n, 1)) for a, (_, n) in enumerate(sizes.x)]


def typical_block(cutting: ChunkCutting) -> CutBlock:
    """The largest of a cutting's blocks: the second of three or more is whole, with all that it overlaps."""
    return cutting.block(tuple(int(len(c) > 3) for c in (cutting.batch, *cutting.spatial)))


def _run(
    source: Path, store: ArrayStore, whole: Whole, cutting: ChunkCutting, dtype: np.dtype[Any]
) -> dict[str, Any]:
    """What decides the result, for the manifest."""
    parts = [a for a in (whole.w, whole.bias) if a is not None]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    said = {
        "convmat": preloaded.version(),
        "input": str(source.absolute()),
        "shape": list(store.shape),
        "modified": last_changed(source),
        "weights": digest.hexdigest()[:32],
        "convolution": str(whole.problem.geometry),
        "problem": hashlib.sha256(repr(replace(whole.problem, threads=1)).encode()).hexdigest()[:32],
        "way": whole.way.way,
        "dtype": dtype.name,
        "cuts": [list(cutting.batch), *(list(c) for c in cutting.spatial)],
    }
    return dict(json.loads(json.dumps(said)))


__all__ = ["ConvJob", "plan_files"]
