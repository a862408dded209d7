"""How one Product runs on one CPU: its recipe (what is constant) and its words (what is not).

Nothing here changes the order in which a sum is taken: k is cut into parts by its own length alone.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from ....product import LEFT_OUT, Index, Product, View, size
from ...cpu import Cpu
from ...ir.instructions import TYPES
from ...operands import Array, Block, Dtypes, Shapes, aligned_size, count, origin, strides
from ..base import KernelPlan
from ..effort import FUSED_PACK, PACK, Effort
from ..epilogue import Store
from .pack_b import Walk, too_far
from .partition import Overheads, Pieces, partition
from .recipe import Form, PanelRecipe

PART = 384
"""About the longest sum taken in one go. Shorter ones round less (by the root of their number) and cost no time: a
panel of one stays in the first-level cache, but its sums are kept between parts."""

RUN_PART = 512
"""The same where k is a run of pixels: A is then packed part by part beside the panels."""

PANEL_BYTES = 400 << 10
"""Bytes of the panels that a task keeps packed: with a block of A they fit a second-level cache of 1 MiB."""

A_BYTES = 256 << 10
"""Bytes of A that a task packs for itself."""

TASKS = 4
"""Tasks that a thread should have of several matrices: enough to even out who is late."""

FETCHED = 1 / 64
"""FMAs that wait for a byte of A: it comes from beyond the second-level cache, mostly behind other FMAs."""

TASK_FMAS = 500.0
"""FMAs in the time that it takes to begin a task."""


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
    side_by_side = _run(b.rows, w)
    k_run = side_by_side is not None and len(b.rows) - side_by_side >= max(len(b.rows) - 1, 1)
    if (
        product.k
        and k_run
        and last.get(depth.name, 0) >= 1
        and depth.extent >= 2 * column.extent
        and _run(c.cols, y) == 0
        and _uniform(c.rows, w)
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
    return PanelPlan(product, dtypes, shapes, threads, _recipe(product, dtypes, shapes, form, cpu))


def _outer(product: Product, dtypes: Dtypes, last: dict[str, int], w: dict[str, int]) -> bool:
    """Whether x is contiguous along the first column index and A along m: a channels-last weight gradient."""
    _, b = product.terms[0]
    first, rows = product.c.cols[0], product.c.rows
    beside = last.get(first.name) == 1 and len(last) == 1 and w[rows[-1].name] == 1 and _uniform(rows, w)
    # A is read as it lies, so its elements must be what is multiplied, evenly apart along the whole of k.
    return beside and dtypes.array == dtypes.work and _uniform(b.rows, w) and product.k > 0


def _refuses(product: Product, dtypes: Dtypes) -> str | None:
    if len(product.terms) != 1 or isinstance(product.terms[0][1].source, View):
        return "the same product as im2col, which the jit never stores"
    a, b = product.terms[0]
    known = (
        dtypes.work.name in ("float32", "float64") and dtypes.array.name in TYPES and dtypes.out.name in TYPES
    )
    if not known or a.conjugate or b.conjugate:
        return f"multiplies real numbers, got {dtypes.array.name}"
    if b.fill:
        return f"reads 0 outside an array, got {b.fill}"
    if not product.m * product.n * product.batch:
        return "multiplies what has elements"
    if product.maximum:
        return "sums products, and these are maxima"
    if any(by < 0 for coordinate in b.coordinates for _, by in coordinate.terms):
        return "reads x forwards along every axis"
    return too_far(b)


def _refuses_rows(product: Product, shapes: Shapes) -> str | None:
    """Rows of C are evenly apart, or lie in blocks."""
    rows, y = product.c.rows, strides(product.c, shapes["y"], 1)
    if _uniform(rows, y) or (len(rows) == 2 and y[rows[-1].name] == 1):
        return None
    return f"writes rows evenly apart or in one kind of block, got {' x '.join(str(i.extent) for i in rows)}"


def _fitting(width: int, block: int, lanes: int) -> int:
    """Rows of a tile, up to `width`, of which none is part of two blocks of C: some blocks, or an equal part of one.

    >>> _fitting(32, 8, 16), _fitting(32, 12, 16), _fitting(32, 48, 16)
    (32, 24, 16)
    """
    if block <= width:
        return width // block * block
    parts = [n for n in range(1, width + 1) if block % n == 0]
    return max(parts, key=lambda n: (n / -(-n // lanes), n))


def _recipe(product: Product, dtypes: Dtypes, shapes: Shapes, form: Form, cpu: Cpu) -> PanelRecipe:
    a, b = product.terms[0]
    c, m = product.c, product.m
    last = dict(b.coordinates[-1].terms)
    y = strides(c, shapes["y"], 1)
    w = strides(a, shapes["w"], 1)
    lanes = cpu.lanes(dtypes.work.itemsize)
    # Extents of 1 count too: another batch or image size must not be another kernel.
    first = _run(c.cols, y, ones=True)
    fused_columns = 0
    if form is Form.COLUMNS and first is not None and dtypes.array == dtypes.work:
        line = c.cols[first:]
        plain = last.get(line[-1].name, 0) > 0 and Walk.of(b, _names(line), _names(b.rows)).plain
        fused_columns = math.prod(i.extent for i in line) if plain else 0
    along_m, mr, nr = _tiles(m, product.k, lanes, cpu.vector_registers, fused_columns)
    if form is Form.OUTER:
        along_m, mr, nr = _along_n(m, lanes, cpu.vector_registers)
    block = 0 if _uniform(c.rows, y) else c.rows[-1].extent
    if form is not Form.OUTER and not along_m and (form is not Form.COLUMNS or block):
        along_m, mr, nr = _along_m(m, lanes, cpu.vector_registers)
    if block:
        mr = _fitting(mr, block, lanes)
    rows = c.rows[-1].name
    store, places = Store.TURNED if along_m else Store.LINES, False
    if first is None or (form is Form.PIXELS and first > 0 and y[rows] == 1):
        # C's columns do not lie side by side: its rows do (channels last), or nothing does.
        first = min(1, len(c.cols) - 1) if form is Form.COLUMNS else 0
        dense = all(by == 1 for coordinate in c.coordinates for _, by in coordinate.terms)
        uniform = dense and _uniform(c.cols[first:], y, ones=True)
        if y[rows] == 1 and (along_m or form is Form.PIXELS):
            store, places = (Store.LINES, False) if uniform else (Store.PLACED, True)
        else:
            if form is Form.COLUMNS:
                along_m, mr, nr = _along_n(m, lanes, cpu.vector_registers)
            store, places = Store.SCATTERED, True
    inner = c.cols[first:]
    if form is Form.OUTER:
        inner = (*c.cols[1:], c.cols[0])
        store, first, places = Store.SCATTERED, 0, True
        walk = Walk.of(b, _names(inner), _names(b.rows))
    elif form is Form.COLUMNS:
        if not last.get(inner[-1].name):
            # x is contiguous along another of the columns: lanes lie along that one.
            beside = next(i for i in c.cols if last.get(i.name) == 1)
            along_m, mr, nr = _along_n(m, lanes, cpu.vector_registers)
            inner = (*(i for i in c.cols if i != beside), beside)
            store, first, places = Store.SCATTERED, 0, True
        walk = Walk.of(b, _names(inner), _names(b.rows))
    elif form is Form.PIXELS:
        walk = Walk.of(b, _names(b.rows), _names(inner))
    else:
        walk = Walk.of(b, _names(b.rows), _names(c.cols))
    streams = form in (Form.SUMS, Form.OUTER)
    kc = RUN_PART if streams else _part_sizes(b)[1]
    along = b.rows if streams else _as_it_lies(b.rows, w)
    lines = streams or (_run(along, w) == 0 and _uniform(c.rows, w))
    return PanelRecipe(
        form=form,
        walk=walk,
        batch=_names(c.batch),
        outer=_names(c.batch) if streams else _names(c.batch + c.cols[:first]),
        array=TYPES[dtypes.array.name],
        work=TYPES[dtypes.work.name],
        out=TYPES[dtypes.out.name],
        signed=dtypes.array.name != "uint8",
        lanes=lanes,
        along_m=along_m,
        store=store,
        m=m,
        mr=mr,
        nr=nr,
        kc=kc,
        lines=lines,
        ordered=[i for i in along if i.extent > 1] == [i for i in b.rows if i.extent > 1],
        skips=along_m and not streams and _windows(b) > 0,
        k_indices=0 if lines else len(b.rows),
        a_step=_column_step(b.rows, w) * dtypes.array.itemsize if form is Form.OUTER else 0,
        block=block,
        places=_names(inner) if places else (),
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
    )


FEW_ROWS = 64
"""Up to so many rows of A, packing a panel is worth sharing among more columns: lanes along n."""

EMPTY = 0.02
"""Lanes along n stay empty in the last vector: with more of them, lanes lie along m even where packing is free."""


def _tiles(m: int, k: int, lanes: int, registers: int, fused_columns: int) -> tuple[bool, int, int]:
    """(lanes along m, MR, NR): rows of a block of A, columns of a panel of B.

    Lanes along m waste nothing where m is a multiple of them, and leave columns to be counted singly; turning a tile
    costs about its columns in shuffles, which a long sum hides. With lanes along n the packing of `fused_columns`
    columns, if not 0, would be fused with multiplying.
    """
    free = fused_columns > 0 and -fused_columns % lanes <= EMPTY * fused_columns
    if m > FEW_ROWS and -(-m // lanes) * lanes <= 1.1 * m and k >= 32 and not free:
        return _along_m(m, lanes, registers)
    return _along_n(m, lanes, registers)


def _along_m(m: int, lanes: int, registers: int) -> tuple[bool, int, int]:
    """14 x 2: 28 accumulators, 2 vectors, a broadcast, of 32 registers; 6 x 2 of 16."""
    tall = 14 if registers >= 32 else 6
    whole = -(-m // lanes)
    return True, lanes * max(min(whole, 2), 1), tall if whole > 1 else 2 * tall


def _along_n(m: int, lanes: int, registers: int) -> tuple[bool, int, int]:
    """8 x 3: 24 accumulators, 3 vectors, a broadcast; 6 x 4 where there are fewer rows; 6 x 2 of 16 registers.

    The rows are shared out evenly: 20 are 7, 7 and 6.
    """
    tall, wide = (8, 3) if registers >= 32 else (6, 2)
    if registers >= 32 and m <= 6:
        tall, wide = 6, 4
    blocks = max(-(-m // tall), 1)
    return False, max(-(-m // blocks), 1), wide * lanes


def _in_line(run: tuple[str, ...], steps: dict[str, int], extents: dict[str, int]) -> dict[str, int]:
    """The extents of a run whose lines follow each other without a gap, taken as one line.

    >>> _in_line(("b", "p0", "p1"), {"b": 1000, "p0": 40, "p1": 4}, {"b": 2, "p0": 5, "p1": 10})
    {'p1': 50, 'p0': 1, 'b': 2}
    """
    lane, joined = run[-1], True
    found = {lane: extents[lane]}
    for name in reversed(run[:-1]):
        joined = joined and steps[name] == found[lane] * steps[lane]
        found[name] = 1 if joined else extents[name]
        found[lane] *= extents[name] if joined else 1
    return found


class PanelPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays but tables of its own."""

    def __init__(
        self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, recipe: PanelRecipe
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe = recipe
        a, b = product.terms[0]
        c, r = product.c, recipe
        item, out = dtypes.array.itemsize, dtypes.out.itemsize
        self.origin = {
            "x": origin(b, shapes["x"], item), "y": origin(c, shapes["y"], out), "w": origin(a, shapes["w"], item),
        }  # fmt: skip
        sums = r.streams
        self.weight_bytes = (
            math.prod(shapes["w"]) * item if sums else r.packed_bytes(product.k) * product.batch
        )
        extents = {i.name: i.extent for i in product.c.batch + product.c.cols + b.rows}
        x, y, w = (
            strides(b, shapes["x"], item),
            strides(c, shapes["y"], out),
            strides(a, shapes["w"], item),
        )
        self.words = self._blocks(b, threads, extents)
        self.words |= {
            "line": self._line(y), "w line": w[c.rows[-1].name], "k": product.k,
            "block step": r.block_bytes(product.k), "between": y[c.rows[0].name] if r.block else 0,
        }  # fmt: skip
        if r.form is Form.SUMS:
            first = _run(b.rows, strides(a, shapes["w"], 1)) or 0
            self.words["k inner"] = math.prod(i.extent for i in b.rows[first:])
            self.words["k outer"] = w[b.rows[0].name] if first else 0
        for name in r.outer:
            group = name in r.batch
            inner = math.prod(extents[other] for other in r.batch[r.batch.index(name) + 1 :]) if group else 0
            self.words |= {
                f"count {name}": extents[name], f"x {name}": x[name], f"y {name}": y[name],
                f"a {name}": 0 if sums else r.packed_bytes(product.k) * inner,
                f"w {name}": w[name] if group else 0,
                f"bias {name}": product.m * dtypes.work.itemsize if name == r.batch[0] else 0,
            }  # fmt: skip
        along = extents if r.walk.checks else _in_line(r.walk.run, x, extents)
        for name in r.walk.run + r.walk.taps:
            self.words |= {f"step {name}": x[name], f"extent {name}": along.get(name, extents[name])}
        for name in r.places:
            self.words |= {f"y step {name}": y[name], f"y extent {name}": extents[name]}
        self.words |= {f"limit {check.axis}": b.coordinates[check.axis].extent for check in r.walk.checks}
        addresses = ("x", "y", "a", "w", "bias", "residual", "scratch")
        self.lay_out(r.arguments(), self.words, addresses)
        self.weight_tasks = 0 if r.streams else product.batch * r.blocks

    def tables(self) -> dict[str, Array]:
        """Where parts of k (or boxes of columns), rows of A and its packed elements lie, and what panels read."""
        (a, b), r = self.product.terms[0], self.recipe
        w = strides(a, self.shapes["w"], self.dtypes.array.itemsize)
        panels = ranges = np.zeros(1, np.int64)
        if r.streams:
            indices, blocks = self._boxes
            table = _table(indices, cut(indices, blocks))
        else:
            parts = _parts(b)
            table = _table(b.rows, parts)
            if r.skips:
                panels = _panels(self._columns, r.nr)
                ranges = _valid_ranges(b, parts, self._columns, panels)
        return {
            "boxes": table, "w rows": self._where(w), "w walk": self._walked(w), "w places": self._turned(w),
            "panel columns": panels, "valid ranges": ranges,
        }  # fmt: skip

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, p, work = self.recipe, self.product, self.dtypes.work.itemsize
        vector = r.lanes * work
        sums = r.streams
        columns = p.n if sums else self.words["columns"]
        runs = p.batch if sums else p.batch * (p.n // max(columns, 1))
        rows = (r.blocks - 1) * r.padded_rows(r.mr) + r.padded_rows(r.tail)
        if r.along_m:
            full, left = divmod(columns, r.nr)
            wide = full * r.nr + next((n for n in r.tile_columns() if n >= left), 0) * (left > 0)
        else:
            rows, wide = p.m, -(-columns // r.lanes) * r.lanes
        mc_blocks, parts = self.words["mc blocks"], self.words["parts"]
        multiplied = wide * p.k
        if r.skips:
            multiplied = _inside(self.product.terms[0][1], self._columns, r.nr)
        tiles = runs * rows * wide // r.lanes
        packed = runs * p.k * -(-columns // r.lanes) * mc_blocks
        if r.form is Form.COLUMNS and r.along_m:
            packed = runs * p.k * -(-columns // r.nr) * (r.pitch // vector) * mc_blocks
        if sums:
            packed += runs * self.words["nc blocks"] * p.k * -(-p.m // r.lanes)
        groups = self.words["nc blocks"]
        a_bytes = 0 if sums else runs * groups * r.packed_bytes(p.k)
        arrays = sum(math.prod(self.shapes[name]) * self.dtypes.array.itemsize for name in ("x", "w", "y"))
        return Effort(
            fma=2 * runs * rows * multiplied,
            packed=0 if r.fuses_packing else packed,
            fused_packed=packed if r.fuses_packing else 0,
            stored=tiles * (2 * parts - 1),
            touched=arrays,
            reread=a_bytes,
            tasks=self.tasks,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What it is made of; addresses are made anew."""
        return {"made of": (self.product, self.dtypes, self.shapes, self.threads, self.recipe)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        PanelPlan.__init__(self, *state["made of"])

    def _line(self, y: dict[str, int]) -> int:
        """From one line of C to the next, in bytes: a row of it, or a column where lanes lie along its rows."""
        r, c = self.recipe, self.product.c
        if r.along_m and r.store in (Store.LINES, Store.PLACED):
            return min((y[i.name] for i in c.cols[-1:] if i.extent > 1), default=_column_step(c.cols, y))
        return y[c.rows[-1].name]

    def _walked(self, w: dict[str, int]) -> Array:
        """A gathering packer's table of k: the extent of each index and its step in A in bytes."""
        depth = self.product.terms[0][1].rows
        return np.array([n for i in depth for n in (i.extent, w[i.name])], np.int64)

    def _turned(self, w: dict[str, int]) -> Array:
        """A packer's table of lines in another order than k: where each element goes, in bytes.

        Once for a full block of A's rows and once for the last.
        """
        r, depth = self.recipe, self.product.terms[0][1].rows
        if r.ordered or not r.lines:
            return np.zeros(1, np.int64)
        numbers = np.arange(math.prod(i.extent for i in depth)).reshape([i.extent for i in depth])
        lying = [depth.index(i) for i in _as_it_lies(depth, w)]
        lengths = [r.padded_rows(rows) * r.work.bytes for rows in (r.mr, r.tail)]
        if r.blocks == 1:
            lengths = lengths[1:]
        return np.multiply.outer(lengths, numbers.transpose(lying).reshape(-1)).astype(np.int64)

    def _where(self, w: dict[str, int]) -> Array:
        """A gathering packer's table of A's rows: where each lies, in bytes from the first."""
        rows = np.zeros(1, np.int64)
        for index in self.product.c.rows:
            rows = np.add.outer(rows, np.arange(index.extent) * w[index.name]).reshape(-1)
        return rows

    def _blocks(self, b: View, threads: int, extents: dict[str, int]) -> dict[str, int]:
        """How columns and rows are shared out, and the room it takes."""
        r, product = self.recipe, self.product
        wanted = TASKS * threads if threads > 1 else 1
        outer = math.prod(extents[name] for name in r.outer)
        if r.streams:
            outer_form = r.form is Form.OUTER
            mc = r.blocks if outer_form else max(1, min(r.blocks, A_BYTES // max(r.block_bytes(r.kc), 1)))
            parts = -(-product.k // r.kc)
            most = r.block_columns if outer_form else max(PANEL_BYTES // r.pitch // r.nr * r.nr, 1)
            by_name = {i.name: i for i in product.c.cols}
            columns_ = tuple(by_name[name] for name in r.box_indices)
            self._boxes = (columns_, most)
            blocks, longest = _cutting(columns_, most).sizes
            mc_blocks = -(-r.blocks // mc)
            if outer * blocks * mc_blocks < wanted:
                mc_blocks = min(r.blocks, -(-wanted // max(outer * blocks, 1)))
                mc = -(-r.blocks // mc_blocks)
                mc_blocks = -(-r.blocks // mc)
            panels = -(-longest // r.nr)
            panel_room = aligned_size((r.kc if outer_form else panels * r.nr) * r.pitch + 64)
            packed = 0 if outer_form else aligned_size(mc * r.block_bytes(r.kc))
            kept = aligned_size(panels * mc * r.tile_bytes if parts > 1 else 0)
            places = aligned_size(panels * r.nr * 8 if r.places else 0)
            size = panel_room + packed + kept + places
            self._totals(outer * blocks * mc_blocks, size, threads)
            return {
                "scratch size": size, "parts": parts, "nc blocks": blocks, "mc": mc, "mc blocks": mc_blocks,
                "packed a": panel_room, "sums": panel_room + packed, "places": panel_room + packed + kept,
            }  # fmt: skip
        inner = r.walk.run if r.form is Form.COLUMNS else r.walk.taps
        columns = math.prod(extents[name] for name in inner)
        parts, _ = _part_sizes(b)
        panels = -(-columns // r.nr)
        if r.skips:
            self._columns = tuple(Index(name, extents[name]) for name in inner)
            panels = _panel_count(self._columns, r.nr)
        room_ = r.panel_bytes(r.kc)
        nc, mc = max(1, min(panels, PANEL_BYTES // max(room_, 1))), r.blocks
        if threads > 1 and outer == 1 and panels:
            last = columns / r.nr - panels + 1
            nc, mc = self._partition(panels, 1.0 if r.skips else last, nc, threads)
        elif threads > 1:
            nc = max(1, min(nc, -(-panels * outer // wanted)))
            nc = -(-panels // max(-(-panels // nc), 1)) or 1
            nc_blocks = outer * -(-panels // nc)
            mc_blocks = min(r.blocks, -(-wanted // nc_blocks)) if 0 < nc_blocks < wanted else 1
            mc = -(-r.blocks // mc_blocks)
        nc_blocks, mc_blocks = -(-panels // nc), -(-r.blocks // mc)
        panel_room = aligned_size(nc * room_ + 64)
        kept = aligned_size(nc * mc * r.tile_bytes if parts > 1 or r.skips else 0)
        places = aligned_size(nc * r.nr * 8 if r.places else 0)
        size = panel_room + kept + places
        self._totals(outer * nc_blocks * mc_blocks, size, threads)
        return {
            "scratch size": size, "parts": parts, "columns": columns, "panels": panels, "nc": nc,
            "nc blocks": nc_blocks, "mc": mc, "mc blocks": mc_blocks, "sums": panel_room, "places": panel_room + kept,
        }  # fmt: skip

    def _partition(self, panels: int, last: float, most: int, threads: int) -> tuple[int, int]:
        """NC in panels and MC in blocks of rows, for one matrix and several threads."""
        r = self.recipe
        rows = r.padded_rows(r.mr) if r.along_m else r.mr
        vectors = rows * r.nr / r.lanes  # FMAs of a whole tile for one k
        packed = r.pitch / (r.lanes * r.work.bytes) if r.form is Form.COLUMNS else r.nr / r.lanes
        overheads = Overheads(
            pack=packed * (FUSED_PACK if r.fuses_packing else PACK) / vectors,
            fetch=FETCHED * rows * r.work.bytes / vectors,
            start=TASK_FMAS / (vectors * self.product.k) if self.product.k else 1.0,
        )
        blocks = Pieces(r.blocks, r.tail / r.mr)
        return partition(Pieces(panels, last), blocks, overheads, most=most, threads=threads)

    def _totals(self, tasks: int, size: int, threads: int) -> None:
        self.tasks = tasks
        self.workspace = size * threads + 64


def _table(indices: tuple[Index, ...], blocks: list[Any]) -> Array:
    """For each block (first, count) of every index, then where it begins and how much it holds."""
    rows, start = [], 0
    for block in blocks:
        rows.append([*(n for first, stop in block for n in (first, stop - first)), start, count(block)])
        start += count(block)
    return np.array(rows, np.int64).reshape(len(rows), 2 * len(indices) + 2)


def _parts(b: View) -> list[Block]:
    """The parts of k: as many as make their length nearest to PART, so that little more than that is not halved.

    Where windows often leave the array, each of their taps has parts of its own.
    """
    outer, inner = b.rows[: _windows(b)], b.rows[_windows(b) :]
    taps = itertools.product(*([(n, n + 1) for n in range(index.extent)] for index in outer))
    within = cut(inner, _part(inner))
    return [(*tap, *part) for tap in taps for part in within]


def _part_sizes(b: View) -> tuple[int, int]:
    """How many parts k has, and how long the longest is."""
    outer, inner = b.rows[: _windows(b)], b.rows[_windows(b) :]
    parts, longest = _cutting(inner, _part(inner)).sizes
    return size(outer) * parts, longest if size(outer) else 0


def _part(inner: tuple[Index, ...]) -> int:
    """About how long a part of these indices is."""
    return -(-size(inner) // max(round(size(inner) / PART), 1))


LEAST_PART = 128
"""A tap with so many terms is worth a part of its own."""


def _windows(b: View) -> int:
    """How many outer indices of k are taps of windows that often leave the array, with long sums in them; or 0."""
    moving = {name for axis in b.risky for name, _ in b.coordinates[axis].terms}
    taps = max((at + 1 for at, index in enumerate(b.rows) if index.name in moving), default=0)
    return taps if size(b.rows[taps:]) >= LEAST_PART and b.outside >= LEFT_OUT else 0


def _panel_lines(columns: tuple[Index, ...], panel: int) -> tuple[int, int]:
    """(columns of a run, columns of a panel of it): some whole lines of columns, or one in even parts."""
    line = columns[-1].extent
    if line > panel:
        return line, -(-line // -(-line // panel))
    return line * max(panel // max(line, 1), 1), line * max(panel // max(line, 1), 1)


def _panel_count(columns: tuple[Index, ...], panel: int) -> int:
    """Number of panels that `_panels` gives."""
    run, per = _panel_lines(columns, panel)
    return -(-size(columns) // run) * -(-run // per)


def _panels(columns: tuple[Index, ...], panel: int) -> Array:
    """The panels as (first column, count)."""
    run, per = _panel_lines(columns, panel)
    total = size(columns)
    starts = np.add.outer(np.arange(0, total, run), np.arange(0, run, per)).reshape(-1)
    return np.stack([starts, np.append(starts[1:], total) - starts], 1).astype(np.int64)


COUNTED = 36 << 10
"""Up to so many taps times columns, those inside are counted while planning; beyond, their share is estimated."""


def _inside(b: View, columns: tuple[Index, ...], panel: int) -> int:
    """Columns that are multiplied, summed over k."""
    if size(columns) * size(b.rows[: _windows(b)]) > COUNTED:
        return int(size(columns) * size(b.rows) * (1 - b.outside))
    parts = _parts(b)
    ranges = _valid_ranges(b, parts, columns, _panels(columns, panel))
    return int(np.array([count(part) for part in parts]) @ ranges[:, :, 1].sum(axis=1))


def _valid_ranges(b: View, parts: list[Block], columns: tuple[Index, ...], panels: Array) -> Array:
    """For each part and panel where the part's tap is inside the array: (first column in the panel, count)."""
    starts = panels[:, 0]
    stops = starts + panels[:, 1]
    at = dict(zip((i.name for i in columns), np.indices([i.extent for i in columns]), strict=True))
    ranges = np.zeros((len(parts), len(starts), 2), np.int64)
    for number, part in enumerate(parts):
        tap = {index.name: first for index, (first, _) in zip(b.rows, part, strict=True)}
        inside = np.ones([i.extent for i in columns], bool)
        for coordinate in (b.coordinates[axis] for axis in b.risky):
            if all(name in at or name in tap for name, _ in coordinate.terms):
                position = coordinate.offset + sum(
                    by * (at[n] if n in at else tap[n]) for n, by in coordinate.terms
                )
                inside &= (position >= 0) & (position < coordinate.extent)
        where = np.flatnonzero(inside)
        first, last = np.searchsorted(where, starts), np.searchsorted(where, stops)
        there = last > first
        ranges[number, there, 0] = where[first[there]] - starts[there]
        ranges[number, there, 1] = where[last[there] - 1] + 1 - where[first[there]]
    return ranges


def _as_it_lies(indices: tuple[Index, ...], moves: dict[str, int]) -> tuple[Index, ...]:
    """The indices in the order in which an array has them, outermost first."""
    return tuple(sorted(indices, key=lambda index: -moves[index.name]))


def cut(indices: tuple[Index, ...], most: int) -> list[Block]:
    """The index space in runs of at most `most` values, C order.

    Inner indices are whole, one is cut evenly, outer ones are taken singly.

    An empty index space is one empty run: a sum of nothing still has its epilogue.

    >>> cut((Index("c", 3), Index("f", 4)), 8)
    [((0, 2), (0, 4)), ((2, 3), (0, 4))]
    """
    cutting = _cutting(indices, most)
    if cutting.at is None:
        return [tuple((0, i.extent) for i in indices)]
    blocks: list[Block] = [tuple((0, i.extent) for i in indices[cutting.at + 1 :])]
    for at in range(cutting.at, -1, -1):
        extent, step = indices[at].extent, cutting.step if at == cutting.at else 1
        spans = [(first, min(first + step, extent)) for first in range(0, extent, step)]
        blocks = [(span, *block) for span in spans for block in blocks]
    return blocks


class _Cutting(NamedTuple):
    """How `cut` cuts an index space: the index that is cut (None: it stays whole), by how much, and the sizes.

    `sizes`: (number of blocks, values of the largest).
    """

    at: int | None
    step: int
    sizes: tuple[int, int]


def _cutting(indices: tuple[Index, ...], most: int) -> _Cutting:
    """How an index space is cut into runs of at most `most` values."""
    whole, inner = len(indices), 1
    if not size(indices):
        return _Cutting(None, 1, (1, 0))
    while whole and inner * indices[whole - 1].extent <= most:
        whole -= 1
        inner *= indices[whole].extent
    if not whole:
        return _Cutting(None, 1, (1, inner))
    extent = indices[whole - 1].extent
    pieces = -(-extent // max(most // inner, 1))
    step = -(-extent // pieces)
    return _Cutting(whole - 1, step, (size(indices[: whole - 1]) * -(-extent // step), step * inner))


def _names(indices: tuple[Index, ...]) -> tuple[str, ...]:
    return tuple(i.name for i in indices)


def _run(indices: tuple[Index, ...], moves: dict[str, int], *, ones: bool = False) -> int | None:
    """The first index from which on all are side by side (steps of one element); None if not even the last is.

    `ones`: whether the steps of indices that take one value have to fit too.
    """
    expected, first = 1, None
    for at in range(len(indices) - 1, -1, -1):
        index = indices[at]
        if moves[index.name] != expected and (ones or index.extent != 1):
            break
        expected *= index.extent
        first = at
    return first


def _uniform(indices: tuple[Index, ...], moves: dict[str, int], *, ones: bool = False) -> bool:
    """Whether walking the indices in order moves by the same step throughout; `ones` as in `_run`."""
    step = moves[indices[-1].name] if ones else _column_step(indices, moves)
    expected = step
    for index in reversed(indices):
        if (ones or index.extent != 1) and moves[index.name] != expected:
            return False
        expected *= index.extent
    return True


def _column_step(indices: tuple[Index, ...], moves: dict[str, int]) -> int:
    """The step of the innermost index that takes more than one value."""
    return next((moves[i.name] for i in reversed(indices) if i.extent != 1), 0)


__all__ = ["Effort", "PanelPlan", "cut", "plan_step"]
