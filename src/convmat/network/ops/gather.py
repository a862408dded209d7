"""Elements taken from places, or put there, that another input names.

Indices below 0 count from the end; one outside is refused, when the node runs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, axis_of, input_at, operator, unknown_outputs
from .indexed import require_within
from .options import Options


def _read_indices(node: Node, specs: Specs) -> tuple[Spec, Spec, int]:
    """The data, the indices and the axis."""
    x, indices = input_at(node, specs, 0), input_at(node, specs, 1)
    axis = axis_of(node, node.get("axis", 0), x.rank)
    if not x.rank or indices.dtype.kind not in "iu":
        raise node.error(f"its inputs are {x} and {indices}\n  an array and whole numbers are needed")
    return x, indices, axis


def _gather_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, axis = _read_indices(node, specs)
    return (Spec((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype),)


def _gather_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    x, indices, axis = _read_indices(node, specs)
    n = x.shape[axis]
    if indices.value is None or not indices.size:
        return _computed_step(node, x, indices, axis)
    require_within(node, indices.value, n)
    at = indices.value % n
    if at.ndim == 0:
        place = (*(slice(None),) * axis, int(at))
        return lambda x, _, out: np.copyto(out, x[place])
    return lambda x, _, out: np.take(x, at, axis=axis, out=out, mode="clip")


def _computed_step(node: Node, x: Spec, indices: Spec, axis: int) -> Step:
    """The step for indices that a call brings: no array is made on the way, and one pass looks at them.

    Those below 0 are large as unsigned numbers.
    """
    n, before = x.shape[axis], math.prod(x.shape[:axis])
    unsigned = np.dtype(f"u{indices.dtype.itemsize}")

    def take_one(x: Array, index: Array, out: Array) -> None:
        require_within(node, index, n)
        np.copyto(out, x.reshape(before, n, -1)[:, int(index)].reshape(out.shape))

    def take_several(x: Array, indices: Array, out: Array) -> None:
        if indices.size and int(indices.view(unsigned).max()) >= n:
            require_within(node, indices, n)
            indices = indices % n
        np.take(x, indices, axis=axis, out=out, mode="clip")

    if not indices.size or not x.size:
        return lambda x, indices, out: np.copyto(out, _take(node, x, indices, axis))
    return take_several if indices.rank else take_one


@operator("Gather", shape=_gather_shape, prepare=_gather_step)
def gather(node: Node, x: Array, indices: Array) -> Any:
    """x[..., indices, ...] along an axis."""
    return _take(node, x, indices, axis_of(node, node.get("axis", 0), x.ndim))


def _take(node: Node, x: Array, indices: Array, axis: int) -> Array:
    require_within(node, indices, x.shape[axis])
    return np.take(x, indices, axis=axis)


def _like_indices(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, _ = _read_indices(node, specs)
    if not _fits_beside(x, indices, axis_of(node, node.get("axis", 0), x.rank)):
        raise node.error(f"its indices {indices} do not lie within its input, but for its axis\n  {x}")
    return (Spec(indices.shape, x.dtype),)


def _fits_beside(x: Spec, indices: Spec, axis: int) -> bool:
    """Whether indices have the axes of x, and along each but one no more places than it."""
    return x.rank == indices.rank and all(
        m <= n or a == axis for a, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True))
    )


def _open(node: Node, indices: Array, axis: int, extent: int) -> tuple[Array, ...]:
    """Indices along `axis`, every element's own place along the others."""
    require_within(node, indices, extent)
    own = list(np.ix_(*map(np.arange, indices.shape)))
    own[axis] = indices
    return tuple(own)


@operator("GatherElements", shape=_like_indices)
def gather_elements(node: Node, x: Array, indices: Array) -> Any:
    """y[i, j, ...] = x[indices[i, j, ...], j, ...] for axis 0."""
    if not x.size:
        return x[_element_places(node, indices, x.shape)]
    return np.take(x, _count_along(_element_places(node, indices, x.shape), x.shape), mode="clip")


def _element_places(node: Node, indices: Array, shape: Shape) -> tuple[Array, ...]:
    """Where in an x of this shape the elements of GatherElements are."""
    axis = axis_of(node, node.get("axis", 0), len(shape))
    return _open(node, indices, axis, shape[axis])


def _gather_slices_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, batch = input_at(node, specs, 0), input_at(node, specs, 1), node.get("batch_dims", 0)
    if not 0 <= batch < min(x.rank, indices.rank) or indices.shape[:batch] != x.shape[:batch]:
        raise node.error(f"its batch_dims is {batch}\n  its inputs are {x} and {indices}")
    depth = indices.shape[-1]
    if not 0 < depth <= x.rank - batch or indices.dtype.kind not in "iu":
        raise node.error(f"its indices {indices} name {depth} axes\n  of {x}, {batch} of them the batch's")
    return (Spec((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype),)


@operator("GatherND", shape=_gather_slices_shape)
def gather_slices(node: Node, x: Array, indices: Array) -> Any:
    """x[indices[..., 0], indices[..., 1], ...], after `batch_dims` axes that both have."""
    places = _slice_places(node, indices, x.shape)
    if not x.size:
        return x[places]
    depth = len(places)
    slices = x.reshape(-1, *x.shape[depth:])
    return np.take(slices, _count_along(places, x.shape[:depth]), axis=0, mode="clip")


def _slice_places(node: Node, indices: Array, shape: Shape) -> tuple[Array, ...]:
    """Where in an x of this shape the slices of GatherND are."""
    batch = node.get("batch_dims", 0)
    own = np.ix_(*map(np.arange, indices.shape[:batch]))
    spread = tuple(each.reshape(*each.shape, *(1,) * (indices.ndim - 1 - batch)) for each in own)
    return (*spread, *_tuples(node, indices, shape[batch:]))


PLACES = {"GatherElements": _element_places, "GatherND": _slice_places}
"""Where an operator's elements or slices are in x."""


def _tuples(node: Node, indices: Array, extents: Shape) -> tuple[Array, ...]:
    """What indices (..., k) say of each of k axes."""
    found = tuple(np.moveaxis(indices, -1, 0))
    for each, extent in zip(found, extents, strict=False):
        require_within(node, each, extent)
    return found


# -- putting -----------------------------------------------------------------------------------------------------------

UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
"""By the name of the `reduction`, which is an attribute since operator set 16."""


def _scatter_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, updates = (input_at(node, specs, i) for i in range(3))
    if node.get("reduction", "none") not in ("none", *UFUNCS):
        raise node.error(f"its reduction is {node.get('reduction')!r}\n  there are none, {', '.join(UFUNCS)}")
    if node.op == "ScatterND":
        depth = indices.shape[-1] if indices.rank else 0
        fits = 0 < depth <= x.rank and updates.shape == (*indices.shape[:-1], *x.shape[depth:])
    else:
        axis = axis_of(node, node.get("axis", 0), x.rank)
        fits = indices.shape == updates.shape and _fits_beside(x, indices, axis) and x.rank > 0
    if not fits or indices.dtype.kind not in "iu" or updates.dtype != x.dtype:
        raise node.error(f"its indices {indices} and updates {updates} do not fit its input\n  {x}")
    return (Spec(x.shape, x.dtype),)


def _scatter_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """y[..., indices, ...] = updates for a y that is x, or combined by `reduction`."""
    put = _put_slices if node.op == "ScatterND" else _put_elements

    def step(x: Array, indices: Array, updates: Array, out: Array) -> None:
        np.copyto(out, x)
        put(node, out, indices, updates)

    return step


@operator("ScatterElements", "Scatter", shape=_scatter_shape, prepare=_scatter_step)
def scatter_elements(node: Node, x: Array, indices: Array, updates: Array) -> Any:
    """x with y[indices[i, j, ...], j, ...] = updates[i, j, ...] for axis 0, or combined by `reduction`."""
    return _put_elements(node, x.copy(), indices, updates)


@operator("ScatterND", shape=_scatter_shape, prepare=_scatter_step)
def scatter_slices(node: Node, x: Array, indices: Array, updates: Array) -> Any:
    """x with y[indices[..., 0], indices[..., 1], ...] = updates, or combined by `reduction`."""
    return _put_slices(node, x.copy(), indices, updates)


def _put_elements(node: Node, y: Array, indices: Array, updates: Array) -> Array:
    """Each element of `updates` in its place; where all of a row go together (as Expand makes them), row by row."""
    axis = axis_of(node, node.get("axis", 0), y.ndim)
    places = _open(node, indices, axis, y.shape[axis])
    if axis or not indices.size or y.shape[1:] != indices.shape[1:]:
        return _put(node, y, places, updates)
    rows, size = indices.reshape(len(indices), -1), updates[0].size
    if size == 1 or not (rows == rows[:, :1]).all():
        return _put(node, y, places, updates)
    _put_rows(node, y.reshape(len(y), -1), rows[:, 0] % len(y), updates.reshape(len(updates), -1))
    return y


def _put_slices(node: Node, y: Array, indices: Array, updates: Array) -> Array:
    """Each slice of `updates` in its place."""
    depth = indices.shape[-1]
    places = _tuples(node, indices, y.shape)
    if not updates.size:
        return y
    if depth == y.ndim:
        return _put(node, y, places, updates)
    extents = y.shape[:depth]
    wrapped = tuple((each % n).reshape(-1) for each, n in zip(places, extents, strict=True))
    rows = np.ravel_multi_index(wrapped, extents)
    slices = y.reshape(math.prod(extents), -1)
    _put_rows(node, slices, rows, updates.reshape(len(rows), slices.shape[1]))
    return y


def _put_rows(node: Node, y: Array, rows: Array, updates: Array) -> None:
    """Whole rows of y: their updates one after the other."""
    how = node.get("reduction", "none")
    if how == "none":
        y[rows] = updates
    else:
        places = rows[:, np.newaxis] * y.shape[1] + np.arange(y.shape[1])
        UFUNCS[how].at(y.reshape(-1), places.reshape(-1), updates.reshape(-1))


def _put(node: Node, y: Array, places: tuple[Array, ...], updates: Array) -> Array:
    """Elements of y by their own places."""
    if y.size:
        how, flat = node.get("reduction", "none"), y.reshape(-1)
        at, values = _count_along(places, y.shape).reshape(-1), updates.reshape(-1)
        if how == "none":
            flat[at] = values
        else:
            UFUNCS[how].at(flat, at, values)
    return y


def _count_along(places: tuple[Array, ...], shape: Shape) -> Array:
    """The numbers, in an array of this shape read flat, of the elements at places along each axis.

    NumPy finds elements by one number several times as quickly as by one for each axis.
    """
    found: Array = np.empty(np.broadcast_shapes(*(each.shape for each in places)), np.int64)
    known = sorted(zip(places, shape, _steps(shape), strict=True), key=lambda place: -place[0].size)
    for number, (each, n, step) in enumerate(known):
        own = each.astype(np.int64, copy=False)  # NumPy multiplies 32-bit numbers in 32 bits
        own = own % n if own.min(initial=0) < 0 else own
        if number:
            found += own * step
        else:
            np.multiply(own, step, out=found)
    return found


def _steps(shape: Shape) -> tuple[int, ...]:
    """How many elements apart neighbours along each axis are."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


# -- found when it runs ------------------------------------------------------------------------------------------------


@operator("NonZero", shape=unknown_outputs, late=True)
def non_zero(node: Node, x: Array) -> Any:
    """(rank, n): where x is not 0; of a scalar (0, 1) or (0, 0)."""
    return np.ascontiguousarray(np.argwhere(x).T, np.int64)


@operator("Compress", shape=unknown_outputs, late=True)
def compress(node: Node, x: Array, condition: Array) -> Any:
    """x at the places along an axis (or of x read flat) where the condition holds."""
    return np.compress(condition, x, axis=node.get("axis"))
