"""Powers and remainders of float32, in float64: rounded once, so within one unit in the last place.

pow(x, y)     e^(y * log|x|), its sign that of x where y is an odd integer
fmod(x, y)    what is left of |x| once multiples of |y| are taken away, each exactly; the sign of x
"""

from __future__ import annotations

from math import inf, nan

from .emitter import Function
from .exponential import exp
from .instructions import (
    Value,
    all_lanes,
    and_,
    const,
    copysign,
    equal,
    f32,
    f64,
    fabs,
    floor,
    fma,
    fpext,
    fptrunc,
    not_equal,
    or_,
    rint,
    select,
    xor,
)
from .logarithm import log

EXACT = 50
"""Bits of a quotient: the multiple that is taken away is then exact in a fused multiply-add."""


def power(x: Value, y: Value) -> Value:
    """x ** y, as C and NumPy have it for zeros, infinities and NaN."""
    x, y = fpext(x, to=f64), fpext(y, to=f64)
    one, size = const(x.type, 1.0), fabs(x)
    found = exp.emit(y * log.emit(size))
    whole = equal(rint(y), y)
    odd = and_(whole, not_equal(rint(y * 0.5), y * 0.5))
    found = select(and_(odd, copysign(one, x) < 0.0), -found, found)
    # e^(y log x) of a negative x, but for minus infinity, whose powers are 0 or infinite
    found = select(and_(and_(x < 0.0, x > -inf), xor(whole, 1)), const(x.type, nan), found)
    ones = or_(equal(y, 0.0), or_(equal(x, 1.0), and_(equal(size, 1.0), equal(fabs(y), inf))))
    return fptrunc(select(ones, one, found), to=f32)


def _reduce(rest: Value, step: Value) -> Value:
    """rest modulo step, for a quotient of up to EXACT bits."""
    left = fma(-floor(rest / step), step, rest)
    left = select(left < 0.0, left + step, left)  # the quotient was rounded up to an integer
    return select(left < step, left, left - step)


def _fmod(x: Value, y: Value) -> Value:
    """Remainder of float32 numbers, in float64."""
    rest, step = fabs(x), fabs(y)
    many = rest >= step * 2.0**EXACT
    home = x.home or y.home
    assert isinstance(home, Function)
    few = xor(many, 1)
    with home.if_(xor(all_lanes(few) if few.type.lanes else few, 1), default=[rest]) as branch:
        left = rest
        for bits in range(5 * EXACT, 0, -EXACT):  # quotients of float32 numbers have 278 bits
            left = _reduce(left, step * 2.0**bits)
        branch.carry(select(many, left, rest))
    found = _reduce(branch.results[0], step)
    found = select(and_(equal(step, inf), fabs(x) < inf), fabs(x), found)
    return copysign(found, x)


def fmod(x: Value, y: Value) -> Value:
    """The remainder with the sign of x; NaN for y = 0 and infinite x."""
    return fptrunc(_fmod(fpext(x, to=f64), fpext(y, to=f64)), to=f32)


def remainder(x: Value, y: Value) -> Value:
    """The remainder with the sign of y, as Python has it."""
    x, y = fpext(x, to=f64), fpext(y, to=f64)
    left, zero = _fmod(x, y), const(x.type, 0.0)
    apart = and_(not_equal(left, 0.0), xor(left < 0.0, y < 0.0))
    found = select(apart, left + y, left)
    return fptrunc(select(equal(left, 0.0), copysign(zero, y), found), to=f32)


__all__ = ["fmod", "power", "remainder"]
