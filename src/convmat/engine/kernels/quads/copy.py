"""x as products of quads read it: channels last, inside margins; what it takes to make it so, and where things lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ....lazy_dataclass import dataclass
from ....product import Product, View
from ...ir.instructions import Type, bf16, i8
from ...operands import Dtypes, Shape, Shapes, aligned_size, contiguous_strides
from ..base import KernelPlan
from ..effort import Effort
from .pack_x import BEHIND, PackRecipe, pixel_bytes
from .recipe import ADDRESSES, QUAD

TASKS = 4
"""Tasks that a thread should have: enough to even out who is late."""

PART = 256
"""Channels of a block of pixels, a multiple of what a vector has, that are written before the next block is begun: one
line of a cache of each is read."""

PACK_BYTES = 16 << 10
"""Bytes of x that a task makes ready at least."""


@dataclass(frozen=True)
class CopyAxis:
    """An axis of x as its copy has it: `extent` positions from `low` on, of `limit` in x, `step` bytes apart there.

    Only every `by`-th position is copied, where others are not read.
    """

    extent: int
    low: int
    limit: int
    step: int
    by: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is x's own."""
        return self.low == 0 and self.extent == self.limit and self.by == 1


@dataclass(frozen=True)
class ChannelsLastCopy:
    """x channels last, inside margins: its axes in order, how many channels all groups have and how far apart in x.

    `source`: the type of x; `element`: that of the copy. `steps`: how far in the copy a step of each index goes.
    `origin`: where all indices are 0; all of them in bytes. `turned`: pixels lie side by side in x; if not, channels
    do. `signed`: x is integers with a sign.
    """

    axes: tuple[CopyAxis, ...]
    source: Type
    element: Type
    channels: int
    channel: int
    steps: Mapping[str, int]
    origin: int
    turned: bool
    signed: bool

    @classmethod
    def of(cls, b: View, shape: Shape, source: Type, *, signed: bool = False) -> ChannelsLastCopy | str:
        """The copy of x that a View reads, or why there is none."""
        item, element = contiguous_strides(shape, source.bytes), bf16 if source.is_float else i8
        alone = {i.name for i in b.batch + b.rows}
        deep = [
            a for a, c in enumerate(b.coordinates)
            if len(c.terms) == 1 and c.terms[0][0] in alone and c.terms[0][1] == 1 and not c.offset
        ]  # fmt: skip
        outer = [a for a in range(len(shape)) if a not in deep]
        if not outer or not deep:
            return "takes an axis of pixels and one of channels"
        turned = outer[-1] == len(shape) - 1
        if deep != [*range(deep[0], deep[0] + len(deep))] or not (turned or deep[-1] == len(shape) - 1):
            return "reads x along its last axis, which is pixels or channels in one piece"
        channels = math.prod(shape[a] for a in deep)
        reaches = [b.reach(b.coordinates[a]) for a in outer]
        every = [_every(b, a) if a != outer[-1] else 1 for a in outer]
        axes = [
            CopyAxis((high - low) // by + 1, low, shape[a], item[a], by)
            for a, (low, high), by in zip(outer, reaches, every, strict=True)
        ]
        places = dict(
            zip(deep, contiguous_strides(tuple(shape[a] for a in deep), element.bytes), strict=True)
        )
        apart = contiguous_strides(tuple(axis.extent for axis in axes), pixel_bytes(channels, source))
        places |= dict(zip(outer, apart, strict=True))
        steps, skipped = dict.fromkeys(b.extents, 0), dict(zip(outer, every, strict=True))
        for a, coordinate in enumerate(b.coordinates):
            for name, by in coordinate.terms:
                steps[name] += by // skipped.get(a, 1) * places[a]
        first = sum(
            (b.coordinates[a].offset - low) // by * places[a]
            for a, (low, _), by in zip(outer, reaches, every, strict=True)
        )
        return cls(
            _merge_lines(axes), source, element, channels, item[deep[-1]], steps, first, turned, signed
        )

    @property
    def bytes(self) -> int:
        """Bytes of the copy, with what may be read behind it."""
        return aligned_size(math.prod(axis.extent for axis in self.axes) * self.pixel + BEHIND)

    @property
    def pixel(self) -> int:
        """Bytes of a pixel of the copy."""
        return pixel_bytes(self.channels, self.source)

    def in_place(self, run: int) -> bool:
        """Whether x is just that already."""
        padded = self.pixel > self.channels * self.element.bytes
        same = self.source is self.element and not (self.turned or self.signed or padded)
        return same and run % QUAD == 0 and all(axis.whole for axis in self.axes)


def _every(b: View, axis: int) -> int:
    """How many positions apart those are that a View reads along an axis of x.

    Steps of indices that take one value count too, where they are no multiple: they are never taken.
    """
    terms = b.coordinates[axis].terms
    every = math.gcd(*(by for name, by in terms if b.extents[name] > 1)) or 1
    return every if all(by % every == 0 for _, by in terms) else 1


def _merge_lines(axes: Sequence[CopyAxis]) -> tuple[CopyAxis, ...]:
    """Lines that follow each other without a gap, taken as one."""
    *outer, line = axes
    while outer and outer[-1].whole and line.whole and outer[-1].step == line.step * line.extent:
        above = outer.pop()
        line = CopyAxis(above.extent * line.extent, 0, above.extent * line.extent, line.step)
    return (*outer, line)


class PackPlan(KernelPlan):
    """x, made ready for a product: its recipe, and the words of its block."""

    reads_w = False

    def __init__(
        self,
        product: Product,
        dtypes: Dtypes,
        shapes: Shapes,
        threads: int,
        copy: ChannelsLastCopy,
        wide: int,
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        *outer, line = copy.axes
        self.copy = copy
        self.recipe = PackRecipe(
            max(len(outer), 1), copy.source, copy.channels, copy.turned, copy.signed, wide
        )
        outer = outer or [CopyAxis(1, 0, 1, 0)]
        lines = math.prod(axis.extent for axis in outer)
        across = line.extent * copy.pixel
        per = max(-(-lines // (TASKS * threads)), PACK_BYTES // max(across, 1), 1) if threads > 1 else lines
        self.tasks = -(-lines // per)
        self.weight_tasks = self.weight_bytes = 0
        self.workspace = copy.bytes + 64
        begin, end = min(max(-line.low, 0), line.extent), min(max(line.limit - line.low, 0), line.extent)
        inner = max(end - begin, 0)
        words = {
            "zero": product.terms[0][1].fill + 128 * copy.signed, "lines": lines, "per": per, "channel": copy.channel,
            "left": begin, "inner": inner, "right": line.extent - begin - inner, "part": PART,
        }  # fmt: skip
        into = contiguous_strides(tuple(axis.extent for axis in outer), across)
        for number, (axis, step) in enumerate(zip(outer, into, strict=True)):
            words |= {
                f"extent {number}": axis.extent, f"low {number}": axis.low, f"limit {number}": axis.limit,
                f"x {number}": axis.step, f"y {number}": step, f"by {number}": axis.by,
            }  # fmt: skip
        self.origin = {"x": max(line.low, 0) * line.step, "y": 0, "w": 0}
        self.lay_out(self.recipe.arguments(), words, ADDRESSES)

    @property
    def flops(self) -> int:
        """Nothing is multiplied."""
        return 0

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        size = self.copy.bytes
        touched = math.prod(self.shapes["x"]) * self.copy.source.bytes
        return Effort(0, size // self.recipe.wide, 0, touched, 0, self.tasks)


__all__ = ["TASKS", "ChannelsLastCopy", "PackPlan"]
