"""Reductions over a stack: the elementwise operator of what was stacked.

ReduceMax(Concat(Unsqueeze(x), Unsqueeze(y), ..)) = Max(x, y, ..)        along the axis of the stack alone
"""

from __future__ import annotations

from ..graph import Node
from ..ops.reductions import reduced_axes
from .draft import Draft

ELEMENTWISE = {"ReduceMax": "Max", "ReduceMin": "Min", "ReduceSum": "Sum", "ReduceMean": "Mean"}
"""By the reduction, what it is of arrays that are not stacked."""

MOST_STACKED = 8
"""Arrays that one pass reads with ease."""


def reduce_unstacked(draft: Draft, node: Node) -> bool:
    """A reduction over the axis along which Concat put arrays of extent 1, for it alone."""
    stack = draft.writer(node.inputs[0], "Concat") if node.op in ELEMENTWISE and not node.domain else None
    if stack is None or not draft.has_one_reader(node.inputs[0]) or len(stack.inputs) > MOST_STACKED:
        return False
    x, y = draft.specs.get(node.inputs[0]), draft.specs.get(node.outputs[0])
    stacked = [draft.specs.get(name) for name in stack.inputs]
    if any(name and draft.constant(name) is None for name in node.inputs[1:]):  # axes that a call brings
        return False
    if x is None or y is None or x.dtype.kind != "f" or not y.size:
        return False
    axis = int(stack.get("axis", 1)) % x.rank
    axes = reduced_axes(node, [draft.specs.get(name) for name in node.inputs], x.rank)
    if axes != (axis,) or any(each is None or each.shape[axis] != 1 for each in stacked):
        return False
    names = [_of_shape(draft, name, y.shape) for name in stack.inputs]
    inputs = tuple(name for name in names if name is not None)
    if len(inputs) < len(names):
        return False
    made = Node(ELEMENTWISE[node.op], inputs, node.outputs, {}, node.name, max(node.version, 13))
    draft.replace([stack, node], made)
    return True


def _of_shape(draft: Draft, name: str, shape: tuple[int, ...]) -> str | None:
    """A value with these elements in this shape, if there is one: this one, or what axes of 1 were added to."""
    while (spec := draft.specs.get(name)) is not None and spec.shape != shape:
        writer = draft.writer(name, "Unsqueeze", "Reshape")
        if writer is None or writer.domain:
            return None
        name = writer.inputs[0]
    return name if spec is not None else None


__all__ = ["reduce_unstacked"]
