"""What is constant in a panel kernel: from a PanelRecipe its whole text follows.

The micro-kernel multiplies MR rows of A by NR columns of B over at most KC values of k. x decides the **form**: along
which axis it is contiguous, hence how a packed panel of B lies, and how A is read.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ....lazy_dataclass import dataclass
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.instructions import Type
from ...job import WORD
from ...operands import odd_lines_size
from ..epilogue import Store
from ..tile import Tile
from .shared_rows import ARGUMENTS as ROWS
from .shared_rows import SharedRows
from .steps import Scattered
from .walk import Walk
from .windows import SharedWindows


class Form(Enum):
    """Along what x is contiguous: see the module."""

    COLUMNS = "columns"
    PIXELS = "pixels"
    SUMS = "sums"
    OUTER = "outer"


@dataclass(frozen=True)
class PanelRecipe:
    """All that is constant in a panel kernel.

    `along_m`: lanes along m (A's rows fill vectors, B is broadcast), otherwise along n. `mr`: rows of a block of A, MR.
    `tail`: rows of the last one; `several`: whether others, of MR, come before it. `nr`: columns of a panel, NR. `kc`:
    the longest part of k, KC, where panels lie along it; elsewhere 0, and an argument, as the number of blocks always
    is. `outer`: the indices that a task fixes (groups, images), `batch` those of them that A has too. `places`: the
    column indices that a table of places is made of, for stores that are neither side by side nor evenly apart.
    `a_step`: bytes from one k of A to the next, for OUTER. `block`: C's rows are stored in blocks of so many, 0: they
    are evenly apart. `lines`: A's rows are evenly apart and contiguous along k, perhaps in another order (not
    `ordered`); if they are not, `scattered` says how k lies. `skips`: a part of k is one tap, and columns where it lies
    outside x are omitted. `fetches`: k is so short that lines of C are asked for before they are written.
    `windows`: how taps share a copy of x, where they do; `walk` is then that of the copy.
    `rows`: how taps share rows, where they do; `walk` is then that of the copy, without the taps along rows.
    `in_place`: columns inside x are read there, each panel's in one line; nothing is packed.
    """

    form: Form
    walk: Walk
    batch: tuple[str, ...]
    outer: tuple[str, ...]
    array: Type
    work: Type
    out: Type
    signed: bool
    lanes: int
    along_m: bool
    store: Store
    mr: int
    tail: int
    several: bool
    nr: int
    kc: int
    lines: bool
    ordered: bool
    scattered: Scattered
    skips: bool
    a_step: int
    block: int
    places: tuple[str, ...]
    bias: bool
    residual: bool
    activation: Activation | None
    fetches: bool = False
    windows: SharedWindows | None = None
    in_place: bool = False
    rows: SharedRows | None = None

    @property
    def pitch(self) -> int:
        """Bytes of a line of a panel: its columns, or its k, in whole vectors."""
        vector = self.lanes * self.work.bytes
        if self.form is Form.COLUMNS:
            return -(-self.nr // self.lanes) * vector
        length = self.block_columns if self.form is Form.OUTER else self.kc
        return odd_lines_size(length * self.work.bytes)

    @property
    def block_columns(self) -> int:
        """Columns that a task of form OUTER has at most: a line of its panels."""
        return 8 * self.nr

    @property
    def streams(self) -> bool:
        """Whether k is a long run, taken piece by piece with A beside it."""
        return self.form in (Form.SUMS, Form.OUTER)

    @property
    def packs(self) -> tuple[Any, ...]:
        """The fields that the packing of A is made from: where they are equal, blocks of A lie alike."""
        return tuple([getattr(self, name) for name in PACKS])

    @property
    def block_heights(self) -> tuple[int, ...]:
        """Rows of the last block of A and, where there are others, of those."""
        return (self.tail, self.mr) if self.several else (self.tail,)

    @property
    def heights(self) -> list[int]:
        """Rows that a block of A may have, ascending."""
        return sorted({*self.block_heights})

    def padded_rows(self, rows: int) -> int:
        """Elements that a block of `rows` rows takes for each k: whole vectors if lanes lie along m."""
        return -(-rows // self.lanes) * self.lanes if self.along_m else rows

    def block_bytes(self, depth: int) -> int:
        """Bytes of a full block of A with `depth` k."""
        return depth * self.padded_rows(self.mr) * self.work.bytes

    def packed_bytes(self, blocks: int, depth: int) -> int:
        """Bytes of all blocks of one matrix A."""
        last = depth * self.padded_rows(self.tail) * self.work.bytes
        return (blocks - 1) * self.block_bytes(depth) + last

    def panel_bytes(self, depth: int) -> int:
        """Bytes of one packed panel with `depth` k."""
        return (depth if self.form is Form.COLUMNS else self.nr) * self.pitch

    @property
    def tile_bytes(self) -> int:
        """Bytes of the largest tile: what is kept of it between parts."""
        if self.along_m:
            return self.nr * self.padded_rows(self.mr) * self.work.bytes
        return self.mr * -(-self.nr // self.lanes) * self.lanes * self.work.bytes

    def tile(self, columns: int, rows: int) -> Tile:
        """The register tile of a panel's first `columns` columns and a block of `rows` rows."""
        item, width = self.work.bytes, self.padded_rows(rows)
        if self.form is Form.OUTER:
            vectors = -(-columns // self.lanes)
            return Tile(self.work, rows, vectors, self.lanes, self.a_step, item, self.pitch)
        if not self.along_m:
            vectors = -(-columns // self.lanes)
            return Tile(self.work, rows, vectors, self.lanes, width * item, item, self.pitch, "scalars")
        if self.windows:
            near, step = self.windows.apart * item, self.windows.step * item
            group = self.windows.nears
            return Tile(
                self.work,
                columns,
                width // self.lanes,
                self.lanes,
                step,
                near,
                width * item,
                "vectors",
                group,
            )
        k, column = (self.pitch, item) if self.form is Form.COLUMNS else (item, self.pitch)
        if self.in_place:
            column = item * self.walk.coefficient
        return Tile(self.work, columns, width // self.lanes, self.lanes, k, column, width * item, "vectors")

    @property
    def fuses_packing(self) -> bool:
        """Whether a panel's first tile may pack it (fused packing): x has its lines side by side, in order."""
        lanes = self.form is Form.COLUMNS and not self.along_m and self.nr % self.lanes == 0
        apart = self.skips or self.rows is not None
        return self.walk.plain and lanes and not apart and self.array == self.work

    def tile_columns(self) -> list[int]:
        """The panel widths for which there is a tile: a panel's last columns take the least that holds them."""
        if self.skips:
            return [*range(1, self.nr + 1)]
        if self.windows:
            return [*range(self.windows.nears, self.nr + 1, self.windows.nears)]
        if not self.along_m:
            return [*range(self.lanes, self.nr, self.lanes), self.nr]
        return sorted({n for n in (1, 2, 4, 7, 10) if n < self.nr} | {self.nr})

    def arguments(self) -> Arguments:
        """Layout of the kernel's arguments: their names, in order."""
        names = [*ARGUMENTS]
        for index in self.outer:
            names += [f"{what} {index}" for what in ("count", "x", "y", "a", "w", "bias")]
        names += [f"{what} {index}" for index in self.places for what in ("y step", "y extent")]
        names += self.windows.arguments() if self.windows else ROWS if self.rows else []
        return Arguments(names + self.walk.arguments())

    @property
    def box_indices(self) -> tuple[str, ...]:
        """The indices that a box holds: a part of k, or where k streams a task's block of the columns."""
        if self.windows:
            return self.windows.columns
        return self.walk.run if self.form in (Form.PIXELS, Form.OUTER) else self.walk.taps

    @property
    def k_names(self) -> tuple[str, ...]:
        """The indices of a long run of k."""
        if self.windows:
            return (*self.windows.lines, self.windows.last)
        return self.walk.taps if self.form is Form.OUTER else self.walk.run

    @property
    def piece_bytes(self) -> int:
        """Bytes of an entry of the table `pieces`."""
        return (2 * len(self.k_names) + 2) * WORD

    @property
    def box_bytes(self) -> int:
        """Bytes of an entry of the table `boxes`: a box, where it begins, how much it holds."""
        return (2 * len(self.box_indices) + 2) * WORD


PACKS = (
    "form", "batch", "array", "work", "signed", "lanes", "along_m", "mr", "tail", "several", "lines", "ordered",
    "scattered",
)  # fmt: skip
"""Fields of a recipe that the packing of A reads: how B is read and C is stored is none of its business."""

ARGUMENTS = (
    "x", "y", "a", "bias", "residual", "scratch", "scratch size", "boxes", "parts", "columns", "line",
    "panels", "nc", "nc blocks", "mc", "mc blocks", "blocks", "block step", "sums", "places", "packed a",
    "between", "w", "w line", "w rows", "w walk", "w places", "panel columns", "valid ranges",
    "k", "k inner", "k outer", "pieces", "group",
)  # fmt: skip
"""Arguments of every panel kernel.

x, y, a, bias, residual, w: addresses of arrays. scratch, scratch size: memory of the first thread, and bytes of each;
in it `places`, `sums` and `packed a` are where the table of places, the unfinished sums and a task's own A begin.
boxes, parts: a table of the parts of k and their number. columns, panels: of one matrix B. nc, mc: what a task owns, in
panels and in blocks of rows; nc blocks, mc blocks: how many such pieces there are; blocks: of all rows of A. line:
bytes from one line of C to the next; between: from one block of its rows to the next. block step: bytes of a packed
block of A. w line, w rows, w walk, w places: how A is read to be packed. panel columns, valid ranges: of kernels that
skip, the (first, count) of each panel, and of each part and panel. k, k inner, k outer: the length of a run of k, of
its inner indices, and the bytes from one to the next; pieces: the table of the run's parts. group: panels that a task
takes at a time where packing is fused.
"""

__all__ = ["Form", "PanelRecipe"]
