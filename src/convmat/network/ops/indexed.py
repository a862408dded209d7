"""Steps of Gather and its kin by a kernel that copies rows from where indices name them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...engine import Indexed, Sweep, indexed_copy, thread_pool
from ...errors import EngineError
from ..graph import Array, Shape, Spec

LEAST = 4096
"""Elements from which on a kernel copies them."""

Check = Callable[[Array, int], None]
"""NetworkError where an index names none of so many places."""


def rows_along(shape: Shape, axis: int, indices: Shape, item: int) -> Indexed:
    """Gather: whole rows of what is behind the axis, the same ones for all that is before it."""
    n, row = shape[axis], math.prod(shape[axis + 1 :]) * item
    return Indexed(math.prod(shape[:axis]), math.prod(indices), row, (n,), n * row, row)


def elements_along(shape: Shape, axis: int, indices: Shape, item: int) -> Indexed | None:
    """GatherElements: single elements; None where indices leave some of another axis out."""
    if any(n != m for a, (n, m) in enumerate(zip(shape, indices, strict=True)) if a != axis):
        return None
    n, m, before, behind = shape[axis], indices[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    outer = n * behind * item
    if behind == 1:
        return Indexed(before, m, item, (n,), outer, item, apart=m)
    return Indexed(before * m, behind, item, (n,), outer, behind * item, group=m, own=item, apart=behind)


def slices_of(shape: Shape, batch: int, indices: Shape, item: int) -> Indexed:
    """GatherND: what is behind the axes that the last axis of indices names."""
    depth, columns = indices[-1], math.prod(indices[batch:-1])
    row, outer = (math.prod(shape[first:]) * item for first in (batch + depth, batch))
    extents = shape[batch : batch + depth]
    return Indexed(math.prod(shape[:batch]), columns, row, extents, outer, row, apart=columns)


def copy_step(
    where: Indexed | None, x: Spec, indices: Spec, made: Spec, check: Check | None = None
) -> Callable[[Array, Array, Array], None] | None:
    """The step that has all indices checked, and then copies; None where NumPy does it."""
    if where is None or x.dtype.hasobject or made.size < LEAST or not x.size:
        return None
    kind = indices.dtype.name if indices.dtype.name in ("int32", "int64") else "int64"
    plan = indexed_copy(where, kind, thread_pool.count())
    if isinstance(plan, str):
        return None
    sweep, extents = Sweep(plan), np.array(where.extents, np.int64)
    try:
        sweep.load()
    except EngineError:  # where nothing is compiled
        return None
    unsigned, depth = np.dtype(f"u{indices.dtype.itemsize}"), len(where.extents)

    def step(x: Array, indices: Array, out: Array) -> None:
        parts = [indices] if depth == 1 else [indices[..., i] for i in range(depth)]
        for part, n in zip(parts, where.extents, strict=True):
            if (
                check is not None and int(part.view(unsigned).max()) >= n
            ):  # those below 0 are large as unsigned numbers
                check(part, n)
        sweep(x, indices.astype(kind, copy=False), extents, out)

    return step


__all__ = ["copy_step", "elements_along", "rows_along", "slices_of"]
