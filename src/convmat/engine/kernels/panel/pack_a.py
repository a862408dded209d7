"""Packing A: for each block of its rows, the vectors (or scalars) of every k, one after the other.

    out[k, row] = a[row, k]            row < rows <= MR; rows beyond are zero

Lines contiguous along k are transposed in squares of registers, and so are short runs (the taps of a filter whose
channels change places); rows side by side are read as they lie; anything else is gathered.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ....lazy_dataclass import dataclass
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import Type, Value, const, equal, i1, i64, minimum, ptr, select, splat, udiv
from ...ir.shuffles import transpose, widen
from ...job import WORD
from ..epilogue import gather_at
from .microkernel import by_height
from .recipe import Form, PanelRecipe
from .steps import Scattered


@dataclass(frozen=True)
class BlockOfRows:
    """A packed block of A: its `rows`, stored `padded` to whole vectors of `lanes`; of type `source`, then `work`.

    `streams`: what lies behind it along k is packed next, and asked for.
    """

    rows: int
    padded: int
    source: Type
    work: Type
    lanes: int
    signed: bool
    streams: bool = False


def transposed_rows(
    fn: Function, block: BlockOfRows, rows: tuple[Value, Value], count: Value | int
) -> Iterator[tuple[int, list[Value]]]:
    """The first `count` elements of all rows as columns: (first row, a vector for each element), zero beyond the rows.

    rows: the address of the first and the bytes from one to the next.
    """
    (a, line), lanes, work = rows, block.lanes, block.work
    mask = prefix_mask(lanes, count)
    zero = const(work.x(lanes), 0.0)
    for first in range(0, block.padded, lanes):
        loaded = [
            widen(fn.load(a + line * row, block.source.x(lanes), mask=mask), work, signed=block.signed)
            for row in range(first, min(first + lanes, block.rows))
        ]
        turned = transpose(loaded) if loaded else [zero] * lanes
        if 0 < len(loaded) < lanes:
            kept = const(i1.x(lanes), [i < len(loaded) for i in range(lanes)])
            turned = [select(kept, each, zero) for each in turned]
        yield first, turned


SQUARES_AHEAD = 4
"""Squares ahead of its packing that a line of A is asked for where filters, long lines, change the order of k.

Hardware follows fewer lines than a block has. Those of 1x1 filters are short, and asking for what is behind them costs
as much as it spares.
"""


def line_packer(module: Module, name: str, block: BlockOfRows, *, ordered: bool) -> Function:
    """Writes `pack(a, out, line, depth)`: lines of A, contiguous along k, become the vectors of a tile.

        out[k, row] = a[row, k]        row < rows, k < depth; `line` bytes from row to row; zero for row >= rows

    Squares of lanes x lanes elements are transposed in registers. Where k does not run along the lines in its order
    (not `ordered`), the last parameter is a table of where in `out` each element of a line goes, in bytes.
    """
    rows, width, lanes, source, work = block.rows, block.padded, block.lanes, block.source, block.work
    parameters = {"a": ptr, "out": ptr, "line": i64, "depth": i64} | ({} if ordered else {"places": ptr})
    fn = module.function(name, parameters)
    a, out, line, depth, *places = fn.arguments
    with fn.loop(0, depth, lanes) as chunk:
        at = chunk.index
        left = minimum(depth - at, lanes)
        target = out + at * (width * work.bytes)
        if block.streams or not ordered:
            ahead = at + (depth if block.streams else SQUARES_AHEAD * lanes)
            for row in range(rows):
                fn.prefetch(a + (line * row + ahead * source.bytes), 0)
        for first, turned in transposed_rows(fn, block, (a + at * source.bytes, line), depth - at):
            narrow_store = min(lanes, width - first)
            for i, each in enumerate(turned):
                with fn.if_(left > i):
                    to = target + i * width * work.bytes
                    if places:
                        to = out + fn.load(places[0] + at * i64.bytes, i64, i * i64.bytes)
                    fn.store(each, to, first * work.bytes, mask=prefix_mask(lanes, narrow_store))
    return fn


AHEAD = 4
"""How many runs ahead of its packing A is asked for."""


def scattered_packer(module: Module, name: str, block: BlockOfRows, lies: Scattered) -> Function:
    """Writes `pack(a, out, rows, walk)`: A read at any strides.

    rows: of rows evenly apart how far they are, in bytes; else the address of a table of where each is. walk: of each
    index of k its extent, its step in A in bytes and its step in k, the longest steps in A first: what lies side by
    side is read while it is near. Runs are transposed as lines are; rows side by side are read as vectors.
    """
    width, lanes, source, work = block.padded, block.lanes, block.source, block.work
    rows_type = i64 if lies.even else ptr
    fn = module.function(name, {"a": ptr, "out": ptr, "rows": rows_type, "walk": ptr})
    a, out, rows, walk = fn.arguments
    counts, steps, moves = (
        [fn.load(walk, i64, 24 * i + at) for i in range(lies.indices)] for at in (0, 8, 16)
    )
    moves = [move * (width * work.bytes) for move in moves]
    outer = lies.indices - len(lies.run) if lies.turns else lies.indices
    back = const(i64, 0)
    if lies.turns and lies.backwards:
        for step, extent in zip(steps[outer:], lies.run, strict=True):
            back = back + step * (extent - 1)
    held = [prefix_mask(lanes, max(block.rows - first, 0)) for first in range(0, width, lanes)]
    places = []
    if not lies.even:
        places = [
            fn.load(rows, i64.x(lanes), v * lanes * i64.bytes, mask=mask) for v, mask in enumerate(held)
        ]

    def take(at: Value, to: Value) -> None:
        if lies.turns:
            if outer:
                for row in range(block.rows):
                    fn.prefetch(at + back + rows * row + steps[outer - 1] * AHEAD, 0)
            _turn_run(fn, block, lies, (at + back, rows), [(to, move) for move in moves[outer:]])
            return
        for v, mask in enumerate(held):
            if lies.beside:
                read = fn.load(at, source.x(lanes), v * lanes * source.bytes, mask=mask)
            else:
                where = places[v] if places else _evenly(rows, v * lanes, lanes)
                read = gather_at(fn, at, where, source.x(lanes), mask)
            stored = prefix_mask(lanes, width - v * lanes)
            fn.store(widen(read, work, signed=block.signed), to, v * lanes * work.bytes, mask=stored)

    def nest(depth: int, at: Value, to: Value) -> None:
        if depth == outer:
            take(at, to)
            return
        with fn.loop(0, counts[depth], carried=[at, to]) as loop:
            here, there = loop.carried
            nest(depth + 1, here, there)
            loop.carry(here + steps[depth], there + moves[depth])

    nest(0, a, out)
    return fn


def _evenly(step: Value, first: int, lanes: int) -> Value:
    """How far rows from `first` on lie from the first of all."""
    return splat(step, lanes=lanes) * const(i64.x(lanes), range(first, first + lanes))


def _turn_run(
    fn: Function,
    block: BlockOfRows,
    lies: Scattered,
    rows: tuple[Value, Value],
    to: list[tuple[Value, Value]],
) -> None:
    """One run of every row, transposed; `rows`: the first of them and how far apart they are.

    `to`: for each index of the run, where its first element goes and how far the next.
    """
    at, line = rows
    places = list(itertools.product(*map(range, lies.run)))
    if lies.backwards:
        places.reverse()
    for first in range(0, len(places), block.lanes):
        here = places[first : first + block.lanes]
        for row, turned in transposed_rows(fn, block, (at + first * block.source.bytes, line), len(here)):
            for vector, place in zip(turned, here, strict=False):
                target = to[0][0]
                for (_, move), number in zip(to, place, strict=True):
                    target = target + move * number
                mask = prefix_mask(block.lanes, min(block.lanes, block.padded - row))
                fn.store(vector, target, row * block.work.bytes, mask=mask)


class APacker:
    """Writes the packing of blocks of A: a function for each height of a block, none where A is read in place."""

    def __init__(self, recipe: PanelRecipe, arguments: Arguments, module: Module) -> None:
        self.recipe, self._load, self._module = recipe, arguments.load, module
        heights = [] if recipe.form is Form.OUTER else recipe.heights
        self.packers = {rows: self._packer(rows) for rows in heights}

    def _packer(self, rows: int) -> Function:
        r = self.recipe
        block = BlockOfRows(rows, r.padded_rows(rows), r.array, r.work, r.lanes, r.signed, r.streams)
        if r.lines:
            return line_packer(self._module, f"a_{rows}", block, ordered=r.ordered)
        return scattered_packer(self._module, f"a_{rows}", block, r.scattered)

    def write_weights(self) -> None:
        """`weights(args, index, thread)`: block `index % blocks` of the matrix of batch `index // blocks`."""
        r = self.recipe
        fn = self._module.function("weights", {"args": ptr, "index": i64, "thread": i64})
        args, index, _ = fn.arguments
        blocks = self._load(fn, args, "blocks")
        batch = udiv(index, blocks)
        number = index - batch * blocks
        w, out = self._load(fn, args, "w", ptr), self._load(fn, args, "a", ptr)
        line = self._load(fn, args, "w line")
        for name in reversed(r.batch[1:]):
            count = self._load(fn, args, f"count {name}")
            above = udiv(batch, count)
            value, batch = batch - above * count, above
            w, out = (
                at + value * self._load(fn, args, f"{what} {name}") for at, what in ((w, "w"), (out, "a"))
            )
        source = w + batch * self._load(fn, args, f"w {r.batch[0]}")
        if r.lines or r.scattered.even:
            source = source + number * r.mr * line
        target = (
            out
            + batch * self._load(fn, args, f"a {r.batch[0]}")
            + number * self._load(fn, args, "block step")
        )
        self.pack(fn, args, number, source, target, line, self._load(fn, args, "k"))

    def pack(
        self,
        fn: Function,
        args: Value,
        number: Value,
        source: Value,
        target: Value,
        line: Value,
        depth: Value,
    ) -> None:
        """Emits the packing of block `number`, whose rows are read at `source`, `line` bytes apart, for `depth` k."""
        r = self.recipe
        last = self._load(fn, args, "blocks") - 1
        more = [depth]
        if not r.lines:
            if not r.scattered.even:
                line = self._load(fn, args, "w rows", ptr) + number * (r.mr * WORD)
            more = [self._load(fn, args, "w walk", ptr)]
        elif not r.ordered:
            more = [depth, self._load(fn, args, "w places", ptr)]
            if r.several and r.padded_rows(r.tail) != r.padded_rows(r.mr):
                # The table of the last block, of another width, stands behind that of all others.
                behind = select(equal(number, last), depth * WORD, const(i64, 0))
                more = [depth, more[1] + behind]
        packers = self.packers
        is_tail = equal(number, last)
        by_height(
            fn,
            r.block_heights,
            is_tail,
            lambda rows: fn.call(packers[rows].address, source, target, line, *more),
        )


__all__ = ["APacker", "BlockOfRows", "line_packer", "scattered_packer"]
