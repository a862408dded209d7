"""Normalisation: by given means and variances, by those of an image or a layer, or by those of the batch."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .rules import Gradients, Tape, rule


def _three(node: Node, made: Sequence[str], tape: Tape) -> Gradients:
    return {at: name for at, name in enumerate(made) if tape.wants(node, at)}


@rule("BatchNormalization", "convmat.BatchNorm")
def batch(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The batch's own mean and deviation are outputs of the node; those of a file are its inputs."""
    x, scale, bias = node.inputs[:3]
    measured, limits = node.op == "BatchNorm", node.get("limits")
    known = node.outputs[1:3] if measured else node.inputs[3:5]
    words = {"limits": limits} if limits else {}
    made = tape.ops(
        "BatchNormGrad", dy[0], x, scale, *known, *node.outputs[4 : 4 + len(words)],
        outputs=(f"d.{x}", f"d.{scale}", f"d.{bias}"), own=True,
        given=int(not measured), epsilon=node.get("epsilon", 1e-5), **words,
    )  # fmt: skip
    return _three(node, made, tape)


@rule("InstanceNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization")
def image(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Means and deviations, or mean squares, are taken again."""
    near = tuple(f"d.{name}" for name in (*node.inputs[:2], node.inputs[-1]))
    made = tape.ops("NormGrad", dy[0], *node.inputs, outputs=near, own=True, of=node)
    return _three(node, made, tape)


@rule("LRN")
def neighbours(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """By x and the sums of its neighbours' squares, which are taken again."""
    x = node.inputs[0]
    return {0: tape.op("LRNGrad", dy[0], x, near=f"d.{x}", own=True, of=node)}


@rule("convmat.DropoutDrawn")
def dropout(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy times what x was multiplied by."""
    return {0: tape.each(("mul", 0, 1), inputs=[dy[0], node.outputs[1]], near=f"d.{node.inputs[0]}")}


@rule("Dropout")
def nothing(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Outside training x comes through as it is."""
    return {0: dy[0]}
