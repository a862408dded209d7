"""A plan as text: a table one would put on a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cost import error_bound

if TYPE_CHECKING:
    from .plan import Plan

Row = tuple[str, ...]
HEAD: Row = ("", "way", "engine", "m x n x k", "GFLOP", "moved", "workspace", "weights", "predicted", "error")


def header(plan: Plan) -> list[str]:
    """The lines above the table: the convolution, its product and its intensity."""
    problem = plan.problem
    g = problem.geometry
    item = plan.itemsize
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
        lines.append(f"{len(g.phases())} phases: no inserted zero is multiplied")
    return lines


def rows(plan: Plan) -> list[Row]:
    """One row for each candidate that can run, the chosen one marked."""
    made: list[Row] = []
    for candidate in plan.candidates:
        cost = candidate.cost
        if cost is not None:
            made.append(
                (
                    ">" if candidate is plan.chosen else "",
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


def refusals(plan: Plan) -> list[str]:
    """A sentence for each way that cannot run; one where packings or engines refuse alike."""
    said: dict[tuple[str, str], dict[str, str]] = {}
    ways: dict[str, set[str]] = {}
    for c in plan.candidates:
        ways.setdefault(c.lowering, set()).add(c.engine)
        if c.refusal is not None:
            said.setdefault((c.lowering, c.refusal), {})[c.engine] = c.name
    lines = []
    for (lowering, refusal), engines in said.items():
        everywhere = set(engines) == ways[lowering]
        who = lowering if everywhere else f"{next(iter(engines.values()))} ({', '.join(engines)})"
        lines.append(f"  {who}: {refusal}")
    return lines


def text(plan: Plan) -> str:
    """The whole report."""
    table = [HEAD, *rows(plan)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    lines = [*header(plan), ""]
    for row in table:
        left = [row[i].ljust(widths[i]) for i in range(3)]
        lines.append("  ".join(left + [row[i].rjust(widths[i]) for i in range(3, len(HEAD))]).rstrip())
    refused = refusals(plan)
    if refused:
        lines += ["", "refused", *refused]
    return "\n".join([*lines, "", *why(plan)])


def why(plan: Plan) -> list[str]:
    """Why the chosen candidate: in a sentence or two."""
    chosen = plan.chosen
    assert chosen.cost is not None
    if plan.forced:
        lines = [f"{chosen.name} ({chosen.engine}): asked for."]
    else:
        others = [c for c in plan.candidates if c.cost is not None and c is not chosen]
        if others:
            second = min(others, key=lambda c: c.cost.seconds if c.cost else 0.0)
            assert second.cost is not None
            lines = [
                f"{chosen.name} ({chosen.engine}): predicted {in_seconds(chosen.cost.seconds)}; next is "
                f"{second.name} ({second.engine}) with {in_seconds(second.cost.seconds)}."
            ]
        else:
            lines = [f"{chosen.name}: every other way refuses."]
    return [*lines, _rounding(plan)]


def _rounding(plan: Plan) -> str:
    """What is known of the error."""
    if plan.exact:
        bound = error_bound(plan.problem)
        return f"Proven error bound, element by element: {bound:.1e} * (|A| @ |U|)." if bound else "Exact."
    assert plan.chosen.cost is not None
    return (
        f"Expected error, norm-wise: {plan.chosen.cost.error:.1e}, rtol is {plan.problem.rtol:.1e}. "
        f"A NaN or inf reaches {plan.lowering.spreads}; with exact=True, those of the definition."
    )


def in_bytes(n: int) -> str:
    """Bytes for people.

    >>> in_bytes(0), in_bytes(1536), in_bytes(3 * 2**20)
    ('0 B', '1.5 KiB', '3 MiB')
    """
    value, unit = float(n), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


def in_seconds(seconds: float) -> str:
    """Seconds for people.

    >>> in_seconds(0.0025), in_seconds(4e-6)
    ('2.5 ms', '4 us')
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
