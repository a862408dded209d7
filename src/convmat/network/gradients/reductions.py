"""Sums, means, products, extremes and norms, and softmax, which divides by a sum."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .movement import back
from .rules import Gradients, Tape, rule


@rule("ReduceSum", "ReduceMean", "GlobalAveragePool")
def sums(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy for each element, a share of it for a mean."""
    return {0: back(node, dy[0], tape, "Spread", mean=int(node.op != "ReduceSum"))}


@rule("ReduceMax", "ReduceMin", "GlobalMaxPool")
def extremes(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy to those that are the extreme, in equal parts."""
    x, *rest = node.inputs
    return {0: tape.op("ExtremeGrad", dy[0], x, node.outputs[0], *rest, near=f"d.{x}", own=True, of=node)}


@rule("ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
def norms(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy times what the sum's own function, and each element's, grow by."""
    x, y = node.inputs[0], node.outputs[0]
    g, near = back(node, dy[0], tape, "Spread"), f"d.{x}"
    if node.op == "ReduceSumSquare":
        return {0: tape.each(("mul", 0, 1), ("scale", 2, (2.0,)), inputs=[g, x], near=near)}
    if node.op == "ReduceL1":
        return {0: tape.each(("sign", 1), ("mul", 0, 2), inputs=[g, x], near=near)}
    whole = back(node, y, tape, "Spread")
    if node.op == "ReduceL2":
        zero_if_none = (("neg", 2), ("scale", 1, (0.0,)), ("if_negative", 4, 3, 5))
        return {0: tape.each(("div", 1, 2), *zero_if_none, ("mul", 0, 6), inputs=[g, x, whole], near=near)}
    if node.op == "ReduceLogSum":
        return {0: tape.each(("neg", 1), ("exp", 2), ("mul", 0, 3), inputs=[g, whole], near=near)}
    return {0: tape.each(("sub", 1, 2), ("exp", 3), ("mul", 0, 4), inputs=[g, x, whole], near=near)}


@rule("ReduceProd")
def products(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy times the product of all others."""
    x, *rest = node.inputs
    return {0: tape.op("ProductGrad", dy[0], x, *rest, near=f"d.{x}", own=True, of=node)}


@rule("CumSum")
def cumulative_sum(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Sums from the other end: an element is in all sums from its own on."""
    x, axis = node.inputs
    exclusive, reverse = node.get("exclusive", 0), 1 - node.get("reverse", 0)
    return {0: tape.op("CumSum", dy[0], axis, near=f"d.{x}", exclusive=exclusive, reverse=reverse)}


@rule("Softmax", "LogSoftmax")
def softmax(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """By y, along the node's axis."""
    near = f"d.{node.inputs[0]}"
    return {0: tape.op(f"{node.op}Grad", dy[0], node.outputs[0], near=near, own=True, of=node)}
