"""dots: each output is the dot product of two lines, of which there are few and long ones.

    y[b, g, o, p] = sum over c, f of  w[g, o, c, f] * x[b, g, c, p*s + f*d - lo]        F >= P, few b and o

im2col's product, its sum in strands side by side: term f goes to strand f mod n, n a constant of the element type, and
the strands are added up at the end. So the lanes of a vector lie along the sum, where an output or two could not fill
them; both arrays are read in place. The weight gradient of a depthwise layer is this: dy, long as a map, is its filter,
images are its channels, and each group has as many outputs as the layer has taps. So is a matrix times one column, each
element of which is read once, whatever the way.
Strands of a sum: Higham, "Accuracy and stability of numerical algorithms", 2002, 4.2.
"""

from __future__ import annotations

import math

from ..geometry import Geometry
from ..problem import Problem
from ..product import Packing, Product
from .base import Lowering, Part

PAIRS = 8
"""Images times outputs of a group: of more, a matrix product reads each element less often, if it has columns."""

MOST = 1024
"""Positions of the output: each is a sum of its own."""


class Dots(Lowering):
    """One or two axes, filters of as many positions as the output or more: few a group, or one column."""

    name = "dots"
    summary = "each output the dot product of two long lines, summed in strands"
    source = "Higham 2002, 4.2"
    packings = (Packing.NOTHING,)

    def refuses(self, problem: Problem) -> str | None:
        """Integers, which other ways sum as quickly; the rest is for each phase to say."""
        if problem.integral:
            return f"sums in strands of floating-point numbers, got {problem.dtype}"
        return super().refuses(problem)

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """Short filters, many outputs, and what a matrix product is for."""
        g = geometry
        if g.rank > 2:
            return f"takes one or two spatial axes, got {g.rank}"
        pairs = g.B * (g.O // g.G)
        if pairs > PAIRS and g.B * math.prod(g.P) > 1:
            return f"takes up to {PAIRS} pairs of an image and a filter a group, got {pairs:,}"
        if math.prod(g.P) > min(math.prod(g.F), MOST):
            return (
                f"needs a filter of as many positions as the output, which has up to {MOST:,}: "
                f"got {'x'.join(map(str, g.F))} and {'x'.join(map(str, g.P))}"
            )
        return None

    def roundings(self, problem: Problem) -> float:
        """Roundings of a strand's sum, about, and of adding the strands up."""
        return problem.geometry.k / STRANDS + math.log2(STRANDS)

    def product(self, part: Part) -> Product:
        """(O, C*F) @ (C*F, B*P) of one group, its sums in strands."""
        g, m, n, k = part.batch, part.index("o"), part.columns, part.index("c") + part.axes("f")
        return Product(
            ((part.w(m, k, g), part.x(k, n, g)),), part.y(m, n, g), part.epilogue(m, n, g), strands=True
        )


STRANDS = 8
"""Strands of a sum, at least."""
