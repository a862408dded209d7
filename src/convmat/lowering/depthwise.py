"""depthwise: one input channel a group, so a product's depth is the filter alone.

    y[b, g, o, p] = sum over f of  w[g, o, f] * x[b, g, p*s + f*d - lo]          m = O//G, k = F, batched over G

Too thin for a matrix product: the lanes of a vector go along pixels or groups, and every tap is one multiplication
and addition of whole images, read in place.
Sifre and Mallat, "Rigid-motion scattering for image classification", 2014, introduced the layer.
"""

from __future__ import annotations

from ..geometry import Geometry
from ..product import Packing, Product
from .base import Lowering, Part


class Depthwise(Lowering):
    """im2col's product where C = G, read in place."""

    name = "depthwise"
    summary = "one channel a group: multiply and add whole images, tap by tap"
    source = "Sifre, Mallat 2014"
    counts = True
    resizable = True
    packings = (Packing.NOTHING,)
    spares = ("im2col",)

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """More than one channel a group."""
        if geometry.C != geometry.G:
            return f"needs one input channel a group, got {geometry.C // geometry.G}"
        return None

    def product(self, part: Part) -> Product:
        """(O//G, F) @ (F, B*P), batched over the groups."""
        g, m, n, k = part.batch, part.index("o"), part.columns, part.index("c") + part.axes("f")
        return Product(((part.w(m, k, g), part.x(k, n, g)),), part.y(m, n, g), part.epilogue(m, n, g))
