"""What a candidate is predicted to cost.

    seconds = FLOPs / product rate + products + copies (inner loops, elements) + elementwise passes + calls

The product rate is the machine's measured one and falls off for matrices too small to fill a BLAS kernel; the
constants below are those of NumPy's own loops, in nanoseconds rather the same on every machine of these years.
The error is the expected norm-wise one, |y - y64| / |y64| on independent zero-mean data, twice over for safety: the
partial sums of k terms grow as a random walk, so rounding each to u leaves u*sqrt(k/6), and storing y leaves u_y/2.
Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..problem import Problem

if TYPE_CHECKING:
    from ..engine.blas import Program, Work
    from ..engine.machine import Machine

CALL = 1.0e-6
"""Seconds of one small NumPy call and the Python around it."""

PRODUCT = 0.3e-6
"""Seconds that BLAS takes to begin one product."""

HALF = (4, 10, 12)
"""The m, n and k at which a product reaches half its rate."""

LOOP, NEAR, FAR = 5e-9, 0.1e-9, 0.7e-9
"""Seconds of a copy's inner loop, of an element beside its neighbour, of one apart from it (4 bytes)."""

SWEEP, SWEEP_LOOP = 0.15e-9, 12e-9
"""Seconds of an element and of an inner loop of an elementwise pass in cache (4 bytes)."""

ROUNDOFF = {
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float32": 2.0**-24,
    "complex64": 2.0**-24,
    "float64": 2.0**-53,
    "complex128": 2.0**-53,
}


@dataclass(frozen=True)
class Cost:
    """What one candidate is predicted to take.

    `flops` multiplications and additions; `moved` bytes read and written beyond caches, packing included; `workspace`
    and `weight_bytes` bytes allocated; `seconds` for one call; `error` the estimated norm-wise relative error.
    """

    flops: int
    moved: int
    workspace: int
    weight_bytes: int
    seconds: float
    error: float


def blas_cost(problem: Problem, program: Program, workspace: int, machine: Machine) -> Cost:
    """What a blas program is predicted to take; `workspace` with the padded input."""
    item = np.dtype(problem.work_dtype).itemsize
    pad = workspace - program.workspace
    sizes = problem.geometry.bytes(_itemsize(problem.dtype))
    work = program.work
    copied = item * sum(2 * w.copied + 2 * w.swept for w in work)
    return Cost(
        flops=sum(w.flops + w.tapped for w in work),
        moved=sizes["x"] + sizes["w"] + sizes["y"] + copied + 2 * pad,
        workspace=workspace,
        weight_bytes=program.weight_bytes,
        seconds=sum(blas_seconds(w, item, problem.threads, machine) for w in work)
        + 2 * pad / machine.copy_bandwidth
        + 20 * CALL,
        error=error_estimate(problem),
    )


def blas_seconds(work: Work, item: int, threads: int, machine: Machine) -> float:
    """Predicted seconds of one product whose elements are `item` bytes while it is summed."""
    wide = item / 4
    rate = machine.blas_flops / wide / (1 if work.threads else threads)
    for extent, half in zip((work.m, work.n, work.k), HALF, strict=True):
        rate *= max(extent, 1) / (max(extent, 1) + half)
    return (
        work.flops / rate
        + work.products * PRODUCT
        + work.loops * LOOP
        + ((work.copied - work.apart) * NEAR + work.apart * FAR) * wide
        + (work.swept + work.tapped) * SWEEP * wide
        + work.tap_loops * SWEEP_LOOP
        + work.calls * CALL
    )


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def error_estimate(problem: Problem) -> float:
    """The expected norm-wise error of the definition's own products, doubled; 0 for integers."""
    work = ROUNDOFF[problem.work_dtype]
    if problem.out_dtype == "int32":
        return 0.0
    out = ROUNDOFF[problem.out_dtype]
    return 2 * (work * math.sqrt(problem.geometry.k / 6) + out / 2)


def error_bound(problem: Problem) -> float:
    """The proven bound k*u, relative to |A| @ |U| element by element, plus the rounding of y."""
    if problem.out_dtype == "int32":
        return 0.0
    return problem.geometry.k * ROUNDOFF[problem.work_dtype] + ROUNDOFF[problem.out_dtype]
