"""One job, every peer: answers checked first, then round after round a sample of each.

    sample     as tuning takes it, with two calls untimed where processes take turns
    round      a sample of every peer, in an order drawn anew: nobody always follows the same neighbour
    warm       weights and input were touched by the untimed call: this is a layer that runs again and again

A peer that refuses, fails, dies or answers wrongly is recorded as such, and the others go on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.crew import Crew, DiedError, Message
from benchmarks.netjobs import AnyJob
from benchmarks.nettruth import NetTruth
from benchmarks.results import Entry, Measured
from benchmarks.stats import settle
from benchmarks.truth import WRONG, Truth
from convmat.planner.sampling import Sample, calls_in_sample

MOST_ROUNDS = 100


class _Candidate:
    """A peer that is still in the race."""

    def __init__(self, name: str, group: str, prepared: Message, error: float) -> None:
        self.name = name
        self.group = group
        self.error = error
        self.workspace: int | None = prepared["workspace"]
        self.predicted: float | None = prepared["predicted"]
        self.calls = calls_in_sample(prepared["seconds"])
        self.samples: list[Sample] = []


def measure(
    job: AnyJob,
    names: Sequence[str],
    crew: Crew,
    folder: Path,
    truth: Truth | NetTruth,
    *,
    seconds: float,
    least_rounds: int,
) -> Measured:
    """A job's figures for these peers, whose answers are held against the truth.

    seconds: time for each peer, warm-up included, on average; at least `least_rounds` rounds all the same.
    folder: for answers on their way from another process.
    """
    entries: dict[str, Entry] = {}
    racing: list[_Candidate] = []
    for name in names:
        found = _start(job, name, crew, folder, truth)
        if isinstance(found, Entry):
            entries[name] = found
        else:
            racing.append(found)
    for lost, error in _race(job, racing, crew, seconds, least_rounds):
        entries[lost.name] = Entry(error=lost.error, workspace=lost.workspace, failed=error)
        racing.remove(lost)
    for each in racing:
        entries[each.name] = Entry(
            settle(each.samples), each.error, each.workspace, each.predicted, samples=tuple(each.samples)
        )
    crew.tell_all({"do": "forget"})
    return Measured(job, {name: entries[name] for name in names})


def _start(job: AnyJob, name: str, crew: Crew, folder: Path, truth: Truth | NetTruth) -> _Candidate | Entry:
    """A peer made ready and its answer judged; otherwise the entry that says why not."""
    peer = peers.peer(name)
    refusal = peer.refuses(job)
    if refusal is not None:
        return Entry(refused=refusal)
    group = crew.group(peer.library)
    answer = folder / "answer.npy"
    answer.unlink(missing_ok=True)
    try:
        made = crew.ask(group, {"do": "prepare", "peer": name, "job": asdict(job), "answer": str(answer)})
    except DiedError as died:
        return Entry(failed=str(died))
    if "failed" in made:
        return Entry(failed=made["failed"])
    if "refused" in made:
        return Entry(refused=made["refused"])
    error = truth.error(np.load(answer))
    if not error <= WRONG:
        return Entry(error=error, failed=f"wrong answer: off by {error:.1e} of its length, not timed")
    return _Candidate(name, group, made, error)


def _race(
    job: AnyJob, racing: Sequence[_Candidate], crew: Crew, seconds: float, least_rounds: int
) -> list[tuple[_Candidate, str]]:
    """Samples for everyone; who falls out on the way, and why."""
    running = list(racing)
    lost: list[tuple[_Candidate, str]] = []
    order = random.Random(job.subject)
    start = time.monotonic()
    for number in range(max(MOST_ROUNDS, least_rounds)):
        if not running or (number >= least_rounds and time.monotonic() - start > seconds * len(running)):
            break
        for each in order.sample(running, len(running)):
            message = {
                "do": "sample",
                "peer": each.name,
                "job": asdict(job),
                "warm": crew.warm_calls,
                "calls": each.calls,
            }
            try:
                made = crew.ask(each.group, message)
            except DiedError as died:
                made = {"failed": str(died)}
            if "failed" in made:
                lost.append((each, made["failed"]))
                running.remove(each)
                continue
            each.samples.append(Sample(made["seconds"], made["switched"]))
    return lost
