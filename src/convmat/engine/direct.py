"""Products that are read in place: where packing a panel would cost as much as multiplying it.

That is so where few rows of A share what was packed: depthwise (m = O//G, k = F), narrow groups, image filters.
`plan_direct` looks at a Product as `schedule` does and gives a step with the same parts, or a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..product import Coordinate, Index, Product, View
from . import directplanes
from .cpu import Cpu
from .directplanes import Recipe
from .directwalk import Term, Window
from .finish import Dtypes
from .instructions import Type, bf16, f16, f32, f64, i8, i32
from .ir import Module
from .slots import BLOCK, WORD

LONGEST = 1024
"""Longer sums are taken in parts, by panels."""

MOST_ROWS = 8
"""Rows of A: more of them repay the packing of a panel."""

TASKS = 4
"""Tasks that a thread should have: enough to even out who is late."""

TASK_FLOPS = 500_000
"""Of one task at least, about 10 microseconds: waking a worker must pay."""

LARGEST_EXTENT = 1 << 29
"""The longest axis whose positions are compared in 32 bits."""

TYPES: dict[str, Type] = {
    "float32": f32, "float64": f64, "float16": f16, "bfloat16": bf16, "int8": i8, "uint8": i8, "int32": i32,
}  # fmt: skip

Shapes = Mapping[str, tuple[int, ...]]


def plan_direct(product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu) -> Step | str:
    """The step of a product whose x is read in place, or the sentence why it is not."""
    refusal = _refuses(product, dtypes)
    if refusal is not None:
        return refusal
    return _planes(product, dtypes, shapes, threads, cpu)


def module(recipe: Recipe, attributes: str, fused: bool) -> Module:
    """The kernel of a recipe: `task(args, index, thread)`, and `weights` of the same kind where w is packed."""
    return directplanes.module(recipe, attributes, fused)


def _refuses(product: Product, dtypes: Dtypes) -> str | None:
    if len(product.terms) != 1 or isinstance(product.terms[0][1].source, View):
        return "the same product as im2col, which the jit never stores"
    a, b = product.terms[0]
    known = dtypes.work.name in ("float32", "float64") and {dtypes.array.name, dtypes.out.name} <= TYPES.keys()
    if not known or a.conjugate or b.conjugate:
        return f"multiplies real numbers, got {dtypes.array.name}"
    if not 0 < product.k <= LONGEST:
        return f"sums up to {LONGEST} terms in place, got {product.k}"
    if product.m > MOST_ROWS:
        return f"reads x in place for up to {MOST_ROWS} rows of A, got {product.m}"
    if len(product.c.rows) != 1:
        return f"takes one index of rows, got {len(product.c.rows)}"
    if b.fill or any(by < 0 for c in b.coordinates for _, by in c.terms):
        return "reads x forwards, and 0 outside it"
    if any(c.extent > LARGEST_EXTENT for c in b.coordinates):
        return f"counts positions in 32 bits: no axis over {LARGEST_EXTENT}"
    return None


class Step:
    """One product, its recipe, and the words of its block; holds no arrays.

    `tasks` of the kernel's `task`, and `weight_tasks` of its `weights` (0: w is read as it is). `origin`: where all
    indices are 0, in bytes from an array's start. `at`: the words of a block that are addresses.
    """

    workspace = 0

    def __init__(self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, recipe: Recipe) -> None:
        self.product, self.dtypes, self.recipe, self.threads = product, dtypes, recipe, threads
        self.shapes = dict(shapes)
        a, b = product.terms[0]
        item, out = dtypes.array.itemsize, dtypes.out.itemsize
        self.origin = {
            "x": _origin(b, shapes["x"], item), "y": _origin(product.c, shapes["y"], out), "w": _origin(a, shapes["w"], item),
        }  # fmt: skip
        self.weight_bytes = a.elements * recipe.work.bytes if recipe.packed else math.prod(shapes["w"]) * item
        self.words, self.tasks = _plane_words(self)
        self.weight_tasks = product.batch if recipe.packed else 0
        slots = recipe.slots()
        assert set(self.words) <= set(slots.names), set(self.words) - set(slots.names)
        self.template = bytes(np.array([0, 0, 0, 0, *(self.words.get(n, 0) for n in slots.names)], np.int64))
        named = ("x", "y", "w", "a", "bias", "residual")
        self.at = {name: (BLOCK + slots.offset(name)) // WORD for name in named}

    @property
    def strides(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """How far a step of each index goes in x, y and w, in bytes."""
        a, b = self.product.terms[0]
        item, shapes = self.dtypes.array.itemsize, self.shapes
        return (
            _strides(b, shapes["x"], item),
            _strides(self.product.c, shapes["y"], self.dtypes.out.itemsize),
            _strides(a, shapes["w"], item),
        )


def share(flops: int, threads: int, planes: int, lines: int, height: int) -> tuple[int, int, int]:
    """(planes of a task, parts of a plane, lines of a part): tasks are planes, or parts of one where there are few."""
    wanted = max(1, min(TASKS * threads, flops // TASK_FLOPS)) if threads > 1 else 1
    if planes >= wanted:
        return -(-planes // wanted), 1, max(lines, 1)
    parts = -(-wanted // max(planes, 1))
    height = max(-(-lines // parts // height) * height, 1)
    return 1, -(-lines // height), height


# ---- lanes along pixels -------------------------------------------------------------------------------------


def _planes(product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu) -> Step | str:
    """Lanes along the last pixel axis."""
    a, b = product.terms[0]
    c = product.c
    y = _strides(c, shapes["y"], 1)
    lane, k = c.cols[-1], list(b.rows)
    last = b.coordinates[-1]
    if dict(last.terms).get(lane.name, 0) < 1 or (y[lane.name] != 1 and lane.extent > 1):
        return "reads x and writes y along their contiguous axes, which are not the last of the columns"
    lane_window = _window(last, lane.name, k)
    if lane_window is None:
        return "sums along the contiguous axis last"
    row_axis, row_window = None, None
    if len(c.cols) > 1:
        row = c.cols[-2].name
        row_axis = next((each for each in b.coordinates if row in dict(each.terms)), None)
        row_window = _window(row_axis, row, k) if row_axis is not None and len(row_axis.terms) > 1 else None
    outer = [*c.batch, *(c.cols[:-2] if row_window else c.cols[:-1])]
    fixed, deep = {each.name for each in outer}, {each.name for each in k}
    checked: list[Coordinate] = []
    for at, coordinate in enumerate(b.coordinates):
        if coordinate is last or (row_window and coordinate is row_axis):
            continue
        names = {name for name, _ in coordinate.terms}
        if not names <= deep | fixed or len(names & deep) > 1 or (at in b.risky and not names & deep):
            return "moves along each axis of x by one index of the columns and one of the sum"
        if len(names) > 1 and names & deep:
            checked.append(coordinate)
    lanes, packed = cpu.lanes(dtypes.work.itemsize), dtypes.array != dtypes.work
    if packed:
        plain = tuple(i.extent for i in a.indices)
        steps = {i.name: s for i, s in zip(a.indices, _contiguous(plain, dtypes.work.itemsize), strict=True)}
    else:
        steps = _strides(a, shapes["w"], dtypes.array.itemsize)
    depth = list(a.cols)
    tap_step = steps[depth.pop().name] if len(last.terms) > 1 else 0
    row_step = steps[depth.pop().name] if row_window else 0
    terms = []
    for index in k:
        number = next((n for n, each in enumerate(checked) if index.name in dict(each.terms)), -1)
        by = dict(checked[number].terms)[index.name] if number >= 0 else 0
        terms.append(Term(index.name, index.extent, steps[index.name], number, by))
    recipe = Recipe(
        outer=tuple((i.name, tuple(dict(each.terms).get(i.name, 0) for each in checked)) for i in outer),
        terms=tuple(terms),
        checks=len(checked),
        rows=row_window,
        lane=lane_window,
        m=product.m,
        m_step=steps[c.rows[0].name],
        row_step=row_step,
        tap_step=tap_step,
        packed=packed,
        array=TYPES[dtypes.array.name],
        work=TYPES[dtypes.work.name],
        out=TYPES[dtypes.out.name],
        signed=dtypes.array.name != "uint8",
        lanes=lanes,
        halves=cpu.vector_bytes == 64,
        registers=cpu.vectors,
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
    )
    return Step(product, dtypes, shapes, threads, recipe)


def _window(axis: Coordinate, name: str, k: list[Index]) -> Window | None:
    """How windows lie along an axis; its tap, which must be the last of `k`, is taken off it. None if it is not."""
    terms = dict(axis.terms)
    step = terms.pop(name)
    if not terms:
        return Window(step, 1, 1)
    if not k or set(terms) != {k[-1].name}:
        return None
    tap = k.pop()
    return Window(step, tap.extent, terms[tap.name])


def _plane_words(step: Step) -> tuple[dict[str, int], int]:
    r, product = step.recipe, step.product
    a, b = product.terms[0]
    c = product.c
    x, y, w = step.strides
    extents = {i.name: i.extent for i in c.batch + c.cols}
    lane = c.cols[-1]
    last = b.coordinates[-1]
    chunks = -(-lane.extent // r.lanes)
    lines = extents[c.cols[-2].name] if r.rows else chunks
    planes = math.prod(extents[name] for name, _ in r.outer)
    per, parts, height = share(product.flops, step.threads, planes, lines, r.heights[0])
    step_bytes = r.lanes * r.lane.step
    behind = r.behind
    first = min(max(-(last.offset // step_bytes), 0), chunks)
    inner = min(lane.extent // r.lanes, (last.extent - 1 - behind - last.offset) // step_bytes + 1)
    whole, half = chunks * r.lanes, -(-lane.extent // (r.lanes // 2)) * (r.lanes // 2)
    words = {
        "planes": planes, "per": per, "parts": parts, "height": height,
        "narrow": int(r.halves and half * (NARROW if r.by_lines else NARROW_TAPS) < whole),
        "columns": lane.extent, "lane offset": last.offset, "lane limit": last.extent,
        "first chunk": first, "last chunk": max(inner, first), "y m": y[c.rows[0].name],
    }  # fmt: skip
    if r.rows:
        row = c.cols[-2]
        axis = next(each for each in b.coordinates if row.name in dict(each.terms))
        top = min(max(-(axis.offset // r.rows.step), 0), lines)
        bottom = min(lines, (axis.extent - 1 - r.rows.reach - axis.offset) // r.rows.step + 1)
        words |= {
            "rows": lines, "row offset": axis.offset, "row limit": axis.extent, "first row": top,
            "last row": max(bottom, top), "x row": x[row.name] // r.rows.step, "y row": y[row.name],
        }  # fmt: skip
    bias, packed = product.m * r.work.bytes, a.elements // max(product.batch, 1) * r.work.bytes
    for index in reversed(c.batch):
        words |= {f"w {index.name}": packed if r.packed else w[index.name], f"bias {index.name}": bias}
        bias, packed = bias * index.extent, packed * index.extent
    for name, _ in r.outer:
        words |= {f"count {name}": extents[name], f"x {name}": x[name], f"y {name}": y[name]}
    for term in r.terms:
        words[f"x {term.name}"] = x[term.name]
    number = 0
    for coordinate in b.coordinates:
        names = {name for name, _ in coordinate.terms}
        if len(names) > 1 and names & {term.name for term in r.terms}:
            words |= {f"offset {number}": coordinate.offset, f"limit {number}": coordinate.extent}
            number += 1
    return words, -(-planes // per) * parts if planes and lines else 0


NARROW, NARROW_TAPS = 1.25, 1.05
"""How much more an element costs in vectors of half the size, by lines and by taps."""


def _contiguous(shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    steps = [item]
    for extent in reversed(shape[1:]):
        steps.append(steps[-1] * extent)
    return tuple(reversed(steps)) if shape else ()


def _strides(view: View, shape: tuple[int, ...], item: int) -> dict[str, int]:
    """How far a step of each index goes in a C-contiguous array of `item` bytes an element."""
    moves = dict.fromkeys(view.extents, 0)
    stride = item
    for coordinate, extent in zip(reversed(view.coordinates), reversed(shape), strict=True):
        for name, by in coordinate.terms:
            moves[name] += by * stride
        stride *= extent
    return moves


def _origin(view: View, shape: tuple[int, ...], item: int) -> int:
    """Where all indices are 0, in bytes from the start of a C-contiguous array."""
    origin, stride = 0, item
    for coordinate, extent in zip(reversed(view.coordinates), reversed(shape), strict=True):
        origin += coordinate.offset * stride
        stride *= extent
    return origin
