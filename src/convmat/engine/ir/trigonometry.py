"""Sine, cosine, tangent and their inverses, within 4 ulp for every float; float32 is taken in float64.

    sin, cos, tan    x = n * pi/2 + r, |r| <= pi/4; the series of sine and cosine at r, by n modulo 4
    asin(x)          x + x^3 * p(x^2) up to 1/2;  above, pi/2 - 2 * asin(sqrt((1 - x) / 2))
    acos(x)          pi/2 - asin(x) up to 1/2;    above, 2 * asin(sqrt((1 - x) / 2))
    atan(x)          c + atan(u), u + u^3 * p(u^2):   u = x, (x - 1) / (x + 1) or -1 / x;  c = 0, pi/4 or pi/2

Up to 2^28, n * pi/2 is taken away in two parts. Beyond, x = m * 2^s with an integer m, and of m * (2/pi) * 2^s only
what is left of multiples of 4 counts: an integer product of m and 96 bits of 2/pi from place s on (Payne, Hanek, 1983).
Sine, cosine and tangent are for float32 alone: float64 would need 1,200 bits of 2/pi.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import factorial, inf, nan, pi

import numpy as np

from .. import fitting
from ..fitting import ONE, fit_polynomial, over, split_float, times
from ..gaussian import scale_to_unit
from .emitter import Function
from .formulas import by_double, formula
from .gaussian import polynomial
from .instructions import (
    Value,
    all_lanes,
    bitcast,
    const,
    copysign,
    equal,
    f32,
    f64,
    fabs,
    fma,
    fpext,
    fptrunc,
    greater,
    i32,
    i64,
    less,
    lshr,
    select,
    shl,
    sitofp,
    xor,
    zext,
)
from .instructions import sqrt as square_root

NEAR = 2.0**28
"""Up to here the multiple of pi/2 is found in float64."""

ROUNDING = 1.5 * 2.0**52
"""Added to a smaller number, it leaves that as an integer in the lowest bits."""

WORDS = 7
"""Words of 32 bits of 2/pi: for s up to 104, and 96 bits from there."""

SINE = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(1, 7))
COSINE = tuple((-1.0) ** k / factorial(2 * k) for k in range(2, 8))
"""Coefficients of r^3, r^5, .. and r^4, r^6, ..: what is left out is below 2^-36."""


def _quarter_turns(x: Value) -> tuple[Value, Value]:
    """n in the lowest bits of integers, and r in float64; x: float32."""
    wide = fpext(x, to=f64)
    shifted = fma(wide, 2 / pi, const(wide.type, ROUNDING))
    n = shifted - ROUNDING
    high, low = _two_parts(2)
    r = fma(n, -low, fma(n, -high, wide))
    turns = bitcast(shifted, to=i64)
    near = fabs(wide) < NEAR
    home = x.home
    assert isinstance(home, Function)
    with home.if_(xor(all_lanes(near) if near.type.lanes else near, 1), default=[turns, r]) as branch:
        far = _far_turns(x)
        branch.carry(select(near, turns, far[0]), select(near, r, far[1]))
    return branch.results[0], branch.results[1]


def _far_turns(x: Value) -> tuple[Value, Value]:
    """The same for |x| >= NEAR, in integers."""
    bits = zext(bitcast(x, to=i32) & 0x7FFFFFFF, to=i64)
    m = (bits & 0x7FFFFF) | 0x800000
    place = lshr(bits, 23) - 152  # of the first bit of 2/pi whose product with m is below 4
    at, shift = lshr(place, 5), place & 31
    bits_of = over(2 * ONE, fitting.pi())
    words = [bits_of >> (fitting.BITS - 32 * (i + 1)) & 0xFFFFFFFF for i in range(WORDS)]
    picked = [_pick(at, words[i:]) for i in range(4)]
    window = [lshr(shl(shl(a, 32) | b, shift), 32) for a, b in pairwise(picked)]
    turn = shl(m * window[0], 32) + m * window[1] + lshr(m * window[2], 32)  # 2^64 are four quarters
    quarters = lshr(turn + (1 << 61), 62)
    r = sitofp(turn - shl(quarters, 62), to=f64) * (pi / 2 / 2.0**62)
    negative = less(bitcast(x, to=i32), 0)
    return select(negative, -quarters, quarters), select(negative, -r, r)


def _pick(at: Value, words: Sequence[int]) -> Value:
    """words[at], one of the first four."""
    found = const(at.type, words[3])
    for i in (2, 1, 0):
        found = select(equal(at, i), const(at.type, words[i]), found)
    return found


def _series(r: Value) -> tuple[Value, Value]:
    """Sine and cosine of r, |r| <= pi/4."""
    z = r * r
    sine = fma(r * z, polynomial(SINE, z), r)
    cosine = fma(z * z, polynomial(COSINE, z), fma(z, -0.5, const(r.type, 1.0)))
    return sine, cosine


def _ending(x: Value, y: Value) -> Value:
    """y as float32; NaN where x is infinite or NaN."""
    return select(fabs(x) < inf, fptrunc(y, to=f32), const(x.type, nan))


def _wave(x: Value, ahead: int) -> Value:
    n, r = _quarter_turns(x)
    sine, cosine = _series(r)
    n = n + ahead
    found = select(equal(n & 1, 0), sine, cosine)
    return _ending(x, select(equal(n & 2, 0), found, -found))


@formula(np.sin, single=True)
def sin(x: Value) -> Value:
    """The sine."""
    return _wave(x, 0)


@formula(np.cos, single=True)
def cos(x: Value) -> Value:
    """The cosine."""
    return _wave(x, 1)


@formula(np.tan, single=True)
def tan(x: Value) -> Value:
    """The tangent."""
    n, r = _quarter_turns(x)
    sine, cosine = _series(r)
    even = equal(n & 1, 0)
    return _ending(x, select(even, sine, -cosine) / select(even, cosine, sine))


# ---- inverses --------------------------------------------------------------------------------------------------------


def _powers(coefficient: Callable[[int], tuple[int, int]]) -> Callable[[int], int]:
    """The series of the products of ratios `coefficient(n)` times powers of z, which begins with 1."""

    def series(z: int) -> int:
        total, term, n = 0, ONE, 0
        while abs(term) > 1:
            total, n = total + term, n + 1
            above, below = coefficient(n)
            term = times(term, z) * above // below
        return total

    return series


@lru_cache(maxsize=1)
def _arcsine() -> tuple[float, ...]:
    """(asin(x) - x) / x^3 for z = x^2 <= 1/4."""
    # asin(x) / x = sum of a(n) z^n, a(n) / a(n-1) = (2n-1)^2 / (2n (2n+1)); its first terms: 1 + z/6
    series = _powers(lambda n: ((2 * n + 1) ** 2, (2 * n + 2) * (2 * n + 3)))
    return fit_polynomial(lambda z: series(z) // 6, 0.0, 0.25, 12)


BEND = 2**0.5 - 1
"""tan(pi/8)."""


@lru_cache(maxsize=1)
def _arctangent() -> tuple[float, ...]:
    """(atan(u) - u) / u^3 for z = u^2 <= BEND^2: the sum of -(-z)^n / (2n + 3)."""

    def series(z: int) -> int:
        total, power, n = 0, -ONE, 0
        while abs(power) > 1:
            total, power, n = total + power // (2 * n + 3), -times(power, z), n + 1
        return total

    return fit_polynomial(series, 0.0, BEND * BEND * 1.01, 11)


def _two_parts(parts: int) -> tuple[float, float]:
    """pi / parts, and what the float lacks."""
    return split_float(fitting.pi() // parts, single=False)


def _arcsine_near(x: Value) -> Value:
    """x^3 * p(x^2), |x| <= 1/2: what asin(x) is beyond x."""
    z = x * x
    a, b = scale_to_unit(0.0, 0.25)
    return x * (z * polynomial(_arcsine(), fma(z, a, const(x.type, b))))


@formula(np.arcsin)
@by_double
def asin(x: Value) -> Value:
    """The inverse of sine, |x| <= 1; NaN beyond."""
    size = fabs(x)
    small = size <= 0.5
    s = square_root((const(x.type, 1.0) - size) * 0.5)
    argument = select(small, size, s)
    beyond = _arcsine_near(argument)
    high, low = _two_parts(2)
    far = const(x.type, high) - ((s + beyond) * 2.0 - low)
    return copysign(select(small, size + beyond, far), x)


@formula(np.arccos)
@by_double
def acos(x: Value) -> Value:
    """The inverse of cosine, |x| <= 1; NaN beyond."""
    size = fabs(x)
    small = size <= 0.5
    s = square_root((const(x.type, 1.0) - size) * 0.5)
    argument = select(small, x, s)
    beyond = _arcsine_near(argument)
    high, low = _two_parts(2)
    near = const(x.type, high) - (x - (const(x.type, low) - beyond))
    far = (s + beyond) * 2.0
    whole, rest = _two_parts(1)
    return select(small, near, select(greater(x, 0.0), far, const(x.type, whole) - (far - rest)))


@formula(np.arctan)
@by_double
def atan(x: Value) -> Value:
    """The inverse of tangent."""
    size = fabs(x)
    far, middle = size > 1 / BEND, size > BEND
    zero, one = const(x.type, 0.0), const(x.type, 1.0)
    above = select(far, -one, select(middle, size - 1.0, size))
    below = select(far, size, select(middle, size + 1.0, one))
    (half, half_lacks), (quarter, quarter_lacks) = _two_parts(2), _two_parts(4)
    base = select(far, const(x.type, half), select(middle, const(x.type, quarter), zero))
    lacks = select(far, const(x.type, half_lacks), select(middle, const(x.type, quarter_lacks), zero))
    u = above / below
    z = u * u
    a, b = scale_to_unit(0.0, BEND * BEND * 1.01)
    cubic = u * (z * polynomial(_arctangent(), fma(z, a, const(x.type, b))))
    return copysign(base + (u + (cubic + lacks)), x)
