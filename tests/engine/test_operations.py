"""Operations of all element types, compiled, against what they mean to NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.engine.jit import Sweep, load_together
from convmat.engine.kernels.sweeps.base import SweepPlan
from convmat.engine.kernels.sweeps.elementwise import Expression, ExpressionStep, elementwise
from convmat.engine.kernels.sweeps.operations import FLOATS, INTEGERS, OPERATIONS, UNSIGNED
from tests.support import Array

pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")
HALF = "float16"
TYPES = [*sorted(FLOATS), *sorted(INTEGERS), "bool", HALF]
PARAMETERS = {"isinf": (1.0, 0.0), "clip": (-1.0, 2.0), "leaky_relu": (0.5,), "hardsigmoid": (0.25, 0.5)}
PARAMETERS |= {"scale": (0.3,), "shift": (0.7,), "bent_grad": (0.3, 0.5, 0.7), "within": (-0.5, 2.0)}
TWO = {
    "add", "sub", "mul", "div", "mod", "fmod", "pow", "max", "min", "prelu", "equal", "less", "less_equal", "greater",
    "greater_equal", "and", "or", "xor", "bit_and", "bit_or", "bit_xor", "shift_left", "shift_right",
    "relu_grad", "bent_grad", "within", "hardswish_grad",
}  # fmt: skip


def values(name: str, count: int) -> Array:
    """Numbers of a type: its ends, zeros, small ones, infinities and NaN, random ones."""
    pick, dtype = np.random.default_rng(count), np.dtype(name)
    if name == "bool":
        return pick.integers(0, 2, count).astype(bool)
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        special = np.array([0, 1, 2, 3, 7, ends.min, ends.min + 1, ends.max, ends.max - 1], dtype)
        rest = pick.integers(ends.min, ends.max, count, dtype, endpoint=True)
        rest[::2] = pick.integers(max(ends.min, -9), 10, len(rest[::2]))
    else:
        special = np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 3, np.inf, -np.inf, np.nan, 6e4, -1e-7]).astype(
            dtype
        )
        rest = (pick.standard_normal(count) * 10.0 ** pick.integers(-3, 4, count)).astype(dtype)
    rest[pick.permutation(count)[: count // 3]] = pick.choice(special, count // 3)
    return rest


def loaded(plan: SweepPlan | str) -> Sweep:
    assert isinstance(plan, SweepPlan), plan
    return Sweep(plan)


def check(cases: list[tuple[Expression, list[Array]]]) -> None:
    """Of each the kernel's answer, which is NumPy's, but for a last bit of functions that nobody rounds exactly."""
    sweeps = [loaded(elementwise(e, [x.shape for x in xs], xs[0].shape, 2)) for e, xs in cases]
    load_together(sweeps)
    for sweep, (made, xs) in zip(sweeps, cases, strict=True):
        sweep.load()
        y = np.full(xs[0].shape, 3, made.type)
        sweep(*xs, y)
        with np.errstate(all="ignore"):
            wanted = made(*xs)
        assert wanted.dtype == y.dtype
        if made.type in FLOATS and made.steps[-1].operation in SLIGHT:
            np.testing.assert_array_max_ulp(y[np.isfinite(wanted)], wanted[np.isfinite(wanted)], 5)
            wanted = np.where(np.isfinite(wanted), y, wanted)
        np.testing.assert_array_equal(y, wanted, err_msg=repr(made))
        if made.type in FLOATS and made.steps[-1].operation not in EITHER_ZERO:
            known = ~np.isnan(wanted)
            np.testing.assert_array_equal(np.signbit(y)[known], np.signbit(wanted)[known], err_msg=repr(made))


FORMULAS_TESTED = {
    "erf", "gelu", "gelu_tanh", "sigmoid", "silu", "tanh", "exp", "expm1", "log", "log1p", "sinh", "cosh", "asinh",
    "acosh", "atanh", "sin", "cos", "tan", "asin", "acos", "atan", "mish", "softplus", "hardswish", "hardsigmoid",
}  # fmt: skip
"""By `test_vecmath`, in units in the last place."""
EITHER_ZERO = {"max", "min", "relu", "relu6", "clip"}
"""Of 0 and -0 either is the greater."""
SLIGHT = {"pow", "mod"}
"""Rounded by NumPy itself on the way."""


def operations() -> Iterator[tuple[str, str]]:
    for name, each in sorted(OPERATIONS.items()):
        for dtype in sorted(each.types & {*TYPES}):
            if name not in FORMULAS_TESTED:
                yield name, dtype


def case(name: str, dtype: str, count: int = 333) -> tuple[Expression, list[Array]]:
    types: tuple[str, ...] = (dtype,) * (2 if name in TWO else 1)
    types = {"select": ("bool", dtype, dtype), "if_negative": (dtype,) * 3}.get(name, types)
    step = ExpressionStep(name, tuple(range(len(types))), PARAMETERS.get(name, ()))
    return Expression(types, (step,)), [values(t, count + i)[:count] for i, t in enumerate(types)]


def test_every_operation_of_every_type() -> None:
    several = [case(*each) for i, each in enumerate(operations()) if i % 2 == 0 or each[1] == "float32"]
    check(several)


@pytest.mark.slow
def test_the_other_types() -> None:
    check([case(*each) for each in operations()])


def casts(every: int) -> list[tuple[Expression, list[Array]]]:
    made = []
    for i, (a, b) in enumerate(product(TYPES, TYPES)):
        if a == b or i % every:
            continue
        x = values(a, 333)
        if np.dtype(a).kind == "f" and np.dtype(b).kind in "iu":  # beyond the range it is the CPU's choice
            x[~np.isfinite(x)] = 1
            ends, whole = np.iinfo(b), [int(each) for each in x.astype(np.float64)]
            x[[not ends.min <= each <= ends.max for each in whole]] = 1
        made.append((Expression((a,), (ExpressionStep("cast", (0,), (), b),)), [x]))
    return made


def test_casts() -> None:
    check(casts(5))


@pytest.mark.slow
def test_casts_between_all_types() -> None:
    check(casts(1))


def test_every_float16_is_rounded_once() -> None:
    x = np.random.default_rng(0).standard_normal(20_000) * 10.0 ** np.random.default_rng(1).integers(
        -9, 6, 20_000
    )
    near = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    half = (near[1:] + near[:-1]) / 2
    x = np.concatenate([x, half, np.nextafter(half, 0), np.nextafter(half, 1e9)])
    check([(Expression(("float64",), (ExpressionStep("cast", (0,), (), HALF),)), [x])])


def test_several_types_in_one_pass() -> None:
    """where(x + 1 < y, float(i), x) with x of one row and i of one column."""
    steps = (
        ExpressionStep("const", (), (1.0,), "float64"),
        ExpressionStep("add", (0, 3)),
        ExpressionStep("less", (4, 1)),
        ExpressionStep("cast", (2,), (), "float64"),
        ExpressionStep("select", (5, 6, 0)),
    )
    made = Expression(("float64", "float64", "int8"), steps)
    pick = np.random.default_rng(0)
    x, y = pick.standard_normal((1, 70)), pick.standard_normal((5, 9, 70))
    i = pick.integers(-9, 9, (9, 1)).astype(np.int8)
    sweep = loaded(elementwise(made, [x.shape, y.shape, i.shape], y.shape, 2))
    sweep.load()
    out = np.empty_like(y)
    sweep(x, y, i, out)
    np.testing.assert_array_equal(out, np.where(x + 1 < y, i.astype(float), np.broadcast_to(x, y.shape)))
    assert {*INTEGERS} > UNSIGNED
