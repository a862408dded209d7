"""Taps along rows share a copy of x: the definition's sums, the bits of panels, nothing touched beside arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from convmat.engine import jit
from convmat.engine.cpu import Cpu, host
from convmat.engine.kernels.panel import partition, shared_rows
from convmat.engine.kernels.panel.plan import PanelPlan
from convmat.engine.kernels.panel.shared_rows import SharedRows
from convmat.geometry import Geometry
from convmat.lowering.im2col import Im2col
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation, Packing
from tests.engine.drawn import views
from tests.engine.test_direct import fenced, runs_here
from tests.support import Array, by_taps, dtype_of

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")

KINDS: dict[str, tuple[tuple[int, ...], dict[str, Any], str]] = {
    "lanes along n": ((20, 3, 3, 3), {"padding": 1}, "float32"),
    "lanes along m": ((96, 5, 3, 3), {"padding": 1}, "float32"),
    "no padding": ((9, 4, 3, 3), {}, "float32"),
    "a column of taps": ((33, 6, 7, 1), {}, "float32"),
    "wide padding": ((70, 2, 5, 2), {"padding": ((4, 3), (2, 5))}, "float32"),
    "every third": ((32, 8, 5, 5), {"stride": (1, 3), "padding": ((2, 2), (1, 1))}, "float32"),
    "every fifth": ((17, 3, 2, 3), {"stride": (1, 5), "padding": 1}, "float32"),
    "dilated": ((66, 4, 3, 4), {"dilation": (3, 2), "padding": (3, 2)}, "float32"),
    "groups": ((40, 2, 2, 3), {"groups": 2, "padding": 1}, "float32"),
    "double": ((24, 3, 4, 2), {"padding": 1}, "float64"),
    "half": ((72, 3, 3, 3), {"padding": 1}, "float16"),
    "parts of k": ((65, 90, 3, 3), {"padding": 1}, "float32"),
}
"""w, options and element type: what is constant in a kernel."""


@pytest.fixture(params=["native", "x86-64-v3"])
def cpu(request: pytest.FixtureRequest) -> Cpu:
    """This machine as it is, and as if it had no more than AVX2."""
    return runs_here(request.param)


def program(problem: Problem, cpu: Cpu, threads: int = 1) -> jit.JitProgram:
    """The program in panels."""
    made = jit.prepare(
        Im2col().products(problem), Packing.PANEL, dtypes_of(problem), operand_extents(problem), 0,
        bound=False, threads=threads, cpu=cpu,
    )  # fmt: skip
    assert isinstance(made, jit.JitProgram), made
    return made


def geometries(name: str, count: int) -> list[Geometry]:
    """Geometries of a kind with maps from a few columns to some hundred, which fill panels or do not."""
    w, options, _ = KINDS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    found: list[Geometry] = []
    channels = w[1] * options.get("groups", 1)
    while len(found) < count:
        extents = [int(n) for n in rng.integers(8, 40, 2)]
        found.append(Geometry.of((int(rng.integers(1, 3)), channels, *extents), w, **options))
    return found


def operands(problem: Problem) -> dict[str, Array]:
    """Small whole numbers, all operands of an epilogue, and the result by the definition."""
    g, rng = problem.geometry, np.random.default_rng(7)
    x, w = (rng.integers(-3, 4, shape).astype(float) for shape in (g.x_shape, g.w_shape))
    bias, residual = rng.integers(-3, 4, g.O).astype(float), rng.integers(-3, 4, g.y_shape).astype(float)
    y = np.maximum(by_taps(x, w, None, g)[0] + bias[:, None, None] + residual, 0)
    given, out, work = (dtype_of(each) for each in (problem.dtype, problem.out_dtype, problem.work_dtype))
    return {
        "x": x.astype(given), "w": w.astype(given), "bias": bias.astype(work), "residual": residual.astype(out),
        "y": y.astype(out),
    }  # fmt: skip


EVERYTHING = EpilogueForm(bias=True, residual=True, activation=Activation.of("relu"))


@pytest.mark.parametrize("name", KINDS)
def test_sums_are_the_definition_beside_unreadable_pages(name: str, cpu: Cpu) -> None:
    shared = 0
    for g in geometries(name, 4):
        problem = Problem.of(g, KINDS[name][2], epilogue=EVERYTHING)
        made = program(problem, cpu)
        (step,) = made.steps
        assert isinstance(step, PanelPlan)
        shared += step.recipe.rows is not None
        given = operands(problem)
        for at_end in (True, False):
            np.testing.assert_array_equal(fenced(made, given, at_end=at_end), given["y"], f"{g}, {at_end=}")
    assert shared


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "size"), [("lanes along n", 10_000), ("lanes along m", 12_000), ("parts of k", 120_000)]
)
def test_bits_are_those_of_panels(
    name: str, size: int, threads: int, cpu: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a task's columns are: here a cache holds few of them, so that each has a halo of its own."""
    monkeypatch.setattr(shared_rows, "PANEL_BYTES", size)
    g = geometries(name, 1)[0]
    problem = Problem.of(replace(g, B=2, I=(30, 37)), threads=threads)
    rng = np.random.default_rng(3)
    given = {
        n: rng.standard_normal(s, np.float32) for n, s in (("x", problem.geometry.x_shape), ("w", g.w_shape))
    }
    found = []
    for shares in (True, False):
        if not shares:
            monkeypatch.setattr(SharedRows, "of", classmethod(lambda cls, *_: None))
        made = program(problem, cpu, threads)
        assert (made.steps[0].recipe.rows is not None) == shares
        assert not shares or made.steps[0].tasks > 2
        y = np.full(problem.geometry.y_shape, np.nan, np.float32)
        made.run({**given, "y": y}, None, threads)
        found.append(y.tobytes())
    assert found[0] == found[1]


def test_a_nan_goes_where_the_definition_takes_it(cpu: Cpu) -> None:
    g = Geometry.of((1, 3, 20, 50), (8, 3, 3, 3), padding=1)
    problem = Problem.of(g)
    x, y = np.ones(g.x_shape, np.float32), np.empty(g.y_shape, np.float32)
    x[0, 1, 9, 49], x[0, 2, 0, 0] = np.nan, np.inf
    program(problem, cpu).run({"x": x, "w": np.ones(g.w_shape, np.float32), "y": y}, None, 1)
    odd = np.zeros((20, 50), bool)
    odd[8:11, 48:] = odd[:2, :2] = True
    np.testing.assert_array_equal(~np.isfinite(y[0]), np.broadcast_to(odd, y[0].shape))


def test_phases_without_taps_have_no_copy(cpu: Cpu) -> None:
    """A stride longer than the filter leaves some of an input gradient's elements without a term."""
    g = Geometry.of((1, 9, 12, 20), (10, 9, 2, 2), stride=4)
    problem = Problem.of(g).grad_input()
    dy, w = np.ones(g.y_shape, np.float32), np.ones(g.w_shape, np.float32)
    y = np.full(g.x_shape, np.nan, np.float32)
    program(problem, cpu).run(views(problem, {"x": dy, "w": w, "y": y}), None, 1)
    np.testing.assert_array_equal(y, by_taps(np.zeros(g.x_shape, np.float32), w, dy, g)[1])


def test_long_lines_are_packed_by_panels() -> None:
    """Their halo would be wider than the columns that a cache holds."""
    for width, shared in ((200, True), (5000, False)):
        problem = Problem.of(Geometry.of((1, 64, 20, width), (64, 64, 3, 3), padding=1))
        (step,) = program(problem, host()).steps
        assert (step.recipe.rows is not None) == shared


def test_a_copy_packs_a_third() -> None:
    problem = Problem.of(Geometry.of((1, 64, 56, 56), (64, 64, 3, 3), padding=1))
    (step,) = program(problem, host()).steps
    panels = 56 * 56 // step.recipe.lanes * step.product.k
    assert panels / 3 < step.effort.packed < panels / 2
    assert step.words["scratch size"] < 3 * partition.PANEL_BYTES
