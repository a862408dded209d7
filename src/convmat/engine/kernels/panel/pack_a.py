"""Packing A: for each block of its rows, the vectors (or scalars) of every k, one after the other.

    out[k, row] = a[row, k]            row < rows <= MR; rows beyond are zero

Two ways to read it: lines contiguous along k are transposed in squares of registers; anything else is gathered.
"""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import Type, Value, const, equal, i1, i64, minimum, ptr, select, udiv
from ...ir.shuffles import transpose, widen
from ...job import WORD
from ..epilogue import gather_at
from .microkernel import by_height
from .recipe import Form, PanelRecipe


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
        mask = prefix_mask(lanes, depth - at)
        left = minimum(depth - at, lanes)
        target = out + at * (width * work.bytes)
        if block.streams:
            for row in range(rows):
                fn.prefetch(a + (line * row + (at + depth) * source.bytes), 0)
        for first in range(0, width, lanes):
            loaded = [
                widen(
                    fn.load(a + (line * row + at * source.bytes), source.x(lanes), mask=mask),
                    work,
                    signed=block.signed,
                )
                for row in range(first, min(first + lanes, rows))
            ]
            turned = transpose(loaded) if loaded else [const(work.x(lanes), 0.0)] * lanes
            if 0 < len(loaded) < lanes:
                kept = const(i1.x(lanes), [i < len(loaded) for i in range(lanes)])
                turned = [select(kept, t, const(work.x(lanes), 0.0)) for t in turned]
            narrow_store = min(lanes, width - first)
            for i, each in enumerate(turned):
                with fn.if_(left > i):
                    to = target + i * width * work.bytes
                    if places:
                        to = out + fn.load(places[0] + at * i64.bytes, i64, i * i64.bytes)
                    fn.store(each, to, first * work.bytes, mask=prefix_mask(lanes, narrow_store))
    return fn


def gather_packer(module: Module, name: str, block: BlockOfRows, indices: int) -> Function:
    """Writes `pack(a, out, places, walk)`: A read at any strides.

    places: a table of where each row is, in bytes from `a`. walk: of each of the `indices` of k its extent, its step in
    A in bytes and its step in k, the longest steps in A first: what lies side by side is read while it is near.
    """
    rows, width, lanes, source, work = block.rows, block.padded, block.lanes, block.source, block.work
    fn = module.function(name, {"a": ptr, "out": ptr, "places": ptr, "walk": ptr})
    a, out, places, walk = fn.arguments
    counts, steps, moves = ([fn.load(walk, i64, 24 * i + at) for i in range(indices)] for at in (0, 8, 16))
    moves = [move * (width * work.bytes) for move in moves]
    lanes_at = [
        fn.load(places, i64.x(lanes), first * i64.bytes, mask=prefix_mask(lanes, max(rows - first, 0)))
        for first in range(0, width, lanes)
    ]

    def nest(depth: int, at: Value, to: Value) -> None:
        if depth == indices:
            for v, where in enumerate(lanes_at):
                held = prefix_mask(lanes, max(rows - v * lanes, 0))
                stored = prefix_mask(lanes, width - v * lanes)
                made = widen(gather_at(fn, at, where, source.x(lanes), held), work, signed=block.signed)
                fn.store(made, to, v * lanes * work.bytes, mask=stored)
            return
        with fn.loop(0, counts[depth], carried=[at, to]) as loop:
            here, there = loop.carried
            nest(depth + 1, here, there)
            loop.carry(here + steps[depth], there + moves[depth])

    nest(0, a, out)
    return fn


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
        return gather_packer(self._module, f"a_{rows}", block, r.k_indices)

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
        if r.lines:
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


__all__ = ["APacker", "BlockOfRows", "gather_packer", "line_packer"]
