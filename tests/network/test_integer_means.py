"""Means over all pixels between 8-bit numbers: sums of bytes, a step from the graph's own meaning at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import convmat
from tests.network.test_quantised import Drawn

Array = npt.NDArray[Any]


def mean(
    op: str, shape: tuple[int, ...], kind: Any = np.uint8, axes: list[int] | None = None, **words: Any
) -> bytes:
    """x -> its mean, of numbers of 8 bits with a sign or without, and back to such."""
    d = Drawn()
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    if kind == np.int8:
        q = d.node("QuantizeLinear", x, *d.grain(0.05, -7, np.int8))
        x = d.node("DequantizeLinear", q, *d.grain(0.05, -7, np.int8))
    more = () if axes is None else (d.constant(axes, np.int64),)
    d.node("QuantizeLinear", d.node(op, x, *more, **words), *d.grain(0.0131, 10, kind), out="y")
    made = onnx.load_from_string(
        d.model({"x": shape}, "y", TensorProto.INT8 if kind == np.int8 else TensorProto.UINT8)
    )
    made.opset_import[0].version = 19
    found: bytes = made.SerializeToString()
    return found


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize(("op", "shape", "axes", "words"), [
    ("GlobalAveragePool", (2, 70, 7, 7), None, {}),
    ("GlobalAveragePool", (1, 5, 1), None, {}),
    ("GlobalAveragePool", (1, 3, 9, 4, 11), None, {}),
    ("GlobalAveragePool", (1, 2, 256, 256), None, {}),
    ("ReduceMean", (2, 33, 15, 14), [2, 3], {}),
    ("ReduceMean", (2, 33, 15, 14), [-1, 2], {"keepdims": 0}),
])  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
def test_means_are_a_step_from_the_graphs_meaning(
    kind: Any, op: str, shape: tuple[int, ...], axes: list[int] | None, words: dict[str, Any], threads: int
) -> None:
    model = mean(op, shape, kind, axes, **words)
    x = np.random.default_rng(len(shape)).integers(0, 256, shape).astype(np.uint8)
    convmat.threads(threads)
    net, plain = convmat.load(model), convmat.load(model, rewrite=False)
    found = np.asarray(net(x))
    (reference,) = ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"x": x})
    assert found.shape == reference.shape
    assert found.dtype == reference.dtype
    for wanted in (reference, np.asarray(plain(x))):
        apart = np.abs(found.astype(int) - wanted.astype(int))
        assert apart.max() <= 1
        assert np.mean(apart) < 0.05
    assert "IntegerMean" in str(net.summary())


@pytest.mark.parametrize(("op", "shape", "axes"), [
    ("GlobalAveragePool", (1, 2, 257, 256), None), ("ReduceMean", (2, 33, 15, 14), [1, 2]),
    ("ReduceMean", (2, 33, 15, 14), [3]), ("ReduceMean", (4, 33), [1]),
])  # fmt: skip
def test_other_means_stay_in_float32(op: str, shape: tuple[int, ...], axes: list[int] | None) -> None:
    model = mean(op, shape, axes=axes)
    x = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    net, plain = convmat.load(model), convmat.load(model, rewrite=False)
    assert "IntegerMean" not in str(net.summary())
    assert np.abs(np.asarray(net(x)).astype(int) - np.asarray(plain(x)).astype(int)).max() <= 1


def test_the_kernel_has_numpys_bits() -> None:
    """Of a network so small that NumPy runs it, and of one with kernels."""
    shape = (1, 3, 10, 10)
    x = np.random.default_rng(3).integers(0, 256, (1, 3 * 60, 10, 10)).astype(np.uint8)
    whole = np.asarray(convmat.load(mean("GlobalAveragePool", x.shape))(x))
    small = convmat.load(mean("GlobalAveragePool", shape))
    parts = [np.asarray(small(x[:, at : at + 3])) for at in range(0, 180, 3)]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
