"""A run as tables of text: the terminal and the documentation show the same ones.

times      one row a layer, milliseconds of every peer, the fastest marked
closer     one row a layer: convmat's GFLOP/s, share of the peak, ratios, spread, error, workspace
summary    the goals
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import netgoals
from benchmarks.facts import BUSY
from benchmarks.goals import EAGER, NUMPY, Goal, goals, of_peak, others, ratio
from benchmarks.results import Entry, Measured, Run
from convmat.planner.units import format_bytes

NOTHING = "–"
RUNTIME = "onnxruntime"

WORDS = frozenset(
    ("layer", "network", "fastest peer", "goal", "figure", "verdict", "where", "fact", "value", "peer",
     "version", "how it is used")
)  # fmt: skip
"""The heads of columns that are not numbers."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; `marked` are the (row, column) that stand out."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    marked: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def tables(run: Run) -> Iterator[Table]:
    """All of them, in the order in which they are read."""
    for threads in run.threads():
        for directions in (("forward",), ("input", "weight"), ("network",)):
            measured = run.of(threads, *directions)
            if measured:
                yield times(run, measured)
                yield closer(run, measured)
    found = netgoals.goals(run) if run.networks else goals(run)
    if found:
        yield summary(found)


def main_peer(run: Run) -> str:
    """The peer whom the others are compared with: convmat as it is meant to be used, or the first there is."""
    ours = [name for name, each in run.peers.items() if each.library == "convmat"]
    return (ours or list(run.peers))[0]


def times(run: Run, measured: list[Measured]) -> Table:
    """Milliseconds of one call, by layer and peer."""
    names = [name for name in run.peers if any(name in m.entries for m in measured)]
    rows, marked = [], set()
    for i, m in enumerate(measured):
        fastest = m.fastest(tuple(names))
        if fastest:
            marked.add((i, 1 + names.index(fastest[0])))
        rows.append((label(m), *(_time(m.entries.get(name)) for name in names)))
    return Table(f"{heading(measured)}: ms of one call", (_what(measured), *names), rows, frozenset(marked))


def closer(run: Run, measured: list[Measured]) -> Table:
    """The main peer's figures with all that a reader may want to divide them by."""
    ours, theirs = main_peer(run), others(run)
    eager = RUNTIME if run.networks else EAGER if EAGER in run.peers else NUMPY
    call = f"{ours} per call"
    head = [_what(measured), "GFLOP/s", "of peak", "fastest peer", "ratio", f"to {eager}"]
    if any(call in m.entries for m in measured):
        head.append(f"per call to {eager}")
    head += [
        "±",
        "dropped",
        "error",
        f"error of {eager}",
        "arena" if run.networks else "workspace",
        "predicted ms",
    ]
    rows = []
    for m in measured:
        entry, seconds = m.entries.get(ours), m.seconds(ours)
        fastest = m.fastest(theirs)
        row = [
            label(m),
            _number(m.job.flops / seconds / 1e9 if seconds else None, 1),
            _percent(of_peak(run, m, ours)),
            fastest[0] if fastest else NOTHING,
            _number(ratio(m, theirs, ours), 2),
            _number(ratio(m, (eager,), ours), 2),
        ]
        if f"per call to {eager}" in head:
            row.append(_number(ratio(m, (eager,), call), 2))
        other = m.entries.get(eager)
        row += [*_details(entry), _error(other)]
        row += [format_bytes(entry.workspace) if entry and entry.workspace is not None else NOTHING]
        row += [_milliseconds(entry.predicted if entry else None)]
        rows.append(tuple(row))
    return Table(f"{heading(measured)}: {ours}", tuple(head), rows)


def summary(found: list[Goal]) -> Table:
    """The goals, what was found, and whether that is enough."""
    rows, marked = [], set()
    for i, goal in enumerate(found):
        verdict = {True: "met", False: "missed", None: NOTHING}[goal.met]
        if goal.wanted is not None and goal.met is None:
            verdict = f"only {goal.over} of {goal.of} measured"
        wanted = (
            NOTHING
            if goal.wanted is None
            else f"{'≤' if goal.at_most else '≥'} {_in_unit(goal.wanted, goal.unit)}"
        )
        rows.append((goal.text, goal.statistic, _in_unit(goal.value, goal.unit), wanted, verdict, goal.where))
        if goal.met is False:
            marked.add((i, 4))
    return Table("goals", ("goal", "figure", "found", "wanted", "verdict", "where"), rows, frozenset(marked))


def remarks(run: Run) -> list[str]:
    """What has no figure, and why; what is unsure."""
    lines = []
    if run.partial:
        lines.append(f"PARTIAL: {run.partial}.")
    lines += [f"missing: {name}: {each.missing}" for name, each in run.peers.items() if each.missing]
    lines += [f"left out: {net}: {reason}" for net, reason in run.left_out.items()]
    unsettled = 0
    for m in run.measured:
        for name, entry in m.entries.items():
            if entry.failed:
                lines.append(f"failed: {name}, {m.job.name}: {entry.failed}")
            if entry.refused and m.job.kind == "networks":
                lines.append(f"refused: {name}, {m.job.name}: {entry.refused}")
            unsettled += bool(entry.figure and entry.figure.unsettled)
    if unsettled:
        lines.append(f"{unsettled} figures are unsettled (marked ?): most of their samples were disturbed.")
    if run.machine.get("load", 0.0) > BUSY:
        lines.append(f"The machine was busy when this began: load {run.machine['load']:.1f}.")
    return lines


def label(measured: Measured) -> str:
    """A row's name: the layer or network, and for gradients which."""
    job = measured.job
    return f"{job.subject}, {job.direction}" if job.kind == "gradients" else job.subject


def _what(measured: list[Measured]) -> str:
    """The head of the first column."""
    return "network" if measured[0].job.kind == "networks" else "layer"


def heading(measured: list[Measured]) -> str:
    """What the rows of a table have in common."""
    job = measured[0].job
    return f"{job.kind}, batch {job.batch}, {job.threads} thread{'s' * (job.threads > 1)}"


def _time(entry: Entry | None) -> str:
    if entry is None:
        return NOTHING
    if entry.figure is None:
        return "refuses" if entry.refused else "failed"
    return _milliseconds(entry.figure.seconds) + ("?" if entry.figure.unsettled else "")


def _details(entry: Entry | None) -> tuple[str, str, str]:
    figure = entry.figure if entry else None
    if figure is None:
        return NOTHING, NOTHING, _error(entry)
    dropped = figure.dropped_switched + figure.dropped_slow
    return f"{figure.spread:.1%}", f"{dropped} of {dropped + figure.kept}", _error(entry)


def _error(entry: Entry | None) -> str:
    return NOTHING if entry is None or entry.error is None else f"{entry.error:.1e}"


def _milliseconds(seconds: float | None) -> str:
    """Three significant digits, without an exponent."""
    if seconds is None:
        return NOTHING
    value = seconds * 1e3
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _in_unit(value: float | None, unit: str) -> str:
    if value is None:
        return NOTHING
    if unit == "percent":
        return f"{value:.1%}"
    if unit == "seconds":
        return f"{value * 1e3:.0f} ms"
    if unit == "error":
        return f"{value:.1e}"
    if unit == "bytes":
        return format_bytes(int(value))
    return f"{value:.0f}" if unit == "layers" else f"{value:.2f}"
