"""Parameters: which constants of a network are trained.

    y = x Wt + b        Wt = Transpose(W)            W and b

The floats that layers read as their weights, directly or through what is computed of constants alone: exporters write
weights transposed, cut and joined, and a weight that is normalised is a quotient. Beside layers, what is added to a
value that depends on the input or on parameters, and vectors that such a value is multiplied by: biases, scales. A
single number is none of these, but for the bias of a product of one column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain

import numpy as np

from ..network.gradients import RULES
from ..network.gradients.differentiate import reached_values
from ..network.gradients.rules import is_flat
from ..network.graph import Array, Graph, Node

PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "Einsum": (0, 1),
    "RNN": (1, 2, 3),
    "GRU": (1, 2, 3),
    "LSTM": (1, 2, 3, 7),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "Gather": (0,),
}
"""By operator, the inputs whose constants are trained."""

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})
"""Operators whose bias may be an Add behind them."""

SUMMED = ("Add", "Mul")
"""Operators one of whose inputs may be trained: what another value is added to, or multiplied by."""

ONE_TO_ONE = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators behind which a single number may be a parameter; of those that compute, it is a setting."""


def parameters(graph: Graph) -> tuple[str, ...]:
    """The names of the constants that are trained, in the order of the nodes that read them."""
    made = _find_constant_values(graph)
    layers = [node for node in graph.nodes if not node.domain and node.op in PARAMETERS]
    weights = chain.from_iterable(_weights(graph, node, made) for node in layers)
    reached = reached_values(graph, [*(each.name for each in graph.inputs), *weights])
    found: dict[str, None] = {}
    for node in graph.nodes:
        if node.domain:
            continue
        if node.op in PARAMETERS:
            found |= dict.fromkeys(_weights(graph, node, made))
        elif node.op in SUMMED:
            for name, other in zip(node.inputs, node.inputs[::-1], strict=True):
                if name in made and other in reached:
                    bias = node.op == "Add" and _is_layer(graph, other, made)
                    found |= dict.fromkeys(
                        n for n in _behind(graph, name) if _may_change(node, graph.constants[n], bias)
                    )
    return tuple(found)


def _find_constant_values(graph: Graph) -> set[str]:
    """Constants, and what is computed of them alone by operators that have a gradient."""
    found = set(graph.constants)
    for node in graph.nodes:
        if (
            node.key in RULES
            and not is_flat(node)
            and not node.captured
            and found.issuperset(filter(None, node.reads))
        ):
            found.update(filter(None, node.outputs))
    return found


def _weights(graph: Graph, node: Node, made: set[str]) -> Iterator[str]:
    """The constants that a layer's weights are made of."""
    if _normalises_groups(graph, node):
        return
    for name in (node.inputs[at] for at in PARAMETERS[node.op] if at < len(node.inputs)):
        if name in made:
            yield from _behind(graph, name)


def _behind(graph: Graph, name: str, alone: bool = True) -> Iterator[str]:
    """The floats that a value is made of: itself, or those that its node reads; one number, where it is `alone`."""
    value, node = graph.constants.get(name), graph.producer.get(name)
    if value is not None:
        if value.dtype.kind == "f" and (alone or value.size > 1):
            yield name
    elif node is not None:
        for each in filter(None, node.inputs):
            if node.op != "Mul" or not _chooses(graph.constants.get(each)):
                yield from _behind(graph, each, alone and node.op in ONE_TO_ONE)


def _chooses(value: Array | None) -> bool:
    """Whether a constant is zeros and ones, both: it says which weights there are."""
    return value is not None and bool(
        (value == 0).any() and (value == 1).any() and ((value == 0) | (value == 1)).all()
    )


def _normalises_groups(graph: Graph, node: Node) -> bool:
    """Whether a node is a normalisation of groups, as exporters write it, whose ones and zeros stand for nothing.

    x as (N, groups, ..) is normalised and becomes what it was: scale and bias, of each channel, are applied behind.
    """
    if node.op != "InstanceNormalization":
        return False
    ends = graph.producer.get(node.inputs[0]), graph.only_reader(node.outputs[0])
    scale, bias = (graph.constants.get(name) for name in node.inputs[1:3])
    if scale is None or bias is None or any(each is None or each.op != "Reshape" for each in ends):
        return False
    return bool((scale == 1).all() and (bias == 0).all())


def _is_layer(graph: Graph, name: str, made: set[str]) -> bool:
    """Whether a value is a product by weights."""
    node = graph.producer.get(name)
    return node is not None and not node.domain and node.op in PRODUCTS and any(_weights(graph, node, made))


def _may_change(node: Node, value: Array, bias: bool) -> bool:
    """Whether a constant beside a value looks like a parameter: no single number, table of factors or mask.

    `bias`: it is added to a product by weights.
    """
    axes = sum(int(n) > 1 for n in value.shape)
    if bias and value.ndim and value.size == 1:
        return True
    if node.op == "Mul" or axes < 2:
        return axes == 1
    low, high = value.min(), value.max()
    return not bool(np.isneginf(low) or (low < 0 == high and ((value == low) | (value == 0)).all()))


def own_constants(graph: Graph) -> Graph:
    """The graph in which what exporters have made one constant, because its numbers were equal, is several again.

    They write such arrays once, those of layers that have not been trained: ones and zeros, which others read by way
    of an Identity of the name that was theirs; and running values, zeros that may be somebody's bias too.
    """
    return _own_statistics(_own_fillings(graph))


def _own_fillings(graph: Graph) -> Graph:
    """The graph with arrays of one number, all over, in place of Identities of such an array."""
    constants, nodes = dict(graph.constants), list[Node]()
    for node in graph.nodes:
        value = constants.get(node.inputs[0]) if node.op == "Identity" and not node.domain else None
        if (
            value is None
            or value.dtype.kind != "f"
            or not value.size
            or node.outputs[0] in graph.outputs
            or (value != value.flat[0]).any()
        ):
            nodes.append(node)
        else:
            constants[node.outputs[0]] = value
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _own_statistics(graph: Graph) -> Graph:
    """The graph in which each BatchNormalization has constants of its own as running mean and variance."""
    constants, nodes = dict(graph.constants), list(graph.nodes)
    for at, node in enumerate(nodes):
        if node.op != "BatchNormalization" or node.domain:
            continue
        inputs = list(node.inputs)
        for place in (3, 4):
            name = inputs[place]
            while (
                (maker := graph.producer.get(name)) is not None
                and maker.op == "Identity"
                and not maker.domain
            ):
                name = maker.inputs[0]
            if name in constants and (name != inputs[place] or len(graph.readers[name]) > 1):
                inputs[place] = f"{name}.{node.outputs[0]}.{place}"
                constants[inputs[place]] = constants[name]
        nodes[at] = replace(node, inputs=tuple(inputs))
    return replace(graph, nodes=tuple(nodes), constants=constants)


__all__ = ["PARAMETERS", "own_constants", "parameters"]
