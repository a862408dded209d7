"""pieces: Winograd with a long filter cut into pieces, f = q*r + j, which are summed over as channels are.

    A[s][o, (c, q)]       = sum over j of G[s, j] * w[o, c, q*r + j]
    U[s][(c, q), (b, t)]  = sum over u of BT[s, u] * x[b, c, t*m + q*r + u - lo]
    y[b, o, t*m + v]      = sum over s of AT[v, s] * (A[s] @ U[s])[o, (b, t)]

Shown for one axis. What it is for is the weight gradient: dy is a filter as large as a map, and dw has few outputs. Of
3x3 its pieces of 4 x 4 take 36 products where the definition takes 144, a tile's products are added to those of all
other tiles and images, and there is one transform back for each pair of channels. Points and BT are the forward's.

Outputs whose positions leave the same rest e < d read no input that others read: a dilated filter (the gradient of a
strided layer) makes d plain products an axis, each of its outputs alone.
After Winograd 1980 and Lavin and Gray 2016; sums of transformed products over pieces as in block convolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from ..geometry import Geometry
from ..layout import Dim
from ..problem import Problem
from ..product import PARTS_IN_A_ROW, Coordinate, Index, Packing, Product, Transform
from .base import Lowering, Part
from .toomcook import FastCorrelation, fast_correlation

POINTS = 6
"""Products an axis: those of F(4, 3), the most that amplify rounding little."""

PART = 64
"""Tiles that are summed in a row, at most."""

MOST_RESTS = 64
"""Products that are one after the other: those of a stride of 8 by 8."""

TRANSFORMED = 12
"""Roundings of transformed inputs, weights and products, in terms of a sum."""


class Pieces(Lowering):
    """F(m, r) along every axis with several outputs and a longer filter, for stride 1."""

    name = "pieces"
    summary = "a long filter in pieces, summed over like channels, from fewer products"
    exact = False
    shares = "tile"
    transform = Transform
    packings = (Packing.PANEL,)
    source = "Winograd 1980; Lavin and Gray 2016"

    def refuses_geometry(self, geometry: Geometry) -> str | None:
        """One or two axes, stride 1, a filter longer than the output."""
        if geometry.rank > 2:
            return f"takes one or two spatial axes, got {geometry.rank}"
        if any(s != 1 for s in geometry.s):
            return f"takes stride 1, got {_join(geometry.s)}"
        if min(geometry.F) < 1:
            return f"needs a filter position on every axis, got {_join(geometry.F)}"
        rests = math.prod(min(d, p) for d, p in zip(_apart(geometry), geometry.P, strict=True))
        if rests > MOST_RESTS:
            return f"makes a product for each of up to {MOST_RESTS} rests of outputs, got {rests}"
        outputs = self.outputs(geometry, (0,) * geometry.rank)
        if not any(f > p > 1 for f, p in zip(geometry.F, outputs, strict=True)):
            return (
                "needs a filter longer than the output, and several outputs, on an axis: "
                f"got {_join(geometry.F)} and {_join(outputs)}"
            )
        return None

    def roundings(self, problem: Problem) -> float:
        """Roundings of sums of PART tiles, of sums of PARTS_IN_A_ROW such parts, and of all these; and the transforms.

        All of it as much larger than y as its terms are.
        """
        g = problem.geometry
        each = self.transforms(g, (0,) * g.rank)
        amplification = math.prod(fast.amplification for fast in each)
        pieces = math.prod(-(-f // fast.r) for f, fast in zip(g.F, each, strict=True))
        long = -(-g.C // g.G * pieces // (PART * PARTS_IN_A_ROW))
        return amplification**2 * (PART + PARTS_IN_A_ROW + long - 1 + TRANSFORMED)

    def saving(self, geometry: Geometry) -> float:
        """POINTS products along an axis for those of m outputs with r taps, m + r - 1 = POINTS."""
        return (4 * POINTS / (POINTS + 1) ** 2) ** geometry.rank

    def outputs(self, geometry: Geometry, rest: tuple[int, ...]) -> tuple[int, ...]:
        """How many outputs leave this rest."""
        axes = zip(geometry.P, rest, _apart(geometry), strict=True)
        return tuple(-(-(p - e) // d) for p, e, d in axes)

    def transforms(self, geometry: Geometry, rest: tuple[int, ...]) -> list[FastCorrelation]:
        """F(m, r) along each axis: of those with POINTS points that which multiplies least."""
        found = []
        for taps, outputs in zip(geometry.F, self.outputs(geometry, rest), strict=True):
            if taps == 1 or outputs == 1:
                found.append(fast_correlation(1, 1))
                continue
            sizes = [(m, POINTS + 1 - m) for m in range(2, POINTS)]
            m, r = min(sizes, key=lambda s: (-(-outputs // s[0]) * -(-taps // s[1]), s[0]))
            found.append(fast_correlation(m, r))
        return found

    def products_of(self, part: Part) -> tuple[Product, ...]:
        """One for the outputs of each rest."""
        g = part.geometry
        rests = itertools.product(*(range(min(d, p)) for d, p in zip(_apart(g), g.P, strict=True)))
        return tuple(self.product(part, rest) for rest in rests)

    def product(self, part: Part, rest: tuple[int, ...] = ()) -> Product:
        """One product of (O, C*pieces) @ (C*pieces, B*tiles) for each combination of points."""
        g, apart = part.geometry, _apart(part.geometry)
        rest = rest or (0,) * g.rank
        each = self.transforms(g, rest)
        axes = [*self._axes(g, rest, each)]
        tiles = tuple(Index(f"t{a}", -(-outputs // fast.m)) for a, _, outputs, fast in axes)
        cut = tuple(Index(f"q{a}", -(-taps // fast.r)) for a, taps, _, fast in axes)
        sizes = {
            letter: [(a, getattr(fast, size)) for a, *_, fast in axes]
            for letter, size in zip("fuv", "rtm", strict=True)
        }
        windows = {
            letter: tuple(Index(f"{letter}{a}", n) for a, n in found) for letter, found in sizes.items()
        }

        def read(dim: Dim) -> Coordinate:
            if dim.role[0] != "i":
                return part.channel(dim)
            a = int(dim.role[1:])
            d = apart[a]
            terms = ((f"t{a}", each[a].m * d), (f"q{a}", each[a].r * d), (f"u{a}", d))
            return Coordinate(dim.extent, terms, rest[a] - g.lo[a])

        def weigh(dim: Dim) -> Coordinate:
            if dim.role[0] != "f":
                return part.channel(dim)
            a, phase = int(dim.role[1:]), part.phase
            step = phase.tap_step[a]
            terms = ((f"q{a}", step * each[a].r), (f"f{a}", step), *part.back(a))
            return Coordinate(dim.extent, terms, phase.tap_start[a])

        def write(dim: Dim) -> Coordinate:
            if dim.role[0] != "p":
                return part.channel(dim)
            a, phase = int(dim.role[1:]), part.phase
            by = phase.step[a] * apart[a]
            terms = ((f"t{a}", by * each[a].m), (f"v{a}", by), *part.apart(a))
            return Coordinate(dim.extent, terms, phase.start[a] + phase.step[a] * rest[a])

        group, m, k = part.batch, part.index("o"), (*part.index("c"), *cut)
        n, problem = (*part.index("b"), *tiles), part.problem
        filters = part.view("w", problem.w, weigh, m, k, (*group, *windows["f"]))
        unrolled = part.view("x", problem.x, read, k, n, (*group, *windows["u"]))
        c = part.view("y", problem.y, write, m, n, (*group, *windows["v"]))
        return Product(
            terms=((filters, unrolled),),
            c=c,
            epilogue=part.epilogue(m, n, group, c),
            transforms=tuple(Transform(fast.G, fast.BT, fast.AT) for *_, fast in axes),
            part=PART,
        )

    def _axes(
        self, g: Geometry, rest: tuple[int, ...], each: list[FastCorrelation]
    ) -> Iterator[tuple[str, int, int, FastCorrelation]]:
        """(name, taps, outputs, F(m, r)) of two axes: a line is an image of one row, which no array knows of."""
        if g.rank == 1:
            yield "", 1, 1, fast_correlation(1, 1)
        for a, (outputs, fast) in enumerate(zip(self.outputs(g, rest), each, strict=True)):
            yield str(a), g.F[a], outputs, fast


def _apart(geometry: Geometry) -> tuple[int, ...]:
    """How far the elements of a window lie from each other along each axis."""
    return tuple(d if taps > 1 else 1 for d, taps in zip(geometry.d, geometry.F, strict=True))


def _join(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))
