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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from .errors import GeometryError

Shape = tuple[int, ...]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]
PerAxis = int | Sequence[int]

_NAMES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}
_LARGEST = 2**63 - 1
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

    def __post_init__(self) -> None:
        counts = {"x": self.x_shape, "w": self.w_shape, "y": self.y_shape}
        for name, shape in counts.items():
            if math.prod(shape) * _WIDEST_ITEM > _LARGEST:
                raise GeometryError(
                    f"geometry: {name} has too many elements to address\n"
                    f"  {name} {_cross(shape)} = {math.prod(shape)} elements of up to {_WIDEST_ITEM} bytes\n"
                    f"  at most {_LARGEST // _WIDEST_ITEM} elements fit 64-bit offsets: split the batch or the image"
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
        x, w, rank = _shapes(call, x_shape, w_shape)
        G = _whole(call, "groups", groups, least=1)
        B, C, I = x[0], x[1], x[2:]
        O, F = w[0], w[2:]
        if w[1] * G != C or O % G:
            raise GeometryError(_channels(call, C, O, G, w))
        s = _per_axis(call, "stride", stride, rank, least=1)
        d = _per_axis(call, "dilation", dilation, rank, least=1)
        e = _per_axis(call, "input_dilation", input_dilation, rank, least=1)
        reach = tuple(dd * (ff - 1) + 1 for dd, ff in zip(d, F, strict=True))
        E = tuple(_spread(i, ee) for i, ee in zip(I, e, strict=True))

        def same(a: int) -> int:
            return max((-(-E[a] // s[a]) - 1) * s[a] + reach[a] - E[a], 0)

        lo, hi = _padding(call, padding, rank, same)
        for a, name in enumerate(axis_names(rank)):
            padded = lo[a] + E[a] + hi[a]
            if reach[a] > padded:
                raise GeometryError(_too_wide(call, a, name, I, E, F, d, reach, lo, hi, padded))
        return cls(B=B, C=C, O=O, G=G, I=I, F=F, s=s, d=d, lo=lo, hi=hi, e=e)

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
        P = I*stride. Raises GeometryError.

        >>> g = Geometry.transposed((1, 8, 5, 5), (8, 4, 3, 3), stride=2, padding=1, output_padding=1)
        >>> g.P, g.e, g.s
        ((10, 10), (2, 2), (1, 1))
        """
        x, w, rank = _shapes(call, x_shape, w_shape)
        G = _whole(call, "groups", groups, least=1)
        B, C, I = x[0], x[1], x[2:]
        F, O = w[2:], w[1] * G
        if w[0] != C or C % G:
            raise GeometryError(
                f"{call}: the channels of x do not match the filters in groups\n"
                f"  x has C = {C}, w {_cross(w)} is (C, O//G, *F) and takes C = {w[0]};  groups = {G}\n"
                f"  C must be w.shape[0] and a multiple of groups, "
                f"e.g. w of shape {_cross((C, w[1], *F))} with groups={math.gcd(C, G)}"
            )
        s = _per_axis(call, "stride", stride, rank, least=1)
        d = _per_axis(call, "dilation", dilation, rank, least=1)
        extra = _per_axis(call, "output_padding", output_padding, rank, least=0)

        def same(a: int) -> int:
            return d[a] * (F[a] - 1) + 1 - s[a] + extra[a]

        lo, hi = _padding(call, padding, rank, same)
        span = tuple(dd * (ff - 1) for dd, ff in zip(d, F, strict=True))
        g_lo = tuple(span[a] - lo[a] for a in range(rank))
        g_hi = tuple(span[a] - hi[a] + extra[a] for a in range(rank))
        for a, name in enumerate(axis_names(rank)):
            grown = _spread(I[a], s[a]) + span[a] + extra[a]
            if grown - lo[a] - hi[a] < 1:
                raise GeometryError(
                    f"{call}: the padding leaves no output on axis {name}\n"
                    f"  input {name} = {I[a]}, stride {s[a]}, filter {F[a]}, dilation {d[a]}, "
                    f"output_padding {extra[a]} -> {grown};  padding ({lo[a]}, {hi[a]})\n"
                    f"  {grown} - {lo[a]} - {hi[a]} < 1: less padding is needed, e.g. padding=0"
                )
        ones = (1,) * rank
        return cls(B=B, C=C, O=O, G=G, I=I, F=F, s=ones, d=d, lo=g_lo, hi=g_hi, e=s)

    # -- shapes ------------------------------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.I)

    @cached_property
    def reach(self) -> Shape:
        """Per axis, the input elements between a window's first and last, both counted: d*(F - 1) + 1."""
        return tuple(d * (f - 1) + 1 for d, f in zip(self.d, self.F, strict=True))

    @cached_property
    def E(self) -> Shape:
        """Per axis, the extent of the input with its inserted zeros."""
        return tuple(_spread(i, e) for i, e in zip(self.I, self.e, strict=True))

    @cached_property
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

    def grad_input(self) -> Geometry:
        """The geometry of dx: dy: (B, O, *P) with w, O and C swapped and F flipped -> (B, C, *I).

        >>> g = Geometry.of((1, 3, 8, 8), (4, 3, 3, 3), stride=2, padding=1)
        >>> g.grad_input().y_shape == g.x_shape
        True
        """
        lo = tuple(r - 1 - lo for r, lo in zip(self.reach, self.lo, strict=True))
        axes = range(self.rank)
        hi = tuple(
            (self.I[a] - 1) * self.e[a] + self.reach[a] - lo[a] - _spread(self.P[a], self.s[a]) for a in axes
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

    def without_padding(self) -> Geometry:
        """The geometry of the same windows on an input that was padded (or cropped) beforehand; needs e = 1."""
        assert set(self.e) <= {1}
        zeros = (0,) * self.rank
        padded = tuple(lo + i + hi for lo, i, hi in zip(self.lo, self.I, self.hi, strict=True))
        return replace(self, I=padded, lo=zeros, hi=zeros)

    def phases(self) -> tuple[Phase, ...]:
        """Dense geometries (e = 1) that together write every output once.

        An output p reads tap f only where p*s + f*d - lo is a multiple of e. The outputs p = start + j*step share
        their taps f = tap_start + t*tap_step: each such class is a phase. A geometry without input dilation is its
        own single phase; a class that no tap reaches has F = 0: a product with k = 0.

        >>> g = Geometry.transposed((1, 1, 4), (1, 1, 3), stride=2)
        >>> [(p.start, p.step, p.geometry.F) for p in g.phases()]
        [((0,), (2,), (2,)), ((1,), (2,), (1,))]
        """
        return self._phases

    @cached_property
    def _phases(self) -> tuple[Phase, ...]:
        axes = [self._axis_phases(a) for a in range(self.rank)]
        return tuple(self._phase(parts) for parts in itertools.product(*axes))

    def _axis_phases(self, a: int) -> list[_AxisPhase]:
        """The classes of one axis: outputs r + j*T with their taps f0 + t*U, and where in x they begin."""
        s, d, e, lo, F, P = self.s[a], self.d[a], self.e[a], self.lo[a], self.F[a], self.P[a]
        T, U = e // math.gcd(s, e), e // math.gcd(d, e)
        found = []
        for r in range(min(T, max(P, 1))):
            f0 = next((f for f in range(min(U, F)) if (r * s + f * d - lo) % e == 0), F)
            first = (r * s + f0 * d - lo) // e if f0 < F else 0
            outputs = -(-(P - r) // T) if r < P else 0
            found.append(_AxisPhase(r, T, outputs, f0, U, -(-(F - f0) // U), s * T // e, d * U // e, -first))
        return found

    def _phase(self, parts: tuple[_AxisPhase, ...]) -> Phase:
        F = tuple(p.taps for p in parts)
        s, d, lo = (tuple(getattr(p, name) for p in parts) for name in ("stride", "dilation", "lo"))
        hi = tuple(
            (p.outputs - 1) * p.stride + p.dilation * (p.taps - 1) + 1 - p.lo - i
            for p, i in zip(parts, self.I, strict=True)
        )
        dense = replace(self, F=F, s=s, d=d, lo=lo, hi=hi, e=(1,) * self.rank)
        return Phase(
            geometry=dense,
            start=tuple(p.start for p in parts),
            step=tuple(p.step for p in parts),
            tap_start=tuple(p.tap_start for p in parts),
            tap_step=tuple(p.tap_step for p in parts),
        )

    def __str__(self) -> str:
        parts = [f"{_cross(self.x_shape)} * {_cross(self.w_shape)} -> {_cross(self.y_shape)}"]
        for name, values, plain in (
            ("stride", self.s, 1),
            ("dilation", self.d, 1),
            ("input dilation", self.e, 1),
        ):
            if set(values) - {plain}:
                parts.append(f"{name} {_cross(values)}")
        if any(self.lo) or any(self.hi):
            parts.append("padding " + " ".join(f"({a}, {b})" for a, b in zip(self.lo, self.hi, strict=True)))
        if self.G > 1:
            parts.append(f"groups {self.G}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A dense geometry that computes the outputs start + j*step from the taps tap_start + t*tap_step."""

    geometry: Geometry
    start: Shape
    step: Shape
    tap_start: Shape
    tap_step: Shape


@dataclass(frozen=True)
class _AxisPhase:
    start: int
    step: int
    outputs: int
    tap_start: int
    tap_step: int
    taps: int
    stride: int
    dilation: int
    lo: int


def axis_names(rank: int) -> tuple[str, ...]:
    """What errors call the spatial axes: W; H W; D H W; from four on their numbers.

    >>> axis_names(2)
    ('H', 'W')
    """
    return _NAMES.get(rank, tuple(str(a) for a in range(rank)))


def _spread(extent: int, e: int) -> int:
    """The extent once e - 1 zeros stand between neighbours; nothing stays nothing."""
    return (extent - 1) * e + 1 if extent else 0


def _cross(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if shape else "()"


# -- reading what people write ----------------------------------------------------------------------------------------


def _whole(call: str, name: str, value: Any, *, least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise GeometryError(
            f"{call}: {name} must be a whole number\n  {name} = {value!r}\n"
            f"  give an int of at least {least}, e.g. {name}={max(least, 1)}"
        ) from None
    if number < least:
        raise GeometryError(
            f"{call}: {name} is too small\n  {name} = {number}\n"
            f"  at least {least} is needed, e.g. {name}={max(least, 1)}"
        )
    return number


def _per_axis(call: str, name: str, value: Any, rank: int, *, least: int) -> Shape:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (_whole(call, name, value, least=least),) * rank
    values = tuple(value)
    if len(values) != rank:
        raise GeometryError(
            f"{call}: {name} has the wrong number of entries\n"
            f"  {name} = {values!r} has {len(values)}, the convolution has {rank} spatial "
            f"{'axis' if rank == 1 else 'axes'} ({', '.join(axis_names(rank))})\n"
            f"  give one number, or one per axis, e.g. {name}={(max(least, 1),) * rank}"
        )
    return tuple(_whole(call, f"{name}[{i}]", v, least=least) for i, v in enumerate(values))


def _shapes(call: str, x_shape: Any, w_shape: Any) -> tuple[Shape, Shape, int]:
    read = []
    for name, shape in (("x", x_shape), ("w", w_shape)):
        try:
            read.append(tuple(_whole(call, f"{name}.shape[{i}]", n, least=0) for i, n in enumerate(shape)))
        except TypeError:
            raise GeometryError(
                f"{call}: the shape of {name} must be a sequence of whole numbers\n  {name} shape = {shape!r}\n"
                f"  e.g. {'(1, 3, 8, 8)' if name == 'x' else '(4, 3, 3, 3)'}"
            ) from None
    x, w = read
    if len(x) != len(w) or len(x) < 3:
        raise GeometryError(
            f"{call}: x and w must have a batch or filter axis, a channel axis and the same spatial axes\n"
            f"  x has {len(x)} axes {_cross(x)};  w has {len(w)} axes {_cross(w)}\n"
            f"  x: (B, C, *I) and w: (O, C//G, *F) with one spatial axis or more, "
            f"e.g. x 1x3x8x8 and w 4x3x3x3"
        )
    if 0 in w[2:]:
        raise GeometryError(
            f"{call}: the filter has no elements along an axis\n  w {_cross(w)}\n"
            f"  every spatial extent of w must be at least 1"
        )
    return x, w, len(x) - 2


def _channels(call: str, C: int, O: int, G: int, w: Shape) -> str:
    head = f"{call}: the channels of x do not match the filters in groups\n"
    values = (
        f"  x has C = {C}, w {_cross(w)} is (O, C//G, *F) and takes {w[1]} channels a group;  groups = {G}\n"
    )
    if w[1] and C % w[1] == 0 and C // w[1] >= 1 and O % (C // w[1]) == 0:
        return head + values + f"  {G} * {w[1]} != {C}: groups={C // w[1]} fits these arrays"
    if C % G == 0 and O % G:
        fit = -(-O // G) * G
        return head + values + f"  {O} filters do not divide into {G} groups, e.g. {fit} filters do"
    if C % G == 0:
        return head + values + f"  {G} * {w[1]} != {C}: give w the shape {_cross((O, C // G, *w[2:]))}"
    return (
        head
        + values
        + f"  {C} channels do not divide into {G} groups, e.g. groups={math.gcd(C, O) or 1} does"
    )


def _padding(call: str, value: Any, rank: int, same: Any) -> tuple[Shape, Shape]:
    """(lo, hi) from a number, a flat tuple, a nested one or a word; `same(axis)` is the total that "same" needs."""
    axes = range(rank)
    if isinstance(value, str):
        if value == "valid":
            return (0,) * rank, (0,) * rank
        if value not in ("same", "same_lower"):
            raise GeometryError(
                f"{call}: unknown padding\n  padding = {value!r}\n"
                f'  give a number, one per axis, (lo, hi) per axis, "valid", "same" or "same_lower"'
            )
        total = [same(a) for a in axes]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        return (small, large) if value == "same" else (large, small)
    if not hasattr(value, "__iter__"):
        each = (_whole(call, "padding", value, least=-_LARGEST),) * rank
        return each, each
    entries = tuple(value)
    nested = [hasattr(entry, "__iter__") and not isinstance(entry, str) for entry in entries]
    if any(nested):
        pairs = [tuple(e) if n else (e,) for e, n in zip(entries, nested, strict=True)]
        if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
            raise GeometryError(
                f"{call}: nested padding needs one (lo, hi) pair per axis\n  padding = {value!r}\n"
                f"  {rank} spatial {'axis' if rank == 1 else 'axes'}, e.g. padding={((1, 1),) * rank}"
            )
        lo, hi = zip(*pairs, strict=True)
        return (
            tuple(_whole(call, f"padding[{a}][0]", v, least=-_LARGEST) for a, v in enumerate(lo)),
            tuple(_whole(call, f"padding[{a}][1]", v, least=-_LARGEST) for a, v in enumerate(hi)),
        )
    flat = _per_axis(call, "padding", entries, rank, least=-_LARGEST)
    return flat, flat


def _too_wide(
    call: str,
    a: int,
    name: str,
    I: Shape,
    E: Shape,
    F: Shape,
    d: Shape,
    reach: Shape,
    lo: Shape,
    hi: Shape,
    padded: int,
) -> str:
    need = reach[a] - padded
    kind = {"W": "column", "H": "row"}.get(name, "element")
    count = f"one more {kind} is" if need == 1 else f"{need} more {kind}s are"
    fixed = tuple((lo[i], hi[i] + (need if i == a else 0)) for i in range(len(I)))
    spread = f" ({E[a]} with input dilation)" if E[a] != I[a] else ""
    return (
        f"{call}: the filter is wider than the padded input on axis {name}\n"
        f"  input {name} = {I[a]}{spread}, padding ({lo[a]}, {hi[a]}) -> {padded};  "
        f"filter {name} = {F[a]}, dilation {d[a]} -> reach {reach[a]}\n"
        f"  {reach[a]} > {padded}: {count} enough, e.g. padding={fixed}"
    )
