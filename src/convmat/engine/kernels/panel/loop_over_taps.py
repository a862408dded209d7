"""The loops of a panel kernel whose parts of k are taps of windows that often leave the array.

Of every panel a part takes the columns from the first to the last whose window has the tap inside x: its valid range.
Unfinished sums of all tiles are kept from the first part to the last; then all go through the epilogue.
"""

from __future__ import annotations

from ...ir.instructions import Value, const, equal, i64, ptr, select, udiv
from ...job import WORD
from .microkernel import by_height
from .recipe import Form
from .task import Task


def loop_over_taps(t: Task, first: Value, panels: Value, parts: Value) -> None:
    """All parts of a task's panels, `first` being the first of them."""
    r, fn = t.recipe, t.fn
    vector = r.work.x(r.lanes)
    with fn.loop(0, t.blocks * panels * r.tile_bytes, vector.bytes) as zero:
        fn.store(const(vector, 0.0), t.kept + zero.index)
    ranges = t.argument("valid ranges", ptr) + first * (2 * WORD)
    if r.in_place:
        _write_panels(t, first, panels)
    with fn.loop(0, parts, carried=[t.argument("boxes", ptr), ranges]) as part:
        box, ranges = part.carried
        start, depth = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
        room = depth * r.pitch if r.form is Form.COLUMNS else const(i64, r.nr * r.pitch)
        source = t.scratch
        if r.in_place:
            source = _part(t, box)
        else:
            _pack(t, first, panels, (box, ranges, room))
        with fn.loop(0, t.blocks) as block:
            number = t.first_block + block.index
            is_tail = equal(number, t.last_block)
            step = t.argument("block step")
            a = t.bases["a"] + number * step + start * t.padded_rows(is_tail) * r.work.bytes
            with fn.loop(0, panels) as panel:
                at, count = _range(t, ranges, panel.index)
                kept = _address_of_sums(t, block.index, panels, panel.index) + at * _line_bytes(t, is_tail)
                columns = source + panel.index * room
                apart: tuple[Value, ...] = ()
                if r.in_place:
                    moved = fn.load(t.scratch + panel.index * WORD, i64)
                    columns = source + (moved + at * t.argument(f"step {r.walk.lane}"))
                    apart = (t.argument(f"step {r.walk.taps[-1]}"),)
                arguments = (a, columns, depth, kept, *apart)
                with fn.if_(count > 0):
                    by_height(
                        fn, r.block_heights, is_tail, lambda rows: t.micro.call(fn, rows, count, arguments)
                    )
        part.carry(box + r.box_bytes, ranges + t.argument("panels") * (2 * WORD))
    _store(t, first, panels)


def _pack(t: Task, first: Value, panels: Value, part: tuple[Value, Value, Value]) -> None:
    """Packs all panels of a part: its box, its valid ranges, and the bytes from one panel to the next."""
    box, ranges, room = part
    with t.fn.loop(0, panels) as panel:
        at, count = _range(t, ranges, panel.index)
        target = t.scratch + panel.index * room
        at = at + t.columns(first + panel.index)[0]
        with t.fn.if_(count > 0):
            t.pack_b(target, at, count, box)


def _write_panels(t: Task, first: Value, panels: Value) -> None:
    """Writes where in x each panel begins, before taps, in bytes."""
    walk = t.recipe.walk
    with t.fn.loop(0, panels) as panel:
        rest, at = t.columns(first + panel.index)[0], const(i64, 0)
        for name in reversed(walk.run[1:]):
            extent = t.argument(f"extent {name}")
            above = udiv(rest, extent)
            at = at + (rest - above * extent) * t.argument(f"step {name}")
            rest = above
        at = at + rest * t.argument(f"step {walk.run[0]}")
        t.fn.store(at, t.scratch, panel.index * WORD)


def _part(t: Task, box: Value) -> Value:
    """Where in x the first k of a part is read."""
    at = t.bases["x"]
    for i, name in enumerate(t.recipe.walk.taps):
        at = at + t.fn.load(box, i64, 2 * WORD * i) * t.argument(f"step {name}")
    return at


def _range(t: Task, ranges: Value, panel: Value) -> tuple[Value, Value]:
    """A panel's valid range: its first column within the panel, and how many."""
    at, count = (t.fn.load(ranges + panel * (2 * WORD), i64, i * WORD) for i in range(2))
    return at, count


def _address_of_sums(t: Task, block: Value, panels: Value, panel: Value) -> Value:
    """Where the unfinished sums of a tile are."""
    return t.kept + (block * panels + panel) * t.recipe.tile_bytes


def _line_bytes(t: Task, is_tail: Value) -> Value:
    """Bytes of the sums of one column of C in a tile."""
    r = t.recipe
    tail, full = (const(i64, r.padded_rows(rows) * r.work.bytes) for rows in (r.tail, r.mr))
    return select(is_tail, tail, full)


def _store(t: Task, first: Value, panels: Value) -> None:
    """Finishes and stores all that is kept."""
    r, fn = t.recipe, t.fn
    line, beside, down, between = t.steps()
    with fn.loop(0, t.blocks) as block:
        number = t.first_block + block.index
        row = number * r.mr
        above = t.row_offset(row, down)
        with fn.loop(0, panels) as panel:
            at, count = t.columns(first + panel.index)
            c_at = above + at * beside
            kept = _address_of_sums(t, block.index, panels, panel.index)
            arguments = (kept, *t.target(c_at, row, line, count, panel.index), *between)
            finishes, is_tail = t.micro.finishes, equal(number, t.last_block)
            by_height(fn, r.block_heights, is_tail, lambda rows: fn.call(finishes[rows].address, *arguments))


__all__ = ["loop_over_taps"]
