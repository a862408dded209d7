"""MaxUnpool: maxima put back where MaxPool found them, 0 elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import Specs, has_input, input_at, operator, read_whole_numbers, specs_of, whole_numbers_at


def _infer_extents(node: Node, specs: Specs) -> Shape:
    """The shape of what MaxPool has read, by the window alone: indices count in it."""
    x, places = input_at(node, specs, 0), input_at(node, specs, 1)
    rank = x.rank - 2
    kernel = read_whole_numbers(node, node.get("kernel_shape") or (), "kernel_shape")
    s = read_whole_numbers(node, node.get("strides") or (1,) * rank, "strides")
    pads = read_whole_numbers(node, node.get("pads") or (0,) * (2 * rank), "pads")
    if rank < 1 or len(kernel) != rank or len(s) != rank or len(pads) != 2 * rank or min(*kernel, *s) < 1:
        raise node.error(
            f"its kernel_shape is {kernel}, its strides {s}, its pads {pads}\n  they do not fit its X {x}"
        )
    if places.shape != x.shape or places.dtype.kind not in "iu":
        raise node.error(
            f"its I is {places}\n  int64[{','.join(map(str, x.shape))}] is needed, as its X is {x}"
        )
    sizes = (
        (x.shape[2 + a] - 1) * s[a] - pads[a] - pads[rank + a] + kernel[a] if x.shape[2 + a] else 0
        for a in range(rank)
    )
    found = (*x.shape[:2], *sizes)
    if min(found) < 0:
        raise node.error(f"its pads {pads} cut off more than there is\n  they would leave {found}")
    return found


def _unpool_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, shape = input_at(node, specs, 0), _infer_extents(node, specs)
    if not has_input(specs, 2):
        return (Spec(shape, x.dtype),)
    wanted = whole_numbers_at(node, specs, 2, "output_shape")
    if len(wanted) != x.rank or any(n < m for n, m in zip(wanted, shape, strict=True)):
        raise node.error(f"its output_shape is {wanted}\n  at least {shape} is needed, by its window")
    return (Spec(wanted, x.dtype),)


@operator("MaxUnpool", shape=_unpool_shape)
def unpool(node: Node, x: Array, places: Array, output_shape: Array | None = None) -> Any:
    """X at its places in an array of zeros.

    With an `output_shape` the array is larger, and the places still count in the one that the window makes: the
    standard's own case has it so.
    """
    specs = specs_of((x, places, output_shape))
    shape, (spec,) = _infer_extents(node, specs), _unpool_shape(node, specs)
    size = math.prod(shape)
    if places.size and not 0 <= places.min() <= places.max() < size:
        raise node.error(
            f"its I are {places.min()} to {places.max()}\n  its window makes {shape}: 0 to {size - 1} are needed"
        )
    y = np.zeros(size, x.dtype)
    y[places.reshape(-1)] = x.reshape(-1)
    if spec.shape == shape:
        return y.reshape(shape)
    out = np.zeros(spec.shape, x.dtype)
    out[tuple(map(slice, shape))] = y.reshape(shape)
    return out
