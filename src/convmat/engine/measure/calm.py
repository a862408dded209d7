"""The shortest of a few samples, and of more while others use the CPUs.

A figure is kept for years and planning goes by it: what a busy machine says would be believed long after. So samples
amid which a thread lost its CPU, or waited for one, are taken again; where none was undisturbed the figure is kept for
minutes (`store`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FEWEST, MOST = 5, 15
"""Samples of which the shortest counts, and those that are taken at most to find one that was not disturbed."""


WAITED = 0.05
"""Share of a sample that threads may wait for a CPU: each takes microseconds to wake, which is no disturbance."""


class Disturbed(float):
    """A figure that was measured while others used the CPUs."""


def shortest_sample(sample: Callable[[], float]) -> tuple[float, bool]:
    """Seconds of the shortest of some samples, and whether no thread lost its CPU or waited for one.

    >>> shortest_sample(iter([3.0, 1.0, 2.0, 5.0, 4.0]).__next__)[0]
    1.0
    """
    seconds, calm, taken = math.inf, False, 0
    while taken < FEWEST or (not calm and taken < MOST):
        before, waited = count_switches(), seconds_waited()
        found, taken = sample(), taken + 1
        undisturbed = count_switches() == before and seconds_waited() - waited <= WAITED * found
        if found < seconds:
            seconds, calm = found, undisturbed
    return seconds, calm


def rate_of(work: float, sample: Callable[[], float]) -> float:
    """Work by the seconds of its shortest sample: a figure, or a Disturbed one.

    >>> rate_of(6.0, lambda: 2.0)
    3.0
    """
    seconds, calm = shortest_sample(sample)
    return work / seconds if calm else Disturbed(work / seconds)


def count_switches() -> int:
    """How often any thread of this process had to give up its CPU to another."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def seconds_waited() -> float:
    """How long the threads of this process were ready to run and had no CPU, where Linux counts that; otherwise 0.

    Two threads that one CPU runs in turns lose it to nobody: the second one waits until the first has done its part.
    """
    waited = 0
    with suppress(OSError, ValueError, IndexError):
        for thread in Path("/proc/self/task").iterdir():
            waited += int((thread / "schedstat").read_text().split()[1])
    return waited * 1e-9


__all__ = ["Disturbed", "count_switches", "rate_of", "seconds_waited", "shortest_sample"]
