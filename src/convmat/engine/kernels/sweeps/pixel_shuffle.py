"""Interleave: planes that hold every s-th pixel each, made one plane.

    y[g, p*r + i, q*s + j] = x[g, i, j, p, q]        i < r, j < s

What a transposed convolution with stride = filter leaves of its products, and DepthToSpace of its channels. A task
weaves lines: s vectors of s planes become s vectors of one line, by shuffles.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import TYPES, Type, Value, udiv
from ...ir.shuffles import interleave
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal

MOST_TIMES = 4
"""Along a line: so many vectors are shuffled into each other."""


@dataclass(frozen=True)
class Interleave(SweepRecipe):
    """Pixels of a block along a line and along a column, the type, lanes of a vector."""

    times: int
    rows: int
    type: Type
    lanes: int
    words = ("height",)
    arrays = ("x", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A line is ((g, i), p): one of y, made of `times` lines of x that lie a plane apart."""
        item, lanes, s, columns = self.type.bytes, self.lanes, self.times, words["columns"]
        height, kind = words["height"], self.type.x(lanes)
        plane = columns * height * item
        with fn.loop(share.first, share.stop) as line:
            group = udiv(line.index, height)
            p = line.index - group * height
            g = udiv(group, self.rows)
            x = words["x"] + (group * s * plane + p * columns * item)
            y = words["y"] + ((g * height + p) * self.rows + (group - g * self.rows)) * columns * (s * item)

            def vector(column: Value, left: Value | None) -> None:
                mask = None if left is None else prefix_mask(lanes, left)
                read = [fn.load(x + plane * j, kind, column * item, mask=mask) for j in range(s)]
                for k, made in enumerate(interleave(read)):
                    stored = None if left is None else prefix_mask(lanes, left * s - k * lanes)
                    fn.store(made, y, column * (s * item) + k * lanes * item, mask=stored)

            share.vectors(fn, lanes, vector)


def pixel_shuffle(
    groups: int, block: tuple[int, int], plane: tuple[int, int], dtype: str, threads: int
) -> SweepPlan | str:
    """The kernel that weaves; a sentence where there is none.

    x: (groups, *block, *plane) -> y: (groups, plane[0] * block[0], plane[1] * block[1]); both C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(pixel_shuffle(1, (1, 2), (1, 3), "float32", 1))
    >>> made.load()
    >>> y = np.empty((1, 1, 6), np.float32)
    >>> made(np.arange(6, dtype=np.float32).reshape(1, 1, 2, 1, 3), y)
    >>> y
    array([[[0., 3., 1., 4., 2., 5.]]], dtype=float32)
    """
    (rows, times), (height, columns) = block, plane
    if refusal := type_refusal(dtype):
        return refusal
    if not groups * height * columns:
        return f"takes planes with elements, got {groups} of {height} x {columns}"
    if times > MOST_TIMES:
        return f"weaves up to {MOST_TIMES} lines, got {times}"
    type = TYPES[dtype]
    words, tasks = share_lines(groups * rows * height, columns * times, threads, whole=True)
    words |= {"height": height, "columns": columns, "piece": columns}
    recipe = Interleave(times, rows, type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, groups * rows * times * height * columns)


__all__ = ["Interleave", "pixel_shuffle"]
