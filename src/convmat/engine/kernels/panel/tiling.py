"""The tiling of a product: along what lanes lie, MR and NR; and how finished tiles meet C.

C's columns may lie side by side (lines are stored whole, perhaps after turning a tile), its rows may (channels last),
or neither: then a table says where each column is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ....lazy_dataclass import dataclass
from ....product import Index, Product
from ...cpu import Cpu
from ...ir.instructions import TYPES
from ...operands import Dtypes, Shapes, strides
from ..epilogue import Store
from .k_parts import RUN_PART, count_separate_taps, part_sizes
from .recipe import Form, PanelRecipe
from .shared_rows import SharedRows
from .steps import (
    LONGEST_RUN,
    Scattered,
    contiguous_from,
    in_memory_order,
    index_names,
    innermost_step,
    is_uniform,
)
from .walk import Walk
from .windows import SharedWindows


@dataclass(frozen=True)
class Tiling:
    """MR rows of a block of A, NR columns of a panel of B; `along_m`: lanes lie along m, otherwise along n."""

    along_m: bool
    mr: int
    nr: int


@dataclass(frozen=True)
class Storing:
    """How finished tiles meet C: `inner` are the column indices within one matrix, those before `first` are walked.

    placed: a table says where each column is.
    """

    store: Store
    inner: tuple[Index, ...]
    first: int
    placed: bool


@dataclass(frozen=True)
class Lying:
    """A product's operands as they lie: steps of its indices in y and w, in elements; last: x's contiguous axis."""

    product: Product
    dtypes: Dtypes
    form: Form
    y: Mapping[str, int]
    w: Mapping[str, int]
    last: Mapping[str, int]

    @property
    def block(self) -> int:
        """Rows of C in one block, where they are stored in blocks; 0: they are evenly apart."""
        rows = self.product.c.rows
        return 0 if is_uniform(rows, dict(self.y)) else rows[-1].extent


def fitting_rows(width: int, block: int, lanes: int) -> int:
    """Rows of a tile, up to `width`, of which none is part of two blocks of C: some blocks, or an equal part of one.

    >>> fitting_rows(32, 8, 16), fitting_rows(32, 12, 16), fitting_rows(32, 48, 16)
    (32, 24, 16)
    """
    if block <= width:
        return width // block * block
    parts = [n for n in range(1, width + 1) if block % n == 0]
    return max(parts, key=lambda n: (n / -(-n // lanes), n))


FEW_ROWS = 64
"""Up to so many rows of A, packing a panel is worth sharing among more columns: lanes along n."""

EMPTY = 0.02
"""Lanes along n stay empty in the last vector: with more of them, lanes lie along m even where packing is free."""


def choose_tiling(m: int, k: int, lanes: int, registers: int, fused_columns: int) -> Tiling:
    """The tiling of a product with `m` rows of A and sums of `k`, for a CPU with so many vector registers.

    Lanes along m waste nothing where m is a multiple of them, and leave columns to be counted singly; turning a tile
    costs about its columns in shuffles, which a long sum hides. With lanes along n the packing of `fused_columns`
    columns, if not 0, would be fused with multiplying.
    """
    free = fused_columns > 0 and -fused_columns % lanes <= EMPTY * fused_columns
    if m > FEW_ROWS and -(-m // lanes) * lanes <= 1.1 * m and k >= 32 and not free:
        return along_m(m, lanes, registers)
    return along_n(m, lanes, registers)


def along_m(m: int, lanes: int, registers: int) -> Tiling:
    """14 x 2: 28 accumulators, 2 vectors, a broadcast, of 32 registers; 6 x 2 of 16."""
    tall = 14 if registers >= 32 else 6
    whole = -(-m // lanes)
    return Tiling(True, lanes * max(min(whole, 2), 1), tall if whole > 1 else 2 * tall)


def along_n(m: int, lanes: int, registers: int) -> Tiling:
    """8 x 3: 24 accumulators, 3 vectors, a broadcast; 6 x 4 where there are fewer rows; 6 x 2 of 16 registers.

    The rows are shared out evenly: 20 are 7, 7 and 6.
    """
    tall, wide = (8, 3) if registers >= 32 else (6, 2)
    if registers >= 32 and m <= 6:
        tall, wide = 6, 4
    blocks = max(-(-m // tall), 1)
    return Tiling(False, max(-(-m // blocks), 1), wide * lanes)


def tiling_and_storing(lying: Lying, cpu: Cpu) -> tuple[Tiling, Storing]:
    """What suits the operands as they lie."""
    product, form, y, m = lying.product, lying.form, dict(lying.y), lying.product.m
    c, block = product.c, lying.block
    lanes, registers = cpu.lanes(lying.dtypes.work.itemsize), cpu.vector_registers
    if form is Form.OUTER:
        tiling = _fit_rows(along_n(m, lanes, registers), block, lanes)
        return tiling, Storing(Store.SCATTERED, (*c.cols[1:], c.cols[0]), 0, True)
    # Extents of 1 count too: another batch or image size must not be another kernel.
    first = contiguous_from(c.cols, y, ones=True)
    tiling = choose_tiling(m, product.k, lanes, registers, _count_fused_columns(lying, first))
    if not tiling.along_m and (form is not Form.COLUMNS or block):
        tiling = along_m(m, lanes, registers)
    tiling = _fit_rows(tiling, block, lanes)
    store = Store.TURNED if tiling.along_m else Store.LINES
    if form is Form.COLUMNS and not block and _joins_images(lying, first, tiling, cpu):
        return along_n(m, lanes, registers), Storing(Store.SCATTERED, c.cols, 0, True)
    side_by_side = y[c.rows[-1].name] == 1
    if first is None or (form is Form.PIXELS and first > 0 and side_by_side):
        # C's columns do not lie side by side: its rows do (channels last), or nothing does.
        first = min(1, len(c.cols) - 1) if form is Form.COLUMNS else 0
        if side_by_side and (tiling.along_m or form is Form.PIXELS):
            dense = all(by == 1 for coordinate in c.coordinates for _, by in coordinate.terms)
            even = dense and is_uniform(c.cols[first:], y, ones=True)
            store = Store.LINES if even else Store.PLACED
        else:
            if form is Form.COLUMNS:
                tiling = along_n(m, lanes, registers)
            store = Store.SCATTERED
    inner = c.cols[first:]
    if form is Form.COLUMNS and not lying.last.get(inner[-1].name):
        # x is contiguous along another of the columns: lanes lie along that one.
        beside = next(i for i in c.cols if lying.last.get(i.name) == 1)
        inner = (*(i for i in c.cols if i != beside), beside)
        return along_n(m, lanes, registers), Storing(Store.SCATTERED, inner, 0, True)
    return tiling, Storing(store, inner, first, store in (Store.PLACED, Store.SCATTERED))


HALF_EMPTY = 0.5
"""The same for lines of C stored whole, which joined images are not: with more of them they are joined."""


def _joins_images(lying: Lying, first: int | None, tiling: Tiling, cpu: Cpu) -> bool:
    """Whether columns of all images make one matrix: one's leave lanes empty, or read all of A for part of a tile.

    A table says then where each column is.
    """
    product, lanes = lying.product, cpu.lanes(lying.dtypes.work.itemsize)
    cols = product.c.cols
    if first == 0 or len(cols) < 2 or cols[0].extent < 2 or not lying.last.get(cols[-1].name):
        return False
    columns = math.prod(i.extent for i in cols[first or 1 :])
    if first is not None and tiling.along_m:
        return columns < tiling.nr and product.m * product.k * lying.dtypes.work.itemsize > cpu.l2 // 2
    return -columns % lanes > (EMPTY if first is None else HALF_EMPTY) * columns


def _fit_rows(tiling: Tiling, block: int, lanes: int) -> Tiling:
    return replace(tiling, mr=fitting_rows(tiling.mr, block, lanes)) if block else tiling


def _count_fused_columns(lying: Lying, first: int | None) -> int:
    """Columns whose packing would be fused with lanes along n: those of a matrix whose lines x has as they are."""
    if lying.form is not Form.COLUMNS or first is None or lying.dtypes.array != lying.dtypes.work:
        return 0
    b, line = lying.product.terms[0][1], lying.product.c.cols[first:]
    plain = len(b.rows) == 1 and not b.risky and lying.last.get(line[-1].name) == 1  # see Walk
    return math.prod([i.extent for i in line]) if plain else 0


SHORT = 48
"""Terms of a sum that a tile is done with sooner than memory gives a line: a tile takes a dozen cycles or two for one.

The tiles behind it then wait until its lines of C have come to be written. They are as many rows apart as the tile has,
which hardware does not foresee.
"""


def panel_recipe(product: Product, dtypes: Dtypes, shapes: Shapes, form: Form, cpu: Cpu) -> PanelRecipe:
    """What is constant in the kernel of a product whose panels take this form."""
    a, b = product.terms[0]
    c, y, w = product.c, strides(product.c, shapes["y"], 1), strides(a, shapes["w"], 1)
    lanes = cpu.lanes(dtypes.work.itemsize)
    lying = Lying(product, dtypes, form, y, w, dict(b.coordinates[-1].terms))
    tiling, storing = tiling_and_storing(lying, cpu)
    streams = form in (Form.SUMS, Form.OUTER)
    along = b.rows if streams else in_memory_order(b.rows, w)
    lines = streams or (contiguous_from(along, w) == 0 and is_uniform(c.rows, w))
    windows = SharedWindows.of(product, tiling.nr) if form is Form.SUMS else None
    walk, nr = _walk(lying, storing), tiling.nr
    if windows:
        walk, nr = windows.walk(walk), windows.panel_columns(nr)
    tail = product.m - max(-(-product.m // tiling.mr) - 1, 0) * tiling.mr
    skips = tiling.along_m and not streams and count_separate_taps(b) > 0
    array, work, out = dtypes.names
    rows = None
    if form is Form.COLUMNS and not skips:
        rows = SharedRows.of(b, storing.inner, dtypes.work.itemsize)
    if rows:
        walk = Walk.of(b, walk.run, [name for name in walk.taps if name != rows.tap])
    return PanelRecipe(
        form=form,
        walk=walk,
        batch=index_names(c.batch),
        outer=index_names(c.batch) if streams else index_names(c.batch + c.cols[: storing.first]),
        array=TYPES[array],
        work=TYPES[work],
        out=TYPES[out],
        signed=array != "uint8",
        lanes=lanes,
        along_m=tiling.along_m,
        store=storing.store,
        mr=tiling.mr,
        tail=tail,
        several=0 < tail < tiling.mr < product.m,
        nr=nr,
        kc=RUN_PART if streams else 0 if form is Form.COLUMNS else part_sizes(b)[1],
        lines=lines,
        ordered=[i for i in along if i.extent > 1] == [i for i in b.rows if i.extent > 1],
        skips=skips,
        scattered=Scattered(0) if lines else _describe_k(product, along, w),
        a_step=innermost_step(b.rows, w) * dtypes.array.itemsize if form is Form.OUTER else 0,
        block=lying.block,
        places=index_names(storing.inner) if storing.placed else (),
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
        fetches=0 < product.k < SHORT and not tiling.along_m and storing.store is Store.LINES,
        windows=windows,
        in_place=skips and _lies_in_place(lying, storing, nr),
        rows=rows,
    )


def _lies_in_place(lying: Lying, storing: Storing, nr: int) -> bool:
    """Whether a panel of `nr` columns at most lies in one line of x for each tap, and k but the taps evenly apart."""
    b = lying.product.terms[0][1]
    inside = [i for i in b.rows[count_separate_taps(b) :] if i.extent > 1]
    line = storing.inner[-1]
    single = line.extent > nr // 2 or len(storing.inner) == 1
    one_type = lying.dtypes.array == lying.dtypes.work
    return (
        lying.form is Form.COLUMNS
        and one_type
        and single
        and inside == [b.rows[-1]]
        and bool(lying.last.get(line.name))
    )


def _describe_k(product: Product, along: tuple[Index, ...], w: Mapping[str, int]) -> Scattered:
    """How k lies in an A whose rows are no lines; `along`: its indices as they lie."""
    rows, steps = product.c.rows, dict(w)
    even = is_uniform(rows, steps)
    lengths = {name: abs(by) for name, by in steps.items()}
    first = contiguous_from(along, lengths)
    run = along[first:] if first is not None else ()
    ways = {steps[i.name] > 0 for i in run if i.extent > 1}
    if len(ways) > 1 or math.prod(i.extent for i in run) > LONGEST_RUN:
        run = ()
    extents = tuple(i.extent for i in run)
    return Scattered(len(along), extents, ways == {False}, even and innermost_step(rows, steps) == 1, even)


def _walk(lying: Lying, storing: Storing) -> Walk:
    """How the packer walks over B in each form."""
    b, inner = lying.product.terms[0][1], index_names(storing.inner)
    if lying.form is Form.PIXELS:
        return Walk.of(b, index_names(b.rows), inner)
    if lying.form is Form.SUMS:
        return Walk.of(b, index_names(b.rows), index_names(lying.product.c.cols))
    return Walk.of(b, inner, index_names(b.rows))


__all__ = [
    "Lying",
    "Storing",
    "Tiling",
    "along_m",
    "along_n",
    "choose_tiling",
    "panel_recipe",
    "tiling_and_storing",
]
