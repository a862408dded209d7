"""What an operator is: the shapes it makes, its meaning on arrays, and how it runs in a prepared network.

    shape(node, specs)            Specs of the inputs (None where left away) -> Specs of the outputs, nothing computed
    run(node, *arrays)            arrays in, new arrays (or views) out: the meaning, in NumPy
    prepare(node, specs, made, options)
                                  -> step(*inputs, *outputs), which writes into the outputs; None: `run`, then a copy

`shape` raises `Unknown` where a shape depends on a value that is no constant: the node then runs by `run`, when its
turn comes. One entry an operator in OPERATORS; what is not there is left to the standard's own reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Array, Node, Shape, Spec

Specs = Sequence[Spec | None]
ShapeRule = Callable[[Node, Specs], tuple[Spec, ...]]
Step = Callable[..., Any]


class Unknown(Exception):
    """The shape depends on a value that is known only when the network runs."""


@dataclass(frozen=True)
class Options:
    """What a network was loaded with, as far as its nodes need it."""

    exact: bool = False
    rtol: float | None = None
    workspace_limit: int | None = None


Prepare = Callable[[Node, Specs, tuple[Spec, ...], Options], Step | None]


@dataclass(frozen=True)
class Operator:
    """One operator of the standard. `view`: the output is the first input with another shape, and no element moves.

    `in_place`: the output may lie where the first input lay, if nobody needs that any more.
    """

    name: str
    shape: ShapeRule
    run: Callable[..., Any]
    prepare: Prepare | None = None
    view: bool = False
    in_place: bool = False

    def __call__(self, node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
        """`run`, its result as a tuple of arrays."""
        found = self.run(node, *inputs)
        several = found if isinstance(found, tuple) else (found,)
        return tuple(np.asarray(each) for each in several)


OPERATORS: dict[str, Operator] = {}
"""By ONNX's name."""


def operator(
    *names: str, shape: ShapeRule, prepare: Prepare | None = None, view: bool = False, in_place: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function, the operator's meaning, under its names."""

    def enter(run: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            assert name not in OPERATORS, name
            OPERATORS[name] = Operator(name, shape, run, prepare, view, in_place)
        return run

    return enter


# -- shape rules that many share ---------------------------------------------------------------------------------------


def given(node: Node, specs: Specs, at: int) -> Spec:
    """The input at a position; NetworkError where it is left away."""
    spec = specs[at] if at < len(specs) else None
    if spec is None:
        raise node.error(f"its input {at} is missing\n  it has {len(node.inputs)}")
    return spec


def constant(node: Node, specs: Specs, at: int) -> Array:
    """The value of an input that decides on shapes; Unknown where it is no constant."""
    value = given(node, specs, at).value
    if value is None:
        raise Unknown
    return value


def optional(node: Node, specs: Specs, at: int) -> Array | None:
    """The same where the input may be left away."""
    return constant(node, specs, at) if at < len(specs) and specs[at] is not None else None


def same(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """One output like the first input."""
    first = given(node, specs, 0)
    return (Spec(first.shape, first.dtype),)


def broadcast(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The shape that all broadcast to; NetworkError where they do not."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        words = " and ".join("x".join(map(str, s)) or "a scalar" for s in shapes)
        raise node.error(f"its inputs of shapes {words} do not broadcast") from None


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the front; NetworkError where there is none such."""
    if not -rank <= axis < max(rank, 1):
        raise node.error(f"axis {axis} of an array with {rank} axes")
    return int(axis) % max(rank, 1)
