"""Packing a panel of a View: what lies scattered in an array, in the order in which a tile reads it.

    out[tap, j] = V[tap, run j]        j < count; tap over a box of the tap indices; rows `pitch` bytes apart

A View's indices are told apart by what vectors run along. The **run** is flattened: its last index, the lane index, has
elements side by side in memory (or `step` apart), and a panel runs on across the ends of its lines: a vector then takes
its lanes from several lines, a masked load each. The **taps** are all others, one vector each.

Where the View reads outside its array it is zero: positions along the lane axis are compared as a vector, one for
each tap, and masked-off lanes are never read. So padding costs a comparison, and no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ....lazy_dataclass import dataclass
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import (
    Type,
    Value,
    below,
    const,
    i32,
    i64,
    less,
    maximum,
    minimum,
    ptr,
    select,
    splat,
    trunc,
    udiv,
)
from ...ir.shuffles import pick_every, transpose, widen
from ..effort import EVERY
from ..epilogue import gather_at
from .walk import Check, Walk

OUTSIDE = -(1 << 30)
"""A position that is outside every array the jit takes, and stays so when a tap is added."""

FETCH = 2
"""How many panels ahead of the packer its lines are asked for."""


@dataclass(frozen=True)
class Elements:
    """What a packer reads and writes: type `source` in the array, type `work` in vectors of `lanes` in the panel.

    `pitch`: bytes from one line of the panel to the next; of a copy an argument says it, `line`. `signed`: whether
    integers in the array are.
    """

    source: Type
    work: Type
    lanes: int
    pitch: int
    signed: bool = True
    line: str = ""


@dataclass(frozen=True)
class _Reached:
    """How far the loops over taps have come.

    source, out: addresses. positions: on each checked axis but the lane's that is not compared yet. lanes: of each lane
    along the lane axis, until that is compared. masks: of the lanes to read, `nears` of each near tap. free: the tap
    indices that no loop has fixed. later: whether lanes of an earlier line are there already.
    """

    source: Value
    out: Value
    positions: dict[int, Value]
    lanes: list[Value] | None
    masks: list[Value]
    free: frozenset[str]
    later: bool
    nears: list[list[Value]] | None = None


class BPacker:
    """Writes the function `pack(x, out, start, count, box, args, at..)` of a walk.

    x: the array, moved to where all indices are 0 (which may be outside it) but those that the caller fixes. start,
    count: the run's piece, count at most a line of the panel. box: (first, count) of each tap index. at: how far the
    fixed indices move along each of the walk's `moved` axes. Elements of type `source` become `work`.
    """

    def __init__(self, walk: Walk, arguments: Arguments, elements: Elements) -> None:
        self.walk, self.arguments = walk, arguments
        self.source, self.work, self.lanes = elements.source, elements.work, elements.lanes
        self.pitch, self.signed, self.line = elements.pitch, elements.signed, elements.line
        self.fetch = FETCH * self.pitch // self.work.bytes * self.source.bytes
        self._lane_check = next((c for c in walk.checks if c.by(walk.lane)), None)
        self._own: Value
        self._lanes_at: list[Value] = []

    def function(self, module: Module, name: str = "pack") -> Function:
        """Emits it."""
        fn = module.function(name, pack_parameters(self.walk))
        x, out, start, count, box, args, *at = fn.arguments
        self.fn, self._fixed = fn, dict(zip(self.walk.moved, at, strict=True))
        self._argument: Callable[[str], Value] = lambda name: self.arguments.load(fn, args, name)
        self._steps = {name: self._argument(f"step {name}") for name in (*self.walk.run, *self.walk.taps)}
        self._limits = {c.axis: trunc(self._argument(f"limit {c.axis}"), to=i32) for c in self.walk.checks}
        self._firsts = [fn.load(box, i64, 16 * i) for i in range(len(self.walk.taps))]
        self._counts = [fn.load(box, i64, 16 * i + 8) for i in range(len(self.walk.taps))]
        self._moves = self._tap_moves()
        with fn.loop(0, count, self.lanes) as chunk:
            done = chunk.index
            self._chunk(x, out + done * self.work.bytes, start + done, minimum(count - done, self.lanes))
        return fn

    def _tap_moves(self) -> dict[str, Value]:
        """Bytes by which one step of each tap index moves in `out`."""
        moves, move = {}, self._argument(self.line) if self.line else const(i64, self.pitch)
        for name, count in zip(reversed(self.walk.taps), reversed(self._counts), strict=True):
            moves[name] = move
            move = move * count
        return moves

    def _chunk(self, x: Value, out: Value, start: Value, count: Value) -> None:
        """One vector's worth of the run for every tap, line by line of the run."""
        fn, walk = self.fn, self.walk
        width = self._argument(f"extent {walk.lane}")
        line = udiv(start, width) if len(walk.run) > 1 else const(i64, 0)
        place = start - line * width
        with fn.repeat(carried=[const(i64, 0), place, line]) as segment:
            lane, place, line = segment.carried
            length = minimum(width - place, count - lane)
            source, positions = self._line(x, place - lane, line)
            mask = self._segment(lane, length)
            with fn.if_(lane > 0) as later:
                self._taps(source, out, positions, mask, place - lane, later=True)
            with later.otherwise():
                self._taps(source, out, positions, mask, place - lane, later=False)
            segment.carry(lane + length, const(i64, 0), line + 1)
            segment.again(less(lane + length, count))

    def _line(self, x: Value, place: Value, line: Value) -> tuple[Value, dict[int, Value]]:
        """The address of lane 0 on this line, and the position on each checked axis but the lane's, before taps."""
        walk = self.walk
        values: dict[str, Value] = {}
        for name in reversed(walk.run[1:-1]):
            extent = self._argument(f"extent {name}")
            above = udiv(line, extent)
            values[name], line = line - above * extent, above
        if len(walk.run) > 1:
            values[walk.run[0]] = line
        source = x + place * self._steps[walk.lane]
        for name, value in values.items():
            source = source + value * self._steps[name]
        positions = {}
        for check in walk.checks:
            if not check.by(walk.lane):
                position = self._fixed.get(check.axis, const(i64, 0)) + check.offset
                for name, value in values.items():
                    if check.by(name):
                        position = position + value * check.by(name)
                positions[check.axis] = position
        return source, positions

    def _segment(self, lane: Value, length: Value) -> list[Value]:
        """Which raw lanes of each of the `coefficient` vectors belong to lanes [lane, lane + length)."""
        step = self.walk.coefficient if self._by_vectors else 1
        first, stop = lane * step, (lane + length - 1) * step + 1
        self._own = self._between(lane, lane + length, 0)
        if self.walk.square:
            places = [minimum(maximum(lane, i), lane + (length - 1)) for i in range(self.lanes)]
            self._lanes_at = [each * self._steps[self.walk.lane] for each in places]
        return [self._own] if step == 1 else [self._between(first, stop, v * self.lanes) for v in range(step)]

    def _between(self, first: Value, stop: Value, start: int) -> Value:
        """The mask of lanes start, start + 1, .. that lie in [first, stop)."""
        lanes = const(i32.x(self.lanes), range(start, start + self.lanes))
        low, high = (splat(trunc(bound, to=i32), lanes=self.lanes) for bound in (first, stop))
        return (lanes >= low) & (lanes < high)

    @property
    def _by_vectors(self) -> bool:
        """Whether lanes are read as whole vectors, as many as they are elements apart; else each by its address."""
        return self.walk.coefficient <= EVERY

    def _taps(
        self,
        source: Value,
        out: Value,
        positions: dict[int, Value],
        segment: list[Value],
        place: Value,
        *,
        later: bool,
    ) -> None:
        """A loop for each tap index, those that are checked outermost, and a vector moved in the innermost.

        Near taps come last, written out: they read the same cache lines, which may be gone after a loop over channels
        whose planes lie a multiple of 4096 bytes apart.
        """
        walk = self.walk
        lane_check = self._lane_check
        others = [n for n in walk.taps if n != walk.near]
        checked = [n for n in others if any(c.by(n) for c in walk.checks)]
        order = checked + [n for n in others if n not in checked]
        lanes: list[Value] | None = None
        if lane_check is not None:
            lanes = self._positions(lane_check, segment, place)
        base = dict(positions)
        for i, name in enumerate(walk.taps):
            source = source + self._firsts[i] * self._steps[name]
            for check in walk.checks:
                if check.by(name):
                    move = self._firsts[i] * check.by(name)
                    if check is lane_check:
                        assert lanes is not None
                        lanes = [p + splat(trunc(move, to=i32), lanes=self.lanes) for p in lanes]
                    else:
                        base[check.axis] = base[check.axis] + move
        self._nest(order, _Reached(source, out, base, lanes, segment, frozenset(others), later))

    def _positions(self, check: Check, segment: list[Value], place: Value) -> list[Value]:
        """Along the lane axis, the position of each raw lane; outside for lanes of other lines."""
        by = check.by(self.walk.lane)
        first = splat(trunc(place * by + check.offset, to=i32), lanes=self.lanes)
        spread = 1 if self._by_vectors else by
        found = []
        for v, mask in enumerate(segment):
            raw = const(i32.x(self.lanes), [(v * self.lanes + i) * spread for i in range(self.lanes)])
            found.append(select(mask, first + raw, const(i32.x(self.lanes), OUTSIDE)))
        return found

    def _nest(self, order: Sequence[str], at: _Reached) -> None:
        """The loops over the tap indices of `order`, and in the innermost a vector moved for each near tap."""
        fn, walk = self.fn, self.walk
        at = self._compare(at)
        if not order and walk.square:
            self._move_squares(at)
            return
        if not order:
            for i, each in enumerate(at.nears or [at.masks] * walk.nears):
                move = self._moves[walk.near] * i if i else 0
                self._move(at.source + i * walk.apart * self.source.bytes, at.out + move, each, at.later)
            return
        name, rest = order[0], order[1:]
        count = self._counts[walk.taps.index(name)]
        touched = [axis for axis in at.positions if self._check(axis).by(name)]
        by = self._lane_check.by(name) if self._lane_check else 0
        moving = at.lanes if at.lanes is not None and by else []
        carried = [at.source, at.out, *(at.positions[axis] for axis in touched), *moving]
        with fn.loop(0, count, carried=carried, at_least_once=True) as loop:
            source, out, *more = loop.carried
            here, lanes = more[: len(touched)], more[len(touched) :]
            inner = replace(
                at,
                source=source,
                out=out,
                positions={**at.positions, **dict(zip(touched, here, strict=True))},
                lanes=lanes if moving else at.lanes,
                free=at.free - {name},
            )
            self._nest(rest, inner)
            ahead = [v + self._check(a).by(name) for a, v in zip(touched, here, strict=True)]
            ahead += [p + by for p in lanes]
            loop.carry(source + self._steps[name], out + self._moves[name], *ahead)

    def _compare(self, at: _Reached) -> _Reached:
        """Masks off what lies outside along every axis whose position no further loop moves."""
        masks, positions, lanes, nears = at.masks, dict(at.positions), at.lanes, at.nears
        for axis in at.positions:
            if not any(self._check(axis).by(name) for name in at.free):
                inside = below(trunc(positions.pop(axis), to=i32), self._limits[axis])
                masks = [select(splat(inside, lanes=self.lanes), m, const(m.type, 0)) for m in masks]
        check = self._lane_check
        if lanes is not None and check is not None and not any(check.by(name) for name in at.free):
            limit = splat(self._limits[check.axis], lanes=self.lanes)
            step = check.by(self.walk.near) if self.walk.near else 0
            near = [[p + i * step for p in lanes] for i in range(self.walk.nears)]
            inside_ = [[below(p, limit) for p in each] for each in near]
            nears = [[m & i for m, i in zip(masks, each, strict=True)] for each in inside_]
            lanes = None
        elif nears is not None and masks is not at.masks:
            nears = [[m & n for m, n in zip(masks, each, strict=True)] for each in nears]
        return replace(at, masks=masks, positions=positions, lanes=lanes, nears=nears)

    def _move_squares(self, at: _Reached) -> None:
        """All near taps of a vector: its lanes' taps are read side by side, and transposed.

        Lanes that are not of this line are read where its nearest one is, and left out.
        """
        fn, n, item = self.fn, self.lanes, self.source.bytes
        kept = None if not at.later else self.work.x(n)
        for first in range(0, self.walk.nears, n):
            rows = [fn.load(at.source + where, self.source.x(n), first * item) for where in self._lanes_at]
            columns = transpose([widen(row, self.work, signed=self.signed) for row in rows])
            for tap, made in enumerate(columns, first):
                to = at.out + self._moves[self.walk.near] * tap if tap else at.out
                other = const(made.type, 0) if kept is None else fn.load(to, kept)
                fn.store(select(self._own, made, other), to)

    def _check(self, axis: int) -> Check:
        return next(c for c in self.walk.checks if c.axis == axis)

    def _move(self, source: Value, out: Value, masks: list[Value], later: bool) -> None:
        """One vector of `out`; lanes that a mask leaves out are zero, or what an earlier line put there."""
        fn, vector = self.fn, self.source.x(self.lanes)
        step = self.walk.coefficient
        if step == 1:
            made = fn.load(source, vector, mask=masks[0])
            if not later and self.fetch:
                fn.prefetch(source, self.fetch)
        elif self._by_vectors:
            loaded = [fn.load(source, vector, v * vector.bytes, mask=m) for v, m in enumerate(masks)]
            made = pick_every(loaded, step)
        else:
            places = const(i64.x(self.lanes), [i * step * self.source.bytes for i in range(self.lanes)])
            made = gather_at(fn, source, places, vector, masks[0])
        made = widen(made, self.work, signed=self.signed)
        if later:
            # Lanes of this line only: the others keep what earlier lines gave them.
            made = select(self._own, made, fn.load(out, self.work.x(self.lanes)))
        fn.store(made, out)


def pack_parameters(walk: Walk) -> dict[str, Type]:
    """Parameters of the function that packs a walk."""
    named: dict[str, Type] = {"x": ptr, "out": ptr, "start": i64, "count": i64, "box": ptr, "args": ptr}
    return named | {f"at{axis}": i64 for axis in walk.moved}


__all__ = ["BPacker", "Elements", "pack_parameters"]
