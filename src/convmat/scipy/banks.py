"""Filters beyond SciPy's: many in one call, every s-th result, taps d apart: a product for each strip of rows.

    y[o, p] = sum over f of  w[o, f] * x[p*s + f*d - lo]        lo = n//2 + origin,   n = d*(F - 1) + 1

The same as the filter with d-1 zeros between its taps, of whose results every s-th is taken along each axis.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import api
from ..planner import Plan
from ..processes import kept_property
from .arguments import (
    WindowPlaces,
    make_output,
    one_border,
    read_axes,
    read_origin,
    read_per_axis,
    read_real_constant,
    require_type,
)
from .borders import lay_part, store_rounded
from .linear import BAD_ORIGIN, compute_type
from .ready import Filter, run_ready
from .steps import FEW_TAPS
from .strips import split_rows

Array = npt.NDArray[Any]

STRIP_BYTES = 1 << 23
"""Bytes of the results of a strip, about: of less, laying rows out twice costs more than a cache saves."""


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
    x, w = np.asarray(input), np.asarray(filters)
    require_type(x.dtype)
    if x.dtype.kind == "c" or w.dtype.kind == "c":
        raise TypeError("filters=, stride= and dilation= take real numbers")
    if not x.ndim:
        raise ValueError("filters=, stride= and dilation= go along axes: input has none")
    if read_axes(window.axes, x.ndim) != tuple(range(x.ndim)):
        raise ValueError("filters=, stride= and dilation= go along all axes, in order")
    if w.ndim != x.ndim + 1 or 0 in w.shape:
        raise RuntimeError(
            f"filters must have a number axis and {x.ndim} more with elements, got shape {w.shape}"
        )
    stride, dilation = ([_read_whole(n) for n in read_per_axis(each, x.ndim)] for each in steps)
    if flip:
        w = w[(slice(None), *(slice(None, None, -1),) * x.ndim)]
    extents = [d * (f - 1) + 1 for d, f in zip(dilation, w.shape[1:], strict=True)]
    origins = read_per_axis(window.origin, x.ndim)
    if flip:
        origins = [-o - (n + 1) % 2 for o, n in zip(origins, extents, strict=True)]
    lo = tuple(n // 2 + read_origin(o, n, BAD_ORIGIN) for o, n in zip(origins, extents, strict=True))
    shape = (w.shape[0], *(-(-n // s) for n, s in zip(x.shape, stride, strict=True)))
    modes, cval = one_border(window.mode, x.ndim), read_real_constant(window.cval)
    out, work = make_output(output, x, shape=shape), compute_type(compute, x)
    if not math.prod(shape):
        return out
    given = (w, stride, dilation, lo, modes, cval, work.name)
    taps = w[:, None].astype(work)

    def make() -> Filter:
        return _Bank(
            taps,
            tuple(stride),
            tuple(dilation),
            lo,
            tuple(extents),
            modes,
            cval,
            x.shape,
            out.dtype.kind in "biu",
        )

    return run_ready("bank", given, x, out, make)


@dataclass(frozen=True)
class _Bank:
    """Many filters made ready: results are computed in strips of rows, so that a cache holds one of all filters.

    weights: (O, 1, *F); lo: what a window reaches before its place; extents: of windows with their gaps.
    """

    weights: Array
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    lo: tuple[int, ...]
    extents: tuple[int, ...]
    modes: tuple[str, ...]
    cval: float
    shape: tuple[int, ...]
    exact: bool

    @kept_property
    def results(self) -> tuple[int, ...]:
        """Extents of one filter's results."""
        return tuple(-(-n // s) for n, s in zip(self.shape, self.stride, strict=True))

    @kept_property
    def rows(self) -> int:
        """Rows of results of a strip: not fewer than windows overlap by; all where a window is transformed."""
        many, *others = self.results
        many_taps = not self.exact and math.prod(self.weights.shape[2:]) > FEW_TAPS
        if many_taps and self._plan(many).chosen.lowering == "fft":
            return many
        row = len(self.weights) * math.prod(others) * self.weights.itemsize
        return min(max(STRIP_BYTES // row, -(-self.extents[0] // self.stride[0])), many)

    @kept_property
    def bound(self) -> Any:
        """The strip's plan with the filters packed."""
        return self._plan(self.rows).bind(self.weights)

    @kept_property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.bound.plan.weight_bytes + self.weights.nbytes)

    def _plan(self, rows: int) -> Plan:
        few = math.prod(self.weights.shape[2:]) <= FEW_TAPS
        return api.plan(
            (1, 1, *self._read(rows)), self.weights.shape, dtype=self.weights.dtype.name, stride=self.stride,
            dilation=self.dilation, exact=self.exact, deterministic=few,
        )  # fmt: skip

    def _read(self, rows: int) -> tuple[int, ...]:
        """Extents of what so many rows of results read, borders included."""
        many = (rows, *self.results[1:])
        return tuple((p - 1) * s + n for p, s, n in zip(many, self.stride, self.extents, strict=True))

    def __call__(self, x: Array, out: Array) -> None:
        """x: (*I) -> out: (O, *P); they may overlap."""
        if np.may_share_memory(x, out):
            x = x.copy()
        shape = self._read(self.rows)
        dtype = self.weights.dtype
        part = np.empty(shape, dtype)
        made = np.empty((1, len(self.weights), self.rows, *self.results[1:]), dtype)
        for first in split_rows(0, self.results[0], self.rows):
            begin = (first * self.stride[0] - self.lo[0], *(-n for n in self.lo[1:]))
            lay_part(self.shape, begin, shape, self.modes, self.cval)(x, part)
            self.bound(part[None, None], None, made)
            store_rounded(made[0], out[:, first : first + self.rows])


def _read_whole(number: Any) -> int:
    """A stride or dilation."""
    found = operator.index(number)
    if found < 1:
        raise ValueError(f"stride and dilation are at least 1, got {found}")
    return found


__all__ = ["filter_bank"]
