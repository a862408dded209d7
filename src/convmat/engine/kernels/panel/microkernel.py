"""The panel kernel: pack a few panels of B, multiply them with A, finish, store.

A task owns a block of C's columns (a few panels) and perhaps a share of its rows:

    for part of k:                                      parts are fixed by the product, added in order
        pack the block's panels of B for this part      (worker's scratch, stays in its second-level cache)
        for block of A's rows, for panel:
            tile = sum over the part's k; add the earlier parts; in the last part finish and store

Where lines of a panel lie in x as they are (1x1, stride 1), its first tile reads them there and writes the panel as
it goes (fused packing): waiting for x then overlaps with multiplying. No task waits for another. A is packed in blocks
of rows, one after the other: [block][k][row]. Four forms:

    COLUMNS   x is contiguous along columns of B: a panel is [k][column]
    PIXELS    x is contiguous along k (channels last): a panel is [column][k]
    SUMS      x and A are contiguous along k, which is long (a weight gradient): [column][k]; A is packed by parts
    OUTER     the same with channels last: x is contiguous along the columns, A along m and read in place: [k][column]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import Type, Value, const, equal, i64, minimum, ptr, select, udiv
from ...job import WORD
from ..tile import Finish, Store, Target, Tile
from .pack_a import gather_packer, line_packer
from .pack_b import Packer, PixelPacker, Walk


class Form(Enum):
    """Along what x is contiguous: see the module."""

    COLUMNS = "columns"
    PIXELS = "pixels"
    SUMS = "sums"
    OUTER = "outer"


@dataclass(frozen=True)
class PanelRecipe:
    """All that is constant in a panel kernel.

    `along_m`: lanes along m (A's rows fill vectors, B is broadcast), otherwise along n. `m`: rows of A. `mr`: rows of
    one block of them, MR. `nr`: columns of a panel, NR. `kc`: the longest part of k, KC. `outer`: the indices that a
    task fixes (groups, images), `batch` those of them that A has too. `places`: the column indices that a table of
    places is made of, for stores that are neither side by side nor evenly apart. `a_step`: bytes from one k of A to the
    next, for OUTER. `block`: C's rows are stored in blocks of so many, 0: they are evenly apart. `lines`: A's rows are
    evenly apart and contiguous along k, perhaps in another order (not `ordered`); if they are not, k has `k_indices`
    indices. `skips`: a part of k is one tap, and columns where it lies outside x are omitted.
    """

    form: Form
    walk: Walk
    batch: tuple[str, ...]
    outer: tuple[str, ...]
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    along_m: bool
    store: Store
    m: int
    mr: int
    nr: int
    kc: int
    lines: bool
    ordered: bool
    k_indices: int
    skips: bool
    a_step: int
    block: int
    places: tuple[str, ...]
    bias: bool
    residual: bool
    activation: Activation | None

    @property
    def pitch(self) -> int:
        """Bytes of a line of a panel: its columns, or its k, in whole vectors."""
        vector = self.lanes * self.work.bytes
        if self.form is Form.COLUMNS:
            return -(-self.nr // self.lanes) * vector
        length = self.block_columns if self.form is Form.OUTER else self.kc
        lines = -(-length * self.work.bytes // 64)
        return 64 * (
            lines + 1 - lines % 2
        )  # an odd number of cache lines: panel lines fall into different sets

    @property
    def block_columns(self) -> int:
        """Columns that a task of form OUTER has at most: a line of its panels."""
        return 8 * self.nr

    @property
    def streams(self) -> bool:
        """Whether k is a long run, taken piece by piece with A beside it."""
        return self.form in (Form.SUMS, Form.OUTER)

    @property
    def blocks(self) -> int:
        """Blocks of A's rows, the last one perhaps smaller."""
        return max(-(-self.m // self.mr), 1)

    @property
    def tail(self) -> int:
        """Rows of the last block."""
        return self.m - (self.blocks - 1) * self.mr

    def padded_rows(self, rows: int) -> int:
        """Elements that a block of `rows` rows takes for each k: whole vectors if lanes lie along m."""
        return -(-rows // self.lanes) * self.lanes if self.along_m else rows

    def block_bytes(self, depth: int) -> int:
        """Bytes of a full block of A with `depth` k."""
        return depth * self.padded_rows(self.mr) * self.work.bytes

    def packed_bytes(self, depth: int) -> int:
        """Bytes of all blocks of one matrix A."""
        last = depth * self.padded_rows(self.tail) * self.work.bytes
        return (self.blocks - 1) * self.block_bytes(depth) + last

    def panel_bytes(self, depth: int) -> int:
        """Bytes of one packed panel with `depth` k."""
        return (depth if self.form is Form.COLUMNS else self.nr) * self.pitch

    @property
    def tile_bytes(self) -> int:
        """Bytes of the largest tile: what is kept of it between parts."""
        if self.along_m:
            return self.nr * self.padded_rows(self.mr) * self.work.bytes
        return self.mr * -(-self.nr // self.lanes) * self.lanes * self.work.bytes

    def tile(self, columns: int, rows: int) -> Tile:
        """The register tile of a panel's first `columns` columns and a block of `rows` rows."""
        item, width = self.work.bytes, self.padded_rows(rows)
        if self.form is Form.OUTER:
            vectors = -(-columns // self.lanes)
            return Tile(self.work, rows, vectors, self.lanes, self.a_step, item, self.pitch)
        if not self.along_m:
            vectors = -(-columns // self.lanes)
            return Tile(self.work, rows, vectors, self.lanes, width * item, item, self.pitch)
        k, column = (self.pitch, item) if self.form is Form.COLUMNS else (item, self.pitch)
        return Tile(self.work, columns, width // self.lanes, self.lanes, k, column, width * item)

    @property
    def fuses_packing(self) -> bool:
        """Whether a panel's first tile may pack it (fused packing): x has its lines side by side, in order."""
        lanes = self.form is Form.COLUMNS and not self.along_m and self.nr % self.lanes == 0
        return self.walk.plain and lanes and not self.skips and self.array == self.work

    def tile_columns(self) -> list[int]:
        """The panel widths for which there is a tile: a panel's last columns take the least that holds them."""
        if self.skips:
            return [*range(1, self.nr + 1)]
        if not self.along_m:
            return [*range(self.lanes, self.nr, self.lanes), self.nr]
        return sorted({n for n in (1, 2, 4, 7, 10) if n < self.nr} | {self.nr})

    def arguments(self) -> Arguments:
        """The words a task reads at run time."""
        names = [
            "x",
            "y",
            "a",
            "bias",
            "residual",
            "scratch",
            "scratch size",
            "boxes",
            "parts",
            "columns",
            "line",
        ]
        names += ["panels", "nc", "nc blocks", "mc", "mc blocks", "block step", "sums", "places", "packed a"]
        names += [
            "between",
            "w",
            "w line",
            "w rows",
            "w walk",
            "w places",
            "panel columns",
            "valid ranges",
            "k",
            "k inner",
            "k outer",
        ]
        for index in self.outer:
            names += [f"{what} {index}" for what in ("count", "x", "y", "a", "w", "bias")]
        names += [f"{what} {index}" for index in self.places for what in ("y step", "y extent")]
        return Arguments(names + self.walk.arguments())

    @property
    def box_indices(self) -> tuple[str, ...]:
        """The indices that a box holds: a part of k, or where k streams a task's block of the columns."""
        return self.walk.run if self.form in (Form.PIXELS, Form.OUTER) else self.walk.taps

    @property
    def box_bytes(self) -> int:
        """Bytes of an entry of the table `boxes`: a box, where it begins, how much it holds."""
        return (2 * len(self.box_indices) + 2) * WORD


def module(recipe: PanelRecipe, attributes: str, *, fused: bool) -> Module:
    """The kernel: `task(args, index, thread)`, and `weights(args, index, thread)` which packs a block of A."""
    made = Module(attributes, fused=fused)
    _Writer(recipe, made).write()
    return made


LATER, LAST = 1, 2
"""Bits of a tile's place among the parts: there are parts before it; there is none behind it."""


class _Writer:
    """Writes one module."""

    def __init__(self, recipe: PanelRecipe, made: Module) -> None:
        self.recipe, self.made = recipe, made
        self.arguments = recipe.arguments()

    def write(self) -> None:
        r = self.recipe
        packer = PixelPacker if r.form in (Form.PIXELS, Form.OUTER) else Packer
        self.pack = packer(
            r.walk, self.arguments, r.array, r.work, r.lanes, r.pitch, signed=r.signed
        ).function(self.made)
        heights = sorted({r.mr, r.tail} if r.blocks > 1 else {r.tail})
        self.packers = {} if r.form is Form.OUTER else {rows: self._a_packer(rows) for rows in heights}
        self.tiles = {rows: [(n, self._tile(n, rows)) for n in r.tile_columns()] for rows in heights}
        if r.fuses_packing:
            self.firsts = {rows: self._tile(r.nr, rows, packs=True) for rows in heights}
        if r.skips:
            self.finishes = {rows: self._finish(rows) for rows in heights}
        if r.places:
            self.places = self._places()
        if not r.streams:
            self._weights()
        self._task()

    def _a_packer(self, rows: int) -> Function:
        r = self.recipe
        name, width = f"a_{rows}", r.padded_rows(rows)
        if r.lines:
            return line_packer(self.made, name, rows, width, r.array, r.work, r.lanes, r.signed, r.ordered)
        return gather_packer(self.made, name, r.k_indices, rows, width, r.array, r.work, r.lanes, r.signed)

    def _tile(self, columns: int, rows: int, *, packs: bool = False) -> Function:
        """The function of one register tile: multiply, add the parts before, finish or keep.

        One that `packs` reads the vectors of k in x, `step` bytes apart, and writes them to the panel.
        """
        r = self.recipe
        tile = r.tile(columns, rows)
        if r.skips:
            fn = self.made.function(f"tile_{columns}_{rows}", {"a": ptr, "b": ptr, "depth": i64, "kept": ptr})
            a, b, depth, kept = fn.arguments
            tile.store_parts(fn, tile.add_parts(fn, tile.multiply(fn, b, a, depth), kept), kept)
            return fn
        finish = Finish(r.out, r.bias, r.residual, r.activation, r.along_m, r.store, r.block)
        source = {"x": ptr, "step": i64} if packs else {}
        fn = self.made.function(
            f"{'first' if packs else 'tile'}_{columns}_{rows}",
            source | {"a": ptr, "b": ptr, "depth": i64, "kept": ptr, "place": i64, "c": ptr, "residual": ptr,
             "bias": ptr, "line": i64, "count": i64, "places": ptr} | ({"between": i64} if r.block else {}),
        )  # fmt: skip
        where, (a, b, depth, kept, place, c, *ends) = (
            fn.arguments[: len(source)],
            fn.arguments[len(source) :],
        )
        residual, bias, line, count, places, *between = ends
        if packs:
            x, step = where
            sums = replace(tile, vector_k=step).multiply(fn, a, x, depth, copy=(b, r.pitch))
        else:
            scalars, vectors = (b, a) if r.along_m else (a, b)
            sums = tile.multiply(fn, scalars, vectors, depth)
        flat = [each for row in sums for each in row]
        with fn.if_((place & LATER) > 0, default=flat) as added:
            more = tile.add_parts(fn, sums, kept)
            added.carry(*(each for row in more for each in row))
        flat = added.results
        sums = [flat[i * tile.vectors : (i + 1) * tile.vectors] for i in range(tile.rows)]
        with fn.if_((place & LAST) > 0) as last:
            finish.emit(fn, tile, sums, Target(c, residual, bias, line, count, places, *between), rows)
        with last.otherwise():
            tile.store_parts(fn, sums, kept)
        return fn

    def _finish(self, rows: int) -> Function:
        """The function that stores the finished sums of a panel."""
        r = self.recipe
        tile = r.tile(r.nr, rows)
        finish = Finish(r.out, r.bias, r.residual, r.activation, r.along_m, r.store, r.block)
        fn = self.made.function(
            f"finish_{rows}",
            {"kept": ptr, "c": ptr, "residual": ptr, "bias": ptr, "line": i64, "count": i64, "places": ptr}
            | ({"between": i64} if r.block else {}),
        )
        kept, *rest = fn.arguments
        finish.emit(fn, tile, tile.load_parts(fn, kept), Target(*rest), rows)
        return fn

    def _places(self) -> Function:
        """Writes, for `count` columns from `start`, how far each lies from the first of all in C, in bytes."""
        r = self.recipe
        fn = self.made.function("places", {"out": ptr, "start": i64, "count": i64, "args": ptr})
        out, start, count, args = fn.arguments
        with fn.loop(0, count) as column:
            rest, at = start + column.index, const(i64, 0)
            for name in reversed(r.places[1:]):
                extent = self._word(fn, args, f"y extent {name}")
                above = udiv(rest, extent)
                at = at + (rest - above * extent) * self._word(fn, args, f"y step {name}")
                rest = above
            at = at + rest * self._word(fn, args, f"y step {r.places[0]}")
            fn.store(at, out, column.index * 8)
        return fn

    def _weights(self) -> None:
        """`weights(args, index, thread)`: block `index % blocks` of the matrix of batch `index // blocks`."""
        r = self.recipe
        fn = self.made.function("weights", {"args": ptr, "index": i64, "thread": i64})
        args, index, _ = fn.arguments
        batch = udiv(index, r.blocks)
        number = index - batch * r.blocks
        w, out = self._word(fn, args, "w", ptr), self._word(fn, args, "a", ptr)
        line = self._word(fn, args, "w line")
        for name in reversed(r.batch[1:]):
            count = self._word(fn, args, f"count {name}")
            above = udiv(batch, count)
            value, batch = batch - above * count, above
            w, out = (
                at + value * self._word(fn, args, f"{what} {name}") for at, what in ((w, "w"), (out, "a"))
            )
        source = w + batch * self._word(fn, args, f"w {r.batch[0]}")
        if r.lines:
            source = source + number * r.mr * line
        target = (
            out
            + batch * self._word(fn, args, f"a {r.batch[0]}")
            + number * self._word(fn, args, "block step")
        )
        self._pack_block(fn, args, number, source, target, line, self._word(fn, args, "k"))

    def _pack_block(
        self,
        fn: Function,
        args: Value,
        number: Value,
        source: Value,
        target: Value,
        line: Value,
        depth: Value,
    ) -> None:
        r = self.recipe
        more = [depth]
        if not r.lines:
            line = self._word(fn, args, "w rows", ptr) + number * (r.mr * WORD)
            more = [self._word(fn, args, "w walk", ptr)]
        elif not r.ordered:
            more = [depth, self._word(fn, args, "w places", ptr)]
            if r.blocks > 1 and r.padded_rows(r.tail) != r.padded_rows(r.mr):
                # The table of the last block, of another width, stands behind that of all others.
                behind = select(equal(number, r.blocks - 1), depth * WORD, const(i64, 0))
                more = [depth, more[1] + behind]
        pack = self.packers
        self._of_height(
            fn,
            equal(number, r.blocks - 1),
            lambda rows: fn.call(pack[rows].address, source, target, line, *more),
        )

    def _word(self, fn: Function, args: Value, name: str, type: Type = i64) -> Value:
        return self.arguments.load(fn, args, name, type)

    # -- the task ------------------------------------------------------------------------------------------------------

    def _task(self) -> None:
        r = self.recipe
        fn = self.made.function("task", {"args": ptr, "index": i64, "thread": i64})
        args, index, thread = fn.arguments

        def word(name: str, type: Type = i64) -> Value:
            return self._word(fn, args, name, type)

        mc_blocks, nc_blocks = word("mc blocks"), word("nc blocks")
        rest = udiv(index, mc_blocks)
        mc_block = index - rest * mc_blocks
        outer = udiv(rest, nc_blocks)
        nc_block = rest - outer * nc_blocks
        bases = {what: word(what, ptr) for what in ("x", "y", "a", "w", "bias", "residual")}
        moved = dict.fromkeys(r.walk.moved, const(i64, 0))
        for name in reversed(r.outer):
            count = word(f"count {name}")
            above = udiv(outer, count)
            value, outer = outer - above * count, above
            for what in bases:
                bases[what] = bases[what] + value * word(f"{'y' if what == 'residual' else what} {name}")
            for check in r.walk.checks:
                if check.by(name):
                    moved[check.axis] = moved[check.axis] + value * check.by(name)
        scratch = word("scratch", ptr) + thread * word("scratch size")
        first_block = mc_block * word("mc")
        blocks = minimum(const(i64, r.blocks) - first_block, word("mc"))
        share = _Share(
            fn, args, word, bases, (*moved.values(),), scratch, scratch + word("sums"), first_block, blocks
        )
        if r.streams:
            self._sums(share, nc_block)
        else:
            self._parts(share, nc_block)

    def _parts(self, t: _Share, nc_block: Value) -> None:
        """Parts of k from the table; the task's columns are NC, so many panels."""
        r, fn = self.recipe, t.fn
        first = nc_block * t.word("nc")
        panels = minimum(t.word("panels") - first, t.word("nc"))
        parts = t.word("parts")
        if r.places:
            with fn.loop(0, panels) as panel:
                start, count = self._columns(t, first + panel.index)
                at = t.scratch + t.word("places") + panel.index * (r.nr * 8)
                fn.call(self.places.address, at, start, count, t.args)
        if r.skips:
            self._taps(t, first, panels, parts)
            return
        with fn.loop(0, parts, carried=[t.word("boxes", ptr)]) as part:
            (box,) = part.carried
            start, depth = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
            room = depth * r.pitch if r.form is Form.COLUMNS else const(i64, r.nr * r.pitch)
            work = _Part(
                place=_place(part.index, parts),
                a=t.bases["a"],
                block_step=t.word("block step"),
                start=start,
                depth=depth,
                first=first * r.nr,
                panels=panels,
                room=room,
                end=t.word("columns"),
            )
            if r.fuses_packing:
                with fn.loop(0, panels) as panel:
                    self._first(t, work, panel.index, box)
                self._multiply(t, work, 1)
            else:
                with fn.if_(depth > 0), fn.loop(0, panels) as panel:
                    at = work.first + panel.index * r.nr
                    count = minimum(work.end - at, r.nr)
                    target = t.scratch + panel.index * room
                    fn.call(self.pack.address, t.bases["x"], target, at, count, box, t.args, *t.moved)
                self._multiply(t, work)
            part.carry(box + r.box_bytes)

    def _first(self, t: _Share, work: _Part, panel: Value, box: Value) -> None:
        """Packs a panel and multiplies it by the share's first block of A: at once where x has it in one line."""
        r, fn = self.recipe, t.fn
        at = work.first + panel * r.nr
        count = minimum(work.end - at, r.nr)
        target = t.scratch + panel * work.room
        lane, width = at, t.word(f"extent {r.walk.lane}")
        source, rest = t.bases["x"] + fn.load(box, i64) * t.word(f"step {r.walk.taps[0]}"), at
        for name in reversed(r.walk.run):
            extent = t.word(f"extent {name}")
            above = udiv(rest, extent)
            place, rest = rest - above * extent, above
            source = source + place * t.word(f"step {name}")
            lane = place if name == r.walk.lane else lane
        with fn.if_(equal(minimum(count, width - lane), r.nr)) as whole:
            step = t.word(f"step {r.walk.taps[0]}")
            self._tile_of(
                t,
                work,
                const(i64, 0),
                panel,
                lambda rows, _, arguments: fn.call(self.firsts[rows].address, source, step, *arguments),
            )
        with whole.otherwise():
            with fn.if_(work.depth > 0):
                fn.call(self.pack.address, t.bases["x"], target, at, count, box, t.args, *t.moved)
            self._tile_of(t, work, const(i64, 0), panel, self._dispatched(fn))

    def _columns(self, t: _Share, panel: Value) -> tuple[Value, Value]:
        """Where a panel's columns begin, and how many it has."""
        r = self.recipe
        if not r.skips:
            start = panel * r.nr
            return start, minimum(t.word("columns") - start, r.nr)
        cut = t.word("panel columns", ptr) + panel * (2 * WORD)
        return t.fn.load(cut, i64), t.fn.load(cut, i64, WORD)

    def _taps(self, t: _Share, first: Value, panels: Value, parts: Value) -> None:
        """Parts of one tap each: of every panel the columns from the first to the last where it lies inside x."""
        r, fn = self.recipe, t.fn
        vector = r.work.x(r.lanes)
        with fn.loop(0, t.blocks * panels * r.tile_bytes, vector.bytes) as zero:
            fn.store(const(vector, 0.0), t.kept + zero.index)
        line = r.padded_rows(r.mr) * r.work.bytes
        ranges = t.word("valid ranges", ptr) + first * (2 * WORD)
        with fn.loop(0, parts, carried=[t.word("boxes", ptr), ranges]) as part:
            box, ranges = part.carried
            start, depth = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
            room = depth * r.pitch if r.form is Form.COLUMNS else const(i64, r.nr * r.pitch)
            with fn.loop(0, panels) as panel:
                at, count = (fn.load(ranges + panel.index * (2 * WORD), i64, i * WORD) for i in range(2))
                target = t.scratch + panel.index * room
                at = at + self._columns(t, first + panel.index)[0]
                with fn.if_(count > 0):
                    fn.call(self.pack.address, t.bases["x"], target, at, count, box, t.args, *t.moved)
            with fn.loop(0, t.blocks) as block:
                number = t.first_block + block.index
                is_tail = equal(number, r.blocks - 1)
                a = t.bases["a"] + number * t.word("block step") + start * self._width(is_tail) * r.work.bytes
                with fn.loop(0, panels) as panel:
                    at, count = (fn.load(ranges + panel.index * (2 * WORD), i64, i * WORD) for i in range(2))
                    kept = t.kept + (block.index * panels + panel.index) * r.tile_bytes
                    short = r.padded_rows(r.tail) * r.work.bytes
                    kept = kept + at * select(is_tail, const(i64, short), const(i64, line))
                    arguments = (a, t.scratch + panel.index * room, depth, kept)
                    with fn.if_(count > 0):
                        self._of_height(
                            fn, is_tail, lambda rows: dispatch(fn, self.tiles[rows], count, arguments)
                        )
            part.carry(box + r.box_bytes, ranges + t.word("panels") * (2 * WORD))
        self._store(t, first, panels)

    def _of_height(self, fn: Function, is_tail: Value, write: Callable[[int], object]) -> None:
        """Emits what is to be done with blocks of each height."""
        r = self.recipe
        if r.blocks == 1 or r.tail == r.mr:
            write(r.tail)
            return
        with fn.if_(is_tail) as tail:
            write(r.tail)
        with tail.otherwise():
            write(r.mr)

    def _store(self, t: _Share, first: Value, panels: Value) -> None:
        """Finishes and stores all that is kept."""
        r, fn = self.recipe, t.fn
        line, beside, down, between = self._steps(t)
        with fn.loop(0, t.blocks) as block:
            number = t.first_block + block.index
            row = number * r.mr
            above = self._above(t, row, down)
            with fn.loop(0, panels) as panel:
                at, count = self._columns(t, first + panel.index)
                c_at = above + at * beside
                arguments = (
                    t.kept + (block.index * panels + panel.index) * r.tile_bytes,
                    t.bases["y"] + c_at,
                    t.bases["residual"] + c_at,
                    t.bases["bias"] + row * r.work.bytes,
                    line,
                    count,
                    t.scratch + t.word("places") + panel.index * (r.nr * 8),
                    *between,
                )
                self._of_height(
                    fn,
                    equal(number, r.blocks - 1),
                    lambda rows: fn.call(self.finishes[rows].address, *arguments),
                )

    def _steps(self, t: _Share) -> tuple[Value, Value, Value, tuple[Value, ...]]:
        """In C: a line's step, that of neighbouring columns and rows, and of blocks of rows."""
        r, line = self.recipe, t.word("line")
        # Neighbouring columns of C: side by side, a line apart where lanes lie along C's rows, or by the table.
        across = r.along_m and r.store in (Store.LINES, Store.PLACED)
        beside = const(i64, 0) if r.places else (line if across else const(i64, r.out.bytes))
        down = const(i64, r.out.bytes) if across else line
        return line, beside, down, (t.word("between"),) if r.block else ()

    def _above(self, t: _Share, row: Value, down: Value) -> Value:
        """Where a row of C begins."""
        r = self.recipe
        if not r.block:
            return row * down
        full = udiv(row, r.block)
        return full * t.word("between") + (row - full * r.block) * r.out.bytes

    def _sums(self, t: _Share, nc_block: Value) -> None:
        """Parts of k are pieces of a run; the task's columns are a box from the table."""
        r, fn = self.recipe, t.fn
        box = t.word("boxes", ptr) + nc_block * r.box_bytes
        first, columns = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
        panels = udiv(columns + (r.nr - 1), r.nr)
        parts, total = t.word("parts"), t.word("k")
        packed = t.scratch + t.word("packed a")
        step = const(i64, r.block_bytes(r.kc))
        if r.places:
            with fn.loop(0, panels) as panel:
                start = first + panel.index * r.nr
                at = t.scratch + t.word("places") + panel.index * (r.nr * 8)
                fn.call(self.places.address, at, start, minimum(first + columns - start, r.nr), t.args)
        with fn.loop(0, parts) as part:
            start = part.index * r.kc
            depth = minimum(total - start, r.kc)
            fn.call(self.pack.address, t.bases["x"], t.scratch, start, depth, box, t.args, *t.moved)
            if r.form is Form.OUTER:
                room = const(i64, r.nr * r.work.bytes)
                local, step = t.bases["w"] + start * r.a_step, const(i64, r.mr * r.array.bytes)
            else:
                self._pack_runs(t, packed, step, start, depth)
                room = const(i64, r.nr * r.pitch)
                local = packed + t.first_block * -r.block_bytes(r.kc)
            place, zero = _place(part.index, parts), const(i64, 0)
            self._multiply(t, _Part(place, local, step, zero, depth, first, panels, room, columns + first))

    def _pack_runs(self, t: _Share, packed: Value, step: Value, start: Value, depth: Value) -> None:
        """The task's blocks of A for one part."""
        r, fn = self.recipe, t.fn
        with fn.loop(0, t.blocks) as block:
            number = t.first_block + block.index
            line = t.word("w line")
            rows = t.bases["w"] + number * r.mr * line
            self._pack_run(t, number, rows, packed + block.index * step, line, start, depth)

    def _pack_run(
        self, t: _Share, number: Value, rows: Value, target: Value, line: Value, start: Value, depth: Value
    ) -> None:
        """A block of A for the k from `start`: piece by piece where the run crosses from one image to the next."""
        r, fn = self.recipe, t.fn
        inner, step = t.word("k inner"), t.word("k outer")
        image = udiv(start, inner)
        width = self._width(equal(number, r.blocks - 1))
        with fn.repeat(carried=[const(i64, 0), image, start - image * inner]) as piece:
            done, image, place = piece.carried
            length = minimum(inner - place, depth - done)
            source = rows + image * step + place * r.array.bytes
            self._pack_block(fn, t.args, number, source, target + done * width * r.work.bytes, line, length)
            piece.carry(done + length, image + 1, const(i64, 0))
            piece.again(done + length < depth)

    def _width(self, is_tail: Value) -> Value:
        r = self.recipe
        return select(is_tail, const(i64, r.padded_rows(r.tail)), const(i64, r.padded_rows(r.mr)))

    def _multiply(self, t: _Share, work: _Part, done: int = 0) -> None:
        """All tiles of a part but those of the first `done` blocks of A's rows."""
        fn = t.fn
        with fn.loop(done, t.blocks) as block, fn.loop(0, work.panels) as panel:
            self._tile_of(t, work, block.index, panel.index, self._dispatched(fn))

    def _dispatched(self, fn: Function) -> _Call:
        return lambda rows, count, arguments: dispatch(fn, self.tiles[rows], count, arguments)

    def _tile_of(self, t: _Share, work: _Part, block: Value, panel: Value, call: _Call) -> None:
        """One tile of a part, by the function that `call` takes."""
        r, fn = self.recipe, t.fn
        line, beside, down, between = self._steps(t)
        number = t.first_block + block
        row = number * r.mr
        is_tail = equal(number, r.blocks - 1)
        at = work.first + panel * r.nr
        count = minimum(work.end - at, r.nr)
        c_at = self._above(t, row, down) + at * beside
        arguments = (
            work.a + number * work.block_step + work.start * self._width(is_tail) * r.work.bytes,
            t.scratch + panel * work.room,
            work.depth,
            t.kept + (block * work.panels + panel) * r.tile_bytes,
            work.place,
            t.bases["y"] + c_at,
            t.bases["residual"] + c_at,
            t.bases["bias"] + row * r.work.bytes,
            line,
            count,
            t.scratch + t.word("places") + panel * (r.nr * 8),
            *between,
        )
        self._of_height(fn, is_tail, lambda rows: call(rows, count, arguments))


class _Word(Protocol):
    """Loads a word of the block."""

    def __call__(self, name: str, type: Type = i64) -> Value: ...


@dataclass
class _Share:
    """What a task has decoded: where its arrays begin, its scratch, and its share of A's blocks.

    `moved`: how far the indices that it fixes move along the axes of x that this moves along and are checked.
    """

    fn: Function
    args: Value
    word: _Word
    bases: dict[str, Value]
    moved: tuple[Value, ...]
    scratch: Value
    kept: Value
    first_block: Value
    blocks: Value


@dataclass(frozen=True)
class _Part:
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


_Call = Callable[[int, Value, tuple[Value, ...]], object]
"""Calls the function of a tile: of so many rows and columns, with these arguments."""


def _place(part: Value, parts: Value) -> Value:
    """A part's place: LATER but for the first, LAST for the last."""
    return select(part > 0, const(i64, LATER), const(i64, 0)) | select(
        equal(part + 1, parts), const(i64, LAST), const(i64, 0)
    )


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


__all__ = ["Form", "PanelRecipe", "dispatch", "module"]
