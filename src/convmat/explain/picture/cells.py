"""What all pictures are made of: cells with their numbers, empty places, flights, frames, torn edges, titles."""

from __future__ import annotations

from ..story.colour import Theme, ink, mix
from ..story.digits import format_number
from ..story.scene import Cell
from .canvas import Polyline, Rect, Shape, Text

Box = tuple[float, float, float]
"""x, y and the size of a cell."""


def cell_shapes(theme: Theme, cell: Cell, x: float, y: float, size: float) -> list[Shape]:
    """A cell with its number, in the looks of its board."""
    inset = 1.0 if size > 14 else 0.5
    side, radius = size - 2 * inset, 3.0 if size > 18 else 1.5
    corner = (x + inset, y + inset, side, side)
    tint, colour = cell.tint or theme.line, theme.ink
    body: list[Shape]
    if cell.kind != "element":
        third = side / 3
        x0, y0 = corner[:2]
        lines = [[(x0, y0 + i * third), (x0 + i * third, y0)] for i in (1, 2, 3)]
        lines += [[(x0 + i * third, y0 + side), (x0 + side, y0 + i * third)] for i in (1, 2)]
        hatch = Polyline(lines[0], theme.line, 1.2, more=lines[1:])
        body = [hatch, Rect(*corner, None, theme.faint, 1, radius, dash=True)]
        colour = theme.muted
    elif cell.board in ("x", "U"):
        body, colour = [Rect(*corner, tint, radius=radius)], ink(tint)
    elif cell.board in ("w", "A"):
        body = [Rect(*corner, mix(tint, theme.paper, theme.wash), tint, 2 if size > 16 else 1.5, radius)]
    elif cell.board == "X":
        body = [Rect(*corner, mix(tint, theme.paper, 0.42), radius=radius)]
    elif cell.board == "W":
        body = [Rect(*corner, mix(tint, theme.paper, theme.wash), tint, 1, radius)]
    elif cell.board == "Z":
        body = [Rect(*corner, mix(theme.result, theme.paper, 0.22), radius=radius)]
    elif cell.board == "constant":
        body = [Rect(*corner, None, theme.line, 1, radius)]
        colour = theme.ink if cell.value else theme.muted
    else:
        body, colour = [Rect(*corner, theme.result, radius=radius)], theme.on_result
    return (
        [*body, *_number(cell.text or format_number(cell.value), x, y, size, colour)] if size >= 11 else body
    )


def _number(text: str, x: float, y: float, size: float, colour: str) -> list[Shape]:
    """A number in the middle of a cell, a fraction over its line; nothing where it could not be read."""
    over, _, under = text.partition("/")
    longest = max(len(over), len(under), 1.6)
    # Both ends of a fraction keep a fifth of a digit from the cell's own.
    most = size / (0.62 * longest) * (0.8 if under else 1)
    fit = round(min(size * (0.36 if under else 0.46), most, 18.0), 1)
    middle = x + size / 2, y + size / 2
    if fit < 4:
        return []
    if not under:
        return [Text(*middle, over, fit, colour, kind="bold")]
    half = min(0.31 * fit * longest, size / 2 - 2)
    return [
        Text(middle[0], middle[1] - 0.56 * fit, over, fit, colour, kind="bold"),
        Polyline([(middle[0] - half, middle[1]), (middle[0] + half, middle[1])], colour),
        Text(middle[0], middle[1] + 0.6 * fit, under, fit, colour, kind="bold"),
    ]


def ghost(theme: Theme, x: float, y: float, size: float) -> Shape:
    """The place of an element that is not there yet."""
    return Rect(x + 1, y + 1, size - 2, size - 2, None, theme.line, 1, 2, dash=True)


def flying_cell(theme: Theme, cell: Cell, t: float, start: Box, end: Box) -> list[Shape]:
    """A cell that is `t` of its way, with its shadow."""
    (x0, y0, a), (x1, y1, b) = start, end
    bend = -0.12 * abs(x1 - x0) * 4 * t * (1 - t)
    x, y = x0 + (x1 - x0) * t, y0 + (y1 - y0) * t + bend
    size = a + (b - a) * t
    shadow = Rect(x + 2, y + 3, size - 2, size - 2, mix(theme.ink, theme.paper, 0.25), radius=3)
    return [shadow, *cell_shapes(theme, cell, x, y, size)]


def symbol_title(theme: Theme, x: float, y: float, symbol: str, words: str) -> list[Shape]:
    """A board's letter and what it is."""
    return [
        Text(x, y, symbol, 18, theme.ink, "start", "symbol"),
        Text(x + 22, y, words, 13.5, theme.muted, "start"),
    ]


def frame(x: float, y: float, w: float, h: float, theme: Theme, stroke: str | None = None) -> Rect:
    """The outline of cells that are lit."""
    return Rect(x - 0.5, y - 0.5, w + 1, h + 1, None, stroke or theme.ink, 2.6, 4)


def tear(x: float, y: float, length: float, down: bool, stroke: str) -> Polyline:
    """A zigzag where a sample ends."""
    teeth = 2 * max(round(length / 8), 2)
    points = [(length * i / teeth, 3.0 * (-1) ** (i // 2) if i % 2 else 0.0) for i in range(teeth + 1)]
    return Polyline([(x + b, y + a) if down else (x + a, y + b) for a, b in points], stroke, 1.3)
