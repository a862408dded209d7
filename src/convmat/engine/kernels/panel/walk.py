"""A View as a packer walks it: along what vectors run, which taps they are read for, and what has to be checked.

`pack_b` has the words: run, lane index, taps. Taps along the lane axis are near each other: they share cache lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....lazy_dataclass import dataclass
from ....product import View

LARGEST_EXTENT = 1 << 29
"""The longest axis whose positions are compared in 32 bits."""

_SPARE = 64
"""Steps that lanes may go beyond the last of an index."""


def distance_refusal(view: View) -> str | None:
    """The sentence why positions along an axis of x cannot be compared in 32 bits, if they cannot."""
    indices = view.extents
    for c in view.coordinates:
        reach = abs(c.offset) + sum(abs(by) * (indices[name] + _SPARE) for name, by in c.terms)
        if c.extent > LARGEST_EXTENT or reach > 2 * LARGEST_EXTENT:
            return f"counts positions in 32 bits: no axis over {LARGEST_EXTENT}, its padding included"
    return None


MOST_NEAR = 8
"""Taps along the lane axis are written out one by one up to this many; more are a loop."""

SQUARE = 16
"""Lanes of the widest vectors: so many taps side by side, of so many outputs apart, are a square to be transposed."""


@dataclass(frozen=True)
class Check:
    """An array axis on which the View may leave its array: offset + sum of coefficient * index, in [0, limit)."""

    axis: int
    terms: tuple[tuple[str, int], ...]
    offset: int

    def by(self, name: str) -> int:
        """How far one step of an index goes along the axis."""
        return dict(self.terms).get(name, 0)


@dataclass(frozen=True)
class Walk:
    """A View as the packer walks it: run and tap indices by name, and what has to be checked.

    `coefficient` is how many elements apart neighbours along the lane index are. `near` is the tap index that moves
    along the same array axis, if it takes few values: `nears` of them, `apart` elements apart, which share cache lines.
    `moved`: the checked axes along which indices move that are neither run nor tap; who fixes those says how far.
    """

    run: tuple[str, ...]
    taps: tuple[str, ...]
    checks: tuple[Check, ...]
    moved: tuple[int, ...]
    coefficient: int
    near: str = ""
    nears: int = 1
    apart: int = 0

    @classmethod
    def of(cls, view: View, run: Sequence[str], taps: Sequence[str]) -> Walk:
        """The walk of a View over an array whose last axis is contiguous; all axes that may leave it are checked.

        If one may leave it, so may others that windows slide along, at other extents: they are checked too.
        """
        groups, fixed = {i.name for i in view.batch}, {i.name for i in view.indices} - {*run, *taps}
        checks: tuple[Check, ...] = ()
        if view.risky:
            checks = tuple(
                Check(a, c.terms, c.offset)
                for a, c in enumerate(view.coordinates)
                if a in view.risky or (len(c.terms) > 1 and not groups & dict(c.terms).keys())
            )
        moved = tuple(c.axis for c in checks if any(c.by(name) for name in fixed))
        last = dict(view.coordinates[-1].terms)
        coefficient = last.pop(run[-1])
        # The innermost of the sum alone is whole wherever the sum is cut.
        inner = next((name for name in reversed(taps) if view.extents[name] > 1), "")
        most = SQUARE if coefficient >= SQUARE and not checks and last.get(inner) == 1 else MOST_NEAR
        beside = [name for name in last if name == inner and view.extents[name] <= most]
        if len(last) != 1 or not beside:
            return cls(tuple(run), tuple(taps), checks, moved, coefficient)
        (near,) = beside
        return cls(tuple(run), tuple(taps), checks, moved, coefficient, near, view.extents[near], last[near])

    @property
    def plain(self) -> bool:
        """Whether a panel's lines lie in the array as they are: one tap, nothing outside, neighbours side by side."""
        return len(self.taps) == 1 and not self.checks and self.coefficient == 1

    @property
    def square(self) -> bool:
        """Whether each output has as many taps side by side as the widest vector has lanes, all inside the array."""
        return self.nears == SQUARE

    @property
    def lane(self) -> str:
        """The index along which lanes lie."""
        return self.run[-1]

    def arguments(self) -> list[str]:
        """The words a kernel needs: byte steps and extents of the indices, limits of the checked axes."""
        indices = (*self.run, *self.taps)
        words = [f"{what} {name}" for what in ("step", "extent") for name in indices]
        return [*words, *(f"limit {c.axis}" for c in self.checks)]


__all__ = ["LARGEST_EXTENT", "SQUARE", "Check", "Walk", "distance_refusal"]
