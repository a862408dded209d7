"""How a product with transforms runs on one CPU: its recipe, and what its kernel is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ....product import Index, Product, Transform, View
from ...cpu import Cpu
from ...ir.instructions import TYPES
from ...operands import Dtypes, Shapes, aligned_size, odd_lines_size, origin, strides
from ..base import KernelPlan
from ..effort import Effort
from ..panel.walk import LARGEST_EXTENT
from .blocks import (
    BEGUN,
    KEPT,
    MANY_LINES,
    Slices,
    TileBlock,
    channels_of,
    filter_operations,
    find_axis,
    images_of,
    packing_turns,
    post_operations,
    pre_operations,
    tiles_of,
)
from .writer import TALLEST, WinogradRecipe


def plan_transformed(
    product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu, *, bound: bool = True
) -> WinogradPlan | str:
    """The step of a product with transforms, or the sentence why no kernel is made for it.

    Without `bound`, A changes with every call.
    """
    refusal = _refuses(product, dtypes)
    if refusal is not None:
        return refusal
    item = dtypes.work.itemsize
    lanes = cpu.lanes(item)
    (a, b), c = product.terms[0], product.c
    x, y = strides(b, shapes["x"], item), strides(c, shapes["y"], item)
    (_, u1), (_, v1) = product.windows(b), product.windows(c)
    *_, r0, _, r1 = c.cols
    last = x[b.rows[-1].name] == y[c.rows[0].name] == item
    lines = x[u1.name] == y[v1.name] == r1.extent * item
    if not (last or lines):
        return (
            "reads x and writes y along their last pixel axis or their channels, one element after the other"
        )
    refusal = _refuses_extents(product, lanes if lines else 0)
    if refusal is not None:
        return refusal
    rows, columns = (each for each in product.transforms if isinstance(each, Transform))
    width = lanes * min(-(-product.m // lanes), 2)
    tail = product.m - (-(-product.m // width) - 1) * width
    recipe = WinogradRecipe(
        rows=rows,
        columns=columns,
        apart=(r0.extent, r1.extent),
        taps=_whole_filters(product, strides(a, shapes["w"], item), item),
        packs=False,
        k=0 if lines else channels_of(product),
        work=TYPES[dtypes.work.name],
        lanes=lanes,
        width=width,
        tail=tail,
        several=tail < width < product.m,
        tallest=TALLEST if cpu.vector_registers >= 32 else 6,
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
        folded=folded_row(b, product.windows(b)) > 0,
    )
    block = TileBlock.find_best(product, recipe, threads, cpu)
    if not bound:
        own = replace(recipe, packs=True)
        packing = TileBlock.find_best(product, own, threads, cpu)
        if packing.turns < block.turns + packing_turns(product, recipe, threads, cpu):
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
    if len(c.rows) != 1 or len(product.groups(c)) != 1 or (len(b.rows), len(c.cols)) not in ((1, 5), (2, 6)):
        return "takes one index each of groups, rows and depth"
    return None


def _refuses_extents(product: Product, lanes: int) -> str | None:
    """The same for sizes; `lanes` of a vector along lines, 0 along channels."""
    b, c = product.terms[0][1], product.c
    *_, r0, _, r1 = c.cols
    down = folded_row(b, product.windows(b)) or r0.extent
    windows = {v.name: d for v, d in zip(product.windows(c), (down, r1.extent), strict=True)}
    if any(
        coordinate.offset or by != windows.get(name, by)
        for coordinate in c.coordinates
        for name, by in coordinate.terms
    ):
        return "writes y densely, got one phase of several"
    reach = product.windows(b)[0].extent * folded_row(b, product.windows(b))
    widest = reach + max(coordinate.extent for coordinate in b.coordinates)
    if widest > LARGEST_EXTENT:
        return f"counts positions in 32 bits: no axis over {LARGEST_EXTENT}, got {widest}"
    if lanes and lanes % r1.extent:
        return f"takes dilations along lines that divide a vector of {lanes}, got {r1.extent}"
    u1, v1 = product.windows(b)[1], product.windows(c)[1]
    overlap = (u1.extent - v1.extent) * r1.extent
    if lanes and overlap > lanes:
        return f"takes windows that overlap by up to a vector of {lanes}, got {overlap}"
    return None if product.flops else "multiplies what has elements"


class WinogradPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays."""

    def __init__(
        self,
        product: Product,
        dtypes: Dtypes,
        shapes: Shapes,
        threads: int,
        recipe: WinogradRecipe,
        block: TileBlock,
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe, self.slices = recipe, Slices.of(product)
        r, item = recipe, dtypes.work.itemsize
        a, b = product.terms[0]
        c = product.c
        x, y = strides(b, shapes["x"], item), strides(c, shapes["y"], item)
        w = strides(a, shapes["w"], item)
        f0, f1 = product.windows(a)
        self.origin = {"x": 0, "y": 0, "w": origin(a, shapes["w"], item)}
        (group,) = product.groups(c)
        (*_, channel), (o,) = b.rows, c.rows
        (u0, u1), (v0, v1) = product.windows(b), product.windows(c)
        by_row, by_column = (find_axis(b, u.name) for u in product.windows(b))
        out_row, out_column = (find_axis(c, v.name) for v in product.windows(c))
        self.block = k = block
        plane, tail_plane = (
            odd_lines_size(product.k * r.stored_elements(n) * item) for n in (r.width, r.tail)
        )
        blocks = -(-product.m // r.width)
        matrix = r.points * ((blocks - 1) * plane + tail_plane)
        self.weight_tasks = 0 if r.packs else group.extent * blocks
        self.weight_bytes = math.prod(shapes["w"]) * item if r.packs else group.extent * matrix
        self.kept_bytes = 0 if r.packs else math.prod(shapes["w"]) * item
        tiles, (d0, d1) = tiles_of(product), r.apart
        down, across = by_row.offset, by_column.offset
        height, (out_rows, out_columns, last) = by_row.extent, (out_row.extent, out_column.extent, 0)
        if (piece := folded_row(b, (u0, u1))) > 0:
            down, height = 0, -(-(by_column.extent - across) // piece) + 1
            out_rows = -(-out_column.extent // piece)
            out_columns, last = piece, out_column.extent - (out_rows - 1) * piece + across
        words = {
            "chunk": k.chunk, "chunks": k.chunks, "together": k.together,
            "count g": group.extent, "x g": x[group.name], "y g": y[group.name],
            "w g": w[group.name], "w o": w[o.name], "w c": w[channel.name], "w f0": w[f0.name],
            "w f1": w[f1.name], "a g": matrix, "bias g": product.m * item,
            "block step": r.points * plane, "a blocks": blocks, "a plane": plane, "a tail plane": tail_plane,
            "block rows": k.rows, "block columns": k.columns, "row blocks": k.row_blocks,
            "column blocks": k.column_blocks,
            "tile rows": tiles[0], "tile columns": tiles[1], "x c": x[channel.name],
            "x row": x[u0.name] // d0, "y o": y[o.name], "y row": y[v0.name] // d0,
            "x column": x[u1.name] // d1, "y column": y[v1.name] // d1,
            "row offset": down, "column offset": across, "height": height, "width": by_column.extent,
            "piece": piece, "out rows": out_rows, "out columns": out_columns, "last columns": last,
            "k": channel.extent, "part": product.part,
            "panel": k.panel,
        }  # fmt: skip
        words |= self._slices(x, w, y) | self._scratch(plane)
        self.lay_out(r.arguments(), words, ("x", "y", "a", "w", "bias", "residual", "scratch"))
        self.tasks = self.outer * k.row_blocks * k.column_blocks * k.chunks
        self.workspace = words["scratch size"] * threads + 64

    def _slices(self, x: dict[str, int], w: dict[str, int], y: dict[str, int]) -> dict[str, int]:
        """Where slices lie, by the strides of x, w and y, and how they are cut into blocks."""
        s, k, product = self.slices, self.block, self.product
        image, *plane = product.c.cols[:-4]
        over = plane[0] if plane else image
        blocks = -(-s.count // (s.rests * k.slices))
        self.outer = images_of(product) * s.rests * blocks
        return {
            "count b": image.extent if plane else 1, "x b": x[image.name] if plane else 0,
            "y b": y[image.name] if plane else 0, "rests": s.rests, "slices": s.count, "block slices": k.slices,
            "slice blocks": blocks, "x slice": x[over.name] // s.stride, "y slice": y[over.name] * s.rests,
            "y rest": y[over.name], "slice offset": s.offset, "depth": s.depth, "slice stride": s.stride,
            "tap step": s.step, "taps": s.taps, "w tap": w[product.terms[0][1].rows[0].name] if plane else 0,
            "turns": s.turns, "overlap": s.overlap,
        }  # fmt: skip

    def _scratch(self, plane: int) -> dict[str, int]:
        """Where a thread's scratch has what, and how far apart; `plane`: bytes of a block of A at one point."""
        r, k, item = self.recipe, self.block, self.dtypes.work.itemsize
        # A panel of the last tap may begin so many tiles behind the first one's.
        behind = (self.slices.stored_elements(k.slices) - k.slices) * k.rows * k.columns
        wide = -(-k.columns // r.lanes) * r.lanes * len(r.columns.post) + 2 * r.lanes
        v_line = item if r.k else (k.tiles + behind) * item
        channels = channels_of(self.product)
        v_size = (behind + k.panels * k.panel) * r.pitch if r.k else channels * v_line + 2 * r.lanes * item
        v_plane, m_plane = (
            odd_lines_size(v_size),
            odd_lines_size(k.panels * k.panel * r.stored_elements(r.width) * item),
        )
        sums = aligned_size(r.points * v_plane + 64)
        m_block = aligned_size(r.points * m_plane)
        lines = sums + k.together * m_block
        turned = lines + aligned_size(r.rows.points * wide * item)
        packed = turned + aligned_size((len(r.rows.post) * r.turned * r.lanes + r.line) * r.lanes * item)
        return {
            "scratch size": packed + aligned_size(k.together * r.points * plane if r.packs else 0), "sums": sums,
            "turned": turned, "packed": packed, "v line": v_line, "v plane": v_plane, "m plane": m_plane,
            "line pitch": wide * item, "lines": lines, "m block": m_block,
        }  # fmt: skip

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, p, k = self.recipe, self.product, self.block
        item = self.dtypes.work.itemsize
        slices, channels = images_of(p) * self.slices.count, channels_of(p)
        rows = (-(-p.m // r.width) - 1) * r.stored_elements(r.width) + r.stored_elements(r.tail)
        blocks = self.outer * k.row_blocks * k.column_blocks
        parts = self.slices.taps * -(-channels // p.part)
        read = self.slices.count_sources(slices, self.outer)
        arrays = sum(math.prod(self.shapes[name]) * item for name in ("x", "y"))
        own = blocks * p.k * rows // r.lanes * filter_operations(r) if r.packs else 0.0
        terms = p.k * (MANY_LINES if r.k else 1.0) + KEPT * parts
        begun = blocks * k.panels * -(-p.m // r.width) * parts * r.points * BEGUN
        return Effort(
            fma=round(2 * (blocks * k.summed * rows * terms * r.points + begun * r.lanes)),
            packed=round((read * k.chunks * channels * pre_operations(p, r, k) + own) / 4),
            stored=round(slices * (rows // r.lanes) * post_operations(p, r) / 5),
            touched=arrays,
            reread=0 if r.packs else blocks * self.weight_bytes // self.words["count g"],
            tasks=self.tasks,
            waits=True,
        )


def folded_row(view: View, windows: Sequence[Index]) -> int:
    """The length of the rows that a line is folded into, where both windows move along one axis; otherwise 0."""
    u0, u1 = (each.name for each in windows)
    found = [dict(each.terms) for each in view.coordinates]
    return next((terms[u0] for terms in found if u0 in terms and u1 in terms), 0)


__all__ = ["WinogradPlan", "plan_transformed"]
