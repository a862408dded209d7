"""Optimisers: how a gradient changes a parameter, said as passes over arrays that stay where they are.

    SGD      m' = momentum m + g + decay w          w' = w - rate m'         (Nesterov: w - rate (g + momentum m'))
    Adam     m' = b1 m + (1 - b1) g                 v' = b2 v + (1 - b2) g^2
             w' = w - rate m' / (sqrt(v') root + epsilon)
    AdamW    the same, w shrunk by rate * decay before

PyTorch's formulas. `rate` and `root` change from step to step: they are arrays of one number that a trainer writes.
Kingma and Ba, "Adam: a method for stochastic optimization", 2014; Loshchilov and Hutter, "Decoupled weight decay
regularization", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import NetworkError, format_value
from ..network.gradients import Tape
from .ranges import is_between, require_between
from .schedules import Schedule, rate_of, require_rate


class Optimiser(Protocol):
    """What a trainer asks of an optimiser."""

    @property
    def state(self) -> tuple[str, ...]:
        """What it keeps of each parameter, by name: arrays like it, 0 at first."""

    def scalars(self, step: int) -> Mapping[str, float]:
        """The numbers that a step takes, the first step being 0."""

    def update(self, tape: Tape, w: str, g: str, kept: Mapping[str, str]) -> dict[str, str]:
        """Add nodes for a parameter, its gradient, its state and the scalars, all by name; the names of what follows.

        The answer has "w" and the names of `state`.
        """


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent. `rate`: a number or a schedule; `decay`: of the weights, as a part of the gradient.

    >>> SGD(0.1, momentum=0.9).state
    ('momentum',)
    """

    rate: float | Schedule
    momentum: float = 0.0
    nesterov: bool = False
    decay: float = 0.0

    def __post_init__(self) -> None:
        require_rate(self.rate)
        require_between("momentum", self.momentum, 0, 1)
        require_between("decay", self.decay, 0, math.inf)
        if self.nesterov and not self.momentum:
            raise NetworkError(
                "train: Nesterov's step needs momentum\n  momentum = 0.0\n  e.g. SGD(0.1, momentum=0.9, nesterov=True)"
            )

    @property
    def state(self) -> tuple[str, ...]:
        """A running sum of gradients, where there is momentum."""
        return ("momentum",) if self.momentum else ()

    def scalars(self, step: int) -> Mapping[str, float]:
        """The rate."""
        return {"rate": rate_of(self.rate, step)}

    def update(self, tape: Tape, w: str, g: str, kept: Mapping[str, str]) -> dict[str, str]:
        """One pass, two with momentum."""
        rate = kept["rate"]
        if not self.momentum:
            if not self.decay:
                made = tape.each(("mul", 1, 2), ("sub", 0, 3), inputs=[w, g, rate], near=f"{w}.next")
            else:
                made = tape.each(
                    ("scale", 0, (self.decay,)), ("add", 3, 1), ("mul", 4, 2), ("sub", 0, 5),
                    inputs=[w, g, rate], near=f"{w}.next",
                )  # fmt: skip
            return {"w": made}
        m = kept["momentum"]
        decayed = (("scale", 2, (self.decay,)), ("add", 1, 3)) if self.decay else ()
        last = 4 if self.decay else 1
        inputs = [m, g, w] if self.decay else [m, g]
        n = len(inputs) + len(decayed)
        sums = tape.each(
            *decayed,
            ("scale", 0, (self.momentum,)),
            ("add", n, last),
            inputs=inputs,
            near=f"{w}.momentum.next",
        )
        if not self.nesterov:
            made = tape.each(("mul", 1, 2), ("sub", 0, 3), inputs=[w, sums, rate], near=f"{w}.next")
        elif not self.decay:
            made = tape.each(
                ("scale", 1, (self.momentum,)), ("add", 4, 2), ("mul", 5, 3), ("sub", 0, 6),
                inputs=[w, sums, g, rate], near=f"{w}.next",
            )  # fmt: skip
        else:
            made = tape.each(
                ("scale", 1, (self.momentum,)), ("scale", 0, (self.decay,)), ("add", 2, 5), ("add", 6, 4),
                ("mul", 7, 3), ("sub", 0, 8), inputs=[w, sums, g, rate], near=f"{w}.next",
            )  # fmt: skip
        return {"w": made, "momentum": sums}


@dataclass(frozen=True)
class _Moments:
    """What optimisers have that divide a mean of the gradients by the root of a mean of their squares."""

    rate: float | Schedule = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    decay: float = 0.0
    state = ("mean", "square")

    def __post_init__(self) -> None:
        require_rate(self.rate)
        _require_betas(self.betas)
        require_between("epsilon", self.epsilon, 0, math.inf)
        require_between("decay", self.decay, 0, math.inf)


@dataclass(frozen=True)
class Adam(_Moments):
    """Adam. `rate`: a number or a schedule; `decay`: of the weights, as a part of the gradient.

    >>> Adam(1e-3).state
    ('mean', 'square')
    """

    def scalars(self, step: int) -> Mapping[str, float]:
        """The rate over the sum of m's weights, and the root of that of v's."""
        b1, b2 = (1 - beta ** (step + 1) for beta in self.betas)
        return {"rate": rate_of(self.rate, step) / b1, "root": 1 / math.sqrt(b2)}

    def update(self, tape: Tape, w: str, g: str, kept: Mapping[str, str]) -> dict[str, str]:
        """Add three passes."""
        if self.decay:
            g = tape.each(("scale", 0, (self.decay,)), ("add", 1, 2), inputs=[w, g], near=f"d.{w}.decayed")
        return _adam(tape, w, g, kept, self.betas, self.epsilon)


@dataclass(frozen=True)
class AdamW(_Moments):
    """Adam with weights that shrink by rate * decay at each step, apart from the gradient.

    >>> AdamW(1e-3).decay
    0.01
    """

    decay: float = 0.01

    def scalars(self, step: int) -> Mapping[str, float]:
        """Scalars of Adam, and what is left of the weights."""
        rate = rate_of(self.rate, step)
        b1, b2 = (1 - beta ** (step + 1) for beta in self.betas)
        return {"rate": rate / b1, "root": 1 / math.sqrt(b2), "shrunk": 1 - rate * self.decay}

    def update(self, tape: Tape, w: str, g: str, kept: Mapping[str, str]) -> dict[str, str]:
        """Add three passes, the last of them shrinking w too."""
        return _adam(tape, w, g, kept, self.betas, self.epsilon)


def _adam(
    tape: Tape, w: str, g: str, kept: Mapping[str, str], betas: tuple[float, float], epsilon: float
) -> dict[str, str]:
    b1, b2 = betas
    m = tape.each(
        ("scale", 0, (b1,)), ("scale", 1, (1 - b1,)), ("add", 2, 3),
        inputs=[kept["mean"], g], near=f"{w}.mean.next",
    )  # fmt: skip
    v = tape.each(
        ("scale", 0, (b2,)), ("mul", 1, 1), ("scale", 3, (1 - b2,)), ("add", 2, 4),
        inputs=[kept["square"], g], near=f"{w}.square.next",
    )  # fmt: skip
    inputs = [w, m, v, kept["rate"], kept["root"], *([kept["shrunk"]] if "shrunk" in kept else [])]
    n = len(inputs)
    first = [("mul", 0, 5)] if "shrunk" in kept else []
    at = n + len(first)
    steps = [
        *first, ("sqrt", 2), ("mul", at, 4), ("shift", at + 1, (epsilon,)), ("mul", 1, 3), ("div", at + 3, at + 2),
        ("sub", n if first else 0, at + 4),
    ]  # fmt: skip
    return {"w": tape.each(*steps, inputs=inputs, near=f"{w}.next"), "mean": m, "square": v}


OPTIMISERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}
"""By the names that the command line takes."""


def optimiser_of(given: Any) -> Optimiser:
    """An optimiser, plain descent where there is None. Raises NetworkError.

    >>> optimiser_of(None)
    SGD(rate=0.01, momentum=0.0, nesterov=False, decay=0.0)
    """
    if given is None:
        return SGD(0.01)
    if isinstance(given, type) or not all(hasattr(given, name) for name in ("state", "scalars", "update")):
        raise NetworkError(
            f"train: optimiser is none\n  optimiser = {format_value(given)}\n"
            "  an object of convmat.train is needed, e.g. train.SGD(0.1, momentum=0.9)"
        )
    found: Optimiser = given
    return found


def _require_betas(betas: object) -> None:
    if not isinstance(betas, tuple | list) or len(betas) != 2 or not all(is_between(b, 0, 1) for b in betas):
        raise NetworkError(
            f"train: betas are out of range\n  betas = {format_value(betas)}\n"
            f"  two numbers from 0 to below 1 are needed, e.g. betas=(0.9, 0.999)"
        )


__all__ = ["OPTIMISERS", "SGD", "Adam", "AdamW", "Optimiser", "optimiser_of"]
