"""The direct kernel where pixels are contiguous (channels first): lanes lie along the last pixel axis of x and y.

    y[o, p0, p1..p1+lanes] = sum over k = (c, .., f0, f1) of  w[o, k] * x[c, p0*s0 + f0*d0 + .., p1*s1 + f1*d1 + ..]

x is read in place. A block is `rows` output rows high, one vector wide and all m rows of A deep, and each sum runs
over k in order. Two orders of walking over a block give the same sums:

    by lines    each line of x is read once, and goes into every output row whose window holds it;
                each output row has its own weight for it: for small m, with weights in registers
    by taps     each weight is broadcast once, and goes with all rows of the block: for larger m or filters

Output rows, and chunks of a row, are told apart by where their windows lie. Inside x nothing is checked. At the
edges, chunks compare positions as a vector, one mask a tap, and rows are taken singly, with a branch around lines
that do not exist. So nothing outside x is read, and rows of any width run: those not wider than half a vector are
served by a second function with vectors of half the size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..product import Activation
from .instructions import (
    Type,
    Value,
    below,
    const,
    equal,
    fma,
    fptosi,
    i1,
    i32,
    i64,
    less,
    maximum,
    minimum,
    ptr,
    select,
    shuffle,
    splat,
    trunc,
    udiv,
    zext,
)
from .ir import Function, Module, prefix_mask
from .lanes import load_every, narrow, widen
from .slots import Slots
from .tile import activate, gather_at

MOST_UNROLLED = 16
"""Taps along the lane axis that are written out one by one; of more, there is a loop."""

MOST_STEPS = 400
"""FMAs of one block that are written out: more would only crowd the instruction cache."""

EVERY = 4
"""Strides along the lane axis that are read as whole vectors; of larger ones each lane is read by its address."""


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


@dataclass(frozen=True)
class Term:
    """An index of k outside the window: channels, or taps of an outer axis.

    `w_step`: bytes in w. `check`: the number of the outer axis that it moves along, and by how much; -1 if none.
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
    working type; otherwise it is read in place.
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

    @property
    def window(self) -> Window:
        """The window along the rows; in 1-D the rows of a block are chunks of the only axis, a vector apart."""
        return self.rows or Window(1, 1, 1)

    @property
    def deep(self) -> int:
        """How many windows a sum takes."""
        count = 1
        for term in self.terms:
            count *= term.extent
        return count

    @property
    def by_lines(self) -> bool:
        """The order: see the module."""
        taps = self.window.taps * self.lane.taps
        if self.lane.taps > MOST_UNROLLED or taps * self.m > MOST_STEPS // 4:
            return False
        return self.m == 1 or self.held

    @property
    def held(self) -> bool:
        """Whether a window's weights stay in registers, beside the sums."""
        taps = self.window.taps * self.lane.taps
        if self.deep == 1:
            return self.m * (taps + self._alive) + 2 <= self.registers
        return self.m * (taps + 4) + 2 <= self.registers

    @property
    def _alive(self) -> int:
        """How many output rows a line of x goes into or passes by."""
        return -(-(self.window.reach + 1) // self.window.step)

    @property
    def heights(self) -> tuple[int, ...]:
        """Rows of a block, and of those that take what larger ones leave."""
        taps, m = self.window.taps * self.lane.taps, self.m
        free = self.registers - 2 - (m * taps if self.held else 0)
        if self.by_lines:
            rows = 8 if self.deep == 1 else free // m
            rows = min(rows, MOST_STEPS // (taps * m))
        else:
            rows = max((r for r in range(1, 9) if m * r + min(m, r) + 1 <= self.registers), default=1)
        found = [max(min(rows, 8), 1)]
        while found[-1] > 1:
            found.append(found[-1] // 2)
        return tuple(found)

    def slots(self) -> Slots:
        """The words the kernel reads."""
        names = ["x", "y", "w", "a", "bias", "residual", "planes", "per", "parts", "height", "narrow"]
        names += ["columns", "lane offset", "lane limit", "rows", "row offset", "row limit", "x row", "y row", "y m"]
        names += ["first row", "last row", "first chunk", "last chunk"]
        names += [f"{what} {name}" for name, _ in self.outer for what in ("count", "x", "y", "w", "bias")]
        names += [f"x {term.name}" for term in self.terms]
        names += [f"{what} {number}" for number in range(self.checks) for what in ("offset", "limit")]
        return Slots(names)


@dataclass
class _Place:
    """A block of y: addresses of its first element in x, y and the residual, and its position along the rows."""

    x: Value
    y: Value
    residual: Value
    row: Value
    x_step: Value
    y_step: Value
    masks: dict[int, list[Value]] | None
    position: Value | None
    stored: Value | None


Sums = list[list[Value]]


class Planes:
    """Writes one function `name(args, first, count, part)`: `count` planes of y from number `first` on, one part."""

    def __init__(self, recipe: Recipe, lanes: int, narrow: bool) -> None:
        self.r, self.lanes, self.narrow = recipe, lanes, narrow
        self.slots = recipe.slots()
        self.vector = recipe.work.x(lanes)
        self.item, self.out_item = recipe.array.bytes, recipe.out.bytes

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
        base = [self.slots.load(fn, args, each, ptr) for each in ("x", "y", "a" if r.packed else "w", "bias", "residual")]
        self._terms_x = [self._word(f"x {term.name}") for term in r.terms]
        with fn.loop(0, count, carried=[rest, *start], at_least_once=True) as plane:
            indices = plane.carried
            x, y, w, bias, residual = base
            for each, at in zip(names, indices, strict=True):
                x = x + at * self._word(f"x {each}")
                moved = at * self._word(f"y {each}")
                y, residual = y + moved, residual + moved
                w = w + at * self._word(f"w {each}")
                bias = bias + at * self._word(f"bias {each}")
            self._outer_positions = []
            for number in range(r.checks):
                position = self._word(f"offset {number}")
                for (_, moves), at in zip(r.outer, indices, strict=True):
                    if moves[number]:
                        position = position + at * moves[number]
                self._outer_positions.append(position)
            self._plane(x, y, residual, w, bias, part)
            plane.carry(*self._next(indices, counts))
        return fn

    def _next(self, indices: Sequence[Value], counts: Sequence[Value]) -> list[Value]:
        """The indices of the next plane, the last one fastest."""
        following: list[Value] = []
        carry: Value | int = 1
        for at, extent in zip(reversed(indices), reversed(counts), strict=True):
            ahead = at + carry
            over = equal(ahead, extent)
            following.insert(0, select(over, 0, ahead))
            carry = zext(over, to=i64)
        return following

    def _plane(self, x: Value, y: Value, residual: Value, w: Value, bias: Value, part: Value) -> None:
        fn, r = self.fn, self.r
        self.w = w
        self._held: list[list[list[Value]]] | None = None
        if r.by_lines and r.held and r.deep == 1:
            self._held = self._weights(w)
        self._biases = [
            splat(fn.load(bias, r.work, mi * r.work.bytes), lanes=self.lanes) if r.bias else None for mi in range(r.m)
        ]
        height = self._word("height")
        lines = self._word("rows" if r.rows else "columns")
        if r.rows is None:
            lines = udiv(lines + (self.lanes - 1), self.lanes)
        first = part * height
        stop = minimum(first + height, lines)
        if r.rows is None:
            self._chunks(x, y, residual, first, stop)
            return
        x_row, y_row = self._word("x row"), self._word("y row")
        begin, end, edges, edge = self._split(first, stop, self._word("first row"), self._word("last row"))
        for rows in r.heights:
            with fn.loop(begin, end - (rows - 1), rows, carried=[begin]) as loop:
                at = loop.index
                self._row(x + at * (x_row * r.window.step), y + at * y_row, residual + at * y_row, at, rows, False)
                loop.carry(at + rows)
            begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            at = edge(loop.index)
            self._row(x + at * (x_row * r.window.step), y + at * y_row, residual + at * y_row, at, 1, True)

    def _split(
        self, first: Value, stop: Value, low: Value, high: Value
    ) -> tuple[Value, Value, Value, Callable[[Value], Value]]:
        """Of [first, stop) what lies in [low, high); how many do not, and the i-th of those."""
        begin, end = maximum(first, low), minimum(stop, high)
        before = maximum(minimum(stop, low) - first, 0)
        after = maximum(first, high)
        edges = before + maximum(stop - after, 0)
        return begin, end, edges, lambda i: select(less(i, before), first + i, after - before + i)

    def _row(self, x: Value, y: Value, residual: Value, row: Value, rows: int, checked: bool) -> None:
        """`rows` output rows from `row` on, chunk by chunk."""
        fn, r = self.fn, self.r
        x_row, y_row = self._word("x row"), self._word("y row")
        lines = udiv(self._word("columns") + (self.lanes - 1), self.lanes)
        begin, end, edges, edge = self._split(const(i64, 0), lines, self._word("first chunk"), self._word("last chunk"))
        x_chunk, y_chunk = self._chunk_steps()
        if checked or self.narrow:
            begin, end, edges, edge = begin, begin, lines, lambda i: i
        else:
            with fn.loop(begin, end) as loop:
                moved = loop.index * y_chunk
                place = _Place(x + loop.index * x_chunk, y + moved, residual + moved, row, x_row, y_row, None, None, None)
                self._block(place, rows, checked)
        with fn.loop(0, edges) as loop:
            at = edge(loop.index)
            moved = at * y_chunk
            place = _Place(x + at * x_chunk, y + moved, residual + moved, row, x_row, y_row, *self._masks(at))
            self._block(place, rows, checked)

    def _chunks(self, x: Value, y: Value, residual: Value, first: Value, stop: Value) -> None:
        """In 1-D: chunks [first, stop) of the only row; those of a block lie one vector apart."""
        fn, r = self.fn, self.r
        begin, end, edges, edge = self._split(first, stop, self._word("first chunk"), self._word("last chunk"))
        x_chunk, y_chunk = self._chunk_steps()
        steps = const(i64, x_chunk), const(i64, y_chunk)
        if self.narrow:
            edges, edge = stop - first, lambda i: first + i
        else:
            for rows in r.heights:
                with fn.loop(begin, end - (rows - 1), rows, carried=[begin]) as loop:
                    moved = loop.index * y_chunk
                    place = _Place(
                        x + loop.index * x_chunk, y + moved, residual + moved, loop.index, *steps, None, None, None
                    )
                    self._block(place, rows, False)
                    loop.carry(loop.index + rows)
                begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            at = edge(loop.index)
            moved = at * y_chunk
            self._block(_Place(x + at * x_chunk, y + moved, residual + moved, at, *steps, *self._masks(at)), 1, False)

    def _chunk_steps(self) -> tuple[int, int]:
        """Bytes from one chunk to the next, in x and in y."""
        return self.lanes * self.r.lane.step * self.item, self.lanes * self.out_item

    # ---- one block ------------------------------------------------------------------------------------------

    def _block(self, place: _Place, rows: int, checked: bool) -> None:
        fn, r = self.fn, self.r
        sums: Sums = [[const(self.vector, 0.0) for _ in range(r.m)] for _ in range(rows)]
        if r.deep == 1 and r.by_lines and not checked:
            self._by_lines(place, place.x, self._held, self.w, sums, finish=True)
            return
        sums = self._sum(0, place, place.x, self.w, list(self._outer_positions), sums, checked)
        for number in range(rows):
            self._finish(place, number, sums[number])

    def _sum(
        self, depth: int, place: _Place, x: Value, w: Value, positions: list[Value], sums: Sums, checked: bool
    ) -> Sums:
        """The sum over the terms from `depth` on."""
        fn, r = self.fn, self.r
        if depth == len(r.terms):
            held = self._held
            if r.by_lines and r.held and held is None:
                held = self._weights(w)
            if checked:
                return self._checked(place, x, held, w, sums)
            if r.by_lines:
                return self._by_lines(place, x, held, w, sums, finish=False)
            return self._by_taps(place, x, w, sums, False)
        term = r.terms[depth]
        flat = [each for row in sums for each in row]
        with fn.loop(0, term.extent, carried=[x, w, *positions, *flat]) as loop:
            x_at, w_at, *rest = loop.carried
            here, now = rest[: len(positions)], rest[len(positions) :]
            moved = list(here)
            if term.check >= 0 and not any(t.check == term.check for t in r.terms[depth + 1 :]):
                limit = self._word(f"limit {term.check}")
                with fn.if_(below(here[term.check], limit), default=now) as inside:
                    made = self._sum(depth + 1, place, x_at, w_at, here, _rows(now, r.m), checked)
                    inside.carry(*[each for row in made for each in row])
                flat = inside.results
            else:
                made = self._sum(depth + 1, place, x_at, w_at, here, _rows(now, r.m), checked)
                flat = [each for row in made for each in row]
            if term.check >= 0:
                moved[term.check] = here[term.check] + term.by
            loop.carry(x_at + self._terms_x[depth], w_at + term.w_step, *moved, *flat)
        return _rows(loop.results[2 + len(positions) :], r.m)

    def _by_lines(
        self,
        place: _Place,
        x: Value,
        held: list[list[list[Value]]] | None,
        w: Value,
        sums: Sums,
        *,
        finish: bool,
    ) -> Sums:
        """Line by line of x; an output row whose last line this was is finished at once, which frees its registers."""
        r, window = self.r, self.r.window
        rows, sums = len(sums), [list(each) for each in sums]
        for line in range((rows - 1) * window.step + window.reach + 1):
            meets = [
                (row, tap) for row in range(rows) for tap in range(window.taps)
                if row * window.step + tap * window.dilation == line
            ]  # fmt: skip
            if meets:
                vectors = self._vectors(x, place.masks)
                for f in range(r.lane.taps):
                    vector = vectors(f)
                    for row, tap in meets:
                        for mi in range(r.m):
                            weight = held[mi][tap][f] if held else self._weight(w, mi, tap, f)
                            sums[row][mi] = fma(weight, vector, sums[row][mi])
            for row, tap in meets:
                if finish and tap == window.taps - 1:
                    self._finish(place, row, sums[row])
            x = x + place.x_step
        return sums

    def _checked(
        self, place: _Place, x: Value, held: list[list[list[Value]]] | None, w: Value, sums: Sums
    ) -> Sums:
        """One output row, with a branch around lines outside x."""
        fn, r, window = self.fn, self.r, self.r.window
        position = place.row * window.step + self._word("row offset")
        limit = self._word("row limit")
        if not r.by_lines:
            return self._by_taps(place, x, w, sums, True)
        for tap in range(window.taps):
            with fn.if_(below(position + tap * window.dilation, limit), default=sums[0]) as inside:
                now = list(sums[0])
                vectors = self._vectors(x, place.masks)
                for f in range(r.lane.taps):
                    vector = vectors(f)
                    for mi in range(r.m):
                        weight = held[mi][tap][f] if held else self._weight(w, mi, tap, f)
                        now[mi] = fma(weight, vector, now[mi])
                inside.carry(*now)
            sums = [inside.results]
            x = x + place.x_step * window.dilation
        return sums

    def _by_taps(self, place: _Place, x: Value, w: Value, sums: Sums, checked: bool) -> Sums:
        """Tap by tap: a loop along the rows' axis, and along the lanes' written out or a loop too."""
        fn, r, window = self.fn, self.r, self.r.window
        flat = [each for row in sums for each in row]
        position = place.row * window.step + self._word("row offset") if checked else const(i64, 0)
        with fn.loop(0, window.taps, carried=[x, w, position, *flat]) as loop:
            x_at, w_at, at, *now = loop.carried
            if checked:
                with fn.if_(below(at, self._word("row limit")), default=now) as inside:
                    inside.carry(*self._tap_line(place, x_at, w_at, now))
                flat = inside.results
            else:
                flat = self._tap_line(place, x_at, w_at, now)
            loop.carry(
                x_at + place.x_step * window.dilation, w_at + r.row_step, at + window.dilation, *flat
            )
        return _rows(loop.results[3:], r.m)

    def _tap_line(self, place: _Place, x: Value, w: Value, flat: list[Value]) -> list[Value]:
        """The taps of one line for every row of the block."""
        fn, r = self.fn, self.r
        rows = len(flat) // r.m
        bases = [x]
        for _ in range(rows - 1):
            bases.append(bases[-1] + place.x_step * r.window.step)
        if r.lane.taps <= MOST_UNROLLED:
            lines = [self._vectors(base, place.masks) for base in bases]
            for f in range(r.lane.taps):
                flat = self._tap([lambda line=line, f=f: line(f) for line in lines], w + f * r.tap_step, flat)
            return flat
        move = r.lane.dilation * self.item
        shift = const(i64, 0)
        with fn.loop(0, r.lane.taps, carried=[w, shift, *flat]) as loop:
            w_at, shift, *now = loop.carried
            masks = None if place.position is None else self._position_masks(place.position + shift)
            lines = [self._vectors(base + shift * self.item, masks) for base in bases]
            now = self._tap([lambda line=line: line(0) for line in lines], w_at, now)
            loop.carry(w_at + r.tap_step, shift + r.lane.dilation, *now)
        del move
        return loop.results[2:]

    def _tap(self, lines: Sequence[Callable[[], Value]], w: Value, flat: list[Value]) -> list[Value]:
        """One tap for every row of the block: whichever is less, weights or vectors, is kept in registers."""
        r, flat = self.r, list(flat)
        if r.m <= len(lines):
            weights = [self._splat(w, mi * r.m_step) for mi in range(r.m)]
            for row, line in enumerate(lines):
                vector = line()
                for mi, weight in enumerate(weights):
                    flat[row * r.m + mi] = fma(weight, vector, flat[row * r.m + mi])
        else:
            vectors = [line() for line in lines]
            for mi in range(r.m):
                weight = self._splat(w, mi * r.m_step)
                for row, vector in enumerate(vectors):
                    flat[row * r.m + mi] = fma(weight, vector, flat[row * r.m + mi])
        return flat

    # ---- weights --------------------------------------------------------------------------------------------

    def _weights(self, w: Value) -> list[list[list[Value]]]:
        """Those of one window, in all lanes: [m][tap along rows][tap along lanes]."""
        r = self.r
        return [
            [[self._weight(w, mi, tap, f) for f in range(r.lane.taps)] for tap in range(r.window.taps)]
            for mi in range(r.m)
        ]

    def _weight(self, w: Value, mi: int, tap: int, f: int) -> Value:
        r = self.r
        return self._splat(w, mi * r.m_step + tap * r.row_step + f * r.tap_step)

    def _splat(self, w: Value, offset: int) -> Value:
        return splat(self.fn.load(w, self.r.work, offset), lanes=self.lanes)

    # ---- vectors of x ---------------------------------------------------------------------------------------

    def _masks(self, chunk: Value) -> tuple[dict[int, list[Value]] | None, Value, Value]:
        """For a chunk at the edge: a mask for each vector that is read, its first position, and what is stored."""
        r = self.r
        first = chunk * self.lanes
        position = first * r.lane.step + self._word("lane offset")
        stored = prefix_mask(self.lanes, self._word("columns") - first)
        if r.lane.taps > MOST_UNROLLED:
            return {}, position, stored
        return self._position_masks(position), position, stored

    def _position_masks(self, position: Value) -> dict[int, list[Value]]:
        """The mask of each vector that `_vectors` reads, by its distance from the first: lanes inside the row."""
        r = self.r
        spread = 1 if r.lane.step <= 2 else r.lane.step
        first = splat(trunc(position, to=i32), lanes=self.lanes)
        limit = splat(trunc(self._word("lane limit"), to=i32), lanes=self.lanes)
        found: dict[int, list[Value]] = {}
        taps = r.lane.taps if r.lane.taps <= MOST_UNROLLED else 1
        for distance in _reads(r.lane.step, [f * r.lane.dilation for f in range(taps)], self.lanes):
            each = const(i32.x(self.lanes), [distance + i * spread for i in range(self.lanes)])
            found[distance] = [below(first + each, limit)]
        return found

    def _vectors(self, x: Value, masks: dict[int, list[Value]] | None) -> Callable[[int], Value]:
        """A function that gives the vector of a tap of the line at `x`; lanes outside are 0."""
        fn, r, n = self.fn, self.r, self.lanes
        raw = r.array.x(n)
        made: dict[int, Value] = {}
        pairs: dict[int, tuple[Value, Value]] = {}

        def load(distance: int) -> Value:
            mask = masks[distance][0] if masks is not None else None
            return widen(fn.load(x, raw, distance * self.item, mask=mask), r.work, signed=r.signed)

        def strided(distance: int) -> Value:
            if masks is None and r.lane.step <= EVERY:
                return widen(load_every(fn, x, raw, r.lane.step, distance * self.item), r.work, signed=r.signed)
            mask = masks[distance][0] if masks is not None else const(i1.x(n), 1)
            places = const(i64.x(n), [(distance + i * r.lane.step) * self.item for i in range(n)])
            return widen(gather_at(fn, x, places, raw, mask), r.work, signed=r.signed)

        def every_second(distance: int) -> Value:
            if distance - 2 in made:
                # The vector of two elements before, moved on by a lane.
                end = distance + 2 * n - 2
                if masks is None:
                    one = widen(fn.load(x, r.array, end * self.item), r.work, signed=r.signed)
                    last = splat(one, lanes=n)
                else:
                    last = load(end)
                return shuffle(made[distance - 2], last, indices=[*range(1, n), n])
            if distance - 1 in pairs:
                return shuffle(*pairs[distance - 1], indices=range(1, 2 * n, 2))
            pairs[distance] = load(distance), load(distance + n)
            return shuffle(*pairs[distance], indices=range(0, 2 * n, 2))

        def vector(f: int) -> Value:
            distance = f * r.lane.dilation
            if distance not in made:
                step = r.lane.step
                made[distance] = (load if step == 1 else every_second if step == 2 else strided)(distance)
            return made[distance]

        return vector

    # ---- what becomes of the sums ---------------------------------------------------------------------------

    def _finish(self, place: _Place, row: int, sums: Sequence[Value]) -> None:
        fn, r = self.fn, self.r
        y, residual = place.y + place.y_step * row, place.residual + place.y_step * row
        line = self._word("y m") if r.m > 1 else const(i64, 0)
        for mi, value in enumerate(sums):
            bias = self._biases[mi]
            if bias is not None:
                value = value + bias
            if r.residual:
                value = value + widen(fn.load(residual, r.out.x(self.lanes), mask=place.stored), r.work)
            value = activate(value, r.activation)
            fn.store(narrow(value, r.out) if r.out.is_float else fptosi(value, to=r.out), y, mask=place.stored)
            if mi + 1 < r.m:
                y, residual = y + line, residual + line


def _rows(flat: Sequence[Value], m: int) -> Sums:
    return [list(flat[at : at + m]) for at in range(0, len(flat), m)]


def _reads(step: int, distances: Sequence[int], lanes: int) -> list[int]:
    """Where the vectors begin that a line's taps are read from, as `_vectors` reads them under masks."""
    if step != 2:
        return list(distances)
    found, made, pairs = [], set(), set()
    for distance in distances:
        if distance - 2 in made:
            found.append(distance + 2 * lanes - 2)
        elif distance - 1 not in pairs:
            pairs.add(distance)
            found += [distance, distance + lanes]
        made.add(distance)
    return found


def reach(window: Window, lanes: int) -> int:
    """How far behind a chunk's first element the kernel reads where it does not check."""
    if window.step != 2:
        return window.reach + window.step * (lanes - 1)
    taps = range(window.taps if window.taps <= MOST_UNROLLED else 1)
    made: set[int] = set()
    pairs: set[int] = set()
    furthest = 0
    for distance in (f * window.dilation for f in taps):
        if distance - 2 not in made and distance - 1 not in pairs:
            pairs.add(distance)
            furthest = max(furthest, distance + 2 * lanes - 1)
        made.add(distance)
        furthest = max(furthest, distance + 2 * lanes - 2)
    if window.taps > MOST_UNROLLED:
        furthest = window.reach + 2 * lanes - 1
    return furthest


def module(recipe: Recipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`, and `weights` where w is packed."""
    made = Module(attributes, fused=fused)
    wide = Planes(recipe, recipe.lanes, False).function(made, "wide")
    halves = Planes(recipe, recipe.lanes // 2, True).function(made, "halves") if recipe.halves else wide
    fn = made.function("task", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    slots = recipe.slots()
    parts, per = slots.load(fn, args, "parts"), slots.load(fn, args, "per")
    block = udiv(index, parts)
    first = block * per
    count = minimum(per, slots.load(fn, args, "planes") - first)
    given = args, first, count, index - block * parts
    with fn.if_(equal(slots.load(fn, args, "narrow"), 0)) as which:
        fn.call(wide.address, *given)
    with which.otherwise():
        fn.call(halves.address, *given)
    return made


__all__ = ["Planes", "Recipe", "Term", "Window", "module", "reach"]
