"""A network's graph as quantising wants it: constants computed, scales in the weights, a name for each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...errors import NetworkError
from ..files import to_onnx
from ..graph import Graph, Node, Spec
from ..ops.convolution import scale_weights
from ..preparing import infer
from ..reading.package import require_onnx
from ..reading.read import read_graph
from ..rewriting.rewrite import rewrite

OLDEST = 13
"""The operator set since which there is a scale for each channel."""

RULES = ("skip", "pad_into_conv", "fold_scale", "scale_before", "shift_before")
"""Those whose nodes are the standard's, whatever the extents of x."""


def plain(graph: Graph, inputs: Mapping[str, Spec], limit: int) -> tuple[Graph, dict[str, Spec]]:
    """The graph, and the Specs of its values for inputs of these Specs. Raises NetworkError."""
    graph = _recent(graph)
    graph, _ = infer.infer_specs(graph, {}, limit)  # what is constant whatever comes in
    known = infer.infer_specs(graph, inputs, limit)[1]
    specs = {
        name: spec if name in graph.constants else Spec(spec.shape, spec.dtype)
        for name, spec in known.items()
    }
    graph, specs = rewrite(graph, specs, RULES)
    nodes, constants = [], dict(graph.constants)
    for node in graph.nodes:
        if "scale" in node.attributes and node.op in ("Conv", "ConvTranspose"):
            name = f"{node.inputs[1]}/{node.outputs[0]}"
            constants[name] = scale_weights(node, constants[node.inputs[1]])
            attributes = {key: value for key, value in node.attributes.items() if key != "scale"}
            node = replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]), attributes=attributes)
        nodes.append(node)
    nodes = _name_nodes(nodes)
    graph = replace(graph, nodes=tuple(nodes), constants=constants).prune()
    return graph, infer.infer_specs(graph, inputs, limit)[1]


def version_of(graph: Graph) -> int:
    """The operator set of the standard's nodes."""
    return max((node.version for node in graph.nodes if not node.domain), default=OLDEST)


def _recent(graph: Graph) -> Graph:
    """The graph in an operator set that has a scale for each channel. Raises NetworkError where none can be had."""
    if version_of(graph) >= OLDEST:
        return graph
    onnx = require_onnx()
    try:
        model = onnx.version_converter.convert_version(to_onnx.to_model(graph), OLDEST)
    except Exception as error:  # C++ behind it
        said = " ".join(str(error).split())[:200]
        raise NetworkError(
            f"quantize: the network's operators are of an old set, and onnx cannot convert them\n"
            f"  operator set {version_of(graph)}, {OLDEST} is needed: {said}\n"
            f"  export the model anew with opset_version={OLDEST} or later"
        ) from None
    return read_graph(model.SerializeToString())


def _name_nodes(nodes: list[Node]) -> list[Node]:
    """The nodes, each with a name that no other has."""
    taken: set[str] = set()
    made = []
    for node in nodes:
        near = node.name or next(filter(None, node.outputs))
        name, n = near, 0
        while name in taken:
            name, n = f"{near}.{n}", n + 1
        taken.add(name)
        made.append(replace(node, name=name))
    return made


__all__ = ["plain", "version_of"]
