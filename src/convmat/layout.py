"""Layout: where the elements of an array lie, an axis after the other, each whole or split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from .lazy_dataclass import dataclass
from .processes import kept_property
from .product import Shape


@dataclass(frozen=True, slots=True)
class Dim:
    """A stretch of an array axis: `extent` elements, each `step` further along the logical axis `role`.

    An axis that holds one role whole is one Dim; channels split by 16 are Dim("c", C//16, step=16) in one place and
    Dim("c", 16) in another; `flip` runs the role backwards.
    """

    role: str
    extent: int
    step: int = 1
    flip: bool = False


@dataclass(frozen=True)
class Layout:
    """Where the elements of an array lie: for each of its axes, the Dims that the axis holds, outermost first.

    Roles are b batch, g group, c and o channels within a group, i0.. f0.. p0.. the spatial axes.

    >>> Layout.of("b", "g c", "i0", "i1", extents=dict(b=1, g=2, c=3, i0=8, i1=8)).shape
    (1, 6, 8, 8)
    """

    axes: tuple[tuple[Dim, ...], ...]

    @classmethod
    def of(cls, *axes: str, extents: Mapping[str, int]) -> Layout:
        """A layout from its axes in order, each the roles it holds.

        `c/16` is the outer and `c%16` the inner part of a split axis, and a role after a minus runs backwards.

        >>> Layout.of("b", "c/16", "i0", "c%16", extents=dict(b=1, c=64, i0=8)).shape
        (1, 4, 8, 16)
        """
        return cls(tuple([tuple([_dim(word, extents) for word in _words_of(axis)]) for axis in axes]))

    @property
    def shape(self) -> Shape:
        """The shape of the array as its owner sees it."""
        return tuple([math.prod([dim.extent for dim in axis]) for axis in self.axes])

    @kept_property
    def dims(self) -> tuple[Dim, ...]:
        """All Dims in the array's order: the shape that a View's coordinates speak of."""
        return tuple(dim for axis in self.axes for dim in axis)

    def rename(self, roles: Mapping[str, str], flip: str = "") -> Layout:
        """The same array with other roles; roles beginning with a letter of `flip` also change direction."""
        return Layout(
            tuple(
                tuple(
                    Dim(roles.get(d.role, d.role), d.extent, d.step, d.flip ^ (d.role[0] in flip))
                    for d in axis
                )
                for axis in self.axes
            )
        )

    def with_extent(self, role: str, extent: int) -> Layout:
        """The same layout where a role that is not split has another extent."""
        return Layout(
            tuple(
                tuple(replace(d, extent=extent) if d.role == role else d for d in axis) for axis in self.axes
            )
        )

    def resize(self, extents: Mapping[str, int]) -> Layout:
        """The same layout where these roles, none of them split, have other extents."""
        axes = []
        for axis in self.axes:
            changed = [Dim(d.role, extents[d.role], d.step, d.flip) if d.role in extents else d for d in axis]
            axes.append(tuple(changed))
        return Layout(tuple(axes))

    def splits(self, role: str) -> set[int]:
        """The steps at which this layout cuts a role."""
        return {dim.step for dim in self.dims if dim.role == role}

    @kept_property
    def form(self) -> tuple[Any, ...]:
        """All of it but its extents."""
        return tuple([tuple([(d.role, d.step, d.flip) for d in axis]) for axis in self.axes])

    @kept_property
    def whole(self) -> bool:
        """Whether it cuts no role."""
        return all(dim.step == 1 for dim in self.dims)


Word = tuple[str, bool, str, int]
"""A role, whether it runs backwards, and whether it is whole (""), or of a split by a step the outer ("/") or the
inner part ("%")."""


@lru_cache(maxsize=256)
def _words_of(axis: str) -> tuple[Word, ...]:
    """The roles of an axis."""
    return tuple(map(_read_word, axis.split()))


def _read_word(word: str) -> Word:
    flip, word = word.startswith("-"), word.lstrip("-")
    for part in "/%":
        if part in word:
            role, step = word.split(part)
            return role, flip, part, int(step)
    return word, flip, "", 1


def _dim(word: Word, extents: Mapping[str, int]) -> Dim:
    role, flip, part, step = word
    if part == "/":
        return Dim(role, extents[role] // step, step, flip)
    return Dim(role, step if part else extents[role], 1, flip)
