"""From samples to a figure: what was disturbed is dropped and counted, the rest gives a median and its spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SLOW = 1.5
"""A sample this many times the median is a disturbed one."""

FEWEST = 3
"""With fewer samples that nothing disturbed, all are kept: better a disturbed figure than one of two samples."""


@dataclass(frozen=True)
class Sample:
    """Seconds of one call, and whether the system took the CPU away from the process meanwhile."""

    seconds: float
    switched: bool = False


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
    calm = [s.seconds for s in samples if not s.switched]
    if len(calm) < min(FEWEST, len(samples)):
        calm = [s.seconds for s in samples]
    switched = len(samples) - len(calm)
    middle = quantile(calm, 0.5)
    kept = [seconds for seconds in calm if seconds <= SLOW * middle]
    return Figure(
        seconds=quantile(kept, 0.5),
        low=quantile(kept, 0.25),
        high=quantile(kept, 0.75),
        kept=len(kept),
        dropped_switched=switched,
        dropped_slow=len(calm) - len(kept),
        unsettled=len(kept) < FEWEST
        or 2 * len(kept) < len(samples)
        or sum(s.switched for s in samples) * 2 > len(samples),
    )


def quantile(values: Iterable[float], at: float) -> float:
    """The value below which a share of them lies, linear between neighbours.

    >>> quantile([3.0, 1.0, 2.0], 0.5), quantile([0.0, 1.0], 0.25)
    (2.0, 0.25)
    """
    ordered = sorted(values)
    place = at * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def geometric_mean(values: Iterable[float]) -> float:
    """The mean for ratios: exp of the mean logarithm; nan of nothing.

    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan
