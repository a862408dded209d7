"""Transposes, strided reads and narrow types: right, without calls, and never reading beside the array."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from convmat.engine.ir.emitter import Module
from convmat.engine.ir.instructions import Type, bf16, f16, f32, f64, i8, i16, i32, i64, ptr
from convmat.engine.ir.shuffles import (
    concat,
    deinterleave,
    lane_range,
    load_every,
    load_strided,
    narrow,
    pick_every,
    transpose,
    widen,
)


@pytest.mark.parametrize("kind", [f32, f64, i32, i16, i8], ids=lambda kind: str(kind.kind))
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("missing", [0, 1])
def test_transpose(kind: Type, lanes: int, missing: int, compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    row = kind.x(lanes)
    for i, column in enumerate(transpose([fn.load(x, row, i * row.bytes) for i in range(lanes - missing)])):
        fn.store(column, y, i * row.bytes)
    source = np.arange(lanes * lanes).astype(kind.dtype).reshape(lanes, lanes)
    target = np.zeros_like(source)
    compiled(module).f(source, target)
    np.testing.assert_array_equal(target[:, : lanes - missing], source.T[:, : lanes - missing])


def test_a_transpose_of_sixteen_is_sixty_four_shuffles() -> None:
    fn = Module().function("f", {"x": ptr})
    transpose([fn.load(fn.arguments[0], f32.x(16), i * 64) for i in range(16)])
    assert str(fn).count("shufflevector") == 64


@pytest.mark.parametrize(("kind", "dtype"), [(i8, "uint8"), (i8, "int8"), (i32, "int32")])
def test_whole_floats_are_stored_as_integers(
    kind: Type, dtype: str, compiled: Callable[[Module], Any]
) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    fn.store(narrow(fn.load(x, f32.x(16)), kind), y)
    limits = np.iinfo(dtype)
    source = np.linspace(max(limits.min, -(2**24)), min(limits.max, 2**24), 16).round().astype("f")
    target = np.zeros(16, dtype)
    compiled(module).f(source, target)
    np.testing.assert_array_equal(target, source)


def test_concat_and_part(compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    whole = concat([fn.load(x, f32.x(4), 16 * i) for i in range(4)])
    fn.store(whole, y)
    fn.store(lane_range(whole, 6, 4), y, 64)
    source, target = np.arange(16, dtype="f"), np.zeros(20, "f")
    compiled(module).f(source, target)
    np.testing.assert_array_equal(target, [*range(16), 6, 7, 8, 9])


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("step", [2, 3, 4, 6])
@pytest.mark.parametrize("unit", [1, 2, 4])
def test_deinterleave(step: int, lanes: int, unit: int, compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    read = [fn.load(x, f32.x(lanes), 4 * lanes * i) for i in range(step)]
    for i, phase in enumerate(deinterleave(read, unit)):
        fn.store(phase, y, 4 * lanes * i)
    source, target = np.arange(step * lanes, dtype="f"), np.zeros((step, lanes), "f")
    compiled(module).f(source, target)
    np.testing.assert_array_equal(
        target, source.reshape(lanes // unit, step, unit).swapaxes(0, 1).reshape(step, lanes)
    )


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_pick_every(step: int, lanes: int, compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    read = [fn.load(x, f32.x(lanes), 4 * lanes * i) for i in range(step)]
    fn.store(pick_every(read, step), y)
    source, target = np.arange(step * lanes, dtype="f"), np.zeros(lanes, "f")
    compiled(module).f(source, target)
    np.testing.assert_array_equal(target, source[::step])


@pytest.mark.parametrize("known", [True, False])
def test_load_strided(known: bool, compiled: Callable[[Module], Any]) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr, "stride": i64})
    x, y, stride = fn.arguments
    fn.store(load_strided(fn, x, f64.x(8), -24 if known else stride, 8), y)
    source, target = np.arange(30.0), np.zeros(8)
    compiled(module).f(source[25:], target, -24)
    np.testing.assert_array_equal(target, source[26:4:-3])


class Pages:
    """Three pages of which only the middle one can be touched."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 3 * mmap.PAGESIZE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._protect(0)

    def _protect(self, rights: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (0, 2):
            address = self._bytes.ctypes.data + page * mmap.PAGESIZE
            assert libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, rights) == 0

    def array(self, values: NDArray[Any], at_end: bool) -> NDArray[Any]:
        """The values, right after the first forbidden page or right before the second."""
        start = 2 * mmap.PAGESIZE - values.nbytes if at_end else mmap.PAGESIZE
        placed = self._bytes[start : start + values.nbytes].view(values.dtype)
        placed[:] = values
        return placed

    def close(self) -> None:
        self._protect(3)


@pytest.fixture
def pages() -> Iterator[Pages]:
    fenced = Pages()
    yield fenced
    fenced.close()


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 7, 40])
def test_load_every(
    step: int, lanes: int, at_end: bool, compiled: Callable[[Module], Any], pages: Pages
) -> None:
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    fn.store(load_every(fn, x, f32.x(lanes), step), y)
    source = pages.array(np.arange((lanes - 1) * step + 1, dtype="f"), at_end)
    target = np.zeros(lanes, "f")
    compiled(module).f(source, target)
    np.testing.assert_array_equal(target, source[::step])


# ---- narrow types ------------------------------------------------------------------------------------------

EVERY = np.arange(65536, dtype=np.uint16)


def converting(source: Type, target: Type, lanes: int = 16, *, signed: bool = True) -> Module:
    """Function f(x, y, n) that converts n elements, a multiple of `lanes` (0: scalars)."""
    module = Module()
    fn = module.function("f", {"x": ptr, "y": ptr, "n": i64})
    x, y, n = fn.arguments
    with fn.loop(0, n, max(lanes, 1)) as loop:
        value = fn.load(x + loop.index * source.bytes, source.x(lanes))
        wider = target.bytes > source.bytes
        result = widen(value, target, signed=signed) if wider else narrow(value, target)
        fn.store(result, y + loop.index * target.bytes)
    return module


def halves(kind: Type) -> NDArray[Any]:
    """Every number of a 16-bit float."""
    return EVERY.view(np.float16 if kind is f16 else ml_dtypes.bfloat16)


def same(got: NDArray[Any], want: NDArray[Any]) -> None:
    """The same bits, or both NaN."""
    bits = f"u{got.dtype.itemsize}"
    nans = np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got), nans)
    np.testing.assert_array_equal(got.view(bits)[~nans], want.view(bits)[~nans])


@pytest.mark.parametrize("kind", [f16, bf16], ids=["f16", "bf16"])
@pytest.mark.parametrize("lanes", [0, 4, 8, 16])
def test_sixteen_bit_floats_widen_exactly(kind: Type, lanes: int, compiled: Callable[[Module], Any]) -> None:
    source = halves(kind)
    got = np.empty(65536, "f")
    compiled(converting(kind, f32, lanes)).f(source.view(np.uint16), got, 65536)
    same(got, source.astype("f"))


@pytest.mark.parametrize("kind", [f16, bf16], ids=["f16", "bf16"])
@pytest.mark.parametrize("lanes", [0, 4, 8, 16])
def test_narrowing_rounds_to_nearest_even(kind: Type, lanes: int, compiled: Callable[[Module], Any]) -> None:
    wide = halves(kind).astype("f")
    finite = np.sort(wide[np.isfinite(wide)])
    with np.errstate(over="ignore", invalid="ignore"):
        between = (finite[1:].astype("d") + finite[:-1]) / 2  # exactly halfway, and just beside it
        middle = between.astype("f")
        source = np.concatenate(
            [
                wide,
                middle,
                np.nextafter(middle, np.float32(np.inf)),
                np.nextafter(middle, np.float32(-np.inf)),
                np.tile(np.array([3.4e38, -3.4e38, 65519.0, 65520.0, 1e-45, 1e-40], "f"), 16),
                np.tile(
                    np.array([0x7F800001, 0xFFFFFFFF], "u4").view("f"), 16
                ),  # NaNs by their low or all bits
            ]
        )
        source = source[: len(source) // 16 * 16]
        want = source.astype(np.float16 if kind is f16 else ml_dtypes.bfloat16)
    got = np.empty(len(source), np.uint16)
    compiled(converting(f32, kind, lanes)).f(source, got, len(source))
    same(got.view(want.dtype), want)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", [i32, f32], ids=["i32", "f32"])
def test_bytes_widen(kind: Type, signed: bool, compiled: Callable[[Module], Any]) -> None:
    source = np.arange(256, dtype=np.uint8)
    got = np.empty(256, kind.dtype)
    compiled(converting(i8, kind, signed=signed)).f(source, got, 256)
    np.testing.assert_array_equal(got, source.view(np.int8) if signed else source)


PAIRS = [
    (f16, f32),
    (bf16, f32),
    (f32, f16),
    (f32, bf16),
    (i8, i32),
    (i8, f32),
    (f32, f64),
    (f64, f32),
    (i32, i8),
]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda kind: str(kind.kind))
@pytest.mark.parametrize("lanes", [0, 4, 8, 16])
def test_no_conversion_is_a_call(
    source: Type, target: Type, lanes: int, assembly: Callable[[Module], str], arm: Callable[[Module], str]
) -> None:
    module = converting(source, target, lanes)
    assert "call" not in assembly(module)
    assert "\tbl\t" not in arm(module)
