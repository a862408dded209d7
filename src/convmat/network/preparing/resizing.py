"""A graph that was rewritten for some shapes, taken as it is for others that differ in a few extents.

    rewritten for S, and every extent of S becomes one of T in the same way    ->    rewritten for T

Rules compare: shapes with shapes, the channels of a convolution with those of what scales them, an extent with 1. Where
each axis of all values of a rank changes its extents one for one, channels and extents of 1 stay, and what is computed
of shapes says no more than how a value is to be shaped, every comparison comes out as it did. Shapes are then inferred
once, of fewer nodes; what follows from them is computed by the nodes of the graph before, those that it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from ...errors import NetworkError
from ...lazy_dataclass import dataclass
from ..graph import Graph, Node, Spec
from ..ops import operator_of
from ..ops.half import is_half
from . import infer

ALIKE = frozenset({
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Celu", "Clip", "Concat", "Constant", "Conv",
    "ConvTranspose", "Div", "Dropout", "Elu", "Erf", "Exp", "Expand", "Flatten", "Gelu", "Gemm", "GlobalAveragePool",
    "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LRN", "LayerNormalization", "LeakyRelu", "LogSoftmax",
    "MatMul", "Max", "MaxPool", "Min", "Mish", "Mul", "PRelu", "Pow", "ReduceMax", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "Resize", "Selu", "Sigmoid", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze",
    "Sub", "Tanh", "ThresholdedRelu", "Transpose", "Unsqueeze", "Upsample",
})  # fmt: skip
"""Operators of ONNX whose outputs hold nothing of an extent, and which rules ask for no more than is said above."""

SHAPING = frozenset({"Expand", "Reshape", "Resize", "Upsample"})
"""Those whose inputs behind the first say how the first is to be shaped: no rule reads them."""


@dataclass(frozen=True)
class Settled:
    """A rewritten graph, and the Specs that it was rewritten for.

    `source` is what it was rewritten from, before anything was computed of these shapes; `shaped` are constants of
    `graph` that follow from them.
    """

    source: Graph
    graph: Graph
    specs: Mapping[str, Spec]
    fixed: frozenset[int]
    """Extents of constants, which stay."""
    shaped: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, source: Graph, constant: Collection[str], folded: Graph, made: Graph, specs: Mapping[str, Spec]
    ) -> Settled | None:
        """`made`, which `source` was rewritten to, if it may be taken for other shapes; otherwise None.

        `folded`: the source with what is constant computed; `constant`: names of what follows from no shape.
        """
        free = all(node.op in ALIKE and not node.domain for node in folded.nodes)
        plain = all(each.name in specs and specs[each.name].value is None for each in source.inputs)
        if not free or not plain or source.kept or any(map(is_half, specs.values())):
            return None
        named = {name for node in made.nodes for name in (*node.reads, *node.outputs) if name}
        named |= {each.name for each in made.inputs} | set(made.outputs)
        shaped = frozenset(folded.constants.keys() - constant)
        if not named <= specs.keys() or not _only_shape(shaped, folded) or not _only_shape(shaped, made):
            return None
        if any(operator_of(node).bodies is not None for node in source.nodes):
            return None  # of which shapes may have chosen one, by constants that nothing reads any more
        shapes = {name for node in made.nodes if node.op in SHAPING for name in node.outputs}
        if any(node.op in SHAPING and node.outputs[0] not in shapes for node in folded.nodes):
            return None  # a rule went around it: for these shapes it does nothing, or adds axes of 1
        if any(made.constants[name].dtype.kind == "i" for name in made.constants.keys() - folded.constants):
            return None  # which a rule made, perhaps of extents
        constants = {**folded.constants, **made.constants}
        fixed = frozenset(n for name, a in constants.items() if name not in shaped for n in a.shape)
        read = shaped.intersection(made.constants, named)
        return cls(source, made, {name: specs[name] for name in named}, fixed, read)

    def resize(self, inputs: Mapping[str, Spec], limit: int) -> tuple[Graph, dict[str, Spec]] | None:
        """The graph and the Specs of its values for inputs of other shapes; None where it is to be rewritten for them.

        So it has where they do not fit a node: it is then the file's that says so.
        """
        changed = _Changed(self.fixed)
        for name, spec in inputs.items():
            if name in self.specs and (spec.value is not None or not changed.take(self.specs[name], spec)):
                return None
        specs: infer.Specs = {**inputs}
        for name in self.graph.constants:
            if name in self.specs and name not in self.shaped:
                specs[name] = self.specs[name]
        following = _Following(self.source, specs, limit)
        with suppress(NetworkError):
            for node in self.graph.nodes:
                for name in self.shaped.intersection(node.reads):
                    follows = following.find(name)
                    if follows is None or follows.value is None:
                        return None
                    specs[name] = follows
                made = infer.node_specs(node, operator_of(node), specs, limit) or ()
                for name, new in zip(node.outputs, made, strict=False):
                    if name and (new is None or not self._fits(node, self.specs[name], new, changed)):
                        return None
                    if name and new is not None:
                        specs[name] = new
            return (self._shape(specs), specs) if self.specs.keys() <= specs.keys() else None
        return None

    def _shape(self, specs: infer.Specs) -> Graph:
        """The graph with what follows from these shapes."""
        follows = {name: value for name in self.shaped if (value := specs[name].value) is not None}
        return replace(self.graph, constants={**self.graph.constants, **follows}) if follows else self.graph

    def _fits(self, node: Node, old: Spec, new: Spec, changed: _Changed) -> bool:
        """Whether a node's output changed as others did; the columns of a dense layer, which its bias has, do not."""
        stays = node.op not in ("Gemm", "MatMul") or old.shape[-1:] == new.shape[-1:]
        return stays and changed.take(old, new)


def _only_shape(names: frozenset[str], graph: Graph) -> bool:
    """Whether nodes read these constants to shape what is computed, and the outside reads none."""
    if not names.isdisjoint(graph.outputs):
        return False
    read = (node for node in graph.nodes if not names.isdisjoint(node.reads))
    return all(node.op in SHAPING and not node.domain and node.inputs[0] not in names for node in read)


class _Following:
    """What follows from shapes, by the nodes of a graph that are needed for it.

    `known`: Specs of values that the graph has in common with one that it was rewritten to, as these are found. Rules
    keep the names of values whose shapes stay.
    """

    def __init__(self, graph: Graph, known: Mapping[str, Spec], limit: int) -> None:
        self._graph, self._known, self._limit = graph, known, limit
        self._found: infer.Specs = {}

    def find(self, name: str) -> Spec | None:
        """The Spec of a value; None where it is known only when the network runs."""
        waiting, tried = [name], set[str]()
        while waiting:
            node = self._graph.producer.get(waiting[-1])
            if self._look_up(waiting[-1]) is not None:
                waiting.pop()
                continue
            if node is None:
                return None
            missing = [each for each in node.reads if self._look_up(each) is None]
            if missing and waiting[-1] in tried:
                return None
            tried.add(waiting[-1])
            if missing:
                waiting += missing
                continue
            self._infer(node)
            if self._look_up(waiting[-1]) is None:
                return None
        return self._look_up(name)

    def _infer(self, node: Node) -> None:
        """Find the Specs of what a node makes, all that it reads being known."""
        specs = {each: spec for each in node.reads if (spec := self._look_up(each)) is not None}
        arrays = infer.fold_constants(node, specs, self._limit)
        made: tuple[Spec | None, ...] | None
        if arrays is not None:
            made = tuple(map(Spec.of, arrays))
        else:
            made = infer.node_specs(node, operator_of(node), specs, self._limit)
        for name, spec in zip(node.outputs, made or (), strict=False):
            if name and spec is not None:
                self._found[name] = spec

    def _look_up(self, name: str) -> Spec | None:
        found = self._known.get(name) or self._found.get(name)
        if found is None and (array := self._graph.constants.get(name)) is not None:
            found = self._found[name] = Spec.of(array)
        return found


class _Changed:
    """Extents by rank and axis, and what they became: one for one, and 1 and channels stay.

    `fixed`: extents that stay wherever they are; where a second axis holds no channels, it changes to and from none.
    """

    def __init__(self, fixed: frozenset[int]) -> None:
        self._fixed = fixed
        self._to: dict[tuple[int, int, int], int] = {}
        self._of: dict[tuple[int, int, int], int] = {}

    def take(self, old: Spec, new: Spec) -> bool:
        """Whether a value's shapes fit what is known so far, which they are added to."""
        rank = len(old.shape)
        if old.dtype != new.dtype or rank != len(new.shape):
            return False
        for axis, (m, n) in enumerate(zip(old.shape, new.shape, strict=True)):
            if m != n and (m <= 1 or n <= 1):
                return False
            if m != n and axis == 1 and not self._fixed.isdisjoint((m, n)):
                return False
            if self._to.setdefault((rank, axis, m), n) != n or self._of.setdefault((rank, axis, n), m) != m:
                return False
        return True


__all__ = ["Settled"]
