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

from ..engine import buffers, thread_pool
from ..errors import GeometryError
from ..planner import Candidate, Plan, dtype_of, plan_block
from ..planner.arrays import read_addend
from ..problem import Problem
from ..processes import Lock
from .cutting import CutBlock, Source

Array = npt.NDArray[Any]

_turn = Lock()


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
    """Lay pieces at their places in one array; the piece itself where it is all of it and lies so already."""
    if len(pieces) == 1 and pieces[0].shape == shape and pieces[0].flags.c_contiguous:
        return pieces[0]
    made = (buffers.empty if room is None else room.empty)(shape, pieces[0].dtype)
    for piece, place in zip(pieces, places, strict=True):
        made[place] = piece
    return made


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
        plan = plan_block(whole.problem.of_block(block.geometry), whole.way, threads)
        keep = arrange_axes(whole, block.keep, slice(None), slice(None))
        if residual is not None and block.crops:
            wide = np.zeros(plan.problem.shape("y"), residual.dtype)
            wide[keep] = residual
            residual = wide
        if not block.crops:
            return plan(x, whole.w, whole.bias, residual=residual, out=out)
        made: Array = plan(x, whole.w, whole.bias, residual=residual)[keep]
    if out is None:
        return made.copy()
    out[...] = made
    return out


def block_task(
    whole: Whole,
    block: CutBlock,
    shape: tuple[int, ...],
    pieces: Sequence[Array],
    places: Sequence[tuple[slice, ...]],
    residual: Array | None,
) -> Array:
    """The task of a lazy block: pieces of x in, a chunk of y out."""
    if 0 in shape or not pieces:  # a chunk without images
        g = block.geometry
        return np.empty(arrange_axes(whole, g.P, g.O, g.B), whole.dtype)
    x = assemble(pieces, places, shape, whole.room)
    return run_block(whole, block, x, residual, threads_here())


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
