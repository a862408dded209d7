"""Activations on NumPy arrays, in place: what the blas engine's epilogue does and every other engine is tested against.

relu         max(x, 0)                      leaky_relu   max(x, 0) + slope*min(x, 0)
relu6        min(max(x, 0), 6)              clip         min(max(x, low), high)
sigmoid      1/(1 + exp(-x))                silu         x*sigmoid(x)
hardsigmoid  clip(alpha*x + beta, 0, 1)     hardswish    x*hardsigmoid(x)               tanh
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...product import Activation

Array = npt.NDArray[Any]

NEEDS_SCRATCH = frozenset({"silu", "hardswish", "leaky_relu"})
"""Those that need a second array of the same size while they work."""


def apply(activation: Activation, x: Array, scratch: Array | None = None) -> None:
    """Replace every element of x by its activation; `scratch` has x's shape and dtype.

    >>> x = np.array([-4.0, 0.0, 2.0]); apply(Activation("hardswish"), x, np.empty_like(x)); x
    array([-0.        ,  0.        ,  1.66666667])
    """
    name, parameters = activation.name, activation.parameters
    if name == "relu":
        np.clip(x, 0, np.inf, out=x)  # a third of the time of np.maximum(x, 0)
    elif name == "relu6":
        np.clip(x, 0, 6, out=x)
    elif name == "clip":
        low, high = parameters
        np.clip(x, low, high, out=x)
    elif name == "sigmoid":
        _sigmoid(x, x)
    elif name == "tanh":
        np.tanh(x, out=x)
    elif name == "hardsigmoid":
        _hardsigmoid(x, x, *parameters)
    else:
        assert scratch is not None
        if name == "silu":
            _sigmoid(x, scratch)
            np.multiply(x, scratch, out=x)
        elif name == "hardswish":
            _hardsigmoid(x, scratch, 1 / 6, 0.5)
            np.multiply(x, scratch, out=x)
        else:
            np.minimum(x, 0, out=scratch)  # no mask: it would be memory that no plan has counted
            np.multiply(scratch, parameters[0], out=scratch)
            np.clip(x, 0, np.inf, out=x)  # a third of the time of np.maximum(x, 0)
            np.add(x, scratch, out=x)


def _sigmoid(x: Array, out: Array) -> None:
    with np.errstate(over="ignore"):  # exp(-x) = inf gives the right 0
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        np.reciprocal(out, out=out)


def _hardsigmoid(x: Array, out: Array, alpha: float, beta: float) -> None:
    np.multiply(x, alpha, out=out)
    np.add(out, beta, out=out)
    np.clip(out, 0, 1, out=out)
