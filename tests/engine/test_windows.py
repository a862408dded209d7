"""Sums, means and extrema of windows: between unreadable pages, equal for every number of threads."""

from __future__ import annotations

import os

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.engine.jit import Sweep
from convmat.engine.kernels.sweeps.windows import windows
from convmat.engine.runtime import thread_pool
from tests.engine.guarded import Fenced

pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")

SHAPES = ((1, 5, 1), (3, 70, 1), (2, 40, 7), (1, 30, 130), (2, 9, 64))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_windows_are_what_they_say(name: str, dtype: str) -> None:
    pick = np.random.default_rng(7)
    for shape in SHAPES:
        x = pick.integers(-50, 50, shape).astype(dtype)
        for size in (1, 2, 3, 5, 7, 9):
            if size > shape[1]:
                continue
            wanted = getattr(np.lib.stride_tricks.sliding_window_view(x, size, 1), name)(-1)
            for threads in (1, 2):
                found = windows(name, shape, size, dtype, threads)
                assert not isinstance(found, str)
                sweep = Sweep(found[0])
                sweep.load()
                for Fenced.behind in (True, False):
                    scratch = np.empty(found[1], np.uint8)
                    given, out = Fenced.holding(x), Fenced.holding(np.zeros_like(wanted))
                    given.freeze()
                    y = out.array(np.empty_like(wanted))
                    with thread_pool.threads(threads):
                        sweep(given.array(x), scratch, y)
                    assert np.array_equal(y, wanted.astype(dtype)), (shape, size, threads)
                    assert out.untouched()


def test_a_nan_stays_in_its_windows() -> None:
    for shape in ((1, 40, 1), (1, 40, 3)):
        x = np.ones(shape)
        x[0, 20] = np.nan
        found = windows("sum", shape, 5, "float64", 1)
        assert not isinstance(found, str)
        sweep = Sweep(found[0])
        sweep.load()
        y = np.empty((1, 36, shape[2]))
        sweep(x, np.empty(found[1], np.uint8), y)
        assert np.isnan(y[0, 16:21]).all()
        assert (y[0, :16] == 5).all()
        assert (y[0, 21:] == 5).all()


def test_what_has_no_windows_says_so() -> None:
    assert (
        windows("sum", (1, 3, 1), 4, "float64", 1)
        == "takes windows within arrays with elements, got 4 in (1, 3, 1)"
    )
    assert windows("sum", (1, 3, 1), 2, "int32", 1) == "takes float32 and float64, got int32"
