"""What a candidate is predicted to cost.

    seconds = FLOPs / product rate + elements / tap rate + bytes / copy bandwidth + calls * call

The rates are the machine's measured ones; the product rate falls off for matrices too small to fill a BLAS kernel.
The error is the expected norm-wise one, |y - y64| / |y64| on independent zero-mean data, twice over for safety: the
partial sums of k terms grow as a random walk, so rounding each to u leaves u*sqrt(k/6), and storing y leaves u_y/2.
Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..engine.blas import Work
from ..engine.machine import Machine
from ..problem import Problem

CALL = 1.5e-6
"""Seconds of one small NumPy call."""

HALF = 24
"""The extent of a matrix at which BLAS reaches half its rate along that axis."""

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


def blas_seconds(problem: Problem, work: Work, m: int, depth: int, machine: Machine) -> float:
    """Predicted seconds of a blas program whose narrowest product is (m, depth) @ (depth, work.columns)."""
    item = np.dtype(problem.work_dtype).itemsize
    full = machine.blas_flops * 4 / item
    sides = (max(m, 1), max(depth, 1), max(work.columns, 1))
    rate = full * math.prod(side / (side + HALF) for side in sides)
    bandwidth = machine.copy_bandwidth
    weights = 0 if problem.reuse_weights else problem.geometry.bytes(item)["w"] * 2
    return (
        work.flops / rate
        + work.elementwise * item * 4 / bandwidth
        + (2 * work.packed + 2 * work.stored + weights) / bandwidth
        + work.calls * CALL
    )


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
