"""The direct kernel on narrow maps, no wider than a vector: rows of y lie side by side in it.

    lane = row * width + column      row < beside = lanes // width, and width = I1 = P1, so rows of x follow each other

A line is as many rows of x, from one of them on: one load, of which a tap takes the lanes that lie its distance further
on, zero where that is another row. So a tap costs a shuffle where it would cost a load, which mostly crosses a cache
line, and no lane is wasted but those behind the last whole row. Rows outside x are masked, not branched around: at the
top and the bottom of a plane, which is small, rows inside and outside share vectors.

Each sum is what `pixels` makes it, its terms in the same order. All planes have the same masks, from a table:

    [tap along a row]   columns whose tap is inside x
    [vector of y]       rows that y has
    [line of x]         rows that x has
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....lazy_dataclass import dataclass
from ...ir.instructions import (
    Type,
    Value,
    const,
    equal,
    greater_equal,
    i8,
    i16,
    i32,
    i64,
    lanes_of_bits,
    less,
    ptr,
    shuffle,
)
from ...operands import Array
from .pixels import PixelsRecipe
from .pixels_block import PixelLine, PixelPlace
from .pixels_loop import Planes
from .planes import WindowSteps
from .strided_loads import Reads

MOST_MASKED = 1024
"""Rows of a plane: of more there would be more masks than a first-level cache keeps beside x and y."""


@dataclass(frozen=True)
class BesidePlace(PixelPlace):
    """A block of vectors of rows, with the masks of its vectors of y and lines of x, and the rows of y from it on."""

    y_masks: Value
    x_masks: Value
    left: Value


class PlanesBeside(Planes):
    """Writes the function of planes whose rows lie `beside` each other in vectors."""

    def __init__(self, recipe: PixelsRecipe) -> None:
        super().__init__(recipe, recipe.lanes, edges_only=False)
        self._bytes = _mask_bytes(recipe)

    def before(self) -> None:
        """Where masks are, those of columns, and whether whole rows fill a vector."""
        r, table = self.r, self.arguments.load(self.fn, self._args, "masks", ptr)
        assert isinstance(self.reads, Reads)
        self._columns = {
            distance: self.reads.keep(self._mask(table + tap * self._bytes))
            for tap, distance in enumerate(r.lane.distances)
            if distance != r.low
        }
        self._y_masks = table + r.lane.taps * self._bytes
        self._x_masks = self._y_masks + self.word("rows") * self._bytes
        self._full = equal(self.word("columns") * r.beside, self.lanes)

    def row(
        self,
        x: Value,
        y: Value,
        residual: Value,
        row: Value,
        rows: int,
        inside: Value | None,
        *,
        checked: bool,
    ) -> None:
        """`rows` vectors of rows from number `row` on, all of them under masks."""
        first, size = row * self.r.beside, self._bytes
        x_line, y_step, left = self.word("x row"), self.word("y row"), self.word("y rows") - first
        masks = self._y_masks + row * size, self._x_masks + first * size
        self.block(BesidePlace(x, y, residual, x_line, y_step, None, None, *masks, left), rows)

    def expect(self, place: PixelPlace, rows: int) -> None:
        """Fetches nothing: small planes lie behind each other."""

    def fetch(self, place: PixelPlace, x: Value, rows: int) -> None:
        """Fetches nothing."""

    def vectors(self, place: PixelPlace, line: PixelLine) -> Callable[[int], Value]:
        """The rows of a line as they lie, and moved for each tap."""
        r, n, reads = self.r, self.lanes, self.reads
        assert isinstance(place, BesidePlace)
        assert isinstance(reads, Reads)
        mask = self._mask(place.x_masks + line.number * self._bytes)
        here = reads.whole(self.fn, line.x, r.low, mask)

        def vector(distance: int) -> Value:
            by = distance - r.low
            if not by:
                return here
            moved = shuffle(here, here, indices=[(lane + by) % n for lane in range(n)])
            return reads.inside(moved, self._columns[distance])

        return vector

    def store_mask(self, place: PixelPlace, row: int) -> tuple[Value | None, Value | None]:
        """The rows of a vector that y has."""
        assert isinstance(place, BesidePlace)
        mask = self._mask(place.y_masks + row * self._bytes)
        return mask, self._full & greater_equal(place.left, (row + 1) * self.r.beside)

    def _mask(self, at: Value) -> Value:
        """A mask of the table."""
        n, kind = self.lanes, _mask_type(self.r)
        if self.r.signs:
            return less(self.fn.load(at, kind.x(n)), const(kind.x(n), 0))
        return lanes_of_bits(self.fn.load(at, kind))


def _mask_type(recipe: PixelsRecipe) -> Type:
    """What a mask is made of: a bit a lane in a register of its own, or a vector of signs."""
    if recipe.signs:
        return i64 if recipe.work.bytes == 8 else i32
    return i16 if recipe.lanes == 16 else i8


def _mask_bytes(recipe: PixelsRecipe) -> int:
    return _mask_type(recipe).bytes * (recipe.lanes if recipe.signs else 1)


def mask_table(
    recipe: PixelsRecipe, rows: WindowSteps, width: int, offset: int, x_rows: int, y_rows: int
) -> Array:
    """The masks of a plane, in the order of the module; `offset`: of the first window's first row.

    width: of rows of x and of y, in elements; x_rows, y_rows: how many there are -> bytes.
    """
    row, column = np.divmod(np.arange(recipe.lanes), width)
    vectors = -(-y_rows // recipe.beside)
    lines = (vectors - 1) * recipe.beside + rows.reach + 1
    taps = column + np.array(recipe.lane.distances)[:, None] - recipe.low
    stored = row + recipe.beside * np.arange(vectors)[:, None]
    read = row + np.arange(lines)[:, None] + offset
    masks = np.concatenate(
        [
            (taps >= 0) & (taps < width),
            (stored < y_rows) & (row < recipe.beside),
            (read >= 0) & (read < x_rows),
        ]
    )
    if recipe.signs:
        return (-masks.astype(_mask_type(recipe).dtype)).view(np.uint8).ravel()
    return np.packbits(masks, axis=1, bitorder="little").ravel()


__all__ = ["MOST_MASKED", "PlanesBeside", "mask_table"]
