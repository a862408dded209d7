"""DeformConv: a convolution whose taps look beside their places, by offsets of their own.

    y[b, o, p] = sum over c, f of  w[o, c, f] * mask[b, f, p] * x[b, c, p*s + f*d - lo + offset[b, f, p]]

x is read between its elements on lines between neighbours, 0 outside. `offset_group` parts of the channels have offsets
and masks of their own. What the taps read is a matrix of (C*F, P) for each image: the product with w is matmul's.
Dai et al., 2017; Zhu et al., 2018.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import Specs, has_input, input_at, operator, read_whole_numbers, specs_of
from .sampling import interpolate, linear_terms


class DeformedWindows(NamedTuple):
    """The window and its places: F taps, P outputs, strides, dilations, margins before, groups, groups of offsets."""

    F: Shape
    P: Shape
    s: Shape
    d: Shape
    lo: Shape
    G: int
    parts: int


def _windows(node: Node, specs: Specs) -> DeformedWindows:
    x, w, offset = (input_at(node, specs, i) for i in range(3))
    rank = x.rank - 2
    if rank < 1 or w.rank != x.rank:
        raise node.error(f"its X is {x} and its W {w}\n  (B, C, *I) and (O, C / group, *F) are needed")
    F = w.shape[2:]
    s, d = (
        read_whole_numbers(node, node.get(name) or (1,) * rank, name) for name in ("strides", "dilations")
    )
    pads = read_whole_numbers(node, node.get("pads") or (0,) * (2 * rank), "pads")
    G, parts = node.get("group", 1), node.get("offset_group", 1)
    kernel = tuple(node.get("kernel_shape") or F)
    if len(s) != rank or len(d) != rank or len(pads) != 2 * rank or min(*s, *d) < 1 or min(pads) < 0:
        raise node.error(
            f"its strides are {s}, its dilations {d} and its pads {pads}\n"
            f"  {rank}, {rank} and {2 * rank} numbers from 1, 1 and 0 on are needed"
        )
    if kernel != F:
        raise node.error(f"its kernel_shape is {kernel}\n  its W {w} has {F}")
    (B, C), O = x.shape[:2], w.shape[0]
    if min(G, parts) < 1 or C % G or O % G or C % parts or w.shape[1] * G != C:
        raise node.error(
            f"its group is {G} and its offset_group {parts}\n  its X is {x} and its W {w}: "
            f"both divide {C} channels, group divides {O} filters too, and W has {C} / group channels"
        )
    P = tuple(
        (x.shape[2 + a] + pads[a] + pads[rank + a] - d[a] * (F[a] - 1) - 1) // s[a] + 1 for a in range(rank)
    )
    if min(P) < 0 or min(F) < 1:
        raise node.error(f"its W {w} reaches beyond its padded X\n  {x}, pads {pads}, dilations {d}")
    taps = parts * math.prod(F)
    needed = {"offset": (2, (B, taps * rank, *P)), "B": (3, (O,)), "mask": (4, (B, taps, *P))}
    for name, (at, shape) in needed.items():
        if has_input(specs, at) and input_at(node, specs, at).shape != shape:
            raise node.error(
                f"its {name} is {input_at(node, specs, at)}\n  {x.dtype}[{','.join(map(str, shape))}] is needed: "
                f"the outputs are {P}, the window {F}, offset_group {parts}"
            )
    if w.dtype != x.dtype or offset.dtype != x.dtype:
        raise node.error(f"its inputs are {x}, {w} and {offset}\n  one element type is needed")
    return DeformedWindows(F, P, s, d, pads[:rank], G, parts)


def _deform_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, w = input_at(node, specs, 0), input_at(node, specs, 1)
    return (Spec((x.shape[0], w.shape[0], *_windows(node, specs).P), x.dtype),)


@operator("DeformConv", shape=_deform_shape)
def deform_conv(
    node: Node, x: Array, w: Array, offset: Array, bias: Array | None = None, mask: Array | None = None
) -> Any:
    """The convolution of what the taps read."""
    at = _windows(node, specs_of((x, w, offset, bias, mask)))
    (B, C), O, rank, G = x.shape[:2], w.shape[0], x.ndim - 2, at.G
    taps, outputs = math.prod(at.F), math.prod(at.P)
    if 0 in x.shape[2:] or not B * outputs:
        y = np.zeros((B, O, outputs), x.dtype)
    else:
        moved = offset.reshape(B * at.parts, taps, rank, outputs)
        terms = []
        for a in range(rank):
            f, p = _spread(at.F, a) * at.d[a], _spread(at.P, a) * at.s[a]
            place = (f[:, None] + p - at.lo[a]).astype(x.dtype) + moved[:, :, a]
            terms.append(linear_terms(place.reshape(B * at.parts, taps * outputs), x.shape[2 + a]))
        read = interpolate(x.reshape(B * at.parts, C // at.parts, *x.shape[2:]), terms)
        if mask is not None:
            read = read * mask.reshape(B * at.parts, 1, taps * outputs)
        columns = read.reshape(B, G, C // G * taps, outputs)
        y = np.matmul(w.reshape(G, O // G, C // G * taps), columns).reshape(B, O, outputs)
    if bias is not None:
        y = y + bias[:, None]
    return y.reshape(B, O, *at.P)


def _spread(extents: Shape, axis: int) -> Array:
    """The index along one axis of each element in C order."""
    return np.asarray(np.indices(extents)[axis].reshape(-1))
