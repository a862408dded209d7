"""Aligned text: columns as wide as they need to be, words flush left, figures flush right."""

from __future__ import annotations

from collections.abc import Sequence

Row = tuple[str, ...]


def align_columns(head: Row, rows: Sequence[Row], words: int) -> list[str]:
    """Lines of a table: its first `words` columns flush left, the others flush right.

    >>> align_columns(("node", "ms"), [("a", "1"), ("conv", "12")], words=1)
    ['node  ms', 'a      1', 'conv  12']
    """
    whole = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in whole
    ]


__all__ = ["Row", "align_columns"]
