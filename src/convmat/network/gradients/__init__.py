"""Differentiating graphs: one small rule an operator, and a walk from the outputs back to what is asked for."""

from __future__ import annotations

from . import linear, movement, normalisation, pointwise, pooling, recurrent, reductions
from .differentiate import differentiate
from .rules import RULES, VERSION, Tape

__all__ = ["RULES", "VERSION", "Tape", "differentiate"]

_ENTERED = (linear, movement, normalisation, pointwise, pooling, recurrent, reductions)
"""Each enters its rules in RULES when it is imported."""
