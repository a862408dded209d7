"""Windows that overlap: what a part of k and a task's columns reach in x is copied once, and all taps are read there.

    copy[position] = x[position], 0 outside          along each array axis, all positions that are reached
    B[k, column]   = copy[at(k) + at(column)]        at: affine in the indices, in bytes

k falls into lines (its last index) and the columns into groups (theirs), both along the last array axis: a register
tile has an address for each of its groups of columns and jumps from line to line. So a tap costs no copy of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ....lazy_dataclass import dataclass
from ....product import Index, Product
from ...job import WORD
from ...operands import aligned_size, odd_lines_size
from .k_parts import RUN_PART, KCutting, cut_evenly
from .steps import index_names
from .walk import Check, Walk

MOST_GROUPS = 8
"""Groups of columns in a tile: their addresses stay in general registers, beside that of A and the counters."""


@dataclass(frozen=True)
class SharedWindows:
    """How windows move over x: `axes`, for each array axis the terms of k's indices and of the columns'.

    `lines`: k's indices but the `last`, whose neighbours are `step` elements apart. `columns`: the columns'
    indices, of the last of which `nears` values are `apart` elements apart.
    """

    lines: tuple[str, ...]
    last: str
    columns: tuple[str, ...]
    axes: tuple[tuple[tuple[str, int], ...], ...]
    nears: int
    apart: int
    step: int

    @classmethod
    def of(cls, product: Product, tall: int) -> SharedWindows | None:
        """Those of a product whose tiles have `tall` columns at most, if the last array axis has neighbours in both.

        None too where copying what is reached takes no fewer vectors than a panel of each column does.
        """
        b, groups = product.terms[0][1], {i.name for i in product.c.batch}
        near, depth = product.c.cols[-1], b.rows[-1]
        terms = [tuple((n, by) for n, by in c.terms if n not in groups) for c in b.coordinates]
        last = dict(terms[-1])
        alone = not any({near.name, depth.name} & dict(each).keys() for each in terms[:-1])
        if not 2 <= near.extent <= tall or last.keys() != {near.name, depth.name} or not alone:
            return None
        lines, columns = index_names(b.rows[:-1]), index_names(product.c.cols)
        found = cls(lines, depth.name, columns, (*terms,), near.extent, last[near.name], last[depth.name])
        part = largest_block(b.rows, cut_evenly(b.rows, RUN_PART))
        copied = found.vectors(part | {i.name: i.extent for i in product.c.cols}, 1)
        return found if copied < product.n * math.prod(part.values()) else None

    def count_reached(self, counts: Mapping[str, int]) -> tuple[int, ...]:
        """Positions along each array axis that a block of so many values of each index reaches."""
        return tuple(1 + sum(by * (counts[name] - 1) for name, by in terms) for terms in self.axes)

    def vectors(self, counts: Mapping[str, int], lanes: int) -> int:
        """Vectors of `lanes` that copying a block takes."""
        *lines, line = self.count_reached(counts)
        return math.prod(lines) * -(-line // lanes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The indices that number groups of near columns."""
        return self.columns[:-1]

    def panel_columns(self, tall: int) -> int:
        """Columns of a tile of `tall` at most."""
        return self.nears * min(tall // self.nears, MOST_GROUPS)

    def walk(self, b: Walk) -> Walk:
        """The walk of the copy, if `b` is that of the View: each array axis is an index of its own."""
        *axes, lane = axis_names(self.axes)
        own = {name for terms in self.axes for name, _ in terms}
        checks = tuple(
            Check(c.axis, (*((n, by) for n, by in c.terms if n not in own), (f"axis{c.axis}", 1)), c.offset)
            for c in b.checks
        )
        return Walk((lane,), (*axes,), checks, b.moved, 1)

    def arguments(self) -> list[str]:
        """Words of a kernel: steps of indices and axes in the copy, and where tables of addresses lie in scratch."""
        steps = [f"window {name}" for name in (*self.lines, *self.groups)]
        return [
            *steps,
            *(f"copy {name}" for name in axis_names(self.axes)[:-1]),
            "groups",
            "lines",
            "reach",
            "ahead",
        ]


def axis_names(axes: Sequence[object]) -> list[str]:
    """A name for each array axis, as an index of the copy."""
    return [f"axis{a}" for a in range(len(axes))]


def largest_block(indices: tuple[Index, ...], how: KCutting) -> dict[str, int]:
    """Values of each index in the largest block of an index space that is cut this way."""
    at = -1 if how.at is None else how.at
    return {
        index.name: 1 if place < at else how.step if place == at else index.extent
        for place, index in enumerate(indices)
    }


@dataclass(frozen=True)
class WindowCopy:
    """The copy of the largest block: so many values of each index, `lanes` elements of `item` bytes in a vector."""

    windows: SharedWindows
    counts: Mapping[str, int]
    lanes: int
    item: int

    @property
    def steps(self) -> tuple[int, ...]:
        """Bytes from one position to the next along each array axis, and of the whole: odd numbers of cache lines."""
        steps, size = [self.item], self.item
        for extent in reversed(self.windows.count_reached(self.counts)):
            size = odd_lines_size(size * extent)
            steps.append(size)
        return tuple(reversed(steps))

    @property
    def vectors(self) -> int:
        """Vectors of it."""
        return self.windows.vectors(self.counts, self.lanes)

    @property
    def bytes(self) -> int:
        """Bytes of it."""
        return self.steps[0]

    def words(self, tables: int) -> dict[str, int]:
        """Steps in it as kernel arguments, and from `tables` on in scratch where tables of addresses lie, to their end.

        One of the groups of a task's columns, one of the lines of a part of k, and what of x is reached.
        """
        w, axes = self.windows, axis_names(self.windows.axes)
        steps = dict(zip(axes, self.steps[1:], strict=True))
        moves = dict.fromkeys((*w.lines, *w.groups), 0)
        for terms, step in zip(w.axes, self.steps[1:], strict=True):
            moves |= {name: moves[name] + by * step for name, by in terms if name in moves}
        lines = tables + WORD * math.prod(self.counts[name] for name in w.groups)
        reach = lines + WORD * math.prod(self.counts[name] for name in w.lines)
        places = {
            "groups": tables,
            "lines": lines,
            "reach": reach,
            "scratch size": aligned_size(reach + 2 * WORD * len(axes)),
        }
        return (
            {f"copy {a}": steps[a] for a in axes[:-1]}
            | {f"window {n}": by for n, by in moves.items()}
            | places
        )


def copy_of(windows: SharedWindows, product: Product, most: int, lanes: int, item: int) -> WindowCopy:
    """The copy of a task of `most` columns."""
    indices = product.terms[0][1].rows, product.c.cols
    part, columns = (
        largest_block(each, cut_evenly(each, size))
        for each, size in zip(indices, (RUN_PART, most), strict=True)
    )
    return WindowCopy(windows, part | columns, lanes, item)


def most_columns(copy: WindowCopy, product: Product, nr: int, limit: int) -> int:
    """Columns of a task whose copy is within `limit` bytes, in tiles of `nr`; `copy`: that of all columns."""
    pieces, most = max(copy.bytes // limit, 1), product.n
    while copy.bytes > limit and most > nr:
        pieces += 1
        most = max(-(-product.n // pieces), nr)
        copy = copy_of(copy.windows, product, most, copy.lanes, copy.item)
    return most


__all__ = ["SharedWindows", "WindowCopy", "axis_names", "copy_of", "largest_block", "most_columns"]
