"""The register tile: the innermost product.

    tile[r][v] = sum over k of  scalars[k, r] * vectors[k, v]        r < rows, v < vectors of `lanes` elements

One operand is broadcast, the other fills the vector lanes; which of A and B is which is the caller's choice:

    lanes along n    scalars = A, vectors = B: rows are rows of C, lanes its columns
    lanes along m    scalars = B, vectors = A: rows are columns of C, lanes its rows

The sum runs over k in order, one fused multiply-add each, whatever the tile: so the bits of a result depend on
neither tile nor lanes. A tile is added to the parts before it, and kept for those behind it or handed to the epilogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...lazy_dataclass import dataclass
from ..ir.emitter import Function
from ..ir.instructions import Type, Value, const, fma, i64, splat

AHEAD, FARTHEST, AHEAD_FMAS, LINE = 2048, 4096, 448, 64
"""How far ahead of its use packed A is asked for, at most, the FMAs that this takes, and the bytes of a request.

Networks have more weights than caches hold, so A comes from memory, whose latency a CPU's own prefetching hides within
a page alone. At the rate of a tile's products 2 KiB last about as long as a read takes; more made no difference. A tile
of few rows is through with them sooner: 8 rows of two vectors ask 3.5 KiB ahead.
"""

SECOND_LEVEL = 2
"""Locality of a request that brings a line to the second-level cache, and no nearer."""

ASKED_EVERY = 2
"""Steps of k from one line that a tile asks for to the next: with one for each, its own reads waited for theirs."""

STEPS_AHEAD = 8
"""Steps of k ahead of which a tile that packs asks for what it reads: about the time that a near cache takes."""

UNROLL = 4
"""Steps of k in one turn of the loop: more are no quicker."""


def fetch_ahead(fn: Function, a: Value, size: int, ahead: int = AHEAD) -> None:
    """Emits requests for the `size` bytes that are read `ahead` bytes behind `a`, a packed A."""
    for line in range(0, size, LINE):
        fn.prefetch(a, ahead + line)


@dataclass(frozen=True)
class RowSteps:
    """How a tile walks over a copy of rows: `near` lines, `pitch` bytes apart, for each of `taps`, `down` apart."""

    pitch: Value
    down: Value
    taps: int
    near: int


@dataclass(frozen=True)
class Tile:
    """A register tile: `rows` broadcast scalars times `vectors` vectors of `lanes` elements of type `work`.

    `scalar_k` and `vector_k` (perhaps known at run time alone) and `scalar_row` are the byte strides of the operands;
    an operand's vectors are contiguous. `packed` is the operand that is a packed A, asked for ahead of its use.
    `group`: so many rows lie `scalar_row` apart, and each such group has an address of its own; 0: all rows have one.
    """

    work: Type
    rows: int
    vectors: int
    lanes: int
    scalar_k: int | Value
    scalar_row: int
    vector_k: int | Value
    packed: Literal["scalars", "vectors"] | None = None
    group: int = 0

    @property
    def groups(self) -> int:
        """Addresses that its scalars have."""
        return -(-self.rows // self.group) if self.group else 1

    @property
    def vector(self) -> Type:
        """The type of one vector."""
        return self.work.x(self.lanes)

    @property
    def bytes(self) -> int:
        """Bytes of all accumulators."""
        return self.rows * self.vectors * self.vector.bytes

    def multiply(
        self,
        fn: Function,
        scalars: Value,
        vectors: Value,
        depth: Value,
        copy: tuple[Value, int] | None = None,
        next_read: tuple[Value, Value] | None = None,
    ) -> list[list[Value]]:
        """Emits the sum over `depth` steps (i64, may be 0); gives tile[r][v].

        Both an address and the bytes from one k to the next: `copy` is where the vectors are written too (fused
        packing), `next_read` what other tiles will read: every second of its lines is asked for.
        """
        line = copy or next_read
        lines, pitch = ([line[0]], line[1]) if line else ([], 0)
        results = self._run(fn, depth, [scalars, vectors, *self._zeros(), *lines], pitch, asks=not copy)
        return self._by_row(results[2 : 2 + self.rows * self.vectors])

    def multiply_lines(
        self, fn: Function, scalars: Sequence[Value], vectors: Value, depth: Value, lines: tuple[Value, Value]
    ) -> list[list[Value]]:
        """Emits the sum over lines of `depth` steps, between which the scalars jump; gives tile[r][v].

        scalars: an address for each group of rows. lines: (table, count), how far each line lies from these, in bytes.
        """
        table, count = lines
        with fn.loop(0, count, carried=[vectors, *self._zeros()]) as line:
            ahead, *totals = line.carried
            moved = fn.load(table + line.index * i64.bytes, i64)
            results = self._run(fn, depth, [*(each + moved for each in scalars), ahead, *totals], 0)
            line.carry(*results[self.groups :])
        return self._by_row(line.results[1:])

    def multiply_rows(
        self, fn: Function, a: Value, copy: Value, depth: Value, steps: RowSteps
    ) -> list[list[Value]]:
        """Emits the sum over `depth` times taps times near steps, whose B lies in a copy of rows; gives tile[r][v].

        a: the packed operand, in the order of the sum.
        """
        scalars_packed = self.packed == "scalars"
        pace = self.scalar_k if scalars_packed else self.vector_k
        assert isinstance(pace, int)
        lines = [steps.pitch * near for near in range(1, steps.near)]
        with fn.loop(0, depth, carried=[a, copy, *self._zeros()]) as outer:
            a, copy, *totals = outer.carried
            with fn.loop(0, steps.taps, carried=[a, copy, *totals], at_least_once=True) as tap:
                here, there, *totals = tap.carried
                fetch_ahead(fn, here, steps.near * pace)
                for near in range(steps.near):
                    if near:
                        fn.keep_order()
                    at = there + lines[near - 1] if near else there
                    if scalars_packed:
                        self._add_products(fn, self._load(fn, at, 0), [here], near * pace, totals)
                    else:
                        self._add_products(fn, self._load(fn, here, near * pace), [at], 0, totals)
                tap.carry(here + steps.near * pace, there + steps.down, *totals)
            outer.carry(tap.results[0], copy + steps.pitch * steps.near, *tap.results[2:])
        return self._by_row(outer.results[2:])

    def _zeros(self) -> list[Value]:
        return [const(self.vector, 0.0)] * (self.rows * self.vectors)

    def _by_row(self, totals: Sequence[Value]) -> list[list[Value]]:
        return [[*totals[r * self.vectors : (r + 1) * self.vectors]] for r in range(self.rows)]

    def _run(
        self, fn: Function, depth: Value, carried: list[Value], pitch: int | Value, *, asks: bool = False
    ) -> list[Value]:
        """`depth` steps, `UNROLL` in a turn: addresses of scalars and vectors, totals, and a line beside them.

        The line, if there is one, is asked for, or the vectors are written there.
        """
        unrolled = depth - (depth & (UNROLL - 1))
        with fn.loop(0, unrolled, UNROLL, carried=carried) as loop:
            loop.carry(*self._steps(fn, loop.carried, UNROLL, pitch, asks=asks))
        with fn.loop(unrolled, depth, 1, carried=loop.results) as rest:
            rest.carry(*self._steps(fn, rest.carried, 1, pitch, asks=asks))
        return rest.results

    def _steps(
        self, fn: Function, carried: Sequence[Value], steps: int, pitch: int | Value, *, asks: bool
    ) -> list[Value]:
        scalars, vectors = carried[: self.groups], carried[self.groups]
        totals = [*carried[self.groups + 1 :]]
        lines = totals[self.rows * self.vectors :]
        if self.packed:
            a, pace = (scalars[0], self.scalar_k) if self.packed == "scalars" else (vectors, self.vector_k)
            assert isinstance(pace, int)
            fetch_ahead(fn, a, steps * pace, self._ahead(pace))
        for step in range(steps):
            if step:
                fn.keep_order()  # vectors of the next step, loaded already, would push accumulators out
            held = self._load(fn, vectors, step * self.vector_k)
            for line in lines:
                beside = line + step * pitch
                if not asks:
                    self._copy(fn, held, beside, vectors + (step + STEPS_AHEAD) * self.vector_k)
                elif step % ASKED_EVERY == 0:
                    fn.prefetch(beside, locality=SECOND_LEVEL)
            self._add_products(fn, held, scalars, step * self.scalar_k, totals)
        return [
            *(each + steps * self.scalar_k for each in scalars),
            vectors + steps * self.vector_k,
            *totals[: self.rows * self.vectors],
            *(line + steps * pitch for line in lines),
        ]

    def _ahead(self, pace: int) -> int:
        """Bytes ahead of its use that packed A is asked for; `pace`: those of one k."""
        return min(max(AHEAD, AHEAD_FMAS // (self.rows * self.vectors) * pace), FARTHEST)

    def _load(self, fn: Function, vectors: Value, at: int | Value) -> list[Value]:
        """The vectors of one k."""
        return [fn.load(vectors, self.vector, at + v * self.vector.bytes) for v in range(self.vectors)]

    def _add_products(
        self,
        fn: Function,
        held: Sequence[Value],
        scalars: Sequence[Value],
        offset: int | Value,
        totals: list[Value],
    ) -> None:
        """Adds the products of one k: its vectors, and scalars so many bytes from their addresses."""
        for r in range(self.rows):
            group, place = divmod(r, self.group or self.rows)
            at = offset + place * self.scalar_row
            factor = splat(fn.load(scalars[group], self.work, at), lanes=self.lanes)
            for v, vector in enumerate(held):
                totals[r * self.vectors + v] = fma(factor, vector, totals[r * self.vectors + v])

    def _copy(self, fn: Function, held: Sequence[Value], to: Value, ahead: Value) -> None:
        """Writes the vectors of a step to a panel, and asks for those of a later step."""
        for v, vector in enumerate(held):
            fn.prefetch(ahead, v * vector.type.bytes)
            fn.store(vector, to, v * vector.type.bytes)

    def add_parts(self, fn: Function, tile: list[list[Value]], parts: Value) -> list[list[Value]]:
        """The tile plus the sum of the parts before it, which lies at `parts`."""
        size = self.vector.bytes
        return [
            [fn.load(parts, self.vector, (r * self.vectors + v) * size) + each for v, each in enumerate(row)]
            for r, row in enumerate(tile)
        ]

    def load_parts(self, fn: Function, parts: Value) -> list[list[Value]]:
        """The sum so far, from `parts`."""
        size = self.vector.bytes
        return [
            [fn.load(parts, self.vector, (r * self.vectors + v) * size) for v in range(self.vectors)]
            for r in range(self.rows)
        ]

    def store_parts(self, fn: Function, tile: list[list[Value]], parts: Value) -> None:
        """Keeps the sum so far at `parts`."""
        for r, row in enumerate(tile):
            for v, each in enumerate(row):
                fn.store(each, parts, (r * self.vectors + v) * self.vector.bytes)


__all__ = ["LINE", "SECOND_LEVEL", "UNROLL", "RowSteps", "Tile", "fetch_ahead"]
