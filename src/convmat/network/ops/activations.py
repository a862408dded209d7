"""Activations: functions of one element, each a formula over a block of elements.

An operator is a function of (x, node) -> y. Slopes and limits come from the node's attributes, or from further inputs
(PRelu, Clip).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import engine
from ..graph import Array, Node, Spec
from .base import Specs, Step, broadcast_shape, has_input, input_at, operator, same_spec
from .blocks import blockwise
from .options import Options

Formula = Callable[..., Any]


def _activation(*names: str) -> Callable[[Formula], Formula]:
    """Enter a formula: blocks of it are the step, the whole of it is the meaning."""

    def enter(formula: Formula) -> Formula:
        def run(node: Node, x: Array) -> Array:
            return np.asarray(formula(x, node)).astype(x.dtype, copy=False)

        def prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
            return lambda x, out: blockwise(lambda part: formula(part, node), out, x)

        operator(*names, shape=same_spec, prepare=prepare, in_place=True)(run)
        return formula

    return enter


@operator("Relu", shape=same_spec, in_place=True, prepare=lambda *_: lambda x, out: _clip(x, 0, None, out))
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
    return (engine.gelu_tanh if node.get("approximate", "none") == "tanh" else engine.gelu)(x)


@_activation("Erf")
def erf(x: Array, node: Node | None = None) -> Any:
    """The error function."""
    return engine.erf(x)


# -- slopes and limits from inputs -------------------------------------------------------------------------------------


def _prelu_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, slope = input_at(node, specs, 0), input_at(node, specs, 1)
    if broadcast_shape(node, [x.shape, _slope(node, x.shape, slope.shape)]) != x.shape:
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
    lower, upper = has_input(specs, 1), has_input(specs, 2)

    def step(x: Array, *rest: Array) -> None:
        _clip(x, *_limits(node, rest[0] if lower else None, rest[lower] if upper else None), out=rest[-1])

    return step


def _limits(node: Node, lo: Array | None, hi: Array | None) -> tuple[Any, Any]:
    """Attributes before operator set 11, inputs since."""
    return (node.get("min"), node.get("max")) if node.version < 11 else (lo, hi)


def _clip(x: Array, lo: Any, hi: Any, out: Array) -> None:
    """Clip by `np.clip` with both limits, which takes a third of the time of `np.maximum` alone."""
    least, most = (
        (-np.inf, np.inf) if x.dtype.kind not in "iu" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    )
    limits = (least if lo is None else lo, most if hi is None else hi)
    np.clip(x, *(np.asarray(limit, x.dtype).reshape(()) for limit in limits), out=out)


@operator("Clip", shape=same_spec, prepare=_clip_step, in_place=True)
def clip(node: Node, x: Array, lo: Array | None = None, hi: Array | None = None) -> Array:
    """min(max(x, lo), hi): where lo > hi, hi."""
    out = np.empty_like(x)
    _clip(x, *_limits(node, lo, hi), out=out)
    return out
