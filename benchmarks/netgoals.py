"""The goals that convmat was set for whole networks, held against a run.

ratio    the fastest peer's seconds / convmat's: above 1 convmat is faster than all of them
error    norm-wise, against float64
memory   convmat's bytes / onnxruntime's, both in fresh processes
"""

from __future__ import annotations

import statistics

from benchmarks.goals import OURS, Goal, both, most, others, ratio
from benchmarks.netjobs import NETS
from benchmarks.netstart import NET
from benchmarks.results import Measured, Run

MEAN, LEAST = {1: 1.25, 2: 1.2}, 0.95
BESIDE_ONE = 1.0
"""The least beside onnxruntime alone."""
ERROR = 1e-5
COLD, CACHED = 2.5, 0.3
MEMORY = 1.0


def goals(run: Run) -> list[Goal]:
    """Every goal of networks that a run says something about."""
    found: list[Goal] = []

    def against(m: Measured) -> float | None:
        return ratio(m, others(run))

    def beside_one(m: Measured) -> float | None:
        return ratio(m, ("onnxruntime",))

    def rounding(m: Measured) -> float | None:
        entry = m.entries.get(OURS)
        return entry.error if entry else None

    for threads in run.threads():
        measured = {m.job.subject: m for m in run.of(threads, "network")}
        t = f"{threads} thread{'s' * (threads > 1)}"
        found += both(
            f"{t}: against the fastest peer", measured, list(NETS), against, MEAN.get(threads), LEAST
        )
        found += both(f"{t}: against onnxruntime", measured, list(NETS), beside_one, None, BESIDE_ONE)
        found.append(most(f"{t}: norm-wise error", measured, list(NETS), rounding, ERROR, "error"))
    return [goal for goal in (*found, *_first_answers(run), *_memory(run)) if goal.value is not None]


def _first_answers(run: Run) -> list[Goal]:
    """Medians of fresh processes."""
    asked = {
        "cold": (f"{NET}, from file to first answer, compiling", COLD),
        "cached": (f"{NET}, from file to first answer, from the disk cache", CACHED),
        "saved": (f"{NET}, from file to first answer, saved with its machine code", CACHED),
        "onnxruntime": (f"{NET}, from file to first answer, in onnxruntime", None),
    }
    return [
        Goal(text, "median", "seconds", statistics.median(run.startup[key]), wanted, 1, 1, at_most=True)
        for key, (text, wanted) in asked.items()
        if run.startup.get(key)
    ]


def _memory(run: Run) -> list[Goal]:
    """Medians over medians, and what they are made of."""
    found = []
    for kind in ("resident", "peak"):
        ours, theirs = (
            statistics.median(sizes) if (sizes := run.memory.get(f"{library} {kind}")) else None
            for library in (OURS, "onnxruntime")
        )
        for library, size in ((OURS, ours), ("onnxruntime", theirs)):
            found.append(Goal(f"{NET}, {kind} memory of {library}", "median", "bytes", size, None, 1, 1))
        value = ours / theirs if ours and theirs else None
        text = f"{NET}, {kind} memory, in that of onnxruntime"
        found.append(Goal(text, "median", "times", value, MEMORY, 1, 1, at_most=True))
    return found
