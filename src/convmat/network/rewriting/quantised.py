"""Numbers of 8 bits between products, where a graph quantises and dequantises around float ones.

    conv(deq(x), deq(w)) + deq(b), an activation, quantised     QLinearConv: sums of integers, rounded once
    the same of Gemm and MatMul by a constant matrix            a product of the same kind
    the same, not quantised                                     sums of integers, scaled once in float32
    a node that only moves or compares elements                 on the 8-bit elements, if both scales are one
    Resize by weights whose sum is 1                            the same, rounded once
    elements of several scales joined and quantised             each counted anew, then joined

This comes before anything is computed of constants: weights stay as small as they are in the file. A product by
integers, or a mean of them, differs from the graph's own meaning, whose float32 sums round, by one step of the scale at
most; what only moves elements not at all.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...lazy_dataclass import dataclass
from ...planner.integers import room_beside
from ...product import Activation
from ..graph import Array, Node, Spec
from ..ops.base import OWN
from ..ops.convolution import INTEGER_TRANSPOSE
from ..ops.integers import INTEGER_CONV, INTEGER_GEMM, OF_FLOATS
from ..ops.pointwise import ELEMENTWISE, expression
from ..ops.quantise import quantise
from ..ops.resize import takes_means
from .draft import Draft
from .fusing import activation_of
from .tables import read_constant

PRODUCTS = {
    "Conv": INTEGER_CONV,
    "ConvTranspose": INTEGER_TRANSPOSE,
    "Gemm": INTEGER_GEMM,
    "MatMul": INTEGER_GEMM,
}
"""Operators, and what the same of 8-bit numbers is called."""

MOVES = frozenset(
    {"MaxPool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "DepthToSpace",
     "SpaceToDepth", "Expand", "Tile", "Gather"}
)  # fmt: skip
"""Operators whose results are elements of their first input."""


def moves(node: Node) -> bool:
    """Whether a node's results are elements of what it reads: of its first input, or, of Concat, of all."""
    nearest = node.op in ("Resize", "Upsample") and node.get("mode", "nearest") == "nearest"
    one = len([name for name in node.outputs if name]) == 1
    return one and not node.domain and (node.op in MOVES or node.op == "Concat" or nearest)


BYTES = (np.uint8, np.int8)


@dataclass(frozen=True)
class NamedGrain:
    """What quantised numbers stand for: (q - zero) * scale; the names of both, and their values."""

    scale: str
    zero: str
    scales: Array
    zeros: Array

    @property
    def one(self) -> bool:
        """Whether it is one scale above 0 for all."""
        return self.scales.size == 1 == self.zeros.size and bool(np.all(self.scales > 0))

    def same(self, other: NamedGrain) -> bool:
        """Whether the other's numbers stand for the same."""
        alike = self.zeros.dtype == other.zeros.dtype and np.array_equal(self.zeros, other.zeros)
        return alike and np.array_equal(self.scales, other.scales)


def quantise_constants(draft: Draft, node: Node) -> bool:
    """Constants that the graph quantises, as 8-bit numbers: weights of float32 from Constant nodes come like that."""
    if node.op != "QuantizeLinear" or node.domain or node.outputs[0] in draft.graph.outputs:
        return False
    found = [read_constant(draft, name) if name else None for name in node.inputs]
    if any(name and value is None for name, value in zip(node.inputs, found, strict=True)):
        return False
    x, scale, *zero = found
    if x is None or scale is None or not np.all(np.isfinite(scale) & (scale > 0)):
        return False
    made = np.asarray(quantise(node, x, scale, *zero))
    return made.dtype in BYTES and draft.drop(node, draft.keep(made, node.outputs[0]))


def quantised(draft: Draft, node: Node) -> bool:
    """A node that quantises what was computed of dequantised numbers."""
    if node.op != "QuantizeLinear" or node.domain or {"precision", "saturate"} & {*node.attributes}:
        return False
    return _product(draft, node) or _only_moves(draft, node)


def find_grain(draft: Draft, node: Node) -> NamedGrain | None:
    """Grain of a node which quantises or dequantises, if it is constant and of 8 bits."""
    if len(node.inputs) < 3 or node.get("block_size", 0):
        return None
    scales, zeros = draft.constant(node.inputs[1]), draft.constant(node.inputs[2])
    if scales is None or zeros is None or zeros.dtype not in BYTES or scales.dtype != np.float32:
        return None
    return NamedGrain(node.inputs[1], node.inputs[2], scales, zeros)


def find_dequantised(draft: Draft, name: str) -> tuple[str, NamedGrain] | None:
    """What a value is dequantised from: the 8-bit one, and what it stands for."""
    node = draft.writer(name, "DequantizeLinear")
    found = find_grain(draft, node) if node is not None else None
    return None if node is None or found is None or not found.one else (node.inputs[0], found)


def _only_moves(draft: Draft, node: Node) -> bool:
    """Elements that are only moved between two equal scales."""
    mover, made = draft.writer(node.inputs[0]), find_grain(draft, node)
    if mover is None or made is None or not made.one or not draft.has_one_reader(node.inputs[0]):
        return False
    if not moves(mover) and not takes_means(mover):
        return False
    inputs, several = list(mover.inputs), mover.op == "Concat"
    found = [find_dequantised(draft, name) for name in (inputs if several else inputs[:1])]
    fits = [each is not None and each[1].same(made) for each in found]
    # Joined numbers of several scales are counted anew each, what comes of one number being its own affair.
    anew = several and all(each is not None for each in found) and len(set(inputs)) == len(inputs)
    if not all(fits) and not (
        anew and all(f or draft.has_one_reader(n) for f, n in zip(fits, inputs, strict=True))
    ):
        return False
    for at, each in enumerate(found):
        assert each is not None
        inputs[at] = each[0] if fits[at] else _requantise(draft, inputs[at], made)
    draft.replace([mover, node], replace(mover, inputs=tuple(inputs), outputs=node.outputs))
    return True


def _requantise(draft: Draft, name: str, grain: NamedGrain) -> str:
    """A dequantised value quantised again, as one pass instead of the node that dequantises it; its name stays."""
    node, found = draft.writer(name), find_dequantised(draft, name)
    assert node is not None
    assert found is not None
    own = found[1]
    again = Node("QuantizeLinear", (name, grain.scale, grain.zero), (name,), {}, "", node.version)
    first = expression(node, [Spec((), own.zeros.dtype), Spec.of(own.scales), Spec.of(own.zeros)])
    then = expression(again, [Spec((), own.scales.dtype), Spec.of(grain.scales), Spec.of(grain.zeros)])
    assert first is not None
    assert then is not None
    attributes = {"expression": then.after(0, first), "operators": (node.op, again.op)}
    inputs = (found[0], own.scale, own.zero, grain.scale, grain.zero)
    draft.replace([node], Node(ELEMENTWISE, inputs, (name,), attributes, node.name, node.version, OWN))
    return name


def _product(draft: Draft, node: Node) -> bool:
    """A product of dequantised numbers, perhaps an activation, quantised."""
    y, chain, activation = find_grain(draft, node), [node], None
    if y is None or not y.one or not draft.has_one_reader(node.inputs[0]):
        return False
    before = draft.writer(node.inputs[0])
    if before is not None and (found := _limits(draft, before)) is not None:
        activation, chain = _in_steps(found, float(y.scales.item())), [before, node]
        before = draft.writer(before.inputs[0])
    return before is not None and _integers(draft, before, chain, activation, (y.scale, y.zero))


def in_float(draft: Draft, node: Node) -> bool:
    """A product of dequantised numbers, perhaps an activation, that nobody quantises: sums of integers in float32."""
    found = _limits(draft, node)
    if found is not None:
        before = draft.writer(node.inputs[0])
        return before is not None and _integers(draft, before, [node], found, ("", ""))
    if node.op not in (*PRODUCTS, "Add") or _goes_on(draft, node):
        return False
    return _integers(draft, node, [], None, ("", ""))


def _limits(draft: Draft, node: Node) -> Activation | None:
    """Relu, or Clip with constant limits, of what only it reads."""
    found = activation_of(draft, node)
    if (
        found is None
        or found.name not in ("relu", "clip", "relu6")
        or not draft.has_one_reader(node.inputs[0])
    ):
        return None
    return found


def _goes_on(draft: Draft, node: Node) -> bool:
    """Whether what reads a node's output becomes part of its product."""
    reading = draft.readers(node.outputs[0])
    adding = (each for each in reading if each.op == "Add" and not each.domain and node.op == "MatMul")
    return any(_find_add(draft, each) for each in adding) or any(_limits(draft, each) for each in reading)


def _integers(
    draft: Draft, node: Node, chain: list[Node], activation: Activation | None, y: tuple[str, str]
) -> bool:
    """A product, and the nodes behind it, as one of integers; y: names of its scale and zero point, empty for none."""
    added = _find_add(draft, node) if node.op == "Add" else None
    if added is not None:
        chain, (node, _) = [node, *chain], added
    if node.domain or node.op not in PRODUCTS:
        return False
    x = find_dequantised(draft, node.inputs[0])
    w = _weights(draft, node)
    if x is None or w is None:
        return False
    room, step = _room(draft, node, x[1], w), draft.constant(y[0]) if y[0] else None
    if not room[0] <= 0 <= room[1]:
        return False
    within = 0.0 if step is None else float(step.item()) / 4
    bias = _bias(
        draft, added[1] if added else "".join(node.inputs[2:3]), x[1].scales * w[1].scales, room, within
    )
    if bias is None or not _has_factors(x[1], w[1], step):
        return False
    inputs = (x[0], x[1].scale, x[1].zero, w[0], w[1].scale, w[1].zero, *y, *bias)
    attributes = {
        **node.attributes,
        OF_FLOATS: 1,
        **({} if activation is None else {"activation": activation}),
    }
    op = "QLinearConv" if node.op == "Conv" and y[0] else PRODUCTS[node.op]
    made = Node(
        op,
        inputs,
        (chain or [node])[-1].outputs,
        attributes,
        node.name,
        node.version,
        "" if op == "QLinearConv" else OWN,
    )
    draft.replace([node, *chain], made)
    return True


def _has_factors(x: NamedGrain, w: NamedGrain, step: Array | None) -> bool:
    """Whether the factors of sums are float32 numbers: tiny scales times tiny ones are 0."""
    with np.errstate(all="ignore"):
        factors = x.scales.reshape(-1) * w.scales.reshape(-1)
        factors = factors if step is None else factors / step.reshape(-1)
    return bool(np.all(np.isfinite(factors) & (factors > 0)))


def _find_add(draft: Draft, node: Node) -> tuple[Node, str] | None:
    """The MatMul that an Add gives one constant for each column, and the name of that."""
    for name, other in (node.inputs, node.inputs[::-1]):
        product, value = draft.writer(name, "MatMul"), draft.constant(other)
        if product is None or value is None or value.ndim > 1 or not draft.has_one_reader(name):
            continue
        w = _weights(draft, product)
        columns = None if w is None else draft.constant(w[0])
        if columns is not None and value.shape == columns.shape[1:]:
            return product, other
    return None


def _in_steps(activation: Activation, scale: float) -> Activation:
    """The same of numbers counted in steps of a scale."""
    if activation.name == "relu":
        return activation
    low, high = activation.parameters or (0.0, 6.0)
    return Activation("clip", (low / scale, high / scale))


def _weights(draft: Draft, node: Node) -> tuple[str, NamedGrain] | None:
    """The constant 8-bit weights of a product, and what they stand for: all, or each channel of y."""
    source = draft.writer(node.inputs[1], "DequantizeLinear")
    if source is None or len(source.inputs) < 2:
        return None
    value, scales = draft.constant(source.inputs[0]), draft.constant(source.inputs[1])
    if value is None or scales is None or value.dtype not in BYTES or scales.dtype != np.float32:
        return None
    zero = source.inputs[2] if len(source.inputs) > 2 and source.inputs[2] else ""
    zeros = draft.constant(zero) if zero else np.zeros(scales.shape, value.dtype)
    rows_first = node.op == "Conv" or (node.op == "Gemm" and node.get("transB", 0))
    plain = node.op != "Gemm" or (
        node.get("alpha", 1.0) == node.get("beta", 1.0) == 1 and not node.get("transA", 0)
    )
    if node.op == "ConvTranspose" and scales.size > 1 and node.get("group", 1) > 1:
        return None  # the axis of the scales is that of a group's channels
    axis = 0 if rows_first else 1
    fits = scales.size == 1 or (
        scales.shape == (value.shape[axis],) and source.get("axis", 1) % value.ndim == axis
    )
    if zeros is None or not plain or not fits or source.get("block_size", 0) or not np.all(scales > 0):
        return None
    if node.op in ("Gemm", "MatMul") and value.ndim != 2:
        return None
    if not zero:
        zero = draft.keep(zeros, f"{source.inputs[0]}.zero")
    return source.inputs[0], NamedGrain(source.inputs[1], zero, scales, zeros)


def _room(draft: Draft, node: Node, x: NamedGrain, w: tuple[str, NamedGrain]) -> tuple[int, int]:
    """What a bias may be, least and greatest, so that no sum passes int32."""
    value, zeros = draft.constant(w[0]), w[1].zeros
    assert value is not None
    rows_first = node.op == "Conv" or node.get("transB", 0)
    terms = (
        math.prod(value.shape[1:])
        if rows_first
        else value.size // max(value.shape[1] * node.get("group", 1), 1)
    )
    return room_beside(terms, x.zeros.dtype.name, int(x.zeros.item()), zeros.dtype.name, bool(zeros.any()))


def _bias(
    draft: Draft, name: str, scales: Array, room: tuple[int, int], within: float
) -> tuple[str, ...] | None:
    """The bias in steps of its sums' scale, rounded; none at all is an empty tuple, one that does not fit is None.

    What does not leave the sums their room in int32 (a channel whose weights are next to nothing, counted in steps as
    small as they) becomes the nearest that does, if that moves it by no more than `within`.
    """
    if not name:
        return ()
    source = draft.writer(name, "DequantizeLinear")
    value, steps, kept = draft.constant(name), None, ""
    if source is not None and len(source.inputs) >= 2:
        whole, own = draft.constant(source.inputs[0]), draft.constant(source.inputs[1])
        if whole is None or own is None or whole.dtype != np.int32 or whole.ndim != 1:
            return None
        if any(each.size not in (1, whole.size) for each in (own, scales)):
            return None  # of another length, which the convolution refuses
        if len(source.inputs) > 2 and source.inputs[2]:
            zero = draft.constant(source.inputs[2])
            if zero is None or zero.any():
                return None
        if np.array_equal(np.broadcast_to(own, whole.shape), np.broadcast_to(scales, whole.shape)):
            steps, kept = whole.astype(np.float64), source.inputs[0]
        value = whole.astype(np.float64) * own
    if value is None or value.ndim != 1 or value.dtype.kind != "f":
        return None
    each = scales.reshape(-1).astype(np.float64)
    steps = np.rint(value.astype(np.float64) / each) if steps is None else steps
    fitting = np.clip(steps, *room)
    moved = np.abs(fitting - steps) * each
    if not np.all(moved <= within):
        return None
    if kept and not moved.any():
        return (kept,)
    return (draft.keep(fitting.astype(np.int32), f"{name}.steps"),)


__all__ = ["MOVES", "in_float", "moves", "quantise_constants", "quantised"]
