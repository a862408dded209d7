"""Random geometries and random ways to lay the same numbers out in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from convmat.geometry import Geometry
from tests.support import Array

MOST_OUTPUTS = 400
"""Output elements times taps of one group: keeps the definition's loops to some milliseconds."""


@dataclass(frozen=True)
class Drawn:
    """The arguments of `conv` for a geometry, and the geometry."""

    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    options: dict[str, Any]

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(self.x_shape, self.w_shape, **self.options)


@st.composite
def convolutions(
    draw: st.DrawFn,
    *,
    ranks: tuple[int, ...] = (1, 2, 3, 4),
    crop: bool = True,
    empty: bool = True,
    input_dilation: bool = False,
) -> Drawn:
    """Any convolution: groups, stride, dilation, padding that is more or less than nothing, empty arrays."""
    rank = draw(st.sampled_from(ranks))
    small = rank > 2
    pads = st.integers(-2 if crop else 0, 3 if small else 5)
    room = MOST_OUTPUTS
    axes = []
    for _ in range(rank):
        most = max(1, min(3 if small else 5, room))
        F = draw(st.integers(1, most))
        # a gradient has a phase for each combination of strides: few along each of many axes
        s, d = draw(st.integers(1, 2 if small else 4)), draw(st.integers(1, 3))
        e = draw(st.integers(1, 2 if small else 4)) if input_dilation else 1
        P = draw(st.integers(1, max(1, min(4 if small else 12, room // F))))
        room //= F * P
        lo, hi, left = draw(pads), draw(pads), draw(st.integers(0, s - 1))
        wanted = (P - 1) * s + d * (F - 1) + 1 + left - lo - hi
        I = -(-max(wanted - 1, 0) // e) + 1 if wanted > 0 else draw(st.integers(0, 2))
        axes.append(
            (I, F, s, d, lo, hi + max(0, d * (F - 1) + 1 - lo - hi - ((I - 1) * e + 1 if I else 0)), e)
        )
    Is, Fs, ss, ds, los, his, es = zip(*axes, strict=True)
    B = draw(st.integers(0 if empty else 1, 3))
    G = draw(st.sampled_from([1, 1, 2, 3]))
    c = draw(st.sampled_from([1, 1, 2, 3, 3, *([0] if empty else [])]))
    o = draw(st.integers(1, 3))
    options = {"stride": ss, "padding": tuple(zip(los, his, strict=True)), "dilation": ds, "groups": G}
    if input_dilation:
        options["input_dilation"] = es
    return Drawn((B, G * c, *Is), (G * o, c, *Fs), options)


@st.composite
def transposes(draw: st.DrawFn) -> Drawn:
    """Any transposed convolution, w as (C, O//G, *F)."""
    rank = draw(st.sampled_from((1, 2, 2, 3)))
    axes = []
    for _ in range(rank):
        I, F = draw(st.integers(1, 4 if rank < 3 else 2)), draw(st.integers(1, 4 if rank < 3 else 2))
        s, d, extra = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 3))
        grown = (I - 1) * s + d * (F - 1) + extra
        lo = draw(st.integers(-2, max(grown // 2, 0)))
        hi = draw(st.integers(-2, max(grown - max(lo, 0), 0)))
        axes.append((I, F, s, d, extra, lo, hi))
    Is, Fs, ss, ds, extras, los, his = zip(*axes, strict=True)
    B, G = draw(st.integers(0, 2)), draw(st.sampled_from([1, 1, 2, 3]))
    c, o = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    options = {
        "stride": ss, "padding": tuple(zip(los, his, strict=True)), "dilation": ds, "groups": G,
        "output_padding": extras,
    }  # fmt: skip
    return Drawn((B, G * c, *Is), (G * c, o, *Fs), options)


@st.composite
def laid_out(draw: st.DrawFn, array: Array) -> Array:
    """The same numbers elsewhere: transposed memory, gaps, reversed axes, an odd address, read-only."""
    order = draw(st.permutations(range(array.ndim)))
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in range(array.ndim)]
    shift = draw(st.sampled_from([0, 0, 1, array.itemsize]))
    shape = [array.shape[a] * abs(steps[a]) for a in order]
    raw = np.zeros(math.prod(shape) * array.itemsize + shift + 1, np.uint8)
    whole = raw[shift : shift + math.prod(shape) * array.itemsize].view(array.dtype).reshape(shape)
    back = np.argsort(order)
    made = whole.transpose(back)[tuple(slice(None, None, step) for step in steps)]
    made = made[tuple(slice(n) for n in array.shape)]
    made[...] = array
    if draw(st.booleans()):
        made.flags.writeable = False
    return made
