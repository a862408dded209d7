"""A network's graph for peers that read no ONNX: normalisation folded into weights, shapes known."""

from __future__ import annotations

from collections.abc import Mapping

from convmat.bench.jobs import Array
from convmat.network.graph import Graph, Node, Spec
from convmat.network.infer import inferred
from convmat.network.read import read
from convmat.network.rewrite import rewritten

FOLDED = ("skip", "fold_scale")


def graph_of(file: str, x: Array, *rules: str) -> tuple[Graph, dict[str, Spec]]:
    """The graph for inputs like x after `FOLDED` and other rules of `convmat.network.rewrite`."""
    graph = read(file)
    graph, specs = inferred(graph, {graph.inputs[0].name: Spec(x.shape, x.dtype)})
    return rewritten(graph, specs, (*FOLDED, *rules))


def readers(graph: Graph) -> Mapping[str, int]:
    """How often each value is read, outputs of the network included."""
    counts = dict.fromkeys(graph.outputs, 1)
    for name in (name for node in graph.nodes for name in node.reads):
        counts[name] = counts.get(name, 0) + 1
    return counts


def even(node: Node) -> tuple[int, int]:
    """The padding of a Conv or a pool on two axes. Raises ValueError where its two sides differ."""
    pads = tuple(node.get("pads") or (0, 0, 0, 0))
    if len(pads) != 4 or pads[:2] != pads[2:] or node.get("auto_pad", "NOTSET") != "NOTSET":
        raise ValueError(f"{node.label}: padding must be the same on both sides of two axes, got {pads}")
    return pads[0], pads[1]


def bounds(node: Node, graph: Graph) -> tuple[float, float]:
    """What a Clip of constants keeps to."""
    low, high = (float(graph.constants[name].item()) for name in node.inputs[1:3])
    return low, high
