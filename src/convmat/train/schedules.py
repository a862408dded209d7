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

from ..errors import NetworkError, format_value
from .ranges import is_between, require_between

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

    def __post_init__(self) -> None:
        require_rate(self.rate)
        require_between("every", self.every, 1, math.inf)
        require_between("factor", self.factor, 0, math.inf)

    def __call__(self, step: int) -> float:
        """The rate at a step."""
        return self.rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """Falls from `rate` to `last` in so many steps, and stays at `last` from then on.

    >>> [round(Cosine(1.0, steps=4)(step), 3) for step in (0, 2, 4, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """

    rate: float
    steps: int
    last: float = 0.0

    def __post_init__(self) -> None:
        require_rate(self.rate)
        require_between("steps", self.steps, 0, math.inf)
        require_between("last", self.last, 0, math.inf)

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

    def __post_init__(self) -> None:
        require_rate(self.then)
        require_between("steps", self.steps, 0, math.inf)

    def __call__(self, step: int) -> float:
        """The rate at a step."""
        return rate_of(self.then, step) * min((step + 1) / max(self.steps, 1), 1.0)


def rate_of(given: Schedule | float, step: int) -> float:
    """The rate at a step, of a schedule or a constant."""
    found = given(step) if callable(given) else given
    if not is_between(found, 0, math.inf):
        raise NetworkError(
            f"train: the schedule gives no rate\n  rate = {format_value(found)} at step {step}\n"
            "  a number from 0 on is needed"
        )
    return float(found)


def require_rate(rate: object) -> None:
    """Raise NetworkError unless a rate is a number from 0 on, or a schedule.

    >>> require_rate(0.01)
    """
    if not callable(rate) and not is_between(rate, 0, math.inf):
        raise NetworkError(
            f"train: rate is neither a number from 0 on nor a schedule\n  rate = {format_value(rate)}\n"
            f"  e.g. 0.01, or train.Cosine(0.1, steps=1000)"
        )


__all__ = ["Cosine", "Schedule", "Steps", "WarmUp", "rate_of", "require_rate"]
