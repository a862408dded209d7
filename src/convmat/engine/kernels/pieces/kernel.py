"""The kernel of a long filter in pieces: a block of C summed over tiles and images, at all points at once.

    task: a block of rows x columns of C, and a part of all tiles (k). Without waiting for any other:

        for a chunk of the tiles, some units at a time:
            U[s][tile][column], V[s][tile][row] = transform of x, of w                  lanes along channels
            M[s][column][row]  (+)= sum over tiles of U * V, for each of the points s     lanes along rows
        after some chunks, and at the end:
            part (+)= post on both window axes of M

Where several tasks share a block, whichever is done last adds up their parts, in order. Chunks, and the tasks' parts of
k, are fixed by the product, so the bits of a result depend on nothing else.

A unit is some rows and columns of the tiles of an image: what its tiles read of a vector of channels fits a first-level
cache.
"""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ....product import PARTS_IN_A_ROW
from ...ir.emitter import Function, Module
from ...ir.instructions import Type, Value, const, equal, i64, less, minimum, ptr, udiv
from ...job import WORD
from ..panel.microkernel import dispatch
from ..tile import Tile
from .finish import Finish, collect
from .recipe import Operand, PiecesRecipe, PiecesWriter
from .transform import transform


@dataclass(frozen=True)
class PiecesBlock:
    """A task's block of C: its first row and column, how many register tiles of rows and how many columns it has.

    `top`, `left`: of its tile of C's window, in outputs.
    """

    row: Value
    column: Value
    heights: Value
    columns: Value
    group: Value
    top: Value
    left: Value


class PiecesTaskWriter(PiecesWriter):
    """Writes the task and what it calls."""

    def __init__(self, recipe: PiecesRecipe, made: Module) -> None:
        super().__init__(recipe, made)
        r = recipe
        self.of_x = transform(self, r.x, r.wide * self.item)
        self.of_w = transform(self, r.w, r.width * self.item)
        self.sums = {rows: [(n, self._sum(n, rows)) for n in r.sizes()] for rows in r.heights()}
        self.collects = {rows: collect(self, rows) for rows in r.heights()}
        finish = Finish(self)
        last = r.m - (-(-r.m // r.lanes) - 1) * r.lanes
        self.last = finish.write(last)
        self.full = finish.write(r.lanes) if last < r.lanes < r.m else self.last
        self.fn = made.function("task", {"args": ptr, "index": i64, "thread": i64})

    def _sum(self, columns: int, rows: int) -> Function:
        """`columns` columns by `rows` rows of C at one point: a chunk's sum, to M, or added to what is there."""
        r = self.r
        fn = self.made.function(
            f"sum_{columns}_{rows}", {"v": ptr, "u": ptr, "depth": i64, "m": ptr, "before": i64}
        )
        v, u, depth, m, before = fn.arguments
        step = r.wide * self.item
        tile = Tile(r.work, columns, rows // r.lanes, r.lanes, step, self.item, r.width * self.item)
        made = tile.multiply(fn, u, v, depth)
        with fn.if_(equal(before, 0)) as first:
            tile.store_parts(fn, made, m)
        with first.otherwise():
            tile.store_parts(fn, tile.add_parts(fn, made, m), m)
        return fn

    def arg(self, name: str, type: Type = i64) -> Value:
        """Emits the load of a word, in the task."""
        return self.word(self.fn, self.fn.arguments[0], name, type)

    def _digit(self, rest: Value, count: Value | int) -> tuple[Value, Value]:
        above = udiv(rest, count)
        return above, rest - above * count

    def task(self) -> None:
        """`task(args, index, thread)`."""
        r, fn = self.r, self.fn
        _, index, thread = fn.arguments
        rest, n_block = self._digit(index, r.n_blocks)
        rest, m_block = self._digit(rest, r.m_blocks)
        rest, tile_column = self._digit(rest, self.arg("tile columns"))
        rest, tile_row = self._digit(rest, self.arg("tile rows"))
        part, group = self._digit(rest, self.arg("groups"))
        row, column = m_block * (r.tall * r.width), n_block * r.wide
        block = PiecesBlock(
            row=row,
            column=column,
            heights=minimum(const(i64, -(-r.m // r.width)) - m_block * r.tall, r.tall),
            columns=minimum(const(i64, r.n) - column, r.wide),
            group=group,
            top=tile_row * r.outputs[0],
            left=tile_column * r.outputs[1],
        )
        scratch = self.arg("scratch", ptr) + thread * self.arg("scratch size")
        fn.store(const(self.vector, 0.0), scratch)
        at = self.arg("scratch", ptr) + self.arg("partials")
        partial = at + index * self.arg("partial task") + thread * self.arg("partial thread")
        self._sum_part(block, scratch, part, partial)
        parts = self.arg("parts")
        with fn.if_(equal(parts, 1)) as alone:
            self._finish(block, scratch, partial)
        with alone.otherwise():
            number = index - part * udiv(self.arg("tasks"), parts)
            done = fn.arguments[0] + (number * WORD + self.arguments.offset("done 0"))
            with fn.if_(equal(fn.atomic_add(done, const(i64, 1)) + 1, parts)):
                fn.atomic_store(const(i64, 0), done)
                self._finish(block, scratch, at + number * self.arg("partial task"))

    # -- the sum ------------------------------------------------------------------------------------------------------

    def _sum_part(self, block: PiecesBlock, scratch: Value, part: Value, partial: Value) -> None:
        """The task's part of k: chunk by chunk, collected after each PARTS_IN_A_ROW."""
        fn, size = self.fn, self.arg("chunk part")
        first = part * size
        end = minimum(first + size, self.arg("chunks"))
        with fn.loop(first, end, PARTS_IN_A_ROW, at_least_once=True) as some:
            stop = minimum(some.index + PARTS_IN_A_ROW, end)
            with fn.loop(some.index, stop, at_least_once=True) as chunk:
                depth = self._transform_chunk(block, scratch, chunk.index)
                self._multiply(block, scratch, depth, chunk.index - some.index)
            self._collect(block, scratch, partial, some.index - first)

    def _transform_chunk(self, block: PiecesBlock, scratch: Value, chunk: Value) -> Value:
        """U and V of a chunk's tiles, unit after unit; gives how many tiles there are."""
        r, fn = self.r, self.fn
        units = self.arg("unit chunk")
        first = chunk * units
        end = minimum(first + units, self.arg("units"))
        with fn.loop(first, end, carried=[0], at_least_once=True) as unit:
            (done,) = unit.carried
            rest, across = self._digit(unit.index, self.arg("column units"))
            image, down = self._digit(rest, self.arg("row units"))
            row, column = down * self.arg("unit rows"), across * self.arg("unit columns")
            rows = minimum(self.arg("piece rows") - row, self.arg("unit rows"))
            columns = minimum(self.arg("piece columns") - column, self.arg("unit columns"))
            sizes = rows, columns
            u = scratch + self.arg("u") + done * (r.wide * self.item)
            v = scratch + self.arg("v") + done * (r.width * self.item)
            with fn.loop(0, block.columns, r.lanes) as vector:
                at = u + vector.index * self.item
                place = tuple(
                    (at * piece + first) * apart
                    for at, piece, first, apart in zip(
                        (row, column), r.x.piece, (block.top, block.left), r.apart, strict=True
                    )
                )
                self._transform(r.x, self.of_x, block, image, block.column + vector.index, at, place, sizes)
            with fn.loop(0, block.heights) as height, fn.loop(0, r.width, r.lanes) as vector:
                at = v + height.index * self.arg("v block") + vector.index * self.item
                place = row * r.w.piece[0], column * r.w.piece[1]
                number = block.row + height.index * r.width + vector.index
                with fn.if_(less(number, r.m)):
                    self._transform(r.w, self.of_w, block, image, number, at, place, sizes)
            unit.carry(done + rows * columns)
        return unit.results[0]

    def _transform(
        self, operand: Operand, function: Function, block: PiecesBlock, image: Value, channel: Value, to: Value,
        place: tuple[Value, ...], sizes: tuple[Value, Value],
    ) -> None:  # fmt: skip
        """A unit of one operand, the vector of channels that begins with `channel`."""
        name = operand.name
        base = self.arg(name, ptr) + block.group * self.arg(f"{name} g")
        base = base + image * self.arg(f"{name} image") + channel * self.arg(f"{name} channel")
        scratch = self.arg("scratch", ptr) + self.fn.arguments[2] * self.arg("scratch size")
        self.fn.call(
            function.address, base, to, scratch + self.arg("lines"), scratch,
            place[0] + self.arg(f"{name} row offset"), place[1] + self.arg(f"{name} column offset"), *sizes,
            const(i64, operand.channels) - channel, self.fn.arguments[0],
        )  # fmt: skip

    def _multiply(self, block: PiecesBlock, scratch: Value, depth: Value, before: Value) -> None:
        """M of all points, columns and rows."""
        r, fn = self.r, self.fn
        with fn.loop(0, r.points) as point, fn.loop(0, block.heights) as height:
            v = self.arg("v") + point.index * self.arg("v plane") + height.index * self.arg("v block")
            u = self.arg("u") + point.index * self.arg("u plane")
            m = self.arg("sums") + point.index * self.arg("m plane") + height.index * self.arg("m block")

            def tiles(rows: int, v: Value = v, u: Value = u, m: Value = m) -> None:
                with fn.loop(0, block.columns, r.tallest) as column:
                    dispatch(
                        fn, self.sums[rows], minimum(block.columns - column.index, r.tallest),
                        (scratch + v, scratch + u + column.index * self.item, depth,
                         scratch + m + column.index * (rows * self.item), before),
                    )  # fmt: skip

            self._by_height(block, height.index, tiles)

    def _by_height(self, block: PiecesBlock, height: Value, write: object) -> None:
        """Emits what is to be done with a register tile's rows, for each number of them."""
        assert callable(write)
        r, fn = self.r, self.fn
        heights = r.heights()
        if len(heights) == 1:
            write(heights[0])
            return
        with fn.if_(less(block.row + (height + 1) * r.width, r.m + 1)) as full:
            write(r.width)
        with full.otherwise():
            write(r.stored_elements(r.tail))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _collect(self, block: PiecesBlock, scratch: Value, partial: Value, more: Value) -> None:
        """The outputs of M, to the task's part."""
        r, fn = self.r, self.fn
        m0, m1 = r.outputs
        step = r.width // r.lanes * r.wide * m0 * m1 * r.vector_bytes
        with fn.loop(0, block.heights) as height:
            m = scratch + self.arg("sums") + height.index * self.arg("m block")
            to = partial + height.index * step

            def some(rows: int, m: Value = m, to: Value = to) -> None:
                fn.call(self.collects[rows].address, m, to, block.columns, more, fn.arguments[0])

            self._by_height(block, height.index, some)

    def _finish(self, block: PiecesBlock, scratch: Value, partial: Value) -> None:
        """C of the block from its parts."""
        r, fn = self.r, self.fn
        m0, m1 = r.outputs
        x = self.arg("x", ptr) + block.group * self.arg("x g") + block.column * self.arg("x channel")
        w = self.arg("w", ptr) + block.group * self.arg("w g")
        moved = (
            block.group * self.arg("y g") + block.top * self.arg("y row") + block.left * self.arg("y column")
        )
        moved = moved + block.column * self.arg("y n")
        bias = self.arg("bias", ptr) + block.group * self.arg("bias g")
        step = r.wide * m0 * m1 * r.vector_bytes
        vectors = minimum(
            const(i64, -(-r.m // r.lanes)) - udiv(block.row, r.lanes), r.tall * (r.width // r.lanes)
        )
        with fn.loop(0, vectors) as vector:
            row = block.row + vector.index * r.lanes
            down = moved + row * self.arg("y o")
            given = (
                partial + vector.index * step, self.arg("parts"), self.arg("y", ptr) + down,
                self.arg("residual", ptr) + down, bias + row * self.item, block.columns,
                self.arg("out rows") - block.top, self.arg("out columns") - block.left, x,
                self.arg("x row offset") + block.top * r.apart[0],
                self.arg("x column offset") + block.left * r.apart[1],
                w + row * self.arg("w channel"), scratch + self.arg("lines"), fn.arguments[0],
            )  # fmt: skip
            if self.full is self.last:
                fn.call(self.last.address, *given)
            else:
                with fn.if_(less(row + (r.lanes - 1), r.m)) as whole:
                    fn.call(self.full.address, *given)
                with whole.otherwise():
                    fn.call(self.last.address, *given)


def module(recipe: PiecesRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`."""
    made = Module(attributes, fused=fused)
    PiecesTaskWriter(recipe, made).task()
    return made


__all__ = ["module"]
