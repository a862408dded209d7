"""plan.workspace is the truth, nothing outside the arrays is read or written, and no scratch is read before written."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import Plan
from convmat.cases import CASES, Case, case
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation
from tests.allocations import Allocations
from tests.covering import compiled_passes, covering
from tests.support import (
    DTYPES,
    LAYOUTS,
    PASSES,
    TAILS,
    Array,
    agree,
    dtype_of,
    operands,
    plan_of,
    plans,
    problem_of,
    tolerance,
    truth,
    ways,
)


def held(plan: Plan, first: Array, second: Array, **more: Any) -> None:
    """A bound call allocates at most plan.workspace; one that packs its weights, plan.weight_bytes more."""
    bias, residual = more.get("bias"), more.get("residual")
    out = np.empty(plan.problem.shape("y"), dtype_of(plan.problem.out_dtype))
    bound = plan.bind(second, bias)
    bound(first, residual=residual, out=out)  # whatever is loaded or remembered once
    with Allocations() as made:
        bound(first, residual=residual, out=out)
    assert made.peak <= plan.workspace, (made.peak, plan.workspace, plan.chosen.name, str(plan.problem))
    assert made.broken == []
    again = out.copy()
    with Allocations() as made:
        plan(first, second, bias, residual=residual, out=out)
    allowed = plan.workspace + plan.weight_bytes + (0 if bias is None else bias.nbytes)
    assert made.peak <= allowed, (made.peak, allowed, plan.chosen.name, str(plan.problem))
    assert made.broken == []
    np.testing.assert_array_equal(out, again)


def taken(each: Case, dtype: str, layout: str, direction: str, slow: bool) -> Iterator[Plan]:
    """The plans of a case: with --slow all, else those whose kernels the matrix compiles too."""
    problem = problem_of(each, dtype, layout, direction)
    for way in ways():
        if way[0] == "blas":  # every type goes every way, the lesser ones in a third of the cases each
            wanted = slow or dtype == "float32" or (CASES.index(each) + DTYPES.index(dtype)) % 3 == 0
        else:
            wanted = slow or direction in compiled_passes(each, dtype, layout, way)
        if wanted and isinstance(plan := plan_of(problem, way), Plan):
            yield plan


OTHERS = [dtype for dtype in DTYPES if dtype != "float32"]


def test_workspace_is_never_exceeded(each_case: Case, slow: bool) -> None:
    for layout, direction in itertools.product(LAYOUTS, PASSES):
        first, second, _ = operands(each_case, "float32", layout, direction)
        for plan in taken(each_case, "float32", layout, direction, slow):
            held(plan, first, second)


@pytest.mark.parametrize("dtype", OTHERS)
def test_workspace_is_never_exceeded_in_any_type(dtype: str, slow: bool) -> None:
    for each, direction in itertools.product(TAILS if slow else covering(dtype), PASSES):
        first, second, _ = operands(each, dtype, "NCHW", direction)
        for plan in taken(each, dtype, "NCHW", direction, slow):
            held(plan, first, second)


ACTIVATIONS = [
    None,
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
    "gelu_tanh",
    "hardswish",
    "hardsigmoid",
    ("clip", -1, 5),
]


ACTIVATED = ("2d/3x3/tail", "2d/depthwise/tail", "2d/1x1/tail", "2d/transposed-gaps/tail")
REAL = ("float32", "float64", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", ACTIVATED)
def test_the_epilogue_fits_into_the_workspace(name: str, dtype: str, slow: bool) -> None:
    """By all activations with --slow; otherwise by three, so that each meets every case, and every type once.

    A kernel applies any of them in registers: quick runs compile one of the three for every second pair.
    """
    each, t = case(name), truth(case(name), "real")
    given = dtype_of(dtype)
    rng = np.random.default_rng(0)
    bias = rng.standard_normal(each.geometry.O).astype(given)
    residual = rng.standard_normal(each.geometry.y_shape).astype(given)
    first = (ACTIVATED.index(name) + REAL.index(dtype)) % 4
    for number, activation in enumerate(ACTIVATIONS if slow else ACTIVATIONS[first::4]):
        epilogue = EpilogueForm(bias=True, residual=True, activation=Activation.of(activation))
        for chosen, plan in plans(problem_of(each, dtype, epilogue=epilogue)):
            if slow or chosen.engine == "blas" or (number == 0 and first % 2 == 0):
                held(plan, t.x.astype(given), t.w.astype(given), bias=bias, residual=residual)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_bias_of_many_filters_fits_too(dtype: str, threads: int) -> None:
    """Where little else is needed; what other threads allocate is counted."""
    given, rng = dtype_of(dtype), np.random.default_rng(0)
    for groups, extent in ((1, 16), (64, 80)):
        g = convmat.Geometry.of((1, groups, extent, extent), (2048, 1, 9, 9), stride=4, groups=groups)
        x, w, bias = (rng.standard_normal(shape).astype(given) for shape in (g.x_shape, g.w_shape, (g.O,)))
        problem = Problem.of(g, dtype, threads=threads, rtol=1.0, epilogue=EpilogueForm(bias=True))
        (plan,) = (plan for _, plan in plans(problem) if plan.chosen.lowering == "fft")
        held(plan, x, w, bias=bias)


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_explicit_padding_fits_into_the_workspace(mode: str) -> None:
    g = convmat.Geometry.of((2, 3, 9, 11), (4, 3, 3, 3), padding=((1, 2), (2, 1)), stride=2)
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape, g.y_shape))
    problem = Problem.of(g, padding_mode=mode)
    for made, first, second in (
        (problem, x, w),
        (problem.grad_input(), dy, w),
        (problem.grad_weight(), x, dy),
    ):
        for _, plan in plans(made):
            held(plan, first, second)


@pytest.mark.parametrize("limit", [64 * 2**20, 2**20, 2**17, 2**16])
def test_a_limit_is_obeyed_or_refused(limit: int) -> None:
    """A layer of some size, in many panels: every candidate that accepts stays below the limit."""
    g = convmat.Geometry.of((2, 32, 40, 40), (32, 32, 3, 3), padding=1)
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    expected = convmat.conv(x, w, padding=1, exact=True)
    found = 0
    for direction in PASSES:
        forward = Problem.of(g, workspace_limit=limit)
        problem = {"forward": forward, "input": forward.grad_input(), "weight": forward.grad_weight()}[
            direction
        ]
        for _, plan in plans(problem):
            found += 1
            assert plan.workspace <= limit
            second = w if direction != "weight" else expected
            held(plan, expected if direction == "input" else x, second)
            if direction == "forward":
                agree(plan(x, w), expected, tolerance(problem, plan.chosen.lowering), plan.chosen.name)
    assert found


def test_conv_counts_its_packed_weights_against_the_limit() -> None:
    x, w = np.ones((1, 64, 30, 30), np.float32), np.ones((64, 64, 3, 3), np.float32)
    out = np.empty((1, 64, 28, 28), np.float32)
    for limit in (2**18, 2**19, 2**20):
        convmat.conv(x, w, out=out, workspace_limit=limit)
        with Allocations() as made:
            convmat.conv(x, w, out=out, workspace_limit=limit)
        assert made.peak <= limit


def test_the_allocator_agrees_with_tracemalloc() -> None:
    """On one array of our own: the bytes that tracemalloc books in NumPy's domain are those that are counted."""
    domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    tracemalloc.start()
    try:
        with Allocations() as made:
            kept = np.empty((123, 45))
            booked = sum(t.size for t in tracemalloc.take_snapshot().filter_traces([domain]).traces)
    finally:
        tracemalloc.stop()
    assert made.peak == booked == kept.nbytes


# -- beside the arrays ------------------------------------------------------------------------------------------------


def amid(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where `fenced` puts an array: one element from the end of each axis, seven from those of the last."""
    gaps = [1] * (len(shape) - 1) + [7]
    return tuple(slice(gap, gap + n) for gap, n in zip(gaps, shape, strict=True))


def fenced(array: Array) -> tuple[Array, Array]:
    """A copy of the array amid memory that is no number, also between its rows; and that memory whole."""
    where = amid(array.shape)
    shape = tuple(at.start + at.stop for at in where)
    around = np.frombuffer(bytearray(b"\xff" * (math.prod(shape) * array.itemsize)), array.dtype).reshape(
        shape
    )
    inner = around[where]
    inner[...] = array
    return inner, around


def untouched(inner: Array, around: Array) -> bool:
    """Whether all but the array itself is as it was."""
    outside = np.ones(around.shape, bool)
    outside[amid(inner.shape)] = False
    raw = np.ascontiguousarray(around).view(np.uint8).reshape(*around.shape, around.itemsize)
    return bool((raw[outside] == 0xFF).all())


def check_surroundings(plan: Plan, first: Array, second: Array, expected: Array) -> None:
    """Run among NaN, with contiguous arrays and with gaps inside them: a clean result, clean surroundings."""
    for fence in (fenced, fenced_outside):
        (a, around_a), (b, around_b) = fence(first), fence(second)
        out, around = fence(np.zeros_like(expected))
        before = around_a.copy(), around_b.copy()
        with Allocations() as made:
            plan(a, b, out=out)
        assert made.broken == []
        agree(out, expected, tolerance(plan.problem, plan.chosen.lowering), plan.chosen.name)
        if fence is fenced:
            assert untouched(out, around)
        else:
            size, fence_bytes = out.nbytes, FENCE_BYTES
            assert bytes(around[:fence_bytes]) == bytes(around[fence_bytes + size :]) == b"\xff" * fence_bytes
        for now, then in zip((around_a, around_b), before, strict=True):
            assert now.tobytes() == then.tobytes()


FENCE_BYTES = 4096


def fenced_outside(array: Array) -> tuple[Array, Array]:
    """A contiguous copy with memory that is no number before and after."""
    raw = np.full(array.nbytes + 2 * FENCE_BYTES, 0xFF, np.uint8)
    inner = raw[FENCE_BYTES : FENCE_BYTES + array.nbytes].view(array.dtype).reshape(array.shape)
    inner[...] = array
    return inner, raw


def test_nothing_outside_is_read_or_written(each_case: Case, slow: bool) -> None:
    for direction in PASSES:
        for plan in taken(each_case, "float32", "NCHW", direction, slow):
            check_surroundings(plan, *operands(each_case, "float32", "NCHW", direction))


@pytest.mark.parametrize("dtype", OTHERS)
def test_nothing_outside_is_read_or_written_in_any_type(dtype: str, slow: bool) -> None:
    for each, direction in itertools.product(TAILS if slow else covering(dtype), PASSES):
        for plan in taken(each, dtype, "NCHW", direction, slow):
            check_surroundings(plan, *operands(each, dtype, "NCHW", direction))
