"""Scattered updates: rows or elements put where an index names, or combined with what is there.

    y[g, at(g, m)] op= u[g, m]                  m after m: whole rows of `columns` elements, or
    y[g, at(g, m, c), c] op= u[g, m, c]         each column by indices of its own

An index below 0 counts from the end of its extent. One outside of it puts nothing, and the job's word `outside` becomes
1. Updates of one place keep their order: tasks share out columns or groups, whose places differ, never m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.conversions import ELEMENTS, is_unsigned
from ...ir.emitter import Function, prefix_mask
from ...ir.formulas import greatest, least
from ...ir.instructions import Type, Value, below, const, equal, i64, maximum, minimum, select, zext
from .base import OUTSIDE, Share, SweepPlan, SweepRecipe, share_lines
from .copies import BY_SIZE
from .indexed import INDICES, PlaceReader, index_refusal
from .reductions import share_pieces

COMBINED = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
"""Element types whose updates may be combined with what is there; any may take its place."""


def _least(a: Value, b: Value, unsigned: bool) -> Value:
    if a.type.is_float:
        return least(a, b)
    return select(below(a, b), a, b) if unsigned else minimum(a, b)


def _greatest(a: Value, b: Value, unsigned: bool) -> Value:
    if a.type.is_float:
        return greatest(a, b)
    return select(below(b, a), a, b) if unsigned else maximum(a, b)


REDUCTIONS: dict[str, Callable[[Value, Value, bool], Value]] = {
    "none": lambda old, new, unsigned: new,
    "add": lambda old, new, unsigned: old + new,
    "mul": lambda old, new, unsigned: old * new,
    "max": _greatest,
    "min": _least,
}
"""What becomes of what is there and an update, by ONNX's names; `unsigned`: whether both are such integers."""


@dataclass(frozen=True)
class Scatter(SweepRecipe):
    """Types of an index and of an element, what becomes of both, lanes of a vector of a row (0: one element).

    `each`: whether every column has an index of its own.
    """

    index: Type
    type: Type
    how: str
    unsigned: bool
    lanes: int
    deep: bool
    each: bool
    words = ("group", "depth", "outer", "scale", OUTSIDE)
    arrays = ("index", "extents", "u", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Group by group, update after update."""
        item, columns = self.type.bytes, words["columns"]
        indices = PlaceReader(self.index, self.deep, self.arguments)
        with fn.loop(share.first, share.stop) as group:
            y = words["y"] + group.index * words["outer"]
            with fn.loop(0, words["group"]) as turn:
                line = group.index * words["group"] + turn.index
                u = words["u"] + line * columns * item
                if self.each:
                    index = words["index"] + line * columns * self.index.bytes
                    with fn.loop(share.begin, share.end) as column:
                        place, outside = indices.place(fn, words, index, column.index)
                        with fn.if_(not_(outside)):
                            self._put(fn, u, y + place * words["scale"], column.index * item, None)
                else:
                    place, outside = indices.place(fn, words, words["index"], line)
                    with fn.if_(not_(outside)):
                        self._row(fn, share, u, y + place * words["scale"])

    def _row(self, fn: Function, share: Share, u: Value, y: Value) -> None:
        """A task's elements of one update."""

        def vector(column: Value, left: Value | None) -> None:
            mask = None if left is None else prefix_mask(self.lanes, left)
            self._put(fn, u, y, column * self.type.bytes, mask)

        if self.lanes:
            share.vectors(fn, self.lanes, vector, 2)
        else:
            self._put(fn, u, y, const(i64, 0), None)

    def _put(self, fn: Function, u: Value, y: Value, at: Value, mask: Value | None) -> None:
        """One element, or a vector of them."""
        kind = self.type.x(self.lanes) if self.lanes else self.type
        new = fn.load(u, kind, at, mask=mask)
        if self.how != "none":
            new = REDUCTIONS[self.how](fn.load(y, kind, at, mask=mask), new, self.unsigned)
        fn.store(new, y, at, mask=mask)


def not_(mask: Value) -> Value:
    """The negation of a mask."""
    return equal(zext(mask, to=i64), 0)


@dataclass(frozen=True)
class Updates:
    """Where updates go: `groups` of `count` of them, of so many elements; distances in bytes.

    `extents`: along the axes that an index names. `each`: whether every element of an update has an index of its own.
    """

    groups: int
    count: int
    columns: int
    extents: tuple[int, ...]
    outer: int
    scale: int
    each: bool = False


def scatter(where: Updates, how: str, dtype: str, index: str, threads: int) -> SweepPlan | str:
    """The kernel that puts updates where indices name, in their order; a sentence where there is none.

    index: of int32 or int64, extents: int64, u: the updates, y: what they are put into; all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(scatter(Updates(1, 3, 2, (4,), 0, 8), "add", "float32", "int64", 1))
    >>> made.load()
    >>> u, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((4, 2), np.float32)
    >>> made(np.array([2, -1, 2]), np.array([4]), u, y)
    >>> y.tolist()
    [[1.0, 1.0], [1.0, 1.0], [5.0, 7.0], [3.0, 4.0]]
    """
    if refusal := index_refusal(index):
        return refusal
    groups, count, columns = where.groups, where.count, where.columns
    if not groups * count * columns or 0 in where.extents:
        return f"takes updates of elements, got {groups}x{count} of {columns}"
    if how != "none" and dtype not in COMBINED:
        return f"combines numbers of {', '.join(COMBINED)}, got {dtype}"
    item = np.dtype(dtype).itemsize
    if item not in BY_SIZE:
        return f"puts elements of {', '.join(map(str, BY_SIZE))} bytes, got {item}"
    type, unsigned = (BY_SIZE[item], False) if how == "none" else (ELEMENTS[dtype], is_unsigned(dtype))
    lanes = 0 if where.each or columns == 1 else host().lanes(item)
    recipe = Scatter(INDICES[index], type, how, unsigned, lanes, len(where.extents) > 1, where.each)
    words, tasks = share_lines(groups, count * columns, threads, whole=columns == 1)
    words, tasks = share_pieces(words, tasks, groups, columns)
    words |= {
        "group": count,
        "depth": len(where.extents),
        "outer": where.outer,
        "scale": where.scale,
        OUTSIDE: 0,
    }
    return SweepPlan(recipe, words, tasks, threads, groups * count * columns)


__all__ = ["REDUCTIONS", "Scatter", "Updates", "scatter"]
