"""Parameters: which constants of a network are trained.

    y = x Wt + b        Wt = Transpose(W)            W and b

The floats that layers read as their weights, directly or through what is computed of constants alone: exporters write
weights transposed, cut and joined, and a weight that is normalised is a quotient. Beside layers, what is added to a
value that depends on the input or on parameters, and vectors that such a value is multiplied by: biases, scales.
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
                    found |= dict.fromkeys(
                        n for n in _behind(graph, name) if _may_change(node, graph.constants[n])
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
            yield from _behind(graph, each, alone and node.op in ONE_TO_ONE)


def _may_change(node: Node, value: Array) -> bool:
    """Whether a constant beside a value looks like a parameter: no single number, table of factors or mask."""
    axes = sum(int(n) > 1 for n in value.shape)
    if node.op == "Mul" or axes < 2:
        return axes == 1
    low, high = value.min(), value.max()
    return not bool(np.isneginf(low) or (low < 0 == high and ((value == low) | (value == 0)).all()))


def own_statistics(graph: Graph) -> Graph:
    """The graph in which each BatchNormalization has constants of its own as running mean and variance.

    Exporters write equal arrays once: those of layers that have not been trained, zeros that are somebody's bias too.
    """
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


__all__ = ["PARAMETERS", "own_statistics", "parameters"]
