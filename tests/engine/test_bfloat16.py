"""Products of bfloat16 numbers: float32 rounded while it is packed, and arrays of 16 bits as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import PlanError
from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.text import kernel_text
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.problem import Problem
from convmat.product import Packing

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = ml_dtypes.bfloat16
Array = npt.NDArray[Any]

here = pytest.mark.skipif(not host().bf16, reason=f"{host().model} has no dot products of bfloat16")

CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "3x3 padded, many channels": ({"padding": 1}, (2, 70, 9, 19), (37, 70, 3, 3)),
    "1x1 strided": ({"stride": 2}, (1, 34, 9, 9), (16, 34, 1, 1)),
    "dilated, cropped": ({"dilation": 2, "padding": ((-1, 2), (0, 1))}, (1, 8, 12, 9), (5, 8, 3, 2)),
    "grouped": ({"groups": 3, "padding": 1}, (1, 24, 7, 7), (9, 8, 3, 3)),
    "odd channels": ({"padding": 2}, (2, 3, 33), (3, 3, 4)),
    "more of them": ({"padding": 1}, (2, 37, 6, 18), (5, 37, 3, 3)),
    "first layer": ({"stride": 2, "padding": 3}, (1, 3, 20, 23), (33, 3, 7, 7)),
    "one channel": ({"padding": 1}, (2, 1, 9, 17), (5, 1, 3, 3)),
    "3-D": ({"padding": 1}, (1, 8, 4, 5, 6), (18, 8, 2, 2, 2)),
    "whole tiles": ({"padding": 1}, (1, 64, 6, 18), (48, 64, 3, 3)),
    "one pixel": ({}, (4, 64, 1, 1), (100, 64, 1, 1)),
}


def way(x: Array, w: Array, **words: Any) -> Array:
    """The convolution by this lowering."""
    made: Array = convmat.conv(x, w, lowering="bfloat16", rtol=1e-2, **words)
    return made


def norm(array: Array) -> float:
    """The root of the sum of squares."""
    return float(np.linalg.norm(array.astype(np.float64)))


@here
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", CASES)
def test_operands_are_rounded_and_nothing_else(case: str, layout: str) -> None:
    words, x_shape, w_shape = CASES[case]
    rng = np.random.default_rng(len(case))
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    rounded = [each.astype(BF16).astype(np.float64) for each in (x, w)]
    wanted, exact = (convmat.conv(*each, **words) for each in (rounded, (x.astype(float), w.astype(float))))
    moved = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for threads in (1, 2):
        with convmat.threads(threads):
            y = way(moved, w, layout=layout, **words)
        y = y if layout == "NCHW" else np.moveaxis(y, -1, 1)
        assert norm(y - wanted) < 1e-6 * norm(wanted)
    plan = convmat.plan(x_shape, w_shape, lowering="bfloat16", rtol=1e-2, **words)
    assert plan.chosen.cost is not None
    assert norm(wanted - exact) < plan.chosen.cost.error * norm(exact)


@here
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_arrays_of_16_bits_lose_nothing(layout: str) -> None:
    rng = np.random.default_rng(3)
    x, w, bias, residual = (
        rng.standard_normal(shape).astype(BF16)
        for shape in ((2, 36, 5, 9), (20, 36, 3, 3), (20,), (2, 20, 5, 9))
    )
    exact = convmat.conv(
        x.astype(float), w.astype(float), bias.astype(float), padding=1, residual=residual.astype(float)
    )
    moved, added = (each if layout == "NCHW" else np.moveaxis(each, 1, -1).copy() for each in (x, residual))
    y = way(moved, w, bias=bias, residual=added, padding=1, activation="relu", layout=layout)
    y = y if layout == "NCHW" else np.moveaxis(y, -1, 1)
    wanted = np.maximum(exact, 0)
    assert y.dtype == BF16
    assert np.all(np.abs(y.astype(float) - wanted) <= 2.0**-8 * np.abs(wanted) + 1e-5)
    definition = convmat.conv(
        moved, w, bias=bias, residual=added, padding=1, activation="relu", layout=layout
    )
    definition = definition if layout == "NCHW" else np.moveaxis(definition, -1, 1)
    assert np.mean(y != definition) < 0.01


@here
def test_what_is_no_number_reaches_its_windows_alone() -> None:
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((1, 6, 9, 9)), rng.standard_normal((4, 6, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    x[0, 2, 4, 4], x[0, 5, 0, 8] = np.nan, np.inf
    wanted = convmat.conv(x, w, padding=1, exact=True)
    y = way(x, w, padding=1)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))


@here
def test_input_gradients_are_rounded_alike() -> None:
    rng = np.random.default_rng(5)
    x, w, dy = (
        rng.standard_normal(s).astype(np.float32) for s in ((2, 8, 10, 10), (6, 8, 3, 3), (2, 6, 10, 10))
    )
    y = convmat.conv_input_grad(dy, w, x.shape, padding=1, lowering="bfloat16", rtol=1e-2)
    rounded = [each.astype(BF16).astype(float) for each in (dy, w)]
    wanted = convmat.conv_input_grad(rounded[0], rounded[1], x.shape, padding=1)
    assert norm(y - wanted) < 1e-6 * norm(wanted)
    with pytest.raises(PlanError, match="a weight gradient's sums run over images"):
        convmat.conv_weight_grad(x, dy, w.shape, padding=1, lowering="bfloat16", rtol=1e-2)


DEFINITION = ("im2col", "pointwise")
FORBIDDING: tuple[dict[str, Any], ...] = ({"exact": True}, {"deterministic": True}, {"rtol": 1e-3})


@here
def test_it_is_chosen_where_rtol_allows_it_and_it_is_quicker() -> None:
    """There are CPUs whose dot products of two take longer than two of float32."""
    shapes = (1, 256, 28, 28), (512, 256, 1, 1)
    assert convmat.plan(*shapes).chosen.lowering in DEFINITION
    words: dict[str, Any]
    for words in ({"rtol": 1e-2}, {"dtype": "bfloat16"}):
        plan = convmat.plan(*shapes, reuse_weights=True, **words)
        seconds = {c.lowering: c.cost.seconds for c in plan.candidates if c.cost and c.engine == "jit"}
        others = min(seconds[name] for name in DEFINITION)
        assert (plan.chosen.lowering == "bfloat16") == (seconds["bfloat16"] < others)
    for given in FORBIDDING:
        assert convmat.plan(*shapes, **{"rtol": 1e-2, **given}).chosen.lowering in DEFINITION


def test_what_it_refuses_is_said() -> None:
    shapes = (1, 8, 9, 9), (4, 8, 3, 3)
    refusals: tuple[tuple[dict[str, Any], str], ...] = (
        ({"dtype": "float64", "rtol": 1e-2}, "rounds float32 to bfloat16, got float64"),
        ({"deterministic": True, "rtol": 1e-2}, "adds two products at once, in an order of its own"),
        ({"exact": True}, "multiplies otherwise than the definition, exact=True admits nothing else"),
    )
    for given, said in refusals:
        with pytest.raises(PlanError) as error:
            convmat.plan(*shapes, lowering="bfloat16", **given)
        assert said in str(error.value)


def prepared(x: tuple[int, ...], w: tuple[int, ...], cpu: Cpu) -> jit.JitProgram | str:
    """The program of a layer for a CPU."""
    problem = Problem.of(Geometry.of(x, w))
    products = find_lowering("bfloat16").products(problem)
    return jit.prepare(
        products, Packing.PANEL, dtypes_of(problem), operand_extents(problem), 1 << 24, cpu=cpu
    )


def test_engines_say_why_they_cannot() -> None:
    shapes = (1, 8, 9, 9), (4, 8, 3, 3)
    old = prepared(*shapes, Cpu.named("x86-64-v4"))
    assert old == "takes a CPU with dot products of bfloat16, this one is x86-64-v4"
    problem = Problem.of(Geometry.of((1, 6, 9, 9), (4, 3, 3, 3), groups=2))
    products = find_lowering("bfloat16").products(problem)
    new = jit.prepare(
        products,
        Packing.PANEL,
        dtypes_of(problem),
        operand_extents(problem),
        1 << 24,
        cpu=Cpu.named("znver4"),
    )
    assert new == "multiplies pairs of numbers that lie side by side, got 3"


def test_another_cpus_kernels_are_written_here() -> None:
    program = prepared((1, 8, 9, 9), (40, 8, 3, 3), cpu := Cpu.named("sapphirerapids"))
    assert isinstance(program, jit.JitProgram)
    packing, multiplying = (kernel_text(recipe, cpu) for recipe in program.recipes)
    assert "cvtneps2bf16.512" in packing
    assert "dpbf16ps.512" in multiplying


@here
@pytest.mark.parametrize("threads", [1, 2])
def test_a_residual_may_be_the_output_itself(threads: int) -> None:
    """Tiles have 14 columns, vectors 16 lanes: what lies behind a tile's is read by the next one."""
    rng = np.random.default_rng(6)
    x, w, y = (
        rng.standard_normal(s).astype(np.float32) for s in ((1, 8, 9, 9), (48, 8, 1, 1), (1, 48, 9, 9))
    )
    with convmat.threads(threads):
        wanted = way(x, w, residual=y)
        plan = convmat.plan(
            x.shape, w.shape, residual=True, lowering="bfloat16", rtol=1e-2, reuse_weights=True
        )
        found = plan.bind(w)(x, residual=y, out=y)
    np.testing.assert_array_equal(found, wanted)
