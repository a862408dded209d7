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
    integer_products,
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
    scaled_attention,
    scan,
    sequences,
    shapes,
    trees,
    unpool,
)
from .base import OPERATORS, Operator, Unknown
from .fallback import operator_of
from .options import Options

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
    integer_products,
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
    scaled_attention,
    scan,
    sequences,
    sampling,
    shapes,
    trees,
    unpool,
)
"""Each enters its operators in OPERATORS when it is imported."""
