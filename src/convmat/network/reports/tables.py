"""Reports as plain text: columns as wide as they need to be, names no wider than a line allows, bars."""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[str, ...]

WIDEST = 32
"""Characters of a name; longer ones lose their beginning, which many nodes share."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def table(head: Row, rows: Sequence[Row], words: int) -> list[str]:
    """Lines: the first `words` columns flush left, figures flush right.

    >>> table(("node", "ms"), [("a", "1"), ("conv", "12")], words=1)
    ['node  ms', 'a      1', 'conv  12']
    """
    whole = [head, *rows]
    widths = [max(len(row[i]) for row in whole) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in whole
    ]


def short(name: str) -> str:
    """A name that fits its column.

    >>> short("/backbone/stages.3/blocks.2/conv1/Conv")
    '.../stages.3/blocks.2/conv1/Conv'
    """
    return name if len(name) <= WIDEST else "..." + name[3 - WIDEST :]


def bar(part: float, width: int = 20) -> str:
    """A bar of so many characters for 1.

    >>> bar(0.5, 4), bar(0.01, 4)
    ('██', '▏')
    """
    eighths = min(max(round(part * width * 8), 1 if part > 0 else 0), width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def extents(shape: Sequence[object]) -> str:
    """1x3x224x224; a scalar has none."""
    return "x".join(map(str, shape)) or "scalar"
