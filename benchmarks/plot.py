"""A run as one picture: a row for each layer or network, a mark for each peer, its share of the machine's peak."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.goals import of_peak
from benchmarks.results import Measured, Run
from benchmarks.tables import heading, label, main_peer


@dataclass(frozen=True)
class _Ground:
    """What a picture lies on: its ink, its grid, the line of the peak, our colour and those of the others."""

    ink: str
    grid: str
    peak: str
    ours: str
    theirs: tuple[str, ...]


_LIGHT = _Ground(
    "#1f2937", "#e2e8f0", "#64748b", "#c2410c",
    ("#1d4ed8", "#0891b2", "#6d28d9", "#15803d", "#a16207", "#475569", "#be185d", "#334155"),
)  # fmt: skip
_DARK = _Ground(
    "#e5e7eb", "#4b5563", "#94a3b8", "#fb923c",
    ("#60a5fa", "#22d3ee", "#c4b5fd", "#4ade80", "#facc15", "#cbd5e1", "#f472b6", "#94a3b8"),
)  # fmt: skip
_MARKS = ("s", "^", "v", "D", "P", "X", "<", ">", "*", "p", "h", "d")


def plot(run: Run, path: Path, dark: bool | None = None) -> None:
    """Write the picture, PNG or SVG by the file's name. Nothing is written where no share of the peak is known.

    `dark`: what a page has behind it, which shows through; None: on white.
    """
    groups = [
        measured
        for threads in run.threads()
        if run.peak(threads)
        for directions in (("forward",), ("input", "weight"), ("network",))
        if (measured := run.of(threads, *directions))
    ]
    if not groups:
        return
    import matplotlib as mpl

    # Text stays text, and the same run gives the same file.
    ground = _DARK if dark else _LIGHT
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "convmat",
        "font.size": 9,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ground.ink
        ),
    }
    with mpl.rc_context(settings):
        figure = _figure(run, groups, ground)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=110, metadata=metadata, transparent=dark is not None)


def _figure(run: Run, groups: list[list[Measured]], ground: _Ground) -> Any:
    from matplotlib.figure import Figure

    rows = [len(measured) for measured in groups]
    figure = Figure(figsize=(10, 1.6 + 0.26 * sum(rows) + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[n + 2 for n in rows])[:, 0]
    for area, measured in zip(axes, groups, strict=True):
        _panel(area, run, measured, ground)
    handles: dict[str, Any] = {}
    for area in axes:
        for handle, name in zip(*area.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=5, frameon=False)
    return figure


def _panel(area: Any, run: Run, measured: list[Measured], ground: _Ground) -> None:
    """One thread count, forward or gradients."""
    ours = main_peer(run)
    for number, name in enumerate(name for name in run.peers if name != ours):
        points = _points(run, measured, name)
        colour, mark = ground.theirs[number % len(ground.theirs)], _MARKS[number % len(_MARKS)]
        if points:
            area.scatter(
                *zip(*points, strict=True), s=22, marker=mark, color=colour, label=name, alpha=0.75, zorder=2
            )
    points = _points(run, measured, ours)
    if points:
        area.scatter(*zip(*points, strict=True), s=52, marker="o", color=ground.ours, label=ours, zorder=3)
    area.axvline(100, color=ground.peak, linewidth=0.8)
    area.set_title(heading(measured), loc="left", fontsize=10)
    area.set_yticks(range(len(measured)), [label(m) for m in measured])
    area.set_ylim(len(measured) - 0.5, -0.5)
    area.set_xlim(left=0)
    area.set_xlabel("per cent of the FMA peak")
    area.grid(axis="both", color=ground.grid, linewidth=0.6, zorder=0)
    area.set_axisbelow(True)
    for side in ("top", "right", "left"):
        area.spines[side].set_visible(False)
    area.tick_params(axis="y", length=0)


def _points(run: Run, measured: list[Measured], name: str) -> list[tuple[float, int]]:
    shares = ((of_peak(run, m, name), row) for row, m in enumerate(measured))
    return [(100 * share, row) for share, row in shares if share is not None]
