"""What each way of taking the product costs, by its idea alone: elements held beside x, w and y, and FLOPs.

Read from the lowerings' own Products. The engines' buffers, tiles and threads are the plan's business; here a panel
is as wide as the reader makes it. web/lowering/all.js computes the same numbers in the page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmat.geometry import Geometry
from convmat.lowering import ALL
from convmat.problem import Problem
from convmat.product import Index, Packing, Product, View, count_values


@dataclass(frozen=True)
class WayCost:
    """One way: its name in the pictures, the reason if it refuses, elements stored and FLOPs."""

    name: str
    refusal: str | None
    stored: int = 0
    flops: int = 0


def way_name(lowering: str, packing: Packing) -> str:
    """What the pictures call a lowering with what it stores: im2col has a name for each way of storing.

    >>> way_name("im2col", Packing.PANEL), way_name("mec", Packing.WHOLE)
    ('panels', 'mec')
    """
    return _IM2COL[packing] if lowering == "im2col" else lowering


_IM2COL = {Packing.NOTHING: "direct", Packing.PANEL: "panels", Packing.WHOLE: "im2col"}


def list_costs(g: Geometry, panel: int) -> tuple[WayCost, ...]:
    """Every way of a geometry, with panels of `panel` columns; of several packings the one that stores least.

    >>> found = {way.name: way for way in list_costs(Geometry.of((1, 3, 3, 3), (1, 3, 2, 2)), 2)}
    >>> found["im2col"].stored, found["panels"].stored, found["mec"].stored, found["kn2row"].stored
    (48, 24, 36, 6)
    >>> found["pointwise"].refusal
    'needs a 1x1 filter, got 2x2'
    """
    problem = Problem.of(g)
    found: dict[str, WayCost] = {}
    for lowering in ALL:
        reason = lowering.refuses(problem)
        products = lowering.products(problem) if reason is None else ()
        for packing in lowering.packings:
            stored = max((_count_stored(p, packing, panel) for p in products), default=0)
            cost = WayCost(way_name(lowering.name, packing), reason, stored, sum(p.flops for p in products))
            if cost.name not in found or stored < found[cost.name].stored:
                found[cost.name] = cost
    return tuple(found.values())


def _count_stored(product: Product, packing: Packing, panel: int) -> int:
    """Elements held at the same time: of the second operand, and of the first where it is not w."""
    nested = next((b.source for _, b in product.terms if isinstance(b.source, View)), None)
    if nested is not None:
        return count_values(nested.rows) * count_values(nested.cols)
    if packing is Packing.NOTHING:
        return 0
    if packing is Packing.PANEL:
        columns = max((count_values(b.rows) for _, b in product.terms), default=0) * min(product.n, panel)
        if not product.transforms:
            return columns
        # A panel at every point; and the transformed weights of all groups, which are others than those of w.
        points = math.prod(transform.points for transform in product.transforms)
        return points * columns + product.batch * product.m * product.k
    return sum(count_values(_moving(b)) for _, b in product.terms)


def _moving(view: View) -> tuple[Index, ...]:
    """The indices along which a View moves: phases of a kind read the same of x, which is stored once."""
    moved = {name for coordinate in view.coordinates for name, _ in coordinate.terms}
    return tuple(index for index in view.indices if index.name in moved)
