"""What becomes of a block's products at all points: outputs, the sum of all tasks' parts, the store into C.

    collect    part[vector][column][v] (+)= post of M       lanes along rows of C; NaN where products are not sound
    finish     y = epilogue(sum of the parts)               turned on the way out

An element of C that is not sound in one part, because products are not finite or too large beside the others, is taken
by the definition, whole:

    out[v0][v1] = sum over c, f0, f1 of  x[c, v0 + f0, v1 + f1] * w[m, c, f0, f1]        lanes along m

(see `winograd.definition` for why).
"""

from __future__ import annotations

import math
from functools import reduce

from ...ir.constant_matmul import combine
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Value,
    add,
    all_lanes,
    below,
    const,
    equal,
    fma,
    greater,
    i64,
    minimum,
    ptr,
    select,
    splat,
)
from ..epilogue import Store, Target, TileEpilogue, gather_at
from ..tile import Tile
from .recipe import PiecesWriter


def collect(writer: PiecesWriter, rows: int) -> Function:
    """The outputs of `count` columns by `rows` rows of A, from M to a task's part, added to those before if `more`."""
    r, size = writer.r, writer.r.vector_bytes
    fn = writer.made.function(
        f"collect_{rows}", {"m": ptr, "to": ptr, "count": i64, "more": i64, "args": ptr}
    )
    m, to, count, more, args = fn.arguments
    plane = writer.word(fn, args, "m plane")
    t0, t1, (m0, m1) = r.rows.points, r.columns.points, r.outputs
    for vector in range(rows // r.lanes):
        with fn.loop(0, count) as column:
            at = m + column.index * (rows * writer.item) + vector * size
            read: list[list[Value]] = [[] for _ in range(t1)]
            for _ in range(t0):
                for s1 in range(t1):
                    read[s1].append(fn.load(at, writer.vector))
                    at = at + plane
            # One chain for each column: a single one would be waited for.
            squares = []
            for each in read:
                square = each[0] * each[0]
                for value in each[1:]:
                    square = fma(value, value, square)
                squares.append(square)
            sound = writer.sound(reduce(add, squares))
            half = [combine(r.rows.post, each) for each in read]
            made = [value for v0 in range(m0) for value in combine(r.columns.post, [h[v0] for h in half])]
            made = [select(sound, value, const(writer.vector, math.nan)) for value in made]
            out = to + (column.index + vector * r.wide) * (m0 * m1 * size)
            with fn.if_(equal(more, 0)) as first:
                for i, value in enumerate(made):
                    fn.store(value, out, i * size)
            with first.otherwise():
                for i, value in enumerate(made):
                    fn.store(fn.load(out, writer.vector, i * size) + value, out, i * size)
    return fn


class Finish:
    """Writes the function that adds up parts and stores C, and the definition that it falls back to."""

    def __init__(self, writer: PiecesWriter) -> None:
        self.writer = writer
        self.definition = definition(writer)

    def write(self, rows: int) -> Function:
        """A vector of `rows` rows of C, `count` columns, from `parts` parts; (row, column) is where x begins."""
        writer = self.writer
        r, size = writer.r, writer.r.vector_bytes
        fn = writer.made.function(
            f"finish_{rows}",
            {"partial": ptr, "parts": i64, "y": ptr, "residual": ptr, "bias": ptr, "count": i64, "down": i64,
             "across": i64, "x": ptr, "row": i64, "column": i64, "w": ptr, "out": ptr, "args": ptr},
        )  # fmt: skip
        partial, parts, y, residual, bias, count, _, _, x, row, column, w, out, args = fn.arguments
        m0, m1 = r.outputs
        step = writer.word(fn, args, "partial part")
        zero = out + writer.word(fn, args, "lines") * -1  # a task's scratch begins with zeros: no place moves
        y_n, x_channel = writer.word(fn, args, "y n"), writer.word(fn, args, "x channel")
        with fn.loop(0, count) as each:
            at = partial + each.index * (m0 * m1 * size)
            first = [fn.load(at, writer.vector, i * size) for i in range(m0 * m1)]
            with fn.loop(1, parts, carried=first) as part:
                there = at + part.index * step
                part.carry(*(
                    total + fn.load(there, writer.vector, i * size) for i, total in enumerate(part.carried)
                ))  # fmt: skip
            sums = part.results
            sound = equal(sums[0], sums[0])
            with fn.if_(equal(all_lanes(sound), 0), default=sums) as lost:
                fn.call(
                    self.definition.address, x + each.index * x_channel, row, column, w, const(i64, rows), out,
                    args,
                )  # fmt: skip
                lost.carry(*(
                    select(sound, total, fn.load(out, writer.vector, i * size)) for i, total in enumerate(sums)
                ))  # fmt: skip
            moved = each.index * y_n
            self._store(fn, lost.results, Target(y + moved, residual + moved, bias, y_n, count, zero), rows)
        return fn

    def _store(self, fn: Function, sums: list[Value], to: Target, rows: int) -> None:
        """The outputs of one column and a vector of rows, as far as C has them."""
        writer = self.writer
        r, item = writer.r, writer.item
        (m0, m1), args = r.outputs, fn.arguments[-1]
        down, across = fn.arguments[6:8]
        y_o, y_row = writer.word(fn, args, "y o"), writer.word(fn, args, "y row")
        finish = TileEpilogue(r.work, r.bias, r.residual, r.activation, True, Store.TURNED)
        if r.flat:
            tile = Tile(r.work, m0 * m1, 1, r.lanes, item, item, item)
            target = Target(to.c, to.residual, to.bias, y_o, down * across, to.places)
            finish.emit(fn, tile, [[each] for each in sums], target, rows)
            return
        if r.scattered:
            self._scatter(fn, sums, to, rows)
            return
        tile = Tile(r.work, m1, 1, r.lanes, item, item, item)
        for v0 in range(m0):
            with fn.if_(greater(down, v0)):
                c, residual = to.c + y_row * v0, to.residual + y_row * v0
                target = Target(c, residual, to.bias, y_o, minimum(across, m1), to.places)
                finish.emit(fn, tile, [[each] for each in sums[v0 * m1 : v0 * m1 + m1]], target, rows)

    def _scatter(self, fn: Function, sums: list[Value], to: Target, rows: int) -> None:
        """The same one by one, where lines of C have other outputs between these."""
        writer = self.writer
        r, item = writer.r, writer.item
        m1, (down, across, *_), args = r.outputs[1], fn.arguments[6:], fn.arguments[-1]
        y_o, y_row, y_column = (writer.word(fn, args, name) for name in ("y o", "y row", "y column"))
        finish = TileEpilogue(r.work, r.bias, r.residual, r.activation, True, Store.SCATTERED)
        tile = Tile(r.work, 1, 1, r.lanes, item, item, item)
        for number, value in enumerate(sums):
            v0, v1 = divmod(number, m1)
            with fn.if_(greater(down, v0) & greater(across, v1)):
                moved = y_row * v0 + y_column * v1
                target = Target(to.c + moved, to.residual + moved, to.bias, y_o, across, to.places)
                finish.emit(fn, tile, [[value]], target, rows)


def definition(writer: PiecesWriter) -> Function:
    """All outputs of a vector of `left` rows of A and one column, to `out`, a vector each.

    x: pixel (0, 0) of the column's channel; (row, column): where its first tap lies. w: position (0, 0) of the first
    row's.
    """
    r, n = writer.r, writer.r.lanes
    fn = writer.made.function(
        "definition",
        {"x": ptr, "row": i64, "column": i64, "w": ptr, "left": i64, "out": ptr, "args": ptr},
    )
    x, row, column, w, left, out, args = fn.arguments

    def words(operand: str, *names: str) -> list[Value]:
        return [writer.word(fn, args, f"{operand} {name}") for name in names]

    x_image, x_row, x_column, height, width = words("x", "image", "row", "column", "height", "width")
    w_image, w_row, w_column, w_channel = words("w", "image", "row", "column", "channel")
    taps = words("w", "height", "width", "row offset", "column offset")
    images = writer.word(fn, args, "images")
    (m0, m1), (d0, d1) = r.outputs, r.apart
    mask, places = prefix_mask(n, left), const(i64.x(n), range(n)) * splat(w_channel, lanes=n)
    zeros = [const(writer.vector, 0.0)] * (m0 * m1)
    with fn.loop(0, images, carried=zeros) as image:
        with fn.loop(0, taps[0] - taps[2], carried=image.carried) as f0:
            at = x + image.index * x_image + (row + f0.index * d0) * x_row
            weights_at = w + image.index * w_image + (f0.index + taps[2]) * w_row + taps[3] * w_column
            # A line is a sum of its own, so that a long one rounds no more than it must.
            with fn.loop(0, taps[1] - taps[3], carried=zeros) as f1:
                weights = gather_at(fn, weights_at + f1.index * w_column, places, writer.vector, mask)
                first = column + f1.index * d1
                made: list[Value] = []
                for v0 in range(m0):
                    line = f1.carried[v0 * m1 : v0 * m1 + m1]
                    with fn.if_(below(row + (f0.index + v0) * d0, height), default=line) as reached:
                        totals: list[Value] = []
                        for v1, total in enumerate(line):
                            # Taps outside x are left out: zero times an infinite weight is no zero.
                            with fn.if_(below(first + v1 * d1, width), default=[total]) as there:
                                one = fn.load(at + x_row * (v0 * d0) + (first + v1 * d1) * x_column, r.work)
                                there.carry(fma(splat(one, lanes=n), weights, total))
                            totals += there.results
                        reached.carry(*totals)
                    made += reached.results
                f1.carry(*made)
            f0.carry(*(total + line for total, line in zip(f0.carried, f1.results, strict=True)))
        image.carry(*f0.results)
    for i, total in enumerate(image.results):
        fn.store(total, out, i * r.vector_bytes)
    return fn


__all__ = ["Finish", "collect"]
