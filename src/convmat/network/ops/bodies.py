"""If: one of two bodies. Its answer is known beforehand as far as both agree on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Array, Graph, Node, Spec, Value
from .base import OPERATORS, Around, Bodies, Inside, Operator, Specs, unknown_outputs

BRANCHES = ("then_branch", "else_branch")
Closed = Callable[[Sequence[Value], Sequence[Value]], list[Value]]


def body_of(node: Node, name: str, inputs: int, outputs: int) -> Graph:
    """The body in an attribute, once it has as many inputs and outputs of its own as its operator needs."""
    graph = node.get(name)
    if not isinstance(graph, Graph):
        raise node.error(f"its {name} is missing\n  a graph is needed")
    own = len(graph.inputs) - len(graph.captured)
    if own != inputs or len(graph.outputs) != outputs:
        raise node.error(
            f"its {name} does not fit it\n  {own} inputs and {len(graph.outputs)} outputs, "
            f"{inputs} and {outputs} are needed"
        )
    return graph


def place_captured(node: Node, graph: Graph) -> list[int]:
    """Where the values that a body reads of those around it stand in `node.captured`."""
    places = {name: at for at, name in enumerate(node.inside)}
    return [places[name] for name in graph.captured]


def close_body(node: Node, graph: Graph, about: Around) -> Closed:
    """A body's runner that takes the operator's own values, and picks of the captured what the body reads."""
    run, places = about.runner(graph), place_captured(node, graph)
    return lambda own, captured: run([*own, *(captured[at] for at in places)])


def tensor_specs(values: Sequence[Value]) -> list[Spec | None]:
    """The Specs of values that are tensors; what is in them is not known."""
    return [Spec(v.shape, v.dtype) if isinstance(v, np.ndarray) else None for v in values]


def captured_specs(node: Node, graph: Graph, specs: Specs) -> list[Spec | None]:
    """The Specs of what a body reads of the values around it, of those of all that its node reads."""
    return [specs[len(node.inputs) + at] for at in place_captured(node, graph)]


def _branches(node: Node) -> list[Graph]:
    return [body_of(node, name, 0, len(node.outputs)) for name in BRANCHES]


def taken_branch(node: Node, condition: Array) -> Graph:
    """The branch that an If takes."""
    return _branches(node)[0 if read_condition(node, condition, "condition") else 1]


def read_condition(node: Node, value: Any, what: str) -> bool:
    """A condition: a tensor of one element."""
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise node.error(f"its {what} is not one truth value\n  {describe_value(value)}")
    return bool(value.reshape(()))


def describe_value(value: Value) -> str:
    """A value in an error."""
    if isinstance(value, np.ndarray):
        return str(Spec.of(value))
    return "it is empty" if value is None else f"a sequence of {len(value)}"


def _either(node: Node, specs: Specs, inside: Inside) -> tuple[Spec | None, ...]:
    first, second = (inside(graph, captured_specs(node, graph, specs)) for graph in _branches(node))
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


def _open_if(node: Node, about: Around) -> Callable[..., tuple[Value, ...]]:
    then, other = (close_body(node, graph, about) for graph in _branches(node))

    def run(condition: Value, *captured: Value) -> tuple[Value, ...]:
        return tuple((then if read_condition(node, condition, "condition") else other)((), captured))

    return run


def enter_with_bodies(name: str, bodies: Bodies) -> None:
    """An operator with bodies, under its name."""

    def run(node: Node, *arrays: Array | None) -> Any:
        raise AssertionError(node.label)  # it runs as `bodies.open` says

    OPERATORS[name] = Operator(name, unknown_outputs, run, bodies=bodies)


enter_with_bodies("If", Bodies(_either, _open_if))
