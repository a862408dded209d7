"""The register tile: the innermost product, and what becomes of it.

    tile[r][v] = sum over k of  scalars[k, r] * vectors[k, v]        r < rows, v < vectors of `lanes` elements

One operand is broadcast, the other fills the vector lanes; which of A and B is which is the caller's choice:

    lanes along n    scalars = A, vectors = B: rows are rows of C, lanes its columns
    lanes along m    scalars = B, vectors = A: rows are columns of C, lanes its rows

The sum runs over k in order, one fused multiply-add each, whatever the tile: so the bits of a result depend on
neither tile nor lanes. A finished tile is added to the parts before it, then turned, if its lanes do not lie along
C's contiguous axis, goes through the epilogue and is stored under a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..product import Activation
from . import vecmath
from .instructions import Type, Value, const, fma, splat
from .ir import Function, prefix_mask
from .lanes import narrow, transpose, widen

UNROLL = 4  # steps of k in one turn: more lets LLVM's scheduler hoist loads until accumulators spill


@dataclass(frozen=True)
class Tile:
    """A register tile: `rows` broadcast scalars times `vectors` vectors of `lanes` elements of type `work`.

    `scalar_k`, `scalar_row` and `vector_k` are the byte strides of the operands; an operand's vectors are contiguous.
    """

    work: Type
    rows: int
    vectors: int
    lanes: int
    scalar_k: int
    scalar_row: int
    vector_k: int

    @property
    def vector(self) -> Type:
        """The type of one vector."""
        return self.work.x(self.lanes)

    @property
    def bytes(self) -> int:
        """Bytes of all accumulators."""
        return self.rows * self.vectors * self.vector.bytes

    def multiply(self, fn: Function, scalars: Value, vectors: Value, depth: Value) -> list[list[Value]]:
        """Emits the sum over `depth` steps (i64, may be 0); gives tile[r][v]."""
        zeros: list[Value | float] = [const(self.vector, 0.0)] * (self.rows * self.vectors)
        unrolled = depth - (depth & (UNROLL - 1))
        with fn.loop(0, unrolled, UNROLL, carried=[scalars, vectors, *zeros]) as loop:
            loop.carry(*self._steps(fn, loop.carried, UNROLL))
        with fn.loop(unrolled, depth, 1, carried=loop.results) as rest:
            rest.carry(*self._steps(fn, rest.carried, 1))
        totals = rest.results[2:]
        return [totals[r * self.vectors : (r + 1) * self.vectors] for r in range(self.rows)]

    def _steps(self, fn: Function, carried: Sequence[Value], steps: int) -> list[Value]:
        scalars, vectors, *totals = carried
        for step in range(steps):
            held = [
                fn.load(vectors, self.vector, step * self.vector_k + v * self.vector.bytes)
                for v in range(self.vectors)
            ]
            for r in range(self.rows):
                one = fn.load(scalars, self.work, step * self.scalar_k + r * self.scalar_row)
                factor = splat(one, lanes=self.lanes)
                for v, vector in enumerate(held):
                    at = r * self.vectors + v
                    totals[at] = fma(factor, vector, totals[at])
        return [scalars + steps * self.scalar_k, vectors + steps * self.vector_k, *totals]

    def add_parts(self, fn: Function, tile: list[list[Value]], parts: Value) -> list[list[Value]]:
        """The tile plus the sum of the parts before it, which lies at `parts`."""
        size = self.vector.bytes
        return [
            [fn.load(parts, self.vector, (r * self.vectors + v) * size) + each for v, each in enumerate(row)]
            for r, row in enumerate(tile)
        ]

    def store_parts(self, fn: Function, tile: list[list[Value]], parts: Value) -> None:
        """Keeps the sum so far at `parts`."""
        for r, row in enumerate(tile):
            for v, each in enumerate(row):
                fn.store(each, parts, (r * self.vectors + v) * self.vector.bytes)


@dataclass(frozen=True)
class Finish:
    """How finished elements are stored: as type `out`, after bias, residual and activation.

    `turned`: the tile's rows, not its lanes, lie along C's contiguous axis.
    """

    out: Type
    bias: bool
    residual: bool
    activation: Activation | None
    turned: bool

    def emit(
        self,
        fn: Function,
        tile: Tile,
        sums: list[list[Value]],
        c: Value,
        residual: Value,
        bias: Value,
        stride: Value,
        count: Value,
        across: int,
    ) -> None:
        """Stores a tile.

        c, residual: address of its first element. stride: bytes from one line of C to the next, a line being what is
        contiguous. bias: address of the first value. count: how many elements of the tile's own extent along its
        rows (if turned) or lanes are stored, at run time; across: the same along the other axis, a constant.
        """
        if self.turned:
            self._turned(fn, tile, sums, c, residual, bias, stride, count, across)
        else:
            self._straight(fn, tile, sums, c, residual, bias, stride, count, across)

    def _turned(
        self,
        fn: Function,
        tile: Tile,
        sums: list[list[Value]],
        c: Value,
        residual: Value,
        bias: Value,
        stride: Value,
        count: Value,
        across: int,
    ) -> None:
        """Lanes are rows of C: transpose squares of lanes x lanes, then each line holds one row of C."""
        n = tile.lanes
        for first in range(0, tile.rows, n):
            mask = prefix_mask(n, count - first)
            for v in range(tile.vectors):
                lines = transpose([row[v] for row in sums[first : first + n]])
                for i, line in enumerate(lines[: max(min(across - v * n, n), 0)]):
                    row = v * n + i
                    at = stride * row + first * self.out.bytes
                    added = splat(fn.load(bias, tile.work, row * tile.work.bytes), lanes=n) if self.bias else None
                    self._line(fn, line, added, c + at, residual + at, mask)

    def _straight(
        self,
        fn: Function,
        tile: Tile,
        sums: list[list[Value]],
        c: Value,
        residual: Value,
        bias: Value,
        stride: Value,
        count: Value,
        across: int,
    ) -> None:
        """Rows are rows of C and lanes its columns: `across` rows are stored, `count` columns."""
        n = tile.lanes
        masks = [prefix_mask(n, count - v * n) for v in range(tile.vectors)]
        for r, row in enumerate(sums[:across]):
            added = splat(fn.load(bias, tile.work, r * tile.work.bytes), lanes=n) if self.bias else None
            for v, each in enumerate(row):
                at = stride * r + v * n * self.out.bytes
                self._line(fn, each, added, c + at, residual + at, masks[v])

    def _line(
        self, fn: Function, line: Value, bias: Value | None, c: Value, residual: Value, mask: Value
    ) -> None:
        if bias is not None:
            line = line + bias
        if self.residual:
            more = fn.load(residual, self.out.x(line.type.lanes), mask=mask)
            line = line + widen(more, line.type)
        line = activate(line, self.activation)
        fn.store(narrow(line, self.out), c, mask=mask)


def activate(line: Value, activation: Activation | None) -> Value:
    """The activation of a vector."""
    if activation is None:
        return line
    formula: Callable[..., Value] = getattr(vecmath, activation.name)
    return formula(line, *activation.parameters)


__all__ = ["UNROLL", "Finish", "Tile", "activate"]
