"""Packing x for products of quads, once in front of all tasks: channels last, inside margins of its zero point.

    out[.., line, pixel, channel] = x[.., line - lo, pixel - lo, channel]       the zero point outside

Two ways to read it: channels that lie side by side are copied; pixels that do are transposed in squares of 16 x 16
bytes, as many of them above each other as a vector holds: what is stored of a pixel is a vector of its channels, whole
lines of the cache where it has as many. A task has some lines.

float32 and bfloat16 become bfloat16: two channels of a pixel make a word, and words are transposed in squares. An odd
channel has a 0 behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....lazy_dataclass import dataclass
from ...ir.arguments import Arguments
from ...ir.dots import halves
from ...ir.emitter import Module, prefix_mask
from ...ir.instructions import (
    Type,
    Value,
    below,
    bf16,
    const,
    f32,
    i8,
    i16,
    i32,
    i64,
    less,
    minimum,
    poison,
    ptr,
    regroup,
    shuffle,
    splat,
    trunc,
    udiv,
)
from ...ir.shuffles import concat, interleave, transpose
from .recipe import ADDRESSES

SQUARE = 16
"""Channels and pixels of a square: bytes of the least vector."""

FEW = 4
"""Channels of pixels that are woven, not turned: of more, most bytes of a square are there."""

BEHIND = 64
"""Bytes that may be read behind the last, and what is written beyond a line before the next one is."""


@dataclass(frozen=True)
class PackRecipe:
    """All that is constant in the kernel.

    `axes`: how many outer axes there are. `source`: the type of x. `channels` of all groups. `turned`: pixels lie side
    by side in x; if not, channels do. `signed`: whether x is; its bytes are then moved by 128. `wide`: bytes of a
    vector.
    """

    axes: int
    source: Type
    channels: int
    turned: bool
    signed: bool
    wide: int

    work = i8

    @property
    def lanes(self) -> int:
        """Bytes of a vector."""
        return self.wide

    @property
    def pixel(self) -> int:
        """Bytes of a pixel of the copy."""
        return pixel_bytes(self.channels, self.source)

    @property
    def many(self) -> int:
        """Channels that are turned at once, of 16 pixels: what a vector holds of bytes, or a square of pairs."""
        return 2 * SQUARE if self.source.is_float else self.wide

    def arguments(self) -> Arguments:
        """Layout of the kernel's arguments: their names, in order."""
        names = [*ARGUMENTS]
        for axis in range(self.axes):
            names += [f"{what} {axis}" for what in ("extent", "low", "limit", "x", "y", "by")]
        return Arguments(names)


ARGUMENTS = (
    *ADDRESSES, "zero", "lines", "per", "channel", "left", "inner", "right", "part",
)  # fmt: skip
"""Arguments of every kernel.

x, scratch: the array and where its copy goes. zero: what is outside. lines: of the copy; per: of a task. channel: bytes
of x from one channel to the next. left, inner, right: pixels of a line before x, in it, and behind it. part: channels
of a block of pixels that are written before the next block, where pixels are turned. Of each outer axis: its extent in
the copy, the position in x where that begins, x's extent, bytes of x and of the copy, and how many
positions of x are one of the copy.
"""


def pixel_bytes(channels: int, source: Type) -> int:
    """Bytes of a pixel of the copy.

    >>> pixel_bytes(3, i8), pixel_bytes(3, f32)
    (3, 8)
    """
    return 2 * (channels + channels % 2) if source.is_float else channels


def pack_module(recipe: PackRecipe, attributes: str, *, fused: bool) -> Module:
    """The module with `task(args, index, thread)`."""
    made = Module(attributes, fused=fused)
    (_PairPacker if recipe.source.is_float else _Packer)(recipe, made).write()
    return made


class _Packer:
    """Writes the function."""

    def __init__(self, recipe: PackRecipe, module: Module) -> None:
        self.r, self.names = recipe, recipe.arguments()
        self.fn = module.function("task", {"args": ptr, "index": i64, "thread": i64})
        self.args, self.index, _ = self.fn.arguments
        self.many = recipe.many

    def word(self, name: str) -> Value:
        """Emits the load of one of the kernel's arguments."""
        return self.names.load(self.fn, self.args, name)

    def write(self) -> None:
        """All lines of a task."""
        fn, r = self.fn, self.r
        out, x = (self.names.load(fn, self.args, name, ptr) for name in ("scratch", "x"))
        self._zero = trunc(self.word("zero"), to=i8)
        left, inner, right = (self.word(name) * r.pixel for name in ("left", "inner", "right"))
        first = self.index * self.word("per")
        stop = minimum(first + self.word("per"), self.word("lines"))
        with fn.loop(first, stop) as line:
            rest, source, target, inside = line.index, x, out, const(i64, 0) < self.word("inner")
            for axis in reversed(range(r.axes)):
                above, position = const(i64, 0), rest
                if axis:
                    extent = self.word(f"extent {axis}")
                    above = udiv(rest, extent)
                    position = rest - above * extent
                target = target + position * self.word(f"y {axis}")
                position = position * self.word(f"by {axis}") + self.word(f"low {axis}")
                source = source + position * self.word(f"x {axis}")
                inside = inside & below(position, self.word(f"limit {axis}"))
                rest = above
            self._fill(target, left)
            with fn.if_(inside) as there:
                if r.turned:
                    self._turn(source, target + left, self.word("inner"))
                else:
                    self._copy(source, target + left, inner)
            with there.otherwise():
                self._fill(target + left, inner)
            self._fill(target + left + inner, right)

    def _fill(self, out: Value, count: Value) -> None:
        fn, wide = self.fn, self.r.wide
        with fn.loop(0, count, wide) as at:
            mask = prefix_mask(wide, count - at.index)
            fn.store(splat(self._zero, lanes=wide), out + at.index, mask=mask)

    def _read(self, at: Value, lanes: int, mask: Value | None = None) -> Value:
        made = self.fn.load(at, i8.x(lanes), mask=mask)
        return made ^ -128 if self.r.signed else made

    def _copy(self, source: Value, out: Value, count: Value) -> None:
        fn, wide = self.fn, self.r.wide
        whole = count - (count & (wide - 1))
        with fn.loop(0, whole, wide) as at:
            fn.store(self._read(source + at.index, wide), out + at.index)
        with fn.if_(less(whole, count)):
            mask = prefix_mask(wide, count - whole)
            fn.store(self._read(source + whole, wide, mask), out + whole, mask=mask)

    # ---- pixels side by side --------------------------------------------------------------------------------

    def _turn(self, source: Value, out: Value, pixels: Value) -> None:
        """A line of pixels, a part of the channels at a time: of a block of pixels that part stays in a cache."""
        fn, r, many = self.fn, self.r, self.many
        step, size = self.word("channel"), 2 if r.source.is_float else 1
        whole, some = r.channels // many * many, self.word("part")
        if whole:
            with fn.loop(0, whole, some) as part:
                stop = minimum(part.index + some, const(i64, whole))

                def squares(x: Value, y: Value, count: Value | None) -> None:
                    with fn.loop(part.index, stop, many, carried=[x + step * part.index]) as group:
                        (at,) = group.carried
                        self._square(at, y + group.index * size, many, count)
                        group.carry(at + step * many)

                self._blocks(source, out, pixels, squares)
        if whole < r.channels:
            rest = source + step * whole, out + whole * size
            self._blocks(*rest, pixels, lambda x, y, count: self._square(x, y, r.channels - whole, count))

    def _blocks(
        self, source: Value, out: Value, pixels: Value, write: Callable[[Value, Value, Value | None], None]
    ) -> None:
        """All pixels of some channels: squares, and a last one that is moved back or masked.

        `write`: takes a block's place in x and in the copy, and how many pixels there are if not all.
        """
        fn, r, size = self.fn, self.r, self.r.source.bytes
        with fn.loop(0, pixels - (SQUARE - 1), SQUARE, carried=[const(i64, 0)]) as block:
            write(source + block.index * size, out + block.index * r.pixel, None)
            block.carry(block.index + SQUARE)
        with fn.if_(less(block.results[0], pixels)):
            with fn.if_(less(pixels, SQUARE)) as narrow:
                write(source, out, pixels)
            with narrow.otherwise():
                back = pixels - SQUARE
                write(source + back * size, out + back * r.pixel, None)

    def _square(self, source: Value, out: Value, channels: int, count: Value | None) -> None:
        """16 pixels of some channels, or `count` of them: channel 16*i + j is in lane i of every 16 of row j."""
        if self.r.channels <= FEW:
            self._interleave(source, out, count)
            return
        fn, r, step = self.fn, self.r, self.word("channel")
        mask = None if count is None else prefix_mask(SQUARE, count)
        pieces = 1 << (-(-channels // SQUARE) - 1).bit_length()
        lanes, nothing, rows = pieces * SQUARE, poison(i8.x(SQUARE)), list[Value]()
        for j in range(SQUARE):
            read = [self._read(source + step * c, SQUARE, mask) for c in range(j, channels, SQUARE)]
            padded = [*read, *[nothing] * (pieces - len(read))]
            rows.append(concat(padded) if read else poison(i8.x(lanes)))
        stored = None if channels == lanes else prefix_mask(lanes, channels)
        for pixel, column in enumerate(transpose_bytes(rows)):
            if count is None:
                fn.store(column, out, pixel * r.channels, mask=stored)
            else:
                with fn.if_(count > pixel):
                    fn.store(column, out, pixel * r.channels, mask=stored)

    def _interleave(self, source: Value, out: Value, count: Value | None) -> None:
        """16 pixels of all of a few channels, or `count` of them, which lie side by side in the copy."""
        fn, step, channels = self.fn, self.word("channel"), self.r.channels
        mask = None if count is None else prefix_mask(SQUARE, count)
        rows = [self._read(source + step * c, SQUARE, mask) for c in range(channels)]
        for at, made in enumerate(interleave(rows)):
            stored = None if count is None else prefix_mask(SQUARE, count * channels - at * SQUARE)
            fn.store(made, out, at * SQUARE, mask=stored)


class _PairPacker(_Packer):
    """Writes it for bfloat16, made of float32 where x is."""

    def _numbers(self, at: Value, mask: Value | None = None) -> Value:
        """The bits of 16 numbers."""
        if self.r.source is bf16:
            return self.fn.load(at, i16.x(SQUARE), mask=mask)
        return halves(self.fn, self.fn.load(at, f32.x(SQUARE), mask=mask))

    def _copy(self, source: Value, out: Value, count: Value) -> None:
        fn, size = self.fn, self.r.source.bytes
        if self.r.channels % 2:
            self._copy_odd(source, out, udiv(count, self.r.pixel))
            return
        elements = udiv(count, 2)
        whole = elements - (elements & (SQUARE - 1))
        with fn.loop(0, whole, SQUARE) as at:
            fn.store(self._numbers(source + at.index * size), out + at.index * 2)
        with fn.if_(less(whole, elements)):
            mask = prefix_mask(SQUARE, elements - whole)
            fn.store(self._numbers(source + whole * size, mask), out + whole * 2, mask=mask)

    def _copy_odd(self, source: Value, out: Value, pixels: Value) -> None:
        """Emits what copies pixel by pixel, each with a 0 behind it."""
        fn, r = self.fn, self.r
        with fn.loop(0, pixels) as pixel:
            at, to = source + pixel.index * (r.channels * r.source.bytes), out + pixel.index * r.pixel
            for first in range(0, r.channels, SQUARE):
                mask = prefix_mask(SQUARE, r.channels - first)
                made = self._numbers(at + first * r.source.bytes, mask)
                fn.store(made, to, 2 * first, mask=prefix_mask(SQUARE, r.channels + 1 - first))

    def _square(self, source: Value, out: Value, channels: int, count: Value | None) -> None:
        """16 pixels of some channels, or `count` of them."""
        fn, r, step = self.fn, self.r, self.word("channel")
        mask = None if count is None else prefix_mask(SQUARE, count)
        rows = [self._numbers(source + step * c, mask) for c in range(channels)]
        rows += [const(i16.x(SQUARE), 0)] * (channels % 2)
        lanes = [lane for pair in zip(range(SQUARE), range(SQUARE, 2 * SQUARE), strict=True) for lane in pair]
        words = [
            regroup(shuffle(low, high, indices=lanes), to=i32.x(SQUARE))
            for low, high in zip(rows[::2], rows[1::2], strict=True)
        ]
        stored = None if channels == self.many else prefix_mask(2 * SQUARE, channels + channels % 2)
        for pixel, made in enumerate(transpose(words)):
            column = regroup(made, to=i16.x(2 * SQUARE))
            if count is None:
                fn.store(column, out, pixel * r.pixel, mask=stored)
            else:
                with fn.if_(count > pixel):
                    fn.store(column, out, pixel * r.pixel, mask=stored)


def transpose_bytes(rows: Sequence[Value]) -> list[Value]:
    """Transpose 16 vectors of bytes in every 16 lanes: byte j of row i becomes byte i of row j.

    Rows i and i + 8 are woven, four times: each step is one unpack on every x86.
    """
    rows = list(rows)
    lanes = rows[0].type.lanes
    low, high = (
        [
            block + half + at // 2 + (lanes if at % 2 else 0)
            for block in range(0, lanes, SQUARE)
            for at in range(SQUARE)
        ]
        for half in (0, SQUARE // 2)
    )
    for _ in range(4):
        pairs = list(zip(rows[:8], rows[8:], strict=True))
        rows = [_weave(a, b, which) for a, b in pairs for which in (low, high)]
    return rows


def _weave(a: Value, b: Value, indices: Sequence[int]) -> Value:
    if a.name == b.name == "poison":
        return a
    return shuffle(a, b, indices=indices)


__all__ = ["BEHIND", "SQUARE", "PackRecipe", "pack_module", "transpose_bytes"]
