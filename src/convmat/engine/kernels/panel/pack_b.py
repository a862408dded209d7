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
from dataclasses import dataclass

from ....product import View
from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import (
    Type,
    Value,
    below,
    const,
    i1,
    i32,
    i64,
    less,
    minimum,
    ptr,
    select,
    shuffle,
    splat,
    trunc,
    udiv,
)
from ...ir.shuffles import widen
from ..tile import gather_at

OUTSIDE = -(1 << 30)
"""A position that is outside every array the jit takes, and stays so when a tap is added."""

LARGEST_EXTENT = 1 << 29
"""The longest axis whose positions are compared in 32 bits."""

_SPARE = 64
"""Steps that lanes may go beyond the last of an index."""


def too_far(view: View) -> str | None:
    """The sentence why positions along an axis of x cannot be compared in 32 bits, if they cannot."""
    indices = view.extents
    for c in view.coordinates:
        reach = abs(c.offset) + sum(abs(by) * (indices[name] + _SPARE) for name, by in c.terms)
        if c.extent > LARGEST_EXTENT or reach > 2 * LARGEST_EXTENT:
            return f"counts positions in 32 bits: no axis over {LARGEST_EXTENT}, its padding included"
    return None


FETCH = 2
"""How many panels ahead of the packer its lines are asked for."""

MOST_NEAR = 8
"""Taps along the lane axis are written out one by one up to this many; more are a loop."""


@dataclass(frozen=True)
class Check:
    """An array axis on which the View may leave its array: offset + sum of coefficient * index, in [0, limit)."""

    axis: int
    terms: tuple[tuple[str, int], ...]
    offset: int

    def by(self, name: str) -> int:
        """How far one step of an index goes along the axis."""
        return dict(self.terms).get(name, 0)


@dataclass(frozen=True)
class Walk:
    """A View as the packer walks it: run and tap indices by name, and what has to be checked.

    `coefficient` is how many elements apart neighbours along the lane index are. `near` is the tap index that moves
    along the same array axis, if it takes few values: `nears` of them, `apart` elements apart, which share cache lines.
    `moved`: the checked axes along which indices move that are neither run nor tap; who fixes those says how far.
    """

    run: tuple[str, ...]
    taps: tuple[str, ...]
    checks: tuple[Check, ...]
    moved: tuple[int, ...]
    coefficient: int
    near: str = ""
    nears: int = 1
    apart: int = 0

    @classmethod
    def of(cls, view: View, run: Sequence[str], taps: Sequence[str]) -> Walk:
        """The walk of a View over an array whose last axis is contiguous; all axes that may leave it are checked.

        If one may leave it, so may others that windows slide along, at other extents: they are checked too.
        """
        groups, fixed = {i.name for i in view.batch}, {i.name for i in view.indices} - {*run, *taps}
        checks: tuple[Check, ...] = ()
        if view.risky:
            checks = tuple(
                Check(a, c.terms, c.offset)
                for a, c in enumerate(view.coordinates)
                if a in view.risky or (len(c.terms) > 1 and not groups & dict(c.terms).keys())
            )
        moved = tuple(c.axis for c in checks if any(c.by(name) for name in fixed))
        last = dict(view.coordinates[-1].terms)
        coefficient = last.pop(run[-1])
        # The innermost of the sum alone is whole wherever the sum is cut.
        inner = next((name for name in reversed(taps) if view.extents[name] > 1), "")
        beside = [name for name in last if name == inner and view.extents[name] <= MOST_NEAR]
        if len(last) != 1 or not beside:
            return cls(tuple(run), tuple(taps), checks, moved, coefficient)
        (near,) = beside
        return cls(tuple(run), tuple(taps), checks, moved, coefficient, near, view.extents[near], last[near])

    @property
    def plain(self) -> bool:
        """Whether a panel's lines lie in the array as they are: one tap, nothing outside, neighbours side by side."""
        return len(self.taps) == 1 and not self.checks and self.coefficient == 1

    @property
    def lane(self) -> str:
        """The index along which lanes lie."""
        return self.run[-1]

    def arguments(self) -> list[str]:
        """The words a kernel needs: byte steps and extents of the indices, limits of the checked axes."""
        indices = (*self.run, *self.taps)
        words = [f"{what} {name}" for what in ("step", "extent") for name in indices]
        return [*words, *(f"limit {c.axis}" for c in self.checks)]


class Packer:
    """Writes the function `pack(x, out, start, count, box, args, at..)` of a walk.

    x: the array, moved to where all indices are 0 (which may be outside it) but those that the caller fixes. start,
    count: the run's piece, count at most a line of the panel. box: (first, count) of each tap index. at: how far the
    fixed indices move along each of the walk's `moved` axes. Elements of type `source` become `work`.
    """

    def __init__(
        self,
        walk: Walk,
        arguments: Arguments,
        source: Type,
        work: Type,
        lanes: int,
        pitch: int,
        *,
        signed: bool = True,
    ) -> None:
        self.walk, self.arguments = walk, arguments
        self.source, self.work, self.lanes, self.pitch = source, work, lanes, pitch
        self.signed = signed
        self._own: Value
        self.fetch = FETCH * pitch // work.bytes * source.bytes

    def function(self, module: Module, name: str = "pack") -> Function:
        """Emits it."""
        fn = module.function(name, _parameters(self.walk))
        x, out, start, count, box, args, *at = fn.arguments
        self.fn, self._fixed = fn, dict(zip(self.walk.moved, at, strict=True))
        self._word: Callable[[str], Value] = lambda name: self.arguments.load(fn, args, name)
        self._steps = {name: self._word(f"step {name}") for name in (*self.walk.run, *self.walk.taps)}
        self._limits = {c.axis: trunc(self._word(f"limit {c.axis}"), to=i32) for c in self.walk.checks}
        self._firsts = [fn.load(box, i64, 16 * i) for i in range(len(self.walk.taps))]
        self._counts = [fn.load(box, i64, 16 * i + 8) for i in range(len(self.walk.taps))]
        self._moves = self._tap_moves()
        with fn.loop(0, count, self.lanes) as chunk:
            done = chunk.index
            self._chunk(x, out + done * self.work.bytes, start + done, minimum(count - done, self.lanes))
        return fn

    def _tap_moves(self) -> dict[str, Value]:
        """By how many bytes one step of each tap index moves in `out`."""
        moves, move = {}, const(i64, self.pitch)
        for name, count in zip(reversed(self.walk.taps), reversed(self._counts), strict=True):
            moves[name] = move
            move = move * count
        return moves

    def _chunk(self, x: Value, out: Value, start: Value, count: Value) -> None:
        """One vector's worth of the run for every tap, line by line of the run."""
        fn, walk = self.fn, self.walk
        width = self._word(f"extent {walk.lane}")
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
            extent = self._word(f"extent {name}")
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
        return [self._own] if step == 1 else [self._between(first, stop, v * self.lanes) for v in range(step)]

    def _between(self, first: Value, stop: Value, start: int) -> Value:
        """The mask of lanes start, start + 1, .. that lie in [first, stop)."""
        lanes = const(i32.x(self.lanes), range(start, start + self.lanes))
        low, high = (splat(trunc(bound, to=i32), lanes=self.lanes) for bound in (first, stop))
        return (lanes >= low) & (lanes < high)

    @property
    def _by_vectors(self) -> bool:
        """Whether lanes are read as one or two whole vectors; else each lane by its address."""
        return self.walk.coefficient in (1, 2)

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
        lane_check = next((c for c in walk.checks if c.by(walk.lane)), None)
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
        self._nest(order, source, out, base, lanes, segment, lane_check, set(others), later)

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

    def _nest(
        self,
        order: list[str],
        source: Value,
        out: Value,
        base: dict[int, Value],
        lanes: list[Value] | None,
        masks: list[Value],
        lane_check: Check | None,
        open_: set[str],
        later: bool,
        nears: list[list[Value]] | None = None,
    ) -> None:
        """The loops over `order`; `open_` are the tap indices not yet fixed, `nears` the masks of each near tap."""
        fn, walk = self.fn, self.walk
        base_masks = masks
        for axis in list(base):
            check = next(c for c in self.walk.checks if c.axis == axis)
            if not any(check.by(name) for name in open_):
                inside = below(trunc(base.pop(axis), to=i32), self._limits[axis])
                masks = [select(splat(inside, lanes=self.lanes), m, const(m.type, 0)) for m in masks]
        if lanes is not None and lane_check is not None and not any(lane_check.by(n) for n in open_):
            limit = splat(self._limits[lane_check.axis], lanes=self.lanes)
            step = lane_check.by(walk.near) if walk.near else 0
            near = [[p + i * step for p in lanes] for i in range(walk.nears)]
            inside_ = [[below(p, limit) for p in each] for each in near]
            nears = [[m & i for m, i in zip(masks, each, strict=True)] for each in inside_]
            lanes = None
        elif nears is not None and base_masks is not masks:
            nears = [[m & n for m, n in zip(masks, each, strict=True)] for each in nears]
        if not order:
            for i, each in enumerate(nears or [masks] * walk.nears):
                move = self._moves[walk.near] * i if i else 0
                self._move(source + i * walk.apart * self.source.bytes, out + move, each, later)
            return
        name, rest = order[0], order[1:]
        count = self._counts[self.walk.taps.index(name)]
        touched = [axis for axis in base if self._check(axis).by(name)]
        in_lanes = lanes is not None and lane_check is not None and lane_check.by(name) != 0
        carried = [source, out, *(base[a] for a in touched), *((lanes or []) if in_lanes else [])]
        with fn.loop(0, count, carried=carried, at_least_once=True) as loop:
            src, dst, *more = loop.carried
            inner = {**base, **dict(zip(touched, more, strict=False))}
            moved = more[len(touched) :] if in_lanes else lanes
            self._nest(rest, src, dst, inner, moved, masks, lane_check, open_ - {name}, later, nears)
            ahead = [v + self._check(a).by(name) for a, v in zip(touched, more, strict=False)]
            if in_lanes:
                assert lane_check is not None
                ahead += [p + lane_check.by(name) for p in more[len(touched) :]]
            loop.carry(src + self._steps[name], dst + self._moves[name], *ahead)

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
        elif step == 2:
            halves = [fn.load(source, vector, v * vector.bytes, mask=m) for v, m in enumerate(masks)]
            made = shuffle(*halves, indices=[2 * i for i in range(self.lanes)])
        else:
            places = const(i64.x(self.lanes), [i * step * self.source.bytes for i in range(self.lanes)])
            made = gather_at(fn, source, places, vector, masks[0])
        made = widen(made, self.work, signed=self.signed)
        if later:
            # Lanes of this line only: the others keep what earlier lines gave them.
            made = select(self._own, made, fn.load(out, self.work.x(self.lanes)))
        fn.store(made, out)


class PixelPacker:
    """Writes `pack(x, out, start, count, box, args, at..)` for arrays whose channels come last: lanes lie along k.

        out[j, k] = V[k, column j]        start <= j < start + count, flattened over the taps; k over a box of the run

    Here the taps are the columns and the run is k with the channels last: each filter position of a pixel is one run of
    channels, copied, or zero where the pixel's window leaves the array. Lines of `out` are `pitch` bytes apart.
    """

    def __init__(
        self,
        walk: Walk,
        arguments: Arguments,
        source: Type,
        work: Type,
        lanes: int,
        pitch: int,
        *,
        signed: bool = True,
    ) -> None:
        self.walk, self.arguments = walk, arguments
        self.source, self.work, self.lanes, self.pitch = source, work, lanes, pitch
        self.signed = signed

    def function(self, module: Module, name: str = "pack") -> Function:
        """Emits it."""
        fn = module.function(name, _parameters(self.walk))
        x, out, start, count, box, args, *at = fn.arguments
        self.fn, self._fixed = fn, dict(zip(self.walk.moved, at, strict=True))
        self._word: Callable[[str], Value] = lambda name: self.arguments.load(fn, args, name)
        self._box = [
            (fn.load(box, i64, 16 * i), fn.load(box, i64, 16 * i + 8)) for i in range(len(self.walk.run))
        ]
        with fn.loop(0, count, carried=[out]) as pixel:
            (line,) = pixel.carried
            values, rest = {}, start + pixel.index
            for tap in reversed(self.walk.taps[1:]):
                extent = self._word(f"extent {tap}")
                above = udiv(rest, extent)
                values[tap], rest = rest - above * extent, above
            values[self.walk.taps[0]] = rest
            source = x
            for tap, value in values.items():
                source = source + value * self._word(f"step {tap}")
            positions = {}
            for check in self.walk.checks:
                position = self._fixed.get(check.axis, const(i64, 0)) + check.offset
                for tap, value in values.items():
                    if check.by(tap):
                        position = position + value * check.by(tap)
                positions[check.axis] = position
            self._nest(0, source, line, positions, const(i1, 1))
            pixel.carry(line + self.pitch)
        return fn

    def _nest(
        self, depth: int, source: Value, out: Value, positions: dict[int, Value], alive: Value
    ) -> Value:
        """Loops over the run's outer indices; returns where the next run of channels goes."""
        fn, walk = self.fn, self.walk
        name = walk.run[depth]
        first, count = self._box[depth]
        source = source + first * self._word(f"step {name}")
        moved = {
            c.axis: positions[c.axis] + first * c.by(name) if c.by(name) else positions[c.axis]
            for c in walk.checks
        }
        if depth == len(walk.run) - 1:
            return self._copy(source, out, count, alive)
        step, after = self._word(f"step {name}"), walk.run[depth + 1 :]
        closing = [c for c in walk.checks if c.by(name) and not any(c.by(n) for n in after)]
        axes = list(moved)
        with fn.loop(0, count, carried=[source, out, *moved.values()], at_least_once=True) as loop:
            src, dst, *now = loop.carried
            here = dict(zip(axes, now, strict=True))
            inside = alive
            for check in closing:
                inside = inside & below(here[check.axis], self._word(f"limit {check.axis}"))
            end = self._nest(depth + 1, src, dst, here, inside)
            ahead = [here[c.axis] + c.by(name) if c.by(name) else here[c.axis] for c in walk.checks]
            loop.carry(src + step, end, *ahead)
        return loop.results[1]

    def _copy(self, source: Value, out: Value, count: Value, alive: Value) -> Value:
        """`count` channels, or zeros; whole vectors are written, what is beyond the run is written again later."""
        fn, work = self.fn, self.work.x(self.lanes)
        with fn.if_(alive) as there, fn.loop(0, count, self.lanes) as chunk:
            at = chunk.index
            mask = prefix_mask(self.lanes, count - at)
            made = fn.load(source + at * self.source.bytes, self.source.x(self.lanes), mask=mask)
            fn.store(widen(made, self.work, signed=self.signed), out + at * work.scalar.bytes)
        with there.otherwise(), fn.loop(0, count, self.lanes) as chunk:
            fn.store(const(work, 0.0), out + chunk.index * work.scalar.bytes)
        return out + count * work.scalar.bytes


def _parameters(walk: Walk) -> dict[str, Type]:
    """Of the function that packs a walk."""
    named: dict[str, Type] = {"x": ptr, "out": ptr, "start": i64, "count": i64, "box": ptr, "args": ptr}
    return named | {f"at{axis}": i64 for axis in walk.moved}


__all__ = ["LARGEST_EXTENT", "Check", "Packer", "PixelPacker", "Walk", "too_far"]
