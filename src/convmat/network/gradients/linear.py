"""Products: each gradient is a product too.

Y = A @ U(x)        dA = dY @ U(x)^T        dX = A' @ U'(dY)            convolutions, as the geometry has them
Y = A @ B           dA = dY @ B^T           dB = A^T @ dY
Einsum              dy takes the operand's place, and the operand's letters the output's
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Node
from .rules import Gradients, Tape, rule

GEOMETRY = (
    "auto_pad",
    "dilations",
    "group",
    "kernel_shape",
    "output_padding",
    "output_shape",
    "pads",
    "strides",
)
"""Attributes of a convolution that its gradients share."""


@rule("Conv", "ConvTranspose")
def convolution(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Both gradients of the geometry; that of the bias is a sum of dy."""
    x, w = node.inputs[:2]
    attributes: dict[str, Any] = {key: node.attributes[key] for key in GEOMETRY if key in node.attributes}
    if node.op == "ConvTranspose":
        attributes["transposed"] = 1
    found = {}
    if tape.wants(node, 0):
        found[0] = tape.op("ConvInputGrad", dy[0], w, tape.shape(x), near=f"d.{x}", own=True, **attributes)
    if tape.wants(node, 1):
        found[1] = tape.op("ConvWeightGrad", x, dy[0], tape.shape(w), near=f"d.{w}", own=True, **attributes)
    if tape.wants(node, 2):
        found[2] = channel_sums(tape, dy[0], near=f"d.{node.inputs[2]}")
    return found


def channel_sums(tape: Tape, dy: str, near: str) -> str:
    """The sum of dy: (B, C, *P) over all axes but the second."""
    lines = tape.op("Reshape", dy, tape.whole(0, 0, -1))
    rows = tape.op("ReduceSum", lines, tape.whole(2), keepdims=0)
    return tape.op("ReduceSum", rows, tape.whole(0), near=near, keepdims=0)


@rule("Gemm")
def gemm(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Y = alpha A' B' + beta C, where ' transposes if the node says so."""
    a, b = node.inputs[:2]
    left, right, alpha, beta = (
        node.get("transA", 0), node.get("transB", 0), node.get("alpha", 1.0), node.get("beta", 1.0),
    )  # fmt: skip
    found = {}
    if tape.wants(node, 0):
        operands = (dy[0], b, 0, 1 - right) if not left else (b, dy[0], right, 1)
        found[0] = _gemm(tape, operands, alpha, f"d.{a}")
    if tape.wants(node, 1):
        operands = (a, dy[0], 1 - left, 0) if not right else (dy[0], a, 1, left)
        found[1] = _gemm(tape, operands, alpha, f"d.{b}")
    if tape.wants(node, 2):
        summed = tape.sum_to(dy[0], node.inputs[2])
        found[2] = summed if beta == 1 else tape.each(("scale", 0, (beta,)), inputs=[summed])
    return found


def _gemm(tape: Tape, operands: tuple[str, str, int, int], alpha: float, near: str) -> str:
    a, b, left, right = operands
    return tape.op("Gemm", a, b, near=near, transA=left, transB=right, alpha=alpha)


@rule("Einsum")
def einsum(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Gradient of each operand: the sum of products of dy and the others."""
    return {
        at: tape.op("EinsumGrad", dy[0], *node.inputs, near=f"d.{name}", own=True, of=node, at=at)
        for at, name in enumerate(node.inputs)
        if tape.wants(node, at)
    }


@rule("MatMul")
def matmul(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Matrices along the last two axes, the others broadcast; an array of one axis is a row, or a column."""
    a, b = node.inputs
    return {
        at: tape.op("MatMulGrad", dy[0], a, b, near=f"d.{node.inputs[at]}", own=True, of=at)
        for at in (0, 1)
        if tape.wants(node, at)
    }
