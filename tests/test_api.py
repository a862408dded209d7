"""The functions on arrays: what each refuses, in whole texts, and what it suggests instead."""

from __future__ import annotations

import pytest

from tests.slips import Slip, hold

SLIPS = {
    "a layout of no rank": Slip(
        'conv(x, w, layout="NCWH")',
        "conv: unknown layout\n"
        "  layout = 'NCWH'\n"
        "  'NCHW' (channels second) or 'NHWC' (channels last), at any rank",
        'conv(x, w, layout="NCHW")',
    ),
    "a bias too short": Slip(
        "conv(x, w, bias[:3])",
        "conv: bias does not fit the result\n"
        "  bias.shape = (3,), expected (4,)\n"
        "  give an array of that shape",
        "conv(x, w, bias)",
    ),
    "the input as residual": Slip(
        "conv(x, w, residual=x)",
        "conv: residual does not fit the result\n"
        "  residual.shape = (1, 4, 8, 8), expected (1, 4, 6, 6)\n"
        "  give an array of that shape",
        "conv(x, w, residual=y)",
    ),
    "an output of one image": Slip(
        "conv(x, w, out=y[0])",
        "conv: out does not fit the result\n"
        "  out is a float32 array of shape (4, 6, 6)\n"
        "  give a writeable array, e.g. out=np.empty((1, 4, 6, 6), 'float32')",
        "conv(x, w, out=np.empty((1, 4, 6, 6), 'float32'))",
    ),
    "an output of another type": Slip(
        "conv(x, w, out=y.astype(float))",
        "conv: out does not fit the result\n"
        "  out is a float64 array of shape (1, 4, 6, 6)\n"
        "  give a writeable array, e.g. out=np.empty((1, 4, 6, 6), 'float32')",
        "conv(x, w, out=np.empty((1, 4, 6, 6), 'float32'))",
    ),
    "an image without its batch axis, and an output with one": Slip(
        "conv(x[0], w, out=y)",
        "conv: out does not fit the result, and x has no batch axis\n"
        "  out.shape = (1, 4, 6, 6), expected (4, 6, 6)\n"
        "  give an array of that shape, or give x a batch axis, e.g. x[None]",
        "conv(x[0][None], w, out=np.empty_like(y))",
    ),
    "an output in the input": Slip(
        "conv(x, w, out=x[..., :6, :6])",
        "conv: out overlaps an input in memory\n"
        "  out of shape (1, 4, 6, 6) shares bytes with an array of shape (1, 4, 8, 8)\n"
        "  give memory of its own, e.g. out=np.empty((1, 4, 6, 6), 'float32') (residual may be out "
        "itself)",
        "conv(x, w, out=np.empty((1, 4, 6, 6), 'float32'))",
    ),
    "filters of a lower rank": Slip(
        "conv2d(x[..., 0], w[..., 0])",
        "conv2d: w must have 4 axes\n"
        "  w has 3: (4, 4, 3)\n"
        "  (O, C//G, *F) with 2 spatial axes, or call conv, which takes any rank",
        "conv(x[..., 0], w[..., 0])",
    ),
    "filters of a higher rank": Slip(
        "conv1d(x, w)",
        "conv1d: w must have 3 axes\n"
        "  w has 4: (4, 4, 3, 3)\n"
        "  (O, C//G, *F) with 1 spatial axis, or call conv, which takes any rank",
        "conv(x, w)",
    ),
    "filters for volumes": Slip(
        "conv3d(x, w)",
        "conv3d: w must have 5 axes\n"
        "  w has 4: (4, 4, 3, 3)\n"
        "  (O, C//G, *F) with 3 spatial axes, or call conv, which takes any rank",
        "conv(x, w)",
    ),
    "a window of three axes": Slip(
        "im2col(x, (3, 3, 3))",
        "im2col: kernel_size has the wrong number of entries\n"
        "  kernel_size = (3, 3, 3) has 3, the convolution has 2 spatial axes (H, W)\n"
        "  give one number, or one per axis, e.g. kernel_size=(1, 1)",
        "im2col(x, (1, 1))",
    ),
    "a plane": Slip(
        "im2col(x[0, 0], 3)",
        "im2col: x must have a batch axis, a channel axis and one spatial axis or more\n"
        "  x has 2 axes 8x8\n"
        "  (B, C, *I), e.g. 1x3x8x8",
        "im2col(np.ones((1, 3, 8, 8)), 3)",
    ),
    "an order": Slip(
        'im2col(x, 3, order="A")',
        "im2col: unknown order\n  order = 'A'\n  'F' (columns contiguous) or 'C' (rows)",
        'im2col(x, 3, order="F")',
    ),
    "letters": Slip(
        'im2col(np.array([[["1"]]]), 1)',
        "im2col: x does not hold numbers\n"
        "  x.dtype = <U1\n"
        "  give numbers, e.g. np.asarray(x, dtype='float32')",
        "im2col(np.asarray([[['1']]], dtype='float32'), 1)",
    ),
    "columns of another image": Slip(
        "col2im(np.ones((36, 36)), (1, 4, 8), 3)",
        "col2im: cols does not have the shape that im2col gives\n"
        "  cols (36, 36);  x_shape (1, 4, 8) gives (C*F, B*P) = (12, 6)\n"
        "  give cols of shape (12, 6)",
        "col2im(np.ones((12, 6)), (1, 4, 8), 3)",
    ),
    "a column missing": Slip(
        "col2im(np.ones((36, 35)), (1, 4, 8, 8), 3)",
        "col2im: cols does not have the shape that im2col gives\n"
        "  cols (36, 35);  x_shape (1, 4, 8, 8) gives (C*F, B*P) = (36, 36)\n"
        "  give cols of shape (36, 36)",
        "col2im(np.ones((36, 36)), (1, 4, 8, 8), 3)",
    ),
    "the gradient of another image": Slip(
        "conv_input_grad(y, w, (1, 4, 9, 9))",
        "conv_input_grad: dy has another shape than planned\n"
        "  dy.shape = (1, 4, 6, 6), expected (1, 4, 7, 7)\n"
        "  give an array of that shape, or make a plan for this one",
        "conv_input_grad(np.ones((1, 4, 7, 7), 'float32'), w, (1, 4, 9, 9))",
    ),
    "a number for a shape": Slip(
        "conv_input_grad(np.ones((1, 4, 6, 6)), np.ones((4, 3, 3, 3)), 8)",
        "conv_input_grad: x_shape must be a sequence of whole numbers, at most 64\n"
        "  x_shape = 8\n"
        "  e.g. x_shape=(1, 3, 8, 8)",
        "conv_input_grad(np.ones((1, 4, 6, 6)), np.ones((4, 3, 3, 3)), (1, 3, 8, 8))",
    ),
    "the gradient of other filters": Slip(
        "conv_weight_grad(x, y, (4, 4, 4, 4))",
        "conv_weight_grad: dy has another shape than planned\n"
        "  dy.shape = (1, 4, 6, 6), expected (1, 4, 5, 5)\n"
        "  give an array of that shape, or make a plan for this one",
        "conv_weight_grad(x, np.ones((1, 4, 5, 5), 'float32'), (4, 4, 4, 4))",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name])
