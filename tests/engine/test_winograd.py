"""Fewer multiplications: the matrices exactly, the kernel within its estimated error, on any CPU and thread."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import PlanError
from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.winograd import plan as winograd_plan
from convmat.engine.kernels.winograd.blocks import Slices, TileBlock
from convmat.engine.kernels.winograd.plan import WinogradPlan
from convmat.geometry import Geometry
from convmat.lowering import ALL, find_lowering
from convmat.lowering.toomcook import fast_correlation
from convmat.lowering.winograd import folds
from convmat.planner import Plan
from convmat.planner.candidates import dtypes_of, make_program, operand_extents
from convmat.planner.cost import error_estimate
from convmat.problem import Problem
from convmat.product import Packing
from tests.engine.drawn import views
from tests.support import Array, blank, by_taps, hedged, in_turn, plans, put, quick_part, written_alone

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
LANES = host().lanes(4)
NAMES = [way.name for way in ALL if way.name.startswith("winograd")]


@pytest.mark.parametrize(("m", "r"), [(1, 1), (2, 2), (2, 3), (4, 2), (4, 3), (3, 5), (6, 3), (4, 6), (4, 7)])
def test_a_fast_correlation_is_one(m: int, r: int) -> None:
    """In rationals: not nearly, exactly."""
    fast = fast_correlation(m, r)
    draw = random.Random(m * 10 + r)
    x, w = ([Fraction(draw.randint(-9, 9), draw.randint(1, 9)) for _ in range(n)] for n in (m + r - 1, r))

    def times(matrix: Any, vector: list[Fraction]) -> list[Fraction]:
        return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]

    products = [a * b for a, b in zip(times(fast.G, w), times(fast.BT, x), strict=True)]
    assert len(products) == m + r - 1 == fast.t
    assert times(fast.AT, products) == [sum(w[f] * x[i + f] for f in range(r)) for i in range(m)]


def test_points_must_differ() -> None:
    with pytest.raises(ValueError, match="needs 4 distinct points, got 1"):
        fast_correlation(4, 2, (Fraction(1),) * 4)
    with pytest.raises(ValueError, match="needs 10 distinct points, got 0"):
        fast_correlation(6, 6)


@pytest.mark.parametrize(
    ("m", "r", "amplification", "before"),
    [(4, 3, 2.18, 2.18), (3, 5, 3.17, 5.34), (4, 5, 4.37, 10.33), (6, 3, 4.54, 10.86), (4, 7, 10.05, 13.24)],
)
def test_points_amplify_as_their_table_says(m: int, r: int, amplification: float, before: float) -> None:
    fixed = tuple(map(Fraction, ["0", "2/3", "-2/3", "3/2", "-3/2", "1/3", "-1/3", "3", "-3"]))
    assert fast_correlation(m, r).amplification == pytest.approx(amplification, abs=0.005)
    assert fast_correlation(m, r, fixed).amplification == pytest.approx(before, abs=0.005)


def _normal(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _apart(y: Array, expected: Array) -> float:
    wide = expected.dtype
    return float(np.linalg.norm((y.astype(wide) - expected).ravel()) / np.linalg.norm(expected.ravel()))


def _geometry(pick: random.Random) -> Geometry:
    groups = pick.choice([1, 1, 2, 3])
    F: tuple[int, ...] = pick.choice(
        [(3, 3), (3, 3), (2, 2), (5, 5), (1, 3), (3, 1), (2, 3), (4, 1), (1, 7), (7, 1), (6, 4)]
    )
    F = F[1:] if F[1] > 1 and pick.random() < 0.25 else F
    padding = tuple((pick.randint(-1, 3), pick.randint(0, 3)) for _ in F)
    dilation = [1] * len(F)
    if pick.random() < 0.4:
        dilation = [pick.choice([1, 2, 3, 5]) for _ in F]
        dilation[-1] = pick.choice([1, 2, 2, 4])
    if len(F) == 1 and pick.random() < 0.5:  # a line that is folded into rows
        dilation = [pick.choice([3, 5, 16, 20, 40])]
        padding = ((pick.choice([0, dilation[0], pick.randint(-9, 50)]), pick.randint(0, 50)),)
    extents = tuple(d * (f - 1) + 1 + pick.randint(2, 30) for f, d in zip(F, dilation, strict=True))
    channels, filters = groups * pick.choice([1, pick.randint(2, 24), 90]), groups * pick.randint(1, 40)
    stride = [1] * len(F)
    if pick.random() < 0.4:  # an axis that is cut into slices
        f, d = pick.choice([1, 2, 3, 3, 4]), pick.choice([1, 1, 2, 4])
        F, dilation, stride = (f, *F), [d, *dilation], [pick.choice([1, 1, 2, 3]), *stride]
        padding, extents = (
            ((pick.randint(-1, 2), pick.randint(0, 2)), *padding),
            (d * f + pick.randint(1, 7), *extents),
        )
    x_shape = (pick.randint(1, 3), channels, *extents)
    return Geometry.of(
        x_shape, (filters, channels // groups, *F),
        padding=padding, dilation=dilation, groups=groups, stride=stride,
    )  # fmt: skip


def _last(array: Array) -> Array:
    """The same with channels last."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


@pytest.mark.parametrize(("dilation", "padding"), [(3, 3), (12, 0), (16, 7), (50, 111)])
@pytest.mark.parametrize("name", NAMES)
def test_a_dilated_line_is_folded_into_rows(name: str, dilation: int, padding: int) -> None:
    """Whole rows and a piece of one; elements that are not finite are where the definition has them, and no further."""
    g = Geometry.of((2, 5, 7 * dilation + 2), (19, 5, 3), padding=padding, dilation=dilation)
    assert folds(g) == dilation
    x, w = _normal(dilation, "float32", g.x_shape, g.w_shape)
    bias = np.arange(19, dtype=np.float32)
    plan = convmat.plan(
        g.x_shape, g.w_shape, padding=padding, dilation=dilation, rtol=1.0, bias=True, lowering=name
    )
    expected = by_taps(x, w, None, g)[0] + bias[:, None]
    out = blank(g.y_shape, np.dtype(np.float32))
    y = plan(hedged(x), hedged(w), bias, out=out)
    written_alone(out)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    x[0, 1, -1] = np.inf
    with np.errstate(invalid="ignore"):
        lost = ~np.isfinite(by_taps(x, w, None, g)[0])
    assert np.array_equal(~np.isfinite(plan(x, w, bias)), lost)
    assert lost.any()


@pytest.mark.parametrize("seed", quick_part(range(50), 8))
def test_the_error_stays_under_the_estimate(seed: int) -> None:
    """On random geometries; nothing outside the arrays is read, and all of y and nothing else written."""
    pick = random.Random(seed)
    g, dtype, threads = _geometry(pick), pick.choice(["float32", "float64"]), pick.choice([1, 2])
    x, w = _normal(seed, dtype, g.x_shape, g.w_shape)
    wide = np.longdouble if dtype == "float64" else np.float64
    expected = by_taps(x, w, None, g, wide)[0]
    layout = pick.choice(["NCHW", "NCHW", "NHWC"])
    if layout == "NHWC":
        x, expected = _last(x), _last(expected)
    problem = Problem.of(g, dtype, x=layout, y=layout, threads=threads, rtol=1.0, workspace_limit=1 << 30)
    ran = []
    for chosen, plan in plans(problem):
        if chosen.lowering in NAMES:
            assert chosen.cost is not None
            out = blank(expected.shape, np.dtype(dtype))
            y = plan(hedged(x), hedged(w), out=out)
            written_alone(out)
            few = 1 + 6 / np.sqrt(y.size)  # an expectation: a handful of elements may be beyond it
            assert _apart(y, expected) <= few * chosen.cost.error, chosen
            ran.append(chosen.lowering)
    near = (g.F[-1] - 1) * g.d[-1] <= host().lanes(np.dtype(dtype).itemsize)
    fits = layout == "NHWC" or near or folds(g) > 1
    assert ran == [way.name for way in ALL if way.name in NAMES and fits and way.refuses(problem) is None]


@pytest.mark.parametrize(
    ("name", "layout", "dilation"), in_turn(NAMES, ("NCHW", 1), ("NCHW", (3, 2)), ("NHWC", (1, 3)))
)
def test_input_gradient_and_epilogue(name: str, layout: str, dilation: int | tuple[int, int]) -> None:
    padding = dilation  # keeps the size
    x_shape, w_shape = (2, 6, 17, 13), (20, 6, 3, 3)
    x, w, bias, residual, dy = _normal(
        5, "float32", x_shape, w_shape, (20,), (2, 20, 17, 13), (2, 20, 17, 13)
    )
    g = Geometry.of(x_shape, w_shape, padding=padding, dilation=dilation)
    sums, dx, _ = by_taps(x, w, dy, g)
    expected = np.maximum(sums + bias.reshape(-1, 1, 1) + residual, 0)
    if layout == "NHWC":
        x, residual, dy, expected, dx = (_last(each) for each in (x, residual, dy, expected, dx))
    options: dict[str, Any] = {"padding": padding, "dilation": dilation, "layout": layout}
    options |= {"lowering": name, "rtol": 1e-4}
    plan = convmat.plan(x.shape, w_shape, bias=True, residual=True, activation="relu", **options)
    assert plan.chosen.cost is not None
    assert _apart(plan(x, w, bias, residual=residual), expected) < plan.chosen.cost.error
    back = convmat.plan(x.shape, w_shape, direction="input", **options)
    assert back.chosen.cost is not None
    assert _apart(back(dy, w), dx) < back.chosen.cost.error


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1, 1), (1, 1, 1)), ((2, 1, 1), (3, 1, 2)), ((3, 1, 1), (1, 2, 1))]
)
def test_slices_share_what_was_transformed(
    layout: str, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> None:
    """Forward and back, packed before or by the tasks: a NaN stays where its taps reach, bits are a slice's own."""
    g = Geometry.of(
        (2, 4, 11, 9, 13), (18, 2, 3, 3, 3), padding=2, groups=2, stride=stride, dilation=dilation
    )
    x, w, bias = _normal(13, "float32", g.x_shape, g.w_shape, (18,))
    x[1, 3, 4, 4, 6] = np.nan
    expected = np.maximum(by_taps(x, w, None, g)[0] + bias.reshape(-1, 1, 1, 1), 0)
    given, made = put(x, layout), []
    for bound, threads in ((True, 1), (False, 2), (True, 3)):
        options: dict[str, Any] = {
            "layout": layout,
            "reuse_weights": bound,
            "bias": True,
            "activation": "relu",
        }
        with convmat.threads(threads):
            plan = convmat.plan(
                given.shape, w.shape, padding=2, groups=2, stride=stride, dilation=dilation,
                lowering="winograd 4", **options,
            )  # fmt: skip
        y = plan(hedged(given), w, bias)
        made.append(np.moveaxis(y, -1, 1) if layout == "NHWC" else y)
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
    np.testing.assert_array_equal(np.isnan(made[0]), np.isnan(expected))
    sound = ~np.isnan(expected)
    assert _apart(made[0][sound], expected[sound]) < 2e-6


def test_the_plan_takes_slices_where_they_are_faster() -> None:
    plan: Plan = convmat.plan((1, 64, 16, 16, 16), (64, 64, 3, 3, 3), padding=1)
    assert plan.chosen.lowering in NAMES


def test_slices_worked_by_hand() -> None:
    """Stride 3, dilation 2: outputs two apart share slices, and each begins three of them further."""
    problem = Problem.of(Geometry.of((1, 8, 14, 9, 9), (8, 8, 4, 3, 3), stride=(3, 1, 1), dilation=(2, 1, 1)))
    (product,) = find_lowering("winograd 2").products(problem)
    slices = Slices.of(product)
    assert slices == Slices(count=3, depth=14, stride=3, step=2, taps=4, offset=0)
    assert (slices.rests, slices.turns, slices.overlap) == (2, 3, 1)
    assert slices.count_sources(2) == len({s * 3 + f for s in range(2) for f in range(4)}) == 7
    assert slices.stored_elements(2) == 9


@pytest.mark.parametrize(
    ("name", "layout", "dilation"), in_turn(NAMES, ("NHWC", 1), ("NCHW", 1), ("NCHW", 2))
)
def test_bits_depend_on_neither_threads_nor_batch(name: str, layout: str, dilation: int) -> None:
    """Nor does a sum in parts, as there are with 400 channels."""
    x, w = _normal(7, "float32", (3, 400 // dilation, 29, 31), (70, 400 // dilation, 3, 3))
    made = []
    for threads, batch in ((1, 3), (2, 3), (1, 1), (2, 1)):
        g = Geometry.of((batch, *x.shape[1:]), w.shape, padding=1, dilation=dilation)
        problem = Problem.of(
            g, "float32", x=layout, y=layout, threads=threads, rtol=1.0, workspace_limit=1 << 30
        )
        (plan,) = [plan for chosen, plan in plans(problem) if chosen.lowering == name]
        made.append(plan(_last(x[:batch]) if layout == "NHWC" else x[:batch], w)[0])
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])


@pytest.mark.parametrize(
    ("name", "dtype", "layout", "dilation"),
    [
        ("winograd 2", "float64", "NCHW", 1),
        ("winograd 4", "float32", "NCHW", 2),
        ("winograd 4", "float64", "NHWC", 1),
        ("winograd 6", "float32", "NCHW", 1),
    ],
)
def test_lesser_vectors(name: str, dtype: str, layout: str, dilation: int) -> None:
    """Eight lanes or four, and sixteen registers."""
    x, w = _normal(9, dtype, (2, 12, 19, 23), (21, 12, 3, 3))
    g = Geometry.of(x.shape, w.shape, padding=1, dilation=dilation)
    problem = Problem.of(g, dtype, x=layout, y=layout)
    way = next(each for each in ALL if each.name == name)
    program = jit.prepare(
        way.products(problem), Packing.PANEL, dtypes_of(problem), operand_extents(problem), 1 << 30,
        cpu=Cpu.named("x86-64-v3"),
    )  # fmt: skip
    assert isinstance(program, jit.JitProgram)
    y = np.empty(g.y_shape, dtype)
    given = {"x": x, "w": w, "y": y} if layout == "NCHW" else {"x": _last(x), "w": w, "y": _last(y)}
    operands = views(problem, given)
    program.run(operands, program.bind(operands["w"]), 1)
    if layout == "NHWC":
        y = np.moveaxis(given["y"], -1, 1)
    expected = by_taps(x, w, None, g, np.longdouble)[0]
    assert _apart(y, expected) <= error_estimate(problem, way.roundings(problem))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"exact": True}, "exact=True admits nothing else"),
        ({"rtol": 1e-8}, "is expected to be off by"),
        ({"stride": 2}, "takes stride 1 along an axis of several taps, got 2x2 for 3x3"),
        (
            {"dilation": (1, LANES), "padding": (0, LANES)},
            f"takes windows that overlap by up to a vector of {LANES}, got {2 * LANES}",
        ),
        ({"w": (8, 8, 10, 1)}, "takes filters up to [579] wide, got 10x1"),
        ({"dilation": (1, 3)}, "takes dilations along lines that divide a vector of [0-9]+, got 3"),
        ({"dtype": "float16"}, "transforms float32 and float64, got float16"),
    ],
)
def test_it_refuses_with_a_sentence(given: dict[str, Any], sentence: str) -> None:
    w_shape = given.get("w", (8, 8, 3, 3))
    options = {key: value for key, value in given.items() if key != "w"}
    for name in NAMES:
        with pytest.raises(PlanError, match=sentence):
            convmat.plan((1, 8, 20, 20), w_shape, lowering=name, **options)


def test_it_takes_one_layout_at_a_time() -> None:
    problem = Problem.of(Geometry.of((1, 8, 20, 20), (8, 8, 3, 3)), x="NCHW", y="NHWC")
    products = find_lowering("winograd 6").products(problem)
    made = jit.prepare(products, Packing.PANEL, dtypes_of(problem), operand_extents(problem), 1 << 30)
    assert made == (
        "reads x and writes y along their last pixel axis or their channels, one element after the other"
    )


def test_the_plan_takes_it_where_it_is_faster() -> None:
    plan: Plan = convmat.plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert plan.chosen.lowering in NAMES
    for option in ({"exact": True}, {"rtol": 1e-8}):
        without: Plan = convmat.plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1, **option)
        assert without.chosen.lowering not in NAMES


def test_the_plan_says_what_its_error_means_for_one_element() -> None:
    w = np.ones((4, 4, 3, 3), np.float32)
    x = np.zeros((1, 4, 24, 24), np.float32)
    x[0, 0, 12, 12] = np.nan
    said = (
        "One element may be off by so much of the largest in its tile, not of itself. "
        "A tile with a sum that is not finite, or beyond 2^40, is taken by the definition."
    )
    for name in ("winograd 4", "im2col"):
        plan = convmat.plan(x.shape, w.shape, padding=1, lowering=name)
        assert (said in " ".join(str(plan).split())) is not plan.exact
        assert np.isnan(plan(x, w)[0, 0]).sum() == 9


@pytest.mark.parametrize("tile", [2, 4])
def test_blocks_beside_each_other_leave_each_other_alone(tile: int) -> None:
    """A block of 46 tiles ends within a vector of them; what lies to the right is another thread's."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((1, 96, 32, 368), np.float32), rng.standard_normal((24, 96, 3, 3), np.float32)
    with convmat.threads(1):
        wanted = convmat.plan(x.shape, w.shape, padding=1, exact=True).bind(w)(x)
    with convmat.threads(2):
        layer = convmat.plan(x.shape, w.shape, padding=1, lowering=f"winograd {tile}", engine="jit").bind(w)
        for _ in range(20):
            assert np.abs(layer(x) - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_layers_of_other_channels_share_a_kernel() -> None:
    """How many rows and channels there are is told to it; how the last block's rows fill vectors is not."""
    found = []
    for O, C in ((2, 64), (4, 96), (8, 200), (7, 64)):
        problem = Problem.of(Geometry.of((1, C, 28, 28), (O * LANES, C, 3, 3), padding=1))
        program = make_program(problem, find_lowering("winograd 4"), Packing.PANEL, "jit")
        assert isinstance(program, jit.JitProgram), program
        found.append(program.recipes)
    assert found[0] == found[1] == found[2] != found[3]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("direction", ["forward", "input"])
def test_small_images_share_a_block(direction: str, layout: str) -> None:
    """With weights packed before, or by the tasks: an image's bits are its own, and what is not sound stays there."""
    g = Geometry.of((9, 37, 7, 5), (40, 37, 3, 3), padding=1)
    x, w, dy = _normal(11, "float32", g.x_shape, g.w_shape, g.y_shape)
    first = x if direction == "forward" else dy
    first[4, 3, 6, 4] = np.nan
    made = []
    for batch, bound, threads in ((9, True, 1), (9, False, 2), (9, True, 3), (2, False, 1)):
        problem = Problem.of(
            Geometry.of((batch, *g.x_shape[1:]), g.w_shape, padding=1), "float32", x=layout, y=layout,
            threads=threads, rtol=1.0, reuse_weights=bound,
        )  # fmt: skip
        problem = problem if direction == "forward" else problem.grad_input()
        program = make_program(problem, find_lowering("winograd 4"), Packing.PANEL, "jit")
        assert isinstance(program, jit.JitProgram)
        (step,) = program.steps
        assert isinstance(step, WinogradPlan)
        assert step.block.slices > 1
        assert step.recipe.packs is not bound
        y = blank(problem.y.shape, np.dtype(np.float32))
        given = put(first[:batch], layout)
        operands = views(problem, {"x": hedged(given), "w": w, "y": y})
        program.run(operands, program.bind(operands["w"]) if bound else None, threads)
        written_alone(y)
        made.append(np.moveaxis(y, -1, 1) if layout == "NHWC" else y)
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0][: len(other)])
    expected = by_taps(x, w, dy, g)[0 if direction == "forward" else 1]
    np.testing.assert_array_equal(np.isnan(made[0]), np.isnan(expected))
    sound = np.arange(9) != 4
    assert _apart(made[0][sound], expected[sound]) < 2e-6


@pytest.mark.parametrize("packs", [False, True])
def test_several_blocks_of_filters_together_change_no_bit(
    packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are multiplied point by point where the second cache does not hold all transformed inputs."""
    monkeypatch.setattr(
        winograd_plan, "packing_turns", lambda *_: 1e12
    )  # with unbound weights tasks pack them
    g = Geometry.of((2, 200, 8, 8), (150, 200, 3, 3), padding=1)
    x, w = _normal(0, "float32", g.x_shape, g.w_shape)
    problem, found = Problem.of(g, reuse_weights=not packs), []
    for l2, together in ((1 << 30, 1), (1 << 18, 3)):  # of five blocks, the last one narrower
        monkeypatch.setattr(jit, "host", lambda l2=l2: replace(host(), l2=l2))
        program = make_program(problem, find_lowering("winograd 4"), Packing.PANEL, "jit")
        assert isinstance(program, jit.JitProgram)
        (step,) = program.steps
        assert isinstance(step, WinogradPlan)
        assert (step.recipe.packs, step.block.together) == (packs, together)
        y = np.full(g.y_shape, np.nan, np.float32)
        operands = views(problem, {"x": x, "w": w, "y": y})
        program.run(operands, None if packs else program.bind(operands["w"]), 1)
        found.append(y)
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(found[0], found[1])


def test_any_number_of_tiles_gives_the_same_bits() -> None:
    """A last register tile may be smaller than the others: of 49 tiles there are three of 14, and one of 8."""
    x, w = _normal(3, "float32", (1, 40, 4, 4 * 33), (50, 40, 3, 3))
    found: list[tuple[TileBlock, Array]] = []
    for tiles in range(1, 34):
        g = Geometry.of((1, 40, 4, 4 * tiles), w.shape, padding=1)
        program = make_program(Problem.of(g), find_lowering("winograd 4"), Packing.PANEL, "jit")
        assert isinstance(program, jit.JitProgram)
        (step,) = program.steps
        assert isinstance(step, WinogradPlan)
        y = np.full(g.y_shape, np.nan, np.float32)
        operands = views(Problem.of(g), {"x": np.ascontiguousarray(x[..., : 4 * tiles]), "w": w, "y": y})
        program.run(operands, program.bind(operands["w"]), 1)
        found.append((step.block, y))
    widest = found[-1][1]
    assert np.isfinite(widest).all()
    for number, (block, y) in enumerate(found, 1):
        inside = 4 * number - 4  # the last tile reads what is beside the image
        np.testing.assert_array_equal(y[..., :inside], widest[..., :inside])
        assert block.tiles <= block.summed < block.tiles + 2


def test_many_filters_are_read_once() -> None:
    """Where they are more than a third-level cache holds, a block has more tiles than a second-level one."""
    cpu = replace(host(), vector_bytes=64, vector_registers=32, l2=1 << 20, l3=32 << 20)
    for channels, size, rows in ((512, 28, 7), (64, 224, 2)):
        g = Geometry.of((1, channels, size, size), (channels, channels, 3, 3), padding=1)
        problem = Problem.of(g, threads=1)
        (product,) = find_lowering("winograd 4").products(problem)
        step = winograd_plan.plan_transformed(product, dtypes_of(problem), operand_extents(problem), 1, cpu)
        assert isinstance(step, WinogradPlan)
        assert step.block.rows == rows
