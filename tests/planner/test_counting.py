"""8-bit integers and their scales: every refusal's whole text, and what it suggests."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import convmat
from tests.slips import Slip, hold

NAMES: dict[str, Any] = {
    "counted": partial(convmat.plan, (1, 4, 8, 8), (4, 4, 3, 3), dtype="uint8", w_dtype="int8"),
    "given": np.ones((1, 4, 8, 8), np.uint8),
    "signed": np.ones((4, 4, 3, 3), np.int8),
}

SLIPS = {
    "a zero point of floats": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), x_zero_point=3)",
        "plan: x_zero_point belongs to 8-bit integers\n"
        "  x_zero_point = 3;  x is float32, w float32\n"
        "  omit it, or give int8 or uint8 arrays",
        "counted(x_zero_point=3)",
    ),
    "zero points of a gradient": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), dtype='uint8', direction='input', x_zero_point=3)",
        "plan: x_zero_point does not go with direction='input'\n"
        "  x_zero_point = 3\n"
        "  omit one of the two; float32 arrays take both",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), direction='input')",
    ),
    "bytes without a scale": Slip(
        "counted(out_dtype='uint8')",
        "plan: numbers of 8 bits are made of sums by a scale\n"
        "  out_dtype = uint8, y_zero_point = 0, scale = False\n"
        "  give a scale and out_dtype='uint8' or 'int8', or omit these: int32 holds every sum",
        "counted(scale=True, out_dtype='uint8')",
    ),
    "a zero point of sums": Slip(
        "counted(y_zero_point=3)",
        "plan: numbers of 8 bits are made of sums by a scale\n"
        "  out_dtype = None, y_zero_point = 3, scale = False\n"
        "  give a scale and out_dtype='uint8' or 'int8', or omit these: int32 holds every sum",
        "counted(scale=True, out_dtype='uint8', y_zero_point=3)",
    ),
    "scaled sums as int32": Slip(
        "counted(scale=True, out_dtype='int32')",
        "plan: a scale makes other numbers than int32\n"
        "  scale = True, out_dtype = 'int32'\n"
        "  one of 'uint8', 'int8', 'float32'",
        "counted(scale=True, out_dtype='float32')",
    ),
    "a type for no sums": Slip(
        "counted(out_dtype='int64')",
        "plan: out_dtype is not taken\n  out_dtype = 'int64'\n  one of 'int32', 'uint8', 'int8', 'float32'",
        "counted(out_dtype='int32')",
    ),
    "a zero point beyond its type": Slip(
        "counted(x_zero_point=256)",
        "plan: x_zero_point must be whole numbers of the type that they belong to\n"
        "  x_zero_point = 256, of int64;  uint8 holds 0 .. 255\n"
        "  give such a number, e.g. x_zero_point=0",
        "counted(x_zero_point=0)",
    ),
    "a zero point of another type": Slip(
        "conv(given, signed, x_zero_point=np.int8(3))",
        "conv: x_zero_point must be whole numbers of the type that they belong to\n"
        f"  x_zero_point = {np.int8(3)!r}, of int8;  uint8 holds 0 .. 255\n"
        "  give such a number, e.g. x_zero_point=0",
        "conv(given, signed, x_zero_point=np.uint8(3))",
    ),
    "a scale of floats, transposed": Slip(
        "conv_transpose(x, w, scale=0.1)",
        "conv_transpose: scale belongs to 8-bit integers\n"
        "  scale = True;  x is float32, w float32\n"
        "  omit it, or give int8 or uint8 arrays",
        "conv_transpose(given, signed, scale=0.1)",
    ),
    "a zero point for each image": Slip(
        "counted(x_zero_point=np.array([1, 2]))",
        "plan: x_zero_point must be one number for the whole array\n  x_zero_point = array([1, 2])\n"
        "  give one number, e.g. x_zero_point=3; w_zero_point may be one for each channel of y",
        "counted(x_zero_point=3)",
    ),
    "ragged zero points": Slip(
        "counted(scale=True, out_dtype='uint8', y_zero_point=[[1], [2, 3]])",
        "plan: y_zero_point must be one number for the whole array\n  y_zero_point = ((1,), (2, 3))\n"
        "  give one number, e.g. y_zero_point=3; w_zero_point may be one for each channel of y",
        "counted(scale=True, out_dtype='uint8', y_zero_point=3)",
    ),
    "half a zero point": Slip(
        "counted(x_zero_point=0.5)",
        "plan: x_zero_point must be whole numbers of the type that they belong to\n"
        "  x_zero_point = 0.5, of float64;  uint8 holds 0 .. 255\n"
        "  give such a number, e.g. x_zero_point=0",
        "counted(x_zero_point=0)",
    ),
    "a scale for a plan without": Slip(
        "counted()(given, signed, scale=0.1)",
        "plan: made without a scale, called with one\n  scale = given\n  plan again with scale=True",
        "counted(scale=True)(given, signed, scale=0.1)",
    ),
    "no scale for a plan with one": Slip(
        "counted(scale=True)(given, signed)",
        "plan: made with a scale, called without one\n  scale = None\n  plan again with scale=False",
        "counted(scale=False)(given, signed)",
    ),
    "a scale for floats": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3))(x, w, scale=0.1)",
        "plan: made without a scale, called with one\n"
        "  scale = 0.1\n"
        "  plan again with scale=True, which takes 8-bit integers",
        "counted(scale=True)(given, signed, scale=0.1)",
    ),
    "scales for other channels": Slip(
        "counted(scale=True)(given, signed, scale=np.ones(3))",
        "plan: scale is neither one number nor one for each channel of y\n"
        "  scale.shape = (3,);  y has 4 channels\n"
        "  give one number, or an array of shape (4,)",
        "counted(scale=True)(given, signed, scale=np.ones(4))",
    ),
    "a scale of nothing": Slip(
        "counted(scale=True)(given, signed, scale=[1, 0, 1, 1])",
        "plan: scale must be finite numbers above 0\n  scale has 0\n  give float32 numbers such as 0.02",
        "counted(scale=True)(given, signed, scale=0.02)",
    ),
    "a scale that is a word": Slip(
        "counted(scale=True)(given, signed, scale='large')",
        "plan: scale must be finite numbers above 0\n"
        "  scale has 'large'\n"
        "  give float32 numbers such as 0.02",
        "counted(scale=True)(given, signed, scale=0.02)",
    ),
    "weights bound with a scale of nothing": Slip(
        "counted(scale=True).bind(signed, scale=0)",
        "plan: scale must be finite numbers above 0\n  scale has 0\n  give float32 numbers such as 0.02",
        "counted(scale=True).bind(signed, scale=0.02)",
    ),
    "a call with a scale of nothing": Slip(
        "conv(given, signed, scale=0)",
        "conv: scale must be finite numbers above 0\n  scale has 0\n  give float32 numbers such as 0.02",
        "conv(given, signed, scale=0.02)",
    ),
    "a transposed call with a scale of nothing": Slip(
        "conv_transpose(given, signed, scale=0)",
        "conv_transpose: scale must be finite numbers above 0\n"
        "  scale has 0\n"
        "  give float32 numbers such as 0.02",
        "conv_transpose(given, signed, scale=0.02)",
    ),
    "weights' zero points beyond their type": Slip(
        "counted(w_zero_point=True)(given, signed, w_zero_point=200)",
        "plan: w_zero_point must be whole numbers of the type that they belong to\n"
        "  w_zero_point = 200, of int64;  int8 holds -128 .. 127\n"
        "  give such a number, e.g. w_zero_point=0",
        "counted(w_zero_point=True)(given, signed, w_zero_point=0)",
    ),
    "a flag that is a number": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), exact=1)",
        "plan: exact must be True or False\n  exact = 1\n  e.g. exact=True",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), exact=True)",
    ),
    "a residual that was not planned": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3))(x, w, residual=y)",
        "plan: made without a residual, called with one\n"
        "  residual = an array\n"
        "  plan again with residual=True",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), residual=True)(x, w, residual=y)",
    ),
    "a stream without weights": Slip(
        "Stream(plan((1, 4, 8), (4, 4, 3)))",
        "stream: the plan's weights are missing\n  w = None\n  give Stream(plan, w)",
        "Stream(plan((1, 4, 8), (4, 4, 3)), w[..., 0])",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name], **NAMES)
