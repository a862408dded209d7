"""A network's graph as ncnn's text and weights: a layer for each node, activations in the layers that take them.

    text       kind name inputs outputs input-names output-names key=value ...
    weights    for each layer that has some: a flag (0: float32 as it is), numbers, then the biases without a flag

A value that several layers read goes through a Split, which ncnn asks for. The image has no batch axis here, so that
axes count from its channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convmat.bench.jobs import Array
from convmat.bench.netgraph import bounds, even, graph_of, readers
from convmat.network.graph import Graph, Node
from convmat.product import Activation

MAGIC = "7767517"
MAX, ADD = 0, 0
CEIL, FLOOR = 0, 1


@dataclass
class Writer:
    """The lines of layers and the bytes of weights; `blobs` are values, `parts` the ends of each Split not yet read."""

    lines: list[str] = field(default_factory=list)
    weights: list[bytes] = field(default_factory=list)
    blobs: int = 0
    parts: dict[str, list[str]] = field(default_factory=dict)

    def layer(self, kind: str, reads: list[str], writes: str, copies: int, **settings: object) -> None:
        """A layer, and the Split behind it if its value is read more than once. Settings are `_key=value`."""
        inputs = [self.parts[name].pop() if name in self.parts else name for name in reads]
        words = [f"{key[1:]}={value}" for key, value in settings.items()]
        self._line(kind, writes, inputs, [writes], words)
        if copies > 1:
            self.parts[writes] = [f"{writes}.{i}" for i in range(copies)]
            self._line("Split", f"{writes}.split", [writes], list(self.parts[writes]), [])

    def _line(self, kind: str, name: str, reads: list[str], writes: list[str], words: list[str]) -> None:
        self.lines.append(" ".join([kind, name, str(len(reads)), str(len(writes)), *reads, *writes, *words]))
        self.blobs += len(writes)

    def keep(self, w: Array, bias: Array | None) -> None:
        """Weights behind their flag, then biases."""
        self.weights.append(bytes(4) + np.ascontiguousarray(w, np.float32).tobytes())
        if bias is not None:
            self.weights.append(np.ascontiguousarray(bias, np.float32).tobytes())

    @property
    def text(self) -> str:
        """The whole of it."""
        return "\n".join([MAGIC, f"{len(self.lines)} {self.blobs}", *self.lines, ""])


def network(file: str, x: Array) -> tuple[str, bytes, str, str]:
    """Text and weights, names of input and output. Raises ValueError for an operator that is not here."""
    graph, _ = graph_of(file, x, "activate")
    counts = readers(graph)
    made = Writer()
    start, (end,) = graph.inputs[0].name, graph.outputs
    made.layer("Input", [], start, counts[start])
    for node in graph.nodes:
        layer = LAYERS.get(node.op)
        if layer is None:
            raise ValueError(f"ncnn: no layer is written here for {node.label}")
        kind, settings = layer(node, graph, made)
        reads = [name for name in node.inputs if name not in graph.constants]
        made.layer(kind, reads, node.outputs[0], counts[node.outputs[0]], **settings)
    return made.text, b"".join(made.weights), start, end


Layer = tuple[str, dict[str, Any]]


def _conv(node: Node, graph: Graph, made: Writer) -> Layer:
    w = graph.constants[node.inputs[1]]
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    made.keep(w, bias)
    (O, _, fh, fw), (top, left) = w.shape, even(node)
    (sh, sw), (dh, dw) = node.get("strides", (1, 1)), node.get("dilations", (1, 1))
    groups = node.get("group", 1)
    settings: dict[str, Any] = {"_0": O, "_1": fw, "_11": fh, "_2": dw, "_12": dh, "_3": sw, "_13": sh}
    settings |= {"_4": left, "_14": top, "_5": int(bias is not None), "_6": w.size}
    settings |= ({"_7": groups} if groups > 1 else {}) | _activation(node)
    return "ConvolutionDepthWise" if groups > 1 else "Convolution", settings


def _activation(node: Node) -> dict[str, Any]:
    activation: Activation | None = node.get("activation")
    if activation is None:
        return {}
    if activation.name == "relu":
        return {"_9": 1}
    if activation.name == "clip":
        return {"_9": 3, "_-23310": ",".join(map(str, (2, *activation.parameters)))}
    raise ValueError(f"ncnn: no setting is written here for {activation} of {node.label}")


def _gemm(node: Node, graph: Graph, made: Writer) -> Layer:
    w, bias = (graph.constants[name] for name in node.inputs[1:3])
    w = w if node.get("transB", 0) else w.T
    made.keep(w, bias)
    return "InnerProduct", {"_0": w.shape[0], "_1": 1, "_2": w.size} | _activation(node)


def _pool(node: Node, graph: Graph, made: Writer) -> Layer:
    (fh, fw), (sh, sw), (top, left) = node.get("kernel_shape"), node.get("strides", (1, 1)), even(node)
    mode = CEIL if node.get("ceil_mode", 0) else FLOOR
    sides = {"_3": left, "_13": top, "_14": left, "_15": top}
    return "Pooling", {"_0": MAX, "_1": fw, "_11": fh, "_2": sw, "_12": sh, **sides, "_5": mode}


def _clip(node: Node, graph: Graph, made: Writer) -> Layer:
    low, high = bounds(node, graph)
    return "Clip", {"_0": low, "_1": high}


LAYERS: dict[str, Callable[[Node, Graph, Writer], Layer]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _pool,
    "Clip": _clip,
    "Relu": lambda node, graph, made: ("ReLU", {}),
    "Add": lambda node, graph, made: ("BinaryOp", {"_0": ADD}),
    "Concat": lambda node, graph, made: ("Concat", {"_0": node.get("axis") - 1}),
    "GlobalAveragePool": lambda node, graph, made: ("Pooling", {"_0": 1, "_4": 1}),
    "Flatten": lambda node, graph, made: ("Flatten", {}),
    "Softmax": lambda node, graph, made: ("Softmax", {"_0": 0, "_1": 1}),
}
"""The layer of a node, with its settings; weights are kept on the way."""
