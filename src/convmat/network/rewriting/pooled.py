"""Means of windows between 8-bit numbers, as products with equal weights.

    quantise(mean of a window of dequantised numbers) = QLinearConv of each channel by weights of 1 / taps

The sums are whole, and rounded once: by one step at most another number than the graph's own, whose sums round.
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from ..ops.pooling import LEAST, pad_windows, pooling_windows
from .draft import Draft
from .quantised import find_dequantised, find_grain

MOST_TAPS = 256
"""Taps of a window: kernels read as many in place."""


def mean_of_bytes(draft: Draft, node: Node) -> bool:
    """AveragePool between 8-bit numbers, all of whose windows have as many elements."""
    if node.op != "QuantizeLinear" or node.domain or {"precision", "saturate"} & {*node.attributes}:
        return False
    pool, y = draft.writer(node.inputs[0], "AveragePool"), find_grain(draft, node)
    if pool is None or pool.domain or y is None or not y.one or not draft.has_one_reader(node.inputs[0]):
        return False
    found = find_dequantised(draft, pool.inputs[0])
    x = draft.specs.get(found[0]) if found is not None else None
    if found is None or x is None or x.size < LEAST:
        return False
    along = pooling_windows(pool, x.shape)
    taps, padded = math.prod(w.F for w in along), bool(pool.get("count_include_pad"))
    if taps > MOST_TAPS or any((w.counts(padded) != w.F).any() for w in along):
        return False
    near, channels = pool.outputs[0], x.shape[1]
    weights = np.ones((channels, 1, *(w.F for w in along)), np.int8)
    w = draft.keep(weights, f"{near}.ones")
    scale = draft.keep(np.asarray(np.float32(1 / taps)), f"{near}.scale")
    zero = draft.keep(np.zeros((), np.int8), f"{near}.zero")
    pads = pad_windows(along)
    attributes = {
        "group": channels, "kernel_shape": weights.shape[2:], "strides": tuple(w.s for w in along),
        "dilations": tuple(w.d for w in along), "pads": (*(lo for lo, _ in pads), *(max(hi, 0) for _, hi in pads)),
    }  # fmt: skip
    q, grain = found
    inputs = (q, grain.scale, grain.zero, w, scale, zero, y.scale, y.zero)
    draft.replace(
        [pool, node], Node("QLinearConv", inputs, node.outputs, attributes, pool.name, pool.version)
    )
    return True


__all__ = ["mean_of_bytes"]
