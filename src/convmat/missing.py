"""Missing data: normalised convolution, over what is there.

    y = sum over f of  w[f] m[p + f] x[p + f]   /   sum over f of  w[f] m[p + f]        m is 1 where x is there, else 0

Nothing there in a window: NaN. What padding adds is there, with the values that it adds. Weights that sum to next to
nothing have no mean to give: they are refused, or with normalize=False the numerator alone is the result.
Knutsson and Westin, "Normalized and differential convolution", 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import GeometryError, format_value

Array = npt.NDArray[Any]
Run = Callable[[Array], Array]

LEAST_SUM = 1e-3
"""Share of the sum of absolute weights that the weights' own sum must reach to be divided by."""


def read_missing(call: str, x: Array, missing: Any) -> Array:
    """Where x is missing, as booleans that broadcast to its shape: its NaNs, or a mask that is true there.

    >>> read_missing("conv", np.array([1.0, np.nan]), "nan")
    array([False,  True])
    """
    if isinstance(missing, str):
        if missing != "nan":
            raise GeometryError(
                f"{call}: unknown kind of missing data\n  missing = {format_value(missing)}\n"
                "  'nan', or an array of booleans that is true where x is missing"
            )
        return np.isnan(x) if x.dtype.kind in "fc" else np.zeros((1,) * x.ndim, bool)
    mask = np.asarray(missing)
    if mask.dtype != np.bool_:
        raise GeometryError(
            f"{call}: a mask of missing data holds booleans\n  missing.dtype = {mask.dtype}\n"
            "  give e.g. missing=mask != 0, true where x is missing"
        )
    try:
        fits = np.broadcast_shapes(mask.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise GeometryError(
            f"{call}: the mask of missing data does not fit x\n  missing.shape = {mask.shape}, x.shape = {x.shape}\n"
            "  give a mask of x's shape, or one that broadcasts to it"
        )
    return mask.reshape((1,) * (x.ndim - mask.ndim) + mask.shape)


def require_sum(call: str, w: Array) -> Array:
    """The sums of each filter's weights, w: (O, ..) -> (O,); GeometryError where one is next to nothing.

    >>> require_sum("conv", np.array([[[1.0, 2.0]]]))
    array([3.])
    """
    flat = w.reshape(w.shape[0], -1)
    total, size = flat.sum(1), np.abs(flat).sum(1)
    bad = np.flatnonzero(~(np.abs(total) >= LEAST_SUM * size))
    if bad.size:
        o = int(bad[0])
        raise GeometryError(
            f"{call}: weights that sum to next to nothing have no mean over what is there\n"
            f"  filter {o}: sum {total[o]:.3g}, sum of absolute values {size[o]:.3g}\n"
            "  give normalize=False for the plain sum over what is there"
        )
    return np.asarray(total)


def divide(sums: Array, weights: Array, least: Array | float) -> Array:
    """sums / weights, in place; NaN where the weights are `least` or less.

    >>> divide(np.array([1.0, 1.0]), np.array([2.0, 0.0]), 0.0)
    array([0.5, nan])
    """
    nothing = np.abs(weights) <= least
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(sums, weights, out=sums)
    sums[nothing] = np.nan
    return sums


def convolve_present(
    call: str, x: Array, w: Array, missing: Array, run: Run, *, channels: int, rounding: float
) -> Array:
    """Convolve what is there of x by `run`, and divide by the weights that met it.

    `missing` has x's axes; w: (O, C//G, *F); `channels` is y's axis of channels; `rounding`: what of the absolute
    weights' sum may be an error of `run`. The weights are met only where something is missing: images that are whole
    are divided by their sum.
    """
    total = require_sum(call, w)
    size = np.abs(w).reshape(len(w), -1).sum(1)
    gone = np.broadcast_to(missing, x.shape)
    sums = run(np.where(gone, x.dtype.type(0), x))
    along = tuple(-1 if a == channels % sums.ndim else 1 for a in range(sums.ndim))
    least = (rounding * size).reshape(along)
    lost = gone.any(tuple(range(1, x.ndim))) if x.ndim == w.ndim else np.atleast_1d(gone.any())
    if not lost.any():
        return divide(sums, np.broadcast_to(total.reshape(along).astype(sums.dtype), sums.shape), 0.0)
    ones = np.ones(x.shape[1:] if x.ndim == w.ndim else x.shape, x.dtype)
    beyond = total.reshape(along) - (run(ones[None]) if x.ndim == w.ndim else run(ones))
    beyond[np.abs(beyond) <= least] = 0  # rounding, where no weight lies outside x
    met = run(np.where(gone, x.dtype.type(0), x.dtype.type(1))) + beyond
    return divide(sums, met.astype(sums.dtype), least)


__all__ = ["LEAST_SUM", "convolve_present", "divide", "read_missing", "require_sum"]
