"""The blocks of tiles that a product with transforms is cut into.

Blocks are chosen by counting what the slowest thread does: tiles that fill register tiles badly, transforms that
several tasks repeat, and A, which every block reads anew, or packs.
"""

from __future__ import annotations

import itertools
import math

from ....lazy_dataclass import dataclass
from ....product import Coordinate, Index, Product, View
from ...cpu import Cpu
from ...ir.constant_matmul import operations
from .writer import WinogradRecipe

SCRATCH = 1 << 20
"""Bytes of transformed inputs, and of the products of a block of A's rows, that a block should keep to: most of a
second-level cache."""

LARGEST_SCRATCH = 4 << 20
"""The most of the same: reading V from a third-level cache may take less than reading A once more."""

LEAST_TILES = 28
"""Tiles of a block where there are as many: every block reads all of A."""

SEVERAL_TILES, SEVERAL = 64, 15 << 20
"""Tiles of a block of several slices with one tap, at most, and the bytes of all threads' scratch then."""


def tiles_of(product: Product) -> tuple[int, int]:
    """Rows of tiles and tiles in a row: all residues of both."""
    q0, r0, q1, r1 = (index.extent for index in product.c.cols[-4:])
    return q0 * r0, q1 * r1


@dataclass(frozen=True)
class Slices:
    """The slices that a product has, and which of x each of its `taps` takes.

    Output slice s of `count` begins at slice s * `stride` + `offset` of x, of `depth`, and its taps lie `step` apart.
    Those that leave the same one of `rests` take slices of x `step` apart, too: each begins `turns` further than the
    one before. V holds those in the same place among `turns` one after the other.
    """

    count: int
    depth: int
    stride: int
    step: int
    taps: int
    offset: int

    @classmethod
    def of(cls, product: Product) -> Slices:
        """Slices along an axis without a window, or whole images."""
        b, (image, *plane) = product.terms[0][1], product.c.cols[:-4]
        over = plane[0] if plane else image
        taps = b.rows[0] if plane else Index("", 1)
        at = find_axis(b, over.name)
        steps = dict(at.terms)
        stride, step = steps.get(over.name, 1), steps.get(taps.name, 1)
        return cls(over.extent, at.extent, stride, step, taps.extent, at.offset)

    @property
    def rests(self) -> int:
        """Output slices that share no slice of x, side by side."""
        return min(self.step // math.gcd(self.stride, self.step), self.count)

    @property
    def turns(self) -> int:
        """How much further an output slice begins than the one before it of the same rest."""
        return self.stride // math.gcd(self.stride, self.step)

    @property
    def overlap(self) -> int:
        """Slices of x in the same place that an output slice takes beside its first one."""
        return (self.taps - 1) // self.turns

    def count_sources(self, count: int, blocks: int = 1) -> int:
        """Slices of x that so many output slices take, in so many blocks."""
        places = range(min(self.turns, self.taps))
        return sum(count + blocks * ((self.taps - 1 - place) // self.turns) for place in places)

    def stored_elements(self, count: int) -> int:
        """Slices of V where so many output slices of a block find them."""
        return min(self.turns, self.taps) * (count + self.overlap)


def find_axis(view: View, index: str) -> Coordinate:
    """The axis along which an index moves; one of a single position where there is none."""
    return next((c for c in view.coordinates if index in dict(c.terms)), Coordinate(1, ()))


class TileBlock:
    """`rows` x `columns` tiles of `slices`, summed in panels of `panel`, for `chunk` blocks of A's rows in one task.

    `summed`: tiles that register tiles take for these, the last one being the least that holds the rest. `together`:
    of the blocks, how many are multiplied point by point.
    """

    def __init__(
        self, product: Product, r: WinogradRecipe, slices: int, rows: int, columns: int, chunks: int
    ) -> None:
        down, across = tiles_of(product)
        self.slices, self.rows, self.columns = slices, rows, columns
        self.tiles = slices * rows * columns
        self.panels = -(-self.tiles // r.tallest)
        even = -(-self.tiles // self.panels)
        self.panel = even + even % 2
        self.panels = -(-self.tiles // self.panel)
        last = self.tiles - (self.panels - 1) * self.panel
        self.summed = (self.panels - 1) * self.panel + last + last % 2
        self.row_blocks, self.column_blocks = -(-down // rows), -(-across // columns)
        blocks = _row_blocks(product, r)
        self.chunk = -(-blocks // chunks)
        self.chunks = -(-blocks // self.chunk)
        self.turns, self.together = 0.0, 1

    @classmethod
    def find_best(cls, product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> TileBlock:
        """The one whose slowest thread is done first."""
        columns, shapes = _shapes(product, r, threads)
        found = []
        for slices, rows in shapes:
            for chunks in range(1, min(_row_blocks(product, r), threads) + 1):
                block = cls(product, r, slices, rows, columns, chunks)
                block.together = block._count_together(product, r, threads, cpu)
                block.turns = block._turns(product, r, threads, cpu)
                found.append((block.turns, -slices, -rows, block))
        return min(found, key=lambda each: each[:3])[3]

    def _count_together(self, product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> int:
        """Blocks of A's rows that are multiplied point by point, for as long as half a second cache holds their sums.

        Where that cache does not hold all of V beside them, V comes from beyond it once for so many.
        """
        v, m = self._sizes(product, r)
        most = 1 if v <= cpu.l2 // 2 else cpu.l2 // 2 // m
        if r.packs:
            a = r.points * product.k * r.stored_elements(r.width) * r.work.bytes
            most = min(most, (SEVERAL // threads - v) // (m + a))
        return -(-self.chunk // -(-self.chunk // max(most, 1)))

    def _sizes(self, product: Product, r: WinogradRecipe) -> tuple[int, int]:
        """Bytes of V, and of the sums of one block of A's rows."""
        m = r.points * self.panels * self.panel * r.stored_elements(r.width) * r.work.bytes
        return r.points * channels_of(product) * self.tiles * r.work.bytes, m

    def _turns_to_read_v(self, product: Product, r: WinogradRecipe, cpu: Cpu) -> float:
        """Turns of the FMA unit that writing and reading V takes, where a second-level cache does not hold it."""
        v, _ = self._sizes(product, r)
        if v <= cpu.l2:
            return 0.0
        return v / (r.lanes * r.work.bytes) * FROM_L3 * (1 + -(-self.chunk // self.together))

    def _turns(self, product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> float:
        """What the slowest thread takes, in turns of its FMA unit."""
        slices = Slices.of(product)
        outer = images_of(product) * slices.rests * -(-slices.count // (slices.rests * self.slices))
        tasks = outer * self.row_blocks * self.column_blocks * self.chunks
        width = r.stored_elements(r.width) // r.lanes
        fetched = 0.0 if r.packs else _turns_to_read_a(product, r, cpu)
        point = self.summed * width * product.k + self.panels * BEGUN + product.k * width * fetched
        pre = channels_of(product) * slices.count_sources(self.slices) * self.rows * _pre_row(r, self.columns)
        block = r.points * point + width * self.tiles * _post_tile(r)
        if r.packs:
            block += width * product.k * filter_operations(r)
        read = self._turns_to_read_v(product, r, cpu)
        return -(-tasks // threads) * (pre + self.chunk * block + read)


def images_of(product: Product) -> int:
    """Images and groups whose slices are cut into blocks: all of both, where slices are not images themselves."""
    (group,), (image, *plane) = product.groups(product.c), product.c.cols[:-4]
    return group.extent * (image.extent if plane else 1)


def channels_of(product: Product) -> int:
    """Terms of a sum for each tap."""
    return product.terms[0][1].rows[-1].extent


def _shapes(product: Product, r: WinogradRecipe, threads: int) -> tuple[int, list[tuple[int, int]]]:
    """Columns of tiles of a block, and the slices and rows that it may have."""
    down, across = tiles_of(product)
    slices, channels, stored = Slices.of(product), channels_of(product), r.stored_elements(r.width)
    point, most = r.points * r.work.bytes, -(-slices.count // slices.rests)
    tile = point * max(channels * slices.count_sources(1), stored)
    room_for = max(SCRATCH // tile, LEAST_TILES)
    pieces = max(-(-across // room_for), 1)
    columns = -(-across // (pieces * r.apart[1])) * r.apart[1]
    most_rows = min(max(max(room_for, LARGEST_SCRATCH // tile) // columns, 1), down)
    shapes = [(1, rows) for rows in range(1, most_rows + 1) if _even(down, rows)]
    if slices.taps > 1:
        room_for = SCRATCH // (point * columns)
        for count, rows in itertools.product(range(2, most + 1), range(1, down + 1)):
            fits = rows * max(channels * slices.stored_elements(count), stored * count) <= room_for
            if _even(most, count) and _even(down, rows) and (fits or count * rows * columns <= LEAST_TILES):
                shapes.append((count, rows))
    elif columns == across:
        room = SEVERAL // threads - point * product.k * stored * r.packs
        tiles = min(SEVERAL_TILES, room // (point * (product.k + stored)))
        several = range(2, min(most, tiles // (down * across)) + 1)
        shapes += [(count, down) for count in several if _even(most, count)]
    return columns, shapes


def _even(whole: int, part: int) -> bool:
    """Whether parts of this size are even: no smaller ones cut the whole into as few."""
    return -(-whole // -(-whole // part)) == part


def _row_blocks(product: Product, r: WinogradRecipe) -> int:
    """Blocks of A's rows, the last one perhaps smaller."""
    return -(-product.m // r.width)


def _turns_to_read_a(product: Product, r: WinogradRecipe, cpu: Cpu) -> float:
    """Turns of the FMA unit that reading a vector of A anew takes."""
    size = r.points * product.k * _row_blocks(product, r) * r.stored_elements(r.width) * r.work.bytes
    return FROM_MEMORY if size > cpu.l3 / 2 else FROM_L3


def packing_turns(product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> float:
    """Turns of the FMA unit in which A is packed as a whole and written."""
    vectors = product.k * _row_blocks(product, r) * r.stored_elements(r.width) // r.lanes
    return vectors * (filter_operations(r) + r.points * _turns_to_read_a(product, r, cpu)) / threads


KEPT = 3
"""Terms in whose time a register tile is kept, and read by the part that is added to it."""

BEGUN = 40
"""Turns of the FMA unit in which a register tile is called and begun: what sums of few terms mostly take."""

MANY_LINES = 1.1
"""How much longer a register tile takes that reads each of its tiles from a line of its own."""

FROM_L3, FROM_MEMORY = 3.0, 12.0
"""Turns of the FMA unit that reading a vector anew takes, at most: some of it is hidden."""


def _pre_row(r: WinogradRecipe, count: int) -> float:
    """Instructions of transforming one channel of a row of `count` tiles."""
    t0, t1, m1 = r.rows.points, r.columns.points, len(r.columns.post)
    if r.k:
        sums = t1 * r.operations[0] + t0 * r.operations[1]
        return count * (3 * t0 * t1 + sums) * r.stored_elements(r.k) / (r.lanes * r.k)
    chunks = -(-(count * m1 + (t1 - m1) * r.apart[1]) // r.lanes)
    down = chunks * (3 * t0 + r.operations[0])
    moves = m1 * m1 + 2 * (t1 - m1) + t1
    return down + -(-count // r.lanes) * t0 * (moves + r.operations[1])


def filter_operations(r: WinogradRecipe) -> float:
    """Instructions of transforming a vector of filters of one channel."""
    t0, t1, f0, f1 = r.rows.points, r.columns.points, len(r.rows.pre_a[0]), len(r.columns.pre_a[0])
    read = r.lanes * 6 if r.taps else f0 * f1 * 2 * r.lanes
    return read + 2 * t0 * t1 + f1 * operations(r.rows.pre_a) + t0 * operations(r.columns.pre_a)


def _post_tile(r: WinogradRecipe) -> float:
    """Instructions of one tile and vector of rows of A, until it is stored."""
    t0, t1, m0, m1 = r.rows.points, r.columns.points, len(r.rows.post), len(r.columns.post)
    sums = t1 * r.operations[2] + m0 * r.operations[3]
    return t0 * t1 + sums + m0 * m1 * (2 if r.k else 7)


def pre_operations(product: Product, r: WinogradRecipe, block: TileBlock) -> float:
    """Instructions of transforming one channel of a slice."""
    down = tiles_of(product)[0]
    return down * block.column_blocks * _pre_row(r, block.columns)


def post_operations(product: Product, r: WinogradRecipe) -> float:
    """Instructions of transforming and storing a vector of a slice's rows of A."""
    return math.prod(tiles_of(product)) * _post_tile(r)


__all__ = [
    "BEGUN",
    "KEPT",
    "MANY_LINES",
    "Slices",
    "TileBlock",
    "channels_of",
    "filter_operations",
    "find_axis",
    "images_of",
    "packing_turns",
    "post_operations",
    "pre_operations",
    "tiles_of",
]
