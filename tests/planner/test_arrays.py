"""Arrays as they come: every refusal's whole text, and what it suggests; what is read as it is."""

from __future__ import annotations

import pytest

from tests.slips import Slip, hold

SLIPS = {
    "a masked array": Slip(
        "conv(np.ma.masked_array(x, x > 2), w)",
        "conv: x is a masked array, and a product has no masks\n"
        "  0 of 256 elements are masked\n"
        "  say what they count as, e.g. x.filled(0)",
        "conv(np.ma.masked_array(x, x > 2).filled(0), w)",
    ),
    "nothing": Slip(
        "conv(x, None)",
        "conv: w is not an array\n"
        "  w = None\n"
        "  give a NumPy array, nested lists of equal lengths, or an array on the CPU",
        "conv(x, w)",
    ),
    "a word": Slip(
        'conv(x, "w")',
        "conv: w is not an array\n"
        "  w = 'w'\n"
        "  give a NumPy array, nested lists of equal lengths, or an array on the CPU",
        "conv(x, w.tolist())",
    ),
    "half an image, of another type": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), dtype='float32')(x.astype(float), w)",
        "plan: x has another element type than planned\n"
        "  x.dtype = float64, expected float32\n"
        "  convert it, e.g. x.astype('float32')",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), dtype='float32')(x.astype(float).astype('float32'), w)",
    ),
    "an image of another shape": Slip(
        "plan((1, 4, 9, 9), (4, 4, 3, 3))(x, w)",
        "plan: x has another shape than planned\n"
        "  x.shape = (1, 4, 8, 8), expected (1, 4, 9, 9)\n"
        "  give an array of that shape, or make a plan for this one",
        "plan((1, 4, 8, 8), (4, 4, 3, 3))(x, w)",
    ),
    "a bias that was not planned": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3))(x, w, bias)",
        "plan: made without a bias, called with one\n  bias = an array\n  plan again with bias=True",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), bias=True)(x, w, bias)",
    ),
    "a planned bias left out": Slip(
        "plan((1, 4, 8, 8), (4, 4, 3, 3), bias=True)(x, w)",
        "plan: made with a bias, called without one\n  bias = None\n  plan again with bias=False",
        "plan((1, 4, 8, 8), (4, 4, 3, 3), bias=False)(x, w)",
    ),
    "a residual of another type": Slip(
        "conv(x, w, residual=y.astype(float))",
        "conv: residual has another element type than the result\n"
        "  residual.dtype = float64, the result is float32\n"
        "  convert it, e.g. residual.astype('float32')",
        "conv(x, w, residual=y.astype(float).astype('float32'))",
    ),
    "a complex residual": Slip(
        "conv(x, w, residual=y * 1j)",
        "conv: residual has another element type than the result\n"
        "  residual.dtype = complex64, the result is float32\n"
        "  convert it, e.g. residual.real.astype('float32')",
        "conv(x, w, residual=(y * 1j).real.astype('float32'))",
    ),
    "an output that cannot be written": Slip(
        "conv(x, w, out=np.broadcast_to(np.float32(0), (1, 4, 6, 6)))",
        "conv: out does not fit the result\n"
        "  out is a float32 array of shape (1, 4, 6, 6), read-only\n"
        "  give a writeable array, e.g. out=np.empty((1, 4, 6, 6), 'float32')",
        "conv(x, w, out=np.empty((1, 4, 6, 6), 'float32'))",
    ),
    "an output that is a list": Slip(
        "conv(x, w, out=[0])",
        "conv: out does not fit the result\n"
        "  out is a list\n"
        "  give a writeable array, e.g. out=np.empty((1, 4, 6, 6), 'float32')",
        "conv(x, w, out=np.empty((1, 4, 6, 6), 'float32'))",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name])
