"""TopK by a kernel: the first as ArgMax finds it; more along the last axis, or lines that are copied, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import Strides, Sweep, contiguous_strides, extreme_places, strided_copy, thread_pool, top
from ..graph import Array, Node, Shape, Spec
from .base import Specs, axis_of, input_at
from .planned import Moved, Swept
from .reductions import wanted_count

OUTPUTS = 2
"""The elements, and where they are."""

Turn = tuple[Sweep, tuple[int | Array, ...], int]


def find_top(node: Node, specs: Specs, made: Sequence[Spec]) -> Moved | Swept | None:
    """The step of TopK; None where it has no kernel."""
    x, k = input_at(node, specs, 0), wanted_count(node, specs)
    axis = axis_of(node, node.get("axis", -1), x.rank)
    before, n, behind = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    largest, threads = bool(node.get("largest", 1)), thread_pool.count()
    if (
        k == 1 and len(made) == OUTPUTS and (largest or x.dtype.kind == "i")
    ):  # ArgMin's least is NaN, the last here
        first = extreme_places(x.shape, axis, x.dtype.name, threads, least=not largest, valued=True)
        if not isinstance(first, str):
            return Swept(Sweep(first), "compared", writes=OUTPUTS)
    found = top(before * behind, n, k, x.dtype.name, threads, largest=largest)
    if isinstance(found, str):
        return None
    plan, scratch = found
    own = sum(
        spec is not None for spec in specs
    )  # the place of the first output among the arrays of the step
    between, moves, back = [Spec((scratch,), np.dtype(np.uint8))], [], []

    def lie_between(shape: Shape, dtype: np.dtype[Any]) -> int:
        between.append(Spec(shape, dtype))
        return own + len(made) + len(between) - 1

    source = 0
    if behind > 1:
        source = lie_between((before, behind, n), x.dtype)
        moves.append(_turn((before, n, behind), x.dtype, 0, source))
    targets, named = [], own
    for dtype, name in zip((x.dtype, np.dtype(np.int64)), (*node.outputs, "")[:OUTPUTS], strict=True):
        lies = bool(name) and behind == 1
        targets.append(named if lies else lie_between((before, behind, k), dtype))
        if name and not lies:
            back.append(_turn((before, behind, k), dtype, targets[-1], named))
        named += bool(name)
    moves.append((Sweep(plan), (source, own + len(made), targets[0]), targets[1]))
    return Moved((*moves, *back), "the first in order", tuple(between))


def _turn(shape: Shape, dtype: np.dtype[Any], source: int, target: int) -> Turn:
    """The copy of an array that exchanges its last two axes."""
    before, n, behind = shape
    x, y = (contiguous_strides(each, dtype.itemsize) for each in (shape, (before, behind, n)))
    made = strided_copy(
        (before, behind, n),
        Strides(0, (x[0], x[2], x[1])),
        Strides(0, y),
        dtype.itemsize,
        thread_pool.count(),
    )
    assert not isinstance(made, str)
    return Sweep(made), (source,), target


__all__ = ["find_top"]
