"""Filters beyond SciPy's: many in one call, every s-th result, taps d apart; one product for all of them.

    y[o, p] = sum over f of  w[o, f] * x[p*s + f*d - lo]        lo = n//2 + origin,   n = d*(F - 1) + 1

The same as the filter with d-1 zeros between its taps, of whose results every s-th is taken along each axis.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import api
from ..engine import buffers
from .arguments import (
    WindowPlaces,
    make_output,
    one_border,
    read_axes,
    read_input,
    read_origin,
    read_per_axis,
    real_constant,
)
from .borders import lay_part, store_rounded
from .linear import BAD_ORIGIN, compute_type

Array = npt.NDArray[Any]


def filter_bank(
    input: Any, filters: Any, output: Any, window: WindowPlaces, steps: tuple[Any, Any], compute: str | None, *,
    flip: bool,
) -> Array:  # fmt: skip
    """x: (*I), filters: (O, *F) -> (O, *P), P = ceil(I / s); steps: (s, d), a number each or one per axis.

    >>> made = filter_bank([1.0, 2.0, 4.0, 8.0], [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]], None,
    ...                    WindowPlaces("nearest", 0.0), (2, 1), None, flip=False)
    >>> made.tolist()
    [[4.0, 14.0], [1.0, 4.0]]
    """
    x, w = read_input(input), np.asarray(filters)
    if x.dtype.kind == "c" or w.dtype.kind == "c":
        raise TypeError("filters=, stride= and dilation= take real numbers")
    if read_axes(window.axes, x.ndim) != tuple(range(x.ndim)):
        raise ValueError("filters=, stride= and dilation= go along all axes, in order")
    if w.ndim != x.ndim + 1 or 0 in w.shape:
        raise RuntimeError(
            f"filters must have a number axis and {x.ndim} more with elements, got shape {w.shape}"
        )
    stride, dilation = ([_whole(n) for n in read_per_axis(each, x.ndim)] for each in steps)
    if flip:
        w = w[(slice(None), *(slice(None, None, -1),) * x.ndim)]
    extents = [d * (f - 1) + 1 for d, f in zip(dilation, w.shape[1:], strict=True)]
    origins = read_per_axis(window.origin, x.ndim)
    if flip:
        origins = [-o - (n + 1) % 2 for o, n in zip(origins, extents, strict=True)]
    lo = tuple(n // 2 + read_origin(o, n, BAD_ORIGIN) for o, n in zip(origins, extents, strict=True))
    hi = tuple(n - 1 - before for n, before in zip(extents, lo, strict=True))
    shape = (w.shape[0], *(-(-n // s) for n, s in zip(x.shape, stride, strict=True)))
    modes = one_border(window.mode, x.ndim)
    out, work = make_output(output, x, shape=shape), compute_type(compute, x)
    if not math.prod(shape):
        return out
    padded = buffers.empty(tuple(a + n + b for a, n, b in zip(lo, x.shape, hi, strict=True)), work)
    lay_part(x.shape, [-n for n in lo], padded.shape, modes, real_constant(window.cval))(x, padded)
    made = api.conv(
        padded[None, None], w[:, None].astype(work), stride=tuple(stride), dilation=tuple(dilation),
        exact=out.dtype.kind in "biu",
    )  # fmt: skip
    store_rounded(made[0], out)
    return out


def _whole(number: Any) -> int:
    """A stride or dilation."""
    found = operator.index(number)
    if found < 1:
        raise ValueError(f"stride and dilation are at least 1, got {found}")
    return found


__all__ = ["filter_bank"]
