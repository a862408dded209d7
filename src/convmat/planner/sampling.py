"""Samples of what a call takes: how many calls make one, and which of them count.

    sample      one call untimed, which touches all that the others touch; then calls for about 2 ms, timed together
    switched    a thread of the process had to give up its CPU meanwhile, more than OFTEN times a second
    calm        the samples that were not; all, where fewer than FEWEST were not

Tuning, comparisons and the benchmarks time by these rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..engine import count_switches
from ..lazy_dataclass import dataclass

SAMPLE_SECONDS, MOST_CALLS = 2e-3, 1000
"""What a sample takes at least, unless it would be more calls than these."""

FEWEST = 3
"""Samples that a figure needs: better a disturbed one than one of two samples."""

OFTEN = 20
"""Losing the CPU so often a second is no disturbance: once, in a sample of 2 ms, is; in a call of 100 ms it is not."""


@dataclass(frozen=True)
class Sample:
    """Seconds of one call, and whether the system took a CPU away from the process meanwhile."""

    seconds: float
    switched: bool = False


def calls_in_sample(seconds: float) -> int:
    """How many calls of so many seconds make a sample.

    >>> calls_in_sample(1e-4), calls_in_sample(1.0), calls_in_sample(0.0)
    (20, 1, 1000)
    """
    return max(1, min(MOST_CALLS, round(SAMPLE_SECONDS / max(seconds, 1e-9))))


def take_sample(call: Callable[[], object], calls: int) -> Sample:
    """Time `calls` calls in a row."""
    before, start = count_switches(), time.perf_counter()
    for _ in range(calls):
        call()
    seconds = time.perf_counter() - start
    return Sample(seconds / calls, count_switches() - before > OFTEN * seconds)


def calm_samples(samples: Sequence[Sample]) -> list[float]:
    """Seconds of the samples that count: the calm ones, or all where there are fewer than FEWEST of them.

    >>> calm_samples([Sample(1.0), Sample(1.2), Sample(1.1), Sample(7.0, switched=True)])
    [1.0, 1.2, 1.1]
    >>> calm_samples([Sample(7.0, switched=True)])
    [7.0]
    """
    kept = [each.seconds for each in samples if not each.switched]
    return kept if len(kept) >= FEWEST else [each.seconds for each in samples]


__all__ = ["FEWEST", "MOST_CALLS", "OFTEN", "Sample", "calls_in_sample", "calm_samples", "take_sample"]
