"""A rule for each operator: which part of its inputs a part of its output needs.

    part of the output  ->  parts of the inputs, the attributes with which the node makes it of them, and what it makes

A part is a range along every axis. What is made may be more than what was asked for (a Resize makes whole multiples);
the rest is cut off behind the node. Zero padding stays where the part touches the true border, and is none elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...geometry import Geometry
from ...network.graph import Node, Spec
from ...network.ops.convolution import geometry_of
from ...network.ops.pooling import windows
from ...network.ops.resize import axes as resized
from ...network.ops.resize import mode_of

Part = tuple[tuple[int, int], ...]
"""A range along every axis of a value."""


class WholeImage(Exception):
    """The node looks at all of an axis, or no rule says at what it looks: the reason."""


@dataclass(frozen=True)
class Needed:
    """What a node needs for a part of its output: a part of each input (None: all of it, or it is omitted).

    `attributes` are those that change; `inputs` constants that take the places of inputs; `makes` what comes out.
    """

    parts: tuple[Part | None, ...]
    makes: Part
    attributes: dict[str, Any] = field(default_factory=dict)
    inputs: dict[int, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


Rule = Callable[[Node, Sequence[Spec | None], Spec, Part], Needed]


def whole(shape: Sequence[int]) -> Part:
    """All of a value."""
    return tuple((0, n) for n in shape)


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


def first_alone(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The first input at the same place; the others are one number a channel."""
    return Needed((part, *(None for _ in inputs[1:])), part)


def across(names: str, default: int) -> Rule:
    """Along an axis all is needed: Softmax, LRN; at the same place along the others."""

    def rule(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
        axis = node.get(names, default) % out.rank
        return Needed(_all_along(node, (axis,), out, part), part)

    return rule


def _all_along(node: Node, axes: Sequence[int], out: Spec, part: Part) -> tuple[Part | None, ...]:
    for a in axes:
        if part[a] != (0, out.shape[a]):
            raise WholeImage(f"looks at all of axis {a}")
    return (part,)


def concat(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Along the axis that is joined all is needed."""
    axis = node.get("axis", 1) % out.rank
    _all_along(node, (axis,), out, part)
    given = [spec for spec in inputs if spec is not None]
    return Needed(tuple((*part[:axis], (0, s.shape[axis]), *part[axis + 1 :]) for s in given), part)


def split(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Along the axis that is split all is needed."""
    axis, x = node.get("axis", 0) % out.rank, inputs[0]
    assert x is not None
    _all_along(node, (axis,), out, part)
    return Needed(((*part[:axis], (0, x.shape[axis]), *part[axis + 1 :]), *(None for _ in inputs[1:])), part)


def transpose(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The axes in another order."""
    order = tuple(node.get("perm") or range(out.rank)[::-1])
    found: list[tuple[int, int]] = [(0, 0)] * out.rank
    for to, source in enumerate(order):
        found[source] = part[to]
    return Needed((tuple(found),), part)


def convolution(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What `Geometry.block` says, forward or transposed; the padding is what is left of it at the border."""
    x, w = inputs[0], inputs[1]
    assert x is not None
    assert w is not None
    _, g = geometry_of(node, x.shape, w.shape)
    channels = part[1] if part[1] == (0, out.shape[1]) else (0, out.shape[1])
    block = g.block(tuple(a for a, _ in part[2:]), tuple(b for _, b in part[2:]))
    lo, hi = block.geometry.lo, block.geometry.hi
    if node.op == "ConvTranspose":
        lo, hi = (tuple(r - 1 - p for r, p in zip(g.reach, each, strict=True)) for each in (lo, hi))
    parts = (part[0], (0, x.shape[1]), *((s.start, s.stop) for s in block.x))
    changed = {"pads": (*lo, *hi), "auto_pad": "NOTSET"}
    dropped: tuple[str, ...] = ()
    if node.op == "ConvTranspose":
        changed["output_padding"], dropped = (0,) * g.rank, ("output_shape",)
    return Needed((parts, *(None for _ in inputs[1:])), (part[0], channels, *part[2:]), changed, drop=dropped)


def pooling(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """As a convolution of each channel. The last windows of ceil_mode reach into padding that is said outright."""
    x = inputs[0]
    assert x is not None
    parts, lows, highs = [], [], []
    for window, (start, stop) in zip(windows(node, x.shape), part[2:], strict=True):
        end = (window.P - 1) * window.s + (window.F - 1) * window.d + 1 - window.lo - window.I
        g = Geometry.of(
            (1, 1, window.I), (1, 1, window.F), stride=window.s, dilation=window.d,
            padding=((window.lo, max(window.hi, end)),),
        )  # fmt: skip
        block = g.block((start,), (stop,))
        lo, hi = block.geometry.lo[0], max(block.geometry.hi[0], 0)
        if hi > max(window.hi, 0) and node.get("count_include_pad", 0):
            raise WholeImage("counts padding, and its last window reaches beyond that (ceil_mode)")
        parts.append((block.x[0].start, block.x[0].stop))
        lows.append(lo)
        highs.append(hi)
    changed = {"pads": (*lows, *highs), "auto_pad": "NOTSET", "ceil_mode": 0}
    return Needed(((*part[:2], *parts),), part, changed)


REACH = {"nearest": 1, "linear": 1, "cubic": 2}
"""Elements beside the nearest one that are read by each way of resizing."""


def resize(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """By whole numbers, or whole numbers' parts: the part's multiples, and what is read beside them."""
    x = inputs[0]
    assert x is not None
    mode = node.get("coordinate_transformation_mode", "half_pixel")
    found: list[tuple[int, int]] = list(part)
    makes = list(part)
    scales = [1.0] * x.rank
    for axis in resized(node, inputs):
        a, up, down = axis.axis, axis.P / max(axis.I, 1), axis.I / max(axis.P, 1)
        if axis.I == axis.P or part[a] == (0, axis.P):
            found[a], makes[a] = (0, axis.I), (0, axis.P)
            if axis.I == axis.P:
                found[a] = makes[a] = part[a]
            scales[a] = up
            continue
        if mode not in ("half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"):
            raise WholeImage(f"its coordinates ({mode}) follow from the whole extent")
        if up != int(up) and down != int(down):
            raise WholeImage(f"resizes {axis.I} to {axis.P}, by no whole number")
        start, stop = part[a]
        reach = REACH[mode_of(node)]
        if up == int(up):
            n = int(up)
            found[a] = max(start // n - reach, 0), min(-(-stop // n) + reach, axis.I)
            makes[a] = found[a][0] * n, found[a][1] * n
        else:
            n = int(down)
            first, last = max(start - reach, 0), min(stop + reach, axis.P)
            found[a], makes[a] = (first * n, last * n), (first, last)
        scales[a] = up
    import numpy as np

    replaced: dict[int, Any] = {}
    attributes: dict[str, Any] = {}
    old = node.op == "Upsample" or node.version < 11
    if old and len(inputs) < 2:
        attributes["scales"] = tuple(scales)
    else:
        replaced = {1 if old else 2: np.asarray(scales, np.float32)}
    # What comes out is said by scales, for all axes; sizes would be those of the whole.
    parts = (tuple(found), *(None for _ in inputs[1:]))
    return Needed(parts, tuple(makes), attributes, replaced, drop=("axes", "keep_aspect_ratio_policy"))


def depth_to_space(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Whole blocks."""
    b, x = node.get("blocksize"), inputs[0]
    assert x is not None
    inner = tuple((p // b, -(-q // b)) for p, q in part[2:])
    return Needed(
        ((part[0], (0, x.shape[1]), *inner),),
        (part[0], (0, out.shape[1]), *((p * b, q * b) for p, q in inner)),
    )


def space_to_depth(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Whole blocks."""
    b, x = node.get("blocksize"), inputs[0]
    assert x is not None
    parts = (part[0], (0, x.shape[1]), *((p * b, q * b) for p, q in part[2:]))
    return Needed((parts,), (part[0], (0, out.shape[1]), *part[2:]))


def slice_(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Along axes that are left whole, the same place; a cut axis is needed whole."""
    x = inputs[0]
    assert x is not None
    cut = [a for a in range(out.rank) if x.shape[a] != out.shape[a]]
    _all_along(node, cut, out, part)
    parts = tuple((0, x.shape[a]) if a in cut else part[a] for a in range(out.rank))
    named = node.get("axes") if len(inputs) < 4 or inputs[3] is None else inputs[3].value
    axes = range(out.rank) if named is None else [int(a) % x.rank for a in named]
    if any(a not in cut and parts[a] != (0, x.shape[a]) for a in axes):
        raise WholeImage("slices an axis from its beginning to its end by numbers of the whole")
    return Needed((parts, *(None for _ in inputs[1:])), part)


def reduction(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Channels may be reduced; what reduces pixels looks at the whole image."""
    x = inputs[0]
    assert x is not None
    axes = node.get("axes")
    if len(inputs) > 1 and inputs[1] is not None:
        axes = inputs[1].value
    if axes is None or not node.get("keepdims", 1):
        raise WholeImage("reduces axes away")
    gone = {int(a) % x.rank for a in axes}
    if any(a >= 2 for a in gone):
        raise WholeImage("reduces pixels")
    return Needed(
        (
            tuple((0, x.shape[a]) if a in gone else part[a] for a in range(x.rank)),
            *(None for _ in inputs[1:]),
        ),
        part,
    )


def global_(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Nothing less than all."""
    raise WholeImage("looks at every pixel")


def normalised(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """As `global_`."""
    raise WholeImage("normalises over pixels")


ELEMENTWISE = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "PRelu",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
]

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("BatchNormalization", "QuantizeLinear", "DequantizeLinear"), first_alone),
    **dict.fromkeys(("Conv", "ConvTranspose"), convolution),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pooling),
    **dict.fromkeys(("Resize", "Upsample"), resize),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), across("axis", -1)),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2", "ReduceL1"), reduction),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), global_),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization"), normalised),
    "LRN": first_alone,
    "Concat": concat,
    "Split": split,
    "Transpose": transpose,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Slice": slice_,
}


def needed(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What a node needs for a part of its first output. Raises WholeImage with the reason."""
    rule = RULES.get(node.op) if not node.domain else None
    if rule is None:
        raise WholeImage("has no rule that says which part of its input it looks at")
    return rule(node, inputs, out, part)


def overlap(parts: Sequence[Part]) -> Part:
    """The smallest part that holds all of them."""
    return tuple((min(p[0] for p in axis), max(p[1] for p in axis)) for axis in zip(*parts, strict=True))


def extents(part: Part) -> tuple[int, ...]:
    """How much it is along each axis."""
    return tuple(b - a for a, b in part)


def elements(part: Part) -> int:
    """How much it is in all."""
    return math.prod(extents(part))


__all__ = ["Needed", "Part", "WholeImage", "elements", "extents", "needed", "overlap", "whole"]
