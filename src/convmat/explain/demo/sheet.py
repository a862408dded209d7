"""The contact sheet: a photograph, the filters, and what each makes of it.

Maps are shown with zero as white: what is above in one colour, what is below in the other, each map scaled to its own
99.5th percentile and raised to a power that lifts the faint. Filters are shown about middle grey, in their own
colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from convmat.explain.demo.filters import Classical, FirstLayer

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Array = npt.NDArray[Any]
Colour = tuple[int, int, int]

PAPER: Colour = (250, 249, 246)
INK: Colour = (34, 36, 40)
FAINT: Colour = (120, 122, 128)
LINE: Colour = (214, 212, 206)
ABOVE: Colour = (178, 60, 20)
BELOW: Colour = (24, 92, 150)
"""Colours of a map: above zero, below zero; zero is white."""

COLUMNS, WIDE = 8, 4
"""Maps of the first layer side by side, and of the bank."""

CELL = 184
"""Pixels across a map of the first layer."""

GAP, MARGIN, SWATCH, LABEL = 16, 44, 28, 42
RULE, HEADING, TEXT_HEIGHT = 34, 68, 212
"""Pixels: between cells, around the sheet, of a filter, below a map; above a rule, from there to the cells, of text."""

PERCENTILE, GAMMA = 99.5, 0.75


@dataclass(frozen=True)
class Sheet:
    """What is on it: the photograph (H, W, 3), both banks with their outputs, and a line of text about each.

    `maps`: (64, P, Q); `pictures`: (bank, 3, H, W).
    """

    photograph: Array
    title: str
    lines: Sequence[str]
    layer: FirstLayer
    maps: Array
    layer_text: str
    bank: Sequence[Classical]
    pictures: Array
    bank_text: str


def draw(sheet: Sheet) -> Image.Image:
    """The picture, 8-bit RGB."""
    from PIL import Image, ImageDraw

    small, broad = _box(sheet.maps.shape[1:], CELL), 2 * CELL + GAP
    large = _box(sheet.pictures.shape[2:], broad)
    steps = small[1] + LABEL + GAP, large[1] + LABEL + GAP
    counts = -(-len(sheet.maps) // COLUMNS), -(-len(sheet.bank) // WIDE)
    banks = [RULE + HEADING + step * count - GAP for step, count in zip(steps, counts, strict=True)]
    top = max(large[1], TEXT_HEIGHT)
    width = 2 * MARGIN + COLUMNS * CELL + (COLUMNS - 1) * GAP
    picture = Image.new("RGB", (width, 2 * MARGIN + top + sum(banks)), PAPER)
    board = _Paper(picture, ImageDraw.Draw(picture), _Fonts())

    y = MARGIN
    board.paste(sheet.photograph, (MARGIN, y), large)
    board.text(sheet, (MARGIN + large[0] + 36, y))
    y += top
    start = board.heading(y, "First layer: 64 filters of 7x7, stride 2", sheet.layer_text)
    names = [(name, row.title) for row in sheet.layer.rows for name in row.names]
    for i, (values, kernel, (name, title)) in enumerate(zip(sheet.maps, sheet.layer.w, names, strict=True)):
        at = MARGIN + i % COLUMNS * (CELL + GAP), start + i // COLUMNS * steps[0]
        board.cell(_colour_by_sign(values), at, small, kernel, name, title)
    y += banks[0]
    start = board.heading(y, "Classical filters", sheet.bank_text)
    for i, (each, values) in enumerate(zip(sheet.bank, sheet.pictures, strict=True)):
        at = MARGIN + i % WIDE * (broad + GAP), start + i // WIDE * steps[1]
        kind = "zero is grey, scaled" if each.signed else "as it comes out"
        grey = np.repeat(each.kernel[None], 3, axis=0)
        board.cell(_to_picture(values, each.signed), at, large, grey, each.name, kind)
    return picture


class _Fonts:
    """Pillow's own typeface in four sizes; where it was built without FreeType, its one bitmap font."""

    def __init__(self) -> None:
        from PIL import ImageFont

        self.title, self.head, self.text, self.label, self.small = (
            ImageFont.load_default(size) for size in (38, 26, 20, 15, 12)
        )


@dataclass(frozen=True)
class _Paper:
    """What is drawn on, and with."""

    picture: Image.Image
    pen: ImageDraw.ImageDraw
    fonts: _Fonts

    def paste(self, values: Array, at: tuple[int, int], size: tuple[int, int]) -> None:
        """(H, W, 3) bytes, scaled, in a thin frame."""
        from PIL import Image

        self.picture.paste(Image.fromarray(values).resize(size, Image.Resampling.LANCZOS), at)
        self.pen.rectangle((at[0] - 1, at[1] - 1, at[0] + size[0], at[1] + size[1]), outline=LINE)

    def cell(
        self, values: Array, at: tuple[int, int], size: tuple[int, int], kernel: Array, name: str, title: str
    ) -> None:
        """A map, under it its filter and two words about it."""
        from PIL import Image

        self.paste(values, at, size)
        x, y = at[0], at[1] + size[1] + 7
        swatch = Image.fromarray(_swatch(kernel)).resize((SWATCH, SWATCH), Image.Resampling.NEAREST)
        self.picture.paste(swatch, (x, y))
        self.pen.text((x + SWATCH + 8, y - 2), name, INK, self.fonts.label)
        self.pen.text((x + SWATCH + 8, y + 15), title, FAINT, self.fonts.small)

    def heading(self, y: int, title: str, text: str) -> int:
        """A rule, a title and a line of text; where the cells begin."""
        y += RULE
        right = self.picture.width - MARGIN
        self.pen.line((MARGIN, y, right, y), LINE, 1)
        self.pen.text((MARGIN, y + 16), title, INK, self.fonts.head)
        self.pen.text(
            (right - self.pen.textlength(text, self.fonts.text), y + 20), text, FAINT, self.fonts.text
        )
        return y + HEADING

    def text(self, sheet: Sheet, at: tuple[int, int]) -> None:
        """The title, the lines below it, and what the colours mean."""
        x, y = at
        self.pen.text((x, y - 6), sheet.title, INK, self.fonts.title)
        y += 54
        for line in sheet.lines:
            self.pen.text((x, y), line, INK, self.fonts.text)
            y += 30
        y += 8
        for colour, word in ((ABOVE, "above zero"), (BELOW, "below zero")):
            self.pen.rectangle((x, y + 3, x + 16, y + 19), fill=colour)
            self.pen.text((x + 24, y), word, FAINT, self.fonts.text)
            x += 48 + round(self.pen.textlength(word, self.fonts.text))
        self.pen.text((x, y), "each map scaled on its own", FAINT, self.fonts.text)


def _box(shape: tuple[int, ...], width: int) -> tuple[int, int]:
    """The (width, height) of a (rows, columns) map inside a box of that width that is no taller than wide."""
    rows, columns = shape
    scale = width / max(rows, columns, 1)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def _colour_by_sign(values: Array) -> Array:
    """(P, Q) -> (P, Q, 3): white at zero, one colour above, the other below."""
    share = np.clip(values / _reach(values), -1, 1)[..., None]
    share = np.sign(share) * np.abs(share) ** GAMMA
    white = np.full(3, 255.0)
    up, down = (np.array(colour) - white for colour in (ABOVE, BELOW))
    return _bytes((white + np.maximum(share, 0) * up + np.maximum(-share, 0) * down) / 255)


def _to_picture(values: Array, signed: bool) -> Array:
    """(3, H, W) -> (H, W, 3): a picture as it is, a derivative about middle grey."""
    picture = values.transpose(1, 2, 0)
    return _bytes(0.5 + picture / _reach(picture) / 2 if signed else picture)


def _swatch(kernel: Array) -> Array:
    """(3, 7, 7) -> (7, 7, 3) about middle grey."""
    return _bytes(0.5 + kernel.transpose(1, 2, 0) / max(float(np.abs(kernel).max()), 1e-12) / 2)


def _reach(values: Array) -> float:
    """What counts as the largest magnitude: a few pixels may go beyond."""
    return max(float(np.percentile(np.abs(values), PERCENTILE)), 1e-12)


def _bytes(values: Array) -> Array:
    made: Array = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return made
