"""What was found of problems of one kind, for others of it: those that differ in batch and spatial extents alone.

    near(kind, extents) = ways within NEAR of the quickest at the nearest extents that were weighed in full;
                          of these those within less, where the extents are less than SCALE apart

A network that meets a new image size asks for dozens of plans at once, whose kernels are there already. How its ways
compare changes slowly with the extents: what is not near the quickest, where no extent is more than SCALE times
another, is not weighed. Transformed tiles fill maps up, by jumps: where they are near, all ways are weighed, but for
maps of many tiles that are filled about alike.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..lazy_dataclass import dataclass
from ..lowering import ALL
from ..problem import Problem
from ..processes import Lock
from ..product import Transform
from .kept_kinds import ROWS, KeptKinds, Row

if TYPE_CHECKING:
    from ..geometry import Geometry

NEAR = 1.3
"""Times the quickest way's seconds: slower ways are left out. Their ratio changes by less than that within SCALE."""

TILED_NEAR = 2.0
"""The same of transformed products: with one of these so near, all ways are weighed."""

SCALE = 2.0
"""How many times larger or smaller any extent may be: caches hold a quarter or four times as much of a map then."""

KINDS = 1024
"""Kinds that are remembered, and of each as many problems that were weighed in full as are kept."""


@dataclass(frozen=True)
class Member:
    """A problem that was weighed in full, and the ways that are near the quickest there, the quickest first.

    `near`: each with how many times the quickest one's seconds it takes, or may take at least. `tiled`: transformed
    products are near, so it says nothing of other extents.
    """

    geometry: Geometry
    near: Mapping[str, float]
    tiled: bool = False

    def apart(self, geometry: Geometry) -> float:
        """How many times an extent of one geometry is that of the other, at most; tiles filled otherwise count as much.

        That is, as an extent so many times larger changes ratios of ways as they do.
        """
        apart = _compare_extents(self.geometry, geometry)
        if not self.tiled or apart == 1.0:
            return apart
        return apart * math.pow(_compare_filling(self.geometry, geometry), math.log(SCALE, NEAR))

    def near_at(self, geometry: Geometry) -> list[str]:
        """Those that may be the quickest at other extents: ratios change by NEAR within SCALE, by less within less."""
        apart = math.log(self.apart(geometry), SCALE)
        return [name for name, ratio in self.near.items() if ratio <= NEAR**apart]


class Kinds:
    """The kinds that were met last, and those that are `kept` on disk."""

    def __init__(self, kept: KeptKinds | None = None) -> None:
        self._known: OrderedDict[Any, list[Member]] = OrderedDict()
        self._kept = kept
        self._lock = Lock()

    def nearest(self, problem: Problem, *more: Any) -> Member | None:
        """The member whose extents are nearest to a problem's; None where none is within SCALE. `more`: see `add`."""
        key = (problem.kind, *more)
        with self._lock:
            members = self._known.get(key)
            if members is None and self._kept is not None:
                rows = self._kept.find(problem.threads, repr(key))
                members = self._known[key] = [_member_of(problem, row) for row in rows]
                self._forget_oldest()
        least: float = SCALE
        found: Member | None = None
        for each in members or ():
            # How tiles are filled takes longer to see, and puts members only further apart.
            if _is_nearer(_compare_extents(each.geometry, problem.geometry), least, found):
                apart = each.apart(problem.geometry)
                if _is_nearer(apart, least, found):
                    least, found = apart, each
        return found

    def add(self, problem: Problem, near: Mapping[str, float], *more: Any, tiled: bool = False) -> None:
        """Remember a problem that was weighed in full. `more`: what else its choice depends on."""
        key, g = (problem.kind, *more), problem.geometry
        with self._lock:
            members = self._known.pop(key, [])
            self._known[key] = [*members[1 - ROWS :], Member(g, near, tiled)]
            self._forget_oldest()
            if self._kept is not None:
                self._kept.add(problem.threads, repr(key), [g.B, list(g.I), dict(near), tiled])

    def keep(self) -> None:
        """Put on disk what was added."""
        if self._kept is not None:
            self._kept.write()

    def _forget_oldest(self) -> None:
        while len(self._known) > KINDS:
            self._known.popitem(last=False)


def _member_of(problem: Problem, row: Row) -> Member:
    """The member of a problem's kind that was kept."""
    batch, extents, near, tiled = row
    return Member(replace(problem.geometry, B=batch, I=tuple(extents)), near, tiled)


def _is_nearer(apart: float, least: float, found: Member | None) -> bool:
    """Whether a member is nearer than the nearest one that was found, if any was."""
    return apart < least or (apart == least and found is None)


def _compare_extents(a: Geometry, b: Geometry) -> float:
    """How many times an extent of one geometry is that of the other, at most; extents of 1 are of their own kind."""
    most = 1.0
    for m, n in zip((a.B, *a.I, *a.P), (b.B, *b.I, *b.P), strict=True):
        if m != n:
            small, large = min(m, n), max(m, n)
            most = max(most, large / small if small > 1 else float("inf"))
    return most


TILES = 16
"""Tiles of an image from which on a few more or less do not matter to how a product of them is shared out."""


def _compare_filling(a: Geometry, b: Geometry) -> float:
    """How many times as full tiles of a transform are at one geometry as at the other, at most; of few tiles: infinity.

    So it is of long or dilated filters: Fourier's windows are near those.
    """
    if max(a.F) > 3 or {*a.d, *a.e} != {1}:
        return float("inf")
    most = 1.0
    for lowering in ALL:
        if lowering.transform is not Transform:
            continue
        tile, filled = lowering.tile(a), []
        for extents in (a.P, b.P):
            tiles = [-(-p // t) for p, t in zip(extents, tile, strict=True)]
            if math.prod(tiles) < TILES:
                return float("inf")
            filled.append(math.prod(p / (n * t) for p, n, t in zip(extents, tiles, tile, strict=True)))
        most = max(most, max(filled) / min(filled))
    return most


__all__ = ["Kinds", "Member"]
