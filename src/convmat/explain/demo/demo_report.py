"""The demonstration's figures in a terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from convmat.explain.demo.demo import Demo, describe_product
from convmat.explain.terminal import plan_report
from convmat.planner import why
from convmat.planner.trial import Measured
from convmat.planner.units import format_bytes, format_seconds


def show(demo: Demo, path: Path, console: Console) -> None:
    """Print what was convolved, the table of ways, why one was chosen, and where the sheet is."""
    g = demo.layer_plan.problem.geometry
    unrolled = g.bytes(demo.layer_plan.itemsize)["unrolled"]
    width, height = demo.picture.size
    reduced = "" if sorted(demo.picture.size) == sorted(demo.picture.original) else " (reduced)"
    lines = [
        (f"{demo.picture.name}, {width} x {height} pixels{reduced}, through {g.O} filters of 7x7 at stride 2", "bold"),
        (f"one product {describe_product(demo.layer_plan)}, {g.flops / 1e9:.3g} GFLOP; unrolled input "
         f"{format_bytes(unrolled)}, "
         f"every pixel {g.duplication:.3g} times", ""),
    ]  # fmt: skip
    for line, style in lines:
        console.print(Text(line, style))
    console.print()
    console.print(candidate_table(demo, console.width))
    for part in list_remarks(demo):
        console.print(part)
    console.print()
    bank, way = demo.bank_plan.problem.geometry, demo.bank_way
    console.print(Text(f"{bank.O} classical filters of 7x7 on the three colours", "bold"))
    console.print(
        Text(
            f"one product {describe_product(demo.bank_plan)}: {way.way.name}, {format_seconds(way.seconds)} measured, "
            f"{format_bytes(way.memory)} allocated"
        )
    )
    console.print()
    console.print(Text("the contact sheet: ").append(str(path), "bold"), soft_wrap=True)


def candidate_table(demo: Demo, width: int) -> Table:
    """The ways, fastest first; the chosen one marked."""
    wide = width >= 96
    engines = len({m.way.candidate.engine for m in demo.ways if m.way.candidate}) > 1
    made = Table(
        box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0)
    )
    made.add_column("")
    made.add_column("way", overflow="fold")
    if engines:
        made.add_column("engine")
    for head in ["time", "predicted", "memory", "predicted", *(["from", "to"] if wide else [])]:
        made.add_column(head, justify="right", no_wrap=True)
    for m in sorted(demo.ways, key=lambda m: m.seconds):
        cost = m.predicted
        cells = [
            duration(m.seconds),
            format_seconds(cost.seconds) if cost else "",
            format_bytes(m.memory),
            format_bytes(cost.workspace) if cost else "",
        ]
        if wide:
            cells += [duration(m.least), duration(m.most)]
        engine = [m.way.candidate.engine if m.way.candidate else ""] if engines else []
        name = f"{m.way.name} *" if m.way.note else m.way.name
        style = plan_report.CHOSEN if m is demo.chosen else ""
        mark = ">" if m is demo.chosen else ""
        made.add_row(*(Text(cell, style) for cell in [mark, name, *engine, *cells]))
    return made


def duration(seconds: float) -> str:
    """Seconds for people, however many.

    >>> duration(0.0125), duration(1980.0)
    ('12.5 ms', '33 min')
    """
    return format_seconds(seconds) if seconds < 100 else f"{seconds / 60:.3g} min"


def list_remarks(demo: Demo) -> list[RenderableType]:
    """What the table leaves out: how it was measured, whether all agree, refusals, and why one was chosen."""
    threads = demo.layer_plan.problem.threads
    made: list[RenderableType] = [
        Text(f"* timed on {m.way.note}, and multiplied", "dim") for m in demo.ways if m.way.note
    ]
    made.append(
        Text(
            f"time: median of {demo.chosen.runs} runs in turns on {threads} thread{'s' * (threads > 1)}, weights "
            f"packed before; memory: allocated at most at once, the output apart",
            "dim",
        )
    )
    made += plan_report.refusals(demo.layer_plan)
    furthest = max(demo.ways, key=lambda m: m.apart)
    made += [
        Text(),
        Text(
            f"All ways agree: at most {furthest.apart:.0e} of the output's norm apart ({furthest.way.name})."
        ),
        Text(verdict(demo)),
    ]
    return made


def verdict(demo: Demo) -> str:
    """Why the chosen one, and what the clock said about it."""
    chosen = demo.chosen
    decided = why.summarise(demo.layer_plan.decision)[0]
    of_plan = [m for m in demo.ways if m.predicted is not None]
    fastest: Measured = min(of_plan, key=lambda m: m.seconds)
    if fastest is chosen:
        return f"The plan chose {decided} It was the fastest of them."
    lead = chosen.seconds / fastest.seconds
    return f"The plan chose {decided} Measured, {fastest.way.name} was {lead:.2g} times as fast this time."
