"""Activations: those made of pieces of lines, and the table of all, at most 4 ulp from the truth for every float.

hardsigmoid  min(max(x + 3, 0), 6) / 6          hardswish  x * hardsigmoid(x)
relu  max(x, 0)     relu6  clip(x, 0, 6)     leaky_relu  x or slope * x     clip  min(max(x, low), high)
"""

from __future__ import annotations

import numpy as np

from . import exponential, gaussian, logarithm, trigonometry
from .formulas import FORMULAS, formula
from .instructions import Value, const, fma, maximum, minimum, select


@formula(lambda x, low, high: np.minimum(np.maximum(x, low), high))
def clip(x: Value, low: float, high: float) -> Value:
    """min(max(x, low), high)."""
    return minimum(const(x.type, high), maximum(const(x.type, low), x))


@formula(lambda x: np.maximum(x, 0))
def relu(x: Value) -> Value:
    """max(x, 0)."""
    return maximum(const(x.type, 0.0), x)


@formula(lambda x: np.minimum(np.maximum(x, 0), 6))
def relu6(x: Value) -> Value:
    """min(max(x, 0), 6)."""
    return clip(x, 0.0, 6.0)


@formula(lambda x, slope=0.01: np.where(x > 0, x, slope * x))
def leaky_relu(x: Value, slope: float = 0.01) -> Value:
    """x, or slope * x where x < 0."""
    return select(x > 0.0, x, x * slope)


@formula(lambda x, alpha=1 / 6, beta=0.5: np.clip((x + beta / alpha) * alpha, 0, 1))
def hardsigmoid(x: Value, alpha: float = 1 / 6, beta: float = 0.5) -> Value:
    """min(max(alpha * x + beta, 0), 1); PyTorch's relu6(x + 3) / 6 by default."""
    if abs(beta) < abs(alpha) * 1e30:
        # x + 3 is exact where it is near 0; x/6 + 0.5 would keep few bits there
        return clip((x + beta / alpha) * alpha, 0.0, 1.0)
    return clip(fma(x, alpha, const(x.type, beta)), 0.0, 1.0)


@formula(lambda x: x * np.clip(x + 3, 0, 6) / 6)
def hardswish(x: Value) -> Value:
    """x * hardsigmoid(x)."""
    return x * hardsigmoid(x)


__all__ = ["FORMULAS", "exponential", "gaussian", "logarithm", "trigonometry"]
