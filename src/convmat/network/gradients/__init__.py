"""Differentiating graphs: one small rule an operator, and a walk from the outputs back to what is asked for."""

from __future__ import annotations

from . import linear, movement, pointwise, pooling
from .differentiate import differentiate
from .rules import RULES, Tape

__all__ = ["RULES", "Tape", "differentiate"]

_ENTERED = (linear, movement, pointwise, pooling)
"""Each enters its rules in RULES when it is imported."""
