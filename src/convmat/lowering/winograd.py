"""winograd: tiles of m outputs from m + r - 1 products an axis instead of m * r.

    A[s][o, c]                = sum over f of G[s, f] * w[o, c, f]
    U[s][c, (b, q, e)]        = sum over u of BT[s, u] * x[b, c, (q*m + u)*d + e - lo]
    y[b, o, (q*m + v)*d + e]  = sum over s of AT[v, s] * (A[s] @ U[s])[o, (b, q, e)]

Shown for one axis. Outputs whose positions leave the same rest e < d read no input that others read: a dilated
convolution is d plain ones that interleave, and one product. In two axes, s is a pair: F(4x4, 3x3) takes 36 products
of m = O, n = B * tiles, k = C where the definition takes 9 of sixteen times as many columns: a quarter of the
multiplications. What it costs: the transforms, weights of 36/9 times the size, and rounding, which the sums over s
amplify.

One axis more is cut into slices instead, whatever its stride and dilation: its taps are summed over as channels are,
and an output slice takes the transformed input slices that its taps reach. So 3x3x3 takes a quarter, too.
Winograd 1980; Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016.
"""

from __future__ import annotations

import math

from ..geometry import Geometry, Shape
from ..layout import Dim
from ..problem import Problem
from ..product import Coordinate, Index, Packing, Product, Transform
from .base import Lowering, Part, step_of
from .toomcook import POINTS, fast_correlation


class Winograd(Lowering):
    """F(m, r) along one or two axes with stride 1, and the definition along one more."""

    exact = False
    shares = "tile"
    transform = Transform
    packings = (Packing.PANEL,)
    source = "Winograd 1980; Lavin and Gray 2016"

    def __init__(self, m: int) -> None:
        self.m = m
        self.name = f"winograd {m}"
        self.summary = f"tiles of {m} outputs an axis, from fewer products"

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """Stride 1 along an axis with several taps, but not too many; one axis at most that is not tiled."""
        g, tiled = geometry, tiled_axes(geometry)
        if min(g.F) < 1:
            return f"needs a filter position on every axis, got {_join(g.F)}"
        if max(g.F) == 1:
            return "needs more than one filter position: a 1x1 filter multiplies no less"
        if all(g.F[a] == 1 for a in tiled):
            return f"takes stride 1 along an axis of several taps, got {_join(g.s)} for {_join(g.F)}"
        if g.rank > len(tiled) + 1:
            return f"tiles two axes of stride 1 and takes one more, got {g.rank} axes, stride {_join(g.s)}"
        if max(g.F[a] for a in tiled) > self.widest:
            return f"takes filters up to {self.widest} wide, got {_join(g.F)}"
        return None

    @property
    def widest(self) -> int:
        """Taps along an axis that it takes: as many as there are points for."""
        return max(POINTS) + 2 - self.m

    def roundings(self, problem: Problem) -> float:
        """A sum over channels alone, and the transforms; all of it as much larger than y as its terms are.

        In P parts of n terms the terms are added to sums of n, and the parts to one of P. Of several phases, each with
        a part of the filter, that of the largest.
        """
        phases = [each.geometry for each in problem.squeezed.geometry.phases() if all(each.geometry.P)]
        return max(map(self._roundings, phases), default=1.0)

    def _roundings(self, g: Geometry) -> float:
        """Roundings of one dense geometry."""
        terms, rest = self.part(g), _rest(g)
        parts = -(-g.C // g.G // terms) * math.prod(g.F[a] for a in rest)
        return self.amplification(g) ** 2 * (terms + parts - 1 + TRANSFORMED)

    def saving(self, geometry: Geometry) -> float:
        """(m + r - 1) / (m * r) along each axis: shorter filters, those of phases, save less."""
        taps = [geometry.F[a] for a in tiled_axes(geometry)]
        return math.prod((self.outputs(r) + r - 1) / (self.outputs(r) * r) for r in taps)

    def amplification(self, geometry: Geometry) -> float:
        """How much larger than y the terms are that its rows and columns are added up from."""
        taps = [geometry.F[a] for a in tiled_axes(geometry)]
        return math.prod(fast_correlation(self.outputs(r), r).amplification for r in taps)

    def part(self, geometry: Geometry) -> int:
        """How many channels are summed in a row, at least 1: shorter sums round less, and are kept more often."""
        channels, amplification = geometry.C // geometry.G, self.amplification(geometry)
        part = next(length for most, length in PARTS if amplification < most)
        return max(-(-channels // max(round(channels / part), 1)), 1)

    def outputs(self, taps: int) -> int:
        """Outputs of a tile along an axis of so many taps: one where there is nothing to be saved."""
        return self.m if taps > 1 else 1

    def tile(self, geometry: Geometry) -> Shape:
        """Its tiles, of all phases: outputs that are `d` apart, and those of a phase `step` apart, make up one."""
        found = [1] * geometry.rank
        for phase in geometry.phases():
            tiled = tiled_axes(phase.geometry)
            for a, (taps, d) in enumerate(zip(phase.geometry.F, phase.geometry.d, strict=True)):
                outputs = self.outputs(taps) * d if taps > 1 and a in tiled else 1
                found[a] = math.lcm(found[a], phase.step[a] * outputs)
        return tuple(found)

    def product(self, part: Part) -> Product:
        """One product of (O, F*C) @ (F*C, B*P*tiles) for each pair of points; F, P: those of the axis of slices."""
        g, tiled = part.geometry, tiled_axes(part.geometry)
        folded = folds(g) if _are_lines(part.problem, tiled) else 1
        apart = [d if taps > 1 else 1 for d, taps in zip(g.d, g.F, strict=True)]
        tiles, windows, reached, filled = [], [], [], []
        transforms = []
        for name, taps, outputs, d in _window_axes(g, tiled, folded, apart):
            fast = fast_correlation(self.outputs(taps), taps)
            tiles += [Index(f"q{name}", -(-outputs // (d * fast.m))), Index(f"e{name}", d)]
            windows.append(Index(f"f{name}", fast.r))
            reached.append(Index(f"u{name}", fast.t))
            filled.append(Index(f"v{name}", fast.m))
            transforms.append(Transform(fast.G, fast.BT, fast.AT))
        by_axis = dict(zip(tiled, transforms if folded > 1 else transforms[-len(tiled) :], strict=False))
        across = (("q", 1), ("u", 1)), (("q", 1), ("v", 1))

        def read(dim: Dim) -> Coordinate:
            if dim.role[0] != "i":
                return part.channel(dim)
            a = int(dim.role[1:])
            if a not in by_axis:
                steps = (f"p{a}", step_of(g.s[a], g.P[a])), (f"f{a}", step_of(g.d[a], g.F[a]))
                return Coordinate(dim.extent, steps, -g.lo[a])
            d, m = apart[a], len(by_axis[a].post)
            inner = across[0] if folded > 1 else ((f"e{a}", 1),)
            return Coordinate(dim.extent, ((f"q{a}", m * d), (f"u{a}", d), *inner), -g.lo[a])

        def write(dim: Dim) -> Coordinate:
            if dim.role[0] != "p":
                return part.channel(dim)
            a, phase = int(dim.role[1:]), part.phase
            by = phase.step[a]
            if a not in by_axis:
                return Coordinate(dim.extent, ((f"p{a}", by), *part.apart(a)), phase.start[a])
            d, m = apart[a], len(by_axis[a].post)
            inner = across[1] if folded > 1 else ((f"e{a}", 1),)
            moved = ((f"q{a}", m * d), (f"v{a}", d), *inner)
            terms = (*((name, by * step) for name, step in moved), *part.apart(a))
            return Coordinate(dim.extent, terms, phase.start[a])

        rest = _rest(g)
        group, m, k = part.batch, part.index("o"), part.index(*(f"f{a}" for a in rest), "c")
        n = part.index("b", *(f"p{a}" for a in rest)) + tuple(tiles)
        c = part.view("y", part.problem.y, write, m, n, (*group, *filled))
        return Product(
            terms=(
                (
                    part.w(m, k, (*group, *windows)),
                    part.view("x", part.problem.x, read, k, n, (*group, *reached)),
                ),
            ),
            c=c,
            epilogue=part.epilogue(m, n, group, c),
            transforms=tuple(transforms),
            part=self.part(g),
        )


def tiled_axes(geometry: Geometry) -> tuple[int, ...]:
    """The axes that are tiled: of those with stride 1 the last, and before it the last that has several taps.

    >>> tiled_axes(Geometry.of((1, 2, 8, 8, 8), (4, 2, 3, 3, 3)))
    (1, 2)
    >>> tiled_axes(Geometry.of((1, 2, 8, 8, 8), (4, 2, 3, 1, 3)))
    (0, 2)
    >>> tiled_axes(Geometry.of((1, 2, 8, 8), (4, 2, 3, 3), stride=(2, 1)))
    (1,)
    """
    *others, last = [a for a, s in enumerate(geometry.s) if s == 1] or [-1]
    several = [a for a in others if geometry.F[a] > 1] or others
    return (*several[-1:], last) if last >= 0 else ()


WIDEST = 16
"""Elements of the widest vectors: windows that reach no further along a line are read where it lies."""


def folds(geometry: Geometry) -> int:
    """How long the rows are that a dilated line is folded into, as long as its dilation; 1 where it is left as it is.

    >>> folds(Geometry.of((1, 2, 99), (4, 2, 3), padding=20, dilation=20))
    20
    >>> folds(Geometry.of((1, 2, 99), (4, 2, 3), padding=8, dilation=8))
    1
    """
    tiled = tiled_axes(geometry)
    if len(tiled) != 1:
        return 1
    (a,) = tiled
    d, taps = geometry.d[a], geometry.F[a]
    near = WIDEST % d == 0 and (taps - 1) * d <= WIDEST
    return 1 if taps == 1 or near else d


def _window_axes(
    g: Geometry, tiled: tuple[int, ...], folded: int, apart: list[int]
) -> list[tuple[str, int, int, int]]:
    """Both axes of windows: name, taps, outputs and how far the elements of a window lie from each other.

    A line is an image of one row, which no array knows of. Or, folded, of many rows: a window goes down them.
    """
    axes = [(str(a), g.F[a], g.P[a], apart[a]) for a in tiled]
    if folded > 1:
        ((name, taps, outputs, _),) = axes
        return [(name, taps, -(-outputs // folded), 1), ("", 1, folded, 1)]
    return axes if len(axes) == 2 else [("", 1, 1, 1), *axes]


def _are_lines(problem: Problem, tiled: tuple[int, ...]) -> bool:
    """Whether the elements of x and y lie side by side along the last axis that is tiled."""
    ends = {layout.dims[-1].role for layout in (problem.x, problem.y)}
    return bool(tiled) and ends == {f"i{tiled[-1]}", f"p{tiled[-1]}"}


def _rest(geometry: Geometry) -> tuple[int, ...]:
    """The axes that are not."""
    tiled = tiled_axes(geometry)
    return tuple(a for a in range(geometry.rank) if a not in tiled)


PARTS = ((2.5, 128), (8.0, 256), (16.0, 128), (math.inf, 32))
"""Channels that are summed in a row, about, up to an amplification: what keeps tiles within a tolerance.

Tiles of 2 within 1e-6; the most usual, 3x3 with tiles of 4, far within the default, for 0.3 % of their time; 1x7 with
tiles of 4, and 5x5 at 4 % of its time, still within it, where tiles of 2 would take twice as long.
"""

TRANSFORMED = 12
"""Roundings of transformed inputs, weights and products, in terms of a sum."""


def _join(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))
