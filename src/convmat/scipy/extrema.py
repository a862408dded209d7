"""Maxima and minima of windows, as scipy.ndimage has them.

    y[p] = max over f of  x[p + f - F//2 - origin]         f in a box: axis by axis; in a footprint: row by row

Comparisons are in float64, as SciPy's are, or in float32 where that holds all values.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    WindowPlaces,
    make_output,
    numpy_border,
    read_axes,
    read_axis,
    read_origin,
    read_per_axis,
    read_real_constant,
    require_types,
    spread_over_axes,
)
from .linear import most_of
from .ready import Copy, Filter, run_ready
from .steps import Footprint, OfWindows
from .strips import Borders, Chain, Kind, Strips

Array = npt.NDArray[Any]


def maximum_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: float = 0.0,
    origin: int = 0,
) -> Array:  # fmt: skip
    """scipy.ndimage.maximum_filter1d: the largest of `size` elements along one axis.

    >>> maximum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8, 8, 8, 4, 9, 9, 9, 9])
    """
    return _along_axis(input, size, axis, output, mode, cval, origin, name="max")


def minimum_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: float = 0.0,
    origin: int = 0,
) -> Array:  # fmt: skip
    """scipy.ndimage.minimum_filter1d: the least of `size` elements along one axis.

    >>> minimum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    return _along_axis(input, size, axis, output, mode, cval, origin, name="min")


def maximum_filter(
    input: Any, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect",
    cval: float = 0.0, origin: Any = 0, *, axes: Any = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.maximum_filter: the largest element of a box, or of a footprint.

    >>> maximum_filter([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 2)
    array([[1, 2, 3],
           [4, 5, 6],
           [7, 8, 9]])
    """
    return _of_windows(input, size, footprint, output, WindowPlaces(mode, cval, origin, axes), name="max")


def minimum_filter(
    input: Any, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect",
    cval: float = 0.0, origin: Any = 0, *, axes: Any = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.minimum_filter: the least element of a box, or of a footprint.

    >>> minimum_filter([[1, 2, 3], [4, 5, 6], [7, 8, 9]], footprint=[[1, 0], [0, 1]])
    array([[1, 1, 2],
           [1, 1, 2],
           [4, 4, 5]])
    """
    return _of_windows(input, size, footprint, output, WindowPlaces(mode, cval, origin, axes), name="min")


def _along_axis(
    input: Any, size: int, axis: int, output: Any, mode: str, cval: float, origin: int, *, name: str
) -> Array:
    x = _require_real(input)
    out = make_output(output, x)

    def make() -> Filter:
        at = read_axis(axis, x.ndim)
        if size < 1:
            raise RuntimeError("incorrect filter size")
        before = size // 2 + read_origin(origin, size, "invalid origin")
        modes = spread_over_axes([numpy_border(mode)], (at,), x.ndim, "edge")
        return _make(x, out, [OfWindows(name, size, at, x.ndim, before)], modes, cval)

    return run_ready(f"{name} along", (size, axis, mode, cval, origin), x, out, make)


def _of_windows(
    input: Any, size: Any, footprint: Any, output: Any, window: WindowPlaces, *, name: str
) -> Array:
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=3)
    mask = None
    if footprint is not None:
        mask = np.asarray(footprint, dtype=bool)
        if not mask.any():
            raise ValueError("All-zero footprint is not supported.")
        size, mask = (mask.shape, None) if mask.all() else (size, mask)
    elif size is None:
        raise RuntimeError("no footprint provided")
    x = _require_real(input)
    out = make_output(output, x)

    def make() -> Filter:
        along = read_axes(window.axes, x.ndim)
        if mask is not None:
            return _make_footprint(x, mask, out, window, along, name)
        each_axis = zip(
            *(read_per_axis(v, len(along)) for v in (size, window.origin, window.mode)), strict=True
        )
        wanted = [(a, *each) for a, each in zip(along, each_axis, strict=True) if each[0] > 1]
        chain = [
            OfWindows(name, int(n), a, x.ndim, int(n) // 2 + read_origin(o, int(n), "invalid origin"))
            for a, n, o, _ in wanted
        ]
        modes = spread_over_axes(
            [numpy_border(m) for *_, m in wanted], tuple(each[0] for each in wanted), x.ndim, "edge"
        )
        return _make(x, out, chain, modes, window.cval)

    return run_ready(name, (size, mask, window.mode, window.cval, window.origin, window.axes), x, out, make)


def _make_footprint(
    x: Array, mask: Array, out: Array, window: WindowPlaces, along: tuple[int, ...], name: str
) -> Filter:
    """The filter of a window that is no box."""
    if len(along) < x.ndim and mask.ndim != len(along):
        raise RuntimeError(f"footprint.ndim ({mask.ndim}) must match len(axes) ({len(along)})")
    origins = read_per_axis(window.origin, len(along))
    if len(along) < x.ndim:
        mask = np.expand_dims(mask, tuple(a for a in range(x.ndim) if a not in along))
        origins = spread_over_axes(origins, along, x.ndim, 0)
    if mask.ndim != x.ndim:
        raise RuntimeError(f"footprint.ndim ({mask.ndim}) must match len(axes) ({len(along)})")
    lo = tuple(n // 2 + read_origin(o, n, "invalid origin") for o, n in zip(origins, mask.shape, strict=True))
    if not isinstance(window.mode, str) and isinstance(window.mode, Iterable):
        raise RuntimeError("A sequence of modes is not supported for non-separable footprints")
    outside = read_real_constant(window.cval)
    if x.dtype.kind in "iu" and np.isfinite(outside):  # SciPy's, too, is then of the input's type
        outside = float(np.array(int(outside) % 2**64, np.uint64).astype(x.dtype))
    return _make(x, out, [Footprint(name, mask, lo)], [numpy_border(window.mode)] * x.ndim, outside)


def _require_real(input: Any) -> Array:
    if np.iscomplexobj(input):
        raise TypeError("Complex type not supported")
    return np.asarray(input)


def _make(x: Array, out: Array, chain: Chain, modes: list[str], cval: float) -> Filter:
    """The filter of a chain."""
    if not chain:
        return Copy()
    require_types(x, out, complex_output=False)
    number = read_real_constant(cval)
    # What wraps around in the output's type between two steps is as large as that.
    held = all(np.can_cast(each, np.float32) for each in (x.dtype, out.dtype))
    held = held or (np.can_cast(x.dtype, np.float32) and np.can_cast(x.dtype, out.dtype))
    small = held and float(np.float32(number)) == number
    work = np.dtype(np.float32 if small else np.float64)
    contiguous = x.flags.c_contiguous and out.flags.c_contiguous
    kind = Kind(x.shape, x.dtype, out.dtype, work, contiguous, max(most_of(x.dtype), abs(number)))
    return Strips(kind, [chain], Borders(tuple(modes), number))


__all__ = ["maximum_filter", "maximum_filter1d", "minimum_filter", "minimum_filter1d"]
