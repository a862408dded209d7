"""Winograd with the filter in pieces: gradients and long filters, within their estimate, on any CPU and thread."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import PlanError
from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.runtime import thread_pool
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner.candidates import dtypes_of, make_program, operand_extents
from convmat.planner.cost import error_estimate
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation, Packing
from tests.engine.drawn import views
from tests.support import Array, blank, by_taps, defined, hedged, put, quick_part, written_alone

pytestmark = [
    pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of the definition in NumPy
]
PIECES = find_lowering("pieces")


def _normal(seed: int, *shapes: tuple[int, ...], dtype: str = "float32") -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _apart(y: Array, expected: Array) -> float:
    wide = expected.dtype
    return float(np.linalg.norm((y.astype(wide) - expected).ravel()) / np.linalg.norm(expected.ravel()))


def _problem(g: Geometry, dtype: str = "float32", layout: str = "NCHW", **rest: Any) -> Problem:
    rest = {"rtol": 1.0, "workspace_limit": 1 << 30, **rest}
    return Problem.of(g, dtype, x=layout, y=layout, **rest).grad_weight()


def _run(problem: Problem, x: Array, dy: Array, cpu: Cpu | None = None) -> Array:
    """The gradient, by this way, of arrays amid others that nobody may touch."""
    if cpu is None:
        program = make_program(problem, PIECES, Packing.PANEL, "jit")
    else:
        made = dtypes_of(problem), operand_extents(problem), 1 << 30
        program = jit.prepare(PIECES.products(problem), Packing.PANEL, *made, bound=False, cpu=cpu)
    assert isinstance(program, jit.JitProgram), program
    y = blank(problem.y.shape, np.dtype(problem.dtype))
    program.run(views(problem, {"x": hedged(x), "w": hedged(dy), "y": y}), None, problem.threads)
    written_alone(y)
    return y


@pytest.mark.parametrize("seed", quick_part(range(16), 10))
def test_the_error_stays_under_the_estimate(seed: int) -> None:
    pick = random.Random(seed)
    groups = pick.choice([1, 1, 1, 3])
    F: tuple[int, ...] = pick.choice([(3, 3), (3, 3), (2, 5), (1, 3), (7, 2), (3,), (15,)])
    padding = tuple((pick.randint(-1, 4), pick.randint(0, 3)) for _ in F)
    stride = tuple(pick.choice([1, 1, 2, 3]) for _ in F)
    sizes = tuple(
        (2 * f + pick.randint(4, 60 if len(F) == 1 else 24)) * s for f, s in zip(F, stride, strict=True)
    )
    channels, filters = groups * pick.choice([1, 7, 40]), groups * pick.choice([1, 16, 35])
    g = Geometry.of(
        (pick.randint(1, 3), channels, *sizes),
        (filters, channels // groups, *F),
        padding=padding,
        stride=stride,
        groups=groups,
    )
    dtype, layout = pick.choice(["float32", "float64"]), pick.choice(["NCHW", "NHWC"])
    x, w, dy = _normal(seed, g.x_shape, g.w_shape, g.y_shape, dtype=dtype)
    expected = by_taps(x, w, dy, g, np.longdouble if dtype == "float64" else np.float64)[2]
    problem = _problem(g, dtype, layout, threads=pick.choice([1, 2]))
    found = _run(problem, put(x, layout), put(dy, layout))
    few = 1 + 6 / np.sqrt(found.size)  # an expectation: a handful of elements may be beyond it
    assert _apart(found, expected) <= few * error_estimate(problem, PIECES.roundings(problem))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_sum_of_many_parts(layout: str) -> None:
    """Images enough for tasks to share k: their parts are added in order, whoever is done last."""
    g = Geometry.of((40, 9, 31, 29), (21, 9, 3, 3), padding=1)
    x, w, dy = _normal(3, g.x_shape, g.w_shape, g.y_shape)
    made = []
    for threads in (1, 2, 3, 2):
        with thread_pool.threads(threads):
            made.append(_run(_problem(g, layout=layout, threads=threads), put(x, layout), put(dy, layout)))
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
    assert _apart(made[0], by_taps(x, w, dy, g)[2]) < 1e-6
    other = made[0] if layout == "NCHW" else _run(_problem(g), x, dy)
    np.testing.assert_array_equal(made[0], other)  # layouts move no term


def test_a_bound_gradient_runs_again() -> None:
    """What counts finished tasks begins anew with each call."""
    x, dy = _normal(4, (20, 6, 24, 24), (20, 5, 24, 24))
    layer = convmat.plan(x.shape, (5, 6, 3, 3), padding=1, direction="weight", lowering="pieces").bind(dy)
    first = layer(x)
    for _ in range(5):
        np.testing.assert_array_equal(layer(x), first)


@pytest.mark.parametrize(("dtype", "layout"), [("float32", "NCHW"), ("float32", "NHWC"), ("float64", "NCHW")])
def test_lesser_vectors(dtype: str, layout: str) -> None:
    """Eight lanes or four, and sixteen registers."""
    g = Geometry.of((3, 37, 19, 23), (21, 37, 3, 3), padding=(1, 0))
    x, w, dy = _normal(9, g.x_shape, g.w_shape, g.y_shape, dtype=dtype)
    problem = _problem(g, dtype, layout)
    found = _run(problem, put(x, layout), put(dy, layout), Cpu.named("x86-64-v3"))
    expected = by_taps(x, w, dy, g, np.longdouble)[2]
    assert _apart(found, expected) <= error_estimate(problem, PIECES.roundings(problem))


@pytest.mark.parametrize(("layout", "stride"), [("NCHW", 1), ("NHWC", 1), ("NCHW", 2)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e13])
def test_elements_hold_what_the_definition_says(value: float, layout: str, stride: int) -> None:
    """NaN, infinities and huge values reach the elements whose windows they lie in, and no others."""
    g = Geometry.of((5, 6, 17 * stride, 13 * stride), (20, 6, 3, 3), padding=1, stride=stride)
    x, w, dy = _normal(5, g.x_shape, g.w_shape, g.y_shape)
    problem = _problem(g, layout=layout, threads=2)
    plain = _run(problem, put(x, layout), put(dy, layout))
    for operand, at in (
        ("x", (0, 2, 7, 6)), ("x", (1, 5, 0, 0)), ("x", (4, 0, 16, 12)), ("x", (2, 3, 0, 9)),
        ("dy", (0, 3, 7, 6)), ("dy", (1, 19, 0, 0)), ("dy", (4, 16, 16, 12)), ("dy", (3, 7, 9, 12)),
    ):  # fmt: skip
        planted = {"x": x.copy(), "dy": dy.copy()}
        planted[operand][at] = value
        found = _run(problem, put(planted["x"], layout), put(planted["dy"], layout))
        expected = by_taps(planted["x"], w, planted["dy"], g)[2].astype(np.float32)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_array_equal(found[np.isinf(expected)], expected[np.isinf(expected)])
        finite = np.isfinite(expected)
        assert (np.abs(found[finite] - expected[finite]) <= 1e-3 + 1e-5 * np.abs(expected[finite])).all()
        axis = int(operand == "x")
        np.testing.assert_array_equal(np.delete(found, at[1], axis), np.delete(plain, at[1], axis))


def test_zeros_hide_nothing() -> None:
    """A huge value that a tile reads and no element takes: its sums are small, and were all lost."""
    g = Geometry.of((2, 3, 20, 20), (17, 3, 3, 3), padding=1)
    x, w, dy = _normal(6, g.x_shape, g.w_shape, g.y_shape)
    x[0, 1, 9, 9] = 1e15
    dy[0, :, 8:11, 8:11] = 0
    expected = by_taps(x, w, dy, g)[2]
    found = _run(_problem(g), x, dy)
    assert (np.abs(found - expected) <= 1e-3 + 1e-5 * np.abs(expected)).all()


def test_a_long_filter_with_an_epilogue() -> None:
    """Forward: several tiles of outputs, the last ones cut off, bias, residual and activation."""
    g = Geometry.of((3, 5, 24, 21), (18, 5, 17, 13), padding=(0, 1))
    x, w, bias, residual = _normal(7, g.x_shape, g.w_shape, (18,), g.y_shape)
    epilogue = EpilogueForm(bias=True, residual=True, activation=Activation("relu"))
    problem = Problem.of(g, "float32", epilogue=epilogue, rtol=1.0, workspace_limit=1 << 30)
    program = make_program(problem, PIECES, Packing.PANEL, "jit")
    assert isinstance(program, jit.JitProgram), program
    y = blank(g.y_shape, np.dtype(np.float32))
    given = {"x": x, "w": w, "bias": bias, "residual": residual, "y": y}
    program.run(views(problem, given), None, 1)
    expected = np.maximum(defined(x, w, g) + bias[:, None, None] + residual, 0)
    assert _apart(y, expected.astype(np.float64)) < error_estimate(problem, PIECES.roundings(problem))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"exact": True}, "exact=True admits nothing else"),
        ({"rtol": 1e-8}, "is expected to be off by"),
        ({"dilation": 2}, "takes stride 1, got 2x2"),
        ({"dtype": "float16"}, "transforms float32 and float64, got float16"),
        ({"direction": "forward"}, "needs a filter longer than the output, and several outputs"),
    ],
)
def test_it_refuses_with_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        convmat.plan((2, 8, 20, 20), (8, 8, 3, 3), **{"lowering": "pieces", "direction": "weight", **given})


def test_the_plan_takes_it_where_it_is_faster() -> None:
    shapes = (8, 64, 28, 28), (64, 64, 3, 3)
    assert convmat.plan(*shapes, padding=1, direction="weight").chosen.lowering == "pieces"
    for option in ({"exact": True}, {"rtol": 1e-8}):
        plan = convmat.plan(*shapes, padding=1, direction="weight", **option)
        assert plan.chosen.lowering != "pieces"
