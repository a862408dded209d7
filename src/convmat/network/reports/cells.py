"""Cells of reports as plain text: names no wider than a line allows, bars, shapes."""

from __future__ import annotations

from collections.abc import Sequence

WIDEST = 32
"""Characters of a name; longer ones lose their beginning, which many nodes share."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def shorten_name(name: str) -> str:
    """A name that fits its column.

    >>> shorten_name("/backbone/stages.3/blocks.2/conv1/Conv")
    '.../stages.3/blocks.2/conv1/Conv'
    """
    return name if len(name) <= WIDEST else "..." + name[3 - WIDEST :]


def draw_bar(part: float, width: int = 20) -> str:
    """A bar of so many characters for 1.

    >>> draw_bar(0.5, 4), draw_bar(0.01, 4)
    ('██', '▏')
    """
    eighths = min(max(round(part * width * 8), 1 if part > 0 else 0), width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def format_extents(shape: Sequence[object]) -> str:
    """1x3x224x224; a scalar has none."""
    return "x".join(map(str, shape)) or "scalar"
