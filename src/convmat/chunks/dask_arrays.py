"""Convolutions of Dask arrays: a lazy result whose tasks are blocks, equal to the result in memory.

    x: chunks  --slab--> the part of each chunk that a block needs  --block_task--> a chunk of y

Slabs are tasks of their own, so that they are cut off where their chunk lies and nothing else travels (`slabs`).
Channels are joined first. A weight gradient is one block for each chunk of dy, added up in their order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..arguments import format_shape
from ..errors import GeometryError, format_value
from ..planner import Plan, PlanOptions, chosen_way, dtype_name, request
from ..planner.arrays import read_array
from .cutting import ChunkCutting, Cuts, chunk_boundaries, output_cuts
from .lazy import BlockTasks, LazyResult
from .slabs import Slabs, find_chunks
from .work import Whole, arrange_axes, block_shape, block_task, read_bias

Array = npt.NDArray[Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Chunked:
    """A convolution of a Dask array, decided and cut, not built yet: what `plan` tells of and `convolve` builds."""

    call: str
    plan: Plan
    whole: Whole
    cutting: ChunkCutting
    x: Any
    single: bool

    @property
    def channels(self) -> Cuts:
        """The boundaries of x's chunks of channels."""
        return chunk_boundaries(self.x.chunks[-1 if self.whole.channels_last else 1])


def require_lazy(call: str, name: str, array: Any) -> Any:
    """A Dask array whose chunks are all known and whose numbers are NumPy's. Raises GeometryError."""
    if not isinstance(array, da.Array):
        raise GeometryError(
            f"{call}: {name} is a lazy object that is no array\n  {name} is a {type(array).__name__}\n"
            f"  give a dask.array, e.g. {name}.to_dask_array(lengths=True)"
        )
    if any(math.isnan(n) for axis in array.chunks for n in axis):
        raise GeometryError(
            f"{call}: the chunks of {name} have unknown sizes\n  {name}.chunks = {format_value(array.chunks)}\n"
            f"  find them out first: {name}.compute_chunk_sizes()"
        )
    if type(array._meta) is not np.ndarray:
        kind = type(array._meta).__name__
        masks = isinstance(array._meta, np.ma.MaskedArray)
        fix = (
            f"say what masked elements count as, da.ma.filled({name}, 0)"
            if masks
            else f"{name}.map_blocks(np.asarray)"
        )
        raise GeometryError(
            f"{call}: the chunks of {name} are no arrays of NumPy's\n  {name} has chunks of {kind}\n  {fix}"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def require_no_out(call: str, out: Any) -> None:
    """Raise GeometryError where a lazy result is to be written somewhere now."""
    if out is not None:
        raise GeometryError(
            f"{call}: a lazy result is not written yet, and takes no out\n  out is a {type(out).__name__}\n"
            f"  omit out=, and store the result, e.g. da.store(y, out)"
        )


def decide(
    call: str, options: PlanOptions, x: Any, w_shape: tuple[int, ...], dtype: Any = None
) -> tuple[Plan, bool]:
    """The whole's plan, and whether x came without its batch axis."""
    single = x.ndim == len(w_shape) - 1
    shape = (1, *x.shape) if single else x.shape
    name = dtype_name(x.dtype if dtype is None else dtype)
    return request(call, tuple(int(n) for n in shape), tuple(w_shape), name, options), single


def cut(
    call: str, plan: Plan, x: Any, *, single: bool, w: Array | None, bias: Array | None, name: str = "x"
) -> Chunked:
    """Cut y along x's chunks. x: (B, C, *I) or without B, in the layout of the plan."""
    problem = plan.problem
    if single:
        x = x[None]
    if x.shape != problem.shape("x"):
        raise GeometryError(
            f"{call}: {name} has another shape than planned\n"
            f"  {name}.shape = {x.shape}, expected {problem.shape('x')}\n"
            f"  give an array of that shape"
        )
    whole = Whole(problem, chosen_way(plan.decision), w, bias)
    g, pad = problem.geometry, problem.pad
    chunks = x.chunks[1:-1] if whole.channels_last else x.chunks[2:]
    cuts = [chunk_boundaries(c) for c in chunks]
    if pad is not None and pad.operand == "y":
        spatial: list[Cuts] = [(0, p) for p in g.P]  # borders are folded into what may be any chunk
    else:
        before = pad.lo if pad is not None else (0,) * g.rank
        spatial = [output_cuts(g, a, c, before[a]) for a, c in enumerate(cuts)]
    tile = plan.lowering.tile(g)
    return Chunked(
        call,
        plan,
        whole,
        ChunkCutting(problem, tile, chunk_boundaries(x.chunks[0]), spatial, cuts),
        x,
        single,
    )


def build(chunked: Chunked, residual: Any = None) -> Any:
    """The lazy result."""
    whole, cutting, x = chunked.whole, chunked.cutting, chunked.x
    problem = whole.problem
    shape, dtype = problem.shape("y"), whole.dtype
    if 0 in shape:
        made = da.zeros(shape, dtype=dtype, chunks=shape)
        return made[0] if chunked.single else made
    extents = [tuple(b - a for a, b in itertools.pairwise(c)) for c in cutting.spatial]
    if problem.pad is not None and problem.pad.operand == "y":
        outer = shape[1:-1] if whole.channels_last else shape[2:]
        extents = [(n,) for n in outer]
    batch = tuple(b - a for a, b in itertools.pairwise(cutting.batch))
    chunks = arrange_axes(whole, extents, (problem.geometry.O,), batch)
    token = tokenize(x.name, problem, whole.way, whole.w, whole.bias, chunks, getattr(residual, "name", None))
    name = f"{chunked.call}-{token}"
    blocks = cutting.blocks()
    whole = whole.with_room(block for _, block in blocks)
    graph: dict[Any, Any] = {f"whole-{token}": whole}
    if residual is not None:
        residual = residual.rechunk(chunks)
    there = bool(find_chunks(x))
    slabs = Slabs(whole, cutting, chunked.channels, x.name, token, there=there)
    graph |= slabs.graph
    tasks = BlockTasks(name, graph, [x] if residual is None else [x, residual], whole, {})
    for at, block in blocks:
        places, pieces = slabs.pieces(at)
        region = block_shape(whole, block)
        key = (name, *arrange_axes(whole, at[1:], 0, at[0]))
        added = None if residual is None else (residual.name, *key[1:])
        graph[key] = (block_task, f"whole-{token}", block, region, pieces, places, added)
        tasks.blocks[key[1:]] = block, region, slabs.of_block(at)
    layered = HighLevelGraph.from_collections(name, graph, dependencies=tasks.sources)
    made = LazyResult(layered, name, chunks, dtype=dtype, meta=np.empty((0,) * len(shape), dtype))
    made.tasks = tasks
    return made[0] if chunked.single else made


def input_grad(call: str, options: PlanOptions, dy: Any, w: Any, x_shape: tuple[int, ...]) -> Any:
    """`conv_input_grad` of a Dask dy."""
    filters = load_operand(call, "w", w)
    dy = _lazy_like(call, "dy", dy, filters)
    plan = request(call, x_shape, filters.shape, dtype_name(dy.dtype), options)
    return build(cut(call, plan, dy, single=False, w=filters, bias=None, name="dy"))


def _lazy_like(call: str, name: str, array: Any, other: Array, *, bytes_too: bool = False) -> Any:
    """A Dask array of the element type of the array beside it. Raises GeometryError.

    `bytes_too`: or one of bytes with a sign and one without.
    """
    lazy = require_lazy(call, name, array if isinstance(array, da.Array) else da.asarray(array))
    of_bytes = bytes_too and lazy.dtype.itemsize == other.dtype.itemsize == 1
    if lazy.dtype != other.dtype and not of_bytes:
        raise GeometryError(
            f"{call}: {name} and w have different element types\n"
            f"  {name}.dtype = {lazy.dtype}, w.dtype = {other.dtype}\n"
            f"  convert one, e.g. {name}.astype('{other.dtype}')"
        )
    return lazy


# -- what `api` hands over --------------------------------------------------------------------------------------------


def load_operand(call: str, name: str, array: Any) -> Array:
    """A small operand as an array: computed now where it is lazy."""
    return read_array(name, array.compute() if isinstance(array, da.Array) else array, call)


def convolve(
    call: str,
    options: PlanOptions,
    x: Any,
    w: Any,
    bias: Any,
    residual: Any,
    out: Any,
    more: Mapping[str, Any],
) -> Any:
    """`conv` and `conv_transpose` of a Dask array. Raises GeometryError for what else is given (`more`)."""
    require_no_out(call, out)
    for name in more:
        raise GeometryError(
            f"{call}: {name}= goes with NumPy's arrays\n  x is a {type(x).__module__}.{type(x).__name__}\n"
            f"  give the array, e.g. numpy.asarray(x), or omit {name}="
        )
    filters = load_operand(call, "w", w)
    if isinstance(w, list | tuple):
        filters = filters.astype(x.dtype)
    x = _lazy_like(call, "x", x, filters, bytes_too=True)
    if x.dtype != filters.dtype:
        options = options._replace(w_dtype=dtype_name(filters.dtype))
    plan, single = decide(call, options, x, filters.shape)
    result = plan._dtypes.out
    added = read_bias(call, bias.compute() if isinstance(bias, da.Array) else bias, plan)
    if residual is not None:
        residual = _residual(call, residual, plan, single, result)
    chunked = cut(call, plan, x, single=single, w=filters, bias=added)
    return build(chunked, residual)


def _residual(call: str, residual: Any, plan: Plan, single: bool, dtype: np.dtype[Any]) -> Any:
    lazy = require_lazy(
        call, "residual", residual if isinstance(residual, da.Array) else da.asarray(residual)
    )
    shape = plan.problem.shape("y")
    wanted = shape[1:] if single else shape
    if lazy.shape != wanted or lazy.dtype != dtype:
        raise GeometryError(
            f"{call}: residual does not fit the result\n"
            f"  residual is {format_shape(lazy.shape)} of {lazy.dtype}, expected {format_shape(wanted)} of {dtype}\n"
            f"  give an array of that shape and type"
        )
    return lazy[None] if single else lazy


__all__ = [
    "Chunked",
    "build",
    "convolve",
    "cut",
    "decide",
    "input_grad",
    "require_lazy",
    "require_no_out",
]
