"""A rule for each operator: which part of its inputs a part of its output needs.

    part of the output  ->  parts of the inputs, the attributes with which the node makes it of them, and what it makes

A part is a range along every axis. What is made may be more than what was asked for (a Resize makes whole multiples);
the rest is cut off behind the node. Zero padding stays where the part touches the true border, and is none elsewhere.
Rules of windows are in `windows`, those of elements that move in `moves`, all others here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...network.graph import Node, Spec
from ...network.ops.base import OWN
from ...network.ops.convolution import INTEGER_TRANSPOSE
from ...network.ops.einsum import equation_of
from ...network.ops.integers import INTEGER_CONV, INTEGER_GEMM
from ...network.ops.pointwise import ELEMENTWISE as ELEMENTWISE_NODE
from . import moves, windows
from .parts import Needed, Part, Rule, WholeImage, extents, first, others, require_all, whole


def elementwise(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Every input at the same place, axes of extent 1 as they are."""
    parts: list[Part | None] = []
    for spec in inputs:
        if spec is None or (spec.value is not None and spec.size == 1):
            parts.append(None)
            continue
        behind = part[len(part) - spec.rank :]
        parts.append(tuple((0, 1) if n == 1 else p for n, p in zip(spec.shape, behind, strict=True)))
    return Needed(tuple(parts), part)


def first_input_only(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The first input at the same place; the others are one number a channel."""
    return Needed((part, *others(inputs)), part)


def softmax(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """All along one axis; before operator set 13 along all axes from one on."""
    old = node.version < 13
    axis = node.get("axis", 1 if old else -1) % out.rank
    require_all(range(axis, out.rank) if old else (axis,), out, part)
    return Needed((part,), part)


def from_axis(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """All of the axes from one on, which are normalised together."""
    require_all(range(node.get("axis", -1) % out.rank, out.rank), out, part)
    return Needed((part, *others(inputs)), part)


def matmul(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Rows of the left operand, or columns of the right one, by a constant matrix."""
    a, b, *added = inputs
    assert a is not None
    assert b is not None
    if b.value is not None and b.rank == 2 and a.rank > 1:
        rows = (*part[:-1], (0, out.shape[-1]))
        beside = (rows if number and each else None for number, each in enumerate(added))  # bias, residual
        return Needed(((*part[:-1], (0, a.shape[-1])), None, *beside), rows)
    if a.value is not None and a.rank == 2 and b.rank > 1:
        place = (*part[:-2], (0, b.shape[-2]), part[-1])
        return Needed((None, place), (*part[:-2], (0, out.shape[-2]), part[-1]))
    raise WholeImage("multiplies by no constant matrix")


def einsum(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Operands along their letters: what the part has of those it has, and all of those that are summed.

    Pixels of one letter that are multiplied by all others, as in an attention, need the whole of the other operand.
    """
    specs = [spec for spec in inputs if spec is not None]
    terms, y = equation_of(node, specs).split("->")
    ranges = dict(zip(y, part, strict=True))
    parts: list[Part] = []
    for letters, spec in zip(terms.split(","), specs, strict=True):
        axes = zip(letters, spec.shape, strict=True)
        parts.append(tuple((0, n) if n == 1 else ranges.get(letter, (0, n)) for letter, n in axes))
    return Needed(tuple(parts), part)


def by_constant_matrix(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Rows of the first input that the part has, each whole, and all of the matrix."""
    x = first(inputs)
    return Needed(((*part[:-1], (0, x.shape[-1])), *others(inputs)), (*part[:-1], (0, out.shape[-1])))


def reduction(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Channels may be reduced; what reduces pixels looks at the whole image."""
    x = first(inputs)
    axes = node.get("axes")
    if len(inputs) > 1 and inputs[1] is not None:
        axes = inputs[1].value
    if axes is None:
        raise WholeImage("reduces all axes")
    return _reduce_channels(node, inputs, {int(a) % x.rank for a in axes}, part)


def extreme(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The place of the largest or smallest channel; that of a pixel is one in the whole image."""
    return _reduce_channels(node, inputs, {node.get("axis", 0) % first(inputs).rank}, part)


def _reduce_channels(node: Node, inputs: Sequence[Spec | None], gone: set[int], part: Part) -> Needed:
    x = first(inputs)
    if any(a >= 2 for a in gone):
        raise WholeImage("reduces pixels")
    left, keeps = iter(part), node.get("keepdims", 1)
    each = [next(left) if keeps or a not in gone else (0, 1) for a in range(x.rank)]
    place = tuple((0, x.shape[a]) if a in gone else p for a, p in enumerate(each))
    return Needed((place, *others(inputs)), part)


def expand(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """As elementwise; the shape is that of the part."""
    x = first(inputs)
    place = tuple((0, 1) if n == 1 else p for n, p in zip(x.shape, part[len(part) - x.rank :], strict=True))
    return Needed((place, None), part, inputs={1: np.asarray(extents(part), np.int64)})


def global_(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """All of the inputs is needed."""
    raise WholeImage("looks at every pixel")


def whole_image(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The rule of `global_`."""
    raise WholeImage("normalises over pixels")


ELEMENTWISE = [
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot",
    "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu",
    "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity",
    "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
]  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("BatchNormalization", "QuantizeLinear", "DequantizeLinear", "LRN"), first_input_only),
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "QLinearConv"), windows.convolution),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), windows.pooling),
    **dict.fromkeys(("Resize", "Upsample"), windows.resize),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), from_axis),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2", "ReduceL1"), reduction),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), global_),
    **dict.fromkeys(
        ("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization"), whole_image
    ),
    **dict.fromkeys(("ArgMax", "ArgMin"), extreme),
    "Expand": expand,
    "CausalConvWithState": windows.causal,
    "MatMul": matmul,
    "Einsum": einsum,
    "Concat": moves.concat,
    "Split": moves.split,
    "Transpose": moves.transpose,
    "DepthToSpace": moves.depth_to_space,
    "SpaceToDepth": moves.space_to_depth,
    "Slice": moves.slice_,
    "Pad": moves.pad,
    "Squeeze": moves.squeeze,
    "Unsqueeze": moves.unsqueeze,
}


OWN_RULES: dict[str, Rule] = {
    ELEMENTWISE_NODE: elementwise,
    INTEGER_GEMM: by_constant_matrix,
    **dict.fromkeys((INTEGER_CONV, INTEGER_TRANSPOSE), windows.convolution),
}
"""Rules of nodes that rewriting makes."""


def needed_parts(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What a node needs for a part of its first output. Raises WholeImage with the reason."""
    rule = {"": RULES, OWN: OWN_RULES}.get(node.domain, {}).get(node.op)
    if rule is None:
        raise WholeImage("has no rule that says which part of its input it looks at")
    return rule(node, inputs, out, part)


def find_tile_parts(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What a node needs for a tile: that of `needed_parts`, but all of what was pooled, whichever node makes it."""
    if not any(map(has_pixels, (out, *(spec for spec in inputs if spec is not None and spec.value is None)))):
        return Needed((None,) * len(inputs), whole(out.shape))
    return needed_parts(node, inputs, out, part)


def has_pixels(spec: Spec) -> bool:
    """Whether a value is an image of more than one pixel: (B, C, *P); what was pooled is computed as a whole."""
    return spec.rank > 2 and max(spec.shape[2:]) > 1


__all__ = ["RULES", "find_tile_parts", "needed_parts"]
