"""A task of the panel kernel: which rows and columns of C it owns, and where what belongs to them lies.

A task's number says which matrix, which NC columns and which MC rows. All loops around the micro-kernel ask the task
where a block of A, a panel of B, a tile's unfinished sums and its place in C are.
"""

from __future__ import annotations

from collections.abc import Callable

from ....lazy_dataclass import dataclass
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import Type, Value, const, equal, i64, minimum, ptr, select, udiv
from ...job import WORD
from ..epilogue import Store
from .microkernel import LAST, LATER, MicroKernels, by_height
from .pack_a import APacker
from .recipe import PanelRecipe

Call = Callable[[int, Value, tuple[Value, ...]], object]
"""Calls the micro-kernel for so many rows and columns with these arguments."""


@dataclass(frozen=True)
class Parts:
    """What a panel kernel is put together from: functions that pack B and A, micro-kernels, and the table of places."""

    recipe: PanelRecipe
    arguments: Arguments
    pack_b: Function
    pack_a: APacker
    micro: MicroKernels
    places: Function | None


@dataclass(frozen=True)
class KPart:
    """A part of k: its place among the parts, A from the k `start` on, and the columns of C from `first` to `end`.

    `room`: bytes from one packed panel to the next; `block_step`: from one block of A to the next.
    """

    place: Value
    a: Value
    block_step: Value
    start: Value
    depth: Value
    first: Value
    panels: Value
    room: Value
    end: Value


class Task:
    """Emits what a task decodes first, and then says where things are.

    bases: where its arrays begin. moved: how far the indices that it fixes move along the axes of x that this moves
    along and are checked. scratch, kept: its memory, and the unfinished sums there. first_block, blocks: its rows of A.
    nc_block: the number of its columns among those of its matrix.
    """

    def __init__(self, parts: Parts, module: Module) -> None:
        self.parts, self.recipe, self.micro = parts, parts.recipe, parts.micro
        r = self.recipe
        self.fn = module.function("task", {"args": ptr, "index": i64, "thread": i64})
        self.args, index, thread = self.fn.arguments
        mc_blocks, nc_blocks = self.argument("mc blocks"), self.argument("nc blocks")
        rest = udiv(index, mc_blocks)
        mc_block = index - rest * mc_blocks
        outer = udiv(rest, nc_blocks)
        self.nc_block = rest - outer * nc_blocks
        self.bases = {what: self.argument(what, ptr) for what in ("x", "y", "a", "w", "bias", "residual")}
        moved = dict.fromkeys(r.walk.moved, const(i64, 0))
        for name in reversed(r.outer):
            count = self.argument(f"count {name}")
            above = udiv(outer, count)
            value, outer = outer - above * count, above
            for what, base in self.bases.items():
                step = self.argument(f"{'y' if what == 'residual' else what} {name}")
                self.bases[what] = base + value * step
            for check in r.walk.checks:
                if check.by(name):
                    moved[check.axis] = moved[check.axis] + value * check.by(name)
        self.moved = (*moved.values(),)
        self.scratch = self.argument("scratch", ptr) + thread * self.argument("scratch size")
        self.first_block = mc_block * self.argument("mc")
        blocks = self.argument("blocks")
        self.last_block = blocks - 1
        self.blocks = minimum(blocks - self.first_block, self.argument("mc"))
        self.kept = self.scratch + self.argument("sums")

    def argument(self, name: str, type: Type = i64) -> Value:
        """Emits the load of one of the kernel's arguments."""
        return self.parts.arguments.load(self.fn, self.args, name, type)

    def columns(self, panel: Value) -> tuple[Value, Value]:
        """Where a panel's columns begin, and how many it has."""
        r = self.recipe
        if not r.skips:
            start = panel * r.nr
            return start, minimum(self.argument("columns") - start, r.nr)
        at = self.argument("panel columns", ptr) + panel * (2 * WORD)
        return self.fn.load(at, i64), self.fn.load(at, i64, WORD)

    def pack_b(self, out: Value, start: Value, count: Value, box: Value) -> None:
        """Pack what a box of k and `count` of the run from `start` on give of B."""
        self.fn.call(
            self.parts.pack_b.address, self.bases["x"], out, start, count, box, self.args, *self.moved
        )

    def places_at(self, panel: Value) -> Value:
        """Address of a panel's table of how far each of its columns lies from the first of all in C."""
        return self.scratch + self.argument("places") + panel * (self.recipe.nr * 8)

    def write_places(self, at: Value, start: Value, count: Value) -> None:
        """Write that table for `count` columns from `start` on."""
        assert self.parts.places is not None
        self.fn.call(self.parts.places.address, at, start, count, self.args)

    def write_places_of(self, first: Value, panels: Value) -> None:
        """Write the tables of so many panels, where C is stored by them."""
        if not self.recipe.places:
            return
        with self.fn.loop(0, panels) as panel:
            start, count = self.columns(first + panel.index)
            self.write_places(self.places_at(panel.index), start, count)

    def steps(self) -> tuple[Value, Value, Value, tuple[Value, ...]]:
        """Steps in C: a line's, that of neighbouring columns and rows, and of blocks of rows."""
        r, line = self.recipe, self.argument("line")
        # Neighbouring columns of C: side by side, a line apart where lanes lie along C's rows, or by the table.
        across = r.along_m and r.store in (Store.LINES, Store.PLACED)
        beside = const(i64, 0) if r.places else (line if across else const(i64, r.out.bytes))
        down = const(i64, r.out.bytes) if across else line
        return line, beside, down, (self.argument("between"),) if r.block else ()

    def row_offset(self, row: Value, down: Value) -> Value:
        """Where a row of C begins, in bytes from the first."""
        r = self.recipe
        if not r.block:
            return row * down
        full = udiv(row, r.block)
        return full * self.argument("between") + (row - full * r.block) * r.out.bytes

    def padded_rows(self, is_tail: Value) -> Value:
        """Elements that a block of A takes for each k."""
        r = self.recipe
        return select(is_tail, const(i64, r.padded_rows(r.tail)), const(i64, r.padded_rows(r.mr)))

    def multiply(self, part: KPart, source: tuple[Value, ...] = ()) -> None:
        """All tiles of a part; `source`: what the micro-kernel takes in front."""
        fn = self.fn
        with fn.loop(0, self.blocks) as block, fn.loop(0, part.panels) as panel:
            self.tile(
                part,
                block.index,
                panel.index,
                lambda rows, count, arguments: self.call_micro_kernel(rows, count, (*source, *arguments)),
            )

    def call_micro_kernel(self, rows: int, count: Value, arguments: tuple[Value, ...]) -> None:
        """Call the micro-kernel that is made for so many rows and columns."""
        self.micro.call(self.fn, rows, count, arguments)

    def tile(self, part: KPart, block: Value, panel: Value, call: Call) -> None:
        """One tile of a part, by the micro-kernel that `call` takes."""
        r = self.recipe
        line, beside, down, between = self.steps()
        number = self.first_block + block
        row = number * r.mr
        is_tail = equal(number, self.last_block)
        at = part.first + panel * r.nr
        count = minimum(part.end - at, r.nr)
        c_at = self.row_offset(row, down) + at * beside
        arguments = (
            part.a + number * part.block_step + part.start * self.padded_rows(is_tail) * r.work.bytes,
            self.scratch + panel * part.room,
            part.depth,
            self.kept + (block * part.panels + panel) * r.tile_bytes,
            part.place,
            *self.target(c_at, row, line, count, panel),
            *between,
        )
        by_height(self.fn, r.block_heights, is_tail, lambda rows: call(rows, count, arguments))

    def target(self, c_at: Value, row: Value, line: Value, count: Value, panel: Value) -> tuple[Value, ...]:
        """Where a tile's finished sums go: see `Target`."""
        r = self.recipe
        return (
            self.bases["y"] + c_at,
            self.bases["residual"] + c_at,
            self.bases["bias"] + row * r.work.bytes,
            line,
            count,
            self.places_at(panel),
        )


def part_place(part: Value, parts: Value) -> Value:
    """A part's place: LATER but for the first, LAST for the last."""
    return select(part > 0, const(i64, LATER), const(i64, 0)) | select(
        equal(part + 1, parts), const(i64, LAST), const(i64, 0)
    )


__all__ = ["Call", "KPart", "Parts", "Task", "part_place"]
