"""The transform of an operand: a unit of tiles, a vector of channels, at all points.

    out[s][tile]  =  P0 @ window @ P1^T         lanes along channels

Where channels do not lie side by side, the pixels that the unit's tiles read are transposed first, once for all tiles
that share them. Whatever lies outside the array is a vector of zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.constant_matmul import combine
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, below, const, i64, less, maximum, minimum, not_equal, ptr, select
from ...ir.shuffles import transpose
from .recipe import Operand, PiecesWriter

AHEAD = 2
"""Tiles by which memory is asked for before it is written."""


def transform(writer: PiecesWriter, operand: Operand, pitch: int) -> Function:
    """The function for one operand, whose tiles lie `pitch` bytes apart in `out`.

    base: pixel (0, 0) of the first channel. lines, zero: scratch, and a vector of zeros. (row, column): where the first
    tile of `rows` x `columns` begins. left: channels from the first one on.
    """
    n = writer.r.lanes
    given = {"base": ptr, "out": ptr, "lines": ptr, "zero": ptr}
    given |= dict.fromkeys(("row", "column", "rows", "columns", "left"), i64) | {"args": ptr}
    fn = writer.made.function(f"transform_{operand.name}", given)
    base, out, _, zero, row, column, rows, columns, left, args = fn.arguments
    (r0, r1), (h0, h1), (d0, d1) = operand.piece, operand.window, operand.apart
    height, width = (writer.word(fn, args, f"{operand.name} {name}") for name in ("height", "width"))
    plane = writer.word(fn, args, "u plane" if operand.name == "x" else "v plane")
    if operand.turned:
        reach = operand.reach(0, rows), operand.reach(1, columns)
        base, down = _turn(writer, fn, operand, reach)
        across: Value | int = writer.r.vector_bytes
        mask = None
    else:
        down, across = (writer.word(fn, args, f"{operand.name} {name}") for name in ("row", "column"))
        mask = prefix_mask(n, left)

    def tile(address: Callable[[int, int], Value], to: Value) -> None:
        read = [[fn.load(address(u, v), writer.vector, mask=mask) for u in range(h0)] for v in range(h1)]
        half = [combine(operand.rows, each) for each in read]
        for s0 in range(len(operand.rows)):
            for value in combine(operand.columns, [each[s0] for each in half]):
                fn.store(value, to)
                # So many planes are more than the hardware follows, and a store that misses holds up the next.
                fn.prefetch(to, AHEAD * pitch, write=True)
                to = to + plane

    with fn.loop(0, rows) as i, fn.loop(0, columns) as j:
        top, first = row + i.index * (r0 * d0), column + j.index * (r1 * d1)
        to = out + (i.index * columns + j.index) * pitch
        corner = base + top * down + first * across
        inside = below(top, height) & below(top + (h0 - 1) * d0, height)
        inside = inside & below(first, width) & below(first + (h1 - 1) * d1, width)
        with fn.if_(inside) as whole:
            lies = [corner + down * (u * d0) for u in range(h0)]
            tile(lambda u, v: lies[u] + across * (v * d1), to)
        with whole.otherwise():
            there = [below(top + u * d0, height) for u in range(h0)]
            beside = [below(first + v * d1, width) for v in range(h1)]
            edge = [corner + down * (u * d0) for u in range(h0)]
            tile(lambda u, v: select(there[u] & beside[v], edge[u] + across * (v * d1), zero), to)
    return fn


def _turn(
    writer: PiecesWriter, fn: Function, operand: Operand, reach: tuple[Value, Value]
) -> tuple[Value, Value]:
    """Transposes what `reach` rows and columns from (row, column) hold of the array, into `lines`.

    Gives where pixel (0, 0) would lie, and the bytes from one row to the next. Where whole rows of a narrow map follow
    each other they are one line: so its vectors are full.
    """
    base, _, lines, _, row, column, _, _, left, args = fn.arguments
    n, item, size = writer.r.lanes, writer.item, writer.r.vector_bytes
    names = ("height", "width", "row", "channel", "flat", "pitch")
    height, width, x_row, channel, flat, pitch = (
        writer.word(fn, args, f"{operand.name} {name}") for name in names
    )
    joined = not_equal(flat, 0)
    top, bottom = maximum(row, 0), minimum(row + reach[0], height)
    start = select(joined, 0, maximum(column, 0))
    end = select(joined, width, minimum(column + reach[1], width))
    high, wide = maximum(bottom - top, 0), maximum(end - start, 0)
    pitch = select(joined, wide, pitch)
    source = base + top * x_row + start * item
    length = select(joined, high * wide, wide)
    with fn.loop(0, select(joined, 1, high)) as y, fn.loop(0, length, n) as chunk:
        at = source + y.index * x_row + chunk.index * item
        to = lines + (y.index * pitch + chunk.index) * size
        count = length - chunk.index
        full = less(const(i64, n - 1), count) & less(const(i64, n - 1), left)
        with fn.if_(full) as whole:
            _store(fn, transpose([fn.load(at + channel * i, writer.vector) for i in range(n)]), to)
        with whole.otherwise():
            masks = [prefix_mask(n, select(less(const(i64, i), left), count, 0)) for i in range(n)]
            read = [fn.load(at + channel * i, writer.vector, mask=mask) for i, mask in enumerate(masks)]
            _store(fn, transpose(read), to)
    return lines + (top * pitch + start) * -size, pitch * size


def _store(fn: Function, vectors: list[Value], to: Value) -> None:
    for i, each in enumerate(vectors):
        fn.store(each, to, i * each.type.bytes)


__all__ = ["transform"]
