"""The loops of a panel kernel with fused packing: a task's panels in groups that stay in a second-level cache.

    for group of panels:
        for part of k:
            for panel:                             the first tile reads x and writes the panel
            for further block of A, for panel:     from the panel; meanwhile what the first tiles read next is asked for

x is read once, in lines that lie a channel apart, most on pages of their own: hardware foresees none of them. From
beyond the second-level cache they take longer than the first tiles have, and these wait for them; the other tiles have
time. Each asks for one vector of a panel, for every second k: those of the second block of A for the first vector of
even ones, and so on.
"""

from __future__ import annotations

from dataclasses import replace

from ...ir.instructions import Value, below, const, equal, i64, minimum, ptr, select, udiv
from ...job import WORD
from ..tile import ASKED_EVERY
from .task import KPart, Task, part_place


def loop_over_groups(t: Task, first: Value, panels: Value, parts: Value) -> None:
    """All parts of a task's panels, `first` being the first of them."""
    r, fn = t.recipe, t.fn
    most = t.argument("group")
    with fn.loop(0, panels, most) as group:
        start = first + group.index
        behind = panels - group.index
        count = minimum(behind, most)
        t.write_places_of(start, count)
        boxes = t.argument("boxes", ptr)
        with fn.loop(0, parts, carried=[boxes]) as each:
            (box,) = each.carried
            k, depth = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
            part = KPart(
                room=depth * r.pitch,
                place=part_place(each.index, parts),
                a=t.bases["a"],
                block_step=t.argument("block step"),
                start=k,
                depth=depth,
                first=start * r.nr,
                panels=count,
                end=t.argument("columns"),
            )
            with fn.loop(0, count) as panel:
                _first_tile(t, part, panel.index, box)
            is_last = equal(each.index + 1, parts)
            following = replace(
                part,
                start=fn.load(select(is_last, boxes, box + r.box_bytes), i64),
                first=select(is_last, part.first + count * r.nr, part.first),
                panels=select(is_last, minimum(behind - count, most), count),
            )
            _other_tiles(t, part, following)
            each.carry(box + r.box_bytes)


def _first_tile(t: Task, part: KPart, panel: Value, box: Value) -> None:
    """Packs a panel and multiplies it by the task's first block of A: at once where x has it in one line."""
    r, fn = t.recipe, t.fn
    at = part.first + panel * r.nr
    count = minimum(part.end - at, r.nr)
    source, left = _source(t, part.start, at)
    with fn.if_(equal(minimum(count, left), r.nr)) as whole:
        firsts = t.micro.firsts
        t.tile(
            part,
            const(i64, 0),
            panel,
            lambda rows, _, arguments: fn.call(firsts[rows].address, source, _step(t), *arguments),
        )
    with whole.otherwise():
        with fn.if_(part.depth > 0):
            t.pack_b(t.scratch + panel * part.room, at, count, box)
        _tile(t, part, const(i64, 0), panel, (t.scratch, const(i64, 0)))


def _other_tiles(t: Task, part: KPart, following: KPart) -> None:
    """Multiplies the panels by the task's other blocks of A; `following`: the part whose panels are packed next."""
    r, fn = t.recipe, t.fn
    nothing = (t.scratch, const(i64, 0))
    with fn.loop(1, t.blocks) as block:
        turn, vectors = block.index - 1, r.nr // r.lanes
        asked = select(below(turn, const(i64, ASKED_EVERY * vectors)), following.panels, const(i64, 0))
        later = udiv(turn, vectors)
        with fn.loop(0, part.panels) as panel:
            with fn.if_(below(panel.index, asked), default=nothing) as asks:
                source, _ = _source(t, following.start + later, following.first + panel.index * r.nr)
                asks.carry(source + (turn - later * vectors) * (r.lanes * r.array.bytes), _step(t))
            _tile(t, part, block.index, panel.index, (*asks.results,))


def _tile(t: Task, part: KPart, block: Value, panel: Value, next_read: tuple[Value, ...]) -> None:
    """A tile of a packed panel, which asks for lines of x: from where on, and bytes to the next."""
    t.tile(
        part,
        block,
        panel,
        lambda rows, count, arguments: t.call_micro_kernel(rows, count, (*next_read, *arguments)),
    )


def _step(t: Task) -> Value:
    """Bytes from one k of x to the next."""
    return t.argument(f"step {t.recipe.walk.taps[0]}")


def _source(t: Task, k: Value, at: Value) -> tuple[Value, Value]:
    """Where the column `at` lies in x, from this k on; and how many columns follow on its line, itself included."""
    walk = t.recipe.walk
    source, rest, left = t.bases["x"] + k * _step(t), at, at
    for name in reversed(walk.run):
        extent = t.argument(f"extent {name}")
        above = udiv(rest, extent)
        place, rest = rest - above * extent, above
        source = source + place * t.argument(f"step {name}")
        left = extent - place if name == walk.lane else left
    return source, left


__all__ = ["loop_over_groups"]
