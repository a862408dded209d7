"""A plan in a terminal: as many columns as fit, refusals as sentences below the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convmat.planner import Candidate, Plan, error_bound, report, why
from convmat.planner.trial import Measured
from convmat.planner.units import format_bytes, format_seconds

CHOSEN = "bold green"

WORDS = ("", "way", "engine")
"""Columns of words; the others hold figures, which never break."""

_BETWEEN = 2
"""Characters between columns: rich's own divider and one of padding."""


@dataclass(frozen=True)
class ReportColumn:
    """One column: its head, its cell for each candidate, and when it goes if room is short (0: never)."""

    head: str
    cell: Callable[[Candidate], str]
    goes: int = 0


def show(plan: Plan, console: Console, measured: Mapping[Candidate, Measured] | None = None) -> None:
    """Print the plan in the console's width, with what was measured beside what was predicted."""
    for line in report.report_header(plan.decision):
        console.print(Text(line))
    console.print()
    console.print(table(plan, console.width, measured or {}))
    for part in refusals(plan):
        console.print(part)
    console.print()
    for line in why.summarise(plan.decision):
        console.print(Text(line))


def table(plan: Plan, width: int, measured: Mapping[Candidate, Measured]) -> Table:
    """One row a candidate that can run, the chosen one marked."""
    running = [c for c in plan.candidates if c.cost is not None]
    columns = _fitting(_columns(plan, measured), running, width)
    made = Table(
        box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        words = column.head in WORDS
        made.add_column(column.head, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for candidate in running:
        style = CHOSEN if candidate is plan.chosen else ""
        made.add_row(*(Text(column.cell(candidate), style) for column in columns))
    return made


def refusals(plan: Plan) -> Iterator[RenderableType]:
    """The report's sentences about ways that cannot run, each under its name."""
    lines = why.list_refusals(plan.decision)
    if lines:
        yield Text("\nrefused", style="dim")
    for line in lines:
        name, _, sentence = line.strip().partition(": ")
        text = Text(f"{name}: ", "bold").append(sentence, "not bold")
        yield Padding(text, (0, 0, 0, _BETWEEN), expand=False)


def _columns(plan: Plan, measured: Mapping[Candidate, Measured]) -> list[ReportColumn]:
    def product(c: Candidate) -> str:
        return "x".join(map(str, c.product or ()))

    def cost(write: Callable[[Any], str]) -> Callable[[Candidate], str]:
        return lambda c: write(c.cost)

    def when_measured(write: Callable[[Measured], str]) -> Callable[[Candidate], str]:
        return lambda c: write(measured[c]) if c in measured else ""

    columns = [
        ReportColumn("", lambda c: ">" if c is plan.chosen else ""),
        ReportColumn("way", lambda c: c.name),
        ReportColumn("engine", lambda c: c.engine),
        ReportColumn("m x n x k", product, goes=1),
        ReportColumn("GFLOP", cost(lambda c: f"{c.flops / 1e9:.4g}"), goes=5),
        ReportColumn("moved", cost(lambda c: format_bytes(c.moved)), goes=4),
        ReportColumn("weights", cost(lambda c: format_bytes(c.weight_bytes)), goes=2),
        ReportColumn("error", cost(lambda c: f"{c.error:.1e}"), goes=3),
        ReportColumn("workspace", cost(lambda c: format_bytes(c.workspace))),
        ReportColumn("predicted", cost(lambda c: format_seconds(c.seconds))),
    ]
    if any(c.measured for c in plan.candidates):
        columns.append(ReportColumn("tuned", lambda c: format_seconds(c.measured) if c.measured else ""))
    if measured:
        columns += [
            ReportColumn("measured", when_measured(lambda m: format_seconds(m.seconds))),
            ReportColumn("GFLOP/s", when_measured(lambda m: f"{m.flops_rate / 1e9:.3g}"), goes=6),
            ReportColumn("allocated", when_measured(lambda m: format_bytes(m.memory)), goes=7),
            ReportColumn("off by", when_measured(lambda m: f"{m.apart:.1e}"), goes=8),
        ]
    if len({c.engine for c in plan.candidates}) == 1:
        columns = [column for column in columns if column.head != "engine"]
    return columns


def _fitting(columns: list[ReportColumn], rows: list[Candidate], width: int) -> list[ReportColumn]:
    """The columns that fit the width, the least wanted gone first."""

    def count_columns(columns: list[ReportColumn]) -> int:
        widths = (max(len(c.head), *(len(c.cell(row)) for row in rows)) for c in columns)
        return sum(widths) + _BETWEEN * (len(columns) - 1)

    while count_columns(columns) > width and any(c.goes for c in columns):
        first = min((c for c in columns if c.goes), key=lambda c: c.goes)
        columns = [c for c in columns if c is not first]
    return columns


def as_dict(plan: Plan, measured: Mapping[Candidate, Measured] | None = None) -> dict[str, Any]:
    """The plan in lists, strings and numbers, for JSON; sizes in bytes, times in seconds."""
    problem, g = plan.problem, plan.problem.geometry
    measured = measured or {}
    candidates = [
        {
            "engine": c.engine,
            "lowering": c.lowering,
            "packing": c.packing.value,
            "chosen": c is plan.chosen,
            "product": dict(zip("mnk", c.product, strict=True)) if c.product else None,
            "refusal": c.refusal,
            "cost": None if c.cost is None else {**c.cost.__dict__},
            "tuned_seconds": c.measured,
            "measured": measured[c].as_dict() if c in measured else None,
        }
        for c in plan.candidates
    ]
    return {
        "geometry": {
            "x": g.x_shape, "w": g.w_shape, "y": g.y_shape, "stride": g.s, "dilation": g.d, "input_dilation": g.e,
            "padding": list(zip(g.lo, g.hi, strict=True)), "groups": g.G,
        },
        "arrays": {name: problem.shape(name) for name in ("x", "w", "y")},
        "dtype": problem.dtype,
        "threads": problem.threads,
        "product": {"m": g.m, "n": g.n, "k": g.k, "groups": g.G},
        "flops": g.flops,
        "bytes": g.bytes(plan.itemsize),
        "duplication": g.duplication,
        "intensity": g.intensity(plan.itemsize),
        "phases": g.phase_count,
        "workspace": plan.workspace,
        "weight_bytes": plan.weight_bytes,
        "error_bound": error_bound(problem) if plan.exact else None,
        "why": why.list_reasons(plan.decision),
        "candidates": candidates,
    }  # fmt: skip
