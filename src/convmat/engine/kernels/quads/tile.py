"""The register tile of products of quads, and what becomes of its sums.

    tile[column][v] = sum over quads of  dot(quad of x at column, quads of w of vector v)

Then, in this order: zero points and bias, in 32 bits, which wrap as the sums do; the scale of each row, in float32; the
activation; bytes are made of that in `bytes_out`, whole numbers in floats first where they are rounded again. Sums of
bfloat16 numbers are float32, and finished as those of any kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...ir.dots import X86, constant_bytes, dot, signed_bytes, unsigned_bytes
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import (
    Value,
    const,
    f32,
    fma,
    i8,
    i32,
    i64,
    minimum,
    ptr,
    sitofp,
    splat,
    trunc,
)
from ...job import WORD
from ..epilogue import Store, Target, TileEpilogue, activate
from ..tile import Tile, fetch_ahead
from ..weighing import Addition, round_within
from .bytes_out import BytesWriter
from .pack_x import SQUARE
from .recipe import QUAD, QuadsRecipe
from .tiled import TiledProduct

UNROLL = 4
"""Quads in one turn of the loop over a run."""

PARAMETERS = {
    "x": ptr, "a": ptr, "runs": ptr, "args": ptr, "sums": ptr, "c": ptr, "residual": ptr, "line": i64, "count": i64,
    "places": ptr,
}  # fmt: skip


class TileWriter:
    """Writes a recipe's tiles: a function for each height of a block and number of columns.

    tiles: (columns, function) by height, ascending. sums: the function that sums the bytes of columns.
    """

    def __init__(self, recipe: QuadsRecipe, module: Module) -> None:
        self.r, self._module = recipe, module
        r = recipe
        self.tiles = {rows: [(n, self._tile(n, rows)) for n in r.widths] for rows in r.heights}
        if r.sums_columns:
            self.sums = self._column_sums()

    # ---- multiplying ----------------------------------------------------------------------------------------

    def _over_quads(
        self,
        fn: Function,
        x: Value,
        a: Value,
        runs: tuple[Value, Value],
        columns: int,
        vectors: int,
        sums: list[Value],
    ) -> list[Value]:
        """Adds all quads of k to the sums; `runs`: the table of where they begin, and how many there are."""
        r, (table, count), vector = self.r, runs, i32.x(self.r.lanes)
        step, last = r.rows * QUAD, r.quads // UNROLL * UNROLL

        def turn(at: Value, a: Value, now: list[Value], quads: int) -> list[Value]:
            pointers = [fn.load(x, ptr, i * WORD) + at for i in range(columns)]
            for quad in range(quads):
                if quad:
                    fn.keep_order()  # weights of the next quad, loaded already, would push sums out
                places = [quad * step + v * vector.bytes for v in range(vectors)]
                weights = [signed_bytes(fn.load(a, vector, place), r.unit) for place in places]
                for i, pointer in enumerate(pointers):
                    factor = splat(fn.load(pointer, i32, quad * QUAD, align=1), lanes=r.lanes)
                    made = unsigned_bytes(factor, r.unit)
                    for v, weight in enumerate(weights):
                        now[i * vectors + v] = dot(fn, now[i * vectors + v], made, weight, r.unit)
            return now

        with fn.loop(0, count, carried=[a, *sums]) as run:
            a_run, *now = run.carried
            start = fn.load(table + run.index * WORD, i64)
            if last:
                with fn.loop(0, last * QUAD, UNROLL * QUAD, carried=[a_run, *now]) as inner:
                    a_at, *flat = inner.carried
                    fetch_ahead(fn, a_at, UNROLL * step)
                    flat = turn(start + inner.index, a_at, flat, UNROLL)
                    inner.carry(a_at + UNROLL * step, *flat)
                a_run, *now = inner.results
            rest = r.quads - last
            if rest:
                now = turn(start + last * QUAD, a_run, now, rest)
            run.carry(a_run + rest * step, *now)
        return run.results[1:]

    def _column_sums(self) -> Function:
        """`sums(x, runs, out, columns, count)`: the sum of each column's bytes, i32; lanes lie along k."""
        r, vector = self.r, i32.x(self.r.lanes)
        fn = self._module.function("sums", {"x": ptr, "runs": ptr, "out": ptr, "columns": i64, "count": i64})
        x, runs, out, columns, count = fn.arguments
        ones = constant_bytes([1] * QUAD, r.lanes, r.unit)
        whole = r.run // vector.bytes * vector.bytes
        left, moved = r.run - whole, trunc(count * (r.unit.moved * r.run), to=i32)
        some = constant_bytes([int(at < left) for at in range(vector.bytes)], r.lanes, r.unit)
        mask = prefix_mask(r.lanes, -(-left // QUAD))
        with fn.loop(0, columns) as column:
            place = fn.load(x + column.index * WORD, ptr)
            with fn.loop(0, count, carried=[const(vector, 0)]) as run:
                start, (total,) = place + fn.load(runs + run.index * WORD, i64), run.carried
                if whole:
                    with fn.loop(0, whole, vector.bytes, carried=[total]) as inner:
                        each = unsigned_bytes(fn.load(start + inner.index, vector, align=1), r.unit)
                        inner.carry(dot(fn, inner.carried[0], each, ones, r.unit))
                    (total,) = inner.results
                if left:
                    each = unsigned_bytes(fn.load(start, vector, whole, mask=mask, align=1), r.unit)
                    total = dot(fn, total, each, some, r.unit)
                run.carry(total)
            lanes = run.results[0]
            name = f"llvm.vector.reduce.add.{lanes.type.suffix}"
            total = fn.emit(f"call i32 @{name}({lanes.type.text} {lanes.name})", i32)
            fn.store(total + moved, out + column.index * i32.bytes)
        return fn

    # ---- one tile -------------------------------------------------------------------------------------------

    def _tile(self, columns: int, rows: int) -> Function:
        r = self.r
        vectors = -(-rows // r.lanes)
        numbered = {name.replace(" ", "_"): ptr for name in r.row_numbers}
        parameters = PARAMETERS | numbered | ({"between": i64} if r.block else {})
        fn = self._module.function(f"tile_{columns}_{rows}", parameters)
        x, a, table, args, sums, c, residual, line, count, places, *rest = fn.arguments
        numbers = dict(zip(r.row_numbers, rest, strict=False))
        bias, w_zero, between = numbers["bias"], numbers["w zero"], rest[len(numbers) :]
        runs = table, r.arguments().load(fn, args, "run count")
        # Lanes behind the tile's columns stay as they are: a residual that is C itself is still to be read there.
        count = minimum(count, const(i64, columns))
        to = Target(c, residual, bias, line, count, places, *between)
        if r.tiled:
            product = TiledProduct(r, fn, columns, vectors, sums)
            product.write(x, a, runs)
            starts = [] if r.work.is_float else self._start(fn, a, args, bias, w_zero, rows, vectors)[0]
            self._finish_tiles(fn, product, starts, (args, numbers), rows, to)
            return fn
        if r.work.is_float:
            zeros: list[Value] = [const(r.work.x(r.lanes), 0.0)] * (columns * vectors)
            made = self._over_quads(fn, x, a, runs, columns, vectors, zeros)
            self._store(fn, made, columns, rows, to)
            return fn
        start, w_zeros = self._start(fn, a, args, bias, w_zero, rows, vectors)
        made = self._over_quads(fn, x, a, runs, columns, vectors, start * columns)
        if r.sums_columns:
            for i in range(columns):
                total = splat(fn.load(sums, i32, i * i32.bytes), lanes=r.lanes)
                for v in range(vectors):
                    made[i * vectors + v] = made[i * vectors + v] - total * w_zeros[v]
        self._finish_and_store(fn, made, columns, (args, numbers), rows, to)
        return fn

    def _finish_and_store(
        self,
        fn: Function,
        sums: list[Value],
        columns: int,
        words: tuple[Value, Mapping[str, Value]],
        rows: int,
        to: Target,
    ) -> None:
        """Integers from their sums on; words: the kernel's arguments, and where numbers of the rows are."""
        r, (args, numbers), vectors = self.r, words, -(-rows // self.r.lanes)
        zero = r.arguments().load(fn, args, "y zero")
        made = self._finish(fn, sums, numbers, rows, vectors)
        if r.out is not i8:
            self._store(fn, made, columns, rows, to)
            return
        if r.requantise:
            made = self._requantise(fn, made, zero, numbers, rows)
        addition, apart, load = None, None, r.arguments().load
        if r.residual:
            apart = load(fn, args, "residual") - load(fn, args, "y")
            place = load(fn, args, "addition", ptr)
            addition = Addition.load(fn, place, r.lanes, signed=r.out_signed, x86=r.unit in X86)
        out = BytesWriter(fn, r, zero, addition, apart)
        if r.store is not Store.TURNED:
            out.store_lines(made, columns, rows, to)
            return
        for v in range(vectors):
            moved = to.stride * (v * r.lanes)
            down = replace(to, c=to.c + moved, residual=to.residual + moved)
            out.store_turned(made[v::vectors], down, rows - v * r.lanes)

    def _finish_tiles(
        self,
        fn: Function,
        product: TiledProduct,
        starts: list[Value],
        words: tuple[Value, Mapping[str, Value]],
        rows: int,
        to: Target,
    ) -> None:
        """Some columns of tiles at a time, as many as registers hold; one vector of rows of each that is turned."""
        r, (args, numbers) = self.r, words
        turned = r.store is Store.TURNED
        some, size = (SQUARE, 1) if turned else (SQUARE // 2, product.vectors)
        for first in range(0, product.groups * SQUARE, some):
            for v in range(0, product.vectors, size):
                sums = [product.sums(first + i, v + at) for i in range(some) for at in range(size)]
                part = _part(to, first, v, r)
                left = min(rows - v * r.lanes, size * r.lanes)
                if r.work.is_float:
                    self._store(fn, sums, some, left, part)
                    continue
                sums = [each + starts[v + i % size] for i, each in enumerate(sums)]
                own = {name: at + v * r.lanes * f32.bytes for name, at in numbers.items()}
                self._finish_and_store(fn, sums, some, (args, own), left, part)

    def _store(self, fn: Function, made: list[Value], columns: int, rows: int, to: Target) -> None:
        """Stores integers, which are finished, and floats after their epilogue."""
        r, work, vectors = self.r, made[0].type.scalar, -(-rows // self.r.lanes)
        wanted = (r.bias, r.residual, r.activation) if r.work.is_float else (False, False, None)
        tile = Tile(work, columns, vectors, r.lanes, 0, 0, 0)
        lines = [made[i * vectors : (i + 1) * vectors] for i in range(columns)]
        epilogue = TileEpilogue(r.out, *wanted, True, r.store, r.block, r.work.is_float)
        epilogue.emit(fn, tile, lines, to, rows)

    def _start(
        self, fn: Function, a: Value, args: Value, bias: Value, w_zero: Value, rows: int, vectors: int
    ) -> tuple[list[Value], list[Value]]:
        """What sums begin with: bias - x0 * sum of w + k * x0 * w0 of each row; and w0 of each row."""
        r, vector = self.r, i32.x(self.r.lanes)
        zero = splat(trunc(r.arguments().load(fn, args, "zero"), to=i32), lanes=r.lanes)
        starts, zeros, load = [], [], r.arguments().load
        runs = load(fn, args, "run count")
        terms, sums = splat(trunc(runs * r.run, to=i32), lanes=r.lanes), a + runs * r.run_bytes
        for v in range(vectors):
            mask = prefix_mask(r.lanes, rows - v * r.lanes)
            total = kept = fn.load(sums, vector, v * vector.bytes)
            moved = const(vector, 0) if r.signed else const(vector, 128)
            if r.sums_columns:
                of = (
                    fn.load(w_zero, vector, v * vector.bytes, mask=mask) - moved
                    if r.w_zero
                    else const(vector, -128)
                )
                zeros.append(of)
                total = total - of * terms
            start = -(total * zero)
            if r.unit.moved:
                start = start + kept * const(vector, r.unit.moved)
            if r.bias:
                start = start + fn.load(bias, vector, v * vector.bytes, mask=mask)
            starts.append(start)
        return starts, zeros

    def _finish(
        self, fn: Function, sums: list[Value], numbers: Mapping[str, Value], rows: int, vectors: int
    ) -> list[Value]:
        """Sums as they are stored, or floats of which bytes are made."""
        r = self.r
        if not r.scale:
            return [activate(each, r.activation) for each in sums]
        factors = self._row_numbers(fn, numbers["scale"], rows, vectors)
        made = [sitofp(each, to=f32) * factors[i % vectors] for i, each in enumerate(sums)]
        return [activate(each, r.activation) for each in made]

    def _requantise(
        self, fn: Function, made: list[Value], zero: Value, numbers: Mapping[str, Value], rows: int
    ) -> list[Value]:
        """Floats of which the second bytes are made, from those of the first, with a zero point."""
        vectors = -(-rows // self.r.lanes)
        factors, offsets = (
            self._row_numbers(fn, numbers[name], rows, vectors) for name in ("factor", "offset")
        )
        limits = np.iinfo(np.int8 if self.r.out_signed else np.uint8)
        whole = splat(sitofp(zero, to=f32), lanes=self.r.lanes)
        low, high = (const(whole.type, float(each)) - whole for each in (limits.min, limits.max))
        again = []
        for i, each in enumerate(made):
            q = round_within(each, low, high)
            again.append(fma(q, factors[i % vectors], offsets[i % vectors]))
        return again

    def _row_numbers(self, fn: Function, place: Value, rows: int, vectors: int) -> list[Value]:
        """A float for each row, in vectors."""
        lanes, vector = self.r.lanes, f32.x(self.r.lanes)
        masks = (prefix_mask(lanes, rows - v * lanes) for v in range(vectors))
        return [fn.load(place, vector, v * vector.bytes, mask=mask) for v, mask in enumerate(masks)]


def _part(to: Target, first: int, vector: int, r: QuadsRecipe) -> Target:
    """The same from a column on, and from a vector of rows on where tiles are turned."""
    moved = to.stride * (vector * r.lanes)
    if r.store is Store.TURNED:
        moved = moved + first * r.out.bytes
    if r.store is Store.LINES:
        moved = moved + to.stride * first
    return replace(
        to,
        c=to.c + moved,
        residual=to.residual + moved,
        bias=to.bias + vector * r.lanes * f32.bytes,
        count=to.count - first,
        places=to.places + first * WORD,
    )


__all__ = ["TileWriter"]
