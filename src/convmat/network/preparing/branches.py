"""Bodies and the values around them: constants put into bodies, an If replaced by the branch that is taken.

s = W; for each turn: x, s = f(x, s), s        ->        x = f(x, W): W is packed once
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..graph import Array, Graph, Node

STATES = {"Loop": (2, 1), "Scan": (0, 0)}
"""What a body has before its states: so many inputs, so many outputs."""


def keep_constants(node: Node, constants: Mapping[str, Array]) -> Node:
    """The node with what is constant kept in its bodies themselves: captured values, and states that never change."""
    return _keep_captured(_keep_states(node, constants), constants)


def _keep_states(node: Node, constants: Mapping[str, Array]) -> Node:
    """The node with its constant states, where its body gives them back as they are, kept in the body.

    They still go in and out, under new names: exporters that know no captured values carry weights on like this.
    """
    body = node.get("body")
    old = node.op == "Scan" and node.version < 9  # which cuts its states by images
    if node.domain or node.op not in STATES or old or not isinstance(body, Graph):
        return node
    before, ahead = STATES[node.op]
    states = node.inputs[before : len(node.inputs) - node.get("num_scan_inputs", 0)]
    inputs, outputs, found = list(body.inputs), list(body.outputs), dict[str, Array]()
    taken = {*(each.name for each in inputs), *body.constants, *body.producer}
    for given, i, o in zip(states, range(before, len(inputs)), range(ahead, len(outputs)), strict=False):
        own = inputs[i].name
        if given in constants and constants[given].dtype != object and _is_same(body, outputs[o], own):
            found[own] = constants[given]
            outputs[o] = _new(own, taken)
            inputs[i] = replace(inputs[i], name=outputs[o])
    if not found:
        return node
    known = {**body.constants, **found}
    made = replace(body, inputs=tuple(inputs), outputs=tuple(outputs), constants=known)
    return replace(node, attributes={**node.attributes, "body": made})


def _is_same(body: Graph, output: str, name: str) -> bool:
    """Whether an output is an input, by way of any number of Identities."""
    while output != name and (node := body.producer.get(output)) is not None and node.op == "Identity":
        output = node.inputs[0]
    return output == name


def _keep_captured(node: Node, constants: Mapping[str, Array]) -> Node:
    """The node with the captured values that are constant kept in its bodies themselves."""
    fixed = {
        inner: constants[name]
        for name, inner in zip(node.captured, node.inside, strict=True)
        if name in constants
    }
    if not fixed:
        return node
    attributes = {
        key: _fix(value, fixed) if isinstance(value, Graph) else value
        for key, value in node.attributes.items()
    }
    left = [i for i, inner in enumerate(node.inside) if inner not in fixed]
    captured, inside = (tuple(names[i] for i in left) for names in (node.captured, node.inside))
    return replace(node, attributes=attributes, captured=captured, inside=inside)


def _fix(graph: Graph, fixed: Mapping[str, Array]) -> Graph:
    found = {name: fixed[name] for name in graph.captured if name in fixed}
    return replace(
        graph,
        inputs=tuple(each for each in graph.inputs if each.name not in found),
        captured=tuple(name for name in graph.captured if name not in found),
        constants={**graph.constants, **found},
    )


def inline_branch(node: Node, branch: Graph, taken: set[str]) -> tuple[list[Node], dict[str, Array]]:
    """The nodes and constants of an If's branch in the graph around it; `taken` are the names there, new ones join."""
    names = {inner: name for name, inner in zip(node.captured, node.inside, strict=True)}
    names = {inner: name for inner, name in names.items() if inner in branch.captured}
    own = [*branch.constants, *(name for each in branch.nodes for name in each.outputs if name)]
    written = {name for each in branch.nodes for name in each.outputs}
    copies = []
    for name, given in zip(branch.outputs, node.outputs, strict=True):
        if not given:
            continue
        if name in written and name not in names:
            names[name] = given
        else:  # a value of two names, a constant, or one from around
            copies.append((name, given))
    for name in own:
        if name not in names:
            names[name] = _new(f"{node.outputs[0]}/{name}", taken)
    nodes = [_name(each, names) for each in branch.nodes]
    nodes += [Node("Identity", (names[name],), (given,), {}, node.name, 13) for name, given in copies]
    return nodes, {names[name]: array for name, array in branch.constants.items()}


def _name(node: Node, names: Mapping[str, str]) -> Node:
    inputs, outputs, captured = (
        tuple(names[name] if name else "" for name in each)
        for each in (node.inputs, node.outputs, node.captured)
    )
    return replace(node, inputs=inputs, outputs=outputs, captured=captured)


def _new(near: str, taken: set[str]) -> str:
    name, n = near, 0
    while name in taken:
        name, n = f"{near}#{n}", n + 1
    taken.add(name)
    return name
