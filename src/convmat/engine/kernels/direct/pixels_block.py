"""One block of the direct kernel along pixels: its sums, by lines or by taps, and their way into y.

sums[row][mi] = sum over k of  w[mi, k] * x[line of (row, k)], a vector of pixels        row < rows, mi < m

or, where the recipe says `maximum`, the largest x[line of (row, k)].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ....lazy_dataclass import dataclass
from ...ir.dots import dot, signed_bytes, unsigned_bytes
from ...ir.formulas import greatest
from ...ir.instructions import Value, below, const, f32, fma, i8, i32, regroup, sitofp, splat, trunc
from ..tile import LINE, SECOND_LEVEL
from .pixels import PixelsRecipe
from .planes import Plane, Walker
from .quad_reads import QUAD, QuadReads
from .strided_loads import Masks, Reads

Sums = list[list[Value]]
Held = list[list[Value]]

LINES_AHEAD = 16
"""Lines of x below the next block that are asked for: memory answers later than a block of few rows is done."""


@dataclass(frozen=True)
class Edge:
    """What a block at the edge checks: a position along the lanes, masks of loads and of what is stored; if all is."""

    position: Value
    masks: Masks
    stored: Value
    whole: Value


@dataclass(frozen=True)
class PixelPlace:
    """A block of y: where its first element is in x, y and the residual, bytes from row to row, and its edge if any.

    `line`: the position of its first line along the rows' axis of x, where lines are checked.
    """

    x: Value
    y: Value
    residual: Value
    x_line: Value
    y_step: Value
    edge: Edge | None
    line: Value | None


@dataclass(frozen=True)
class PixelLine:
    """A line of x at work: its number in the block, the (row, tap) that it goes into, and weights that are held."""

    x: Value
    w: Value
    number: Value | int
    taps: list[tuple[int, int]]
    held: list[Held]


class PixelBlocks(Walker):
    """Writes blocks of a plane, `lanes` columns wide."""

    def __init__(self, recipe: PixelsRecipe, lanes: int) -> None:
        super().__init__(recipe)
        self.r, self.lanes = recipe, lanes
        self.reads = recipe.reads(lanes)
        self.vector = recipe.work.x(lanes)

    def begin(self, plane: Plane) -> None:
        """Loads what all blocks of a plane share: weights that are held, and the bias."""
        r = self.r
        self.w, self._positions = plane.w, plane.positions
        if r.unit is None and r.zero:
            zero = sitofp(self.word("zero"), to=r.work)
            self.reads = replace(self.reads, zero=zero)
        kind, spread = i32 if r.counted else r.work, partial(splat, lanes=self.lanes)
        if r.w_zero:
            zeros = self.beside_bias(plane.bias, "w zero")
            numbers = [self.fn.load(zeros, i32, mi * i32.bytes) for mi in range(r.m)]
            self._w_zeros = [spread(sitofp(each, to=r.work)) for each in numbers]
        self._held = self._weights(plane.w) if r.single else []
        self._biases = (
            [spread(self.fn.load(plane.bias, kind, mi * kind.bytes)) for mi in range(r.m)] if r.bias else []
        )
        self._starts: list[Value] = [const(self.vector, 0)] * r.m
        if isinstance(self.reads, QuadReads):
            self._begin_sums(plane.w, self.reads)
        self._floats: list[list[Value]] = [[] for _ in range(r.m)]
        for place in self.float_places(plane.bias):
            for mi, each in enumerate(self._floats):
                each.append(spread(self.fn.load(place, f32, mi * f32.bytes)))

    def _begin_sums(self, w: Value, reads: QuadReads) -> None:
        """What sums of integers begin with: the bias, and less what x counts from times all weights of a row."""
        r = self.r
        if r.bias:
            self._starts = self._biases
        if not (r.zero or r.signed):
            return
        zero = trunc(self.word("zero") + (128 if r.signed else 0), to=i8)
        self.reads = replace(reads, zero=zero)
        self._outside = regroup(splat(zero, lanes=QUAD * self.lanes), to=self.vector)
        for mi, start in enumerate(self._starts):
            less = const(self.vector, 0)
            for row in range(r.window.taps):
                for tap in range(r.lane.taps):
                    weight = self._weight(w, mi * r.m_step + row * r.row_step + tap * r.tap_step, mi)
                    less = self._with(weight, self._outside, less)
            self._starts = [*self._starts[:mi], start - less, *self._starts[mi + 1 :]]

    def masks(self, position: Value) -> Masks:
        """The masks of a chunk's loads, from the position of its first element."""
        return self.reads.masks(position, self.word("lane limit"), self.r.distances)

    def block(self, place: PixelPlace, rows: int) -> None:
        """Computes and stores `rows` rows of a chunk."""
        r = self.r
        if place.edge is None:
            self.expect(place, rows)
        first = self._starts
        if isinstance(self.reads, Reads) and self.reads.outside:
            first = [const(self.vector, self.reads.outside)] * r.m
        sums: Sums = [list(first) for _ in range(rows)]
        if r.single and r.by_lines:
            if place.edge is None:
                self.fetch(place, place.x, rows)
            self._by_lines(place, place.x, self.w, self._held, sums, finish=True)
            return

        def window(x: Value, w: Value, flat: list[Value]) -> list[Value]:
            now = _rows(flat, r.m)
            if place.edge is None:
                self.fetch(place, x, rows)
            if not r.by_lines:
                return _flat(self._by_taps(place, x, w, now))
            return _flat(self._by_lines(place, x, w, self._held or self._weights(w), now, finish=False))

        flat = self.over_terms(place.x, self.w, self._positions, _flat(sums), window)
        for number, row in enumerate(_rows(flat, r.m)):
            self._finish(place, number, row)

    def expect(self, place: PixelPlace, rows: int) -> None:
        """Fetches the lines of y behind a block: it writes more streams at a time than the hardware follows."""
        r = self.r
        for row in range(rows):
            line = place.y + place.y_step * row if row else place.y
            for mi in range(r.m):
                at = self.word("y m") * mi if mi else 0
                self.fn.prefetch(line + at if mi else line, self.lanes * r.out.bytes, write=True)

    def fetch(self, place: PixelPlace, x: Value, rows: int) -> None:
        """Fetches the lines of x that blocks further down read first, to the second-level cache."""
        r = self.r
        for row in range(rows * r.window.step):
            line = x + place.x_line * (r.window.reach + 1 + row + LINES_AHEAD)
            for at in range(0, self.lanes * r.lane.step * r.array.bytes, LINE):
                self.fn.prefetch(line, at, locality=SECOND_LEVEL)

    def _by_lines(
        self, place: PixelPlace, x: Value, w: Value, held: Held, sums: Sums, *, finish: bool
    ) -> Sums:
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
                    work.append(PixelLine(at[number], w, line + stream.start * window.step, taps, weights))
                at[number] = at[number] + place.x_line
            sums = self.add_lines_inside(place, work, sums)
            for each in work:
                for row, tap in each.taps:
                    if finish and tap == window.taps - 1:
                        self._finish(place, row, sums[row])
        return sums

    def _by_steady_lines(self, place: PixelPlace, x: Value, w: Value, sums: Sums, *, finish: bool) -> Sums:
        """The same for large windows that move by one: a loop over those lines that go into every row."""
        fn, r, rows, window = self.fn, self.r, len(sums), self.r.window
        taps = window.taps
        line = 0
        while line < rows - 1 + taps:
            if line == rows - 1:
                with fn.loop(line, taps, carried=[x, w + line * r.row_step, *_flat(sums)]) as loop:
                    x_at, w_at, *flat = loop.carried
                    every = PixelLine(x_at, w_at, loop.index, [(row, -row) for row in range(rows)], [])
                    made = self.add_lines_inside(place, [every], _rows(flat, r.m))
                    loop.carry(x_at + place.x_line, w_at + r.row_step, *_flat(made))
                x, sums, line = loop.results[0], _rows(loop.results[2:], r.m), taps
            else:
                some = PixelLine(x, w, line, window.meets(range(rows), line), [])
                sums = self.add_lines_inside(place, [some], sums)
                x, line = x + place.x_line, line + 1
            if finish and line >= taps:
                self._finish(place, line - taps, sums[line - taps])
        return sums

    def add_lines_inside(self, place: PixelPlace, work: Sequence[PixelLine], sums: Sums) -> Sums:
        """Lines of x, those that exist."""
        if place.line is None:
            return self.add_lines(place, work, sums)
        for each in work:
            default = sums
            if isinstance(self.reads, QuadReads) and self.reads.zero is not None:
                default = self.add_lines(place, [each], sums, self._outside)
            now = _flat([default[row] for row, _ in each.taps])
            with self.fn.if_(below(place.line + each.number, self.word("row limit")), default=now) as inside:
                made = self.add_lines(place, [each], sums)
                inside.carry(*_flat([made[row] for row, _ in each.taps]))
            sums = _replace_rows(sums, each.taps, inside.results)
        return sums

    def add_lines(
        self, place: PixelPlace, work: Sequence[PixelLine], sums: Sums, instead: Value | None = None
    ) -> Sums:
        """Lines of x, tap by tap in turns; `instead`: what is everywhere in lines that are outside."""
        fn, r, sums = self.fn, self.r, [list(each) for each in sums]
        if r.unrolled:
            vectors = [self.vectors(place, each) if instead is None else lambda _: instead for each in work]
            for f, distance in enumerate(r.lane.distances):
                if f:
                    fn.keep_order()
                for each, vector in zip(work, vectors, strict=True):
                    for at, (row, tap) in enumerate(each.taps):
                        kept = each.held[at][f] if each.held and f < len(each.held[at]) else []
                        for mi in range(r.m):
                            offset = mi * r.m_step + tap * r.row_step + f * r.tap_step
                            weight = kept[mi] if kept else self._weight(each.w, offset, mi)
                            sums[row][mi] = self._with(weight, vector(distance), sums[row][mi])
            return sums
        for each in work:
            now = _flat([sums[row] for row, _ in each.taps])
            with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[each.w, *now]) as loop:
                w_at, *now = loop.carried
                shifted = self._load_shifted(place, each.x, loop.index)
                for at, value in enumerate(now):
                    offset = at % r.m * r.m_step + each.taps[at // r.m][1] * r.row_step
                    now[at] = self._with(self._weight(w_at, offset, at % r.m), shifted, value)
                loop.carry(w_at + r.tap_step, *now)
            sums = _replace_rows(sums, each.taps, loop.results[1:])
        return sums

    def vectors(self, place: PixelPlace, line: PixelLine) -> Callable[[int], Value]:
        """A function that gives the vector of a tap along a line, by its distance."""
        return self.reads.line(self.fn, line.x, place.edge.masks if place.edge else None)

    def _by_taps(self, place: PixelPlace, x: Value, w: Value, sums: Sums) -> Sums:
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

    def _tap_line(self, place: PixelPlace, x: Value, w: Value, flat: list[Value]) -> list[Value]:
        """The taps of one line of the window, for every row of the block."""
        fn, r = self.fn, self.r
        bases = [x]
        while len(bases) < len(flat) // r.m:
            bases.append(bases[-1] + place.x_line * r.window.step)
        if r.unrolled:
            lines = [self.reads.line(fn, base, place.edge.masks if place.edge else None) for base in bases]
            for f, distance in enumerate(r.lane.distances):
                if f:
                    fn.keep_order()  # what later taps read early would push sums out of their registers
                flat = self._tap([partial(line, distance) for line in lines], w + f * r.tap_step, flat)
            return flat
        with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[w, *flat]) as loop:
            w_at, *flat = loop.carried
            vectors = [partial(self._load_shifted, place, base, loop.index) for base in bases]
            loop.carry(w_at + r.tap_step, *self._tap(vectors, w_at, flat))
        return loop.results[1:]

    def _tap(self, vectors: Sequence[Callable[[], Value]], w: Value, flat: list[Value]) -> list[Value]:
        """One tap for every row of the block: whichever are fewer, weights or vectors, are held in registers."""
        r, flat = self.r, list(flat)
        if r.m <= len(vectors):
            weights = [self._weight(w, mi * r.m_step, mi) for mi in range(r.m)]
            for row, vector in enumerate(vectors):
                here = vector()
                for mi, weight in enumerate(weights):
                    flat[row * r.m + mi] = self._with(weight, here, flat[row * r.m + mi])
        else:
            held = [vector() for vector in vectors]
            for mi in range(r.m):
                weight = self._weight(w, mi * r.m_step, mi)
                for row, here in enumerate(held):
                    flat[row * r.m + mi] = self._with(weight, here, flat[row * r.m + mi])
        return flat

    def _load_shifted(self, place: PixelPlace, x: Value, distance: Value) -> Value:
        """The vector of a tap at a distance that is known at run time."""
        masks = self.masks(place.edge.position + distance) if place.edge else None
        return self.reads.line(self.fn, x + distance * self.r.array.bytes, masks)(0)

    # ---- weights, and what becomes of the sums --------------------------------------------------------------

    def _with(self, weight: Value | None, x: Value, total: Value) -> Value:
        """A sum with one term more, or the larger one of two; a NaN stays."""
        if weight is None:
            return greatest(x, total)
        if (unit := self.r.unit) is not None:
            return dot(self.fn, total, unsigned_bytes(x, unit), signed_bytes(weight, unit), unit)
        return fma(weight, x, total)

    def _weight(self, w: Value, offset: int, mi: int) -> Value | None:
        return None if self.r.maximum else self._splat(w, offset, mi)

    def _weights(self, w: Value) -> Held:
        """The weights of a window that are held, [tap][m], in all lanes."""
        r = self.r
        places = [divmod(number, r.lane.taps) for number in range(r.held)]
        offsets = [row * r.row_step + tap * r.tap_step for row, tap in places]
        return [[self._splat(w, mi * r.m_step + at, mi) for mi in range(r.m)] for at in offsets]

    def _splat(self, w: Value, offset: int, mi: int) -> Value:
        """A weight of row `mi` of A in all lanes, less what it counts from."""
        made = splat(self.fn.load(w, self.r.work, offset), lanes=self.lanes)
        return made - self._w_zeros[mi] if self.r.w_zero else made

    def store_mask(self, place: PixelPlace, row: int) -> tuple[Value | None, Value | None]:
        """The mask of what is stored of a row of a block, and whether all is; None where that is known."""
        return (place.edge.stored, place.edge.whole) if place.edge else (None, None)

    def _finish(self, place: PixelPlace, row: int, sums: Sequence[Value]) -> None:
        y, residual = place.y + place.y_step * row, place.residual + place.y_step * row
        mask, whole_row = self.store_mask(place, row)
        for mi, value in enumerate(sums):
            at = self.word("y m") * mi if mi else 0
            bias = self._biases[mi] if self.r.bias and self.r.unit is None else None
            if self.r.counted:
                made = self.finish_integers(value, bias, self._floats[mi], (residual, at, mask))
            else:
                made = self.finish(value, bias, residual, at, mask)
            if self.r.signs and whole_row is not None:
                # Masked stores are slow without registers for masks, and most edges are those of x, not of y.
                with self.fn.if_(whole_row) as whole:
                    self.fn.store(made, y, at)
                with whole.otherwise():
                    self.fn.store(made, y, at, mask=mask)
            else:
                self.fn.store(made, y, at, mask=mask)


def _flat(sums: Sums) -> list[Value]:
    return [each for row in sums for each in row]


def _rows(flat: Sequence[Value], m: int) -> Sums:
    return [list(flat[at : at + m]) for at in range(0, len(flat), m)]


def _replace_rows(sums: Sums, taps: Sequence[tuple[int, int]], flat: Sequence[Value]) -> Sums:
    made = list(sums)
    for (row, _), each in zip(taps, _rows(flat, len(sums[0])), strict=True):
        made[row] = each
    return made


__all__ = ["Edge", "PixelBlocks", "PixelPlace"]
