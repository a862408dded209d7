"""The weight gradient over Dask arrays: a block for each chunk of dy, added up in their order.

    dw = sum over chunks of dy of  dy_chunk @ U(the part of x that the chunk's windows read)^T

A sum over images and pixels is cut where the chunks are, so several blocks agree with the result in memory to rounding;
one alone has its bits. 16-bit numbers are added in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from .. import api
from ..errors import GeometryError
from ..lowering import find_lowering
from ..planner import PlanOptions, chosen_way, dtype_name, plan_block, request
from .cutting import ChunkCutting, CutBlock, chunk_boundaries
from .dask_arrays import require_lazy
from .slabs import Slabs, find_chunks
from .work import Whole, arrange_axes, assemble, block_shape, one_at_a_time, repeat_padding, threads_here

Array = npt.NDArray[Any]

FAN_IN = 8
"""Partial sums that one task adds up."""

NARROW = ("float16", "bfloat16")


def weight_grad(call: str, options: PlanOptions, x: Any, dy: Any, w_shape: tuple[int, ...]) -> Any:
    """`conv_weight_grad` where x, dy or both are Dask arrays."""
    x = require_lazy(call, "x", x if isinstance(x, da.Array) else da.asarray(x))
    dy = require_lazy(call, "dy", dy if isinstance(dy, da.Array) else da.asarray(dy))
    if x.dtype != dy.dtype:
        raise GeometryError(
            f"{call}: x and dy have different element types\n  x.dtype = {x.dtype}, dy.dtype = {dy.dtype}\n"
            f"  convert one, e.g. dy.astype('{x.dtype}')"
        )
    name = dtype_name(x.dtype)
    plan = request(call, x.shape, w_shape, name, options)
    forward = request(
        call, x.shape, w_shape, name, options._replace(direction="forward", lowering=None)
    ).problem
    if dy.shape != forward.shape("y"):
        raise GeometryError(
            f"{call}: dy has another shape than planned\n  dy.shape = {dy.shape}, expected {forward.shape('y')}\n"
            f"  give an array of that shape"
        )
    whole = Whole(plan.problem, chosen_way(plan.decision), None)
    if 0 in (*dy.shape, *w_shape):
        return da.zeros(w_shape, dtype=whole.dtype, chunks=w_shape)
    x = x.rechunk({0: dy.chunks[0]})
    return _build(call, Whole(forward, whole.way, None), whole, x, dy, w_shape)


def grads(call: str, options: PlanOptions, x: Any, w: Any, dy: Any) -> api.ConvGrads:
    """`conv_grads` of arrays some of which are Dask's: they are computed, and so are all gradients, in memory."""
    taken = signature(api.conv_grads).parameters
    keywords = {name: value for name, value in options._asdict().items() if name in taken}
    given = (each.compute() if isinstance(each, da.Array) else each for each in (x, w, dy))
    return api.conv_grads(*given, **keywords)


def _build(call: str, forward: Whole, whole: Whole, x: Any, dy: Any, w_shape: tuple[int, ...]) -> Any:
    """The lazy dw: a chunk."""
    places = slice(1, -1) if forward.channels_last else slice(2, None)
    cutting = ChunkCutting(
        forward.problem,
        (1,) * forward.problem.geometry.rank,
        chunk_boundaries(dy.chunks[0]),
        [chunk_boundaries(c) for c in dy.chunks[places]],
        [chunk_boundaries(c) for c in x.chunks[places]],
    )
    token = tokenize(x.name, dy.name, whole.problem, whole.way)
    name = f"{call}-{token}"
    blocks, channel_axis = cutting.blocks(), dy.ndim - 1 if forward.channels_last else 1
    forward = forward.with_room(block for _, block in blocks)
    there, channels = bool(find_chunks(x)), chunk_boundaries(x.chunks[channel_axis])
    slabs = Slabs(forward, cutting, channels, x.name, token, there=there)
    graph = dict(slabs.graph)
    partial: list[Any] = []
    for at, block in blocks:
        where, pieces = slabs.pieces(at)
        parts = [
            (dy.name, *arrange_axes(forward, at[1:], c, at[0])) for c in range(dy.numblocks[channel_axis])
        ]
        key = (f"partial-{token}", *at)
        graph[key] = (
            weight_task,
            forward,
            whole,
            block,
            block_shape(forward, block),
            pieces,
            where,
            parts,
            len(blocks) > 1,
        )
        partial.append(key)
    level = 0
    while len(partial) > 1:
        groups = [partial[i : i + FAN_IN] for i in range(0, len(partial), FAN_IN)]
        graph |= {(f"sum-{token}", level, i): (add_up, group) for i, group in enumerate(groups)}
        partial, level = [(f"sum-{token}", level, i) for i in range(len(groups))], level + 1
    graph[(name, *(0 for _ in w_shape))] = (np.asarray, partial[0], whole.dtype)
    layered = HighLevelGraph.from_collections(name, graph, dependencies=[x, dy])
    chunks = tuple((n,) for n in w_shape)
    return da.Array(layered, name, chunks, dtype=whole.dtype, meta=np.empty((0,) * len(w_shape), whole.dtype))


def weight_task(
    forward: Whole,
    whole: Whole,
    block: CutBlock,
    region: tuple[int, ...],
    pieces: Sequence[Array],
    places: Sequence[tuple[slice, ...]],
    dy: Sequence[Array],
    several: bool,
) -> Array:
    """dw of one chunk of dy; in float32 where several of 16 bits are to be added."""
    filters = dy[0] if len(dy) == 1 else np.concatenate(dy, -1 if forward.channels_last else 1)
    if not filters.size:  # a chunk without images
        wide = "float32" if several and whole.problem.dtype in NARROW else whole.dtype
        return np.zeros(whole.problem.shape("y"), wide)
    x = repeat_padding(forward, block.sources, assemble(pieces, places, region, forward.room))
    problem = replace(forward.problem.of_block(block.geometry), whole=None).grad_weight()
    if several and problem.dtype in NARROW:
        problem, x, filters = replace(problem, dtype="float32"), x.astype("f4"), filters.astype("f4")
    # A chunk of dy is a shorter filter than dy is, for which a way of long ones may not be there.
    fits = find_lowering(whole.way.lowering).refuses(problem) is None
    way = whole.way if fits else replace(whole.way, lowering="im2col")
    with one_at_a_time():
        made: Array = plan_block(problem, way, threads_here())(x, filters)
    return made


def add_up(partial: Sequence[Array]) -> Array:
    """The sum in order."""
    total = np.array(partial[0])
    for each in partial[1:]:
        total += each
    return total


__all__ = ["weight_grad"]
