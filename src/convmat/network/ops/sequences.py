"""Sequences of tensors, and optionals: a list, and a value or nothing. None of them moves an element.

What they give is known once they ran, and nobody writes into it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node, Value
from .base import axis_of, operator, unknown_outputs
from .bodies import describe_value


def _sequence(node: Node, value: Any) -> list[Array]:
    if not isinstance(value, list):
        raise node.error(f"its input is no sequence\n  {describe_value(value)}")
    return value


def _tensor(node: Node, value: Any) -> Array:
    if not isinstance(value, np.ndarray):
        raise node.error(f"its input is no tensor\n  {describe_value(value)}")
    return value


def _place(node: Node, at: Any, count: int, last: int) -> int:
    """A position from the front, of those up to `last`."""
    array = _tensor(node, at)
    n = int(array.reshape(())) if array.size == 1 else last + 1
    if not -count <= n <= last:
        raise node.error(f"there is no place {array.tolist()} in its sequence\n  it has {count}")
    return n + count if n < 0 else n


@operator("SequenceEmpty", shape=unknown_outputs, late=True)
def empty(node: Node) -> Any:
    """A sequence of no tensor."""
    return []


@operator("SequenceConstruct", shape=unknown_outputs, late=True)
def construct(node: Node, *tensors: Value) -> Any:
    """A sequence of the inputs."""
    return [_tensor(node, each) for each in tensors]


@operator("SequenceAt", shape=unknown_outputs, late=True)
def pick(node: Node, sequence: Value, at: Value) -> Any:
    """The tensor at a place, counted from the back where it is negative."""
    several = _sequence(node, sequence)
    return several[_place(node, at, len(several), len(several) - 1)]


@operator("SequenceInsert", shape=unknown_outputs, late=True)
def insert(node: Node, sequence: Value, tensor: Value, at: Value = None) -> Any:
    """One tensor more, before a place or at the end."""
    several = _sequence(node, sequence)
    n = len(several)
    i = n if at is None else _place(node, at, n, n)
    return [*several[:i], _tensor(node, tensor), *several[i:]]


@operator("SequenceErase", shape=unknown_outputs, late=True)
def erase(node: Node, sequence: Value, at: Value = None) -> Any:
    """The sequence without the tensor at a place, the last if none is said."""
    several = _sequence(node, sequence)
    n = len(several)
    i = _place(node, np.array(-1) if at is None else at, n, n - 1)
    return [*several[:i], *several[i + 1 :]]


@operator("SequenceLength", shape=unknown_outputs, late=True)
def length(node: Node, sequence: Value) -> Any:
    """How many tensors there are."""
    return np.array(len(_sequence(node, sequence)), np.int64)


@operator("ConcatFromSequence", shape=unknown_outputs, late=True)
def join(node: Node, sequence: Value) -> Any:
    """The tensors one after the other along an axis, a new one if asked."""
    several, new = _sequence(node, sequence), bool(node.get("new_axis", 0))
    if not several or (not several[0].ndim and not new):
        raise node.error(f"its sequence has nothing to join\n  {describe_value(several)}")
    axis = axis_of(node, node.get("axis", 0), several[0].ndim + new)
    apart = {each.shape if new else each.shape[:axis] + each.shape[axis + 1 :] for each in several}
    kinds = {(each.ndim, each.dtype) for each in several}
    if len(apart) > 1 or len(kinds) > 1:
        listed = ", ".join(describe_value(each) for each in several[:4])
        raise node.error(f"its tensors cannot be joined along axis {axis}\n  {listed}")
    return np.stack(several, axis) if new else np.concatenate(several, axis)


@operator("SplitToSequence", shape=unknown_outputs, late=True)
def split(node: Node, x: Value, sizes: Value = None) -> Any:
    """x in parts along an axis: of sizes in a row, of one size, or slices, these without the axis if asked."""
    array = _tensor(node, x)
    axis = axis_of(node, node.get("axis", 0), array.ndim)
    if not array.ndim:
        raise node.error("its input has no axis to be split along")
    n = array.shape[axis]
    if sizes is None:
        if not node.get("keepdims", 1):
            return [np.take(array, i, axis) for i in range(n)]
        parts = [1] * n
    else:
        wanted = _tensor(node, sizes)
        parts = [int(each) for each in wanted.reshape(-1)]
        if not wanted.ndim:
            size = parts[0]
            parts = [min(size, n - i) for i in range(0, n, size)] if size > 0 else [-1]
        if min(parts, default=0) < 0 or sum(parts) != n:
            raise node.error(
                f"its parts {wanted.tolist()} do not make {n}\n  along axis {axis} of {describe_value(x)}"
            )
    ends = np.cumsum([0, *parts]).tolist()
    front = (slice(None),) * axis
    return [
        np.array(array[(*front, slice(a, a + size))], order="C") for a, size in zip(ends, parts, strict=False)
    ]


@operator("Optional", shape=unknown_outputs, late=True)
def wrap(node: Node, value: Value = None) -> Any:
    """The input, or nothing."""
    return value


@operator("OptionalGetElement", shape=unknown_outputs, late=True)
def unwrap(node: Node, value: Value = None) -> Any:
    """What is in it."""
    if value is None:
        raise node.error("its optional is empty\n  ask OptionalHasElement first")
    return value


@operator("OptionalHasElement", shape=unknown_outputs, late=True)
def optional_has_element(node: Node, value: Value = None) -> Any:
    """Whether there is something in it."""
    return np.array(value is not None)
