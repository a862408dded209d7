"""How far apart values of indices lie in an array: side by side, evenly apart, or neither."""

from __future__ import annotations

import math

from ....lazy_dataclass import dataclass
from ....product import Index


def index_names(indices: tuple[Index, ...]) -> tuple[str, ...]:
    """The names of indices."""
    return tuple(i.name for i in indices)


def in_memory_order(indices: tuple[Index, ...], moves: dict[str, int]) -> tuple[Index, ...]:
    """The indices in the order in which an array has them, outermost first, whichever way they go."""
    return tuple(sorted(indices, key=lambda index: -abs(moves[index.name])))


def contiguous_from(indices: tuple[Index, ...], moves: dict[str, int], *, ones: bool = False) -> int | None:
    """The first index from which on all are side by side (steps of one element); None if not even the last is.

    `ones`: whether the steps of indices that take one value have to fit too.
    """
    expected, first = 1, None
    for at in range(len(indices) - 1, -1, -1):
        index = indices[at]
        if moves[index.name] != expected and (ones or index.extent != 1):
            break
        expected *= index.extent
        first = at
    return first


def is_uniform(indices: tuple[Index, ...], moves: dict[str, int], *, ones: bool = False) -> bool:
    """Whether walking the indices in order moves by the same step throughout; `ones` as in `contiguous_from`."""
    step = moves[indices[-1].name] if ones else innermost_step(indices, moves)
    expected = step
    for index in reversed(indices):
        if (ones or index.extent != 1) and moves[index.name] != expected:
            return False
        expected *= index.extent
    return True


def innermost_step(indices: tuple[Index, ...], moves: dict[str, int]) -> int:
    """The step of the innermost index that takes more than one value."""
    return next((moves[i.name] for i in reversed(indices) if i.extent != 1), 0)


def extents_in_line(run: tuple[str, ...], steps: dict[str, int], extents: dict[str, int]) -> dict[str, int]:
    """The extents of a run whose lines follow each other without a gap, taken as one line.

    >>> extents_in_line(("b", "p0", "p1"), {"b": 1000, "p0": 40, "p1": 4}, {"b": 2, "p0": 5, "p1": 10})
    {'p1': 50, 'p0': 1, 'b': 2}
    """
    lane, joined = run[-1], True
    found = {lane: extents[lane]}
    for name in reversed(run[:-1]):
        joined = joined and steps[name] == found[lane] * steps[lane]
        found[name] = 1 if joined else extents[name]
        found[lane] *= extents[name] if joined else 1
    return found


@dataclass(frozen=True)
class Scattered:
    """How k lies in an A whose rows are no lines: it has so many `indices`, of which the last in memory make a `run`.

    run: their extents, as elements lie side by side; `backwards`: against the order of the indices. Empty: no two do.
    `beside`: the rows are side by side. `even`: they are evenly apart.
    """

    indices: int
    run: tuple[int, ...] = ()
    backwards: bool = False
    beside: bool = False
    even: bool = False

    @property
    def turns(self) -> bool:
        """Whether packing transposes squares of rows and runs in registers."""
        return self.even and not self.beside and math.prod(self.run) > 1


LONGEST_RUN = 64
"""Elements of a run that are written out one by one."""


__all__ = [
    "LONGEST_RUN",
    "Scattered",
    "contiguous_from",
    "extents_in_line",
    "in_memory_order",
    "index_names",
    "innermost_step",
    "is_uniform",
]
