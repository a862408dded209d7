"""Pooling: a maximum's gradient goes to where it came from, an average's or a norm's to all of its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Node
from .rules import Gradients, Tape, rule

WINDOW = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides")


def _words(node: Node) -> dict[str, Any]:
    return {key: node.attributes[key] for key in WINDOW if key in node.attributes}


@rule("MaxPool")
def max_pool(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """To the first largest element of each window."""
    x, y = node.inputs[0], node.outputs[0]
    return {0: tape.op("MaxPoolGrad", dy[0], x, y, near=f"d.{x}", own=True, **_words(node))}


@rule("AveragePool")
def average_pool(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """In equal parts."""
    x = node.inputs[0]
    return {0: tape.op("AveragePoolGrad", dy[0], tape.shape(x), near=f"d.{x}", own=True, **_words(node))}


@rule("LpPool", "GlobalLpPool")
def norm_pool(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """To all of a window, by what the norm grows with each."""
    x, y = node.inputs[0], node.outputs[0]
    return {0: tape.op("LpPoolGrad", dy[0], x, y, near=f"d.{x}", own=True, of=node)}
