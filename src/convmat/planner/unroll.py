"""im2col and its adjoint as NumPy arrays: the unrolled input's View, packed whole or added back."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GeometryError
from ..lowering import Part
from ..problem import Problem
from ..product import View
from .arrays import allocate, split_dims

Array = npt.NDArray[Any]


def _view(problem: Problem) -> View:
    """U: rows (c, f), columns (b, p)."""
    part = Part(problem, problem.geometry.phases()[0])
    return part.x(part.index("c") + part.axes("f"), part.columns, part.index("g"))


def unroll(problem: Problem, x: Array, order: str) -> Array:
    """x: (B, C, *I) -> (C*F, B*P), columns contiguous for order "F", rows for "C"."""
    from ..engine import strided_views

    view = _view(problem)
    k, n = view.shape
    out = allocate("im2col", (k, n), x.dtype, "F" if order == "F" else "C")
    # Splitting the two axes of an F-ordered matrix is a view of it too, but reshape would copy: go by its transpose.
    shape = [i.extent for i in view.rows], [i.extent for i in view.cols]
    if order == "F":
        split = out.T.reshape(shape[1] + shape[0])
        split = np.moveaxis(split, range(len(shape[1])), range(-len(shape[1]), 0))
    else:
        split = out.reshape(shape[0] + shape[1])
    strided_views.pack(
        view,
        strided_views.virtual_array(view, split_dims(problem.x, x)),
        tuple((0, i.extent) for i in view.indices),
        split[None],
    )
    return out


def fold(problem: Problem, cols: Array) -> Array:
    """(C*F, B*P) -> (B, C, *I): each element added to where the unrolled input reads it, tap by tap.

    16-bit floats are summed in float32, integers in a type that holds their sums. Raises GeometryError where sums do
    not fit the type of cols.
    """
    from ..engine import slice_block, strided_views

    view = _view(problem)
    kind = _sums(cols, math.prod(problem.geometry.F))
    x = allocate("col2im", problem.geometry.x_shape, kind)
    x[...] = 0
    into = strided_views.virtual_array(view, split_dims(problem.x, x))
    parts = cols.reshape([i.extent for i in view.indices])
    spans = tuple((0, i.extent) for i in view.indices)
    taps = 1 + sum(i.name[0] != "f" for i in view.rows)
    last = 1 + len(view.rows)
    for tap in itertools.product(*(range(i.extent) for i in view.rows[taps - 1 :])):
        block = strided_views.part_inside(view, (*spans[:taps], *((t, t + 1) for t in tap), *spans[last:]))
        if block is not None:
            target = slice_block(into, block)
            target += parts[tuple(slice(start, stop) for start, stop in block)]
    if kind == cols.dtype:
        return x
    if kind.kind == "i" and x.size:
        _require_fit(cols.dtype, int(x.min()), int(x.max()))
    with np.errstate(over="ignore"):  # too large for 16 bits is infinite, as everywhere
        return x.astype(cols.dtype)


def _sums(cols: Array, taps: int) -> np.dtype[Any]:
    """The type in which `taps` elements of cols are summed."""
    if cols.dtype.kind in "iu" and cols.size:
        least, greatest = taps * min(int(cols.min()), 0), taps * max(int(cols.max()), 0)
        if cols.dtype.itemsize < 8 and not _fits(cols.dtype, least, greatest):
            return np.dtype(np.int64)
        _require_fit(cols.dtype, least, greatest)
    return np.dtype(np.float32) if cols.dtype.name in ("float16", "bfloat16") else cols.dtype


def _fits(dtype: np.dtype[Any], least: int, greatest: int) -> bool:
    return np.iinfo(dtype).min <= least and greatest <= np.iinfo(dtype).max


def _require_fit(dtype: np.dtype[Any], least: int, greatest: int) -> None:
    if not _fits(dtype, least, greatest):
        raise GeometryError(
            f"col2im: the sums pass what {dtype} holds\n  {least} .. {greatest};  "
            f"{np.iinfo(dtype).min} .. {np.iinfo(dtype).max}\n  convert cols, e.g. cols.astype('float64')"
        )
