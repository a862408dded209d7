"""A drawing as a list of shapes, written as SVG text or painted as pixels: the same picture either way.

Units are SVG's: x to the right, y downwards, sizes in pixels at scale 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from ..story.colour import channels

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Point = tuple[float, float]


@dataclass(frozen=True)
class Rect:
    """A rectangle with round corners; `dash` breaks its outline."""

    x: float
    y: float
    w: float
    h: float
    fill: str | None = None
    stroke: str | None = None
    width: float = 1.0
    radius: float = 0.0
    dash: bool = False


@dataclass(frozen=True)
class Polyline:
    """A line from point to point, or several."""

    points: Sequence[Point]
    stroke: str
    width: float = 1.0
    dash: bool = False
    more: Sequence[Sequence[Point]] = ()

    @property
    def pieces(self) -> list[Sequence[Point]]:
        """The points of each line."""
        return [self.points, *self.more]


@dataclass(frozen=True)
class Text:
    """A line of text: `anchor` left, middle or right; `y` its middle; `turned` a quarter to the left.

    `kind` is "plain", "bold" or "symbol" (the letter of a matrix). Text with a raised T is anchored left.
    """

    x: float
    y: float
    text: str
    size: float
    fill: str
    anchor: str = "middle"
    kind: str = "plain"
    turned: bool = False


Shape = Rect | Polyline | Text


@dataclass
class Drawing:
    """Shapes on a ground, with a title and a description for those who cannot see it."""

    width: float
    height: float
    ground: str
    title: str = ""
    description: str = ""
    shapes: list[Shape] = field(default_factory=list)

    def svg(self) -> str:
        """The drawing as an SVG file.

        >>> print(Drawing(8, 4, "#ffffff", "t", shapes=[Polyline([(0, 1), (2, 1)], "#000000")]).svg())
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 4" width="8" height="4" role="img" aria-label="t" ...>
        <title>t</title>
        <desc></desc>
        <rect width="8" height="4" fill="#ffffff"/>
        <path d="M0 1L2 1" fill="none" stroke="#000000"/>
        </svg>
        """
        w, h = _n(self.width), _n(self.height)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
            f'aria-label={quoteattr(self.title)} font-family={quoteattr(_FONTS)} text-anchor="middle">'
        )
        lines = [head, f"<title>{escape(self.title)}</title>", f"<desc>{escape(self.description)}</desc>"]
        lines.append(f'<rect width="{w}" height="{h}" fill="{self.ground}"/>')
        return "\n".join([*lines, *map(_svg, self.shapes), "</svg>"]) + "\n"

    def paint(self, scale: float) -> Image.Image:
        """The drawing in pixels."""
        return smooth(self.fine(scale))

    def fine(self, scale: float, over: Image.Image | None = None) -> Image.Image:
        """The drawing before it is smoothed; painted over a copy of another one where that is given."""
        from PIL import Image, ImageDraw

        size = (round(self.width * scale) * _FINER, round(self.height * scale) * _FINER)
        image = over.copy() if over is not None else Image.new("RGB", size, self.ground)
        pen = _Pen(ImageDraw.Draw(image), scale * _FINER)
        for shape in self.shapes:
            pen.draw(shape)
        return image


_FINER = 2
"""Pixels are painted so many times finer along each axis, then averaged: Pillow's shapes have hard edges."""

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_MIDDLE = 0.36

RAISED = "ᵀ"
"""Mark of a transposed matrix."""

_SYMBOL_FONTS = "Georgia, 'Times New Roman', serif"


def smooth(image: Image.Image) -> Image.Image:
    """A finely painted image at its final size: each pixel the mean of those it covers."""
    from PIL import Image

    return image.resize((image.width // _FINER, image.height // _FINER), Image.Resampling.BOX)


def _n(value: float) -> str:
    """A number as short as it can be written, to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _svg(shape: Shape) -> str:
    match shape:
        case Rect():
            parts = [
                f'<rect x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.w)}" height="{_n(shape.h)}"'
            ]
            parts.append(f'fill="{shape.fill or "none"}"')
            if shape.radius:
                parts.append(f'rx="{_n(shape.radius)}"')
            if shape.stroke:
                parts.append(_stroke(shape.stroke, shape.width, shape.dash))
            return " ".join(parts) + "/>"
        case Polyline():
            path = "".join("M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in piece) for piece in shape.pieces)
            return f'<path d="{path}" fill="none" {_stroke(shape.stroke, shape.width, shape.dash)}/>'
        case Text():
            anchor = "" if shape.anchor == "middle" else f' text-anchor="{shape.anchor}"'
            style = {
                "plain": "",
                "bold": ' font-weight="600"',
                "symbol": f' font-weight="700" font-style="italic" font-family="{_SYMBOL_FONTS}"',
            }[shape.kind]
            down = _MIDDLE * shape.size  # from the middle of a line to its foot, which SVG asks for
            place = f'x="{_n(shape.x)}" y="{_n(shape.y + down)}"'
            if shape.turned:
                place = f'transform="translate({_n(shape.x + down)} {_n(shape.y)}) rotate(-90)"'
            return (
                f'<text {place} font-size="{_n(shape.size)}" fill="{shape.fill}"'
                f"{anchor}{style}>{escape(shape.text)}</text>"
            )


def _stroke(colour: str, width: float, dash: bool) -> str:
    return (
        f'stroke="{colour}"'
        + (f' stroke-width="{_n(width)}"' if width != 1 else "")
        + (' stroke-dasharray="2 2.5"' if dash else "")
    )


class _Pen:
    """Paints shapes with Pillow, its own font included, so that a picture is the same on every machine."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: float) -> None:
        self._draw = draw
        self._scale = scale

    def draw(self, shape: Shape) -> None:
        """Paint one shape."""
        match shape:
            case Rect():
                self._rect(shape)
            case Polyline():
                for piece in shape.pieces:
                    points = [(x * self._scale, y * self._scale) for x, y in piece]
                    self._line(points, shape.stroke, shape.width, shape.dash)
            case Text():
                self._text(shape)

    def _rect(self, r: Rect) -> None:
        s = self._scale
        x0, y0, x1, y1 = r.x * s, r.y * s, (r.x + r.w) * s - 1, (r.y + r.h) * s - 1
        if r.dash and r.stroke:
            if r.fill:
                self._draw.rounded_rectangle((x0, y0, x1, y1), r.radius * s, channels(r.fill))
            corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
            self._line(corners, r.stroke, r.width, True)
            return
        # SVG centres an outline on the edge; Pillow puts it inside.
        grow = r.width * s / 2 if r.stroke else 0
        self._draw.rounded_rectangle(
            (x0 - grow, y0 - grow, x1 + grow, y1 + grow),
            r.radius * s + grow,
            channels(r.fill) if r.fill else None,
            channels(r.stroke) if r.stroke else None,
            max(round(r.width * s), 1) if r.stroke else 0,
        )

    def _line(self, points: Sequence[Point], stroke: str, width: float, dash: bool) -> None:
        thick = max(round(width * self._scale), 1)
        if not dash:
            self._draw.line(list(points), channels(stroke), thick, joint="curve")
            return
        on = 2.2 * self._scale
        for (x0, y0), (x1, y1) in pairwise(points):
            length = max(abs(x1 - x0), abs(y1 - y0))
            pieces = max(round(length / (2 * on)), 1)
            for i in range(pieces):
                a, b = i / pieces, (i + 0.5) / pieces
                ends = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in (a, b)]
                self._draw.line(ends, channels(stroke), thick)

    def _text(self, t: Text) -> None:
        if not t.text:
            return
        anchor = {"start": "lm", "middle": "mm", "end": "rm"}[t.anchor]
        size = max(round(t.size * self._scale, 1), 1.0)
        font = _font(size)
        heavy = 0 if t.kind == "plain" else max(size / 34, 0.4)
        x, y = t.x * self._scale, t.y * self._scale
        text = t.text.replace("×", "x").replace("−", "-")
        if RAISED in text:
            # Pillow's font has no raised T.
            raised = _font(size * 0.62)
            for i, piece in enumerate(text.split(RAISED)):
                if i:
                    up = (x + 0.06 * size, y - 0.3 * size)
                    self._draw.text(up, "T", channels(t.fill), raised, "lm", stroke_width=heavy * 0.5)
                    x += raised.getlength("T") + 0.12 * size
                self._draw.text((x, y), piece, channels(t.fill), font, "lm", stroke_width=heavy)
                x += font.getlength(piece)
            return
        if not t.turned:
            self._draw.text((x, y), text, channels(t.fill), font, anchor, stroke_width=heavy)
            return
        from PIL import Image, ImageDraw

        # The font's own middle, turned with the text: painted apart as a mask, then stamped.
        left, top, right, bottom = (round(v) for v in font.getbbox(text, anchor=anchor))
        mask = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
        ImageDraw.Draw(mask).text((-left, -top), text, 255, font, anchor)
        turned = mask.transpose(Image.Transpose.ROTATE_90)
        self._draw.bitmap((x + top, y - right), turned, channels(t.fill))


@lru_cache(maxsize=64)
def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
