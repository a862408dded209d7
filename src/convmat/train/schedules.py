"""Schedules: the rate of learning at each step, from 0 on.

constant        rate
Steps           rate * factor ^ (step // every)
Cosine          from rate to `last` along half a cosine, over `steps`
WarmUp          from 0 to another schedule's along a line, over its first `steps`
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Steps:
    """The rate times `factor` after every so many steps.

    >>> [Steps(1.0, every=2, factor=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    rate: float
    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        """The rate at a step."""
        return self.rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """From `rate` down to `last` in so many steps, and `last` from then on.

    >>> [round(Cosine(1.0, steps=4)(step), 3) for step in (0, 2, 4, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """

    rate: float
    steps: int
    last: float = 0.0

    def __call__(self, step: int) -> float:
        """The rate at a step."""
        done = min(step / max(self.steps, 1), 1.0)
        return self.last + (self.rate - self.last) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class WarmUp:
    """Another schedule, or a constant rate, after a rise from 0 over so many steps.

    >>> [WarmUp(1.0, steps=4)(step) for step in (0, 1, 3, 4)]
    [0.25, 0.5, 1.0, 1.0]
    """

    then: Schedule | float
    steps: int

    def __call__(self, step: int) -> float:
        """The rate at a step."""
        return rate_of(self.then, step) * min((step + 1) / max(self.steps, 1), 1.0)


def rate_of(given: Schedule | float, step: int) -> float:
    """The rate at a step, of a schedule or a constant."""
    return float(given(step)) if callable(given) else float(given)


__all__ = ["Cosine", "Schedule", "Steps", "WarmUp", "rate_of"]
