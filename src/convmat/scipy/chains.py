"""Chains of filters along one axis, and the weights of normal distributions."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .linear import make_filter
from .ready import Copy, Filter
from .steps import Correlation, OfWindows, StripStep
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


FEW_OF_BOX = 9
"""Boxes of floats up to this size are correlations: a kernel that reads x where it lies, and needs no line of sums."""


def mean_along(size: int, axis: int, before: int, x: Array, out: Array) -> StripStep:
    """The mean of `size` elements along one axis."""
    if size <= FEW_OF_BOX and "f" == x.real.dtype.kind == out.real.dtype.kind:
        return along_axis(np.full(size, 1 / size), axis, x.ndim, before)
    return OfWindows("mean", size, axis, x.ndim, before)


def make_chains(
    x: Array,
    out: Array,
    chains: Sequence[Chain],
    modes: Sequence[str],
    cval: Any,
    compute: str | None,
    *,
    magnitude: bool = False,
) -> Filter:
    """Chains of real weights over arrays like x, of any type; a chain without steps copies."""
    if not chains[0]:
        return Copy()
    borders = Borders(tuple(modes), cval)
    return make_filter(x, np.ones(1), out, lambda _: chains, borders, compute, magnitude=magnitude)


__all__ = ["along_axis", "gaussian_weights", "make_chains", "mean_along"]
