"""Numbers of 8 bits between products, where a graph quantises and dequantises around float ones.

    conv(deq(x), deq(w)) + deq(b), an activation, quantised     QLinearConv: sums of integers, rounded once
    the same of Gemm and MatMul by a constant matrix            a product of the same kind
    a node that only moves or compares elements                 on the 8-bit elements, if both scales are one

This comes before anything is computed of constants: weights stay as small as they are in the file. A product by
integers differs from the graph's own meaning, whose float32 sums round, by one step of the scale at most; what only
moves elements not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...product import Activation
from ..graph import Array, Node
from ..ops.base import OWN
from ..ops.integers import INTEGER_GEMM
from .draft import Draft
from .fusing import activation_of

MOVES = frozenset(
    {"MaxPool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "DepthToSpace",
     "SpaceToDepth", "Expand", "Tile", "Gather"}
)  # fmt: skip
"""Operators whose results are elements of their first input."""

BYTES = (np.uint8, np.int8)


@dataclass(frozen=True)
class Grain:
    """What quantised numbers stand for: (q - zero) * scale; the names of both, and their values."""

    scale: str
    zero: str
    scales: Array
    zeros: Array

    @property
    def one(self) -> bool:
        """Whether it is one scale above 0 for all."""
        return self.scales.size == 1 == self.zeros.size and bool(np.all(self.scales > 0))

    def same(self, other: Grain) -> bool:
        """Whether the other's numbers stand for the same."""
        alike = self.zeros.dtype == other.zeros.dtype and np.array_equal(self.zeros, other.zeros)
        return alike and np.array_equal(self.scales, other.scales)


def quantised(draft: Draft, node: Node) -> bool:
    """A node that quantises what was computed of dequantised numbers."""
    if node.op != "QuantizeLinear" or node.domain or {"precision", "saturate"} & {*node.attributes}:
        return False
    return _product(draft, node) or _moved(draft, node)


def _grain(draft: Draft, node: Node) -> Grain | None:
    """That of a node which quantises or dequantises, if it is constant and of 8 bits."""
    if len(node.inputs) < 3 or node.get("block_size", 0):
        return None
    scales, zeros = draft.constant(node.inputs[1]), draft.constant(node.inputs[2])
    if scales is None or zeros is None or zeros.dtype not in BYTES or scales.dtype != np.float32:
        return None
    return Grain(node.inputs[1], node.inputs[2], scales, zeros)


def _dequantised(draft: Draft, name: str) -> tuple[str, Grain] | None:
    """What a value is dequantised from: the 8-bit one, and what it stands for."""
    node = draft.writer(name, "DequantizeLinear")
    found = _grain(draft, node) if node is not None else None
    return None if node is None or found is None or not found.one else (node.inputs[0], found)


def _moved(draft: Draft, node: Node) -> bool:
    """Elements that are only moved between two equal scales."""
    mover, made = draft.writer(node.inputs[0]), _grain(draft, node)
    if mover is None or made is None or not made.one or not draft.seen_by_one(node.inputs[0]):
        return False
    several = mover.op == "Concat"
    if mover.domain or not (mover.op in MOVES or several) or len(mover.outputs) != 1:
        return False
    inputs = list(mover.inputs)
    for at in range(len(inputs) if several else 1):
        found = _dequantised(draft, inputs[at])
        if found is None or not found[1].same(made):
            return False
        inputs[at] = found[0]
    draft.replace([mover, node], replace(mover, inputs=tuple(inputs), outputs=node.outputs))
    return True


def _product(draft: Draft, node: Node) -> bool:
    """A product of dequantised numbers, perhaps an activation, quantised."""
    y, chain, activation = _grain(draft, node), [node], None
    if y is None or not y.one or not draft.seen_by_one(node.inputs[0]):
        return False
    before = draft.writer(node.inputs[0])
    if before is not None and (found := activation_of(draft, before)) is not None:
        if found.name not in ("relu", "clip", "relu6") or not draft.seen_by_one(before.inputs[0]):
            return False
        activation, chain = _in_steps(found, float(y.scales.item())), [before, node]
        before = draft.writer(before.inputs[0])
    if before is None or before.domain or before.op not in ("Conv", "Gemm", "MatMul"):
        return False
    x = _dequantised(draft, before.inputs[0])
    w = _weights(draft, before)
    if x is None or w is None:
        return False
    bias = _bias(draft, before, x[1].scales * w[1].scales)
    if bias is None:
        return False
    inputs = (x[0], x[1].scale, x[1].zero, w[0], w[1].scale, w[1].zero, y.scale, y.zero, *bias)
    attributes = {**before.attributes, **({} if activation is None else {"activation": activation})}
    conv = before.op == "Conv"
    made = Node(
        "QLinearConv" if conv else INTEGER_GEMM, inputs, node.outputs, attributes, before.name, before.version,
        "" if conv else OWN,
    )  # fmt: skip
    draft.replace([before, *chain], made)
    return True


def _in_steps(activation: Activation, scale: float) -> Activation:
    """The same of numbers counted in steps of a scale."""
    if activation.name == "relu":
        return activation
    low, high = activation.parameters or (0.0, 6.0)
    return Activation("clip", (low / scale, high / scale))


def _weights(draft: Draft, node: Node) -> tuple[str, Grain] | None:
    """The constant 8-bit weights of a product, and what they stand for: all, or each channel of y."""
    source = draft.writer(node.inputs[1], "DequantizeLinear")
    if source is None or len(source.inputs) < 2:
        return None
    value, scales = draft.constant(source.inputs[0]), draft.constant(source.inputs[1])
    if value is None or scales is None or value.dtype not in BYTES or scales.dtype != np.float32:
        return None
    zero = source.inputs[2] if len(source.inputs) > 2 and source.inputs[2] else ""
    zeros = draft.constant(zero) if zero else np.zeros(scales.shape, value.dtype)
    transposed = node.op == "Gemm" and node.get("transB", 0)
    plain = node.op != "Gemm" or (
        node.get("alpha", 1.0) == node.get("beta", 1.0) == 1 and not node.get("transA", 0)
    )
    axis = 0 if node.op == "Conv" or transposed else 1
    fits = scales.size == 1 or (
        scales.shape == (value.shape[axis],) and source.get("axis", 1) % value.ndim == axis
    )
    if zeros is None or not plain or not fits or source.get("block_size", 0) or not np.all(scales > 0):
        return None
    if node.op != "Conv" and value.ndim != 2:
        return None
    if not zero:
        zero = draft.keep(zeros, f"{source.inputs[0]}.zero")
    return source.inputs[0], Grain(source.inputs[1], zero, scales, zeros)


def _bias(draft: Draft, node: Node, scales: Array) -> tuple[str, ...] | None:
    """The bias in steps of its sums' scale, rounded; none at all is an empty tuple, one that does not fit is None."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return ()
    name, source = node.inputs[2], draft.writer(node.inputs[2], "DequantizeLinear")
    value = draft.constant(name)
    if source is not None and len(source.inputs) >= 2:
        whole, own = draft.constant(source.inputs[0]), draft.constant(source.inputs[1])
        if whole is None or own is None or whole.dtype != np.int32 or whole.ndim != 1:
            return None
        if len(source.inputs) > 2 and source.inputs[2]:
            zero = draft.constant(source.inputs[2])
            if zero is None or zero.any():
                return None
        if np.array_equal(np.broadcast_to(own, whole.shape), np.broadcast_to(scales, whole.shape)):
            return (source.inputs[0],)
        value = whole.astype(np.float64) * own
    if value is None or value.ndim != 1 or value.dtype.kind != "f":
        return None
    steps = np.rint(value.astype(np.float64) / scales.reshape(-1).astype(np.float64))
    if not np.all(np.abs(steps) < 2.0**30):
        return None
    return (draft.keep(steps.astype(np.int32), f"{name}.steps"),)


__all__ = ["quantised"]
