"""All gradients in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat import GeometryError
from tests.support import dtype_of, put

rng = np.random.default_rng(3)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "complex64", "int8"])
def test_they_are_what_the_functions_of_one_give(dtype: str, layout: str) -> None:
    options: dict[str, Any] = {"stride": (1, 2), "padding": 1, "groups": 2, "layout": layout, "exact": True}
    shapes = (2, 4, 9, 11), (6, 2, 3, 3), (2, 6, 9, 6)
    x, w, dy = (rng.integers(-3, 4, shape).astype(dtype_of(dtype)) for shape in shapes)
    x, dy = put(x, layout), put(dy, layout)
    found = convmat.conv_grads(x, w, dy, **options)
    np.testing.assert_array_equal(found.x, convmat.conv_input_grad(dy, w, x.shape, **options))
    np.testing.assert_array_equal(found.w, convmat.conv_weight_grad(x, dy, w.shape, **options))
    wide = dy.astype("complex128" if dtype == "complex64" else "float64")
    expected = wide.sum((0, 1, 2) if layout == "NHWC" else (0, 2, 3))
    assert found.bias.dtype == found.w.dtype
    np.testing.assert_array_equal(found.bias, expected.astype(found.bias.dtype))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_bias_gradient_rounds_little(layout: str) -> None:
    x, w, dy = (
        rng.standard_normal(shape, np.float32) for shape in ((64, 1, 40, 41), (3, 1, 1, 1), (64, 3, 40, 41))
    )
    found = convmat.conv_grads(put(x, layout), w, put(dy, layout), layout=layout).bias
    expected = dy.sum((0, 2, 3), dtype=np.float64)
    assert np.linalg.norm(found - expected) < 1e-6 * np.linalg.norm(expected)


def test_what_does_not_fit_is_said_before_anything_is_computed() -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with pytest.raises(GeometryError) as error:
        convmat.conv_grads(x, w, np.ones((1, 3, 5, 5), np.float32))
    assert str(error.value) == (
        "conv_grads: dy has another shape than planned\n  dy.shape = (1, 3, 5, 5), expected (1, 3, 3, 3)\n"
        "  give an array of that shape, or make a plan for this one"
    )
    with pytest.raises(GeometryError, match="conv_grads: x and dy have different element types"):
        convmat.conv_grads(x, w, np.ones((1, 3, 3, 3)))
