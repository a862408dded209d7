"""The boards of a picture and the cells on them: im2col's product, forward.

    x  sheets    U  matrix         the three matrices stand as in a product worked by hand:
    A  matrix    Y  matrix         a row of A meets a column of U in an element of Y
    w  sheets    y  sheets

Every cell of U knows the cell of x it is a copy of, and has its colour. The page has the same boards with every
lowering and pass: web/boards.js.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.geometry import Geometry, Shape

from .colour import tint
from .digits import Digits
from .sample import WIDE, Budget, sample_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """One element: where on its board, what it holds, its colour, and the cell it is a copy of.

    `kind` is "element", "pad" (a zero of the padding) or "gap" (one that input dilation inserts). `text` is an exact
    value, a fraction.
    """

    board: str
    sheet: int
    row: int
    col: int
    value: float
    tint: str | None = None
    kind: str = "element"
    origin: Cell | None = None
    text: str | None = None


@dataclass(frozen=True)
class Board:
    """A matrix, or sheets of the same size: cells in C order, sheet by sheet."""

    name: str
    sheets: int
    rows: int
    cols: int
    cells: tuple[Cell, ...]
    labels: tuple[str, ...] = ("",)

    def at(self, row: int, col: int, sheet: int = 0) -> Cell:
        """The cell of a sheet."""
        return self.cells[(sheet * self.rows + row) * self.cols + col]


class Scene:
    """All boards of one group and image of a convolution, sampled to a budget.

    >>> scene = Scene(Geometry.of((1, 3, 3, 3), (1, 3, 2, 2)))
    >>> scene.U.rows, scene.U.cols, scene.U.at(0, 1).origin == scene.x.at(0, 1)
    (12, 4, True)
    """

    def __init__(
        self, g: Geometry, x: Array | None = None, w: Array | None = None, budget: Budget = WIDE
    ) -> None:
        self.g = g
        self.sample = sample_of(g, budget)
        self.digits = Digits(g, x, w)
        s = self.sample
        self.taps: list[Shape] = list(itertools.product(*map(range, s.taps)))
        self.pixels: list[Shape] = list(itertools.product(*map(range, s.pixels)))
        self.depth = [(c, f) for c in range(s.channels) for f in self.taps]
        self._found: dict[tuple[int, Shape], Cell] = {}
        self.x = self._input()
        self.w = self._weights()
        self.U = self._unroll_board()
        self.A = self._flatten_board()
        self.y, self.Y = self._output()

    def coordinate(self, p: Shape, f: Shape) -> Shape:
        """Where output p reads through tap f, padding included: p*s + f*d - lo."""
        g = self.g
        return tuple(p[a] * g.s[a] + f[a] * g.d[a] - g.lo[a] for a in range(g.rank))

    def kind(self, q: Shape) -> str:
        """What lies at a coordinate."""
        g = self.g
        if any(v < 0 or v >= E for v, E in zip(q, g.E, strict=True)):
            return "pad"
        return "element" if all(v % e == 0 for v, e in zip(q, g.e, strict=True)) else "gap"

    def window(self, j: int) -> Iterator[tuple[int, Cell]]:
        """The row of U and the cell of x of each element under the kernel at output j."""
        for row in range(self.U.rows):
            origin = self.U.at(row, j).origin
            if origin is not None:
                yield row, origin

    # -- boards --------------------------------------------------------------------------------------------------------

    def _input(self) -> Board:
        g, s = self.g, self.sample
        lead, rows, cols = _sheet(tuple(b - a for a, b in zip(s.start, s.stop, strict=True)))
        last = [min(stop, E) - 1 for stop, E in zip(s.stop, g.E, strict=True)]
        cells, labels = [], []
        for c in range(s.channels):
            for at in itertools.product(*map(range, lead)):
                labels.append(", ".join([f"c = {c}", *(str(v + s.start[a]) for a, v in enumerate(at))]))
                for row, col in itertools.product(range(rows), range(cols)):
                    local = (*at, row, col) if g.rank > 1 else (col,)
                    q = tuple(v + first for v, first in zip(local, s.start, strict=True))
                    shade = [
                        min(max(v / top, 0.0), 1.0) if top > 0 else 0.5
                        for v, top in zip(q, last, strict=True)
                    ]
                    kind = self.kind(q)
                    real = kind == "element"
                    index = tuple(v // e for v, e in zip(q, g.e, strict=True))
                    cell = Cell(
                        board="x", sheet=len(labels) - 1, row=row, col=col, kind=kind,
                        value=float(self.digits.x(0, c, *index)) if real else 0.0,
                        tint=tint(c, shade[-2] if g.rank > 1 else 0.5, shade[-1]) if real else None,
                    )  # fmt: skip
                    cells.append(cell)
                    self._found[c, q] = cell
        ends = [E + max(lo, 0) + max(hi, 0) for E, lo, hi in zip(g.E, g.lo, g.hi, strict=True)]
        _tell_rest(labels, g.C // g.G * math.prod(ends[:-2]) - len(labels))
        return Board("x", len(labels), rows, cols, tuple(cells), tuple(labels))

    def _weights(self) -> Board:
        s = self.sample
        lead, rows, cols = _sheet(s.taps)
        cells, labels = [], []
        for o, c in itertools.product(range(s.outs), range(s.channels)):
            for at in itertools.product(*map(range, lead)):
                several = s.outs > 1
                first = c == 0 and not any(at)
                tap = ", ".join(map(str, at))
                if several:
                    labels.append(f"o = {o}" if first else f"f = {tap}" if at else "")
                else:
                    labels.append(", ".join(filter(None, (f"c = {c}", tap))))
                for row, col in itertools.product(range(rows), range(cols)):
                    f = (*at, row, col) if len(s.taps) > 1 else (col,)
                    value = float(self.digits.w(o, c, *f))
                    cells.append(Cell("w", len(labels) - 1, row, col, value, tint(c)))
        drawn = s.outs * s.channels * math.prod(s.taps[:-2])
        _tell_rest(labels, self.g.m * self.g.C // self.g.G * math.prod(self.g.F[:-2]) - drawn)
        return Board("w", len(labels), rows, cols, tuple(cells), tuple(labels))

    def _unroll_board(self) -> Board:
        cells = []
        for row, (c, f) in enumerate(self.depth):
            for col, p in enumerate(self.pixels):
                origin = self._found[c, self.coordinate(p, f)]
                cells.append(Cell("U", 0, row, col, origin.value, origin.tint, origin.kind, origin))
        return Board("U", 1, len(self.depth), len(self.pixels), tuple(cells))

    def _flatten_board(self) -> Board:
        """Row o of A is filter o, sheet after sheet: the same order."""
        rows, k = self.sample.outs, len(self.depth)
        cells = tuple(
            Cell("A", 0, i // k, i % k, w.value, w.tint, "element", w) for i, w in enumerate(self.w.cells)
        )
        return Board("A", 1, rows, k, cells)

    def _output(self) -> tuple[Board, Board]:
        s = self.sample
        lead, rows, cols = _sheet(s.pixels)
        cells, labels = [], []
        for o in range(s.outs):
            for at in itertools.product(*map(range, lead)):
                labels.append(", ".join([f"o = {o}", *map(str, at)]))
                for row, col in itertools.product(range(rows), range(cols)):
                    p = (*at, row, col) if len(s.pixels) > 1 else (col,)
                    cells.append(Cell("y", len(labels) - 1, row, col, float(self.digits.y(0, o, p))))
        n = len(self.pixels)
        _tell_rest(labels, self.g.m * math.prod(self.g.P[:-2]) - len(labels))
        y = Board("y", len(labels), rows, cols, tuple(cells), tuple(labels))
        matrix = (Cell("Y", 0, i // n, i % n, c.value, None, "element", c) for i, c in enumerate(cells))
        return y, Board("Y", 1, s.outs, n, tuple(matrix))


def _sheet(extents: Shape) -> tuple[Shape, int, int]:
    """Extents before the last two axes, and rows and columns of a sheet."""
    return extents[:-2], (extents[-2] if len(extents) > 1 else 1), extents[-1]


def _tell_rest(labels: list[str], rest: int) -> None:
    """Say behind the last sheet how many are not drawn: they have no edge there that could be torn."""
    if rest > 0:
        labels[-1] = f"{labels[-1]}  (+{rest:,} more)".strip()


def list_terms(scene: Scene, o: int, j: int) -> tuple[list[tuple[float, float]], float, float, int]:
    """The products behind Y[o, j] that are drawn, the rest, the total, and how many terms the rest has.

    >>> pairs, rest, total, more = list_terms(Scene(Geometry.of((1, 3, 3, 3), (1, 3, 2, 2))), 0, 0)
    >>> sum(a * b for a, b in pairs) == total, rest, more
    (True, 0.0, 0)
    """
    pairs = [(scene.A.at(o, k).value, scene.U.at(k, j).value) for k in range(scene.U.rows)]
    total = scene.Y.at(o, j).value
    rest = total - math.fsum(a * b for a, b in pairs)
    return pairs, (0.0 if np.isclose(rest, 0.0) else rest), total, scene.g.k - len(pairs)
