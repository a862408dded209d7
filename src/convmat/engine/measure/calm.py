"""The shortest of a few samples, and of more while others use the CPUs.

A figure is kept for years and planning goes by it: what a busy machine says would be believed long after. So samples
amid which a thread lost its CPU are taken again; where none was undisturbed the figure is kept for minutes (`store`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

FEWEST, MOST = 5, 15
"""Samples of which the shortest counts, and those that are taken at most to find one that was not disturbed."""


class Disturbed(float):
    """A figure that was measured while others used the CPUs."""


def shortest_sample(sample: Callable[[], float]) -> tuple[float, bool]:
    """Seconds of the shortest of some samples, and whether no thread lost its CPU meanwhile.

    >>> shortest_sample(iter([3.0, 1.0, 2.0, 5.0, 4.0]).__next__)[0]
    1.0
    """
    seconds, calm, taken = math.inf, False, 0
    while taken < FEWEST or (not calm and taken < MOST):
        before = count_switches()
        found, taken = sample(), taken + 1
        undisturbed = count_switches() == before
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


__all__ = ["Disturbed", "count_switches", "rate_of", "shortest_sample"]
