"""The kernel of dot products: lanes along the sum, in strands that are added up at the end.

    part[e]     = sum over chunks j, images c, rows f0 of  w[c, f0, j*n + e] * x[c, f0*d0 + p0*s0, (j*n + e)*d1 + p1*s1]
    y[p0, p1]   = part[0] + .. + part[n-1], by halves                              n strands, whatever the vectors

A block of taps (p0, p1) is summed at a time, its sums in registers. Walking down a chunk, some rows of w are held; each
line of x is then read once for every tap of a row, and goes with each row of w that meets it. Where a line lies outside
x it is branched around; chunks that reach outside have a mask for each tap: what is outside is no term, whatever w is
there. Images are summed in parts of a fixed number, and then the parts.
"""

from __future__ import annotations

from collections.abc import Callable

from ....lazy_dataclass import dataclass
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import (
    Value,
    below,
    const,
    equal,
    extract,
    fma,
    i32,
    i64,
    less_equal,
    minimum,
    or_,
    ptr,
    select,
    splat,
    trunc,
    udiv,
    urem,
)
from ...ir.shuffles import narrow, widen
from ..direct.planes import WindowSteps
from ..direct.strided_loads import Masks
from ..epilogue import activate
from ..sweeps.lines import reduce_lanes
from .recipe import LINES, OFFSETS, DotsRecipe


@dataclass(frozen=True)
class Chunk:
    """Some elements of w's lines: for each vector the masks of x's loads, of w's elements and of each tap's terms."""

    loads: list[Masks]
    there: list[Value]
    terms: list[list[Value]]


class TapsWriter:
    """Writes the function for blocks of `down` x `across` taps."""

    def __init__(self, recipe: DotsRecipe, module: Module, down: int, across: int) -> None:
        self.r = recipe
        self.window = WindowSteps(recipe.rows.step, down, recipe.rows.dilation)
        self.distances = [number * recipe.columns.dilation for number in range(across)]
        self.reads, self.vector = recipe.reads(), recipe.work.x(recipe.lanes)
        self.sums = down * across * recipe.vectors
        self.fn = module.function(
            f"taps_{down}_{across}",
            {"x": ptr, "w": ptr, "y": ptr, "bias": ptr, "row": i64, "column": i64, "args": ptr},
        )
        self._write()

    def word(self, name: str) -> Value:
        """Emits the load of a word."""
        return self.r.arguments().load(self.fn, self.fn.arguments[-1], name)

    def _write(self) -> None:
        fn = self.fn
        x, w, y, bias, row, column, _ = fn.arguments
        x = x + row * self.word("x row") + column * self.r.array.bytes
        images, part = self.word("images"), self.word("part")
        zeros: list[Value | float] = [const(self.vector, 0.0)] * self.sums
        with fn.loop(0, images, part, carried=zeros) as parts:
            some = minimum(images - parts.index, part)
            at, by = x + parts.index * self.word("x c"), w + parts.index * self.word("w c")
            made = self._part(at, by, some, zeros)
            parts.carry(*(a + b for a, b in zip(parts.carried, made, strict=True)))
        self._store(y, bias, parts.results)

    def _part(self, x: Value, w: Value, images: Value, sums: list[Value | float]) -> list[Value]:
        """The sums and the terms of some images, chunk by chunk."""
        fn, r = self.fn, self.r
        column, length, width = fn.arguments[5], self.word("length"), self.word("width")
        step, item = r.columns.step, r.array.bytes
        behind = (r.strands - r.lanes) * step + self.reads.behind(self.distances)
        with fn.loop(0, length, r.strands, carried=sums) as loop:
            first = column + loop.index * step
            at, by = x + loop.index * (step * item), w + loop.index * item
            inside = below(first, width) & below(first + behind, width)
            with fn.if_(inside & less_equal(loop.index + r.strands, length)) as whole:
                whole.carry(*self._images(at, by, images, None, loop.carried))
            with whole.otherwise():
                chunk = self._edge(first, length - loop.index)
                whole.carry(*self._images(at, by, images, chunk, loop.carried))
            loop.carry(*whole.results)
        return loop.results

    def _images(
        self, x: Value, w: Value, images: Value, chunk: Chunk | None, sums: list[Value]
    ) -> list[Value]:
        """The sums and the terms of a chunk of each image."""
        fn, x_image, w_image = self.fn, self.word("x c"), self.word("w c")
        with fn.loop(0, images, carried=[x, w, *sums], at_least_once=True) as loop:
            x_at, w_at, *now = loop.carried
            loop.carry(x_at + x_image, w_at + w_image, *self._chunk(x_at, w_at, chunk, now))
        return loop.results[2:]

    def _edge(self, first: Value, left: Value) -> Chunk:
        """The masks of a chunk whose first element meets position `first`, of `left` elements."""
        r, width, n = self.r, self.word("width"), self.r.lanes
        bound = splat(trunc(width, to=i32), lanes=n)
        loads, there, terms = [], [], []
        for vector in range(r.vectors):
            position = first + vector * n * r.columns.step
            loads.append(self.reads.masks(position, width, self.distances))
            there.append(prefix_mask(n, left - vector * n))
            at = splat(trunc(position, to=i32), lanes=n)
            places = (
                at + const(i32.x(n), [i * r.columns.step + distance for i in range(n)])
                for distance in self.distances
            )
            terms.append([below(place, bound) & there[-1] for place in places])
        return Chunk(loads, there, terms)

    def _chunk(self, x: Value, w: Value, chunk: Chunk | None, sums: list[Value]) -> list[Value]:
        """The sums and a chunk's terms, some rows of w at a time."""
        fn, step = self.fn, self.r.rows.step
        lines, x_row, w_row = self.word("lines"), self.word("x row"), self.word("w row")
        begin: Value = const(i64, 0)
        for high in self.r.heights:
            with fn.loop(begin, lines - (high - 1), high, carried=[begin, *sums]) as loop:
                row = loop.index
                made = self._rows(
                    x + row * step * x_row, w + row * w_row, row * step, chunk, high, loop.carried[1:]
                )
                loop.carry(row + high, *made)
            begin, *sums = loop.results
        return sums

    def _rows(
        self, x: Value, w: Value, line: Value, chunk: Chunk | None, high: int, sums: list[Value]
    ) -> list[Value]:
        """The sums and the terms of `high` rows of w: line by line of x, the first of which is `line`."""
        fn, r, window = self.fn, self.r, self.window
        x_row, w_row, height = self.word("x row"), self.word("w row"), self.word("height")
        first = fn.arguments[4] + line
        held = []
        for _ in range(high):
            held.append([self._factor(w, vector, chunk) for vector in range(r.vectors)])
            w = w + w_row
        for number in range((high - 1) * window.step + window.reach + 1):
            meets = window.meets(range(high), number)
            if meets:
                with fn.if_(below(first + number, height), default=sums) as there:
                    there.carry(*self._line(x, chunk, [(held[row], tap) for row, tap in meets], sums))
                sums = there.results
            x = x + x_row
        return sums

    def _factor(self, w: Value, vector: int, chunk: Chunk | None) -> Value:
        """A vector of a row of w."""
        r = self.r
        mask = None if chunk is None else chunk.there[vector]
        at = vector * r.lanes * r.array.bytes
        return widen(self.fn.load(w, r.array.x(r.lanes), at, mask=mask), r.work)

    def _line(
        self, x: Value, chunk: Chunk | None, meets: list[tuple[list[Value], int]], sums: list[Value]
    ) -> list[Value]:
        """A line of x, with each row of w that meets it at a row of taps."""
        r, across, sums = self.r, len(self.distances), list(sums)
        apart = r.lanes * r.columns.step * r.array.bytes
        for vector in range(r.vectors):
            read: Callable[[int], Value] = self.reads.line(
                self.fn, x + vector * apart, None if chunk is None else chunk.loads[vector]
            )
            for number, distance in enumerate(self.distances):
                for row, tap in meets:
                    at = (tap * across + number) * r.vectors + vector
                    made = fma(row[vector], read(distance), sums[at])
                    sums[at] = made if chunk is None else select(chunk.terms[vector][number], made, sums[at])
        return sums

    def _store(self, y: Value, bias: Value, sums: list[Value]) -> None:
        """Each sum where its tap is."""
        r, fn = self.r, self.fn
        for number in range(0, len(sums), r.vectors):
            down, across = divmod(number // r.vectors, len(self.distances))
            at = y + self.word("y row") * down + self.word("y column") * across
            _finish(fn, r, sums[number : number + r.vectors], bias, at)


SHORT, AHEAD = 4096, 1024
"""Bytes of lines that are short; how far ahead the same line is asked for where they are not."""


def _write_lines(recipe: DotsRecipe, module: Module, count: int) -> Function:
    """The function for `count` lines of w with the line that x is, read once for all of them."""
    r, item = recipe, recipe.array.bytes
    fn = module.function(
        f"lines_{count}", {"x": ptr, "w": ptr, "y": ptr, "bias": ptr, "added": ptr, "args": ptr}
    )
    x, w, y, bias, added, args = fn.arguments
    length, part, apart, step = (r.arguments().load(fn, args, n) for n in ("length", "part", "w o", "y o"))
    lines = [w + apart * number for number in range(count)]
    zeros: list[Value | float] = [const(r.work.x(r.lanes), 0.0)] * (count * r.vectors)
    # Short lines are over before the hardware sees streams in them: then those of the next turn are asked for.
    ahead = select(below(apart, SHORT), apart * count, AHEAD)

    def add(at: Value, sums: list[Value], left: Value | None) -> list[Value]:
        """The sums and a chunk's terms; `left`: so many elements there are."""
        for each in lines if left is None else ():
            fn.prefetch(each + at, ahead)
        masks = [None if left is None else prefix_mask(r.lanes, left - v * r.lanes) for v in range(r.vectors)]
        given, *several = (
            [
                widen(fn.load(each + at, r.array.x(r.lanes), v * r.lanes * item, mask=mask), r.work)
                for v, mask in enumerate(masks)
            ]
            for each in (x, *lines)
        )
        made = []
        for number, old in enumerate(sums):
            line, v = divmod(number, r.vectors)
            term, mask = fma(several[line][v], given[v], old), masks[v]
            made.append(term if mask is None else select(mask, term, old))
        return made

    whole = length - urem(length, r.strands)
    with fn.loop(0, whole, part, carried=zeros) as parts:
        with fn.loop(parts.index, minimum(parts.index + part, whole), r.strands, carried=zeros) as loop:
            loop.carry(*add(loop.index * item, loop.carried, None))
        parts.carry(*(a + b for a, b in zip(parts.carried, loop.results, strict=True)))
    with fn.if_(below(whole, length), default=parts.results) as rest:
        rest.carry(*add(whole * item, parts.results, length - whole))
    for number in range(count):
        sums = rest.results[number * r.vectors : (number + 1) * r.vectors]
        _finish(fn, r, sums, bias + number * r.work.bytes, y + step * number, added + step * number)
    return fn


def _finish(
    fn: Function, r: DotsRecipe, vectors: list[Value], bias: Value, y: Value, residual: Value | None = None
) -> None:
    """Stores a sum: all of its strands made one, by halves, then bias, residual and activation."""
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [a + b for a, b in zip(vectors[:half], vectors[half:], strict=True)]
    total = reduce_lanes(vectors[0], lambda a, b: a + b)
    total = total + fn.load(bias, r.work) if r.bias else total
    if r.residual and residual is not None:
        total = total + widen(fn.load(residual, r.out), r.work)
    if r.activation is not None:
        total = extract(activate(splat(total, lanes=r.lanes), r.activation), lane=0)
    fn.store(narrow(total, r.out), y)


def module(recipe: DotsRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`: all taps of `per` pairs of lines, a pair for each (g, o, b)."""
    made = Module(attributes, fused=fused)
    fn = made.function("task", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    arguments = recipe.arguments()

    def word(name: str) -> Value:
        return arguments.load(fn, args, name)

    def pair(number: Value) -> tuple[Value, ...]:
        """Where the lines, the output and the bias of a pair are."""
        above = udiv(number, word("count b"))
        group = udiv(above, word("count o"))
        places = {"g": group, "o": above - group * word("count o"), "b": number - above * word("count b")}
        x, w, y, residual = (
            sum(
                (places[name] * word(f"{array} {name}") for name in OFFSETS[array] if name in places),
                arguments.load(fn, args, at, ptr),
            )
            for array, at in (*((name, name) for name in OFFSETS), ("y", "residual"))
        )
        return x, w, y, arguments.load(fn, args, "bias", ptr) + above * recipe.work.bytes, residual

    first = index * word("per")
    end = minimum(first + word("per"), word("count"))
    if recipe.column:
        # Several lines at a time are of one group: where several are no multiple of so many, each is taken alone.
        whole = or_(equal(urem(word("count o"), LINES), 0), equal(word("count o"), word("count")))
        for count, stop in ((LINES, select(whole, end, first)), (1, end)):
            lines = _write_lines(recipe, made, count)
            with fn.loop(first, stop - (count - 1), count, carried=[first]) as loop:
                fn.call(lines.address, *pair(loop.index), args)
                loop.carry(loop.index + count)
            (first,) = loop.results
        return made
    blocks = recipe.blocks()
    taps = {size: TapsWriter(recipe, made, *size).fn for size in sorted({block[2:] for block in blocks})}
    with fn.loop(first, end) as loop:
        x, w, y, bias, _ = pair(loop.index)
        for top, left, down, across in blocks:
            fn.call(
                taps[down, across].address, x, w, y + word("y row") * top + word("y column") * left, bias,
                word("row offset") + top * recipe.rows.dilation,
                word("column offset") + left * recipe.columns.dilation, args,
            )  # fmt: skip
    return made


__all__ = ["module"]
