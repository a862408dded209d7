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
        bias = splat(fn.load(plane.bias, r.work), lanes=r.lanes) if r.bias else None
        with fn.loop(first, stop) as row:
            for number, axis in enumerate(r.rows):
                line = row.index * len(r.rows) + number
                with fn.if_(less(line, self.word("lines"))):
                    self._write_line(plane, axis, row.index + self.word("row offset"), line, bias)

    def _write_line(self, plane: Plane, axis: PhaseAxis, top: Value, line: Value, bias: Value | None) -> None:
        """A line of y, chunk by chunk; `top` is the line of x at the first position of all."""
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
        """A vector for each phase of the columns; `masks`: of each distance what lies inside x."""
        fn, r = self.fn, self.r
        sums = [const(self.vector, 0.0) for _ in r.columns]
        for channel in range(r.channels):
            for position, w_at in axis.positions:
                at = x + self.word("x row") * position + self.word("x c") * channel
                w_line = w_at + channel * r.w_channel
                with fn.if_(below(top + position, self.word("row limit")), default=sums) as there:
                    there.carry(*self._add_line(plane, at, w_line, masks, sums))
                sums = there.results
        return sums

    def _add_line(
        self, plane: Plane, x: Value, w_line: int, masks: dict[int, Value] | None, sums: list[Value]
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
        for number, axis in enumerate(r.columns):
            for distance, w_at in axis.positions:
                weight = splat(widen(fn.load(plane.w, r.array, w_line + w_at), r.work), lanes=r.lanes)
                total = fma(weight, read[distance], made[number])
                made[number] = select(masks[distance], total, made[number]) if masks else total
        return made

    def _finish(
        self,
        plane: Plane,
        sums: list[Value],
        done: Value,
        moved: Value,
        bias: Value | None,
        left: Value | None,
    ) -> None:
        """Stores the phases woven, as far as there are columns."""
        r, n = self.r, self.r.lanes
        # Without a tap all are the same zeros.
        for number, value in enumerate(sums if sums[0].number == 0 else interleave(sums)):
            column = done + number * n
            mask = None if left is None else prefix_mask(n, left - column)
            at = moved + column * r.out.bytes
            self.fn.store(self.finish(value, bias, plane.residual, at, mask), plane.y, at, mask=mask)


def module(recipe: PhasesRecipe, attributes: str, fused: bool) -> Module:
    """The module with `task(args, index, thread)`."""
    made = Module(attributes, fused=fused)
    planes = Phases(recipe).function(made, "planes")
    task(made, recipe.arguments(), lambda fn, _, given: fn.call(planes.address, *given))
    return made


__all__ = ["Phases", "module"]
