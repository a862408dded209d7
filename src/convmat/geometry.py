"""Geometry: what a convolution is, before anything is computed.

    x: (B, C, *I)    w: (O, C//G, *F)    y: (B, O, *P)

    E = (I - 1)*e + 1                                  the input with e - 1 zeros between its elements
    P = (lo + E + hi - d*(F - 1) - 1) // s + 1
    y[b, o, p] = sum over c, f of  w[o, c, f] * x[b, c, (p*s + f*d - lo) / e]

Terms that fall outside [0, I), or between its elements where e > 1, are left out. Per axis: s stride, d dilation,
e input dilation, lo and hi padding (negative padding crops).

Both gradients and the transposed convolution are geometries of the same kind, so nothing above this file knows
about gradients. `phases()` rewrites input dilation as dense geometries: no inserted zero is ever multiplied.
Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, draws the cases.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self, cast

from .arguments import (
    LARGEST,
    Padding,
    PerAxis,
    Shape,
    axis_names,
    describe_channel_mismatch,
    format_shape,
    read_paddings,
    read_per_axis,
    read_shapes,
    require_whole,
)
from .axis_phases import MOST_PHASES, AxisPhase, share_inside, split_axis, spread_extent
from .errors import GeometryError
from .lazy_dataclass import dataclass
from .processes import kept_property

__all__ = ["Block", "Geometry", "Padding", "PerAxis", "Phase", "Shape"]

_WIDEST_ITEM = 16  # bytes of a complex128, the largest element taken: no byte offset may pass 63 bits


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The numbers of one convolution, checked once.

    Fields are the letters of the module's formula; `I F s d lo hi e` hold one number per spatial axis. Build it with
    `Geometry.of`, which takes what people write: ints, tuples, strings.

    >>> g = Geometry.of((1, 64, 56, 56), (128, 64, 3, 3), stride=2, padding=1)
    >>> g.P, (g.m, g.n, g.k)
    ((28, 28), (128, 784, 576))
    >>> g.flops
    115605504
    """

    B: int
    C: int
    O: int
    G: int = 1
    I: Shape
    F: Shape
    s: Shape
    d: Shape
    lo: Shape
    hi: Shape
    e: Shape

    def __hash__(self) -> int:
        """Hash of what tells most geometries apart: all plans are kept by theirs, and every field would take long."""
        return hash((self.B, self.C, self.O, self.I, self.F))

    def __post_init__(self) -> None:
        most = LARGEST // _WIDEST_ITEM
        far = max(*self.s, *self.e, *map(abs, (*self.lo, *self.hi)), *map(operator.mul, self.d, self.F), 1)
        if (
            set(self.e) <= {1}
            and far * max(1, *map(math.prod, (self.x_shape, self.w_shape, self.y_shape))) <= most
        ):
            return
        counts = {"x": self.x_shape, "w": self.w_shape, "y": self.y_shape}
        for name, shape in counts.items():
            if math.prod(shape) > most:
                raise GeometryError(
                    f"geometry: {name} has too many elements to address\n"
                    f"  {name} {format_shape(shape)} = {math.prod(shape)} elements of up to {_WIDEST_ITEM} bytes\n"
                    f"  at most {most} elements fit 64-bit offsets: split the batch or the image"
                )
        for a, name in enumerate(axis_names(self.rank)):
            # what one step along the axis skips: all other axes of the larger array
            line = max(1, *(math.prod(s) // max(s[a + 2], 1) for s in (self.x_shape, self.y_shape)))
            step = max(self.s[a], self.d[a] * self.F[a], self.e[a], abs(self.lo[a]), abs(self.hi[a]))
            if step * line > most:
                raise GeometryError(
                    f"geometry: a step along axis {name} passes what 64-bit offsets reach\n"
                    f"  stride {self.s[a]}, dilation {self.d[a]}, input dilation {self.e[a]}, "
                    f"padding ({self.lo[a]}, {self.hi[a]});  {line} elements lie beside each other\n"
                    f"  at most {most // line} in all: take less"
                )
        kinds = math.prod(len(self._axis_phases(a)) for a in range(self.rank))
        if kinds > MOST_PHASES:
            raise GeometryError(
                f"geometry: the input dilation makes too many phases\n"
                f"  input dilation {format_shape(self.e)} (the stride, of a transposed convolution or an input "
                f"gradient), "
                f"dilation {format_shape(self.d)}: more than {MOST_PHASES} dense products\n"
                f"  at most {MOST_PHASES}: put zeros between the elements of x first, and convolve with stride 1"
            )

    # -- making one --------------------------------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        input_dilation: PerAxis = 1,
        call: str = "conv",
    ) -> Self:
        """The geometry of x: (B, C, *I) convolved with w: (O, C//G, *F).

        `padding`: a number, one number per axis, `(lo, hi)` per axis, "valid", "same" (the odd element behind, as
        TensorFlow and ONNX SAME_UPPER) or "same_lower". `call` is the name that errors begin with.
        Raises GeometryError, with the values and a fix.

        >>> Geometry.of((1, 3, 8, 8), (4, 3, 3, 3), padding="same", stride=2).lo
        (0, 0)
        >>> Geometry.of((1, 3, 8), (4, 3, 3), padding=((1, 0),)).P
        (7,)
        """
        given = x_shape, w_shape, stride, padding, dilation, groups, input_dilation
        if cls is Geometry and _are_plain(given):
            with suppress(GeometryError):  # said below, by the name of the call
                return cast(Self, _remember_geometry(given))
        return cls._read(call, given)

    @classmethod
    def _read(cls, call: str, given: tuple[Any, ...]) -> Self:
        """`of`, from whatever was given, in the order of its parameters."""
        x_shape, w_shape, stride, padding, dilation, groups, input_dilation = given
        x, w, rank = read_shapes(call, x_shape, w_shape)
        G = require_whole(call, "groups", groups, least=1)
        B, C, I = x[0], x[1], x[2:]
        O, F = w[0], w[2:]
        if w[1] * G != C or O % G:
            raise GeometryError(describe_channel_mismatch(call, C, O, G, w))
        s = read_per_axis(call, "stride", stride, rank, least=1)
        d = read_per_axis(call, "dilation", dilation, rank, least=1)
        e = read_per_axis(call, "input_dilation", input_dilation, rank, least=1)
        reach = tuple(dd * (ff - 1) + 1 for dd, ff in zip(d, F, strict=True))
        E = tuple(spread_extent(i, ee) for i, ee in zip(I, e, strict=True))

        def same(a: int) -> int:
            return max((-(-E[a] // s[a]) - 1) * s[a] + reach[a] - E[a], 0)

        lo, hi = read_paddings(call, padding, rank, same)
        made = cls(B=B, C=C, O=O, G=G, I=I, F=F, s=s, d=d, lo=lo, hi=hi, e=e)
        for a in range(rank):
            if reach[a] > lo[a] + E[a] + hi[a]:
                raise GeometryError(_describe_width(call, made, a))
        return made

    @classmethod
    def transposed(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        output_padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        call: str = "conv_transpose",
    ) -> Self:
        """The geometry of the transposed convolution of x: (B, C, *I) with w: (C, O//G, *F).

        The input gradient of a convolution, run forward: the stride becomes input dilation, the padding is what the
        filter's reach leaves of it. P = (I - 1)*stride - lo - hi + d*(F - 1) + output_padding + 1. "same" gives
        P = I*stride, the adjoint of the convolution with padding="same". Raises GeometryError.

        >>> g = Geometry.transposed((1, 8, 5, 5), (8, 4, 3, 3), stride=2, padding=1, output_padding=1)
        >>> g.P, g.e, g.s
        ((10, 10), (2, 2), (1, 1))
        """
        x, w, rank = read_shapes(call, x_shape, w_shape)
        G = require_whole(call, "groups", groups, least=1)
        B, C, I = x[0], x[1], x[2:]
        F, O = w[2:], w[1] * G
        if w[0] != C or C % G:
            raise GeometryError(
                f"{call}: the channels of x do not match the filters in groups\n"
                f"  x has C = {C}, w {format_shape(w)} is (C, O//G, *F) and takes C = {w[0]};  groups = {G}\n"
                f"  C must be w.shape[0] and a multiple of groups, "
                f"e.g. w of shape {(C, *w[1:])} with groups={math.gcd(C, G)}"
            )
        s = read_per_axis(call, "stride", stride, rank, least=1)
        d = read_per_axis(call, "dilation", dilation, rank, least=1)
        extra = read_per_axis(call, "output_padding", output_padding, rank, least=0)

        span = tuple(dd * (ff - 1) for dd, ff in zip(d, F, strict=True))
        beyond = tuple(span[a] + 1 - s[a] for a in range(rank))
        lo, hi = read_paddings(call, padding, rank, lambda a: max(beyond[a], 0))
        if isinstance(padding, str) and padding != "valid":
            # The padding of the convolution whose adjoint this is; what its stride skips at the end is added there.
            hi = tuple(hi[a] + min(beyond[a], 0) + extra[a] for a in range(rank))
        g_lo = tuple(span[a] - lo[a] for a in range(rank))
        g_hi = tuple(span[a] - hi[a] + extra[a] for a in range(rank))
        for a, name in enumerate(axis_names(rank)):
            grown = spread_extent(I[a], s[a]) + span[a] + extra[a]
            if grown - lo[a] - hi[a] < 1:
                raise GeometryError(
                    f"{call}: the padding leaves no output on axis {name}\n"
                    f"  input {name} = {I[a]}, stride {s[a]}, filter {F[a]}, dilation {d[a]}, "
                    f"output_padding {extra[a]} -> {grown};  padding ({lo[a]}, {hi[a]})\n"
                    f"  {grown} - {lo[a]} - {hi[a]} < 1: "
                    + (
                        "less padding is needed, e.g. padding=0"
                        if grown > 0
                        else f"x needs an element along {name}"
                    )
                )
        ones = (1,) * rank
        return cls(B=B, C=C, O=O, G=G, I=I, F=F, s=ones, d=d, lo=g_lo, hi=g_hi, e=s)

    # -- shapes ------------------------------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.I)

    @kept_property
    def reach(self) -> Shape:
        """Per axis, the input elements between a window's first and last, both counted: d*(F - 1) + 1."""
        return tuple(d * (f - 1) + 1 for d, f in zip(self.d, self.F, strict=True))

    @kept_property
    def E(self) -> Shape:
        """Per axis, the extent of the input with its inserted zeros."""
        return tuple(spread_extent(i, e) for i, e in zip(self.I, self.e, strict=True))

    @kept_property
    def P(self) -> Shape:
        """Per axis, the output's extent."""
        axes = zip(self.lo, self.E, self.hi, self.reach, self.s, strict=True)
        return tuple(max((lo + E + hi - reach) // s + 1, 0) for lo, E, hi, reach, s in axes)

    @property
    def x_shape(self) -> Shape:
        """(B, C, *I)."""
        return (self.B, self.C, *self.I)

    @property
    def w_shape(self) -> Shape:
        """(O, C//G, *F)."""
        return (self.O, self.C // self.G, *self.F)

    @property
    def y_shape(self) -> Shape:
        """(B, O, *P)."""
        return (self.B, self.O, *self.P)

    # -- the product (one per group) and what it costs ----------------------------------------------------------------

    @property
    def m(self) -> int:
        """Rows of a group's product: O // G."""
        return self.O // self.G

    @property
    def n(self) -> int:
        """Columns of a group's product: B times the output's pixels."""
        return self.B * math.prod(self.P)

    @property
    def k(self) -> int:
        """What a group's product sums over: C//G times the filter's positions."""
        return self.C // self.G * math.prod(self.F)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the dense product: 2*G*m*n*k (terms on padding are counted)."""
        return 2 * self.G * self.m * self.n * self.k

    @property
    def unrolled(self) -> int:
        """Elements that the unrolled input has (if it existed): G*k*n."""
        return self.G * self.k * self.n

    @property
    def duplication(self) -> float:
        """How often the unrolled input repeats an element of x, on average: G*k*n over the elements of x."""
        elements = math.prod(self.x_shape)
        return self.unrolled / elements if elements else 0.0

    def bytes(self, itemsize: int) -> dict[str, int]:
        """Bytes of x, w, y and of the unrolled input for elements of `itemsize` bytes.

        >>> Geometry.of((1, 3, 3, 3), (1, 3, 2, 2)).bytes(4)
        {'x': 108, 'w': 48, 'y': 16, 'unrolled': 192}
        """
        arrays = {"x": self.x_shape, "w": self.w_shape, "y": self.y_shape}
        sizes = {name: math.prod(shape) * itemsize for name, shape in arrays.items()}
        return {**sizes, "unrolled": self.unrolled * itemsize}

    def intensity(self, itemsize: int) -> float:
        """FLOPs per byte when x, w and y each cross the memory bus once."""
        moved = sum(math.prod(shape) for shape in (self.x_shape, self.w_shape, self.y_shape)) * itemsize
        return self.flops / moved if moved else 0.0

    # -- relatives ----------------------------------------------------------------------------------------------------

    def resize(self, B: int, I: Shape) -> Geometry | None:
        """The same windows and padding on another batch and other extents; None where no window fits in.

        >>> Geometry.of((1, 3, 8, 8), (4, 3, 3, 3), stride=2, padding=1).resize(2, (9, 6)).y_shape
        (2, 4, 5, 3)
        """
        return _resize(self, B, I)

    def grad_input(self) -> Geometry:
        """The geometry of dx: dy: (B, O, *P) with w, O and C swapped and F flipped -> (B, C, *I).

        >>> g = Geometry.of((1, 3, 8, 8), (4, 3, 3, 3), stride=2, padding=1)
        >>> g.grad_input().y_shape == g.x_shape
        True
        """
        lo = tuple(r - 1 - lo for r, lo in zip(self.reach, self.lo, strict=True))
        axes = range(self.rank)
        hi = tuple(
            (self.I[a] - 1) * self.e[a] + self.reach[a] - lo[a] - spread_extent(self.P[a], self.s[a])
            for a in axes
        )
        return replace(self, C=self.O, O=self.C, I=self.P, s=self.e, lo=lo, hi=hi, e=self.s)

    def grad_weight(self) -> Geometry:
        """The geometry of dw: each group's x with C as batch and B as channels, dy as the filter -> (C//G, O, *F).

        >>> g = Geometry.of((5, 6, 8, 8), (4, 3, 3, 3), stride=2, padding=1, groups=2)
        >>> g.grad_weight().y_shape
        (3, 4, 3, 3)
        """
        axes = range(self.rank)
        hi = tuple(
            (self.F[a] - 1) * self.d[a] + self.s[a] * (self.P[a] - 1) + 1 - self.lo[a] - self.E[a]
            for a in axes
        )
        return replace(self, B=self.C // self.G, C=self.G * self.B, F=self.P, s=self.d, d=self.s, hi=hi)

    def block(self, start: Shape, stop: Shape, batch: tuple[int, int] | None = None) -> Block:
        """What the outputs from `start` to `stop` need: a part of x, and the geometry that makes them of it.

        Output p reads x from (p*s - lo)/e on, up to (p*s + reach - 1 - lo)/e: of the first and the last output that is
        the part, as far as it lies inside x (one element at least). `stop` may lie beyond P, as a tile's end does: x is
        then read as far as it goes, and the block ends with y. `batch`: the first image and the one after the last.

        >>> g = Geometry.of((1, 3, 100), (4, 3, 5), stride=2, padding=2)
        >>> block = g.block((10,), (20,))
        >>> block.x, block.geometry.P, (block.geometry.lo, block.geometry.hi)
        ((slice(18, 41, None),), (10,), ((0,), (0,)))
        """
        first, last = (0, self.B) if batch is None else batch
        x, lo, hi, extents = [], [], [], []
        for a in range(self.rank):
            e, end = self.e[a], min(stop[a], self.P[a])
            low = start[a] * self.s[a] - self.lo[a]
            high = (stop[a] - 1) * self.s[a] - self.lo[a] + self.reach[a] - 1
            begin = min(max(-(-low // e), 0), max(self.I[a] - 1, 0))
            after = max(min(high // e + 1, self.I[a]), min(begin + 1, self.I[a]))
            x.append(slice(begin, after))
            extents.append(after - begin)
            lo.append(begin * e - low)
            hi.append(
                (end - start[a] - 1) * self.s[a] + self.reach[a] - lo[a] - spread_extent(after - begin, e)
            )
        part = replace(self, B=last - first, I=tuple(extents), lo=tuple(lo), hi=tuple(hi))
        return Block(part, tuple(x), (first, last))

    @kept_property
    def leaving(self) -> Shape:
        """The axes along which some window reaches outside x."""
        found = []
        for a in range(self.rank):
            last = (self.P[a] - 1) * self.s[a] + self.reach[a] - 1 - self.lo[a]
            if self.P[a] and (self.lo[a] > 0 or last > self.E[a] - 1):
                found.append(a)
        return tuple(found)

    @kept_property
    def outside(self) -> float:
        """The share of the unrolled input's entries that lie outside x; none of them are inserted zeros.

        Of long windows, taps evenly apart stand for all.

        >>> round(Geometry.of((1, 1, 4), (1, 1, 3), padding=1).outside, 3)
        0.167
        """
        inside = 1.0
        for a in self.leaving:
            at = self.s[a], self.d[a], self.e[a], self.lo[a], self.F[a], self.P[a]
            inside *= share_inside(*at, self.I[a])
        return 1 - inside

    def without_padding(self) -> Geometry:
        """The geometry of the same windows on an input that was padded (or cropped) beforehand; needs e = 1."""
        assert set(self.e) <= {1}
        zeros = (0,) * self.rank
        padded = tuple(lo + i + hi for lo, i, hi in zip(self.lo, self.I, self.hi, strict=True))
        return replace(self, I=padded, lo=zeros, hi=zeros)

    def phases(self) -> tuple[Phase, ...]:
        """Dense geometries (e = 1) that together write every output once.

        An output p reads tap f only where p*s + f*d - lo is a multiple of e. The outputs p = start + j*step share
        their taps f = tap_start + t*tap_step: such a class is a phase, and those that follow it at `apart` with taps
        `back` before its own read the same of x: they are phases of a kind, and told once. A geometry without
        input dilation is its own single phase; a class that no tap reaches has F = 0: a product with k = 0.

        >>> g = Geometry.transposed((1, 1, 4), (1, 1, 3), stride=2)
        >>> [(p.start, p.step, p.geometry.F) for p in g.phases()]
        [((0,), (2,), (2,)), ((1,), (2,), (1,))]
        >>> [(p.start, p.count, p.geometry.F) for p in Geometry.transposed((1, 1, 4), (1, 1, 9), stride=9).phases()]
        [((0,), (9,), (1,))]
        """
        return self._phases

    @kept_property
    def _phases(self) -> tuple[Phase, ...]:
        if set(self.e) == {1}:
            return (self._only_phase(),)
        axes = [self._axis_phases(a) for a in range(self.rank)]
        return tuple(self._phase(parts) for parts in itertools.product(*axes))

    def is_idle(self, a: int) -> bool:
        """Whether axis `a` has one element, one tap and no padding: nothing happens along it."""
        return (self.I[a], self.F[a], self.P[a], self.lo[a], self.hi[a]) == (1, 1, 1, 0, 0)

    @property
    def phase_count(self) -> int:
        """How many phases there are, of all kinds.

        >>> Geometry.transposed((1, 1, 4, 4), (1, 1, 9, 9), stride=9).phase_count
        81
        """
        return sum(math.prod(phase.count) for phase in self.phases())

    def _axis_phases(self, a: int) -> tuple[AxisPhase, ...]:
        """The kinds of phases of one axis, by their first outputs."""
        return split_axis(self.s[a], self.d[a], self.e[a], self.lo[a], self.F[a], self.P[a])

    def _only_phase(self) -> Phase:
        """That of a geometry whose x is not dilated: itself, without what strides leave over of the padding."""
        axes = zip(self.P, self.s, self.reach, self.lo, self.I, strict=True)
        hi = tuple([(p - 1) * s + reach - lo - i for p, s, reach, lo, i in axes])
        dense = self if hi == self.hi else replace(self, hi=hi)
        zeros, ones = (0,) * self.rank, (1,) * self.rank
        return Phase(
            geometry=dense,
            start=zeros,
            step=ones,
            tap_start=zeros,
            tap_step=ones,
            count=ones,
            apart=ones,
            back=zeros,
        )

    def _phase(self, parts: tuple[AxisPhase, ...]) -> Phase:
        F = tuple(p.taps for p in parts)
        s, d, lo = (tuple(getattr(p, name) for p in parts) for name in ("stride", "dilation", "lo"))
        hi = tuple(
            (p.outputs - 1) * p.stride + p.dilation * (p.taps - 1) + 1 - p.lo - i
            for p, i in zip(parts, self.I, strict=True)
        )
        dense = self
        if (F, s, d, lo, hi) != (self.F, self.s, self.d, self.lo, self.hi) or set(self.e) != {1}:
            dense = replace(self, F=F, s=s, d=d, lo=lo, hi=hi, e=(1,) * self.rank)
        return Phase(
            geometry=dense,
            start=tuple(p.start for p in parts),
            step=tuple(p.step for p in parts),
            tap_start=tuple(p.tap_start for p in parts),
            tap_step=tuple(p.tap_step for p in parts),
            count=tuple(p.count for p in parts),
            apart=tuple(p.apart for p in parts),
            back=tuple(p.back for p in parts),
        )

    def __str__(self) -> str:
        parts = [
            f"{format_shape(self.x_shape)} * {format_shape(self.w_shape)} -> {format_shape(self.y_shape)}"
        ]
        for name, values, plain in (
            ("stride", self.s, 1),
            ("dilation", self.d, 1),
            ("input dilation", self.e, 1),
        ):
            if set(values) - {plain}:
                parts.append(f"{name} {format_shape(values)}")
        if any(self.lo) or any(self.hi):
            parts.append("padding " + " ".join(f"({a}, {b})" for a, b in zip(self.lo, self.hi, strict=True)))
        if self.G > 1:
            parts.append(f"groups {self.G}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Block:
    """A block of outputs: the `geometry` that makes it of `x`, a slice of each spatial axis of x, and its images."""

    geometry: Geometry
    x: tuple[slice, ...]
    batch: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A dense geometry that computes outputs start + r*apart + j*step from taps tap_start - r*back + t*tap_step.

    Along each axis r counts phases of a kind, `count` of them: they read the same of x by other taps.
    """

    geometry: Geometry
    start: Shape
    step: Shape
    tap_start: Shape
    tap_step: Shape
    count: Shape
    apart: Shape
    back: Shape


def _describe_width(call: str, g: Geometry, a: int) -> str:
    """The sentence for a filter wider than the padded input; its fix widens every axis that needs it."""
    padded = [lo + E + hi for lo, E, hi in zip(g.lo, g.E, g.hi, strict=True)]
    needs = [max(reach - p, 0) for reach, p in zip(g.reach, padded, strict=True)]
    name = axis_names(g.rank)[a]
    kind = {"W": "column", "H": "row"}.get(name, "element")
    count = f"one more {kind} is" if needs[a] == 1 else f"{needs[a]} more {kind}s are"
    fixed = tuple((lo, hi + need) for lo, hi, need in zip(g.lo, g.hi, needs, strict=True))
    spread = f" ({g.E[a]} with input dilation)" if g.E[a] != g.I[a] else ""
    return (
        f"{call}: the filter is wider than the padded input on axis {name}\n"
        f"  input {name} = {g.I[a]}{spread}, padding ({g.lo[a]}, {g.hi[a]}) -> {padded[a]};  "
        f"filter {name} = {g.F[a]}, dilation {g.d[a]} -> reach {g.reach[a]}\n"
        f"  {g.reach[a]} > {padded[a]}: {count} enough, e.g. padding={fixed}"
    )


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether all are whole numbers, words, or tuples of these: told apart by their values alone, as a memory does."""
    return all(type(v) is int or type(v) is str or (type(v) is tuple and _are_plain(v)) for v in values)


@lru_cache(maxsize=1024)
def _resize(g: Geometry, B: int, I: Shape) -> Geometry | None:
    """What `Geometry.resize` gives: layers of a network that are alike ask for the same."""
    fits = B > 0 and len(I) == g.rank and all(i > 0 for i in I)
    made = replace(g, B=B, I=I) if fits else None
    reached = () if made is None else zip(made.reach, made.lo, made.E, made.hi, strict=True)
    return None if any(reach > lo + E + hi for reach, lo, E, hi in reached) else made


@lru_cache(maxsize=1024)
def _remember_geometry(given: tuple[Any, ...]) -> Geometry:
    """What `Geometry.of` makes of plain values: a layer is asked for it where it is inferred, rewritten and planned."""
    return Geometry._read("conv", given)
