"""Functions of single elements, of one array or several that broadcast.

Each is a NumPy ufunc, or a formula in its own module's place below; one rule of shapes serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from .base import Options, Specs, Step, broadcast, given, operator, same


def _together(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """All inputs broadcast; the element type is the first one's."""
    found = [given(node, specs, i) for i in range(len(specs))]
    if any(each.dtype != found[0].dtype for each in found[1:]):
        raise node.error(
            f"its inputs have different element types: {', '.join(str(each.dtype) for each in found)}"
        )
    return (Spec(broadcast(node, [each.shape for each in found]), found[0].dtype),)


def _compared(node: Node, specs: Specs) -> tuple[Spec, ...]:
    (first,) = _together(node, specs)
    return (Spec(first.shape, np.dtype(bool)),)


def _ufunc(function: np.ufunc) -> Callable[[Node, Specs, tuple[Spec, ...], Options], Step]:
    def prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
        return function  # its last argument is where the result goes

    return prepare


def _enter(names: dict[str, np.ufunc], rule: Any) -> None:
    for name, function in names.items():
        operator(name, shape=rule, prepare=_ufunc(function), in_place=rule is not _compared)(
            lambda node, *arrays, f=function: f(*arrays)
        )


_enter({"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}, _together)


@operator("Relu", shape=same, in_place=True, prepare=lambda *_: lambda x, out: np.clip(x, 0, None, out=out))
def relu(node: Node, x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)
