"""A rule for recurrent nodes in 8 bits: what DynamicQuantizeLSTM is read as, and what `to_onnx` then writes.

    LSTM(dequantised(x by its range), dequantised W, dequantised R) = IntegerLstm(x, W, R)

W and R are constants of a scale for each row, reshaped to directions. States are then counted in 8 bits, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Node
from ..ops.base import OWN
from ..ops.byte_recurrent import INTEGER_LSTM
from ..ops.recurrent import INPUTS
from .draft import Draft


def steps_in_bytes(draft: Draft, node: Node) -> bool:
    """An LSTM of x in 8 bits by its range and of weights in 8 bits."""
    if node.op != "LSTM" or node.domain or len(node.inputs) < 3:
        return False
    x = _by_range(draft, node.inputs[0])
    w, r = (_rows(draft, name) for name in node.inputs[1:3])
    if x is None or w is None or r is None:
        return False
    rest = [*node.inputs[3:], *[""] * (len(INPUTS) - len(node.inputs))]
    inputs = (x[0], w[0], r[0], *rest, *x[1:], *w[1:], *r[1:])
    draft.replace(
        [node], Node(INTEGER_LSTM, inputs, node.outputs, node.attributes, node.name, node.version, OWN)
    )
    return True


def _by_range(draft: Draft, name: str) -> Sequence[str] | None:
    """The outputs of the DynamicQuantizeLinear that a value is dequantised from."""
    node = draft.writer(name, "DequantizeLinear")
    source = None if node is None else draft.writer(node.inputs[0], "DynamicQuantizeLinear")
    return (
        source.outputs if node is not None and source is not None and node.inputs == source.outputs else None
    )


def _rows(draft: Draft, name: str) -> tuple[str, str, str] | None:
    """Weights (D, rows, columns) in int8, the scales and the zero points of their rows: names of constants."""
    reshaped = draft.writer(name, "Reshape")
    source = None if reshaped is None else draft.writer(reshaped.inputs[0], "DequantizeLinear")
    if reshaped is None or source is None or len(source.inputs) != 3 or source.get("axis", 1) != 0:
        return None
    q, scale, zero, shape = map(draft.constant, (*source.inputs, reshaped.inputs[1]))
    if q is None or scale is None or zero is None or shape is None or q.dtype != np.int8 or q.ndim != 2:
        return None
    if scale.dtype != np.float32 or shape.size != 3 or len({q.shape[:1], scale.shape, zero.shape}) > 1:
        return None
    return draft.keep(q.reshape(shape), f"{source.inputs[0]}.rows"), source.inputs[1], source.inputs[2]


__all__ = ["steps_in_bytes"]
