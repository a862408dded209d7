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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..product import Activation
from .directreads import Masks, Reads
from .instructions import (
    Type,
    Value,
    below,
    const,
    equal,
    fma,
    fptosi,
    greater_equal,
    i64,
    less,
    less_equal,
    maximum,
    minimum,
    ptr,
    select,
    splat,
    udiv,
    zext,
)
from .ir import Function, Module, prefix_mask
from .lanes import narrow, widen
from .slots import Slots
from .tile import activate

MOST_UNROLLED = 16
"""Taps along the lane axis that are written out one by one; of more, there is a loop."""

MOST_STEPS = 400
"""FMAs of one block that are written out: more would only crowd the instruction cache."""

TALLEST = 8
"""Rows of a block: beyond, a line of x is hardly read less often."""


@dataclass(frozen=True)
class Window:
    """How windows lie along an axis of x: output p and tap f meet at p * step + f * dilation + an offset."""

    step: int
    taps: int
    dilation: int

    @property
    def reach(self) -> int:
        """From a window's first element to its last."""
        return (self.taps - 1) * self.dilation

    @property
    def distances(self) -> range:
        """Of each tap from the window's first element."""
        return range(0, self.reach + 1, self.dilation)


@dataclass(frozen=True)
class Term:
    """An index of k outside the window: channels, or taps of an outer axis.

    `w_step`: bytes in w. `check`: the number of the outer axis that it moves along, `by` how much; -1 if none.
    """

    name: str
    extent: int
    w_step: int
    check: int = -1
    by: int = 0


@dataclass(frozen=True)
class Recipe:
    """All that is constant in the kernel.

    `outer`: the indices that a plane of y fixes, with the step of each along every checked outer axis. `rows`: the
    window along the axis before the last, absent in 1-D. `m`: rows of A; `m_step`, `row_step`, `tap_step`: bytes in w
    from one to the next, from tap to tap along the rows' axis, and along the lanes'. `packed`: w is packed to the
    working type first; otherwise it is read in place. `halves`: vectors of half the size cost half as much.
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
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    halves: bool
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

    @cached_property
    def held(self) -> int:
        """How many of a row's weights stay in registers, beside the sums, where lines are walked over."""
        if not (self.by_lines and self.written_out):
            return 0
        alive = -(-(self.window.reach + 1) // self.window.step) if self.single else 4
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
        return Reads(self.array, self.work, self.signed, lanes, self.lane.step)

    @property
    def distances(self) -> list[int]:
        """Of the taps that are read from one address: all, or one in a loop."""
        return list(self.lane.distances) if self.lane.taps <= MOST_UNROLLED else [0]

    @property
    def behind(self) -> int:
        """How far behind a whole chunk's first element the kernel reads without looking."""
        reads = self.reads(self.lanes)
        return reads.behind(self.distances) + (self.lane.reach - self.distances[-1])

    def slots(self) -> Slots:
        """The words the kernel reads."""
        names = ["x", "y", "w", "a", "bias", "residual", "planes", "per", "parts", "height", "narrow"]
        names += ["columns", "lane offset", "lane limit", "rows", "row offset", "row limit", "x row", "y row", "y m"]
        names += ["first row", "last row", "first chunk", "last chunk"]
        names += [f"{what} {name}" for name, _ in self.outer for what in ("count", "x", "y", "w", "bias")]
        names += [f"x {term.name}" for term in self.terms]
        names += [f"{what} {number}" for number in range(self.checks) for what in ("offset", "limit")]
        return Slots(names)


Sums = list[list[Value]]
Held = list[list[Value]]


@dataclass(frozen=True)
class _Edge:
    """What a block at the edge checks: a position along the lanes, masks of the loads and of what is stored."""

    position: Value
    masks: Masks
    stored: Value


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


class Planes:
    """Writes one function `name(args, first, count, part)`: `count` planes of y from number `first` on, one part."""

    def __init__(self, recipe: Recipe, lanes: int, *, edges_only: bool) -> None:
        self.r, self.lanes, self.edges_only = recipe, lanes, edges_only
        self.slots = recipe.slots()
        self.reads = recipe.reads(lanes)
        self.vector = recipe.work.x(lanes)
        self.x_chunk = lanes * recipe.lane.step * recipe.array.bytes
        self.y_chunk = lanes * recipe.out.bytes

    def function(self, module: Module, name: str) -> Function:
        """Emits it."""
        r = self.r
        self.fn = fn = module.function(name, {"args": ptr, "first": i64, "count": i64, "part": i64})
        args, first, count, part = fn.arguments
        self._word: Callable[[str], Value] = lambda word: self.slots.load(fn, args, word)
        names = [each for each, _ in r.outer]
        counts, start, rest = [self._word(f"count {each}") for each in names], [], first
        for extent in reversed(counts[1:]):
            above = udiv(rest, extent)
            start.insert(0, rest - above * extent)
            rest = above
        w_name = "a" if r.packed else "w"
        base = [self.slots.load(fn, args, each, ptr) for each in ("x", "y", "residual", w_name, "bias")]
        self._terms_x = [self._word(f"x {term.name}") for term in r.terms]
        with fn.loop(0, count, carried=[rest, *start], at_least_once=True) as plane:
            indices = plane.carried
            x, y, residual, w, bias = base
            for each, at in zip(names, indices, strict=True):
                moved = at * self._word(f"y {each}")
                x, y, residual = x + at * self._word(f"x {each}"), y + moved, residual + moved
                w, bias = w + at * self._word(f"w {each}"), bias + at * self._word(f"bias {each}")
            self._positions = [self._word(f"offset {number}") for number in range(r.checks)]
            for (_, moves), at in zip(r.outer, indices, strict=True):
                self._positions = [p + at * by if by else p for p, by in zip(self._positions, moves, strict=True)]
            self._plane(x, y, residual, w, bias, part)
            plane.carry(*_next(indices, counts))
        return fn

    def _plane(self, x: Value, y: Value, residual: Value, w: Value, bias: Value, part: Value) -> None:
        fn, r = self.fn, self.r
        self.w = w
        self._held = self._weights(w) if r.single else []
        self._biases = [self._splat(bias, mi * r.work.bytes) for mi in range(r.m)] if r.bias else []
        height = self._word("height")
        first = part * height
        if r.rows is None:
            self._chunks(x, y, residual, first, minimum(first + height, self._line_chunks()))
        else:
            self._lines(x, y, residual, first, minimum(first + height, self._word("rows")))

    def _lines(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """Output rows [first, stop)."""
        fn, r = self.fn, self.r
        x_row, y_row = self._word("x row") * r.window.step, self._word("y row")
        low, high = self._word("first row"), self._word("last row")
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
        begin, end, edges, edge = _split(first, stop, low, high)
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
        self, x: Value, y: Value, residual: Value, row: Value, rows: int, inside: Value | None, *, checked: bool
    ) -> None:
        """`rows` output rows from `row` on, chunk by chunk; `inside` says whether all their lines are."""
        fn, r = self.fn, self.r
        x_line, y_row, lines = self._word("x row"), self._word("y row"), self._line_chunks()
        start = row * r.window.step + self._word("row offset") if checked else None
        if self.edges_only or (checked and inside is None):
            edges, edge = lines, lambda i: i
        else:
            low, high = self._word("first chunk"), self._word("last chunk")
            if inside is not None:
                high = select(inside, high, low)
            begin, end, edges, edge = _split(const(i64, 0), lines, low, high)
            with fn.loop(begin, end) as loop:
                moved = loop.index * self.y_chunk
                at = x + loop.index * self.x_chunk
                self._block(_Place(at, y + moved, residual + moved, x_line, y_row, None, None), rows)
        with fn.loop(0, edges) as loop:
            chunk = edge(loop.index)
            moved = chunk * self.y_chunk
            at = x + chunk * self.x_chunk
            self._block(_Place(at, y + moved, residual + moved, x_line, y_row, self._edge(chunk), start), rows)

    def _chunks(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """In 1-D: chunks [first, stop) of the only row; the rows of a block are chunks, one vector apart."""
        fn, r = self.fn, self.r
        steps = const(i64, self.x_chunk), const(i64, self.y_chunk)
        if self.edges_only:
            edges, edge = stop - first, lambda i: first + i
        else:
            begin, end, edges, edge = _split(first, stop, self._word("first chunk"), self._word("last chunk"))
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
        return udiv(self._word("columns") + (self.lanes - 1), self.lanes)

    def _edge(self, chunk: Value) -> _Edge:
        first = chunk * self.lanes
        position = first * self.r.lane.step + self._word("lane offset")
        stored = prefix_mask(self.lanes, self._word("columns") - first)
        return _Edge(position, self._masks(position), stored)

    def _masks(self, position: Value) -> Masks:
        return self.reads.masks(position, self._word("lane limit"), self.r.distances)

    # ---- one block ------------------------------------------------------------------------------------------

    def _block(self, place: _Place, rows: int) -> None:
        r = self.r
        sums: Sums = [[const(self.vector, 0.0) for _ in range(r.m)] for _ in range(rows)]
        if r.single and r.by_lines:
            self._by_lines(place, place.x, self.w, self._held, sums, finish=True)
            return
        sums = self._sum(0, place, place.x, self.w, self._positions, sums)
        for number in range(rows):
            self._finish(place, number, sums[number])

    def _sum(self, depth: int, place: _Place, x: Value, w: Value, positions: list[Value], sums: Sums) -> Sums:
        """The sum over the terms from `depth` on."""
        fn, r = self.fn, self.r
        if depth == len(r.terms):
            if r.by_lines:
                return self._by_lines(place, x, w, self._held or self._weights(w), sums, finish=False)
            return self._by_taps(place, x, w, sums)
        term = r.terms[depth]
        with fn.loop(0, term.extent, carried=[x, w, *positions, *_flat(sums)]) as loop:
            x_at, w_at, *rest = loop.carried
            here, now = rest[: len(positions)], rest[len(positions) :]
            moved = list(here)
            if term.check >= 0:
                moved[term.check] = here[term.check] + term.by
                with fn.if_(below(here[term.check], self._word(f"limit {term.check}")), default=now) as inside:
                    inside.carry(*_flat(self._sum(depth + 1, place, x_at, w_at, here, _rows(now, r.m))))
                now = inside.results
            else:
                now = _flat(self._sum(depth + 1, place, x_at, w_at, here, _rows(now, r.m)))
            loop.carry(x_at + self._terms_x[depth], w_at + term.w_step, *moved, *now)
        return _rows(loop.results[2 + len(positions) :], r.m)

    def _by_lines(self, place: _Place, x: Value, w: Value, held: Held, sums: Sums, *, finish: bool) -> Sums:
        """Line by line of x; with `finish` a row whose last line this was is stored at once, and its registers free."""
        fn, r, window = self.fn, self.r, self.r.window
        rows, sums = len(sums), [list(each) for each in sums]
        count = (rows - 1) * window.step + window.reach + 1
        steady = range(rows - 1, window.taps) if not r.written_out and window.taps - rows >= 2 else range(0)
        line = 0
        while line < count:
            if steady and line == steady.start:
                # Every row of the block meets these lines.
                with fn.loop(steady.start, steady.stop, carried=[x, w + line * r.row_step, *_flat(sums)]) as loop:
                    x_at, w_at, *flat = loop.carried
                    taps = [(row, -row * r.row_step) for row in range(rows)]
                    now = self._checked_line(place, loop.index, x_at, w_at, taps, [], _rows(flat, r.m))
                    loop.carry(x_at + place.x_line, w_at + r.row_step, *_flat(now))
                x, sums, line = loop.results[0], _rows(loop.results[2:], r.m), steady.stop
                if finish:
                    self._finish(place, 0, sums[0])
                continue
            meets = [
                (row, tap) for row in range(rows) for tap in range(window.taps)
                if row * window.step + tap * window.dilation == line
            ]  # fmt: skip
            if meets:
                taps = [(row, tap * r.row_step) for row, tap in meets]
                weights = [held[tap * r.lane.taps : (tap + 1) * r.lane.taps] for _, tap in meets]
                sums = self._checked_line(place, const(i64, line), x, w, taps, weights, sums)
            for row, tap in meets:
                if finish and tap == window.taps - 1:
                    self._finish(place, row, sums[row])
            x, line = x + place.x_line, line + 1
        return sums

    def _checked_line(
        self, place: _Place, line: Value, x: Value, w: Value, taps: list[tuple[int, int]], held: list[Held], sums: Sums
    ) -> Sums:
        """One line of x, if there is such a line: `taps` are (row of the block, bytes to its weights)."""
        if place.line is None or self.r.rows is None:
            return self._line(place, x, w, taps, held, sums)
        touched = [sums[row] for row, _ in taps]
        with self.fn.if_(below(place.line + line, self._word("row limit")), default=_flat(touched)) as inside:
            made = self._line(place, x, w, taps, held, sums)
            inside.carry(*_flat([made[row] for row, _ in taps]))
        sums = list(sums)
        for (row, _), each in zip(taps, _rows(inside.results, self.r.m), strict=True):
            sums[row] = each
        return sums

    def _line(
        self, place: _Place, x: Value, w: Value, taps: list[tuple[int, int]], held: list[Held], sums: Sums
    ) -> Sums:
        fn, r, sums = self.fn, self.r, [list(each) for each in sums]
        if r.lane.taps <= MOST_UNROLLED:
            vector = self.reads.line(fn, x, place.edge and place.edge.masks)
            for f, distance in enumerate(r.lane.distances):
                for at, (row, offset) in enumerate(taps):
                    kept = held[at][f] if held and f < len(held[at]) else []
                    for mi in range(r.m):
                        weight = kept[mi] if kept else self._splat(w, mi * r.m_step + offset + f * r.tap_step)
                        sums[row][mi] = fma(weight, vector(distance), sums[row][mi])
            return sums
        flat = _flat([sums[row] for row, _ in taps])
        with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[w, *flat]) as loop:
            w_at, *flat = loop.carried
            vector = self._shifted(place, x, loop.index)
            now = [
                fma(self._splat(w_at, at % r.m * r.m_step + taps[at // r.m][1]), vector, each)
                for at, each in enumerate(flat)
            ]
            loop.carry(w_at + r.tap_step, *now)
        for (row, _), each in zip(taps, _rows(loop.results[1:], r.m), strict=True):
            sums[row] = each
        return sums

    def _by_taps(self, place: _Place, x: Value, w: Value, sums: Sums) -> Sums:
        """Tap by tap: a loop along the rows' axis, and along the lanes' written out or a loop too."""
        fn, r, window = self.fn, self.r, self.r.window
        with fn.loop(0, window.reach + 1, window.dilation, carried=[x, w, *_flat(sums)]) as loop:
            x_at, w_at, *now = loop.carried
            if place.line is not None:
                inside = below(place.line + loop.index, self._word("row limit"))
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
        if r.lane.taps <= MOST_UNROLLED:
            lines = [self.reads.line(fn, base, place.edge and place.edge.masks) for base in bases]
            for f, distance in enumerate(r.lane.distances):
                flat = self._tap([lambda line=line, d=distance: line(d) for line in lines], w + f * r.tap_step, flat)
            return flat
        with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[w, *flat]) as loop:
            w_at, *flat = loop.carried
            vectors = [lambda base=base: self._shifted(place, base, loop.index) for base in bases]
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
        masks = place.edge and self._masks(place.edge.position + distance)
        return self.reads.line(self.fn, x + distance * self.r.array.bytes, masks)(0)

    # ---- weights, and what becomes of the sums --------------------------------------------------------------

    def _weights(self, w: Value) -> Held:
        """The weights of a window that are held, [tap][m], in all lanes."""
        r = self.r
        return [
            [
                self._splat(w, mi * r.m_step + number // r.lane.taps * r.row_step + number % r.lane.taps * r.tap_step)
                for mi in range(r.m)
            ]
            for number in range(r.held)
        ]

    def _splat(self, w: Value, offset: int) -> Value:
        return splat(self.fn.load(w, self.r.work, offset), lanes=self.lanes)

    def _finish(self, place: _Place, row: int, sums: Sequence[Value]) -> None:
        fn, r = self.fn, self.r
        y, residual = place.y + place.y_step * row, place.residual + place.y_step * row
        mask = place.edge and place.edge.stored
        for mi, value in enumerate(sums):
            if mi:
                y, residual = y + self._word("y m"), residual + self._word("y m")
            if r.bias:
                value = value + self._biases[mi]
            if r.residual:
                value = value + widen(fn.load(residual, r.out.x(self.lanes), mask=mask), r.work)
            value = activate(value, r.activation)
            fn.store(narrow(value, r.out) if r.out.is_float else fptosi(value, to=r.out), y, mask=mask)


def _flat(sums: Sums) -> list[Value]:
    return [each for row in sums for each in row]


def _rows(flat: Sequence[Value], m: int) -> Sums:
    return [list(flat[at : at + m]) for at in range(0, len(flat), m)]


def _split(
    first: Value, stop: Value, low: Value, high: Value
) -> tuple[Value, Value, Value, Callable[[Value], Value]]:
    """Of [first, stop) what lies in [low, high): its begin and end; how many do not, and the i-th of those."""
    before = maximum(minimum(stop, low) - first, 0)
    after = maximum(first, high)
    edges = before + maximum(stop - after, 0)
    behind = after - before
    return maximum(first, low), minimum(stop, high), edges, lambda i: i + select(less(i, before), first, behind)


def _next(indices: Sequence[Value], counts: Sequence[Value]) -> list[Value]:
    """The indices of the next plane, the last one fastest."""
    following: list[Value] = []
    carry: Value | int = 1
    for at, extent in zip(reversed(indices), reversed(counts), strict=True):
        ahead = at + carry
        over = equal(ahead, extent)
        following.insert(0, select(over, 0, ahead))
        carry = zext(over, to=i64)
    return following


def module(recipe: Recipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`, and `weights` where w is packed."""
    made = Module(attributes, fused=fused)
    whole = Planes(recipe, recipe.lanes, edges_only=False).function(made, "whole")
    half = Planes(recipe, recipe.lanes // 2, edges_only=True).function(made, "half") if recipe.halves else whole
    fn = made.function("task", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    slots = recipe.slots()
    parts, per = slots.load(fn, args, "parts"), slots.load(fn, args, "per")
    block = udiv(index, parts)
    first = block * per
    count = minimum(per, slots.load(fn, args, "planes") - first)
    given = args, first, count, index - block * parts
    with fn.if_(equal(slots.load(fn, args, "narrow"), 0)) as which:
        fn.call(whole.address, *given)
    with which.otherwise():
        fn.call(half.address, *given)
    return made


__all__ = ["Planes", "Recipe", "Term", "Window", "module"]
