"""What is to be seen of a convolution by tiles at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..story.scene import Cell
from ..story.tiles import Point


@dataclass(frozen=True)
class TileFlight:
    """A cell of one board on its way to a cell of another, from 0 to 1."""

    cell: Cell
    start: str
    to: Cell
    end: str
    progress: float


@dataclass(frozen=True)
class TileMoment:
    """What is to be seen. `done`: how many kernels, tiles, points and tiles of y are finished, None for all.

    `on` says for each bench what lies on it, and how much of it: 0 nothing, 1 what it takes, 2 the half, 3 the result.
    `lit` is the bench that is worked at, `flights` what moves, `landed` cells that already have, with their boards.
    """

    done: dict[str, int] | None = None
    on: dict[str, tuple[Point, int]] = field(default_factory=dict)
    lit: str = ""
    flights: tuple[TileFlight, ...] = ()
    landed: tuple[tuple[Cell, str], ...] = ()
    caption: str = ""
