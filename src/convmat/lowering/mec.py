"""mec: lower the columns only; windows of neighbouring output rows overlap in memory.

    L[q, i, f, c] = x[c, i, q*s1 + f*d1 - lo1]                       one image; i runs over the padded rows
    y[o, r, q]    = sum over j, f, c of  w[o, c, j, f] * L[q, r*s0 + j, f, c]

For each q the elements behind output row r are one run of F0*F1*C elements, beginning s0*F1*C after the run of row
r - 1. So the product of a row reads L in place: U is smaller by F0/s0 and the windows' overlap along the first
axis is never copied. With more axes, all but the first are lowered.
Cho and Brand, "MEC: memory-efficient convolution for deep neural network", 2017.
"""

from __future__ import annotations

from ..geometry import Geometry
from ..product import Coordinate, Index, Packing, Product, View
from .base import Lowering, Part


class Mec(Lowering):
    """One product a phase whose second operand is a View of a View: L, packed whole for one image and group."""

    name = "mec"
    summary = "lower all axes but the first; its windows overlap in place"
    source = "Cho, Brand 2017"
    packings = (Packing.WHOLE,)

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """One spatial axis, nothing to overlap, or windows that are not one run."""
        g = geometry
        if g.rank < 2:
            return "needs two spatial axes or more: the first one stays as it is, got 1"
        if g.F[0] < 2:
            return f"needs a filter of two rows or more to overlap, got {g.F[0]}"
        if g.d[0] != 1:
            return (
                f"needs dilation 1 on the first spatial axis (a window's rows must be one run), got {g.d[0]}"
            )
        if 0 in g.F or 0 in g.x_shape:
            return f"needs elements to lower, got filter {g.F} and input {g.x_shape}"
        return None

    def product(self, part: Part) -> Product:
        """(O, F0*F1*C) @ (F0*F1*C, P1) for each output row, in place in L."""
        geometry = part.geometry
        g, m, n, c = part.batch, part.index("o"), part.columns, part.index("c")
        taps, pixels = part.axes("f"), part.axes("p")
        k = taps + c
        rows = (geometry.P[0] - 1) * geometry.s[0] + geometry.F[0]
        # L is the unrolled input of a filter with one row and stride 1 along the first axis: p0 counts its rows.
        line = Index("p0", rows)
        full = part.x(k, n, g)
        first = next(a for a, dim in enumerate(part.problem.x.dims) if dim.role == "i0")
        coordinates = list(full.coordinates)
        coordinates[first] = Coordinate(coordinates[first].extent, (("p0", 1),), -geometry.lo[0])
        batch = part.index("b", "g")
        lowered = View(
            "x", pixels[1:], (line, *taps[1:], *c), tuple(coordinates), batch, conjugate=full.conjugate
        )
        stored = tuple(Coordinate(i.extent, ((i.name, 1),)) for i in lowered.indices if i.name != "p0")
        at = len(batch) + len(pixels) - 1
        window = Coordinate(rows, (("p0", geometry.s[0]), ("f0", 1)))
        b = View(lowered, k, n, (*stored[:at], window, *stored[at:]), g)
        return Product(((part.w(m, k, g), b),), part.y(m, n, g), part.epilogue(m, n, g))
