"""Which values of a network become 8-bit numbers: what products read, and what lies between them.

    layer      a convolution or product by constant weights, with its bias and the limits behind it (Relu, Clip)
    in 8 bits  what layers read; going back from there, what nodes read that only move, compare, average or compute
               elements, as far as all of it comes from layers
    grain      one scale and zero point: values that one node only moves into the other share theirs, so that it moves
               8-bit numbers

Elementwise nodes in a row compute in float32 between their own quantised ends. What only nodes read that compute in
float32, and what the network gives, stays as its layer's sums make it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import field

import numpy as np

from ...lazy_dataclass import dataclass
from ...processes import kept_property
from ..graph import Array, Graph, Node, Spec
from ..rewriting.quantised import moves

AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean", "Resize", "Upsample"})
"""Operators whose results are means of elements."""

ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Swish",
     "Tanh", "Elu", "Mish", "Gelu", "Softplus"}
)  # fmt: skip
"""Operators of single elements that are worth computing between 8-bit numbers."""

LIMITS = ("Relu", "Clip")
"""What a layer's epilogue does to its sums."""


@dataclass(frozen=True)
class QuantisedRegion:
    """A product by constant weights, and the nodes behind it that its epilogue computes.

    `w`: (O, C//G, *F) or, of a product of matrices, as the file has it; `axis` is that of the output channels. `bias`:
    (O,), None where there is none.
    """

    node: Node
    behind: tuple[Node, ...]
    w: Array
    bias: Array | None
    axis: int

    @property
    def name(self) -> str:
        """The node's."""
        return self.node.name

    @property
    def x(self) -> str:
        """What it reads."""
        return self.node.inputs[0]

    @property
    def output(self) -> str:
        """What is left behind its epilogue."""
        return (self.behind or (self.node,))[-1].outputs[0]

    @property
    def filters(self) -> int:
        """Output channels."""
        return int(self.w.shape[self.axis])

    @property
    def terms(self) -> int:
        """Products in each sum."""
        return self.w.size // max(self.filters, 1)


@dataclass(frozen=True)
class Regions:
    """A graph with its layers; those that stay in float32 are left out, perhaps of a `whole` that has them."""

    graph: Graph
    layers: tuple[QuantisedRegion, ...]
    whole: Regions | None = None
    _shared: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def of(self, names: Container[str]) -> Regions:
        """The same with those layers alone, each value with the grain that it has here."""
        return Regions(self.graph, tuple(each for each in self.layers if each.name in names), self)

    @kept_property
    def values(self) -> tuple[str, ...]:
        """The names of what is in 8 bits, in the order in which it is computed."""
        wanted: dict[str, None] = {}
        waiting = [layer.x for layer in self.layers]
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted[name] = None
                waiting += self._before(name)
        order = [each.name for each in self.graph.inputs]
        order += [name for node in self.graph.nodes for name in node.outputs]
        return tuple(name for name in order if name in wanted)

    def grain(self, name: str) -> str:
        """The value whose scale and zero point this one has, itself or another."""
        if self.whole is not None:
            return self.whole.grain(name)
        _ = self.values
        while name in self._shared:
            name = self._shared[name]
        return name

    def _before(self, name: str) -> Iterator[str]:
        """What is to be in 8 bits so that the node which writes a value finds it so."""
        node = self.graph.producer.get(name)
        if node is None or name not in self._eight or name in self._ends:
            return
        for read in self._data(node):
            if moves(node):
                self._share(read, name)
            yield from self._ending(node, read)

    def _ending(self, node: Node, read: str) -> Iterator[str]:
        """A value that a node reads, or what lies before it where both are elementwise and nobody else looks."""
        before = self.graph.producer.get(read)
        inner = before is not None and before.op in ELEMENTWISE and read not in self._ends
        if before is not None and inner and node.op in ELEMENTWISE and self.graph.only_reader(read) is node:
            for each in self._data(before):
                yield from self._ending(before, each)
        else:
            yield read

    def _share(self, a: str, b: str) -> None:
        roots = []
        for name in (a, b):
            while name in self._shared:
                name = self._shared[name]
            roots.append(name)
        if roots[0] != roots[1]:
            self._shared[roots[1]] = roots[0]

    @kept_property
    def _ends(self) -> dict[str, QuantisedRegion]:
        """The layers by what is left behind their epilogues."""
        return {layer.output: layer for layer in self.layers}

    @kept_property
    def _eight(self) -> frozenset[str]:
        """What could be in 8 bits: it comes from layers, by way of nodes that can be had between 8-bit numbers."""
        found = set(self._ends)
        for node in self.graph.nodes:
            data = self._data(node)
            if data and all(name in found for name in data) and not node.captured:
                found.update(node.outputs[:1])
        return frozenset(found)

    def _data(self, node: Node) -> tuple[str, ...]:
        """The inputs of a node between 8-bit numbers that are computed; none of others."""
        if node.domain or not (moves(node) or node.op in ELEMENTWISE or node.op in AVERAGES):
            return ()
        names = node.inputs if node.op in ELEMENTWISE or node.op == "Concat" else node.inputs[:1]
        return tuple(name for name in names if name and name not in self.graph.constants)


# -- layers ------------------------------------------------------------------------------------------------------------


def layers(graph: Graph, specs: Mapping[str, Spec]) -> tuple[QuantisedRegion, ...]:
    """The products of float32 by constant weights."""
    return tuple(found for node in graph.nodes if (found := _layer(graph, specs, node)) is not None)


def _layer(graph: Graph, specs: Mapping[str, Spec], node: Node) -> QuantisedRegion | None:
    read = PRODUCTS.get(node.op)
    if read is None or node.domain or any(specs.get(n) is None for n in (node.inputs[0], node.outputs[0])):
        return None
    w = graph.constants.get(node.inputs[1])
    if w is None or w.dtype != np.float32 or not w.size or specs[node.inputs[0]].dtype != np.float32:
        return None
    axis = read(node, w)
    if axis is None:
        return None
    bias, behind = None, []
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = _each(graph.constants.get(node.inputs[2]), w.shape[axis])
        if bias is None:
            return None
    elif node.op == "MatMul" and (added := _find_add(graph, node, w.shape[axis])) is not None:
        behind, bias = [added[0]], added[1]
    last = graph.only_reader((behind or [node])[-1].outputs[0])
    if last is not None and last.op in LIMITS and not last.domain and _constant_limits(graph, last):
        behind.append(last)
    return QuantisedRegion(node, tuple(behind), w, bias, axis)


def _of_conv(node: Node, w: Array) -> int | None:
    return 0 if w.ndim > 2 else None


def _of_transpose(node: Node, w: Array) -> int | None:
    return 1 if w.ndim > 2 and node.get("group", 1) == 1 else None


def _of_gemm(node: Node, w: Array) -> int | None:
    plain = node.get("alpha", 1.0) == node.get("beta", 1.0) == 1 and not node.get("transA", 0)
    return (0 if node.get("transB", 0) else 1) if plain and w.ndim == 2 else None


def _of_matmul(node: Node, w: Array) -> int | None:
    return 1 if w.ndim == 2 else None


PRODUCTS: dict[str, Callable[[Node, Array], int | None]] = {
    "Conv": _of_conv, "ConvTranspose": _of_transpose, "Gemm": _of_gemm, "MatMul": _of_matmul
}  # fmt: skip
"""By operator: the axis of the weights along which the output channels lie."""


def _each(bias: Array | None, filters: int) -> Array | None:
    """A bias as one number a channel, None where it is none."""
    if bias is None or bias.dtype != np.float32 or bias.size not in (1, filters):
        return None
    if bias.size > 1 and bias.shape[-1] != filters:
        return None
    return np.broadcast_to(bias.reshape(-1), (filters,))


def _find_add(graph: Graph, node: Node, filters: int) -> tuple[Node, Array] | None:
    """The Add of a constant for each column behind a product of matrices."""
    add = graph.only_reader(node.outputs[0])
    if add is None or add.op != "Add" or add.domain:
        return None
    for name in add.inputs:
        value = graph.constants.get(name)
        bias = _each(value, filters)
        if value is not None and bias is not None and value.ndim <= 1:
            return add, bias
    return None


def _constant_limits(graph: Graph, node: Node) -> bool:
    return all(name in graph.constants for name in node.inputs[1:] if name)


__all__ = ["AVERAGES", "ELEMENTWISE", "QuantisedRegion", "Regions", "layers"]
