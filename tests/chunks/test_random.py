"""Random chunkings of random convolutions: every pass of Dask arrays beside the same arrays in memory.

Equal, bit by bit, where the whole runs on the jit or in whole numbers; a BLAS, and sums over several chunks of a weight
gradient, come to the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat.chunks import strips
from convmat.errors import GeometryError

da = pytest.importorskip("dask.array")

Array = npt.NDArray[Any]
CALLS = ("conv", "conv", "conv_transpose", "conv_input_grad", "conv_weight_grad")
MODES = ("zeros", "zeros", "reflect", "edge", "wrap", "symmetric")
ROUNDING = {"float32": 3e-5, "float64": 1e-12, "float16": 2e-3, "int8": 0.0}


class Drawn:
    """One convolution: its pass, arrays and keywords, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        rank, G = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
        c = int(rng.choice([1, 3, 8, 40, 130, 300][: 6 if rank < 3 else 4]))
        B, o = int(rng.integers(1, 4)), int(rng.choice([1, 4, 16, 80]))
        I, F = rng.integers(2, (200, 40, 14)[rank - 1], rank), rng.integers(1, (24, 7, 4)[rank - 1], rank)
        self.dtype = str(rng.choice(["float32", "float32", "float64", "float16", "int8"]))
        self.call = str(rng.choice(CALLS))
        self.last = bool(rng.random() < 0.5)
        self.keywords: dict[str, Any] = {
            "stride": tuple(map(int, rng.choice([1, 1, 2, 3], rank))),
            "dilation": tuple(map(int, rng.integers(1, 3, rank))),
            "padding": tuple((int(a), int(b)) for a, b in rng.integers(-1, 5, (rank, 2))),
            "groups": G,
            "layout": "NHWC" if self.last else "NCHW",
        }
        if self.call != "conv_transpose":
            self.keywords["padding_mode"] = str(rng.choice(MODES))
        C, O, extents, taps = c * G, o * G, tuple(map(int, I)), tuple(map(int, F))
        self.x_shape = (B, *extents, C) if self.last else (B, C, *extents)
        self.w_shape = (C, o, *taps) if self.call == "conv_transpose" else (O, c, *taps)

    def array(self, shape: tuple[int, ...]) -> Array:
        """Small integers, or normal numbers, in which any other order of a sum shows."""
        if self.dtype == "int8":
            return self.rng.integers(-9, 9, shape).astype(self.dtype)
        return self.rng.standard_normal(shape).astype(self.dtype)

    def operands(self) -> tuple[list[Array], Callable[..., Any]]:
        """The arrays that may be lazy, and the call of them."""
        keywords, w = self.keywords, self.array(self.w_shape)
        if self.call in ("conv", "conv_transpose"):
            function = getattr(convmat, self.call)
            return [self.array(self.x_shape)], lambda x: function(x, w, **keywords)
        y = convmat.conv(np.zeros(self.x_shape, self.dtype), np.zeros(self.w_shape, self.dtype), **keywords)
        dy = self.array(y.shape)
        if self.call == "conv_input_grad":
            return [dy], lambda dy: convmat.conv_input_grad(dy, w, self.x_shape, **keywords)
        x = self.array(self.x_shape)
        return [x, dy], lambda x, dy: convmat.conv_weight_grad(x, dy, self.w_shape, **keywords)

    def cut(self, array: Array) -> Any:
        """The array in uneven chunks along all its axes."""
        chunks = []
        for n in array.shape:
            at = sorted({0, n, *map(int, self.rng.integers(0, n + 1, int(self.rng.integers(0, 4))))})
            chunks.append(tuple(np.diff(at).tolist()))
        return da.from_array(array, chunks=tuple(chunks))


@pytest.fixture(autouse=True)
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks count as larger than the last cache, whatever they are."""
    monkeypatch.setattr(strips, "CACHE_SHARE", 0)


def engine(drawn: Drawn) -> str:
    """The engine that the whole runs on."""
    direction = {"conv_input_grad": "input", "conv_weight_grad": "weight"}.get(drawn.call, "forward")
    plan = convmat.plan(
        drawn.x_shape,
        drawn.w_shape,
        dtype=drawn.dtype,
        reuse_weights=False,
        direction=direction,
        transposed=drawn.call == "conv_transpose",
        **drawn.keywords,
    )
    return plan.chosen.engine


def check(seed: int) -> bool:
    """One convolution; whether there was one to be compared."""
    drawn = Drawn(seed)
    try:
        arrays, call = drawn.operands()
        expected = call(*arrays)
    except GeometryError:
        return False
    lazy = [drawn.cut(array) for array in arrays]
    if seed % 2:  # chunks that lie alone, from which blocks are computed in parts or put together
        lazy = [each.map_blocks(np.copy) for each in lazy]
    made = call(*lazy)
    found = made.compute(scheduler="sync")
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype) == (made.shape, made.dtype)
    added = drawn.call == "conv_weight_grad" and lazy[1].npartitions > 1
    if drawn.dtype == "int8" or (engine(drawn) == "jit" and not added):
        np.testing.assert_array_equal(found, expected, str(vars(drawn)))
    else:
        most = float(np.abs(expected.astype("float64")).max(initial=1e-30))
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING[drawn.dtype] * most)
    return True


def test_random_chunkings() -> None:
    assert sum(check(seed) for seed in range(10)) > 5


@pytest.mark.slow
def test_many_random_chunkings() -> None:
    assert sum(check(seed) for seed in range(1000, 1230)) >= 200


def test_a_phase_without_taps_is_written() -> None:
    """Of many channels, along whose other axis windows often leave x: its sums are of nothing, in one part."""
    x, w = np.ones((1, 130, 9, 8), "float32"), np.ones((130, 4, 6, 2), "float32")
    y = convmat.conv_transpose(x, w, stride=(1, 3), padding=((1, 0), (1, 0)), dilation=(1, 2))
    assert np.isfinite(y).all()
    assert (y[..., 0::3] == 0).all()
