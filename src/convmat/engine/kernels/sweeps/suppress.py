"""Suppress: of boxes in their order, those that overlap none that was chosen before them too much.

    box i is chosen, if  shared(i, j) / (area(i) + area(j) - shared(i, j)) <= bound  for every chosen j before it

Lanes lie along the boxes that were chosen, whose corners and areas are kept in a row. A box without an area, and one
with a corner that is no number, overlaps nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Value,
    and_,
    bits_of_lanes,
    const,
    div,
    equal,
    f32,
    greater,
    i64,
    less,
    maximum,
    minimum,
    select,
    splat,
    udiv,
)
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

PARTS = 5
"""What is kept of a box that is chosen: its first and its last corner, and its area."""


@dataclass(frozen=True)
class Suppress(SweepRecipe):
    """`centred`: boxes are given by their middles and extents; lanes of a vector."""

    centred: bool
    lanes: int
    words = ("count", "classes", "most")
    arrays = ("boxes", "places", "held", "bound", "scratch", "found", "chosen")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A line is a class of an image."""
        count, most, item, word = words["count"], words["most"], f32.bytes, i64.bytes
        bound = splat(fn.load(words["bound"], f32), lanes=self.lanes)
        room = (most + (self.lanes - 1)) * item
        kept = words["scratch"] + udiv(share.first, words["per"]) * (room * PARTS)
        with fn.loop(share.first, share.stop) as line:
            boxes = words["boxes"] + udiv(line.index, words["classes"]) * count * (4 * item)
            places = words["places"] + line.index * count * word
            chosen = words["chosen"] + line.index * most * word
            number = fn.load(words["held"], i64, line.index * word)
            with fn.loop(0, number, carried=[const(i64, 0)]) as turn:
                (already,) = turn.carried
                with fn.if_(less(already, most), default=[already]) as open_:
                    place = fn.load(places, i64, turn.index * word)
                    box = self._corners(fn, boxes + place * (4 * item))
                    over = self._overlaps(fn, box, (kept, room, already), bound)
                    with fn.if_(equal(over, 0), default=[already]) as free:
                        for part, each in enumerate(box):
                            fn.store(each, kept + room * part, already * item)
                        fn.store(place, chosen, already * word)
                        free.carry(already + 1)
                    open_.carry(free.results[0])
                turn.carry(open_.results[0])
            fn.store(turn.results[0], words["found"], line.index * word)

    def _corners(self, fn: Function, box: Value) -> list[Value]:
        """First and last corner, and the area."""
        a, b, c, d = (fn.load(box, f32, i * f32.bytes) for i in range(4))
        if self.centred:
            half = [each * const(f32, 0.5) for each in (c, d)]
            first, last = [a - half[0], b - half[1]], [a + half[0], b + half[1]]
        else:
            first, last = [minimum(a, c), minimum(b, d)], [maximum(a, c), maximum(b, d)]
        return [*first, *last, (last[0] - first[0]) * (last[1] - first[1])]

    def _overlaps(
        self, fn: Function, box: list[Value], kept: tuple[Value, Value, Value], bound: Value
    ) -> Value:
        """Bits of boxes among the chosen that this one overlaps too much; 0 where there are none."""
        (at, room, already), lanes, kind = kept, self.lanes, f32.x(self.lanes)
        a, b, c, d, area = (splat(each, lanes=lanes) for each in box)
        zero = const(kind, 0.0)
        with fn.loop(0, already, lanes, carried=[const(i64, 0)]) as some:
            mask, offset = prefix_mask(lanes, already - some.index), some.index * f32.bytes
            e, f, g, h, other = (fn.load(at + room * i, kind, offset, mask=mask) for i in range(PARTS))
            sides = [minimum(c, g) - maximum(a, e), minimum(d, h) - maximum(b, f)]
            high, wide = (select(greater(each, zero), each, zero) for each in sides)
            shared = high * wide
            union = area + other - shared
            real = mask
            for each in (area, other, union, shared):
                real = and_(real, greater(each, zero))
            part = div(shared, select(real, union, const(kind, 1.0)))
            bits = bits_of_lanes(and_(real, greater(part, bound)))
            some.carry(some.carried[0] | bits)
        return some.results[0]


def suppress(
    images: int, classes: int, count: int, most: int, centred: bool, threads: int
) -> tuple[SweepPlan, int] | str:
    """The kernel that chooses among boxes, and the bytes of its scratch; a sentence where there is none.

    boxes: (images, count, 4) float32, places: (images * classes, count), in what order they are looked at, and of these
    held: (images * classes,), how many; bound: (1,) float32; scratch -> found: (images * classes,), how many are
    chosen; chosen: (images * classes, most). Whole numbers are int64.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> plan, scratch = suppress(1, 1, 3, 3, False, 1)
    >>> made = Sweep(plan)
    >>> made.load()
    >>> found, chosen = np.empty(1, np.int64), np.zeros((1, 3), np.int64)
    >>> boxes = np.array([[0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 2, 3]], np.float32)
    >>> given = np.array([2, 0, 1]), np.array([3]), np.array([0.5], np.float32)
    >>> made(boxes, *given, np.empty(scratch, np.uint8), found, chosen)
    >>> found, chosen
    (array([2]), array([[2, 1, 0]]))
    """
    if refusal := kernel_refusal():
        return refusal
    lines, lanes = images * classes, host().lanes(f32.bytes)
    if not lines or not count or not most:
        return f"takes boxes to choose some among, got {most} of {lines} x {count}"
    words, tasks = share_lines(lines, count, threads, whole=True)
    words |= {"count": count, "classes": classes, "most": most}
    scratch = tasks * PARTS * (most + lanes - 1) * f32.bytes
    return SweepPlan(Suppress(centred, lanes), words, tasks, threads, lines * count * 4), scratch


__all__ = ["Suppress", "suppress"]
