"""Weight gradients whose taps share one copy of x: the definition's sums, from fewer vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convmat.engine.cpu import host
from convmat.engine.kernels.panel import run_shares
from convmat.engine.kernels.panel.plan import PanelPlan
from convmat.engine.kernels.panel.recipe import Form
from convmat.geometry import Geometry
from convmat.problem import Problem
from tests.engine.drawn import programs, views
from tests.support import Array, gradients

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")

LAYERS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((3, 5, 14, 14), (7, 5, 3, 3), {"padding": 1}),
    ((2, 3, 9, 37), (33, 3, 3, 3), {"padding": ((0, 2), (1, 0))}),
    ((9, 4, 7, 7), (20, 4, 3, 3), {"padding": 1}),
    ((2, 6, 30, 29), (40, 3, 3, 3), {"padding": 1, "groups": 2}),
    ((2, 3, 40, 41), (34, 3, 5, 7), {"padding": (2, 3), "stride": 2}),
    ((2, 3, 30, 33), (16, 3, 2, 3), {"dilation": (3, 2), "padding": (0, 2)}),
    ((1, 2, 600), (3, 2, 5), {"padding": 2}),
    ((1, 2, 1400), (3, 2, 3), {"stride": 2}),
    ((2, 3, 5, 9, 20), (18, 3, 2, 3, 3), {"padding": 1}),
    ((2, 3, 20, 30), (17, 3, 3, 3), {"padding": -1}),
]
"""x, w and options: odd extents, lines over a part of k and far below, all that moves windows."""


SUMS = pytest.mark.parametrize(("x", "w", "options"), LAYERS)


def planned(g: Geometry, dtype: str, threads: int = 1) -> Any:
    """The program of a weight gradient in panels."""
    problem = Problem.of(g, dtype, threads=threads).grad_weight()
    return next(p for name, p in programs(problem) if name == "im2col" and isinstance(p.steps[0], PanelPlan))


def run(program: Any, g: Geometry, x: Array, dy: Array, threads: int = 1) -> Array:
    """What it gives."""
    out = np.full(g.w_shape, np.nan, x.dtype)
    problem = Problem.of(g, x.dtype.name, threads=threads).grad_weight()
    program.run(views(problem, {"x": x, "w": dy, "y": out}), None, threads)
    return out


@SUMS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_are_the_definition(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], dtype: str
) -> None:
    g = Geometry.of(x, w, **options)
    program = planned(g, dtype)
    assert program.steps[0].recipe.windows
    rng = np.random.default_rng(0)
    first, filters, dy = (rng.integers(-4, 5, each).astype(dtype) for each in (x, w, g.y_shape))
    expected = gradients(first, filters, dy, g)[1]
    np.testing.assert_array_equal(run(program, g, first, dy), expected, strict=True)


@SUMS
def test_bits_depend_on_neither_threads_nor_memory(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    g = Geometry.of(x, w, **options)
    rng = np.random.default_rng(0)
    first, dy = (rng.standard_normal(each, dtype=np.float32) for each in (x, g.y_shape))
    expected = run(planned(g, "float32"), g, first, dy)
    np.testing.assert_array_equal(run(planned(g, "float32", 2), g, first, dy, 2), expected)
    monkeypatch.setattr(run_shares, "PANEL_BYTES", 1)
    monkeypatch.setattr(run_shares, "A_BYTES", 1)
    little = planned(g, "float32")
    assert little.steps[0].tasks >= planned(g, "float32").steps[0].tasks
    np.testing.assert_array_equal(run(little, g, first, dy), expected)


def test_a_copy_is_less_than_a_fifth_of_the_panels() -> None:
    """What windows of 3x3 reach, margins and halos included, against a vector for each tap."""
    step = planned(Geometry.of((16, 64, 56, 56), (64, 64, 3, 3), padding=1), "float32").steps[0]
    a = step.product.k * step.product.m // step.recipe.lanes
    b = step.product.k * step.product.n // step.recipe.lanes
    assert (step.effort.packed - a) * 5 < b


def test_one_tap_has_panels_of_its_own() -> None:
    """A single tap, or taps that share nothing, are packed as they are multiplied."""
    alone: list[tuple[tuple[int, ...], Any]] = [((8, 8, 1, 1), 0), ((8, 8, 3, 1), (1, 0))]
    for w, padding in alone:
        g = Geometry.of((2, 8, 20, 20), w, padding=padding)
        assert planned(g, "float32").steps[0].recipe.windows is None


def test_lines_of_a_that_are_read_in_place_are_not_counted_as_packed() -> None:
    """Channels last, where dy lies as it is multiplied: x alone is packed."""
    g = Geometry.of((2, 8, 20, 20), (16, 8, 3, 3), padding=1)
    problem = Problem.of(g, x="NHWC", y="NHWC", threads=1).grad_weight()
    (step,) = next(
        p for name, p in programs(problem) if name == "im2col" and isinstance(p.steps[0], PanelPlan)
    ).steps
    assert step.recipe.form is Form.OUTER
    assert step.effort.packed == step.product.k * -(-step.product.n // step.recipe.lanes)
