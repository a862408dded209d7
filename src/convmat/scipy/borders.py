"""Parts of an array with its borders around them, in the type that is computed in; and results in the type asked for.

    part[i] = x[start - lo + i]        positions outside x are what the border's mode says, `cval` for "constant"

A strip of an image with the border it needs fits a cache, so laying borders costs no pass over memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..planner.pad import inner_position

Array = npt.NDArray[Any]


@lru_cache(maxsize=1024)
def positions_outside(mode: str, extent: int, lo: int, hi: int) -> tuple[list[int], list[int]]:
    """The positions -lo .. -1 and extent .. extent+hi-1 of an axis, and those inside it that they repeat.

    >>> positions_outside("symmetric", 4, 2, 1)
    ([-2, -1, 4], [1, 0, 3])
    """
    positions = [*range(-lo, 0), *range(extent, extent + hi)]
    return positions, [inner_position(mode, each, extent) for each in positions]


def lay_borders(
    x: Array,
    out: Array,
    lo: tuple[int, ...],
    hi: tuple[int, ...],
    modes: tuple[str, ...],
    cval: float,
    start: int,
) -> None:
    """Fill `out` with the rows start-lo .. of x and all of its other axes, with borders of lo and hi around it.

    out: as many rows as it has, and extents lo + n + hi along the axes after the first.

    >>> out = np.empty((2, 4))
    >>> lay_borders(np.array([[1, 2], [3, 4]]), out, (1, 1), (0, 1), ("edge", "wrap"), 0.0, 0); out
    array([[2., 1., 2., 1.],
           [2., 1., 2., 1.]])
    """
    inner = tuple(slice(a, a + n) for a, n in zip(lo[1:], x.shape[1:], strict=True))
    first, extent = start - lo[0], x.shape[0]
    begin, stop = max(first, 0), min(first + out.shape[0], extent)
    if stop > begin:
        np.copyto(out[(slice(begin - first, stop - first), *inner)], x[begin:stop], casting="unsafe")
    end = first + out.shape[0]
    rows = (*range(first, min(0, end)), *range(max(extent, first), end))
    if rows and modes[0] == "constant":
        out[[row - first for row in rows]] = cval
    elif rows:
        for row in rows:
            out[(row - first, *inner)] = x[inner_position(modes[0], row, extent)]
    for axis in range(1, x.ndim):
        refill_border(out, axis, lo[axis], hi[axis], modes[axis], cval)


def refill_border(out: Array, axis: int, lo: int, hi: int, mode: str, cval: float) -> None:
    """Write the border along one axis, whose extent in `out` is lo + n + hi, from what is inside."""
    if not lo and not hi:
        return
    before = (slice(None),) * axis
    extent = out.shape[axis] - lo - hi
    if mode == "constant":
        out[(*before, slice(0, lo))] = cval
        out[(*before, slice(lo + extent, None))] = cval
        return
    to, source = positions_outside(mode, extent, lo, hi)
    out[(*before, np.add(to, lo))] = out[(*before, np.add(source, lo))]


def store_rounded(values: Array, out: Array) -> None:
    """Write floating-point values to `out`, rounded to its type, or cut to integers that wrap around as C's do.

    >>> out = np.empty(3, np.uint8); store_rounded(np.array([1.9, -1.0, 257.0]), out); out
    array([  1, 255,   1], dtype=uint8)
    """
    kind, size = out.dtype.kind, out.dtype.itemsize
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "b":
            np.not_equal(np.trunc(values), 0, out=out)
        elif kind == "u" and size == 8:
            magnitude = np.abs(values).astype(np.uint64)
            np.copyto(out, np.where(values > -1, magnitude, np.negative(magnitude)))
        elif kind in "iu" and size < 8:
            np.copyto(out, values.astype(_through(values, size)), casting="unsafe")
        else:
            np.copyto(out, values, casting="unsafe")


def _through(values: Array, size: int) -> type[np.signedinteger[Any]]:
    """The integers that hold the values, whose lower bytes are wanted: 32 bits are cast five times as fast as 64."""
    if size > 2 or not values.size:
        return np.int64
    return np.int32 if max(values.max(), -values.min()) < 2**31 else np.int64


__all__ = ["lay_borders", "positions_outside", "refill_border", "store_rounded"]
