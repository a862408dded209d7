"""A plan is shapes: making one costs neither memory nor time that grows with them."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import EngineError

LONG: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "channels made": ((1, 1, 1), (2**24, 1, 1), {}),
    "more of them than memory": ((1, 1, 1), (2**32, 1, 1), {}),
    "channels summed": ((1, 2**32, 1), (1, 2**32, 1), {}),
    "channels under taps": ((1, 2**22, 4), (1, 2**22, 3), {}),
    "pictures of channels": ((1, 2**22, 64, 64), (64, 2**22, 3, 3), {"padding": 1}),
    "groups": ((1, 2**22, 7, 7), (2**22, 1, 3, 3), {"padding": 1, "groups": 2**22}),
    "images": ((2**24, 8, 7, 7), (8, 8, 3, 3), {"padding": 1}),
    "a line": ((1, 8, 2**24), (8, 8, 3), {"padding": 1}),
    "a picture": ((1, 8, 2**12, 2**12), (8, 8, 3, 3), {"padding": 1}),
    "a long filter": ((1, 256, 2**16), (128, 256, 2**16), {"padding": 2**15}),
    "often outside": ((1, 256, 2**14), (8, 256, 3), {"padding": 2**14, "dilation": 2**14}),
    "filters of 2^31 rows": ((1, 1, 8, 8), (1, 1, 2**31, 3), {"padding": ((2**31, 2**31), (1, 1))}),
    "2^31 images": ((2**31, 1, 8, 8), (1, 1, 3, 3), {}),
    "2^31 groups": ((1, 2**31, 8, 8), (2**31, 1, 3, 3), {"groups": 2**31}),
    "taps 2^31 apart": ((1, 1, 8, 8), (1, 1, 3, 3), {"padding": 2**31, "dilation": 2**31}),
    "channels last": ((1, 256, 256, 2**16), (2**16, 2**16, 3, 3), {"padding": 1, "layout": "NHWC"}),
}


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Modules and the CPU's rates are there before anything is measured."""
    for engine in ("jit", "blas"):
        convmat.plan((1, 3, 8, 8), (4, 3, 3, 3), padding=1, engine=engine)


@pytest.mark.parametrize("direction", ["forward", "input", "weight"])
@pytest.mark.parametrize("name", LONG)
def test_planning_stays_under_a_megabyte(name: str, direction: str) -> None:
    x, w, options = LONG[name]
    tracemalloc.start()
    try:
        convmat.plan(x, w, direction=direction, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_threads_that_meet_at_the_first_call_share_its_tables() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (1, 5, 7)).astype(np.float32)
    w = rng.integers(-3, 4, (3000, 5, 1)).astype(np.float32)
    plan = convmat.plan(x.shape, w.shape, engine="jit", lowering="pointwise", reuse_weights=False)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: plan(x, w), range(16)):
            np.testing.assert_array_equal(y[0], w[:, :, 0] @ x[0])


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8"])
@pytest.mark.parametrize("far", [2**29, 2**31])
def test_taps_far_apart_meet_padding_alone(far: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (2, 3, 5, 4)).astype(dtype)
    w = rng.integers(-3, 4, (4, 3, 3, 3)).astype(dtype)
    y = convmat.conv(x, w, padding=far, dilation=far)
    np.testing.assert_array_equal(y, np.einsum("oc,bchw->bohw", w[:, :, 1, 1].astype(y.dtype), x))


def test_a_copy_that_does_not_fit_is_a_sentence() -> None:
    x = np.broadcast_to(np.float32(1), (1, 2**46, 2))
    with pytest.raises(EngineError) as error:
        convmat.conv(x, np.broadcast_to(np.float32(1), (1, 2**46, 1)))
    scratch = convmat.plan(x.shape, (1, 2**46, 1), reuse_weights=False).workspace
    assert str(error.value) == (
        "conv: no memory for what it takes beside the arrays\n"
        f"  {scratch:,} bytes of scratch, and a copy of each array that is not C-contiguous\n"
        "  take a smaller batch, or parts of the image"
    )
