"""From a graph to the same graph with gradients: reverse accumulation, node by node from the last to the first.

    d loss / d x  =  sum over the nodes that read x of  (what each node's rule gives for it)

What comes out is a Graph like any other: rewriting, plans, sweeps and the arena serve it. Speelpenning, "Compiling fast
partial derivatives of functions given by algorithms", 1980.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...errors import NetworkError
from ..graph import Graph, Node
from .rules import RULES, SEVERAL, Tape, is_flat, sloping_outputs, without_rule


def differentiate(
    graph: Graph, outputs: Mapping[str, str] | Sequence[str], by: Sequence[str]
) -> tuple[Graph, dict[str, str]]:
    """The graph with the gradients of its outputs in `by`, and the names of these.

    `outputs`: the values that are differentiated, with the names of their own gradients where the graph computes them;
    names alone stand for their sum. `by`: names of inputs, constants or any values. What does not depend on one of
    them has no node. Raises NetworkError, with all operators that have no rule.

    >>> from convmat.network.graph import Input
    >>> import numpy as np
    >>> x = Input("x", np.dtype(np.float64), (3,))
    >>> square = Graph((Node("Mul", ("x", "x"), ("y",), version=13),), (x,), ("y",), {})
    >>> found, names = differentiate(square, ["y"], ["x"])
    >>> names["x"] in found.outputs
    True
    """
    tape = Tape(graph)
    tape.needed = reached_values(graph, by)
    ahead = _behind(graph, [name for name in outputs if name in tape.needed])
    path = [n for n in graph.nodes if tape.needed.intersection(n.outputs) and ahead.intersection(n.outputs)]
    _require_rules(path)
    found: dict[str, list[str]] = {}
    for name in outputs:
        given = outputs[name] if isinstance(outputs, Mapping) else ""
        found.setdefault(name, []).append(given or tape.op("Ones", name, near=f"d.{name}", own=True))
    for node in reversed(path):
        dy = [_total(tape, found, name) if name else "" for name in node.outputs]
        if is_flat(node) or not any(dy):
            continue
        if any(dy[1:]) and node.key not in SEVERAL:
            raise _describe_second(node, dy)
        for at, gradient in RULES[node.key](node, dy, tape).items():
            found.setdefault(node.inputs[at], []).append(gradient)
    names = {name: _total(tape, found, name) for name in by}
    missing = [name for name in by if not names[name]]
    for name in missing:
        zero = tape.op("Ones", name, own=True)
        names[name] = tape.each(("sub", 0, 0), inputs=[zero], near=f"d.{name}")
    made = graph.with_nodes((*graph.nodes, *tape.nodes), tape.constants)
    return replace(made, outputs=tuple(dict.fromkeys((*graph.outputs, *names.values())))), names


def reached_values(graph: Graph, by: Sequence[str]) -> set[str]:
    """The values that depend on these by gradients, and these."""
    found = set(by)
    for node in graph.nodes:
        if found.intersection(node.reads):
            found.update(sloping_outputs(node))
    return found


def _behind(graph: Graph, names: Sequence[str]) -> set[str]:
    """The values that these are computed from, and these."""
    found = set(names)
    for node in reversed(graph.nodes):
        if found.intersection(node.outputs):
            found.update(node.reads)
    return found


def _total(tape: Tape, found: dict[str, list[str]], name: str) -> str:
    """The sum of the gradients that have come for a value; "" where none has."""
    parts = found.get(name, [])
    while len(parts) > 1:
        parts[:2] = [tape.each(("add", 0, 1), inputs=parts[:2], near=f"d.{name}")]
    return parts[0] if parts else ""


def _describe_second(node: Node, dy: Sequence[str]) -> NetworkError:
    """The error of a node of which more than the first output is differentiated."""
    at = next(at for at, name in enumerate(dy) if at and name)
    return NetworkError(
        f"train: {node.label} cannot be differentiated\n  the loss depends on its output {node.outputs[at]!r}\n"
        f"  the rule of {node.op} takes the first output alone: compute the other by nodes of its own"
    )


def _require_rules(path: Sequence[Node]) -> None:
    missing = without_rule(path)
    if not missing:
        return
    counts = Counter(node.key for node in missing)
    which = ", ".join(f"{name} ({n})" if n > 1 else name for name, n in counts.items())
    raise NetworkError(
        f"train: the network cannot be differentiated\n  no rule for {which}; the first is {missing[0].label}\n"
        "  freeze what stands before it (frozen=...), or train a part of the network that has none of these"
    )


__all__ = ["differentiate", "reached_values"]
