"""Activations: functions of one element, each a formula over a block of elements.

An operator is a function of (x, node) -> y. Slopes and limits come from the node's attributes, or from further inputs
(PRelu, Clip).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from .base import Options, Specs, Step, broadcast, given, has, operator, same
from .blocks import blockwise

Formula = Callable[..., Any]


def _activation(*names: str) -> Callable[[Formula], Formula]:
    """Enter a formula: blocks of it are the step, the whole of it is the meaning."""

    def enter(formula: Formula) -> Formula:
        def run(node: Node, x: Array) -> Array:
            return np.asarray(formula(x, node)).astype(x.dtype, copy=False)

        def prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
            return lambda x, out: blockwise(lambda part: formula(part, node), out, x)

        operator(*names, shape=same, prepare=prepare, in_place=True)(run)
        return formula

    return enter


@operator("Relu", shape=same, in_place=True, prepare=lambda *_: lambda x, out: _clip(x, 0, None, out))
def relu(node: Node, x: Array) -> Any:
    """max(x, 0)."""
    return np.maximum(x, 0)


@_activation("LeakyRelu")
def leaky_relu(x: Array, node: Node) -> Any:
    """x, times alpha below 0."""
    return np.where(x < 0, x * node.get("alpha", 0.01), x)


@_activation("ThresholdedRelu")
def thresholded_relu(x: Array, node: Node) -> Any:
    """x above alpha, else 0."""
    return np.where(x > node.get("alpha", 1.0), x, x.dtype.type(0))


@_activation("Sigmoid")
def sigmoid(x: Array, node: Node | None = None) -> Any:
    """1 / (1 + exp(-x)); large -x makes 1 / inf = 0."""
    made = np.exp(np.negative(x))
    np.add(made, 1, out=made)
    return np.reciprocal(made, out=made) if made.ndim else np.reciprocal(made)


@_activation("HardSigmoid")
def hard_sigmoid(x: Array, node: Node) -> Any:
    """alpha x + beta, between 0 and 1."""
    return np.clip(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0, 1)


@_activation("HardSwish")
def hard_swish(x: Array, node: Node) -> Any:
    """x times its hard sigmoid with alpha 1/6, beta 1/2."""
    return x * np.clip(x * (1 / 6) + 0.5, 0, 1)


@_activation("Swish")
def swish(x: Array, node: Node) -> Any:
    """x times the sigmoid of alpha x."""
    return x * sigmoid(x * node.get("alpha", 1.0))


@_activation("Elu")
def elu(x: Array, node: Node) -> Any:
    """x, below 0 alpha (exp(x) - 1)."""
    return np.where(x < 0, node.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)), x)


@_activation("Celu")
def celu(x: Array, node: Node) -> Any:
    """x, below 0 alpha (exp(x / alpha) - 1)."""
    alpha = node.get("alpha", 1.0)
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / alpha), x)


@_activation("Selu")
def selu(x: Array, node: Node) -> Any:
    """gamma times an Elu; the defaults are those that keep mean 0 and variance 1."""
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    return gamma * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


@_activation("Softplus")
def softplus(x: Array, node: Node | None = None) -> Any:
    """log(1 + exp(x)), without overflow: max(x, 0) + log(1 + exp(-|x|))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@_activation("Softsign")
def softsign(x: Array, node: Node) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + np.abs(x))


@_activation("Mish")
def mish(x: Array, node: Node) -> Any:
    """x tanh(softplus(x))."""
    return x * np.tanh(softplus(x))


@_activation("Shrink")
def shrink(x: Array, node: Node) -> Any:
    """x drawn towards 0 by `bias` outside [-lambd, lambd], 0 inside."""
    bias, edge = node.get("bias", 0.0), node.get("lambd", 0.5)
    return np.where(x < -edge, x + bias, np.where(x > edge, x - bias, x.dtype.type(0)))


@_activation("Gelu")
def gelu(x: Array, node: Node) -> Any:
    """x times the normal distribution up to x; with `approximate` its usual tanh formula."""
    if (
        node.get("approximate", "none") == "tanh"
    ):  # (1 + tanh(u)) / 2 = sigmoid(2u), whose digits do not cancel
        return x * sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x * x * x))
    tail = _upper(x * math.sqrt(0.5))
    return 0.5 * x * np.where(x < 0, tail, 2 - tail)


@_activation("Erf")
def erf(x: Array, node: Node | None = None) -> Any:
    """The error function: below 1/2 its power series x 2/sqrt(pi) (1 - x^2/3 + x^4/10 - ...), else 1 - erfc(|x|)."""
    square = np.square(np.clip(x, -0.5, 0.5))
    series = _power_series()[: None if x.dtype.itemsize > 4 else 8]
    near = np.full_like(square, series[-1])
    for c in series[-2::-1]:
        near = near * square + c
    return np.where(np.abs(x) < 0.5, near * x, np.copysign(1 - _upper(x), x))


def _upper(x: Array) -> Any:
    """erfc(|x|) = exp(-x^2) g((|x| - 3.75) / (|x| + 3.75)), g smooth on [-1, 1].

    g is a Chebyshev series. Schonfelder, "Chebyshev expansions for the error and related functions", 1978.
    """
    size = np.abs(x)
    t = (size - 3.75) / (size + 3.75)
    t = np.where(np.isinf(size), x.dtype.type(1), t)
    double = x.dtype.itemsize > 4
    series = _erf_series()[: None if double else 14]
    two, first, second = 2 * t, np.zeros_like(t), np.zeros_like(t)
    for c in series[:0:-1]:  # Clenshaw's rule
        first, second = two * first - second + c, first
    return (t * first - second + series[0]) * np.exp(-size * size)


@lru_cache(maxsize=1)
def _power_series() -> tuple[float, ...]:
    """Coefficients of erf(x) / x in powers of x^2: what is left out of 14 of them is below 1e-17 up to x = 1/2."""
    return tuple(2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(14))


@lru_cache(maxsize=1)
def _erf_series() -> tuple[float, ...]:
    """Chebyshev coefficients of g(t) = exp(x^2) erfc(x), where x = 3.75 (1 + t) / (1 - t)."""

    def g(t: float) -> float:
        x = 3.75 * (1 + t) / (1 - t)
        if x < 20:
            return math.exp(x * x) * math.erfc(x)
        y = 1 / (2 * x * x)  # the asymptotic series: the next term is below 1e-17
        return (1 - y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y)))) / (x * math.sqrt(math.pi))

    n = 36
    angles = [math.pi * (k + 0.5) / n for k in range(n)]
    values = [g(math.cos(a)) for a in angles]
    found = [
        2 / n * math.fsum(v * math.cos(j * a) for v, a in zip(values, angles, strict=True)) for j in range(28)
    ]
    return (found[0] / 2, *found[1:])


# -- slopes and limits from inputs -------------------------------------------------------------------------------------


def _prelu_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, slope = given(node, specs, 0), given(node, specs, 1)
    if broadcast(node, [x.shape, _slope(node, x.shape, slope.shape)]) != x.shape:
        raise node.error(f"its slope {slope} does not broadcast to its input\n  {x}")
    return (Spec(x.shape, x.dtype),)


def _slope(node: Node, x: tuple[int, ...], slope: tuple[int, ...]) -> tuple[int, ...]:
    """One slope per channel stands at axis 1 in operator sets before 7."""
    channels = node.version < 7 and len(slope) == 1 and len(x) > 1 and slope[0] in (1, x[1])
    return (*slope, *(1,) * (len(x) - 2)) if channels else slope


def _prelu_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    return lambda x, slope, out: blockwise(_prelu, out, x, slope.reshape(_slope(node, x.shape, slope.shape)))


def _prelu(x: Array, slope: Array) -> Array:
    return np.where(x < 0, x * slope, x)


@operator("PRelu", shape=_prelu_shape, prepare=_prelu_step, in_place=True)
def prelu(node: Node, x: Array, slope: Array) -> Any:
    """x, times the slope below 0."""
    return _prelu(x, slope.reshape(_slope(node, x.shape, slope.shape)))


def _clip_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    lower, upper = has(specs, 1), has(specs, 2)

    def step(x: Array, *rest: Array) -> None:
        _clip(x, *_limits(node, rest[0] if lower else None, rest[lower] if upper else None), out=rest[-1])

    return step


def _limits(node: Node, lo: Array | None, hi: Array | None) -> tuple[Any, Any]:
    """Attributes before operator set 11, inputs since."""
    return (node.get("min"), node.get("max")) if node.version < 11 else (lo, hi)


def _clip(x: Array, lo: Any, hi: Any, out: Array) -> None:
    """By `np.clip` with both limits, which takes a third of the time of `np.maximum` alone."""
    least, most = (
        (-np.inf, np.inf) if x.dtype.kind not in "iu" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    )
    limits = (least if lo is None else lo, most if hi is None else hi)
    np.clip(x, *(np.asarray(limit, x.dtype).reshape(()) for limit in limits), out=out)


@operator("Clip", shape=same, prepare=_clip_step, in_place=True)
def clip(node: Node, x: Array, lo: Array | None = None, hi: Array | None = None) -> Array:
    """min(max(x, lo), hi): where lo > hi, hi."""
    out = np.empty_like(x)
    _clip(x, *_limits(node, lo, hi), out=out)
    return out
