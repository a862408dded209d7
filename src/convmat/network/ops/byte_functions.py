"""Expressions of bytes by fewer steps than they have: a table of one, factors that weigh two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...engine import Expression, Sweep, lookup, thread_pool, weigh_bytes
from ..graph import Node, Spec
from .planned import Moved
from .pointwise import describe_pass
from .weighing import BYTES, find_factors

SHORTEST = 16
"""Bytes in a row from which on it pays to load a table for them."""


def find_table(node: Node, said: Expression, there: Sequence[Spec], made: Spec) -> Moved | None:
    """Table from 8-bit numbers to 8-bit numbers: what each becomes, one for all or for each index of an axis."""
    bytes_, late = (np.int8, np.uint8), [i for i, spec in enumerate(there) if spec.value is None]
    if len(late) != 1 or made.dtype not in bytes_ or there[late[0]].dtype not in bytes_:
        return None
    (at,), x = late, there[late[0]].shape
    shapes = [(1,) * (len(x) - spec.rank) + spec.shape for spec in there if spec.value is not None]
    axes = {axis for shape in shapes for axis, n in enumerate(shape) if n > 1}
    if x != made.shape or len(axes) > 1 or any(len(shape) > len(x) for shape in shapes):
        return None
    axis = next(iter(axes), -1)
    cycle, columns = (x[axis], math.prod(x[axis + 1 :])) if axes else (1, made.size)
    plan = lookup(made.size // columns, columns, cycle, thread_pool.count()) if columns >= SHORTEST else ""
    if isinstance(plan, str):
        return None
    every = np.arange(256, dtype=np.uint8).view(there[at].dtype)[None]
    inputs = [every if spec.value is None else spec.value.reshape(-1, 1) for spec in there]
    with np.errstate(all="ignore"):
        table = np.ascontiguousarray(np.broadcast_to(said(*inputs), (cycle, 256)))
    return Moved(((Sweep(plan), (at, table), -1),), describe_pass(node).replace("one pass", "a table", 1))


REPAYING = 1 << 14
"""Elements from which on a pass over two arrays of bytes repays that the 65,536 values of its function are computed."""


def find_weighed(node: Node, said: Expression, there: Sequence[Spec], made: Spec) -> Moved | None:
    """Two arrays of bytes that numbers weigh, if that gives all that the function gives."""
    late = [i for i, spec in enumerate(there) if spec.value is None]
    if (
        len(late) != 2
        or made.size < REPAYING
        or any(spec.size > 1 for spec in there if spec.value is not None)
    ):
        return None
    first, second = late
    arrays = (there[first], there[second])
    if made.dtype not in BYTES or any(each.dtype not in BYTES or each.shape != made.shape for each in arrays):
        return None
    factors = find_factors(said, there, (first, second))
    if factors is None:
        return None
    types = (arrays[0].dtype.name, arrays[1].dtype.name, made.dtype.name)
    plan = weigh_bytes(made.size, types, thread_pool.count())
    if isinstance(plan, str):
        return None
    return Moved(((Sweep(plan), (first, second, *factors), -1),), f"{describe_pass(node)}, by two factors")


__all__ = ["find_table", "find_weighed"]
