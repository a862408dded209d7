"""The jit engine: machine code for this kind of product on this CPU.

`prepare` looks at a Product and decides what is constant in its kernel (a Recipe) and what is not (words in a block);
the kernel is made, or found, at the first call. B, spatial extents and strides are words: a new batch or image
size compiles nothing.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..product import Product, View, size
from . import objects, panels, pool
from .blas import Dtypes, Operands
from .cpu import Cpu, host
from .instructions import Type, bf16, f16, f32, f64, i8
from .ir import PREFER_512
from .memory import Array, pack, room, split, virtual
from .pack import LARGEST_EXTENT, Walk
from .panels import Recipe
from .slots import BLOCK, WORD

PART = 1024
"""The longest sum taken in one go: a panel of it stays in cache, and shorter sums round less."""

PANEL_BYTES = 400 << 10
"""Bytes of the panels that a task keeps packed: with a block of A they fit a second-level cache of 1 MiB."""

TASKS = 4
"""Tasks that a thread should have: enough to even out who is late."""

TYPES: dict[str, Type] = {"float32": f32, "float64": f64, "float16": f16, "bfloat16": bf16, "int8": i8, "uint8": i8}

Weights = list[Array]


def prepare(
    products: tuple[Product, ...], dtypes: Dtypes, shapes: Mapping[str, tuple[int, ...]], threads: int, limit: int
) -> Program | str:
    """A program for the products, or the sentence why the jit makes no code for them."""
    cpu = host()
    if cpu.vector_bytes < 16 or not cpu.fma:
        return f"makes code for CPUs with fused multiply-add, this one is {cpu.model}"
    steps = []
    for product in products:
        step = _step(product, dtypes, shapes, threads, cpu)
        if isinstance(step, str):
            return step
        steps.append(step)
    program = Program(tuple(steps), dtypes, cpu)
    if program.workspace > limit:
        return f"needs {program.workspace:,} bytes of workspace, the limit is {limit:,}"
    return program


class Program:
    """Products made ready to run by kernels; holds no arrays and may be shared by threads."""

    def __init__(self, steps: tuple[_Step, ...], dtypes: Dtypes, cpu: Cpu) -> None:
        self.steps = steps
        self.dtypes = dtypes
        self.cpu = cpu
        self.workspace = max((s.workspace for s in steps), default=0)
        self.weight_bytes = sum(s.weight_bytes for s in steps)

    @cached_property
    def kernels(self) -> list[int]:
        """The address of each step's task function; compiles what is new."""
        return [loaded.symbols["task"] for loaded in objects.load([text(s.recipe, self.cpu) for s in self.steps], self.cpu)]

    def __getstate__(self) -> dict[str, Any]:
        """Addresses mean nothing elsewhere."""
        return {name: value for name, value in self.__dict__.items() if name != "kernels"}

    def bind(self, w: Array) -> Weights:
        """Pack A of every product as its kernel reads it."""
        return [step.bind(w) for step in self.steps]

    def run(self, operands: Operands, weights: Weights, threads: int) -> None:
        """Compute: reads "x", "bias" and "residual", writes "y" (arrays with one axis per coordinate)."""
        buffer = np.empty(self.workspace, np.uint8)
        for step, kernel, packed in zip(self.steps, self.kernels, weights, strict=True):
            step.run(kernel, operands, packed, buffer, threads)


@lru_cache(maxsize=1024)
def text(recipe: Recipe, cpu: Cpu) -> str:
    """The IR of a recipe for a CPU."""
    attributes = PREFER_512 if cpu.vector_bytes == 64 else ""
    return str(panels.module(recipe, attributes, fused=cpu.fma))


def _step(
    product: Product, dtypes: Dtypes, shapes: Mapping[str, tuple[int, ...]], threads: int, cpu: Cpu
) -> _Step | str:
    """How one product runs, or why it cannot."""
    if len(product.terms) != 1 or isinstance(product.terms[0][1].source, View):
        return "the same product as im2col, which the jit never stores"
    a, b = product.terms[0]
    if dtypes.work.name not in ("float32", "float64") or dtypes.array.name not in TYPES or a.conjugate or b.conjugate:
        return f"multiplies real floating-point numbers, got {dtypes.array.name}"
    if dtypes.out.name not in TYPES:
        return f"stores floating-point numbers, got {dtypes.out.name}"
    last = b.coordinates[-1]
    lane = product.c.cols[-1].name
    if dict(last.terms).get(lane, 0) < 1:
        return "reads x along its contiguous axis, which is not the last axis of the columns"
    if any(c.extent > LARGEST_EXTENT for c in b.coordinates):
        return f"counts positions in 32 bits: no axis over {LARGEST_EXTENT}"
    whole = _contiguous_run(product, shapes["y"])
    if whole is None:
        return "writes lines of y, which are not contiguous here"
    run = product.c.cols[whole:]
    walk = Walk.of(b, [i.name for i in run], [i.name for i in b.rows])
    lanes = cpu.lanes(dtypes.work.itemsize)
    turned, width, panel = _tiles(product.m, product.k, lanes, cpu.vectors)
    recipe = Recipe(
        walk=walk,
        outer=tuple(i.name for i in product.c.batch + product.c.cols[:whole]),
        array=TYPES[dtypes.array.name],
        work=TYPES[dtypes.work.name],
        out=TYPES[dtypes.out.name],
        signed=dtypes.array.name != "uint8",
        lanes=lanes,
        turned=turned,
        m=product.m,
        width=width,
        panel=panel,
        bias=product.epilogue.bias is not None,
        residual=product.epilogue.residual is not None,
        activation=product.epilogue.activation,
    )
    return _Step(product, recipe, dtypes, shapes, threads)


def _contiguous_run(product: Product, shape: tuple[int, ...]) -> int | None:
    """The first column index from which on columns lie side by side in C; None if not even the last does."""
    c = product.c
    strides = _strides(c, shape, 1)
    expected, first = 1, None
    for at in range(len(c.cols) - 1, -1, -1):
        index = c.cols[at]
        if strides[index.name] != expected and index.extent != 1:
            break
        expected *= index.extent
        first = at
    return first


def _strides(view: View, shape: tuple[int, ...], item: int) -> dict[str, int]:
    """How far a step of each index goes in a C-contiguous array, in bytes for `item` bytes an element."""
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


def _tiles(m: int, k: int, lanes: int, vectors: int) -> tuple[bool, int, int]:
    """(turned, rows of a block of A, columns of a panel).

    Lanes along m waste nothing where m is a multiple of them, and leave columns to be counted singly; turning a tile
    costs about its columns in shuffles, which a long sum hides. 14 x 2: 28 accumulators, 2 vectors, one broadcast.
    """
    tall = 14 if vectors >= 32 else 6
    whole = -(-m // lanes)
    if m >= lanes and whole * lanes <= 1.1 * m and k >= 32:
        return True, lanes * min(whole, 2), tall if whole > 1 else 2 * tall
    blocks = -(-m // tall)
    width = -(-m // blocks)
    wide = next(v for v in (4, 3, 2) if width * v + v + 1 <= max(vectors, 16) or v == 2)
    return False, width, wide * lanes


@dataclass
class _Counts:
    """What a block says of one call's extents."""

    tasks: int
    words: dict[str, int]


class _Step:
    """One product, its recipe and the words of its block."""

    def __init__(
        self, product: Product, recipe: Recipe, dtypes: Dtypes, shapes: Mapping[str, tuple[int, ...]], threads: int
    ) -> None:
        self.product, self.recipe, self.dtypes, self.threads = product, recipe, dtypes, threads
        self.shapes = dict(shapes)
        a, b = product.terms[0]
        item, work = dtypes.array.itemsize, dtypes.work.itemsize
        width = recipe.stored_width(recipe.width)
        block = product.k * width * work
        packed = (recipe.blocks - 1) * block + product.k * recipe.stored_width(recipe.tail) * work
        self.weight_bytes = packed * product.batch
        self.origin = {"x": _origin(b, shapes["x"], item), "y": _origin(product.c, shapes["y"], dtypes.out.itemsize)}

        inside = {i.name: i.extent for i in product.c.cols + product.c.batch}
        columns = math.prod(inside[name] for name in recipe.walk.run)
        outer = math.prod(inside[name] for name in recipe.outer)
        count = -(-columns // recipe.panel)
        parts = split(b.rows, PART)
        deepest = max((math.prod(e - s for s, e in part) for part in parts), default=0)
        room_ = deepest * recipe.pitch
        group = max(1, min(count, PANEL_BYTES // max(room_, 1)))
        wanted = TASKS * threads if threads > 1 else 1
        group = max(1, min(group, -(-count * outer // wanted))) if outer < wanted else group
        groups = -(-count // group)
        group = -(-count // groups) if groups else 1
        chunks = 1
        if outer * groups < wanted:
            chunks = min(recipe.blocks, -(-wanted // max(outer * groups, 1)))
        chunk = -(-recipe.blocks // max(chunks, 1))
        chunks = -(-recipe.blocks // max(chunk, 1))
        panel_bytes = room(group * room_)
        sums = group * chunk * recipe.tile_bytes if len(parts) > 1 else 0
        each = panel_bytes + room(sums)
        self.tasks = outer * groups * chunks
        self.workspace = each * threads + 64
        x_steps = _strides(b, shapes["x"], item)
        y_steps = _strides(product.c, shapes["y"], dtypes.out.itemsize)
        line = y_steps[product.c.rows[-1].name] if product.m > 1 else 0
        self.boxes = _boxes(b, parts)
        words = {
            "scratch size": each, "parts": len(parts), "columns": columns, "line": line, "panels": count,
            "group": group, "groups": groups, "chunk": chunk, "chunks": chunks, "block step": block,
            "sums": panel_bytes, "boxes": self.boxes.ctypes.data,
        }  # fmt: skip
        for name in recipe.outer:
            batch = name in {i.name for i in product.c.batch}
            words |= {
                f"count {name}": inside[name], f"x {name}": x_steps[name], f"y {name}": y_steps[name],
                f"a {name}": packed if batch else 0, f"bias {name}": product.m * work if batch else 0,
            }  # fmt: skip
        for name in (*recipe.walk.run, *recipe.walk.taps):
            words[f"step {name}"] = x_steps[name]
        words |= {f"extent {name}": inside[name] for name in recipe.walk.run}
        words |= {f"limit {c.axis}": b.coordinates[c.axis].extent for c in recipe.walk.checks}
        self.words = words
        slots = recipe.slots()
        self.slots = slots
        self.template = bytes(np.array([0, 0, 0, 0, *(words.get(n, 0) for n in slots.names)], np.int64))

    def __getstate__(self) -> dict[str, Any]:
        return {"args": (self.product, self.recipe, self.dtypes, self.shapes, self.threads)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["args"])  # type: ignore[misc]  # addresses are made anew

    def bind(self, w: Array) -> Array:
        """A as [batch][block][k][width]."""
        a, _ = self.product.terms[0]
        recipe, work = self.recipe, self.dtypes.work
        plain = np.empty(tuple(i.extent for i in a.indices), work)
        pack(a, virtual(a, w), tuple((0, i.extent) for i in a.indices), plain)
        m, k = self.product.m, self.product.k
        plain = plain.reshape(self.product.batch, m, k)
        out = aligned(self.weight_bytes).view(work).reshape(self.product.batch, -1)
        at = 0
        for number in range(recipe.blocks):
            rows = recipe.tail if number == recipe.blocks - 1 else recipe.width
            width = recipe.stored_width(rows)
            block = out[:, at : at + k * width].reshape(-1, k, width)
            first = number * recipe.width
            block[:, :, :rows] = plain[:, first : first + rows].transpose(0, 2, 1)
            block[:, :, rows:] = 0
            at += k * width
        return out

    def run(self, kernel: int, operands: Operands, packed: Array, buffer: Array, threads: int) -> None:
        """Fill the block and let the pool work through the tasks."""
        if not self.tasks:
            return
        x, y = _whole(operands["x"]), operands["y"]
        target = y if y.flags.c_contiguous else np.empty(y.shape, y.dtype)
        block = (ctypes.c_int64 * (len(self.template) // WORD)).from_buffer_copy(self.template)
        at = {name: BLOCK // WORD + self.slots.offset(name) // WORD for name in ("x", "y", "a", "bias", "residual", "scratch")}
        block[0], block[1], block[2] = kernel, self.tasks, min(threads, self.threads)
        block[at["x"]] = address(x) + self.origin["x"]
        block[at["y"]] = address(target) + self.origin["y"]
        block[at["a"]] = address(packed)
        block[at["scratch"]] = -(-address(buffer) // 64) * 64
        if "bias" in operands and self.recipe.bias:
            bias = np.ascontiguousarray(operands["bias"], self.dtypes.work)
            block[at["bias"]] = address(bias)
        if self.recipe.residual:
            residual = _whole(operands["residual"])
            block[at["residual"]] = address(residual) + self.origin["y"]
        pool.launch(ctypes.addressof(block))
        if target is not y:
            np.copyto(y, target)


def _boxes(view: View, parts: list[Any]) -> Array:
    """The table of parts: (first, count) of every row index, then where its k begins and how many there are."""
    rows = []
    start = 0
    for part in parts:
        depth = math.prod(stop - first for first, stop in part)
        rows.append([*(n for first, stop in part for n in (first, stop - first)), start, depth])
        start += depth
    return np.array(rows, np.int64).reshape(len(rows), 2 * len(view.rows) + 2)


def aligned(count: int) -> Array:
    """Bytes that begin on a cache line."""
    memory = np.empty(count + 64, np.uint8)
    start = -address(memory) % 64
    return memory[start : start + count]


def address(array: Array) -> int:
    """Where an array's first element is."""
    found: int = array.__array_interface__["data"][0]
    return found


def _whole(array: Array) -> Array:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


__all__ = ["Program", "prepare", "size", "text"]
