"""Random geometries and random ways to lay the same numbers out in memory.

What is constant in a kernel (`Kind`) is drawn apart from what is not (batch and extents), and in quick runs from a
fixed number of kinds that all properties share: they compile the fifth of what they would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from convmat.geometry import Geometry
from tests.support import DTYPES, LAYOUTS, Array

MOST_OUTPUTS = 400
"""Output elements times taps of one group: keeps the definition's loops to some milliseconds."""

KINDS, SOME = 24, 8
"""Kinds of convolution in a quick run, which draws them by number; with --slow each example draws its own.

All are for what is held to the definition, some for what follows from it.
"""

SIZES = 2
"""Extents of each kind where a quick run takes weight gradients: dy is their filter, and constant in a kernel too."""

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several values: by a random generator, or by hypothesis."""


@dataclass(frozen=True)
class Kind:
    """What is constant in a kernel: to make one takes as long as a hundred runs, so sizes are drawn apart from it."""

    F: tuple[int, ...]
    s: tuple[int, ...]
    d: tuple[int, ...]
    e: tuple[int, ...]
    lo: tuple[int, ...]
    G: int
    c: int
    o: int
    dtype: str
    layout: str


@dataclass(frozen=True)
class Drawn:
    """The arguments of `conv` for a geometry, and the geometry.

    `dtype` and `layout` belong to the kind: for what is tried in more than one of them.
    """

    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    options: dict[str, Any]
    dtype: str = "float64"
    layout: str = "NCHW"

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(self.x_shape, self.w_shape, **self.options)


def _kind(pick: Pick, crop: bool, empty: bool, input_dilation: bool) -> Kind:
    """Any kind; those without input dilation or empty arrays are the same ones without."""
    rank = pick((1, 2, 3, 4))
    small, room = rank > 2, MOST_OUTPUTS
    axes = []
    for _ in range(rank):
        F = pick(range(1, max(1, min(3 if small else 5, room)) + 1))
        room //= F
        # a gradient has a phase for each combination of strides: few along each of many axes
        s, d = pick(range(1, 3 if small else 5)), pick(range(1, 4))
        axes.append((F, s, d, pick(range(-2, 4 if small else 6))))
    F, s, d, lo = zip(*axes, strict=True)
    G, c, o = pick((1, 1, 2, 3)), pick((1, 1, 2, 3, 3)), pick((1, 2, 3))
    dtype, layout = pick(DTYPES), pick(LAYOUTS)
    e = tuple(pick(range(1, 3 if small else 5)) if input_dilation else 1 for _ in range(rank))
    if empty and not pick(range(6)):
        c = 0
    return Kind(F, s, d, e, lo if crop else tuple(map(abs, lo)), G, c, o, dtype, layout)


def _by_number(*numbers: int) -> Pick:
    """Choices that belong to a number, or to several."""
    rng = np.random.default_rng(numbers)
    return lambda values: values[int(rng.integers(len(values)))]


def _by_draws(draw: st.DrawFn) -> Pick:
    """Choices of hypothesis."""
    return lambda values: draw(st.sampled_from(values))


def _for_kinds(draw: st.DrawFn, kinds: int) -> Pick:
    """Choices for a kind: in quick runs those of one of so many numbers."""
    return _by_number(draw(st.integers(0, kinds - 1))) if settings().derandomize else _by_draws(draw)


@st.composite
def convolutions(
    draw: st.DrawFn,
    *,
    kinds: int = KINDS,
    sizes: int | None = None,
    crop: bool = True,
    empty: bool = True,
    input_dilation: bool = False,
) -> Drawn:
    """Any convolution: groups, stride, dilation, padding that is more or less than nothing, empty arrays."""
    by = _for_kinds(draw, kinds)
    k = _kind(by, crop, empty, input_dilation)
    pick = _by_draws(draw)
    if sizes is not None and settings().derandomize:
        pick = _by_number(by(range(kinds)), draw(st.integers(0, sizes - 1)))
    small = len(k.F) > 2
    room = max(MOST_OUTPUTS // math.prod(k.F), 1)
    Is, pads = [], []
    for F, s, d, e, lo in zip(k.F, k.s, k.d, k.e, k.lo, strict=True):
        P = pick(range(1, max(1, min(4 if small else 12, room)) + 1))
        room //= P
        hi, left = pick(range(-2 if crop else 0, 4 if small else 6)), pick(range(s))
        reach = d * (F - 1) + 1
        wanted = (P - 1) * s + reach + left - lo - hi
        I = -(-max(wanted - 1, 0) // e) + 1 if wanted > 0 else pick(range(3))
        if s > 1 and not pick(range(6)):
            I = pick(range(1, s))  # an input gradient's phases then have no output, some of them
        Is.append(I)
        pads.append((lo, hi + max(0, reach - lo - hi - ((I - 1) * e + 1 if I else 0))))
    B = draw(st.integers(0 if empty else 1, 3))
    options = {"stride": k.s, "padding": tuple(pads), "dilation": k.d, "groups": k.G}
    if input_dilation:
        options["input_dilation"] = k.e
    return Drawn((B, k.G * k.c, *Is), (k.G * k.o, k.c, *k.F), options, k.dtype, k.layout)


@st.composite
def transposes(draw: st.DrawFn) -> Drawn:
    """Any transposed convolution, w as (C, O//G, *F)."""
    by, pick = _for_kinds(draw, SOME), _by_draws(draw)
    rank = by((1, 2, 2, 3))
    few = range(1, 5 if rank < 3 else 3)
    G, c, o = by((1, 1, 2, 3)), by((1, 2, 3)), by((1, 2, 3))
    axes = []
    for _ in range(rank):
        F, s, d, lo = by(few), by(range(1, 6)), by(range(1, 4)), by(range(-2, 4))
        I, extra = pick(few), pick(range(4))
        grown = (I - 1) * s + d * (F - 1) + extra
        lo = min(lo, grown // 2)
        axes.append((I, F, s, d, extra, lo, pick(range(-2, max(grown - max(lo, 0), 0) + 1))))
    Is, Fs, ss, ds, extras, los, his = zip(*axes, strict=True)
    options = {
        "stride": ss, "padding": tuple(zip(los, his, strict=True)), "dilation": ds, "groups": G,
        "output_padding": extras,
    }  # fmt: skip
    return Drawn((pick(range(3)), G * c, *Is), (G * c, o, *Fs), options)


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
