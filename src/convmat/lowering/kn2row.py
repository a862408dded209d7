"""kn2row: one product per filter position, shifted and added.

    y[b, :, p] = sum over f of  W_f @ x[b, :, p*s + f*d - lo]        W_f[o, c] = w[o, c, f]

Each tap's product covers the whole output and reads zeros where its shifted image ends, so the sum needs no corner
cases and the epilogue runs once, after the last tap. Scratch is a panel of C rows, not of C*F.
Vasudevan, Anderson, Gregg, "Parallel multi channel convolution using general matrix multiplication", 2017.
"""

from __future__ import annotations

import itertools

from ..geometry import Geometry
from ..product import Packing, Product
from .base import Lowering, Part

MOST_TAPS = 256
"""Each tap is a product of its own: beyond this, planning and calling cost more than multiplying."""


class Kn2row(Lowering):
    """As many terms as the filter has positions, each (O, C) @ (C, B*P)."""

    name = "kn2row"
    summary = "one product per filter position, shifted and added"
    source = "Vasudevan, Anderson, Gregg 2017"
    adds = True
    packings = (Packing.PANEL,)

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """Single positions (nothing to add up) and thousands of them."""
        taps = geometry.k // max(geometry.C // geometry.G, 1)
        if taps == 1:
            return "needs more than one filter position: with one it is the pointwise product"
        if taps > MOST_TAPS:
            return f"makes a product of each filter position, at most {MOST_TAPS}, got {taps}"
        return None

    def product(self, part: Part) -> Product:
        """One term a tap."""
        g, m, n, k = part.batch, part.index("o"), part.columns, part.index("c")
        positions = itertools.product(*(range(f.extent) for f in part.axes("f")))
        names = [f.name for f in part.axes("f")]
        terms = tuple(
            (part.w(m, k, g, taps), part.x(k, n, g, taps))
            for taps in (dict(zip(names, position, strict=True)) for position in positions)
        )
        return Product(terms, part.y(m, n, g), part.epilogue(m, n, g))
