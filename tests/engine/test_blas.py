"""The blas engine beyond what the matrix of small cases reaches: many blocks, parts of sums, weights in place."""

from __future__ import annotations

import itertools
import math
import pickle
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import Plan, lowering
from convmat.cases import CASES, Case, case
from convmat.engine.blas import engine as blas_engine
from convmat.engine.blas import taps
from convmat.engine.blas import threads as blas_threads
from convmat.engine.blas.blockwise import Blockwise
from convmat.engine.measure.machine import machine
from convmat.geometry import Geometry
from convmat.planner import Decision
from convmat.planner import candidates as weighing
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation
from tests.allocations import Allocations
from tests.support import LAYOUTS, PASSES, Array, defined, dtype_of, operands, problem_of

LIMITS = (0, 1000, 4000, 20000)
SOME = [each for each in CASES if each.name.endswith(("/tail", "-0", "deep"))][::3]


def plans(problem: Problem) -> list[Plan]:
    """A plan for each way of the blas engine that multiplies as the definition does, over the limit or not.

    Fourier transforms have tests of their own. Ways of the other engine are not weighed: that takes far longer.
    """
    found, problem = [], replace(problem, exact=True)
    for way in lowering.ALL:
        for packing in way.packings:
            each, program = weighing.weigh_way(problem, way, packing, "blas", machine())
            chosen = weighing.admit(each) if each.beyond else each
            if chosen.cost is not None:
                found.append(Plan(Decision(problem, (chosen,), chosen, forced=True), program))
    return found


def steps(plan: Plan) -> tuple[Any, ...]:
    program = plan.program
    assert isinstance(program, blas_engine.BlasProgram)
    return program.steps


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("each", SOME, ids=str)
def test_small_blocks_give_the_same(each: Case, limit: int, slow: bool) -> None:
    """With --slow all; otherwise layouts, and weights bound or not, in turn, so that every two of these meet."""
    turns = itertools.count(LIMITS.index(limit) + SOME.index(each))
    for turn, (direction, layout) in zip(turns, itertools.product(PASSES, LAYOUTS), strict=False):
        if not slow and turn % 2:
            continue
        first, second, expected = operands(each, "float32", layout, direction)
        problem = replace(problem_of(each, "float32", layout, direction), workspace_limit=limit)
        for bound in (True, False) if slow else (turn % 4 == 0,):
            for plan in plans(replace(problem, reuse_weights=bound)):
                np.testing.assert_array_equal(
                    plan(first, second), expected, f"{plan.chosen.name} {layout} {direction}"
                )


OTHERS = ["float16", "bfloat16", "complex64", "complex128", "int8", "uint8", "float64"]


@pytest.mark.parametrize("dtype", OTHERS)
def test_small_blocks_give_the_same_in_any_type(dtype: str, slow: bool) -> None:
    """A quarter of the cases for each type, in turn."""
    for each, direction in itertools.product(SOME if slow else SOME[OTHERS.index(dtype) % 4 :: 4], PASSES):
        first, second, expected = operands(each, dtype, "NCHW", direction)
        problem = replace(
            problem_of(each, dtype, "NCHW", direction), workspace_limit=2000, reuse_weights=False
        )
        for plan in plans(problem):
            np.testing.assert_array_equal(plan(first, second), expected, f"{plan.chosen.name} {direction}")


def test_a_sum_in_many_parts_and_many_blocks() -> None:
    x, w = (np.ones(shape, np.float32) for shape in ((2, 9, 20, 21), (5, 9, 3, 3)))
    x[..., 3] = 2
    expected = defined(x, w, Geometry.of(x.shape, w.shape, padding=1))
    problem = Problem.of(Geometry.of(x.shape, w.shape, padding=1), workspace_limit=3000, reuse_weights=False)
    seen = set()
    for plan in plans(problem):
        np.testing.assert_array_equal(plan(x, w), expected)
        seen |= {
            (step.blocks.passes > 1, step.blocks.count > 1)
            for step in steps(plan)
            if isinstance(step, Blockwise)
        }
    assert (True, True) in seen


def test_more_blocks_than_are_remembered() -> None:
    g = Geometry.of((1, 2, 64, 40), (3, 2, 3, 3), padding=1)
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, g.x_shape).astype("f4"), rng.integers(-4, 5, g.w_shape).astype("f4")
    (plan,) = [
        p for p in plans(Problem.of(g, workspace_limit=1000)) if p.chosen.name == "im2col, a panel at a time"
    ]
    assert steps(plan)[0].blocks.count > 128
    np.testing.assert_array_equal(plan(x, w), defined(x, w, g))


EPILOGUES = [
    None,
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "silu",
    "gelu",
    "gelu_tanh",
    "hardswish",
    "hardsigmoid",
    ("clip", -1, 5),
]


def activated(name: Any, y: Array) -> Array:
    """The definition of each activation, in float64."""
    if name is None:
        return y
    if isinstance(name, tuple):
        return np.clip(y, -1, 5)
    sigmoid = 1 / (1 + np.exp(-y))
    found = {
        "relu": np.maximum(y, 0),
        "relu6": np.minimum(np.maximum(y, 0), 6),
        "leaky_relu": np.where(y > 0, y, 0.01 * y),
        "sigmoid": sigmoid,
        "tanh": np.tanh(y),
        "silu": y * sigmoid,
        "gelu": y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2,
        "gelu_tanh": y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))) / 2,
        "hardswish": y * np.clip(y / 6 + 0.5, 0, 1),
        "hardsigmoid": np.clip(y / 6 + 0.5, 0, 1),
    }
    return np.asarray(found[str(name)])


WITH_EPILOGUES = ("2d/3x3/tail", "2d/grouped/tail", "2d/depthwise/tail", "2d/1x1/tail")


@cache
def summed(name: str) -> tuple[Array, Array, Array, Array, Array]:
    """x, w, bias, residual of a case, and the sum of the convolution and both."""
    g = case(name).geometry
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(g.x_shape), rng.standard_normal(g.w_shape)
    bias, residual = rng.standard_normal(g.O), rng.standard_normal(g.y_shape)
    return x, w, bias, residual, defined(x, w, g) + bias.reshape(-1, *(1,) * g.rank) + residual


@pytest.mark.parametrize("activation", EPILOGUES, ids=str)
@pytest.mark.parametrize("name", WITH_EPILOGUES)
def test_the_epilogue_runs_once_on_every_block(name: str, activation: Any, slow: bool) -> None:
    """With --slow at each limit; otherwise at one, so that every activation and every case meet all three."""
    g = case(name).geometry
    x, w, bias, residual, y = summed(name)
    epilogue = EpilogueForm(bias=True, residual=True, activation=Activation.of(activation))
    turn = EPILOGUES.index(activation) + WITH_EPILOGUES.index(name)
    for limit in (0, 3000, None) if slow else ((0, 3000, None)[turn % 3],):
        for plan in plans(Problem.of(g, "float64", epilogue=epilogue, workspace_limit=limit)):
            found = plan(x, w, bias, residual=residual)
            np.testing.assert_allclose(found, activated(activation, y), rtol=1e-12, atol=1e-12)
            place = residual.copy()
            assert plan(x, w, bias, residual=place, out=place) is place
            np.testing.assert_array_equal(place, found)


@pytest.mark.parametrize("limit", [0, 2000, 20000, None])
def test_small_blocks_allocate_what_the_plan_says(limit: int | None, slow: bool) -> None:
    """With weights bound or not, in turn; both with --slow."""
    every = itertools.product(SOME[::2], PASSES, (True, False))
    for turn, (each, direction, bound) in enumerate(every):
        if not slow and (turn // 2 + bound) % 2:
            continue
        first, second, _ = operands(each, "float32", "NCHW", direction)
        problem = replace(
            problem_of(each, "float32", "NCHW", direction), workspace_limit=limit, reuse_weights=bound
        )
        for plan in plans(problem):
            out = np.empty(problem.shape("y"), np.float32)
            call = plan.bind(second) if bound else partial(plan, w=second)
            call(first, out=out)
            with Allocations() as made:
                call(first, out=out)
            assert made.peak <= plan.workspace, (plan.chosen.name, str(each), direction, bound)
            assert made.broken == []


PEAK = """
import sys, tracemalloc
import numpy as np
import convmat

for x_shape, w_shape in ((1, 4, 40000), (4, 4, 5)), ((1, 2048, 8, 4), (2, 2048, 3, 3)):
    plan = convmat.plan(x_shape, w_shape, padding="same", engine="blas", workspace_limit=4096)
    bound, x = plan.bind(np.ones(w_shape, np.float32)), np.ones(x_shape, np.float32)
    out = bound(x)
    tracemalloc.start()
    bound(x, out=out)  # what it remembers is made
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    bound(x, out=out)
    print(tracemalloc.get_traced_memory()[1] - before - plan.workspace)
    tracemalloc.stop()
"""


def test_small_blocks_make_few_python_objects() -> None:
    """Blocks and the steps of their sums are made one at a time where they are many: together they took 0.5 MB.

    In a process of its own: the threads of other tests' clusters allocate as well.
    """
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    many_columns, long_sums = map(int, done.stdout.split())
    assert many_columns < 32 << 10
    assert long_sums < 32 << 10


def test_weights_are_read_where_they_lie() -> None:
    for w_shape, groups in (((64, 16, 3, 3), 1), ((64, 16, 1, 1), 1), ((64, 4, 3, 3), 4)):
        plan, bound = (
            convmat.plan(
                (1, 16, 12, 12), w_shape, engine="blas", reuse_weights=reuse, groups=groups, exact=True
            )
            for reuse in (False, True)
        )
        assert plan.weight_bytes == 0
        assert all(step.blocks.sizes["left"] == 0 for step in steps(plan))
        assert bound.weight_bytes == 4 * np.prod(w_shape)


def test_a_weight_gradient_reads_dy_where_it_lies() -> None:
    problem = Problem.of(Geometry.of((4, 8, 40, 40), (8, 8, 3, 3), padding=1)).grad_weight()
    (plan,) = [p for p in plans(problem) if p.chosen.name == "im2col, a panel at a time"]
    (step,) = steps(plan)
    assert step.blocks.sizes["left"] == 0
    assert step.blocks.depths[0].widest == (1, 40, 40)  # parts of the sum: an image each


def test_bound_weights_are_a_snapshot_even_where_they_are_not_packed() -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 1, 1), np.float32)
    for reuse in (True, False):
        bound = convmat.plan(x.shape, w.shape, engine="blas", reuse_weights=reuse).bind(w)
        before = bound(x).copy()
        w *= 3
        np.testing.assert_array_equal(bound(x), before)
        w /= 3


def test_inf_and_nan_pass_without_a_warning() -> None:
    x = np.zeros((1, 1, 4, 4), np.float16)
    x[0, 0, 1, 1], x[0, 0, 2, 2], x[0, 0, 3, 3] = np.inf, np.nan, 60000
    w = np.full((1, 1, 1, 1), 2, np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = convmat.conv(x, w, engine="blas")
    assert np.isinf(y[0, 0, 1, 1])
    assert np.isnan(y[0, 0, 2, 2])
    assert np.isinf(y[0, 0, 3, 3])


# -- threads ----------------------------------------------------------------------------------------------------------


def test_a_bound_is_called_from_several_threads_at_once() -> None:
    g = Geometry.of((2, 8, 30, 30), (8, 8, 3, 3), padding=1)
    rng = np.random.default_rng(2)
    w = rng.integers(-4, 5, g.w_shape).astype("f4")
    inputs = [rng.integers(-4, 5, g.x_shape).astype("f4") for _ in range(4)]
    for plan in plans(Problem.of(g, workspace_limit=50_000)):
        bound = plan.bind(w)
        expected = [bound(x) for x in inputs]
        found: dict[tuple[int, int], Array] = {}

        def work(i: int) -> None:
            for turn in range(5):
                found[i, turn] = bound(inputs[i])  # noqa: B023  # the threads end within the loop

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for (i, _), y in found.items():
            np.testing.assert_array_equal(y, expected[i])


def test_limits_from_several_threads_leave_blas_as_it_was() -> None:
    before = blas_threads.count_threads()
    barrier = threading.Barrier(3)
    seen = []

    def work(threads: int) -> None:
        with blas_threads.limit(threads):
            barrier.wait(10)
            seen.append(blas_threads.count_threads())
            barrier.wait(10)

    workers = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [1, 1, 1]
    assert blas_threads.count_threads() == before


def test_an_error_within_lifts_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    before = blas_threads.count_threads()
    plan = convmat.plan((1, 2, 5, 5), (3, 2, 3, 3), engine="blas", lowering="im2col")

    def interrupted(*_: object) -> None:
        assert blas_threads.count_threads() == 1
        raise KeyboardInterrupt

    for step in steps(plan):
        monkeypatch.setattr(step, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan(np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32))
    assert blas_threads.count_threads() == before


# -- odd sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [
        ((600, 16, 1, 1), (8, 16, 1, 1), {}),  # a large batch of single pixels
        ((1, 700, 3, 3), (700, 1, 3, 3), {"groups": 700, "padding": 1}),
        ((1, 1, 1500), (2, 1, 1000), {"padding": 3}),
        ((1, 3, 40, 40), (2, 3, 16, 16), {"stride": 16}),
        ((2, 1, 9, 9), (4, 1, 1, 1), {}),  # sums of one term: no BLAS
        ((1, 2, 30, 30), (3, 2, 3, 3), {"dilation": 9, "padding": 9}),
        ((3, 2, 5, 5), (1, 2, 5, 5), {}),  # one pixel left
    ],
    ids=str,
)
def test_extents_of_all_proportions(x_shape: Any, w_shape: Any, options: Any) -> None:
    g = Geometry.of(x_shape, w_shape, **options)
    rng = np.random.default_rng(3)
    x, w = rng.integers(-4, 5, g.x_shape).astype("f4"), rng.integers(-4, 5, g.w_shape).astype("f4")
    # Too many taps for the definition's loops: the unrolled input's plain product, in float64.
    cols = convmat.im2col(
        x.astype("f8").reshape(-1, g.C // g.G, *g.I),
        g.F,
        **{k: v for k, v in options.items() if k != "groups"},
    )
    unrolled = cols.reshape(g.k, g.B, g.G, -1).transpose(2, 0, 1, 3).reshape(g.G, g.k, -1)
    expected = (w.reshape(g.G, g.m, g.k).astype("f8") @ unrolled).reshape(g.O, g.B, *g.P).swapaxes(0, 1)
    for limit in (20_000, None):
        for plan in plans(Problem.of(g, workspace_limit=limit)):
            np.testing.assert_array_equal(plan(x, w), expected, plan.chosen.name)


def test_a_transposed_convolution_in_256_phases() -> None:
    x, w = np.ones((1, 2, 4, 4), np.float32), np.ones((2, 3, 16, 16), np.float32)
    y = convmat.conv_transpose(x, w, stride=16, engine="blas")
    np.testing.assert_array_equal(y, np.full((1, 3, 64, 64), 2, np.float32))


def test_thick_products_that_are_no_matrices_are_refused() -> None:
    problem = Problem.of(Geometry.of((1, 64, 9, 9), (128, 64, 1, 1), stride=2))
    found = weighing.weigh(problem, machine()).candidates
    (refused,) = [c for c in found if (c.engine, c.name) == ("blas", "pointwise, in place")]
    assert refused.refusal == (
        "needs a second operand that is a matrix where it lies (for float32 sums), or at most 4,096 products of an "
        "image and a number, got 8,192"
    )
    assert taps.MOST_PASSES == 4096


def test_programs_survive_a_plan_that_is_pickled() -> None:
    x, w = np.ones((1, 2, 9, 9), np.float32), np.ones((3, 2, 3, 3), np.float32)
    for plan in plans(Problem.of(Geometry.of(x.shape, w.shape), workspace_limit=2000)):
        again = pickle.loads(pickle.dumps(plan))
        assert (again.chosen.name, again.workspace) == (plan.chosen.name, plan.workspace)
        np.testing.assert_array_equal(again(x, w), plan(x, w))


def test_memory_is_dtype_deep() -> None:
    """bfloat16, which NumPy knows from elsewhere, is laid over arrays like any other type."""
    x = np.arange(50, dtype=np.float32).reshape(1, 2, 5, 5).astype(dtype_of("bfloat16"))
    w = np.ones((1, 2, 1, 1), dtype_of("bfloat16"))
    y = convmat.conv(x[:, :, ::-1], w, engine="blas")
    np.testing.assert_array_equal(
        y.astype("f4"),
        (x[:, :1, ::-1].astype("f4") + x[:, 1:, ::-1].astype("f4")).astype(x.dtype).astype("f4"),
    )
