"""Where each lowering wins: time, memory and error of all that run, along three lines through the space of layers.

    channels    3x3 filters, padding 1, n channels of 28x28 to n
    filter      32 channels of 56x56 to 32, filters n wide, padding n // 2
    image       3x3 filters, padding 1, 64 channels of n x n to 64

float32, NCHW, batch 1, one thread, weights bound, `out=` reused, the limits that a plan has by default. At each point
all ways are run in turns; of a lowering's ways on one engine the quickest stays. Memory is workspace and bound weights
together; the error |y - y64| / |y64| stands beside the plan's estimate of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import facts, lowerplot
from benchmarks.results import write
from convmat.geometry import Geometry
from convmat.planner import make
from convmat.planner.trial import Measured
from convmat.problem import Problem


@dataclass(frozen=True)
class Line:
    """One line: what varies along it, the layer in words, the points, and the layer at each."""

    name: str
    words: str
    points: tuple[int, ...]
    layer: Callable[[int], Geometry]


def _square(channels: int, size: int, taps: int) -> Geometry:
    return Geometry.of(
        (1, channels, size, size), (channels, channels, taps, taps), padding=(taps // 2, taps // 2)
    )


LINES = (
    Line("channels", "3x3, 28x28 pixels", (8, 16, 32, 64, 128, 256, 512), lambda n: _square(n, 28, 3)),
    Line(
        "filter width",
        "32 channels, 56x56 pixels",
        (1, 3, 5, 7, 9, 11, 13, 15),
        lambda n: _square(32, 56, n),
    ),
    Line("image width", "3x3, 64 channels", (7, 14, 28, 56, 112), lambda n: _square(64, n, 3)),
)


@dataclass(frozen=True)
class Figures:
    """A lowering on an engine at one point: its quickest way, seconds, bytes, error and the error expected."""

    at: int
    lowering: str
    engine: str
    way: str
    seconds: float
    workspace: int
    weights: int
    error: float
    estimate: float

    @property
    def memory(self) -> int:
        """Bytes beyond the arrays themselves."""
        return self.workspace + self.weights


@dataclass(frozen=True)
class Series:
    """A line as it was measured."""

    name: str
    words: str
    figures: tuple[Figures, ...]

    def along(self, lowering: str, engine: str) -> list[Figures]:
        """The points at which this lowering ran on this engine."""
        return [each for each in self.figures if (each.lowering, each.engine) == (lowering, engine)]


@dataclass(frozen=True)
class Lowerings:
    """All lines, with the machine, the moment and the version."""

    cpu: str
    date: str
    convmat: str
    series: tuple[Series, ...]

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Lowerings:
        """What `as_json` wrote."""
        parts: dict[str, Any] = json.loads(text)
        series = (
            Series(**{**each, "figures": tuple(Figures(**point) for point in each["figures"])})
            for each in parts.pop("series")
        )
        return cls(**parts, series=tuple(series))


def examine(line: Line, at: int, seconds: float) -> list[Figures]:
    """Run all ways of one point in turns for about so many seconds; lowerings in the registry's order."""
    plan = make(Problem.of(line.layer(at), threads=1))
    quickest: dict[tuple[str, str], Figures] = {}
    order = [(each.lowering, each.engine) for each in plan.candidates]
    for found in plan.compare(seconds=seconds).measured:
        figures = _figures(at, found)
        key = (figures.lowering, figures.engine)
        if key not in quickest or figures.seconds < quickest[key].seconds:
            quickest[key] = figures
    return sorted(quickest.values(), key=lambda each: order.index((each.lowering, each.engine)))


def _figures(at: int, found: Measured) -> Figures:
    way, cost = found.way.candidate, found.predicted
    assert way is not None
    assert cost is not None
    return Figures(
        at=at,
        lowering=way.lowering,
        engine=way.engine,
        way=way.name,
        seconds=found.seconds,
        workspace=cost.workspace,
        weights=cost.weight_bytes,
        error=found.apart,
        estimate=cost.error,
    )


def run(seconds: float, tell: Callable[[str], object] = lambda text: None) -> Lowerings:
    """Measure every point for about so many seconds. `tell` hears which."""
    import convmat

    series = []
    for line in LINES:
        figures: list[Figures] = []
        for at in line.points:
            tell(f"{line.words}: {line.name} {at}")
            figures += examine(line, at, seconds)
        series.append(Series(line.name, line.words, tuple(figures)))
    return Lowerings(facts.machine()["cpu"], facts.now(), convmat.__version__, tuple(series))


def publish(made: Lowerings, folder: Path) -> list[Path]:
    """Write `lowerings.json` and the pictures of it to a folder; the files that were written."""
    data = folder / "lowerings.json"
    write(data, made.as_json() + "\n")
    return [data, *lowerplot.plot(made, folder / "images")]
