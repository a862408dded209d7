"""The picture of a convolution: all boards in their places, at one moment of the story or at its end.

A row of A stands beside U, a column of U above Y: where they meet is their product. x lies in the corner between them,
the kernels below A and the output below Y. Where a board is a sample its edge is torn, and the true size is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..story.colour import LIGHT, Theme
from ..story.scene import Board, Cell, Scene
from .canvas import Drawing, Polyline, Rect, Shape, Text
from .cells import Box, cell_shapes, flying_cell, frame, ghost, symbol_title, tear

MARGIN = 26.0
LEFT, MIDDLE, RIGHT = 58.0, 78.0, 44.0
TOP, UNDER = 112.0, 62.0
GAP, LABEL = 14.0, 16.0


@dataclass(frozen=True)
class Flight:
    """A cell on its way to another, from 0 to 1."""

    cell: Cell
    to: Cell
    progress: float


@dataclass(frozen=True)
class Moment:
    """What is to be seen: how much is stored, what moves, what is multiplied.

    `flat` weights of A, `columns` of U, `outputs` of Y and `folded` ones of y are in place, None for all; `landed` are
    the rows of the next column of U that already are. `window` is the output (its place may lie between two) whose
    window is outlined; `product` the (o, j) of a row and column that are lit.
    """

    flat: int | None = None
    columns: int | None = None
    outputs: int | None = None
    folded: int | None = None
    landed: frozenset[int] = frozenset()
    flights: tuple[Flight, ...] = ()
    window: tuple[float, ...] | None = None
    product: tuple[int, int] | None = None
    caption: str = ""


@dataclass
class _Place:
    """A board's cells: their size and the corner of each sheet."""

    size: float
    corners: list[tuple[float, float]] = field(default_factory=list)


class Picture:
    """Boards laid out once, drawn at any moment. `notes` are the lines beneath the heading."""

    def __init__(
        self, scene: Scene, theme: Theme = LIGHT, heading: str = "", notes: Sequence[str] = ()
    ) -> None:
        self.scene = scene
        self.theme = theme
        self.heading = heading or str(scene.g)
        self.notes = tuple(notes)
        self._places: dict[str, _Place] = {}
        self.width, self.height = self._lay_out()

    # -- places --------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> tuple[float, float]:
        s = self.scene
        wide = max(s.U.cols, s.Y.cols)
        beside = max(s.A.cols, min(s.x.sheets * (s.x.cols + 0.5), wide, 14), 6)
        u = float(max(min(900 // (beside + wide), 34), 17))
        top = TOP + 18 * len(self.notes)
        # The corner is as high as U, or as one row of sheets where U is low.
        corner = max(s.U.rows * u, s.x.rows * min(u, beside * u / (s.x.cols + 0.5)))
        ux, uy = MARGIN + LEFT + beside * u + MIDDLE, top + corner - s.U.rows * u
        ax, ay = ux - MIDDLE - s.A.cols * u, top + corner + 16
        self._places["U"] = _Place(u, [(ux, uy)])
        self._places["A"] = _Place(u, [(ax, ay)])
        self._places["Y"] = _Place(u, [(ux, ay)])
        below = ay + s.A.rows * u + UNDER
        # A filter in one row, to the left of A's beginning where A is short.
        filter_ = s.w.sheets // s.sample.outs * (s.w.cols * 0.9 * u + GAP)
        w = max(s.A.cols * u, min(filter_, beside * u))
        self._fill(s.x, MARGIN + LEFT, top - 34, beside * u, ay - 10 - (top - 34), min(1.35 * u, 42.0))
        ends = [
            self._rows(s.w, ux - MIDDLE - w, below, w, 0.9 * u),
            self._rows(s.y, ux, below, max(wide * u, 150.0), u),
        ]
        return ux + max(wide * u, 150.0) + RIGHT + MARGIN, max(ends) + MARGIN

    def _fill(self, board: Board, x: float, y: float, width: float, height: float, largest: float) -> None:
        """Sheets in the corner: on a diagonal beside their rows of U, in a grid where that makes them much larger."""
        fits = []
        for across in range(1, board.sheets + 1):
            down = -(-board.sheets // across)
            size = min(
                largest,
                (width - GAP * (across - 1)) / (across * board.cols),
                (height - down * (LABEL + 8)) / (down * board.rows),
            )
            fits.append((across, down, size))
        best = max(size for *_, size in fits)
        # One above the other, beside their rows of U, unless cells could be much larger.
        across, down, size = fits[0] if fits[0][2] >= 0.62 * best else max(fits, key=lambda fit: fit[2])
        size = max(math.floor(size * 2) / 2, 7.0)
        step = height / down
        slack = width - (across * (board.cols * size + GAP) - GAP)
        place = _Place(size)
        for sheet in range(board.sheets):
            i, j = sheet % across, sheet // across
            slant = slack * (j + 0.5) / down if across == 1 and board.sheets > 1 else slack / 2
            lift = max((step - board.rows * size - LABEL) / 2, 0.0)
            place.corners.append((x + i * (board.cols * size + GAP) + slant, y + j * step + LABEL + lift))
        self._places[board.name] = place

    def _rows(self, board: Board, x: float, y: float, width: float, size: float) -> float:
        """Sheets side by side, row under row; where they end."""
        size = max(min(size, width / board.cols), 7.0)
        across = max(min(int((width + GAP) // (board.cols * size + GAP)), board.sheets), 1)
        each = board.sheets // self.scene.sample.outs
        across -= across % each if across >= each else 0  # a row begins with a filter
        step = (board.cols * size + GAP, board.rows * size + LABEL + 6)
        corners = [(x + s % across * step[0], y + s // across * step[1] + LABEL) for s in range(board.sheets)]
        self._places[board.name] = _Place(size, corners)
        return y + -(-board.sheets // across) * step[1]

    def box(self, cell: Cell) -> Box:
        """x, y and size of a cell."""
        place = self._places[cell.board]
        x, y = place.corners[cell.sheet]
        return x + cell.col * place.size, y + cell.row * place.size, place.size

    # -- drawing -------------------------------------------------------------------------------------------------------

    def drawing(self, moment: Moment | None = None) -> Drawing:
        """Everything at a moment; at the end of the story without one."""
        drawing = self.blank()
        drawing.shapes += self.static()
        drawing.shapes += self.moving(moment or Moment())
        return drawing

    def blank(self) -> Drawing:
        """The empty ground."""
        g = self.scene.g
        sample = "" if self.scene.sample.whole else " A sample is drawn, with torn edges."
        text = (
            f"x {_cross(g.x_shape)} is unrolled to U {g.k}x{g.n}; the kernels, flattened to A {g.m}x{g.k}, times U "
            f"give Y {g.m}x{g.n}, which is y {_cross(g.y_shape)}.{sample}"
        )
        return Drawing(self.width, self.height, self.theme.paper, self.heading, text)

    def static(self) -> list[Shape]:
        """What no moment changes: words, dimension lines, x and w."""
        given = self._cells([*self.scene.x.cells, *self.scene.w.cells])
        return [*self._words(), *self._dimensions(), *self._tears(), *given]

    def moving(self, moment: Moment) -> list[Shape]:
        """U, A, Y, y, the window and what flies."""
        s, theme = self.scene, self.theme
        every = len(s.A.cells) + len(s.U.cells) + len(s.Y.cells)
        flat, columns, outputs, folded = (
            every if n is None else n for n in (moment.flat, moment.columns, moment.outputs, moment.folded)
        )
        shapes: list[Shape] = []
        shapes += self._split(s.A, lambda c: c.row * s.A.cols + c.col < flat)
        shapes += self._split(s.U, lambda c: c.col < columns or (c.col == columns and c.row in moment.landed))
        when = {id(c.origin): self._order(c) for c in s.Y.cells}
        shapes += self._split(s.Y, lambda c: self._order(c) < outputs)
        shapes += self._split(s.y, lambda c: when[id(c)] < folded)
        if moment.product is not None:
            o, j = moment.product
            x, y, u = self.box(s.U.at(0, j))
            shapes.append(frame(x, y, u, s.U.rows * u, theme))
            x, y, u = self.box(s.A.at(o, 0))
            shapes.append(frame(x, y, s.A.cols * u, u, theme))
            x, y, u = self.box(s.Y.at(o, j))
            shapes.append(frame(x, y, u, u, theme, theme.accent))
        if moment.window is not None:
            shapes += self._window(moment.window)
        shapes += [part for flight in moment.flights for part in self._flight(flight)]
        if moment.caption:
            shapes.append(Text(MARGIN + 2, self.height - 22, moment.caption, 15, theme.ink, "start"))
        return shapes

    def _split(self, board: Board, there: Callable[[Cell], bool]) -> list[Shape]:
        """The cells of a board that are in place, and the empty places of the others."""
        return [
            *self._cells(filter(there, board.cells)),
            *self._ghosts(c for c in board.cells if not there(c)),
        ]

    def _order(self, cell: Cell) -> int:
        """When an element of Y is finished: column after column."""
        return cell.col * self.scene.Y.rows + cell.row

    def _cells(self, cells: Iterable[Cell]) -> list[Shape]:
        return [shape for cell in cells for shape in cell_shapes(self.theme, cell, *self.box(cell))]

    def _ghosts(self, cells: Iterable[Cell]) -> list[Shape]:
        """Places of elements that are not there yet."""
        return [ghost(self.theme, *self.box(cell)) for cell in cells]

    def _flight(self, flight: Flight) -> list[Shape]:
        return flying_cell(
            self.theme, flight.cell, flight.progress, self.box(flight.cell), self.box(flight.to)
        )

    def _window(self, at: tuple[float, ...]) -> list[Shape]:
        """The outline of an output's window on every sheet of x that it touches."""
        s, g = self.scene, self.scene.g
        place = self._places["x"]
        low = [
            p * step - lo - first for p, step, lo, first in zip(at, g.s, g.lo, s.sample.start, strict=True)
        ]
        reach = [d * (f - 1) + 1 for d, f in zip(g.d, s.sample.taps, strict=True)]
        lead = [int(b - a) for a, b in zip(s.sample.start, s.sample.stop, strict=True)][:-2]
        shapes: list[Shape] = []
        for sheet, (x, y) in enumerate(place.corners):
            rest, inside = sheet, True
            for a in reversed(range(len(lead))):
                slice_, rest = rest % lead[a], rest // lead[a]
                inside = inside and low[a] <= slice_ < low[a] + reach[a] and (slice_ - low[a]) % g.d[a] == 0
            if not inside:
                continue
            row, rows = (low[-2], reach[-2]) if g.rank > 1 else (0, 1)
            left, top = x + low[-1] * place.size, y + row * place.size
            w, h = reach[-1] * place.size, rows * place.size
            shapes.append(Rect(left - 1, top - 1, w + 2, h + 2, None, self.theme.paper, 6, 4))
            shapes.append(Rect(left - 1, top - 1, w + 2, h + 2, None, self.theme.ink, 2.6, 4))
        return shapes

    # -- words ---------------------------------------------------------------------------------------------------------

    def _words(self) -> list[Shape]:
        s, g, theme = self.scene, self.scene.g, self.theme
        shapes: list[Shape] = [Text(MARGIN, MARGIN, self.heading, 19, theme.ink, "start", "bold")]
        for i, note in enumerate(self.notes):
            shapes.append(Text(MARGIN, MARGIN + 25 + 18 * i, note, 13.5, theme.muted, "start"))
        (ux, uy), u = self._places["U"].corners[0], self._places["U"].size
        ax, ay = self._places["A"].corners[0]
        many = "the kernels, flattened" if s.A.rows > 1 else "the kernel, flattened"
        room = s.A.cols * u + MIDDLE - 20
        choices = (f"{many}: w, {_cross(g.w_shape, ' x ')}", many, "= w")
        shapes += symbol_title(
            theme, MARGIN + LEFT, TOP + 18 * len(self.notes) - 48, "x", f"input, {_cross((g.C, *g.I), ' x ')}"
        )
        shapes += symbol_title(theme, ux, uy - 48, "U", "the unrolled input")
        shapes += symbol_title(
            theme, ax, ay + s.A.rows * u + 44, "A", next((c for c in choices if 7 * len(c) + 24 < room), "")
        )
        shapes += symbol_title(theme, ux, ay + s.A.rows * u + 44, "Y", f"= y, {_cross((g.O, *g.P), ' x ')}")
        for board in (s.x, s.w, s.y):
            corners = self._places[board.name].corners
            shapes += [
                Text(x, y - 8, label, 11, theme.muted, "start")
                for (x, y), label in zip(corners, board.labels, strict=True)
                if label
            ]
        if u >= 14:
            shapes.append(Text(ux - 8, uy - 10, "c, f", 10, theme.muted, "end"))
            shapes += [
                Text(ux - 8, uy + (row + 0.5) * u, ", ".join(map(str, (c, *f))), 10, theme.muted, "end")
                for row, (c, f) in enumerate(s.depth)
            ]
        return shapes

    def _dimensions(self) -> list[Shape]:
        s, g = self.scene, self.scene.g
        (ux, uy), u = self._places["U"].corners[0], self._places["U"].size
        ax, ay = self._places["A"].corners[0]
        channels = "C/G" if g.G > 1 else "C"
        return [
            *self._across(ux, uy - 12, s.U.cols * u, f"n = B·P = {g.n}", s.U.cols < g.n, -12),
            *self._down(
                ux + s.U.cols * u + 12, uy, s.U.rows * u, f"k = {channels}·F = {g.k}", s.U.rows < g.k, 1
            ),
            *self._across(ax, ay + s.A.rows * u + 12, s.A.cols * u, f"k = {g.k}", s.A.cols < g.k, 12),
            *self._down(ax - 12, ay, s.A.rows * u, f"m = {g.m}", s.A.rows < g.m, -1),
        ]

    def _across(self, x: float, y: float, length: float, text: str, cut: bool, offset: float) -> list[Shape]:
        faint = self.theme.faint
        ends: list[Shape] = [Polyline([(v, y - 4), (v, y + 4)], faint) for v in (x, x + length)]
        line = Polyline([(x, y), (x + length, y)], faint, dash=cut)
        return [*ends, line, Text(x + length / 2, y + offset, text, 12, self.theme.ink)]

    def _down(self, x: float, y: float, length: float, text: str, cut: bool, side: int) -> list[Shape]:
        theme = self.theme
        ends: list[Shape] = [Polyline([(x - 4, v), (x + 4, v)], theme.faint) for v in (y, y + length)]
        line = Polyline([(x, y), (x, y + length)], theme.faint, dash=cut)
        middle = y + length / 2
        if length > 6.6 * len(text):
            words = Text(x + 13 * side, middle, text, 12, theme.ink, turned=True)
        else:
            words = Text(x + 8 * side, middle, text, 12, theme.ink, "start" if side > 0 else "end")
        return [*ends, line, words]

    def _tears(self) -> list[Shape]:
        """Zigzags where a board is a sample."""
        s, g = self.scene, self.scene.g
        sample = s.sample
        ends = [E + max(hi, 0) for E, hi in zip(g.E, g.hi, strict=True)]
        cut = {
            "x": [stop < end for stop, end in zip(sample.stop, ends, strict=True)],
            "w": [t < f for t, f in zip(sample.taps, g.F, strict=True)],
            "y": [t < p for t, p in zip(sample.pixels, g.P, strict=True)],
            "U": [s.U.rows < g.k, s.U.cols < g.n],
            "A": [s.A.rows < g.m, s.A.cols < g.k],
            "Y": [s.Y.rows < g.m, s.Y.cols < g.n],
        }
        shapes: list[Shape] = []
        for board in (s.x, s.w, s.y, s.U, s.A, s.Y):
            place, torn = self._places[board.name], cut[board.name]
            w, h = board.cols * place.size, board.rows * place.size
            for x, y in place.corners:
                if torn[-1]:
                    shapes.append(tear(x + w + 4, y, h, True, self.theme.muted))
                if len(torn) > 1 and torn[-2]:
                    shapes.append(tear(x, y + h + 4, w, False, self.theme.muted))
        return shapes


def _cross(shape: Iterable[int], by: str = "x") -> str:
    return by.join(map(str, shape))
