"""A run in the terminal, with rich."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.results import Run
from benchmarks.tables import WORDS, Table, remarks, tables

if TYPE_CHECKING:
    from rich.console import Console


_BETWEEN = 3
"""Characters from one column to the next."""


def show(run: Run, console: Console) -> None:
    """The tables, what was measured on what, and what is missing."""
    from rich.text import Text

    console.print(Text(context(run)))
    for table in tables(run):
        # The goals are sentences, which may wrap; figures may not.
        for part in [table] if "goal" in table.head else pieces(table, console.width):
            console.print()
            console.print(_rich(part))
    for line in remarks(run):
        console.print(Text(line, style="bold red" if line.startswith("PARTIAL") else "yellow"))


def context(run: Run) -> str:
    """Machine, peaks and versions in a few lines."""
    m = run.machine
    lines = [f"{m.get('cpu')}, {m.get('vector_bits')}-bit vectors, {m.get('cores')} cores; {run.date}"]
    for threads in sorted(run.peaks):
        peak, memory = run.peak(threads), run.peak(threads, "memory_bandwidth")
        assert peak is not None
        assert memory is not None
        lines.append(
            f"{threads} thread{'s' * (threads > 1)}: FMA peak {peak / 1e9:.1f} GFLOP/s, memory {memory / 1e9:.1f} GB/s"
        )
    versions = {each.library: each.version for each in run.peers.values() if each.version}
    lines.append(", ".join(f"{library} {version}" for library, version in versions.items()))
    lines.append("warm: every sample follows an untimed call, so weights and input are as near as they fit")
    return "\n".join(lines)


def pieces(table: Table, width: int) -> Iterator[Table]:
    """The table in as many parts as a terminal of this width needs, the first column in each.

    >>> table = Table("t", ("layer", "a", "b"), [("3x3", "1.00", "2.00")])
    >>> [part.head for part in pieces(table, 17)]
    [('layer', 'a'), ('layer', 'b')]
    """
    heads = [(name,) if name in WORDS else tuple(name.split()) for name in table.head]
    cells = [(*head, *(row[i] for row in table.rows)) for i, head in enumerate(heads)]
    needed = [max(map(len, column)) + _BETWEEN for column in cells]
    start = 1
    while start < len(needed):
        stop = start + 1
        while stop < len(needed) and needed[0] + sum(needed[start : stop + 1]) <= width:
            stop += 1
        columns = (0, *range(start, stop))
        marked = {(r, columns.index(c)) for r, c in table.marked if c in columns}
        yield Table(
            table.title,
            tuple(table.head[c] for c in columns),
            [tuple(row[c] for c in columns) for row in table.rows],
            frozenset(marked),
        )
        start = stop


def _rich(table: Table) -> object:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    wraps = "goal" in table.head
    made = RichTable(
        title=table.title, title_justify="left", title_style="bold", header_style="dim", box=box.SIMPLE_HEAD,
        padding=(0, _BETWEEN - 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    for name in table.head:
        # Heads break at spaces; figures and layers never do.
        head = name if name in WORDS else name.replace(" ", "\n")
        made.add_column(
            head,
            justify="left" if name in WORDS else "right",
            no_wrap=not wraps,
            vertical="bottom" if not wraps else "top",
        )
    for r, row in enumerate(table.rows):
        cells = [
            Text(text, style="bold green" if (r, c) in table.marked else "") for c, text in enumerate(row)
        ]
        made.add_row(*cells)
    return made
