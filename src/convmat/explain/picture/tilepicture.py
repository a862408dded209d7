"""The picture of a convolution by tiles: four rows, each with the small product that leads on.

    w   G w GT          W      kernels, transformed
    x   BT d B          X      tiles, transformed; d is the tile that is outlined
        W[s] @ X[s]     Y      at each point a product over the channels
    y   AT Y A                 back to outputs

Each small product stands as it is worked by hand: to the right of its first factor and below its second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..story.colour import LIGHT, Theme
from ..story.scene import Board, Cell
from ..story.tiles import BENCHES, Array, Point, TileScene
from .canvas import Drawing, Rect, Shape, Text
from .cells import Box, cell_shapes, flying_cell, frame, ghost, tear
from .tilemoment import TileMoment

MARGIN, TOP, GAP, LABEL = 26.0, 64.0, 14.0, 16.0
BETWEEN, HEAD = 44.0, 30.0
"""Between columns, and above each row for its words."""

SYMBOLS = {
    "filter": {"left": "G", "source": "w", "half": "G w", "right": "Gᵀ", "result": "W"},
    "tile": {"left": "Bᵀ", "source": "d", "half": "Bᵀ d", "right": "B", "result": "X"},
    "points": {"left": "W[s]", "source": "X[s]", "result": "Y[s]"},
    "back": {"left": "Aᵀ", "source": "Y", "half": "Aᵀ Y", "right": "A", "result": "y"},
}
ROWS = {"filter": ("w", "W"), "tile": ("x", "X"), "points": ("", "Y"), "back": ("y", "")}
"""Benches from above, with the sheets to their left and right."""


class TilePicture:
    """Boards laid out once, drawn at any moment. `notes` are the lines beneath the heading."""

    def __init__(
        self, scene: TileScene, theme: Theme = LIGHT, heading: str = "", notes: Sequence[str] = ()
    ) -> None:
        self.scene = scene
        self.theme = theme
        self.heading = heading or str(scene.g)
        self.notes = tuple(notes)
        self._corner: dict[str, tuple[float, float]] = {}
        self._rows: dict[str, float] = {}
        self.u = 22.0
        self.b = 30.0 if max(scene.t) <= 4 else 28.0 if max(scene.t) <= 6 else 23.0
        self._benches = {name: scene.bench(name, (0, 0)) for name in ROWS}
        self.width, self.height = self._lay_out()

    # -- places --------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> tuple[float, float]:
        sides = [max([self._extent(keys[i])[0] for keys in ROWS.values() if keys[i]] + [0.0]) for i in (0, 1)]
        middle = max(self._bench_extent(name)[0] for name in ROWS)
        left = MARGIN
        centre = left + max(sides[0], 150.0) + BETWEEN
        right = centre + max(middle, 330.0) + BETWEEN
        y = TOP + 18 * len(self.notes)
        for name, (before, after) in ROWS.items():
            self._rows[name] = y
            y += HEAD
            for key, x in ((before, left), (after, right)):
                if key:
                    self._corner[key] = (x, y + LABEL)
            bench = self._bench_extent(name)
            self._place_bench(name, centre + (max(middle, 330.0) - bench[0]) / 2, y)
            y += max([bench[1], *(self._extent(key)[1] + LABEL for key in (before, after) if key)]) + GAP
        return right + max(sides[1], 150.0) + MARGIN, y + 34

    def _columns(self, key: str) -> int:
        """Groups of sheets side by side: channels, or the kernels of a filter."""
        s = self.scene
        groups = {"x": s.channels, "X": s.channels, "Y": s.outs, "y": s.outs}.get(key, s.channels)
        return 1 if s.line and key in "XYxy" else groups

    def _sheet_grid(self, key: str) -> Point:
        """Sheets of a group below each other and side by side, as tiles lie in the image."""
        if key not in ("X", "Y"):
            return 1, 1
        drawn = [axis.drawn for axis in self.scene.axes]
        return (1, drawn[0]) if self.scene.line else (drawn[0], drawn[1])

    def _group(self, key: str) -> tuple[float, float]:
        board = self.scene.boards[key]
        down, across = self._sheet_grid(key)
        slit = 5.0
        return across * (board.cols * self.u + slit) - slit, down * (board.rows * self.u + slit) - slit

    def _extent(self, key: str) -> tuple[float, float]:
        board = self.scene.boards[key]
        w, h = self._group(key)
        groups = board.sheets // math.prod(self._sheet_grid(key))
        columns = self._columns(key)
        return columns * (w + GAP) - GAP, -(-groups // columns) * (h + LABEL + 4)

    def sheet_corner(self, key: str, sheet: int) -> tuple[float, float]:
        """Where a sheet begins."""
        board = self.scene.boards[key]
        down, across = self._sheet_grid(key)
        group, tile = divmod(sheet, down * across)
        w, h = self._group(key)
        x, y = self._corner[key]
        columns = self._columns(key)
        x += group % columns * (w + GAP) + tile % across * (board.cols * self.u + 5)
        y += group // columns * (h + LABEL + 4) + tile // across * (board.rows * self.u + 5)
        return x, y

    def box(self, key: str, cell: Cell) -> Box:
        """x, y and size of a cell on a board of sheets, or on the part of a bench: "tile-source"."""
        if "-" in key:
            x, y = self._corner[key]
            return x + cell.col * self.b, y + cell.row * self.b, self.b
        x, y = self.sheet_corner(key, cell.sheet)
        return x + cell.col * self.u, y + cell.row * self.u, self.u

    def _bench_extent(self, name: str) -> tuple[float, float]:
        parts = self._benches[name]
        top = max(
            parts["source"].rows if "left" in parts else 0, parts["right"].rows if "right" in parts else 0
        )
        low = [
            parts[part].cols for part in ("left", "half" if "left" in parts else "source") if part in parts
        ]
        cols = sum(low) + (parts["result"].cols if "right" in parts or "half" not in parts else 0)
        return cols * self.b + len(low) * GAP, (top + parts["result"].rows) * self.b + 2 * LABEL + GAP

    def _place_bench(self, name: str, x: float, y: float) -> None:
        parts, b = self._benches[name], self.b
        top = max(
            parts["source"].rows if "left" in parts else 0, parts["right"].rows if "right" in parts else 0
        )
        low = y + LABEL + top * b + GAP + LABEL
        for part in ("left", "half" if "left" in parts else "source"):
            if part not in parts:
                continue
            self._corner[f"{name}-{part}"] = (x, low)
            if part == "left":
                above = x + parts["left"].cols * b + GAP
                self._corner[f"{name}-source"] = (above, y + LABEL + (top - parts["source"].rows) * b)
            x += parts[part].cols * b + GAP
        if "right" in parts:
            self._corner[f"{name}-right"] = (x, y + LABEL + (top - parts["right"].rows) * b)
        self._corner[f"{name}-result"] = (x, low)

    # -- drawing -------------------------------------------------------------------------------------------------------

    @property
    def last(self) -> TileMoment:
        """The end: all is finished, and on each bench lies its first work, at the points the one amid the first row."""
        s = self.scene
        point = (min(1, s.t[0] - 1), min(1, s.t[1] - 1))
        on = {"filter": ((0, 0), 3), "tile": ((0, 0), 3), "points": (point, 3), "back": ((0, 0), 3)}
        here, there = s.counted
        caption = f"{here} products a tile for each pair of channels, where the definition takes {there}"
        return TileMoment(None, on, caption=caption)

    def drawing(self, moment: TileMoment | None = None) -> Drawing:
        """Everything at a moment; at the end of the story without one."""
        drawing = self.blank()
        drawing.shapes += self.static()
        drawing.shapes += self.moving(moment or self.last)
        return drawing

    def blank(self) -> Drawing:
        """The empty ground."""
        s = self.scene
        here, there = s.counted
        cut = "" if s.whole else " A sample is drawn, with torn edges."
        text = (
            f"Tiles of x and kernels are transformed to X and W; at each of {s.points} points W[s] @ X[s] gives Y[s], "
            f"which transformed back is y: {here} products a tile instead of {there}.{cut}"
        )
        return Drawing(self.width, self.height, self.theme.paper, self.heading, text)

    def static(self) -> list[Shape]:
        """What no moment changes: words, x, w and the matrices of the transforms."""
        shapes = self._words()
        for key in ("x", "w"):
            shapes += self._shapes(key, self.scene.boards[key].cells)
        for name, parts in self._benches.items():
            for part in ("left", "right"):
                if part in parts and name in BENCHES:
                    shapes += self._shapes(f"{name}-{part}", parts[part].cells)
        return [*shapes, *self._tears()]

    def moving(self, moment: TileMoment) -> list[Shape]:
        """X, W, Y, y as far as they are, the benches, the tile that is worked at, and what flies."""
        s, theme = self.scene, self.theme
        shapes: list[Shape] = []
        for name, key in (("filter", "W"), ("tile", "X"), ("points", "Y"), ("back", "y")):
            board = s.boards[key]
            done = None if moment.done is None else moment.done.get(name, 0)
            shapes += self._split(
                key, board, [c for c in board.cells if done is None or self._when(key, c) < done]
            )
        for name in ROWS:
            at, stage = moment.on.get(name, ((0, 0), 0))
            shapes += self._bench(name, at, stage)
        shapes += [part for cell, key in moment.landed for part in self._shapes(key, [cell])]
        if moment.lit in ("filter", "points"):
            shapes += self._light(moment.lit, moment.on[moment.lit][0])
        work = moment.on.get("back" if moment.lit == "back" else "tile")
        if moment.done is None:
            shapes += self._light("points", moment.on["points"][0])
        if work is not None and moment.lit not in ("filter", "points"):
            shapes += self._outlines(work[0], moment.lit or "still")
        shapes += [
            part
            for f in moment.flights
            for part in flying_cell(
                theme, f.cell, f.progress, self.box(f.start, f.cell), self.box(f.end, f.to)
            )
        ]
        if moment.caption:
            shapes.append(Text(MARGIN + 2, self.height - 22, moment.caption, 15, theme.ink, "start"))
        return shapes

    def _bench(self, name: str, at: Point, stage: int) -> list[Shape]:
        parts = self.scene.bench(name, at) if stage else self._benches[name]
        shapes: list[Shape] = []
        for needed, part in (
            (1, "source"),
            (2, "half"),
            (3, "result"),
            *([(1, "left")] if name == "points" else []),
        ):
            if part in parts:
                there = parts[part].cells if stage >= needed else ()
                shapes += self._split(f"{name}-{part}", parts[part], there)
        return shapes

    def _when(self, key: str, cell: Cell) -> int:
        """When a cell is finished: W and X sheet by sheet in the order of the story, Y point by point, y by tiles."""
        s = self.scene
        i, j = (cell.col, 0) if s.line else (cell.row, cell.col)
        if key == "W":
            return cell.sheet
        if key == "X":
            c, q = divmod(cell.sheet, len(s.tiles))
            return q * s.channels + c
        if key == "Y":
            return i * s.t[1] + j
        tile = [int(np.argwhere(axis.slots == k)[0][0]) for axis, k in zip(s.axes, (i, j), strict=True)]
        return cell.sheet * len(s.tiles) + tile[0] * s.axes[1].drawn + tile[1]

    def _split(self, key: str, board: Board, there: Iterable[Cell]) -> list[Shape]:
        """Cells that are in place, and the empty places of the others."""
        kept = tuple(there)
        found = {id(cell) for cell in kept}
        missing = [cell for cell in board.cells if id(cell) not in found]
        return [*self._shapes(key, kept), *(ghost(self.theme, *self.box(key, cell)) for cell in missing)]

    def _shapes(self, key: str, cells: Iterable[Cell]) -> list[Shape]:
        return [shape for cell in cells for shape in cell_shapes(self.theme, cell, *self.box(key, cell))]

    # -- what is lit ---------------------------------------------------------------------------------------------------

    def _outlines(self, at: Point, lit: str) -> list[Shape]:
        """The tile in x and where its outputs lie in y, or the one of them that is worked at."""
        s, u = self.scene, self.u
        first, q = at
        under = [axis.spots[n] for axis, n in zip(s.axes, s.tiles[q], strict=True)]
        given = [axis.slots[n][axis.slots[n] >= 0] for axis, n in zip(s.axes, s.tiles[q], strict=True)]
        shapes: list[Shape] = []
        for c in range(s.channels) if lit in ("back", "still") else [first]:
            shapes += self._outline(*self.sheet_corner("x", c), under)
        if all(map(len, given)):
            for o in [first] if lit == "back" else range(s.outs):
                shapes += self._outline(*self.sheet_corner("y", o), given)
        if lit == "back":
            x, y = self.sheet_corner("Y", first * len(s.tiles) + q)
            board = s.boards["Y"]
            shapes.append(frame(x, y, board.cols * u, board.rows * u, self.theme))
        return shapes

    def _outline(self, x: float, y: float, at: list[Array]) -> list[Shape]:
        """Around the rows and columns of a sheet from the first to the last."""
        u = self.u
        (row, rows), (col, cols) = ((int(i.min()), int(i.max() - i.min()) + 1) for i in at)
        if self.scene.line:
            row, rows, col, cols = 0, 1, row, rows
        left, top, w, h = x + col * u - 1, y + row * u - 1, cols * u + 2, rows * u + 2
        return [
            Rect(left, top, w, h, None, self.theme.paper, 6, 4),
            Rect(left, top, w, h, None, self.theme.ink, 2.6, 4),
        ]

    def _light(self, name: str, at: Point) -> list[Shape]:
        s, u, theme = self.scene, self.u, self.theme
        if name == "filter":
            sheet = at[0] * s.channels + at[1]
            x, y = self.sheet_corner("w", sheet)
            board = s.boards["w"]
            return [frame(x, y, board.cols * u, board.rows * u, theme)]
        shapes: list[Shape] = []
        for key in ("W", "X", "Y"):
            for sheet in range(s.boards[key].sheets):
                x, y = self.sheet_corner(key, sheet)
                i, j = (0, at[0]) if s.line else at
                shapes.append(frame(x + j * u, y + i * u, u, u, theme, theme.accent if key == "Y" else None))
        return shapes

    # -- words ---------------------------------------------------------------------------------------------------------

    def _words(self) -> list[Shape]:
        s, h, theme = self.scene, self.scene.h, self.theme
        shapes: list[Shape] = [Text(MARGIN, MARGIN, self.heading, 19, theme.ink, "start", "bold")]
        for i, note in enumerate(self.notes):
            shapes.append(Text(MARGIN, MARGIN + 25 + 18 * i, note, 13.5, theme.muted, "start"))
        t = _cross(s.t[: h.rank])
        words = {
            "w": f"{'kernels' if h.O > 1 else 'kernel'}, {_cross(h.w_shape)}",
            "W": f"transformed, {t} each",
            "x": f"input, {_cross((h.C, *h.I))}",
            "X": f"{_many(s.all_tiles, 'tile')} of {t}, transformed",
            "Y": f"a product at each of {s.points} points",
            "y": f"output, {_cross((h.O, *h.P))}",
        }
        for name, keys in ROWS.items():
            for key in filter(None, keys):
                x = self._corner[key][0]
                shapes += [
                    Text(x, self._rows[name] + 14, key, 18, theme.ink, "start", "symbol"),
                    Text(x + 26, self._rows[name] + 14, words[key], 13.5, theme.muted, "start"),
                ]
            for part, symbol in SYMBOLS[name].items():
                if f"{name}-{part}" in self._corner:
                    x, y = self._corner[f"{name}-{part}"]
                    shapes.append(Text(x + 1, y - 10, symbol, 15, theme.ink, "start", "symbol"))
        here, there = s.counted
        m, k = h.O // h.G, h.C // h.G
        lines = [
            f"{s.points} points s, at each",
            f"({m} x {k}) @ ({k} x {s.all_tiles})",
            f"a tile: {here} products,",
            f"the definition: {there}",
            "outlined: the s on the bench",
        ]
        y = self._rows["points"] + HEAD + 8
        shapes += [Text(MARGIN, y + 19 * i, line, 13.5, theme.muted, "start") for i, line in enumerate(lines)]
        return [*shapes, *self._labels()]

    def _labels(self) -> list[Shape]:
        s, h = self.scene, self.scene.h
        shapes: list[Shape] = []
        for key in filter(None, (key for keys in ROWS.values() for key in keys)):
            each = math.prod(self._sheet_grid(key))
            for group in range(s.boards[key].sheets // each):
                x, y = self.sheet_corner(key, group * each)
                pair = divmod(group, s.channels)
                if key in "xX":
                    text = f"c = {group}" if h.C > 1 else ""
                elif key in "yY":
                    text = f"o = {group}" if h.O > 1 else ""
                elif h.O > 1:
                    text = f"o = {pair[0]}" if pair[1] == 0 else ""
                else:
                    text = f"c = {pair[1]}" if h.C > 1 else ""
                if text:
                    shapes.append(Text(x, y - 10, text, 11, self.theme.muted, "start"))
        return shapes

    def _tears(self) -> list[Shape]:
        """Zigzags where tiles are left out."""
        s = self.scene
        cut = [axis.drawn < axis.tiles for axis in s.axes]
        down, across = (False, cut[0]) if s.line else cut
        shapes: list[Shape] = []
        for key in ("x", "X", "Y", "y"):
            each = math.prod(self._sheet_grid(key))
            w, h = self._group(key)
            for group in range(s.boards[key].sheets // each):
                x, y = self.sheet_corner(key, group * each)
                if across:
                    shapes.append(tear(x + w + 4, y, h, True, self.theme.muted))
                if down:
                    shapes.append(tear(x, y + h + 4, w, False, self.theme.muted))
        return shapes


def _cross(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
