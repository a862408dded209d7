"""Dot products of long lines: the definition's sums, the same bits on any CPU and thread, nothing from outside."""

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
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.planner.cost import error_estimate
from convmat.problem import Problem
from convmat.product import Packing
from tests.engine.drawn import enlarged, views
from tests.support import Array, blank, by_taps, dtype_of, hedged, integers, quick_part, written_alone

pytestmark = [
    pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of the definition in NumPy
]
DOTS = find_lowering("dots")


def _problem(g: Geometry, dtype: str = "float32", **rest: Any) -> Problem:
    return Problem.of(g, dtype, x="NCHW", y="NCHW", **rest).grad_weight()


def _run(problem: Problem, x: Array, dy: Array, cpu: Cpu | None = None) -> Array:
    """The gradient, by this way, of arrays amid others that nobody may touch."""
    made = dtypes_of(problem), operand_extents(problem), 1 << 30
    program = jit.prepare(
        DOTS.products(problem), Packing.NOTHING, *made, bound=False, threads=problem.threads, cpu=cpu
    )
    assert isinstance(program, jit.JitProgram), program
    y = blank(problem.y.shape, dtype_of(problem.dtype))
    program.run(views(problem, {"x": hedged(x), "w": hedged(dy), "y": y}), None, problem.threads)
    written_alone(y)
    return y


def _small(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [integers(rng, shape, "real").astype(dtype) for shape in shapes]


def _drawn(pick: random.Random) -> Geometry:
    """A layer with one channel a group or two, some of whose windows reach outside x, or leave some of it out."""
    F: tuple[int, ...] = pick.choice([(3, 3), (3, 3), (5, 5), (2, 5), (1, 3), (7, 2), (3,), (9,)])
    stride = tuple(pick.choice([1, 1, 2, 3]) for _ in F)
    dilation = tuple(pick.choice([1, 1, 2]) for _ in F)
    padding = tuple((pick.randint(-1, 5), pick.randint(-2, 5)) for _ in F)
    sizes = tuple(
        pick.choice([f, 14, 17, 33, 40]) * s + f * d for f, s, d in zip(F, stride, dilation, strict=True)
    )
    groups, each = pick.choice([(1, 1), (5, 1), (19, 1), (3, 2)])
    return Geometry.of(
        (pick.choice([1, 3, 7]), groups * each, *sizes),
        (groups * pick.choice([1, 2]), each, *F),
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
        expected = by_taps(x, w, dy, grown)[2]
        if np.abs(expected).max() > 2048 and dtype == "float16":
            continue  # rounded on the way out
        found = _run(_problem(grown, dtype, threads=pick.choice([1, 2])), x, dy, cpu)
        np.testing.assert_array_equal(found.astype(expected.dtype), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_on_neither_cpu_nor_threads(dtype: str) -> None:
    """Strands are as many whatever the vectors, and images are summed in parts that the shapes fix."""
    g = Geometry.of((11, 6, 37, 43), (6, 1, 3, 3), padding=1, groups=6)
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(shape).astype(dtype) for shape in (g.x_shape, g.w_shape, g.y_shape))
    made = []
    for threads, cpu in ((1, None), (3, None), (2, Cpu.named("x86-64-v3"))):
        with thread_pool.threads(threads):
            made.append(_run(_problem(g, dtype, threads=threads), x, dy, cpu))
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
    expected = by_taps(x, w, dy, g, np.longdouble)[2]
    apart = np.linalg.norm((made[0] - expected).ravel()) / np.linalg.norm(expected.ravel())
    assert apart <= error_estimate(_problem(g, dtype), DOTS.roundings(_problem(g, dtype)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_lies_outside_is_no_term(value: float, stride: int) -> None:
    """NaN and infinities reach the elements whose windows they lie in: padding is not multiplied by them."""
    g = Geometry.of((2, 3, 19 * stride, 21 * stride), (3, 1, 3, 3), padding=1, stride=stride, groups=3)
    x, w, dy = _small(3, "float32", g.x_shape, g.w_shape, g.y_shape)
    last = g.P[0] - 1, g.P[1] - 1
    for operand, at in (
        ("x", (0, 1, 0, 0)), ("x", (1, 1, 5, 8)), ("x", (1, 1, 18, 20)),
        ("dy", (0, 1, 0, 0)), ("dy", (1, 1, *last)), ("dy", (0, 1, 0, 9)), ("dy", (0, 1, 9, last[1])),
    ):  # fmt: skip
        planted = {"x": x.copy(), "dy": dy.copy()}
        planted[operand][at] = value
        expected = by_taps(planted["x"], w, planted["dy"], g)[2]
        np.testing.assert_array_equal(_run(_problem(g), planted["x"], planted["dy"]), expected)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"direction": "forward"}, "needs a filter of as many positions as the output, which has up to 1,024: "
         "got 3x3 and 20x20"),
        ({"groups": 1, "w": (8, 8, 3, 3)}, "takes up to 8 pairs of an image and a filter a group, got 64"),
        ({"dtype": "int8"}, "sums in strands of floating-point numbers, got int8"),
        ({"layout": "NHWC", "x": (2, 20, 20, 8)},
         "reads both arrays along their last pixel axis, one element after the other"),
        ({"engine": "blas"}, "the same product as im2col: BLAS sums in an order of its own"),
        ({"stride": 65, "x": (2, 8, 200, 200)}, "walks over lines up to 64 apart"),
        ({"dtype": "complex64"}, "sums products of real numbers, got complex64"),
    ],
)  # fmt: skip
def test_it_refuses_with_a_sentence(given: dict[str, Any], sentence: str) -> None:
    given = {"lowering": "dots", "direction": "weight", "groups": 8, "padding": 1, **given}
    x, w = given.pop("x", (2, 8, 20, 20)), given.pop("w", (8, 1, 3, 3))
    with pytest.raises(PlanError, match=sentence):
        convmat.plan(x, w, **given)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_plan_takes_it_for_depthwise_layers(stride: int) -> None:
    given: dict[str, Any] = {"padding": 1, "groups": 144, "stride": stride}
    options: tuple[dict[str, Any], ...] = {}, {"exact": True}, {"deterministic": True}
    for option in options:
        plan = convmat.plan((16, 144, 24, 24), (144, 1, 3, 3), direction="weight", **given, **option)
        assert plan.chosen.lowering == "dots"
    assert convmat.plan((16, 144, 24, 24), (144, 1, 3, 3), **given).chosen.lowering == "depthwise"


COLUMNS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "line": ((1, 1, 43), (19, 1, 43)),
    "channels": ((1, 4500, 1), (16, 4500, 1)),
    "one-term": ((1, 1, 1), (9, 1, 1)),
    "map": ((1, 5, 3, 7), (24, 5, 3, 7)),
    "unit-map": ((1, 33, 1, 1), (3, 33, 1, 1)),
    "cropped": ((1, 1, 40), (8, 1, 33)),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_column_is_the_definitions(name: str, dtype: str) -> None:
    """With bias, residual and activation, several lines of w at a time and those that are left."""
    x_shape, w_shape = COLUMNS[name]
    padding = ((-4, -3),) if name == "cropped" else 0
    rng = np.random.default_rng(1)
    x, w = (rng.integers(-2, 3, shape).astype(dtype) for shape in (x_shape, w_shape))
    bias = rng.integers(-9, 9, w_shape[0]).astype(dtype)
    before = rng.integers(-9, 9, (1, w_shape[0], *(1,) * (len(w_shape) - 2))).astype(dtype)
    plan = convmat.plan(
        x_shape,
        w_shape,
        dtype=dtype,
        padding=padding,
        lowering="dots",
        bias=True,
        residual=True,
        activation="relu",
    )
    kept = x[..., 4:-3] if name == "cropped" else x
    expected = (kept.reshape(1, -1).astype(np.float64) @ w.reshape(len(w), -1).astype(np.float64).T + bias)[0]
    found = plan(x, w, bias, residual=before)
    expected += before.reshape(-1)
    np.testing.assert_array_equal(found.reshape(-1), np.maximum(expected, 0).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_of_a_column_depend_on_neither_cpu_nor_threads(dtype: str) -> None:
    g = Geometry.of((1, 9001, 1), (43, 9001, 1))
    problem = Problem.of(g, dtype, x="NCHW", y="NCHW")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((1, 9001, 1), (43, 9001, 1)))
    made = []
    for threads, cpu in ((1, None), (3, None), (2, Cpu.named("x86-64-v3"))):
        with thread_pool.threads(threads):
            here = Problem.of(g, dtype, x="NCHW", y="NCHW", threads=threads)
            y = blank(here.y.shape, dtype_of(dtype))
            program = jit.prepare(
                DOTS.products(here), Packing.NOTHING, dtypes_of(here), operand_extents(here), 1 << 30,
                bound=False, threads=threads, cpu=cpu,
            )  # fmt: skip
            assert isinstance(program, jit.JitProgram), program
            program.run(views(here, {"x": hedged(x), "w": hedged(w), "y": y}), None, threads)
            written_alone(y)
            made.append(y.copy())
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
    exact = w[:, :, 0].astype(np.longdouble) @ x[0, :, 0].astype(np.longdouble)
    apart = np.linalg.norm(made[0].reshape(-1) - exact) / np.linalg.norm(exact)
    assert apart <= error_estimate(problem, DOTS.roundings(problem))


def test_a_dense_layer_of_one_row_reads_its_weights_where_they_lie() -> None:
    """No byte is packed; a later change of weights that may change does not reach it."""
    plan = convmat.plan((1, 512, 1), (300, 512, 1), bias=True, reuse_weights=True)
    assert plan.chosen.name == "dots, in place"
    x, w, bias = (
        np.ones((1, 512, 1), np.float32),
        np.ones((300, 512, 1), np.float32),
        np.ones(300, np.float32),
    )
    bound = plan.bind(w, bias)
    assert bound.weight_bytes == w.nbytes
    w[:] = 0
    assert (bound(x) == 513).all()
    w[:] = 2
    w.flags.writeable = False
    lasting = plan.bind(w, bias, lasting=True)
    assert lasting.weight_bytes == 0
    assert (lasting(x) == 1025).all()
