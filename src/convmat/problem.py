"""Problem: a geometry with everything else that decides how it may run. The planner's key.

The three passes differ only in which array plays which role, so a gradient is the same Problem with renamed axes:

    forward           x: b (g c) i      w: (g o) c f       y: b (g o) p
    input gradient    dy as x           O and C of w swapped, f flipped       dx as y
    weight gradient   x with b and c swapped       dy as w: (b as c) (g o) p as f       dw as y: (g o) (c as b) f as p

A lowering sees x, w, y and their Layouts, and cannot tell which pass it serves.
"""

from __future__ import annotations

import math
from dataclasses import field, replace
from typing import Any

from .geometry import Geometry
from .layout import Layout
from .lazy_dataclass import dataclass
from .processes import kept_property
from .product import Activation

Roles = tuple[str, ...]

WORK_DTYPES: dict[str, str] = {
    "float32": "float32",
    "float64": "float64",
    "float16": "float32",
    "bfloat16": "float32",
    "complex64": "complex64",
    "complex128": "complex128",
    "int8": "float64",
    "uint8": "float64",
}
"""Each element type that is taken and the one its sums are taken in (8-bit integers: see `Problem.work_dtype`)."""

DEFAULT_RTOL = {"float64": 1e-14, "complex128": 1e-14}
WORKSPACE_LIMIT = 16 * 2**20
"""Bytes of scratch that plans keep to where anything fits, unless they are given a limit."""


@dataclass(frozen=True, kw_only=True)
class EpilogueForm:
    """Which of bias, residual and activation the call has: y = activation(conv + bias + residual).

    Sums of 8-bit integers may have a `scale` for each channel of y and be stored as another `dtype`, 8-bit integers
    again or float32: y = activation(scale * (conv + bias)), rounded, halves to even, plus y's zero point `zero`.
    8-bit integers made so may be rounded again by a factor and an offset for each channel (`requantise`), and once more
    with a residual of their type: see `product.Epilogue`.
    """

    bias: bool = False
    residual: bool = False
    activation: Activation | None = None
    scale: bool = False
    dtype: str | None = None
    zero: int = 0
    requantise: bool = False

    @property
    def weighed(self) -> bool:
        """Whether the residual is of 8-bit integers, which are weighed."""
        return self.residual and self.scale


@dataclass(frozen=True)
class Pad:
    """An input that is padded (or cropped) explicitly before the product, in a mode that no View can read.

    `mode` is "reflect", "symmetric", "edge" or "wrap"; `operand` the array that holds the padded input: "x", or "y"
    once the input gradient has made it the output.
    """

    mode: str
    lo: tuple[int, ...]
    hi: tuple[int, ...]
    operand: str = "x"

    def repeats(self, axis: int, extent: int) -> int:
        """How many elements of the padded axis are one and the same of the `extent` elements inside it, at most."""
        lo, hi = max(self.lo[axis], 0), max(self.hi[axis], 0)
        if self.mode == "edge" or extent == 1:
            return 1 + (lo + hi if extent == 1 else max(lo, hi))
        period = extent - 1 if self.mode == "reflect" else extent
        return 1 + -(-lo // period) - (-hi // period)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Geometry, dtype, the layouts of x, w and y, epilogue and limits.

    `conjugate` names the operand ("w" or "x", or "") whose complex elements enter conjugated, as gradients need.
    `workspace_limit` is in bytes, None the soft default; `weight_limit` those of bound weights, None for any number;
    `rtol` the norm-wise error that may be spent on fewer multiplications; `exact` admits the definition's own products
    alone; `deterministic` forbids choices made by timing; `reuse_weights` says that w is packed once and used often;
    `threads` how many cores the engine may use. With a `pad`, geometry and layouts are those of the padded input.
    `whole` is the geometry that this one is a block of: it decides the order of sums, whose bits are then the whole's.

    `w_dtype` is that of w where it is another 8-bit type than x's, `x_zero` what elements of x are counted from,
    `w_zero` whether calls say the same of w: one number, or one for each channel of y.

    >>> p = Problem.of(Geometry.of((1, 3, 8, 8), (4, 3, 3, 3)))
    >>> p.grad_input().geometry.y_shape, p.grad_weight().geometry.y_shape
    ((1, 3, 8, 8), (3, 4, 3, 3))
    """

    geometry: Geometry
    dtype: str
    x: Layout
    w: Layout
    y: Layout
    epilogue: EpilogueForm = field(default_factory=EpilogueForm)
    pad: Pad | None = None
    conjugate: str = ""
    workspace_limit: int | None = None
    weight_limit: int | None = None
    rtol: float = 5e-6
    exact: bool = False
    deterministic: bool = False
    reuse_weights: bool = True
    threads: int = 1
    whole: Geometry | None = field(default=None, repr=False)
    w_dtype: str | None = None
    x_zero: int = 0
    w_zero: bool = False

    def __hash__(self) -> int:
        """Hash of what tells most problems apart: see `Geometry`."""
        return hash((self.geometry, self.dtype, self.threads, self.epilogue.activation))

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        dtype: str = "float32",
        *,
        x: str = "NCHW",
        y: str = "NCHW",
        transposed: bool = False,
        padding_mode: str = "zeros",
        **rest: Any,
    ) -> Problem:
        """The problem of NCHW, NHWC or blocked (nChw16c) arrays; `transposed` takes w as (C, O//G, *F) and turns it."""
        g = geometry
        if padding_mode != "zeros" and (any(g.lo) or any(g.hi)):
            rest["pad"], g = Pad(padding_mode, g.lo, g.hi), g.without_padding()
        extents = {"b": g.B, "g": g.G, "c": g.C // g.G, "o": g.O // g.G}
        for letter, sizes in (("i", g.I), ("f", g.F), ("p", g.P)):
            extents |= {f"{letter}{a}": n for a, n in enumerate(sizes)}
        taps = [f"f{a}" for a in range(g.rank)]
        weights = ("g c", "o", *(f"-{t}" for t in taps)) if transposed else ("g o", "c", *taps)
        rest.setdefault("rtol", DEFAULT_RTOL.get(dtype, 5e-6))
        return cls(
            geometry=g,
            dtype=dtype,
            x=Layout.of(*_axes(x, "c", "i", g), extents=extents),
            w=Layout.of(*weights, extents=extents),
            y=Layout.of(*_axes(y, "o", "p", g), extents=extents),
            **rest,
        )

    def shape(self, operand: str) -> tuple[int, ...]:
        """The shape of x, w or y as its owner sees it: before any explicit padding.

        >>> g = Geometry.of((1, 3, 8, 8), (4, 3, 3, 3), padding=1)
        >>> Problem.of(g, padding_mode="edge").shape("x")
        (1, 3, 8, 8)
        """
        layout: Layout = getattr(self, operand)
        if self.pad is None or self.pad.operand != operand:
            return layout.shape
        spatial = iter(zip(self.pad.lo, self.pad.hi, strict=True))
        less = (sum(next(spatial)) if axis[0].role[0] in "ip" else 0 for axis in layout.axes)
        return tuple(n - padded for n, padded in zip(layout.shape, less, strict=True))

    @property
    def work_dtype(self) -> str:
        """The type that products are taken in: exact for 8-bit integers, float32 for the 16-bit types.

        A sum of k products of 8-bit integers is below 2^16 * k: float32 holds it exactly up to 2^24. What is added to
        it may be any int32.
        """
        alone = not (self.epilogue.bias or (self.epilogue.residual and not self.epilogue.weighed))
        if self.integral and self.geometry.k <= 2**8 and alone:
            return "float32"
        return WORK_DTYPES[self.dtype]

    @property
    def out_dtype(self) -> str:
        """The type of y: int32 for 8-bit integers unless the epilogue has another, otherwise that of x."""
        return self.epilogue.dtype or ("int32" if self.integral else self.dtype)

    @property
    def integral(self) -> bool:
        """Whether its operands are 8-bit integers, whose sums are exact."""
        return self.dtype in ("int8", "uint8")

    @property
    def counted(self) -> bool:
        """Whether zero points, scales or types make more of its integers than sums of products of one type."""
        e = self.epilogue
        return bool(self.w_dtype or self.x_zero or self.w_zero or e.scale or e.dtype or e.zero)

    def differences(self) -> Problem:
        """The problem of the same sums where operands are differences from their zero points, in the working type."""
        return replace(
            self,
            dtype=self.work_dtype,
            w_dtype=None,
            x_zero=0,
            w_zero=False,
            epilogue=EpilogueForm(),
            exact=True,
        )

    @property
    def stored_dtype(self) -> str:
        """The type that products are stored in: that of y, but float32 where 16-bit borders are still to be added."""
        folded = self.pad is not None and self.pad.operand == "y"
        return self.work_dtype if folded and self.out_dtype in ("float16", "bfloat16") else self.out_dtype

    @property
    def longest_sum(self) -> int:
        """How many products an element of y is the sum of, at most; borders that are added to it with theirs.

        >>> Problem.of(Geometry.of((2, 3, 8), (4, 3, 3))).grad_weight().longest_sum
        12
        """
        g = self.geometry
        count = g.C // g.G
        for f, d, e in zip(g.F, g.d, g.e, strict=True):
            count *= -(-f // (e // math.gcd(d, e)))  # taps that the outputs of one phase have
        if self.pad is not None and self.pad.operand == "y":
            extents = zip(g.P, self.pad.lo, self.pad.hi, strict=True)
            inside = (p - max(lo, 0) - max(hi, 0) for p, lo, hi in extents)
            count *= math.prod(self.pad.repeats(a, extent) for a, extent in enumerate(inside))
        return count

    def alone(self) -> Problem:
        """The problem of one image on one thread; a weight gradient, which sums over images, keeps its batch.

        >>> p = Problem.of(Geometry.of((9, 3, 8, 8), (4, 3, 3, 3)), threads=2).alone()
        >>> p.shape("x"), p.shape("y"), p.threads
        ((1, 3, 8, 8), (1, 4, 6, 6), 1)
        """
        if self.x.dims[0].role != "b" or self.geometry.B < 2:
            return replace(self, threads=1)
        x, y = (layout.with_extent("b", 1) for layout in (self.x, self.y))
        return replace(self, geometry=replace(self.geometry, B=1), x=x, y=y, threads=1)

    def of_block(self, geometry: Geometry) -> Problem:
        """The problem of a block's geometry, summed as this one is; an explicit padding lies in its x already.

        Where it is y that is padded, a block is some images, whole.

        >>> p = Problem.of(Geometry.of((1, 3, 8, 8), (4, 3, 3, 3)))
        >>> p.of_block(p.geometry.block((2, 0), (4, 6)).geometry).shape("x")
        (1, 3, 4, 8)
        """
        extents = {"b": geometry.B, **{f"i{a}": n for a, n in enumerate(geometry.I)}}
        extents |= {f"p{a}": n for a, n in enumerate(geometry.P)}
        x, y = self.x, self.y
        for role, extent in extents.items():
            x, y = x.with_extent(role, extent), y.with_extent(role, extent)
        pad = self.pad if self.pad is not None and self.pad.operand == "y" else None
        return replace(self, geometry=geometry, x=x, y=y, pad=pad, whole=self.whole or self.geometry)

    def resize(self, geometry: Geometry) -> Problem:
        """The same problem for another batch, other spatial extents or other padding; of one without explicit padding.

        >>> p = Problem.of(Geometry.of((1, 3, 8, 8), (4, 3, 3, 3)))
        >>> p.resize(Geometry.of((2, 3, 9, 6), (4, 3, 3, 3))).shape("y")
        (2, 4, 7, 4)
        """
        extents = {"b": geometry.B}
        for letter, sizes in (("i", geometry.I), ("p", geometry.P)):
            extents |= {f"{letter}{a}": n for a, n in enumerate(sizes)}
        return replace(self, geometry=geometry, x=self.x.resize(extents), y=self.y.resize(extents))

    @kept_property
    def kind(self) -> tuple[Any, ...]:
        """All of it but its batch and spatial extents.

        >>> a, b = (Problem.of(Geometry.of((1, 3, n, n), (8, 3, 3, 3), stride=2)) for n in (224, 192))
        >>> a.kind == b.kind
        True
        """
        g = self.geometry
        return (
            g.C, g.O, g.G, g.F, g.s, g.d, g.lo, g.hi, g.e, self.dtype, self.epilogue, self.pad, self.conjugate,
            self.workspace_limit, self.weight_limit, self.rtol, self.exact, self.reuse_weights, self.threads,
            self.whole, self.w_dtype, self.x_zero, self.w_zero, self.x.form, self.w.form, self.y.form,
        )  # fmt: skip

    @kept_property
    def squeezed(self) -> Problem:
        """The same without spatial axes of one element, one tap and no padding: what lowerings see, and engines.

        One spatial axis is left in any case; explicit padding, which speaks of all axes, leaves them all.

        >>> Problem.of(Geometry.of((2, 3, 9, 1), (4, 3, 5, 1))).squeezed.x.shape
        (2, 3, 9)
        """
        g, whole = self.geometry, self.whole
        kept = [a for a in range(g.rank) if not (g.is_idle(a) and (whole is None or whole.is_idle(a)))] or [0]
        if len(kept) == g.rank or self.pad is not None:
            return self
        roles = {f"{letter}{a}": f"{letter}{at}" for at, a in enumerate(kept) for letter in "ifp"}

        def fewer(layout: Layout) -> Layout:
            dims = ([d for d in axis if d.role[0] not in "ifp" or d.role in roles] for axis in layout.axes)
            return Layout(tuple(tuple(axis) for axis in dims if axis)).rename(roles)

        def only(g: Geometry) -> Geometry:
            names = ("I", "F", "s", "d", "lo", "hi", "e")
            fewer_each: dict[str, Any] = {name: tuple(getattr(g, name)[a] for a in kept) for name in names}
            return replace(g, **fewer_each)

        return replace(
            self, geometry=only(g), whole=None if whole is None else only(whole),
            x=fewer(self.x), w=fewer(self.w), y=fewer(self.y),
        )  # fmt: skip

    def grad_input(self) -> Problem:
        """The problem whose x is dy and whose y is dx."""
        axes = range(self.geometry.rank)
        to_x = {"o": "c", **{f"p{a}": f"i{a}" for a in axes}}
        to_y = {"c": "o", **{f"i{a}": f"p{a}" for a in axes}}
        return replace(
            self,
            geometry=self.geometry.grad_input(),
            x=self.y.rename(to_x),
            w=self.w.rename({"o": "c", "c": "o"}, flip="f"),
            y=self.x.rename(to_y),
            epilogue=EpilogueForm(),
            pad=replace(self.pad, operand="y") if self.pad else None,
            conjugate="w",
        )

    def grad_weight(self) -> Problem:
        """The problem whose x is x, whose w is dy and whose y is dw."""
        axes = range(self.geometry.rank)
        return replace(
            self,
            geometry=self.geometry.grad_weight(),
            x=self.x.rename({"b": "c", "c": "b"}),
            w=self.y.rename({"b": "c", **{f"p{a}": f"f{a}" for a in axes}}),
            y=self.w.rename({"c": "b", **{f"f{a}": f"p{a}" for a in axes}}),
            epilogue=EpilogueForm(),
            conjugate="x",
            reuse_weights=False,
        )


def _axes(layout: str, channel: str, spatial: str, g: Geometry) -> Roles:
    """The roles of each array axis under a layout's name: NCHW, NHWC (any rank) or nChw16c, nChw8c .. (one group)."""
    pixels = tuple(f"{spatial}{a}" for a in range(g.rank))
    if layout == "NCHW":
        return ("b", f"g {channel}", *pixels)
    if layout == "NHWC":
        return ("b", *pixels, f"g {channel}")
    block = layout.removeprefix("nChw").removesuffix("c")
    return ("b", f"{channel}/{block}", *pixels, f"{channel}%{block}")
