"""What other people reported of SciPy's filters and convolutions: the right values, here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convmat.scipy import ndimage, signal

TEN = list(range(10))


@pytest.mark.parametrize("origin", [-3, -2, 2, [2]], ids=str)
@pytest.mark.parametrize("name", ["correlate", "convolve", "correlate1d", "convolve1d"])
def test_an_origin_beyond_the_filter_is_refused(name: str, origin: Any) -> None:
    """scipy#822: read outside of the array."""
    if name.endswith("1d") and isinstance(origin, list):
        return
    with pytest.raises(ValueError, match="Invalid origin"):
        getattr(ndimage, name)(TEN, [1.0, 1.0, 1.0], origin=origin)


def test_positive_origins_move_the_filter_of_a_convolution_to_the_right() -> None:
    """scipy#14745: the documentation said to the left."""
    x = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0])
    wanted = [0, 0, 1, 2, 3, 3, 3, 2, 1, 0, 0]
    for origin in (-1, 0, 1):
        found = ndimage.convolve(x, [1, 1, 1], origin=origin, mode="constant")
        assert found.tolist() == [(0 if i + origin > 10 else wanted[i + origin]) for i in range(11)]


@pytest.mark.parametrize("mode", ["mirror", "reflect", "wrap", "nearest", "grid-wrap", "grid-mirror"])
def test_one_element_is_its_own_border(mode: str) -> None:
    """scipy#11661: random memory beside an axis of one element."""
    x = np.arange(24, dtype=np.int32).reshape(1, 2, 3, 4)
    assert np.array_equal(ndimage.convolve1d(x, np.ones(3, np.int32), mode=mode, axis=0), 3 * x)


@pytest.mark.parametrize("size", [2, 5, 15, 31])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_running_sums_carry_nothing_beyond_their_window(size: int, odd: float) -> None:
    """scipy#7818: one NaN, and everything behind it was NaN."""
    x = np.random.default_rng(0).random((40, 41))
    x[20, 19] = odd
    found = ndimage.uniform_filter(x, size)
    assert np.count_nonzero(~np.isfinite(found)) == size * size
    x[20, 19] = 0.5
    whole = np.where(np.isfinite(found), found, 0)
    assert np.allclose(whole, np.where(np.isfinite(found), ndimage.uniform_filter(x, size), 0), rtol=1e-12)


@pytest.mark.parametrize("size", range(1, 11))
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_], ids=str)
def test_a_mean_of_ones_is_one(size: int, dtype: Any) -> None:
    """scipy#6930: 0.9999999 was cut off to 0."""
    x = np.array([0] * 8 + [1] * 9 + [0] * 6).astype(dtype)
    assert ndimage.uniform_filter1d(x, size).sum() == max(9 - size + 1, 0)


@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
def test_extremes_beside_nan_are_alike_from_both_sides(name: str) -> None:
    """scipy#9077: a NaN on the left was not one on the right."""
    x = np.full(17, np.nan)
    x[:5], x[:-6:-1] = np.arange(5), np.arange(5)
    found = getattr(ndimage, name)(x, 3)
    assert np.array_equal(found, found[::-1], equal_nan=True)
    image = np.full((4, 4), 42.0)
    image[[0, 0, 3, 3], [0, 3, 0, 3]] = np.nan
    found = getattr(ndimage, name)(image, (3, 3), mode="nearest", origin=[0, 0])
    assert np.array_equal(found, found[::-1, ::-1], equal_nan=True)


@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
def test_a_footprint_of_nothing_is_refused(name: str) -> None:
    """scipy#6876: it crashed."""
    with pytest.raises(ValueError, match="All-zero footprint is not supported"):
        getattr(ndimage, name)(np.ones((9, 9)), footprint=np.zeros((3, 3), bool))


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [(2, 2**62, np.int64(-(2**63))), (1, 2**62, np.int64(2**62)), (2**26, 2**36, np.int64(2**62))],
)
def test_integers_of_64_bits_are_exact_and_wrap_as_they_do(a: int, b: int, wanted: Any) -> None:
    """scipy#6076."""
    found = signal.correlate([a], [b])
    assert found.dtype == np.int64
    assert found[0] == wanted


@pytest.mark.parametrize("one", ["?", "u1", "i2", "i4", "i8", "f4", "f8", "c16"])
@pytest.mark.parametrize("other", ["?", "u1", "i4", "f4", "f8"])
def test_methods_have_one_type_and_one_answer(one: str, other: str) -> None:
    """scipy#7193 and scipy#7217: by `fft` booleans, or numbers cut off, where `direct` gave sums."""
    pick = np.random.default_rng(1)
    a, b = (pick.random(300) * 3).astype(one), (pick.random(300) * 3).astype(other)
    found = {method: signal.convolve(a, b, method=method) for method in ("direct", "fft", "auto")}
    assert len({each.dtype for each in found.values()}) == 1
    single = found["direct"].dtype == np.float32
    for each in found.values():
        size = np.abs(found["direct"].astype(complex)).max()
        assert np.abs(each.astype(complex) - found["direct"]).max() <= (2e-6 if single else 1e-13) * size


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve", "convolve", "correlate"])
def test_bytes_may_stand_in_either_order(name: str) -> None:
    """scipy#12119: `>f8`, which FITS files have, was refused beside `float64`."""
    x, w = np.arange(9.0), np.array([1.0, 2.0, 4.0])
    found = getattr(signal, name)(x.astype(">f8"), w)
    assert np.allclose(found, getattr(signal, name)(x, w), rtol=1e-15)
