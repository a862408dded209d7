"""How the values of a program lie and which of its steps run as one: layer by layer at first, later depth first.

Preparing strips takes time, for which the first answer should not wait. A program that runs layer by layer until strips
would have saved in its calls what preparing them takes pays at worst twice what the better choice would have (Karlin,
Manasse, Rudolph and Sleator, "Competitive snoopy caching", 1988). What was called some times is mostly called again: a
third of it is waited for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Graph, Spec, Value
from ..ops.depth_first import FusedGroup
from .arena import Allotment
from .places import Places

LOOKS = 2
"""The call after which it is looked at what layers gain: what is called once gains nothing."""

PRICE = 3
"""How many times what that look takes strips must have saved; preparing them takes 6 to 13 times as long as it."""


@dataclass(frozen=True)
class ProgramLayout:
    """Where values lie in the arena, and steps that run in turns: by the first of their tasks, how many, and as what.

    `absent`: the names of values that lie nowhere, since the steps that hand them on have scratch for them.
    """

    memory: Allotment
    groups: Mapping[int, tuple[int, Any]]
    absent: tuple[str, ...] = ()


class Turn:
    """When layers begin to be computed depth first."""

    def __init__(self) -> None:
        self._calls, self._due = 0, math.inf
        self._groups: list[FusedGroup] | None = None

    def has_come(self, find: Callable[[], list[FusedGroup]]) -> bool:
        """Whether it is after this call; `find` says which layers gain by it."""
        self._calls += 1
        if self._calls < LOOKS:
            return False
        if self._groups is None:
            start = time.perf_counter()
            saved = sum(group.saved for group in self.groups(find))
            self._due = PRICE * (time.perf_counter() - start) / saved if saved else math.inf
        return self._calls >= self._due

    @property
    def over(self) -> bool:
        """Whether it is known that it never comes."""
        return self._groups is not None and math.isinf(self._due)

    def groups(self, find: Callable[[], list[FusedGroup]]) -> list[FusedGroup]:
        """What was found."""
        if self._groups is None:
            self._groups = find()
        return self._groups


def take_turn(turns: list[Turn]) -> Turn | None:
    """The one of a program, if its layers may still go deep and no other thread has it."""
    if turns:
        with suppress(IndexError):  # another one was quicker
            return turns.pop()
    return None


def take_out(placed: Places, graph: Graph, woven: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
    """Take what the nodes at these places hand on to each other out of the arena; the names of that."""
    inner = [graph.nodes[at].outputs[0] for group in woven for at in group[:-1]]
    found = tuple(name for name in inner if placed.root.get(name) == name)
    for name in found:
        del placed.lives[name], placed.root[name], placed.shift[name]
    return found


def stand_in(spec: Spec) -> Value:
    """What stands for a value that lies nowhere: of its shape, and not to be written."""
    return np.broadcast_to(np.empty((), spec.dtype), spec.shape)


__all__ = ["ProgramLayout", "Turn", "stand_in", "take_out", "take_turn"]
