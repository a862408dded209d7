"""The epilogue of a register tile: bias, residual, activation, and the store into C.

A finished tile is turned, if its lanes do not lie along C's contiguous axis, goes through what a Product's Epilogue
asks for, becomes the output's type and is stored under a mask. C is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np

from ...lazy_dataclass import dataclass
from ...product import Activation
from ..ir.activations import FORMULAS
from ..ir.dots import halves
from ..ir.emitter import Function, prefix_mask
from ..ir.instructions import (
    Type,
    Value,
    bf16,
    bitcast,
    const,
    i1,
    i32,
    i64,
    maximum,
    minimum,
    ptr,
    splat,
)
from ..ir.shuffles import narrow, transpose, widen
from .tile import Tile
from .weighing import NEAREST, Addition


class Store(Enum):
    """How a tile's lines meet C's: see `TileEpilogue`."""

    LINES = "lanes along C's contiguous axis"
    TURNED = "rows along C's contiguous axis: squares are transposed"
    PLACED = "lanes along C's contiguous axis, each line where a table says"
    SCATTERED = "columns where a table says, rows a stride apart: lanes are stored singly"


@dataclass(frozen=True)
class Target:
    """Where a tile goes, at run time.

    c, residual: address of its first element. bias: of its first value. stride: bytes from one line of C to the next,
    a line being what is contiguous. count: how many of the tile's columns of C are stored. places: for PLACED and
    SCATTERED, the table of each column's distance from c in bytes. between: bytes from one block of C's rows to the
    next, where they are stored in blocks and lanes lie along them.
    """

    c: Value
    residual: Value
    bias: Value
    stride: Value
    count: Value
    places: Value
    between: Value | None = None


@dataclass(frozen=True)
class TileEpilogue:
    """How finished elements are stored: as type `out`, after bias, residual and activation.

    `along_m`: lanes lie along rows of C (the tile's rows are C's columns); otherwise along its columns. `block`: rows
    of C lie side by side in blocks of so many; a tile begins with one, or is part of one. 0: they are evenly apart.
    `flushed`: bfloat16 is made by the CPU's own instruction, which takes denormals for zero. `addition`: what bytes are
    weighed by, that of the residual too.
    """

    out: Type
    bias: bool
    residual: bool
    activation: Activation | None
    along_m: bool
    store: Store
    block: int = 0
    flushed: bool = False
    addition: Addition | None = None

    def emit(self, fn: Function, tile: Tile, sums: list[list[Value]], to: Target, rows: int) -> None:
        """Stores a tile of `rows` rows of C (a constant) and `to.count` columns."""
        n = tile.lanes
        if self.store is Store.TURNED:
            for first in range(0, tile.rows, n):
                mask = prefix_mask(n, to.count - first)
                for v in range(tile.vectors):
                    lines = transpose([row[v] for row in sums[first : first + n]])
                    for i, line in enumerate(lines[: max(min(rows - v * n, n), 0)]):
                        at = to.stride * (v * n + i) + first * self.out.bytes
                        self._line(fn, line, self._bias(fn, tile, to, v * n + i), to, at, mask)
        elif self.along_m:
            masks = [prefix_mask(n, rows - v * n) for v in range(tile.vectors)]
            vector = tile.work.x(n)
            biases = [
                fn.load(to.bias, vector, v * vector.bytes, mask=mask) if self.bias else None
                for v, mask in enumerate(masks)
            ]
            for column, row in enumerate(sums):
                with fn.if_(to.count > column):
                    placed = self.store is not Store.LINES
                    begin = fn.load(to.places, i64, column * 8) if placed else to.stride * column
                    for v, each in enumerate(row):
                        if self.store is Store.SCATTERED:
                            down = const(i64.x(n), range(v * n, v * n + n)) * splat(to.stride, lanes=n)
                            self._scatter(fn, each, biases[v], to, down + splat(begin, lanes=n), masks[v])
                        else:
                            for along, mask in self._pieces(v * n, min(v * n + n, rows), n, to):
                                self._line(fn, each, biases[v], to, begin + along, mask)
        else:
            masks = [prefix_mask(n, to.count - v * n) for v in range(tile.vectors)]
            for r, row in enumerate(sums[:rows]):
                bias = self._bias(fn, tile, to, r)
                for v, each in enumerate(row):
                    if self.store is Store.SCATTERED:
                        across = fn.load(to.places, i64.x(n), v * n * 8)
                        self._scatter(fn, each, bias, to, across + splat(to.stride * r, lanes=n), masks[v])
                    else:
                        self._line(fn, each, bias, to, to.stride * r + v * n * self.out.bytes, masks[v])

    def _pieces(self, row: int, end: int, lanes: int, to: Target) -> Iterator[tuple[Value | int, Value]]:
        """Each block that the rows from `row` up to `end` meet: where lane 0 would lie, and which lanes it has."""
        if to.between is None:
            yield row * self.out.bytes, prefix_mask(lanes, end - row)
            return
        for number in range(row // self.block, -(-end // self.block)):
            first, stop = number * self.block - row, min((number + 1) * self.block, end) - row
            there = [first <= lane < stop for lane in range(lanes)]
            yield to.between * number - first * self.out.bytes, const(i1.x(lanes), 1 if all(there) else there)

    def _bias(self, fn: Function, tile: Tile, to: Target, row: int) -> Value | None:
        if not self.bias:
            return None
        return splat(fn.load(to.bias, tile.work, row * tile.work.bytes), lanes=tile.lanes)

    def _line(
        self, fn: Function, line: Value, bias: Value | None, to: Target, at: Value | int, mask: Value
    ) -> None:
        residual = (
            fn.load(to.residual + at, self.out.x(line.type.lanes), mask=mask) if self.residual else None
        )
        fn.store(self._finish(fn, line, bias, residual), to.c + at, mask=mask)

    def _scatter(
        self, fn: Function, line: Value, bias: Value | None, to: Target, places: Value, mask: Value
    ) -> None:
        vector = self.out.x(line.type.lanes)
        residual = gather_at(fn, to.residual, places, vector, mask) if self.residual else None
        scatter_at(fn, self._finish(fn, line, bias, residual), to.c, places, mask)

    def _finish(self, fn: Function, line: Value, bias: Value | None, residual: Value | None) -> Value:
        if bias is not None:
            line = line + bias
        if residual is not None and self.addition is not None:
            return self.addition.line(fn, line, residual)
        if residual is not None:
            line = line + widen(residual, line.type)
        line = activate(line, self.activation)
        if self.flushed and self.out is bf16:
            return bitcast(halves(fn, line), to=bf16)
        return narrow(line, self.out)


def output_bounds(out: np.dtype[Any], zero: int) -> tuple[int, int]:
    """The least and greatest of a type before its zero point is added, as the bits of two float32."""
    if out.kind not in "iu" or out.itemsize > 1:
        return 0, 0
    limits = np.iinfo(out)
    low, high = (
        struct.unpack("<q", struct.pack("<ff", float(each) - zero, 0.0))[0]
        for each in (limits.min, limits.max)
    )
    return low, high


def round_between(value: Value, low: Value, high: Value) -> Value:
    """Floats between two bounds as 32-bit integers of which the low 8 bits are right, halves to even."""
    return bitcast(minimum(maximum(value, low), high) + NEAREST, to=i32)


def gather_at(fn: Function, base: Value, places: Value, vector: Type, mask: Value) -> Value:
    """Lane i from `base + places[i]` (bytes) where the mask says so, else 0; no other lane is read."""
    where = fn.emit(
        f"getelementptr i8, ptr {base.name}, {places.type.text} {places.name}", ptr.x(vector.lanes)
    )
    zero = const(vector, 0.0 if vector.is_float else 0)
    return fn.emit(
        f"call {vector.text} @llvm.masked.gather.{vector.suffix}.{where.type.suffix}"
        f"({where.type.text} {where.name}, i32 {vector.scalar.bytes}, {mask.type.text} {mask.name}, "
        f"{vector.text} {zero.name})",
        vector,
    )


def scatter_at(fn: Function, value: Value, base: Value, places: Value, mask: Value) -> None:
    """Lane i to `base + places[i]` (bytes) where the mask says so."""
    where = fn.emit(
        f"getelementptr i8, ptr {base.name}, {places.type.text} {places.name}", ptr.x(value.type.lanes)
    )
    fn.do(
        f"call void @llvm.masked.scatter.{value.type.suffix}.{where.type.suffix}({value.type.text} {value.name}, "
        f"{where.type.text} {where.name}, i32 {value.type.scalar.bytes}, {mask.type.text} {mask.name})"
    )


def activate(line: Value, activation: Activation | None) -> Value:
    """The activation of a vector."""
    return line if activation is None else FORMULAS[activation.name](line, *activation.parameters)


__all__ = [
    "Store",
    "Target",
    "TileEpilogue",
    "activate",
    "gather_at",
    "output_bounds",
    "round_between",
    "scatter_at",
]
