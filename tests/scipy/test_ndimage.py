"""convmat.scipy.ndimage beside scipy.ndimage, where SciPy's own tests do not look: strips, threads, overlap, types."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.scipy import banks, borders, ndimage, ready, strips
from tests.allocations import Allocations

theirs = pytest.importorskip("scipy.ndimage")
SCIPY = tuple(map(int, version("scipy").split(".")[:2]))

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]


def some(shape: tuple[int, ...], dtype: str) -> Any:
    return (np.random.default_rng(3).random(shape) * 250).astype(dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_strips_make_no_difference(mode: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_BYTES", 4096)
    x = some((61, 37), dtype)
    for name, given in (
        ("gaussian_filter", (1.5,)), ("uniform_filter", (5,)), ("maximum_filter", (4,)), ("minimum_filter", (3,)),
        ("sobel", (0,)), ("laplace", ()), ("correlate", (np.arange(15.0).reshape(3, 5),)),
    ):  # fmt: skip
        made = getattr(ndimage, name)(x, *given, mode=mode, cval=3.0)
        wanted = getattr(theirs, name)(x, *given, mode=mode, cval=3.0)
        assert made.dtype == wanted.dtype
        if np.dtype(dtype).kind in "iu":
            assert np.array_equal(made, wanted), name
        else:
            assert np.allclose(made, wanted, rtol=1e-6 if dtype == "float32" else 1e-12, atol=1e-4), name


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_read_where_they_lie_have_their_borders(
    mode: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products see zeros beyond the edges there, which slabs along them write over."""
    x = some((41, 37), dtype)
    given = {
        "correlate": (np.arange(15.0).reshape(3, 5),),
        "gaussian_filter": (0.8,),
        "sobel": (0,),
        "uniform_filter": (4,),
        "gaussian_laplace": (0.7,),
    }
    made = {
        name: getattr(ndimage, name)(x, *each, mode=mode, cval=3.0, compute=dtype)
        for name, each in given.items()
    }
    monkeypatch.setattr(strips, "LARGE_BYTES", 1)
    monkeypatch.setattr(strips, "MOST_EDGES", 1.0)
    monkeypatch.setattr(strips, "STRIP_BYTES", 2048)
    monkeypatch.setattr(ready, "_memory", ready._FilterCache())
    for name, each in given.items():
        for cval in (3.0, 0.0):
            again = getattr(ndimage, name)(x, *each, mode=mode, cval=cval, compute=dtype)
            wanted = getattr(theirs, name)(x, *each, mode=mode, cval=cval)
            assert np.allclose(again, wanted, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-3), name
            assert cval == 0 or np.allclose(again, made[name], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_volumes_along_each_axis(axis: int) -> None:
    x = some((9, 11, 13), "float64")
    weights = [1.0, -2.0, 0.5, 3.0]
    for origin in (-2, 0, 1):
        made = ndimage.correlate1d(x, weights, axis, origin=origin)
        assert np.allclose(made, theirs.correlate1d(x, weights, axis, origin=origin), rtol=1e-12)


def test_an_output_may_be_the_input() -> None:
    x = some((40, 30), "float64")
    wanted = theirs.gaussian_filter(x, 2.0)
    made = ndimage.gaussian_filter(x, 2.0, output=x)
    assert made is x
    assert np.allclose(made, wanted, rtol=1e-12)


def test_factors_and_low_rank() -> None:
    x = some((50, 40), "float64")
    pick = np.random.default_rng(4)
    one = np.outer(pick.random(9), pick.random(11))
    two = one + np.outer(pick.random(9), pick.random(11))
    for weights in (one, two, pick.random((9, 11))):
        assert np.allclose(ndimage.convolve(x, weights), theirs.convolve(x, weights), rtol=1e-12)
    near = one + 1e-7 * pick.random((9, 11))
    assert np.allclose(ndimage.correlate(x, near, rtol=1e-3), theirs.correlate(x, near), rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "uint8", "complex64"])
def test_factors_see_what_dense_weights_see_outside(dtype: str) -> None:
    x = some((9, 8), dtype)
    for weights in (
        np.ones((3, 4)),
        np.outer([1.0, 2.0, 1.0], [0.5, 1.0, 3.0]),
        np.ones((5, 5)),
        np.ones((2, 1)),
    ):
        made = ndimage.correlate(x, weights, mode="constant", cval=2.0)
        assert np.allclose(made, theirs.correlate(x, weights, mode="constant", cval=2.0), rtol=1e-5)
    whole = np.outer([1.0, 2.0, 1.0, 3.0], [1.0, 1.0, 2.0, 1.0, 1.0])
    for array, cval in ((some((9, 8), "uint8"), 0.5), (some((9, 8), "float32"), 0.0)):
        made = ndimage.correlate(array, whole, mode="constant", cval=cval, output=np.int32)
        assert np.array_equal(
            made, theirs.correlate(array, whole, mode="constant", cval=cval, output=np.int32)
        )


def test_sums_in_float32() -> None:
    x = some((50, 40), "float32")
    made = ndimage.gaussian_filter(x, 2.0, compute="float32")
    assert np.allclose(made, theirs.gaussian_filter(x, 2.0), rtol=1e-5)
    with pytest.raises(ValueError, match=r"^compute must be 'float32' or 'float64', got 'float16'$"):
        ndimage.gaussian_filter(x, 2.0, compute="float16")


def test_threads_change_no_bit() -> None:
    x = some((300, 200), "float64")
    for name, given in (
        ("gaussian_filter", (2.0,)),
        ("uniform_filter", (7,)),
        ("correlate", (np.ones((3, 5)),)),
    ):
        with convmat.threads(1):
            one = getattr(ndimage, name)(x, *given)
        with convmat.threads(2):
            assert np.array_equal(one, getattr(ndimage, name)(x, *given))


def test_a_nan_of_a_box_stays_in_its_windows() -> None:
    x = np.ones((1, 50))
    x[0, 25] = np.nan
    assert np.isnan(ndimage.uniform_filter1d(x, 5)).sum() == 5


@pytest.mark.parametrize("strip", [1, 1 << 23])
@pytest.mark.parametrize("name", ["correlate", "convolve"])
def test_many_filters_strides_and_dilations(name: str, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "STRIP_BYTES", strip)
    monkeypatch.setattr(ready, "_memory", ready._FilterCache())
    x = some((23, 17), "int32")
    bank = np.random.default_rng(8).integers(-5, 5, (3, 4, 3)).astype(float)
    made = getattr(ndimage, name)(
        x, filters=bank, stride=(2, 3), dilation=(1, 2), origin=(1, -1), mode="mirror"
    )
    for weights, found in zip(bank, made, strict=True):
        spread = np.zeros((4, 5))
        spread[:, ::2] = weights
        wanted = getattr(theirs, name)(x, spread, origin=(1, -1), mode="mirror")
        assert np.array_equal(found, wanted[::2, ::3])
    out = np.empty((12, 17), np.int32)
    wanted = getattr(theirs, name)(x, bank[0])
    over = x[None].copy()
    getattr(ndimage, name)(over[0], filters=bank[:1], output=over)
    assert np.array_equal(over[0], wanted)
    assert getattr(ndimage, name)(x, bank[0], output=out, stride=(2, 1)) is out
    assert np.array_equal(out, getattr(theirs, name)(x, bank[0])[::2])


def test_filters_that_cannot_be_say_why() -> None:
    x = np.ones((4, 4))
    with pytest.raises(ValueError, match=r"^give weights or filters=, one of them$"):
        ndimage.correlate(x, stride=2)
    with pytest.raises(ValueError, match=r"^stride and dilation are at least 1, got 0$"):
        ndimage.correlate(x, x, stride=0)
    with pytest.raises(ValueError, match=r"^filters=, stride= and dilation= go along axes: input has none$"):
        ndimage.correlate(1.0, filters=[1.0])
    with pytest.raises(TypeError, match=r"^filters=, stride= and dilation= take real numbers$"):
        ndimage.correlate(x, filters=np.ones((1, 2, 2)) * 1j)


def test_filters_made_ready_are_bounded_and_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_memory", ready._FilterCache())
    monkeypatch.setattr(ready, "MOST", 3)
    x = some((9, 8), "float64")
    for size in (3, 5, 3, 7, 9, 3):
        weights = np.ones((size, size)) / size
        assert np.allclose(ndimage.correlate(x, weights), theirs.correlate(x, weights))
        assert len(ready._memory._kept) <= 3
    weights = np.ones((3, 3))
    ndimage.correlate(x, weights)
    weights[0, 0] = 9.0  # found by its elements, not by the array
    assert np.allclose(ndimage.correlate(x, weights), theirs.correlate(x, weights))
    assert np.array_equal(
        ndimage.correlate(x, weights, origin=[1, 0]), ndimage.correlate(x, weights, origin=(1, 0))
    )
    ndimage.correlate1d(x, [1.0, 2.0, 1.0], origin=1)
    fraction: Any = 1.0
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        ndimage.correlate1d(x, [1.0, 2.0, 1.0], origin=fraction)
    monkeypatch.setattr(ready, "MOST_BYTES", 1)
    monkeypatch.setattr(ready, "_memory", ready._FilterCache())
    ndimage.correlate(x, weights)
    assert not ready._memory._kept


def test_integers_are_cut_between_passes_where_that_differs() -> None:
    x = some((12, 9), "uint16")
    signed = some((12, 9), "int32") * 3
    for name, array, more in (
        ("prewitt", x, {"mode": "constant", "cval": -2.5}),
        ("laplace", x, {"mode": "constant", "cval": -2.5}),
        ("gaussian_filter", some((12, 9), "uint32") * 10000, {"sigma": 5.0, "order": 2}),
        ("prewitt", some((12, 9), "float32"), {"output": np.int32}),
        ("laplace", some((12, 9), "float32"), {"output": np.int32}),
        ("maximum_filter", signed, {"size": 4, "output": np.uint8}),
        ("minimum_filter", signed, {"size": 3, "mode": "constant", "cval": 70000.0, "output": np.int16}),
        ("minimum_filter", signed.astype(np.int8), {"footprint": [[1, 0, 1]], "mode": "constant", "cval": 1000.0}),
    ):  # fmt: skip
        assert np.array_equal(getattr(ndimage, name)(array, **more), getattr(theirs, name)(array, **more)), (
            name
        )


def test_one_number_and_complex_ones_and_axes_as_in_scipy() -> None:
    assert ndimage.correlate(np.array(3.0), np.array(2.0)) == theirs.correlate(np.array(3.0), np.array(2.0))
    x = some((6, 7), "float64")
    given_axes = [(1.5, (0,)), (1.5, (1,)), ((1.0, 2.0), (0, 1))]
    for sigma, axes in given_axes if SCIPY >= (1, 17) else []:  # earlier ones filter along other axes too
        made = ndimage.gaussian_gradient_magnitude(x, sigma, axes=axes)
        assert np.allclose(made, theirs.gaussian_gradient_magnitude(x, sigma, axes=axes))
    for name, array, given in (
        ("gaussian_laplace", x + 1j, {"sigma": 1.0, "output": x.copy()}),
        ("sobel", x + 1j, {"output": np.float64}),
        ("gaussian_filter", x, {"sigma": 1.0, "cval": 1j}),
        ("uniform_filter", x, {"output": np.complex128}),
        ("maximum_filter", x, {"size": 3, "cval": 1j}),
    ):  # fmt: skip
        with pytest.raises((RuntimeError, TypeError)) as refused:
            getattr(theirs, name)(array, **given)
        with pytest.raises(refused.type) as ours:
            getattr(ndimage, name)(array, **given)
        assert str(ours.value) == str(refused.value)


@pytest.mark.parametrize("mode", ["edge", "wrap", "symmetric", "reflect", "constant"])
def test_borders_many_times_wider_than_the_array(mode: Any) -> None:
    for shape in ((1, 2), (3, 1), (2, 3)):
        x = some(shape, "float64")
        out = np.empty((shape[0] + 9, shape[1] + 8))
        borders.lay_part(shape, (-5, -2), out.shape, (mode,) * 2, 0.0)(x, out)
        assert np.array_equal(out, np.pad(x, ((5, 4), (2, 6)), mode))


def test_many_filters_hold_no_more_than_their_results_and_a_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "STRIP_BYTES", 1 << 16)
    x, bank = some((256, 256), "float32"), np.ones((8, 3, 3))
    out = np.empty((8, 256, 256), np.float32)
    ndimage.correlate(x, filters=bank, output=out)
    with Allocations() as made:
        ndimage.correlate(x, filters=bank, output=out)
    assert made.peak < 1 << 18
