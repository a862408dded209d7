"""Explicit padding in modes that no View can read, and its adjoint.

    reflect  c b | a b c d | c b        symmetric  b a | a b c d | d c
    edge     a a | a b c d | d d        wrap       c d | a b c d | a b

NumPy's names. SciPy calls symmetric "reflect", and reflect "mirror"; PyTorch calls edge "replicate", wrap "circular".

Axis by axis each border slab is a copy of an inner one, so the adjoint adds each border slab to the one that it
came from, last axis first. Negative padding crops; its adjoint leaves zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layout import Layout
from ..problem import Pad

Array = npt.NDArray[Any]


def pad(pad: Pad, axes: tuple[int, ...], x: Array, out: Array) -> None:
    """Write x to `out`, larger by lo + hi along each of `axes`.

    >>> import numpy as np
    >>> out = np.empty((1, 6)); pad(Pad("reflect", (2,), (1,)), (1,), np.array([[1.0, 2.0, 3.0]]), out); out
    array([[3., 2., 1., 2., 3., 2.]])
    """
    inner, part = _inside(pad, axes, x)
    out[inner] = x[part]
    for axis, to, source in _borders(pad, axes, x.shape, out.shape):
        out[_at(axis, to)] = out[_at(axis, source)]


def fold_padding(pad: Pad, axes: tuple[int, ...], y: Array, out: Array) -> None:
    """Fold the padded y into `out`; y is used up on the way.

    >>> import numpy as np
    >>> out = np.empty((1, 3)); fold_padding(Pad("edge", (1,), (0,)), (1,), np.ones((1, 4)), out); out
    array([[2., 1., 1.]])
    """
    for axis, to, source in reversed(list(_borders(pad, axes, out.shape, y.shape))):
        y[_at(axis, source)] += y[_at(axis, to)]
    inner, part = _inside(pad, axes, out)
    out[...] = 0
    with np.errstate(over="ignore"):  # y is wider where out has 16 bits: too large for those is infinite
        out[part] = y[inner]


def padded_source(pad: Pad, axis: int, extent: int, position: int) -> int:
    """The position in x, of so many elements along spatial axis `axis`, that a position of the padded axis repeats.

    >>> [padded_source(Pad("edge", (2,), (0,)), 0, 3, p) for p in range(5)]
    [0, 0, 0, 1, 2]
    """
    lo, hi = pad.lo[axis], pad.hi[axis]
    first, last = max(-lo, 0), extent - max(-hi, 0)
    at = position - max(lo, 0)
    return first + (at if 0 <= at < last - first else inner_position(pad.mode, at, last - first))


def _inside(pad: Pad, axes: tuple[int, ...], x: Array) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where x lies in the padded array, and which part of x that is."""
    inner, part = [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for axis, lo, hi in zip(axes, pad.lo, pad.hi, strict=True):
        extent = x.shape[axis]
        start, stop = max(-lo, 0), extent - max(-hi, 0)
        inner[axis], part[axis] = slice(max(lo, 0), max(lo, 0) + stop - start), slice(start, stop)
    return tuple(inner), tuple(part)


def _borders(
    pad: Pad, axes: tuple[int, ...], shape: tuple[int, ...], padded: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    """(axis, border position, the inner position it repeats), both in the padded array."""
    for axis, lo, hi in zip(axes, pad.lo, pad.hi, strict=True):
        before, after = max(lo, 0), max(hi, 0)
        extent = padded[axis] - before - after
        for to in (*range(before), *range(padded[axis] - after, padded[axis])):
            yield axis, to, before + inner_position(pad.mode, to - before, extent)


def inner_position(mode: str, position: int, extent: int) -> int:
    """The position inside an axis that one outside it repeats.

    >>> [[inner_position(mode, p, 3) for p in (-2, -1, 3, 4)] for mode in ("reflect", "symmetric")]
    [[2, 1, 1, 0], [1, 0, 2, 1]]
    """
    if mode == "edge" or extent == 1:
        return min(max(position, 0), extent - 1)
    if mode == "wrap":
        return position % extent
    if mode == "symmetric":
        there = position % (2 * extent)
        return min(there, 2 * extent - 1 - there)
    there = position % (2 * extent - 2)
    return min(there, 2 * extent - 2 - there)


def _at(axis: int, position: int) -> tuple[Any, ...]:
    return (slice(None),) * axis + (position,)


def spatial_axes(layout: Layout, letter: str) -> tuple[int, ...]:
    """The axes of a layout that hold roles beginning with that letter: i of x, p of y."""
    return tuple(a for a, axis in enumerate(layout.axes) if axis[0].role[0] == letter)
