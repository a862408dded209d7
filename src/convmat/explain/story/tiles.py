"""A convolution cut into tiles, as Winograd's lowering takes it: what is drawn of it, and every number on the way.

    X[c, q] = BT d B                     d: the tile q of channel c, t x t elements of x
    W[o, c] = G w GT
    Y[o, q] = sum over c of W[o, c] * X[c, q], point by point: at each point s a product Y[s] = W[s] @ X[s]
    y[o, q] = AT Y A                     m x m outputs

Tiles are m apart. Of a dilated convolution each takes every d-th element, and d of them interleave before the next.
Two axes always: with one, the second has a single tap. Numbers are float64, rounded to what their sums are certain of;
Y and y are sums over all channels, also where some are drawn. web/tiles/scene.js is its twin.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.lowering.toomcook import FastCorrelation, fast_correlation
from convmat.lowering.winograd import Winograd, tiled_axes
from convmat.problem import Problem
from convmat.processes import kept_property
from convmat.product import Matrix

from .colour import tint
from .digits import Digits
from .sample import sample_of
from .scene import Board, Cell

Array = npt.NDArray[Any]
Point = tuple[int, int]

ACROSS, DOWN, CHANNELS = 12, 10, 2
"""At most so many elements of tiles side by side and below each other, and channels of either kind."""

BENCHES = {"filter": ("G", "w", "W"), "tile": ("BT", "d", "X"), "back": ("AT", "Y", "y")}
"""Each transform: its matrix, what it takes and what it makes."""


@dataclass(frozen=True)
class TileAxis:
    """An axis: its matrices, how many tiles there are and how many are drawn, its dilation, what lies before x."""

    fast: FastCorrelation
    tiles: int
    drawn: int
    d: int
    lo: int
    P: int

    def reach_of(self, count: int) -> Array:
        """(tile, i): the position of each tile's i-th element, from where the first tile begins."""
        q = np.arange(self.drawn)
        first = q // self.d * self.fast.m * self.d + q % self.d
        return np.asarray(np.add.outer(first, np.arange(count) * self.d))

    @kept_property
    def spots(self) -> Array:
        """(tile, u): which of the drawn rows (or columns) of x it is."""
        return np.unique(self.reach_of(self.fast.t), return_inverse=True)[1].reshape(self.drawn, self.fast.t)

    @kept_property
    def slots(self) -> Array:
        """(tile, v): which of the drawn rows of y it is; -1 beyond y."""
        at = self.reach_of(self.fast.m)
        real = at < self.P
        found = np.full(at.shape, -1)
        found[real] = np.unique(at[real], return_inverse=True)[1].ravel()
        return found


@dataclass(frozen=True)
class Grid:
    """Numbers `v`, and of each the sum of its terms' magnitudes `a`; the last two axes are those of a tile."""

    v: Array
    a: Array

    @classmethod
    def of(cls, v: Array) -> Grid:
        """Numbers that are no sums."""
        return cls(v, np.abs(v))

    def through(self, rows: Matrix, cols: Matrix | None) -> Grid:
        """rows @ v @ cols^T; without `cols` the half of it."""
        made = []
        with np.errstate(all="ignore"):  # what a user gives may be infinite, or become it
            for of, take in ((self.v, lambda m: m), (self.a, np.abs)):
                half = take(np.array(rows, float)) @ of
                made.append(half if cols is None else half @ take(np.array(cols, float)).T)
        return Grid(*made)

    @property
    def settled(self) -> Array:
        """The numbers without the digits that rounding made."""
        digits = [14 - math.ceil(math.log10(a)) if 0 < a < math.inf else 0 for a in self.a.ravel().tolist()]
        pairs = zip(self.v.ravel().tolist(), digits, strict=True)
        return np.array([round(v, d) + 0.0 for v, d in pairs]).reshape(self.v.shape)


def tile_of(lowering: str) -> int:
    """Outputs of a tile along an axis.

    >>> tile_of("winograd 4")
    4
    """
    return _winograd(lowering).m


def _winograd(lowering: str) -> Winograd:
    way = find_lowering(lowering)
    assert isinstance(way, Winograd)
    return way


def has_slices(g: Geometry) -> bool:
    """Whether an axis is left that is not tiled, which no picture shows.

    >>> has_slices(Geometry.of((1, 2, 4, 6, 6), (1, 2, 3, 3, 3)))
    True
    """
    return any(len(tiled_axes(phase.geometry)) < g.rank for phase in g.phases())


class TileScene:
    """Tiles of the first image and group of a convolution, by the lowering `winograd m`.

    >>> scene = TileScene(Geometry.of((1, 2, 6, 6), (1, 2, 3, 3)), 2)
    >>> scene.t, scene.points, len(scene.tiles), scene.counted
    ((4, 4), 16, 4, (16, 36))
    """

    def __init__(self, g: Geometry, m: int, x: Array | None = None, w: Array | None = None) -> None:
        sample_of(g)  # refuses what has no elements
        self.g = g
        self.m = m
        self._phase = g.phases()[0]
        self._digits = Digits(g, x, w)
        h = self.h = self._phase.geometry
        way = _winograd(f"winograd {m}")
        assert way.refuses(Problem.of(g)) is None
        rooms = (DOWN, ACROSS) if h.rank > 1 else (ACROSS, 1)
        axes = []
        for a, room in enumerate(rooms):
            F, P, lo = (h.F[a], h.P[a], h.lo[a]) if a < h.rank else (1, 1, 0)
            fast = fast_correlation(way.outputs(F), F)
            d = h.d[a] if F > 1 else 1
            tiles = -(-P // (d * fast.m)) * d
            axes.append(TileAxis(fast, tiles, min(tiles, max(room // fast.t, 1)), d, lo, P))
        self.axes = tuple(axes)
        self.channels = min(h.C // h.G, CHANNELS)
        self.outs = min(h.m, CHANNELS)
        self.tiles: list[Point] = list(itertools.product(range(axes[0].drawn), range(axes[1].drawn)))
        self.line = h.rank == 1
        self._numbers()

    @property
    def t(self) -> Point:
        """Extents of a tile of x."""
        return self.axes[0].fast.t, self.axes[1].fast.t

    @property
    def out(self) -> Point:
        """Extents of a tile of y."""
        return self.axes[0].fast.m, self.axes[1].fast.m

    @property
    def points(self) -> int:
        """Products for each tile and pair of channels."""
        return math.prod(self.t)

    @property
    def counted(self) -> tuple[int, int]:
        """Products of a tile for a pair of channels, here and by the definition."""
        return self.points, math.prod(self.out) * math.prod(self.h.F)

    @property
    def all_tiles(self) -> int:
        """Tiles of all images, drawn or not."""
        return self.h.B * self.axes[0].tiles * self.axes[1].tiles

    @property
    def whole(self) -> bool:
        """Nothing of the group and image is left out."""
        drawn = all(axis.drawn == axis.tiles for axis in self.axes)
        return drawn and (self.channels, self.outs) == (self.h.C // self.h.G, self.h.m)

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _numbers(self) -> None:
        h, phase, digits = self.h, self._phase, self._digits
        C, rank = h.C // h.G, h.rank
        where = [a.reach_of(a.fast.t) - a.lo for a in self.axes]
        inside = [(i >= 0) & (i < n) for i, n in zip(where, (*h.I, 1), strict=False)]
        at = [np.where(real, i, 0) for i, real in zip(where, inside, strict=True)]
        # (c, tile down, row, tile across, column) -> (c, tile down, tile across, row, column)
        grids = np.ix_(np.arange(C), at[0].ravel(), at[1].ravel())
        real = np.outer(inside[0].ravel(), inside[1].ravel())
        x = np.where(real, digits.x(0, *grids[: 1 + rank]).reshape(C, *real.shape), 0).astype(float)
        self.image, self.inside = x, real
        shape = (C, self.axes[0].drawn, self.t[0], self.axes[1].drawn, self.t[1])
        self.d = Grid.of(x.reshape(shape).transpose(0, 1, 3, 2, 4))
        taps = [
            start + np.arange(F) * step
            for start, step, F in zip(phase.tap_start, phase.tap_step, h.F, strict=True)
        ]
        w = digits.w(*np.ix_(np.arange(self.outs), np.arange(C), *taps)).astype(float)
        self.w = Grid.of(w.reshape(self.outs, C, *(a.fast.r for a in self.axes)))
        self.X = self.d.through(*self.matrices("tile"))
        self.W = self.w.through(*self.matrices("filter"))
        sums = (
            np.einsum("octu,cnmtu->onmtu", *pair) for pair in ((self.W.v, self.X.v), (self.W.a, self.X.a))
        )
        self.Y = Grid(*sums)
        self.y = self.Y.through(*self.matrices("back"))

    def matrices(self, bench: str) -> tuple[Matrix, Matrix]:
        """The matrices of a transform along both axes."""
        name = BENCHES[bench][0]
        return getattr(self.axes[0].fast, name), getattr(self.axes[1].fast, name)

    def source(self, bench: str, at: Point) -> Grid:
        """What a transform takes: kernel (o, c), tile (c, q), or sums (o, q)."""
        first, second = at
        if bench == "filter":
            return Grid(self.w.v[first, second], self.w.a[first, second])
        of = self.d if bench == "tile" else self.Y
        return Grid(of.v[(first, *self.tiles[second])], of.a[(first, *self.tiles[second])])

    # -- boards --------------------------------------------------------------------------------------------------------

    @kept_property
    def boards(self) -> dict[str, Board]:
        """x, w and y as they are; X, W and Y a sheet for each channel (or pair of them) and tile."""
        C, O, N = range(self.channels), range(self.outs), range(len(self.tiles))
        pairs, grid, sums = (list(itertools.product(*r)) for r in ((O, C), (C, N), (O, N)))
        X, W, Y, w = (of.settled for of in (self.X, self.W, self.Y, self.w))
        made = {
            "x": self._image(),
            "w": self._board("w", [w[o, c] for o, c in pairs], [c for _, c in pairs]),
            "X": self._board("X", [X[(c, *self.tiles[q])] for c, q in grid], [c for c, _ in grid]),
            "W": self._board("W", [W[o, c] for o, c in pairs], [c for _, c in pairs]),
            "Y": self._board("Z", [Y[(o, *self.tiles[q])] for o, q in sums], [None] * len(sums)),
        }
        slots = [axis.slots for axis in self.axes]
        whole = np.zeros((self.outs, *(int(at.max()) + 1 for at in slots)))
        y = self.y.settled
        for n0, v0 in np.argwhere(slots[0] >= 0).tolist():
            for n1, v1 in np.argwhere(slots[1] >= 0).tolist():
                whole[:, slots[0][n0, v0], slots[1][n1, v1]] = y[:, n0, n1, v0, v1]
        made["y"] = self._board("y", list(whole), [None] * self.outs)
        return made

    def _image(self) -> Board:
        """x under the tiles, each element once, in its colour."""
        # Each row and column once, from the first tile that it lies in.
        rows, cols = (np.unique(a.spots, return_index=True)[1] for a in self.axes)
        span = len(rows), len(cols)
        values, real = self.image[:, rows][:, :, cols], self.inside[np.ix_(rows, cols)]
        cells = []
        for c in range(self.channels):
            for i, j in self._order(span):
                u, v = (k / (n - 1) if n > 1 else 0.5 for k, n in zip((i, j), span, strict=True))
                shade = (0.5, u) if self.line else (u, v)
                kind = "element" if real[i, j] else "pad"
                colour = tint(c, *shade) if real[i, j] else None
                cells.append(Cell("x", c, *self._place(i, j), float(values[c, i, j]), colour, kind))
        return Board("x", self.channels, *self._place(*span), tuple(cells))

    def _board(self, paint: str, sheets: list[Array], channels: list[int | None]) -> Board:
        shape = sheets[0].shape
        cells = tuple(
            Cell(paint, s, *self._place(i, j), float(sheet[i, j]), None if c is None else tint(c))
            for s, (sheet, c) in enumerate(zip(sheets, channels, strict=True))
            for i, j in self._order(shape)
        )
        return Board(paint, len(sheets), *self._place(*shape), cells)

    def _order(self, shape: Any) -> list[Point]:
        return list(itertools.product(range(shape[0]), range(shape[1])))

    def _place(self, i: int, j: int) -> Point:
        """Row and column on a sheet, or rows and columns of it: the points of a line lie along its row."""
        return (j, i) if self.line else (i, j)

    def bench(self, name: str, at: Point) -> dict[str, Board]:
        """The parts of a small product: `at` is kernel (o, c), tile (c, q), sums (o, q), or a point.

        left @ source = half, half @ right = result; an axis of one tap has no part.
        """
        if name == "points":
            return self._point(at)
        rows, cols = self.matrices(name)
        source = self.source(name, at)
        colour = tint(at[1] if name == "filter" else at[0]) if name != "back" else None
        before, after = {"filter": ("w", "W"), "tile": ("x", "X"), "back": ("Z", "y")}[name]
        both = [len(m) + len(m[0]) > 2 for m in (rows, cols)]
        parts = {"source": _matrix(before, source.settled, colour)}
        if both[0]:
            parts["left"] = _constants(rows)
        if all(both):
            kind = before if name == "back" else after
            parts["half"] = _matrix(kind, source.through(rows, None).settled, colour)
        if both[1]:
            parts["right"] = _constants(tuple(zip(*cols, strict=True)))
        parts["result"] = _matrix(after, source.through(rows, cols).settled, colour)
        return parts

    def _point(self, s: Point) -> dict[str, Board]:
        W, X, Y = (of.settled[..., s[0], s[1]] for of in (self.W, self.X, self.Y))
        C, N = self.channels, len(self.tiles)
        left = [(o, c, float(W[o, c]), tint(c)) for o in range(self.outs) for c in range(C)]
        source = [(c, q, float(X[(c, *self.tiles[q])]), tint(c)) for c in range(C) for q in range(N)]
        result = [(o, q, float(Y[(o, *self.tiles[q])]), None) for o in range(self.outs) for q in range(N)]
        return {
            "left": Board("W", 1, self.outs, C, tuple(Cell("W", 0, *cell) for cell in left)),
            "source": Board("X", 1, C, N, tuple(Cell("X", 0, *cell) for cell in source)),
            "result": Board("Z", 1, self.outs, N, tuple(Cell("Z", 0, *cell) for cell in result)),
        }


def _matrix(paint: str, values: Array, colour: str | None) -> Board:
    rows, cols = values.shape
    places = itertools.product(range(rows), range(cols))
    return Board(
        paint, 1, rows, cols, tuple(Cell(paint, 0, i, j, float(values[i, j]), colour) for i, j in places)
    )


def _constants(matrix: Matrix) -> Board:
    cells = (
        Cell("constant", 0, i, j, float(f), text=str(f))
        for i, row in enumerate(matrix)
        for j, f in enumerate(row)
    )
    return Board("constant", 1, len(matrix), len(matrix[0]), tuple(cells))
