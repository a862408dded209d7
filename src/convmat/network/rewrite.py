"""Fewer nodes with the same answer: each rule a function, tried at every node until none applies.

    fold_scale           (w*x + b)*s + t = (s*w)*x + (s*b + t)     BatchNormalization; Mul, Div, Add, Sub of constants
    scale_before         w*(s*x) = (w*s)*x
    pad_into_conv        zeros that Pad puts around x are the convolution's own padding
    swish                x*sigmoid(x), x*hardsigmoid(x)            one activation
    add_into_epilogue    conv(x) + r                               r is the residual
    activate             f(conv(x) + b + r)                        f in the epilogue
    cancel_transposes    two in a row are one; one that moves axes of length 1 alone is a Reshape
    skip                 Identity, and Dropout outside training

A rule looks back from a node to what it reads, and changes the graph only if nobody else needs what would vanish.
What it computes of constants it computes in float64 and rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from ..errors import NetworkError
from ..problem import WORK_DTYPES
from ..product import Activation
from .draft import Draft
from .graph import Array, Graph, Node, Spec
from .ops.convolution import pads_of
from .ops.linear import dense_gemm

Rule = Callable[[Draft, Node], bool]

CONVOLUTIONS = ("Conv", "ConvTranspose")
MOST_PASSES = 16


def rewritten(
    graph: Graph, specs: Mapping[str, Spec], rules: Collection[str] | None = None
) -> tuple[Graph, dict[str, Spec]]:
    """The graph after all rules, or those named; Specs of new constants are added. Raises NetworkError."""
    wanted = chosen(rules)
    draft = Draft(graph, specs)
    for _ in range(MOST_PASSES):
        changed = [rule(draft, node) for node in draft for rule in wanted if _there(draft, node)]
        if not any(changed):
            break
    return draft.finished(), draft.specs


def chosen(names: Collection[str] | None) -> list[Rule]:
    """Rules by their names; None: all. Raises NetworkError for a name that is none."""
    if names is None:
        return list(RULES.values())
    unknown = [name for name in names if name not in RULES]
    if isinstance(names, str) or unknown:
        raise NetworkError(
            f"load: there is no rule of that name\n  rewrite = {names!r}\n"
            f"  True, False, or some of {', '.join(map(repr, RULES))}"
        )
    return [rule for name, rule in RULES.items() if name in names]


def _there(draft: Draft, node: Node) -> bool:
    """Whether no rule has taken the node away."""
    return draft.writer(next(filter(None, node.outputs))) is node


# -- constants into weights --------------------------------------------------------------------------------------------


def fold_scale(draft: Draft, node: Node) -> bool:
    """A convolution, then s*y + t with constants for each channel: both into its weights and bias."""
    conv = _convolution(draft, node.inputs[0] if node.inputs else "", plain=True)
    other = 1
    if conv is None and node.op in ("Mul", "Add") and len(node.inputs) == 2:
        conv, other = _convolution(draft, node.inputs[1], plain=True), 0
    if conv is None:
        return False
    y = draft.specs[conv.outputs[0]]
    found = _affine(draft, node, other, y)
    if found is None:
        return False
    scale, shift = found
    w, bias = draft.constants[conv.inputs[1]], _bias(draft, conv, y)
    if bias is None:
        return False
    groups = conv.get("group", 1)
    if conv.op == "Conv":
        scaled = w * scale.reshape(-1, *(1,) * (w.ndim - 1))
    else:  # (C, O//G, *F): the filters of group g are rows g*C/G .. and all columns
        each = np.repeat(scale.reshape(groups, -1), w.shape[0] // groups, axis=0)
        scaled = w * each.reshape(w.shape[:2] + (1,) * (w.ndim - 2))
    weights = draft.keep(scaled.astype(w.dtype), conv.inputs[1])
    added = draft.keep((bias * scale + shift).astype(w.dtype), f"{conv.outputs[0]}.bias")
    draft.replace(
        [conv, node], replace(conv, inputs=(conv.inputs[0], weights, added), outputs=node.outputs[:1])
    )
    return True


def _affine(draft: Draft, node: Node, other: int, y: Spec) -> tuple[Array, Array] | None:
    """s and t for each channel, if the node is s*y + t."""
    ones, zeros = np.ones(y.shape[1]), np.zeros(y.shape[1])
    if (
        node.op == "BatchNormalization"
        and len(list(filter(None, node.outputs))) == 1
        and not node.get("training_mode", 0)
    ):
        values = [draft.constant(name) for name in node.inputs[1:5]]
        if len(values) < 4 or any(v is None or v.shape != ones.shape for v in values):
            return None
        gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in values)
        scale = gamma / np.sqrt(variance + node.get("epsilon", 1e-5))
        return scale, beta - mean * scale
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    value = draft.constant(node.inputs[other])
    if value is None or (one := _each_channel(value, y)) is None:
        return None
    with np.errstate(divide="ignore"):
        return {"Add": (ones, one), "Sub": (ones, -one), "Mul": (one, zeros), "Div": (1 / one, zeros)}[
            node.op
        ]


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


def scale_before(draft: Draft, node: Node) -> bool:
    """x times a constant for each channel, then a convolution: into its weights."""
    if (
        node.op != "Conv"
        or _convolution(draft, node.outputs[0]) is None
        or not draft.seen_by_one(node.inputs[0])
    ):
        return False
    before = draft.writer(node.inputs[0], "Mul", "Div")
    if before is None or len(before.inputs) != 2:
        return False
    x, value = draft.specs.get(before.inputs[0]), draft.constant(before.inputs[1])
    if (
        x is None
        or value is None
        or (scale := _each_channel(value, x)) is None
        or x.shape != draft.specs[node.inputs[0]].shape
    ):
        return False
    with np.errstate(divide="ignore"):
        scale = 1 / scale if before.op == "Div" else scale
    w, groups = draft.constants[node.inputs[1]], node.get("group", 1)
    each = np.repeat(scale.reshape(groups, -1), w.shape[0] // groups, axis=0)
    scaled = draft.keep((w * each.reshape(w.shape[:2] + (1,) * (w.ndim - 2))).astype(w.dtype), node.inputs[1])
    draft.replace([before, node], replace(node, inputs=(before.inputs[0], scaled, *node.inputs[2:])))
    return True


def pad_into_conv(draft: Draft, node: Node) -> bool:
    """Zeros put around the pixels of x, then a convolution: its own padding."""
    if (
        node.op != "Conv"
        or node.get("auto_pad", "NOTSET") != "NOTSET"
        or not draft.seen_by_one(node.inputs[0])
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


# -- into epilogues ----------------------------------------------------------------------------------------------------


def add_into_epilogue(draft: Draft, node: Node) -> bool:
    """A convolution plus an array of the same shape: its residual."""
    if node.op not in ("Add", "Sum") or len(node.inputs) != 2 or node.inputs[0] == node.inputs[1]:
        return False
    for mine, other in (node.inputs, node.inputs[::-1]):
        conv = _convolution(draft, mine, plain=True)
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
    conv = (_convolution(draft, node.inputs[0]) or _dense(draft, node.inputs[0])) if activation else None
    if (
        conv is None
        or not draft.seen_by_one(node.inputs[0])
        or conv.get("activation")
        or not _real(draft, conv)
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
        if not draft.seen_by_one(gated):
            continue
        gate = draft.writer(gated, "Sigmoid", "HardSigmoid") if node.op == "Mul" else None
        if gate is None or gate.inputs[0] != x:
            continue
        sixth = abs(gate.get("alpha", 0.2) - 1 / 6) < 1e-4 and gate.get("beta", 0.5) == 0.5
        if gate.op == "HardSigmoid" and not sixth:
            continue
        made = "Swish" if gate.op == "Sigmoid" else "HardSwish"
        draft.replace([gate, node], Node(made, (x,), node.outputs, {}, node.name, node.version))
        return True
    return _spelt_out(draft, node)


def _spelt_out(draft: Draft, node: Node) -> bool:
    """clip(x + 3, 0, 6) / 6 is HardSigmoid with alpha 1/6; times x before the division, HardSwish."""
    value = draft.constant(node.inputs[1])
    if value is None or value.size != 1 or not draft.seen_by_one(node.inputs[0]):
        return False
    factor = float(value.item()) if node.op == "Mul" else 1 / float(value.item() or np.inf)
    if abs(factor - 1 / 6) > 1e-6:
        return False
    found = _clipped(draft, node.inputs[0])
    if found is not None:
        gate = {"alpha": 1 / 6, "beta": 0.5}
        draft.replace(
            [*found, node],
            Node("HardSigmoid", found[0].inputs[:1], node.outputs, gate, node.name, node.version),
        )
        return True
    product = draft.writer(node.inputs[0], "Mul")
    for x, gated in (product.inputs, product.inputs[::-1]) if product else ():
        found = _clipped(draft, gated) if draft.seen_by_one(gated) else None
        if product and found is not None and found[0].inputs[0] == x:
            draft.replace(
                [*found, product, node], Node("HardSwish", (x,), node.outputs, {}, node.name, node.version)
            )
            return True
    return False


def _clipped(draft: Draft, name: str) -> tuple[Node, Node] | None:
    """The Add and the Clip of clip(x + 3, 0, 6), if that is what a value is."""
    clip = draft.writer(name, "Clip")
    if clip is None or _bounds(draft, clip) != (0, 6) or not draft.seen_by_one(clip.inputs[0]):
        return None
    add = draft.writer(clip.inputs[0], "Add")
    three = draft.constant(add.inputs[1]) if add else None
    return (add, clip) if add and three is not None and three.size == 1 and three.item() == 3 else None


# -- moving nothing ----------------------------------------------------------------------------------------------------


def cancel_transposes(draft: Draft, node: Node) -> bool:
    """Two in a row are one; one that moves no element is a Reshape or nothing."""
    x = draft.specs.get(node.inputs[0]) if node.op == "Transpose" else None
    if x is None:
        return False
    order = tuple(node.get("perm") or range(x.rank)[::-1])
    if order == tuple(range(x.rank)):
        return draft.drop(node, node.inputs[0])
    before = draft.writer(node.inputs[0], "Transpose")
    if before is not None:
        first = tuple(before.get("perm") or range(x.rank)[::-1])
        both = tuple(first[a] for a in order)
        made = replace(node, inputs=before.inputs, attributes={**node.attributes, "perm": both})
        draft.replace([before, node] if draft.seen_by_one(node.inputs[0]) else [node], made)
        return True
    long = [a for a in order if x.shape[a] != 1]
    if long != sorted(long):
        return False
    shape = draft.keep(np.array([x.shape[a] for a in order], np.int64), f"{node.outputs[0]}.shape")
    attributes = {"allowzero": 1}
    draft.replace([node], Node("Reshape", (node.inputs[0], shape), node.outputs, attributes, node.name, 14))
    return True


def skip(draft: Draft, node: Node) -> bool:
    """Nodes that give what they take."""
    if (
        node.op not in ("Identity", "Dropout")
        or [i for i, name in enumerate(node.outputs) if name] != [0]
        or node.inputs[0] not in draft.specs
    ):
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    flag = draft.constant(training) if training else None
    if training and (flag is None or flag.any()):
        return False
    return draft.drop(replace(node, outputs=node.outputs[:1]), node.inputs[0])


# -- what rules ask ----------------------------------------------------------------------------------------------------


def _convolution(draft: Draft, name: str, *, plain: bool = False) -> Node | None:
    """The convolution with constant weights that writes a value of known shape.

    `plain`: that nobody else sees, with nothing in its epilogue but a constant bias.
    """
    conv = draft.writer(name, *CONVOLUTIONS)
    if conv is None or name not in draft.specs or draft.constant(conv.inputs[1]) is None:
        return None
    if len(conv.inputs) > 2 and conv.inputs[2] and draft.constant(conv.inputs[2]) is None:
        return None
    if draft.specs[name].dtype.name not in WORK_DTYPES:
        return None
    if plain and (not draft.seen_by_one(name) or len(conv.inputs) > 3 or conv.get("activation")):
        return None
    return conv


def _dense(draft: Draft, name: str) -> Node | None:
    """The Gemm that writes a value, if it is a product with constants."""
    gemm = draft.writer(name, "Gemm")
    if gemm is None or name not in draft.specs or any(n and n not in draft.specs for n in gemm.inputs):
        return None
    return gemm if dense_gemm(gemm, [draft.specs[n] if n else None for n in gemm.inputs]) else None


def _bias(draft: Draft, conv: Node, y: Spec) -> Array | None:
    """The bias of a convolution in float64, zeros where it has none; None for types whose constants are not folded."""
    if y.dtype.kind != "f":
        return None
    if len(conv.inputs) < 3 or not conv.inputs[2]:
        return np.zeros(y.shape[1])
    return np.asarray(draft.constants[conv.inputs[2]], np.float64)


def _real(draft: Draft, conv: Node) -> bool:
    return draft.specs[conv.outputs[0]].dtype.kind == "f"


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        skip,
        cancel_transposes,
        pad_into_conv,
        fold_scale,
        scale_before,
        swish,
        add_into_epilogue,
        activate,
    )
}
"""In the order in which they are tried at a node."""
