"""Engines multiply matrix views: `blas` through NumPy, `jit` through machine code made for this CPU.

Nothing here knows what a convolution is; the words are View, Product and Epilogue (`convmat.product`). This is the face
of the engine, all that other rooms import. Behind it, each room importing only what stands to the left of it:

    cpu, operands, job  <-  ir  <-  kernels  <-  jit        from a product to the text of its kernel, compiled and bound
    cpu, operands, job  <-  runtime          <-  jit        from text to running threads
    operands, runtime.buffers  <-  blas                     the same products with NumPy's matmul
    jit, blas  <-  counted                                  8-bit integers with zero points by products of differences
    all of these  <-  measure                               what this machine reaches, measured once
    fitting  <-  gaussian  <-  ir, blas                     polynomials, what they are fitted to

A name loads its room when it is first asked for: `import convmat` loads none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..product import Packing, Product
    from .blas import cost as blas_work
    from .blas import strided_views
    from .blas import threads as blas_threads
    from .blas.cost import ProductWork
    from .blas.cuts import slice_block
    from .blas.engine import BlasProgram
    from .blas.epilogue import apply as apply_activation
    from .blas.fft_backend import has_scipy
    from .counted import Counted
    from .cpu import Cpu, host, usable_cores
    from .gaussian import erf, gelu, gelu_tanh
    from .jit import JitProgram, Sweep, load_together
    from .job import address
    from .kernels import effort
    from .kernels.base import KernelPlan
    from .kernels.sweeps import recurrence
    from .kernels.sweeps.base import SweepPlan
    from .kernels.sweeps.batch_norm import batch_norm, batch_norm_grad
    from .kernels.sweeps.byte_means import MOST_SUMMED, byte_means, mean_bytes
    from .kernels.sweeps.copies import Strides, strided_copy
    from .kernels.sweeps.elementwise import MOST_INPUTS, Expression, ExpressionStep, elementwise
    from .kernels.sweeps.extremes import extreme_places
    from .kernels.sweeps.forest import forest, pack_nodes
    from .kernels.sweeps.indexed import Indexed, indexed_copy
    from .kernels.sweeps.lookup import lookup
    from .kernels.sweeps.normalise import normalise
    from .kernels.sweeps.operations import towards_zero
    from .kernels.sweeps.pixel_shuffle import pixel_shuffle
    from .kernels.sweeps.read_places import read_places
    from .kernels.sweeps.reductions import reduction
    from .kernels.sweeps.resample import Weighted, resample
    from .kernels.sweeps.running import running_sums
    from .kernels.sweeps.scatter import Updates, scatter
    from .kernels.sweeps.softmax import softmax
    from .kernels.sweeps.suppress import suppress
    from .kernels.sweeps.top import above, top
    from .kernels.sweeps.unpool import unpool, unpool_overlapping
    from .kernels.sweeps.upsample import upsample
    from .kernels.sweeps.weigh import weigh_bytes
    from .kernels.sweeps.windows import windows
    from .kernels.text import kernel_text
    from .launch import Launcher, LooseLauncher, join_in_turn, start_anew
    from .measure import microbench
    from .measure.calm import count_switches
    from .measure.machine import Machine, Peaks, handover_seconds, machine, peaks, remeasure, use_rates_file
    from .operands import Array, Dtypes, Operands, aligned_size, contiguous_strides
    from .runtime import buffers, jit_cache, object_cache, preloaded, thread_pool, thread_pool_ir
    from .runtime.digests import digest, file_digest
    from .runtime.team import Team
    from .runtime.thread_pool import threads
    from .weighing import requantise, weigh

ENGINES = ("jit", "blas")
"""By name; where predicted times tie, the earlier one is chosen."""

_HOMES = {
    "apply_activation": ".blas.epilogue:apply",
    "BlasProgram": ".blas.engine:BlasProgram",
    "ProductWork": ".blas.cost:ProductWork",
    "Counted": ".counted:Counted",
    "blas_work": ".blas.cost",
    "blas_threads": ".blas.threads",
    "has_scipy": ".blas.fft_backend:has_scipy",
    "strided_views": ".blas.strided_views",
    "slice_block": ".blas.cuts:slice_block",
    "Cpu": ".cpu:Cpu",
    "digest": ".runtime.digests:digest",
    "file_digest": ".runtime.digests:file_digest",
    "host": ".cpu:host",
    "usable_cores": ".cpu:usable_cores",
    "erf": ".gaussian:erf",
    "gelu": ".gaussian:gelu",
    "gelu_tanh": ".gaussian:gelu_tanh",
    "address": ".job:address",
    "Launcher": ".launch:Launcher",
    "LooseLauncher": ".launch:LooseLauncher",
    "join_in_turn": ".launch:join_in_turn",
    "start_anew": ".launch:start_anew",
    "JitProgram": ".jit:JitProgram",
    "Sweep": ".jit:Sweep",
    "load_together": ".jit:load_together",
    "kernel_text": ".kernels.text:kernel_text",
    "effort": ".kernels.effort",
    "KernelPlan": ".kernels.base:KernelPlan",
    "SweepPlan": ".kernels.sweeps.base:SweepPlan",
    "elementwise": ".kernels.sweeps.elementwise:elementwise",
    "Expression": ".kernels.sweeps.elementwise:Expression",
    "ExpressionStep": ".kernels.sweeps.elementwise:ExpressionStep",
    "MOST_INPUTS": ".kernels.sweeps.elementwise:MOST_INPUTS",
    "extreme_places": ".kernels.sweeps.extremes:extreme_places",
    "pixel_shuffle": ".kernels.sweeps.pixel_shuffle:pixel_shuffle",
    "recurrence": ".kernels.sweeps.recurrence",
    "MOST_SUMMED": ".kernels.sweeps.byte_means:MOST_SUMMED",
    "byte_means": ".kernels.sweeps.byte_means:byte_means",
    "mean_bytes": ".kernels.sweeps.byte_means:mean_bytes",
    "Strides": ".kernels.sweeps.copies:Strides",
    "Weighted": ".kernels.sweeps.resample:Weighted",
    "resample": ".kernels.sweeps.resample:resample",
    "strided_copy": ".kernels.sweeps.copies:strided_copy",
    "forest": ".kernels.sweeps.forest:forest",
    "Indexed": ".kernels.sweeps.indexed:Indexed",
    "indexed_copy": ".kernels.sweeps.indexed:indexed_copy",
    "Updates": ".kernels.sweeps.scatter:Updates",
    "scatter": ".kernels.sweeps.scatter:scatter",
    "lookup": ".kernels.sweeps.lookup:lookup",
    "pack_nodes": ".kernels.sweeps.forest:pack_nodes",
    "batch_norm": ".kernels.sweeps.batch_norm:batch_norm",
    "batch_norm_grad": ".kernels.sweeps.batch_norm:batch_norm_grad",
    "normalise": ".kernels.sweeps.normalise:normalise",
    "read_places": ".kernels.sweeps.read_places:read_places",
    "reduction": ".kernels.sweeps.reductions:reduction",
    "running_sums": ".kernels.sweeps.running:running_sums",
    "softmax": ".kernels.sweeps.softmax:softmax",
    "suppress": ".kernels.sweeps.suppress:suppress",
    "above": ".kernels.sweeps.top:above",
    "top": ".kernels.sweeps.top:top",
    "unpool": ".kernels.sweeps.unpool:unpool",
    "unpool_overlapping": ".kernels.sweeps.unpool:unpool_overlapping",
    "upsample": ".kernels.sweeps.upsample:upsample",
    "requantise": ".weighing:requantise",
    "weigh": ".weighing:weigh",
    "weigh_bytes": ".kernels.sweeps.weigh:weigh_bytes",
    "windows": ".kernels.sweeps.windows:windows",
    "count_switches": ".measure.calm:count_switches",
    "microbench": ".measure.microbench",
    "Machine": ".measure.machine:Machine",
    "Peaks": ".measure.machine:Peaks",
    "machine": ".measure.machine:machine",
    "handover_seconds": ".measure.machine:handover_seconds",
    "peaks": ".measure.machine:peaks",
    "remeasure": ".measure.machine:remeasure",
    "use_rates_file": ".measure.machine:use_rates_file",
    "Array": ".operands:Array",
    "Dtypes": ".operands:Dtypes",
    "Team": ".runtime.team:Team",
    "Operands": ".operands:Operands",
    "aligned_size": ".operands:aligned_size",
    "contiguous_strides": ".operands:contiguous_strides",
    "buffers": ".runtime.buffers",
    "jit_cache": ".runtime.jit_cache",
    "object_cache": ".runtime.object_cache",
    "preloaded": ".runtime.preloaded",
    "thread_pool": ".runtime.thread_pool",
    "thread_pool_ir": ".runtime.thread_pool_ir",
    "towards_zero": ".kernels.sweeps.operations:towards_zero",
    "threads": ".runtime.thread_pool:threads",
}
"""Where each name lives: a module, or after a colon what stands in it."""


def __getattr__(name: str) -> Any:
    """A name of the face, its room loaded now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    found = sys.modules.get(f"convmat.engine{module}")
    if found is None or getattr(found.__spec__, "_initializing", True):  # a thread may be about to import it
        found = import_module(f"convmat.engine{module}")
    return getattr(found, attribute) if attribute else found


def prepare(
    engine: str,
    products: tuple[Product, ...],
    packing: Packing,
    dtypes: Dtypes,
    shapes: Mapping[str, tuple[int, ...]],
    limit: int,
    *,
    bound: bool = True,
    threads: int = 1,
) -> BlasProgram | JitProgram | str:
    """A program for the products by the engine of a name in ENGINES, or the sentence why it makes none.

    `limit`: bytes of scratch to keep to. `bound`: weights are packed once, by `bind`; otherwise in each call. `shapes`:
    of x, w and y; "around x" and "around y" are those of larger arrays that they may be parts of, in place.
    """
    if engine == "jit":
        from . import jit

        return jit.prepare(products, packing, dtypes, shapes, limit, bound=bound, threads=threads)
    from .blas import engine as blas

    return blas.prepare(products, packing, dtypes, shapes, limit, bound=bound, threads=threads)


__all__ = [
    "ENGINES",
    "MOST_INPUTS",
    "MOST_SUMMED",
    "Array",
    "BlasProgram",
    "Counted",
    "Cpu",
    "Dtypes",
    "Expression",
    "ExpressionStep",
    "Indexed",
    "JitProgram",
    "KernelPlan",
    "Launcher",
    "LooseLauncher",
    "Machine",
    "Operands",
    "Peaks",
    "ProductWork",
    "Strides",
    "Sweep",
    "SweepPlan",
    "Team",
    "Updates",
    "Weighted",
    "above",
    "address",
    "aligned_size",
    "apply_activation",
    "batch_norm",
    "batch_norm_grad",
    "blas_threads",
    "blas_work",
    "buffers",
    "byte_means",
    "contiguous_strides",
    "count_switches",
    "digest",
    "effort",
    "elementwise",
    "erf",
    "extreme_places",
    "file_digest",
    "forest",
    "gelu",
    "gelu_tanh",
    "handover_seconds",
    "has_scipy",
    "host",
    "indexed_copy",
    "jit_cache",
    "join_in_turn",
    "kernel_text",
    "load_together",
    "lookup",
    "machine",
    "mean_bytes",
    "microbench",
    "normalise",
    "object_cache",
    "pack_nodes",
    "peaks",
    "pixel_shuffle",
    "preloaded",
    "prepare",
    "read_places",
    "recurrence",
    "reduction",
    "remeasure",
    "requantise",
    "resample",
    "running_sums",
    "scatter",
    "slice_block",
    "softmax",
    "start_anew",
    "strided_copy",
    "strided_views",
    "suppress",
    "thread_pool",
    "thread_pool_ir",
    "threads",
    "top",
    "towards_zero",
    "unpool",
    "unpool_overlapping",
    "upsample",
    "usable_cores",
    "use_rates_file",
    "weigh",
    "weigh_bytes",
    "windows",
]
