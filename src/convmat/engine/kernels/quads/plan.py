"""How one product of 8- or 16-bit numbers runs on one CPU: x made ready, then multiplied where it lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....product import Index, Product, View
from ...cpu import Cpu
from ...ir import tiles
from ...ir.dots import Unit, unit_of
from ...ir.instructions import TYPES
from ...operands import Array, Dtypes, Shapes, aligned_size, origin, strides
from ..base import KernelPlan
from ..effort import Effort
from ..epilogue import Store
from ..panel.partition import Overheads, Portions, partition
from ..panel.steps import contiguous_from, index_names, is_uniform
from ..panel.tiling import fitting_rows
from .copy import TASKS, ChannelsLastCopy, PackPlan
from .recipe import ADDRESSES, NOWHERE, QUAD, QuadsRecipe, padded_run

BYTES = ("int8", "uint8")
HALVES = ("bfloat16", "float32")

X_BYTES = 256 << 10
"""Bytes of x that a task reads for each block of A's rows, and finds again in a second-level cache for the next."""

MOST_COLUMNS = 4096
"""Columns of a task: their tables stay near."""

SMALL_WINDOW = 128
"""Taps of a window that may exceed its outputs. A larger one is an image, summed over for a weight gradient: the length
of its lines would be constant in the kernel."""

WASTE = 2
"""How many times as many bytes may be multiplied as there are, for quads that are not full."""

TASK_DOTS = 500.0
"""Vectors of dot products in the time that it takes to begin a task."""

FETCHED = 1 / 64
"""Vectors of dot products that wait for a byte of A."""


def plan_quads(
    product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu
) -> tuple[KernelPlan, ...] | str:
    """The steps of a product of 8-bit integers or of bfloat16, or the sentence why no kernel is made for it."""
    refusal = _refuses(product, dtypes, cpu)
    if refusal is not None:
        return refusal
    source = TYPES[dtypes.array.name]
    copy = ChannelsLastCopy.of(product.terms[0][1], shapes["x"], source, signed=dtypes.array.name == "int8")
    if isinstance(copy, str):
        return copy
    multiplied = QuadsPlan.of(product, dtypes, shapes, threads, copy, cpu)
    if isinstance(multiplied, str) or copy.in_place(multiplied.recipe.run):
        return multiplied if isinstance(multiplied, str) else (multiplied,)
    return PackPlan(product, dtypes, shapes, threads, copy, cpu.vector_bytes), multiplied


def _refuses(product: Product, dtypes: Dtypes, cpu: Cpu) -> str | None:
    if len(product.terms) != 1 or isinstance(product.terms[0][1].source, View):
        return "the same product as im2col, which the jit never stores"
    if not product.m * product.n * product.batch * product.k or product.maximum or product.transforms:
        return "multiplies what has elements"
    if product.rounded:
        if not cpu.bf16:
            return f"takes a CPU with dot products of bfloat16, this one is {cpu.model}"
        return None if dtypes.array.name in HALVES else f"rounds to bfloat16, got {dtypes.array.name}"
    if not {dtypes.array.name, dtypes.w.name} <= {*BYTES}:
        return f"multiplies 8-bit integers, got {dtypes.array.name} and {dtypes.w.name}"
    epilogue = product.epilogue
    if epilogue.residual is not None and not epilogue.weighed:
        return "adds no residual to sums of bytes"
    if epilogue.scale is None and epilogue.activation is not None and epilogue.activation.name != "relu":
        return f"knows relu of integers, got {epilogue.activation.name}"
    return None


# ---- the product ----------------------------------------------------------------------------------------------------


TILES = {
    Unit.VNNI: (14, 2),
    Unit.BF16: (14, 2),
    Unit.AMX: (32, 2),
    Unit.AMX_BF16: (32, 2),
    Unit.SDOT: (10, 2),
    Unit.PMADDWD: (10, 2),
    Unit.PLAIN: (4, 2),
}
"""Columns and vectors of a tile in 32 registers: sums, vectors and a quad in all lanes, as their unit takes them."""

SMALL_TILES = {Unit.VNNI: (6, 2), Unit.PMADDWD: (4, 2), Unit.PLAIN: (2, 2)}
"""The same in 16."""

RATES = {Unit.BF16: "bf16_flops", Unit.AMX: "tile_ops", Unit.AMX_BF16: "tile_flops"}
"""Which of the machine's rates a unit has, where that is not dot products of bytes."""

FEW_COLUMNS = (7, 4)
"""The same where a dot product is one instruction, for products of no more columns."""


def tile_of(unit: Unit, registers: int, lanes: int, m: int, columns: int) -> tuple[int, int]:
    """Columns and vectors of a tile.

    >>> tile_of(Unit.VNNI, 32, 16, 256, 3136), tile_of(Unit.VNNI, 32, 16, 256, 1), tile_of(Unit.VNNI, 32, 16, 8, 99)
    ((14, 2), (7, 4), (14, 1))
    """
    width, vectors = TILES[unit] if registers >= 32 else SMALL_TILES[unit]
    if (
        registers >= 32
        and unit in (Unit.VNNI, Unit.BF16)
        and columns <= FEW_COLUMNS[0]
        and m > vectors * lanes
    ):
        width, vectors = FEW_COLUMNS
    return width, min(vectors, -(-m // lanes))


class QuadsPlan(KernelPlan):
    """One product, its recipe, and the words of its block."""

    def __init__(
        self,
        product: Product,
        dtypes: Dtypes,
        shapes: Shapes,
        threads: int,
        copy: ChannelsLastCopy,
        recipe: QuadsRecipe,
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe, self.copy = recipe, copy
        (a, b), c, r = product.terms[0], product.c, recipe
        x, y = copy.steps, strides(c, shapes["y"], dtypes.out.itemsize)
        w = strides(a, shapes["w"], dtypes.w.itemsize)
        self.origin = {
            "x": copy.origin, "y": origin(c, shapes["y"], dtypes.out.itemsize),
            "w": origin(a, shapes["w"], dtypes.w.itemsize),
        }  # fmt: skip
        self.rate = RATES.get(r.unit, "dot_ops")
        self.runs = math.prod(i.extent for i in _runs(b, copy)[0])
        self.block_bytes = self.runs * r.run_bytes + r.sum_bytes
        self.weight_bytes = product.batch * r.blocks * self.block_bytes
        self.weight_tasks = product.batch * r.blocks
        extents = {i.name: i.extent for i in product.c.batch + c.cols}
        self.words = self._blocks(extents)
        fill = b.fill + 128 * copy.signed
        self.words |= {
            "line": self._line(y), "between": y[c.rows[0].name] if r.block else 0, "zero": fill,
            "y zero": product.epilogue.zero, "run count": self.runs, "block": self.block_bytes,
        }  # fmt: skip
        for name in r.outer:
            group = name in r.batch
            inner = math.prod(extents[other] for other in r.batch[r.batch.index(name) + 1 :]) if group else 0
            self.words |= {
                f"count {name}": extents[name], f"x {name}": x[name], f"y {name}": y[name],
                f"a {name}": r.blocks * self.block_bytes * inner, f"w {name}": w[name] if group else 0,
                f"bias {name}": product.m * 4 if name == r.batch[0] else 0,
            }  # fmt: skip
        for name in r.columns:
            self.words |= {f"extent {name}": extents[name], f"step {name}": x[name], f"place {name}": y[name]}
        self.lay_out(r.arguments(), self.words, ADDRESSES)

    @classmethod
    def of(
        cls, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, copy: ChannelsLastCopy, cpu: Cpu
    ) -> QuadsPlan | str:
        """The plan of a product, or why there is none."""
        recipe = _recipe(product, dtypes, shapes, copy, cpu)
        return recipe if isinstance(recipe, str) else cls(product, dtypes, shapes, threads, copy, recipe)

    @property
    def bias_dtype(self) -> np.dtype[Any]:
        """What is added to sums."""
        return np.dtype(np.float32 if self.recipe.work.is_float else np.int32)

    def tables(self) -> dict[str, Array]:
        """Where runs of k begin in x, and where rows and the bytes of k lie in w."""
        a, b = self.product.terms[0]
        w = strides(a, self.shapes["w"], self.dtypes.w.itemsize)
        outer, inner = _runs(b, self.copy)
        return {
            "runs": _table(outer, self.copy.steps),
            "w rows": _table(self.product.c.rows, w),
            "w k": _table((*outer, *inner), w, b.extents),
        }

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, p = self.recipe, self.product
        full, left = divmod(self.words["columns"], r.width)
        wide = full * r.width + next((n for n in r.widths if n >= left), 0) * (left > 0)
        times = p.batch * (p.n // max(self.words["columns"], 1))
        rows = (r.blocks - 1) * r.rows + -(-r.tail // r.lanes) * r.lanes
        sizes = {"x": self.copy.element.bytes, "w": r.element.bytes, "y": self.dtypes.out.itemsize}
        touched = sum(math.prod(self.shapes[name]) * size for name, size in sizes.items())
        return Effort(
            fma=2 * times * rows * wide * self.runs * r.quads * QUAD // r.element.bytes,
            packed=0,
            stored=times * rows * wide // r.lanes,
            touched=touched,
            reread=times * self.words["nc blocks"] * self.weight_bytes // max(p.batch, 1),
            tasks=self.tasks,
        )

    def _line(self, y: dict[str, int]) -> int:
        """Bytes from one line of C to the next: a row of it, or a column where lanes lie along its rows."""
        r, c = self.recipe, self.product.c
        if r.store in (Store.LINES, Store.PLACED):
            return next((y[i.name] for i in reversed(c.cols) if i.extent > 1), 0)
        return y[c.rows[-1].name]

    def _blocks(self, extents: dict[str, int]) -> dict[str, int]:
        """How columns and rows are shared out, and the scratch it takes."""
        r, threads = self.recipe, self.threads
        outer = math.prod(extents[name] for name in r.outer)
        columns = math.prod(extents[name] for name in r.columns)
        tiles = -(-columns // r.width)
        images = max(outer // self.product.batch, 1)
        per = self.copy.bytes / max(columns * images, 1)
        most = max(1, min(tiles, int(X_BYTES / per) // r.width, MOST_COLUMNS // r.width))
        nc, mc = -(-tiles // -(-tiles // most)), r.blocks
        if threads > 1 and outer == 1:
            last = Portions(tiles, columns / r.width - tiles + 1), Portions(r.blocks, r.tail / r.rows)
            steps = self.runs * r.quads * r.width * r.vectors
            overheads = Overheads(
                pack=0.5 / r.vectors / max(self.runs * r.quads, 1),
                fetch=FETCHED * self.block_bytes / steps,
                start=TASK_DOTS / steps,
            )
            nc, mc = partition(*last, overheads, most=most, threads=threads)
        elif threads > 1:
            nc = max(1, min(nc, -(-tiles * outer // (TASKS * threads))))
            tasks = outer * -(-tiles // nc)
            mc = -(
                -r.blocks // (min(r.blocks, -(-TASKS * threads // tasks)) if tasks < TASKS * threads else 1)
            )
        nc_blocks, mc_blocks = -(-tiles // nc), -(-r.blocks // mc)
        table = aligned_size((nc + 1) * r.width * 8)
        places = table if r.placed else 0
        sums = aligned_size((nc + 1) * r.width * 4 if r.sums_columns else r.room)
        size = table + places + sums
        self.tasks = outer * nc_blocks * mc_blocks
        own = self.copy.bytes if r.packed else 0
        self.workspace = own + size * threads + 64
        return {
            "own": own, "scratch size": size, "places": table, "sums": table + places, "columns": columns,
            "nc": nc * r.width, "nc blocks": nc_blocks, "mc": mc, "mc blocks": mc_blocks,
        }  # fmt: skip


def _runs(b: View, copy: ChannelsLastCopy) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
    """The indices of k: those of runs of bytes, and those within a run, channels with what is behind an odd one.

    Pixels of an image that is summed over are a run each, as long as they fill a quad.
    """
    steps, left, length = copy.steps, [i for i in b.rows if i.extent > 1], copy.element.bytes
    inner: list[Index] = []
    if copy.channels == 1 < copy.pixel // length:
        inner, length = [Index(next(i.name for i in b.rows if steps[i.name] == length), 2)], copy.pixel
    columns = math.prod(i.extent for i in b.cols)
    while found := [i for i in left if steps[i.name] == length]:
        if length == copy.pixel >= QUAD and math.prod(i.extent for i in left) > max(columns, SMALL_WINDOW):
            break
        left.remove(found[0])
        extent = found[0].extent
        if length * extent == copy.channels * copy.element.bytes:
            extent = copy.pixel // length
        inner.insert(0, replace(found[0], extent=extent))
        length *= extent
    return tuple(left), tuple(inner)


def _table(
    indices: Sequence[Index], steps: Mapping[str, int], extents: Mapping[str, int] | None = None
) -> Array:
    """Where each value of the indices lies, C order; nowhere where it is beyond its extent."""
    made = np.zeros(1, np.int64)
    for index in indices:
        places = np.arange(index.extent) * steps[index.name]
        beyond = np.arange(index.extent) >= (extents or {}).get(index.name, index.extent)
        nowhere = np.logical_or.outer(made == NOWHERE, beyond).reshape(-1)
        made = np.where(nowhere, NOWHERE, np.add.outer(made, places).reshape(-1))
    return made


def _storing(product: Product, y: dict[str, int]) -> tuple[Store, int]:
    """How finished tiles meet C, and the first column index that a task walks."""
    c = product.c
    first = contiguous_from(c.cols, y, ones=True)
    if y[c.rows[-1].name] == 1:
        dense = all(by == 1 for coordinate in c.coordinates for _, by in coordinate.terms)
        even = dense and is_uniform(c.cols, y)
        return Store.LINES if even else Store.PLACED, 0
    return (Store.SCATTERED, 0) if first is None else (Store.TURNED, first)


def _unit(product: Product, dtypes: Dtypes, run: int, columns: int, cpu: Cpu, *, packed: bool) -> Unit:
    """Unit that multiplies: tiles where they are filled. For floats the sum alone decides: its order is the unit's.

    Tiles read whole rows: behind a run there is something else, that 0 times is not 0 if it is no number, or nothing.
    """
    floats = product.rounded
    whole = run % tiles.WIDTH == 0
    filled = padded_run(run, Unit.AMX) <= WASTE * run and (whole or (packed and not floats))
    if cpu.amx and filled and floats:
        return Unit.AMX_BF16
    counted = product.a_zero is not None or dtypes.w.name == "uint8"
    if cpu.amx and filled and not counted and min(columns, product.m) > tiles.ROWS // 2:
        return Unit.AMX
    return Unit.BF16 if floats else unit_of(cpu)


def _recipe(
    product: Product, dtypes: Dtypes, shapes: Shapes, copy: ChannelsLastCopy, cpu: Cpu
) -> QuadsRecipe | str:
    """What is constant in the kernel of a product."""
    c, y = product.c, strides(product.c, shapes["y"], 1)
    outer, inner = _runs(product.terms[0][1], copy)
    runs, size = math.prod(i.extent for i in outer), copy.element.bytes
    run = math.prod(i.extent for i in inner) * size
    if runs * padded_run(run, Unit.VNNI) > WASTE * product.k * size:
        return f"multiplies four bytes of k that lie side by side, got {run}"
    if size > 1 and run % QUAD:  # what follows would be multiplied by 0, and may be no number
        return f"multiplies pairs of numbers that lie side by side, got {run // size}"
    store, first = _storing(product, y)
    columns, lanes = math.prod(i.extent for i in c.cols[first:]), cpu.lanes(4)
    unit = _unit(product, dtypes, run, columns, cpu, packed=not copy.in_place(run))
    width, vectors = tile_of(unit, cpu.vector_registers, lanes, product.m, columns)
    block = 0 if is_uniform(c.rows, y) else c.rows[-1].extent
    if block and (
        len(c.rows) != 2
        or y[c.rows[-1].name] != 1
        or fitting_rows(vectors * lanes, block, lanes) != vectors * lanes
    ):
        return f"writes rows evenly apart or in blocks that fill vectors, got {block}"
    epilogue = product.epilogue
    return QuadsRecipe(
        outer=index_names(c.batch + c.cols[:first]),
        batch=index_names(c.batch),
        columns=index_names(c.cols[first:]),
        run=run,
        m=product.m,
        vectors=vectors,
        width=width,
        lanes=lanes,
        unit=unit,
        signed=dtypes.w.name != "uint8",
        weights=TYPES[dtypes.w.name],
        packed=not copy.in_place(run),
        out=TYPES[dtypes.out.name],
        out_signed=dtypes.out.name == "int8",
        store=store,
        block=block,
        bias=epilogue.bias is not None,
        scale=epilogue.scale is not None,
        w_zero=product.a_zero is not None,
        residual=epilogue.residual is not None,
        activation=epilogue.activation,
        requantise=epilogue.requantise is not None,
    )


__all__ = ["BYTES", "QuadsPlan", "plan_quads", "tile_of"]
