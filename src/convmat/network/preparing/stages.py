"""A graph cut where a shape is known only once a value is computed: what is behind is prepared when it comes.

    x -> Conv -> NonZero        the first stage, prepared for the shapes of the inputs
      -> Gather -> MatMul -> y  the rest, a graph of its own, prepared for those that it meets

An operator whose outputs are never known beforehand runs in the stage in which its inputs are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..graph import Graph, Input, Node, Spec
from ..ops import operator_of


def split_stages(graph: Graph, known: Mapping[str, Spec]) -> tuple[Graph, Graph | None]:
    """The nodes that run before a shape is missing, giving what the others read; and these, if there are any."""
    late: set[str] = set()
    behind: set[str] = set()
    first: list[Node] = []
    rest: list[Node] = []
    for node in graph.nodes:
        waits = behind.intersection(node.reads)
        if waits or (late.intersection(node.reads) and not operator_of(node).late):
            rest.append(node)
            behind.update(node.outputs)
        else:
            first.append(node)
            late.update(name for name in node.outputs if name not in known)
    if not rest:
        return graph, None
    behind.discard("")
    read = dict.fromkeys(name for node in rest for name in node.reads if name not in behind)
    constants = {name: graph.constants[name] for name in read if name in graph.constants}
    inputs = tuple(Input(name, np.dtype(object), None) for name in read if name not in constants)
    given = {each.name for each in graph.inputs}
    own = [name for name in graph.outputs if name not in behind]
    passed = [each.name for each in inputs if each.name not in given]
    then = Graph(tuple(rest), inputs, tuple(n for n in graph.outputs if n in behind), constants, graph.name)
    return replace(graph, nodes=tuple(first), outputs=tuple(dict.fromkeys([*own, *passed]))).prune(), then
