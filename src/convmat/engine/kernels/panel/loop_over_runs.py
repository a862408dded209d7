"""The loops of a panel kernel whose k is one long run of pixels: a weight gradient.

Parts of k are pieces of the run, KC long; for each the task packs its columns of B and, unless A is read in place, its
rows of A. The task's columns are a box from a table.
"""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ...ir.instructions import Value, const, equal, i64, minimum, ptr, udiv
from ...job import WORD
from .recipe import Form
from .task import KPart, Task, part_place


def loop_over_runs(t: Task) -> None:
    """All parts of a task's columns and rows."""
    r, fn = t.recipe, t.fn
    box = t.argument("boxes", ptr) + t.nc_block * r.box_bytes
    first, columns = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
    panels = udiv(columns + (r.nr - 1), r.nr)
    parts, total = t.argument("parts"), t.argument("k")
    packed = t.scratch + t.argument("packed a")
    step = const(i64, r.block_bytes(r.kc))
    if r.places:
        with fn.loop(0, panels) as panel:
            start = first + panel.index * r.nr
            at = t.places_at(panel.index)
            t.write_places(at, start, minimum(first + columns - start, r.nr))
    with fn.loop(0, parts) as part:
        start = part.index * r.kc
        depth = minimum(total - start, r.kc)
        t.pack_b(t.scratch, start, depth, box)
        if r.form is Form.OUTER:
            room = const(i64, r.nr * r.work.bytes)
            a, step = t.bases["w"] + start * r.a_step, const(i64, r.mr * r.array.bytes)
        else:
            _pack_a(t, packed, step, start, depth)
            room = const(i64, r.nr * r.pitch)
            a = packed + t.first_block * -r.block_bytes(r.kc)
        place, zero = part_place(part.index, parts), const(i64, 0)
        t.multiply(KPart(place, a, step, zero, depth, first, panels, room, columns + first))


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
