"""How a product with transforms runs on one CPU: its recipe, and the blocks of tiles it is cut into.

Blocks are chosen by counting what the slowest thread does: tiles that fill register tiles badly, transforms that
several tasks repeat, and A, which every block reads anew.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ....product import Coordinate, Product, Transform, View
from ...cpu import Cpu
from ...ir.constant_matmul import operations
from ...ir.instructions import TYPES
from ...operands import Dtypes, Shapes, aligned_size, origin, strides
from ..base import KernelPlan
from ..effort import Effort
from ..panel.pack_b import LARGEST_EXTENT
from .kernel import TALLEST, WinogradRecipe

SCRATCH = 1 << 20
"""Bytes of transformed inputs, and of the products of a block of A's rows, that a block should keep to: most of a
second-level cache."""

LEAST_TILES = 28
"""Of a block where there are as many: every block reads all of A."""

SEVERAL_TILES, SEVERAL = 64, 12 << 20
"""Of a block of several images, at most, and the bytes of all threads' transformed inputs then."""


def plan_transformed(
    product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu, *, bound: bool = True
) -> WinogradPlan | str:
    """The step of a product with transforms, or the sentence why no kernel is made for it.

    Without `bound`, A changes with every call.
    """
    b, c = product.terms[0][1], product.c
    refusal = _refuses(product, dtypes)
    if refusal is not None:
        return refusal
    item = dtypes.work.itemsize
    x, y = strides(b, shapes["x"], item), strides(c, shapes["y"], item)
    (_, u1), (_, v1) = product.windows(b), product.windows(c)
    *_, r0, _, r1 = c.cols
    apart = r0.extent, r1.extent
    last = x[b.rows[0].name] == y[c.rows[0].name] == item
    lines = x[u1.name] == y[v1.name] == r1.extent * item
    if not (last or lines):
        return (
            "reads x and writes y along their last pixel axis or their channels, one element after the other"
        )
    windows = {v.name: d for v, d in zip(product.windows(c), apart, strict=True)}
    if any(
        coordinate.offset or by != windows.get(name, by)
        for coordinate in c.coordinates
        for name, by in coordinate.terms
    ):
        return "writes y densely, got one phase of several"
    widest = max(coordinate.extent for coordinate in b.coordinates)
    if widest > LARGEST_EXTENT:
        return f"counts positions in 32 bits: no axis over {LARGEST_EXTENT}, got {widest}"
    lanes = cpu.lanes(item)
    rows, columns = (each for each in product.transforms if isinstance(each, Transform))
    if lines and lanes % r1.extent:
        return f"takes dilations along lines that divide a vector of {lanes}, got {r1.extent}"
    overlap = (columns.points - len(columns.post)) * r1.extent
    if lines and overlap > lanes:
        return f"takes windows that overlap by up to a vector of {lanes}, got {overlap}"
    if not product.flops:
        return "multiplies what has elements"
    whole = -(-product.m // lanes)
    recipe = WinogradRecipe(
        rows=rows,
        columns=columns,
        apart=apart,
        part=product.part,
        taps=_whole_filters(product, strides(product.terms[0][0], shapes["w"], item), item),
        packs=False,
        k=0 if lines else product.k,
        work=TYPES[dtypes.work.name],
        lanes=lanes,
        m=product.m,
        width=lanes * min(whole, 2),
        tallest=TALLEST if cpu.vector_registers >= 32 else 6,
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
    )
    block = _Block.best(product, recipe, threads, cpu)
    if not bound:
        own = replace(recipe, packs=True)
        packing = _Block.best(product, own, threads, cpu)
        if packing.turns < block.turns + _packed_before(product, recipe, threads, cpu):
            recipe, block = own, packing
    return WinogradPlan(product, dtypes, shapes, threads, recipe, block)


def _whole_filters(product: Product, w: dict[str, int], item: int) -> int:
    """1 where the taps of a filter lie one after the other in memory, -1 where they do backwards, otherwise 0."""
    f0, f1 = product.windows(product.terms[0][0])
    steps = {w[f1.name] // item} if f1.extent > 1 else set[int]()
    steps |= {w[f0.name] // (f1.extent * item)} if f0.extent > 1 else set[int]()
    dense = all(abs(w[f.name]) in (0, by * item) for f, by in ((f1, 1), (f0, f1.extent)))
    return steps.pop() if dense and len(steps) == 1 else 0


def _refuses(product: Product, dtypes: Dtypes) -> str | None:
    transforms = [each for each in product.transforms if isinstance(each, Transform)]
    if len(transforms) != len(product.transforms):
        return "transforms by small constant matrices, Fourier's are the blas engine's"
    if dtypes.array.name not in ("float32", "float64") or {dtypes.array, dtypes.out} != {dtypes.work}:
        return f"transforms float32 and float64, got {dtypes.array.name}"
    if len(transforms) != 2:
        return f"transforms two window axes, got {len(transforms)}"
    b, c = product.terms[0][1], product.c
    if len(c.rows) != 1 or len(product.groups(c)) != 1 or len(b.rows) != 1:
        return "takes one index each of groups, rows and depth"
    return None


class WinogradPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays."""

    def __init__(
        self,
        product: Product,
        dtypes: Dtypes,
        shapes: Shapes,
        threads: int,
        recipe: WinogradRecipe,
        block: _Block,
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe = recipe
        r, item = recipe, dtypes.work.itemsize
        a, b = product.terms[0]
        c = product.c
        x, y = strides(b, shapes["x"], item), strides(c, shapes["y"], item)
        w = strides(a, shapes["w"], item)
        f0, f1 = product.windows(a)
        self.origin = {"x": 0, "y": 0, "w": origin(a, shapes["w"], item)}
        (group,) = product.groups(c)
        image = c.cols[0]
        (channel,), (o,) = b.rows, c.rows
        (u0, u1), (v0, v1) = product.windows(b), product.windows(c)
        by_row, by_column = (self._axis(b, u.name) for u in product.windows(b))
        out_row, out_column = (self._axis(c, v.name) for v in product.windows(c))
        self.block = k = block
        plane, tail_plane = (_odd_lines(channel.extent * r.stored(n) * item) for n in (r.width, r.tail))
        matrix = r.points * ((r.blocks - 1) * plane + tail_plane)
        self.weight_tasks = 0 if r.packs else group.extent * r.blocks
        self.weight_bytes = math.prod(shapes["w"]) * item if r.packs else group.extent * matrix
        self.kept_bytes = 0 if r.packs else math.prod(shapes["w"]) * item
        tiles, (d0, d1) = _tiles(product), r.apart
        wide = -(-k.columns // r.lanes) * r.lanes * len(r.columns.post) + 2 * r.lanes
        v_line = item if r.k else k.tiles * item
        v_plane = _odd_lines(
            k.panels * k.panel * r.pitch if r.k else channel.extent * v_line + 2 * r.lanes * item
        )
        m_plane = _odd_lines(k.panels * k.panel * r.stored(r.width) * item)
        sums = aligned_size(r.points * v_plane + 64)
        lines = sums + aligned_size(r.points * m_plane)
        turned = lines + aligned_size(r.rows.points * wide * item)
        packed = turned + aligned_size((len(r.rows.post) * r.turned * r.lanes + r.line) * r.lanes * item)
        size = packed + aligned_size(r.points * plane if r.packs else 0)
        words = {
            "scratch size": size, "sums": sums, "lines": lines, "turned": turned, "chunk": k.chunk,
            "chunks": k.chunks, "packed": packed, "count b": image.extent, "block images": k.images,
            "image blocks": -(-image.extent // k.images), "x b": x[image.name], "y b": y[image.name],
            "count g": group.extent, "x g": x[group.name], "y g": y[group.name],
            "w g": w[group.name], "w o": w[o.name], "w c": w[channel.name], "w f0": w[f0.name],
            "w f1": w[f1.name], "a g": matrix, "bias g": product.m * item,
            "block step": r.points * plane, "a plane": plane, "a tail plane": tail_plane,
            "block rows": k.rows, "block columns": k.columns, "row blocks": k.row_blocks,
            "column blocks": k.column_blocks,
            "tile rows": tiles[0], "tile columns": tiles[1], "x c": x[channel.name],
            "x row": x[u0.name] // d0, "y o": y[o.name], "y row": y[v0.name] // d0,
            "x column": x[u1.name] // d1, "y column": y[v1.name] // d1, "row offset": by_row.offset,
            "column offset": by_column.offset, "height": by_row.extent, "width": by_column.extent,
            "out rows": out_row.extent, "out columns": out_column.extent, "k": channel.extent, "panel": k.panel,
            "v line": v_line, "v plane": v_plane, "m plane": m_plane, "line pitch": wide * item,
        }  # fmt: skip
        self.lay_out(r.arguments(), words, ("x", "y", "a", "w", "bias", "residual", "scratch"))
        self.tasks = group.extent * self.words["image blocks"] * k.row_blocks * k.column_blocks * k.chunks
        self.workspace = size * threads + 64

    @staticmethod
    def _axis(view: View, window: str) -> Coordinate:
        """The axis along which a window index moves; one of a single position where there is none."""
        return next((c for c in view.coordinates if window in dict(c.terms)), Coordinate(1, ()))

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, p, k = self.recipe, self.product, self.block
        item = self.dtypes.work.itemsize
        images = self.words["count g"] * self.words["count b"]
        some = self.words["count g"] * self.words["image blocks"]
        rows = (r.blocks - 1) * r.stored(r.width) + r.stored(r.tail)
        blocks = some * k.row_blocks * k.column_blocks
        parts = -(-p.k // r.part)
        arrays = sum(math.prod(self.shapes[name]) * item for name in ("x", "y"))
        own = blocks * p.k * rows // r.lanes * _weights(r) if r.packs else 0.0
        terms = (p.k + KEPT * (parts - 1)) * (MANY_LINES if r.k else 1.0)
        return Effort(
            fma=round(2 * blocks * k.panels * k.panel * rows * terms * r.points),
            packed=round((images * k.chunks * p.k * _pre(p, r, k) + own) / 4),
            stored=round(images * (rows // r.lanes) * _post(p, r) / 5),
            touched=arrays,
            reread=0 if r.packs else blocks * self.weight_bytes // self.words["count g"],
            tasks=self.tasks,
            waits=True,
        )


def _tiles(product: Product) -> tuple[int, int]:
    """Rows of tiles and tiles in a row: all residues of both."""
    q0, r0, q1, r1 = (index.extent for index in product.c.cols[1:])
    return q0 * r0, q1 * r1


def _odd_lines(count: int) -> int:
    """At least so many bytes in an odd number of cache lines: planes fall into different sets."""
    lines = -(-count // 64)
    return 64 * (lines + 1 - lines % 2)


class _Block:
    """`rows` x `columns` tiles of `images`, summed in panels of `panel`, for `chunk` blocks of A's rows in one task."""

    def __init__(
        self, product: Product, r: WinogradRecipe, images: int, rows: int, columns: int, chunks: int
    ) -> None:
        down, across = _tiles(product)
        self.images, self.rows, self.columns = images, rows, columns
        self.tiles = images * rows * columns
        self.panels = -(-self.tiles // r.tallest)
        even = -(-self.tiles // self.panels)
        self.panel = even + even % 2
        self.panels = -(-self.tiles // self.panel)
        self.row_blocks, self.column_blocks = -(-down // rows), -(-across // columns)
        self.chunk = -(-r.blocks // chunks)
        self.chunks = -(-r.blocks // self.chunk)
        self.turns = 0.0

    @classmethod
    def best(cls, product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> _Block:
        """The one whose slowest thread is done first."""
        down, across = _tiles(product)
        batch = product.c.cols[0].extent
        each = r.points * max(product.k, r.stored(r.width)) * r.work.bytes
        room_for = max(SCRATCH // each, LEAST_TILES)
        pieces = max(-(-across // room_for), 1)
        columns = -(-across // (pieces * r.apart[1])) * r.apart[1]
        shapes = [
            (1, rows)
            for rows in range(1, max(room_for // columns, 1) + 1)
            if -(-down // -(-down // rows)) == rows  # otherwise the same number of blocks have fewer rows
        ]
        if columns == across:
            room_for = max(room_for, min(SEVERAL_TILES, SEVERAL // threads // each))
            several = range(2, min(batch, room_for // (down * across)) + 1)
            shapes += [(images, down) for images in several if -(-batch // -(-batch // images)) == images]
        found = []
        for images, rows in shapes:
            for chunks in range(1, min(r.blocks, threads) + 1):
                block = cls(product, r, images, rows, columns, chunks)
                block.turns = block._turns(product, r, threads, cpu)
                found.append((block.turns, -images, -rows, block))
        return min(found, key=lambda each: each[:3])[3]

    def _turns(self, product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> float:
        """What the slowest thread takes, in turns of its FMA unit."""
        (group,), batch = product.groups(product.c), product.c.cols[0].extent
        outer = group.extent * -(-batch // self.images)
        tasks = outer * self.row_blocks * self.column_blocks * self.chunks
        width = r.stored(r.width) // r.lanes
        fetched = 0.0 if r.packs else _fetched(product, r, cpu)
        point = self.panels * (self.panel * width * product.k + 40) + product.k * width * fetched
        pre = product.k * self.images * self.rows * _pre_row(r, self.columns)
        block = r.points * point + width * self.tiles * _post_tile(r)
        if r.packs:
            block += width * product.k * _weights(r)
        return -(-tasks // threads) * (pre + self.chunk * block)


def _fetched(product: Product, r: WinogradRecipe, cpu: Cpu) -> float:
    """Turns of the FMA unit that reading a vector of A anew takes."""
    size = r.points * product.k * r.blocks * r.stored(r.width) * r.work.bytes
    return A_FROM_MEMORY if size > cpu.l3 / 2 else A_FROM_L3


def _packed_before(product: Product, r: WinogradRecipe, threads: int, cpu: Cpu) -> float:
    """Turns of the FMA unit in which A is packed as a whole and written."""
    vectors = product.k * r.blocks * r.stored(r.width) // r.lanes
    return vectors * (_weights(r) + r.points * _fetched(product, r, cpu)) / threads


KEPT = 3
"""Terms in whose time a register tile is kept, and added to the next part."""

MANY_LINES = 1.1
"""How much longer a register tile takes that reads each of its tiles from a line of its own."""

A_FROM_L3, A_FROM_MEMORY = 3.0, 12.0
"""Turns of the FMA unit that reading a vector of A anew takes, at most: some of it is hidden."""


def _pre_row(r: WinogradRecipe, count: int) -> float:
    """Instructions of transforming one channel of a row of `count` tiles."""
    t0, t1, m1 = r.rows.points, r.columns.points, len(r.columns.post)
    if r.k:
        sums = t1 * r.operations[0] + t0 * r.operations[1]
        return count * (3 * t0 * t1 + sums) * r.stored(r.k) / (r.lanes * r.k)
    chunks = -(-(count * m1 + (t1 - m1) * r.apart[1]) // r.lanes)
    down = chunks * (3 * t0 + r.operations[0])
    moves = m1 * m1 + 2 * (t1 - m1) + t1
    return down + -(-count // r.lanes) * t0 * (moves + r.operations[1])


def _weights(r: WinogradRecipe) -> float:
    """Instructions of transforming a vector of filters of one channel."""
    t0, t1, f0, f1 = r.rows.points, r.columns.points, len(r.rows.pre_a[0]), len(r.columns.pre_a[0])
    read = r.lanes * 6 if r.taps else f0 * f1 * 2 * r.lanes
    return read + 2 * t0 * t1 + f1 * operations(r.rows.pre_a) + t0 * operations(r.columns.pre_a)


def _post_tile(r: WinogradRecipe) -> float:
    """Instructions of one tile and vector of rows of A, until it is stored."""
    t0, t1, m0, m1 = r.rows.points, r.columns.points, len(r.rows.post), len(r.columns.post)
    sums = t1 * r.operations[2] + m0 * r.operations[3]
    return t0 * t1 + sums + m0 * m1 * (2 if r.k else 7)


def _pre(product: Product, r: WinogradRecipe, block: _Block) -> float:
    down = _tiles(product)[0]
    return down * block.column_blocks * _pre_row(r, block.columns)


def _post(product: Product, r: WinogradRecipe) -> float:
    return math.prod(_tiles(product)) * _post_tile(r)


__all__ = ["WinogradPlan", "plan_transformed"]
