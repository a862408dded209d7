"""Gather, Scatter and their kin by kernels that read places from indices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...engine import Indexed, Strides, Sweep, Updates, indexed_copy, scatter, strided_copy, thread_pool
from ...errors import NetworkError
from ..graph import Array, Node, Shape, Spec
from .base import Specs, axis_of, input_at
from .planned import Moved

WORD = 8
"""Bytes of the largest element that is moved as one."""


def find_indexed(node: Node, specs: Specs, made: Spec) -> Moved | None:
    """The step of a node of `FOUND`; None where it has no kernel, or its indices are known and wrong."""
    indices = input_at(node, specs, 1)
    if indices.value is not None:
        try:
            require_places(node, input_at(node, specs, 0).shape, indices.value)
        except NetworkError:  # raised again by the step that is prepared instead
            return None
    return FOUND[node.op](node, specs, made)


def require_places(node: Node, shape: Shape, indices: Array) -> None:
    """Raise NetworkError where indices name places that an array of this shape does not have."""
    if node.op in TUPLES:
        batch = node.get("batch_dims", 0)
        for part, extent in zip(np.moveaxis(indices, -1, 0), shape[batch:], strict=False):
            require_within(node, part, extent)
    else:
        require_within(node, indices, shape[axis_of(node, node.get("axis", 0), len(shape))])


TUPLES = ("GatherND", "ScatterND")
"""Operators whose indices name several axes at once."""


def require_within(node: Node, indices: Array, extent: int) -> None:
    """Raise NetworkError where an index names none of so many places."""
    if indices.size and not -extent <= indices.min() <= indices.max() < extent:
        raise node.error(
            f"its indices are {indices.min()} to {indices.max()}\n"
            f"  there are {extent} places: {-extent} to {extent - 1} are needed"
        )


def rows_along(shape: Shape, axis: int, indices: Shape, item: int) -> Indexed:
    """Gather: whole rows of what is behind the axis, the same ones for all that is before it."""
    n, row = shape[axis], math.prod(shape[axis + 1 :]) * item
    return Indexed(math.prod(shape[:axis]), math.prod(indices), row, (n,), n * row, row)


def _rows(node: Node, specs: Specs, made: Spec) -> Moved | None:
    x, indices = input_at(node, specs, 0), input_at(node, specs, 1)
    axis = axis_of(node, node.get("axis", 0), x.rank)
    return _copy(node, rows_along(x.shape, axis, indices.shape, x.dtype.itemsize), indices)


def _elements(node: Node, specs: Specs, made: Spec) -> Moved | None:
    """GatherElements: single elements, where indices leave none of another axis out."""
    x, indices, item = input_at(node, specs, 0), input_at(node, specs, 1), made.dtype.itemsize
    axis = axis_of(node, node.get("axis", 0), x.rank)
    if not _alike(x.shape, indices.shape, axis):
        return None
    n, m, before, behind = _around(x.shape, indices.shape, axis)
    outer = n * behind * item
    if behind == 1:
        return _copy(node, Indexed(before, m, item, (n,), outer, item, apart=m), indices)
    where = Indexed(before * m, behind, item, (n,), outer, behind * item, group=m, own=item, apart=behind)
    return _copy(node, where, indices)


def _slices(node: Node, specs: Specs, made: Spec) -> Moved | None:
    """GatherND: what is behind the axes that the last axis of indices names."""
    x, indices, batch = input_at(node, specs, 0), input_at(node, specs, 1), node.get("batch_dims", 0)
    depth, columns = indices.shape[-1], math.prod(indices.shape[batch:-1])
    row, outer = (math.prod(x.shape[first:]) * x.dtype.itemsize for first in (batch + depth, batch))
    extents = x.shape[batch : batch + depth]
    where = Indexed(math.prod(x.shape[:batch]), columns, row, extents, outer, row, apart=columns)
    return _copy(node, where, indices)


def _copy(node: Node, where: Indexed, indices: Spec) -> Moved | None:
    plan = indexed_copy(where, indices.dtype.name, thread_pool.count())
    if isinstance(plan, str):
        return None
    return Moved(((Sweep(plan), (0, 1, np.array(where.extents, np.int64)), -1),), check=_check(node))


def _check(node: Node) -> Callable[[Sequence[Array]], None]:
    return lambda arrays: require_places(node, arrays[0].shape, arrays[1])


def _around(shape: Shape, indices: Shape, axis: int) -> tuple[int, int, int, int]:
    """Places along an axis, indices along it, lines before it and columns behind it."""
    return shape[axis], indices[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def _alike(shape: Shape, indices: Shape, axis: int) -> bool:
    """Whether indices have as many places as an array along all axes but one."""
    return all(n == m for a, (n, m) in enumerate(zip(shape, indices, strict=True)) if a != axis)


def _put_elements(node: Node, specs: Specs, made: Spec) -> Moved | None:
    """ScatterElements, where indices leave none of another axis out."""
    indices, axis = input_at(node, specs, 1), axis_of(node, node.get("axis", 0), made.rank)
    if not _alike(made.shape, indices.shape, axis):
        return None
    (n, m, before, behind), (kind, parts) = _around(made.shape, indices.shape, axis), _moved_as(node, made)
    if behind > 1 and parts > 1:
        return None
    item = made.dtype.itemsize
    where = Updates(before, m, behind * parts, (n,), n * behind * item, behind * item, each=behind > 1)
    return _put(node, where, kind, indices, made)


def _put_slices(node: Node, specs: Specs, made: Spec) -> Moved | None:
    """ScatterND."""
    indices, (kind, parts) = input_at(node, specs, 1), _moved_as(node, made)
    depth, count = indices.shape[-1], math.prod(indices.shape[:-1])
    columns = math.prod(made.shape[depth:])
    scale = columns * made.dtype.itemsize
    return _put(node, Updates(1, count, columns * parts, made.shape[:depth], 0, scale), kind, indices, made)


def _moved_as(node: Node, made: Spec) -> tuple[str, int]:
    """The element type for the kernel, and how many of it an element is: bits alone count where nothing is combined."""
    if node.get("reduction", "none") != "none":
        return made.dtype.name, 1
    item = min(made.dtype.itemsize, WORD)
    return f"int{8 * item}", made.dtype.itemsize // item


def _put(node: Node, where: Updates, kind: str, indices: Spec, made: Spec) -> Moved | None:
    plan = scatter(where, node.get("reduction", "none"), kind, indices.dtype.name, thread_pool.count())
    copied = copy_whole(made)
    if isinstance(plan, str) or copied is None:
        return None
    moves = (*copied.moves, (Sweep(plan), (1, np.array(where.extents, np.int64), 2), -1))
    return Moved(moves, "put where indices name", check=_check(node))


def copy_whole(made: Spec) -> Moved | None:
    """The step that copies all elements of its first array into another of whatever shape; None where none does."""
    item = min(made.dtype.itemsize, WORD)
    lie = Strides(0, (item,))
    plan = strided_copy((made.bytes // item,), lie, lie, item, thread_pool.count())
    return None if isinstance(plan, str) else Moved(((Sweep(plan), (0,), -1),))


FOUND: dict[str, Callable[[Node, Specs, Spec], Moved | None]] = {
    "Gather": _rows, "GatherElements": _elements, "GatherND": _slices,
    "Scatter": _put_elements, "ScatterElements": _put_elements, "ScatterND": _put_slices,
}  # fmt: skip
"""By ONNX's name."""


__all__ = ["FOUND", "copy_whole", "find_indexed", "require_places", "require_within", "rows_along"]
