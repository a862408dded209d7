"""Convolution over what is there: against the definition, for every lowering, and beside astropy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import GeometryError
from convmat.scipy import ndimage
from tests.support import dtype_of

pick = np.random.default_rng(11)


def definition(x: Any, w: Any, gone: Any, padding: int) -> Any:
    """Window by window, in float64; one group, stride 1, two axes."""
    spread = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    zeros = np.pad(np.where(gone, 0, x).astype(np.float64), spread)
    there = np.pad((~np.broadcast_to(gone, x.shape)).astype(np.float64), spread, constant_values=1)
    windows = [np.lib.stride_tricks.sliding_window_view(a, w.shape[2:], (2, 3)) for a in (zeros, there)]
    sums, met = (np.einsum("bchwij,ocij->bohw", each, w.astype(np.float64)) for each in windows)
    some = np.einsum("bchwij,ocij->bohw", windows[1], np.ones_like(w, np.float64)) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(some, sums / met, np.nan)


@pytest.mark.parametrize("lowering", [None, "im2col", "winograd 4x4", "fft"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_over_what_is_there(lowering: str | None, dtype: str) -> None:
    x = pick.random((2, 3, 20, 24)).astype(dtype)
    w = (0.2 + pick.random((4, 3, 3, 3))).astype(dtype)
    x[0][pick.random((3, 20, 24)) < 0.3] = np.nan
    x[0, :, 5:9, 5:9] = np.nan
    known = {c.lowering for c in convmat.plan(x.shape, w.shape, dtype=dtype, padding=1).candidates}
    if lowering is not None and lowering not in known:
        lowering = next(name for name in sorted(known) if name.startswith(lowering.split()[0]))
    made = convmat.conv(x, w, padding=1, missing="nan", lowering=lowering, rtol=1e-3)
    wanted = definition(x, w, np.isnan(x), 1)
    assert np.array_equal(np.isnan(made), np.isnan(wanted))
    assert np.isnan(wanted).any()
    assert np.allclose(made, wanted, rtol=1e-4 if dtype == "float32" else 1e-10, equal_nan=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_16_bit_numbers_are_rounded_once(dtype: str) -> None:
    """Sums beyond float16's range have means within it."""
    kind = dtype_of(dtype)
    x, w = (
        (500 + 500 * pick.random((2, 12, 12, 14))).astype(kind),
        (0.5 + pick.random((3, 12, 3, 3))).astype(kind),
    )
    gone = pick.random(x.shape) < 0.3
    holes = np.where(gone, kind.type(np.nan), x)
    wanted = definition(x.astype(np.float64), w.astype(np.float64), gone, 1)
    made = convmat.conv(holes, w, padding=1, missing="nan")
    assert made.dtype == kind
    half = 2.0 ** -(11 if dtype == "float16" else 8)
    assert np.allclose(made.astype(np.float64), wanted, rtol=1.01 * half, atol=0)
    assert np.array_equal(convmat.conv(holes, w, padding=1, missing=gone), made)
    out = np.empty_like(made)
    assert convmat.conv(holes, w, padding=1, missing="nan", out=out) is out
    assert np.array_equal(out, made)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_are_refused_with_a_fix_that_works(dtype: str) -> None:
    x, w, gone = np.ones((1, 1, 4), dtype), np.ones((1, 1, 2), dtype), np.array([True, False, False, False])
    with pytest.raises(GeometryError) as error:
        convmat.conv(x, w, missing=gone)
    assert str(error.value) == (
        f"conv: missing= takes numbers with a fraction\n  x.dtype = {dtype}\n"
        "  give x.astype('float32') and w.astype('float32')"
    )
    made = convmat.conv(x.astype("float32"), w.astype("float32"), missing=gone)
    assert np.array_equal(made, np.ones((1, 1, 3)))


def test_a_mask_is_as_good_as_nans_and_whole_images_are_plain() -> None:
    x, w = pick.random((2, 1, 9, 9)), pick.random((2, 1, 3, 3))
    mask = pick.random((9, 9)) < 0.2
    holes = np.where(mask, np.nan, x)
    assert np.array_equal(convmat.conv(x, w, missing=mask), convmat.conv(holes, w, missing="nan"))
    plain = convmat.conv(x, w) / w.sum((1, 2, 3))[:, None, None]
    assert np.allclose(convmat.conv(x, w, missing="nan"), plain, rtol=1e-14)
    one = convmat.conv(holes[0], w, missing="nan")
    assert np.array_equal(one, convmat.conv(holes[:1], w, missing="nan")[0])
    sums = convmat.conv(holes, w, missing="nan", normalize=False)
    assert np.array_equal(sums, convmat.conv(np.where(mask, 0, x), w))
    out = np.empty_like(plain)
    assert convmat.conv(holes, w, missing="nan", out=out) is out
    last = convmat.conv(holes.transpose(0, 2, 3, 1), w, missing="nan", layout="NHWC")
    assert np.allclose(last.transpose(0, 3, 1, 2), out, rtol=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "none"}, "conv: unknown kind of missing data\n  missing = 'none'\n"
         "  'nan', or an array of booleans that is true where x is missing"),
        ({"missing": np.zeros(3)}, "conv: a mask of missing data holds booleans\n  missing.dtype = float64\n"
         "  give e.g. missing=mask != 0, true where x is missing"),
        ({"missing": np.zeros(3, bool)}, "conv: the mask of missing data does not fit x\n  missing.shape = (3,), "
         "x.shape = (1, 1, 5)\n  give a mask of x's shape, or one that broadcasts to it"),
        ({"missing": "nan", "activation": "relu"}, "conv: missing= gives means, to which nothing is added on the way\n"
         "  activation is given\n  convolve without activation, then apply it to the result"),
        ({"missing": "nan"}, "conv: weights that sum to next to nothing have no mean over what is there\n"
         "  filter 0: sum 0, sum of absolute values 2\n  give normalize=False for the plain sum over what is there"),
    ],
)  # fmt: skip
def test_what_has_no_mean_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=f"^{re.escape(message)}$"):
        convmat.conv(np.ones((1, 1, 5)), np.array([[[-1.0, 1.0]]]), **options)


@pytest.mark.outside
@pytest.mark.parametrize("boundary", ["fill", "extend", "wrap"])
def test_beside_astropy(boundary: str) -> None:
    from astropy import convolution

    x = pick.random((40, 50))
    x[pick.random(x.shape) < 0.1] = np.nan
    kernel = convolution.Gaussian2DKernel(1.5)
    wanted = convolution.convolve(x, kernel, boundary=boundary, nan_treatment="interpolate")
    mode = {"fill": "constant", "extend": "nearest", "wrap": "wrap"}[boundary]
    made = ndimage.convolve(x, kernel.array, mode=mode, missing="nan")
    assert np.allclose(made, wanted, rtol=1e-10)
    w = kernel.array[None, None, ::-1, ::-1].copy()
    padding = {
        "padding": w.shape[-1] // 2,
        "padding_mode": {"fill": "zeros", "extend": "edge", "wrap": "wrap"}[boundary],
    }
    assert np.allclose(convmat.conv(x[None, None], w, missing="nan", **padding)[0, 0], wanted, rtol=1e-10)


def test_filters_of_scipy_over_what_is_there() -> None:
    x = pick.random((30, 20)).astype(np.float32)
    gone = pick.random(x.shape) < 0.2
    holes = np.where(gone, np.nan, x)
    there = (~gone).astype(np.float64)
    for name, given in (
        ("gaussian_filter", (1.0,)),
        ("uniform_filter", (3,)),
        ("gaussian_filter1d", (2.0, 0)),
    ):
        call = getattr(ndimage, name)
        made = call(holes, *given, missing="nan")
        with np.errstate(invalid="ignore"):
            wanted = call(np.where(gone, 0, x).astype(np.float64), *given) / call(there, *given)
        assert made.dtype == np.float32
        assert np.allclose(made, wanted, rtol=1e-5, equal_nan=True), name
        assert np.array_equal(call(x, *given, missing=gone), made, equal_nan=True)
    with pytest.raises(GeometryError, match="weights that sum to next to nothing"):
        ndimage.gaussian_filter(holes, 1.0, order=1, missing="nan")
