"""The task of the kernel with transforms: which block of tiles it has, and its three steps one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.emitter import Function
from ...ir.instructions import Type, Value, equal, i64, minimum, ptr, udiv
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
    """A task's block: its images, rows and columns of tiles, and how many there are of each.

    `pixel`, `row`: of its first tile, among outputs and among rows of tiles. `x`, `y`, `residual`: its first image's;
    `bias`, `w`, `a`: its group's. `scratch`: the thread's.
    """

    images: Value
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
        r = self.r
        self.fn = fn = self.made.function("task", {"args": ptr, "index": i64, "thread": i64})
        self.args = fn.arguments[0]
        work = self._work()
        self._transform(pre, work)
        first = work.chunk * self.arg("chunk")
        count = self.arg("a blocks")
        with fn.loop(0, minimum(count - first, self.arg("chunk"))) as share:
            number = first + share.index
            top = number * r.width
            a = work.a + number * self.arg("block step")
            if len(blocks) == 1:
                ((rows, block),) = blocks.items()
                self._multiply(rows, block, work, a, top)
                return
            with fn.if_(equal(number, count - 1)) as last:
                self._multiply(r.tail, blocks[r.tail], work, a, top)
            with last.otherwise():
                self._multiply(r.width, blocks[r.width], work, a, top)

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
        group, image_block = self._digit(rest, "image blocks")
        image = image_block * arg("block images")
        row, column = block_row * arg("block rows"), block_column * arg("block columns")
        to = image * arg("y b") + group * arg("y g")
        return TaskBlock(
            images=minimum(arg("count b") - image, arg("block images")),
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

    def _corner(self, work: TaskBlock, image: Value, row: Value) -> Value:
        """Where a row of tiles begins in x, whose first row of x it is."""
        column = work.pixel + self.arg("column offset")
        return work.x + image * self.arg("x b") + row * self.arg("x row") + column * self.arg("x column")

    def _step(self) -> int:
        """Bytes in V from one tile to the next."""
        return self.r.pitch if self.r.k else self.item

    def _transform(self, pre: Function, work: TaskBlock) -> None:
        """V of the block."""
        fn, r, arg = self.fn, self.r, self.arg
        depth, v_line, lines = arg("k"), arg("v line"), work.scratch + arg("lines")
        column = work.pixel + arg("column offset")
        # Channels side by side are one call's.
        with (
            fn.loop(0, 1 if r.k else depth) as channel,
            fn.loop(0, work.images) as image,
            fn.loop(0, work.rows) as row,
        ):
            first = self._top(work, row.index) + arg("row offset")
            tiles = (image.index * work.rows + row.index) * work.columns
            fn.call(
                pre.address, self._corner(work, image.index, first) + channel.index * arg("x c"),
                work.scratch + channel.index * v_line + tiles * self._step(), lines, work.columns, first, column,
                self.args,
            )  # fmt: skip

    def _multiply(self, rows: int, block: RowBlock, work: TaskBlock, a: Value, top: Value) -> None:
        """M of the block and so many rows of A from `top` on, which lie at `a`, and its outputs."""
        fn, r, arg = self.fn, self.r, self.arg
        width, kept = r.stored(rows) * self.item, work.scratch + arg("sums")
        if block.pack is not None:
            a = work.scratch + arg("packed")
            fn.call(block.pack.address, work.w + top * arg("w o"), a, self.args)
        tiles, panel = work.images * work.rows * work.columns, arg("panel")
        depth, longest, v_line = arg("k"), arg("part"), arg("v line")
        with (
            fn.loop(0, r.points) as point,
            fn.loop(0, udiv(tiles + (panel - 1), panel)) as each,
            fn.loop(0, depth, longest) as part,
        ):
            at = each.index * panel
            dispatch(fn, block.sums, panel, (
                a + point.index * arg(r.plane(rows)) + part.index * width,
                work.scratch + point.index * arg("v plane") + at * self._step() + part.index * v_line,
                minimum(depth - part.index, longest),
                kept + point.index * arg("m plane") + at * width,
                v_line,
                part.index,
            ))  # fmt: skip
        self._store(block.post, width, work, kept, top)

    def _store(self, post: Function, width: int, work: TaskBlock, kept: Value, top: Value) -> None:
        """The outputs of M, whose tiles take `width` bytes."""
        fn, arg, q = self.fn, self.arg, work.pixel
        turned = work.scratch + arg("turned")
        with fn.loop(0, work.images) as image, fn.loop(0, work.rows) as row:
            p = self._top(work, row.index)
            first = p + arg("row offset")
            moved = top * arg("y o") + p * arg("y row") + q * arg("y column") + image.index * arg("y b")
            fn.call(
                post.address, kept + (image.index * work.rows + row.index) * work.columns * width,
                work.y + moved, work.residual + moved, work.bias + top * self.item, turned, work.columns,
                arg("out rows") - p, minimum(arg("out columns") - q, work.columns * len(self.r.columns.post)),
                self._corner(work, image.index, first), first, q + arg("column offset"),
                work.w + top * arg("w o"), self.args,
            )  # fmt: skip


__all__ = ["RowBlock", "TaskWriter"]
