"""Products of quads by registers that are tiles: 32 columns by 32 rows of C in four of them.

    for each run of k, for 64 bytes of it:    A: 16 columns of x each      B: 16 quads of w for 16 rows each

Columns of x that lie evenly apart are loaded from there; others, where a line of pixels ends, are first copied beside
each other. Packed weights are as the instruction wants them: a quad of 16 rows are 64 bytes. What is behind the end of
a run is multiplied by 0.

Sums go to the thread's own room, and from there through the same finish as those of any unit.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir import tiles
from ...ir.emitter import Function
from ...ir.instructions import Value, const, equal, i32, i64, ptr, splat
from ...job import WORD
from .recipe import QUAD, QuadsRecipe

Find = Callable[[Value, int], tuple[Value, Value]]

FIRST_X, FIRST_W = 4, 6
"""The registers that columns and rows are loaded into, behind those of the sums."""


class TiledProduct:
    """Writes the product of a register tile; `room`: where the thread has memory of its own."""

    def __init__(self, recipe: QuadsRecipe, fn: Function, columns: int, vectors: int, room: Value) -> None:
        self.r, self.fn, self.room = recipe, fn, room
        self.groups, self.vectors = columns // tiles.ROWS, vectors

    def write(self, x: Value, a: Value, runs: tuple[Value, Value]) -> None:
        """All of the sums into the room; x: the table of columns, a: a block of w, runs: their table and how many."""
        fn = self.fn
        for number in range(self.groups * self.vectors):
            tiles.zero(fn, number)
        starts = [fn.load(x, ptr, g * tiles.ROWS * WORD) for g in range(self.groups)]
        apart, crooked = [], const(i64, 0)
        for g in range(self.groups):
            step, off = self._spacing(x, g)
            apart.append(step)
            crooked = off if g == 0 else crooked | off
        with fn.if_(equal(crooked, 0)) as even:
            self._runs(a, runs, lambda at, g: (starts[g] + at, apart[g]))
        with even.otherwise():
            self._runs(a, runs, lambda at, g: self._gather(x, at, g), ahead=True)
        for number in range(self.groups * self.vectors):
            tiles.store(fn, number, self.room + number * tiles.BYTES, const(i64, tiles.WIDTH))

    def sums(self, column: int, vector: int) -> Value:
        """The sums of a column, for the rows of a vector."""
        group, row = divmod(column, tiles.ROWS)
        at = (group * self.vectors + vector) * tiles.BYTES + row * tiles.WIDTH
        return self.fn.load(self.room, self.r.work.x(self.r.lanes), at)

    def _spacing(self, x: Value, group: int) -> tuple[Value, Value]:
        """Bytes from a column to the next, and 0 if all of the group's are so far apart."""
        fn, half = self.fn, i64.x(tiles.ROWS // 2)
        at = group * tiles.ROWS * WORD
        first, second = fn.load(x, i64, at), fn.load(x, i64, at + WORD)
        step, off = second - first, []
        for part in range(2):
            numbers = const(half, range(part * half.lanes, (part + 1) * half.lanes))
            wanted = splat(first, lanes=half.lanes) + splat(step, lanes=half.lanes) * numbers
            off.append(fn.load(x, half, at + part * half.bytes) ^ wanted)
        both = off[0] | off[1]
        name = f"@llvm.vector.reduce.or.v{half.lanes}i64"
        return step, fn.emit(f"call i64 {name}({half.text} {both.name})", i64)

    def _runs(self, a: Value, runs: tuple[Value, Value], find: Find, *, ahead: bool = False) -> None:
        """The loops over k; `find` gives where a group's columns lie, and how far apart, of an offset into them.

        `ahead`: weights are asked for a tile ahead of their use, which copies of columns keep waiting otherwise.
        """
        r, fn, (table, count) = self.r, self.fn, runs
        step, beside = r.rows * tiles.WIDTH, const(i64, r.rows * QUAD)
        with fn.loop(0, count, carried=[a]) as run:
            start = fn.load(table + run.index * WORD, i64)
            with fn.loop(0, r.quads * QUAD, tiles.WIDTH, carried=[run.carried[0]]) as inner:
                (w,) = inner.carried
                at = start + inner.index
                for g in range(self.groups):
                    tiles.load(fn, FIRST_X + g, *find(at, g))
                for v in range(self.vectors):
                    tiles.load(fn, FIRST_W + v, w + v * tiles.WIDTH, beside)
                for line in range(0, step if ahead else 0, tiles.WIDTH):
                    fn.prefetch(w, step + line)
                for g in range(self.groups):
                    for v in range(self.vectors):
                        sums = g * self.vectors + v
                        tiles.multiply(fn, sums, FIRST_X + g, FIRST_W + v, floats=r.work.is_float)
                inner.carry(w + step)
            run.carry(*inner.results)

    def _gather(self, x: Value, at: Value, group: int) -> tuple[Value, Value]:
        """A group's columns copied beside each other."""
        fn, vector = self.fn, i32.x(self.r.lanes)
        room = self.room + (self.r.width // tiles.ROWS * self.r.vectors + group) * tiles.BYTES
        for column in range(tiles.ROWS):
            place = fn.load(x, ptr, (group * tiles.ROWS + column) * WORD) + at
            fn.store(fn.load(place, vector), room, column * tiles.WIDTH)
        return room, const(i64, tiles.WIDTH)


__all__ = ["TiledProduct"]
