"""Element types that SciPy's functions take, give and go through on their way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convmat.scipy import ndimage as ours
from convmat.scipy import signal as our_signal

theirs = pytest.importorskip("scipy.ndimage")
their_signal = pytest.importorskip("scipy.signal")


@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "int16", "float32"])
def test_extremes_go_through_the_outputs_type_from_axis_to_axis(name: str, dtype: str) -> None:
    """What is negative in the input is large in an output without a sign, larger than float32 holds."""
    x = np.array([[-5, 3, 7], [2, -9, 4], [1, 1, -1]], np.int8)
    wanted = getattr(theirs, name)(x, 3, output=np.dtype(dtype))
    assert np.array_equal(getattr(ours, name)(x, 3, output=np.dtype(dtype)), wanted)


NOTHING_TO_DO: dict[str, dict[str, Any]] = {
    "gaussian_filter": {"sigma": 0},
    "gaussian_laplace": {"sigma": 1, "axes": (), "mode": ["reflect"] * 3},
    "laplace": {"axes": ()},
    "uniform_filter": {"size": 1},
    "maximum_filter": {"size": 1},
}


@pytest.mark.parametrize("name", NOTHING_TO_DO)
@pytest.mark.parametrize(
    ("dtype", "output"), [("f2", None), ("g", None), ("f8", "f2"), ("i4", "c8"), ("O", None)]
)
def test_where_nothing_is_to_be_done_all_types_are_copied(name: str, dtype: str, output: str | None) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype)
    wanted = np.dtype(dtype if output is None else output)
    results = []
    for module in (theirs, ours):
        given = np.zeros(x.shape, wanted)
        getattr(module, name)(x, **NOTHING_TO_DO[name], output=given)
        results.append(given)
    assert np.array_equal(results[0], results[1])
    with pytest.raises(RuntimeError, match="not supported"):
        ours.gaussian_filter(x, 1, output=np.zeros(x.shape, wanted))


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
def test_pythons_numbers_are_transformed_as_float64(name: str) -> None:
    x = np.array([1, 2, 3], object)
    found, wanted = (getattr(module, name)(x, [1, 1]) for module in (our_signal, their_signal))
    assert found.dtype == wanted.dtype == np.float64
    assert np.allclose(found, wanted)
