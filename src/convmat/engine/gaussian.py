"""The error function and GELU: polynomials, and what they mean to NumPy.

    erf(x)       x * p(x^2) below 3/2; above, p(|x|) with the sign of x; 1 from `whole` on
    tail(v)      = 1 - Phi(v) = e^(-v^2/2) * w * h(w),   w = 1 / (v + k),   v >= 0
    gelu(x)      = x * Phi(x) = max(x, 0) - |x| * tail(|x|)
    gelu_tanh(x) = x * (1 + tanh(u)) / 2 = max(x, 0) - |x| / (1 + e^(2|u|)),   u = sqrt(2/pi) * (x + 0.044715 x^3)

Nothing cancels in the last two, so that what is left far below 0 keeps its digits; at minus infinity both are 0, their
limit. Hendrycks, Gimpel, "Gaussian error linear units", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lazy_dataclass import dataclass
from .fitting import ONE, exact_fraction, fit_polynomial, over, pi, root, split_float, times

Array = npt.NDArray[Any]

NEAR = 1.5
"""Below, the error function is taken as x times an even polynomial."""

CUBE = 0.044715
"""Coefficient of x^3 in GELU's tanh formula."""


@dataclass(frozen=True)
class GaussianConstants:
    """What differs between float32 and float64; polynomials in u, |u| <= 1, by rising powers."""

    whole: float  # erf is 1 above
    near: tuple[float, ...]  # erf(x) / x for x^2 = NEAR^2 * (u + 1) / 2
    far: tuple[float, ...]  # erf(x) for NEAR <= x <= whole
    nothing: float  # x * tail(x) is 0 above
    middle: float  # k
    tail: tuple[float, ...]  # h(w)
    tanh_nothing: float  # gelu_tanh(-x) is 0 above
    linear: tuple[float, float]  # 2u = linear * x + cubic * x^3; each a float and what it lacks
    cubic: tuple[float, float]

    @property
    def reciprocals(self) -> tuple[float, float]:
        """The interval of w."""
        return 1 / (self.nothing + self.middle), 1 / self.middle


def scale_to_unit(low: float, high: float) -> tuple[float, float]:
    """Factor and summand that take low .. high to -1 .. 1."""
    return 2 / (high - low), -(high + low) / (high - low)


@lru_cache(maxsize=2)
def constants(itemsize: int) -> GaussianConstants:
    """Constants of float32 (4 bytes) or float64, fitted once.

    >>> len(constants(4).tail), len(constants(8).tail)
    (14, 29)
    """
    single = itemsize == 4
    whole, nothing, k = (3.93, 14.6, 1.5) if single else (5.93, 39.0, 2.0)
    near, far, tail = (8, 12, 13) if single else (14, 32, 28)  # the first whose error is below 1/4 ulp

    linear = root(over(8 * ONE, pi()))

    def scale_weight(w: int) -> int:
        return over(_mills(over(ONE, w) - exact_fraction(k)), 2 * w)

    return GaussianConstants(
        whole,
        fit_polynomial(_erf_ratio, 0.0, NEAR * NEAR, near),
        fit_polynomial(lambda x: times(x, _erf_ratio(times(x, x))), NEAR, whole, far),
        nothing,
        k,
        fit_polynomial(scale_weight, 1 / (nothing + k), 1 / k, tail),
        11.0 if single else 22.0,
        split_float(linear, single),
        split_float(times(linear, exact_fraction(CUBE)), single),
    )


# ---- the functions in many bits --------------------------------------------------------------------------------------


def _series(first: int, following: Callable[[int, int], int]) -> Iterator[int]:
    """first, following(1, first), ... until terms are nothing."""
    n, term = 0, first
    while abs(term) > 1:  # cut downwards, negative ones do not get to 0
        yield term
        n += 1
        term = following(n, term)


def _erf_ratio(s: int) -> int:
    """erf(x) / x for s = x^2: 2/sqrt(pi) times the sum of (-s)^n / (n! (2n + 1))."""
    terms = _series(ONE, lambda n, term: -times(term, s) // n)
    return times(over(2 * ONE, root(pi())), sum(t // (2 * n + 1) for n, t in enumerate(terms)))


def _mills(v: int) -> int:
    """2 (1 - Phi(v)) e^(v^2/2): by the series of Phi near 0, by a continued fraction further out."""
    factor, square = root(over(2 * ONE, pi())), times(v, v)
    if v < 5 * ONE:
        power = sum(_series(ONE, lambda n, term: times(term, square) // (2 * n)))
        return power - times(factor, sum(_series(v, lambda n, term: times(term, square) // (2 * n + 1))))
    below = 0
    for n in range(200, 0, -1):
        below = over(n * ONE, v + below)
    return over(factor, v + below)


# ---- on arrays -------------------------------------------------------------------------------------------------------


def _horner(coefficients: tuple[float, ...], u: Array, out: Array) -> Array:
    out[...] = coefficients[-1]
    for c in coefficients[-2::-1]:
        np.multiply(out, u, out=out)
        np.add(out, c, out=out)
    return out


def erf(x: Array) -> Array:
    """The error function of floats of any size.

    >>> erf(np.array([-np.inf, 0.0, 0.5]))
    array([-1.        ,  0.        ,  0.52049988])
    """
    x = np.asarray(x)
    of, size = constants(min(x.itemsize, 8)), np.abs(x)
    (a, b), (c, d) = scale_to_unit(0.0, NEAR * NEAR), scale_to_unit(NEAR, of.whole)
    limited = np.minimum(size, x.dtype.type(of.whole))
    near = _horner(of.near, np.minimum(limited, x.dtype.type(NEAR)) ** 2 * a + b, np.empty_like(x)) * x
    far = _horner(of.far, limited * c + d, np.empty_like(x))
    return np.asarray(np.where(size < NEAR, near, np.copysign(np.minimum(far, 1), x)))


def gelu(x: Array) -> Array:
    """x times the normal distribution up to x.

    >>> gelu(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 0.        , 0.84134475])
    """
    y = np.array(x)
    gelu_into(y, *(np.empty_like(y) for _ in range(3)))
    return y


def gelu_tanh(x: Array) -> Array:
    """The same by its usual formula with a hyperbolic tangent.

    >>> gelu_tanh(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 0.        , 0.84119199])
    """
    y = np.array(x)
    gelu_tanh_into(y, *(np.empty_like(y) for _ in range(3)))
    return y


def gelu_into(x: Array, v: Array, t: Array, h: Array) -> None:
    """Replace x by its gelu; v, t and h are room, of x's shape and dtype."""
    of = constants(min(x.itemsize, 8))
    a, b = scale_to_unit(*of.reciprocals)
    np.abs(x, out=v)
    np.minimum(v, of.nothing, out=v)
    np.add(v, of.middle, out=t)
    np.divide(a, t, out=t)
    np.add(t, b, out=t)
    _horner(of.tail, t, h)
    np.multiply(h, v, out=h)
    np.add(v, of.middle, out=t)
    np.divide(h, t, out=h)
    np.square(v, out=v)
    np.multiply(v, -0.5, out=v)
    np.exp(v, out=v)
    np.multiply(h, v, out=h)
    np.maximum(x, 0, out=v)
    np.subtract(v, h, out=x)


def gelu_tanh_into(x: Array, v: Array, t: Array, h: Array) -> None:
    """Replace x by its gelu_tanh; v, t and h are room, of x's shape and dtype."""
    of = constants(min(x.itemsize, 8))
    np.abs(x, out=v)
    np.minimum(v, of.tanh_nothing, out=v)
    np.square(v, out=t)
    np.multiply(t, of.cubic[0], out=t)
    np.add(t, of.linear[0], out=t)
    np.multiply(t, v, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)  # that of a positive number would overflow
    np.multiply(v, t, out=v)
    np.add(t, 1, out=t)
    np.divide(v, t, out=v)
    np.maximum(x, 0, out=t)
    np.subtract(t, v, out=x)
