"""A run in the terminal, with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convmat.bench.results import Run
from convmat.bench.tables import Table, remarks, tables

if TYPE_CHECKING:
    from rich.console import Console


def show(run: Run, console: Console) -> None:
    """The tables, what was measured on what, and what is missing."""
    from rich.text import Text

    console.print(Text(context(run)))
    for table in tables(run):
        console.print()
        console.print(_rich(table))
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


def _rich(table: Table) -> object:
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(title=table.title, title_justify="left", header_style="bold", pad_edge=False)
    for i, name in enumerate(table.head):
        words = i == 0 or name in ("fastest peer", "where", "")
        made.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=i == 0)
    for r, row in enumerate(table.rows):
        cells = [
            Text(text, style="bold green" if (r, c) in table.marked else "") for c, text in enumerate(row)
        ]
        made.add_row(*cells)
    return made
