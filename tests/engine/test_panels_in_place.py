"""Panels that are read where they lie in x, tap by tap; and A packed by runs, where rows and k change places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.engine.job import WORD
from convmat.engine.kernels.panel.plan import PanelPlan
from convmat.geometry import Geometry
from convmat.problem import Problem
from tests.engine.drawn import programs, views
from tests.support import Array, by_taps, defined

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")

LAYERS = [
    ((2, 130, 9, 13), (140, 130, 3, 3), {"padding": 1}),
    ((1, 128, 7, 29), (128, 128, 1, 5), {"padding": (0, 2)}),
    ((2, 129, 8, 20), (96, 129, 3, 3), {"padding": 2, "dilation": 2}),
    ((2, 128, 5, 25), (128, 128, 3, 3), {"padding": 1, "stride": 2}),
]
"""x, w and options: many channels, windows that often leave x, lines of 8 columns and more."""


def panels(problem: Problem) -> Any:
    """The program in panels of one product."""
    return next(p for name, p in programs(problem) if name == "im2col" and isinstance(p.steps[0], PanelPlan))


def run(program: Any, problem: Problem, x: Array, w: Array) -> Array:
    """What it gives."""
    out = np.full(problem.shape("y"), np.nan, x.dtype)
    program.run(views(problem, {"x": x, "w": w, "y": out}), None, problem.threads)
    return out


def whole(shape: tuple[int, ...], seed: int) -> Array:
    """Whole numbers, whose sums are exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype("float32")


@pytest.mark.parametrize(("x", "w", "options"), LAYERS)
def test_forward_is_the_definition_and_packs_nothing(x: Any, w: Any, options: dict[str, Any]) -> None:
    g = Geometry.of(x, w, **options)
    problem = Problem.of(g, reuse_weights=False)
    program = panels(problem)
    assert program.steps[0].recipe.in_place
    step = program.steps[0]
    assert step.effort.packed == 0
    assert step.words["sums"] < step.words["nc"] * WORD + 128  # scratch has addresses, no panels
    first, filters = whole(x, 0), whole(w, 1)
    np.testing.assert_array_equal(run(program, problem, first, filters), defined(first, filters, g))


def test_short_lines_and_few_channels_are_packed() -> None:
    """Where a panel holds two lines, and where taps have no parts of their own."""
    for x, w in (((2, 128, 7, 7), (128, 128, 3, 3)), ((2, 64, 56, 56), (64, 64, 3, 3))):
        step = panels(Problem.of(Geometry.of(x, w, padding=1))).steps[0]
        assert not step.recipe.in_place
        assert step.effort.packed > 0


@pytest.mark.parametrize(
    "filters", [(20, 33, 3, 3), (130, 9, 5, 5), (17, 40, 1, 1), (16, 5, 1, 7), (40, 3, 11, 11)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_input_gradients_pack_weights_by_runs(filters: tuple[int, ...], dtype: str) -> None:
    """Channels are the rows of A, taps go backwards: runs of all lengths, rows side by side, and gathered ones."""
    g = Geometry.of((2, filters[1], 12, 13), filters, padding=tuple(n // 2 for n in filters[2:]))
    problem = Problem.of(g, dtype, reuse_weights=False).grad_input()
    dy, w = whole(g.y_shape, 0).astype(dtype), whole(filters, 1).astype(dtype)
    expected = by_taps(np.zeros(g.x_shape, dtype), w, dy, g)[1]
    np.testing.assert_array_equal(run(panels(problem), problem, dy, w), expected)
