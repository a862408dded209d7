"""All phases of a thin product by one kernel: input gradients of strided layers with few channels a group."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.phases.plan import PhasesPlan
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation, Packing
from tests.engine.drawn import enlarged, views
from tests.support import Array, blank, by_taps, dtype_of, hedged, integers, quick_part, written_alone

pytestmark = [
    pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of the definition in NumPy
]
IM2COL = find_lowering("im2col")


def _program(problem: Problem, cpu: Cpu | None = None) -> jit.JitProgram | str:
    made = dtypes_of(problem), operand_extents(problem), 1 << 30
    products = IM2COL.products(problem)
    return jit.prepare(products, Packing.NOTHING, *made, bound=False, threads=problem.threads, cpu=cpu)


def _run(problem: Problem, given: dict[str, Array], cpu: Cpu | None = None) -> Array:
    """The gradient, by this kernel, of arrays amid others that nobody may touch."""
    program = _program(problem, cpu)
    assert isinstance(program, jit.JitProgram), program
    assert [type(step) for step in program.steps] == [PhasesPlan]
    y = blank(problem.y.shape, dtype_of(problem.dtype))
    operands = {name: hedged(array) for name, array in given.items()}
    program.run(views(problem, {**operands, "y": y}), None, problem.threads)
    written_alone(y)
    return y


def _small(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [integers(rng, shape, "real").astype(dtype) for shape in shapes]


def _drawn(pick: random.Random) -> Geometry:
    """A strided layer of few channels a group: some phases without taps, alike ones, and x left over."""
    F: tuple[int, ...] = pick.choice([(3, 3), (3, 3), (1, 1), (5, 2), (4, 4), (3,), (9,)])
    stride = tuple(pick.choice([1, 2, 2, 3]) for _ in F)
    if all(s == 1 for s in stride):
        stride = (2, *stride[1:])
    dilation = tuple(pick.choice([1, 1, 2]) for _ in F)
    padding = tuple((pick.randint(-1, 3), pick.randint(-1, 3)) for _ in F)
    sizes = tuple(
        pick.choice([3, 15, 16, 33, 50]) * s + f * d for f, s, d in zip(F, stride, dilation, strict=True)
    )
    groups, (each, filters) = (
        pick.choice([1, 5, 19]),
        pick.choice([(1, 1), (2, 1), (1, 3), (3, 8), (1, 24), (2, 6)]),
    )
    return Geometry.of(
        (pick.choice([1, 3]), groups * each, *sizes), (groups * filters, each, *F),
        padding=padding, stride=stride, dilation=dilation, groups=groups,
    )  # fmt: skip


@pytest.mark.parametrize("seed", quick_part(range(16), 10))
def test_sums_are_the_definitions(seed: int) -> None:
    """Of small integers, which add up exactly; over several extents of the drawn layer."""
    pick = random.Random(seed)
    g = _drawn(pick)
    dtype = pick.choice(["float32", "float32", "float64", "float16"])
    cpu = pick.choice([None, None, Cpu.named("x86-64-v3")])
    for number in range(3):
        grown = enlarged(g, [number * pick.choice([1, 7]) for _ in g.I])
        x, w, dy = _small(seed, dtype, grown.x_shape, grown.w_shape, grown.y_shape)
        problem = Problem.of(grown, dtype, threads=pick.choice([1, 2])).grad_input()
        found = _run(problem, {"x": dy, "w": w}, cpu)
        np.testing.assert_array_equal(found.astype(np.float64), by_taps(x, w, dy, grown)[1])


@pytest.mark.parametrize("extents", [(3, 2), (3, 9), (12, 2), (5, 4), (2, 3)])
def test_gradients_of_fewer_lines_than_the_stride(extents: tuple[int, int]) -> None:
    """Which have not all phases, rows apart by the stride all the same."""
    g = Geometry.of((2, 6, *extents), (9, 2, 4, 2), stride=(5, 4), padding=((8, 2), (0, 4)), groups=3)
    x, w, dy = _small(2, "float64", g.x_shape, g.w_shape, g.y_shape)
    found = _run(Problem.of(g, "float64").grad_input(), {"x": dy, "w": w})
    np.testing.assert_array_equal(found, by_taps(x, w, dy, g)[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_lies_outside_is_no_term(value: float) -> None:
    g = Geometry.of((2, 3, 38, 75), (3, 1, 3, 3), padding=1, stride=2, groups=3)
    x, w, dy = _small(3, "float32", g.x_shape, g.w_shape, g.y_shape)
    for operand, at in (
        ("dy", (0, 1, 0, 0)), ("dy", (1, 1, 18, 37)), ("dy", (1, 1, 7, 16)), ("w", (1, 0, 0, 0)), ("w", (1, 0, 2, 2)),
    ):  # fmt: skip
        planted = {"w": w.copy(), "dy": dy.copy()}
        planted[operand][at] = value
        expected = by_taps(x, planted["w"], planted["dy"], g)[1]
        found = _run(Problem.of(g, "float32").grad_input(), {"x": planted["dy"], "w": planted["w"]})
        np.testing.assert_array_equal(found, expected)


def test_a_transposed_layer_with_an_epilogue() -> None:
    """Forward: bias, residual and activation go to every phase, those without taps too."""
    x, w, bias, residual = _small(5, "float32", (2, 6, 9, 20), (6, 1, 2, 2), (6,), (2, 6, 27, 60))
    given: dict[str, Any] = {"stride": 3, "output_padding": 1, "groups": 6}
    plain = convmat.conv_transpose(x, w, engine="blas", lowering="im2col", **given)
    problem = Problem.of(
        Geometry.of((2, 6, 27, 60), (6, 1, 2, 2), stride=3, groups=6), "float32"
    ).grad_input()
    epilogue = EpilogueForm(bias=True, residual=True, activation=Activation("relu"))
    found = _run(replace(problem, epilogue=epilogue), {"x": x, "w": w, "bias": bias, "residual": residual})
    np.testing.assert_array_equal(found, np.maximum(plain + bias[:, None, None] + residual, 0))


@pytest.mark.parametrize(
    "given",
    [
        {"w": (40, 5, 3, 3), "groups": 8},  # five channels a group to be summed: packed
        {"w": (8, 1, 9, 9), "groups": 8},  # more taps than are written out
        {"w": (8, 1, 3, 3), "groups": 8, "layout": "NHWC"},
    ],
)
def test_others_run_phase_by_phase(given: dict[str, Any]) -> None:
    w, groups, layout = given["w"], given["groups"], given.get("layout", "NCHW")
    g = Geometry.of((2, groups * w[1], 20, 20), w, stride=2, padding=1, groups=groups)
    program = _program(Problem.of(g, "float32", x=layout, y=layout).grad_input())
    assert isinstance(program, str) or PhasesPlan not in map(type, program.steps)


@pytest.mark.parametrize("x_shape", [(1, 2, 4, 0), (0, 2, 4, 4), (1, 2, 0)])
def test_an_empty_image_has_an_empty_gradient(x_shape: tuple[int, ...]) -> None:
    """Without any product at all."""
    w = np.ones((2, 1, *(3,) * (len(x_shape) - 2)), np.float32)
    g = Geometry.of(x_shape, w.shape, stride=2, padding=2, groups=2)
    dy = np.ones(g.y_shape, np.float32)
    assert convmat.conv_input_grad(dy, w, x_shape, stride=2, padding=2, groups=2).shape == x_shape


def test_the_plan_takes_it_for_strided_depthwise_layers() -> None:
    shapes = (16, 144, 24, 24), (144, 1, 3, 3)
    plan = convmat.plan(*shapes, stride=2, padding=1, groups=144, direction="input")
    assert (plan.chosen.engine, plan.chosen.packing) == ("jit", Packing.NOTHING)


@pytest.mark.parametrize(
    ("x", "w"),
    [((1, 32, 32, 32), (32, 3, 4, 4)), ((1, 24, 60, 80), (24, 1, 2, 2)), ((1, 16, 64, 64), (16, 1, 4, 4))],
)
def test_the_plan_takes_it_for_the_last_layer_of_a_decoder(x: tuple[int, ...], w: tuple[int, ...]) -> None:
    """Many channels to few at twice the size, whose phases as products of their own have one to three rows."""
    padding = w[-1] // 2 - 1
    y = (1, w[1], 2 * x[2], 2 * x[3])
    plan = convmat.plan(y, w, stride=2, padding=padding, direction="input")
    assert (plan.chosen.engine, plan.chosen.packing) == ("jit", Packing.NOTHING)
    given, weights = _small(1, "float32", x, w)
    found = plan(given, weights)
    np.testing.assert_array_equal(
        found, convmat.conv_transpose(given, weights, stride=2, padding=padding, exact=True)
    )
