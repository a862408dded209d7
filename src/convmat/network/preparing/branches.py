"""Bodies and the values around them: constants put into bodies, an If replaced by the branch that is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..graph import Array, Graph, Node


def keep_constants(node: Node, constants: Mapping[str, Array]) -> Node:
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
