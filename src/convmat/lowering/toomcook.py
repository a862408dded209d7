"""The matrices of fast correlation, derived exactly from interpolation points.

    y = AT @ ((G @ w) * (BT @ x))        m outputs of a correlation with r taps, from m + r - 1 products

Correlation is the transpose of polynomial multiplication: two polynomials of degrees m-1 and r-1 are evaluated at
m + r - 2 finite points and at infinity, multiplied there, and their product is interpolated. AT evaluates the one,
G the other, and BT is interpolation transposed.
Toom 1963; Cook 1966; Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast algorithms for
convolutional neural networks", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

from ..lazy_dataclass import dataclass
from ..processes import kept_property
from ..product import Matrix

POINTS = {
    1: "0",
    2: "1",
    3: "0 1",
    4: "2/5 5/4",
    5: "0 2/3 3/2",
    6: "1/4 4/5 5/3",
    7: "0 1/2 1 2",
    8: "1/4 2/3 5/4 2",
    9: "0 2/5 4/5 5/4 5/2",
}
"""For each number of finite points those that amplify rounding least, each but 0 with both its signs.

Up to three they are whole, and little but signs is multiplied by. From four on all sets of 21 fractions from 1/4 to 4
were tried, for the tiles of this table; beside what the points amplify by stands what 0, 2/3, 3/2, 1/3, 3 do, in
this order:

    F(4,3)  F(2,5)  F(3,5)  F(4,5)  F(6,3)  F(2,7)  F(3,7)  F(4,7)
     2.18    2.31    3.17    4.37    4.54    4.98    7.33   10.05
     2.18    2.31    5.34   10.33   10.86   12.21   11.61   13.24
"""


@dataclass(frozen=True)
class FastCorrelation:
    """AT (m, t), G (t, r), BT (t, t) with t = m + r - 1."""

    AT: Matrix
    G: Matrix
    BT: Matrix

    @property
    def m(self) -> int:
        """Outputs of a tile."""
        return len(self.AT)

    @property
    def r(self) -> int:
        """Taps."""
        return len(self.G[0])

    @property
    def t(self) -> int:
        """Products, and inputs of a tile."""
        return len(self.BT)

    @kept_property
    def amplification(self) -> float:
        """How much larger than the outputs, in the mean over independent zero-mean data, the products' terms are.

        1 would be the definition's own: r terms, none larger than what they add up to.
        """
        sizes = [_sum_squares(g) * _sum_squares(b) for g, b in zip(self.G, self.BT, strict=True)]
        total = sum(
            float(weight) ** 2 * size for row in self.AT for weight, size in zip(row, sizes, strict=True)
        )
        return math.sqrt(total / (self.m * self.r))


@lru_cache(maxsize=64)
def fast_correlation(m: int, r: int, points: tuple[Fraction, ...] | None = None) -> FastCorrelation:
    """F(m, r) at m + r - 2 distinct finite points (by default those of POINTS) and infinity.

    Raises ValueError if there are too few.

    >>> f = fast_correlation(2, 3)
    >>> w, x = [1, 2, 3], [1, -1, 2, 5]
    >>> products = [sum(a * b for a, b in zip(g, w)) * sum(a * b for a, b in zip(b, x)) for g, b in zip(f.G, f.BT)]
    >>> [int(sum(a * b for a, b in zip(row, products))) for row in f.AT]
    [5, 18]
    """
    count = m + r - 2
    finite = _first_points(count) if points is None else points
    if m < 1 or r < 1 or len(set(finite[:count])) < count:
        raise ValueError(f"F({m}, {r}) needs {count} distinct points, got {len(set(finite[:count]))}")
    finite = finite[:count]
    infinity = Fraction(1)
    AT = tuple((*(p**i for p in finite), infinity if i == m - 1 else Fraction(0)) for i in range(m))
    G = []
    BT = []
    for j, p in enumerate(finite):
        others = [q for i, q in enumerate(finite) if i != j]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        G.append(tuple(p**i / scale for i in range(r)))
        BT.append((*_product(others), Fraction(0)))
    G.append((*([Fraction(0)] * (r - 1)), infinity))
    BT.append(tuple(_product(finite)))
    return FastCorrelation(AT, tuple(G), tuple(BT))


def _first_points(count: int) -> tuple[Fraction, ...]:
    """The first points of POINTS, as many as are asked for."""
    sizes = [Fraction(each) for each in POINTS.get(count, "").split()]
    return tuple(sign * size for size in sizes for sign in ((1, -1) if size else (1,)))


def _sum_squares(row: Iterable[Fraction]) -> float:
    """In floating point: of fractions most of a first plan's time would go into common denominators."""
    return sum(float(v) ** 2 for v in row)


def _product(roots: tuple[Fraction, ...] | list[Fraction]) -> list[Fraction]:
    """The coefficients of (x - root) (x - root) .., lowest power first."""
    made = [Fraction(1)]
    for root in roots:
        made = [a - root * b for a, b in zip([Fraction(0), *made], [*made, Fraction(0)], strict=True)]
    return made


__all__ = ["FastCorrelation", "fast_correlation"]
