"""`docs/benchmarks.md`, written from a run and from nothing else."""

from __future__ import annotations

from pathlib import Path

from convmat.bench import plot
from convmat.bench.results import Run, write
from convmat.bench.tables import WORDS, Table, main_peer, remarks, tables

TEXT, DATA, PICTURE = "benchmarks.md", "benchmarks.json", "benchmarks.svg"


def publish(run: Run, folder: Path) -> list[Path]:
    """Write the page, its picture, and the figures that it is made of; the files that were written."""
    short = run.without_samples()
    write(folder / DATA, short.as_json() + "\n")
    write(folder / TEXT, page(short))
    plot.plot(short, folder / PICTURE)
    return [path for name in (TEXT, DATA, PICTURE) if (path := folder / name).exists()]


def page(run: Run) -> str:
    """The whole page as Markdown."""
    parts = [
        "# Benchmarks",
        f"<!-- Written by `convmat bench --docs` from {DATA}: run that, don't edit this. -->",
        "The same layers, on the same machine, in the same minutes. `make bench` does it again: on a quiet machine.",
        *(f"> {line}" for line in remarks(run)),
        f"![Share of the machine's FMA peak, by layer and library]({PICTURE})" if run.peaks else "",
        "## How it was measured",
        _method(run),
        "## On what",
        _markdown(_machine(run)),
        "## Who",
        _markdown(_peers(run)),
    ]
    # The answer first, then what it was worked out from.
    for table in sorted(tables(run), key=lambda table: "goal" not in table.head):
        parts += [f"## {table.title[0].upper()}{table.title[1:]}", _markdown(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _method(run: Run) -> str:
    pinned = "pinned to a core" if run.machine.get("pinned") else "not pinned (this system cannot)"
    ours = main_peer(run)
    return "\n".join(
        [
            "- float32, the operands random; every answer is first held against float64 sums by a random projection,",
            "  which also estimates its norm-wise error.",
            f"- One thread: one process, {pinned}; each round takes a sample of every peer, in an order drawn anew.",
            "  Several threads: a process for each library, one running while the others are stopped.",
            "- A sample is an untimed call, then calls for about 2 ms: weights and input are warm. The figure is the",
            "  median; ± is half the distance between the quartiles, as a share of it.",
            "- Samples during which the system took the CPU away, or of 1.5 times the median, are dropped and counted.",
            f"- A ratio is the other's time over that of {ours}: above 1, {ours} is faster. The peak is this run's",
            "  own: the median of FMA throughput measured before every layer.",
            "- Gradients: batch 16, plain functions; PyTorch's through `aten.convolution_backward`.",
            f"- {run.seconds:g} s for each peer and layer{', a quick run' if run.quick else ''}; "
            f"{len(run.measured)} of {run.jobs} measurements; {run.date}.",
        ]
    )


def _machine(run: Run) -> Table:
    m = run.machine
    rows = [
        ("CPU", f"{m.get('cpu')} ({m.get('arch')}, {m.get('vector_bits')}-bit vectors)"),
        ("caches", ", ".join(f"L{n} {m[f'l{n}'] >> 10} KiB" for n in (1, 2, 3) if f"l{n}" in m)),
        ("cores", str(m.get("cores"))),
        ("system", f"{m.get('kernel')}, Python {m.get('python')}"),
    ]
    for threads in sorted(run.peaks):
        fma = [peaks["fma_flops"] / 1e9 for peaks in run.peaks[threads]]
        peak = run.peak(threads) or 0.0
        rows.append(
            (
                f"FMA peak, {threads} thread{'s' * (threads > 1)}",
                f"{peak / 1e9:.1f} GFLOP/s ({min(fma):.1f} to {max(fma):.1f} over {len(fma)} measurements)",
            )
        )
        names = {"l1": "L1", "l2": "L2", "l3": "L3", "memory": "memory"}
        bandwidths = [
            f"{shown} {rate / 1e9:.0f}"
            for key, shown in names.items()
            if (rate := run.peak(threads, f"{key}_bandwidth"))
        ]
        rows.append((f"reading, {threads} thread{'s' * (threads > 1)}", f"{', '.join(bandwidths)} GB/s"))
    return Table("machine", ("fact", "value"), rows)


def _peers(run: Run) -> Table:
    rows = [
        (name, each.version or f"missing: {each.missing}", each.about) for name, each in run.peers.items()
    ]
    return Table("peers", ("peer", "version", "how it is used"), rows)


def _markdown(table: Table) -> str:
    """A Markdown table; what is marked is bold."""
    lines = [" | ".join(("", *map(_escaped, table.head), "")).strip()]
    sides = ["---" if name in WORDS else "--:" for name in table.head]
    lines.append(" | ".join(("", *sides, "")).strip())
    for r, row in enumerate(table.rows):
        cells = [
            f"**{_escaped(text)}**" if (r, c) in table.marked and text else _escaped(text)
            for c, text in enumerate(row)
        ]
        lines.append(" | ".join(("", *cells, "")).strip())
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
