"""The loops of a panel kernel whose k is one long run of pixels: a weight gradient.

Parts of k are pieces of the run, KC long; for each the task packs its columns of B and, unless A is read in place, its
rows of A. The task's columns are a box from a table. Where windows overlap, all columns are read in one copy.
"""

from __future__ import annotations

from dataclasses import replace

from ....lazy_dataclass import dataclass
from ...ir.instructions import Value, const, equal, i64, minimum, ptr, udiv
from ...job import WORD
from .copy_windows import WindowTables, read_box
from .recipe import Form
from .task import KPart, Task, part_place


def loop_over_runs(t: Task) -> None:
    """All parts of a task's columns and rows."""
    r, fn = t.recipe, t.fn
    box = t.argument("boxes", ptr) + t.nc_block * r.box_bytes
    first, columns = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
    panels = udiv(columns + (r.nr - 1), r.nr)
    parts, packed = t.argument("parts"), t.scratch + t.argument("packed a")
    if r.places:
        with fn.loop(0, panels) as panel:
            start = first + panel.index * r.nr
            at = t.places_at(panel.index)
            t.write_places(at, start, minimum(first + columns - start, r.nr))
    windows = None
    if r.windows:
        windows = WindowTables(t, r.windows, read_box(fn, box, r.windows.columns))
        windows.write_groups()
    with fn.loop(0, parts, carried=[t.argument("pieces", ptr)]) as part:
        (piece,) = part.carried
        start, depth = (fn.load(piece, i64, r.piece_bytes - back * WORD) for back in (2, 1))
        step, room = t.argument("block step"), const(i64, r.nr * r.pitch)
        if r.form is Form.OUTER:
            room = const(i64, r.nr * r.work.bytes)
            a, step = t.bases["w"] + start * r.a_step, const(i64, r.mr * r.array.bytes)
        else:
            _pack_a(t, packed, step, start, depth)
            a = packed + (const(i64, 0) - t.first_block * step)
        place, zero = part_place(part.index, parts), const(i64, 0)
        here = KPart(place, a, step, zero, depth, first, panels, room, columns + first)
        if windows:
            _multiply_windows(t, here, windows, piece)
        else:
            t.pack_b(t.scratch, start, depth, box)
            t.multiply(here)
        part.carry(piece + r.piece_bytes)


def _multiply_windows(t: Task, part: KPart, windows: WindowTables, piece: Value) -> None:
    """All tiles of a part whose taps share a copy of x."""
    r, fn = t.recipe, t.fn
    box = read_box(fn, piece, r.k_names)
    windows.copy(box)
    lines = windows.write_lines(box)
    length = box[r.k_names[-1]][1]
    part = replace(part, depth=length, room=const(i64, 0))
    tables = windows.table("lines"), lines
    with fn.loop(0, t.blocks) as block, fn.loop(0, part.panels) as panel:
        groups = windows.table("groups") + panel.index * (r.nr // windows.windows.nears * WORD)
        t.tile(
            part,
            block.index,
            panel.index,
            lambda rows, count, arguments: t.call_micro_kernel(rows, count, (groups, *tables, *arguments)),
        )


@dataclass(frozen=True)
class _RowsBlock:
    """A block of A to pack: its number, where its rows begin in w, and where it goes."""

    number: Value
    rows: Value
    target: Value


def _pack_a(t: Task, packed: Value, step: Value, start: Value, depth: Value) -> None:
    """The task's blocks of A for one part."""
    r, fn = t.recipe, t.fn
    with fn.loop(0, t.blocks) as each:
        number = t.first_block + each.index
        line = t.argument("w line")
        rows = t.bases["w"] + number * r.mr * line
        _pack_pieces(t, _RowsBlock(number, rows, packed + each.index * step), line, start, depth)


def _pack_pieces(t: Task, block: _RowsBlock, line: Value, start: Value, depth: Value) -> None:
    """A block of A for the k from `start`: piece by piece where the run crosses from one image to the next."""
    r, fn = t.recipe, t.fn
    inner, step = t.argument("k inner"), t.argument("k outer")
    image = udiv(start, inner)
    rows = t.padded_rows(equal(block.number, t.last_block))
    with fn.repeat(carried=[const(i64, 0), image, start - image * inner]) as piece:
        done, image, place = piece.carried
        length = minimum(inner - place, depth - done)
        source = block.rows + image * step + place * r.array.bytes
        target = block.target + done * rows * r.work.bytes
        t.parts.pack_a.pack(fn, t.args, block.number, source, target, line, length)
        piece.carry(done + length, image + 1, const(i64, 0))
        piece.again(done + length < depth)


__all__ = ["loop_over_runs"]
