"""bfloat16: im2col's product of operands rounded to 16 bits, summed in float32.

    y[b, o, p] = sum over (c, f) of  r(w[o, c, f]) * r(x[b, c, p*s + f*d - lo])          r rounds to 8 binary digits

CPUs with dot products of two such numbers multiply twice as many a second as of float32, and read half the bytes. What
it costs is three digits of float32's seven, so a float32 problem is written this way only where `rtol` allows it;
arrays of bfloat16 lose nothing. The instruction adds two products at once and takes denormals for zero, which is
its own order and not the definition's.
Wang and Kanwar, "BFloat16: the secret to high performance on Cloud TPUs", 2019.
"""

from __future__ import annotations

from dataclasses import replace

from ..problem import Problem
from ..product import Packing, Product
from .base import Part
from .im2col import Im2col

ROUNDOFF, WORK_ROUNDOFF = 2.0**-8, 2.0**-24
"""Unit roundoffs of bfloat16 and of float32."""


class Bfloat16(Im2col):
    """The product of im2col, its operands rounded while they are packed."""

    name = "bfloat16"
    summary = "every window becomes a column, of numbers of 16 bits"
    source = "Wang, Kanwar 2019"
    exact = False
    counts = False
    packings: tuple[Packing, ...] = (Packing.PANEL,)

    def refuses(self, problem: Problem) -> str | None:
        """Other element types, the definition's order of sums, and sums over images, as weight gradients are."""
        if problem.dtype not in ("float32", "bfloat16"):
            return f"rounds float32 to bfloat16, got {problem.dtype}"
        if problem.deterministic:
            return "adds two products at once, in an order of its own"
        if problem.x.dims[0].role != "b":
            return "sums over channels and filters, a weight gradient's sums run over images"
        return super().refuses(problem)

    def rounds_least(self, problem: Problem) -> bool:
        """Arrays of bfloat16 are multiplied as they are."""
        return problem.dtype == "bfloat16"

    def roundings(self, problem: Problem) -> float:
        """Roundings of im2col, and those of both factors of each product, which lose as much as so many sums would."""
        rounded = 4 * (ROUNDOFF / WORK_ROUNDOFF) ** 2 if problem.dtype == "float32" else 0.0
        return problem.geometry.k + rounded

    def product(self, part: Part) -> Product:
        """(O, C*F) @ (C*F, B*P) of rounded operands."""
        return replace(super().product(part), rounded=True)
