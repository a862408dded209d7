"""The rule that finds a LayerNormalization spelt out, as exporters wrote it before operator set 17 had one."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..graph import Node
from ..ops.base import Unknown
from ..ops.reductions import reduced_axes
from .draft import Draft
from .patterns import constant_number

SINCE = 17


def layer_norm(draft: Draft, node: Node) -> bool:
    """(x - mean) / sqrt(mean of squares of that + epsilon) * scale + bias, over the last axes."""
    if node.op != "Add" or node.domain or len(node.inputs) != 2:
        return False
    for product, bias in (node.inputs, node.inputs[::-1]):
        mul = draft.writer(product, "Mul")
        for quotient, scale in () if mul is None else (mul.inputs, mul.inputs[::-1]):
            div = draft.writer(quotient, "Div")
            if mul is None or div is None or not _are_read_once(draft, mul, div):
                continue
            found = _spread(draft, div)
            if found is not None and _fits(draft, found[1], found[2], scale, bias):
                inside, x, axis, epsilon = found
                attributes = {"axis": axis, "epsilon": epsilon}
                made = Node(
                    "LayerNormalization", (x, scale, bias), node.outputs, attributes, node.name, SINCE
                )
                draft.replace([*inside, div, mul, node], made)
                return True
    return False


def _are_read_once(draft: Draft, *nodes: Node) -> bool:
    return all(draft.has_one_reader(each.outputs[0]) for each in nodes)


def _spread(draft: Draft, div: Node) -> tuple[list[Node], str, int, float] | None:
    """Find in (x - m) / sqrt(mean((x - m)^2) + e) the nodes before the division, x, the first of its axes, and e."""
    about, root = draft.writer(div.inputs[0], "Sub"), draft.writer(div.inputs[1], "Sqrt")
    plus = None if root is None else draft.writer(root.inputs[0], "Add")
    if about is None or root is None or plus is None or not _are_read_once(draft, root, plus):
        return None
    for name, added in (plus.inputs, plus.inputs[::-1]):
        epsilon, variance = constant_number(draft, added, name), draft.writer(name, "ReduceMean")
        square = None if variance is None else draft.writer(variance.inputs[0], "Pow", "Mul")
        if (
            epsilon is None
            or variance is None
            or square is None
            or not _are_read_once(draft, variance, square)
        ):
            continue
        other, mean = draft.writer(square.inputs[0], "Sub"), draft.writer(about.inputs[1], "ReduceMean")
        if other is None or mean is None or other.inputs != about.inputs or mean.inputs[0] != about.inputs[0]:
            continue
        axis = _axis(draft, mean)
        if axis is None or axis != _axis(draft, variance) or not _is_square(draft, square):
            continue
        inside = list(
            {id(each): each for each in (mean, other, about, square, variance, plus, root)}.values()
        )
        if _read_inside(draft, (mean, other, about), [*inside, div]):
            return inside, about.inputs[0], axis, float(epsilon.reshape(()))
    return None


def _read_inside(draft: Draft, nodes: Iterable[Node], inside: list[Node]) -> bool:
    """Whether nobody else reads what these nodes write."""
    return all(
        each.outputs[0] not in draft.graph.outputs
        and all(any(reader is known for known in inside) for reader in draft.readers(each.outputs[0]))
        for each in nodes
    )


def _is_square(draft: Draft, node: Node) -> bool:
    if node.op == "Mul":
        return node.inputs[0] == node.inputs[1]
    two = constant_number(draft, node.inputs[1], node.inputs[0])
    return two is not None and float(two.reshape(())) == 2


def _axis(draft: Draft, node: Node) -> int | None:
    """The first of the axes of a mean, if these are the last ones and stay."""
    specs = [draft.specs.get(name) if name else None for name in node.inputs]
    x = specs[0]
    if x is None or not node.get("keepdims", 1):
        return None
    try:
        axes = reduced_axes(node, specs, x.rank)
    except Unknown:
        return None
    first = min(axes, default=-1)
    return first if first >= 0 and sorted(axes) == list(range(first, x.rank)) else None


def _fits(draft: Draft, x: str, axis: int, scale: str, bias: str) -> bool:
    """Whether scale and bias are constants with a number for each element that is normalised, of x's float type."""
    of, values = draft.specs.get(x), [draft.constant(name) for name in (scale, bias)]
    if of is None or of.dtype.name not in ("float32", "float64"):
        return False
    size = math.prod(of.shape[axis:])
    return all(
        each is not None and each.dtype == of.dtype and each.size == size and each.ndim <= of.rank - axis
        for each in values
    )


__all__ = ["layer_norm"]
