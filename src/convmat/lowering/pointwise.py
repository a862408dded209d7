"""pointwise: with a 1x1 filter the input is the matrix already.

    y[b, :, p] = A @ x[b, :, p*s]          (m, k) = (O, C), (k, n) = (C, P) for each image b

Nothing is duplicated; without a stride nothing is copied either. NHWC arrays are one product for the whole batch.
"""

from __future__ import annotations

from ..geometry import Geometry
from ..product import Packing, Product
from .base import Lowering, Part


class Pointwise(Lowering):
    """The product of a 1x1 convolution without padding."""

    name = "pointwise"
    summary = "a 1x1 filter: the input is the matrix already"
    source = "Lin, Chen, Yan 2013"
    counts = True
    resizable = True
    packings = (Packing.NOTHING, Packing.PANEL)
    spares = ("im2col",)

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """Filters over 1x1 and padding (a product would read outside x)."""
        if any(f != 1 for f in geometry.F):
            return f"needs a 1x1 filter, got {'x'.join(map(str, geometry.F))}"
        g = geometry
        if any(lo > 0 or (p - 1) * s - lo >= i for lo, p, s, i in zip(g.lo, g.P, g.s, g.I, strict=True)):
            return f"needs every output inside the input, got padding {tuple(zip(g.lo, g.hi, strict=True))}"
        return None

    def product(self, part: Part) -> Product:
        """(O, C) @ (C, B*P), batched over the groups."""
        g, m, n, k = part.batch, part.index("o"), part.columns, part.index("c")
        taps = {f.name: 0 for f in part.axes("f")}
        return Product(
            ((part.w(m, k, g, taps), part.x(k, n, g, taps)),), part.y(m, n, g), part.epilogue(m, n, g)
        )
