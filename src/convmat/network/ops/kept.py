"""Elements kept or turned round by their place: the triangles of matrices, and sequences read backwards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...engine import Sweep, indexed_copy, thread_pool
from ...errors import EngineError
from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, axis_of, has_input, input_at, operator
from .indexed import rows_along
from .options import Options


def _triangle(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    if x.rank < 2:
        raise node.error(f"its input is {x}\n  matrices are needed: two axes at least")
    if has_input(specs, 1) and (
        input_at(node, specs, 1).size != 1 or input_at(node, specs, 1).dtype.kind not in "iu"
    ):
        raise node.error(f"its k is {input_at(node, specs, 1)}\n  one whole number is needed")
    return (Spec(x.shape, x.dtype),)


LEAST = 4096
"""Elements from which on a kernel turns sequences."""

MOST_MASKED = 1 << 22
"""Bytes that the mask of a matrix may take, which a prepared network holds."""


def _triangle_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """Elements as bits, and with a mask: one pass, many at a time, which leaves NaN and infinity as they are."""
    x, k = input_at(node, specs, 0), input_at(node, specs, 1).value if has_input(specs, 1) else np.zeros(1)
    item = x.dtype.itemsize
    if (
        k is None
        or x.dtype.hasobject
        or item not in (1, 2, 4, 8)
        or math.prod(x.shape[-2:]) * item > MOST_MASKED
    ):
        return None
    bits = np.dtype(f"i{item}")
    mask = np.where(_find_kept(node, x.shape, int(k.reshape(-1)[0])), bits.type(-1), bits.type(0))

    def step(*arrays: Array) -> None:
        np.bitwise_and(arrays[0].view(bits), mask, out=arrays[-1].view(bits))

    return step


def _find_kept(node: Node, shape: Shape, k: int) -> Array:
    """Whether each element of a matrix lies in the triangle."""
    rows, columns = shape[-2:]
    beyond = min(max(k, -rows), columns)
    place = np.arange(columns) - np.arange(rows)[:, None]
    return np.asarray(place >= beyond if node.get("upper", 1) else place <= beyond)


@operator("Trilu", shape=_triangle, prepare=_triangle_step)
def constant_triangle(node: Node, x: Array, k: Array | None = None) -> Any:
    """The elements on and above the k-th diagonal of each matrix (or below, `upper` = 0), 0 elsewhere."""
    kept = _find_kept(node, x.shape, 0 if k is None else int(k.reshape(-1)[0]))
    return np.where(kept, x, "" if x.dtype.hasobject else x.dtype.type(0))


def _turn_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, lengths = input_at(node, specs, 0), input_at(node, specs, 1)
    time, batch = node.get("time_axis", 0), node.get("batch_axis", 1)
    if x.rank < 2 or {time, batch} != {0, 1}:
        raise node.error(
            f"its time_axis is {time} and its batch_axis {batch}\n  0 and 1, or 1 and 0, of {x} are needed"
        )
    if lengths.shape != (x.shape[batch],) or lengths.dtype.kind not in "iu":
        raise node.error(
            f"its sequence_lens is {lengths}\n  int64[{x.shape[batch]}] is needed, as its input is {x}"
        )
    return (Spec(x.shape, x.dtype),)


def _turned_steps(node: Node, x: Spec, lengths: Array) -> Array:
    """(T, B): which step of its sequence each is. NetworkError where a sequence has no such length."""
    T = x.shape[axis_of(node, node.get("time_axis", 0), x.rank)]
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= T:
        raise node.error(
            f"its sequence_lens are {lengths.min()} to {lengths.max()}\n  its input has {T} steps: 0 to {T} are needed"
        )
    steps, ends = np.arange(T)[:, None], lengths[None, :]
    return np.where(steps < ends, ends - 1 - steps, steps)


def _turn_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    x, time = input_at(node, specs, 0), node.get("time_axis", 0)
    rows, sequences = x.shape[0] * x.shape[1], np.arange(x.shape[1 - time])
    where = rows_along((rows, *x.shape[2:]), 0, (rows,), x.dtype.itemsize)
    plan = indexed_copy(where, "int64", thread_pool.count())
    if isinstance(plan, str) or made[0].size < LEAST or made[0].dtype.hasobject:
        return None
    sweep, extents = Sweep(plan), np.array([rows])
    try:
        sweep.load()
    except EngineError:  # where nothing is compiled
        return None

    def step(x: Array, lengths: Array, out: Array) -> None:
        source = _turned_steps(node, made[0], lengths)
        flat = (
            source * len(sequences) + sequences if time == 0 else sequences[:, None] * len(source) + source.T
        )
        sweep(x, flat, extents, out)

    return step


@operator("ReverseSequence", shape=_turn_shape, prepare=_turn_step)
def turn(node: Node, x: Array, lengths: Array) -> Any:
    """The first elements of each sequence, so many as it has, backwards; the others stay."""
    source, time = _turned_steps(node, Spec.of(x), lengths), axis_of(node, node.get("time_axis", 0), x.ndim)
    sequences = np.arange(x.shape[1 - time])
    return x[source, sequences] if time == 0 else x[sequences[:, None], source.T]
