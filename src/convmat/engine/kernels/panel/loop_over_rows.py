"""The loops of a panel kernel whose taps share rows of x: see `shared_rows`."""

from __future__ import annotations

from dataclasses import replace

from ...ir.instructions import Value, const, i64, minimum, udiv
from .task import KPart, Task


def loop_over_rows(t: Task, part: KPart, box: Value) -> None:
    """One part of k: what it reads of x is copied for all the task's columns, then all tiles are multiplied."""
    r, fn = t.recipe, t.fn
    assert r.rows is not None
    columns = minimum(part.end - part.first, part.panels * r.nr)
    with fn.if_(part.depth > 0):
        t.pack_b(t.scratch, part.first, columns + t.argument("halo"), box)
    lines = replace(
        part, room=const(i64, r.nr * r.work.bytes), depth=udiv(part.depth, const(i64, r.rows.steps))
    )
    t.multiply(lines, (t.argument("copy pitch"), t.argument("row step")))


__all__ = ["loop_over_rows"]
