"""Products of a problem, taken from those of another that differs from it in its batch and spatial extents alone.

    products for (B, I, P)    every b, p and extent of x and y replaced    ->    products for (B', I', P')

Where a lowering's products are Views over (g, o, c, f, b, p) alone, nothing else of them changes but what the order of
sums says. A network that meets a new image size asks for dozens: new extents are put in quicker than all is made anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..product import LEFT_OUT, Coordinate, Index, Order, Product, View

if TYPE_CHECKING:
    from ..geometry import Geometry
    from ..problem import Problem


def extents_key(problem: Problem) -> tuple[Any, ...] | None:
    """What two problems, squeezed, must have in common for this; None for one that is made of phases or parts."""
    g = problem.geometry
    uncut = problem.x.whole and problem.w.whole and problem.y.whole
    if problem.whole is not None or set(g.e) != {1} or not all(g.P) or not uncut:
        return None
    # Steps between the values of an index with one value are nobody's.
    return problem.kind, tuple([n == 1 for n in g.P]), g.leaving, g.outside >= LEFT_OUT


def take_over(products: tuple[Product, ...], problem: Problem) -> tuple[Product, ...]:
    """The products of a problem, squeezed, made of those of one with an equal key."""
    g = problem.geometry
    extents = {"b": g.B, **{f"p{a}": n for a, n in enumerate(g.P)}}
    arrays = {"x": problem.x, "y": problem.y, "residual": problem.y}
    shapes = {name: [dim.extent for dim in layout.dims] for name, layout in arrays.items()}
    order = sum_order(g)
    made = []
    for each in products:
        terms = tuple([(a, _resize(b, extents, shapes, order)) for a, b in each.terms])
        c, epilogue = _resize(each.c, extents, shapes), each.epilogue
        if epilogue.residual is not None:
            epilogue = replace(epilogue, residual=_resize(epilogue.residual, extents, shapes))
        made.append(replace(each, terms=terms, c=c, epilogue=epilogue))
    return tuple(made)


def sum_order(whole: Geometry, steps: tuple[int, ...] | None = None) -> Order:
    """What a whole says of the order of sums; `steps`: between outputs of a phase."""
    apart = tuple([f"f{a}" for a in whole.leaving]) if whole.outside >= LEFT_OUT else ()
    lines = whole.P if steps is None else [-(-p // step) for p, step in zip(whole.P, steps, strict=True)]
    return Order(apart, lines[-1], whole.B * math.prod(lines))


def _resize(
    view: View, extents: Mapping[str, int], shapes: Mapping[str, list[int]], order: Order | None = None
) -> View:
    assert isinstance(view.source, str)
    coordinates = tuple(
        [
            Coordinate(extent, each.terms, each.offset)
            for each, extent in zip(view.coordinates, shapes[view.source], strict=True)
        ]
    )
    rows, cols, batch = (
        tuple([Index(i.name, extents[i.name]) if i.name in extents else i for i in indices])
        for indices in (view.rows, view.cols, view.batch)
    )
    return View(view.source, rows, cols, coordinates, batch, view.fill, view.conjugate, order)


__all__ = ["extents_key", "sum_order", "take_over"]
