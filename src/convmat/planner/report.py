"""A plan as text: a table one would put on a slide."""

from __future__ import annotations

from .columns import Row, align
from .decision import Decision
from .units import in_bytes, in_seconds
from .why import refusals, summary

HEAD: Row = ("", "way", "engine", "m x n x k", "GFLOP", "moved", "workspace", "weights", "predicted", "error")


def header(decision: Decision) -> list[str]:
    """The lines above the table: the convolution, its product and its intensity."""
    problem = decision.problem
    g = problem.geometry
    item = decision.itemsize
    sizes = g.bytes(item)
    groups = f"{g.G} groups of " if g.G > 1 else ""
    lines = [
        f"{g}, {problem.dtype}",
        f"one product: {groups}({g.m} x {g.k}) @ ({g.k} x {g.n}), {g.flops / 1e9:.4g} GFLOP",
        f"x {in_bytes(sizes['x'])}, w {in_bytes(sizes['w'])}, y {in_bytes(sizes['y'])}; unrolled input "
        f"{in_bytes(sizes['unrolled'])}: every element of x {g.duplication:.3g} times; "
        f"{g.intensity(item):.3g} FLOP a byte",
    ]
    if problem.pad is not None:
        lines.append(
            f"padded explicitly ({problem.pad.mode}) {problem.pad.lo} before, {problem.pad.hi} after"
        )
    if len(set(g.e)) > 1 or set(g.e) != {1}:
        lines.append(f"{g.phase_count} phases: no inserted zero is multiplied")
    return lines


def rows(decision: Decision) -> list[Row]:
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
                    in_bytes(cost.moved),
                    in_bytes(cost.workspace),
                    in_bytes(cost.weight_bytes),
                    in_seconds(cost.seconds),
                    f"{cost.error:.1e}",
                )
            )
    return made


def text(decision: Decision) -> str:
    """The whole report."""
    head, table = HEAD, rows(decision)
    if any(c.measured for c in decision.candidates):
        tuned = (in_seconds(c.measured) if c.measured else "" for c in decision.candidates if c.cost)
        head, table = (*head, "tuned"), [(*row, cell) for row, cell in zip(table, tuned, strict=True)]
    lines = [*header(decision), "", *align(head, table, words=3)]
    refused = refusals(decision)
    if refused:
        lines += ["", "refused", *refused]
    return "\n".join([*lines, "", *summary(decision)])
