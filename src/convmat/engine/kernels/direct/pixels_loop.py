"""The walk of the direct kernel along pixels: rows of a plane in blocks, a row chunk by chunk, edges apart.

Blocks of the tallest kind come first, ever lower ones take what those leave. Of a row's chunks those come first whose
windows lie inside x, then, by the same code for both ends, those at the edges.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import Value, const, equal, greater_equal, i64, less_equal, select, udiv
from .pack_w import pack_rows
from .pixels import PixelsRecipe
from .pixels_block import Edge, PixelBlocks, PixelPlace
from .planes import Plane, split_range, task


class Planes(PixelBlocks):
    """Writes the function of chunks of `lanes` columns, all of them treated as edges if `edges_only`."""

    def __init__(self, recipe: PixelsRecipe, lanes: int, *, edges_only: bool) -> None:
        super().__init__(recipe, lanes)
        self.edges_only = edges_only
        self.x_chunk = lanes * recipe.lane.step * recipe.array.bytes
        self.y_chunk = lanes * recipe.out.bytes

    def rows(self) -> Value:
        """Rows that a block goes along; in 1-D they are chunks."""
        return self._line_chunks() if self.r.rows is None else self.word("rows")

    def plane(self, plane: Plane, first: Value, stop: Value) -> None:
        """One plane: weights that are held, then its rows."""
        self.begin(plane)
        (self._chunks if self.r.rows is None else self._lines)(plane.x, plane.y, plane.residual, first, stop)

    def _lines(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """Output rows [first, stop)."""
        fn, r = self.fn, self.r
        x_row, y_row = self.word("x row") * r.window.step, self.word("y row")
        low, high = self.word("first row"), self.word("last row")
        if r.by_lines:
            begin = first
            for rows in r.heights:
                with fn.loop(begin, stop - (rows - 1), rows, carried=[begin]) as loop:
                    at = loop.index
                    moved = at * y_row
                    inside = greater_equal(at, low) & less_equal(at + rows, high)
                    self.row(x + at * x_row, y + moved, residual + moved, at, rows, inside, checked=True)
                    loop.carry(at + rows)
                begin = loop.results[0]
            return
        begin, end, edges, edge = split_range(first, stop, low, high)
        for rows in r.heights:
            with fn.loop(begin, end - (rows - 1), rows, carried=[begin]) as loop:
                at = loop.index
                moved = at * y_row
                self.row(x + at * x_row, y + moved, residual + moved, at, rows, None, checked=False)
                loop.carry(at + rows)
            begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            at = edge(loop.index)
            moved = at * y_row
            self.row(x + at * x_row, y + moved, residual + moved, at, 1, None, checked=True)

    def row(
        self,
        x: Value,
        y: Value,
        residual: Value,
        row: Value,
        rows: int,
        inside: Value | None,
        *,
        checked: bool,
    ) -> None:
        """`rows` output rows from `row` on, chunk by chunk; `inside` says whether all their lines are."""
        fn, r = self.fn, self.r
        x_line, y_row, lines = self.word("x row"), self.word("y row"), self._line_chunks()
        start = row * r.window.step + self.word("row offset") if checked else None
        if self.edges_only or (checked and inside is None):
            edges, edge = lines, _after(const(i64, 0))
        else:
            low, high = self.word("first chunk"), self.word("last chunk")
            if inside is not None:
                high = select(inside, high, low)
            begin, end, edges, edge = split_range(const(i64, 0), lines, low, high)
            with fn.loop(begin, end) as loop:
                moved = loop.index * self.y_chunk
                at = x + loop.index * self.x_chunk
                self.block(PixelPlace(at, y + moved, residual + moved, x_line, y_row, None, None), rows)
        with fn.loop(0, edges) as loop:
            chunk = edge(loop.index)
            moved = chunk * self.y_chunk
            at = x + chunk * self.x_chunk
            self.block(
                PixelPlace(at, y + moved, residual + moved, x_line, y_row, self._edge(chunk), start), rows
            )

    def _chunks(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """Write chunks [first, stop) of the only row, in 1-D; the rows of a block are chunks, one vector apart."""
        fn, r = self.fn, self.r
        steps = const(i64, self.x_chunk), const(i64, self.y_chunk)
        if self.edges_only:
            edges, edge = stop - first, _after(first)
        else:
            begin, end, edges, edge = split_range(
                first, stop, self.word("first chunk"), self.word("last chunk")
            )
            for rows in r.heights:
                with fn.loop(begin, end - (rows - 1), rows, carried=[begin]) as loop:
                    moved = loop.index * self.y_chunk
                    at = x + loop.index * self.x_chunk
                    self.block(PixelPlace(at, y + moved, residual + moved, *steps, None, None), rows)
                    loop.carry(loop.index + rows)
                begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            chunk = edge(loop.index)
            moved = chunk * self.y_chunk
            at = x + chunk * self.x_chunk
            self.block(PixelPlace(at, y + moved, residual + moved, *steps, self._edge(chunk), None), 1)

    def _line_chunks(self) -> Value:
        """Chunks of an output row, the last one perhaps cut."""
        return udiv(self.word("columns") + (self.lanes - 1), self.lanes)

    def _edge(self, chunk: Value) -> Edge:
        first = chunk * self.lanes
        position = first * self.r.lane.step + self.word("lane offset")
        left = self.word("columns") - first
        stored = prefix_mask(self.lanes, left)
        return Edge(position, self.masks(position), stored, greater_equal(left, self.lanes))


def _after(first: Value) -> Callable[[Value], Value]:
    """The numbers from `first` on."""
    return lambda i: first + i


def module(recipe: PixelsRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`, and `weights` where w is packed."""
    made = Module(attributes, fused=fused)
    if recipe.beside:
        from .pixels_beside import PlanesBeside

        beside = PlanesBeside(recipe).function(made, "beside")
        task(made, recipe.arguments(), lambda fn, _, given: fn.call(beside.address, *given))
        if recipe.packed:
            pack_rows(made, recipe)
        return made
    whole = Planes(recipe, recipe.lanes, edges_only=False).function(made, "whole")
    half = (
        Planes(recipe, recipe.lanes // 2, edges_only=True).function(made, "half") if recipe.halves else whole
    )
    arguments = recipe.arguments()

    def call(fn: Function, args: Value, given: list[Value]) -> None:
        with fn.if_(equal(arguments.load(fn, args, "narrow"), 0)) as which:
            fn.call(whole.address, *given)
        with which.otherwise():
            fn.call(half.address, *given)

    task(made, arguments, call)
    if recipe.packed:
        pack_rows(made, recipe)
    return made


__all__ = ["Planes", "module"]
