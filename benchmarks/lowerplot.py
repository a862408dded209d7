"""Lowerings as pictures: a panel for each line, a curve for each lowering on each engine; on light ground and on dark.

A colour and a mark for each lowering; filled and solid on the jit engine, hollow and dashed on blas. The vertical
axis is logarithmic, the horizontal one where its points double.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convmat.lowering import ALL
from convmat.planner.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from benchmarks.lowerings import Figures, Lowerings, Series

_MARKS = ("s", "P", "o", "v", "^", "X", "D", "*", "<", ">", "p", "h")


@dataclass(frozen=True)
class Ground:
    """What a picture lies on: the start of its file's name, its ink, its grid, the colours of its curves."""

    prefix: str
    ink: str
    grid: str
    colours: tuple[str, ...]


GROUNDS = (
    Ground("", "#1f2937", "#d1d5db", ("#a16207", "#78716c", "#1d4ed8", "#0e7490", "#15803d", "#c026d3", "#c2410c",
                                      "#b91c1c", "#111827")),
    Ground("dark-", "#e5e7eb", "#4b5563", ("#facc15", "#a8a29e", "#60a5fa", "#22d3ee", "#4ade80", "#e879f9", "#fb923c",
                                           "#f87171", "#f9fafb")),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One quantity: its name, the axis, how a tick is written, what is drawn, and what dotted beside it.

    Ticks lie at powers of `base` times `steps`.
    """

    name: str
    label: str
    tick: Callable[[float], str]
    value: Callable[[Figures], float]
    beside: Callable[[Figures], float] | None = None
    base: int = 10
    steps: tuple[float, ...] = (1.0,)


PICTURES = (
    Picture("time", "seconds of a call", format_seconds, lambda each: each.seconds),
    Picture(
        "memory",
        "workspace and bound weights",
        lambda n: format_bytes(round(n)),
        lambda each: float(each.memory),
        base=4,
    ),
    Picture(
        "error",
        "error; dotted: its estimate",
        lambda error: f"{error:.0e}".replace("e-0", "e-"),
        lambda each: each.error,
        lambda each: each.estimate,
        steps=(1.0, 2.0, 5.0),
    ),
)


def needed() -> None:
    """Raises ModuleNotFoundError where nothing can be drawn: better before measuring than after."""
    import_module("matplotlib")


def plot(made: Lowerings, folder: Path) -> list[Path]:
    """Write `lowerings-time.svg` and the like, and each again as `dark-..`; the files that were written."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for picture in PICTURES:
        for ground in GROUNDS:
            path = folder / f"{ground.prefix}lowerings-{picture.name}.svg"
            # Text stays text, and the same figures give the same file.
            settings = {
                "svg.fonttype": "none",
                "svg.hashsalt": "convmat",
                "font.size": 10,
                **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ground.ink),
            }
            with mpl.rc_context(settings):
                figure = _figure(made, picture, ground)
                figure.savefig(path, transparent=True, metadata={"Date": None})
            written.append(path)
    return written


def _figure(made: Lowerings, picture: Picture, ground: Ground) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.8), layout="constrained")
    axes = figure.subplots(1, len(made.series), squeeze=False, sharey=True)[0]
    curves: dict[str, Any] = {}
    for area, series in zip(axes, made.series, strict=True):
        curves |= _panel(area, series, picture, ground)
    axes[0].set_ylabel(picture.label)
    names = [name for each in ALL for name in curves if name.startswith(f"{each.name} (")]
    figure.legend([curves[name] for name in names], names, loc="outside upper center", ncols=5, frameon=False)
    figure.supxlabel(
        f"{made.cpu}, one thread, float32, batch 1; convmat {made.convmat}, {made.date[:10]}", fontsize=8
    )
    return figure


def _panel(area: Any, series: Series, picture: Picture, ground: Ground) -> dict[str, Any]:
    """One line's curves, by their names."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    curves = {}
    for number, lowering in enumerate(ALL):
        colour = ground.colours[number % len(ground.colours)]
        for engine in ("jit", "blas"):
            figures = series.along(lowering.name, engine)
            if not figures:
                continue
            at = [each.at for each in figures]
            if picture.beside:
                area.plot(at, list(map(picture.beside, figures)), ":", color=colour, linewidth=1.2, zorder=2)
            [curves[f"{lowering.name} ({engine})"]] = area.plot(
                at,
                list(map(picture.value, figures)),
                "-" if engine == "jit" else "--",
                color=colour,
                linewidth=1.6,
                marker=_MARKS[number % len(_MARKS)],
                markersize=6,
                markerfacecolor=colour if engine == "jit" else "none",
                zorder=3,
            )
    points = sorted({each.at for each in series.figures})
    if points[-1] >= 2 * points[-2:][0]:  # points that double
        area.set_xscale("log", base=2)
    area.set_yscale("log", base=picture.base)
    area.set_xticks(points, list(map(str, points)))
    area.yaxis.set_major_locator(LogLocator(picture.base, subs=picture.steps))
    area.yaxis.set_major_formatter(FuncFormatter(lambda value, _: picture.tick(value)))
    for axis in (area.xaxis, area.yaxis):
        axis.set_minor_locator(NullLocator())
    area.set_title(series.words, loc="left", fontsize=10)
    area.set_xlabel(series.name)
    area.grid(color=ground.grid, linewidth=0.6)
    area.set_axisbelow(True)
    area.tick_params(length=0)
    for side in area.spines.values():
        side.set_visible(False)
    return curves
