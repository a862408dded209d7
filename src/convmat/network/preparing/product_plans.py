"""Plans of the products in a graph, made before its steps: their kernels are compiled side by side."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ...errors import ConvmatError
from ...planner import Plan
from ..graph import Graph, Spec
from ..ops import Options
from ..ops.base import OWN
from ..ops.convolution import plan_of
from ..ops.gradients.convolution import DIRECTIONS, grad_plan
from ..ops.linear import plan_dense


def find_plans(graph: Graph, specs: Mapping[str, Spec], options: Options) -> dict[int, Plan]:
    """Plans of products by the identity of their nodes, of those whose inputs are known."""
    found: dict[int, Plan] = {}
    for node in graph.nodes:
        given = [specs.get(name) for name in node.inputs]
        with suppress(ConvmatError):  # its own step says what is wrong
            if node.op in ("Conv", "ConvTranspose") and not node.domain and all(given[:2]):
                found[id(node)] = plan_of(node, given, options.for_node(node))
            elif node.op in ("Gemm", "MatMul") and not node.domain and all(given):
                plan = plan_dense(node, given, options.for_node(node))
                found |= {} if plan is None else {id(node): plan}
            elif node.op in DIRECTIONS and node.domain == OWN:
                found[id(node)] = grad_plan(node, given, options)
    return found


__all__ = ["find_plans"]
