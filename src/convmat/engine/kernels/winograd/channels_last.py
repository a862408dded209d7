"""The transforms of `winograd` where x and y keep their channels side by side: lanes lie along channels throughout.

    pre     V[s][tile][k]        a tile's elements are vectors of channels as they lie in x
    sum     M[s][tile][m]        V is read along k from as many lines as a register tile has tiles
    post    y                    vectors of rows of A are stored as they are

Nothing is turned and no lane moves, so any dilation will do, and a tile is as wide as it likes.
"""

from __future__ import annotations

from ...ir.constant_matmul import combine
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, below, i64, maximum, ptr, select, udiv
from ..epilogue import Store, Target, TileEpilogue
from ..tile import Tile
from .writer import Writer


def pre(writer: Writer) -> Function:
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


def post(writer: Writer, rows: int) -> Function:
    """A row of `count` tiles of a block of `rows` rows of A, to y: at most `down` x `across` pixels of it."""
    r, item, n = writer.r, writer.item, writer.r.lanes
    d0, d1 = r.apart
    m0, m1 = len(r.rows.post), len(r.columns.post)
    fn = writer.made.function(
        f"post_{rows}",
        {"m": ptr, "y": ptr, "residual": ptr, "bias": ptr, "turned": ptr, "count": i64, "down": i64,
         "across": i64, "args": ptr},
    )  # fmt: skip
    m, y, residual, bias, turned, count, down, across, args = fn.arguments
    plane, y_row, y_column = (writer.word(fn, args, name) for name in ("m plane", "y row", "y column"))
    finish = TileEpilogue(r.work, r.bias, r.residual, r.activation, True, Store.LINES)
    tile = Tile(r.work, m1, 1, n, item, item, item)
    with fn.loop(0, count) as each:
        first = writer.pixel(each.index)
        left = udiv(maximum(across - first, 0) + (d1 - 1), d1)
        for vector in range(r.stored(rows) // n):
            at = m + each.index * (r.stored(rows) * item) + vector * n * item
            half = writer.outputs_down(fn, at, plane)
            for v0 in range(m0):
                with fn.if_(down > v0 * d0):
                    made = combine(r.columns.post, [column[v0] for column in half])
                    moved = y_row * (v0 * d0) + first * y_column + vector * n * item
                    target = Target(
                        y + moved, residual + moved, bias + vector * n * item, y_column * d1, left, turned
                    )
                    finish.emit(fn, tile, [[value] for value in made], target, min(n, rows - vector * n))
    return fn


__all__ = ["post", "pre"]
