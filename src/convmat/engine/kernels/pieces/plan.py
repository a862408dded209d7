"""How a long filter in pieces runs on one CPU: its recipe, and how its tiles are cut into units, chunks and parts.

All three are fixed by the product, whatever the CPU and however many threads: in this order its sums are taken.
"""

from __future__ import annotations

import math

from ....lazy_dataclass import dataclass
from ....product import PARTS_IN_A_ROW, Coordinate, Product, Transform, View
from ...cpu import Cpu
from ...ir.constant_matmul import operations
from ...ir.instructions import TYPES
from ...operands import Dtypes, Shapes, aligned_size, odd_lines_size, origin, strides
from ..base import KernelPlan
from ..effort import Effort
from .recipe import TALLEST, Operand, PiecesRecipe

PIXELS = 448
"""Pixels of a unit that are transposed together: with AVX-512 28 KiB, of a first-level cache of 32."""

NOMINAL = 64
"""Rows and columns of a block of C by which parts of k are counted, whatever they are on this CPU."""

TASKS = 16
"""Tasks that there should be: where C has fewer blocks, they share k."""


def plan_pieces(product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu) -> PiecesPlan | str:
    """The step of a product whose sum runs over pieces, or the sentence why no kernel is made for it."""
    (a, b), c = product.terms[0], product.c
    if dtypes.array.name not in ("float32", "float64") or {dtypes.array, dtypes.out} != {dtypes.work}:
        return f"transforms float32 and float64, got {dtypes.array.name}"
    if len(c.rows) != 1 or len(product.groups(c)) != 1 or len(c.cols) != 3 or len(b.rows) != 3:
        return "takes one index each of groups, rows, channels and images"
    steps = (by for view in (a, b, c) for coordinate in view.coordinates for _, by in coordinate.terms)
    if any(by < 0 for by in steps):
        return "reads and writes forwards along every axis"
    item = dtypes.work.itemsize
    (f0, f1), (_, u1), (_, v1) = (product.windows(view) for view in (a, b, c))
    x, w, y = strides(b, shapes["x"], item), strides(a, shapes["w"], item), strides(c, shapes["y"], item)
    for view, stride, channel, pixel in ((b, x, c.cols[0].name, u1.name), (a, w, c.rows[0].name, f1.name)):
        if item not in (stride[channel], stride[pixel] / dict(_axis(view, pixel).terms)[pixel]):
            return "reads arrays along their last pixel axis or their channels, one element after the other"
    if any(dict(coordinate.terms).get(i.name, 1) != 1 for coordinate in a.coordinates for i in (f0, f1)):
        return "reads the filter densely, got one phase of several"
    if not product.flops:
        return "multiplies what has elements"
    rows, columns = (each for each in product.transforms if isinstance(each, Transform))
    v0 = product.windows(c)[0]
    apart = [dict(_axis(b, u.name).terms)[u.name] for u in product.windows(b)]
    whole = [_outputs(c, v.name) == v.extent for v in product.windows(c)]
    recipe = PiecesRecipe(
        rows=rows,
        columns=columns,
        work=TYPES[dtypes.work.name],
        lanes=cpu.lanes(item),
        tallest=TALLEST if cpu.vector_registers >= 32 else 6,
        m=product.m,
        n=c.cols[0].extent,
        x_turned=x[c.cols[0].name] != item,
        w_turned=w[c.rows[0].name] != item,
        apart=(apart[0], apart[1]),
        scattered=v1.extent > 1 and y[v1.name] != item,
        flat=all(whole) and y[v1.name] == item and (v0.extent == 1 or y[v0.name] == v1.extent * item),
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
    )
    return PiecesPlan(product, dtypes, shapes, threads, recipe)


def sums_over_pieces(product: Product) -> bool:
    """Whether its sum runs along the axes of its windows: each window holds a piece of a filter."""
    b = product.terms[0][1]
    windows, depth = ({index.name for index in each} for each in (product.windows(b), b.rows))
    moved = [{name for name, _ in coordinate.terms} for coordinate in b.coordinates]
    return isinstance(product.transforms[0], Transform) and any(m & windows and m & depth for m in moved)


def _axis(view: View, window: str) -> Coordinate:
    """The axis along which a window index moves; one of a single position where there is none."""
    return next((c for c in view.coordinates if window in dict(c.terms)), Coordinate(1, ((window, 1),)))


def _outputs(c: View, window: str) -> int:
    """How many outputs there are along the axis of one of C's windows."""
    axis = _axis(c, window)
    return -(-(axis.extent - axis.offset) // dict(axis.terms)[window])


@dataclass(frozen=True)
class Units:
    """`rows` x `columns` tiles in a unit, of which an image has `row_units` x `column_units`; `count` of all images.

    `chunk` units are summed in a row; `part` of the `chunks` are a task's, of `parts` of k.
    """

    rows: int
    columns: int
    row_units: int
    column_units: int
    count: int
    chunk: int
    chunks: int
    part: int
    parts: int

    @classmethod
    def of(cls, product: Product, reach: Operand, width: int) -> Units:
        """Units of a product, by what `reach` reads of a map so wide."""
        images, *pieces = (i.extent for i in product.terms[0][1].rows)
        columns = _share_evenly(pieces[1], reach.tiles(1, PIXELS // reach.reach(0, 1), product.part))
        across = width if columns == pieces[1] else reach.reach(1, columns)
        rows = _share_evenly(pieces[0], reach.tiles(0, PIXELS // max(across, 1), product.part // columns))
        row_units, column_units = -(-pieces[0] // rows), -(-pieces[1] // columns)
        count = images * row_units * column_units
        chunk = max(product.part // (rows * columns), 1)
        chunks = -(-count // chunk)
        n, *tiles = (i.extent for i in product.c.cols)
        (group,) = product.groups(product.c)
        blocks = group.extent * math.prod(tiles) * -(-product.m // NOMINAL) * -(-n // NOMINAL)
        part = -(-chunks // min(-(-TASKS // blocks), max(chunks // 2, 1)))
        return cls(
            rows, columns, row_units, column_units, count, chunk, chunks, part, parts=-(-chunks // part)
        )

    @property
    def depth(self) -> int:
        """Tiles of a chunk, at most."""
        return self.chunk * self.rows * self.columns


def _share_evenly(count: int, most: int) -> int:
    """The size of pieces that `count` is shared out in, evenly, none larger than `most`."""
    return -(-count // -(-count // most))


class PiecesPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays."""

    weight_tasks = weight_bytes = 0

    def __init__(
        self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, recipe: PiecesRecipe
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe = r = recipe
        (a, b), c, item = product.terms[0], product.c, dtypes.work.itemsize
        y = strides(c, shapes["y"], item)
        (group,), (o,), (n, t0, t1) = product.groups(c), c.rows, c.cols
        v0, v1 = product.windows(c)
        self.origin = {"x": 0, "y": origin(c, shapes["y"], item), "w": 0}
        width = _axis(b, product.windows(b)[1].name).extent
        self.units = k = Units.of(product, r.x, width)
        blocks = group.extent * t0.extent * t1.extent * r.m_blocks * r.n_blocks
        self.tasks = blocks * k.parts
        images, *pieces = b.rows
        words = {
            "tasks": self.tasks, "groups": group.extent, "y g": y[group.name], "bias g": product.m * item,
            "tile rows": t0.extent, "tile columns": t1.extent, "images": images.extent,
            "unit rows": k.rows, "unit columns": k.columns, "row units": k.row_units,
            "column units": k.column_units, "units": k.count, "unit chunk": k.chunk, "chunks": k.chunks,
            "chunk part": k.part, "parts": k.parts, "piece rows": pieces[0].extent,
            "piece columns": pieces[1].extent, "y n": y[n.name], "y o": y[o.name], "y row": y[v0.name],
            "y column": y[v1.name], "out rows": _outputs(c, v0.name), "out columns": _outputs(c, v1.name),
        }  # fmt: skip
        words |= self._operand(r.x, b, n.name) | self._operand(r.w, a, o.name) | self._scratch(blocks)
        self.lay_out(r.arguments(), words, ("x", "y", "a", "w", "bias", "residual", "scratch"))

    def _operand(self, operand: Operand, view: View, channel: str) -> dict[str, int]:
        """Where an operand's elements lie, and how a unit of it is transposed."""
        name, item, k = operand.name, self.dtypes.work.itemsize, self.units
        moves = strides(view, self.shapes[name], item)
        windows = [i.name for i in self.product.windows(view)]
        row, column = (_axis(view, window) for window in windows)
        (group,) = self.product.groups(view)
        image = self.product.terms[0][1].rows[0].name
        reach0, reach1 = operand.reach(0, k.rows), operand.reach(1, k.columns)
        joined = k.column_units == 1 and (
            row.extent == 1 or moves[windows[0]] == operand.apart[0] * column.extent * item
        )
        pitch = reach1 + self.recipe.lanes
        self._lines = max(getattr(self, "_lines", 0), reach0 * (column.extent if joined else pitch))
        return {
            f"{name} g": moves[group.name], f"{name} channel": moves[channel], f"{name} image": moves[image],
            f"{name} row": moves[windows[0]] // operand.apart[0],
            f"{name} column": moves[windows[1]] // operand.apart[1],
            f"{name} height": row.extent, f"{name} width": column.extent, f"{name} row offset": row.offset,
            f"{name} column offset": column.offset, f"{name} flat": int(joined), f"{name} pitch": pitch,
        }  # fmt: skip

    def _scratch(self, blocks: int) -> dict[str, int]:
        """Where a thread's scratch has what, and where the parts of tasks lie behind that of all threads."""
        r, k, item = self.recipe, self.units, self.dtypes.work.itemsize
        outputs = math.prod(r.outputs)
        lines = (max(self._lines, outputs) + r.lanes) * r.vector_bytes
        u_plane = odd_lines_size(k.depth * r.wide * item)
        v_block = k.depth * r.width * item
        v_plane = odd_lines_size(r.tall * v_block)
        m_block = (r.wide + r.tallest) * r.width * item
        m_plane = odd_lines_size(r.tall * m_block)
        u = 64 + aligned_size(lines)
        v = u + r.points * u_plane + 64
        sums = v + r.points * v_plane
        size = sums + r.points * m_plane
        part = r.tall * r.width // r.lanes * r.wide * outputs * r.vector_bytes
        shared = k.parts > 1
        partials = size * self.threads
        self.workspace = partials + part * (self.tasks if shared else self.threads) + 64
        return {
            "scratch size": size, "lines": 64, "u": u, "v": v, "sums": sums, "u plane": u_plane,
            "v plane": v_plane, "v block": v_block, "m plane": m_plane, "m block": m_block,
            "partials": partials, "partial task": part * shared, "partial thread": part * (not shared),
            "partial part": part * blocks,
        }  # fmt: skip

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, k, p = self.recipe, self.units, self.product
        wide = -(-r.n // r.lanes)
        tall = -(-r.m // r.lanes)
        matrices = self.tasks // (k.parts * r.m_blocks * r.n_blocks)
        tiles = matrices * p.k
        moved = tall * r.n_blocks * _transform_operations(r.w) + wide * r.m_blocks * _transform_operations(
            r.x
        )
        sums = matrices * tall * wide * r.lanes * r.points
        arrays = sum(math.prod(self.shapes[name]) for name in ("x", "w", "y")) * self.dtypes.work.itemsize
        collected = k.parts * -(-k.part // PARTS_IN_A_ROW)
        return Effort(
            fma=2 * tiles * tall * r.lanes * r.n * r.points,
            packed=round(tiles * moved / 4),
            stored=round(sums * (KEPT * k.chunks + COLLECTED * collected) / 5),
            touched=arrays,
            reread=0,
            tasks=self.tasks,
            waits=True,
        )


KEPT, COLLECTED = 1.5, 4.0
"""Turns of the FMA unit in which a vector of M is added to, and is transformed to outputs that are added up."""


def _transform_operations(operand: Operand) -> float:
    """Instructions of a tile of a vector of channels, the transposing of what is new in it included."""
    r1, (h0, h1) = operand.piece[1], operand.window
    t0, t1 = len(operand.rows), len(operand.columns)
    turned = h0 * r1 * operand.apart[0] * operand.apart[1] * 6 if operand.turned else 0
    return turned + h0 * h1 + 2 * t0 * t1 + h1 * operations(operand.rows) + t0 * operations(operand.columns)


__all__ = ["PiecesPlan", "plan_pieces", "sums_over_pieces"]
