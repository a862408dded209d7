"""Well-known networks with seeded random weights, as ONNX models: what `python -m benchmarks nets` times.

Definitions after the papers: He et al., 2015 (ResNet-50, stride in the 3x3 convolution); Simonyan and Zisserman, 2014
(VGG-16); Sandler et al., 2018 (MobileNetV2); Iandola et al., 2016 (SqueezeNet 1.1). Weights are normal with a variance
of 2/fan-in, so that activations keep their size through the layers; what a residual adds is a fifth of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Net:
    """A network that can be had: what makes its model's bytes, and the shape of its input x, float32.

    `others`: what its other inputs are given, by their names: states at their start, rates, levels. `scale`: how large
    the numbers of x are. `declared`: whether the file is told the shapes of its inputs; onnxruntime does not take that
    where a branch that they rule out would not fit them.
    """

    make: Callable[[], bytes]
    shape: tuple[int, ...] = (1, 3, 224, 224)
    others: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    declared: bool = True


class Builder:
    """Nodes and weights, one layer after the other; each method takes and gives the name of a value."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self.random = np.random.default_rng(seed)

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        from onnx import helper

        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def tensor(self, array: Any) -> str:
        """An initializer."""
        name = f"w{len(self.tensors)}"
        self.tensors[name] = np.asarray(array)
        return name

    def conv(
        self,
        x: str,
        C: int,
        O: int,
        F: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        pad: int | None = None,
        gain: float = 1.0,
    ) -> str:
        """A convolution, with BatchNormalization after it or a bias in it."""
        fan = C // groups * F * F
        w = self.random.standard_normal((O, C // groups, F, F), np.float32) * np.float32(math.sqrt(2 / fan))
        pads = [F // 2 if pad is None else pad] * 4
        about = {"kernel_shape": [F, F], "strides": [stride] * 2, "pads": pads, "group": groups}
        if not norm:
            return self.node("Conv", x, self.tensor(w), self.tensor(self.small(O)), **about)
        y = self.node("Conv", x, self.tensor(w), **about)
        gamma, variance = np.float32(gain) * (1 + self.small(O)), 1 + np.abs(self.small(O))
        statistics = [self.tensor(each) for each in (gamma, self.small(O), self.small(O), variance)]
        return self.node("BatchNormalization", y, *statistics, epsilon=1e-5)

    def small(self, n: int) -> Any:
        """n numbers near 0."""
        return self.random.standard_normal(n, np.float32) * np.float32(0.1)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.node("Relu", x)

    def dense(self, x: str, C: int, O: int) -> str:
        """A fully connected layer."""
        w = self.random.standard_normal((O, C), np.float32) * np.float32(math.sqrt(1 / C))
        return self.node("Gemm", x, self.tensor(w), self.tensor(self.small(O)), transB=1)

    def pool(self, x: str, F: int, stride: int, pad: int = 0, ceil: int = 0) -> str:
        """Maxima of windows."""
        return self.node(
            "MaxPool", x, kernel_shape=[F, F], strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil
        )

    def model(self, y: str, pixels: int = 224) -> bytes:
        """The model of x: (n, 3, pixels, pixels)."""
        import onnx
        from onnx import helper, numpy_helper

        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, pixels, pixels])],
            [helper.make_tensor_value_info(y, onnx.TensorProto.FLOAT, ["n", "classes"])],
            [numpy_helper.from_array(array, name) for name, array in self.tensors.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        data: bytes = made.SerializeToString()
        return data


def resnet50() -> bytes:
    """25.6 million parameters, 4.1 GMAC: bottlenecks of 1x1, 3x3, 1x1 with a sum around each."""
    b = Builder(50)
    x = b.pool(b.relu(b.conv("x", 3, 64, 7, stride=2)), 3, 2, 1)
    C = 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            stride = first if i == 0 else 1
            y = b.relu(b.conv(x, C, width, 1))
            y = b.relu(b.conv(y, width, width, 3, stride=stride))
            y = b.conv(y, width, 4 * width, 1, gain=0.2)
            around = b.conv(x, C, 4 * width, 1, stride=stride) if i == 0 else x
            x, C = b.relu(b.node("Add", y, around)), 4 * width
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    return b.model(b.node("Softmax", b.dense(x, C, 1000)))


def vgg16() -> bytes:
    """138 million parameters, 15.5 GMAC: 3x3 convolutions, then three dense layers."""
    b, x, C = Builder(16), "x", 3
    for width, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            x, C = b.relu(b.conv(x, C, width, 3, norm=False)), width
        x = b.pool(x, 2, 2)
    x = b.node("Flatten", x)
    x = b.relu(b.dense(x, 512 * 49, 4096))
    x = b.relu(b.dense(x, 4096, 4096))
    return b.model(b.node("Softmax", b.dense(x, 4096, 1000)))


def mobilenet_v2() -> bytes:
    """3.5 million parameters, 0.3 GMAC: 1x1, depthwise 3x3, 1x1, each block narrow at its ends."""
    b = Builder(2)
    zero, six = b.tensor(np.float32(0)), b.tensor(np.float32(6))

    def relu6(x: str) -> str:
        return b.node("Clip", x, zero, six)

    x, C = relu6(b.conv("x", 3, 32, 3, stride=2)), 32
    for wider, O, blocks, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(blocks):
            stride, width = (first if i == 0 else 1), C * wider
            y = x if wider == 1 else relu6(b.conv(x, C, width, 1))
            y = relu6(b.conv(y, width, width, 3, stride=stride, groups=width))
            y = b.conv(y, width, O, 1, gain=0.2)
            x, C = (b.node("Add", y, x) if stride == 1 and C == O else y), O
    x = relu6(b.conv(x, C, 1280, 1))
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    return b.model(b.node("Softmax", b.dense(x, 1280, 1000)))


def squeezenet11() -> bytes:
    """1.2 million parameters, 0.35 GMAC: 1x1 layers that squeeze, then 1x1 and 3x3 side by side."""
    b = Builder(11)

    def fire(x: str, C: int, squeezed: int, each: int) -> str:
        s = b.relu(b.conv(x, C, squeezed, 1, norm=False))
        sides = [b.relu(b.conv(s, squeezed, each, F, norm=False)) for F in (1, 3)]
        return b.node("Concat", *sides, axis=1)

    x = b.pool(b.relu(b.conv("x", 3, 64, 3, stride=2, norm=False, pad=0)), 3, 2, ceil=1)
    x = b.pool(fire(fire(x, 64, 16, 64), 128, 16, 64), 3, 2, ceil=1)
    x = b.pool(fire(fire(x, 128, 32, 128), 256, 32, 128), 3, 2, ceil=1)
    x = fire(fire(x, 256, 48, 192), 384, 48, 192)
    x = fire(fire(x, 384, 64, 256), 512, 64, 256)
    x = b.relu(b.conv(x, 512, 1000, 1, norm=False))
    return b.model(b.node("Softmax", b.node("Flatten", b.node("GlobalAveragePool", x))))


MODELS = {
    "resnet50": Net(resnet50),
    "vgg16": Net(vgg16),
    "mobilenet_v2": Net(mobilenet_v2),
    "squeezenet1.1": Net(squeezenet11),
}
"""Each network by its name; all give (1, 1000)."""
