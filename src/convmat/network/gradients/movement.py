"""What moves elements, or gives them another shape: gradients go back the same way."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .rules import Gradients, Tape, rule


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The shape that x had."""
    x = node.inputs[0]
    return (
        {0: tape.op("Reshape", dy[0], tape.shape(x), near=f"d.{x}", allowzero=1)}
        if tape.wanted(node, 0)
        else {}
    )
