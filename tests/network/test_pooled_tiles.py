"""Windows that lie side by side and are too long to be written out, as adaptive pools of one output have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import convmat
from tests.network.made import model, node

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3, 300), (300,)), ((2, 3, 300), (150,)), ((2, 5, 40, 56), (40, 56)), ((2, 5, 40, 56), (40, 7)),
    ((1, 5, 40, 56), (20, 56)), ((1, 5, 40, 56), (20, 14)), ((2, 3, 12, 10, 8), (12, 10, 8)),
    ((2, 3, 12, 10, 8), (6, 10, 4)),
]  # fmt: skip


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("shape", "window"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_pooled_tiles(
    op: str, kind: Any, shape: tuple[int, ...], window: tuple[int, ...], threads: int
) -> None:
    x = np.random.default_rng(len(shape)).standard_normal(shape).astype(kind)
    x[0, 0].flat[3] = np.nan if op == "MaxPool" else 1
    parts = [n for I, F in zip(shape[2:], window, strict=True) for n in (I // F, F)]
    cut = x.astype(np.float64).reshape(*shape[:2], *parts)
    axes = tuple(range(3, cut.ndim, 2))
    wanted = cut.max(axes) if op == "MaxPool" else cut.mean(axes)
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    made = model([node(op, "x", "y", kernel_shape=window, strides=window)], {"x": shape}, "y", dtype=dtype)
    with convmat.threads(threads):
        net = convmat.load(made)
        found = [net(x) for _ in range(2)][-1]
    assert found.dtype == kind
    np.testing.assert_allclose(found, wanted, rtol=2e-3 if kind == np.float16 else 1e-5, atol=1e-4)
    if op == "MaxPool" and kind != np.float16:
        np.testing.assert_array_equal(found, wanted.astype(kind))


def test_they_are_taken_by_a_kernel() -> None:
    made = model([node("MaxPool", "x", "y", kernel_shape=(40, 56))], {"x": (2, 5, 40, 56)}, "y")
    assert "reduced" in str(convmat.load(made).summary())
