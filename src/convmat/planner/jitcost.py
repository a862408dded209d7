"""What a jit program is predicted to cost.

    seconds = max(arithmetic, memory) on the slowest thread, arithmetic = FMA / peak + vectors packed + vectors stored
    seconds = arithmetic + memory                            where x is waited for: read in place, or transformed

The peak and the bandwidths are this machine's measured ones; a vector packed or stored costs so many turns of the FMA
unit, read off kernels whose other costs vanish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..problem import Problem
from .cost import Cost, error_estimate

if TYPE_CHECKING:
    from ..engine.jit import Program
    from ..engine.machine import Peaks

EFFICIENCY = 0.97
"""Of the FMA peak that a register tile reaches on a long sum."""

PACK, STORE = 4.0, 5.0
"""Vectors of FMA that writing one vector to a panel, and finishing one of C, take the time of."""

CALL, TASK = 4e-6, 0.15e-6
"""Seconds of a call from Python, and of a task beside its arithmetic."""


def jit_cost(
    problem: Problem, program: Program, workspace: int, peaks: Peaks, threads: int, amplification: float = 1.0
) -> Cost:
    """What a jit program is predicted to take; `workspace` with the padded input."""
    pad = workspace - program.workspace
    seconds = CALL + 2 * pad / peaks.memory_bandwidth
    flops = moved = 0
    for step, effort in zip(program.steps, program.efforts, strict=True):
        lanes = step.recipe.lanes
        flops += step.product.flops
        moved += effort.touched + 2 * effort.packed * lanes * step.recipe.work.bytes
        wide = step.recipe.work.bytes / 4
        vector = (
            2 * lanes * wide / (peaks.fma_flops / threads)
        )  # seconds of one FMA instruction on one thread
        busy = effort.fma * wide / (peaks.fma_flops / threads) / EFFICIENCY
        busy += (effort.packed * PACK + effort.stored * STORE) * vector
        share = -(-effort.tasks // threads) / effort.tasks if effort.tasks else 1.0
        near = effort.reread / (
            peaks.l3_bandwidth if step.weight_bytes < WEIGHT_BYTES else peaks.memory_bandwidth
        )
        far = effort.touched / (peaks.l3_bandwidth if effort.touched < L3_BYTES else peaks.memory_bandwidth)
        seconds += max(busy * share + far, near) if effort.waits else max(busy * share, near, far)
        seconds += effort.tasks * TASK / threads
        if not program.bound and step.weight_tasks:
            seconds += 3 * step.weight_bytes / peaks.l3_bandwidth
    return Cost(
        flops=flops,
        moved=moved + 2 * pad,
        workspace=workspace,
        weight_bytes=program.weight_bytes,
        seconds=seconds,
        error=error_estimate(problem, amplification),
    )


WEIGHT_BYTES = 24 << 20
"""Weights that are larger are gone from the last cache before they are read again."""

L3_BYTES = 8 << 20
"""Arrays of a call that are larger come from memory rather than from the last cache."""
