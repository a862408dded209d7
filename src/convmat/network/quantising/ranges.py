"""Scales and zero points from what a network computes of examples.

    min-max   least and greatest value, 0 among them, are the ends of the 8-bit range
    mse       the ends, at most those, that leave the least squared error: of values within, that of rounding; of values
              beyond, their distance to the end
    l2.4      the same of |error|^2.4, which cuts less: a large value is often what a network looks for

    scale = (high - low) / 255        zero = round(-low / scale), counted from the type's smallest number

The error is that of a histogram with BINS bins, each taken for its middle; of weights always the squared one.
Nahshan and others, 2019 (powers other than 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ...errors import NetworkError
from ...lazy_dataclass import dataclass
from ..graph import Array

POWERS = {"l2.4": 2.4, "mse": 2.0}
"""The power of the error that is least, by method."""

METHODS = (*POWERS, "min-max")

BINS = 2048

SHARES: Sequence[float] = np.linspace(1.0, 0.3, 71).tolist()
"""Shares of a range that are tried as its ends."""

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""From a network's inputs to values by name."""


@dataclass(frozen=True)
class Grain:
    """What 8-bit numbers stand for: (q - zero) * scale, with `zero` of their element type.

    >>> Grain.of(-1.0, 3.0, np.dtype("uint8"))
    Grain(scale=np.float32(0.015686275), zero=np.uint8(64))
    """

    scale: np.float32
    zero: np.integer[Any]

    @classmethod
    def of(cls, low: float, high: float, dtype: np.dtype[Any]) -> Grain:
        """The one whose numbers reach from `low` to `high`, and hold 0."""
        least = np.iinfo(dtype).min
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32(max((high - low) / 255, SMALLEST)) if high > low else np.float32(1)
        zero = least + min(max(round(-low / float(scale)), 0), 255)
        return cls(scale, dtype.type(zero))


SMALLEST = 2.0**-60
"""The least scale: smaller products of two are no float32."""


@dataclass
class SeenRange:
    """What was seen of one value: its ends, its mean for each channel (axis 1, or the last), and a histogram."""

    low: float = np.inf
    high: float = -np.inf
    sums: Array | None = None
    count: int = 0
    bins: Array = field(default_factory=lambda: np.zeros(BINS))

    def look(self, name: str, array: Array, axis: int | None) -> None:
        """Count an array in; `axis`: channels whose means are wanted. Raises NetworkError for what is not finite."""
        if not array.size:
            return
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise NetworkError(
                f"quantize: the network computes numbers that are not finite\n"
                f"  {name!r} reaches from {low} to {high}\n  give it examples as it was trained with"
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        if axis is not None:
            others = tuple(a for a in range(array.ndim) if a != axis % array.ndim)
            sums = array.sum(others, dtype=np.float64)
            self.sums = sums if self.sums is None else self.sums + sums
            self.count += array.size // array.shape[axis]

    @property
    def mean(self) -> Array:
        """Mean of each channel."""
        assert self.sums is not None
        return np.asarray(self.sums / max(self.count, 1))

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest, 0 where nothing was seen."""
        return (self.low, self.high) if self.low <= self.high else (0.0, 0.0)


def watch(
    run: Run,
    batches: Iterable[Mapping[str, Array]],
    channels: Mapping[str, int | None],
    grain: Callable[[str], str],
) -> dict[str, SeenRange]:
    """What values are, by their names, over all batches; by `grain`'s names their common ends and histograms.

    `channels`: of each value that is looked at, the axis along which means are wanted.
    """
    found = {name: SeenRange() for name in channels}
    for batch in batches:
        values = run(batch)
        for name, axis in channels.items():
            found[name].look(name, values[name], axis)
    for name, each in list(found.items()):
        root = found[grain(name)]
        root.low, root.high = min(root.low, each.low), max(root.high, each.high)
    return found


def count_bins(
    run: Run,
    batches: Iterable[Mapping[str, Array]],
    found: Mapping[str, SeenRange],
    grain: Callable[[str], str],
) -> None:
    """Fill the histograms of all grains, whose ends are known."""
    for batch in batches:
        values = run(batch)
        for name in found:
            root = found[grain(name)]
            low, high = root.ends
            if high > low:
                root.bins += np.histogram(values[name], BINS, (low, high))[0]


def least_error(each: SeenRange, power: float = 2.0) -> tuple[float, float]:
    """The ends that leave the least |error|^power of what a histogram holds.

    >>> flat = SeenRange(-1.0, 1.0)
    >>> flat.bins += 1
    >>> least_error(flat)
    (-1.0, 1.0)
    >>> flat.bins[: BINS // 2] = 0
    >>> flat.bins[0] = 1e-6  # one far away, and seldom
    >>> low, high = least_error(flat)
    >>> low > -0.95, high
    (True, 1.0)
    """
    low, high = (min(each.ends[0], 0.0), max(each.ends[1], 0.0))
    middles = each.ends[0] + (np.arange(BINS) + 0.5) * ((each.ends[1] - each.ends[0]) / BINS)
    best = (low, high)
    for end in (1, 0, 1):  # one end after the other, as each moves what rounding the rest costs
        tried = [(best[0], high * s) if end else (low * s, best[1]) for s in SHARES]
        best = tried[int(np.argmin([_error(middles, each.bins, *ends, power) for ends in tried]))]
    return best


def _error(middles: Array, counts: Array, low: float, high: float, power: float) -> float:
    """The error, to a power, of numbers between the ends, rounded uniformly, and beyond them."""
    half = (high - low) / 255 / 2
    beyond = np.maximum(low - middles, 0) + np.maximum(middles - high, 0)
    inside = beyond == 0
    return float(counts @ beyond**power + counts[inside].sum() * half**power / (power + 1))


# -- weights -----------------------------------------------------------------------------------------------------------


def of_filters(w: Array, axis: int, method: str) -> Array:
    """Scales of int8 weights, (O,) in float32: -127 .. 127 for each index of the axis, around 0.

    >>> of_filters(np.array([[1.27, -0.5], [0.0, 0.0]], np.float32), 0, "min-max")
    array([0.01, 1.  ], dtype=float32)
    """
    rows = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1)
    most = np.abs(rows).max(1, initial=0.0)
    if method == "min-max":
        return _scales(most)
    best, least = most, np.full(len(rows), np.inf)
    for share in WEIGHT_SHARES:
        scales = _scales(most * np.float32(share))[:, None]
        apart = np.clip(np.rint(rows / scales), -127, 127) * scales - rows
        error = np.einsum("ok,ok->o", apart, apart)
        best, least = np.where(error < least, most * np.float32(share), best), np.minimum(error, least)
    return _scales(best)


WEIGHT_SHARES: Sequence[float] = tuple(np.linspace(1.0, 0.6, 17))


def _scales(most: Array) -> Array:
    return np.where(most > 0, np.maximum(most / np.float32(127), np.float32(SMALLEST)), np.float32(1)).astype(
        np.float32
    )


__all__ = ["METHODS", "POWERS", "Grain", "SeenRange", "count_bins", "least_error", "of_filters", "watch"]
