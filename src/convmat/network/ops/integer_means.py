"""Means over all pixels between 8-bit numbers: sums of integers, rounded once.

    quantise(mean of dequantised numbers) = saturate(round(sum * scale + add))
    scale = x_scale / (pixels * y_scale)          add = y_zero - x_zero * x_scale / y_scale

By one step at most another number than the graph's own, whose sums round.
"""

from __future__ import annotations

import math

import numpy as np

from ...engine import mean_bytes
from ..graph import Array, Node, Spec
from .base import OWNED, Operator, Specs, input_at

INTEGER_MEAN = "IntegerMean"
"""The name of GlobalAveragePool between 8-bit numbers: x, then scale and zero point of x and of y. Rewriting makes it.

Without `keepdims` the axes that are averaged over are left out, as ReduceMean leaves them out.
"""

BYTES = (np.uint8, np.int8)


def mean_factors(pixels: int, x: Array, x_scale: Array, y_scale: Array, y_zero: Array) -> tuple[Array, Array]:
    """`scale` and `add` as float32; x: the zero point of x, whose type says whether its numbers are moved by 128."""
    zero = int(x.item()) + (128 if x.dtype.kind == "i" else 0)
    ratio = float(x_scale.item()) / float(y_scale.item())
    return np.asarray(ratio / pixels, np.float32), np.asarray(int(y_zero.item()) - zero * ratio, np.float32)


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, zero = input_at(node, specs, 0), input_at(node, specs, 4)
    kept = (1,) * (x.rank - 2) if node.get("keepdims", 1) else ()
    return (Spec((*x.shape[:2], *kept), zero.dtype),)


def _run(node: Node, x: Array, x_scale: Array, x_zero: Array, y_scale: Array, y_zero: Array) -> Array:
    scale, add = mean_factors(math.prod(x.shape[2:]), x_zero, x_scale, y_scale, y_zero)
    found = mean_bytes(x.reshape(*x.shape[:2], -1), scale, add, y_zero.dtype)
    return found.reshape(*found.shape, *(1,) * (x.ndim - 2)) if node.get("keepdims", 1) else found


OWNED[INTEGER_MEAN] = Operator(INTEGER_MEAN, _shape, _run)

__all__ = ["BYTES", "INTEGER_MEAN", "mean_factors"]
