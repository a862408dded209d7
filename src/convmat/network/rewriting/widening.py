"""Networks of half precision in float32: inputs widened once, outputs rounded once.

    x: float16 -> Cast -> the same nodes in float32 -> Cast -> y: float16

What is rounded between nodes in the file's own types costs time and digits; weights stay as narrow as they are until a
network is prepared. Where a node's types are not told by what it reads (bodies, draws, the standard's reference, values
that are known only at run time), a network stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..graph import Graph, Node, Spec
from ..ops import operator_of
from ..ops.fallback import REFERENCE
from ..ops.half import is_half, wide_spec, widen_arrays

FLOAT = 1
"""ONNX's number of float32."""

NUMBERS = {"float16": 10, "bfloat16": 16}
"""ONNX's numbers of the types that are widened."""

TOLD = frozenset({"CastLike", "ConstantOfShape", "DequantizeLinear", "EyeLike", "QuantizeLinear"})
"""Operators whose attributes name a type, or that read one from a second input: left as they are."""


def widen(graph: Graph, specs: Mapping[str, Spec]) -> tuple[Graph, dict[str, Spec]]:
    """The graph in float32 where it is half precision and can be, and the Specs of its values."""
    if not any(map(is_half, specs.values())) or any(_keeps(node, specs) for node in graph.nodes):
        return graph, dict(specs)
    inner = {each.name: f"{each.name}/wide" for each in graph.inputs if is_half(specs[each.name])}
    made = {name for node in graph.nodes for name in node.outputs}
    inside = made | {name for node in graph.nodes for name in node.inputs}
    inner |= {name: f"{name}/wide" for name in graph.outputs if name in inside and is_half(specs[name])}
    wide = {inner.get(name, name): wide_spec(spec) for name, spec in specs.items()}
    nodes = [_cast(name, inner[name], FLOAT) for each in graph.inputs if (name := each.name) in inner]
    nodes += [_rename(node, inner, specs) for node in graph.nodes]
    nodes += [
        _cast(inner[name], name, NUMBERS[specs[name].dtype.name])
        for name in dict.fromkeys(graph.outputs)
        if name in inner and name in made
    ]
    given = graph.constants
    constants = {inner.get(name, name): widen_arrays(array) for name, array in given.items()}
    # An output may be a constant as it is: that keeps its type, beside what nodes read.
    constants |= {name: given[name] for name in graph.outputs if name in given}
    wide |= {name: Spec.of(array) for name, array in constants.items()}
    wide |= {name: specs[name] for name in inner}
    return replace(graph, nodes=tuple(nodes), constants=constants), wide


def _keeps(node: Node, specs: Mapping[str, Spec]) -> bool:
    """Whether a node must keep its types."""
    operator = operator_of(node)
    halves = any(is_half(specs.get(name)) for name in (*node.inputs, *node.outputs) if name)
    told = node.op in TOLD or node.op.startswith(("Random", "Sequence")) or operator is REFERENCE
    unknown = any(name not in specs for name in (*node.inputs, *node.outputs) if name)
    return operator.bodies is not None or unknown or (halves and told)


def _rename(node: Node, inner: Mapping[str, str], specs: Mapping[str, Spec]) -> Node:
    inputs, outputs = (tuple(inner.get(name, name) for name in each) for each in (node.inputs, node.outputs))
    attributes = node.attributes
    if node.op == "Cast" and not node.domain and is_half(specs[node.outputs[0]]):
        attributes = {**attributes, "to": FLOAT}
    return replace(node, inputs=inputs, outputs=outputs, attributes=attributes)


def _cast(x: str, y: str, to: int) -> Node:
    return Node("Cast", (x,), (y,), {"to": to}, f"{x} to {y}", 13)
