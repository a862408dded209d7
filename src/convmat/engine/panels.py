"""The panel kernel: pack a few panels of B, multiply them with all of A, finish, store.

A task owns a block of C's columns (a few panels of one image and group) and perhaps a share of its rows:

    for part of k:                                      parts are fixed by the product, added in order
        pack the block's panels of B for this part      (worker's scratch, stays in its second-level cache)
        for block of A's rows, for panel:
            tile = sum over the part's k; add the earlier parts; in the last part finish and store

No task waits for another. A was packed before, blocks of rows one after the other: [block][k][width].
"""

from __future__ import annotations

from dataclasses import dataclass

from ..product import Activation
from .instructions import Type, Value, const, equal, i64, minimum, ptr, select, udiv
from .ir import Function, Module
from .pack import Packer, Walk, box_words
from .slots import WORD, Slots
from .tile import Finish, Tile


@dataclass(frozen=True)
class Recipe:
    """All that is constant in a panel kernel.

    `turned`: lanes along m (A's rows fill vectors, B is broadcast, tiles are turned on their way out); otherwise
    lanes along n. `m`, `width`: rows of A and of one block of them. `panel`: columns of a panel. `outer`: the
    indices that a task fixes (group, image).
    """

    walk: Walk
    outer: tuple[str, ...]
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    turned: bool
    m: int
    width: int
    panel: int
    bias: bool
    residual: bool
    activation: Activation | None

    @property
    def pitch(self) -> int:
        """Bytes of one k of a panel: its columns, rounded up to whole vectors."""
        return -(-self.panel // self.lanes) * self.lanes * self.work.bytes

    @property
    def blocks(self) -> int:
        """Blocks of A's rows, the last one perhaps smaller."""
        return -(-self.m // self.width)

    @property
    def tail(self) -> int:
        """Rows of the last block."""
        return self.m - (self.blocks - 1) * self.width

    def stored_width(self, rows: int) -> int:
        """Elements that a block of `rows` rows takes for each k: whole vectors if lanes lie along m."""
        return -(-rows // self.lanes) * self.lanes if self.turned else rows

    @property
    def tile_bytes(self) -> int:
        """Bytes of the largest tile: what is kept of it between parts."""
        if self.turned:
            return self.panel * self.stored_width(self.width) * self.work.bytes
        return self.width * self.pitch

    def tile(self, columns: int, rows: int) -> Tile:
        """The register tile of a panel's first `columns` columns and a block of `rows` rows."""
        item, width = self.work.bytes, self.stored_width(rows)
        if self.turned:
            return Tile(self.work, columns, width // self.lanes, self.lanes, self.pitch, item, width * item)
        vectors = -(-columns // self.lanes)
        return Tile(self.work, rows, vectors, self.lanes, width * item, item, self.pitch)

    def steps(self) -> list[int]:
        """The panel widths for which there is a tile: a panel's last columns take the least that holds them."""
        if not self.turned:
            return list(range(self.lanes, self.panel, self.lanes)) + [self.panel]
        return sorted({n for n in (1, 2, 4, 7, 10) if n < self.panel} | {self.panel})

    def slots(self) -> Slots:
        """The words a task reads at run time."""
        names = ["x", "y", "a", "bias", "residual", "scratch", "scratch size", "boxes", "parts", "columns", "line"]
        names += ["panels", "group", "groups", "chunk", "chunks", "block step", "sums"]
        for index in self.outer:
            names += [f"{what} {index}" for what in ("count", "x", "y", "a", "bias")]
        return Slots(names + self.walk.slots())

    @property
    def part_bytes(self) -> int:
        """Bytes of a part in the table `boxes`: its box, where its k begins, how many k it has."""
        return (box_words(self.walk) + 2) * WORD


def module(recipe: Recipe, attributes: str, *, fused: bool) -> Module:
    """The kernel as a module with the task function `task(args, index, thread)`."""
    made = Module(attributes, fused=fused)
    slots = recipe.slots()
    pack = Packer(
        recipe.walk, slots, recipe.array, recipe.work, recipe.lanes, recipe.pitch, signed=recipe.signed
    ).function(made)
    rows = {recipe.width, recipe.tail} if recipe.blocks > 1 else {recipe.tail}
    tiles = {r: [(n, _tile(made, recipe, n, r)) for n in recipe.steps()] for r in sorted(rows)}
    _task(made, recipe, slots, pack, tiles)
    return made


def _tile(made: Module, recipe: Recipe, columns: int, rows: int) -> Function:
    """The function of one register tile: multiply, add the parts before, finish or keep."""
    tile = recipe.tile(columns, rows)
    finish = Finish(recipe.out, recipe.bias, recipe.residual, recipe.activation, recipe.turned)
    fn = made.function(
        f"tile_{columns}_{rows}",
        {"a": ptr, "b": ptr, "depth": i64, "kept": ptr, "place": i64, "c": ptr, "residual": ptr, "bias": ptr,
         "line": i64, "count": i64},
    )  # fmt: skip
    a, b, depth, kept, place, c, residual, bias, line, count = fn.arguments
    scalars, vectors = (b, a) if recipe.turned else (a, b)
    sums = tile.multiply(fn, scalars, vectors, depth)
    flat = [each for row in sums for each in row]
    with fn.if_((place & LATER) > 0, default=flat) as added:
        more = tile.add_parts(fn, sums, kept)
        added.carry(*(each for row in more for each in row))
    flat = added.results
    sums = [flat[r * tile.vectors : (r + 1) * tile.vectors] for r in range(tile.rows)]
    with fn.if_((place & LAST) > 0) as last:
        finish.emit(fn, tile, sums, c, residual, bias, line, count, rows)
    with last.otherwise():
        tile.store_parts(fn, sums, kept)
    return fn


LATER, LAST = 1, 2
"""Bits of a tile's place among the parts: there are parts before it; there is none behind it."""


def _task(
    made: Module, recipe: Recipe, slots: Slots, pack: Function, tiles: dict[int, list[tuple[int, Function]]]
) -> None:
    fn = made.function("task", {"args": ptr, "index": i64, "thread": i64})
    args, index, thread = fn.arguments

    def word(name: str, type: Type = i64) -> Value:
        return slots.load(fn, args, name, type)

    chunks, groups = word("chunks"), word("groups")
    rest = udiv(index, chunks)
    chunk = index - rest * chunks
    outer = udiv(rest, groups)
    group = rest - outer * groups
    bases = {what: word(what, ptr) for what in ("x", "y", "a", "bias", "residual")}
    for name in reversed(recipe.outer):
        count = word(f"count {name}")
        above = udiv(outer, count)
        value, outer = outer - above * count, above
        for what in bases:
            step = word(f"{'y' if what == 'residual' else what} {name}")
            bases[what] = bases[what] + value * step
    scratch = word("scratch", ptr) + thread * word("scratch size")
    kept = scratch + word("sums")
    first = group * word("group")
    panels = minimum(word("panels") - first, word("group"))
    first_block = chunk * word("chunk")
    blocks = minimum(const(i64, recipe.blocks) - first_block, word("chunk"))
    columns, parts = word("columns"), word("parts")
    depth_all = word("block step")
    with fn.loop(0, parts, carried=[word("boxes", ptr)]) as part:
        (box,) = part.carried
        start, depth = (fn.load(box, i64, (box_words(recipe.walk) + i) * WORD) for i in (0, 1))
        room = depth * recipe.pitch
        with fn.loop(0, panels) as panel:
            at = (first + panel.index) * recipe.panel
            width = minimum(columns - at, recipe.panel)
            fn.call(pack.address, bases["x"], scratch + panel.index * room, at, width, box, args)
        place = select(part.index > 0, const(i64, LATER), const(i64, 0)) | select(
            equal(part.index + 1, parts), const(i64, LAST), const(i64, 0)
        )
        with fn.loop(0, blocks) as block:
            number = first_block + block.index
            row = number * recipe.width
            is_tail = equal(number, recipe.blocks - 1)
            width = select(
                is_tail, const(i64, recipe.stored_width(recipe.tail)), const(i64, recipe.stored_width(recipe.width))
            ) * recipe.work.bytes
            a = bases["a"] + number * depth_all + start * width
            c_row = row * word("line")
            with fn.loop(0, panels) as panel:
                at = (first + panel.index) * recipe.panel
                count = minimum(columns - at, recipe.panel)
                c_at = c_row + at * recipe.out.bytes
                arguments = (
                    a,
                    scratch + panel.index * room,
                    depth,
                    kept + (block.index * panels + panel.index) * recipe.tile_bytes,
                    place,
                    bases["y"] + c_at,
                    bases["residual"] + c_at,
                    bases["bias"] + row * recipe.work.bytes,
                    word("line"),
                    count,
                )
                if recipe.blocks == 1:
                    _dispatch(fn, tiles[recipe.tail], count, arguments)
                elif recipe.tail == recipe.width:
                    _dispatch(fn, tiles[recipe.width], count, arguments)
                else:
                    with fn.if_(is_tail) as tail:
                        _dispatch(fn, tiles[recipe.tail], count, arguments)
                    with tail.otherwise():
                        _dispatch(fn, tiles[recipe.width], count, arguments)
        part.carry(box + recipe.part_bytes)


def _dispatch(fn: Function, tiles: list[tuple[int, Function]], count: Value, arguments: tuple[Value, ...]) -> None:
    """Call the widest tile if the panel is full (nearly always), else the least that holds its columns."""
    columns, widest = tiles[-1]
    if len(tiles) == 1:
        fn.call(widest.address, *arguments)
        return
    with fn.if_(count > tiles[-2][0]) as full:
        fn.call(widest.address, *arguments)
    with full.otherwise():
        _dispatch(fn, tiles[:-1], count, arguments)
