"""From samples to a figure: what was disturbed is dropped and counted, the rest gives a median and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convmat.planner.sampling import FEWEST, Sample, calm_samples

SLOW = 1.5
"""A sample this many times the median is a disturbed one."""


@dataclass(frozen=True)
class Figure:
    """The median of the samples that count, in seconds, with their quartiles.

    `dropped_switched` and `dropped_slow` samples were taken and don't count. `unsettled`: most were disturbed, so that
    the figure says little.
    """

    seconds: float
    low: float
    high: float
    kept: int
    dropped_switched: int = 0
    dropped_slow: int = 0
    unsettled: bool = False

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, relative to the median."""
        return (self.high - self.low) / 2 / self.seconds if self.seconds else 0.0


def settle(samples: Sequence[Sample]) -> Figure:
    """The figure of some samples; at least one is needed.

    First those go during which the process lost its CPU, then those of `SLOW` times the median of the rest.

    >>> settle([Sample(1.0), Sample(1.2), Sample(1.1), Sample(9.0), Sample(1.0, switched=True)])
    Figure(seconds=1.1, low=1.05, high=1.15, kept=3, dropped_switched=1, dropped_slow=1, unsettled=False)
    """
    assert samples
    taken = calm_samples(samples)
    switched = len(samples) - len(taken)
    middle = float(np.median(taken))
    kept = [seconds for seconds in taken if seconds <= SLOW * middle]
    low, seconds, high = map(float, np.quantile(kept, (0.25, 0.5, 0.75)))
    return Figure(
        seconds=seconds,
        low=low,
        high=high,
        kept=len(kept),
        dropped_switched=switched,
        dropped_slow=len(taken) - len(kept),
        unsettled=len(kept) < FEWEST
        or 2 * len(kept) < len(samples)
        or sum(s.switched for s in samples) * 2 > len(samples),
    )
