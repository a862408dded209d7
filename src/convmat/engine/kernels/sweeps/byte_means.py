"""Means of lines of bytes, as bytes: of a quantised GlobalAveragePool, from sums of integers.

    y[l] = saturate(round(sum of x[l] * scale + add))        halves to even, product and sum rounded to float32

Lanes lie along a line, four bytes in each: what multiplies bytes sums them, times 1. Bytes with a sign are moved by 128
and are numbers from 0 to 255 like others, which `scale` and `add` know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.dots import Unit, constant_bytes, dot, unit_of, unsigned_bytes
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Value,
    const,
    f32,
    fptosi,
    i8,
    i32,
    i64,
    maximum,
    minimum,
    regroup,
    rint,
    select,
    sitofp,
    trunc,
)
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

Array = npt.NDArray[Any]

BYTES = ("uint8", "int8")

MOST_SUMMED = 1 << 16
"""Bytes of a line, at most: float32 then holds every sum."""

SIGN = -128
"""The sign bit of a byte: with it flipped, an int8 is a uint8 that is greater by 128."""


@dataclass(frozen=True)
class ByteMeans(SweepRecipe):
    """Whether x and y have signs, 32-bit lanes of a vector, and what multiplies bytes."""

    signs: tuple[bool, bool]
    lanes: int
    unit: Unit
    words = ()
    arrays = ("x", "scale", "add", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line, each in a vector of sums that is added up at its end."""
        whole, zero = 4 * self.lanes, const(i32.x(self.lanes), 0)
        columns, scale, add = words["columns"], fn.load(words["scale"], f32), fn.load(words["add"], f32)
        limits = np.iinfo(np.int8 if self.signs[1] else np.uint8)
        with fn.loop(share.first, share.stop) as line:
            start = words["x"] + line.index * columns
            with fn.loop(0, columns - (whole - 1), whole, carried=[zero, const(i64, 0)]) as main:
                total, _ = main.carried
                main.carry(self._add(fn, total, start + main.index, None), main.index + whole)
            total, at = main.results
            with fn.loop(at, columns, whole, carried=[total]) as rest:
                mask = prefix_mask(whole, columns - rest.index)
                rest.carry(self._add(fn, rest.carried[0], start + rest.index, mask))
            (total,) = rest.results
            name = f"llvm.vector.reduce.add.{total.type.suffix}"
            summed = fn.emit(f"call i32 @{name}({total.type.text} {total.name})", i32)
            value = sitofp(summed, to=f32) * scale + add
            value = rint(minimum(maximum(value, float(limits.min)), float(limits.max)))
            fn.store(trunc(fptosi(value, to=i32), to=i8), words["y"], line.index)

    def _add(self, fn: Function, total: Value, at: Value, mask: Value | None) -> Value:
        """The bytes of a vector added to the sums; of a masked one, those in its mask."""
        found = fn.load(at, i8.x(4 * self.lanes), mask=mask)
        if self.signs[0]:
            moved = found ^ SIGN
            found = moved if mask is None else select(mask, moved, const(found.type, 0))
        ones = constant_bytes([1] * 4, self.lanes, self.unit)
        quads = unsigned_bytes(regroup(found, to=total.type), self.unit)
        return dot(fn, total, quads, ones, self.unit) + 4 * self.unit.moved


def byte_means(lines: int, columns: int, types: tuple[str, str], threads: int) -> SweepPlan | str:
    """The kernel of means of lines of bytes, of these types of x and y; a sentence where there is none.

    x: (lines, columns), scale, add: numbers of float32 -> y: (lines,), all C-contiguous.

    >>> from convmat.engine import Sweep
    >>> made = Sweep(byte_means(2, 3, ("uint8", "int8"), 1))
    >>> made.load()
    >>> y = np.empty(2, np.int8)
    >>> made(np.array([[1, 2, 6], [0, 0, 9]], np.uint8), np.array(1 / 3, "f4"), np.array(-8, "f4"), y)
    >>> y
    array([-5, -5], dtype=int8)
    """
    if refusal := kernel_refusal():
        return refusal
    if not lines or not 0 < columns <= MOST_SUMMED or not {*types} <= {*BYTES}:
        return f"takes lines of up to {MOST_SUMMED} bytes, got {lines} of {columns} {types[0]}"
    words, tasks = share_lines(lines, columns, threads, whole=True)
    recipe = ByteMeans((types[0] == "int8", types[1] == "int8"), host().lanes(4), unit_of(host()))
    return SweepPlan(recipe, words, tasks, threads, lines * columns)


def mean_bytes(x: Array, scale: Array, add: Array, made: np.dtype[Any]) -> Array:
    """The same in NumPy: x: (.., columns) -> (..).

    >>> mean_bytes(np.uint8([1, 2, 6]), np.float32(1 / 3), np.float32(-8), np.dtype(np.int8)).tolist()
    -5
    """
    sums = x.sum(-1, dtype=np.int64) - (SIGN * x.shape[-1] if x.dtype.kind == "i" else 0)
    limits = np.iinfo(made)
    found = sums.astype(np.float32) * np.float32(scale) + np.float32(add)
    return np.asarray(np.rint(np.clip(found, limits.min, limits.max)).astype(made))


__all__ = ["MOST_SUMMED", "ByteMeans", "byte_means", "mean_bytes"]
