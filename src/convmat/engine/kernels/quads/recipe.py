"""What is constant in a kernel of 8- and 16-bit products: from a recipe its whole text follows.

    C[row, column] = sum over runs of k, over the bytes of a run of    w[row, run, byte] * x[column + run + byte]

x lies channels last, so what a window reads of it is a few **runs** of bytes that lie side by side: a filter row of all
channels, or the channels of one tap. Four bytes are a **quad**, one 32-bit lane. A register tile is some columns by
some vectors of rows: a quad of x is broadcast from where it lies, the vectors are quads of w, packed

    [block of rows][run][quad][row][byte]        zero for bytes behind the end of a run and rows behind the last

and behind each block the sum of each of its rows. Bytes of x are unsigned, those of w signed; others are moved by 128,
which is a zero point like any other:

    sum (x - x0)(w - w0) = sum x w  -  x0 * sum w  -  w0 * sum x  +  k * x0 * w0

Of bfloat16 numbers two make a quad. They have no zero points, so there are no sums of rows.
"""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.dots import HALVES, TILED, Unit
from ...ir.instructions import Type, bf16, f32, i8, i32
from ...ir.tiles import BYTES, CONFIGURATION, ROWS, WIDTH
from ..epilogue import Store

QUAD = 4
"""Bytes of one 32-bit lane."""


NOWHERE = -(1 << 60)
"""The place of what lies nowhere in w."""


def padded_run(run: int, unit: Unit) -> int:
    """Bytes of a run as they are multiplied.

    >>> padded_run(21, Unit.VNNI), padded_run(21, Unit.AMX)
    (24, 64)
    """
    whole = WIDTH if unit in TILED else QUAD
    return -(-run // whole) * whole


@dataclass(frozen=True)
class QuadsRecipe:
    """All that is constant in the kernel.

    `outer`: the indices that a task fixes (groups, images), `batch` those of them that A has too. `columns`: the column
    indices that it walks, outermost first. `run`: bytes of a run of k. `m`: rows of A; `vectors` of them in a block.
    `width`: columns of a tile. `signed`: whether w is; what is not is moved by 128. `weights`: the type of w in its
    array. `packed`: x is a copy in scratch. `out_signed`: whether bytes of C are. `block`: C's rows are stored in
    blocks of so many, 0: they are evenly apart. `bias`, `scale`, `w_zero`: whether rows have such numbers; `residual`:
    whether C has one. `requantise`: whether bytes are rounded again, by numbers of each row.
    """

    outer: tuple[str, ...]
    batch: tuple[str, ...]
    columns: tuple[str, ...]
    run: int
    m: int
    vectors: int
    width: int
    lanes: int
    unit: Unit
    signed: bool
    weights: Type
    packed: bool
    out: Type
    out_signed: bool
    store: Store
    block: int
    bias: bool
    scale: bool
    w_zero: bool
    residual: bool
    activation: Activation | None
    requantise: bool

    @property
    def work(self) -> Type:
        """The type of sums."""
        return f32 if self.unit in HALVES else i32

    @property
    def element(self) -> Type:
        """The type of what is multiplied."""
        return bf16 if self.unit in HALVES else i8

    @property
    def quads(self) -> int:
        """Quads of a run, the last one perhaps not full; whole tiles of them."""
        return padded_run(self.run, self.unit) // QUAD

    @property
    def row_numbers(self) -> tuple[str, ...]:
        """Which arrays of numbers for each row are read."""
        return ROW_NUMBERS if self.requantise else ROW_NUMBERS[:-2]

    @property
    def tiled(self) -> bool:
        """Whether the unit multiplies registers that are tiles (AMX)."""
        return self.unit in TILED

    @property
    def rows(self) -> int:
        """Rows of a block of A, stored rows behind the last included."""
        return self.vectors * self.lanes

    @property
    def blocks(self) -> int:
        """Blocks of A's rows, the last one perhaps smaller."""
        return max(-(-self.m // self.rows), 1)

    @property
    def tail(self) -> int:
        """Rows of the last block."""
        return self.m - (self.blocks - 1) * self.rows

    @property
    def block_heights(self) -> tuple[int, ...]:
        """Rows of the last block and, where others have more, of those."""
        return (self.tail,) if self.blocks == 1 or self.tail == self.rows else (self.tail, self.rows)

    @property
    def heights(self) -> list[int]:
        """Rows that a block may have, ascending."""
        return sorted(self.block_heights)

    @property
    def widths(self) -> list[int]:
        """Columns for which there is a tile: the last ones take the least that holds them."""
        if self.tiled:
            return [*range(ROWS, self.width + 1, ROWS)]
        return sorted({n for n in (1, 2, 4, 7, 10) if n < self.width} | {self.width})

    @property
    def run_bytes(self) -> int:
        """Bytes of a run in a packed block of A."""
        return self.quads * self.rows * QUAD

    @property
    def sum_bytes(self) -> int:
        """Bytes of the sums of its rows, at the end of a packed block: of integers alone."""
        return 0 if self.work.is_float else self.rows * QUAD

    @property
    def sums_columns(self) -> bool:
        """Whether the bytes of each column are summed too: w counts from another number than 0."""
        return self.w_zero or not self.signed

    @property
    def room(self) -> int:
        """Bytes in which a thread keeps sums and columns of tiles, and the shapes of these."""
        return (self.width // ROWS * (self.vectors + 1)) * BYTES + CONFIGURATION if self.tiled else 0

    @property
    def placed(self) -> bool:
        """Whether a table says where in C each column is."""
        return self.store in (Store.PLACED, Store.SCATTERED)

    def arguments(self) -> Arguments:
        """Layout of the kernel's arguments: their names, in order."""
        names = [*ARGUMENTS]
        for index in self.outer:
            names += [f"{what} {index}" for what in ("count", "x", "y", "a", "w", "bias")]
        names += [f"{what} {index}" for index in self.columns for what in ("extent", "step", "place")]
        return Arguments(names)


ROW_NUMBERS = ("bias", "scale", "w zero", "factor", "offset")
"""Arrays of a number for each row."""

ADDRESSES = ("x", "y", "a", "w", *ROW_NUMBERS, "addition", "residual", "scratch")
"""Arguments that calls fill in.

addition: of three numbers.
"""

ARGUMENTS = (
    *ADDRESSES, "own", "scratch size", "runs", "run count", "block", "w rows", "w k", "columns", "nc", "nc blocks",
    "mc", "mc blocks", "places", "sums", "line", "between", "zero", "y zero",
)  # fmt: skip
"""Arguments of every kernel.

own, scratch size:
where in scratch the memory of the first thread begins, and bytes of each; in it `places` and `sums` are where the
tables of each column's place in C and of its sum begin, behind that of its place in x. runs: a table of where each run
begins; run count: how many there are. block: bytes of a packed block of A. w rows, w k: of where each row and each byte
of k lies in w. columns: of one matrix; nc: columns of a task, mc: its blocks of rows; nc blocks, mc blocks: how many
such pieces there are. line: bytes from one line of C to the next; between: from one block of its rows to the next.
zero, y zero: zero points of x and C.
"""

__all__ = ["ADDRESSES", "NOWHERE", "QUAD", "QuadsRecipe", "padded_run"]
