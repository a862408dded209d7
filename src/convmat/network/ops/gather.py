"""Elements taken from places, or put there, that another input names.

Indices below 0 count from the end; one outside is an IndexError, when the node runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from .base import Options, Specs, Step, Unknown, axis_of, given, operator


def _indexed(node: Node, specs: Specs) -> tuple[Spec, Spec, int]:
    """The data, the indices and the axis."""
    x, indices = given(node, specs, 0), given(node, specs, 1)
    axis = axis_of(node, node.get("axis", 0), x.rank)
    if not x.rank or indices.dtype.kind not in "iu":
        raise node.error(f"its inputs are {x} and {indices}\n  an array and whole numbers are needed")
    return x, indices, axis


def _gathered(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, axis = _indexed(node, specs)
    return (Spec((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype),)


def _gather_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    x, indices, axis = _indexed(node, specs)
    n = x.shape[axis]
    if indices.value is None or not indices.size:
        return lambda x, indices, out: np.copyto(out, np.take(x, indices, axis=axis))
    at = indices.value
    if at.min() < -n or at.max() >= n:
        raise node.error(f"its indices are {at.min()} to {at.max()}\n  {x} has {n} places along axis {axis}")
    at = at % n
    if at.ndim == 0:
        place = (*(slice(None),) * axis, int(at))
        return lambda x, _, out: np.copyto(out, x[place])
    return lambda x, _, out: np.take(x, at, axis=axis, out=out, mode="clip")


@operator("Gather", shape=_gathered, prepare=_gather_step)
def gather(node: Node, x: Array, indices: Array) -> Any:
    """x[..., indices, ...] along an axis."""
    return np.take(x, indices, axis=node.get("axis", 0))


def _like_indices(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, _ = _indexed(node, specs)
    if x.rank != indices.rank:
        raise node.error(f"its indices {indices} do not have the axes of its input\n  {x}")
    return (Spec(indices.shape, x.dtype),)


def _open(indices: Array, axis: int, extent: int) -> tuple[Array, ...]:
    """Indices along `axis`, every element's own place along the others."""
    if indices.size and (indices.min() < -extent or indices.max() >= extent):
        raise IndexError(f"indices {indices.min()} to {indices.max()} along an axis of {extent}")
    own = list(np.ix_(*map(np.arange, indices.shape)))
    own[axis] = indices
    return tuple(own)


@operator("GatherElements", shape=_like_indices)
def gather_elements(node: Node, x: Array, indices: Array) -> Any:
    """y[i, j, ...] = x[indices[i, j, ...], j, ...] for axis 0."""
    axis = axis_of(node, node.get("axis", 0), x.ndim)
    return x[_open(indices, axis, x.shape[axis])]


def _gathered_slices(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, batch = given(node, specs, 0), given(node, specs, 1), node.get("batch_dims", 0)
    if not 0 <= batch < min(x.rank, indices.rank) or indices.shape[:batch] != x.shape[:batch]:
        raise node.error(f"its batch_dims is {batch}\n  its inputs are {x} and {indices}")
    depth = indices.shape[-1]
    if not 0 < depth <= x.rank - batch:
        raise node.error(f"its indices {indices} name {depth} axes\n  of {x}, {batch} of them the batch's")
    return (Spec((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype),)


@operator("GatherND", shape=_gathered_slices)
def gather_slices(node: Node, x: Array, indices: Array) -> Any:
    """x[indices[..., 0], indices[..., 1], ...], after `batch_dims` axes that both have."""
    batch = node.get("batch_dims", 0)
    own = np.ix_(*map(np.arange, indices.shape[:batch]))
    spread = tuple(each.reshape(*each.shape, *(1,) * (indices.ndim - 1 - batch)) for each in own)
    return x[(*spread, *np.moveaxis(indices, -1, 0))]


# -- putting -----------------------------------------------------------------------------------------------------------

UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scattered(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, indices, updates = (given(node, specs, i) for i in range(3))
    if node.op == "ScatterND":
        depth = indices.shape[-1] if indices.rank else 0
        fits = 0 < depth <= x.rank and updates.shape == (*indices.shape[:-1], *x.shape[depth:])
    else:
        axis_of(node, node.get("axis", 0), x.rank)
        fits = indices.shape == updates.shape and indices.rank == x.rank > 0
    if not fits or indices.dtype.kind not in "iu" or updates.dtype != x.dtype:
        raise node.error(f"its indices {indices} and updates {updates} do not fit its input\n  {x}")
    return (Spec(x.shape, x.dtype),)


def _put(node: Node, y: Array, places: tuple[Array, ...], updates: Array) -> Array:
    how = node.get("reduction", "none")
    if how == "none":
        y[places] = updates
    else:
        UFUNCS[how].at(y, places, updates)
    return y


@operator("ScatterElements", "Scatter", shape=_scattered)
def scatter_elements(node: Node, x: Array, indices: Array, updates: Array) -> Any:
    """x with y[indices[i, j, ...], j, ...] = updates[i, j, ...] for axis 0, or combined by `reduction`."""
    axis = axis_of(node, node.get("axis", 0), x.ndim)
    return _put(node, x.copy(), _open(indices, axis, x.shape[axis]), updates)


@operator("ScatterND", shape=_scattered)
def scatter_slices(node: Node, x: Array, indices: Array, updates: Array) -> Any:
    """x with y[indices[..., 0], indices[..., 1], ...] = updates, or combined by `reduction`."""
    return _put(node, x.copy(), tuple(np.moveaxis(indices, -1, 0)), updates)


# -- found when it runs ------------------------------------------------------------------------------------------------


def _later(node: Node, specs: Specs) -> tuple[Spec, ...]:
    raise Unknown


@operator("NonZero", shape=_later)
def non_zero(node: Node, x: Array) -> Any:
    """(rank, n): where x is not 0."""
    return np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1)


@operator("Compress", shape=_later)
def compress(node: Node, x: Array, condition: Array) -> Any:
    """x at the places along an axis (or of x read flat) where the condition holds."""
    return np.compress(condition, x, axis=node.get("axis"))
