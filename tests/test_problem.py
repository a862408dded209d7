"""Problems: element types, what they say of bytes and sums, and their gradients' roles."""

from __future__ import annotations

import numpy as np
import pytest

from convmat.geometry import Geometry
from convmat.problem import EpilogueForm, Pad, Problem
from tests.support import DTYPES

G = Geometry.of((5, 6, 8, 9), (4, 3, 3, 2), stride=2, padding=1, groups=2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_hold_what_they_are_taken_of(dtype: str) -> None:
    problem = Problem.of(G, dtype)
    assert problem.out_dtype == ("int32" if dtype.endswith("int8") else dtype)
    wide = {"float16": "float32", "bfloat16": "float32", "int8": "float32", "uint8": "float32"}
    assert problem.work_dtype == wide.get(dtype, dtype)
    assert problem.stored_dtype == problem.out_dtype


def test_bytes_are_summed_in_float64_where_float32_would_round() -> None:
    long = Geometry.of((1, 257, 1), (1, 257, 1))
    assert Problem.of(long, "int8").work_dtype == "float64"
    assert Problem.of(G, "int8", epilogue=EpilogueForm(bias=True)).work_dtype == "float64"
    worst = 2**8 * 255 * 255  # the longest that float32 sums: its largest sum is one of its whole numbers
    assert int(np.float32(worst)) == worst < 2**24


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_gradients_have_the_arrays_of_the_forward_pass(layout: str) -> None:
    forward = Problem.of(G, x=layout, y=layout)
    dx, dw = forward.grad_input(), forward.grad_weight()
    x, w, y = map(forward.shape, "xwy")
    assert tuple(map(dx.shape, "xwy")) == (y, w, x)
    assert tuple(map(dw.shape, "xwy")) == (x, y, w)
    assert (dx.conjugate, dw.conjugate) == ("w", "x")
    assert not dw.reuse_weights, "dy is new in every call"
    assert tuple(map(dx.grad_input().shape, "xwy")) == (x, w, y), "the gradient's gradient is the convolution"


def test_explicit_padding_is_not_its_owner_s() -> None:
    problem = Problem.of(G, padding_mode="edge")
    assert problem.pad == Pad("edge", (1, 1), (1, 1))
    assert problem.geometry.x_shape == (5, 6, 10, 11)
    assert problem.shape("x") == G.x_shape
    assert problem.grad_input().shape("y") == G.x_shape
    assert Problem.of(G, "float16", padding_mode="edge").grad_input().stored_dtype == "float32"


@pytest.mark.parametrize(
    ("pad", "most"),
    [
        (Pad("edge", (3,), (2,)), 4), (Pad("reflect", (3,), (2,)), 3), (Pad("symmetric", (3,), (2,)), 3),
        (Pad("wrap", (3,), (2,)), 3), (Pad("edge", (-3,), (-2,)), 1),
    ],
)  # fmt: skip
def test_how_often_a_border_repeats_an_element(pad: Pad, most: int) -> None:
    """No element of five is there more often than that."""
    assert pad.repeats(0, 5) == most
    lo, hi = max(pad.lo[0], 0), max(pad.hi[0], 0)
    padded = np.pad(np.arange(5), (lo, hi), mode=pad.mode)  # type: ignore[call-overload]
    assert np.unique(padded, return_counts=True)[1].max() <= most


def test_one_image_alone() -> None:
    problem = Problem.of(G, threads=4)
    assert (problem.alone().geometry.B, problem.alone().threads) == (1, 1)
    gradient = problem.grad_weight().alone()
    assert gradient.shape("x") == G.x_shape, "a weight gradient sums over images"
    assert gradient.threads == 1


def test_the_longest_sum_is_of_one_phase() -> None:
    """Of an input gradient with stride 2 every second tap along H, and one of two along W."""
    assert Problem.of(G).longest_sum == 3 * 3 * 2
    assert Problem.of(G).grad_input().longest_sum == 2 * 2 * 1
