"""The micro-kernel: a register tile of C over one part of k, with what becomes of it then.

    C[MR, NR] of a part = A packed [k][row] times B packed [k][column] or [column][k]

Contract: any 1 <= rows <= MR, 1 <= columns <= NR, k >= 0. Sums of the parts before are read from `kept`, those of a
part that is not the last are written there; the last part goes through the epilogue into C, which is not read.
A's block is written for its own height (MR or the remainder); a panel's last columns take the least tile that holds
them, whose lanes beyond are masked off when stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...ir.emitter import Function, Module
from ...ir.instructions import Type, Value, i64, ptr
from ..epilogue import Target, TileEpilogue
from ..tile import RowSteps, Tile
from .recipe import PanelRecipe

LATER, LAST = 1, 2
"""Bits of a tile's place among the parts: there are parts before it; there is none behind it."""

WHERE = {"c": ptr, "residual": ptr, "bias": ptr, "line": i64, "count": i64, "places": ptr}
"""Parameters that say where finished sums go: see `Target`."""

SOURCE = {"x": ptr, "step": i64}
"""Parameters of a tile where packing is fused: a line of x, and the bytes from one k to the next."""

ROWS = {"pitch": i64, "down": i64}
"""Parameters of a tile whose taps share rows: bytes from line to line of the copy, and from tap to tap.

Its depth counts what comes before the taps.
"""

WINDOWS = {"groups": ptr, "lines": ptr, "lines_count": i64}
"""Parameters of a tile whose taps share a copy of x: tables of addresses in it; its depth is then that of a line."""


class MicroKernels:
    """Writes a recipe's micro-kernels: a function for each height of a block and number of columns.

    tiles: (columns, function) by height, ascending. firsts: those that pack their panel. finishes: those that store
    what is kept, where the parts of k are taps.
    """

    def __init__(self, recipe: PanelRecipe, module: Module) -> None:
        self.recipe, self._module = recipe, module
        r = recipe
        self.tiles = {rows: [(n, self._tile(n, rows)) for n in r.tile_columns()] for rows in r.heights}
        self.firsts: dict[int, Function] = {}
        self.finishes: dict[int, Function] = {}
        if r.fuses_packing:
            self.firsts = {rows: self._tile(r.nr, rows, packs=True) for rows in r.heights}
        if r.skips:
            self.finishes = {rows: self._finish(rows) for rows in r.heights}

    def call(self, fn: Function, rows: int, count: Value, arguments: tuple[Value, ...]) -> None:
        """Call the tile of `rows` rows that is made for `count` columns."""
        dispatch(fn, self.tiles[rows], count, arguments)

    def _epilogue(self) -> TileEpilogue:
        r = self.recipe
        return TileEpilogue(r.out, r.bias, r.residual, r.activation, r.along_m, r.store, r.block)

    def _where(self) -> dict[str, Type]:
        return WHERE | ({"between": i64} if self.recipe.block else {})

    def _tile(self, columns: int, rows: int, *, packs: bool = False) -> Function:
        """The function of one register tile: multiply, add the parts before, finish or keep.

        Where packing is fused, one that `packs` reads the vectors of k in x and writes them to the panel; the others
        ask for what is read there next.
        """
        r = self.recipe
        tile = r.tile(columns, rows)
        if r.skips:
            parameters: dict[str, Type] = {"a": ptr, "b": ptr, "depth": i64, "kept": ptr}
            fn = self._module.function(
                f"tile_{columns}_{rows}", parameters | ({"step": i64} if r.in_place else {})
            )
            a, b, depth, kept, *apart = fn.arguments
            if apart:
                tile = replace(tile, scalar_k=apart[0])
            tile.store_parts(fn, tile.add_parts(fn, tile.multiply(fn, b, a, depth), kept), kept)
            return fn
        source = SOURCE if r.fuses_packing else WINDOWS if r.windows else ROWS if r.rows else {}
        fn = self._module.function(
            f"{'first' if packs else 'tile'}_{columns}_{rows}",
            source | {"a": ptr, "b": ptr, "depth": i64, "kept": ptr, "place": i64} | self._where(),
        )
        where, (a, b, depth, kept, place, *to) = fn.arguments[: len(source)], fn.arguments[len(source) :]
        if r.fetches:
            self._fetch(fn, tile, Target(*to))
        if packs:
            x, step = where
            sums = replace(tile, vector_k=step).multiply(fn, a, x, depth, copy=(b, r.pitch))
        elif r.windows:
            groups, table, lines = where
            each = [b + fn.load(groups, i64, g * i64.bytes) for g in range(tile.groups)]
            sums = tile.multiply_lines(fn, each, a, depth, (table, lines))
        elif r.rows:
            pitch, down = where
            sums = tile.multiply_rows(fn, a, b, depth, RowSteps(pitch, down, r.rows.taps, r.rows.near))
        else:
            scalars, vectors = (b, a) if r.along_m else (a, b)
            next_read = (where[0], where[1]) if where else None
            sums = tile.multiply(fn, scalars, vectors, depth, next_read=next_read)
        flat = [each for row in sums for each in row]
        with fn.if_((place & LATER) > 0, default=flat) as added:
            more = tile.add_parts(fn, sums, kept)
            added.carry(*(each for row in more for each in row))
        flat = added.results
        sums = [flat[i * tile.vectors : (i + 1) * tile.vectors] for i in range(tile.rows)]
        with fn.if_((place & LAST) > 0) as last:
            self._epilogue().emit(fn, tile, sums, Target(*to), rows)
        with last.otherwise():
            tile.store_parts(fn, sums, kept)
        return fn

    def _fetch(self, fn: Function, tile: Tile, to: Target) -> None:
        """Asks for the lines of C beside this tile's that the second tile after it writes."""
        size = tile.lanes * self.recipe.out.bytes
        line = to.c
        for row in range(tile.rows):
            line = line + to.stride if row else line
            for vector in range(tile.vectors):
                fn.prefetch(line, (2 * tile.vectors + vector) * size, write=True)

    def _finish(self, rows: int) -> Function:
        """The function that stores the finished sums of a panel."""
        r = self.recipe
        tile = r.tile(r.nr, rows)
        fn = self._module.function(f"finish_{rows}", {"kept": ptr} | self._where())
        kept, *rest = fn.arguments
        self._epilogue().emit(fn, tile, tile.load_parts(fn, kept), Target(*rest), rows)
        return fn


def by_height(fn: Function, heights: Sequence[int], is_tail: Value, write: Callable[[int], object]) -> None:
    """Emits what is to be done with a block of A's rows: for the height of the last one, and for that of others."""
    last, *others = heights
    if not others:
        write(last)
        return
    with fn.if_(is_tail) as tail:
        write(last)
    with tail.otherwise():
        write(*others)


def dispatch(
    fn: Function, tiles: list[tuple[int, Function]], count: Value, arguments: tuple[Value, ...]
) -> None:
    """Call the widest tile if the panel is full (nearly always), else the least that holds its columns."""
    widest = tiles[-1][1]
    if len(tiles) == 1:
        fn.call(widest.address, *arguments)
        return
    with fn.if_(count > tiles[-2][0]) as full:
        fn.call(widest.address, *arguments)
    with full.otherwise():
        dispatch(fn, tiles[:-1], count, arguments)


__all__ = ["LAST", "LATER", "MicroKernels", "by_height", "dispatch"]
