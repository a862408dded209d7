"""The colour of an input element: its channel's, shaded by where in the channel it lies.

Channels differ in lightness as well as in hue, so they stay apart in greyscale and for colour-blind eyes; rows shade
the lightness a little, columns turn the hue. Oklch after Ottosson, "A perceptual color space for image processing",
2020. web/colour.js is its twin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CHANNELS = (
    (0.82, 0.14, 80.0),
    (0.63, 0.105, 185.0),
    (0.45, 0.15, 272.0),
    (0.91, 0.045, 230.0),
    (0.36, 0.1, 25.0),
    (0.72, 0.15, 355.0),
)
"""Lightness, chroma and hue (degrees) of each channel; the seventh begins anew."""


@dataclass(frozen=True)
class Theme:
    """The colours that are not channels'."""

    paper: str
    ink: str
    muted: str
    faint: str
    line: str
    accent: str
    result: str
    on_result: str
    wash: float
    """How much of its channel's colour a weight's cell takes."""


LIGHT = Theme("#ffffff", "#18212b", "#566373", "#a9b4c0", "#d5dbe2", "#0a5c9e", "#27323f", "#ffffff", 0.16)
DARK = Theme("#161e26", "#e8edf3", "#a0adbb", "#5d6b7a", "#2f3b47", "#7cc0f8", "#dfe6ee", "#10161d", 0.2)


def oklch(L: float, C: float, h: float) -> str:
    """#rrggbb of lightness, chroma and hue in degrees.

    >>> oklch(1.0, 0.0, 0.0), oklch(0.0, 0.0, 0.0)
    ('#ffffff', '#000000')
    """
    a, b = C * math.cos(h * math.pi / 180), C * math.sin(h * math.pi / 180)
    l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3
    return "#" + "".join(
        _byte(v)
        for v in (
            4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
            -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
            -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
        )
    )


def tint(channel: int, row: float = 0.5, column: float = 0.5) -> str:
    """The colour of an element; `row` and `column` run from 0 for the first one drawn to 1 for the last."""
    L, C, h = CHANNELS[channel % len(CHANNELS)]
    return oklch(L + 0.06 - 0.12 * row, C, h - 16 + 32 * column)


def ink(colour: str) -> str:
    """Black or white: what reads better on a colour.

    >>> ink("#ffffff"), ink("#000000")
    ('#040609', '#ffffff')
    """
    return "#040609" if luminance(colour) > 0.183 else "#ffffff"


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1: what is left of a colour in greyscale."""
    r, g, b = (_linear(v / 255) for v in channels(colour))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def mix(colour: str, ground: str, part: float) -> str:
    """`part` of a colour over a ground.

    >>> mix("#ffffff", "#000000", 0.5)
    '#808080'
    """
    pairs = zip(channels(colour), channels(ground), strict=True)
    return "#" + "".join(f"{math.floor(a * part + b * (1 - part) + 0.5):02x}" for a, b in pairs)


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _byte(v: float) -> str:
    c = min(max(v, 0.0), 1.0)
    s = 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055
    return f"{math.floor(s * 255 + 0.5):02x}"


def _linear(v: float) -> float:
    return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
