"""Formulas: what an activation means to NumPy, beside what is written for vectors.

A NaN comes through everything. Functions take vectors (or scalars) of f32 or f64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .instructions import Value, maximum, minimum, not_equal, select


@dataclass(frozen=True)
class Formula:
    """An activation: `emit` writes it for a vector, `meaning` is NumPy's (of a wider float, to be exact)."""

    emit: Callable[..., Value]
    meaning: Callable[..., NDArray[Any]]

    def __call__(self, x: Value, *parameters: float) -> Value:
        """Emits it; x: f32 or f64, vector or scalar."""
        return self.emit(x, *parameters)


FORMULAS: dict[str, Formula] = {}
"""By the names that `product.Activation` has, with its parameters in its order; and functions beside them."""


def formula(meaning: Callable[..., NDArray[Any]]) -> Callable[[Callable[..., Value]], Formula]:
    """Declares an activation under its function's name."""

    def declare(emit: Callable[..., Value]) -> Formula:
        FORMULAS[emit.__name__] = found = Formula(emit, meaning)
        return found

    return declare


def greatest(a: Value, b: Value) -> Value:
    """The greater of two, NaN where either is."""
    return select(not_equal(a, a), a, maximum(a, b))


def least(a: Value, b: Value) -> Value:
    """The lesser of two, NaN where either is."""
    return select(not_equal(a, a), a, minimum(a, b))


__all__ = ["FORMULAS", "Formula", "formula", "greatest", "least"]
