"""Polynomials fitted to functions: by interpolation at Chebyshev's points, in numbers of many bits.

    p(u) = f(middle + half * u)        at the degree + 1 points u = cos(pi * (k + 1/2) / (degree + 1))

An interpolation there is within a small factor of the best polynomial of its degree, and takes no search: what a kernel
needs is derived when it is first written, no table is kept. Powers of u, |u| <= 1, are well conditioned where the
function varies little; the caller chooses one that does.

Numbers are integers, BITS of them after the point: `exact_fraction`, `times` and `over` are their arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

BITS = 224
"""After the point: far below what differences of neighbours cancel."""

ONE = 1 << BITS


def exact_fraction(number: float) -> int:
    """A float, exactly.

    >>> exact_fraction(0.5) == ONE // 2
    True
    """
    above, below = number.as_integer_ratio()
    return (above << BITS) // below


def times(a: int, b: int) -> int:
    """a * b."""
    return a * b >> BITS


def over(a: int, b: int) -> int:
    """a / b."""
    return (a << BITS) // b


def root(a: int) -> int:
    """The square root of a.

    >>> root(4 * ONE) // ONE
    2
    """
    return math.isqrt(a << BITS)


@lru_cache(maxsize=1)
def pi() -> int:
    """Machin's formula: pi = 16 atan(1/5) - 4 atan(1/239).

    >>> pi() / ONE
    3.141592653589793
    """

    def atan(n: int) -> int:
        return sum((-1) ** k * ONE // ((2 * k + 1) * n ** (2 * k + 1)) for k in range(BITS // 4))

    return 16 * atan(5) - 4 * atan(239)


def split_float(a: int, single: bool) -> tuple[float, float]:
    """The float (float32 where `single`) nearest to a, and what that lacks.

    >>> split_float(ONE // 3, single=False)
    (0.3333333333333333, 1.850371707708594e-17)
    """
    near = float(np.float32(a / ONE)) if single else a / ONE
    return near, (a - exact_fraction(near)) / ONE


def fit_polynomial(function: Callable[[int], int], low: float, high: float, degree: int) -> tuple[float, ...]:
    """Coefficients of u^0, u^1, ... of the polynomial for x = low + (high - low) * (u + 1) / 2.

    >>> [round(c, 12) for c in fit_polynomial(lambda x: times(x, x), 0.0, 2.0, 3)]
    [1.0, 2.0, 1.0, 0.0]
    """
    points = [exact_fraction(math.cos(math.pi * (k + 0.5) / (degree + 1))) for k in range(degree + 1)]
    middle, half = (
        (exact_fraction(low) + exact_fraction(high)) // 2,
        (exact_fraction(high) - exact_fraction(low)) // 2,
    )
    divided = [function(middle + times(half, u)) for u in points]
    for width in range(1, degree + 1):  # Newton's divided differences
        for at in range(degree, width - 1, -1):
            divided[at] = over(divided[at] - divided[at - 1], points[at] - points[at - width])
    found = [divided[degree]]
    for at in range(degree - 1, -1, -1):  # times (u - point), plus the next
        found = [m - times(points[at], c) for m, c in zip([0, *found], [*found, 0], strict=True)]
        found[0] += divided[at]
    return tuple(c / ONE for c in found)
