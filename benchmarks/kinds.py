"""Small networks with seeded random weights, each of a kind that loses time elsewhere than large classifiers do.

    keywords          depthwise and 1x1 layers on 25 x 5: what a call costs beside arithmetic    Zhang et al., 2017
    autoencoder       4x4 convolutions with stride 2 down and up, to three channels              Radford et al., 2015
    style             margins that mirror, InstanceNormalization, nearest neighbours             Johnson et al., 2016
    segments          depthwise 5x5, squeezing, linear resizing, ArgMax                          Howard et al., 2019
    pose              the largest of many numbers (TopK), Softmax over an image, its centre
    pulse             3-D convolutions over frames, 1-D transposed ones                          Yu et al., 2019
    efficientnet-b0   SiLU after each layer, squeezing                                           Tan and Le, 2019
    transformer       patches, attention, GELU                                                   Dosovitskiy, 2020

Squeezing is a product with a gate for each channel, made from the channel's mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.models import Builder, Net


class Kinds(Builder):
    """Layers that the classifiers of `models` do not have."""

    def nd(
        self, x: str, C: int, O: int, F: Sequence[int], *, stride: Sequence[int] | int = 1,
        pads: Sequence[int] | None = None, transposed: bool = False,
    ) -> str:  # fmt: skip
        """A convolution of any rank with a bias; `pads` on both sides of each axis, half the filter if omitted."""
        steps = [stride] * len(F) if isinstance(stride, int) else [*stride]
        sides = [f // 2 for f in F] if pads is None else [*pads]
        w = self.random.standard_normal((C, O, *F) if transposed else (O, C, *F), np.float32)
        w *= np.float32(math.sqrt(2 / (C * math.prod(F))))
        about = {"kernel_shape": [*F], "strides": steps, "pads": sides * 2}
        op = "ConvTranspose" if transposed else "Conv"
        return self.node(op, x, self.tensor(w), self.tensor(self.small(O)), **about)

    def squeezed(self, x: str, C: int, narrow: int, inner: str, gate: str) -> str:
        """x times a gate for each channel."""
        y = self.node(inner, self.conv(self.node("GlobalAveragePool", x), C, narrow, 1, norm=False))
        return self.node("Mul", x, self.node(gate, self.conv(y, narrow, C, 1, norm=False)))

    def silu(self, x: str) -> str:
        """x * sigmoid(x)."""
        return self.node("Mul", x, self.node("Sigmoid", x))

    def whole(self, *numbers: int) -> str:
        """Whole numbers, as shapes are."""
        return self.tensor(np.array(numbers))

    def product(self, x: str, C: int, O: int) -> str:
        """Rows times a matrix, plus a row."""
        w = self.random.standard_normal((C, O), np.float32) * np.float32(math.sqrt(1 / C))
        return self.node("Add", self.node("MatMul", x, self.tensor(w)), self.tensor(self.small(O)))

    def lines(self, x: str, C: int) -> str:
        """Normalised along the last axis."""
        return self.node("LayerNormalization", x, self.tensor(1 + self.small(C)), self.tensor(self.small(C)))

    def made(self, shape: Sequence[int], *outputs: str) -> bytes:
        """The model of x: that shape."""
        import onnx
        from onnx import helper, numpy_helper

        value, kind = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        integers = [node.output[-1] for node in self.nodes if node.op_type in ("ArgMax", "TopK")]
        graph = helper.make_graph(
            self.nodes, "net", [value("x", kind, shape)],
            [value(y, onnx.TensorProto.INT64 if y in integers else kind, None) for y in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.tensors.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        data: bytes = model.SerializeToString()
        return data


def keywords() -> bytes:
    """x: (1, 1, 49, 10), coefficients of a second of sound -> (1, 12)."""
    b = Kinds(49)
    x = b.relu(b.nd("x", 1, 64, (10, 4), stride=2, pads=(5, 1)))
    for _ in range(4):
        x = b.relu(b.conv(b.relu(b.conv(x, 64, 64, 3, groups=64)), 64, 64, 1))
    x = b.dense(b.node("Flatten", b.node("GlobalAveragePool", x)), 64, 12)
    return b.made((1, 1, 49, 10), b.node("Softmax", x))


def autoencoder() -> bytes:
    """x: (1, 3, 64, 64) -> the same."""
    b, x = Kinds(64), "x"
    for C, O in ((3, 32), (32, 64), (64, 128)):
        x = b.node("LeakyRelu", b.nd(x, C, O, (4, 4), stride=2, pads=(1, 1)), alpha=0.2)
    for C, O in ((128, 64), (64, 32), (32, 3)):
        x = b.nd(x, C, O, (4, 4), stride=2, pads=(1, 1), transposed=True)
        x = b.node("Tanh", x) if O == 3 else b.relu(x)
    return b.made((1, 3, 64, 64), x)


def style() -> bytes:
    """x: (1, 3, 128, 128) -> the same."""
    b = Kinds(128)

    def layer(x: str, C: int, O: int, F: int, stride: int = 1) -> str:
        margin = b.whole(0, 0, F // 2, F // 2, 0, 0, F // 2, F // 2)
        y = b.nd(b.node("Pad", x, margin, mode="reflect"), C, O, (F, F), stride=stride, pads=(0, 0))
        return b.node("InstanceNormalization", y, b.tensor(1 + b.small(O)), b.tensor(b.small(O)))

    x = b.relu(layer(b.relu(layer(b.relu(layer("x", 3, 32, 9)), 32, 64, 3, 2)), 64, 128, 3, 2))
    for _ in range(3):
        x = b.node("Add", layer(b.relu(layer(x, 128, 128, 3)), 128, 128, 3), x)
    twice = b.tensor(np.array([1, 1, 2, 2], np.float32))
    for C, O in ((128, 64), (64, 32)):
        x = b.relu(layer(b.node("Resize", x, "", twice, mode="nearest"), C, O, 3))
    return b.made((1, 3, 128, 128), layer(x, 32, 3, 9))


def segments() -> bytes:
    """x: (1, 3, 256, 256) -> the class of each pixel, of 21."""
    b = Kinds(21)
    x = b.node("HardSwish", b.conv("x", 3, 16, 3, stride=2))
    x = b.relu(b.conv(b.relu(b.conv(x, 16, 64, 1)), 64, 64, 3, stride=2, groups=64))
    x = fine = b.conv(x, 64, 24, 1)
    for C, wide, O, stride in ((24, 72, 40, 2), (40, 120, 40, 1), (40, 120, 40, 1)):
        y = b.relu(b.conv(b.relu(b.conv(x, C, wide, 1)), wide, wide, 5, stride=stride, groups=wide))
        y = b.conv(b.squeezed(y, wide, 32, "Relu", "HardSigmoid"), wide, O, 1, gain=0.2)
        x = b.node("Add", x, y) if stride == 1 and C == O else y
    gate = b.node("Sigmoid", b.conv(b.node("GlobalAveragePool", x), 40, 128, 1, norm=False))
    x = b.node("Mul", b.relu(b.conv(x, 40, 128, 1)), gate)
    twice, more = (b.tensor(np.array([1, 1, n, n], np.float32)) for n in (2, 4))
    x = b.conv(b.node("Resize", x, "", twice, mode="linear"), 128, 21, 1, norm=False)
    x = b.node("Add", x, b.conv(fine, 24, 21, 1, norm=False))
    x = b.node("Resize", x, "", more, mode="linear")
    return b.made((1, 3, 256, 256), b.node("ArgMax", x, axis=1))


def pose() -> bytes:
    """x: (1, 3, 192, 192) -> where 17 joints are along the columns, and the 20 largest scores."""
    b = Kinds(17)
    zero, six = b.tensor(np.float32(0)), b.tensor(np.float32(6))
    x = b.node("Clip", b.conv("x", 3, 32, 3, stride=2), zero, six)
    for C, wide, stride in ((32, 64, 2), (64, 128, 1)):
        x = b.node("Clip", b.conv(x, C, wide, 1), zero, six)
        x = b.node("Clip", b.conv(x, wide, wide, 3, stride=stride, groups=wide), zero, six)
        x = b.conv(x, wide, 64, 1)
    x = b.conv(x, 64, 17, 1, norm=False)
    share = b.node(
        "Reshape", b.node("Softmax", b.node("Reshape", x, b.whole(1, 17, -1))), b.whole(1, 17, 48, 48)
    )
    along = b.node(
        "Mul", b.node("ReduceSum", share, b.whole(2), keepdims=0), b.tensor(np.arange(48, dtype="f"))
    )
    best = b.node("TopK", b.node("Reshape", x, b.whole(1, -1)), b.whole(20))
    b.nodes[-1].output.append(f"{best}_places")
    return b.made((1, 3, 192, 192), b.node("ReduceSum", along, b.whole(2), keepdims=0), best)


def pulse() -> bytes:
    """x: (1, 3, 32, 64, 64), frames of a face -> (1, 1, 32, 1, 1)."""
    b = Kinds(32)

    def pool(x: str, *F: int) -> str:
        return b.node("MaxPool", x, kernel_shape=[*F], strides=[*F])

    x = pool(b.relu(b.nd("x", 3, 16, (1, 5, 5))), 1, 2, 2)
    x = pool(b.relu(b.nd(b.relu(b.nd(x, 16, 32, (3, 3, 3))), 32, 64, (3, 3, 3))), 2, 2, 2)
    x = pool(b.relu(b.nd(b.relu(b.nd(x, 64, 64, (3, 3, 3))), 64, 64, (3, 3, 3))), 2, 2, 2)
    x = b.relu(b.nd(x, 64, 64, (3, 3, 3)))
    for _ in range(2):
        x = b.node("Elu", b.nd(x, 64, 64, (4, 1, 1), stride=(2, 1, 1), pads=(1, 0, 0), transposed=True))
    x = b.node("ReduceMean", x, axes=[3, 4])
    return b.made((1, 3, 32, 64, 64), b.nd(x, 64, 1, (1, 1, 1)))


def efficientnet_b0() -> bytes:
    """x: (1, 3, 224, 224) -> (1, 1000)."""
    b = Kinds(224)
    x, C = b.silu(b.conv("x", 3, 32, 3, stride=2)), 32
    for more, O, blocks, first, F in (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ):  # fmt: skip
        for i in range(blocks):
            wide, stride = C * more, first if i == 0 else 1
            y = x if more == 1 else b.silu(b.conv(x, C, wide, 1))
            y = b.silu(b.conv(y, wide, wide, F, stride=stride, groups=wide))
            gate = b.silu(b.conv(b.node("GlobalAveragePool", y), wide, C // 4, 1, norm=False))
            gate = b.node("Sigmoid", b.conv(gate, C // 4, wide, 1, norm=False))
            y = b.conv(b.node("Mul", y, gate), wide, O, 1, gain=0.4)
            x, C = (b.node("Add", y, x) if stride == 1 and C == O else y), O
    x = b.node("Flatten", b.node("GlobalAveragePool", b.silu(b.conv(x, C, 1280, 1))))
    return b.made((1, 3, 224, 224), b.node("Softmax", b.dense(x, 1280, 1000)))


def transformer() -> bytes:
    """x: (1, 3, 224, 224) -> (1, 1000): four blocks of three heads over 196 patches."""
    b, d = Kinds(196), 192
    x = b.node("Reshape", b.nd("x", 3, d, (16, 16), stride=16, pads=(0, 0)), b.whole(1, d, -1))
    x = b.node(
        "Add",
        b.node("Transpose", x, perm=[0, 2, 1]),
        b.tensor(b.random.standard_normal((1, 196, d), np.float32)),
    )
    root, half, one = (b.tensor(np.float32(n)) for n in (math.sqrt(2), 0.5, 1))
    for _ in range(4):
        y = b.product(b.lines(x, d), d, 3 * d)
        y = b.node("Transpose", b.node("Reshape", y, b.whole(1, 196, 3, 3, 64)), perm=[2, 0, 3, 1, 4])
        q, k, v = (b.node("Gather", y, b.tensor(np.array(i)), axis=0) for i in range(3))
        scores = b.node(
            "Mul", b.node("MatMul", q, b.node("Transpose", k, perm=[0, 1, 3, 2])), b.tensor(np.float32(1 / 8))
        )
        y = b.node("Transpose", b.node("MatMul", b.node("Softmax", scores), v), perm=[0, 2, 1, 3])
        x = b.node("Add", x, b.product(b.node("Reshape", y, b.whole(1, 196, d)), d, d))
        y = b.product(b.lines(x, d), d, 4 * d)
        y = b.node("Mul", b.node("Mul", y, b.node("Add", b.node("Erf", b.node("Div", y, root)), one)), half)
        x = b.node("Add", x, b.product(y, 4 * d, d))
    x = b.node("ReduceMean", b.lines(x, d), axes=[1], keepdims=0)
    return b.made((1, 3, 224, 224), b.dense(x, d, 1000))


KINDS = {
    "keywords": Net(keywords, (1, 1, 49, 10)),
    "autoencoder": Net(autoencoder, (1, 3, 64, 64)),
    "style": Net(style, (1, 3, 128, 128)),
    "segments": Net(segments, (1, 3, 256, 256)),
    "pose": Net(pose, (1, 3, 192, 192)),
    "pulse": Net(pulse, (1, 3, 32, 64, 64)),
    "efficientnet-b0": Net(efficientnet_b0),
    "transformer": Net(transformer),
}
"""Each network by its name."""
