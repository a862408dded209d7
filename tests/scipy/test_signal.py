"""convmat.scipy.signal beside scipy.signal, where SciPy's own tests do not look: filters that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convmat.scipy import products, ready, signal

theirs = pytest.importorskip("scipy.signal")


@pytest.fixture(autouse=True)
def none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_memory", ready._FilterCache())


def some(shape: tuple[int, ...], dtype: str) -> Any:
    """Small integers, whose sums are exact."""
    return np.random.default_rng(3).integers(0, 9, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16"])
def test_calls_before_and_after_a_kernel_is_compiled_are_equal(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "PATIENCE", 2)
    x, w = some((9, 11), dtype), some((3, 2), dtype)
    for mode in ("full", "same", "valid"):
        wanted = theirs.convolve2d(x, w, mode)
        for _ in range(4):
            made = signal.convolve2d(x, w, mode)
            assert made.dtype == wanted.dtype
            assert np.array_equal(made, wanted)


def test_a_filter_that_changes_in_place_is_another_one() -> None:
    x, w = some((20,), "float64"), some((3,), "float64")
    for _ in range(3):
        assert np.array_equal(signal.convolve(x, w), theirs.convolve(x, w))
        w += 1


def test_every_call_gives_memory_of_its_own() -> None:
    x, w = some((20,), "float64"), some((3,), "float64")
    first = signal.convolve(x, w)
    before = first.copy()
    signal.convolve(x + 1, w)
    assert np.array_equal(first, before)


def test_large_filters_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MOST_KEPT", 16)
    x, w = some((20,), "float64"), some((3,), "float64")
    assert np.array_equal(signal.convolve(x, w), theirs.convolve(x, w))
    assert not ready._memory._kept
    assert np.array_equal(signal.convolve(x, w[:2]), theirs.convolve(x, w[:2]))
    assert len(ready._memory._kept) == 1


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_windows_of_even_size_lie_where_scipys_do(name: str, mode: str) -> None:
    """Of their two middles, `same` takes another one for a correlation than for a convolution."""
    x = some((5, 6), "complex128") + 1j * some((5, 6), "float64")
    for shape in ((2, 3), (4, 1), (4, 4), (2, 6)):
        w = some(shape, "complex128") - 2j * some(shape, "float64")
        for boundary in ("fill", "wrap", "symm"):
            made = getattr(signal, name)(x, w, mode, boundary, 3.0)
            assert np.array_equal(made, getattr(theirs, name)(x, w, mode, boundary, 3.0)), (shape, boundary)


def test_a_fill_value_is_read_where_it_fills() -> None:
    x, w = some((5, 6), "float64"), some((3, 3), "float64")
    assert np.array_equal(
        signal.convolve2d(x, w, "same", "wrap", 1j), theirs.convolve2d(x, w, "same", "wrap", 1j)
    )
    with pytest.raises(ValueError, match=r"^could not cast `fillvalue` directly to the output type"):
        signal.convolve2d(x, w, "same", "fill", 1j)
