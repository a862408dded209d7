"""Losses: what is added behind a network's output, so that one number says how wrong it is.

build(tape, y)    nodes on a Tape  ->  the loss, its gradient in y, what else is counted, the targets it takes
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..arguments import entries_of
from ..errors import NetworkError, format_value
from ..network.gradients import Tape
from ..network.graph import Array, Input, Spec
from .ranges import is_between


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

    def target(self, y: Spec) -> Spec:
        """What the targets of an output are."""

    def count_examples(self, target: Array, size: int) -> float:
        """Number of examples, or sum of their weights, over which the loss of `size` of them is the mean."""

    def count_targets(self, target: Array) -> int:
        """Number of targets that can be right; 0 where none can."""


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
        if not is_between(self.smoothing, 0, 1):
            raise NetworkError(
                f"train: smoothing is a share of each target\n  smoothing = {format_value(self.smoothing)}\n"
                "  a number from 0 to below 1 is needed, e.g. smoothing=0.1"
            )
        weights = entries_of(self.weights)
        if self.weights is not None and not (weights and all(is_between(w, 0, math.inf) for w in weights)):
            raise NetworkError(
                f"train: weights are no numbers of classes\n  weights = {format_value(self.weights)}\n"
                "  a number from 0 on is needed for each class, e.g. weights=(1.0, 0.5)"
            )
        ignore: Any = self.ignore
        if not isinstance(ignore, int | np.integer) or isinstance(ignore, bool):
            raise NetworkError(
                f"train: ignore is a target that takes no part\n  ignore = {format_value(self.ignore)}\n"
                "  a whole number is needed, e.g. ignore=-100"
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

    def target(self, y: Spec) -> Spec:
        """A class for each score."""
        return Spec((y.shape[0], *y.shape[2:]), np.dtype(np.int64))

    def count_examples(self, target: Array, size: int) -> float:
        """Number of targets that are not ignored, each by its class's weight."""
        there = target[target != self.ignore]
        return float(
            there.size if self.weights is None else np.asarray(self.weights, np.float64)[there].sum()
        )

    def count_targets(self, target: Array) -> int:
        """Number of targets that are not ignored."""
        return int(np.count_nonzero(target != self.ignore))

    def read(self, target: Any, y: Spec) -> Array:
        """Whole numbers of the right shape, each a class or `ignore`."""
        if self.weights is not None and len(self.weights) != y.shape[1]:
            raise NetworkError(
                f"train: the weights do not fit the network's classes\n  {len(self.weights)} weights, output {y}\n"
                f"  a weight is needed for each of {y.shape[1]} classes"
            )
        found = np.asarray(target)
        shape = self.target(y).shape
        if found.dtype.kind not in "iu" or found.shape != shape:
            raise NetworkError(
                f"train: the targets do not fit the network's output\n"
                f"  targets {found.dtype}{list(found.shape)}, output {y}\n"
                f"  whole numbers of shape {shape} are needed, each a class from 0 to {y.shape[1] - 1}"
            )
        bad = (found != self.ignore) & ((found < 0) | (found >= y.shape[1]))  # before uint64 wraps
        if bad.any():
            at = tuple(int(n) for n in np.argwhere(bad)[0])
            raise NetworkError(
                f"train: a target is no class\n  target[{', '.join(map(str, at))}] = {found[at]}; the network has "
                f"{y.shape[1]} classes\n  0 to {y.shape[1] - 1}, or {self.ignore} for what takes no part"
            )
        return np.ascontiguousarray(found, np.int64)


@dataclass(frozen=True)
class _OfNumbers:
    """A loss whose targets are numbers, one for each of the output."""

    def build(self, tape: Tape, y: str, dtype: np.dtype[Any]) -> Built:
        """See the module."""
        loss, dy = tape.ops(type(self).__name__, y, TARGET, outputs=("loss", f"d.{y}"), own=True)
        return Built(loss, {y: dy}, Input(TARGET, dtype, None))

    def target(self, y: Spec) -> Spec:
        """A number for each of the output."""
        return Spec(y.shape, y.dtype)

    def count_examples(self, target: Array, size: int) -> float:
        """All of them."""
        return target.size

    def count_targets(self, target: Array) -> int:
        """None: numbers are near or far."""
        return 0

    def read(self, target: Any, y: Spec) -> Array:
        """Numbers of the output's shape."""
        found = np.asarray(target)
        if found.dtype.kind not in "fiub" or found.shape != y.shape:
            raise NetworkError(
                f"train: the targets do not fit the network's output\n"
                f"  targets {found.dtype}{list(found.shape)}, output {y}\n  a number is needed for each of the output"
            )
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(found, y.dtype)
        if not np.isfinite(found).all():
            wrong = np.count_nonzero(~np.isfinite(found))
            raise NetworkError(
                f"train: a target is no number\n  {wrong} of {found.size} are NaN or inf in {y.dtype}\n"
                "  leave these examples out"
            )
        return found


class BinaryCrossEntropy(_OfNumbers):
    """Cross-entropy of scores, not yet a sigmoid, with numbers from 0 to 1, each for itself: the mean."""

    def read(self, target: Any, y: Spec) -> Array:
        """Numbers of the output's shape, from 0 to 1."""
        found = super().read(target, y)
        if ((found < 0) | (found > 1)).any():
            at = tuple(int(n) for n in np.argwhere((found < 0) | (found > 1))[0])
            raise NetworkError(
                f"train: a target is no share\n  target[{', '.join(map(str, at))}] = {found[at]}\n"
                "  numbers from 0 to 1 are needed: that something is so"
            )
        return found


class MeanSquaredError(_OfNumbers):
    """The mean of (y - target)^2."""


class MeanAbsoluteError(_OfNumbers):
    """The mean of |y - target|."""


class Output:
    """The network's own output is the loss: one number. The targets are an empty array."""

    def build(self, tape: Tape, y: str, dtype: np.dtype[Any]) -> Built:
        """Nothing is added but where the gradient begins."""
        target = Input(TARGET, dtype, (0,))
        return Built(y, {y: tape.op("Ones", y, near=f"d.{y}", own=True)}, target)

    def target(self, y: Spec) -> Spec:
        """Nothing."""
        return Spec((0,), y.dtype)

    def count_examples(self, target: Array, size: int) -> float:
        """The examples."""
        return size

    def count_targets(self, target: Array) -> int:
        """None."""
        return 0

    def read(self, target: Any, y: Spec) -> Array:
        """Nothing; the output must be one number."""
        if y.size != 1:
            raise NetworkError(
                f"train: the network's output is no loss\n  it is {y}, more than one number\n"
                "  give loss=..., or let the network end in a mean"
            )
        return np.empty(0, y.dtype)


LOSSES: dict[str, Loss] = {
    "cross_entropy": CrossEntropy(),
    "binary_cross_entropy": BinaryCrossEntropy(),
    "mean_squared_error": MeanSquaredError(),
    "mean_absolute_error": MeanAbsoluteError(),
    "output": Output(),
}
"""By the names that may be given instead."""


def loss_of(given: Loss | str) -> Loss:
    """A loss, by its name where a name is given. Raises NetworkError."""
    if isinstance(given, str):
        if given not in LOSSES:
            raise NetworkError(
                f"train: there is no loss of that name\n  loss = {format_value(given)}\n"
                f"  one of {', '.join(map(repr, LOSSES))}, or an object of convmat.train"
            )
        return LOSSES[given]
    methods = ("build", "read", "target", "count_examples", "count_targets")
    if isinstance(given, type) or not all(hasattr(given, name) for name in methods):
        raise NetworkError(
            f"train: loss is none\n  loss = {format_value(given)}\n"
            f"  one of {', '.join(map(repr, LOSSES))}, or an object of convmat.train, e.g. train.CrossEntropy()"
        )
    return given


__all__ = [
    "LOSSES",
    "TARGET",
    "BinaryCrossEntropy",
    "Built",
    "CrossEntropy",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Output",
    "loss_of",
]
