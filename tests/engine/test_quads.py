"""Products of bytes: the same int32 on every instruction set, by the definition in 64-bit integers."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.quads.pack_x import SQUARE, transpose_bytes
from convmat.errors import GeometryError
from convmat.geometry import Geometry
from convmat.lowering import ALL
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.problem import EpilogueForm, Problem
from convmat.product import Packing

Array = npt.NDArray[Any]

NARROW = replace(
    Cpu.named("icelake-server"), model="vectors of 32 bytes", vector_bytes=32, vector_registers=16
)
"""What AVX-VNNI has, in AVX-512's encoding."""

UNTILED = replace(host(), model="no tiles", amx=False)

TARGETS = [
    cpu
    for cpu in (*map(Cpu.named, ("native", "x86-64-v3", "x86-64-v4")), NARROW, *[UNTILED] * host().amx)
    if cpu.runs_here()
]
"""Instruction sets that this CPU runs, its own first."""


def targets(turn: int, slow: bool) -> list[Cpu]:
    """All of them with --slow, else its own and one of the others in turn."""
    first, *others = TARGETS
    return TARGETS if slow or not others else [first, others[turn % len(others)]]


CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "3x3 padded": ({"padding": 1}, (2, 19, 9, 11), (37, 19, 3, 3)),
    "first layer": ({"stride": 2, "padding": 3}, (1, 3, 20, 23), (33, 3, 7, 7)),
    "1x1": ({}, (3, 32, 4, 4), (70, 32, 1, 1)),
    "1x1, parts of the channels": ({}, (1, 300, 24, 23), (16, 300, 1, 1)),
    "1x1 strided": ({"stride": 2}, (1, 33, 9, 9), (16, 33, 1, 1)),
    "dilated, cropped": ({"dilation": 2, "padding": ((-1, 2), (0, 1))}, (1, 8, 12, 9), (5, 8, 3, 2)),
    "grouped": ({"groups": 3, "padding": 1}, (1, 24, 7, 7), (9, 8, 3, 3)),
    "1-D": ({"padding": 2}, (2, 4, 33), (3, 4, 5)),
    "few channels": ({"padding": 1}, (1, 2, 9, 37), (17, 2, 2, 2)),
    "few channels, narrow": ({}, (2, 3, 5, 7), (17, 3, 2, 2)),
    "one channel": ({"padding": 1}, (1, 1, 9, 21), (17, 1, 3, 4)),
    "3-D": ({"padding": 1}, (1, 8, 4, 5, 6), (18, 8, 2, 2, 2)),
    "whole tiles": ({"padding": 1}, (1, 64, 6, 18), (48, 64, 3, 3)),
    "one pixel": ({}, (4, 64, 1, 1), (100, 64, 1, 1)),
}


LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


def truth(x: Array, w: Array, x_zero: int, w_zero: Array, words: dict[str, Any]) -> Array:
    """The sums in float64, where all of them are exact."""
    import convmat

    wide = w.astype(float) - w_zero.reshape(-1, *(1,) * (w.ndim - 1))
    return convmat.conv(x.astype(float) - x_zero, wide, exact=True, engine="blas", **words).astype(np.int64)


def made(problem: Problem, cpu: Cpu) -> jit.JitProgram:
    """The program of a problem for a CPU."""
    (way,) = [each for each in ALL if each.name == "im2col"]
    found = jit.prepare(
        way.products(problem), Packing.PANEL, dtypes_of(problem), operand_extents(problem), 1 << 24, cpu=cpu
    )
    assert isinstance(found, jit.JitProgram), found
    return found


TYPES = [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8"), ("int8", "uint8")]
SOME = [(case, TYPES[i % 4], "NHWC" if i % 3 == 1 else "NCHW") for i, case in enumerate(CASES)]
REST = [
    pytest.param(case, types, layout, marks=pytest.mark.slow)
    for case in CASES
    for types in TYPES
    for layout in ("NCHW", "NHWC")
    if (case, types, layout) not in SOME
]


@pytest.mark.parametrize(("case", "types", "layout"), [*SOME, *REST])
def test_sums_are_the_definitions_on_every_instruction_set(
    case: str, types: tuple[str, str], layout: str, slow: bool
) -> None:
    words, x_shape, w_shape = CASES[case]
    rng = np.random.default_rng(sum(map(ord, case)))
    g = Geometry.of(x_shape, w_shape, **words)
    (low, high), (w_low, w_high) = ((np.iinfo(each).min, np.iinfo(each).max) for each in types)
    x = rng.integers(low, high + 1, x_shape).astype(types[0])
    w = rng.integers(w_low, w_high + 1, w_shape).astype(types[1])
    x.reshape(-1)[::2], w.reshape(-1)[::3] = high, w_low
    w_zero = rng.integers(w_low, w_high + 1, g.O).astype(np.int32)
    x_zero, bias = high - 3, rng.integers(-1000, 1000, g.O).astype(np.int32)
    sums = truth(x, w, x_zero, w_zero, words) + bias.reshape(-1, *(1,) * g.rank)
    problem = Problem.of(
        g, types[0], x=layout, y=layout, w_dtype=types[1], x_zero=x_zero, w_zero=True, epilogue=EpilogueForm(bias=True)
    )  # fmt: skip
    moved = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    wanted = sums if layout == "NCHW" else np.moveaxis(sums, 1, -1)
    for cpu in targets([*CASES].index(case), slow):
        program, y = made(problem, cpu), np.empty(problem.shape("y"), np.int32)
        rows = {"bias": bias, "w zero": w_zero}
        program.run({"x": moved, "y": y, **rows}, program.bind(w), 1)
        np.testing.assert_array_equal(y, wanted, err_msg=cpu.model)


@pytest.mark.parametrize("out", ["uint8", "int8", "float32"])
def test_scaled_sums_are_rounded_once_halves_to_even(out: str, slow: bool) -> None:
    rng = np.random.default_rng(7)
    g = Geometry.of((2, 12, 8, 5), (20, 12, 3, 3), padding=1)
    x, w = rng.integers(0, 256, g.x_shape).astype("u1"), rng.integers(-128, 128, g.w_shape).astype("i1")
    scale = np.where(np.arange(g.O) % 2, 2.0**-9, rng.random(g.O) * 0.01).astype(
        np.float32
    )  # with many halves
    zero = {"uint8": 131, "int8": -5, "float32": 0}[out]
    exact = truth(x, w, 4, np.zeros(1), {"padding": 1}).astype(np.float32) * scale[:, None, None]
    wanted = exact
    if out != "float32":
        limits = np.iinfo(out)
        wanted = np.clip(np.rint(exact.astype(np.float64)) + zero, limits.min, limits.max)
        assert np.mean(np.abs(exact % 1) == 0.5) > 0.001
    for turn, layout in enumerate(("NCHW", "NHWC")):
        epilogue = EpilogueForm(scale=True, dtype=out, zero=zero)
        problem = Problem.of(
            g, "uint8", x=layout, y=layout, w_dtype="int8", x_zero=4, epilogue=epilogue, threads=2
        )
        moved = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        for cpu in targets(turn + len(out), slow):
            program, y = made(problem, cpu), np.empty(problem.shape("y"), out)
            program.run({"x": moved, "y": y, "scale": scale}, program.bind(w), 1)
            np.testing.assert_array_equal(y, wanted if layout == "NCHW" else np.moveaxis(wanted, 1, -1))


@pytest.mark.parametrize("groups", [1, 8])
def test_scales_at_the_ends_of_float32_saturate(groups: int) -> None:
    """Products that pass float32 are the bounds of C, and those below all numbers are its zero point."""
    import convmat

    rng = np.random.default_rng(groups)
    x = rng.integers(0, 256, (1, 8, 9, 40)).astype(np.uint8)
    w = rng.integers(-128, 128, (8, 8 // groups, 3, 3)).astype(np.int8)
    words: dict[str, Any] = {"x_zero_point": 9, "padding": 1, "groups": groups, "engine": "jit"}
    sums = convmat.conv(x, w, **words).astype(np.float32)
    for scale in np.array([3.4e38, 1.2e30, 1e-38, 1e-45], np.float32):
        for out, zero in (("uint8", 7), ("int8", -100)):
            with np.errstate(over="ignore"):
                wanted = np.clip(np.rint((sums * scale).astype(np.float64)) + zero, *LIMITS[out])
            for layout in ("NCHW", "NHWC"):
                given = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
                more: dict[str, Any] = {"layout": layout, "out_dtype": out, "y_zero_point": zero}
                found = convmat.conv(given, w, scale=np.full(8, scale), **words, **more)
                found = found if layout == "NCHW" else np.moveaxis(found, -1, 1)
                np.testing.assert_array_equal(found, wanted, err_msg=f"{scale}, {out}, {layout}")


def test_squares_of_bytes_are_turned() -> None:
    from convmat.engine.ir.emitter import Module
    from convmat.engine.ir.instructions import i8, ptr
    from convmat.engine.runtime import jit_cache

    module = Module()
    fn = module.function("turn", {"x": ptr, "y": ptr})
    x, y = fn.arguments
    rows = transpose_bytes([fn.load(x, i8.x(2 * SQUARE), 2 * SQUARE * i) for i in range(SQUARE)])
    for i, row in enumerate(rows):
        fn.store(row, y, 2 * SQUARE * i)
    (code,) = jit_cache.load([str(module)], host())
    import ctypes

    a = np.arange(SQUARE * 2 * SQUARE).astype(np.uint8).reshape(SQUARE, 2, SQUARE)
    b = np.zeros_like(a)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.symbols["turn"])(
        a.ctypes.data, b.ctypes.data
    )
    np.testing.assert_array_equal(b, a.transpose(2, 1, 0))


@pytest.mark.parametrize(("types", "stride", "out", "layout", "group"), [
    (("uint8", "int8"), 1, "uint8", "NCHW", (1, 1)), (("int8", "uint8"), 2, "float32", "NCHW", (1, 1)),
    (("uint8", "uint8"), 3, None, "NCHW", (1, 1)), (("uint8", "int8"), 1, "uint8", "NHWC", (1, 1)),
    (("int8", "uint8"), 2, "float32", "NHWC", (1, 2)), (("uint8", "uint8"), 1, None, "NHWC", (4, 4)),
    (("int8", "int8"), 3, "int8", "NHWC", (2, 1)), (("int8", "int8"), 2, "int8", "NCHW", (1, 1)),
    (("int8", "int8"), 4, "uint8", "NCHW", (1, 2)), (("uint8", "int8"), 3, None, "NCHW", (1, 1)),
])  # fmt: skip
def test_sums_of_narrow_groups_are_the_definitions(
    types: tuple[str, str], stride: int, out: str | None, layout: str, group: tuple[int, int]
) -> None:
    """Read in place, in float32: whole numbers all the same. `group`: channels of x and of y in each.

    Weights without a sign count from a number of their own in each row.
    """
    import convmat

    rng, groups, (c, m) = np.random.default_rng(stride), 21, group
    (low, high), (w_low, w_high) = ((np.iinfo(each).min, np.iinfo(each).max) for each in types)
    x = rng.integers(low, high + 1, (2, groups * c, 19, 17)).astype(types[0])
    w = rng.integers(w_low, w_high + 1, (groups * m, c, 2, 3)).astype(types[1])
    bias = rng.integers(-9000, 9000, groups * m).astype(np.int32)
    scale = (rng.random(groups * m) * 1e-3).astype(np.float32)
    words: dict[str, Any] = {"padding": 2, "stride": stride, "groups": groups}
    w_zero = rng.integers(0, 256, groups * m) if types[1] == "uint8" else np.zeros(groups * m, int)
    sums = truth(x, w, high - 9, w_zero, words) + bias.reshape(-1, 1, 1)
    more: dict[str, Any] = {"x_zero_point": high - 9, "layout": layout, "engine": "jit", **words}
    counted: dict[str, Any] = {"w_zero_point": w_zero} if w_zero.any() else {}
    scaled: dict[str, Any] = {} if out is None else {"scale": scale, "out_dtype": out}
    given = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    found = convmat.conv(given, w, bias, **more, **counted, **scaled)
    wanted = sums if out is None else sums.astype(np.float32) * scale.reshape(-1, 1, 1)
    if out in ("uint8", "int8"):
        wanted = np.clip(np.rint(wanted), np.iinfo(out).min, np.iinfo(out).max)
    np.testing.assert_array_equal(found if layout == "NCHW" else np.moveaxis(found, -1, 1), wanted)
    words = {**more, "bias": True, "w_dtype": types[1], **({"scale": True, "out_dtype": out} if out else {})}
    words |= dict.fromkeys(counted, True)
    plan = convmat.plan(given.shape, w.shape, dtype=types[0], **words)
    in_place = [
        c.cost.workspace for c in plan.candidates if c.cost and "in place" in c.name and c.engine == "jit"
    ]
    assert in_place
    assert not any(in_place)


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (7, 2), (1, 9), (4,), (13,)])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_depthwise_windows_of_all_lengths_count_from_their_zero_points(
    shape: tuple[int, ...], kind: str
) -> None:
    """Four taps at once, and what fills the last four up; lines that are outside, and what is outside in others."""
    import convmat

    rng, limits = np.random.default_rng(sum(shape)), np.iinfo(kind)
    for extent, stride in ((7, 1), (40, 1), (41, 2), (67, 1)):
        extents = (extent, extent + 3)[-len(shape) :]
        x = rng.integers(limits.min, limits.max + 1, (2, 3, *extents)).astype(kind)
        w = rng.integers(-128, 128, (3, 1, *shape)).astype(np.int8)
        bias = rng.integers(-9000, 9000, 3).astype(np.int32)
        for x_zero in (0, limits.min + 5):
            words: dict[str, Any] = {"padding": tuple(n // 2 for n in shape), "stride": stride, "groups": 3}
            wanted = truth(x, w, x_zero, np.zeros(1), words) + bias.reshape(-1, *(1,) * len(shape))
            found = convmat.conv(x, w, bias, x_zero_point=x_zero, engine="jit", **words)
            np.testing.assert_array_equal(found, wanted, err_msg=f"{extents}, {stride}, {x_zero}")


@pytest.mark.parametrize(("types", "stride", "groups"), [
    (("uint8", "int8"), 2, 1), (("int8", "uint8"), 3, 1), (("uint8", "int8"), 2, 6), (("uint8", "uint8"), 1, 2),
])  # fmt: skip
def test_transposed_sums_are_scaled_and_rounded(types: tuple[str, str], stride: int, groups: int) -> None:
    """Each phase of a stride counts from the zero points, those without taps too."""
    import convmat

    rng, each = np.random.default_rng(stride), 12 // groups
    (low, high), (w_low, w_high) = ((np.iinfo(kind).min, np.iinfo(kind).max) for kind in types)
    x = rng.integers(low, high + 1, (2, 6, 9, 5)).astype(types[0])
    w = rng.integers(w_low, w_high + 1, (6, each, 2, 3)).astype(types[1])
    bias, zeros = rng.integers(-9000, 9000, 12).astype(np.int32), rng.integers(w_low, w_high + 1, 12)
    scale = (rng.random(12) * 1e-3).astype(np.float32)
    words: dict[str, Any] = {"stride": stride, "padding": (1, 0), "groups": groups, "output_padding": 0}
    counted = w.astype(float) - np.repeat(zeros.reshape(groups, each), 6 // groups, 0)[..., None, None]
    sums = convmat.conv_transpose(
        x.astype(float) - (high - 9), counted, bias.astype(float), exact=True, **words
    )
    more = {"x_zero_point": high - 9, "w_zero_point": zeros, **words}
    np.testing.assert_array_equal(convmat.conv_transpose(x, w, bias, **more), sums)
    made_of_them = convmat.conv_transpose(
        x, w, bias, scale=scale, out_dtype=types[0], y_zero_point=low + 7, activation="relu", **more
    )
    steps = np.rint(np.maximum(sums.astype(np.float32) * scale.reshape(-1, 1, 1), 0)) + (low + 7)
    np.testing.assert_array_equal(made_of_them, np.clip(steps, low, high))


def test_one_kernel_sums_weight_gradients_of_images_of_any_size() -> None:
    import convmat

    rng, programs = np.random.default_rng(3), []
    for size in (19, 26):
        g = Geometry.of((6, 5, size, size), (9, 5, 3, 2), padding=1)
        problem = Problem.of(g, "uint8", w_dtype="int8").grad_weight()
        programs.append(made(problem, host()))
        x, dy = (
            rng.integers(0, 256, g.x_shape).astype(np.uint8),
            rng.integers(-128, 128, g.y_shape).astype(np.int8),
        )
        dw = np.empty(g.w_shape, np.int32)
        programs[-1].run({"x": x, "y": dw}, programs[-1].bind(dy), 1)
        wide = x.astype(float), dy.astype(float)
        np.testing.assert_array_equal(dw, convmat.conv_weight_grad(*wide, g.w_shape, padding=1, exact=True))
    assert programs[0].recipes == programs[1].recipes


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_the_greatest_bytes_of_windows(kind: str) -> None:
    from convmat.planner.maxima import Maxima, maxima

    g = Geometry.of((2, 3, 11, 40), (3, 1, 3, 3), stride=2, padding=1, groups=3)
    limits = np.iinfo(kind)
    x = np.random.default_rng(1).integers(limits.min, limits.max + 1, g.x_shape).astype(kind)
    y, kernel = np.empty(g.y_shape, kind), maxima(g, kind, 1)
    assert isinstance(kernel, Maxima)
    kernel(x, y)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=limits.min)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
    np.testing.assert_array_equal(y, windows.max((-1, -2)))


def _drawn(rng: np.random.Generator) -> tuple[Geometry, str]:
    """A geometry of some rank with fewer than 50,000 sums, and a layout."""
    while True:
        rank, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 1, 2, 3]))
        x = (int(rng.integers(1, 3)), groups * int(rng.integers(1, 40)), *rng.integers(1, 16, rank).tolist())
        w = (groups * int(rng.integers(1, 40)), x[1] // groups, *rng.integers(1, 5, rank).tolist())
        words = {
            "stride": rng.integers(1, 4, rank).tolist(), "dilation": rng.integers(1, 3, rank).tolist(),
            "padding": [tuple(pair) for pair in rng.integers(0, 3, (rank, 2)).tolist()], "groups": groups,
        }  # fmt: skip
        with suppress(GeometryError):
            g = Geometry.of(x, w, **words)
            if math.prod(g.y_shape) < 50_000:
                return g, str(rng.choice(["NCHW", "NHWC"]))


def test_drawn_geometries_have_the_same_bits_everywhere(slow: bool) -> None:
    """The largest numbers throughout, 255 x 127, and others; 2,000 with --slow."""
    made_here = 0
    for seed in range(2000 if slow else 2):
        rng = np.random.default_rng(seed)
        (g, layout), large = _drawn(rng), bool(seed % 2)
        x = np.full(g.x_shape, 255, np.uint8) if large else rng.integers(0, 256, g.x_shape).astype(np.uint8)
        w = np.full(g.w_shape, 127, np.int8) if large else rng.integers(-128, 128, g.w_shape).astype(np.int8)
        words = {
            "stride": g.s, "dilation": g.d, "padding": tuple(zip(g.lo, g.hi, strict=True)), "groups": g.G,
        }  # fmt: skip
        wanted = truth(x, w, 0, np.zeros(1), words)
        problem = Problem.of(g, "uint8", x=layout, y=layout, w_dtype="int8")
        moved = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        (way,) = [each for each in ALL if each.name == "im2col"]
        for cpu in TARGETS:
            program = jit.prepare(
                way.products(problem),
                Packing.PANEL,
                dtypes_of(problem),
                operand_extents(problem),
                1 << 24,
                cpu=cpu,
            )
            if isinstance(program, str):
                continue
            y = np.empty(problem.shape("y"), np.int32)
            program.run({"x": moved, "y": y}, program.bind(w), 1)
            y = y if layout == "NCHW" else np.moveaxis(y, -1, 1)
            np.testing.assert_array_equal(y, wanted, err_msg=f"{seed}, {g}, {layout}, {cpu.model}")
            made_here += 1
    assert made_here > (3000 if slow else 2)
