"""Losses: what is added behind a network's output, so that one number says how wrong it is.

build(tape, y)    nodes on a Tape  ->  the loss, its gradient in y, what else is counted, the targets it takes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import NetworkError, shown
from ..network.gradients import Tape
from ..network.graph import Array, Input, Spec


@dataclass(frozen=True)
class Built:
    """The names of a loss, of its gradients by what they are gradients of, of counts, and the targets' inputs."""

    loss: str
    gradients: Mapping[str, str]
    target: Input
    counts: Mapping[str, str] = field(default_factory=dict)


class Loss(Protocol):
    """What a trainer asks of a loss."""

    def build(self, tape: Tape, y: str, dtype: np.dtype[Any]) -> Built:
        """Add its nodes behind the value y."""

    def read(self, target: Any, y: Spec) -> Array:
        """The targets as the nodes take them. Raises NetworkError."""


TARGET = "train.target"
"""The name of the input that the targets are."""


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of scores (B, C, *P), not yet a softmax, with whole numbers (B, *P): the mean of -log softmax.

    `weights`: of each class. `smoothing`: this share of each target is spread over all classes. Targets equal to
    `ignore` take no part. PyTorch's formula.

    >>> CrossEntropy(smoothing=0.1).smoothing
    0.1
    """

    weights: Sequence[float] | None = None
    smoothing: float = 0.0
    ignore: int = -100

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise NetworkError(
                f"train: smoothing is a share of each target\n  smoothing = {shown(self.smoothing)}\n"
                "  a number from 0 to below 1 is needed, e.g. smoothing=0.1"
            )

    def build(self, tape: Tape, y: str, dtype: np.dtype[Any]) -> Built:
        """See the module; it counts how many scores are largest where they should be."""
        inputs = [y, TARGET]
        if self.weights is not None:
            inputs.append(tape.constant(np.array(self.weights, dtype), "class weights"))
        loss, dy, right = tape.ops(
            "CrossEntropy", *inputs, outputs=("loss", f"d.{y}", "right"), own=True,
            smoothing=self.smoothing, ignore=self.ignore,
        )  # fmt: skip
        return Built(loss, {y: dy}, Input(TARGET, np.dtype(np.int64), None), {"right": right})

    def read(self, target: Any, y: Spec) -> Array:
        """Whole numbers of the right shape, each a class or `ignore`."""
        found = np.asarray(target)
        shape = (y.shape[0], *y.shape[2:])
        if found.dtype.kind not in "iu" or found.shape != shape:
            raise NetworkError(
                f"train: the targets do not fit the network's output\n"
                f"  targets {found.dtype}{list(found.shape)}, output {y}\n"
                f"  whole numbers of shape {shape} are needed, each a class from 0 to {y.shape[1] - 1}"
            )
        found = np.ascontiguousarray(found, np.int64)
        bad = (found != self.ignore) & ((found < 0) | (found >= y.shape[1]))
        if bad.any():
            at = tuple(int(n) for n in np.argwhere(bad)[0])
            raise NetworkError(
                f"train: a target is no class\n  target[{', '.join(map(str, at))}] = {found[at]}; the network has "
                f"{y.shape[1]} classes\n  0 to {y.shape[1] - 1}, or {self.ignore} for what takes no part"
            )
        return found


LOSSES: dict[str, Loss] = {"cross_entropy": CrossEntropy()}
"""By the names that may be given instead."""


def loss_of(given: Loss | str) -> Loss:
    """A loss, by its name where a name is given. Raises NetworkError."""
    if isinstance(given, str):
        if given not in LOSSES:
            raise NetworkError(
                f"train: there is no loss of that name\n  loss = {shown(given)}\n"
                f"  one of {', '.join(map(repr, LOSSES))}, or an object of convmat.train"
            )
        return LOSSES[given]
    return given


__all__ = ["LOSSES", "TARGET", "Built", "CrossEntropy", "Loss", "loss_of"]
