"""What every lowering shares: from a Problem's phases to Views of x, w and y.

A lowering chooses which indices are rows, columns and depth of its products; `Part` turns each choice into Views.
Input dilation is gone before a lowering sees anything (one Part a phase), and so are gradients (roles of axes).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..geometry import Geometry, Phase, Shape
from ..layout import Dim, Layout
from ..problem import Problem
from ..processes import Lock, kept_property
from ..product import LEFT_OUT, Coordinate, Epilogue, Fourier, Index, Order, Packing, Product, Transform, View
from .extents import extents_key, sum_order, take_over

Indices = tuple[Index, ...]

MANY = 128
"""Channels of a group that are a sum of their own."""

FEW = 32
"""Rows that fill a register tile, about."""

LONG = 1 << 16
"""Steps that no kernel counts on; shorter ones are constants of kernels, whether they are taken or not."""


class Lowering(ABC):
    """One way to write a Problem as Products.

    `name` is what plans and callers call it, `source` where the idea comes from, `packings` how much of the unrolled
    input its products may store: together with the engine's schedules they are the plan's candidates.
    `exact`: its products are the definition's own, so that integers come out exactly; if not, `shares` says whose sums
    share their rounding, if any do.
    """

    name: str
    summary: str
    source: str
    packings: tuple[Packing, ...]
    exact = True
    shares = ""
    transform: type[Transform | Fourier] | None = None
    """What its products have along the axes of a window, if anything: no engine takes both kinds."""
    adds = False
    """Whether its products are sums of several terms."""
    spares: tuple[str, ...] = ()
    """Lowerings whose products of a dense geometry are its own, packed alike: other tiles gain little."""
    resizable = False
    """Whether its products are Views over batch, groups, channels, taps and pixels, whose extents alone change."""
    counts = False
    """Whether its products may count from zero points and be scaled, as those of 8-bit integers."""

    def roundings(self, problem: Problem) -> float:
        """How much rounding adds up in an element of y: that of so many partial sums, of as many terms of its size."""
        return problem.geometry.k

    def rounds_least(self, problem: Problem) -> bool:
        """Whether nothing rounds less than its products: those of the definition, or as exact ones."""
        return self.exact

    def least_flops(self, problem: Problem) -> float:
        """Multiplications and additions that its products take at least: those of taps inside x.

        It is told before any product is made: what cannot be quick by it need not be looked at.
        """
        return self.saving(problem.geometry) * sum(
            math.prod(phase.count) * phase.geometry.flops * (1 - phase.geometry.outside)
            for phase in problem.squeezed.geometry.phases()
        )

    def least_transformed(self, problem: Problem) -> float:
        """The same of its Fourier transforms, if it has any."""
        return 0.0

    def saving(self, geometry: Geometry) -> float:
        """The share of the definition's multiplications that it takes at least."""
        return 1.0

    def refuses(self, problem: Problem) -> str | None:
        """The reason, with its values, why this problem cannot be written this way; None if it can."""
        if problem.counted and not self.counts:
            return "sums numbers as they are, got zero points or scales"
        for phase in problem.squeezed.geometry.phases():
            reason = self.refuses_geometry(phase.geometry)
            if reason is not None:
                return reason
        return None

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """The same for one dense geometry."""
        return None

    def tile(self, geometry: Geometry) -> Shape:
        """Outputs an axis that are computed together: blocks that begin at its multiples have the whole's bits."""
        return (1,) * geometry.rank

    def products(self, problem: Problem) -> tuple[Product, ...]:
        """The products of all phases; each writes its own part of y, and together they write all of it.

        Their Views are of the arrays of `problem.squeezed`.
        """
        return _products(self, problem)

    def products_of(self, part: Part) -> tuple[Product, ...]:
        """The products of one phase."""
        return (self.product(part),)

    @abstractmethod
    def product(self, part: Part) -> Product:
        """The product of one phase, if it is one."""


_resizable: OrderedDict[Any, tuple[Product, ...]] = OrderedDict()
"""Products by what problems must have in common to take them over."""

RESIZABLE = 1024
"""How many of them are remembered."""

_lock = Lock()


@lru_cache(maxsize=64)
def _products(lowering: Lowering, problem: Problem) -> tuple[Product, ...]:
    """Remembered for a while: each of a lowering's candidates asks, and then the plan."""
    problem = problem.squeezed
    common = extents_key(problem) if lowering.resizable else None
    if common is None:
        return _make_products(lowering, problem)
    key = (lowering.name, common)
    with _lock:
        known = _resizable.get(key)
    if known is not None:
        return take_over(known, problem)
    made = _make_products(lowering, problem)
    with _lock:
        _resizable[key] = made
        while len(_resizable) > RESIZABLE:
            _resizable.popitem(last=False)
    return made


def _make_products(lowering: Lowering, problem: Problem) -> tuple[Product, ...]:
    """The products of a problem, squeezed, made anew."""
    phases = problem.geometry.phases()
    parts = [Part(problem, p) for p in phases if all(p.geometry.P)]
    made = ((part, product) for part in parts for product in lowering.products_of(part))
    if not problem.w_zero:
        return tuple(product for _, product in made)
    return tuple(replace(product, a_zero=part.w_zero(product)) for part, product in made)


class Part:
    """One phase of a problem, and the Views that can be taken of its arrays."""

    def __init__(self, problem: Problem, phase: Phase) -> None:
        self.problem = problem
        self.phase = phase
        self.geometry = phase.geometry
        self.whole = problem.whole or problem.geometry
        g = phase.geometry
        self._extents = {"b": g.B, "g": g.G, "c": g.C // g.G, "o": g.O // g.G}
        for a in range(g.rank):
            self._extents |= {f"p{a}": g.P[a], f"f{a}": g.F[a], f"r{a}": phase.count[a]}
        self._uncut = problem.x.whole and problem.w.whole and problem.y.whole
        self._known: dict[str, list[tuple[Index, int]]] = {}  # kn2row asks for each role once a tap

    def index(self, *roles: str) -> Indices:
        """The indices of the given roles: one each, or several where a layout splits the role."""
        return tuple([index for role in roles for index, _ in self._cuts(role)])

    def axes(self, letter: str) -> Indices:
        """The indices of all spatial axes of a letter: p0 p1 .. or f0 f1 .."""
        return self.index(*(f"{letter}{a}" for a in range(self.geometry.rank)))

    @kept_property
    def batch(self) -> Indices:
        """(g, r): groups, and the phases of a kind, along the axes that have several."""
        several = (f"r{a}" for a, count in enumerate(self.phase.count) if count > 1)
        return self.index("g", *several)

    @kept_property
    def rows(self) -> tuple[Indices, Indices]:
        """The batch (g, r) and the rows (o), or (g) and (o, r) where o is short and r moves along lines of y.

        The phases of a kind read the same of x, which one product then reads once, and fills its tiles.
        """
        o, g, last = self.index("o"), self.index("g"), self.problem.y.dims[-1]
        along = len(self.batch) == len(g) + 1 and last == Dim(f"p{self.batch[-1].name[1:]}", last.extent)
        if not along or len(o) != 1 or self._extents["o"] >= FEW or self.problem.counted:
            return self.batch, o
        return g, o + self.batch[-1:]

    @kept_property
    def columns(self) -> Indices:
        """(b, p): every pixel of every output image."""
        return self.index("b") + self.axes("p")

    @kept_property
    def depth(self) -> Indices:
        """What a product sums over: (c, f), or (f, c) where x keeps its channels side by side.

        So it is too where windows leave x often, and channels are many: all of a tap is then outside, or nothing.
        """
        whole, x = self.whole, self.problem.x.dims
        c, f = self.index("c"), self.axes("f")
        many = whole.C >= MANY * whole.G and 2 * whole.O > MANY * whole.G and x[0].role == "b"
        taps_first = x[-1].role == "c" or (many and whole.outside >= LEFT_OUT)
        return f + c if taps_first else c + f

    @kept_property
    def order(self) -> Order:
        """What the whole says of the order of sums: the same for each of its blocks, and for its phases alike."""
        return sum_order(self.whole, self.phase.step)

    def _cuts(self, role: str) -> list[tuple[Index, int]]:
        """The indices of a role, outermost first, with the step along the role of each."""
        if role not in self._known:
            self._known[role] = self._cut(role)
        return self._known[role]

    def _cut(self, role: str) -> list[tuple[Index, int]]:
        problem = self.problem
        if self._uncut:
            return [(Index(role, self._extents[role]), 1)]
        cuts = {1}.union(*(layout.splits(role) for layout in (problem.x, problem.w, problem.y)))
        if len(cuts) == 1:
            return [(Index(role, self._extents[role]), 1)]
        steps = sorted(cuts, reverse=True)
        outer = [self._extents[role], *steps]
        return [(Index(f"{role}/{step}", outer[i] // step), step) for i, step in enumerate(steps)]

    # -- Views --------------------------------------------------------------------------------------------------------

    def x(self, rows: Indices, cols: Indices, batch: Indices, taps: Mapping[str, int] | None = None) -> View:
        """The unrolled input: coordinate p*s + f*d - lo on each spatial axis, zero outside.

        `taps` fixes the filter position: f0, f1 .. are then constants and no indices.
        """
        g, fixed = self.geometry, taps or {}

        def coordinate(dim: Dim) -> Coordinate:
            if dim.role[0] != "i":
                return self.channel(dim)
            a = int(dim.role[1:])
            p, f = (f"p{a}", step_of(g.s[a], g.P[a])), (f"f{a}", step_of(g.d[a], g.F[a]))
            if f[0] in fixed:
                return Coordinate(dim.extent, (p,), g.d[a] * fixed[f[0]] - g.lo[a])
            return Coordinate(dim.extent, (p, f), -g.lo[a])

        return self.view("x", self.problem.x, coordinate, rows, cols, batch, self.problem.x_zero, self.order)

    def w(self, rows: Indices, cols: Indices, batch: Indices, taps: Mapping[str, int] | None = None) -> View:
        """The weights as a matrix: this phase's taps tap_start + f*tap_step."""
        phase, fixed = self.phase, taps or {}

        def coordinate(dim: Dim) -> Coordinate:
            if dim.role[0] != "f":
                return self.channel(dim)
            a = int(dim.role[1:])
            start, step = phase.tap_start[a], phase.tap_step[a]
            if dim.role in fixed:
                return Coordinate(dim.extent, self.back(a), start + fixed[dim.role] * step)
            return Coordinate(dim.extent, ((dim.role, step), *self.back(a)), start)

        return self.view("w", self.problem.w, coordinate, rows, cols, batch)

    def y(self, rows: Indices, cols: Indices, batch: Indices, source: str = "y") -> View:
        """The outputs start + p*step of this phase."""
        phase = self.phase

        def coordinate(dim: Dim) -> Coordinate:
            if dim.role[0] != "p":
                return self.channel(dim)
            a = int(dim.role[1:])
            return Coordinate(dim.extent, ((dim.role, phase.step[a]), *self.apart(a)), phase.start[a])

        return self.view(source, self.problem.y, coordinate, rows, cols, batch)

    def back(self, a: int) -> tuple[tuple[str, int], ...]:
        """How phases of a kind move along axis `a` of w."""
        return ((f"r{a}", -self.phase.back[a]),) if self.phase.count[a] > 1 else ()

    def apart(self, a: int) -> tuple[tuple[str, int], ...]:
        """How phases of a kind move along axis `a` of y."""
        return ((f"r{a}", self.phase.apart[a]),) if self.phase.count[a] > 1 else ()

    def epilogue(self, rows: Indices, cols: Indices, batch: Indices, c: View | None = None) -> Epilogue:
        """The problem's epilogue as Views: bias and scale over channels, residual where y (or `c`) is."""
        wanted = self.problem.epilogue
        channel = tuple(i for i in rows + cols if i.name[0] == "o")
        residual = None
        if wanted.residual:
            residual = self.y(rows, cols, batch, "residual") if c is None else replace(c, source="residual")
        return Epilogue(
            bias=self._vector("bias", channel, batch) if wanted.bias else None,
            residual=residual,
            activation=wanted.activation,
            scale=self._vector("scale", channel, batch) if wanted.scale else None,
            zero=wanted.zero,
            requantise=self._vector("factor", channel, batch) if wanted.requantise else None,
        )

    def w_zero(self, product: Product) -> View | None:
        """What each row of A counts from, if the problem has zero points of w."""
        return self._vector("w zero", product.c.rows, product.c.batch) if self.problem.w_zero else None

    def _vector(self, source: str, channel: Indices, batch: Indices) -> View:
        """An array of one number for each channel of y as a View."""
        g = self.geometry
        vector = Layout.of("g o", extents={"g": g.G, "o": g.O // g.G})
        if any(len(self._cuts(role)) > 1 for role in "go"):
            vector = Layout((tuple(Dim("o", i.extent, step) for i, step in self._cuts("o")),))
        return self.view(source, vector, self.channel, channel, (), batch)

    def channel(self, dim: Dim) -> Coordinate:
        """A Dim of b, g, c or o: the indices that move along it, each by its step over the Dim's."""
        if self._uncut:
            return Coordinate(dim.extent, ((dim.role, 1),))
        terms = tuple(
            (index.name, step // dim.step)
            for index, step in self._cuts(dim.role)
            if dim.step <= step < dim.step * dim.extent or step == dim.step
        )
        return Coordinate(dim.extent, terms)

    def view(
        self,
        source: str,
        layout: Layout,
        coordinate: Callable[[Dim], Coordinate],
        rows: Indices,
        cols: Indices,
        batch: Indices,
        fill: int = 0,
        order: Order | None = None,
    ) -> View:
        """A View of an array: `coordinate` gives the Coordinate of each spatial Dim, and of any other if it can."""
        coordinates = tuple([_flip(coordinate(dim)) if dim.flip else coordinate(dim) for dim in layout.dims])
        conjugate = source == self.problem.conjugate and self.problem.dtype.startswith("complex")
        return View(source, rows, cols, coordinates, batch, fill, conjugate, order)


def step_of(step: int, extent: int) -> int:
    """A step between the values of an index: where there is one it is never taken, and may be as long as it likes."""
    return step if extent > 1 or step < LONG else 1


def _flip(c: Coordinate) -> Coordinate:
    """The coordinate of an axis that runs backwards: extent - 1 - position."""
    return Coordinate(c.extent, tuple((name, -by) for name, by in c.terms), c.extent - 1 - c.offset)
