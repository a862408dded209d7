"""The error function and GELU for vectors, within 4 ulp for every float; the formulas stand in `engine.gaussian`.

An exponential of a square needs the square's rounding error, 2^-24 of 100 being many units in the last place of e^-100:
products come as two numbers, the rounded one and what it lacks (Dekker, 1971).
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import gaussian
from . import exponential
from .exponential import exp_in_parts
from .formulas import formula
from .instructions import Value, bitcast, const, copysign, f32, fabs, fma, i32, i64, maximum, minimum, select


def polynomial(coefficients: Sequence[float], u: Value) -> Value:
    """The sum of coefficients[i] * u^i."""
    found: Value = const(u.type, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
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
    near, lost = product(below, inverse)
    lacking = (
        const(x.type, 1.0) - near - lost - (v - (below - of.middle)) * inverse
    )  # of the true inverse, its share
    h = polynomial(of.tail, fma(inverse, factor, const(x.type, summand))) * inverse
    square, rest = product(v, v)
    minus_one, b, c = exp_in_parts(
        square * -0.5, exponential.constants(x.type.kind), fma(rest, -0.5, lacking)
    )
    left = v * h
    return fma(-(fma(left, minus_one, left) * b), c, maximum(const(x.type, 0.0), x))


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
    minus_one, b, c = exp_in_parts(-z, exponential.constants(x.type.kind), -fma(v, lost, rest))
    a = (minus_one + 1.0) * b
    return fma(-(v * a / fma(a, c, const(x.type, 1.0))), c, maximum(const(x.type, 0.0), x))
