"""The kernel of phases: what a strided layer's input gradient is, where channels are few a group.

    y[p0*s0 + r0, p1*s1 + r1] = sum over c, f0, f1 of  w[c, taps of (r0, r1)] * x[c, p0 + .., p1 + ..]

Of a chunk of p1 a vector is summed for each r1, from the same vectors of x; woven together they are written as s1
vectors side by side. Lines outside x are branched around; chunks that reach outside have a mask for each distance:
what is outside is no term. Sums run over k in order, as every kernel's do.
"""

from __future__ import annotations

from ...ir.emitter import Module, prefix_mask
from ...ir.instructions import Value, below, const, fma, i32, less, less_equal, select, splat, trunc, udiv
from ...ir.shuffles import interleave, widen
from ..direct.planes import Plane, Walker, task
from .recipe import PhaseAxis, PhasesRecipe

WRITTEN_OUT = 4
"""Channels that are written out one by one; of more, there is a loop."""


class Phases(Walker):
    """Writes planes of y, a row of every phase at a time."""

    def __init__(self, recipe: PhasesRecipe) -> None:
        super().__init__(recipe)
        self.r = recipe
        self.vector = recipe.work.x(recipe.lanes)
        found = {position for axis in recipe.columns for position, _ in axis.positions}
        self.distances = sorted(found)

    def rows(self) -> Value:
        """Rows of the phase that has most."""
        return self.word("rows")

    def plane(self, plane: Plane, first: Value, stop: Value) -> None:
        """Rows [first, stop) of every phase."""
        fn, r = self.fn, self.r
        bias = [
            splat(fn.load(plane.bias, r.work, mi * r.bias_row), lanes=r.lanes) if r.bias else None
            for mi in range(r.m)
        ]
        with fn.loop(first, stop) as row:
            for number, axis in enumerate(r.rows):
                line = row.index * len(r.rows) + number
                with fn.if_(less(line, self.word("lines"))):
                    self._write_line(plane, axis, row.index + self.word("row offset"), line, bias)

    def _write_line(
        self, plane: Plane, axis: PhaseAxis, top: Value, line: Value, bias: list[Value | None]
    ) -> None:
        """A line of every row's y, chunk by chunk; `top` is the line of x at the first position of all."""
        fn, r, n, s = self.fn, self.r, self.r.lanes, len(self.r.columns)
        columns, limit, moved = self.word("columns"), self.word("lane limit"), line * self.word("y row")
        x = plane.x + top * self.word("x row") + self.word("lane offset") * r.array.bytes
        with fn.loop(0, udiv(columns + (n * s - 1), n * s)) as chunk:
            first = self.word("lane offset") + chunk.index * n
            done = chunk.index * (n * s)
            at = x + chunk.index * (n * r.array.bytes)
            inside = less_equal(done + n * s, columns)
            if self.distances:
                inside = inside & below(first + self.distances[0], limit)
                inside = inside & below(first + (self.distances[-1] + n - 1), limit)
            with fn.if_(inside) as whole:
                self._finish(plane, self._sum_chunk(plane, axis, top, at, None), done, moved, bias, None)
            with whole.otherwise():
                position = splat(trunc(first, to=i32), lanes=n)
                bound = splat(trunc(limit, to=i32), lanes=n)
                masks = {
                    distance: below(position + const(i32.x(n), range(distance, distance + n)), bound)
                    for distance in self.distances
                }
                self._finish(plane, self._sum_chunk(plane, axis, top, at, masks), done, moved, bias, columns)

    def _sum_chunk(
        self, plane: Plane, axis: PhaseAxis, top: Value, x: Value, masks: dict[int, Value] | None
    ) -> list[Value]:
        """Row by row of A a vector for each phase of the columns; `masks`: of each distance what lies inside x."""
        fn, r = self.fn, self.r
        sums = [const(self.vector, 0.0) for _ in range(r.m * len(r.columns))]
        if r.channels <= WRITTEN_OUT or not axis.positions:
            for channel in range(r.channels):
                moved = x + self.word("x c") * channel
                sums = self._add_channel(plane.w + channel * r.w_channel, axis, top, moved, masks, sums)
            return sums
        with fn.loop(0, r.channels, carried=[x, plane.w, *sums]) as loop:
            x_at, w_at, *now = loop.carried
            made = self._add_channel(w_at, axis, top, x_at, masks, now)
            loop.carry(x_at + self.word("x c"), w_at + r.w_channel, *made)
        return loop.results[2:]

    def _add_channel(
        self,
        w: Value,
        axis: PhaseAxis,
        top: Value,
        x: Value,
        masks: dict[int, Value] | None,
        sums: list[Value],
    ) -> list[Value]:
        """The sums and the terms of a channel; `w`: its weights."""
        for position, w_at in axis.positions:
            at = x + self.word("x row") * position
            with self.fn.if_(below(top + position, self.word("row limit")), default=sums) as there:
                there.carry(*self._add_line(w, at, w_at, masks, sums))
            sums = there.results
        return sums

    def _add_line(
        self, w: Value, x: Value, w_line: int, masks: dict[int, Value] | None, sums: list[Value]
    ) -> list[Value]:
        """The sums and the terms of one line of x."""
        fn, r, made = self.fn, self.r, list(sums)
        read = {
            distance: widen(
                fn.load(
                    x, r.array.x(r.lanes), distance * r.array.bytes, mask=masks[distance] if masks else None
                ),
                r.work,
            )
            for distance in self.distances
        }
        for mi in range(r.m):
            for number, axis in enumerate(r.columns, mi * len(r.columns)):
                for distance, w_at in axis.positions:
                    where = w_line + w_at + mi * r.w_row
                    weight = splat(widen(fn.load(w, r.array, where), r.work), lanes=r.lanes)
                    total = fma(weight, read[distance], made[number])
                    made[number] = select(masks[distance], total, made[number]) if masks else total
        return made

    def _finish(
        self,
        plane: Plane,
        sums: list[Value],
        done: Value,
        moved: Value,
        bias: list[Value | None],
        left: Value | None,
    ) -> None:
        """Stores the phases woven, as far as there are columns."""
        r, n, s = self.r, self.r.lanes, len(self.r.columns)
        for mi in range(r.m):
            row = sums[mi * s : (mi + 1) * s]
            # Without a tap all are the same zeros.
            for number, value in enumerate(row if row[0].number == 0 else interleave(row)):
                column = done + number * n
                mask = None if left is None else prefix_mask(n, left - column)
                at = moved + column * r.out.bytes + self.word("y m") * mi
                self.fn.store(self.finish(value, bias[mi], plane.residual, at, mask), plane.y, at, mask=mask)


def module(recipe: PhasesRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`."""
    made = Module(attributes, fused=fused)
    planes = Phases(recipe).function(made, "planes")
    task(made, recipe.arguments(), lambda fn, _, given: fn.call(planes.address, *given))
    return made


__all__ = ["Phases", "module"]
