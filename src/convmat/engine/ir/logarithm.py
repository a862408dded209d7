"""The logarithm and what is made of it: log1p and the inverse hyperbolic functions, within 4 ulp for every float.

    log(x)      x = 2^k * m, sqrt(1/2) <= m < sqrt(2);   f = m - 1, s = f / (2 + f):   log(m) = 2 * atanh(s)
    log1p(x)    log(u) + c / u, where u = 1 + x is rounded and c is what it lacks
    asinh(x)    log1p(t + t^2 / (1 + sqrt(t^2 + 1)))          t = |x|, and the sign of x
    acosh(x)    log1p(t + sqrt(2t + t^2))                     t = x - 1
    atanh(x)    log1p(2t / (1 - t)) / 2                       t = |x|, and the sign of x
    softplus    max(x, 0) + log1p(e^-|x|)

2 * atanh(s) = 2s + s * R(s^2) is taken as f - (f^2/2 - s * (f^2/2 + R)), in which only R is rounded to any effect.
float32 is taken in float64 and rounded once. Tang, "Table-driven implementation of the logarithm function", 1990, for
the first step; R is fitted here.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import inf, nan, sqrt

import numpy as np

from ..fitting import ONE, fit_polynomial, times
from ..gaussian import scale_to_unit
from .exponential import LN2, exp
from .formulas import by_double, formula, greatest
from .gaussian import polynomial
from .instructions import Value, bitcast, const, copysign, equal, f64, fabs, i64, lshr, select
from .instructions import sqrt as root

WIDEST = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
"""The largest s^2."""

DEGREE = 7
"""Degree of R(z) / z: the first whose error is below 1/8 ulp of float64."""

ROOT_HALF = int(np.float64(sqrt(0.5)).view(np.int64))
MANTISSA, BIAS = 52, 1023
LN2_HIGH = float(int(LN2 * 2**32)) / 2**32
"""So few bits that k times it is exact."""
LN2_LOW = float(LN2 - Fraction(LN2_HIGH))
LARGE = 2.0**28
"""From here on 1 is nothing beside x^2."""


@lru_cache(maxsize=1)
def _coefficients() -> tuple[float, ...]:
    """R(z) / z = sum over n of 2 z^n / (2n + 3), 0 <= z <= WIDEST."""

    def series(z: int) -> int:
        total, power, n = 0, ONE, 0
        while power > 1:
            total, power, n = total + 2 * power // (2 * n + 3), times(power, z), n + 1
        return total

    return fit_polynomial(series, 0.0, WIDEST, DEGREE)


def _log(u: Value, rest: Value | None = None, more: Value | None = None) -> Value:
    """log(u) + rest + more * log(2) for normal u > 0, all float64."""
    bits = bitcast(u, to=i64) + ((BIAS << MANTISSA) - ROOT_HALF)
    # a small integer in the lowest bits of 2^52 is that many more than it
    k = bitcast(lshr(bits, MANTISSA) | (1075 << MANTISSA), to=f64) - (2.0**MANTISSA + BIAS)
    k = k if more is None else k + more
    f = bitcast((bits & ((1 << MANTISSA) - 1)) + ROOT_HALF, to=f64) - 1.0
    s = f / (f + 2.0)
    z, half = s * s, f * f * 0.5
    a, b = scale_to_unit(0.0, WIDEST)
    r = z * polynomial(_coefficients(), z * a + b)
    low = k * LN2_LOW if rest is None else k * LN2_LOW + rest
    return k * LN2_HIGH + (f - (half - (s * (half + r) + low)))


def _log_of_one_and(x: Value, large: Value | None = None) -> Value:
    """log(1 + x) for -1 < x < infinity; where `large`, log(2x)."""
    u = x + 1.0
    added = u - 1.0
    lacks = (const(u.type, 1.0) - (u - added)) + (x - added)
    if large is None:
        return _log(u, lacks / u)
    zero = const(u.type, 0.0)
    return _log(select(large, x, u), select(large, zero, lacks / u), select(large, const(u.type, 1.0), zero))


@formula(np.log)
@by_double
def log(x: Value) -> Value:
    """The natural logarithm: minus infinity at 0, NaN below."""
    small = x < float(np.finfo(np.float64).smallest_normal)
    u = select(small, x * 2.0**54, x)
    found = _log(u, None, select(small, const(x.type, -54.0), const(x.type, 0.0)))
    found = select(x > 0.0, found, select(equal(x, 0.0), const(x.type, -inf), const(x.type, nan)))
    return select(equal(x, inf), x, found)


@formula(np.log1p)
@by_double
def log1p(x: Value) -> Value:
    """log(1 + x), exact to the last bits near 0."""
    found = copysign(_log_of_one_and(x), x)
    found = select(x > -1.0, found, select(equal(x, -1.0), const(x.type, -inf), const(x.type, nan)))
    return select(equal(x, inf), x, found)


@formula(np.arcsinh)
@by_double
def asinh(x: Value) -> Value:
    """The inverse of sinh."""
    size = fabs(x)
    large, square = size > LARGE, size * size
    argument = size + square / (root(square + 1.0) + 1.0)
    found = copysign(_log_of_one_and(select(large, size, argument), large), x)
    return select(size < inf, found, x)


@formula(np.arccosh)
@by_double
def acosh(x: Value) -> Value:
    """The inverse of cosh, x >= 1; NaN below."""
    t, large = x - 1.0, x > LARGE
    argument = t + root(t + t + t * t)
    found = _log_of_one_and(select(large, x, argument), large)
    return select(x >= 1.0, select(x < inf, found, x), const(x.type, nan))


@formula(np.arctanh)
@by_double
def atanh(x: Value) -> Value:
    """The inverse of tanh, |x| <= 1; NaN beyond."""
    size = fabs(x)
    found = _log_of_one_and((size + size) / (const(x.type, 1.0) - size)) * 0.5
    found = select(size < 1.0, found, select(equal(size, 1.0), const(x.type, inf), const(x.type, nan)))
    return copysign(found, x)


@formula(lambda x: np.logaddexp(x, 0))
def softplus(x: Value) -> Value:
    """log(1 + e^x), e^x far below 0."""
    return greatest(x, const(x.type, 0.0)) + log1p(exp(-fabs(x)))
