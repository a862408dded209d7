"""Floats of a register tile as bytes of C: rounded, packed with saturation, put in order, stored.

    y = saturate(round(v) + zero)        halves to even

Four vectors of 32 bits become one of bytes, whose blocks of 16 hold four rows of each; the zero point is added between,
at 16 bits, where what saturates is beyond the bounds of a byte with it as well. Where lanes lie along C's lines, the
vectors are those of one column, or of several; where tiles are turned, they are of four columns. With a residual, the
bytes in order are weighed and rounded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from ...ir.dots import X86
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Value, const, i8, i16, i32, poison, regroup, shuffle, splat, trunc
from ...ir.saturation import add_saturating, nearest, pack_bytes, pack_words
from ...ir.shuffles import concat, lane_range, transpose_blocks
from ..epilogue import Target, TileEpilogue
from ..tile import Tile
from ..weighing import Addition
from .pack_x import SQUARE
from .recipe import QUAD, QuadsRecipe


class BytesWriter:
    """Writes the bytes of C of some columns; `zero`: C's zero point, of 64 bits, where they are not rounded again.

    `addition`: what weighs them and a residual, which is so far `apart`: then each has few addresses.
    """

    def __init__(
        self, fn: Function, recipe: QuadsRecipe, zero: Value, addition: Addition | None, apart: Value | None
    ) -> None:
        self.fn, self.r, self.lanes, self.addition = fn, recipe, recipe.lanes, addition
        self.x86, self.apart = recipe.unit in X86, apart
        words = 2 * recipe.lanes
        self._zero = const(i16.x(words), 0) if recipe.requantise else splat(trunc(zero, to=i16), lanes=words)

    def _four(self, values: Sequence[Value]) -> Value:
        """Up to four vectors of floats: in block b of 16 bytes lie rows 4*b .. 4*b + 3 of the first, the second, .."""
        fn, x86 = self.fn, self.x86
        whole = [nearest(fn, each, x86=x86, bounded=self.r.requantise) for each in values]
        pairs = [(a, b) for a, b in zip_longest(whole[::2], whole[1::2], fillvalue=whole[0])]
        words = [add_saturating(fn, pack_words(fn, *pair, x86=x86), self._zero) for pair in pairs]
        words = [words[0], words[-1]]
        return pack_bytes(fn, *words, signed=self.r.out_signed, x86=x86)

    def store_turned(self, columns: Sequence[Value], to: Target, rows: int) -> None:
        """Stores a vector of rows of each column: 16 columns of a row lie side by side."""
        fn, lanes = self.fn, self.lanes
        # Within a block the bytes are (column, row) of four by four; they become (row, column).
        inside = [QUAD * (at % QUAD) + at // QUAD for at in range(SQUARE)]
        turn = [block * SQUARE + at for block in range(lanes // QUAD) for at in inside]
        for first in range(0, len(columns), SQUARE):
            words = []
            for at in range(first, first + SQUARE, QUAD):
                if at >= len(columns):
                    words.append(poison(i32.x(lanes)))
                    continue
                made = self._four(columns[at : min(at + QUAD, first + SQUARE)])
                words.append(regroup(shuffle(made, made, indices=turn), to=i32.x(lanes)))
            mask = prefix_mask(SQUARE, to.count - first)
            for j, word in enumerate(transpose_blocks(words)[:rows]):
                made = regroup(word, to=i8.x(4 * lanes))
                if self.addition is not None:
                    made = self.addition.line(fn, made, self._residual(to, j, first, rows))
                for block in range(lanes // QUAD):
                    row = block * QUAD + j
                    if row < rows:
                        piece = made if lanes == QUAD else lane_range(made, block * SQUARE, SQUARE)
                        fn.store(piece, to.c + to.stride * row, first, mask=mask)

    def _residual(self, to: Target, j: int, first: int, rows: int) -> Value:
        """Residuals of 16 columns of each fourth row, as many as there are."""
        assert self.apart is not None
        piece, pieces, mask = i8.x(SQUARE), [], prefix_mask(SQUARE, to.count - first)
        for row in range(j, self.lanes, QUAD):
            place = to.c + to.stride * row + self.apart
            pieces.append(self.fn.load(place, piece, first, mask=mask) if row < rows else poison(piece))
        return concat(pieces)

    def store_lines(self, values: Sequence[Value], columns: int, rows: int, to: Target) -> None:
        """Stores columns of some vectors of rows, which lie along C's lines or where a table says."""
        r, lanes, vectors = self.r, self.lanes, len(values) // columns
        whole = 1 << (vectors - 1).bit_length()  # vectors of a line, a power of two
        at_once, blocks = QUAD // whole, lanes // QUAD
        # Of dwords: block b of vector v lies at 4*b + v, and goes to v's block b.
        order = [QUAD * block + vector for vector in range(QUAD) for block in range(blocks)]
        lines = []
        for first in range(0, columns, at_once):
            some = values[first * vectors : (first + at_once) * vectors]
            made = regroup(self._four(some), to=i32.x(lanes))
            ordered = regroup(shuffle(made, made, indices=order), to=i8.x(QUAD * lanes))
            size = whole * lanes
            lines += [
                [ordered if at_once == 1 else lane_range(ordered, at * size, size)]
                for at in range(min(at_once, columns - first))
            ]
        tile = Tile(i8, columns, 1, whole * lanes, 0, 0, 0)
        TileEpilogue(
            r.out, False, self.addition is not None, None, True, r.store, r.block, addition=self.addition
        ).emit(self.fn, tile, lines, to, rows)


__all__ = ["BytesWriter"]
