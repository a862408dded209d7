"""The direct kernel where pixels are contiguous (channels first): lanes lie along the last pixel axis of x and y.

    y[o, p0, p1..p1+lanes] = sum over k = (c, .., f0, f1) of  w[o, k] * x[c, p0*s0 + f0*d0 + .., p1*s1 + f1*d1 + ..]

x is read in place. A block is `rows` output rows high, one vector wide and all m rows of A deep, and each sum runs
over k in order. Two orders of walking over a block give the same sums:

    by lines    each line of x is read once and goes into every output row whose window holds it, each with its own
                weight: for m = 1, or where a window's weights stay in registers
    by taps     each weight is broadcast once and goes with all rows of the block

Output rows, and chunks of a row, are told apart by where their windows lie. Inside x nothing is checked. At the
edges a chunk has a mask for each tap, and lines outside x are branched around (by taps: in blocks of one row). So
nothing outside x is read, and rows of any width run: where vectors of half the size waste less, a second function
of them does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from ..product import Activation
from .directreads import Masks, Reads
from .directwalk import Plane, Term, Walker, Window, names, split, task
from .instructions import (
    Type,
    Value,
    below,
    const,
    equal,
    fma,
    greater_equal,
    i64,
    less_equal,
    minimum,
    ptr,
    select,
    splat,
    udiv,
)
from .ir import Function, Module, prefix_mask
from .lanes import widen
from .slots import Slots

MOST_UNROLLED = 16
"""Taps along the lane axis that are written out one by one; of more, there is a loop."""

MOST_STEPS = 400
"""FMAs of one block that are written out: more would only crowd the instruction cache."""

TALLEST = 8
"""Rows of a block: beyond, a line of x is hardly read less often."""


@dataclass(frozen=True)
class Recipe:
    """All that is constant in the kernel.

    `outer`: the indices that a plane of y fixes, with the step of each along every checked outer axis. `rows`: the
    window along the axis before the last, absent in 1-D. `m`: rows of A in a block of them; `m_step`, `row_step`,
    `tap_step`: bytes in w from one to the next, from tap to tap along the rows' axis, and along the lanes'. `packed`: w
    is packed to the working type first, its indices within a group having the extents and steps in bytes `w_steps`;
    otherwise it is read in place. `halves`: vectors of half the size cost half as much. `signs`: masks have no
    registers of their own.
    """

    outer: tuple[tuple[str, tuple[int, ...]], ...]
    terms: tuple[Term, ...]
    checks: int
    rows: Window | None
    lane: Window
    m: int
    m_step: int
    row_step: int
    tap_step: int
    packed: bool
    w_steps: tuple[tuple[int, int], ...]
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    halves: bool
    signs: bool
    registers: int
    bias: bool
    residual: bool
    activation: Activation | None

    @cached_property
    def window(self) -> Window:
        """The window along the rows; in 1-D the rows of a block are chunks of the only axis, a vector apart."""
        return self.rows or Window(1, 1, 1)

    @cached_property
    def single(self) -> bool:
        """Whether a sum takes one window: k is the filter alone."""
        return all(term.extent == 1 for term in self.terms)

    @property
    def taps(self) -> int:
        """Of a window."""
        return self.window.taps * self.lane.taps

    @cached_property
    def by_lines(self) -> bool:
        """The order: see the module."""
        if self.m * self.taps + self.m * 4 + 2 <= self.registers:
            return True
        return self.m == 1 and (self.written_out or self.window.step == self.window.dilation == 1)

    @property
    def written_out(self) -> bool:
        """Whether all taps of a block of some height are written out."""
        return self.lane.taps <= MOST_UNROLLED and 4 * self.m * self.taps <= MOST_STEPS

    @property
    def unrolled(self) -> bool:
        """Whether the taps along the lane axis are; if not, there is a loop over them."""
        return self.lane.taps <= MOST_UNROLLED and (self.written_out or not self.by_lines)

    @property
    def alive(self) -> int:
        """How many output rows a line of x goes into or passes by."""
        return -(-(self.window.reach + 1) // self.window.step)

    @property
    def streams(self) -> int:
        """Into how many runs the rows of a block are cut which are worked on in turns."""
        return {1: 4, 2: 2}.get(self.alive * self.m, 1)

    @cached_property
    def held(self) -> int:
        """How many of a row's weights stay in registers, beside the sums, where lines are walked over."""
        if not (self.by_lines and self.written_out):
            return 0
        alive = self.alive * self.streams if self.single else 4
        return max(min(self.taps, (self.registers - 2) // self.m - alive), 0)

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """Rows of a block, and of those that take what larger ones leave."""
        m, free = self.m, self.registers
        if self.by_lines:
            rows = TALLEST if self.single else (free - 2) // m - self.held
            if self.written_out:
                rows = min(rows, max(MOST_STEPS // (self.taps * m), 1))
        else:
            rows = max((r for r in range(1, TALLEST + 1) if m * r + min(m, r) + 1 <= free), default=1)
        found = [max(min(rows, TALLEST), 1)]
        while found[-1] > 1:
            found.append(found[-1] // 2)
        return tuple(found)

    def reads(self, lanes: int) -> Reads:
        """How vectors of `lanes` elements of x are read."""
        return Reads(self.array, self.work, self.signed, lanes, self.lane.step, self.signs)

    @property
    def distances(self) -> list[int]:
        """Of the taps that are read from one address: all, or one in a loop."""
        return list(self.lane.distances) if self.unrolled else [0]

    @property
    def behind(self) -> int:
        """How far behind a whole chunk's first element the kernel reads without looking."""
        reads = self.reads(self.lanes)
        return reads.behind(self.distances) + (self.lane.reach - self.distances[-1])

    @property
    def weights(self) -> str:
        """The word that says where the weights are: packed, or as they came."""
        return "a" if self.packed else "w"

    def slots(self) -> Slots:
        """The words the kernel reads."""
        return Slots([*names(self), "narrow", "first chunk", "last chunk", "y m", "w step", "w groups"])

    @property
    def packed_bytes(self) -> int:
        """Of one group's packed weights."""
        return math.prod(extent for extent, _ in self.w_steps) * self.work.bytes


Sums = list[list[Value]]
Held = list[list[Value]]


@dataclass(frozen=True)
class _Edge:
    """What a block at the edge checks: a position along the lanes, masks of loads and of what is stored; if all is."""

    position: Value
    masks: Masks
    stored: Value
    whole: Value


@dataclass(frozen=True)
class _Place:
    """A block of y: where its first element is in x, y and the residual, bytes from row to row, and its edge if any.

    `line`: the position of its first line along the rows' axis of x, where lines are checked.
    """

    x: Value
    y: Value
    residual: Value
    x_line: Value
    y_step: Value
    edge: _Edge | None
    line: Value | None


@dataclass(frozen=True)
class _Line:
    """A line of x at work: its number in the block, the (row, tap) that it goes into, and weights that are held."""

    x: Value
    w: Value
    number: Value | int
    taps: list[tuple[int, int]]
    held: list[Held]


class Planes(Walker):
    """Writes the function of chunks of `lanes` columns, all of them treated as edges if `edges_only`."""

    def __init__(self, recipe: Recipe, lanes: int, *, edges_only: bool) -> None:
        super().__init__(recipe)
        self.r, self.lanes, self.edges_only = recipe, lanes, edges_only
        self.reads = recipe.reads(lanes)
        self.vector = recipe.work.x(lanes)
        self.x_chunk = lanes * recipe.lane.step * recipe.array.bytes
        self.y_chunk = lanes * recipe.out.bytes

    def rows(self) -> Value:
        """In 1-D the rows are chunks."""
        return self._line_chunks() if self.r.rows is None else self.word("rows")

    def plane(self, plane: Plane, first: Value, stop: Value) -> None:
        """One plane: weights that are held, then its rows."""
        r = self.r
        self.w, self._positions = plane.w, plane.positions
        self._held = self._weights(plane.w) if r.single else []
        self._biases = [self._splat(plane.bias, mi * r.work.bytes) for mi in range(r.m)] if r.bias else []
        (self._chunks if r.rows is None else self._lines)(plane.x, plane.y, plane.residual, first, stop)

    def _lines(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """Output rows [first, stop)."""
        fn, r = self.fn, self.r
        x_row, y_row = self.word("x row") * r.window.step, self.word("y row")
        low, high = self.word("first row"), self.word("last row")
        if r.by_lines:
            begin = first
            for rows in r.heights:
                with fn.loop(begin, stop - (rows - 1), rows, carried=[begin]) as loop:
                    at = loop.index
                    moved = at * y_row
                    inside = greater_equal(at, low) & less_equal(at + rows, high)
                    self._row(x + at * x_row, y + moved, residual + moved, at, rows, inside, checked=True)
                    loop.carry(at + rows)
                begin = loop.results[0]
            return
        begin, end, edges, edge = split(first, stop, low, high)
        for rows in r.heights:
            with fn.loop(begin, end - (rows - 1), rows, carried=[begin]) as loop:
                at = loop.index
                moved = at * y_row
                self._row(x + at * x_row, y + moved, residual + moved, at, rows, None, checked=False)
                loop.carry(at + rows)
            begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            at = edge(loop.index)
            moved = at * y_row
            self._row(x + at * x_row, y + moved, residual + moved, at, 1, None, checked=True)

    def _row(
        self,
        x: Value,
        y: Value,
        residual: Value,
        row: Value,
        rows: int,
        inside: Value | None,
        *,
        checked: bool,
    ) -> None:
        """`rows` output rows from `row` on, chunk by chunk; `inside` says whether all their lines are."""
        fn, r = self.fn, self.r
        x_line, y_row, lines = self.word("x row"), self.word("y row"), self._line_chunks()
        start = row * r.window.step + self.word("row offset") if checked else None
        if self.edges_only or (checked and inside is None):
            edges, edge = lines, _after(const(i64, 0))
        else:
            low, high = self.word("first chunk"), self.word("last chunk")
            if inside is not None:
                high = select(inside, high, low)
            begin, end, edges, edge = split(const(i64, 0), lines, low, high)
            with fn.loop(begin, end) as loop:
                moved = loop.index * self.y_chunk
                at = x + loop.index * self.x_chunk
                self._block(_Place(at, y + moved, residual + moved, x_line, y_row, None, None), rows)
        with fn.loop(0, edges) as loop:
            chunk = edge(loop.index)
            moved = chunk * self.y_chunk
            at = x + chunk * self.x_chunk
            self._block(
                _Place(at, y + moved, residual + moved, x_line, y_row, self._edge(chunk), start), rows
            )

    def _chunks(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """In 1-D: chunks [first, stop) of the only row; the rows of a block are chunks, one vector apart."""
        fn, r = self.fn, self.r
        steps = const(i64, self.x_chunk), const(i64, self.y_chunk)
        if self.edges_only:
            edges, edge = stop - first, _after(first)
        else:
            begin, end, edges, edge = split(first, stop, self.word("first chunk"), self.word("last chunk"))
            for rows in r.heights:
                with fn.loop(begin, end - (rows - 1), rows, carried=[begin]) as loop:
                    moved = loop.index * self.y_chunk
                    at = x + loop.index * self.x_chunk
                    self._block(_Place(at, y + moved, residual + moved, *steps, None, None), rows)
                    loop.carry(loop.index + rows)
                begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            chunk = edge(loop.index)
            moved = chunk * self.y_chunk
            at = x + chunk * self.x_chunk
            self._block(_Place(at, y + moved, residual + moved, *steps, self._edge(chunk), None), 1)

    def _line_chunks(self) -> Value:
        """Chunks of an output row, the last one perhaps cut."""
        return udiv(self.word("columns") + (self.lanes - 1), self.lanes)

    def _edge(self, chunk: Value) -> _Edge:
        first = chunk * self.lanes
        position = first * self.r.lane.step + self.word("lane offset")
        left = self.word("columns") - first
        stored = prefix_mask(self.lanes, left)
        return _Edge(position, self._masks(position), stored, greater_equal(left, self.lanes))

    def _masks(self, position: Value) -> Masks:
        return self.reads.masks(position, self.word("lane limit"), self.r.distances)

    # ---- one block ------------------------------------------------------------------------------------------

    def _block(self, place: _Place, rows: int) -> None:
        r = self.r
        sums: Sums = [[const(self.vector, 0.0) for _ in range(r.m)] for _ in range(rows)]
        if r.single and r.by_lines:
            self._by_lines(place, place.x, self.w, self._held, sums, finish=True)
            return

        def window(x: Value, w: Value, flat: list[Value]) -> list[Value]:
            now = _rows(flat, r.m)
            if not r.by_lines:
                return _flat(self._by_taps(place, x, w, now))
            return _flat(self._by_lines(place, x, w, self._held or self._weights(w), now, finish=False))

        flat = self.over_terms(place.x, self.w, self._positions, _flat(sums), window)
        for number, row in enumerate(_rows(flat, r.m)):
            self._finish(place, number, row)

    def _by_lines(self, place: _Place, x: Value, w: Value, held: Held, sums: Sums, *, finish: bool) -> Sums:
        """Line by line of x; with `finish` a row whose last line this was is stored at once, and its registers free.

        Sums wait for one another's last term: where a line goes into few rows, streams of rows apart take turns.
        """
        r, window, rows = self.r, self.r.window, len(sums)
        if not r.written_out and window.taps - rows >= 2:
            return self._by_steady_lines(place, x, w, sums, finish=finish)
        sums = [list(each) for each in sums]
        size = -(-rows // r.streams)
        streams = [range(first, min(first + size, rows)) for first in range(0, rows, size)]
        at = [x + place.x_line * (stream.start * window.step) for stream in streams]
        for line in range((size - 1) * window.step + window.reach + 1):
            work = []
            for number, stream in enumerate(streams):
                taps = window.meets(stream, line)
                if taps:
                    weights = [held[tap * r.lane.taps : (tap + 1) * r.lane.taps] for _, tap in taps]
                    work.append(_Line(at[number], w, line + stream.start * window.step, taps, weights))
                at[number] = at[number] + place.x_line
            sums = self._checked(place, work, sums)
            for each in work:
                for row, tap in each.taps:
                    if finish and tap == window.taps - 1:
                        self._finish(place, row, sums[row])
        return sums

    def _by_steady_lines(self, place: _Place, x: Value, w: Value, sums: Sums, *, finish: bool) -> Sums:
        """The same for large windows that move by one: a loop over those lines that go into every row."""
        fn, r, rows, window = self.fn, self.r, len(sums), self.r.window
        taps = window.taps
        line = 0
        while line < rows - 1 + taps:
            if line == rows - 1:
                with fn.loop(line, taps, carried=[x, w + line * r.row_step, *_flat(sums)]) as loop:
                    x_at, w_at, *flat = loop.carried
                    every = _Line(x_at, w_at, loop.index, [(row, -row) for row in range(rows)], [])
                    made = self._checked(place, [every], _rows(flat, r.m))
                    loop.carry(x_at + place.x_line, w_at + r.row_step, *_flat(made))
                x, sums, line = loop.results[0], _rows(loop.results[2:], r.m), taps
            else:
                some = _Line(x, w, line, window.meets(range(rows), line), [])
                sums = self._checked(place, [some], sums)
                x, line = x + place.x_line, line + 1
            if finish and line >= taps:
                self._finish(place, line - taps, sums[line - taps])
        return sums

    def _checked(self, place: _Place, work: Sequence[_Line], sums: Sums) -> Sums:
        """Lines of x, those that exist."""
        if place.line is None:
            return self._together(place, work, sums)
        for each in work:
            now = _flat([sums[row] for row, _ in each.taps])
            with self.fn.if_(below(place.line + each.number, self.word("row limit")), default=now) as inside:
                made = self._together(place, [each], sums)
                inside.carry(*_flat([made[row] for row, _ in each.taps]))
            sums = _replaced(sums, each.taps, inside.results)
        return sums

    def _together(self, place: _Place, work: Sequence[_Line], sums: Sums) -> Sums:
        """Lines of x, tap by tap in turns."""
        fn, r, sums = self.fn, self.r, [list(each) for each in sums]
        if r.unrolled:
            vectors = [self.reads.line(fn, each.x, place.edge.masks if place.edge else None) for each in work]
            for f, distance in enumerate(r.lane.distances):
                for each, vector in zip(work, vectors, strict=True):
                    for at, (row, tap) in enumerate(each.taps):
                        kept = each.held[at][f] if each.held and f < len(each.held[at]) else []
                        for mi in range(r.m):
                            offset = mi * r.m_step + tap * r.row_step + f * r.tap_step
                            weight = kept[mi] if kept else self._splat(each.w, offset)
                            sums[row][mi] = fma(weight, vector(distance), sums[row][mi])
            return sums
        for each in work:
            now = _flat([sums[row] for row, _ in each.taps])
            with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[each.w, *now]) as loop:
                w_at, *now = loop.carried
                shifted = self._shifted(place, each.x, loop.index)
                for at, value in enumerate(now):
                    offset = at % r.m * r.m_step + each.taps[at // r.m][1] * r.row_step
                    now[at] = fma(self._splat(w_at, offset), shifted, value)
                loop.carry(w_at + r.tap_step, *now)
            sums = _replaced(sums, each.taps, loop.results[1:])
        return sums

    def _by_taps(self, place: _Place, x: Value, w: Value, sums: Sums) -> Sums:
        """Tap by tap: a loop along the rows' axis, and along the lanes' written out or a loop too."""
        fn, r, window = self.fn, self.r, self.r.window
        with fn.loop(0, window.reach + 1, window.dilation, carried=[x, w, *_flat(sums)]) as loop:
            x_at, w_at, *now = loop.carried
            if place.line is not None:
                inside = below(place.line + loop.index, self.word("row limit"))
                with fn.if_(inside, default=now) as there:
                    there.carry(*self._tap_line(place, x_at, w_at, now))
                now = there.results
            else:
                now = self._tap_line(place, x_at, w_at, now)
            loop.carry(x_at + place.x_line * window.dilation, w_at + r.row_step, *now)
        return _rows(loop.results[2:], r.m)

    def _tap_line(self, place: _Place, x: Value, w: Value, flat: list[Value]) -> list[Value]:
        """The taps of one line of the window, for every row of the block."""
        fn, r = self.fn, self.r
        bases = [x]
        while len(bases) < len(flat) // r.m:
            bases.append(bases[-1] + place.x_line * r.window.step)
        if r.unrolled:
            lines = [self.reads.line(fn, base, place.edge.masks if place.edge else None) for base in bases]
            for f, distance in enumerate(r.lane.distances):
                flat = self._tap([partial(line, distance) for line in lines], w + f * r.tap_step, flat)
            return flat
        with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[w, *flat]) as loop:
            w_at, *flat = loop.carried
            vectors = [partial(self._shifted, place, base, loop.index) for base in bases]
            loop.carry(w_at + r.tap_step, *self._tap(vectors, w_at, flat))
        return loop.results[1:]

    def _tap(self, vectors: Sequence[Callable[[], Value]], w: Value, flat: list[Value]) -> list[Value]:
        """One tap for every row of the block: whichever are fewer, weights or vectors, are held in registers."""
        r, flat = self.r, list(flat)
        if r.m <= len(vectors):
            weights = [self._splat(w, mi * r.m_step) for mi in range(r.m)]
            for row, vector in enumerate(vectors):
                here = vector()
                for mi, weight in enumerate(weights):
                    flat[row * r.m + mi] = fma(weight, here, flat[row * r.m + mi])
        else:
            held = [vector() for vector in vectors]
            for mi in range(r.m):
                weight = self._splat(w, mi * r.m_step)
                for row, here in enumerate(held):
                    flat[row * r.m + mi] = fma(weight, here, flat[row * r.m + mi])
        return flat

    def _shifted(self, place: _Place, x: Value, distance: Value) -> Value:
        """The vector of a tap at a distance that is known at run time."""
        masks = self._masks(place.edge.position + distance) if place.edge else None
        return self.reads.line(self.fn, x + distance * self.r.array.bytes, masks)(0)

    # ---- weights, and what becomes of the sums --------------------------------------------------------------

    def _weights(self, w: Value) -> Held:
        """The weights of a window that are held, [tap][m], in all lanes."""
        r = self.r
        return [
            [
                self._splat(
                    w, mi * r.m_step + number // r.lane.taps * r.row_step + number % r.lane.taps * r.tap_step
                )
                for mi in range(r.m)
            ]
            for number in range(r.held)
        ]

    def _splat(self, w: Value, offset: int) -> Value:
        return splat(self.fn.load(w, self.r.work, offset), lanes=self.lanes)

    def _finish(self, place: _Place, row: int, sums: Sequence[Value]) -> None:
        y, residual = place.y + place.y_step * row, place.residual + place.y_step * row
        mask = place.edge.stored if place.edge else None
        for mi, value in enumerate(sums):
            at = self.word("y m") * mi if mi else 0
            bias = self._biases[mi] if self.r.bias else None
            made = self.finished(value, bias, residual, at, mask)
            if self.r.signs and place.edge:
                # Masked stores are slow without registers for masks, and most edges are those of x, not of y.
                with self.fn.if_(place.edge.whole) as whole:
                    self.fn.store(made, y, at)
                with whole.otherwise():
                    self.fn.store(made, y, at, mask=mask)
            else:
                self.fn.store(made, y, at, mask=mask)


def _after(first: Value) -> Callable[[Value], Value]:
    """The numbers from `first` on."""
    return lambda i: first + i


def _flat(sums: Sums) -> list[Value]:
    return [each for row in sums for each in row]


def _rows(flat: Sequence[Value], m: int) -> Sums:
    return [list(flat[at : at + m]) for at in range(0, len(flat), m)]


def _replaced(sums: Sums, taps: Sequence[tuple[int, int]], flat: Sequence[Value]) -> Sums:
    made = list(sums)
    for (row, _), each in zip(taps, _rows(flat, len(sums[0])), strict=True):
        made[row] = each
    return made


def block_rows(m: int, registers: int) -> int | None:
    """Rows of A in a block: of those that divide m, the number for which a multiplication takes the fewest loads.

    A tap of a block of r rows of y takes r vectors of x, which mostly cross a cache line, and as many weights as it
    has rows of A. None if m has no divisor but itself and does not fit the registers.

    >>> block_rows(8, 32), block_rows(64, 32), block_rows(37, 32)
    (8, 8, None)
    """
    found = []
    for rows in (r for r in range(1, m + 1) if m % r == 0):
        high = max((r for r in range(1, TALLEST + 1) if rows * r + min(rows, r) + 1 <= registers), default=0)
        if high:
            found.append(((1.7 * high + rows) / (rows * high), rows))
    best = min(found)[1]
    return None if best < min(m, 4) else best


WEIGHT_GROUPS = 16
"""Groups whose weights a task packs."""


def _pack(module: Module, recipe: Recipe) -> None:
    """Writes `weights(args, index, thread)`: w, in the working type, as [group][row][k]."""
    fn = module.function("weights", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    slots = recipe.slots()
    w, out = slots.load(fn, args, "w", ptr), slots.load(fn, args, "a", ptr)
    step, groups = slots.load(fn, args, "w step"), slots.load(fn, args, "w groups")

    def nest(depth: int, source: Value, target: Value) -> Value:
        if depth == len(recipe.w_steps):
            fn.store(widen(fn.load(source, recipe.array), recipe.work, signed=recipe.signed), target)
            return target + recipe.work.bytes
        extent, by = recipe.w_steps[depth]
        with fn.loop(0, extent, carried=[source, target]) as loop:
            here, there = loop.carried
            loop.carry(here + by, nest(depth + 1, here, there))
        return loop.results[1]

    with fn.loop(index * WEIGHT_GROUPS, minimum((index + 1) * WEIGHT_GROUPS, groups)) as loop:
        nest(0, w + loop.index * step, out + loop.index * recipe.packed_bytes)


def module(recipe: Recipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`, and `weights` where w is packed."""
    made = Module(attributes, fused=fused)
    whole = Planes(recipe, recipe.lanes, edges_only=False).function(made, "whole")
    half = (
        Planes(recipe, recipe.lanes // 2, edges_only=True).function(made, "half") if recipe.halves else whole
    )
    slots = recipe.slots()

    def call(fn: Function, args: Value, given: list[Value]) -> None:
        with fn.if_(equal(slots.load(fn, args, "narrow"), 0)) as which:
            fn.call(whole.address, *given)
        with which.otherwise():
            fn.call(half.address, *given)

    task(made, slots, call)
    if recipe.packed:
        _pack(made, recipe)
    return made


__all__ = ["WEIGHT_GROUPS", "Planes", "Recipe", "block_rows", "module"]
