"""How one Product runs on one CPU: its recipe (what is constant) and its words (what is not).

Nothing here changes the order in which a sum is taken: k is cut into parts by its own length alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....product import Index, Product, View
from ...cpu import Cpu
from ...ir.instructions import TYPES
from ...job import WORD
from ...operands import Array, Dtypes, Shapes, aligned_size, contiguous_strides, origin, strides
from ..base import KernelPlan
from ..effort import EVERY, FUSED_PACK, PACK, TASK_FMAS, Effort
from ..epilogue import Store
from .k_parts import (
    RUN_PART,
    box_table,
    count_columns_inside,
    count_pieces,
    k_parts,
    panel_count,
    panel_ranges,
    part_sizes,
    split_evenly,
    step_of_pieces,
    valid_ranges,
)
from .partition import PANEL_BYTES, Overheads, Portions, partition
from .recipe import Form, PanelRecipe
from .run_shares import RunShares
from .steps import contiguous_from, extents_in_line, innermost_step, is_uniform
from .tiling import panel_recipe
from .walk import distance_refusal
from .weight_tables import weight_tables

TASKS = 4
"""Tasks that a thread should have of several matrices: enough to even out who is late."""

GROUPS = 2
"""Groups of panels that a second-level cache holds: while one is multiplied, x is asked for of the next."""

FETCHED, FETCHED_FAR = 1 / 64, 1 / 16
"""FMAs that wait for a byte of A, mostly behind other FMAs; and where A is more than a second-level cache holds.

It comes from a cache or memory then that all threads share: what they read together takes as long as all of it.
"""


def plan_step(product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu) -> PanelPlan | str:
    """The step of a product, or the sentence why no kernel is made for it."""
    refusal = _refuses(product, dtypes) or _refuses_rows(product, shapes)
    if refusal is not None:
        return refusal
    a, b = product.terms[0]
    c = product.c
    last = dict(b.coordinates[-1].terms)
    column, depth = c.cols[-1], b.rows[-1]
    y = strides(c, shapes["y"], 1)
    w = strides(a, shapes["w"], 1)
    side_by_side = contiguous_from(b.rows, w)
    k_run = side_by_side is not None and len(b.rows) - side_by_side >= max(len(b.rows) - 1, 1)
    if (
        product.k
        and k_run
        and last.get(depth.name, 0) >= 1
        and depth.extent >= 2 * b.ordered.line
        and contiguous_from(c.cols, y) == 0
        and is_uniform(c.rows, w)
    ):
        form = Form.SUMS
    elif _outer(product, dtypes, last, w):
        form = Form.OUTER
    elif last.get(column.name, 0) >= 1:
        form = Form.COLUMNS
    elif last.get(depth.name, 0) == 1:
        form = Form.PIXELS
    elif any(last.get(index.name) == 1 for index in c.cols):
        form = Form.COLUMNS
    else:
        return "reads x along its contiguous axis, which is neither the last of the columns nor of the sum"
    return PanelPlan(product, dtypes, shapes, threads, panel_recipe(product, dtypes, shapes, form, cpu))


def _outer(product: Product, dtypes: Dtypes, last: dict[str, int], w: dict[str, int]) -> bool:
    """Whether x is contiguous along the first column index and A along m: a channels-last weight gradient."""
    _, b = product.terms[0]
    first, rows = product.c.cols[0], product.c.rows
    beside = last.get(first.name) == 1 and len(last) == 1 and w[rows[-1].name] == 1 and is_uniform(rows, w)
    # A is read as it lies, so its elements must be what is multiplied, evenly apart along the whole of k.
    return beside and dtypes.array == dtypes.work and is_uniform(b.rows, w) and product.k > 0


def _refuses(product: Product, dtypes: Dtypes) -> str | None:
    if len(product.terms) != 1 or isinstance(product.terms[0][1].source, View):
        return "the same product as im2col, which the jit never stores"
    a, b = product.terms[0]
    array, work, out = dtypes.names
    known = work in ("float32", "float64") and array in TYPES and out in TYPES
    if not known or a.conjugate or b.conjugate:
        return f"multiplies real numbers, got {array}"
    if b.fill:
        return f"reads 0 outside an array, got {b.fill}"
    if not product.m * product.n * product.batch:
        return "multiplies what has elements"
    if product.maximum:
        return "sums products, and these are maxima"
    if any(by < 0 for coordinate in b.coordinates for _, by in coordinate.terms):
        return "reads x forwards along every axis"
    return distance_refusal(b)


def _refuses_rows(product: Product, shapes: Shapes) -> str | None:
    """Rows of C are evenly apart, or lie in blocks."""
    rows, y = product.c.rows, strides(product.c, shapes["y"], 1)
    if is_uniform(rows, y) or (len(rows) == 2 and y[rows[-1].name] == 1):
        return None
    return f"writes rows evenly apart or in one kind of block, got {' x '.join(str(i.extent) for i in rows)}"


class PanelPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays but tables of its own."""

    def __init__(
        self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, recipe: PanelRecipe
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe = recipe
        a, b = product.terms[0]
        c, r = product.c, recipe
        self.blocks = max(-(-product.m // r.mr), 1)
        self.kc = part_sizes(b)[1] if r.form is Form.COLUMNS else r.kc
        item, out = dtypes.array.itemsize, dtypes.out.itemsize
        self.origin = {
            "x": origin(b, shapes["x"], item), "y": origin(c, shapes["y"], out), "w": origin(a, shapes["w"], item),
        }  # fmt: skip
        sums = r.streams
        self.weight_bytes = (
            math.prod(shapes["w"]) * item if sums else r.packed_bytes(self.blocks, product.k) * product.batch
        )
        extents = {i.name: i.extent for i in product.c.batch + product.c.cols + b.rows}
        x, y, w = (
            strides(b, shapes["x"], item),
            strides(c, shapes["y"], out),
            strides(a, shapes["w"], item),
        )
        self.words = self._blocks(b, threads, extents)
        depth = count_pieces(b)[1] if r.streams else product.k
        self.words |= {
            "line": self._line(y), "w line": w[c.rows[-1].name], "k": product.k, "blocks": self.blocks,
            "block step": r.block_bytes(depth), "between": y[c.rows[0].name] if r.block else 0,
        }  # fmt: skip
        if r.form is Form.SUMS:
            first = contiguous_from(b.rows, strides(a, shapes["w"], 1)) or 0
            self.words["k inner"] = math.prod(i.extent for i in b.rows[first:])
            self.words["k outer"] = w[b.rows[0].name] if first else 0
        for name in r.outer:
            group = name in r.batch
            inner = math.prod(extents[other] for other in r.batch[r.batch.index(name) + 1 :]) if group else 0
            self.words |= {
                f"count {name}": extents[name], f"x {name}": x[name], f"y {name}": y[name],
                f"a {name}": 0 if sums else r.packed_bytes(self.blocks, product.k) * inner,
                f"w {name}": w[name] if group else 0,
                f"bias {name}": product.m * dtypes.work.itemsize if name == r.batch[0] else 0,
            }  # fmt: skip
        if r.windows:
            self.words["ahead"] = step_of_pieces(b, x)
            x = dict(zip(r.walk.taps + r.walk.run, contiguous_strides(shapes["x"], item), strict=True))
            extents |= dict(zip(x, r.windows.count_reached(extents), strict=True))
        if r.rows:
            extents[r.walk.run[0]] += r.rows.apart * (r.rows.taps - 1)
        along = extents if r.walk.checks else extents_in_line(r.walk.run, x, extents)
        for name in r.walk.run + r.walk.taps:
            self.words |= {f"step {name}": x[name], f"extent {name}": along.get(name, extents[name])}
        for name in r.places:
            self.words |= {f"y step {name}": y[name], f"y extent {name}": extents[name]}
        self.words |= {f"limit {check.axis}": b.coordinates[check.axis].extent for check in r.walk.checks}
        addresses = ("x", "y", "a", "w", "bias", "residual", "scratch")
        self.lay_out(r.arguments(), self.words, addresses)
        self.weight_tasks = 0 if r.streams else product.batch * self.blocks

    def tables(self) -> dict[str, Array]:
        """Where parts of k (or boxes of columns), rows of A and its packed elements lie, and what panels read."""
        (a, b), r = self.product.terms[0], self.recipe
        w = strides(a, self.shapes["w"], self.dtypes.array.itemsize)
        panels = ranges = pieces = np.zeros(1, np.int64)
        if r.streams:
            indices, most = self._boxes
            table = box_table(indices, split_evenly(indices, most))
            pieces = box_table(b.rows, split_evenly(b.rows, RUN_PART))
        else:
            parts = k_parts(b)
            table = box_table(b.rows, parts)
            if r.rows:  # every part has all taps
                at = 2 * [i.name for i in b.rows].index(r.rows.tap)
                table = np.ascontiguousarray(np.delete(table, [at, at + 1], axis=1))
            if r.skips:
                panels = panel_ranges(self._columns, r.nr)
                ranges = valid_ranges(b, parts, self._columns, panels)
        return {
            "boxes": table, **weight_tables(self.recipe, self.product, w),
            "panel columns": panels, "valid ranges": ranges, "pieces": pieces,
        }  # fmt: skip

    @property
    def packs(self) -> tuple[Any, ...]:
        """See KernelPlan."""
        found: tuple[Any, ...] = self.recipe.packs
        return found

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, p, work = self.recipe, self.product, self.dtypes.work.itemsize
        vector = r.lanes * work
        sums = r.streams
        columns = p.n if sums else self.words["columns"]
        runs = p.batch if sums else p.batch * (p.n // max(columns, 1))
        rows = (self.blocks - 1) * r.padded_rows(r.mr) + r.padded_rows(r.tail)
        if r.along_m:
            full, left = divmod(columns, r.nr)
            wide = full * r.nr + next((n for n in r.tile_columns() if n >= left), 0) * (left > 0)
        else:
            rows, wide = p.m, -(-columns // r.lanes) * r.lanes
        mc_blocks, parts = self.words["mc blocks"], self.words["parts"]
        multiplied = wide * p.k
        if r.skips:
            multiplied = count_columns_inside(self.product.terms[0][1], self._columns, r.nr)
        tiles = runs * rows * wide // r.lanes
        vectors = -(-columns // r.lanes)
        if r.form is Form.COLUMNS and r.walk.coefficient > 1:  # each line by vectors of its own
            line = max(self.words[f"extent {r.walk.lane}"], 1)
            vectors = -(-columns // line) * -(-line // r.lanes)
        packed = runs * p.k * vectors * mc_blocks
        if r.rows:
            halo = self.words["halo"] * self.words["nc blocks"]
            packed = runs * p.k // r.rows.taps * round(vectors * (1 + halo / max(columns, 1))) * mc_blocks
        elif r.form is Form.COLUMNS and r.along_m:
            packed = runs * p.k * -(-columns // r.nr) * (r.pitch // vector) * mc_blocks
        if sums:
            packed = self._packed
        if r.in_place:
            packed = 0
        a_bytes = 0
        if not sums:
            groups = self.words["nc blocks"] * -(-self.words["nc"] // self.words["group"])
            a_bytes = runs * groups * r.packed_bytes(self.blocks, p.k)
        arrays = sum(math.prod(self.shapes[name]) * self.dtypes.array.itemsize for name in ("x", "w", "y"))
        return Effort(
            fma=2 * runs * rows * multiplied,
            packed=0 if r.fuses_packing else packed,
            fused_packed=packed if r.fuses_packing else 0,
            stored=tiles * (2 * parts - 1),
            touched=arrays,
            reread=a_bytes,
            tasks=self.tasks,
            apart=EVERY if r.walk.square else r.walk.coefficient,
            passes=1 if sums else self._count_passes(),
        )

    def _count_passes(self) -> int:
        """How often x is gone through: by phases, say, which reach the same part of it."""
        r, words = self.recipe, self.words
        indices = r.walk.run + r.walk.taps
        reached = sum((words[f"extent {name}"] - 1) * words[f"step {name}"] for name in indices)
        shared = (name for name in r.outer if abs(words[f"x {name}"]) < reached)
        return math.prod(words[f"count {name}"] for name in shared)

    def __getstate__(self) -> dict[str, Any]:
        """What it is made of; addresses are made anew."""
        return {"made of": (self.product, self.dtypes, self.shapes, self.threads, self.recipe)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        PanelPlan.__init__(self, *state["made of"])

    def _line(self, y: dict[str, int]) -> int:
        """Bytes from one line of C to the next: a row of it, or a column where lanes lie along its rows."""
        r, c = self.recipe, self.product.c
        if r.along_m and r.store in (Store.LINES, Store.PLACED):
            return min((y[i.name] for i in c.cols[-1:] if i.extent > 1), default=innermost_step(c.cols, y))
        return y[c.rows[-1].name]

    def _blocks(self, b: View, threads: int, extents: dict[str, int]) -> dict[str, int]:
        """How columns and rows are shared out, and the scratch it takes, as kernel arguments."""
        outer = math.prod(extents[name] for name in self.recipe.outer)
        wanted = TASKS * threads if threads > 1 else 1
        if self.recipe.streams:
            return self._blocks_of_runs(outer, wanted)
        return self._blocks_of_panels(b, extents, outer, wanted)

    def _blocks_of_runs(self, outer: int, wanted: int) -> dict[str, int]:
        """The same where k is one long run: boxes of columns, and as many rows of A as a task packs for itself."""
        shares = RunShares(self.recipe, self.product, self.blocks, outer, self.threads, wanted)
        self._boxes, self._packed = (shares.columns, shares.sizes[0]), shares.count_packed()
        words = shares.words()
        self._set_totals(outer * words["nc blocks"] * words["mc blocks"], words["scratch size"])
        return words

    def _blocks_of_panels(self, b: View, extents: dict[str, int], outer: int, wanted: int) -> dict[str, int]:
        """The same where a task's columns are panels one after the other."""
        r = self.recipe
        inner = r.walk.run if r.form is Form.COLUMNS else r.walk.taps
        columns = math.prod(extents[name] for name in inner)
        parts, _ = part_sizes(b)
        panels = -(-columns // r.nr)
        if r.skips:
            self._columns = tuple(Index(name, extents[name]) for name in inner)
            panels = panel_count(self._columns, r.nr)
        item, width = r.work.bytes, extents[r.walk.run[-1]]
        near = PANEL_BYTES // max(r.panel_bytes(self.kc), 1)
        if r.rows:
            near = r.rows.most_columns(self.kc, width, item) // r.nr
        near = max(1, min(panels, near))
        nc, mc = self._nc_mc(panels, columns, outer, wanted, near)
        nc_blocks, mc_blocks = -(-panels // nc), -(-self.blocks // mc)
        group = self._group(nc, mc, near)
        copied = r.rows.words((nc + 1) * r.nr, width, item) if r.rows else {}
        packed_b = aligned_size(group * WORD if r.in_place else group * r.panel_bytes(self.kc) + 64)
        if r.rows:
            packed_b = aligned_size(self.kc // r.rows.taps * copied["copy pitch"] + 64)
        sums = aligned_size(group * mc * r.tile_bytes if parts > 1 or r.skips else 0)
        places = aligned_size(group * r.nr * 8 if r.places else 0)
        size = packed_b + sums + places
        self._set_totals(outer * nc_blocks * mc_blocks, size)
        return {
            "scratch size": size, "parts": parts, "columns": columns, "panels": panels, "nc": nc,
            "nc blocks": nc_blocks, "mc": mc, "mc blocks": mc_blocks, "sums": packed_b, "places": packed_b + sums,
            "group": group, **copied,
        }  # fmt: skip

    def _nc_mc(self, panels: int, columns: int, outer: int, wanted: int, near: int) -> tuple[int, int]:
        """NC in panels and MC in blocks of rows, for `outer` matrices and at least `wanted` tasks.

        `near`: panels that stay in a second-level cache.
        """
        r, threads = self.recipe, self.threads
        if threads == 1:
            return max(panels, 1) if r.fuses_packing else near, self.blocks
        if outer == 1 and panels:
            last = columns / r.nr - panels + 1
            return self._partition(Portions(panels, 1.0 if r.skips else last), near)
        nc = max(1, min(near, -(-panels * outer // wanted)))
        nc = -(-panels // max(-(-panels // nc), 1)) or 1
        tasks = outer * -(-panels // nc)
        mc_blocks = min(self.blocks, -(-wanted // tasks)) if 0 < tasks < wanted else 1
        return nc, -(-self.blocks // mc_blocks)

    def _group(self, nc: int, mc: int, near: int) -> int:
        """Panels that a task has packed at a time, `near` at most: all of them, unless packing is fused."""
        r = self.recipe
        few = nc * r.panel_bytes(self.kc) <= PANEL_BYTES // 2
        if not r.fuses_packing or few:
            return nc
        stays = mc * r.block_bytes(self.kc) <= PANEL_BYTES
        groups = -(-nc // (max(near // GROUPS, 1) if stays else near))
        return -(-nc // groups)

    def _partition(self, panels: Portions, most: int) -> tuple[int, int]:
        """NC (at most `most`) in panels and MC in blocks of rows, for one matrix and several threads."""
        r = self.recipe
        rows = r.padded_rows(r.mr) if r.along_m else r.mr
        vectors = rows * r.nr / r.lanes  # FMAs of a whole tile for one k
        packed = r.pitch / (r.lanes * r.work.bytes) if r.form is Form.COLUMNS else r.nr / r.lanes
        start = TASK_FMAS / (vectors * self.product.k) if self.product.k else 1.0
        if r.rows:
            packed /= r.rows.taps
            width = next(i.extent for i in self.product.c.cols if i.name == r.walk.lane)
            start += r.rows.halo(width) / r.lanes * PACK / r.rows.taps / vectors
        far = r.packed_bytes(self.blocks, self.product.k) > 2 * PANEL_BYTES
        overheads = Overheads(
            pack=0.0 if r.in_place else packed * (FUSED_PACK if r.fuses_packing else PACK) / vectors,
            fetch=(FETCHED_FAR if far else FETCHED) * rows * r.work.bytes / vectors,
            start=start,
        )
        blocks = Portions(self.blocks, r.tail / r.mr)
        return partition(panels, blocks, overheads, most=most, threads=self.threads)

    def _set_totals(self, tasks: int, size: int) -> None:
        """Number of tasks, and the scratch of all threads if one takes `size` bytes."""
        self.tasks = tasks
        self.workspace = size * self.threads + 64


__all__ = ["PanelPlan", "plan_step"]
