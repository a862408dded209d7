"""The transforms of `winograd` where x and y keep their channels side by side: lanes lie along channels throughout.

    pre     V[s][tile][k]        a tile's elements are vectors of channels as they lie in x
    sum     M[s][tile][m]        V is read along k from as many lines as a register tile has tiles
    post    y                    vectors of rows of A are stored as they are

Nothing is turned and no lane moves, so any dilation will do, and a tile is as wide as it likes.
"""

from __future__ import annotations

from ...ir.constant_matmul import combine
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, below, const, i64, maximum, minimum, ptr, select, udiv
from ..epilogue import Store, Target, TileEpilogue
from ..tile import Tile
from .definition import definition
from .writer import WinogradWriter


def pre(writer: WinogradWriter) -> Function:
    """All channels of a row of `count` tiles, whose first element lies at (row, column) of x, to V."""
    r, item, n = writer.r, writer.item, writer.r.lanes
    d0, d1 = r.apart
    t0, t1 = r.rows.points, r.columns.points
    fn = writer.made.function(
        "pre", {"x": ptr, "v": ptr, "lines": ptr, "count": i64, "row": i64, "column": i64, "args": ptr}
    )
    x, v, _, count, row, column, args = fn.arguments
    names = ("x row", "x column", "v plane", "height", "width")
    x_row, x_column, plane, height, width = (writer.word(fn, args, name) for name in names)

    def channels(corner: Value, to: Value, left: Value | int, first: Value | None) -> None:
        """A vector of `left` channels of a tile; `first`: its column, where it may reach outside x."""
        read = []
        for across in range(t1):
            line = []
            for down in range(t0):
                count = left
                if first is not None:
                    count = select(below(row + down * d0, height), left, 0)
                    count = select(below(first + across * d1, width), count, 0)
                at = corner + x_row * (down * d0) + x_column * (across * d1)
                line.append(fn.load(at, writer.vector, mask=prefix_mask(n, count)))
            read.append(line)
        half = [combine(r.rows.pre_b, line) for line in read]
        for s0 in range(t0):
            for s1, value in enumerate(combine(r.columns.pre_b, [line[s0] for line in half])):
                fn.store(value, to + plane * (s0 * t1 + s1))

    with fn.loop(0, count) as tile:
        moved = writer.pixel(tile.index)
        corner, first = x + moved * x_column, column + moved
        to = v + tile.index * r.pitch
        inside = below(row, height) & below(row + (t0 - 1) * d0, height)
        inside = inside & below(first, width) & below(first + (t1 - 1) * d1, width)
        with fn.if_(inside) as whole:
            with fn.loop(0, r.k // n) as chunk:
                channels(corner + chunk.index * (n * item), to + chunk.index * (n * item), n, None)
            if r.k % n:
                done = r.k // n * n * item
                channels(corner + done, to + done, r.k % n, None)
        with whole.otherwise(), fn.loop(0, r.k, n) as chunk:
            channels(corner + chunk.index * item, to + chunk.index * item, r.k - chunk.index, first)
    return fn


class Post:
    """Writes the functions that transform products back, store tiles, and take by the definition what is not sound."""

    def __init__(self, writer: WinogradWriter) -> None:
        r = writer.r
        self.writer = writer
        self.definition = definition(writer, len(r.columns.post), 1)
        self.finish = TileEpilogue(r.work, r.bias, r.residual, r.activation, True, Store.LINES)
        self._careful: dict[int, Function] = {}

    def write(self, rows: int) -> Function:
        """A row of `count` tiles of a block of `rows` rows of A, to y: at most `down` x `across` pixels of it."""
        writer = self.writer
        r, item, n = writer.r, writer.item, writer.r.lanes
        d0, d1 = r.apart
        m0, m1 = len(r.rows.post), len(r.columns.post)
        careful = [self.careful(min(n, rows - first)) for first in range(0, r.stored_elements(rows), n)]
        fn = writer.made.function(
            f"post_{rows}",
            {"m": ptr, "y": ptr, "residual": ptr, "bias": ptr, "turned": ptr, "count": i64, "down": i64,
             "across": i64, "x": ptr, "slice": i64, "row": i64, "column": i64, "w": ptr, "args": ptr},
        )  # fmt: skip
        m, y, residual, bias, turned, count, down, across, x, at_slice, row, column, w, args = fn.arguments
        names = ("m plane", "y row", "y column", "x column", "w o")
        plane, y_row, y_column, x_column, w_o = (writer.word(fn, args, name) for name in names)
        tile = Tile(r.work, m1, 1, n, item, item, item)
        with fn.loop(0, count) as number:
            first = writer.pixel(number.index)
            left = udiv(maximum(across - first, 0) + (d1 - 1), d1)
            for vector in range(r.stored_elements(rows) // n):
                at = m + number.index * (r.stored_elements(rows) * item) + vector * n * item
                moved, behind = first * y_column + vector * n * item, bias + vector * n * item
                half, squares = writer.outputs_down(fn, at, plane)
                with fn.if_(writer.unsound(squares)) as lost:
                    fn.call(
                        careful[vector].address, at, y + moved, residual + moved, behind, turned, down, left,
                        x + first * x_column, at_slice, row, column + first, w + w_o * (vector * n), args,
                    )  # fmt: skip
                with lost.otherwise():
                    for v0 in range(m0):
                        with fn.if_(down > v0 * d0):
                            made = combine(r.columns.post, [each[v0] for each in half])
                            to = moved + y_row * (v0 * d0)
                            target = Target(y + to, residual + to, behind, y_column * d1, left, turned)
                            self.finish.emit(
                                fn, tile, [[value] for value in made], target, min(n, rows - vector * n)
                            )
        return fn

    def careful(self, rows: int) -> Function:
        """One tile of a vector of `rows` rows of A, of which some lanes are not sound, to y."""
        found = self._careful.get(rows)
        if found is not None:
            return found
        writer = self.writer
        r, item, n = writer.r, writer.item, writer.r.lanes
        d0, d1 = r.apart
        m0, m1 = len(r.rows.post), len(r.columns.post)
        fn = self._careful[rows] = writer.made.function(
            f"careful_{rows}",
            {"m": ptr, "y": ptr, "residual": ptr, "bias": ptr, "outputs": ptr, "down": i64, "left": i64, "x": ptr,
             "slice": i64, "row": i64, "column": i64, "w": ptr, "args": ptr},
        )  # fmt: skip
        m, y, residual, bias, outputs, down, left, x, at_slice, row, column, w, args = fn.arguments
        plane, y_row, y_column = (writer.word(fn, args, name) for name in ("m plane", "y row", "y column"))
        half, sums = writer.outputs_down(fn, m, plane)
        for number in range(m0):
            made = combine(r.columns.post, [each[number] for each in half])
            for at, value in enumerate(made, number * m1):
                fn.store(value, outputs, at * n * item)
        squares = outputs + m0 * m1 * n * item
        fn.store(sums, squares)
        one = const(i64, 1)
        fn.call(
            self.definition.address, x, at_slice, row, column, w, const(i64, rows), outputs, squares, one, args,
        )  # fmt: skip
        tile = Tile(r.work, 1, 1, n, item, item, item)
        with fn.loop(0, minimum(udiv(down + (d0 - 1), d0), m0)) as v0, fn.loop(0, minimum(left, m1)) as v1:
            each = fn.load(outputs + (v0.index * m1 + v1.index) * (n * item), writer.vector)
            to = v0.index * d0 * y_row + v1.index * d1 * y_column
            target = Target(y + to, residual + to, bias, y_column, one, outputs)
            self.finish.emit(fn, tile, [[each]], target, rows)
        return fn


__all__ = ["Post", "pre"]
