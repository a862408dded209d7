"""NaN, infinities and huge values reach what the definition says, through fewer multiplications too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convmat
from convmat.engine.cpu import host
from convmat.geometry import Geometry
from convmat.lowering import ALL
from tests.support import Array, by_taps, in_turn

NAMES = [way.name for way in ALL if way.name.startswith("winograd")]
VALUES = [np.nan, np.inf, -np.inf, 1e30, 3e38, 1e13]
jit = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the definition in NumPy

X, W = (2, 6, 17, 13), (20, 6, 3, 3)


def _normal(seed: int, *shapes: tuple[int, ...], dtype: str = "float32") -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _last(array: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def _is_right(y: Array, expected: Array) -> None:
    """NaN and infinities where they are expected, all other elements near to what they should be, each by itself."""
    expected = expected.astype(y.dtype)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(y[np.isinf(expected)], expected[np.isinf(expected)])
    finite = np.isfinite(expected)
    assert np.isfinite(y[finite]).all()
    off = np.abs(y[finite].astype(np.complex128) - expected[finite])
    assert (off <= 3e-3 + 1e-5 * np.abs(expected[finite])).all(), off.max()


def _planted(array: Array, at: tuple[int, ...], value: float) -> Array:
    made = array.copy()
    made[at] = value
    return made


PLACES = [(0, 2, 7, 6), (0, 5, 0, 0), (1, 0, 16, 12), (1, 3, 0, 9)]
"""Inside, in a corner, in the last tile, which is cut off, and at a border."""


@jit
@pytest.mark.parametrize(
    ("name", "layout", "dilation"), in_turn(NAMES, ("NCHW", (3, 2)), ("NHWC", (1, 3)), ("NCHW", 1))
)
def test_tiles_hold_what_the_definition_says(name: str, layout: str, dilation: int | tuple[int, int]) -> None:
    """With bias, activation and a residual that is overwritten; forward and back, in x and in w."""
    x, w, bias, residual, dy = _normal(5, X, W, (20,), (2, 20, 17, 13), (2, 20, 17, 13))
    g = Geometry.of(X, W, padding=dilation, dilation=dilation)
    lay = _last if layout == "NHWC" else np.ascontiguousarray
    options: dict[str, Any] = {"padding": dilation, "dilation": dilation, "layout": layout}
    options |= {"lowering": name, "rtol": 1e-4}
    shape = lay(x).shape
    plan = convmat.plan(shape, W, bias=True, residual=True, activation="relu", **options)
    back = convmat.plan(shape, W, direction="input", **options)
    layer, gradient = plan.bind(w, bias), back.bind(w)
    for value in VALUES:
        for at in PLACES:
            planted = _planted(x, at, value)
            expected = by_taps(planted, w, None, g)[0] + bias[:, None, None] + residual
            out = lay(residual).copy()
            layer(lay(planted), residual=out, out=out)
            _is_right(out, lay(np.where(expected < 0, 0, expected)))
        planted = _planted(dy, (1, 7, 8, 5), value)
        _is_right(gradient(lay(planted)), lay(by_taps(x, w, planted, g)[1]))
        planted = _planted(w, (3, 1, 2, 0), value)
        expected = by_taps(x, planted, None, g)[0] + bias[:, None, None] + residual
        y = plan(lay(x), planted, bias, residual=lay(residual))
        _is_right(y, lay(np.where(expected < 0, 0, expected)))


@jit
@pytest.mark.parametrize(("name", "layout"), [("winograd 2", "NHWC"), ("winograd 4", "NCHW")])
def test_tiles_of_float64_and_weights_packed_by_each_call(name: str, layout: str) -> None:
    x, w = _normal(6, (1, 4, 9, 11), (6, 2, 3, 3), dtype="float64")
    g = Geometry.of(x.shape, w.shape, padding=1, groups=2)
    lay = _last if layout == "NHWC" else np.ascontiguousarray
    plan = convmat.plan(
        lay(x).shape, w.shape, padding=1, groups=2, layout=layout, dtype="float64", lowering=name,
        reuse_weights=False,
    )  # fmt: skip
    for value in (np.nan, -np.inf, 1e300, 1e130):
        planted = _planted(x, (0, 2, 4, 5), value)
        expected = by_taps(planted, w, None, g, np.longdouble)[0]
        y = plan(lay(planted), w)
        _is_right(y, lay(expected))


@jit
def test_zero_taps_hide_nothing() -> None:
    """A huge value that a tile reads but no output of it takes: its sums are small and were all lost."""
    x, w = _normal(8, (1, 6, 17, 13), (20, 6, 3, 3))
    w[:, :, 2, :] = 0
    g = Geometry.of(x.shape, w.shape, padding=1)
    for name in NAMES:
        layer = convmat.plan(x.shape, w.shape, padding=1, lowering=name, rtol=1e-4).bind(w)
        for row in range(4, 11):
            planted = _planted(x, (0, 1, row, 6), 1e15)
            _is_right(layer(planted), by_taps(planted, w, None, g)[0])


@jit
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bits_are_a_tiles_own(layout: str) -> None:
    """Whatever lies in other tiles, images and filters, and however many threads there are."""
    lay = _last if layout == "NHWC" else np.ascontiguousarray
    x, w = _normal(7, (3, 6, 17, 13), W)

    def run(x: Array, w: Array, threads: int) -> Array:
        with convmat.threads(threads):
            options: dict[str, Any] = {"padding": 1, "layout": layout, "lowering": "winograd 4"}
            y = convmat.plan(lay(x).shape, W, **options).bind(w)(lay(x))
        return np.moveaxis(y, -1, 1) if layout == "NHWC" else y

    plain = run(x, w, 1)

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        value = data.draw(st.sampled_from(VALUES))
        b, c, i, j = (data.draw(st.integers(0, extent - 1)) for extent in x.shape)
        planted = _planted(x, (b, c, i, j), value)
        y = run(planted, w, 1)
        np.testing.assert_array_equal(run(planted, w, 2), y)
        np.testing.assert_array_equal(run(planted[b : b + 1], w, 1)[0], y[b])
        same = np.ones(y.shape, bool)
        reach = [slice(max(at - 1, 0) // 4 * 4, (at + 1) // 4 * 4 + 4) for at in (i, j)]
        same[b, :, reach[0], reach[1]] = False
        np.testing.assert_array_equal(y[same], plain[same])
        _is_right(y, by_taps(planted, w, None, Geometry.of(x.shape, W, padding=1))[0])
        o = data.draw(st.integers(0, W[0] - 1))
        y = run(x, _planted(w, (o, c, 1, 2), value), 1)
        np.testing.assert_array_equal(np.delete(y, o, 1), np.delete(plain, o, 1))

    holds()


@pytest.mark.parametrize("value", [np.nan, 1e30, np.inf])
def test_a_long_filter(value: float) -> None:
    x, w = np.ones((1, 4, 16000), np.float32), np.ones((4, 1, 1025), np.float32)
    x[0, 0, 8000] = value
    assert convmat.plan(x.shape, w.shape, groups=4).chosen.lowering == "fft"
    expected = np.full((1, 4, 14976), 1025, np.float32)
    expected[0, 0, 6976:8001] = value
    np.testing.assert_allclose(convmat.conv(x, w, groups=4), expected, rtol=1e-5)


FOURIER: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 4, 300), (6, 2, 21), {"groups": 2, "stride": 2, "padding": 5}),
    "1d/dilated": ((1, 1, 200), (1, 1, 31), {"dilation": 3, "stride": 2, "padding": 40}),
    "2d": ((1, 3, 40, 41), (5, 3, 7, 9), {"padding": 3, "stride": (1, 2), "dilation": (2, 1)}),
    "3d": ((1, 2, 12, 13, 14), (3, 2, 4, 3, 4), {"padding": 1}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("case", FOURIER)
def test_windows_hold_what_the_definition_says(case: str, dtype: str) -> None:
    x_shape, w_shape, options = FOURIER[case]
    x, w = _normal(3, x_shape, w_shape, dtype=dtype)
    g = Geometry.of(x_shape, w_shape, **options)
    options = {**options, "dtype": dtype, "lowering": "fft", "rtol": 1.0}
    plan = convmat.plan(x_shape, w_shape, **options)
    limit = 300_000 if g.rank == 3 else 120_000
    little = convmat.plan(x_shape, w_shape, reuse_weights=False, workspace_limit=limit, **options)
    wide: Any = np.complex128 if dtype == "complex64" else np.float64
    layer = plan.bind(w)
    values = {
        "float32": [np.nan, np.inf, 1e30, 3e38, 1e13],
        "float64": [np.nan, -np.inf, 1e130],
        "complex64": [np.nan, 1e30],
    }[dtype]
    for value in values:
        planted = x
        for place in (0, x[0, 0].size // 2, x[0, 0].size - 1):
            planted = x.copy()
            planted[0, 0].flat[place] = value
            _is_right(layer(planted), by_taps(planted, w, None, g, wide)[0])
        _is_right(little(planted, w), by_taps(planted, w, None, g, wide)[0])
        planted = w.copy()
        planted[-1, 0].flat[3] = value
        _is_right(plan(x, planted), by_taps(x, planted, None, g, wide)[0])


def test_windows_of_a_gradient_and_with_a_residual_in_place() -> None:
    x, w, dy, bias = _normal(4, (2, 12, 40, 31), (10, 6, 7, 5), (2, 10, 38, 16), (10,))
    options: dict[str, Any] = {"padding": 2, "stride": (1, 2), "groups": 2, "lowering": "fft", "rtol": 1.0}
    g = Geometry.of(x.shape, w.shape, padding=2, stride=(1, 2), groups=2)
    plan = convmat.plan(x.shape, w.shape, bias=True, residual=True, activation="relu", **options)
    back = convmat.plan(x.shape, w.shape, direction="input", **options)
    filters = convmat.plan(x.shape, w.shape, direction="weight", **options)
    for value in (np.nan, np.inf, 1e30):
        planted = _planted(x, (1, 3, 20, 11), value)
        out = dy.copy()
        plan.bind(w, bias)(planted, residual=out, out=out)
        expected = by_taps(planted, w, None, g)[0] + bias[:, None, None] + dy
        _is_right(out, np.where(expected < 0, 0, expected))
        _is_right(filters(planted, dy), by_taps(planted, w, dy, g)[2])
        planted = _planted(dy, (0, 2, 9, 3), value)
        _is_right(back(planted, w), by_taps(x, w, planted, g)[1])
