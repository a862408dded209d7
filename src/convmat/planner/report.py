"""A plan as text: a table one would put on a slide."""

from __future__ import annotations

from .columns import Row, align_columns
from .decision import Decision
from .units import format_bytes, format_seconds
from .why import list_refusals, summarise

HEAD: Row = ("", "way", "engine", "m x n x k", "GFLOP", "moved", "workspace", "weights", "predicted", "error")


def report_header(decision: Decision) -> list[str]:
    """The lines above the table: the convolution, its product and its intensity."""
    problem = decision.problem
    g = problem.geometry
    item = decision.itemsize
    sizes = g.bytes(item)
    groups = f"{g.G} groups of " if g.G > 1 else ""
    lines = [
        f"{g}, {problem.dtype}",
        f"one product: {groups}({g.m} x {g.k}) @ ({g.k} x {g.n}), {g.flops / 1e9:.4g} GFLOP",
        f"x {format_bytes(sizes['x'])}, w {format_bytes(sizes['w'])}, y {format_bytes(sizes['y'])}; unrolled input "
        f"{format_bytes(sizes['unrolled'])}: every element of x {g.duplication:.3g} times; "
        f"{g.intensity(item):.3g} FLOP a byte",
    ]
    if problem.pad is not None:
        lines.append(
            f"padded explicitly ({problem.pad.mode}) {problem.pad.lo} before, {problem.pad.hi} after"
        )
    if len(set(g.e)) > 1 or set(g.e) != {1}:
        lines.append(f"{g.phase_count} phases: no inserted zero is multiplied")
    return lines


def report_rows(decision: Decision) -> list[Row]:
    """One row for each candidate that can run, the chosen one marked."""
    made: list[Row] = []
    for candidate in decision.candidates:
        cost = candidate.cost
        if cost is not None:
            made.append(
                (
                    ">" if candidate is decision.chosen else "",
                    candidate.name,
                    candidate.engine,
                    " x ".join(map(str, candidate.product or ())),
                    f"{cost.flops / 1e9:.4g}",
                    format_bytes(cost.moved),
                    format_bytes(cost.workspace),
                    format_bytes(cost.weight_bytes),
                    format_seconds(cost.seconds),
                    f"{cost.error:.1e}",
                )
            )
    return made


def report_text(decision: Decision) -> str:
    """The whole report."""
    head, table = HEAD, report_rows(decision)
    if any(c.measured for c in decision.candidates):
        tuned = (format_seconds(c.measured) if c.measured else "" for c in decision.candidates if c.cost)
        head, table = (*head, "tuned"), [(*row, cell) for row, cell in zip(table, tuned, strict=True)]
    lines = [*report_header(decision), "", *align_columns(head, table, words=3)]
    refused = list_refusals(decision)
    if refused:
        lines += ["", "refused", *refused]
    return "\n".join([*lines, "", *summarise(decision)])
