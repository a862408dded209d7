"""Lookup: a function of single bytes, given as what it makes of each of the 256 there are.

    y[l, c] = table[l mod cycle, x[l, c]]        l over lines, bytes as they lie, whatever they stand for

Where a CPU permutes the bytes of whole registers (AVX-512 VBMI) a table lies in four of them, and 64 bytes are looked
up at once: two permutations choose by the low seven bits, the highest chooses between them. Elsewhere bytes are looked
up one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, const, i8, i64, less, select, urem, zext
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

BYTES = 256

LANES = 64
"""Bytes of a register that permutes them."""


@dataclass(frozen=True)
class Lookup(SweepRecipe):
    """`permutes`: whether the CPU permutes the bytes of whole registers."""

    permutes: bool
    words = ("cycle",)
    arrays = ("x", "table", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line."""
        with fn.loop(share.first, share.stop) as line:
            at = line.index * words["columns"]
            x, y = words["x"] + at, words["y"] + at
            table = words["table"] + urem(line.index, words["cycle"]) * BYTES
            if self.permutes:
                self._permute(fn, share, x, table, y)
            else:
                with fn.loop(share.begin, share.end) as column:
                    byte = zext(fn.load(x, i8, column.index), to=i64)
                    fn.store(fn.load(table, i8, byte), y, column.index)

    def _permute(self, fn: Function, share: Share, x: Value, table: Value, y: Value) -> None:
        """A register at a time."""
        kind = i8.x(LANES)
        parts = [fn.load(table, kind, first) for first in range(0, BYTES, LANES)]

        def pick(low: Value, high: Value, by: Value) -> Value:
            name, text = "llvm.x86.avx512.vpermi2var.qi.512", kind.text
            return fn.emit(
                f"call {text} @{name}({text} {low.name}, {text} {by.name}, {text} {high.name})", kind
            )

        def vector(column: Value, left: Value | None) -> None:
            mask = None if left is None else prefix_mask(LANES, left)
            found = fn.load(x, kind, column, mask=mask)
            halves = pick(parts[0], parts[1], found), pick(parts[2], parts[3], found)
            fn.store(select(less(found, const(kind, 0)), halves[1], halves[0]), y, column, mask=mask)

        share.vectors(fn, LANES, vector, 2)


def lookup(lines: int, columns: int, cycle: int, threads: int) -> SweepPlan | str:
    """The kernel that looks bytes up; a sentence where there is none.

    x: (lines, columns), table: (cycle, 256) -> y: (lines, columns), all of bytes and C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(lookup(1, 3, 1, 1))
    >>> made.load()
    >>> y = np.empty((1, 3), np.uint8)
    >>> made(np.array([[0, 7, 255]], np.uint8), np.arange(256, dtype=np.uint8)[None, ::-1].copy(), y)
    >>> y
    array([[255, 248,   0]], dtype=uint8)
    """
    if refusal := kernel_refusal():
        return refusal
    if not lines or not columns or not cycle:
        return f"takes lines with elements, got {lines} of {columns}"
    words, tasks = share_lines(lines, columns, threads, whole=False)
    return SweepPlan(Lookup(host().vbmi), {**words, "cycle": cycle}, tasks, threads, lines * columns)


__all__ = ["Lookup", "lookup"]
