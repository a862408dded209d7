"""Inputs that decide which branches run: a sampling rate, a mode. A network is prepared for their values.

If(Equal(rate, 16000)) -> branch          rate = 16000 is then a constant, and the If gives way to its branch
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..graph import Graph, Spec, Value
from ..ops import operator_of

MOST_VALUES = 4
"""Values of an input that a network is prepared for, before it counts as one that ever changes."""


def find_deciding(graph: Graph) -> frozenset[str]:
    """Inputs of one whole number or truth value from which alone, and constants and shapes, a condition follows.

    >>> from convmat.network.graph import Input
    >>> find_deciding(Graph((), (Input("rate", np.dtype("int64"), ()),), (), {}))
    frozenset()
    """
    small = [each.name for each in graph.inputs if each.dtype.kind in "iub" and each.kind == "tensor"]
    fixed: dict[str, frozenset[str]] = {name: frozenset() for name in graph.constants}
    fixed |= {name: frozenset((name,)) for name in small}
    found: frozenset[str] = frozenset()
    for node in graph.nodes:
        if node.op == "If" and not node.domain:
            found |= fixed.get(node.inputs[0], frozenset())
        if node.op in ("Shape", "Size") and not node.domain:
            fixed |= dict.fromkeys(node.outputs, frozenset())
        elif operator_of(node).bodies is None and all(name in fixed for name in node.reads):
            reads = frozenset().union(*(fixed[name] for name in node.reads))
            fixed |= dict.fromkeys(node.outputs, reads)
    return found


class DecidingValues:
    """Which values of the deciding inputs a network has met."""

    def __init__(self, graph: Graph) -> None:
        self.names = find_deciding(graph)
        self._met: dict[str, set[bytes]] = {name: set() for name in self.names}

    def know_values(self, given: Mapping[str, Value], specs: dict[str, Spec]) -> dict[str, Spec]:
        """The Specs with the values of those inputs that have few."""
        for name, met in self._met.items():
            value = given.get(name)
            if isinstance(value, np.ndarray) and value.size == 1:
                if len(met) < MOST_VALUES:
                    met.add(value.tobytes())
                if value.tobytes() in met:
                    specs[name] = Spec.of(np.array(value))
        return specs
