"""A graph with 8-bit numbers written into it as the standard has them (QDQ).

    x -> QuantizeLinear -> DequantizeLinear -> all who read x       for each value in 8 bits
    w in int8 -> DequantizeLinear, a scale for each output channel  the weights of a layer
    b in int32 -> DequantizeLinear, in steps of x_scale * w_scale   its bias

What quantising the weights adds to a layer's outputs on average is taken off its bias (bias correction): the mean of
(w' - w) x is known from the mean of x for each channel. Nagel et al., 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, replace

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Graph, Node
from .ranges import Grain, SeenRange, of_filters
from .regions import QuantisedRegion, Regions

MOST_BIAS = 2.0**30
"""Steps of a bias, which leaves as much for the sums."""


@dataclass(frozen=True)
class LayerWeights:
    """A layer's weights in int8, a scale for each output channel, and its bias in steps of them, (O,) in int32."""

    w: Array
    scales: Array
    bias: Array | None
    bias_scales: Array


def weights_of(layer: QuantisedRegion, x: Grain, mean: Array | None, method: str) -> LayerWeights:
    """A layer's weights; `mean` of x for each channel where its bias is to be corrected."""
    scales = of_filters(layer.w, layer.axis, method)
    bias = layer.bias
    if bias is not None:  # channels without weights: their bias decides on the scale
        scales = np.maximum(scales, np.abs(bias) / (np.float32(MOST_BIAS) * x.scale)).astype(np.float32)
    along = [1] * layer.w.ndim
    along[layer.axis] = -1
    q = np.clip(np.rint(layer.w / scales.reshape(along)), -127, 127).astype(np.int8)
    if mean is not None:
        lost = layer.w - q * scales.reshape(along).astype(np.float64)
        taken = _on_average(layer, lost, mean)
        bias = taken if bias is None else bias + taken
    steps = x.scale * scales
    if bias is None:
        return LayerWeights(q, scales, None, steps)
    whole = np.clip(np.rint(bias.astype(np.float64) / steps), -MOST_BIAS, MOST_BIAS)
    return LayerWeights(q, scales, whole.astype(np.int32), steps)


def _on_average(layer: QuantisedRegion, w: Array, mean: Array) -> Array:
    """What these weights make of x's mean, (O,) in float64."""
    if layer.node.op == "ConvTranspose":  # each phase of the strides has its share of the taps
        phases = math.prod(layer.node.get("strides") or (1,))
        return np.asarray(mean @ w.reshape(*w.shape[:2], -1).sum(2) / phases)
    if layer.node.op != "Conv":
        return np.asarray(np.moveaxis(w, layer.axis, 0) @ mean)
    groups, filters = layer.node.get("group", 1), len(w)
    rows = np.repeat(mean.reshape(groups, -1), filters // groups, axis=0)
    return np.asarray(np.einsum("oc,oc->o", w.reshape(*w.shape[:2], -1).sum(2), rows))


@dataclass
class QdqWriter:
    """The nodes and constants of the graph that is being written."""

    regions: Regions
    version: int
    constants: dict[str, Array]
    nodes: list[Node] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def name(self, near: str) -> str:
        """A name that nothing has yet."""
        found, n = near, 0
        while found in self.taken:
            found, n = f"{near}.{n}", n + 1
        self.taken.add(found)
        return found

    def keep(self, array: Array, near: str) -> str:
        """A constant."""
        name = self.name(near)
        self.constants[name] = array
        return name

    def node(self, op: str, *inputs: str, out: str, axis: int | None = None) -> str:
        """A node that quantises or dequantises; the name of what it makes."""
        attributes = {} if axis is None else {"axis": axis}
        self.nodes.append(Node(op, inputs, (out,), attributes, f"{out}/{op}", self.version))
        return out


def write_qdq(
    regions: Regions, grains: Mapping[str, Grain], weights: Mapping[str, LayerWeights], version: int
) -> Graph:
    """The graph in QDQ form; `grains` by the name of each value's grain, `weights` by layers' names."""
    graph = regions.graph
    taken = {*graph.constants, *(each.name for each in graph.inputs), *graph.producer}
    w = QdqWriter(regions, version, dict(graph.constants), taken=taken)
    names = {g: (w.keep(np.asarray(grains[g].scale), f"{g}.scale"), w.keep(np.asarray(grains[g].zero), f"{g}.zero"))
             for g in dict.fromkeys(map(regions.grain, regions.values))}  # fmt: skip
    eight = set(regions.values)
    layers = {id(layer.node): layer for layer in regions.layers}
    added = {
        id(layer.behind[0]): layer for layer in regions.layers if layer.behind and layer.behind[0].op == "Add"
    }

    def between(name: str) -> None:
        if name not in eight:
            return
        value = name
        if name in graph.outputs:  # which keeps its name
            value = w.name(f"{name}.float")
            at = next((i for i, each in enumerate(w.nodes) if name in each.outputs), None)
            if at is None:
                return
            renamed = tuple(value if each == name else each for each in w.nodes[at].outputs)
            w.nodes[at] = replace(w.nodes[at], outputs=renamed)
        out = name if value != name else w.name(f"{name}.dequantized")
        scale, zero = names[regions.grain(name)]
        q = w.node("QuantizeLinear", value, scale, zero, out=w.name(f"{name}.quantized"))
        w.renamed[name] = w.node("DequantizeLinear", q, scale, zero, out=out)

    for each in graph.inputs:
        between(each.name)
    for node in graph.nodes:
        inputs = tuple(w.renamed.get(name, name) for name in node.inputs)
        if id(node) in layers:
            inputs = _add_layer_inputs(w, layers[id(node)], weights[node.name], inputs)
        elif id(node) in added:
            inputs = _add_bias_inputs(w, added[id(node)], weights[added[id(node)].name], inputs)
        w.nodes.append(replace(node, inputs=inputs))
        for name in filter(None, node.outputs):
            between(name)
    return replace(graph, nodes=tuple(w.nodes), constants=w.constants).prune()


def _add_layer_inputs(
    w: QdqWriter, layer: QuantisedRegion, made: LayerWeights, inputs: tuple[str, ...]
) -> tuple[str, ...]:
    """The inputs of a layer's node: x, its weights, its bias, from their whole numbers."""
    near = layer.node.inputs[1]
    q, scale = w.keep(made.w, f"{near}.quantized"), w.keep(made.scales, f"{near}.scale")
    zero = w.keep(np.zeros(made.scales.shape, np.int8), f"{near}.zero")
    read = w.node("DequantizeLinear", q, scale, zero, out=w.name(f"{near}.dequantized"), axis=layer.axis)
    if layer.node.op == "MatMul":
        return inputs[0], read
    return (inputs[0], read, *_bias(w, layer, made))


def _bias(w: QdqWriter, layer: QuantisedRegion, made: LayerWeights) -> tuple[str, ...]:
    if made.bias is None:
        return ()
    near = (
        layer.node.inputs[2] if len(layer.node.inputs) > 2 and layer.node.inputs[2] else f"{layer.name}.bias"
    )
    q, scale = w.keep(made.bias, f"{near}.quantized"), w.keep(made.bias_scales, f"{near}.scale")
    zero = w.keep(np.zeros(made.bias.shape, np.int32), f"{near}.zero")
    return (w.node("DequantizeLinear", q, scale, zero, out=w.name(f"{near}.dequantized"), axis=0),)


def _add_bias_inputs(
    w: QdqWriter, layer: QuantisedRegion, made: LayerWeights, inputs: tuple[str, ...]
) -> tuple[str, ...]:
    """The inputs of the Add behind a product of matrices: its corrected bias, in float32."""
    assert made.bias is not None
    numbers = (made.bias * made.bias_scales.astype(np.float64)).astype(np.float32)
    name = w.keep(numbers, f"{layer.behind[0].outputs[0]}.bias")
    return tuple(name if each in w.regions.graph.constants else each for each in inputs)


__all__ = ["LayerWeights", "SeenRange", "weights_of", "write_qdq"]
