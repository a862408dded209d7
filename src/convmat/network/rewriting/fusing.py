"""Rules that put what follows a convolution or a dense layer into its epilogue, and activations spelt out into one."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np

from ...product import Activation
from ..graph import Node
from .draft import Draft
from .patterns import constant_convolution, constant_dense, constant_number, is_near, is_real


def add_bias(draft: Draft, node: Node) -> bool:
    """A product with a constant matrix plus a constant for each of its columns: its bias."""
    if node.op not in ("Add", "Sum") or len(node.inputs) != 2:
        return False
    for mine, other in (node.inputs, node.inputs[::-1]):
        product, row = constant_dense(draft, mine, plain=True, residual=True), draft.constant(other)
        if product is None or row is None or product.op != "MatMul" or any(product.inputs[2:3]):
            continue
        y = draft.specs[mine]
        if (
            row.dtype != y.dtype
            or row.shape[-1:] != y.shape[-1:]
            or row.size != y.shape[-1]
            or row.ndim > y.rank
        ):
            continue
        bias = other if row.ndim == 1 else draft.keep(row.reshape(-1), other)
        inputs = (*product.inputs[:2], bias, *product.inputs[3:])
        draft.replace([product, node], replace(product, inputs=inputs, outputs=node.outputs))
        return True
    return False


def add_into_epilogue(draft: Draft, node: Node) -> bool:
    """A convolution or dense layer plus an array of the same shape: its residual."""
    if node.op not in ("Add", "Sum") or len(node.inputs) != 2 or node.inputs[0] == node.inputs[1]:
        return False
    for mine, other in (node.inputs, node.inputs[::-1]):
        conv = constant_convolution(draft, mine, plain=True) or constant_dense(draft, mine, plain=True)
        if conv is None or draft.specs.get(other) != draft.specs[mine]:
            continue
        bias = conv.inputs[2] if len(conv.inputs) > 2 else ""
        draft.replace(
            [conv, node], replace(conv, inputs=(*conv.inputs[:2], bias, other), outputs=node.outputs)
        )
        return True
    return False


def activate(draft: Draft, node: Node) -> bool:
    """A convolution or dense layer, then a function of each element that the epilogue knows."""
    activation = activation_of(draft, node)
    conv = (
        (constant_convolution(draft, node.inputs[0]) or constant_dense(draft, node.inputs[0]))
        if activation
        else None
    )
    if (
        conv is None
        or not draft.has_one_reader(node.inputs[0])
        or conv.get("activation")
        or not is_real(draft, conv)
    ):
        return False
    attributes = {**conv.attributes, "activation": activation}
    draft.replace([conv, node], replace(conv, attributes=attributes, outputs=node.outputs))
    return True


def activation_of(draft: Draft, node: Node) -> Activation | None:
    """The activation that a node computes."""
    simple = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish"}
    if node.op in simple:
        return Activation.of(simple[node.op])
    if node.op == "Gelu":
        return Activation.of("gelu_tanh" if node.get("approximate", "none") == "tanh" else "gelu")
    if node.op == "LeakyRelu":
        return Activation.of(("leaky_relu", node.get("alpha", 0.01)))
    if node.op == "HardSigmoid":
        return Activation.of(("hardsigmoid", node.get("alpha", 0.2), node.get("beta", 0.5)))
    if node.op == "Swish" and node.get("alpha", 1.0) == 1:
        return Activation.of("silu")
    bounds = _bounds(draft, node) if node.op == "Clip" else None
    if bounds is None or bounds[0] > bounds[1]:
        return None
    return Activation.of("relu" if bounds[0] == 0 and bounds[1] == np.inf else ("clip", *bounds))


def _bounds(draft: Draft, node: Node) -> tuple[float, float] | None:
    """What Clip keeps to: attributes before operator set 11, inputs since."""
    low, high = node.get("min", -np.inf), node.get("max", np.inf)
    for at, name in enumerate(node.inputs[1:3]):
        value = draft.constant(name) if name else None
        if name and (value is None or value.size != 1):
            return None
        if value is not None:
            low, high = (float(value.item()), high) if at == 0 else (low, float(value.item()))
    return float(low), float(high)


def swish(draft: Draft, node: Node) -> bool:
    """x times a gate that is a function of x: Sigmoid, HardSigmoid, or clip(x + 3, 0, 6)/6 spelt out."""
    if node.op not in ("Mul", "Div") or len(node.inputs) != 2:
        return False
    for x, gated in (node.inputs, node.inputs[::-1]):
        if not draft.has_one_reader(gated):
            continue
        gate = draft.writer(gated, "Sigmoid", "HardSigmoid") if node.op == "Mul" else None
        if gate is None or gate.inputs[0] != x:
            continue
        if gate.op == "HardSigmoid" and not _is_sixth_and_half(draft, gate):
            continue
        made = "Swish" if gate.op == "Sigmoid" else "HardSwish"
        draft.replace([gate, node], Node(made, (x,), node.outputs, {}, node.name, node.version))
        return True
    return _is_hard_sigmoid(draft, node)


def gelu(draft: Draft, node: Node) -> bool:
    """x * 0.5 * (1 + erf(x / sqrt(2))), its factors in any order."""
    if node.op != "Mul":
        return False
    for other, inner in (node.inputs, node.inputs[::-1]):
        product = draft.writer(inner, "Mul") if draft.has_one_reader(inner) else None
        if product is None:
            continue
        for half, x, gate in permutations((other, *product.inputs)):
            value = constant_number(draft, half, x)
            found = _one_and_erf(draft, gate, x) if value is not None and value.item() == 0.5 else None
            if found is not None:
                made = Node("Gelu", (x,), node.outputs, {}, node.name, node.version)
                draft.replace([*found, product, node], made)
                return True
    return False


def _one_and_erf(draft: Draft, name: str, x: str) -> tuple[Node, Node, Node] | None:
    """The nodes of 1 + erf(x / sqrt(2)), if that is what a value is, with nobody else to see them."""
    add = draft.writer(name, "Add")
    for inner, one in (add.inputs, add.inputs[::-1]) if add else ():
        value, erf = constant_number(draft, one, x), draft.writer(inner, "Erf")
        scaled = draft.writer(erf.inputs[0], "Div", "Mul") if erf else None
        if not add or not erf or not scaled or value is None or value.item() != 1:
            continue
        if all(draft.has_one_reader(n) for n in (name, inner, erf.inputs[0])) and _is_over_root(
            draft, scaled, x
        ):
            return scaled, erf, add
    return None


def _is_over_root(draft: Draft, node: Node, x: str) -> bool:
    """Whether a Div or a Mul gives x / sqrt(2)."""
    for mine, other in (node.inputs, node.inputs[::-1])[: 1 if node.op == "Div" else 2]:
        value = constant_number(draft, other, x)
        if mine == x and value is not None and value.dtype in (np.float16, np.float32, np.float64):
            return is_near(value.item(), np.sqrt(2 if node.op == "Div" else 0.5), value.dtype)
    return False


def _is_sixth_and_half(draft: Draft, gate: Node) -> bool:
    """Whether a HardSigmoid is the gate of HardSwish, as far as its attributes, float32, or its input can tell."""
    x = draft.specs.get(gate.inputs[0])
    if x is None or gate.get("beta", 0.5) != 0.5:
        return False
    return is_near(gate.get("alpha", 0.2), 1 / 6, np.promote_types(np.float32, x.dtype))


def _is_hard_sigmoid(draft: Draft, node: Node) -> bool:
    """clip(x + 3, 0, 6) / 6 is HardSigmoid with alpha 1/6; times x before the division, HardSwish."""
    value = constant_number(draft, node.inputs[1], node.inputs[0])
    if value is None or value.dtype not in (np.float16, np.float32, np.float64):
        return False
    if not draft.has_one_reader(node.inputs[0]):
        return False
    if value.item() != 6 if node.op == "Div" else not is_near(value.item(), 1 / 6, value.dtype):
        return False
    found = _find_clip(draft, node.inputs[0])
    if found is not None:
        gate = {"alpha": 1 / 6, "beta": 0.5}
        draft.replace(
            [*found, node],
            Node("HardSigmoid", found[0].inputs[:1], node.outputs, gate, node.name, node.version),
        )
        return True
    product = draft.writer(node.inputs[0], "Mul")
    for x, gated in (product.inputs, product.inputs[::-1]) if product else ():
        found = _find_clip(draft, gated) if draft.has_one_reader(gated) else None
        if product and found is not None and found[0].inputs[0] == x:
            draft.replace(
                [*found, product, node], Node("HardSwish", (x,), node.outputs, {}, node.name, node.version)
            )
            return True
    return False


def _find_clip(draft: Draft, name: str) -> tuple[Node, Node] | None:
    """The Add and the Clip of clip(x + 3, 0, 6), if that is what a value is."""
    clip = draft.writer(name, "Clip")
    if clip is None or _bounds(draft, clip) != (0, 6) or not draft.has_one_reader(clip.inputs[0]):
        return None
    add = draft.writer(clip.inputs[0], "Add")
    three = constant_number(draft, add.inputs[1], add.inputs[0]) if add else None
    return (add, clip) if add and three is not None and three.item() == 3 else None
