"""Products that are read in place: where packing a panel would cost as much as multiplying it.

That is so where few rows of A share what was packed: depthwise (m = O//G, k = F), narrow groups, image filters.
`plan_direct` looks at a Product as `panel.plan` does and gives a kernel plan, or a sentence. There are two kernels:
lanes lie along pixels (`pixels`) or along channels (`channels`), whichever are contiguous.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ....product import Coordinate, Index, Product, View
from ...cpu import Cpu
from ...ir.dots import Unit
from ...ir.instructions import TYPES, i32
from ...operands import Array, Dtypes, Shapes, contiguous_strides, origin
from ..base import KernelPlan
from ..effort import Effort
from ..epilogue import output_bounds
from ..panel.walk import distance_refusal
from . import channels, pixels
from .access import Reading, Windows
from .beside import mask_table, put_beside
from .pack_w import WEIGHT_GROUPS, WEIGHT_VECTORS, pack_steps
from .planes import RoundingAgain
from .quad_reads import QUAD, multiplies_quads
from .sharing import share_planes

FEW_TERMS = 256
"""Products of two 8-bit integers, less a zero point, whose sums float32 holds: 256 * 255^2 < 2^24."""

FARTHEST_ROW = 512
"""Rows of x between the first and the last that a window reads: the code has a part for each of them."""

LONGEST = 1024
"""Longer sums are taken in parts, by panels."""

MOST_ROWS = 128
"""Rows of A: more of them repay the packing of a panel."""

MOST_WEIGHTS = 48 << 10
"""Bytes of a group's weights, which are read again for every vector: more would come from the second-level cache."""

SMALL_WINDOW = 128
"""Taps of a window that may exceed its outputs. A larger one is an image, summed over for a weight gradient: its
extents would be constants of the kernel."""

CACHED = 384 << 10
"""Bytes of x that a task reads for one block of A's rows and finds again for the next."""

LEAST_ROWS = 1.2
"""A tap read in place costs at least as much as multiplying it with so many rows: loads and masks bound it."""

DirectRecipe = pixels.PixelsRecipe | channels.ChannelsRecipe


def plan_direct(product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu) -> DirectPlan | str:
    """The step of a product whose x is read in place, or the sentence why it is not.

    shapes: of x, w and y, which are C-contiguous, with one extent per coordinate of their Views.
    """
    counted = product.counted or dtypes.weights is not None
    if counted:
        if product.epilogue.residual is not None and not product.epilogue.weighed:
            return "adds no residual to sums of bytes"
        if product.k > FEW_TERMS:
            return f"sums up to {FEW_TERMS} products of 8-bit integers, got {product.k}"
        dtypes = replace(dtypes, work=np.dtype(np.float32))
    refusal = _refuses(product, dtypes, counted=counted)
    if refusal is not None:
        return refusal
    if any(c.offset or any(by != 1 for _, by in c.terms) for c in product.c.coordinates):
        return "writes y densely, got one phase of several"
    known = Reading(product, dtypes, shapes)
    group, x, y = product.c.batch[0], known.x, known.y
    # Two groups at least: of one alone nothing says whether its channel or its pixels are contiguous.
    read = known.beside.extent if known.beside else 1
    if group.extent > 1 and x[group.name] == read * known.item and y[group.name] == product.m * known.out:
        recipe: DirectRecipe | str = _channels(known, cpu, counted=counted)
    else:
        recipe = _planes(known, cpu, counted=counted)
    return (
        recipe
        if isinstance(recipe, str)
        else DirectPlan(product, dtypes, shapes, threads, recipe, cpu.splits)
    )


def _refuses(product: Product, dtypes: Dtypes, *, counted: bool) -> str | None:
    if len(product.terms) != 1 or isinstance(product.terms[0][1].source, View):
        return "the same product as im2col, which the jit never stores"
    if not product.flops:
        return "multiplies what has elements"
    a, b = product.terms[0]
    array, work, out = dtypes.names
    known = work in ("float32", "float64") and {array, out} <= TYPES.keys()
    if not known or a.conjugate or b.conjugate:
        return f"multiplies real numbers, got {array}"
    if not 0 < product.k <= LONGEST:
        return f"sums up to {LONGEST} terms in place, got {product.k}"
    if product.m > MOST_ROWS:
        return f"reads x in place for up to {MOST_ROWS} rows of A, got {product.m}"
    weights = product.m * product.k * dtypes.work.itemsize
    if weights > MOST_WEIGHTS:
        return f"reads x in place for up to {MOST_WEIGHTS:,} bytes of weights a group, got {weights:,}"
    if len(product.c.rows) != 1 or len(product.c.batch) != 1:
        return (
            f"takes one index of rows and one of groups, got {len(product.c.rows)} and {len(product.c.batch)}"
        )
    if (b.fill and not counted) or any(by < 0 for c in b.coordinates for _, by in c.terms):
        return "reads x forwards, and 0 outside it"
    return distance_refusal(b)


class DirectPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays."""

    reads_in_place = True

    def __init__(
        self,
        product: Product,
        dtypes: Dtypes,
        shapes: Shapes,
        threads: int,
        recipe: DirectRecipe,
        splits: bool,
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe, self._splits = recipe, splits
        known = Reading(product, dtypes, shapes)
        self.origin = {
            "x": origin(known.b, shapes["x"], known.item), "y": origin(product.c, shapes["y"], known.out),
            "w": origin(known.a, shapes["w"], known.item),
        }  # fmt: skip
        words, planes, lines, height = _words(known, recipe, splits)
        blocks, slabs = 1, 1
        if isinstance(recipe, pixels.PixelsRecipe) and product.m > recipe.m:
            # What one block of A's rows reads of x is still in a cache when the next one does.
            reads = [c.extent for c in known.b.coordinates if not {n for n, _ in c.terms} & known.apart]
            blocks, slabs = product.m // recipe.m, -(-math.prod(reads) * known.item // CACHED)
        per, parts, height = share_planes(product.flops, threads, planes, blocks, lines, height, slabs)
        low, high = output_bounds(dtypes.out, product.epilogue.zero)
        words |= {
            "planes": planes, "per": per, "parts": parts, "height": height, "zero": known.b.fill,
            "y zero": product.epilogue.zero, "low": low, "high": high,
        }  # fmt: skip
        self.tasks = -(-planes // per) * parts if planes and lines and product.batch else 0
        groups = product.batch
        if isinstance(recipe, channels.ChannelsRecipe):
            self.weight_bytes = product.k * recipe.pitch
            self.weight_tasks = -(-recipe.channels // (recipe.lanes * WEIGHT_VECTORS))
        elif recipe.packed:
            self.weight_bytes = groups * recipe.packed_bytes
            self.weight_tasks = -(-groups // WEIGHT_GROUPS)
        else:
            self.weight_bytes, self.weight_tasks = math.prod(shapes["w"]) * known.item, 0
        rows = ("bias", "scale", "w zero", "factor", "offset")
        self.lay_out(recipe.arguments(), words, ("x", "y", "w", "a", *rows, "addition", "residual"))
        self.plane_rows = recipe.m if isinstance(recipe, pixels.PixelsRecipe) else 0

    def tables(self) -> dict[str, Array]:
        """The masks of rows beside each other."""
        r = self.recipe
        if not isinstance(r, pixels.PixelsRecipe) or not r.beside or r.rows is None:
            return {}
        offset, limit, rows = (self.words[name] for name in ("row offset", "row limit", "y rows"))
        return {"masks": mask_table(r, r.rows, self.words["columns"], offset, limit, rows)}

    @property
    def bias_dtype(self) -> np.dtype[Any]:
        """Whole sums take a whole bias."""
        return np.dtype(np.int32) if self.recipe.counted else self.dtypes.work

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do: every tap of every vector of pixels or channels."""
        p, r = self.product, self.recipe
        blocks, apart = 1, 0.0
        if isinstance(r, channels.ChannelsRecipe):
            vectors = p.n * -(-p.batch // r.lanes)
        else:
            blocks = p.m // r.m
            columns = p.c.cols[-1].extent
            line: float = -(-columns // r.lanes)
            apart = blocks * r.count_apart(columns)
            if r.beside:
                line = self.words["rows"] / self.words["y rows"]
            elif self.words["narrow"]:
                line = -(-columns // (r.lanes // 2)) / 2 * r.count_half(self._splits)
            vectors = round(p.batch * (p.n // max(columns, 1)) * line)
        touched = sum(math.prod(self.shapes[name]) * self.dtypes.array.itemsize for name in ("x", "w", "y"))
        rows = max(p.m, LEAST_ROWS) + apart
        terms = r.taps if isinstance(r, pixels.PixelsRecipe) and r.unit else p.k
        flops = round(2 * r.lanes * vectors * terms * rows)
        again = (blocks - 1) * math.prod(self.shapes["x"]) * self.dtypes.array.itemsize
        return Effort(
            flops, 0, vectors * p.m, touched, 0, self.tasks, True, again=again, planes=self.words["planes"]
        )


def _planes(known: Reading, cpu: Cpu, *, counted: bool) -> pixels.PixelsRecipe | str:
    """Lanes along the last pixel axis."""
    product, dtypes, c, a = known.product, known.dtypes, known.c, known.a
    if product.maximum and dtypes.array.name not in ("float32", "float64", "int8", "uint8"):
        return f"compares float32, float64 and 8-bit integers, got {dtypes.array.name}"
    windows = known.windows()
    if isinstance(windows, str):
        return windows
    if windows.rows and max(windows.rows.reach, windows.rows.step) > FARTHEST_ROW:
        far = max(windows.rows.reach, windows.rows.step)
        return f"walks windows of rows up to {FARTHEST_ROW} apart, got {far}"
    lane, taps = c.cols[-1], windows.lane.taps * (windows.rows.taps if windows.rows else 1)
    if taps > max(known.b.ordered.columns, SMALL_WINDOW):
        return f"takes windows of {SMALL_WINDOW} taps or of fewer than there are outputs, got {taps}"
    side_by_side = known.x[lane.name] == windows.lane.step * known.item
    if not side_by_side or (known.y[lane.name] != known.out and lane.extent > 1):
        return "reads x and writes y along their contiguous axes, which are not the last of the columns"
    height = pixels.block_rows(product.m, cpu.vector_registers)
    if height is None:
        return f"takes rows of A in blocks of equal height, got {product.m}"
    packed, along = dtypes.array != dtypes.work, windows.lane
    fours = replace(along, taps=-(-along.taps // QUAD), dilation=QUAD)
    fits = counted and pixels.fits_quads(height, taps // along.taps * fours.taps, cpu.vector_registers)
    unit = Unit.VNNI if fits and multiplies_quads(known, windows, cpu) else None
    along = fours if unit else along
    steps = pack_steps(known, QUAD if unit else 1) if packed else known.w
    array, work, out = dtypes.names
    recipe = pixels.PixelsRecipe(
        outer=windows.moves(_order_planes(known, windows) + (c.rows if height < product.m else ())),
        terms=windows.terms(steps),
        checks=len(windows.checked),
        rows=windows.rows,
        lane=along,
        m=height,
        m_step=steps[c.rows[0].name],
        row_step=steps.get(windows.row_tap, 0),
        tap_step=steps.get(windows.lane_tap, 0) * (QUAD if unit else 1),
        packed=packed,
        w_steps=tuple((i.extent, known.w[i.name]) for i in a.rows + a.cols),
        array=TYPES[array],
        work=TYPES[work] if unit is None else i32,
        out=TYPES[out],
        signed=array != "uint8",
        lanes=cpu.lanes(known.work),
        halves=cpu.vector_bytes == 64,
        signs=cpu.vector_bytes < 64,
        registers=cpu.vector_registers,
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
        maximum=product.maximum,
        counted=counted,
        zero=known.b.fill != 0,
        scale=product.epilogue.scale is not None,
        again=_round_again(product, dtypes, cpu),
        w_zero=product.a_zero is not None,
        w_signed=dtypes.w.name != "uint8",
        unit=unit,
    )
    return put_beside(known, windows, recipe)


def _round_again(product: Product, dtypes: Dtypes, cpu: Cpu) -> RoundingAgain:
    """How bytes are rounded again; one value for all that are not."""
    epilogue, weighed = product.epilogue, product.epilogue.weighed
    signed, packs = weighed and dtypes.out.name == "int8", weighed and cpu.arch == "x86_64"
    return RoundingAgain(epilogue.requantise is not None, signed, packs)


def _order_planes(known: Reading, windows: Windows) -> tuple[Index, ...]:
    """Images, groups, and what else a plane fixes: long runs of planes that follow each other, in w too."""
    images = tuple(index for index in windows.outer if index.name in known.apart)
    return images + known.c.batch + tuple(index for index in windows.outer if index not in images)


def _channels(known: Reading, cpu: Cpu, *, counted: bool) -> channels.ChannelsRecipe | str:
    """Lanes along channels."""
    product, dtypes, c, a = known.product, known.dtypes, known.c, known.a
    if product.maximum:
        return "compares along pixels, and here channels are contiguous"
    windows = known.windows(known.beside)
    if isinstance(windows, str):
        return windows
    group, row, m = c.batch[0], c.rows[0], product.m
    lanes, read = cpu.lanes(known.work), known.beside.extent if known.beside else 1
    if m not in (1, 2, 4, 8) or m > lanes or (m > 1 and known.y[row.name] != known.out):
        return f"reads x along its channels for 1, 2, 4 or 8 rows of A, which are contiguous in y; got {m}"
    if read not in (1, 2, 4, 8) or read > 2 * m:
        return f"reads 1, 2, 4 or 8 channels of x a group, up to twice those of y, which are {m}; got {read}"
    pitch = -(-group.extent * m // lanes) * lanes * known.work
    plain = contiguous_strides(tuple(i.extent for i in a.cols), pitch)
    return channels.ChannelsRecipe(
        outer=windows.moves(windows.outer),
        terms=windows.terms({i.name: step for i, step in zip(a.cols, plain, strict=True)}),
        checks=len(windows.checked),
        rows=windows.rows,
        lane=windows.lane,
        channels=group.extent * m,
        m=m,
        c=read,
        w_lanes=(known.w[group.name], known.w[row.name]),
        w_steps=tuple((i.extent, known.w[i.name]) for i in a.cols),
        array=TYPES[dtypes.array.name],
        work=TYPES[dtypes.work.name],
        out=TYPES[dtypes.out.name],
        signed=dtypes.array.name != "uint8",
        lanes=lanes,
        registers=cpu.vector_registers,
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
        counted=counted,
        zero=known.b.fill != 0,
        scale=product.epilogue.scale is not None,
        again=_round_again(product, dtypes, cpu),
        w_zero=product.a_zero is not None,
        w_signed=dtypes.w.name != "uint8",
    )


# ---- words --------------------------------------------------------------------------------------------------


def _words(known: Reading, r: DirectRecipe, splits: bool) -> tuple[dict[str, int], int, int, int]:
    """The words that do not depend on how the work is shared; planes, rows of a plane, and rows of a block."""
    c, x, y, extents = known.c, known.x, known.y, known.extents
    windows = known.windows(known.beside if isinstance(r, channels.ChannelsRecipe) else None)
    assert not isinstance(windows, str)
    lane, axis = c.cols[-1], windows.lane_axis
    words = {"columns": lane.extent, "lane offset": axis.offset, "lane limit": axis.extent}
    lines = 1
    if windows.rows is not None and windows.rows_axis is not None:
        row, rows_axis = c.cols[-2], windows.rows_axis
        first, last = _inside(rows_axis, windows.rows.step, windows.rows.reach, row.extent)
        beside = 1
        if isinstance(r, pixels.PixelsRecipe):
            beside, words["y rows"] = max(r.beside, 1), row.extent
        lines = -(-row.extent // beside)
        words |= {
            "rows": lines, "row offset": rows_axis.offset, "row limit": rows_axis.extent, "first row": first,
            "last row": last, "x row": x[row.name] // windows.rows.step, "y row": y[row.name] * beside,
        }  # fmt: skip
    for name, _ in r.outer:
        words |= {f"count {name}": extents[name], f"x {name}": x.get(name, 0), f"y {name}": y[name]}
    words |= {f"x {term.name}": x[term.name] for term in r.terms}
    for number, coordinate in enumerate(windows.checked):
        words |= {f"offset {number}": coordinate.offset, f"limit {number}": coordinate.extent}
    planes = math.prod(extents[name] for name, _ in r.outer)
    if isinstance(r, channels.ChannelsRecipe):
        first, last = _inside(axis, windows.lane.step, windows.lane.reach, lane.extent)
        words |= {
            "first column": first, "last column": last, "y column": y[lane.name],
            "x column": x[lane.name] // windows.lane.step,
        }  # fmt: skip
        if windows.rows is None:
            words["rows"] = 1
        return words, planes, lines, r.block[0]
    group, down, blocks = c.batch[0].name, c.rows[0].name, known.product.m // r.m
    chunks, half = -(-lane.extent // r.lanes), -(-lane.extent // (r.lanes // 2))
    first, last = _inside(axis, r.lanes * r.lane.step, r.behind, lane.extent // r.lanes)
    narrow = r.takes_halves(lane.extent, splits)
    words |= {
        "first chunk": first, "last chunk": last, "narrow": int(narrow), "y m": y[down],
        f"w {group}": r.packed_bytes if r.packed else known.w[group],
        f"bias {group}": known.product.m * known.work,
        "w step": known.w[group], "w groups": extents[group],
    }  # fmt: skip
    if blocks > 1:  # the rows of A are walked over in blocks
        words |= {
            f"count {down}": blocks, f"y {down}": y[down] * r.m, f"w {down}": r.m_step * r.m,
            f"bias {down}": r.m * known.work,
        }  # fmt: skip
        planes //= r.m
    return words, planes, lines if r.rows else half if narrow else chunks, r.heights[0]


def _inside(axis: Coordinate, step: int, reach: int, count: int) -> tuple[int, int]:
    """The first of `count` positions from which all that is reached lies on the axis, and the first after it that not.

    >>> _inside(Coordinate(8, (), -1), 1, 2, 8)
    (1, 7)
    """
    first = min(max(-(axis.offset // step), 0), count)
    return first, max(min((axis.extent - 1 - reach - axis.offset) // step + 1, count), first)


__all__ = ["DirectPlan", "DirectRecipe", "plan_direct"]
