"""Channels that a depthwise layer reads, brought to one range: nothing changes in float32, and 8 bits lose less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import convmat
from convmat.network.quantising.equalise import LEAST, factors_of
from tests.network.made import model, node

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(5)
EXAMPLES = [RANDOM.standard_normal((2, 3, 9, 9)).astype(np.float32) for _ in range(3)]
SIZES = np.array([1, 0.003, 0.01, 0.03, 0.1, 0.3], np.float32)
"""How large channels between both layers are."""

W1 = RANDOM.standard_normal((6, 3, 1, 1)).astype(np.float32) * SIZES[:, None, None, None]
B1 = RANDOM.standard_normal(6).astype(np.float32) * SIZES
W2 = RANDOM.standard_normal((6, 1, 3, 3)).astype(np.float32) / SIZES[:, None, None, None]


def source(
    between: str = "Relu", *, looked_at: bool = False, first: str = "Conv", bias: bool = True
) -> bytes:
    """A layer, perhaps something elementwise, a depthwise layer and a sum; `looked_at`: others read between."""
    nodes = [node(first, f"x w1{' b1' * bias}", "a")]
    nodes += [node(between, "a", "c")] if between else []
    middle = "c" if between else "a"
    nodes += [node("Conv", f"{middle} w2", "d", group=6, pads=[1] * 4), node("Conv", "d w3", "e")]
    nodes += [node("Add", f"e {middle}", "y")] if looked_at else [node("Identity", "e", "y")]
    w1 = W1 if first == "Conv" else W1.transpose(1, 0, 2, 3).copy()
    weights = {"w1": w1, "w2": W2, "w3": np.ones((6, 6, 1, 1), np.float32)} | ({"b1": B1} if bias else {})
    return model(nodes, {"x": ("n", 3, 9, 9)}, "y", weights)


def quantised(given: bytes) -> convmat.Quantised:
    return convmat.quantize(given, EXAMPLES, keep_quicker=False, seconds=0)


@pytest.mark.parametrize("first", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("between", ["Relu", ""])
def test_small_channels_keep_their_bits(between: str, first: str, bias: bool) -> None:
    found = quantised(source(between, first=first, bias=bias))
    assert found.quantised == 3
    # One scale for channels a hundred times smaller than others leaves them a few steps: without factors 0.23 to 0.36.
    assert found.drop < 0.03


@pytest.mark.parametrize("given", [source("Sigmoid"), source(looked_at=True)])
def test_what_others_read_and_what_is_not_homogeneous_stays(given: bytes) -> None:
    found = quantised(given)
    constants = found.network.graph.constants
    assert not [name for name in constants if "/equal/" in name]
    assert [name for name in quantised(source()).network.graph.constants if "/equal/" in name]


def test_factors_are_bounded() -> None:
    found = factors_of(np.array([0, 1e-9, 1, 4], np.float32))
    np.testing.assert_array_equal(found, [1, LEAST, 0.25, 1])
    np.testing.assert_array_equal(factors_of(np.zeros(3, np.float32)), 1)


def test_a_network_whose_output_has_no_shape_is_quantised_and_written(tmp_path: Path) -> None:
    """As Paddle's exporter leaves it out where onnx cannot tell how many axes there are."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Conv", "x w1", "a"), node("Reshape", "a n", "y")], "free",
        [value("x", 1, (1, 3, 9, 9)), value("n", 7, ("axes",))], [value("y", 1, None)],
        [onnx.numpy_helper.from_array(W1, "w1")],
    )  # fmt: skip
    given = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 12)], ir_version=8)
    inputs = {"x": EXAMPLES[0][:1], "n": np.array([6, -1])}
    found = convmat.quantize(given, [inputs], keep_quicker=False, seconds=0)
    found.network.to_onnx(tmp_path / "small.onnx")
    again = convmat.load(tmp_path / "small.onnx")(inputs)
    assert again.shape == (6, 81)
    np.testing.assert_array_equal(again, found.network(inputs))
