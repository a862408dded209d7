"""A plan is shapes: making one costs neither memory nor time that grows with them."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import convmat

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
