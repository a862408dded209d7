"""Chains of filters along one axis, and the weights of normal distributions."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .linear import compute_type, run_parts
from .steps import Correlation
from .strips import Borders, Chain

Array = npt.NDArray[Any]


def gaussian_weights(sigma: Any, order: int, truncate: float, radius: Any) -> Array:
    """Weights of a correlation with a normal distribution's derivative."""
    reach = int(truncate * float(sigma) + 0.5) if radius is None else radius
    if not isinstance(reach, numbers.Integral) or reach < 0:
        raise ValueError("Radius must be a nonnegative integer.")
    return kernels.gaussian_kernel(sigma, order, int(reach))[::-1]


def along_axis(
    weights: Sequence[float] | Array, axis: int, rank: int, before: int | None = None, exact: bool = True
) -> Correlation:
    """The correlation with these weights along one axis."""
    w = np.asarray(weights)
    lo = len(w) // 2 if before is None else before
    return Correlation(
        w.reshape(tuple(len(w) if a == axis else 1 for a in range(rank))),
        tuple(lo if a == axis else 0 for a in range(rank)),
        exact,
    )


def run_chains(
    x: Array,
    out: Array,
    chains: list[Chain],
    modes: Sequence[str],
    cval: Any,
    compute: str | None,
    **how: Any,
) -> Array:
    """Chains of real weights over an array of any type; a chain without steps copies."""
    if not chains[0]:
        out[...] = x
        return out
    one = np.ones(1)
    return run_parts(
        x, one, out, lambda _: chains, Borders(tuple(modes), cval), compute_type(compute, x), **how
    )


__all__ = ["along_axis", "gaussian_weights", "run_chains"]
