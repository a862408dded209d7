"""The kernel of products with transforms over two window axes, x and y contiguous along the second.

A task owns a block of tiles of one slice, or the tiles of several, and perhaps a share of A's blocks of rows. Without
waiting for any other it does all three steps in its own scratch:

    pre     V[s][k][tile] = pre_b on both window axes        lanes along pixels, then along tiles
    sum     M[s][tile][m] = sum over taps and k of V * A, for each of the points s
                                                              A: [block][s][tap][k][m], lanes along m
    post    y = epilogue(post on both window axes)           lanes along m, turned on their way out

Slices are those of an axis without a window, along which some taps are summed over, at any stride and dilation. Where
there is no such axis they are images, with one tap. A slice of x is transformed once for all slices of the block, and
what a tap reads of V begins so many slices later: tiles run on across slices in the sum.

Where A changes with every call and blocks of tiles are few, a task packs the rows of A that it multiplies by for
itself: A as a whole, several times as large as w, is then never written to memory.

The squares of M are added up on the way: a tile in which they are not finite, or too large, is taken by the definition
before its epilogue.

Tiles run on across their rows, so maps that are narrower than a vector waste nothing in the sum. Vectors of V are
written over the beginning of the next row of tiles, which is written after them.

Elements of a window may lie `apart`: then so many tiles interleave, one for each residue, and are neighbours in V and
M. Along rows a row of tiles is one of a residue. Along columns shuffles move units of so many elements instead of
single ones, and whole lines of y are written.
"""

from __future__ import annotations

import itertools
from functools import partial

from ...ir.constant_matmul import combine
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import (
    Value,
    below,
    const,
    equal,
    i32,
    i64,
    minimum,
    ptr,
    select,
    shuffle,
    splat,
    trunc,
    udiv,
)
from ...ir.shuffles import deinterleave, transpose
from ..epilogue import Store, Target, TileEpilogue, gather_at
from ..tile import SECOND_LEVEL, Tile
from . import channels_last
from .definition import definition
from .task import RowBlock, TaskWriter
from .writer import WinogradRecipe, WinogradWriter

AHEAD = 2
"""Channels by which x and w are asked for before they are read, and memory for transformed weights before it is
written."""


class ModuleWriter(WinogradWriter):
    """Writes one module."""

    # -- pre ----------------------------------------------------------------------------------------------------------

    def pre(self) -> Function:
        """One channel of one row of `count` tiles, whose first element lies at (row, column) of x, to V."""
        r, item, n = self.r, self.item, self.r.lanes
        d0, d1 = r.apart
        fn = self.made.function(
            "pre",
            {"x": ptr, "v": ptr, "lines": ptr, "count": i64, "row": i64, "column": i64, "args": ptr},
        )
        x, v, lines, count, row, column, args = fn.arguments
        t0, m1 = r.rows.points, len(r.columns.post)
        t1 = r.columns.points
        names = ("x row", "x c", "line pitch", "v plane")
        x_row, x_channel, pitch, plane = (self.word(fn, args, name) for name in names)
        height, width = self.word(fn, args, "height"), self.word(fn, args, "width")
        rows = [row + u * d0 for u in range(t0)]
        limits = [splat(trunc(select(below(at, height), width, 0), to=i32), lanes=n) for at in rows]
        begins = [self.along(fn, args, at, column) for at in (rows if r.folded else rows[:1])]
        pixels = count * m1 + (t1 - m1) * d1
        with fn.loop(0, udiv(pixels + (n - 1), n)) as chunk:
            moved = chunk.index * (n * item)
            places = [
                splat(trunc(begin + chunk.index * n, to=i32), lanes=n) + const(i32.x(n), range(n))
                for begin in begins
            ]
            read = [
                fn.load(
                    x + x_row * (u * d0) + moved, self.vector, mask=below(places[u % len(places)], limits[u])
                )
                for u in range(t0)
            ]
            # Hardware follows no rows this short, and loads that miss hold up all that comes after them. The first
            # cache has no room left for them beside what is written.
            for u in range(t0):
                fn.prefetch(x + x_channel * AHEAD + x_row * (u * d0) + moved, locality=SECOND_LEVEL)
            for s, each in enumerate(combine(r.rows.pre_b, read)):
                fn.store(each, lines + pitch * s + moved)
        with fn.loop(0, udiv(count + (n - 1), n)) as tiles:
            for s in range(t0):
                at = lines + pitch * s + tiles.index * (n * m1 * item)
                made = combine(r.columns.pre_b, self._windows(fn, at, m1, t1))
                for number, each in enumerate(made):
                    fn.store(each, v + plane * (s * t1 + number) + tiles.index * (n * item))
        return fn

    def _windows(self, fn: Function, at: Value, step: int, reach: int) -> list[Value]:
        """Vectors, one for each position in a window: that element of the windows side by side, `step` apart."""
        n, item, unit = self.r.lanes, self.item, self.r.apart[1]
        units = n // unit
        phases = deinterleave([fn.load(at, self.vector, j * n * item) for j in range(step)], unit)
        behind = fn.load(at, self.vector, step * n * item) if reach > step else None
        found = list(phases)
        for position in range(step, reach):
            ahead, phase = divmod(position, step)
            assert behind is not None
            places = [
                number + ahead if number + ahead < units else units + (number + ahead - units) * step + phase
                for number in range(units)
            ]
            indices = [place * unit + e for place in places for e in range(unit)]
            found.append(shuffle(phases[phase], behind, indices=indices))
        return found

    # -- weights ------------------------------------------------------------------------------------------------------

    def weights(self) -> None:
        """`weights(args, index, thread)`: block `index % blocks` of the group `index // blocks`, transformed."""
        r = self.r
        fn = self.made.function("weights", {"args": ptr, "index": i64, "thread": i64})
        args, index, _ = fn.arguments
        count = self.word(fn, args, "a blocks")
        group = udiv(index, count)
        number = index - group * count
        down = self.word(fn, args, "w o")
        w = self.word(fn, args, "w", ptr) + group * self.word(fn, args, "w g") + number * r.width * down
        a = self.word(fn, args, "a", ptr) + group * self.word(fn, args, "a g")
        a = a + number * self.word(fn, args, "block step")
        if not r.several:
            self._block_of_weights(fn, args, w, a, r.tail)
            return
        with fn.if_(equal(number, count - 1)) as last:
            self._block_of_weights(fn, args, w, a, r.tail)
        with last.otherwise():
            self._block_of_weights(fn, args, w, a, r.width)

    def _block_of_weights(self, fn: Function, args: Value, w: Value, a: Value, rows: int) -> None:
        """[point][tap][k][row] of a block of `rows` rows, zero for rows that fill the last vector up."""
        r, n, item = self.r, self.r.lanes, self.item
        depth, down, across, f0, f1 = (
            self.word(fn, args, name) for name in ("k", "w o", "w c", "w f0", "w f1")
        )
        places = const(i64.x(n), range(n)) * splat(down, lanes=n)
        lines = [down * i for i in range(n)]
        width, plane = r.stored_elements(rows) * item, self.word(fn, args, r.plane(rows))
        G0, G1 = r.rows.pre_a, r.columns.pre_a
        w_tap = self.word(fn, args, "w tap")
        with fn.loop(0, self.word(fn, args, "taps")) as tap, fn.loop(0, depth) as channel:
            for vector in range(r.stored_elements(rows) // n):
                mask = prefix_mask(n, rows - vector * n)
                at = w + tap.index * w_tap + channel.index * across + down * (vector * n)
                if r.taps:
                    taps = self._filters(fn, at, lines[: rows - vector * n], across)
                else:
                    taps = [
                        [
                            gather_at(fn, at + f0 * u + f1 * v, places, self.vector, mask)
                            for u in range(len(G0[0]))
                        ]
                        for v in range(len(G1[0]))
                    ]
                half = [combine(G0, column) for column in taps]
                to = a + (tap.index * depth + channel.index) * width + vector * n * item
                for s0 in range(len(G0)):
                    for value in combine(G1, [column[s0] for column in half]):
                        fn.store(value, to)
                        # So many planes are more than the hardware follows, and a store that misses holds up the next.
                        fn.prefetch(to, AHEAD * width, write=True)
                        to = to + plane

    def _filters(self, fn: Function, at: Value, lines: list[Value], further: Value) -> list[list[Value]]:
        """The taps of filters that lie whole in memory, by column and row: filters are read and transposed.

        `further`: bytes from the filters of one channel to those of the next, which are asked for ahead.
        """
        r, n = self.r, self.r.lanes
        down, across = len(r.rows.pre_a[0]), len(r.columns.pre_a[0])
        count = down * across
        begin = at if r.taps > 0 else at + (1 - count) * self.item
        found: list[Value] = []
        for first in range(0, count, n):
            mask = prefix_mask(n, count - first)
            read = [fn.load(begin + line, self.vector, first * self.item, mask=mask) for line in lines]
            for line in lines:
                fn.prefetch(begin + further * AHEAD + line, first * self.item)
            nothing = fn.load(begin, self.vector, mask=prefix_mask(n, 0))  # 0: rows that there are not
            found += transpose(read + [nothing] * (n - len(read)))
        found = found[:count] if r.taps > 0 else found[:count][::-1]
        return [[found[u * across + v] for u in range(down)] for v in range(across)]

    def pack(self, rows: int) -> Function:
        """A block of `rows` rows of A for the task's own use, from w to a."""
        fn = self.made.function(f"pack_{rows}", {"w": ptr, "a": ptr, "args": ptr})
        w, a, args = fn.arguments
        self._block_of_weights(fn, args, w, a, rows)
        return fn

    # -- sum ----------------------------------------------------------------------------------------------------------

    def sum(self, tiles: int, rows: int) -> Function:
        """`tiles` tiles by a block of `rows` rows of A: a part of k, to M, or added to the parts `before` there."""
        r, item = self.r, self.item
        width = r.stored_elements(rows)
        fn = self.made.function(
            f"sum_{tiles}_{rows}",
            {"a": ptr, "v": ptr, "depth": i64, "m": ptr, "line": i64, "before": i64},
        )
        a, v, depth, m, line, before = fn.arguments
        steps: tuple[Value | int, int] = (item, r.pitch) if r.k else (line, item)
        tile = Tile(r.work, tiles, width // r.lanes, r.lanes, *steps, width * item, "vectors")
        made = tile.multiply(fn, v, a, depth)
        with fn.if_(equal(before, 0)) as first:
            tile.store_parts(fn, made, m)
        with first.otherwise():
            tile.store_parts(fn, tile.add_parts(fn, made, m), m)
        return fn

    # -- post ---------------------------------------------------------------------------------------------------------

    def post(self, rows: int, definition: Function) -> Function:
        """A row of `count` tiles of a block of `rows` rows of A, to y: at most `down` x `across` pixels of it.

        What lies to the right of them may be another task's, and so may rows of y between its own.
        """
        r, item, n = self.r, self.item, self.r.lanes
        fn = self.made.function(
            f"post_{rows}",
            {"m": ptr, "y": ptr, "residual": ptr, "bias": ptr, "turned": ptr, "count": i64, "down": i64,
             "across": i64, "x": ptr, "slice": i64, "row": i64, "column": i64, "w": ptr, "args": ptr},
        )  # fmt: skip
        m, y, residual, bias, turned, count, down, across, x, at_slice, row, column, w, args = fn.arguments
        width = r.stored_elements(rows) * item
        names = ("m plane", "y row", "y o", "x column", "w o")
        plane, y_row, y_o, x_column, w_o = (self.word(fn, args, name) for name in names)
        m0, m1 = len(r.rows.post), len(r.columns.post)
        (d0, d1), group = r.apart, r.line
        squares = turned + m0 * r.turned * n * n * item
        finish = TileEpilogue(r.work, r.bias, r.residual, r.activation, True, Store.TURNED)
        tile = Tile(r.work, n, 1, n, item, item, item)
        for vector in range(r.stored_elements(rows) // n):
            below_ = y_o * (vector * n)
            with fn.loop(0, udiv(count + (group - 1), group)) as some:
                first = some.index * group
                here = minimum(count - first, group)
                with fn.loop(0, here, carried=[const(self.vector, 0.0)]) as each:
                    at = m + (first + each.index) * width + vector * n * item
                    self._ask_for_lines(fn, y + below_ + first * (m1 * item), each.index, (y_o, y_row * d0))
                    half, square = self.outputs_down(fn, at, plane)
                    fn.store(square, squares + each.index * (n * item))
                    each.carry(each.carried[0] + square)
                    pixel = self.pixel(each.index)
                    for v0 in range(m0):
                        made = combine(r.columns.post, [column[v0] for column in half])
                        for v1, value in enumerate(made):
                            to = turned + pixel * (n * item)
                            fn.store(value, to, (v0 * r.turned * n + v1 * d1) * n * item)
                with fn.if_(self.unsound(each.results[0])):
                    pixel = self.pixel(first)
                    fn.call(
                        definition.address, x + pixel * x_column, at_slice, row, column + pixel, w + w_o * (vector * n),
                        const(i64, rows - vector * n), turned, squares, here, args,
                    )  # fmt: skip
                for v0 in range(m0):
                    with fn.if_(down > v0 * d0):
                        wide = across
                        if r.folded:
                            ends = self.word(fn, args, "last columns") - column
                            wide = select(equal(down, v0 * d0 + 1), minimum(ends, across), across)
                        left = minimum(wide - first * m1, group * m1)
                        for piece in range(0, group * m1, n):
                            pixels = [v0 * r.turned * n + piece + i for i in range(n)]
                            lines = [[fn.load(turned, self.vector, at * n * item)] for at in pixels]
                            moved = below_ + y_row * (v0 * d0) + (first * m1 + piece) * item
                            target = Target(
                                y + moved, residual + moved, bias + vector * n * item, y_o, left - piece,
                                turned,
                            )  # fmt: skip
                            finish.emit(fn, tile, lines, target, min(n, rows - vector * n))
        return fn

    def _ask_for_lines(self, fn: Function, y: Value, tile: Value, steps: tuple[Value, Value]) -> None:
        """Emits requests for the lines of y that a group of tiles will end in: a tile asks for its share of them.

        steps: bytes from one row of A to the next, and from one row of outputs.
        """
        r, (down, across) = self.r, steps
        few = -(-r.lanes // r.line)
        end = y + tile * few * down + (r.lanes - 1) * self.item
        for line, v0 in itertools.product(range(few), range(len(r.rows.post))):
            fn.prefetch(end + down * line + across * v0, write=True)

    # -- the task -----------------------------------------------------------------------------------------------------

    def task(self) -> None:
        """`task(args, index, thread)`: all three steps of a block of tiles."""
        r = self.r
        pre = channels_last.pre(self) if r.k else self.pre()
        if r.k:
            post = channels_last.Post(self).write
        else:
            post = partial(self.post, definition=definition(self, r.turned * r.lanes, r.apart[1]))
        blocks = {
            rows: RowBlock(
                self.pack(rows) if r.packs else None, [(n, self.sum(n, rows)) for n in r.sizes()], post(rows)
            )
            for rows in r.heights
        }
        TaskWriter(self.r, self.made).write(pre, blocks)


def module(recipe: WinogradRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`, and `weights` of the same kind which transforms A beforehand."""
    made = Module(attributes, fused=fused)
    writer = ModuleWriter(recipe, made)
    if not recipe.packs:
        writer.weights()
    writer.task()
    return made


__all__ = ["WinogradRecipe", "module"]
