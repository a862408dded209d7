"""What is constant in the kernel of a long filter in pieces, and what those who write it share."""

from __future__ import annotations

from typing import Any

from ....lazy_dataclass import dataclass
from ....product import Activation, Matrix, Transform
from ...ir.arguments import Arguments
from ...ir.instructions import Type
from ..winograd.writer import TransformWriter, largest_square

TALLEST = 14
"""Columns of C of a register tile, two vectors of rows wide."""

BLOCK = 4
"""Vectors of rows, and of columns, of the C that a task sums: with AVX-512 64 x 64, at all points 600 KiB."""

SHARED = 64
"""Blocks of C that several tasks may sum, each a part of k."""


@dataclass(frozen=True)
class Operand:
    """A (w) or B (x): what it is called, its matrices along rows and columns, and how it lies.

    `piece`: from one tile to the next, in elements `apart` of each other, as those of a tile are.
    `turned`: it is contiguous along its columns, and its channels come side by side by transposing; otherwise they
    lie so. `left`: how many channels there are.
    """

    name: str
    rows: Matrix
    columns: Matrix
    piece: tuple[int, int]
    apart: tuple[int, int]
    turned: bool
    channels: int

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return len(self.rows[0]), len(self.columns[0])

    def tiles(self, axis: int, reach: int, most: int) -> int:
        """Tiles that read so many rows or columns, `most` at most, at least one."""
        fits = ((reach - 1) // self.apart[axis] - (self.window[axis] - 1)) // self.piece[axis] + 1
        return max(min(fits, most), 1)

    def reach(self, axis: int, tiles: Any) -> Any:
        """Rows or columns of the array that so many tiles side by side read."""
        return ((tiles - 1) * self.piece[axis] + (self.window[axis] - 1)) * self.apart[axis] + 1


@dataclass(frozen=True)
class PiecesRecipe:
    """All that is constant in the kernel: the transforms along both axes, types, m, n, and how operands lie.

    `apart`: how far elements of a window of B lie from each other. `flat`: the outputs of a row and column of C lie one
    after the other; `scattered`: not even those of one line of it do.
    """

    rows: Transform
    columns: Transform
    work: Type
    lanes: int
    tallest: int
    m: int
    n: int
    x_turned: bool
    w_turned: bool
    apart: tuple[int, int]
    flat: bool
    scattered: bool
    bias: bool
    residual: bool
    activation: Activation | None

    @property
    def x(self) -> Operand:
        """B: tiles overlap."""
        piece = len(self.rows.pre_a[0]), len(self.columns.pre_a[0])
        return Operand("x", self.rows.pre_b, self.columns.pre_b, piece, self.apart, self.x_turned, self.n)

    @property
    def w(self) -> Operand:
        """A: the pieces of the filter."""
        piece = len(self.rows.pre_a[0]), len(self.columns.pre_a[0])
        return Operand("w", self.rows.pre_a, self.columns.pre_a, piece, (1, 1), self.w_turned, self.m)

    @property
    def points(self) -> int:
        """Products: one for each pair of points."""
        return self.rows.points * self.columns.points

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns of a tile of C's window."""
        return len(self.rows.post), len(self.columns.post)

    @property
    def vector_bytes(self) -> int:
        """Bytes of a vector."""
        return self.lanes * self.work.bytes

    @property
    def width(self) -> int:
        """Rows of A in a register tile: two vectors, one where there are no more."""
        return self.lanes * min(-(-self.m // self.lanes), 2)

    @property
    def tall(self) -> int:
        """Register tiles of rows in a block of C."""
        return min(BLOCK * self.lanes, -(-self.m // self.width) * self.width) // self.width

    @property
    def m_blocks(self) -> int:
        """Blocks of C's rows."""
        return -(-self.m // (self.tall * self.width))

    @property
    def wide(self) -> int:
        """Columns of a block of C, whole vectors."""
        blocks = -(-self.n // (BLOCK * self.lanes))
        return -(-self.n // (blocks * self.lanes)) * self.lanes

    @property
    def n_blocks(self) -> int:
        """Blocks of C's columns."""
        return -(-self.n // self.wide)

    def stored_elements(self, rows: int) -> int:
        """Elements that so many rows of A take: whole vectors."""
        return -(-rows // self.lanes) * self.lanes

    @property
    def tail(self) -> int:
        """Rows of the last register tile."""
        return self.m - (-(-self.m // self.width) - 1) * self.width

    def heights(self) -> list[int]:
        """Vectors of rows, in elements, of the register tiles there are."""
        return sorted(
            {self.width, self.stored_elements(self.tail)}
            if self.m > self.width
            else {self.stored_elements(self.tail)}
        )

    def sizes(self) -> list[int]:
        """Columns of each register tile there is."""
        return list(range(2, self.tallest + 1, 2))

    @property
    def largest_square(self) -> float:
        """What the squares of a sum's products may add up to before the definition takes it."""
        return largest_square(self.work, self.rows.post, self.columns.post)

    def arguments(self) -> Arguments:
        """The words that a task reads."""
        names = ["x", "y", "w", "a", "bias", "residual", "scratch", "scratch size", "tasks"]
        names += ["lines", "u", "v", "sums", "partials", "partial task", "partial thread", "partial part"]
        names += ["u plane", "v plane", "v block", "m plane", "m block"]
        names += ["groups", "x g", "w g", "y g", "bias g", "tile rows", "tile columns"]
        names += ["images", "unit rows", "unit columns", "row units", "column units", "units", "unit chunk"]
        names += ["chunks", "chunk part", "parts", "piece rows", "piece columns"]
        names += [f"{each} {what}" for each in "xw" for what in OPERAND]
        names += ["y n", "y o", "y row", "y column", "out rows", "out columns"]
        return Arguments([*names, *(f"done {i}" for i in range(SHARED))])


OPERAND = (
    "channel", "image", "row", "column", "height", "width", "row offset", "column offset", "flat", "pitch",
)  # fmt: skip
"""Words of an operand: its strides in bytes, extents and offsets in elements, how a unit of it is transposed."""


PiecesWriter = TransformWriter[PiecesRecipe]
"""Writer of a part of the module of such a kernel."""


__all__ = ["BLOCK", "OPERAND", "SHARED", "TALLEST", "Operand", "PiecesRecipe", "PiecesWriter"]
