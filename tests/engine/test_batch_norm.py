"""Normalisation over the batch by kernels: beside its definition in float64, between unreadable pages."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from convmat.engine import Sweep, SweepPlan, batch_norm, batch_norm_grad
from convmat.engine.cpu import host
from tests.engine.guarded import Fenced
from tests.support import Array

pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")
EPSILON = 1e-3

SHAPES = {
    "a vector and a rest": (16, 5, 6, 6),
    "planes shorter than a vector": (9, 6, 3, 3),
    "no planes": (40, 3),
    "one dimension": (3, 7, 147),
    "planes that sum by themselves": (3, 2, 48, 50),
}
LIMITS = (None, (0.0, float("inf")), (-0.25, 0.75))


def run(plan: SweepPlan | str, inputs: Sequence[Array], outputs: Sequence[Array]) -> list[Array]:
    """What the kernel writes, all arrays lying against unreadable pages at their ends."""
    assert isinstance(plan, SweepPlan), plan
    sweep = Sweep(plan)
    sweep.load()
    fenced = [Fenced.holding(each) for each in (*inputs, *outputs)]
    arrays = [f.array(each) for f, each in zip(fenced, (*inputs, *outputs), strict=True)]
    sweep(*arrays)
    assert all(each.untouched() for each in fenced)
    return [each.copy() for each in arrays[len(inputs) :]]


def wide(value: Array, rank: int) -> Array:
    return value.astype(np.float64).reshape(-1, *(1,) * (rank - 2))


def close(found: Array, wanted: Array, dtype: str) -> bool:
    """Norm-wise."""
    return bool(
        np.linalg.norm(found - wanted) <= (1e-6 if dtype == "float32" else 1e-14) * np.linalg.norm(wanted)
    )


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_both_passes_are_their_definition(name: str, dtype: str, limits: tuple[float, float] | None) -> None:
    shape, pick = SHAPES[name], np.random.default_rng(0)
    C, others = shape[1], (0, *range(2, len(shape)))
    x = (pick.standard_normal(shape) * 2 + wide(np.arange(C), len(shape))).astype(dtype)
    dy = pick.standard_normal(shape).astype(dtype)
    scale, bias = (pick.standard_normal(C).astype(dtype) for _ in range(2))
    outputs = [np.empty_like(x), *(np.empty(C, dtype) for _ in range(4))]
    made = [
        run(batch_norm(shape, EPSILON, dtype, threads, limits), [x, scale, bias], outputs)
        for threads in (1, 3)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True)), "bits depend on threads"
    y, mean, by, spread, add = made[0]

    m, v = (of(x.astype(np.float64), others, keepdims=True) for of in (np.mean, np.var))
    r, n = 1 / np.sqrt(v + EPSILON), x.size // C
    z = (x - m) * r
    whole = z * wide(scale, x.ndim) + wide(bias, x.ndim)
    assert close(y, np.clip(whole, *limits) if limits else whole, dtype)
    for each, wanted in ((mean, m), (by, r), (spread, v * n / (n - 1))):
        assert close(each, wanted.ravel(), dtype)

    outputs = [np.empty_like(x), *(np.empty(C, dtype) for _ in range(2))]
    inputs = [dy, x, scale, mean, by, *[add] * (limits is not None)]
    made = [run(batch_norm_grad(shape, dtype, threads, limits=limits), inputs, outputs) for threads in (1, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True)), "bits depend on threads"
    g = dy.astype(np.float64)
    if limits:  # y as it is, since which elements are at a limit is decided by rounding
        g = np.where((y > limits[0]) & (y < limits[1]), g, 0)
    dscale, dbias = (g * z).sum(others), g.sum(others)
    inner = g - wide(dbias, x.ndim) / n - z * wide(dscale, x.ndim) / n
    for found, wanted in zip(made[0], (inner * r * wide(scale, x.ndim), dscale, dbias), strict=True):
        assert close(found, wanted, dtype)


def test_means_and_variances_that_are_given() -> None:
    pick = np.random.default_rng(0)
    x, dy = (pick.standard_normal((4, 3, 5, 7)).astype(np.float32) for _ in range(2))
    scale, mean, variance = (np.abs(pick.standard_normal(3)).astype(np.float32) for _ in range(3))
    outputs = [np.empty_like(x), *(np.empty(3, np.float32) for _ in range(2))]
    dx, dscale, dbias = run(
        batch_norm_grad(x.shape, "float32", 2, given=EPSILON), [dy, x, scale, mean, variance], outputs
    )
    r = 1 / np.sqrt(variance.astype(np.float64) + EPSILON)
    assert close(dx, dy * wide(scale * r, 4), "float32")
    assert close(dscale, (dy * (x - wide(mean, 4)) * wide(r, 4)).sum((0, 2, 3)), "float32")
    assert close(dbias, dy.astype(np.float64).sum((0, 2, 3)), "float32")


def test_a_mean_far_from_0_costs_no_digit() -> None:
    """Also where the first plane, around whose mean sums are taken, is far from the others."""
    pick = np.random.default_rng(0)
    x = (pick.standard_normal((8, 2, 20, 20)) + 1000).astype(np.float32)
    x[0, 1] -= 1000
    outputs = [np.empty_like(x), *(np.empty(2, np.float32) for _ in range(4))]
    y, mean, *_ = run(
        batch_norm(x.shape, 0.0, "float32", 1), [x, np.ones(2, np.float32), np.zeros(2, np.float32)], outputs
    )
    wanted = x.astype(np.float64)
    wanted = (wanted - wanted.mean((0, 2, 3), keepdims=True)) / wanted.std((0, 2, 3), keepdims=True)
    assert close(y, wanted, "float32")
    assert close(mean, x.astype(np.float64).mean((0, 2, 3)), "float32")


def test_what_has_no_kernel_says_why() -> None:
    assert batch_norm((3, 4), 1e-5, "float16", 1) == "takes float32 and float64, got float16"
    assert batch_norm_grad((0, 4, 2), "float32", 1) == "takes elements of channels, got 0x4x2"
