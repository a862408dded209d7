"""What a jit program is predicted to cost.

    seconds = max(arithmetic + waiting, memory) on the slowest thread
    arithmetic = FMA / peak + vectors packed + vectors stored

The peak and the bandwidths are this machine's measured ones; a vector packed or stored costs so many turns of the FMA
unit, read off kernels whose other costs vanish. Transforms wait for x and y, and for half of what their weights take.
Other products wait for x where it comes from beyond a core's second cache, from many channels at once: where each
output has a channel of its own, planes are read from start to end, which the hardware sees coming. Rows of A in blocks
read x again for each, and so do phases of y that run one after the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..engine import effort as kernel_effort
from ..problem import Problem
from ..product import Product
from .cost import BOUND_CALLS, Cost, element_bytes, error_estimate

if TYPE_CHECKING:
    from ..engine import Cpu, JitProgram, KernelPlan, Peaks

    Effort = kernel_effort.Effort

EFFICIENCY = 0.97
"""Share of the FMA peak that a register tile reaches on a long sum."""

STORE, STORE_IN_PLACE, STORE_APART = 5.0, 1.0, 2.5
"""Vectors of FMA that finishing a vector of C takes the time of; and an element of one, where they lie apart."""

TRANSFORM = 4.0
"""The same for a vector of a transformed panel, of which effort counts four instructions as one."""

STRIDED, GATHERED = 0.5, 5.0
"""How much longer packing takes for each element of x that is passed over to the next; where each is read by itself."""

CALL = 4e-6
"""Seconds of a call from Python."""

TASK, PLANE = 16_500, 1_320
"""FLOPs that a core takes at its peak in the time of a task, and of a plane of y, beside their arithmetic.

What runs there are some dozens of scalar instructions: a core that multiplies quicker was found to run them as much
quicker, or more, where fixed seconds of one kind of CPU were three times what another kind takes.
"""


def jit_cost(
    problem: Problem, program: JitProgram, padding: int, peaks: Peaks, roundings: float | None = None
) -> Cost:
    """What a jit program is predicted to take; `padding` are the bytes of the explicitly padded input."""
    seconds = CALL + 2 * padding / peaks.memory_bandwidth
    moved = 2 * padding
    for step, effort in zip(program.steps, program.efforts, strict=True):
        moved += effort.touched
        moved += 2 * (effort.packed + effort.fused_packed) * step.recipe.lanes * step.recipe.work.bytes
        seconds += _step_seconds(problem, step, effort, program.cpu, peaks)
        if step.weight_tasks:
            packing = 3 * step.weight_bytes / peaks.l3_bandwidth
            seconds += packing / BOUND_CALLS if program.bound else packing
    return Cost(
        flops=sum(step.flops for step in program.steps),
        moved=moved,
        workspace=program.workspace + padding,
        weight_bytes=program.weight_bytes,
        seconds=seconds,
        error=error_estimate(problem, roundings),
    )


def _step_seconds(problem: Problem, step: KernelPlan, effort: Effort, cpu: Cpu, peaks: Peaks) -> float:
    """Predicted time of one product: the slowest thread's arithmetic, beside or after what memory takes."""
    threads = problem.threads
    share = -(-effort.tasks // threads) / effort.tasks if effort.tasks else 1.0
    busy = _busy_seconds(problem, step, effort, peaks) * share
    near = _reread_seconds(step, effort, cpu, peaks)
    moved, bandwidth = _count_moved(step, effort, cpu, peaks)
    far = moved / bandwidth
    waited = effort.again / peaks.l2_bandwidth
    if effort.waits and not step.reads_in_place:
        waited += far + near * WEIGHTS_WAITED
    elif problem.geometry.C > problem.geometry.G and bandwidth < peaks.l2_bandwidth:
        waited += effort.passes * math.prod(step.shapes["x"]) * step.dtypes.array.itemsize / bandwidth
    taken = max(busy + waited, near, far)
    return taken + (effort.tasks * TASK + effort.planes * PLANE) / peaks.fma_flops


def _reread_seconds(step: KernelPlan, effort: Effort, cpu: Cpu, peaks: Peaks) -> float:
    """What reading packed weights for each block takes; small ones come to each core once, and stay."""
    again = effort.reread
    if step.weight_bytes < cpu.l2 * WEIGHTS_SHARE:
        again = min(again, peaks.threads * step.weight_bytes)
    return again / (peaks.l3_bandwidth if step.weight_bytes < WEIGHT_BYTES else peaks.memory_bandwidth)


def _count_moved(step: KernelPlan, effort: Effort, cpu: Cpu, peaks: Peaks) -> tuple[float, float]:
    """Bytes of a call's arrays that are moved, and how many a second, by the cache that holds them from call to call.

    Beyond a core's second cache what is written is read first, and written back while others are read.
    """
    out = math.prod(step.shapes["y"]) * step.dtypes.out.itemsize if "y" in step.shapes else 0
    held = effort.touched + (out if step.product.epilogue.residual is not None else 0)
    if held <= cpu.l2 * peaks.threads * L2_SHARE:
        return held, peaks.l2_bandwidth
    return (
        held + WRITTEN_BACK * out,
        peaks.l3_bandwidth if held < cpu.l3 * L3_SHARE else peaks.memory_bandwidth,
    )


def bytes_from_memory(problem: Problem, cpu: Cpu) -> float:
    """Bytes of x, w and y on their way from and to memory, whoever multiplies; 0 where a cache holds them.

    The rates of memory and of what NumPy does are measured at different times: where other processes slowed the one
    down, no engine may look quicker for it.
    """
    sizes = problem.geometry.bytes(element_bytes(problem.dtype))
    held = sizes["x"] + sizes["w"] + sizes["y"]
    return held + WRITTEN_BACK * sizes["y"] if held >= cpu.l3 * L3_SHARE else 0.0


def _busy_seconds(problem: Problem, step: KernelPlan, effort: Effort, peaks: Peaks) -> float:
    """Arithmetic of all tasks on one thread, packing included."""
    peak = peaks.fma_flops / problem.threads
    wide: float = step.recipe.work.bytes / 4
    vector: float = 2 * step.recipe.lanes * wide / peak  # seconds of one FMA instruction
    vectors = (
        effort.packed * _packing(step.product, effort)
        + effort.fused_packed * kernel_effort.FUSED_PACK
        + effort.stored * (_storing(step) + _rounding_again(step))
    )
    multiplied = effort.fma * wide / peak
    if step.rate != "fma_flops":  # 8- and 16-bit numbers
        multiplied = effort.fma * problem.threads / getattr(peaks, step.rate)
    return multiplied / EFFICIENCY + vectors * vector + _page_misses(problem, step) * PAGE_MISS


PAGE, PAGES, PAGE_MISS = 4096, 64, 1.2e-9
"""Bytes of a page, pages that a core finds at once, and the seconds of finding another."""


def _page_misses(problem: Problem, step: KernelPlan) -> int:
    """How often a line of x read in place begins on a page that is not at hand: every plane has pages of its own."""
    g = problem.geometry
    channels, rows = g.C // g.G, g.O // g.G
    far = math.prod(g.I[-2:]) * step.dtypes.array.itemsize >= PAGE and channels + rows > PAGES
    if g.C == g.G or not far or not step.plane_rows:
        return 0
    lines = g.B * math.prod(g.P[:-1]) * math.prod(g.F[:-1])
    return lines * g.C * -(-rows // step.plane_rows)


WEIGHT_BYTES = 24 << 20
"""Weights that are larger are gone from the last cache before they are read again."""

WEIGHTS_SHARE = 0.5
"""Share of a core's second cache: smaller weights stay in it, beside what they multiply."""

WEIGHTS_WAITED = 0.5
"""Share of the time that transformed weights take from beyond the second cache: the rest passes beside the products."""

WRITTEN_BACK = 0.5
"""What writing a byte back to where it was read from takes beside reading others, in bytes read."""

L2_SHARE, L3_SHARE = 0.75, 0.75
"""Shares of the second and the last cache: arrays of a call that are larger come from further away."""


def _storing(step: KernelPlan) -> float:
    """Vectors of FMA that finishing a vector of C takes the time of."""
    if step.reads_in_place:
        return STORE_IN_PLACE
    c = step.product.c
    apart = dict(c.coordinates[-1].terms).get(c.cols[-1].name, 1) > 1
    return STORE_APART * step.recipe.lanes if apart and not step.product.transforms else STORE


REQUANTISED, WEIGHED = 4, 10
"""The same of rounding a vector of bytes again, by numbers of a row or with a residual: its instructions."""


def _rounding_again(step: KernelPlan) -> int:
    epilogue = step.product.epilogue
    return REQUANTISED * (epilogue.requantise is not None) + WEIGHED * epilogue.weighed


def _packing(product: Product, effort: Effort) -> float:
    """Vectors of FMA that writing one vector to a panel takes the time of."""
    if product.transforms:
        return TRANSFORM
    longer = GATHERED if effort.apart > kernel_effort.EVERY else 1 + STRIDED * (effort.apart - 1)
    return kernel_effort.PACK * longer
