"""Products that took new extents over are those that are made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convmat.cases import CASES
from convmat.lowering import ALL, Lowering, base
from convmat.lowering.extents import take_over
from convmat.problem import EpilogueForm, Problem
from convmat.product import Product

RESIZABLE = [each for each in ALL if each.resizable]
EPILOGUE = EpilogueForm(bias=True, residual=True)


def problems(layout: str) -> list[tuple[Problem, Problem]]:
    """Of all named cases and their gradients: a problem, and the same for larger images."""
    found = []
    for case in CASES:
        g = case.geometry
        larger = replace(g, B=g.B + 2, I=tuple(i + 8 * s for i, s in zip(g.I, g.s, strict=True)))
        pairs = [Problem.of(each, x=layout, y=layout, epilogue=EPILOGUE) for each in (g, larger)]
        found += [
            tuple(pairs),
            tuple(each.grad_input() for each in pairs),
            tuple(each.grad_weight() for each in pairs),
        ]
    return [(first, second) for first, second in found]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("lowering", RESIZABLE, ids=lambda each: each.name)
def test_they_are_what_is_made_anew(lowering: Lowering, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Problem] = []

    def note(products: tuple[Product, ...], problem: Problem) -> tuple[Product, ...]:
        taken.append(problem)
        return take_over(products, problem)

    monkeypatch.setattr(base, "take_over", note)
    base._products.cache_clear()
    base._resizable.clear()
    for first, second in problems(layout):
        if lowering.refuses(first) is None and lowering.refuses(second) is None:
            for each in (first, second, first):
                assert lowering.products(each) == base._make_products(lowering, each.squeezed)
    assert len(taken) > 10


def test_an_extent_of_one_is_of_a_kind_of_its_own() -> None:
    """A step that is never taken is not told: what has one output a line says nothing of what has more."""
    case = next(each for each in CASES if each.geometry.rank == 2 and max(each.geometry.s) > 1)
    g = replace(case.geometry, lo=(0, 0), hi=(0, 0))
    one, many = (Problem.of(replace(g, I=tuple(f + n for f in g.F))) for n in (0, 64))
    im2col = next(each for each in RESIZABLE if each.name == "im2col")
    for each in (one, many, one):
        assert im2col.products(each) == base._make_products(im2col, each.squeezed)
