"""Each lowering's products by the formulas alone are the definition: what it writes is right, whoever multiplies."""

from __future__ import annotations

import numpy as np
import pytest

from convmat.cases import case
from convmat.geometry import Geometry
from convmat.lowering import ALL, Lowering, find_lowering
from convmat.problem import Problem
from convmat.product import Coordinate, Index, View
from tests.lowering.formulas import computed, entries
from tests.support import PASSES, operands, problem_of

NAMES = (
    "1d/3/tail", "2d/1x1/tail", "2d/3x3/tail", "2d/depthwise/tail", "2d/grouped/tail", "2d/asymmetric/tail",
    "2d/dilated/tail", "2d/transposed-gaps/tail",
)  # fmt: skip


def dtype_of(lowering: Lowering) -> str:
    """The widest element type that it takes."""
    return "float32" if lowering.name == "bfloat16" else "float64"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lowering", ALL, ids=lambda each: each.name)
def test_the_products_are_the_definition(lowering: Lowering, name: str) -> None:
    for direction in PASSES:
        problem = problem_of(case(name), dtype_of(lowering), "NHWC", direction)
        if lowering.refuses(problem) is None:
            first, second, expected = operands(case(name), dtype_of(lowering), "NHWC", direction)
            y = computed(lowering.products(problem), problem, first, second)
            if lowering.exact:
                np.testing.assert_array_equal(y, expected)
            else:
                np.testing.assert_allclose(y, expected, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize("lowering", ALL, ids=lambda each: each.name)
def test_it_takes_one_of_these(lowering: Lowering) -> None:
    problems = [
        problem_of(case(name), dtype_of(lowering), direction=each) for name in NAMES for each in PASSES
    ]
    assert [problem for problem in problems if lowering.refuses(problem) is None]


def test_a_view_worked_by_hand() -> None:
    """Windows of three over four elements, one of nothing before: a zero where they begin, none where they end."""
    at = Coordinate(4, (("p", 1), ("f", 1)), -1)
    view = View("x", (Index("f", 3),), (Index("p", 3),), (at,))
    unrolled = entries(view, {"x": np.array([1.0, 2.0, 3.0, 4.0])})
    assert unrolled.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert (view.inside, view.risky, view.reach(at)) == (False, (0,), (-1, 3))
    assert view.outside == pytest.approx(1 / 9)


def test_roundings_of_phases_are_those_of_their_filters() -> None:
    """Seven taps in phases of four and three: tiles of six are there for these, and for no filter of seven."""
    whole = Problem.of(Geometry.of((1, 16, 40, 40), (16, 16, 7, 3), stride=(2, 1), padding=(3, 1)))
    part = Problem.of(Geometry.of((1, 16, 40, 40), (16, 16, 4, 3)))
    way = find_lowering("winograd 6")
    assert way.roundings(whole.grad_input()) == way.roundings(part)
