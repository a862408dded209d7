"""Arrays larger than memory: chunks of Dask arrays and of files, tiles of networks; each equal to the whole's result.

Dask, zarr and tifffile are loaded where they are used, from the extras `dask` and `zarr`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import api
from ..engine import thread_pool
from ..network import Network
from ..planner import Plan, PlanOptions
from .files import stream
from .files.conv import ConvJob
from .files.conv import plan_files as _plan_files
from .files.stream import Done, Job, Progress
from .streams import NetworkStream
from .tiles import tiled as _tiled
from .tiles.files import TileJob
from .tiles.inputs import name_inputs
from .tiles.tile_plan import TilePlan, describe_tiles
from .tiles.tiled import ReceptiveField, TileOptions, prepare_tiles, receptive_field, run_tiled

Array = npt.NDArray[Any]


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
    """`conv` and `conv_transpose` of a Dask array: what `api` hands over."""
    from . import dask_arrays

    return dask_arrays.convolve(call, options, x, w, bias, residual, out, more)


def input_grad(call: str, options: PlanOptions, dy: Any, w: Any, x_shape: tuple[int, ...], out: Any) -> Any:
    """`conv_input_grad` of a Dask array."""
    from . import dask_arrays

    dask_arrays.require_no_out(call, out)
    return dask_arrays.input_grad(call, options, dy, w, x_shape)


def weight_grad(call: str, options: PlanOptions, x: Any, dy: Any, w_shape: tuple[int, ...], out: Any) -> Any:
    """`conv_weight_grad` where x or dy is a Dask array."""
    from . import dask_arrays, dask_gradients

    dask_arrays.require_no_out(call, out)
    return dask_gradients.weight_grad(call, options, x, dy, w_shape)


def grads(call: str, options: PlanOptions, x: Any, w: Any, dy: Any) -> Any:
    """`conv_grads` where an array is Dask's: all three are computed first."""
    from . import dask_gradients

    return dask_gradients.grads(call, options, x, w, dy)


def unroll(call: str, x: Any, *rest: Any, **keywords: Any) -> Array:
    """`im2col` and `col2im` of a Dask array, which is computed first."""
    found: Array = getattr(api, call)(np.asarray(x), *rest, **keywords)
    return found


def plan(options: PlanOptions, x: Any, w_shape: tuple[int, ...]) -> Plan:
    """`plan` of a Dask array: it prints what its chunks make of it, too."""
    from . import chunk_plan

    return chunk_plan.plan_chunks(options, x, w_shape)


def run(network: Network, x: Any) -> Any:
    """`network(x)` of Dask arrays: a lazy output."""
    return _tiled.run_lazily(network, x)


def plan_tiles(network: Network, x: Any, options: TileOptions) -> TilePlan:
    """What `network.tiled` would do, computed nowhere. Raises NetworkError or PlanError."""
    return describe_tiles(prepare_tiles(network, name_inputs(network, x), options))


def crew(client: Any, sharded: Any) -> Any:
    """The workers of a Dask client, for a trainer's shards."""
    from .training import DaskCrew

    return DaskCrew(client, sharded)


def client_of(scheduler: str) -> Any:
    """A client of the Dask scheduler at an address. Raises PlanError."""
    from .files import cluster

    return cluster.client_of(scheduler)


def plan_files(
    source: str | os.PathLike[str],
    w: Array,
    bias: Array | None,
    keywords: Mapping[str, Any],
    memory: int,
    *,
    plain: bool = False,
) -> ConvJob:
    """The job of convolving the array in a file, in blocks that keep the process within `memory` bytes.

    `keywords` are those of `conv`. With `plain`, both arrays have spatial axes alone. Raises ConvmatError.
    """
    options = PlanOptions(**{**keywords, "bias": bias is not None})
    return _plan_files(Path(source), np.asarray(w), bias, options, memory, thread_pool.count(), plain=plain)


def make_file(
    job: Job,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    scheduler: str | None = None,
) -> Done:
    """Write what a job makes, here or by the workers of a Dask scheduler.

    Where `out` is a link, what it points at is written. What is done when it is stopped is there for `resume`. Raises
    PlanError.
    """
    path = Path(os.path.realpath(out)) if Path(out).is_symlink() else Path(out)
    if scheduler:
        from .files import cluster

        return cluster.make_on(scheduler, job, path, resume=resume, progress=progress)
    return stream.make(job, path, thread_pool.count(), resume=resume, progress=progress)


__all__ = [
    "ConvJob", "Done", "Job", "NetworkStream", "ReceptiveField", "TileJob", "TileOptions", "TilePlan", "client_of",
    "convolve", "crew", "grads", "input_grad", "make_file", "plan", "plan_files", "plan_tiles", "receptive_field",
    "run", "run_tiled", "weight_grad",
]  # fmt: skip
