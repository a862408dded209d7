"""The kernel of byte products: tasks, their tables of columns, and the register tile.

    task(index):  NC columns x MC blocks of rows of one matrix
        where each column begins in x (and in C, where columns lie neither side by side nor evenly)
        for block of rows of A, for tile of columns:  multiply, finish, store

Nothing is packed but x once, in front of all tasks, if it does not lie channels last inside its margins already.
"""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ...ir import tiles
from ...ir.emitter import Module
from ...ir.instructions import Value, const, equal, i32, i64, less, minimum, ptr, select, udiv
from ...job import WORD
from ..panel.microkernel import by_height, dispatch
from .pack_w import write_weights
from .recipe import QuadsRecipe
from .tile import TileWriter


def module(recipe: QuadsRecipe, attributes: str, *, fused: bool) -> Module:
    """The kernel: `task(args, index, thread)`, and `weights(args, index, thread)` which packs a block of A."""
    made = Module(attributes, fused=fused)
    write_weights(made, recipe)
    tiles = TileWriter(recipe, made)
    _QuadsWriter(recipe, tiles, made).write()
    return made


@dataclass(frozen=True)
class _Columns:
    """A task's columns: the first, how many, and the tables of where they begin in x and C and of their sums."""

    first: Value
    count: Value
    x: Value
    places: Value
    sums: Value


class _QuadsWriter:
    """Writes the function."""

    def __init__(self, recipe: QuadsRecipe, tiles: TileWriter, module: Module) -> None:
        self.r, self.tiles, self.names = recipe, tiles, recipe.arguments()
        self.fn = module.function("task", {"args": ptr, "index": i64, "thread": i64})
        self.args, self.index, self.thread = self.fn.arguments

    def word(self, name: str) -> Value:
        """Emits the load of one of the kernel's arguments."""
        return self.names.load(self.fn, self.args, name)

    def address(self, name: str) -> Value:
        """The same of an address."""
        return self.names.load(self.fn, self.args, name, ptr)

    def write(self) -> None:
        """All of a task."""
        r, fn = self.r, self.fn
        mc_blocks, nc_blocks = self.word("mc blocks"), self.word("nc blocks")
        rest = udiv(self.index, mc_blocks)
        mc_block = self.index - rest * mc_blocks
        outer = udiv(rest, nc_blocks)
        nc_block = rest - outer * nc_blocks
        bases = {name: self.address(name) for name in ("y", "a", "residual", *self.r.row_numbers)}
        bases["x"] = self.address("scratch" if r.packed else "x")
        for name in reversed(r.outer):
            count = self.word(f"count {name}")
            above = udiv(outer, count)
            value, outer = outer - above * count, above
            for what, base in bases.items():
                like = "bias" if what in self.r.row_numbers else "y" if what == "residual" else what
                bases[what] = base + value * self.word(f"{like} {name}")
        own = self.address("scratch") + self.word("own") + self.thread * self.word("scratch size")
        first = nc_block * self.word("nc")
        count = minimum(self.word("columns") - first, self.word("nc"))
        columns = _Columns(first, count, own, own + self.word("places"), own + self.word("sums"))
        self._tables(columns, bases["x"])
        if r.sums_columns:
            runs = self.address("runs"), columns.sums, count, self.word("run count")
            fn.call(self.tiles.sums.address, columns.x, *runs)
        if r.tiled:
            tiles.configure(fn, columns.sums + (r.room - tiles.CONFIGURATION))
        self._multiply(columns, mc_block * self.word("mc"), bases)
        if r.tiled:
            tiles.release(fn)

    def _tables(self, columns: _Columns, x: Value) -> None:
        """Writes where each column begins, and the last one again for the lanes of the last tile."""
        r, fn = self.r, self.fn
        values, rest = {}, columns.first
        for name in reversed(r.columns[1:]):
            extent = self.word(f"extent {name}")
            above = udiv(rest, extent)
            values[name], rest = rest - above * extent, above
        values[r.columns[0]] = rest
        place = const(i64, 0)
        for name, value in values.items():
            x = x + value * self.word(f"step {name}")
            place = place + value * self.word(f"place {name}")
        # The innermost index moves, a line at a time; where it comes to its end, the next one does.
        inner = [*reversed(r.columns[1:])]
        if not inner:
            self._line(columns, const(i64, 0), columns.count, x, place)
        else:
            carried = [const(i64, 0), x, place, *(values[name] for name in inner)]
            with fn.repeat(carried=carried) as line:
                done, x, place, *at = line.carried
                many = minimum(self.word(f"extent {inner[0]}") - at[0], columns.count - done)
                self._line(columns, done, many, x, place)
                x, place, *after = self._behind_line(x, place, many, at)
                line.carry(done + many, x, place, *after)
                line.again(less(done + many, columns.count))
        last = fn.load(columns.x + columns.count * WORD, ptr, -WORD)
        with fn.loop(0, r.width - 1) as behind:
            fn.store(last, columns.x + (columns.count + behind.index) * WORD)

    def _line(self, columns: _Columns, first: Value, many: Value, x: Value, place: Value) -> None:
        """Writes where columns begin along which only the innermost index moves."""
        fn, steps = self.fn, [self.word(f"{what} {self.r.columns[-1]}") for what in ("step", "place")]
        with fn.loop(first, first + many, carried=[x, place]) as column:
            x, place = column.carried
            fn.store(x, columns.x + column.index * WORD)
            if self.r.placed:
                fn.store(place, columns.places + column.index * WORD)
            column.carry(x + steps[0], place + steps[1])

    def _behind_line(self, x: Value, place: Value, many: Value, at: list[Value]) -> list[Value]:
        """Where the column behind so many of a line begins, and its indices but the outermost, innermost first."""
        names = [*reversed(self.r.columns)]
        moved = [many * self.word(f"{what} {names[0]}") for what in ("step", "place")]
        after: list[Value] = []
        ended: Value | None = None
        for number, name in enumerate(names[:-1]):
            extent = self.word(f"extent {name}")
            following = at[number] + many if ended is None else select(ended, at[number] + 1, at[number])
            ended = equal(following, extent)
            after.append(select(ended, const(i64, 0), following))
            for i, what in enumerate(("step", "place")):
                back = self.word(f"{what} {names[number + 1]}") - extent * self.word(f"{what} {name}")
                moved[i] = moved[i] + select(ended, back, const(i64, 0))
        return [x + moved[0], place + moved[1], *after]

    def _multiply(self, columns: _Columns, first_block: Value, bases: dict[str, Value]) -> None:
        """All tiles of the task, block of rows by block."""
        r, fn = self.r, self.fn
        blocks = minimum(const(i64, r.blocks) - first_block, self.word("mc"))
        line, runs = self.word("line"), self.address("runs")
        across = r.store.name in ("LINES", "PLACED")
        beside = line if r.store.name == "LINES" else const(i64, 0 if r.placed else r.out.bytes)
        between = (self.word("between"),) if r.block else ()
        with fn.loop(0, blocks) as block:
            number = first_block + block.index
            row = number * r.rows
            above = self._row_offset(row, const(i64, r.out.bytes) if across else line)
            a = bases["a"] + number * self.word("block")
            numbers = [bases[name] + row * 4 for name in self.r.row_numbers]
            with fn.loop(0, columns.count, r.width) as tile:
                at = tile.index
                c = above + (columns.first + at) * beside
                left = columns.count - at
                sums = columns.sums if r.tiled else columns.sums + at * i32.bytes
                arguments = (
                    columns.x + at * WORD, a, runs, self.args, sums, bases["y"] + c, bases["residual"] + c, line, left,
                    columns.places + at * WORD, *numbers, *between,
                )  # fmt: skip
                by_height(
                    fn, r.block_heights, equal(number, r.blocks - 1),
                    lambda rows: dispatch(fn, self.tiles.tiles[rows], left, arguments),
                )  # fmt: skip

    def _row_offset(self, row: Value, down: Value) -> Value:
        """Where a row of C begins, in bytes from the first."""
        r = self.r
        if not r.block:
            return row * down
        full = udiv(row, r.block)
        return full * self.word("between") + (row - full * r.block) * r.out.bytes


__all__ = ["module"]
