"""The exponential and its descendants as polynomials: a few instructions a vector, no call, within 4 ulp everywhere.

    e^x       x = n*ln2 + r with |r| <= ln2/2;   e^x = 2^n * (1 + r + r^2 * q(r))
    sigmoid   1 / (1 + e) with e = e^-x; where that leads below the normal range (c / (1 + c*e)), c a small power of two
    tanh      with m = e^(2|x|) - 1:   m / (m + 2), and the sign of x
    expm1     2^n * (e^r - 1) + (2^n - 1)
    cosh      with E = e^|x| / 2:   E + 1/(4E);   sinh  E - 1/(4E), below 1 (m + m / (m + 1)) / 2 with m = expm1 |x|
    mish      x * tanh(log(1 + e^x)) = x * m / (m + 2) with m = e^x * (e^x + 2)
    silu      x * sigmoid(x)

q is not stored: it is derived here, in rational numbers, from (e^r - 1 - r) / r^2 = sum of r^k / (k + 2)!.
A series that is long enough is cut one term at a time; each time, the multiple of the Chebyshev polynomial
(scaled to |r| <= ln2/2) that cancels the leading term is taken away, which spreads the error evenly over the
interval (Lanczos, 1938): a cut costs 2^degree times less than dropping the term would.

2^n is two factors of half the exponent, so that results below the normal range are rounded once, by the
last product. n itself is never converted: a constant is added that leaves n in the lowest bits of the
float, from where a shift moves it into the exponent. AVX-512 has one instruction for a factor 2^n of any size.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import factorial

import numpy as np

from ...lazy_dataclass import dataclass
from .formulas import by_double, formula
from .instructions import (
    Value,
    bitcast,
    const,
    copysign,
    f32,
    fabs,
    fma,
    i32,
    i64,
    maximum,
    minimum,
    select,
)
from .powers_of_two import scale_by_power

# 2 * atanh(1/3), by its series
LN2 = 2 * sum((Fraction(1, (2 * k + 1) * 3 ** (2 * k + 1)) for k in range(45)), Fraction(0))


def economise(series: list[Fraction], width: Fraction, degree: int) -> list[Fraction]:
    """The series (coefficients of r^0, r^1, ...) cut to `degree`, its error spread over |r| <= width.

    r^2 = (1 + T2(r)) / 2, and the constant that is nearest to it on |r| <= 1 is 1/2:

    >>> economise([Fraction(0), Fraction(0), Fraction(1)], Fraction(1), 0)
    [Fraction(1, 2)]
    """
    series = list(series)
    while len(series) > degree + 1:
        top = len(series) - 1
        before, chebyshev = [Fraction(1)], [Fraction(0), Fraction(1)]
        for _ in range(top - 1):  # T(k+1) = 2*t*T(k) - T(k-1)
            doubled = [Fraction(0), *(2 * c for c in chebyshev)]
            before += [Fraction(0)] * 2
            before, chebyshev = chebyshev, [c - d for c, d in zip(doubled, before, strict=True)]
        scaled = [c / width**k for k, c in enumerate(chebyshev)]
        factor = series[top] / scaled[top]
        series = [c - factor * t for c, t in zip(series[:top], scaled[:top], strict=True)]
    return series


@dataclass(frozen=True)
class ExponentialConstants:
    """What differs between f32 and f64."""

    mantissa: int  # bits after the point
    bias: int  # of the exponent
    ln2_high: float  # so few bits that n * ln2_high is exact
    ln2_low: float  # the rest
    q: tuple[float, ...]  # coefficients of r^0, r^1, ...
    lowest: float  # e^x is 0 below
    highest: float  # and infinite above
    saturated: float  # tanh is 1 above

    @property
    def shift(self) -> float:
        """Added to a small number, it rounds that to an integer n and leaves n + bias in the lowest bits."""
        return 1.5 * 2.0**self.mantissa + self.bias


@lru_cache(maxsize=2)
def constants(kind: str) -> ExponentialConstants:
    """The constants of f32 or f64, derived once.

    >>> len(constants("f32").q), len(constants("f64").q)
    (5, 10)
    """
    # degree: the first whose error is below 1/7 ulp; bits of n: those of the largest exponent with its sign
    mantissa, bias, degree, bits = (23, 127, 4, 9) if kind == "f32" else (52, 1023, 9, 12)
    series = [Fraction(1, factorial(k + 2)) for k in range(degree + 12)]
    # a hair wider than ln2/2, since n comes from a rounded product
    q = economise(series, LN2 / 2 * Fraction(1001, 1000), degree)
    unit = 2 ** (mantissa + 1 - bits)
    high = Fraction(int(LN2 * unit), unit)
    return ExponentialConstants(
        mantissa=mantissa,
        bias=bias,
        ln2_high=float(high),
        ln2_low=float(LN2 - high),
        q=tuple(float(c) for c in q),
        # 2^-(bias + mantissa) is half the smallest denormal; with 12 bits to spare, x * e^x is below it too
        lowest=float(-(bias + mantissa + 12) * LN2),
        highest=float((bias + 2) * LN2),
        saturated=10.0 if kind == "f32" else 20.0,
    )


# ---- the exponential --------------------------------------------------------------------------------------


def _power_of_two(shifted: Value, of: ExponentialConstants) -> Value:
    """2^n where `shifted` is n + shift: the lowest bits, n + bias, are moved to where the exponent is."""
    kind = shifted.type.scalar
    return bitcast(bitcast(shifted, to=i32 if kind is f32 else i64) << of.mantissa, to=kind)


def _reduce(x: Value, of: ExponentialConstants, rest: Value | None = None) -> tuple[Value, Value]:
    """n + shift and e^r - 1, where x = n*ln2 + r; `rest` is what x lacks."""
    shifted, r = _rest(x, of)
    r = r if rest is None else r + rest
    return shifted, fma(r * r, _q(r, of), r)


def _rest(x: Value, of: ExponentialConstants) -> tuple[Value, Value]:
    """n + shift and r, where x = n*ln2 + r."""
    shifted = fma(x, float(1 / LN2), const(x.type, of.shift))
    n = shifted - of.shift
    return shifted, fma(n, -of.ln2_low, fma(n, -of.ln2_high, x))


def _q(r: Value, of: ExponentialConstants) -> Value:
    """q(r)."""
    q: Value = const(r.type, of.q[-1])
    for coefficient in reversed(of.q[:-1]):
        q = fma(q, r, const(r.type, coefficient))
    return q


def exp_in_parts(x: Value, of: ExponentialConstants, rest: Value | None = None) -> tuple[Value, Value, Value]:
    """e^x = (1 + a) * b * c, all of them normal, for lowest <= x <= highest; `rest` is what x lacks."""
    shifted, minus_one = _reduce(x, of, rest)
    n = shifted - of.shift
    half = fma(n, 0.5, const(x.type, of.shift))
    other = n - (half - of.shift) + of.shift
    return minus_one, _power_of_two(half, of), _power_of_two(other, of)


def exp_reduced(x: Value, of: ExponentialConstants, rest: Value | None = None) -> tuple[Value, Value]:
    """a and n, where e^x = (1 + a) * 2^n, for lowest <= x <= highest; `rest` is what x lacks."""
    shifted, minus_one = _reduce(x, of, rest)
    return minus_one, shifted - of.shift


def scale(value: Value, n: Value, of: ExponentialConstants) -> Value:
    """value * 2^n, rounded once, where n is a whole number that leads below the normal range at most."""
    if (made := scale_by_power(value, n)) is not None:
        return made
    half = fma(n, 0.5, const(n.type, of.shift))
    other = n - (half - of.shift) + of.shift
    return value * _power_of_two(half, of) * _power_of_two(other, of)


def _exp_in_two(x: Value, of: ExponentialConstants) -> tuple[Value, Value]:
    """e^x as two factors, each of them normal, for lowest <= x <= highest."""
    a, b, c = exp_in_parts(x, of)
    return (a + 1.0) * b, c


@formula(np.exp)
def exp(x: Value) -> Value:
    """e^x: 0 and infinity where the true value rounds to them."""
    of = constants(x.type.kind)
    # the constant first: of a NaN, minimum and maximum give the second operand
    a, n = exp_reduced(minimum(const(x.type, of.highest), maximum(const(x.type, of.lowest), x)), of)
    return scale(a + 1.0, n, of)


# ---- its descendants --------------------------------------------------------------------------------------


def _logistic(x: Value) -> tuple[Value, Value]:
    """sigmoid(x) = c / d, where c is 1, or a power of two that comes last: it may lead below the normal range.

    d is c * (1 + e^-x), but for the 1 that does not count where c is no 1; infinite where c / d rounds to 0.
    """
    of = constants(x.type.kind)
    k = 2 * of.mantissa + 14
    far = x < float(-(k + of.mantissa + 8) * LN2)
    most, least = float((of.bias + 1 + k) * LN2), float(-2 * of.mantissa * LN2)
    # the constant first: of a NaN, minimum and maximum give the second operand
    shifted, r = _rest(minimum(const(x.type, most), maximum(const(x.type, least), -x)), of)
    power = fma(r, fma(r, _q(r, of), const(x.type, 1.0)), const(x.type, 1.0))
    scaled = _power_of_two(select(far, shifted - float(k), shifted), of)
    one = const(x.type, 1.0)
    return select(far, const(x.type, 2.0**-k), one), fma(scaled, power, one)


@formula(lambda x: 1 / (1 + np.exp(-x)))
def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x), exact to the last bits also where it is tiny."""
    c, d = _logistic(x)
    return const(x.type, 1.0) / d * c


@formula(lambda x: x / (1 + np.exp(-x)))
def silu(x: Value) -> Value:
    """x * sigmoid(x), NaN at minus infinity as in PyTorch."""
    c, d = _logistic(x)
    return x / d * c


@formula(np.tanh)
def tanh(x: Value) -> Value:
    """(e^2x - 1) / (e^2x + 1), for |x| and with the sign of x: no cancellation."""
    of = constants(x.type.kind)
    limited = minimum(const(x.type, of.saturated), fabs(x))
    shifted, minus_one = _reduce(limited + limited, of)
    power = _power_of_two(shifted, of)
    m = fma(power, minus_one, power - 1.0)
    return copysign(m / (m + 2.0), x)


@formula(np.expm1)
def expm1(x: Value) -> Value:
    """e^x - 1, exact to the last bits near 0."""
    of = constants(x.type.kind)
    a, b, c = exp_in_parts(minimum(const(x.type, of.highest), maximum(const(x.type, of.lowest), x)), of)
    power = b * c  # infinite where e^x is not yet, but there 1 is nothing beside it
    large = x > 4.0 * of.saturated
    return copysign(select(large, (a + 1.0) * b * c, fma(power, a, power - 1.0)), x)


def _half_exp(size: Value) -> tuple[Value, Value]:
    """e^size / 2, finite as long as that is, and e^size - 1 for small sizes."""
    of = constants(size.type.kind)
    a, b, c = exp_in_parts(minimum(const(size.type, of.highest), size), of)
    power = b * c
    return (a + 1.0) * (b * 0.5) * c, fma(power, a, power - 1.0)


@formula(np.sinh)
@by_double
def sinh(x: Value) -> Value:
    """(e^x - e^-x) / 2."""
    size = fabs(x)
    half, m = _half_exp(size)
    small = (m + m / (m + 1.0)) * 0.5
    return copysign(select(size < 1.0, small, half - const(x.type, 0.25) / half), x)


@formula(np.cosh)
@by_double
def cosh(x: Value) -> Value:
    """(e^x + e^-x) / 2."""
    half, _ = _half_exp(fabs(x))
    return half + const(x.type, 0.25) / half


@formula(lambda x: x * np.tanh(np.logaddexp(x, 0)))
def mish(x: Value) -> Value:
    """x * tanh(log(1 + e^x)), NaN at minus infinity as in NumPy."""
    of = constants(x.type.kind)
    limited = minimum(const(x.type, of.saturated * 2), maximum(const(x.type, of.lowest), x))
    a, b = _exp_in_two(limited, of)
    power = a * b
    m = power * (power + 2.0)
    # far below 0 it is x * e^x, whose last factor leads below the normal range
    tiny = x * a * select(x < of.lowest, const(x.type, 0.0), b)
    return select(x < -of.saturated * 4, tiny, x * (m / (m + 2.0)))
