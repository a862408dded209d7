"""The error function and GELU for vectors, within 4 ulp for every float; the formulas stand in `engine.gaussian`.

An exponential of a square needs the square's rounding error, 2^-24 of 100 being many units in the last place of e^-100:
products come as two numbers, the rounded one and what it lacks (Dekker, 1971).
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import gaussian
from . import exponential
from .exponential import exp_reduced, scale
from .formulas import formula
from .instructions import Value, bitcast, const, copysign, f32, fabs, fma, i32, i64, maximum, minimum, select


def polynomial(coefficients: Sequence[float], u: Value) -> Value:
    """The sum of coefficients[i] * u^i.

    Of many, those of high powers are added up apart for even and odd i, side by side: that waits half as long.
    """
    low, high = (
        (coefficients[:LOW], coefficients[LOW:]) if len(coefficients) > 2 * LOW else ((), coefficients)
    )
    if not low:
        return _add_powers(high[:-1], u, const(u.type, high[-1]))
    square = u * u
    even, odd = (_add_powers(part[:-1], square, const(u.type, part[-1])) for part in (high[::2], high[1::2]))
    return _add_powers(low, u, fma(odd, u, even))


LOW = 3
"""Coefficients whose terms are large: they are added last, one after the other, and rounded as seldom as may be."""


def _add_powers(coefficients: Sequence[float], u: Value, found: Value) -> Value:
    """The sum of coefficients[i] * u^i, and `found` times the next power."""
    for coefficient in coefficients[::-1]:
        found = fma(found, u, const(u.type, coefficient))
    return found


def _halves(a: Value) -> tuple[Value, Value]:
    """a = upper + lower, both of so few bits that products of them are exact."""
    single = a.type.scalar is f32
    bits = bitcast(a, to=i32 if single else i64) & (-(1 << 12) if single else -(1 << 27))
    upper = bitcast(bits, to=a.type.scalar)
    return upper, a - upper


def product(a: Value, b: Value) -> tuple[Value, Value]:
    """a * b, rounded, and what that lacks."""
    rounded = a * b
    home = a.home or b.home
    if home is not None and home.fused:
        return rounded, fma(a, b, -rounded)
    (c, d), (e, f) = _halves(a), _halves(b)
    return rounded, c * e - rounded + c * f + d * e + d * f


def _missing(a: Value, b: Value) -> Value:
    """1 - a * b, where that is little."""
    home = a.home or b.home
    if home is not None and home.fused:
        return fma(-a, b, const(a.type, 1.0))
    near, lost = product(a, b)
    return const(a.type, 1.0) - near - lost


@formula(gaussian.erf)
def erf(x: Value) -> Value:
    """The error function: odd, and exact to the last bits near 0."""
    of = gaussian.constants(x.type.scalar.bytes)
    (a, b), (c, d) = (
        gaussian.scale_to_unit(0.0, gaussian.NEAR**2),
        gaussian.scale_to_unit(gaussian.NEAR, of.whole),
    )
    size = minimum(const(x.type, of.whole), fabs(x))
    near = size * polynomial(of.near, fma(size * size, a, const(x.type, b)))
    far = minimum(const(x.type, 1.0), polynomial(of.far, fma(size, c, const(x.type, d))))
    return copysign(select(size < gaussian.NEAR, near, far), x)


@formula(gaussian.gelu)
def gelu(x: Value) -> Value:
    """x * Phi(x)."""
    of = gaussian.constants(x.type.scalar.bytes)
    factor, summand = gaussian.scale_to_unit(*of.reciprocals)
    v = minimum(const(x.type, of.nothing), fabs(x))
    below = v + of.middle
    inverse = const(x.type, 1.0) / below
    left_out = v - (below - of.middle)
    lacking = fma(-left_out, inverse, _missing(below, inverse))  # of the true inverse, its share
    h = polynomial(of.tail, fma(inverse, factor, const(x.type, summand))) * inverse
    square, rest = product(v, v)
    exact = exponential.constants(x.type.kind)
    minus_one, n = exp_reduced(square * -0.5, exact, fma(rest, -0.5, lacking))
    left = v * h
    return maximum(const(x.type, 0.0), x) - scale(fma(left, minus_one, left), n, exact)


@formula(gaussian.gelu_tanh)
def gelu_tanh(x: Value) -> Value:
    """x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2."""
    of = gaussian.constants(x.type.scalar.bytes)
    v = minimum(const(x.type, of.tanh_nothing), fabs(x))
    (one, one_lacks), (high, high_lacks) = of.linear, of.cubic
    square, rest = product(v, v)
    cubic, lost = product(square, const(x.type, high))
    total = cubic + one
    carried = total - cubic
    lost = lost + rest * high + (one - carried) + (cubic - (total - carried))
    lost = lost + fma(square, const(x.type, high_lacks), const(x.type, one_lacks))
    z, rest = product(v, total)
    exact = exponential.constants(x.type.kind)
    minus_one, n = exp_reduced(-z, exact, -fma(v, lost, rest))
    a = minus_one + 1.0
    share = v * a / (scale(a, n, exact) + 1.0)
    return maximum(const(x.type, 0.0), x) - scale(share, n, exact)
