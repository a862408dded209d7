"""The operators: one function each, in NumPy or by convmat's own products."""

from __future__ import annotations

from . import convolution, elementwise
from .base import OPERATORS, Operator, Options, Unknown
from .fallback import operator_of

__all__ = ["OPERATORS", "Operator", "Options", "Unknown", "convolution", "elementwise", "operator_of"]
