"""What a task does: put a block's x together, run the block under the whole's Decision, keep what was asked for.

A process computes one block at a time, on all its threads: blocks share the pool instead of outnumbering the cores,
while other tasks read, copy and send.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import buffers, host, thread_pool
from ..errors import GeometryError
from ..geometry import Geometry
from ..lowering import find_lowering
from ..planner import Candidate, Plan, dtype_of, plan_block, plan_short_block
from ..planner.arrays import read_addend
from ..problem import Problem
from ..processes import Lock
from .cutting import CutBlock, Source
from .strips import copy_region, split_block

Array = npt.NDArray[Any]

_turn = Lock()

STRANDS = "dots"
"""The lowering whose sums no other one takes in the same order: what it refuses of a block is refused."""


@dataclass(frozen=True)
class Whole:
    """What the blocks of a result have in common: the problem of all of it, the way decided for it, w and bias.

    `room` is where their x are put together, one after another: in fresh pages that can take longer than the products.
    """

    problem: Problem
    way: Candidate
    w: Array | None = field(repr=False, compare=False)
    bias: Array | None = field(default=None, repr=False, compare=False)
    room: buffers.Slots | None = field(default=None, repr=False, compare=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of the result."""
        return dtype_of(self.problem.out_dtype)

    @property
    def channels_last(self) -> bool:
        """Whether x and y have their channels last."""
        return self.problem.x.axes[-1][0].role[0] not in "ip"

    def with_room(self, blocks: Iterable[CutBlock]) -> Whole:
        """The same with memory for the x of these blocks, which goes with the last who holds it."""
        item = dtype_of(self.problem.dtype).itemsize
        return replace(self, room=buffers.Slots(max((block.read(item) for block in blocks), default=0)))

    def with_weights(self, w: Array, bias: Array | None) -> Whole:
        """The same with weights that were not there before."""
        return replace(self, w=w, bias=bias)


def read_bias(call: str, bias: Any, plan: Plan) -> Array | None:
    """A bias for the result of a plan, where one is given. Raises GeometryError."""
    if bias is None:
        return None
    problem = plan.problem
    array, wanted = read_addend(call, "bias", bias, dtype_of(problem.out_dtype)), (problem.geometry.O,)
    if array.shape != wanted:
        raise GeometryError(
            f"{call}: bias does not fit the result\n  bias.shape = {array.shape}, expected {wanted}\n"
            f"  give an array of that shape"
        )
    return array


def arrange_axes(whole: Whole, spatial: Sequence[Any], channels: Any, batch: Any) -> tuple[Any, ...]:
    """One thing for each axis of x or y, in the array's order."""
    return (batch, *spatial, channels) if whole.channels_last else (batch, channels, *spatial)


def threads_here() -> int:
    """How many threads a block may use: those of the Dask worker that it runs in, else the process's pool.

    A worker that Dask's process scheduler started is one of as many as there are cores.
    """
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            return max(1, min(int(distributed.get_worker().state.nthreads), thread_pool.count()))
        except (ValueError, AttributeError):
            pass
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        return 1
    return thread_pool.count()


def block_shape(whole: Whole, block: CutBlock) -> tuple[int, ...]:
    """The shape of a block's x, before explicit padding repeats some of it."""
    extents = [source.extent for source in block.sources]
    return arrange_axes(whole, extents, whole.problem.geometry.C, block.batch[1] - block.batch[0])


def assemble(
    pieces: Sequence[Array],
    places: Sequence[tuple[slice, ...]],
    shape: tuple[int, ...],
    room: buffers.Slots | None,
) -> Array:
    """Lay pieces at their places in one array; nothing is copied where they lie so in an array that is there."""
    there = find_together(pieces, places, shape)
    if there is not None and find_around(there) is not None:
        return there
    made = (buffers.empty if room is None else room.empty)(shape, pieces[0].dtype)
    for piece, place in zip(pieces, places, strict=True):
        made[place] = piece
    return made


def find_together(
    pieces: Sequence[Array], places: Sequence[tuple[slice, ...]], shape: tuple[int, ...]
) -> Array | None:
    """The array of this shape that pieces at these places are, where they are parts of one array side by side.

    >>> x = np.arange(12).reshape(3, 4)
    >>> find_together([x[:1, 1:], x[1:, 1:]], [np.s_[:1, :], np.s_[1:, :]], (3, 3))
    array([[ 1,  2,  3],
           [ 5,  6,  7],
           [ 9, 10, 11]])
    """
    first = pieces[0]
    for piece, place in zip(pieces, places, strict=True):
        extents = tuple(len(range(n)[each]) for each, n in zip(place, shape, strict=True))
        if piece.shape != extents:  # a chunk that is not as large as its array says
            return None
        if piece.strides != first.strides or _owner(piece) is not _owner(first):
            return None
        steps = zip(place, piece.strides, strict=True)
        away = piece.__array_interface__["data"][0] - sum((p.start or 0) * step for p, step in steps)
        if away != first.__array_interface__["data"][0]:
            return None
    return np.lib.stride_tricks.as_strided(first, shape, first.strides, writeable=False)


def _owner(array: Array) -> Any:
    """The array that owns the memory, however many views are between."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def find_around(array: Array) -> tuple[int, ...] | None:
    """The shape of a C-contiguous array that this one is a part of; None where it lies in another way.

    >>> find_around(np.zeros((5, 6, 7))[:2, 1:3])
    (2, 6, 7)
    """
    found, step = [], array.itemsize
    for n, by, outer in zip(array.shape[::-1], array.strides[::-1], (*array.strides[-2::-1], 0), strict=True):
        if n > 1 and by != step:
            return None
        around = n if outer < step * n or outer % step else outer // step
        found.append(around)
        step *= around
    return tuple(reversed((*found[:-1], array.shape[0])))


def repeat_padding(whole: Whole, sources: Sequence[Source], x: Array) -> Array:
    """The block's x where explicit padding repeats some of what was read."""
    first = 1 if whole.channels_last else 2
    for axis, source in enumerate(sources, first):
        if source.order is not None:
            x = np.take(x, source.order, axis)
    return x


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Compute a block while no other one of this process is computed."""
    with _turn:
        yield


def run_block(
    whole: Whole, block: CutBlock, x: Array, residual: Array | None, threads: int, out: Array | None = None
) -> Array:
    """y of one block: x as `assemble`, residual like y; `out` is written where it is given."""
    x = repeat_padding(whole, block.sources, x)
    with one_at_a_time():
        if not block.crops:
            return run_geometry(whole, block.geometry, x, residual, threads, out)
        keep = arrange_axes(whole, block.keep, slice(None), slice(None))
        if residual is not None:
            g = block.geometry
            wide = np.zeros(arrange_axes(whole, g.P, g.O, g.B), residual.dtype)
            wide[keep] = residual
            residual = wide
        made: Array = run_geometry(whole, block.geometry, x, residual, threads)[keep]
    if out is None:
        return made.copy()
    out[...] = made
    return out


def run_geometry(
    whole: Whole, geometry: Geometry, x: Array, residual: Array | None, threads: int, out: Array | None = None
) -> Array:
    """What a geometry makes of x; x and `out` are read and written where they lie, in larger arrays or alone."""
    apart = (
        out is None or out.flags.c_contiguous or (residual is not None and residual.strides != out.strides)
    )
    x_in = None if x.flags.c_contiguous else find_around(x)
    y_in = None if apart or out is None else find_around(out)
    problem = whole.problem.of_block(geometry)
    if whole.way.lowering == STRANDS:
        plan = plan_block(problem, whole.way, threads, x_in, y_in)
    else:
        plan = plan_short_block(replace(problem, threads=threads), whole.way, x_in, y_in)
    made: Array = plan(x, whole.w, whole.bias, residual=residual, out=out)
    return made


def run_parts(
    whole: Whole,
    block: CutBlock,
    pieces: Sequence[Array],
    places: Sequence[tuple[slice, ...]],
    residual: Array | None,
    threads: int,
    out: Array | None,
) -> Array | None:
    """y of one block, in parts that read its largest piece where it lies; None where that saves too little."""
    number = max(range(len(pieces)), key=lambda at: pieces[at].size)
    main, place, g = pieces[number], places[number], block.geometry
    first = 1 if whole.channels_last else 2
    inside = place[first : first + g.rank]
    channels, pad = main.shape[-1 if whole.channels_last else 1], whole.problem.pad
    folds = pad is not None and pad.operand == "y"
    if whole.way.engine != "jit" or folds or channels != g.C or find_around(main) is None:
        return None
    tile = find_lowering(whole.way.lowering).tile(whole.problem.geometry)
    parts = split_block(block, tile, inside, main.itemsize, host().l3)
    if not parts:
        return None
    made = buffers.empty(arrange_axes(whole, g.P, g.O, g.B), whole.dtype) if out is None else out
    with one_at_a_time():
        for part in parts:
            each = [slice(a, b) for a, b in zip(part.start, part.stop, strict=True)]
            at = arrange_axes(whole, each, slice(None), slice(None))
            if part is parts[0]:
                there = [
                    slice(x.start - p.start, x.stop - p.start) for x, p in zip(part.x, inside, strict=True)
                ]
                x = main[arrange_axes(whole, there, slice(None), slice(None))]
            else:
                x = copy_region(pieces, places, arrange_axes(whole, part.x, slice(0, g.C), slice(0, g.B)))
            run_geometry(
                whole, part.geometry, x, None if residual is None else residual[at], threads, made[at]
            )
    return made


def block_task(
    whole: Whole,
    block: CutBlock,
    shape: tuple[int, ...],
    pieces: Sequence[Array],
    places: Sequence[tuple[slice, ...]],
    residual: Array | None,
    out: Array | None = None,
) -> Array:
    """The task of a lazy block: pieces of x in, a chunk of y out, which is `out` where that is given."""
    if 0 in shape or not pieces:  # a chunk without images
        g = block.geometry
        return np.empty(arrange_axes(whole, g.P, g.O, g.B), whole.dtype) if out is None else out
    threads = threads_here()
    there = find_together(pieces, places, shape)
    if there is None or find_around(there) is None:
        made = run_parts(whole, block, pieces, places, residual, threads, out)
        if made is not None:
            return made
    x = assemble(pieces, places, shape, whole.room)
    return run_block(whole, block, x, residual, threads, out)


__all__ = [
    "Whole",
    "arrange_axes",
    "assemble",
    "block_shape",
    "block_task",
    "one_at_a_time",
    "read_bias",
    "repeat_padding",
    "run_block",
    "threads_here",
]  # fmt: skip
