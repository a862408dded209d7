"""Several passes over an array, a block of it at a time: what one pass leaves is still in cache for the next.

    out[block] = function(*(x[block] for x in inputs))

A function of whole arrays is written once, plainly; its intermediate results are a block large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ..graph import Array, Shape

BYTES = 128 * 1024
"""Bytes of a block: with its intermediate results it stays in a second-level cache."""


def blockwise(function: Callable[..., Array], out: Array, *inputs: Array) -> None:
    """out = function(*inputs), elements of the broadcast inputs each for itself; `out` may be an input."""
    if out.nbytes <= BYTES:
        out[...] = function(*inputs)
        return
    flat = out.flags.c_contiguous and all(x.size == 1 or _are_alike(x, out) for x in inputs)
    if flat:
        size = BYTES // out.itemsize
        whole = [x.reshape(()) if x.size == 1 else x.reshape(-1) for x in inputs]
        y = out.reshape(-1)
        for at in range(0, y.size, size):
            y[at : at + size] = function(*(x[at : at + size] if x.ndim else x for x in whole))
        return
    shown = [np.broadcast_to(x, out.shape) for x in inputs]
    for index in cut_slabs(out.shape, out.itemsize):
        out[index] = function(*(x[index] for x in shown))


def cut_slabs(shape: Shape, itemsize: int, keep: int = 0) -> Iterator[tuple[Any, ...]]:
    """Indices that cut an array into blocks along its first axes; the last `keep` axes stay whole.

    >>> list(cut_slabs((2, 3), 8))
    [(slice(0, 2, None),)]
    >>> list(cut_slabs((2, 1, 100_000), 8, keep=1))
    [(0, 0), (1, 0)]
    """
    cut = 0
    while cut < len(shape) - max(keep, 1) and math.prod(shape[cut + 1 :]) * itemsize > BYTES:
        cut += 1
    if cut >= len(shape) - keep:
        yield from product(*map(range, shape[:cut]))
        return
    step = max(1, BYTES // max(1, math.prod(shape[cut + 1 :]) * itemsize))
    for outer in product(*map(range, shape[:cut])):
        for at in range(0, shape[cut], step):
            yield (*outer, slice(at, min(at + step, shape[cut])))


def _are_alike(x: Array, out: Array) -> bool:
    return x.shape == out.shape and x.flags.c_contiguous
