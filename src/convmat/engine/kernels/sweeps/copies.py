"""Copies: elements of one array to places of another, both at any strides.

    y[y_from + sum of i * y_step] = x[x_from + sum of i * x_step]        indices i over a shape, all in bytes

What transposes, joins, cuts, pads, tiles and interleaves are made of. Neighbouring axes that both arrays walk alike are
one. Lanes lie along the last axis of y: where x lies side by side there they are loaded as they lie, where it does not
move they are spread, and where it lies side by side along another axis squares of lanes x lanes are transposed in
registers. A few channels that are last in one array and planes in the other are dealt out or woven, whole vectors of
all of them at a time. Anything else is moved one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Type, Value, i8, i16, i32, i64, minimum, splat, udiv
from ...ir.shuffles import deinterleave, interleave, transpose
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

BY_SIZE: dict[int, Type] = {1: i8, 2: i16, 4: i32, 8: i64}
"""Integers that hold an element."""

FEWEST_AXES, MOST_AXES = 2, 6
"""Beside the last: each costs a division a line."""

SQUARE = 16
"""Lanes of a vector, at most, where squares of them are transposed: so many registers hold one."""

LEAST_DEALT, MOST_DEALT, MOST_WOVEN = 4, 4, 8
"""Bytes of an element whose shuffles are one instruction each, at least; and channels that are dealt out or woven, at
most: each vector takes as many shuffles as there are channels. More are dealt out by squares, which read each line of
memory once; to weave by squares would write each line in pieces."""


class Strides(NamedTuple):
    """Where an array's elements are, in bytes: the first, and from one index to the next along each axis."""

    start: int
    steps: tuple[int, ...]


Place = tuple[Value, Value | int, Value | None]
"""Where a vector lies: two distances from where a line begins, in bytes, and which lanes it has, None for all."""


@dataclass(frozen=True)
class CopyRecipe(SweepRecipe):
    """How x is read along y's last axis, elements of which type, axes beside the last, lanes of a vector.

    `how`: "lines", "spread", "turned", "dealt", "woven" or "singly". `channels`: how many are dealt or woven.
    """

    how: str
    type: Type
    axes: int
    lanes: int
    channels: int = 0
    arrays = ("x", "y")

    @property
    def words(self) -> tuple[str, ...]:
        """Where both begin; extents and steps of the axes but the last, and x's step along that."""
        axes = range(self.axes)
        steps = (f"{array} step {axis}" for array in "xy" for axis in axes)
        return ("x from", "y from", "along", "rows", *(f"extent {axis}" for axis in axes), *steps)

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, or a block of lines at a time."""
        with fn.loop(share.first, share.stop) as line:
            if self.how == "turned":
                self._squares(fn, words, share, line.index)
            elif self.channels:
                self._channels(fn, words, share, line.index)
            else:
                x, y = self._begins(line.index, words, self.axes)
                self._line(fn, words, share, x, y)

    def _begins(self, line: Value, words: Mapping[str, Value], axes: int) -> tuple[Value, Value]:
        """Where a line begins in both, of the first so many axes."""
        x, y, rest = words["x"] + words["x from"], words["y"] + words["y from"], line
        for axis in range(axes - 1, -1, -1):
            above = udiv(rest, words[f"extent {axis}"]) if axis else rest - rest
            index = rest - above * words[f"extent {axis}"] if axis else rest
            x, y = x + index * words[f"x step {axis}"], y + index * words[f"y step {axis}"]
            rest = above
        return x, y

    def _line(self, fn: Function, words: Mapping[str, Value], share: Share, x: Value, y: Value) -> None:
        item, lanes, kind = self.type.bytes, self.lanes, self.type.x(self.lanes)
        if self.how == "singly":
            with fn.loop(share.begin, share.end) as column:
                fn.store(fn.load(x, self.type, column.index * words["along"]), y, column.index * item)
            return
        one = splat(fn.load(x, self.type), lanes=lanes) if self.how == "spread" else None

        def vector(column: Value, left: Value | None) -> None:
            mask = None if left is None else prefix_mask(lanes, left)
            found = fn.load(x, kind, column * item, mask=mask) if one is None else one
            fn.store(found, y, column * item, mask=mask)

        share.vectors(fn, lanes, vector, 4)

    def _channels(self, fn: Function, words: Mapping[str, Value], share: Share, line: Value) -> None:
        """The last of the axes beside is channels: side by side in one array, a plane for each in the other."""
        item, lanes, kind, last = self.type.bytes, self.lanes, self.type.x(self.lanes), self.axes - 1
        x, y = self._begins(line, words, last)
        dealt, many = self.how == "dealt", self.channels
        step = words[f"{'y' if dealt else 'x'} step {last}"]

        def vector(column: Value, left: Value | None) -> None:
            row = None if left is None else prefix_mask(lanes, left)
            planes: list[Place] = [(step * i, column * item, row) for i in range(many)]
            pixels: list[Place] = []
            for i in range(many):
                mask = None if left is None else prefix_mask(lanes, left * many - i * lanes)
                pixels.append((column * (many * item), i * lanes * item, mask))
            sources, targets = (pixels, planes) if dealt else (planes, pixels)
            read = [fn.load(x + base, kind, at, mask=mask) for base, at, mask in sources]
            made = deinterleave(read) if dealt else interleave(read)
            for each, (base, at, mask) in zip(made, targets, strict=True):
                fn.store(each, y + base, at, mask=mask)

        share.vectors(fn, lanes, vector)

    def _squares(self, fn: Function, words: Mapping[str, Value], share: Share, line: Value) -> None:
        """The last of the axes beside lies side by side in x: a block of its rows, squares of the columns."""
        item, lanes, kind, last = self.type.bytes, self.lanes, self.type.x(self.lanes), self.axes - 1
        outer = udiv(line, words["rows"])
        first = (line - outer * words["rows"]) * lanes
        x, y = self._begins(outer, words, last)
        x, y = x + first * item, y + first * words[f"y step {last}"]
        left = words[f"extent {last}"] - first
        rows = prefix_mask(lanes, left)
        step, along = words[f"y step {last}"], words["along"]
        with fn.loop(share.begin, share.end, lanes) as column:
            beyond = share.end - 1
            read = [
                fn.load(x, kind, minimum(column.index + i, beyond) * along, mask=rows) for i in range(lanes)
            ]
            columns = prefix_mask(lanes, share.end - column.index)
            for i, made in enumerate(transpose(read)):
                with fn.if_(left > i):
                    fn.store(made, y + step * i, column.index * item, mask=columns)


def strided_copy(shape: Sequence[int], x: Strides, y: Strides, item: int, threads: int) -> SweepPlan | str:
    """The kernel of a copy of elements of `item` bytes; a sentence where there is none.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(strided_copy((3, 2), Strides(0, (4, 12)), Strides(0, (8, 4)), 4, 1))
    >>> made.load()
    >>> y = np.empty((3, 2), np.float32)
    >>> made(np.arange(6, dtype=np.float32).reshape(2, 3), y)
    >>> y.tolist()
    [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """
    if refusal := kernel_refusal():
        return refusal
    if item not in BY_SIZE:
        return f"copies elements of {', '.join(map(str, BY_SIZE))} bytes, got {item}"
    type, axes = BY_SIZE[item], _merge_axes(shape, x.steps, y.steps)
    if axes[-1][2] != item:  # y's last axis is one that it is written along
        axes.append((1, item, item))
    *outer, (columns, along, _) = axes
    if len(outer) > MOST_AXES:
        return f"takes {MOST_AXES + 1} axes that do not merge, got {len(outer) + 1}"
    how = "lines" if along == item or columns == 1 else "spread" if along == 0 else "singly"
    beside, channels = next((a for a in outer if a[1] == item and a[0] > 1), None), 0
    if how == "singly" and beside is not None:
        outer.remove(beside)
        pixels, _, apart = beside
        if item >= LEAST_DEALT and along == pixels * item <= MOST_DEALT * item:
            how, channels = "dealt", pixels
        elif item >= LEAST_DEALT and apart == columns * item <= MOST_WOVEN * item:
            how, channels = "woven", columns
            columns, beside = pixels, (channels, along, item)
        else:
            how = "turned"
        outer.append(beside)
    outer = [(1, 0, 0)] * (FEWEST_AXES - len(outer)) + outer
    lanes = host().lanes(item) if how != "turned" else min(host().lanes(item), SQUARE)
    rows = -(-outer[-1][0] // lanes) if how == "turned" else 1 if channels else outer[-1][0]
    lines = math.prod(n for n, *_ in outer[:-1]) * rows
    across = lanes if how == "turned" else max(channels, 1)  # elements of a column
    words, tasks = share_lines(lines, columns * across, threads, whole=False)
    words |= {"columns": columns, "piece": -(-words["piece"] // (across * SQUARE)) * SQUARE}
    words |= {"x from": x.start, "y from": y.start, "along": along, "rows": rows}
    for axis, (extent, x_step, y_step) in enumerate(outer):
        words |= {f"extent {axis}": extent, f"x step {axis}": x_step, f"y step {axis}": y_step}
    size, recipe = math.prod(shape), CopyRecipe(how, type, len(outer), lanes, channels)
    return SweepPlan(recipe, words, tasks if size else 0, threads, size)


Axis = tuple[int, int, int]
"""Its extent, and the steps of x and y."""


def _merge_axes(shape: Sequence[int], x: Sequence[int], y: Sequence[int]) -> list[Axis]:
    """The axes longer than 1, neighbours that both walk alike made one."""
    found: list[Axis] = []
    for extent, a, b in zip(shape, x, y, strict=True):
        if extent == 1:
            continue
        if found and found[-1][1] == a * extent and found[-1][2] == b * extent:
            found[-1] = (found[-1][0] * extent, a, b)
        else:
            found.append((extent, a, b))
    return found or [(1, 0, 0)]


__all__ = ["CopyRecipe", "Strides", "strided_copy"]
