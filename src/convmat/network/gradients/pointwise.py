"""Elements each for themselves: dx = dy * f'(x), said by y = f(x) where that is enough, so that x need not be kept."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .rules import Gradients, Tape, rule


@rule("Relu")
def relu(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy where y is positive."""
    return {0: tape.each(("relu_grad", 0, 1), inputs=[dy[0], node.outputs[0]], near=f"d.{node.inputs[0]}")}


@rule("Add", "Sum")
def add(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy for each, summed over what was broadcast."""
    return {at: tape.summed_to(dy[0], name) for at, name in enumerate(node.inputs) if tape.wanted(node, at)}


@rule("Mul")
def mul(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy times the other."""
    found = {}
    for at, name in enumerate(node.inputs):
        if tape.wanted(node, at):
            product = tape.each(("mul", 0, 1), inputs=[dy[0], node.inputs[1 - at]])
            found[at] = tape.summed_to(product, name)
    return found
