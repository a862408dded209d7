"""Keywords of plans: every refusal's whole text, and what it suggests."""

from __future__ import annotations

import pytest

from tests.slips import Slip, hold

SLIPS = {
    "a padding mode": Slip(
        'conv(x, w, padding_mode="mirror")',
        "conv: unknown padding_mode\n"
        "  padding_mode = 'mirror'\n"
        "  one of 'zeros', 'reflect', 'symmetric', 'edge', 'wrap', 'replicate', 'circular'",
        'conv(x, w, padding_mode="reflect")',
    ),
    "nothing left to repeat": Slip(
        'conv(x, w, padding_mode="edge", padding=((-8, 9), (0, 0)))',
        "conv: nothing is left of the input to repeat\n"
        "  input (8, 8), padding ((-8, 9), (0, 0)), padding_mode = 'edge'\n"
        "  use padding_mode='zeros', or crop less",
        "conv(x, w, padding=((-8, 9), (0, 0)))",
    ),
    "an activation": Slip(
        'conv(x, w, activation="swish")',
        "conv: the activation is not understood\n"
        "  activation = 'swish'\n"
        "  unknown activation 'swish': one of relu, relu6, leaky_relu, sigmoid, tanh, silu, gelu, "
        "gelu_tanh, hardswish, hardsigmoid, clip",
        'conv(x, w, activation="silu")',
    ),
    "half of a clip": Slip(
        'conv(x, w, activation=("clip", 1))',
        "conv: the activation is not understood\n"
        "  activation = ('clip', 1)\n"
        "  clip takes a low and a high bound, e.g. ('clip', 0.0, 6.0), got ('clip', 1)",
        'conv(x, w, activation=("clip", 0.0, 6.0))',
    ),
    "too much for an activation": Slip(
        'conv(x, w, activation=("leaky_relu", 1, 2))',
        "conv: the activation is not understood\n"
        "  activation = ('leaky_relu', 1, 2)\n"
        "  leaky_relu takes 1 parameter, got ('leaky_relu', 1, 2)",
        'conv(x, w, activation=("leaky_relu", 1))',
    ),
    "a parameter that none takes": Slip(
        'conv(x, w, activation=("relu", 1))',
        "conv: the activation is not understood\n"
        "  activation = ('relu', 1)\n"
        "  relu takes no parameters, got ('relu', 1)",
        'conv(x, w, activation="relu")',
    ),
    "complex numbers": Slip(
        'conv(x.astype(complex), w.astype(complex), activation="relu")',
        "conv: complex numbers have no order, and no activations here\n"
        "  activation = 'relu', dtype complex128\n"
        "  apply one to the real and imaginary parts of the result",
        "conv(x.astype(complex), w.astype(complex))",
    ),
    "whole numbers": Slip(
        'conv(x.astype("int8"), w.astype("int8"), activation="tanh")',
        "conv: this activation needs real floating-point results\n"
        "  activation = 'tanh', dtype int8\n"
        "  apply it to the result, or convolve in float32",
        'conv(x.astype("float32"), w.astype("float32"), activation="tanh")',
    ),
    "a lowering": Slip(
        'conv(x, w, lowering="im2row")',
        "conv: there is no lowering of that name\n"
        "  lowering = 'im2row'\n"
        "  one of 'pointwise', 'depthwise', 'dots', 'im2col', 'mec', 'kn2row', 'winograd 2', "
        "'winograd 4', 'winograd 6', 'pieces', 'fft', 'bfloat16'",
        'conv(x, w, lowering="im2col")',
    ),
    "an engine": Slip(
        'conv(x, w, engine="cuda")',
        "conv: there is no engine of that name\n  engine = 'cuda'\n  one of 'jit', 'blas'",
        'conv(x, w, engine="blas")',
    ),
    "bytes below none": Slip(
        "conv(x, w, workspace_limit=-1)",
        "conv: workspace_limit must be a number of bytes\n"
        "  workspace_limit = -1\n"
        "  e.g. workspace_limit=16777216, or None",
        "conv(x, w, workspace_limit=16777216)",
    ),
    "bytes of weights that are none": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), weight_limit="much")',
        "plan: weight_limit must be a number of bytes\n"
        "  weight_limit = 'much'\n"
        "  e.g. weight_limit=16777216, or None",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), weight_limit=None)",
    ),
    "no tolerance at all": Slip(
        "conv(x, w, rtol=0)",
        "conv: rtol must be a positive number\n  rtol = 0\n  e.g. rtol=5e-6, or None",
        "conv(x, w, rtol=5e-6)",
    ),
    "an element type": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), dtype="int64")',
        "plan: dtype is not taken\n"
        "  dtype = 'int64'\n"
        "  one of float32, float64, float16, bfloat16, complex64, complex128, int8, uint8, e.g. "
        "dtype='float32'",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), dtype='float32')",
    ),
    "a direction": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), direction="back")',
        "plan: unknown direction\n  direction = 'back'\n  one of 'forward', 'input', 'weight'",
        'plan((1, 4, 8, 8), (4, 4, 3, 3), direction="input")',
    ),
    "output padding": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), output_padding=1)",
        "plan: output_padding belongs to transposed convolutions\n"
        "  output_padding = 1\n"
        "  omit it, or plan with transposed=True",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), transposed=True, output_padding=1)",
    ),
    "edges of a transposed convolution": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), transposed=True, padding_mode="edge")',
        "plan: a transposed convolution pads with zeros alone\n  padding_mode = 'edge'\n  omit padding_mode",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), transposed=True)",
    ),
    "an effort": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), tune="fast")',
        "plan: unknown tune\n  tune = 'fast'\n  one of 'none', 'quick', 'full'",
        'plan((1, 4, 8, 8), (4, 4, 3, 3), tune="none")',
    ),
    "no effort": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), tune=None)",
        "plan: unknown tune\n  tune = None\n  one of 'none', 'quick', 'full'",
        'plan((1, 4, 8, 8), (4, 4, 3, 3), tune="none")',
    ),
    "a time below none": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), tune="quick", seconds=-1)',
        "plan: seconds must be a positive number\n  seconds = -1\n  e.g. seconds=0.5, or None",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), seconds=0.5)",
    ),
    "progress that is no function": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), progress=1)",
        "plan: progress must be a function\n"
        "  progress = 1\n"
        "  it is called with steps done and all steps, e.g. progress=print",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), progress=print)",
    ),
    "timing without choices by timing": Slip(
        'plan((1, 4, 8, 8), (4, 4, 3, 3), tune="quick", deterministic=True)',
        "plan: deterministic=True forbids choices made by timing\n  tune = 'quick'\n  omit one of the two",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), deterministic=True)",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name])
