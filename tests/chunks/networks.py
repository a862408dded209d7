"""Small networks of ONNX nodes, with integers for weights where sums are to be exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat

onnx = pytest.importorskip("onnx")


class Built:
    """A graph being written down: each method adds a node and gives the name of its output."""

    def __init__(self, *, integers: bool, seed: int = 0) -> None:
        self.rng, self.integers = np.random.default_rng(seed), integers
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: Any) -> str:
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, name: str, *shape: int) -> str:
        drawn = self.rng.integers(-2, 3, shape) if self.integers else self.rng.standard_normal(shape) * 0.2
        return self.constant(name, drawn.astype("float32"))

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(onnx.helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(
        self, x: str, name: str, c: int, o: int, *, k: int = 3, s: int = 1, d: int = 1, rank: int = 2
    ) -> str:
        pad = d * (k - 1) // 2
        w, b = self.weights(f"{name}_w", o, c, *[k] * rank), self.weights(f"{name}_b", o)
        return self.node(
            "Conv", [x, w, b], name, pads=[pad] * 2 * rank, strides=[s] * rank, dilations=[d] * rank
        )

    def load(
        self, output: str, channels: int, pixels: tuple[str, ...] = ("h", "w"), **options: Any
    ) -> convmat.Network:
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes,
            "g",
            [value("x", onnx.TensorProto.FLOAT, ["b", channels, *pixels])],
            [value(output, onnx.TensorProto.FLOAT, None)],
            self.constants,
        )
        opset = [onnx.helper.make_opsetid("", 17)]
        return convmat.load(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), **options)


def unet(*, integers: bool = True, squeeze: bool = False, **options: Any) -> convmat.Network:
    """Strides, pooling, dilation, resizing, a transposed convolution; branches of different reach that meet again.

    Height and width are multiples of 4.
    """
    n = Built(integers=integers)
    a = n.node("Relu", [n.conv("x", "c1", 3, 4)], "r1")
    p = n.node("MaxPool", [a], "p1", kernel_shape=[2, 2], strides=[2, 2])
    b = n.node(
        "Clip",
        [n.conv(p, "c2", 4, 6), n.constant("low", np.float32(0)), n.constant("high", np.float32(6))],
        "r2",
    )
    q = n.node("MaxPool", [b], "p2", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    c = n.node("Relu", [n.conv(q, "c3", 6, 8, d=2)], "r3")
    if squeeze:
        pooled = n.conv(n.node("GlobalAveragePool", [c], "gap"), "squeeze", 8, 8, k=1)
        c = n.node("Mul", [c, n.node("Sigmoid", [pooled], "gate")], "gated")
    up = n.node(
        "Resize", [c, "", n.constant("scales", np.array([1, 1, 2, 2], "float32"))], "up",
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    d = n.node("Relu", [n.conv(n.node("Concat", [up, b], "cat", axis=1), "c4", 14, 5)], "r4")
    t = n.node("ConvTranspose", [d, n.weights("tw", 5, 4, 4, 4)], "t1", strides=[2, 2], pads=[1, 1, 1, 1])
    n.conv(n.node("Add", [t, a], "sum"), "y", 4, 2, k=1)
    return n.load("y", 3, **options)
