"""The animation: the window moves over the input, its elements fly to their column, then the row of weights multiplies
the column and an element of the output appears.

The story is a list of scenes with their seconds, so that any number of frames can be taken from it. The first columns
take their time; later ones hurry, and a sample of many columns does not last longer than a minute's attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from ..story.digits import format_number
from ..story.scene import Cell, Scene, list_terms
from .picture import Flight, Moment

HURRY = (1.0, 0.85, 0.6, 0.6, 0.4, 0.4, 0.3, 0.3)
"""The pace of each column; the last one holds for all that follow."""


M = TypeVar("M")
"""What a picture shows at a moment."""


@dataclass(frozen=True)
class Act(Generic[M]):
    """A stretch of the story: its seconds, and what is seen a part of the way through (0 to 1)."""

    seconds: float
    at: Callable[[float], M]
    still: bool = False


def build_acts(scene: Scene) -> list[Act[Moment]]:
    """The story of a scene.

    >>> from convmat.geometry import Geometry
    >>> story = build_acts(Scene(Geometry.of((1, 3, 3, 3), (1, 3, 2, 2))))
    >>> story[0].at(0.0).columns, story[-2].at(1.0).outputs
    (0, 4)
    """
    rows = scene.Y.rows
    story = [
        Act(0.9, partial(_start, scene), still=True),
        Act(1.5, partial(_flatten, scene)),
    ]
    before: tuple[float, ...] | None = None
    for j, pixel in enumerate(scene.pixels):
        pace = HURRY[min(j, len(HURRY) - 1)]
        story.append(Act(0.45 * pace, partial(_move, scene, j, before)))
        story.append(Act(1.5 * pace, partial(_fly, scene, j)))
        for o in range(rows):
            story.append(Act(1.3 * pace, partial(_multiply, scene, j, o), still=True))
            story.append(Act(0.5 * pace, partial(_appear, scene, j, o)))
        before = pixel
    return [*story, Act(2.4, partial(_end, scene), still=True)]


def frames(story: Sequence[Act[M]], count: int | None, per_second: float) -> Iterator[tuple[M, float]]:
    """Moments of a story with the seconds that each is shown: `count` of them spread evenly, or `per_second`.

    A stretch in which nothing moves is one frame, however long.
    """
    total = sum(act.seconds for act in story)
    step = total / count if count else 1 / per_second
    if count is not None:
        for i in range(count):
            yield _moment(story, (i + 0.5) * step), step
        return
    for act in story:
        if act.still:
            yield act.at(1.0), act.seconds
            continue
        parts = max(round(act.seconds / step), 1)
        for i in range(parts):
            yield act.at((i + 0.5) / parts), act.seconds / parts


def _moment(story: Sequence[Act[M]], seconds: float) -> M:
    for act in story:
        if seconds < act.seconds:
            return act.at(seconds / act.seconds)
        seconds -= act.seconds
    return story[-1].at(1.0)


# -- acts --------------------------------------------------------------------------------------------------------------


def _start(scene: Scene, t: float) -> Moment:
    return Moment(flat=0, columns=0, outputs=0, folded=0, caption=f"A convolution: {scene.g}")


def _flatten(scene: Scene, t: float) -> Moment:
    pairs = [(cell.origin, cell) for cell in scene.A.cells if cell.origin]
    many = "each kernel becomes a row" if scene.A.rows > 1 else "the kernel becomes a row"
    return Moment(
        flat=count_landed(len(pairs), t), columns=0, outputs=0, folded=0, flights=list_flights(pairs, t),
        caption=f"Flatten: {many} of A",
    )  # fmt: skip


def _move(scene: Scene, j: int, before: tuple[float, ...] | None, t: float) -> Moment:
    here = scene.pixels[j]
    at = tuple(a + (b - a) * ease(t) for a, b in zip(before or here, here, strict=True))
    done = j * scene.Y.rows
    return Moment(columns=j, outputs=done, folded=done, window=at, caption=_unrolling(scene, j))


def _fly(scene: Scene, j: int, t: float) -> Moment:
    pairs = [(origin, scene.U.at(row, j)) for row, origin in scene.window(j)]
    done = j * scene.Y.rows
    landed = frozenset(range(count_landed(len(pairs), t)))
    return Moment(
        columns=j, outputs=done, folded=done, landed=landed, flights=list_flights(pairs, t),
        window=tuple(map(float, scene.pixels[j])), caption=_unrolling(scene, j),
    )  # fmt: skip


def _multiply(scene: Scene, j: int, o: int, t: float) -> Moment:
    done = j * scene.Y.rows + o
    return Moment(
        columns=j + 1, outputs=done, folded=done, window=tuple(map(float, scene.pixels[j])), product=(o, j),
        caption=format_sum(scene, o, j),
    )  # fmt: skip


def _appear(scene: Scene, j: int, o: int, t: float) -> Moment:
    done = j * scene.Y.rows + o
    cell = scene.Y.at(o, j)
    return Moment(
        columns=j + 1, outputs=done + 1, folded=done + (t >= 1), product=(o, j),
        flights=(Flight(cell, cell.origin, ease(t)),) if cell.origin else (),
        window=tuple(map(float, scene.pixels[j])), caption=format_sum(scene, o, j),
    )  # fmt: skip


def _end(scene: Scene, t: float) -> Moment:
    g = scene.g
    return Moment(caption=f"Y = A @ U: ({g.m} x {g.k}) @ ({g.k} x {g.n}), one matrix product")


def _unrolling(scene: Scene, j: int) -> str:
    place = ", ".join(map(str, scene.pixels[j]))
    return f"Unroll: the {scene.g.k} elements under the kernel at ({place}) become column {j} of U"


def format_sum(scene: Scene, o: int, j: int) -> str:
    """The sum behind an output, as far as it fits a line.

    >>> from convmat.geometry import Geometry
    >>> format_sum(Scene(Geometry.of((1, 1, 3), (1, 1, 2))), 0, 0)
    'Multiply: (-2)·1 + 0·8 = -2'
    """
    pairs, rest, total, more = list_terms(scene, o, j)
    most = 12
    terms = [f"{_bracket(a)}·{_bracket(b)}" for a, b in pairs[:most]]
    hidden = more + max(len(pairs) - most, 0)
    if hidden:
        rest += sum(a * b for a, b in pairs[most:])
        terms.append(f"({hidden} more: {format_number(rest)})")
    return f"Multiply: {' + '.join(terms)} = {format_number(total)}"


def _bracket(value: float) -> str:
    return f"({format_number(value)})" if value < 0 else format_number(value)


# -- timing ------------------------------------------------------------------------------------------------------------


def list_flights(pairs: list[tuple[Cell, Cell]], t: float) -> tuple[Flight, ...]:
    """Flights on their way: one leaves after the other."""
    parts = ((cell, to, part_of(i, len(pairs), t)) for i, (cell, to) in enumerate(pairs))
    return tuple(Flight(cell, to, ease(part)) for cell, to, part in parts if 0 < part < 1)


def count_landed(count: int, t: float) -> int:
    """How many have landed: they land in the order in which they left."""
    return sum(part_of(i, count, t) >= 1 for i in range(count))


def part_of(i: int, count: int, t: float) -> float:
    """How far the i-th of `count` is when the whole is t of the way: each takes half the time."""
    start = 0.5 * i / max(count - 1, 1)
    return (t - start) / 0.5


def ease(t: float) -> float:
    """Slow at both ends."""
    return t * t * (3 - 2 * t)
