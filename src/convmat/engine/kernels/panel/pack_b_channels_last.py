"""Packing a panel of B from arrays whose channels come last: lanes lie along k.

    out[j, k] = V[k, column j]        start <= j < start + count, flattened over the taps; k over a box of the run

Here the taps of the walk are the columns and its run is k with the channels last: each filter position of a pixel is
one run of channels, copied, or zero where the pixel's window leaves the array.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import Value, below, const, i1, i64, udiv
from ...ir.shuffles import widen
from .pack_b import Elements, pack_parameters
from .walk import Walk


class ChannelsLastBPacker:
    """Writes `pack(x, out, start, count, box, args, at..)`, whose parameters are those of `BPacker`'s.

    start, count: the columns; box: (first, count) of each index of k. Lines of `out` are `pitch` bytes apart.
    """

    def __init__(self, walk: Walk, arguments: Arguments, elements: Elements) -> None:
        self.walk, self.arguments = walk, arguments
        self.source, self.work, self.lanes = elements.source, elements.work, elements.lanes
        self.pitch, self.signed = elements.pitch, elements.signed

    def function(self, module: Module, name: str = "pack") -> Function:
        """Emits it."""
        fn = module.function(name, pack_parameters(self.walk))
        x, out, start, count, box, args, *at = fn.arguments
        self.fn, self._fixed = fn, dict(zip(self.walk.moved, at, strict=True))
        self._argument: Callable[[str], Value] = lambda name: self.arguments.load(fn, args, name)
        self._box = [
            (fn.load(box, i64, 16 * i), fn.load(box, i64, 16 * i + 8)) for i in range(len(self.walk.run))
        ]
        with fn.loop(0, count, carried=[out]) as pixel:
            (line,) = pixel.carried
            values, rest = {}, start + pixel.index
            for tap in reversed(self.walk.taps[1:]):
                extent = self._argument(f"extent {tap}")
                above = udiv(rest, extent)
                values[tap], rest = rest - above * extent, above
            values[self.walk.taps[0]] = rest
            source = x
            for tap, value in values.items():
                source = source + value * self._argument(f"step {tap}")
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
        source = source + first * self._argument(f"step {name}")
        moved = {
            c.axis: positions[c.axis] + first * c.by(name) if c.by(name) else positions[c.axis]
            for c in walk.checks
        }
        if depth == len(walk.run) - 1:
            return self._copy(source, out, count, alive)
        step, after = self._argument(f"step {name}"), walk.run[depth + 1 :]
        closing = [c for c in walk.checks if c.by(name) and not any(c.by(n) for n in after)]
        axes = list(moved)
        with fn.loop(0, count, carried=[source, out, *moved.values()], at_least_once=True) as loop:
            src, dst, *now = loop.carried
            here = dict(zip(axes, now, strict=True))
            inside = alive
            for check in closing:
                inside = inside & below(here[check.axis], self._argument(f"limit {check.axis}"))
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


__all__ = ["ChannelsLastBPacker"]
