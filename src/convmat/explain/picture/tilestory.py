"""The animation of a convolution by tiles: kernels are transformed, then tiles, each on its bench; at every point a
small product over the channels; then tiles of the output are transformed back and put in their place.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

from ..story.scene import Board, Cell
from ..story.tiles import Point, TileScene
from .animation import HURRY, Act, ease, part_of
from .tilemoment import TileFlight, TileMoment

Pairs = list[tuple[Cell, Cell]]


def tile_acts(scene: TileScene) -> list[Act[TileMoment]]:
    """The story of a scene.

    >>> from convmat.geometry import Geometry
    >>> story = tile_acts(TileScene(Geometry.of((1, 1, 4, 4), (1, 1, 3, 3)), 2))
    >>> story[0].at(0.0).done, story[-2].at(1.0).done
    ({}, {'filter': 1, 'tile': 1, 'points': 16, 'back': 0})
    """
    return _Told(scene).acts


class _Told:
    """Acts one after the other; `done` and `on` are what is there before the next one."""

    def __init__(self, scene: TileScene) -> None:
        self.scene = scene
        self.done: dict[str, int] = {}
        self.on: dict[str, tuple[Point, int]] = {}
        self.acts: list[Act[TileMoment]] = []
        s = scene
        O, C, N = range(s.outs), range(s.channels), range(len(s.tiles))
        self._still(0.9, "", f"A convolution by tiles: {s.g}")
        self.done = {"filter": 0, "tile": 0, "points": 0, "back": 0}
        for n, (o, c) in enumerate(itertools.product(O, C)):
            self._transform("filter", n, (o, c), f"Kernel ({o}, {c}), transformed once: W = G w Gᵀ")
        for n, (q, c) in enumerate(itertools.product(N, C)):
            place = ", ".join(map(str, s.tiles[q][: s.h.rank]))
            said = f"Tile ({place}) of channel {c}: X = Bᵀ d B"
            self._transform("tile", n, (c, q), said)
        self._points()
        for n, (o, q) in enumerate(itertools.product(O, N)):
            place = ", ".join(map(str, s.tiles[q][: s.h.rank]))
            self._transform(
                "back", n, (o, q), f"Back: tile ({place}) of y from its {s.points} sums: y = Aᵀ Y A"
            )
        here, definition = s.counted
        caption = f"{here} products a tile for each pair of channels, where the definition takes {definition}"
        self.on |= {"tile": ((0, 0), 3)}
        self._still(2.6, "", caption)

    def _still(self, seconds: float, lit: str, caption: str) -> None:
        moment = TileMoment(dict(self.done), dict(self.on), lit, caption=caption)
        self.acts.append(Act(seconds, lambda t: moment, still=True))

    def _fly(self, seconds: float, lit: str, caption: str, pairs: Pairs, start: str, end: str) -> None:
        before = TileMoment(dict(self.done), dict(self.on), lit, caption=caption)
        self.acts.append(Act(seconds, partial(_flying, before, pairs, start, end)))

    def _transform(self, name: str, n: int, at: Point, caption: str) -> None:
        """A source flies to its bench, is multiplied from both sides, and the result flies to its sheet."""
        if not self.scene.line:
            said = caption
        else:
            said = caption.replace(" Gᵀ", "").replace(" d B", " d").replace(" Y A", " Y")
        pace = HURRY[min(n, len(HURRY) - 1)]
        parts = self.scene.bench(name, at)
        taken, made = (
            self._list_departures(name, at, parts["source"]),
            self._list_landings(name, at, parts["result"]),
        )
        start, end = {"filter": ("w", "W"), "tile": ("x", "X"), "back": ("Y", "y")}[name]
        self.on[name] = (at, 0)
        self._fly(1.1 * pace, name, said, taken, start, f"{name}-source")
        self.on[name] = (at, 1)
        self._still(0.5 * pace, name, said)
        if "half" in parts:
            self.on[name] = (at, 2)
            self._still(1.1 * pace, name, said)
        self.on[name] = (at, 3)
        self._still(1.1 * pace, name, said)
        self._fly(0.9 * pace, name, said, made, f"{name}-result", end)
        self.done[name] = n + 1

    def _points(self) -> None:
        s = self.scene
        for n, point in enumerate(itertools.product(range(s.t[0]), range(s.t[1]))):
            self.on["points"] = (point, 3)
            self.done["points"] = n + 1
            place = ", ".join(map(str, point[: s.h.rank]))
            k, m = s.h.C // s.h.G, s.h.m
            said = f"Point ({place}): W[s] @ X[s], ({m} x {k}) @ ({k} x {s.all_tiles}), a sum over channels alone"
            self._still(1.6 if n == 0 else 0.8 if n < s.t[1] else 0.3, "points", said)

    def _sheet(self, key: str, sheet: int, i: int, j: int) -> Cell:
        board = self.scene.boards[key]
        return board.at(0, i, sheet) if self.scene.line else board.at(i, j, sheet)

    def _list_departures(self, name: str, at: Point, source: Board) -> Pairs:
        """The cells that fly to a bench, each with its place there."""
        s = self.scene
        first, second = at
        if name == "tile":
            rows, cols = (axis.spots[q].tolist() for axis, q in zip(s.axes, s.tiles[second], strict=True))
            return [(self._sheet("x", first, rows[c.row], cols[c.col]), c) for c in source.cells]
        key, sheet = (
            ("w", first * s.channels + second) if name == "filter" else ("Y", first * len(s.tiles) + second)
        )
        return [(self._sheet(key, sheet, c.row, c.col), c) for c in source.cells]

    def _list_landings(self, name: str, at: Point, result: Board) -> Pairs:
        """The cells that fly from a bench: outputs beyond y are dropped."""
        s = self.scene
        first, second = at
        if name == "back":
            rows, cols = (axis.slots[q].tolist() for axis, q in zip(s.axes, s.tiles[second], strict=True))
            there = [c for c in result.cells if rows[c.row] >= 0 and cols[c.col] >= 0]
            return [(c, self._sheet("y", first, rows[c.row], cols[c.col])) for c in there]
        key, each = ("W", s.channels) if name == "filter" else ("X", len(s.tiles))
        return [(c, self._sheet(key, first * each + second, c.row, c.col)) for c in result.cells]


def _flying(before: TileMoment, pairs: Pairs, start: str, end: str, t: float) -> TileMoment:
    parts = [part_of(i, len(pairs), t) for i in range(len(pairs))]
    moving = [
        TileFlight(cell, start, to, end, ease(part))
        for (cell, to), part in zip(pairs, parts, strict=True)
        if 0 < part < 1
    ]
    landed = [(to, end) for (_, to), part in zip(pairs, parts, strict=True) if part >= 1]
    return replace(before, flights=tuple(moving), landed=tuple(landed))
