"""The task of the kernel with transforms: which block of tiles it has, and its three steps one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....lazy_dataclass import dataclass
from ...ir.emitter import Function
from ...ir.instructions import Type, Value, below, equal, i64, minimum, ptr, select, udiv
from ..panel.microkernel import dispatch
from .writer import WinogradWriter


@dataclass(frozen=True)
class RowBlock:
    """What a block of so many rows of A takes: packing it, its register tiles by their sizes, storing it."""

    pack: Function | None
    sums: list[tuple[int, Function]]
    post: Function


@dataclass(frozen=True)
class TaskBlock:
    """A task's block: its slices, rows and columns of tiles, and how many there are of each.

    `slice`: where the first tap of its first slice lies in x, perhaps before it. `pixel`, `row`: of its first tile,
    among outputs and among rows of tiles. `x`: its image's and group's; `y`, `residual`: its first slice's; `bias`,
    `w`, `a`: its group's. `scratch`: the thread's.
    """

    slices: Value
    slice: Value
    rows: Value
    columns: Value
    row: Value
    pixel: Value
    chunk: Value
    x: Value
    y: Value
    residual: Value
    bias: Value
    w: Value
    a: Value
    scratch: Value


class TaskWriter(WinogradWriter):
    """Writes the task of the functions that do its steps."""

    def write(self, pre: Function, blocks: Mapping[int, RowBlock]) -> None:
        """`task(args, index, thread)`; `blocks` by their rows."""
        self.fn = fn = self.made.function("task", {"args": ptr, "index": i64, "thread": i64})
        self.args = fn.arguments[0]
        work = self._work()
        self._transform(pre, work)
        first, count = work.chunk * self.arg("chunk"), self.arg("a blocks")
        mine = minimum(count - first, self.arg("chunk"))
        with fn.loop(0, mine, self.arg("together")) as some:
            here = minimum(mine - some.index, self.arg("together"))
            self._multiply(blocks, work, first + some.index, here)

    def _by_height(
        self, blocks: Mapping[int, RowBlock], number: Value, emit: Callable[[int, RowBlock], None]
    ) -> None:
        """Emit what is done with block `number` of A's rows, for each height that it may have."""
        if len(blocks) == 1:
            emit(*next(iter(blocks.items())))
            return
        with self.fn.if_(equal(number, self.arg("a blocks") - 1)) as last:
            emit(self.r.tail, blocks[self.r.tail])
        with last.otherwise():
            emit(self.r.width, blocks[self.r.width])

    def arg(self, name: str, type: Type = i64) -> Value:
        """Emits the load of a word, in the task."""
        return self.word(self.fn, self.args, name, type)

    def _digit(self, rest: Value, name: str) -> tuple[Value, Value]:
        above = udiv(rest, self.arg(name))
        return above, rest - above * self.arg(name)

    def _work(self) -> TaskBlock:
        """Which block a task has, by its index."""
        arg, (_, index, thread) = self.arg, self.fn.arguments
        rest, chunk = self._digit(index, "chunks")
        rest, block_column = self._digit(rest, "column blocks")
        rest, block_row = self._digit(rest, "row blocks")
        rest, slice_block = self._digit(rest, "slice blocks")
        rest, remainder = self._digit(rest, "rests")
        group, image = self._digit(rest, "count b")
        first, rests = slice_block * arg("block slices"), arg("rests")
        slices = udiv(arg("slices") - remainder + (rests - 1), rests)
        row, column = block_row * arg("block rows"), block_column * arg("block columns")
        to = image * arg("y b") + group * arg("y g") + first * arg("y slice") + remainder * arg("y rest")
        taken = remainder * arg("slice stride") + first * (arg("turns") * arg("tap step"))
        return TaskBlock(
            slices=minimum(slices - first, arg("block slices")),
            slice=taken + arg("slice offset"),
            rows=minimum(arg("tile rows") - row, arg("block rows")),
            columns=minimum(arg("tile columns") - column, arg("block columns")),
            row=row,
            pixel=column * len(self.r.columns.post),
            chunk=chunk,
            x=arg("x", ptr) + image * arg("x b") + group * arg("x g"),
            y=arg("y", ptr) + to,
            residual=arg("residual", ptr) + to,
            bias=arg("bias", ptr) + group * arg("bias g"),
            w=arg("w", ptr) + group * arg("w g"),
            a=arg("a", ptr) + group * arg("a g"),
            scratch=arg("scratch", ptr) + thread * arg("scratch size"),
        )

    def _top(self, work: TaskBlock, row: Value) -> Value:
        """The first row of outputs, and of inputs before padding, of a row of tiles."""
        m0, d0 = len(self.r.rows.post), self.r.apart[0]
        number = udiv(work.row + row, d0)
        return number * (m0 * d0) + (work.row + row - number * d0)

    def _corner(self, work: TaskBlock, at: Value, row: Value) -> Value:
        """Where a row of tiles begins in slice `at` of x, whose first row of x it is."""
        column = work.pixel + self.arg("column offset")
        return work.x + at * self.arg("x slice") + row * self.arg("x row") + column * self.arg("x column")

    def _step(self) -> int:
        """Bytes in V from one tile to the next."""
        return self.r.pitch if self.r.k else self.item

    def _transform(self, pre: Function, work: TaskBlock) -> None:
        """V of the block: of all slices that its taps reach, those in the same place among `turns` side by side."""
        fn, r, arg = self.fn, self.r, self.arg
        depth, v_line, lines = arg("k"), arg("v line"), work.scratch + arg("lines")
        column, turns, taps = work.pixel + arg("column offset"), arg("turns"), arg("taps")
        # Channels side by side are one call's.
        with (
            fn.loop(0, 1 if r.k else depth) as channel,
            fn.loop(0, minimum(turns, taps)) as turn,
            fn.loop(0, work.slices + udiv(taps - 1 - turn.index, turns)) as number,
            fn.loop(0, work.rows) as row,
        ):
            at = work.slice + (number.index * turns + turn.index) * arg("tap step")
            first = self._top(work, row.index) + arg("row offset")
            place = self._place(work, turn.index, number.index)
            tiles = (place * work.rows + row.index) * work.columns
            fn.call(
                pre.address, self._corner(work, at, first) + channel.index * arg("x c"),
                work.scratch + channel.index * v_line + tiles * self._step(), lines, work.columns,
                select(below(at, arg("depth")), first, arg("height")),  # all rows of a slice outside x are
                column, self.args,
            )  # fmt: skip

    def _place(self, work: TaskBlock, turn: Value, number: Value) -> Value:
        """Which slice of V that is: slices whose numbers leave the same rest follow each other."""
        return turn * (work.slices + self.arg("overlap")) + number

    def _multiply(self, blocks: Mapping[int, RowBlock], work: TaskBlock, first: Value, count: Value) -> None:
        """M of the tiles and so many blocks of A's rows, point by point, and their outputs."""
        fn, r, arg = self.fn, self.r, self.arg
        step, packed, kept = arg("block step"), work.scratch + arg("packed"), work.scratch + arg("sums")

        if r.packs:
            with fn.loop(0, count) as each:
                w = work.w + (first + each.index) * r.width * arg("w o")
                to = packed + each.index * step

                def pack(rows: int, block: RowBlock) -> None:
                    assert block.pack is not None
                    fn.call(block.pack.address, w, to, self.args)

                self._by_height(blocks, first + each.index, pack)
        with fn.loop(0, r.points) as point, fn.loop(0, count) as each:
            a = packed + each.index * step if r.packs else work.a + (first + each.index) * step
            m = kept + each.index * arg("m block") + point.index * arg("m plane")
            self._by_height(
                blocks, first + each.index,
                lambda rows, block: self._sum_point(rows, block, work, point.index, (a, m)),
            )  # fmt: skip
        with fn.loop(0, count) as each:
            m, top = kept + each.index * arg("m block"), (first + each.index) * r.width
            self._by_height(
                blocks, first + each.index,
                lambda rows, block: self._store(block.post, r.stored_elements(rows) * self.item, work, m, top),
            )  # fmt: skip

    def _sum_point(
        self, rows: int, block: RowBlock, work: TaskBlock, point: Value, at: tuple[Value, Value]
    ) -> None:
        """M of the tiles and a block of `rows` rows of A at one point; `at`: where the block's A and its M lie."""
        fn, r, arg, (a, m) = self.fn, self.r, self.arg, at
        width, slice_, panel = r.stored_elements(rows) * self.item, work.rows * work.columns, arg("panel")
        tiles = work.slices * slice_
        depth, longest, v_line, turns = arg("k"), arg("part"), arg("v line"), arg("turns")
        with (
            fn.loop(0, udiv(tiles + (panel - 1), panel)) as each,
            fn.loop(0, arg("taps")) as tap,
            fn.loop(0, depth, longest) as part,
        ):
            first, number = each.index * panel, udiv(tap.index, turns)
            place = self._place(work, tap.index - number * turns, number) * slice_
            dispatch(fn, block.sums, minimum(tiles - first, panel), (
                a + point * arg(r.plane(rows)) + (tap.index * depth + part.index) * width,
                work.scratch + point * arg("v plane") + (place + first) * self._step() + part.index * v_line,
                minimum(depth - part.index, longest),
                m + first * width,
                v_line,
                tap.index + part.index,
            ))  # fmt: skip

    def _store(self, post: Function, width: int, work: TaskBlock, kept: Value, top: Value) -> None:
        """The outputs of M, whose tiles take `width` bytes."""
        fn, arg, q = self.fn, self.arg, work.pixel
        turned = work.scratch + arg("turned")
        with fn.loop(0, work.slices) as number, fn.loop(0, work.rows) as row:
            p = self._top(work, row.index)
            first = p + arg("row offset")
            at = work.slice + number.index * (arg("turns") * arg("tap step"))
            moved = top * arg("y o") + p * arg("y row") + q * arg("y column") + number.index * arg("y slice")
            fn.call(
                post.address, kept + (number.index * work.rows + row.index) * work.columns * width,
                work.y + moved, work.residual + moved, work.bias + top * self.item, turned, work.columns,
                arg("out rows") - p, minimum(arg("out columns") - q, work.columns * len(self.r.columns.post)),
                self._corner(work, at, first), at, first, q + arg("column offset"),
                work.w + top * arg("w o"), self.args,
            )  # fmt: skip


__all__ = ["RowBlock", "TaskWriter"]
