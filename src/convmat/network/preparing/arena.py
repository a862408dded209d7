"""Places in one arena for values that live at different times.

A value lives from the node that writes it to the last that reads it. The largest is placed first, each at the lowest
place where nothing that lives at the same time lies: within a few per cent of the least possible on real networks.
Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020 (greedy by size).
"""

from __future__ import annotations

from collections.abc import Mapping

from ...lazy_dataclass import dataclass

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""


@dataclass(frozen=True)
class Life:
    """How many bytes are needed from one node to another, both included."""

    bytes: int
    first: int
    last: int

    def until(self, last: int) -> Life:
        """The same, living on to a later node."""
        return self if last <= self.last else Life(self.bytes, self.first, last)

    def meets(self, other: Life) -> bool:
        """Whether both are needed at some node."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Allotment:
    """Where each value begins in an arena of `size` bytes; `least` bytes are alive at the busiest node."""

    places: Mapping[str, int]
    size: int
    least: int


def allot(lives: Mapping[str, Life], root: Mapping[str, str], shift: Mapping[str, int]) -> Allotment:
    """Places for the values of `lives`, and for those that lie where others do: `shift` bytes into `root`.

    >>> at = {name: name for name in "abc"}
    >>> allot({"a": Life(64, 0, 1), "b": Life(64, 1, 2), "c": Life(64, 2, 3)}, at, {}).size
    128
    """
    places: dict[str, int] = {}
    done: list[str] = []
    for name in sorted(lives, key=lambda each: (-lives[each].bytes, lives[each].first)):
        taken = sorted(
            (places[other], places[other] + _pad(lives[other].bytes))
            for other in done
            if lives[other].meets(lives[name])
        )
        at = 0
        for begin, end in taken:
            if at + _pad(lives[name].bytes) <= begin:
                break
            at = max(at, end)
        places[name] = at
        done.append(name)
    size = max((places[name] + _pad(life.bytes) for name, life in lives.items()), default=0)
    times = {life.first for life in lives.values()}
    least = max(
        (sum(_pad(x.bytes) for x in lives.values() if x.first <= t <= x.last) for t in times), default=0
    )
    return Allotment({name: places[other] + shift.get(name, 0) for name, other in root.items()}, size, least)


def _pad(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
