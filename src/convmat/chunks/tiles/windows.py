"""Rules of operators with windows: convolutions, pooling, resizing. What `Geometry.block` says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ...geometry import Geometry
from ...network.graph import Node, Spec
from ...network.ops.convolution import INTEGER_TRANSPOSE, TRANSPOSED, geometry_of
from ...network.ops.integers import INTEGER_CONV, RESIDUAL
from ...network.ops.pooling import pooling_windows
from ...network.ops.resize import ResizeAxis, coordinates_of, mode_of, rounding_of
from ...network.ops.resize import resized_axes as resized
from .parts import Needed, Part, WholeImage, first, others

FILTERS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger"), 1),
    **dict.fromkeys(("QLinearConv", INTEGER_CONV, INTEGER_TRANSPOSE), 3),
}
"""Which input of a convolution its filters are."""

ADDED = {
    **dict.fromkeys(("Conv", "ConvTranspose"), 3),
    **dict.fromkeys((INTEGER_CONV, INTEGER_TRANSPOSE), RESIDUAL),
}
"""Which of them is a residual."""


def convolution(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What `Geometry.block` says, forward or transposed; the padding is what is left of it at the border."""
    x, w = first(inputs), inputs[FILTERS[node.op]]
    assert w is not None
    _, g = geometry_of(node, x.shape, w.shape)
    channels = part[1] if part[1] == (0, out.shape[1]) else (0, out.shape[1])
    block = g.block(tuple(a for a, _ in part[2:]), tuple(b for _, b in part[2:]))
    lo, hi = block.geometry.lo, block.geometry.hi
    if node.op in TRANSPOSED:
        lo, hi = (tuple(r - 1 - p for r, p in zip(g.reach, each, strict=True)) for each in (lo, hi))
    parts = (part[0], (0, x.shape[1]), *((s.start, s.stop) for s in block.x))
    changed = {"pads": (*lo, *hi), "auto_pad": "NOTSET"}
    dropped: tuple[str, ...] = ()
    if node.op in TRANSPOSED:
        changed["output_padding"], dropped = (0,) * g.rank, ("output_shape",)
    makes = (part[0], channels, *part[2:])
    beside = tuple(
        makes if spec is not None and at == ADDED.get(node.op) else None for at, spec in enumerate(inputs)
    )[1:]
    return Needed((parts, *beside), makes, changed, drop=dropped)


def pooling(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What a convolution of each channel needs. With ceil_mode the last windows reach into padding that is said."""
    x = first(inputs)
    parts, lows, highs = [], [], []
    for window, (start, stop) in zip(pooling_windows(node, x.shape), part[2:], strict=True):
        end = (window.P - 1) * window.s + (window.F - 1) * window.d + 1 - window.lo - window.I
        g = Geometry.of(
            (1, 1, window.I), (1, 1, window.F), stride=window.s, dilation=window.d,
            padding=((window.lo, max(window.hi, end)),),
        )  # fmt: skip
        block = g.block((start,), (stop,))
        lo, hi = block.geometry.lo[0], max(block.geometry.hi[0], 0)
        if hi > max(window.hi, 0) and node.get("count_include_pad", 0):
            raise WholeImage("counts padding, and its last window reaches beyond that (ceil_mode)")
        parts.append((block.x[0].start, block.x[0].stop))
        lows.append(lo)
        highs.append(hi)
    changed = {"pads": (*lows, *highs), "auto_pad": "NOTSET", "ceil_mode": 0}
    return Needed(((*part[:2], *parts),), part, changed)


def causal(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """A state or zeros stay before the first element; elsewhere the first k-1 outputs are cut off."""
    w = inputs[1]
    assert w is not None
    (start, stop), k = part[2], w.shape[2]
    begin = max(start - k + 1, 0)
    place = (part[0], (0, out.shape[1]), (begin, stop))
    return Needed((place, *others(inputs)), place, omit=() if begin == 0 else (3,))


def resize(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What resizing by whole numbers, or parts of them, needs: the part's multiples, and what is read beside them."""
    x = first(inputs)
    found: list[tuple[int, int]] = list(part)
    makes, scales = list(part), [np.float32(1)] * x.rank
    for axis in resized(node, inputs):
        a = axis.axis
        if axis.I != axis.P or axis.scale != 1:
            found[a], makes[a], scales[a] = _along(node, axis, part[a])
    return _by_scales(node, inputs, tuple(found), tuple(makes), scales)


def resize_in_place(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What lies where a part does, resized to that part as if it were a whole image."""
    x = first(inputs)
    found, scales = [], []
    for (start, stop), n, extent in zip(part, x.shape, out.shape, strict=True):
        begin, end = start * n // extent, -(-stop * n // extent)
        scale = np.float32((stop - start) / (end - begin))
        rounded_down = int(np.floor((end - begin) * float(scale))) != stop - start
        found.append((begin, end))
        scales.append(np.nextafter(scale, np.float32(np.inf)) if rounded_down else scale)
    return _by_scales(node, inputs, tuple(found), part, scales)


def _by_scales(
    node: Node, inputs: Sequence[Spec | None], found: Part, makes: Part, scales: Sequence[np.float32]
) -> Needed:
    """What comes out is said by scales, for all axes; sizes would be those of the whole."""
    replaced: dict[int, Any] = {}
    attributes: dict[str, Any] = {}
    old = node.op == "Upsample" or node.version < 11
    if old and len(inputs) < 2:
        attributes["scales"] = tuple(scales)
    else:
        replaced = {1 if old else 2: np.asarray(scales, np.float32)}
    gone = ("axes", "keep_aspect_ratio_policy")
    return Needed((found, *others(inputs)), makes, attributes, replaced, drop=gone, omit=(3,))


def _along(
    node: Node, axis: ResizeAxis, part: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int], np.float32]:
    """What is read along one axis, what that makes, and the scale that says so."""
    n, start, stop = max(round(axis.scale), round(1 / axis.scale)), *part
    grows, how = axis.scale > 1, coordinates_of(node)
    whole = (n * axis.I, axis.P) if grows else (n * axis.P, axis.I)
    even = whole[0] == whole[1]
    if part == (0, axis.P):
        scale = np.float32(axis.scale)
        if int(np.floor(axis.I * float(scale))) != axis.P:  # sizes, whose ratio was rounded
            scale = np.nextafter(scale, np.float32(np.inf))
        return (0, axis.I), part, scale
    modes = ("half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
    if how not in modes or (how == "half_pixel_symmetric" and not even):
        raise WholeImage(f"takes its coordinates ({how}) from the whole extent")
    if not even and axis.scale not in (n, 1 / n):
        raise WholeImage(f"resizes {axis.I} to {axis.P}, by no whole number")
    up = Fraction(n) if grows else Fraction(1, n)
    first_read, last_read = (_read(node, up, p)[end] for end, p in enumerate((start, stop - 1)))
    if grows:
        # What is read for an output may lie before the element that it lies over, and what is made must reach as far.
        low, high = max(min(first_read, start // n), 0), min(max(last_read + 1, -(-stop // n)), axis.I)
        low, high = min(low, axis.I - 1), max(high, low + 1)
        return (low, high), (low * n, high * n), np.float32(n)
    low, high = max(first_read // n, 0), min(last_read // n + 1, axis.P)
    read = low * n, axis.I if high == axis.P else high * n  # what is left of it at the end is read there
    return read, (low, high), np.float32(1 / n)


def _read(node: Node, up: Fraction, p: int) -> tuple[int, int]:
    """The first and the last input that output p is made of, `up` outputs for each input."""
    at = p / up if coordinates_of(node) == "asymmetric" else (p + Fraction(1, 2)) / up - Fraction(1, 2)
    mode = mode_of(node)
    if mode == "nearest":
        how, half = rounding_of(node), Fraction(1, 2)
        whole = {"round_prefer_floor": math.ceil(at - half), "round_prefer_ceil": math.floor(at + half)}
        up_to = how == "ceil" or (how == "simple" and up < 1)
        nearest = whole.get(how, math.ceil(at) if up_to else math.floor(at))
        return nearest, nearest
    reach = (1 if mode == "linear" else 2) / (
        min(up, Fraction(1)) if node.get("antialias", 0) else Fraction(1)
    )
    return math.floor(at - reach) + 1, math.ceil(at + reach) - 1


__all__ = ["causal", "convolution", "pooling", "resize"]
