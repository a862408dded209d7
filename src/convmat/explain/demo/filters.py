"""Filters made by formula: a first layer as trained networks come to have it, and the classical ones.

    grating(t, L, a)   exp(-(u^2 + v^2) / 2S^2) * cos(2*pi*(u*cos t + v*sin t)/L + a)          S = 0.36 * L
    spot(S)            exp(-(u^2 + v^2) / 2S^2)

u and v count pixels from the filter's centre, to the right and downwards. Each 7x7 pattern is made to sum to zero (a
flat picture gives nothing), multiplied by a direction in colour space, and scaled to length 1. Gabor, "Theory of
communication", 1946; that networks' first layers look like this: Krizhevsky, Sutskever, Hinton, 2012.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SIDE = 7
"""Rows and columns of every filter."""

LIGHT = np.array([1.0, 1.0, 1.0]) / math.sqrt(3)
RED_GREEN = np.array([1.0, -1.0, 0.0]) / math.sqrt(2)
BLUE_YELLOW = np.array([-1.0, -1.0, 2.0]) / math.sqrt(6)
"""Directions in colour space, at right angles to each other: light, red against green, blue against yellow."""

_U, _V = np.meshgrid(np.arange(SIDE) - SIDE // 2, np.arange(SIDE) - SIDE // 2)


@dataclass(frozen=True)
class Row:
    """A row of the first layer: its title and the names of its filters."""

    title: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class FirstLayer:
    """The filters, w: (64, 3, 7, 7) in float32, and what they are, row by row of eight."""

    w: Array
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Classical:
    """One filter of the bank: a name, (7, 7), and whether its output is a picture or has a sign."""

    name: str
    kernel: Array
    signed: bool = False


def grating(angle: float, wavelength: float, phase: float) -> Array:
    """A windowed wave along `angle` (degrees), its peak at `phase` (degrees) before the centre: (7, 7)."""
    turn, width = math.radians(angle), 0.36 * wavelength
    along = _U * math.cos(turn) + _V * math.sin(turn)
    made: Array = _window(width) * np.cos(2 * math.pi * along / wavelength + math.radians(phase))
    return made


def spot(width: float) -> Array:
    """A round blur of that standard deviation, summing to 1: (7, 7).

    >>> round(float(spot(1.0).sum()), 6)
    1.0
    """
    window = _window(width)
    made: Array = window / window.sum()
    return made


def first_layer() -> FirstLayer:
    """64 filters in eight rows: edges and lines in light at two scales, edges in colour, hues, and round ones.

    >>> made = first_layer()
    >>> made.w.shape, len(made.rows), bool(np.allclose((made.w**2).sum(axis=(1, 2, 3)), 1))
    ((64, 3, 7, 7), 8, True)
    """
    turns = [i * 22.5 for i in range(8)]
    degrees = tuple(f"{turn:g}°" for turn in turns)
    made: list[tuple[Row, list[Array]]] = []
    for wavelength, scale in ((4.0, "fine"), (8.0, "coarse")):
        for phase, kind in ((-90.0, "edges"), (0.0, "lines")):
            patterns = [_balance(grating(turn, wavelength, phase)) for turn in turns]
            made.append((Row(f"{kind}, {scale}", degrees), [_colour(p, LIGHT) for p in patterns]))
    edges = [_balance(grating(turn, 8.0, -90.0)) for turn in turns]
    made.append((Row("edges, red to green", degrees), [_colour(p, RED_GREEN) for p in edges]))
    made.append((Row("edges, blue to yellow", degrees), [_colour(p, BLUE_YELLOW) for p in edges]))
    hues = [i * 45.0 for i in range(8)]
    made.append(
        (
            Row("hues", tuple(f"hue {hue:g}°" for hue in hues)),
            [_colour(spot(1.8), _hue(hue)) for hue in hues],
        )
    )
    made.append(
        (Row("round and square", tuple(name for name, _ in _round())), [each for _, each in _round()])
    )
    patterns = [pattern / np.linalg.norm(pattern) for _, row in made for pattern in row]
    return FirstLayer(np.stack(patterns).astype(np.float32), tuple(row for row, _ in made))


def classical() -> tuple[Classical, ...]:
    """The bank: blurs, sharpening, relief, and derivatives, all as 7x7.

    >>> [each.name for each in classical()][:3]
    ['blur', 'motion blur', 'sharpen']
    """
    blur = spot(1.6)
    delta = _centre([[1.0]])
    smooth, step = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    wide = np.diag(np.full(SIDE, 1 / SIDE))[::-1]
    return (
        Classical("blur", blur),
        Classical("motion blur", wide),
        Classical("sharpen", 3 * delta - 2 * spot(1.2)),
        Classical("emboss", _centre([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])),
        Classical("Sobel x", _centre(np.outer(smooth, step)), signed=True),
        Classical("Sobel y", _centre(np.outer(step, smooth)), signed=True),
        Classical("Laplacian", _centre([[0, 1, 0], [1, -4, 1], [0, 1, 0]]), signed=True),
        Classical("difference of blurs", spot(0.8) - spot(1.6), signed=True),
    )


def _round() -> list[tuple[str, Array]]:
    small, large = _balance(spot(0.7)), _balance(spot(1.3))
    ring = _balance(_window(2.2) * np.cos(2 * math.pi * np.hypot(_U, _V) / 4.0))
    cross = _balance(grating(0.0, 4.0, 0.0) + grating(90.0, 4.0, 0.0))
    checks = _balance(_window(2.2) * np.cos(math.pi * _U / 1.5) * np.cos(math.pi * _V / 1.5))
    surround = spot(0.9)[None] * RED_GREEN[:, None, None], spot(2.4)[None] * RED_GREEN[:, None, None]
    blue = spot(0.9)[None] * BLUE_YELLOW[:, None, None], spot(2.4)[None] * BLUE_YELLOW[:, None, None]
    return [
        ("light", _colour(spot(1.8), LIGHT)),
        ("point", _colour(small, LIGHT)),
        ("spot", _colour(large, LIGHT)),
        ("ring", _colour(ring, LIGHT)),
        ("cross", _colour(cross, LIGHT)),
        ("checks", _colour(checks, LIGHT)),
        ("red in green", surround[0] - surround[1]),
        ("blue in yellow", blue[0] - blue[1]),
    ]


def _window(width: float) -> Array:
    made: Array = np.exp(-(_U**2 + _V**2) / (2 * width**2))
    return made


def _balance(pattern: Array) -> Array:
    """The pattern less as much of a round window as makes its sum zero, so that its rim stays flat."""
    made: Array = pattern - pattern.sum() * spot(2.2)
    return made


def _colour(pattern: Array, direction: Array) -> Array:
    """(7, 7) and a direction in colour space -> (3, 7, 7)."""
    made: Array = pattern[None] * direction[:, None, None]
    return made


def _hue(angle: float) -> Array:
    turn = math.radians(angle)
    made: Array = math.cos(turn) * RED_GREEN + math.sin(turn) * BLUE_YELLOW
    return made


def _centre(small: Any) -> Array:
    """A small odd kernel amid zeros: (7, 7)."""
    kernel = np.asarray(small, np.float64)
    return np.pad(kernel, [((SIDE - n) // 2, (SIDE - n) // 2) for n in kernel.shape])
