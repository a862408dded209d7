"""The direct kernel where channels are contiguous (channels last) and groups have few: lanes lie along y's channels.

    y[p0, p1, o..o+lanes] = sum over k = (.., f0, f1, c) of  w[k, o..] * x[p0*s0 + f0*d0 + .., p1*s1 + .., o//m*C + c]

for groups of C channels of x and m of y: a vector holds the y of several groups, and each of their C channels of x is
spread over its group's lanes by a shuffle. Weights are packed [k][channel]: a tap is C vectors of them. A block is some
output rows high, some pixels wide and one vector of channels deep; each pixel of x that it needs is read once and goes
into every output whose window holds it, line by line, so every sum runs over k in order. A window's weights stay in
registers where there is room, else those of a line. Larger windows are walked by loops over taps, in blocks of one row.

Pixels whose windows leave x to the left or right are taken singly, with a branch around each tap outside; rows whose
windows leave it above or below, with a branch around each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ....lazy_dataclass import dataclass
from ....processes import kept_property
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import Type, Value, below, const, f32, fma, i32, i64, shuffle, sitofp, splat
from ...ir.shuffles import widen
from .pack_w import pack_vectors
from .pixels import COUNTED
from .planes import OuterIndex, Plane, RoundingAgain, Walker, WindowSteps, argument_names, split_range, task

MOST_TAPS, MOST_TERMS = 32, 96
"""Taps of a window that are written out, and times the channels of a group."""


@dataclass(frozen=True)
class ChannelsRecipe:
    """All that is constant in the kernel.

    `outer`, `terms`, `checks`: as in `pixels`. `rows`, `lane`: the windows along the axis before the last pixel
    axis (absent in 1-D) and along the last. `channels`: of y; `m`: those of a group; `c`: channels of x of a group.
    `w_lanes`: bytes in w from one group to the next and among its channels of y; `w_steps`: the extent of each index of
    k and its bytes in w. `counted`, `zero`, `scale`, `w_zero`, `w_signed`: as in `pixels`.
    """

    outer: tuple[tuple[str, tuple[int, ...]], ...]
    terms: tuple[OuterIndex, ...]
    checks: int
    rows: WindowSteps | None
    lane: WindowSteps
    channels: int
    m: int
    c: int
    w_lanes: tuple[int, int]
    w_steps: tuple[tuple[int, int], ...]
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    registers: int
    bias: bool
    residual: bool
    activation: Activation | None
    counted: bool
    zero: bool
    scale: bool
    again: RoundingAgain
    w_zero: bool
    w_signed: bool

    packed = True
    weights = "a"

    @kept_property
    def window(self) -> WindowSteps:
        """The window along the rows; in 1-D there is one row."""
        return self.rows or WindowSteps(1, 1, 1)

    @property
    def taps(self) -> int:
        """Number of filter taps in the window."""
        return self.window.taps * self.lane.taps

    @property
    def pitch(self) -> int:
        """Bytes of the packed weights of one tap: those of all channels, in whole vectors."""
        return -(-self.channels // self.lanes) * self.lanes * self.work.bytes

    @property
    def single(self) -> bool:
        """Whether a sum takes one window."""
        return all(term.extent == 1 for term in self.terms)

    @property
    def written_out(self) -> bool:
        """Whether a window's taps are."""
        return self.taps <= MOST_TAPS and self.taps * self.c <= MOST_TERMS

    @property
    def held(self) -> bool:
        """Whether all weights of a window stay in registers beside four sums."""
        return self.written_out and self.single and self.taps * self.c + 4 + 2 <= self.registers

    @property
    def fetched(self) -> bool:
        """Whether the weights of a line are loaded together; if not, each where it is used."""
        return self.c == 1 or self.lane.taps * self.c + 4 + 2 <= self.registers

    @kept_property
    def block(self) -> tuple[int, int]:
        """Output rows and pixels of a block."""
        if not self.written_out:
            return 1, 8
        kept = self.taps * self.c if self.held else 2 * self.lane.taps * self.c
        if self.rows is not None and self.window.taps > 1 and kept + 8 + 2 <= self.registers:
            return 2, 4
        wide = self.c > 1 and self.lane.taps * self.c + 8 + self.c <= self.registers
        return 1, 8 if wide else 4

    @property
    def widths(self) -> list[int]:
        """Pixels of a block, and of those that finish a row: sums of many terms are slow one by one."""
        return [n for n in (8, 4, 2, 1) if n in (self.block[1], 1) or (self.c > 1 and n < self.block[1])]

    def arguments(self) -> Arguments:
        """The words the kernel reads."""
        return Arguments(
            [*argument_names(self), "first column", "last column", "x column", "y column", *COUNTED]
        )


@dataclass(frozen=True)
class _OutputBlock:
    """Outputs that are computed together, from the one at `x`, `y`, `residual` on: rows by columns.

    `row`, `column`: positions of its first window in x, where lines or taps are checked; else None.
    """

    x: Value
    y: Value
    residual: Value
    row: Value | None
    column: Value | None
    rows: int
    columns: int


class ChannelsWriter(Walker):
    """Writes the function."""

    def __init__(self, recipe: ChannelsRecipe) -> None:
        super().__init__(recipe)
        self.r = recipe

    def _of(self, lanes: int, count: int) -> None:
        """Let vectors have so many lanes from here on, of which `count` are there."""
        self.lanes, self.vector = lanes, self.r.work.x(lanes)
        self.mask = None if count == lanes else prefix_mask(lanes, count)
        self.groups = None if count == lanes else count // self.r.m

    def rows(self) -> Value:
        """Emits how many rows a plane has."""
        return self.word("rows")

    def plane(self, plane: Plane, first: Value, stop: Value) -> None:
        """Rows that lie inside with all their lines in pairs, where blocks have two; the others singly."""
        self._positions = plane.positions
        self._zero = sitofp(self.word("zero"), to=self.r.work) if self.r.zero else None
        self._x_row, self._y_row = self.word("x row"), self.word("y row")
        self._x_column, self._y_column = self.word("x column"), self.word("y column")
        paired = low = first
        if self.r.block[0] > 1:
            low = self.word("first row")
            begin, end, _, _ = split_range(first, stop, low, self.word("last row"))
            with self.fn.loop(begin, end - 1, 2, carried=[begin]) as pairs:
                self._row(plane, pairs.index, 2)
                pairs.carry(pairs.index + 2)
            low, paired = begin, pairs.results[0]
        _, _, singles, single = split_range(first, stop, low, paired)
        with self.fn.loop(0, singles) as rest:
            self._row(plane, single(rest.index), 1)

    def _row(self, plane: Plane, row: Value, rows: int) -> None:
        """`rows` output rows, a vector of channels at a time."""
        fn, r = self.fn, self.r
        moved = row * self._y_row
        here = replace(
            plane,
            x=plane.x + row * (self._x_row * r.window.step),
            y=plane.y + moved,
            residual=plane.residual + moved,
        )
        whole, rest = divmod(r.channels, r.lanes)
        if whole:
            self._of(r.lanes, r.lanes)
            with fn.loop(0, whole, carried=[here.x, here.y, here.residual, here.w, here.bias]) as loop:
                x, y, residual, w, bias = loop.carried
                self._pixels(replace(here, x=x, y=y, residual=residual, w=w, bias=bias), row, rows)
                out = r.lanes * r.out.bytes
                loop.carry(
                    x + r.lanes // r.m * (r.c * r.array.bytes), y + out, residual + out,
                    w + r.lanes * r.work.bytes, bias + r.lanes * r.work.bytes,
                )  # fmt: skip
            x, y, residual, w, bias = loop.results
            here = replace(here, x=x, y=y, residual=residual, w=w, bias=bias)
        if rest:
            self._of(next(n for n in (4, 8, 16) if n >= rest or n == r.lanes), rest)
            self._pixels(here, row, rows)

    def _pixels(self, plane: Plane, row: Value, rows: int) -> None:
        """All pixels of the rows, of one vector of channels."""
        fn, r = self.fn, self.r
        self.w = plane.w
        kind = i32.x(self.lanes) if r.counted else self.vector
        self._bias = fn.load(plane.bias, kind, mask=self.mask) if r.bias else None
        self._floats = [
            fn.load(at, f32.x(self.lanes), mask=self.mask) for at in self.float_places(plane.bias)
        ]
        if r.w_zero:
            zeros = self.beside_bias(plane.bias, "w zero")
            self._w_zero = sitofp(fn.load(zeros, i32.x(self.lanes), mask=self.mask), to=r.work)
        self._held = [self._weight(plane.w, at) for at in range(r.taps * r.c)] if r.held else []
        at_row = row * r.window.step + self.word("row offset") if rows == 1 and r.rows is not None else None
        x_step, low, high = self._x_column * r.lane.step, self.word("first column"), self.word("last column")
        begin, end, edges, edge = split_range(const(i64, 0), self.word("columns"), low, high)
        for columns in r.widths:
            with fn.loop(begin, end - (columns - 1), columns, carried=[begin]) as loop:
                moved = loop.index * self._y_column
                at = plane.x + loop.index * x_step
                y, residual = plane.y + moved, plane.residual + moved
                self._block(_OutputBlock(at, y, residual, at_row, None, rows, columns))
                loop.carry(loop.index + columns)
            begin = loop.results[0]
        with fn.loop(0, edges) as loop:
            column = edge(loop.index)
            with fn.loop(0, rows) as under:
                moved = column * self._y_column + under.index * self._y_row
                at = plane.x + column * x_step + under.index * (self._x_row * r.window.step)
                at_column = column * r.lane.step + self.word("lane offset")
                y, residual = plane.y + moved, plane.residual + moved
                self._block(_OutputBlock(at, y, residual, at_row, at_column, 1, 1))

    def _block(self, block: _OutputBlock) -> None:
        r = self.r
        zeros: list[Value] = [const(self.vector, 0.0)] * (block.rows * block.columns)
        window = partial(self._lines if r.written_out else self._loops, block)
        sums = self.over_terms(block.x, self.w, self._positions, zeros, window)
        for at, value in enumerate(sums):
            row, column = divmod(at, block.columns)
            move = self._y_row * row + self._y_column * column
            if r.counted:
                residual = block.residual, move, self.mask
                made = self.finish_integers(value, self._bias, self._floats, residual)
            else:
                made = self.finish(value, self._bias, block.residual, move, self.mask)
            self.fn.store(made, block.y, move, mask=self.mask)

    def _lines(self, block: _OutputBlock, x: Value, w: Value, sums: list[Value]) -> list[Value]:
        """Line by line of x, with a branch around those outside."""
        fn, window, sums = self.fn, self.r.window, list(sums)
        for number in range((block.rows - 1) * window.step + window.reach + 1):
            meets = window.meets(range(block.rows), number)
            if meets:
                touched = [
                    row * block.columns + column for row, _ in meets for column in range(block.columns)
                ]
                if block.row is None:
                    sums = self._line(block, x, w, meets, sums)
                else:
                    there = below(block.row + number, self.word("row limit"))
                    with fn.if_(there, default=[sums[at] for at in touched]) as inside:
                        made = self._line(block, x, w, meets, sums)
                        inside.carry(*[made[at] for at in touched])
                    for at, value in zip(touched, inside.results, strict=True):
                        sums[at] = value
            x = x + self._x_row
        return sums

    def _line(
        self, block: _OutputBlock, x: Value, w: Value, meets: Sequence[tuple[int, int]], sums: list[Value]
    ) -> list[Value]:
        """One line of x: `meets` are the rows of the block that it goes into, each with its tap."""
        fn, r, sums = self.fn, self.r, list(sums)
        known: dict[int, Value] = {}

        def weight(tap: int, f: int, i: int) -> Value:
            at = (tap * r.lane.taps + f) * r.c + i
            return self._held[at] if self._held else known[at] if r.fetched else self._weight(w, at)

        if r.fetched and not self._held:
            line = r.lane.taps * r.c
            known = {
                at: self._weight(w, at) for _, tap in meets for at in range(tap * line, (tap + 1) * line)
            }
        for number in range((block.columns - 1) * r.lane.step + r.lane.reach + 1):
            columns = r.lane.meets(range(block.columns), number)
            if not columns:
                continue
            if block.column is not None:
                # One pixel and one tap.
                ((_, f),) = columns
                touched = [row for row, _ in meets]
                there = below(block.column + number, self.word("lane limit"))
                with fn.if_(there, default=[sums[row] for row in touched]) as inside:
                    made = [sums[row] for row in touched]
                    for i, vector in enumerate(self._pixel(x + self._x_column * number)):
                        made = [
                            fma(weight(tap, f, i), vector, s) for (_, tap), s in zip(meets, made, strict=True)
                        ]
                    inside.carry(*made)
                for row, value in zip(touched, inside.results, strict=True):
                    sums[row] = value
                continue
            for i, vector in enumerate(self._pixel(x + self._x_column * number)):
                for row, tap in meets:
                    for column, f in columns:
                        at = row * block.columns + column
                        sums[at] = fma(weight(tap, f, i), vector, sums[at])
        return sums

    def _loops(self, block: _OutputBlock, x: Value, w: Value, sums: list[Value]) -> list[Value]:
        """One row, tap by tap in loops: a tap's weights, then as many pixels as the block has columns."""
        fn, r, window = self.fn, self.r, self.r.window
        x_tap = self._x_column * r.lane.dilation

        def line(x: Value, w: Value, now: list[Value]) -> list[Value]:
            with fn.loop(0, r.lane.reach + 1, r.lane.dilation, carried=[x, w, *now]) as taps:
                x_at, w_at, *flat = taps.carried
                taps.carry(
                    x_at + x_tap, w_at + r.c * r.pitch, *self._tap(block, x_at, w_at, taps.index, flat)
                )
            return taps.results[2:]

        with fn.loop(0, window.reach + 1, window.dilation, carried=[x, w, *sums]) as lines:
            x_at, w_at, *now = lines.carried
            if block.row is None:
                now = line(x_at, w_at, now)
            else:
                there = below(block.row + lines.index, self.word("row limit"))
                with fn.if_(there, default=now) as inside:
                    inside.carry(*line(x_at, w_at, now))
                now = inside.results
            lines.carry(x_at + self._x_row * window.dilation, w_at + r.lane.taps * r.c * r.pitch, *now)
        return lines.results[2:]

    def _tap(
        self, block: _OutputBlock, x: Value, w: Value, distance: Value, flat: list[Value]
    ) -> list[Value]:
        fn, step = self.fn, self._x_column * self.r.lane.step

        def add_taps() -> list[Value]:
            weights = [self._weight(w, i) for i in range(self.r.c)]
            made = []
            for at, value in enumerate(flat):
                for weight, vector in zip(weights, self._pixel(x + step * at), strict=True):
                    value = fma(weight, vector, value)
                made.append(value)
            return made

        if block.column is None:
            return add_taps()
        with fn.if_(below(block.column + distance, self.word("lane limit")), default=flat) as inside:
            inside.carry(*add_taps())
        return inside.results

    def _pixel(self, x: Value) -> list[Value]:
        """A vector for each channel of a group, which has it in all lanes of its group."""
        r, m, c = self.r, self.r.m, self.r.c
        groups = self.lanes // m
        parts = 2 if c > m else 1
        apart = groups * c // parts
        vectors = []
        for part in range(parts):
            mask = None if self.groups is None else prefix_mask(apart, self.groups * c - part * apart)
            raw = self.fn.load(x, r.array.x(apart), part * apart * r.array.bytes, mask=mask)
            wide = widen(raw, r.work, signed=r.signed)
            vectors.append(wide if self._zero is None else wide - splat(self._zero, lanes=apart))
        if m == c == 1:
            return vectors
        return [
            shuffle(vectors[0], vectors[-1], indices=[lane // m * c + i for lane in range(self.lanes)])
            for i in range(c)
        ]

    def _weight(self, w: Value, at: int) -> Value:
        made = self.fn.load(w, self.vector, at * self.r.pitch)
        return made - self._w_zero if self.r.w_zero else made


def module(recipe: ChannelsRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)` and `weights` of the same kind."""
    made = Module(attributes, fused=fused)
    planes: Function = ChannelsWriter(recipe).function(made, "planes")
    task(made, recipe.arguments(), lambda fn, _, given: fn.call(planes.address, *given))
    pack_vectors(made, recipe)
    return made


__all__ = ["ChannelsRecipe", "ChannelsWriter", "module"]
