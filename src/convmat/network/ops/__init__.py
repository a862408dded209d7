"""The operators: one function each, in NumPy or by convmat's own products."""

from __future__ import annotations

from . import (
    activations,
    bodies,
    casting,
    causal,
    classical,
    convolution,
    deform,
    detection,
    einsum,
    elementwise,
    gather,
    gradients,
    integers,
    kept,
    linear,
    loops,
    losses,
    movement,
    normalisation,
    pointwise,
    pooling,
    quantise,
    recurrent,
    reductions,
    resize,
    sampling,
    scan,
    sequences,
    shapes,
    unpool,
)
from .base import OPERATORS, Operator, Options, Unknown
from .fallback import operator_of

__all__ = ["OPERATORS", "Operator", "Options", "Unknown", "operator_of"]

_ENTERED = (
    activations,
    bodies,
    casting,
    causal,
    classical,
    convolution,
    deform,
    detection,
    einsum,
    elementwise,
    gather,
    gradients,
    integers,
    kept,
    linear,
    loops,
    losses,
    movement,
    normalisation,
    pointwise,
    pooling,
    quantise,
    recurrent,
    reductions,
    resize,
    scan,
    sequences,
    sampling,
    shapes,
    unpool,
)
"""Each enters its operators in OPERATORS when it is imported."""
