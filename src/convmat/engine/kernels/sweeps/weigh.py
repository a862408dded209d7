"""Weigh: bytes that are weighted sums of others, as those of a quantised Add are.

    y[i] = saturate(round(a[i] * by + (b[i] * with + add)))        halves to even, two sums rounded to float32

Four vectors of sums become one of bytes, packed with saturation: on x86 in blocks of 16 bytes, which are put in order
last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, f32, fma, i8, i32, regroup, sext, shuffle, sitofp, splat, zext
from ...ir.saturation import nearest, pack_bytes, pack_words
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

Array = npt.NDArray[Any]

BYTES = ("uint8", "int8")

VECTORS = 4
"""Vectors of sums to one of bytes."""


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
        by, with_, add = (splat(fn.load(words[name], f32), lanes=lanes) for name in ("by", "with", "add"))
        blocks = lanes // VECTORS
        order = [VECTORS * block + vector for vector in range(VECTORS) for block in range(blocks)]

        def read(at: Value, column: Value, mask: Value | None, sign: bool) -> Value:
            found = fn.load(at, i8.x(lanes), column, mask=mask)
            return sitofp((sext if sign else zext)(found, to=i32), to=f32)

        with fn.loop(share.first, share.stop) as line:
            a, b, y = (words[name] + line.index * words["columns"] for name in ("a", "b", "y"))

            def vector(column: Value, left: Value | None) -> None:
                sums = []
                for v in range(VECTORS):
                    mask = None if left is None else prefix_mask(lanes, left - v * lanes)
                    first = read(a, column + v * lanes, mask, self.signs[0])
                    second = read(b, column + v * lanes, mask, self.signs[1])
                    sums.append(nearest(fn, fma(first, by, fma(second, with_, add)), x86=self.x86))
                halves = [pack_words(fn, *sums[i : i + 2], x86=self.x86) for i in (0, 2)]
                made = pack_bytes(fn, *halves, signed=self.signs[2], x86=self.x86)
                if self.x86:
                    quads = regroup(made, to=i32.x(lanes))
                    made = regroup(shuffle(quads, quads, indices=order), to=i8.x(whole))
                fn.store(made, y, column, mask=None if left is None else prefix_mask(whole, left))

            share.vectors(fn, whole, vector)


def weigh_bytes(count: int, types: tuple[str, str, str], threads: int) -> SweepPlan | str:
    """The kernel of `count` bytes of these types: of a, b and y; a sentence where there is none.

    a, b: (count,), by, with, add: numbers of float32 -> y: (count,), all C-contiguous.

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


def weigh(a: Array, b: Array, by: Array, with_: Array, add: Array, made: np.dtype[Any]) -> Array:
    """The same in NumPy, for factors whose products with bytes float64 adds up exactly.

    >>> numbers = [np.float32(each) for each in (0.5, 2.0, 1.0)]
    >>> weigh(np.uint8([9, 200]), np.int8([-3, 100]), *numbers, np.dtype(np.uint8))
    array([  0, 255], dtype=uint8)
    """
    inner = (b.astype(np.float64) * np.float64(with_) + np.float64(add)).astype(np.float32)
    sums = (a.astype(np.float64) * np.float64(by) + inner).astype(np.float32)
    limits = np.iinfo(made)
    return np.asarray(np.clip(np.rint(sums), limits.min, limits.max).astype(made))


__all__ = ["Weigh", "weigh", "weigh_bytes"]
