"""The panel kernel: the loops around the micro-kernel.

    task(index):  NC columns x MC rows of one matrix            the two outermost loops, shared out among threads
        for part of k:                                          KC values at most; parts are added in order
            pack the task's panels of B for this part           worker's scratch, stays in its second-level cache
            for block of MR rows of A, for panel of NR columns:
                micro-kernel: add the earlier parts; in the last part the epilogue, and C is stored

Parts are fixed by the product alone, so the bits of a result do not depend on threads. Where lines of a panel lie in x
as they are (1x1, stride 1), its first tile reads them there and writes the panel as it goes (fused packing): waiting
for x then overlaps with multiplying (`loop_over_groups`). No task waits for another. A is packed in blocks of MR rows,
one after the other: [block][k][row]. The forms:

    COLUMNS   x is contiguous along columns of B: a panel is [k][column]
    PIXELS    x is contiguous along k (channels last): a panel is [column][k]
    SUMS      x and A are contiguous along k, which is long (a weight gradient): [column][k]; A is packed by parts
    OUTER     the same with channels last: x is contiguous along the columns, A along m and read in place: [k][column]
"""

from __future__ import annotations

from ...ir.arguments import Arguments
from ...ir.emitter import Function, Module
from ...ir.instructions import const, i64, minimum, ptr, udiv
from ...job import WORD
from .copy_windows import CopyPacker
from .loop_over_groups import loop_over_groups
from .loop_over_rows import loop_over_rows
from .loop_over_runs import loop_over_runs
from .loop_over_taps import loop_over_taps
from .microkernel import MicroKernels
from .pack_a import APacker
from .pack_b import BPacker, Elements
from .pack_b_channels_last import ChannelsLastBPacker
from .recipe import Form, PanelRecipe
from .task import KPart, Parts, Task, part_place


def module(recipe: PanelRecipe, attributes: str, *, fused: bool) -> Module:
    """The kernel: `task(args, index, thread)`, and `weights(args, index, thread)` which packs a block of A."""
    made, arguments, r = Module(attributes, fused=fused), recipe.arguments(), recipe
    packer: type[BPacker | ChannelsLastBPacker | CopyPacker] = BPacker
    if r.windows:
        packer = CopyPacker
    elif r.form in (Form.PIXELS, Form.OUTER):
        packer = ChannelsLastBPacker
    elements = Elements(
        r.array, r.work, r.lanes, 0 if r.windows else r.pitch, r.signed, "copy pitch" if r.rows else ""
    )
    parts = Parts(
        recipe=recipe,
        arguments=arguments,
        pack_b=packer(r.walk, arguments, elements).function(made),
        pack_a=APacker(recipe, arguments, made),
        micro=MicroKernels(recipe, made),
        places=_places(recipe, arguments, made) if r.places else None,
    )
    if r.streams:
        loop_over_runs(Task(parts, made))
        return made
    parts.pack_a.write_weights()
    _loop_over_parts(Task(parts, made))
    return made


def _places(r: PanelRecipe, arguments: Arguments, made: Module) -> Function:
    """Writes, for `count` columns from `start`, how far each lies from the first of all in C, in bytes."""
    fn = made.function("places", {"out": ptr, "start": i64, "count": i64, "args": ptr})
    out, start, count, args = fn.arguments
    with fn.loop(0, count) as column:
        rest, at = start + column.index, const(i64, 0)
        for name in reversed(r.places[1:]):
            extent = arguments.load(fn, args, f"y extent {name}")
            above = udiv(rest, extent)
            at = at + (rest - above * extent) * arguments.load(fn, args, f"y step {name}")
            rest = above
        at = at + rest * arguments.load(fn, args, f"y step {r.places[0]}")
        fn.store(at, out, column.index * 8)
    return fn


def _loop_over_parts(t: Task) -> None:
    """Parts of k from the table; the task's columns are NC, so many panels."""
    r, fn = t.recipe, t.fn
    first = t.nc_block * t.argument("nc")
    panels = minimum(t.argument("panels") - first, t.argument("nc"))
    parts = t.argument("parts")
    if r.fuses_packing:
        loop_over_groups(t, first, panels, parts)
        return
    t.write_places_of(first, panels)
    if r.skips:
        loop_over_taps(t, first, panels, parts)
        return
    with fn.loop(0, parts, carried=[t.argument("boxes", ptr)]) as each:
        (box,) = each.carried
        start, depth = (fn.load(box, i64, r.box_bytes - back * WORD) for back in (2, 1))
        part = KPart(
            room=depth * r.pitch if r.form is Form.COLUMNS else const(i64, r.nr * r.pitch),
            place=part_place(each.index, parts),
            a=t.bases["a"],
            block_step=t.argument("block step"),
            start=start,
            depth=depth,
            first=first * r.nr,
            panels=panels,
            end=t.argument("columns"),
        )
        if r.rows:
            loop_over_rows(t, part, box)
        else:
            with fn.if_(depth > 0), fn.loop(0, panels) as panel:
                at = part.first + panel.index * r.nr
                count = minimum(part.end - at, r.nr)
                t.pack_b(t.scratch + panel.index * part.room, at, count, box)
            t.multiply(part)
        each.carry(box + r.box_bytes)


__all__ = ["module"]
