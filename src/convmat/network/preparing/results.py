"""What a node made when its turn came: checked, of the standard's types, apart from what it read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Node, Spec, Value
from ..ops.bodies import describe_value


def _bytes_of(element: Any) -> int:
    """Bytes of an element of a sequence: a tensor, or a map with its table."""
    return int(element.nbytes) if isinstance(element, np.ndarray) else sys.getsizeof(element)


def require_results(node: Node, made: Sequence[Value], known: Sequence[Spec | None], limit: int) -> None:
    """Require values to be what their readers were prepared for, and sequences no larger than a value may be."""
    for value, spec in zip(made, known, strict=False):
        if isinstance(value, list) and (size := sum(map(_bytes_of, value))) > limit:
            raise node.error(
                f"its sequence takes too much memory\n"
                f"  {len(value):,} elements are {size:,} bytes; memory_limit = {limit:,}"
            )
        if spec is not None and not (
            isinstance(value, np.ndarray) and (value.shape, value.dtype) == (spec.shape, spec.dtype)
        ):
            raise node.error(
                f"its result is not what its inputs promise\n  {describe_value(value)}, expected {spec}"
            )


def cast_result(value: Value, spec: Spec | None) -> Value:
    """A tensor of the type that the standard says: its reference often makes float64 of what it computes."""
    return value.astype(spec.dtype, copy=False) if spec and isinstance(value, np.ndarray) else value


def copy_shared(value: Value, seen: Sequence[Value]) -> Value:
    """A value, its arrays copied where they share memory with what was seen; sequences share tensors."""
    arrays = [x for x in seen if isinstance(x, np.ndarray)]
    if value is None:
        return None
    if isinstance(value, list):
        return [np.array(y) if any(np.may_share_memory(y, x) for x in arrays) else y for y in value]
    arrays += [x for each in seen if isinstance(each, list) for x in each if isinstance(x, np.ndarray)]
    return np.array(value) if any(np.may_share_memory(value, x) for x in arrays) else value
