"""A graph that was rewritten for some shapes, taken as it is for others that differ in a few extents.

    rewritten for S, and every extent of S becomes one of T in the same way    ->    rewritten for T

Rules compare: shapes with shapes, the channels of a convolution with those of what scales them, an extent with 1. Where
each axis of all values of a rank changes its extents one for one, channels and extents of 1 stay, and no operator makes
a value of a shape, every comparison comes out as it did. Shapes are then inferred once, of fewer nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ...errors import NetworkError
from ...lazy_dataclass import dataclass
from ..graph import Graph, Node, Spec
from ..ops import operator_of
from ..ops.half import is_half
from . import infer

ALIKE = frozenset({
    "Abs", "Add", "AveragePool", "BatchNormalization", "Celu", "Clip", "Concat", "Constant", "Conv", "ConvTranspose",
    "Div", "Dropout", "Elu", "Erf", "Exp", "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
    "HardSigmoid", "HardSwish", "Identity", "LRN", "LeakyRelu", "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mish",
    "Mul", "PRelu", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh",
    "ThresholdedRelu",
})  # fmt: skip
"""Operators of ONNX whose outputs hold nothing of an extent, and which rules ask for no more than is said above."""


@dataclass(frozen=True)
class Settled:
    """A rewritten graph, and the Specs that it was rewritten for."""

    graph: Graph
    specs: Mapping[str, Spec]

    @classmethod
    def of(cls, source: Graph, made: Graph, specs: Mapping[str, Spec]) -> Settled | None:
        """`made`, which `source` was rewritten to, if it may be taken for other shapes; otherwise None."""
        free = all(node.op in ALIKE and not node.domain for node in source.nodes)
        plain = all(each.name in specs and specs[each.name].value is None for each in source.inputs)
        if not free or not plain or source.kept or any(map(is_half, specs.values())):
            return None
        named = {name for node in made.nodes for name in (*node.reads, *node.outputs) if name}
        named |= {each.name for each in made.inputs} | set(made.outputs)
        if not named <= specs.keys():
            return None
        return cls(made, {name: specs[name] for name in named})

    def resize(self, inputs: Mapping[str, Spec], limit: int) -> dict[str, Spec] | None:
        """The Specs of all values for inputs of other shapes; None where the graph has to be rewritten for them.

        So it has where they do not fit a node: it is then the file's that says so.
        """
        changed = _Changed()
        specs: infer.Specs = {name: self.specs[name] for name in self.graph.constants if name in self.specs}
        for name, spec in inputs.items():
            if name in self.specs and (spec.value is not None or not changed.take(self.specs[name], spec)):
                return None
            specs[name] = spec
        with suppress(NetworkError):
            for node in self.graph.nodes:
                made = infer.node_specs(node, operator_of(node), specs, limit) or ()
                for name, new in zip(node.outputs, made, strict=False):
                    if name and (new is None or not self._fits(node, self.specs[name], new, changed)):
                        return None
                    if name and new is not None:
                        specs[name] = new
            return specs if self.specs.keys() <= specs.keys() else None
        return None

    def _fits(self, node: Node, old: Spec, new: Spec, changed: _Changed) -> bool:
        """Whether a node's output changed as others did; the columns of a dense layer, which its bias has, do not."""
        stays = node.op not in ("Gemm", "MatMul") or old.shape[-1:] == new.shape[-1:]
        return stays and changed.take(old, new)


class _Changed:
    """Extents by rank and axis, and what they became: one for one, and 1 and channels stay."""

    def __init__(self) -> None:
        self._to: dict[tuple[int, int, int], int] = {}
        self._of: dict[tuple[int, int, int], int] = {}

    def take(self, old: Spec, new: Spec) -> bool:
        """Whether a value's shapes fit what is known so far, which they are added to."""
        rank = len(old.shape)
        if old.dtype != new.dtype or rank != len(new.shape):
            return False
        for axis, (m, n) in enumerate(zip(old.shape, new.shape, strict=True)):
            if m != n and (m <= 1 or n <= 1 or axis == 1):
                return False
            if self._to.setdefault((rank, axis, m), n) != n or self._of.setdefault((rank, axis, n), m) != m:
                return False
        return True


__all__ = ["Settled"]
