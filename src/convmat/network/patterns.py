"""What rewriting rules ask about the node that wrote a value."""

from __future__ import annotations

from ..problem import WORK_DTYPES
from .draft import Draft
from .graph import Node
from .ops.linear import dense_gemm

CONVOLUTIONS = ("Conv", "ConvTranspose")


def convolution(draft: Draft, name: str, *, plain: bool = False) -> Node | None:
    """The convolution with constant weights that writes a value of known shape.

    `plain`: that nobody else sees, with nothing in its epilogue but a constant bias.
    """
    conv = draft.writer(name, *CONVOLUTIONS)
    if conv is None or name not in draft.specs or draft.constant(conv.inputs[1]) is None:
        return None
    if len(conv.inputs) > 2 and conv.inputs[2] and draft.constant(conv.inputs[2]) is None:
        return None
    if draft.specs[name].dtype.name not in WORK_DTYPES:
        return None
    if plain and (not draft.seen_by_one(name) or len(conv.inputs) > 3 or conv.get("activation")):
        return None
    return conv


def dense(draft: Draft, name: str) -> Node | None:
    """The Gemm that writes a value, if it is a product with constants."""
    gemm = draft.writer(name, "Gemm")
    if gemm is None or name not in draft.specs or any(n and n not in draft.specs for n in gemm.inputs):
        return None
    return gemm if dense_gemm(gemm, [draft.specs[n] if n else None for n in gemm.inputs]) else None


def is_real(draft: Draft, conv: Node) -> bool:
    """Whether its results are floating-point numbers, which activations are for."""
    return draft.specs[conv.outputs[0]].dtype.kind == "f"
