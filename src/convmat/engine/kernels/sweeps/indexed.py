"""Indexed copies: rows of bytes, each from where an index names it.

    y[l, j] = x[(l / group) * outer + at(l, j) * scale + j * own]        in bytes, `row` of them
    at(l, j) = index[l * apart + j, 0], or ((index[.., 0] * extent 1 + index[.., 1]) * extent 2 + index[.., 2]) ..

An index below 0 counts from the end of its extent. For one outside of it the first place is read, and the job's word
`outside` becomes 1: who started it looks there.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.arguments import Arguments
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Type, Value, below, const, i8, i32, i64, less, not_equal, select, sext, udiv
from .base import OUTSIDE, Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .copies import BY_SIZE
from .reductions import share_pieces

INDICES = {"int32": i32, "int64": i64}
"""Types of indices, by NumPy's names."""

WORD = i32.bytes
"""Bytes that rows are copied by, where their number is a multiple of it."""


@dataclass(frozen=True)
class Indexed:
    """Where rows lie: `lines` of `columns` of them; distances in bytes, but `apart`, from line to line, in rows.

    `extents`: along the axes that an index names.
    """

    lines: int
    columns: int
    row: int
    extents: tuple[int, ...]
    outer: int
    scale: int
    group: int = 1
    own: int = 0
    apart: int = 0


@dataclass(frozen=True)
class PlaceReader:
    """How a kernel reads indices: their type, whether they are tuples, and how its words lie."""

    type: Type
    deep: bool
    names: Arguments

    def place(
        self, fn: Function, words: Mapping[str, Value], index: Value, column: Value
    ) -> tuple[Value, Value]:
        """What the index at a column says, counted along all axes that it names; true if it lies outside of one."""
        item, none = self.type.bytes, const(i64, 0)
        if not self.deep:
            place, outside = self._read(fn, index + column * item, fn.load(words["extents"], i64))
        else:
            first = index + column * words["depth"] * item
            with fn.loop(0, words["depth"], carried=[none, none]) as axis:
                n = fn.load(words["extents"], i64, axis.index * i64.bytes)
                found, beyond = self._read(fn, first + axis.index * item, n)
                axis.carry(axis.carried[0] * n + found, select(beyond, const(i64, 1), axis.carried[1]))
            place, outside = axis.results[0], not_equal(axis.results[1], 0)
        with fn.if_(outside):
            fn.store(const(i64, 1), fn.arguments[0], self.names.offset(OUTSIDE))
        return place, outside

    def _read(self, fn: Function, at: Value, extent: Value) -> tuple[Value, Value]:
        found = fn.load(at, self.type)
        wide = found if self.type == i64 else sext(found, to=i64)
        place = select(less(wide, const(i64, 0)), wide + extent, wide)
        return place, below(extent - 1, place)


@dataclass(frozen=True)
class IndexedCopy(SweepRecipe):
    """Types of an index and of what is copied, lanes of a vector (0: a row is one element), whether tuples are read."""

    index: Type
    type: Type
    lanes: int
    deep: bool
    words = ("row", "depth", "outer", "scale", "group", "own", "apart", OUTSIDE)
    arrays = ("x", "index", "extents", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Row by row."""
        row, indices = words["row"], PlaceReader(self.index, self.deep, self.arguments)
        with fn.loop(share.first, share.stop) as line:
            x = words["x"] + udiv(line.index, words["group"]) * words["outer"]
            y = words["y"] + line.index * words["columns"] * row
            index = words["index"] + line.index * words["apart"] * words["depth"] * self.index.bytes
            with fn.loop(share.begin, share.end) as column:
                found, outside = indices.place(fn, words, index, column.index)
                place = select(outside, const(i64, 0), found)
                here = x + place * words["scale"] + column.index * words["own"]
                there = y + column.index * row
                if self.lanes:
                    self._copy(fn, share, (here, there), row)
                else:
                    fn.store(fn.load(here, self.type), there)

    def _copy(self, fn: Function, share: Share, arrays: tuple[Value, Value], row: Value) -> None:
        """All vectors of a row."""
        (here, there), kind, item = arrays, self.type.x(self.lanes), self.type.bytes
        count = udiv(row, row - row + item)

        def vector(at: Value, left: Value | None) -> None:
            mask = None if left is None else prefix_mask(self.lanes, left)
            fn.store(fn.load(here, kind, at * item, mask=mask), there, at * item, mask=mask)

        Share(share.first, share.stop, count - count, count).vectors(fn, self.lanes, vector, 4)


def index_refusal(index: str) -> str | None:
    """The sentence why no kernel reads indices of this type on this CPU, if none does."""
    if index not in INDICES:
        return f"takes indices of {' and '.join(INDICES)}, got {index}"
    return kernel_refusal()


def indexed_copy(where: Indexed, index: str, threads: int) -> SweepPlan | str:
    """The kernel that copies rows from where indices name them; a sentence where there is none.

    x, index: of int32 or int64, a row's are next to each other, extents: int64 -> y: (lines, columns) rows;
    all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(indexed_copy(Indexed(1, 3, 8, (4,), 32, 8), "int64", 1))
    >>> made.load()
    >>> x, y = np.arange(8, dtype=np.float32).reshape(4, 2), np.empty((3, 2), np.float32)
    >>> made(x, np.array([2, -1, 0]), np.array([4]), y)
    >>> y.tolist()
    [[4.0, 5.0], [6.0, 7.0], [0.0, 1.0]]
    """
    if refusal := index_refusal(index):
        return refusal
    lines, columns, row = where.lines, where.columns, where.row
    if not lines * columns * row or 0 in where.extents:
        return f"takes rows of bytes, got {lines}x{columns} of {row}"
    single = BY_SIZE.get(row)
    type = single or (i8 if row % WORD else i32)
    lanes = 0 if single else host().lanes(type.bytes)
    recipe = IndexedCopy(INDICES[index], type, lanes, len(where.extents) > 1)
    work = columns * max(1, row // WORD)
    words, tasks = share_lines(lines, work, threads, whole=False)
    words, tasks = share_pieces(words, tasks, lines, columns)
    words |= {"row": row, "depth": len(where.extents), "outer": where.outer, "scale": where.scale}
    words |= {"group": where.group, "own": where.own, "apart": where.apart, OUTSIDE: 0}
    return SweepPlan(recipe, words, tasks, threads, lines * work)


__all__ = ["Indexed", "IndexedCopy", "PlaceReader", "index_refusal", "indexed_copy"]
