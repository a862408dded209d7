"""Fused packing: panels in groups, while one of which is multiplied, x is asked for of the next."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.engine.kernels.panel import plan as panel_plan
from convmat.geometry import Geometry
from convmat.problem import Problem
from tests.engine.drawn import programs, views
from tests.support import defined

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")

LAYERS = [
    ((1, 300, 31, 33), (20, 300, 1, 1), {}),
    ((2, 600, 17, 31), (20, 600, 1, 1), {}),
    ((1, 300, 33, 30), (20, 300, 1, 1), {"padding": -1}),
    ((1, 300, 31, 33), (7, 300, 1, 1), {}),
]
"""x, w and options: last panels that are not whole; k in parts, of two images; lines that are apart; one block of A."""


def pointwise(problem: Problem) -> Any:
    """The program of the lowering whose panels x has as they are."""
    return dict(programs(problem))["pointwise"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("x", "w", "options"), LAYERS)
def test_answers_are_the_definitions(x: Any, w: Any, options: dict[str, Any], threads: int) -> None:
    g = Geometry.of(x, w, **options)
    problem = Problem.of(g, threads=threads, reuse_weights=False)
    program = pointwise(problem)
    (step,) = program.steps
    assert step.recipe.fuses_packing
    assert threads > 1 or step.words["group"] < step.words["nc"]
    random = np.random.default_rng(0)
    first, filters = (random.integers(-4, 5, shape).astype("float32") for shape in (x, w))
    out = np.full(g.y_shape, np.nan, "float32")
    program.run(views(problem, {"x": first, "w": filters, "y": out}), None, threads)
    np.testing.assert_array_equal(out, defined(first, filters, g))


def test_one_task_has_all_columns_and_memory_for_a_group() -> None:
    few, many = (pointwise(Problem.of(Geometry.of((1, 256, n, 56), (64, 256, 1, 1)))) for n in (28, 112))
    assert [p.steps[0].tasks for p in (few, many)] == [1, 1]
    assert few.workspace == many.workspace < 256 << 10


def test_a_large_a_is_read_for_as_many_panels_as_a_cache_holds() -> None:
    small, large = (
        pointwise(Problem.of(Geometry.of((1, 256, 56, 56), (O, 256, 1, 1)))).steps[0] for O in (64, 1024)
    )
    assert large.words["group"] > small.words["group"]


@pytest.mark.parametrize(("shape", "charged"), [((1, 128, 9, 29), False), ((1, 64, 29, 29), True)])
def test_panels_read_in_place_are_charged_no_packing(shape: tuple[int, ...], charged: bool) -> None:
    """With packing made dear, only those that are packed are cut by columns alone."""
    g = Geometry.of(shape, (256, shape[1], 3, 3), padding=1)

    def shares() -> tuple[int, int]:
        way = dict(programs(Problem.of(g, threads=2)))["im2col"]
        return way.steps[0].words["nc"], way.steps[0].words["mc"]

    before = shares()
    with mock.patch.object(panel_plan, "PACK", 1e6):
        assert (shares() != before) == charged
