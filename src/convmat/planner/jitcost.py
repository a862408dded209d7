"""What a jit program is predicted to cost.

    seconds = max(arithmetic, memory) on the slowest thread, arithmetic = FMA / peak + vectors packed + vectors stored
    seconds = arithmetic + memory      where x is waited for: transformed, or read in place from many channels at once

The peak and the bandwidths are this machine's measured ones; a vector packed or stored costs so many turns of the FMA
unit, read off kernels whose other costs vanish. Of what is read in place only x is waited for, and nothing where each
output has a channel of its own: planes are then read from start to end, which the hardware sees coming.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..engine import effort as kernel_effort
from ..problem import Problem
from ..product import Product
from .cost import Cost, error_estimate

if TYPE_CHECKING:
    from ..engine import JitProgram, KernelPlan, Peaks

EFFICIENCY = 0.97
"""Of the FMA peak that a register tile reaches on a long sum."""

STORE, STORE_IN_PLACE = 5.0, 1.0
"""Vectors of FMA that finishing a vector of C takes the time of."""

TRANSFORM = 4.0
"""The same for a vector of a transformed panel, of which effort counts four instructions as one."""

STRIDED = 1.5
"""How much longer packing takes where every second element of x is wanted, or fewer."""

CALL, TASK = 4e-6, 0.15e-6
"""Seconds of a call from Python, and of a task beside its arithmetic."""


def jit_cost(
    problem: Problem,
    program: JitProgram,
    workspace: int,
    peaks: Peaks,
    threads: int,
    roundings: float | None = None,
) -> Cost:
    """What a jit program is predicted to take; `workspace` with the padded input."""
    pad = workspace - program.workspace
    seconds = CALL + 2 * pad / peaks.memory_bandwidth
    kept = program.cpu.l3 * L3_SHARE
    flops = moved = 0
    for step, effort in zip(program.steps, program.efforts, strict=True):
        lanes = step.recipe.lanes
        flops += step.product.flops
        moved += effort.touched + 2 * (effort.packed + effort.fused_packed) * lanes * step.recipe.work.bytes
        wide = step.recipe.work.bytes / 4
        vector = (
            2 * lanes * wide / (peaks.fma_flops / threads)
        )  # seconds of one FMA instruction on one thread
        busy = effort.fma * wide / (peaks.fma_flops / threads) / EFFICIENCY
        in_place = step.reads_in_place
        store = STORE_IN_PLACE if in_place else STORE
        busy += (
            effort.packed * _packing(step.product)
            + effort.fused_packed * kernel_effort.FUSED_PACK
            + effort.stored * store
        ) * vector
        busy += _page_misses(problem, step) * PAGE_MISS
        share = -(-effort.tasks // threads) / effort.tasks if effort.tasks else 1.0
        near = effort.reread / (
            peaks.l3_bandwidth if step.weight_bytes < WEIGHT_BYTES else peaks.memory_bandwidth
        )
        bandwidth = peaks.l3_bandwidth if effort.touched < kept else peaks.memory_bandwidth
        far = effort.touched / bandwidth
        waited = far
        if in_place:
            read = math.prod(step.shapes["x"]) * step.dtypes.array.itemsize
            apart = problem.geometry.C > problem.geometry.G and read > program.cpu.l2
            waited = read / bandwidth if apart else 0.0
        seconds += max(busy * share + waited, near, far) if effort.waits else max(busy * share, near, far)
        seconds += effort.tasks * TASK / threads
        if not program.bound and step.weight_tasks:
            seconds += 3 * step.weight_bytes / peaks.l3_bandwidth
    return Cost(
        flops=flops,
        moved=moved + 2 * pad,
        workspace=workspace,
        weight_bytes=program.weight_bytes,
        seconds=seconds,
        error=error_estimate(problem, roundings),
    )


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

L3_SHARE = 0.75
"""Of the last cache: arrays of a call that are larger come from memory."""


def _packing(product: Product) -> float:
    """Vectors of FMA that writing one vector to a panel takes the time of."""
    if product.transforms:
        return TRANSFORM
    b = product.terms[0][1]
    steps = dict(b.coordinates[-1].terms)
    strided = max((abs(steps.get(i.name, 0)) for i in product.c.cols), default=0) > 1
    return kernel_effort.PACK * STRIDED if strided else kernel_effort.PACK
