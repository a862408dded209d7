"""Tiles taken by the definition: those with products that are not finite, or too large beside the others.

    out[tile][v0][v1] = sum over f, c, f0, f1 of  x[c, f, v0 + f0, v1 + f1] * w[m, c, f, f0, f1]     lanes along m

Transforms spread each element of a window over all outputs of its tile, to be taken out again by subtraction: a NaN or
an infinity stays in all of them, and beside 1e30 everything else is lost. The definition spreads nothing. Only lanes
that are not sound are written, so that a row of A never depends on those beside it, nor a tile on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, below, const, fma, i64, ptr, select, splat
from ..epilogue import gather_at
from .writer import WinogradWriter


def definition(writer: WinogradWriter, line: int, apart: int) -> Function:
    """Write outputs of those of `count` tiles that are not sound to `out`, for a vector of `left` rows of A.

    x: the corner of the first one's window, which lies at (slice, row, column). w: the first of the rows. squares: a
    vector for each tile. Outputs lie in `out` a vector for each pixel, `line` to the next row of a tile and `apart` to
    the next column.
    """
    r, item, n = writer.r, writer.item, writer.r.lanes
    d0, m0, m1 = r.apart[0], len(r.rows.post), len(r.columns.post)
    fn = writer.made.function(
        "definition",
        {"x": ptr, "slice": i64, "row": i64, "column": i64, "w": ptr, "left": i64, "out": ptr, "squares": ptr,
         "count": i64, "args": ptr},
    )  # fmt: skip
    x, at_slice, row, column, w, left, out, squares, count, args = fn.arguments
    rows = prefix_mask(n, left)
    x_slice, x_row, x_column, depth, taps, tap_step, w_tap = (
        writer.word(fn, args, name)
        for name in ("x slice", "x row", "x column", "depth", "taps", "tap step", "w tap")
    )
    with fn.loop(0, count) as tile:
        sums = fn.load(squares + tile.index * (n * item), writer.vector)
        with fn.if_(writer.unsound(sums)), fn.loop(0, m0) as v0:
            moved = writer.pixel(tile.index)
            corner = row + v0.index * d0, column + moved
            begin = x + moved * x_column + v0.index * d0 * x_row
            with fn.loop(0, taps, carried=[const(writer.vector, 0.0)] * m1) as tap:
                further = tap.index * tap_step
                with fn.if_(below(at_slice + further, depth), default=tap.carried) as reached:
                    at, weights = begin + further * x_slice, w + tap.index * w_tap
                    reached.carry(*_add_slice(writer, fn, at, corner, weights, rows, tap.carried))
                tap.carry(*reached.results)
            for v1, total in enumerate(tap.results):
                to = out + (v0.index * line + moved + v1 * apart) * (n * item)
                fn.store(select(writer.sound(sums), fn.load(to, writer.vector), total), to)
    return fn


def _add_slice(
    writer: WinogradWriter,
    fn: Function,
    x: Value,
    corner: tuple[Value, Value],
    w: Value,
    rows: Value,
    totals: Sequence[Value],
) -> list[Value]:
    """`totals` of a row of a tile's outputs, and what one tap of slices adds: `x`, `corner`: the first window's."""
    r, (d0, d1), (top, first) = writer.r, writer.r.apart, corner
    args = fn.arguments[-1]
    names = ("x c", "x row", "x column", "height", "width", "k", "w o", "w c", "w f0", "w f1")
    x_c, x_row, x_column, height, width, depth, w_o, w_c, w_f0, w_f1 = (
        writer.word(fn, args, name) for name in names
    )
    places = const(i64.x(r.lanes), range(r.lanes)) * splat(w_o, lanes=r.lanes)
    with fn.loop(0, depth, carried=totals) as c:
        with fn.loop(0, len(r.rows.pre_a[0]), carried=c.carried) as f0:
            row = top + f0.index * d0
            with fn.if_(below(row, height), default=f0.carried) as reached:
                begin = writer.along(fn, args, row, first)
                with fn.loop(0, len(r.columns.pre_a[0]), carried=f0.carried) as f1:
                    tap = c.index * w_c + f0.index * w_f0 + f1.index * w_f1
                    weights = gather_at(fn, w + tap, places, writer.vector, rows)
                    across = f1.index * d1
                    at = x + c.index * x_c + f0.index * d0 * x_row + across * x_column
                    added: list[Value] = []
                    for v1, total in enumerate(f1.carried):
                        # Taps outside x are left out: zero times an infinite weight is no zero.
                        inside = below(begin + across + v1 * d1, width)
                        with fn.if_(inside, default=[total]) as there:
                            one = fn.load(at + x_column * (v1 * d1), r.work)
                            there.carry(fma(splat(one, lanes=r.lanes), weights, total))
                        added += there.results
                    f1.carry(*added)
                reached.carry(*f1.results)
            f0.carry(*reached.results)
        c.carry(*f0.results)
    return c.results


__all__ = ["definition"]
