"""Spatial axes of one element and one tap: no way sees them, nobody's result has other bits for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat import Geometry
from convmat.problem import Problem
from tests.support import Array


def numbers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize("axis", [2, 3, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bits_are_those_without_the_axis(axis: int, layout: str) -> None:
    x, w = numbers(2, 20, 9, 11), numbers(24, 10, 3, 2)
    last = layout == "NHWC"
    flat: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "groups": 2}
    at = axis - 2
    wider: dict[str, Any] = {
        "stride": (*flat["stride"][:at], 3, *flat["stride"][at:]),
        "padding": (*flat["padding"][:at], (0, 0), *flat["padding"][at:]),
        "groups": 2,
    }
    given = np.moveaxis(x, 1, -1) if last else x
    more = axis - 1 if last else axis
    found = convmat.conv(np.expand_dims(given, more), np.expand_dims(w, axis), layout=layout, **wider)
    right = convmat.conv(given, w, layout=layout, **flat)
    np.testing.assert_array_equal(found.squeeze(more), right)
    if last:
        return
    dy = numbers(*right.shape)
    dx = convmat.conv_input_grad(
        np.expand_dims(dy, axis), np.expand_dims(w, axis), (*x.shape[:axis], 1, *x.shape[axis:]), **wider
    )
    np.testing.assert_array_equal(dx.squeeze(axis), convmat.conv_input_grad(dy, w, x.shape, **flat))
    dw = convmat.conv_weight_grad(
        np.expand_dims(x, axis), np.expand_dims(dy, axis), (*w.shape[:axis], 1, *w.shape[axis:]), **wider
    )
    np.testing.assert_array_equal(dw.squeeze(axis), convmat.conv_weight_grad(x, dy, w.shape, **flat))


def test_plans_have_the_callers_shapes_and_the_line_s_ways() -> None:
    wide = convmat.plan((50, 128, 128, 1), (16, 128, 64, 1))
    flat = convmat.plan((50, 128, 128), (16, 128, 64))
    assert "50x128x128x1" in str(wide)
    assert wide.problem.shape("y") == (50, 16, 65, 1)
    assert [each.name for each in wide.candidates] == [each.name for each in flat.candidates]
    assert wide.chosen == flat.chosen
    assert (wide.workspace, wide.weight_bytes) == (flat.workspace, flat.weight_bytes)


def test_what_keeps_its_axes() -> None:
    def rank(x: tuple[int, ...], w: tuple[int, ...], **more: Any) -> int:
        return Problem.of(Geometry.of(x, w, **more)).squeezed.geometry.rank

    assert rank((1, 2, 5, 1), (3, 2, 2, 1)) == 1
    assert rank((1, 2, 1, 1, 1), (3, 2, 1, 1, 1)) == 1
    assert rank((1, 2, 5, 1), (3, 2, 2, 1), padding=((0, 0), (1, 0))) == 2
    assert rank((1, 2, 5, 1), (3, 2, 2, 3), padding=1) == 2
    bent = Problem.of(Geometry.of((1, 2, 5, 1), (3, 2, 2, 1), padding=(1, 0)), padding_mode="edge")
    assert bent.squeezed is bent
