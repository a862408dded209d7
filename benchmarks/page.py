"""`docs/benchmarks.md` and `docs/benchmarks-networks.md`, written from runs and from nothing else."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plot
from benchmarks.netstart import NET
from benchmarks.results import Run, write
from benchmarks.tables import WORDS, Table, main_peer, remarks, tables
from convmat.planner.sampling import OFTEN

LAYERS, NETWORKS = "benchmarks", "benchmarks-networks"
"""The names of the pages, of their data and their pictures, without what tells these apart."""


def publish(run: Run, folder: Path) -> list[Path]:
    """Write the page, its pictures (light, dark), and the figures that it is made of; the files that were written."""
    short, name = run.without_samples(), NETWORKS if run.networks else LAYERS
    text, data, *pictures = (
        folder / each for each in (f"{name}.md", f"{name}.json", f"{name}.svg", f"dark-{name}.svg")
    )
    write(data, short.as_json() + "\n")
    write(text, page(short))
    for path in pictures:
        plot.plot(short, path, dark=path.name.startswith("dark-"))
    return [path for path in (text, data, *pictures) if path.exists()]


def page(run: Run) -> str:
    """The whole page as Markdown."""
    what, name, words = ("network", NETWORKS, "nets") if run.networks else ("layer", LAYERS, "")
    command, target = f"python -m benchmarks {words}".strip(), f"bench-{words}".strip("-")
    parts = [
        "# Benchmarks of networks" if run.networks else "# Benchmarks",
        f"<!-- Written by `{command} --docs` from {name}.json: run that, don't edit this. -->",
        f"The same {what}s, on the same machine, in the same minutes. "
        f"`make {target}` does it again: on a quiet machine.",
        _picture(what, name) if run.peaks else "",
        "## How it was measured",
        _of_networks(run) if run.networks else _method(run),
        "## On what",
        _markdown(_machine(run)),
        "## Who",
        _markdown(_peers(run)),
    ]
    # The answer first, then what it was worked out from.
    for table in sorted(tables(run), key=lambda table: "goal" not in table.head):
        parts += [f"## {table.title[0].upper()}{table.title[1:]}", _markdown(table)]
    told = remarks(run)
    parts += ["## What else is to be said", "\n".join(f"- {line}" for line in told)] if told else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _picture(what: str, name: str) -> str:
    words = f"Share of the machine's FMA peak, by {what} and library"
    return f"![{words}]({name}.svg#only-light)\n![{words}](dark-{name}.svg#only-dark)"


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


def _of_networks(run: Run) -> str:
    pinned = "pinned to a core" if run.machine.get("pinned") else "not pinned (this system cannot)"
    return "\n".join(
        [
            "- float32, one random input of the shape that the network is meant for; those that are drawn in",
            "  `benchmarks/models.py` and `kinds.py` have random weights, the others were trained. Every answer is",
            "  first held against the same graph in float64: its error is norm-wise, |y - y64| / |y64|, of the output",
            "  where it is largest. A library that cannot read a network, or answers wrongly, is left out for that",
            "  network, with the reason below the title.",
            f"- One thread: one process, {pinned}; each round takes a sample of every peer, in an order drawn anew.",
            "  Several threads: a process for each library, one running while the others are stopped.",
            "- A sample is a call that follows an untimed one (two where processes take turns). The figure is the",
            "  median; ± is half the distance between the quartiles, as a share of it. Samples are dropped",
            f"  and counted if the CPU was taken away more than {OFTEN} times a second, or if 1.5 times the median.",
            "- GFLOP are those of convolutions and dense layers by the definition: who multiplies less than that can",
            "  pass the peak.",
            f"- First answers and memory: {NET} in fresh processes that load the file, `import` included, NumPy's not;",
            "  memory after ten more calls.",
            f"- {run.seconds:g} s for each peer and network{', a quick run' if run.quick else ''}; "
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
