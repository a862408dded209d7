"""Rules that put constants into the weights of products, and zeros around x into a convolution's padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Array, Node, Spec
from ..ops.convolution import pads_of, scale_weights
from .draft import Draft
from .patterns import constant_convolution, constant_dense

LARGEST_FACTOR = {np.dtype(np.float16): 2.0**8}
"""By type the largest factor by which weights are multiplied: its square is a number of the type; 2^64 for others."""


def fold_scale(draft: Draft, node: Node) -> bool:
    """A convolution, then s*y + t with constants for each channel: both into its weights and bias."""
    conv = constant_convolution(draft, node.inputs[0] if node.inputs else "", plain=True)
    other = 1
    if conv is None and node.op in ("Mul", "Add") and len(node.inputs) == 2:
        conv, other = constant_convolution(draft, node.inputs[1], plain=True), 0
    if conv is None:
        return False
    y = draft.specs[conv.outputs[0]]
    found = _affine(draft, node, other, y)
    if found is None:
        return False
    scale, shift = found
    bias, factor = _bias(draft, conv, y), _factor(scale, conv, y)
    if bias is None or factor is None:
        return False
    added = draft.keep((bias * scale + shift).astype(y.dtype), f"{conv.outputs[0]}.bias")
    attributes = {**conv.attributes, "scale": factor}
    folded = replace(conv, inputs=(*conv.inputs[:2], added), outputs=node.outputs[:1], attributes=attributes)
    draft.replace([conv, node], folded)
    return True


def fold_columns(draft: Draft, node: Node) -> bool:
    """A product with a constant matrix, then s*y + t with constants for each column: both into its weights and bias."""
    dense, other = constant_dense(draft, node.inputs[0], plain=True) if node.inputs[0] else None, 1
    if dense is None and node.op in ("Mul", "Add") and len(node.inputs) == 2:
        dense, other = constant_dense(draft, node.inputs[1], plain=True), 0
    if dense is None or (node.op == "BatchNormalization" and draft.specs[dense.outputs[0]].rank != 2):
        return False
    y, own = draft.specs[dense.outputs[0]], [draft.constant(name) if name else None for name in dense.inputs]
    found = _affine(draft, node, other, y, axis=-1)
    if found is None or draft.specs.get(node.outputs[0]) != y:
        return False
    scale, shift = found
    factor = _factor(scale, dense, y)
    if factor is None:
        return False
    if (scale != 1).any() and not draft.has_one_reader(dense.inputs[1]):
        return False  # the weights would be there twice
    bias = np.zeros(1) if len(own) < 3 or own[2] is None else own[2].astype(np.float64).reshape(-1)
    beta = dense.get("beta", 1.0) if dense.op == "Gemm" else 1.0
    added = draft.keep((beta * bias * scale + shift).astype(y.dtype), f"{dense.outputs[0]}.bias")
    attributes = {key: value for key, value in dense.attributes.items() if key != "beta"}
    if (scale != 1).any():
        attributes["scale"] = factor
    folded = replace(
        dense, inputs=(*dense.inputs[:2], added), outputs=node.outputs[:1], attributes=attributes
    )
    draft.replace([dense, node], folded)
    return True


def _affine(draft: Draft, node: Node, other: int, y: Spec, axis: int = 1) -> tuple[Array, Array] | None:
    """s and t for each channel, whose axis is the second or the last, if the node is s*y + t."""
    ones, zeros = np.ones(y.shape[axis]), np.zeros(y.shape[axis])
    if (
        node.op == "BatchNormalization"
        and len(list(filter(None, node.outputs))) == 1
        and not node.get("training_mode", 0)
    ):
        values = [draft.constant(name) for name in node.inputs[1:5]]
        if len(values) < 4 or any(v is None or v.shape != ones.shape for v in values):
            return None
        gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in values)
        with np.errstate(all="ignore"):
            scale = gamma / np.sqrt(variance + node.get("epsilon", 1e-5))
            return scale, beta - mean * scale
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    value = draft.constant(node.inputs[other])
    if value is None or (one := (_each_channel if axis == 1 else _each_column)(value, y)) is None:
        return None
    with np.errstate(divide="ignore"):
        return {"Add": (ones, one), "Sub": (ones, -one), "Mul": (one, zeros), "Div": (1 / one, zeros)}[
            node.op
        ]


def _factor(scale: Array, product: Node, y: Spec) -> Array | None:
    """All that a product's weights are multiplied by then; None where that could take them out of their type.

    An inf among weights makes NaN of a 0 in x, and of sums of both signs; a sum times inf is inf.
    """
    with np.errstate(all="ignore"):
        factor = np.asarray(scale * product.get("scale", 1.0))
    fits = np.abs(factor) <= LARGEST_FACTOR.get(y.dtype, 2.0**64)  # NaN does not
    return factor if fits.all() else None


def _each_channel(value: Array, y: Spec) -> Array | None:
    """A constant that broadcasts over all but the channels, as one number a channel."""
    if value.size == 1 and value.ndim <= y.rank:
        return np.full(y.shape[1], value.reshape(()), np.float64)
    fits = (
        value.ndim >= y.rank - 1
        and value.ndim <= y.rank
        and value.size == value.shape[value.ndim - y.rank + 1]
    )
    return np.asarray(value, np.float64).reshape(-1) if fits and value.size == y.shape[1] else None


def _each_column(value: Array, y: Spec) -> Array | None:
    """A constant that broadcasts over all but the last axis, as one number a column."""
    if value.size == 1 and value.ndim <= y.rank:
        return np.full(y.shape[-1], value.reshape(()), np.float64)
    fits = value.ndim <= y.rank and value.size == y.shape[-1] == value.shape[-1]
    return np.asarray(value, np.float64).reshape(-1) if fits else None


def scale_before(draft: Draft, node: Node) -> bool:
    """x times a constant for each channel, then a convolution: into its weights."""
    found = _before(draft, node, "Mul", "Div")
    if found is None:
        return False
    before, x, value = found
    with np.errstate(divide="ignore"):
        scale = 1 / value if before.op == "Div" else value
    if _factor(scale, before, draft.specs[x]) is None:
        return False
    w, groups = draft.constants[node.inputs[1]], node.get("group", 1)
    weights = draft.keep((w * _as_filters(scale, w, groups)).astype(w.dtype), node.inputs[1])
    draft.replace([before, node], replace(node, inputs=(x, weights, *node.inputs[2:])))
    return True


def shift_before(draft: Draft, node: Node) -> bool:
    """x plus a constant for each channel, then a convolution that puts nothing around it: into its bias."""
    found = _before(draft, node, "Add", "Sub")
    if found is None or node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    before, x, value = found
    y, w = draft.specs[node.outputs[0]], draft.constants[node.inputs[1]]
    bias = _bias(draft, node, y)
    if bias is None or any(any(pair) for pair in pads_of(node, w.ndim - 2)):
        return False
    shift = -value if before.op == "Sub" else value
    terms = scale_weights(node, w) * _as_filters(shift, w, node.get("group", 1))
    added = draft.keep((bias + terms.reshape(len(w), -1).sum(1)).astype(w.dtype), f"{node.outputs[0]}.bias")
    draft.replace([before, node], replace(node, inputs=(x, node.inputs[1], added, *node.inputs[3:])))
    return True


def _before(draft: Draft, node: Node, *ops: str) -> tuple[Node, str, Array] | None:
    """What a convolution's input is made by: the node, its x, and its constant as one number a channel."""
    if (
        node.op != "Conv"
        or constant_convolution(draft, node.outputs[0]) is None
        or not draft.has_one_reader(node.inputs[0])
    ):
        return None
    before = draft.writer(node.inputs[0], *ops)
    if before is None or len(before.inputs) != 2:
        return None
    both = (before.inputs, before.inputs[::-1]) if before.op in ("Mul", "Add") else (before.inputs,)
    for name, other in both:
        x, value = draft.specs.get(name), draft.constant(other)
        if x is None or value is None or x.shape != draft.specs[node.inputs[0]].shape:
            continue
        each = _each_channel(value, x)
        if each is not None:
            return before, name, each
    return None


def _as_filters(each: Array, w: Array, groups: int) -> Array:
    """A number for each input channel, to be multiplied with w: (O, C//G, *F), in float64."""
    rows = np.repeat(np.asarray(each, np.float64).reshape(groups, -1), w.shape[0] // groups, axis=0)
    return rows.reshape(w.shape[:2] + (1,) * (w.ndim - 2))


def pad_into_conv(draft: Draft, node: Node) -> bool:
    """Zeros put around the pixels of x, then a convolution: its own padding."""
    if (
        node.op != "Conv"
        or node.get("auto_pad", "NOTSET") != "NOTSET"
        or not draft.has_one_reader(node.inputs[0])
    ):
        return False
    pad = draft.writer(node.inputs[0], "Pad")
    if pad is None or pad.get("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return False
    amounts = (
        draft.constant(pad.inputs[1])
        if len(pad.inputs) > 1
        else np.asarray(pad.get("pads", pad.get("paddings", ())))
    )
    value = (
        draft.constant(pad.inputs[2])
        if len(pad.inputs) > 2 and pad.inputs[2]
        else np.asarray(pad.get("value", 0.0))
    )
    x = draft.specs.get(pad.inputs[0])
    if (
        amounts is None
        or value is None
        or x is None
        or value.size != 1
        or value.item() != 0
        or amounts.size != 2 * x.rank
    ):
        return False
    lo, hi = (tuple(int(n) for n in half) for half in np.split(amounts, 2))
    if any(lo[:2] + hi[:2]) or any(n < 0 for n in lo + hi):
        return False
    own = pads_of(node, x.rank - 2)
    both = [a + b for a, (b, _) in zip(lo[2:], own, strict=True)] + [
        a + b for a, (_, b) in zip(hi[2:], own, strict=True)
    ]
    attributes = {**node.attributes, "pads": tuple(both)}
    draft.replace([pad, node], replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes))
    return True


def _bias(draft: Draft, conv: Node, y: Spec) -> Array | None:
    """The bias of a convolution in float64, zeros where it has none; None for types whose constants are not folded."""
    if y.dtype.kind != "f":
        return None
    if len(conv.inputs) < 3 or not conv.inputs[2]:
        return np.zeros(y.shape[1])
    return np.asarray(draft.constants[conv.inputs[2]], np.float64)
