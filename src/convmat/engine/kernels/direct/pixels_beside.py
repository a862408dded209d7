"""The direct kernel on narrow maps, no wider than a vector: rows of y lie side by side in it.

    lane = row * width + column      row < beside = lanes // width, and width = I1 = P1, so rows of x follow each other

A line is as many rows of x, from one of them on: one load, of which a tap takes the lanes that lie its distance further
on, zero where that is another row. So a tap costs a shuffle where it would cost a load, which mostly crosses a cache
line, and no lane is wasted but those behind the last whole row. Rows outside x are masked, not branched around: at the
top and the bottom of a plane, which is small, rows inside and outside share vectors.

Each sum is what `pixels` makes it, its terms in the same order. All planes have the same masks, from a table.
"""

from __future__ import annotations

from collections.abc import Callable

from ....lazy_dataclass import dataclass
from ...ir.instructions import (
    Value,
    const,
    equal,
    greater_equal,
    lanes_of_bits,
    less,
    ptr,
    shuffle,
)
from .beside import mask_bytes, mask_type
from .pixels import PixelsRecipe
from .pixels_block import PixelLine, PixelPlace
from .pixels_loop import Planes
from .strided_loads import Reads


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
        self._bytes = mask_bytes(recipe)

    def begin_planes(self) -> None:
        """Emits where masks are, those of columns, and whether whole rows fill a vector."""
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
        n, kind = self.lanes, mask_type(self.r)
        if self.r.signs:
            return less(self.fn.load(at, kind.x(n)), const(kind.x(n), 0))
        return lanes_of_bits(self.fn.load(at, kind))


__all__ = ["PlanesBeside"]
