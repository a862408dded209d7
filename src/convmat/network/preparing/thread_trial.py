"""Whether short jobs in a row are quicker on one thread, found by the calls that do them.

What a job costs more on several threads is predicted badly: beside the hand-over, which is measured, each reads of the
others' caches what those wrote in the job before, and a virtual machine's cores may be far apart. Where it matters, the
first calls take turns at both, and the quicker stays. No bit depends on it: tasks are the same, whoever does them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from ...engine import thread_pool

CALLS = 7
"""Calls on one thread that are timed, and as many on all."""

UNTIMED = 2
"""Calls before them, in which memory is touched for the first time."""

THREADS = 2
"""The word of a job that says how many threads may do it."""


class ThreadTrial:
    """Jobs that are done on one thread and on all in turns, until it is known what is quicker."""

    def __init__(self, jobs: Sequence[Any]) -> None:
        self._shared = [(job, job[THREADS]) for job in jobs if job[THREADS] > 1]
        self._seconds: tuple[list[float], list[float]] = ([], [])
        self._calls = 0
        self.over = not self._shared

    def launch(self, addresses: Any) -> None:
        """Do the jobs, whose addresses these are."""
        alone = self._calls % 2 == 1
        use_threads(self._shared, alone)
        start = time.perf_counter()
        thread_pool.launch_all(addresses)
        taken = time.perf_counter() - start
        self._calls += 1
        if self._calls > UNTIMED:
            self._seconds[alone].append(taken)
        if self._calls == UNTIMED + 2 * CALLS:
            together, single = map(statistics.median, self._seconds)
            use_threads(self._shared, single < together)
            self.over = True


def use_threads(shared: Sequence[tuple[Any, int]], alone: bool) -> None:
    """Let one thread do each job, or as many as stand beside it."""
    for job, threads in shared:
        job[THREADS] = 1 if alone else threads


__all__ = ["THREADS", "ThreadTrial", "use_threads"]
