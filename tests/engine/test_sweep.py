"""Kernels that pass over arrays once: expressions, reductions of lines, repetition."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.engine.jit import Sweep
from convmat.engine.kernels.sweeps.base import SweepPlan
from convmat.engine.kernels.sweeps.copies import CopyRecipe, Strides, strided_copy
from convmat.engine.kernels.sweeps.elementwise import Expression, ExpressionStep, elementwise
from convmat.engine.kernels.sweeps.normalise import normalise
from convmat.engine.kernels.sweeps.pixel_shuffle import pixel_shuffle
from convmat.engine.kernels.sweeps.reductions import reduction
from convmat.engine.kernels.sweeps.softmax import softmax
from convmat.engine.kernels.sweeps.upsample import upsample
from convmat.engine.operands import contiguous_strides

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")
ADD = Expression(("float32",) * 2, (ExpressionStep("add", (0, 1)),))


def test_random_sweeps_between_unreadable_pages() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.engine.sweeps", "0", "80"],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    last = ran.stdout.splitlines()[-1] if ran.stdout else "nothing was printed"
    assert ran.returncode == 0, f"{last}\n{ran.stderr[-2000:]}"
    assert last == "done: 80 sweeps"


def test_what_has_no_kernel_says_why() -> None:
    many = Expression(
        ("float32",) * 9, tuple(ExpressionStep("add", (8 + i if i else 0, i + 1)) for i in range(8))
    )
    assert elementwise(many, [(4,)] * 9, (4,), 1) == "takes up to 8 inputs, got 9"
    crossed = elementwise(ADD, [(2, 1) * 4, (1, 2) * 4], (2,) * 8, 1)
    assert crossed == "takes 7 axes that do not merge, got 8"
    odd = Expression(("float64",), (ExpressionStep("sin", (0,)),))
    assert elementwise(odd, [(4,)], (4,), 1) == "has no code for sin of float64"
    assert reduction("sum", (2, 0), (1,), "float32", 1) == "takes elements, got 2x0"
    wanted = "takes floats, and sum, max, min, prod signed integers, got mean of int32"
    assert reduction("mean", (2, 2), (1,), "int32", 1) == wanted
    wanted = "takes up to 2 groups of axes that are reduced, and 2 that are not, got 3 and 2"
    assert reduction("mean", (2,) * 5, (0, 2, 4), "float32", 1) == wanted
    assert softmax((3, 0), (1, 2), False, "float32", 1) == "takes elements, got 3x0"
    assert normalise(3, 0, 1e-5, 1) == "takes lines with elements, got 3 of 0"
    assert upsample(0, 3, 1, 1, "float32", 1) == "takes lines with elements, got 0 of 3"
    assert upsample(3, 3, 1, 1, "float16", 1) == "takes float32 and float64, got float16"
    assert pixel_shuffle(0, (2, 2), (3, 5), "float32", 1) == "takes planes with elements, got 0 of 3 x 5"
    assert pixel_shuffle(1, (2, 5), (3, 5), "float32", 1) == "weaves up to 4 lines, got 5"
    assert pixel_shuffle(1, (2, 2), (3, 5), "int8", 1) == "takes float32 and float64, got int8"
    assert upsample(3, 3, 9, 2, "float32", 1) == "repeats up to 8 times, got 9 by 2"


def loaded(plan: SweepPlan | str) -> Sweep:
    assert isinstance(plan, SweepPlan), plan
    sweep = Sweep(plan)
    sweep.load()
    return sweep


def test_nan_and_infinity_are_what_numpy_says() -> None:
    inf, nan = np.inf, np.nan
    a, b = (
        x.ravel()
        for x in np.meshgrid(np.array([nan, -inf, -1, 0, 2, inf], np.float32), [nan, -inf, 1, 3, inf])
    )
    b = b.astype(np.float32)
    with np.errstate(all="ignore"):
        for name, wanted in (
            ("max", np.maximum(a, b)),
            ("min", np.minimum(a, b)),
            ("div", a / b),
            ("prelu", np.where(a < 0, a * b, a)),
            ("mul", a * b),
        ):
            y = np.empty_like(a)
            made = Expression(("float32",) * 2, (ExpressionStep(name, (0, 1)),))
            loaded(elementwise(made, [a.shape, b.shape], a.shape, 1))(a, b, y)
            np.testing.assert_array_equal(y, wanted)
        for x in (
            np.array([[1, nan, 3], [-inf] * 3, [inf, 1, 2]], np.float32).repeat(n, axis=1) for n in (1, 31)
        ):
            for name in ("max", "min", "mean"):
                y = np.empty(3, np.float32)
                loaded(reduction(name, x.shape, (1,), "float32", 1))(x, y)
                np.testing.assert_array_equal(y, getattr(x, name)(1))
            y = np.empty_like(x)
            loaded(softmax(x.shape, (1, 2), False, "float32", 1))(x, y)
            assert np.isnan(y).all()


@pytest.mark.parametrize("shapes", [((0,), ()), ((0, 3), (3,)), ((2, 0, 3), (2, 1, 3)), ((2, 3, 0), (3, 1))])
def test_nothing_to_pass_over(shapes: tuple[tuple[int, ...], ...]) -> None:
    out = np.broadcast_shapes(*shapes)
    sweep = loaded(elementwise(ADD, shapes, out, 2))
    assert sweep.plan.tasks == 0
    sweep(*(np.ones(shape, np.float32) for shape in shapes), np.empty(out, np.float32))


@pytest.mark.parametrize(
    ("shape", "order", "how"),
    [
        ((2, 100, 61, 3), (0, 3, 1, 2), "dealt"),
        ((1, 130, 67, 4), (0, 3, 1, 2), "dealt"),
        ((2, 3, 100, 61), (0, 2, 3, 1), "woven"),
        ((1, 7, 70, 67), (0, 2, 3, 1), "woven"),
        ((1, 70, 67, 9), (0, 3, 1, 2), "turned"),
        ((9, 5000), (1, 0), "turned"),
    ],
)
def test_channels_last_become_planes_and_back(
    shape: tuple[int, ...], order: tuple[int, ...], how: str
) -> None:
    """A few channels by shuffles of whole vectors, more by squares; the pixels of one image are shared out."""
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    turned = x.transpose(order)
    for threads in (1, 3):
        plan = strided_copy(
            turned.shape,
            Strides(0, turned.strides),
            Strides(0, contiguous_strides(turned.shape, 4)),
            4,
            threads,
        )
        assert isinstance(plan, SweepPlan)
        assert isinstance(plan.recipe, CopyRecipe)
        assert (plan.recipe.how, plan.tasks > 1) == (how, threads > 1)
        sweep, y = Sweep(plan), np.full(turned.shape, -1, np.float32)
        sweep.load()
        sweep(x, y)
        np.testing.assert_array_equal(y, turned)


def test_in_place_and_from_any_strides() -> None:
    x = np.arange(20_000, dtype=np.float32).reshape(100, 200)
    twice = loaded(elementwise(ADD, [(200, 100)] * 2, (200, 100), 2))
    y = np.empty((200, 100), np.float32)
    twice(x.T, x.T, y)
    assert np.array_equal(y, 2 * x.T)
    twice(y, y, y)
    assert np.array_equal(y, 4 * x.T)
