"""What each operator says of inputs and attributes that do not fit it, and that what it asks for is taken."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pytest

import convmat
from convmat.network.graph import Node, Spec
from convmat.network.ops import Unknown
from convmat.network.ops.base import OWN
from convmat.network.ops.fallback import operator_of

from .cases import Array

PLACES = np.zeros((1, 1, 2, 2), np.int64)


MANY = "abcdefghijklmnopqrstuvwxyzABCD"
"""Thirty letters: as many axes, and some more, fit into an array."""


class Call(NamedTuple):
    """A node and its inputs."""

    node: Node
    arrays: tuple[Array | None, ...]

    def __call__(self) -> Any:
        """As in a network: the shapes first."""
        operator = operator_of(self.node)
        with suppress(Unknown):
            operator.shape(self.node, [None if x is None else Spec.of(np.asarray(x)) for x in self.arrays])
        return operator(self.node, self.arrays)


def call(
    op: str, *arrays: Any, version: int = 22, domain: str = "", outputs: int = 1, **attributes: Any
) -> Call:
    return Call(
        Node(op, (), tuple(f"y{at}" for at in range(outputs)), attributes, "here", version, domain), arrays
    )


def f(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def i(*values: int) -> Array:
    return np.array(values, np.int64)


CASES: list[tuple[Call, str, Call]] = [
    (call("PRelu", f(2, 3), f(2, 2, 3)),
     "its slope float32[2,2,3] does not broadcast to its input\n  float32[2,3]",
     call("PRelu", f(2, 3), f(3))),
    (call("Cast", f(2), to=1, round_mode="sideways", version=24),
     "its round_mode is 'sideways'\n  one of up, down, nearest",
     call("Cast", f(2), to=1, round_mode="up", version=24)),
    (call("CausalConvWithState", f(1, 2, 5), f(2, 3), outputs=2),
     "its inputs float32[1,2,5] and float32[2,3] do not fit\n  (B, C, L) and (C, 1, k) are needed",
     call("CausalConvWithState", f(1, 2, 5), f(2, 1, 3), outputs=2)),
    (call("CausalConvWithState", f(1, 2, 5), f(2, 1, 3), f(3), outputs=2),
     "its input 2 is float32[3], expected float32[2]",
     call("CausalConvWithState", f(1, 2, 5), f(2, 1, 3), f(2), outputs=2)),
    (call("CausalConvWithState", f(1, 2, 5), f(2, 1, 3), activation="gelu", outputs=2),
     "its activation is 'gelu'\n  none, silu or swish",
     call("CausalConvWithState", f(1, 2, 5), f(2, 1, 3), activation="silu", outputs=2)),
    (call("Conv", f(1, 2, 5), f(3, 2, 1, 1)),
     "x has 3 axes and w 4\n  both need a first axis, channels, and the same spatial axes",
     call("Conv", f(1, 2, 5), f(3, 2, 1))),
    (call("Conv", f(1, 2, 5), f(3, 2, 2), kernel_shape=(3,)),
     "its kernel_shape (3,) is not that of w, (2,)",
     call("Conv", f(1, 2, 5), f(3, 2, 2), kernel_shape=(2,))),
    (call("Conv", f(1, 2, 5), f(3, 2, 2), strides=(1, 1)),
     "its strides (1, 1) are not one for each of 1 spatial axes",
     call("Conv", f(1, 2, 5), f(3, 2, 2), strides=(1,))),
    (call("Conv", f(1, 2, 5), f(3, 2, 2), pads=(1,)),
     "its pads (1,) are not two for each of 1 spatial axes",
     call("Conv", f(1, 2, 5), f(3, 2, 2), pads=(1, 1))),
    (call("Conv", f(1, 2, 5), f(3, 2, 2), auto_pad="SAME"),
     "its auto_pad is 'SAME'\n  NOTSET, VALID, SAME_UPPER or SAME_LOWER",
     call("Conv", f(1, 2, 5), f(3, 2, 2), auto_pad="SAME_LOWER")),
    (call("ConvTranspose", f(1, 2, 5, 5), f(2, 3, 2, 2), output_shape=(6,)),
     "its output_shape (6,) is not one extent for each of 2 spatial axes",
     call("ConvTranspose", f(1, 2, 5, 5), f(2, 3, 2, 2), output_shape=(6, 6))),
    (call("DeformConv", f(1, 2, 5), f(3, 2, 2, 2), f(1, 2, 4)),
     "its X is float32[1,2,5] and its W float32[3,2,2,2]\n  (B, C, *I) and (O, C / group, *F) are needed",
     call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4))),
    (call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4), strides=(0,)),
     "its strides are (0,), its dilations (1,) and its pads (0, 0)\n"
     "  1, 1 and 2 numbers from 1, 1 and 0 on are needed",
     call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4), strides=(1,))),
    (call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4), kernel_shape=(3,)),
     "its kernel_shape is (3,)\n  its W float32[3,2,2] has (2,)",
     call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4), kernel_shape=(2,))),
    (call("DeformConv", f(1, 2, 1), f(3, 2, 3), f(1, 3, 1)),
     "its W float32[3,2,3] reaches beyond its padded X\n  float32[1,2,1], pads (0, 0), dilations (1,)",
     call("DeformConv", f(1, 2, 1), f(3, 2, 3), f(1, 3, 1), pads=(1, 1))),
    (call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4).astype("float64")),
     "its inputs are float32[1,2,5], float32[3,2,2] and float64[1,2,4]\n  one element type is needed",
     call("DeformConv", f(1, 2, 5), f(3, 2, 2), f(1, 2, 4))),
    (call("RoiAlign", f(1, 2, 5, 5), f(1, 4), i(0), mode="sum"),
     "its mode is 'sum' and its coordinate_transformation_mode 'half_pixel'\n"
     "  avg or max, and half_pixel or output_half_pixel are needed",
     call("RoiAlign", f(1, 2, 5, 5), f(1, 4), i(0), mode="max")),
    (call("RoiAlign", f(1, 2, 5, 5), f(1, 4), i(0), output_height=0),
     "its output_height is 0, its output_width 1, its sampling_ratio 0\n  numbers from 1, 1 and 0 on are needed",
     call("RoiAlign", f(1, 2, 5, 5), f(1, 4), i(0), output_height=2)),
    (call("Einsum", f(2, 3), f(3, 4).astype("float64"), equation="ij,jk"),
     "its inputs are float32[2,3] and float64[3,4]\n  one element type is needed",
     call("Einsum", f(2, 3), f(3, 4), equation="ij,jk")),
    (call("Add", f(2, 3, 4), f(3, 4), version=6, broadcast=1, axis=2),
     "its second input has 2 axes\n  they do not fit from axis 2 on",
     call("Add", f(2, 3, 4), f(3, 4), version=6, broadcast=1, axis=1)),
    (call("Sum", f(2), f(2).astype("float64")),
     "its inputs have different element types: float32, float64",
     call("Sum", f(2), f(2))),
    (call("Where", i(1, 0), f(2), f(2)),
     "its inputs are int64, float32 and float32\n  a bool and two of one type are needed",
     call("Where", i(1, 0) > 0, f(2), f(2))),
    (call("Gather", f(2), f(2)),
     "its inputs are float32[2] and float32[2]\n  an array and whole numbers are needed",
     call("Gather", f(2), i(0))),
    (call("GatherND", f(2, 2), i(0, 1), batch_dims=2),
     "its batch_dims is 2\n  its inputs are float32[2,2] and int64[2]",
     call("GatherND", f(2, 2), i(0, 1), batch_dims=0)),
    (call("GatherND", f(2, 2), i(0, 1, 0)),
     "its indices int64[3] name 3 axes\n  of float32[2,2], 0 of them the batch's",
     call("GatherND", f(2, 2), i(0, 1))),
    (call("ScatterElements", f(3), i(0, 1), f(3)),
     "its indices int64[2] and updates float32[3] do not fit its input\n  float32[3]",
     call("ScatterElements", f(3), i(0, 1), f(2))),
    (call("MatMul", f(2, 3), f(3, 2).astype("float64")),
     "its inputs are float32[2,3] and float64[3,2]\n  one element type is needed",
     call("MatMul", f(2, 3), f(3, 2))),
    (call("Gemm", f(2, 3), f(3)),
     "its inputs are float32[2,3] and float32[3]\n  two matrices of one element type are needed",
     call("Gemm", f(2, 3), f(3, 1))),
    (call("Gemm", f(2, 3), f(3, 2), f(2, 2, 2)),
     "its third input float32[2,2,2] does not broadcast to the product\n  (2, 2)",
     call("Gemm", f(2, 3), f(3, 2), f(2))),
    (call("Transpose", f(2, 3), perm=(0,)),
     "its perm (0,) does not order 2 axes",
     call("Transpose", f(2, 3), perm=(1, 0))),
    (call("Concat", f(2, 3), f(3, 3), axis=1),
     "its inputs float32[2,3] and float32[3,3] cannot be joined along axis 1",
     call("Concat", f(2, 3), f(3, 3), axis=0)),
    (call("Concat", f(), f(), axis=0),
     "its inputs have no axes to be joined along",
     call("Concat", f(1), f(1), axis=0)),
    (call("Slice", f(3), i(0), i(1, 2)),
     "its starts (0,), ends (1, 2), axes (0,) and steps (1,) do not fit together",
     call("Slice", f(3), i(0), i(1))),
    (call("Slice", f(3), i(0), i(1), i(0), i(0)),
     "its starts (0,), ends (1,), axes (0,) and steps (0,) do not fit together",
     call("Slice", f(3), i(0), i(1), i(0), i(1))),
    (call("Pad", f(2, 3), i(1, 1)),
     "its pads (1, 1) (mode 'constant') do not fit\n  two for each of 2 axes are needed",
     call("Pad", f(2, 3), i(0, 1, 0, 1))),
    (call("Pad", f(2, 3), i(0, -2, 0, -2)),
     "its pads [(0, 0), (-2, -2)] cut off more than there is\n  float32[2,3]",
     call("Pad", f(2, 3), i(0, -2, 0, -1))),
    (call("DepthToSpace", f(1, 6, 2, 2), blocksize=2),
     "its input float32[1,6,2,2] has no blocks of 2 x 2",
     call("DepthToSpace", f(1, 8, 2, 2), blocksize=2)),
    (call("Split", np.float32(1)),
     "its input is float32[] and it has 1 outputs",
     call("Split", f(2))),
    (call("Reshape", f(2, 3), i(2, 3, 0)),
     "its shape (2, 3, 0) keeps axis 2\n  its input is float32[2,3]",
     call("Reshape", f(2, 3), i(0, 3))),
    (call("Einsum", f(*[1] * 30), f(*[1] * 23), equation=f"{MANY},...->..."),
     f"its equation '{MANY},...->...' and 23 axes for ... need more than 52 letters",
     call("Einsum", f(*[1] * 30), f(1, 1), equation=f"{MANY},...->...")),
    (call("Col2Im", f(1, 4, 5), i(2, 2), i(2, 2), strides=(0, 1)),
     "its image (2, 2), block (2, 2), strides (0, 1), dilations (1, 1) and pads (0, 0, 0, 0) do not fit float32[1,4,5]",
     call("Col2Im", f(1, 4, 1), i(2, 2), i(2, 2), strides=(1, 1))),
    (call("Col2Im", f(1, 4, 5), i(3, 3), i(2, 2)),
     "its columns are float32[1,4,5]\n  a block of (2, 2) has (2, 2) places in the image (3, 3)",
     call("Col2Im", f(1, 4, 4), i(3, 3), i(2, 2))),
    (call("BatchNormalization", f(3), f(3), f(3), f(3), f(3)),
     "its input float32[3] has no channels\n  (batch, channels, ...) is needed",
     call("BatchNormalization", f(1, 3), f(3), f(3), f(3), f(3))),
    (call("BatchNormalization", f(1, 3), f(3), f(2), f(3), f(3)),
     "one of its scale, bias, mean and variance is float32[2]\n  one for each of 3 channels is needed",
     call("BatchNormalization", f(1, 3), f(3), f(3), f(3), f(3))),
    (call("GroupNormalization", f(1, 3, 4), f(3), f(3), num_groups=2),
     "its num_groups is 2\n  it must divide the channels of float32[1,3,4]",
     call("GroupNormalization", f(1, 4, 4), f(4), f(4), num_groups=2)),
    (call("InstanceNormalization", f(1, 3, 4), f(2), f(3)),
     "its scale is float32[2] and its bias float32[3]\n  3 numbers are needed",
     call("InstanceNormalization", f(1, 3, 4), f(3), f(3))),
    (call("LayerNormalization", f(2, 3), f(2, 2, 3), f(3)),
     "its input 1 is float32[2,2,3]\n  it does not broadcast to float32[2,3]",
     call("LayerNormalization", f(2, 3), f(3), f(3))),
    (call("LRN", f(1, 3, 4), size=0),
     "its size is 0 and its input float32[1,3,4]\n  a size from 1 on, (batch, channels, ...) are needed",
     call("LRN", f(1, 3, 4), size=1)),
    (call("MaxPool", f(1, 2, 5), kernel_shape=(2, 2)),
     "its kernel_shape (2, 2) does not fit an input with 3 axes\n  one for each spatial axis is needed",
     call("MaxPool", f(1, 2, 5), kernel_shape=(2,))),
    (call("MaxPool", f(1, 2, 5), kernel_shape=(2,), strides=(0,)),
     "its window is no window\n  filter 2, stride 0, dilation 1, padding (0, 0)",
     call("MaxPool", f(1, 2, 5), kernel_shape=(2,), strides=(1,))),
    (call("GlobalMaxPool", f(2, 3)),
     "its input float32[2,3] has no spatial axes\n  (batch, channels, *spatial) is needed",
     call("GlobalMaxPool", f(1, 2, 3))),
    (call("QuantizeLinear", f(2), np.float32(-0.5)),
     "its scale has -0.5\n  finite numbers above 0 are needed",
     call("QuantizeLinear", f(2), np.float32(0.5))),
    (call("LSTM", f(2, 1), f(1, 8, 3), f(1, 8, 2)),
     "its X is float32[2,1] and its R float32[1,8,2]\n  both need three axes",
     call("LSTM", f(4, 2, 3), f(1, 8, 3), f(1, 8, 2), hidden_size=2)),
    (call("ArgMax", f(2, 0), axis=1),
     "its input float32[2,0] has nothing along axis 1",
     call("ArgMax", f(2, 1), axis=1)),
    (call("Resize", f(1, 2, 4), None, f(2) + 1),
     "its scales or sizes do not fit\n  float32[1,2,4], 3 axes: one scale or one size for each is needed",
     call("Resize", f(1, 2, 4), None, f(3) + 1)),
    (call("Resize", f(1, 2, 4), None, f(3) + 1, coordinate_transformation_mode="tf_crop_and_resize"),
     "its roi is missing\n  tf_crop_and_resize needs where to begin and end along each axis",
     call("Resize", f(1, 2, 4), i(0, 0, 0, 1, 1, 1).astype("float32"), f(3) + 1,
          coordinate_transformation_mode="tf_crop_and_resize")),
    (call("Resize", f(1, 2, 0), None, None, i(1, 2, 3)),
     "its input float32[1,2,0] has nothing to make [1, 2, 3] of",
     call("Resize", f(1, 2, 1), None, None, i(1, 2, 3))),
    (call("GridSample", f(1, 2, 3, 3), f(1, 4, 4, 2).astype(np.int64)),
     "its X is float32[1,2,3,3] and its grid int64[1,4,4,2]\n  numbers and floating point numbers are needed",
     call("GridSample", f(1, 2, 3, 3), f(1, 4, 4, 2))),
    (call("GridSample", f(1, 2, 0, 3), f(1, 4, 4, 2)),
     "its X is float32[1,2,0,3]\n  there is nothing to sample",
     call("GridSample", f(1, 2, 1, 3), f(1, 4, 4, 2))),
    (call("Unsqueeze", f(2), version=11),
     "its axes are None\n  the places of new axes are needed",
     call("Unsqueeze", f(2), version=11, axes=(0,))),
    (call("ConstantOfShape", i(2, -1)),
     "its shape is (2, -1) and its value None\n  extents from 0 on and one number are needed",
     call("ConstantOfShape", i(2, 1))),
    (call("Expand", f(2, 3), i(4)),
     "its input float32[2,3] does not broadcast to the shape (4,)",
     call("Expand", f(2, 3), i(3))),
    (call("OneHot", i(0, 1), i(0), f(2)),
     "its depth is [0] and its values are float32[2]\n  a number from 1 on and two values are needed",
     call("OneHot", i(0, 1), i(1), f(2))),
    (call("OneHot", i(0, 1), i(2), f(3)),
     "its depth is [2] and its values are float32[3]\n  a number from 1 on and two values are needed",
     call("OneHot", i(0, 1), i(2), f(2))),
    (call("MaxUnpool", f(1, 1, 2, 2), PLACES, kernel_shape=(2,)),
     "its kernel_shape is (2,), its strides (1, 1), its pads (0, 0, 0, 0)\n"
     "  they do not fit its X float32[1,1,2,2]",
     call("MaxUnpool", f(1, 1, 2, 2), PLACES, kernel_shape=(2, 2))),
    (call("MaxUnpool", f(1, 1, 2), f(1, 1, 2), kernel_shape=(2,)),
     "its I is float32[1,1,2]\n  int64[1,1,2] is needed, as its X is float32[1,1,2]",
     call("MaxUnpool", f(1, 1, 2), PLACES[..., 0], kernel_shape=(2,))),
    (call("MaxUnpool", f(1, 1, 2), PLACES[..., 0], kernel_shape=(2,), pads=(2, 2)),
     "its pads (2, 2) cut off more than there is\n  they would leave (1, 1, -1)",
     call("MaxUnpool", f(1, 1, 2), PLACES[..., 0], kernel_shape=(2,), pads=(0, 0))),
    (call("NegativeLogLikelihoodLoss", f(2, 3), i(0, 1), reduction="max"),
     "its reduction is 'max'\n  one of none, sum and mean is needed",
     call("NegativeLogLikelihoodLoss", f(2, 3), i(0, 1), reduction="sum")),
    (call("SoftmaxCrossEntropyLoss", f(2, 3), i(0)),
     "its inputs are float32[2,3] and int64[1]\n"
     "  a class each is needed for every element: (N, C, ...) and (N, ...)",
     call("SoftmaxCrossEntropyLoss", f(2, 3), i(0, 1))),
    (call("SoftmaxCrossEntropyLoss", f(2, 3), i(0, 1), f(2)),
     "its weights are float32[2]\n  one for each of 3 classes is needed",
     call("SoftmaxCrossEntropyLoss", f(2, 3), i(0, 1), f(3) + 1)),
    (call("Squeeze", f(1, 2), i(0, -2)),
     "its axes (0, -2) name one twice\n  of an array with 2 axes",
     call("Squeeze", f(1, 2), i(0))),
    (call("CrossEntropy", f(2, 3), i(0), domain=OWN, outputs=3),
     "its scores are float32[2,3], its targets int64[1]\n  a class is needed for each score: int64[2]",
     call("CrossEntropy", f(2, 3), i(0, 1), domain=OWN, outputs=3)),
    (call("MeanSquaredError", f(2, 3), f(2), domain=OWN, outputs=2),
     "its targets are float32[2], the output float32[2,3]\n  one number is needed for each",
     call("MeanSquaredError", f(2, 3), f(2, 3), domain=OWN, outputs=2)),
    (call("SumTo", f(2, 3), i(2, 2, 3), domain=OWN),
     "its shape (2, 2, 3) does not broadcast to float32[2,3]",
     call("SumTo", f(2, 3), i(3), domain=OWN)),
    (call("BatchNorm", f(1, 3), f(3), f(3), domain=OWN, outputs=5),
     "it is trained on one number a channel\n"
     "  float32[1,3]\n  two are needed for a variance: take a larger batch",
     call("BatchNorm", f(2, 3), f(3), f(3), domain=OWN, outputs=5)),
]  # fmt: skip
"""What is wrong, what is said of it, what is right."""

NAMES = [f"{at} {each.node.op}" for at, (each, _, _) in enumerate(CASES)]


@pytest.mark.parametrize(("wrong", "text", "right"), CASES, ids=NAMES)
def test_the_whole_refusal_and_what_it_asks_for(wrong: Call, text: str, right: Call) -> None:
    with pytest.raises(convmat.NetworkError) as error:
        wrong()
    assert str(error.value) == f"load: {wrong.node.op} 'here' cannot run\n  {text}"
    right()
