"""What a candidate is predicted to cost.

    blas: seconds = FLOPs / product rate + what NumPy and BLAS take beside them

The product rate is this machine's, measured; the rest `engine.work` counts and weighs. `jitcost` has the other
engine's seconds.

The error is the expected norm-wise one, |y - y64| / |y64| on independent zero-mean data, twice over for safety: the
partial sums of k terms grow as a random walk, so rounding each by up to u leaves u*sqrt(SPREAD*k/6), and storing y
leaves u_y/2.
Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..engine import blas_work
from ..lazy_dataclass import dataclass
from ..problem import Problem

if TYPE_CHECKING:
    from ..engine import BlasProgram, Machine, ProductWork

START, SCATTER = 10e-6, 1.2e-9
"""Seconds from a call to its first product; and of writing an element of y amid those of other phases."""

ROUNDOFF = {
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float32": 2.0**-24,
    "complex64": 2.0**-24,
    "float64": 2.0**-53,
    "complex128": 2.0**-53,
}

SMALLEST_NORMAL = {
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
    "float32": 2.0**-126,
    "complex64": 2.0**-126,
    "float64": 2.0**-1022,
    "complex128": 2.0**-1022,
}
"""Smaller numbers are denormal: they keep fewer digits, which neither estimates nor bounds count."""


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


BOUND_CALLS = 1000
"""Calls that packing weights once is spread over: of ways that wait alike for memory one that packs none is taken."""


def blas_cost(
    problem: Problem, program: BlasProgram, padding: int, machine: Machine, roundings: float | None = None
) -> Cost:
    """What a blas program is predicted to take; `padding` are the bytes of the explicitly padded input."""
    item = np.dtype(problem.work_dtype).itemsize
    sizes = problem.geometry.bytes(element_bytes(problem.dtype))
    work, images = program.work, program.images
    copied = item * sum(2 * w.copies.elements + 2 * w.swept for w in work)
    return Cost(
        flops=images * sum(w.flops + w.tapped for w in work),
        moved=sizes["x"] + sizes["w"] + sizes["y"] + images * copied + 2 * padding,
        workspace=program.workspace + padding,
        weight_bytes=program.weight_bytes,
        seconds=START
        + images * sum(blas_seconds(w, problem, machine) for w in work)
        + (2 * padding + count_waited(problem)) / machine.copy_bandwidth
        + SCATTER * math.prod(problem.geometry.y_shape) * (problem.geometry.e[-1] > 1),
        error=error_estimate(problem, roundings),
    )


def count_waited(problem: Problem) -> float:
    """Bytes that NumPy and its BLAS wait for as copying them does: x and y, where no second cache holds both."""
    from ..engine import host

    sizes = problem.geometry.bytes(element_bytes(problem.dtype))
    arrays = sizes["x"] + sizes["y"]
    return arrays / 2 if arrays > host().l2 else 0.0


def blas_seconds(work: ProductWork, problem: Problem, machine: Machine) -> float:
    """Predicted time of one product of a blas program."""
    dtype = np.dtype(problem.work_dtype)
    # The machine's rate is that of all its threads for 4-byte reals.
    slower = (
        dtype.itemsize
        / 4
        * (2 if dtype.kind == "c" else 1)
        * (1 if work.threads and not problem.deterministic else problem.threads)
    )
    arithmetic = 0.0 if work.thin else work.flops / machine.blas_flops * slower
    converted = work.copies.elements if element_bytes(problem.dtype) == 2 else 0
    beside = work.nanoseconds(dtype.itemsize, problem.threads) + converted * blas_work.CONVERT
    shared = (arithmetic + beside * 1e-9 + _transforms(work, dtype.itemsize)) / work.lanes
    return shared + (work.calls * blas_work.HANDED_ON * 1e-9 if work.lanes > 1 else 0.0)


def _transforms(work: ProductWork, item: int) -> float:
    """Predicted time of Fourier transforms."""
    if not work.fourier:
        return 0.0
    from ..engine import has_scipy

    rate = blas_work.TRANSFORM_SCIPY if has_scipy() else blas_work.TRANSFORM
    return work.fourier * rate * item / 4 * 1e-9


def element_bytes(dtype: str) -> int:
    """Bytes of an element of this type."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def error_estimate(problem: Problem, roundings: float | None = None) -> float:
    """The expected norm-wise error, doubled; 0 for integers.

    `roundings` are a lowering's; by default those of the definition's own products, the k terms of its sums.
    """
    if problem.integral:
        return ROUNDOFF.get(problem.out_dtype, 0.0)
    terms = problem.geometry.k if roundings is None else roundings
    work, out = ROUNDOFF[problem.work_dtype], ROUNDOFF[problem.out_dtype]
    return 2 * (work * math.sqrt(SPREAD * terms / 6) + out / 2)


SPREAD = 0.75 / math.log(4)
"""The mean of 1/m^2 over significands m from 1 to 2, which spread evenly on a logarithmic scale."""


def error_bound(problem: Problem) -> float:
    """The proven bound k*u, relative to |A| @ |U| element by element, plus the rounding of y."""
    if problem.integral:
        return 2 * ROUNDOFF.get(problem.out_dtype, 0.0)
    return problem.geometry.k * ROUNDOFF[problem.work_dtype] + ROUNDOFF[problem.out_dtype]
