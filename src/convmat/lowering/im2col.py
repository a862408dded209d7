"""im2col: every window becomes a column.

    A[o, (c, f)]       = w[o, c, f]                    (m, k) = (O, C*F)
    U[(c, f), (b, p)]  = x[b, c, p*s + f*d - lo]       (k, n) = (C*F, B*P)
    y[b, o, p]         = (A @ U)[o, (b, p)]

Shown for one group and one axis; further axes: f and p count in C order. Stored whole, U costs k*n elements; a panel
of columns at a time costs what a cache holds, and the sums are the same.
Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing", 2006.
"""

from __future__ import annotations

from ..product import Packing, Product
from .base import Lowering, Part


class Im2col(Lowering):
    """One product a phase; refuses nothing, so a plan always exists."""

    name = "im2col"
    summary = "every window becomes a column"
    source = "Chellapilla, Puri, Simard 2006"
    counts = True
    resizable = True
    packings: tuple[Packing, ...] = (Packing.NOTHING, Packing.PANEL, Packing.WHOLE)

    def product(self, part: Part) -> Product:
        """(O, C*F) @ (C*F, B*P), batched over the groups; few rows of phases of a kind lie below each other."""
        (g, m), n, k = part.rows, part.columns, part.depth
        return Product(((part.w(m, k, g), part.x(k, n, g)),), part.y(m, n, g), part.epilogue(m, n, g))
