"""Means of windows between 8-bit numbers, as products with equal weights.

    quantise(mean of a window of dequantised numbers) = QLinearConv of each channel by weights of 1 / taps
    the same of all pixels                              sums of lines of bytes: see `ops.integer_means`

The sums are whole, and rounded once: by one step at most another number than the graph's own, whose sums round.
"""

from __future__ import annotations

import math

import numpy as np

from ...engine import MOST_SUMMED
from ..graph import Node
from ..ops.base import OWN
from ..ops.integer_means import INTEGER_MEAN
from ..ops.integers import OF_FLOATS
from ..ops.pooling import LEAST, pad_windows, pooling_windows
from ..ops.reductions import reduced_axes
from .draft import Draft
from .quantised import NamedGrain, find_dequantised, find_grain

GLOBAL = ("GlobalAveragePool", "ReduceMean")
"""Operators that may average over all pixels."""

MOST_TAPS = 256
"""Taps of a window: kernels read as many in place."""


def mean_of_bytes(draft: Draft, node: Node) -> bool:
    """AveragePool between 8-bit numbers, all of whose windows have as many elements."""
    if node.op != "QuantizeLinear" or node.domain or {"precision", "saturate"} & {*node.attributes}:
        return False
    pool, y = draft.writer(node.inputs[0], "AveragePool", *GLOBAL), find_grain(draft, node)
    if pool is None or pool.domain or y is None or not y.one or not draft.has_one_reader(node.inputs[0]):
        return False
    if pool.op in GLOBAL:
        return _whole_mean(draft, pool, node, y)
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
        OF_FLOATS: 1,
    }  # fmt: skip
    q, grain = found
    inputs = (q, grain.scale, grain.zero, w, scale, zero, y.scale, y.zero)
    draft.replace(
        [pool, node], Node("QLinearConv", inputs, node.outputs, attributes, pool.name, pool.version)
    )
    return True


def _whole_mean(draft: Draft, pool: Node, node: Node, y: NamedGrain) -> bool:
    """The same over all pixels: by a node of its own."""
    found = find_dequantised(draft, pool.inputs[0])
    x = draft.specs.get(found[0]) if found is not None else None
    if found is None or x is None or x.rank < 3 or not 0 < math.prod(x.shape[2:]) <= MOST_SUMMED:
        return False
    if pool.op == "ReduceMean":
        specs = [draft.specs.get(name) if name else None for name in pool.inputs]
        known = all(spec is None or spec.value is not None for spec in specs[1:])
        if not known or sorted(reduced_axes(pool, specs, x.rank)) != [*range(2, x.rank)]:
            return False
    q, grain = found
    keep = pool.get("keepdims", 1) if pool.op == "ReduceMean" else 1
    inputs = (q, grain.scale, grain.zero, y.scale, y.zero)
    made = Node(INTEGER_MEAN, inputs, node.outputs, {"keepdims": keep}, pool.name, pool.version, OWN)
    draft.replace([pool, node], made)
    return True


__all__ = ["mean_of_bytes"]
