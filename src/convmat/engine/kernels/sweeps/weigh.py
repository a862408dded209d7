"""Weigh: bytes that are weighted sums of others, as those of a quantised Add are.

y[i] = saturate(round(a[i] * by + (b[i] * with + add)))        see `kernels.weighing`
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, f32, i8, splat
from ..weighing import VECTORS, Addition
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

BYTES = ("uint8", "int8")


@dataclass(frozen=True)
class Weigh(SweepRecipe):
    """Which of a, b and y have signs, lanes of a vector of sums, and whether x86's instructions pack."""

    signs: tuple[bool, bool, bool]
    lanes: int
    x86: bool
    words = ()
    arrays = ("a", "b", "by", "with", "add", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, as many bytes at a time as a register has."""
        lanes, whole = self.lanes, VECTORS * self.lanes
        numbers = (words[name] for name in ("by", "with", "add"))
        by, with_, add = (splat(fn.load(each, f32), lanes=lanes) for each in numbers)
        addition = Addition(by, with_, add, self.signs, lanes, self.x86)

        with fn.loop(share.first, share.stop) as line:
            a, b, y = (words[name] + line.index * words["columns"] for name in ("a", "b", "y"))

            def vector(column: Value, left: Value | None) -> None:
                masks = [
                    None if left is None else prefix_mask(lanes, left - v * lanes) for v in range(VECTORS)
                ]
                first, second = (
                    [fn.load(at, i8.x(lanes), column + v * lanes, mask=mask) for v, mask in enumerate(masks)]
                    for at in (a, b)
                )
                made = addition.vectors(fn, first, second)
                fn.store(made, y, column, mask=None if left is None else prefix_mask(whole, left))

            share.vectors(fn, whole, vector)


def weigh_bytes(count: int, types: tuple[str, str, str], threads: int) -> SweepPlan | str:
    """The kernel of `count` bytes of these types: of a, b and y; a sentence where there is none.

    a, b: (count,), by, with, add: numbers of float32 -> y: (count,), all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(weigh_bytes(2, ("uint8", "int8", "uint8"), 1))
    >>> made.load()
    >>> numbers = [np.array(each, np.float32) for each in (0.5, 2.0, 1.0)]
    >>> y = np.empty(2, np.uint8)
    >>> made(np.array([9, 200], np.uint8), np.array([-3, 100], np.int8), *numbers, y)
    >>> y
    array([  0, 255], dtype=uint8)
    """
    if refusal := kernel_refusal():
        return refusal
    if not count or not {*types} <= {*BYTES}:
        return f"takes arrays of bytes, got {count} elements of {', '.join(types)}"
    words, tasks = share_lines(1, count, threads, whole=False)
    signs = (types[0] == "int8", types[1] == "int8", types[2] == "int8")
    recipe = Weigh(signs, host().lanes(4), host().arch == "x86_64")
    return SweepPlan(recipe, words, tasks, threads, count)


__all__ = ["Weigh", "weigh_bytes"]
