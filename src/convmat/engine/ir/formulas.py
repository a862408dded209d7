"""Formulas: what an activation means to NumPy, beside what is written for vectors.

A NaN comes through everything. Functions take vectors (or scalars) of f32 or f64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from numpy.typing import NDArray

from ...lazy_dataclass import dataclass
from .instructions import Value, f32, f64, fpext, fptrunc, maximum, minimum, not_equal, select


@dataclass(frozen=True)
class Formula:
    """A function of one float: `emit` writes it for a vector, `meaning` is NumPy's (of a wider float, to be exact).

    `single`: of float32 alone.
    """

    emit: Callable[..., Value]
    meaning: Callable[..., NDArray[Any]]
    single: bool = False

    def __call__(self, x: Value, *parameters: float) -> Value:
        """Emits it; x: f32 or f64, vector or scalar."""
        return self.emit(x, *parameters)


FORMULAS: dict[str, Formula] = {}
"""By the names that `product.Activation` has, with its parameters in its order; and functions beside them."""


def formula(
    meaning: Callable[..., NDArray[Any]], single: bool = False
) -> Callable[[Callable[..., Value]], Formula]:
    """Declares a function under its own name."""

    def declare(emit: Callable[..., Value]) -> Formula:
        FORMULAS[emit.__name__] = found = Formula(emit, meaning, single)
        return found

    return declare


def by_double(emit: Callable[..., Value]) -> Callable[..., Value]:
    """Take float32 in float64, rounded once: what is within a few units in the last place there is exact here."""

    @wraps(emit)
    def wide(*operands: Value) -> Value:
        if operands[0].type.scalar is not f32:
            return emit(*operands)
        return fptrunc(emit(*(fpext(each, to=f64) for each in operands)), to=f32)

    return wide


def greatest(a: Value, b: Value) -> Value:
    """The greater of two, NaN where either is."""
    return select(not_equal(a, a), a, maximum(a, b))


def least(a: Value, b: Value) -> Value:
    """The lesser of two, NaN where either is."""
    return select(not_equal(a, a), a, minimum(a, b))


__all__ = ["FORMULAS", "Formula", "by_double", "formula", "greatest", "least"]
