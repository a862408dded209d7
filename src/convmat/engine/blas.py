"""The blas engine: NumPy's matrix product over packed panels. Readable, always there, the yardstick.

A product runs block by block of its columns. For each block B's part is used in place where a BLAS can read it there
and packed otherwise; A was packed once (`bind`). The block of C is multiplied straight into the output where that is
a matrix too, finished by the epilogue, and stored otherwise. Sums longer than a panel are taken in parts.

Products read in place that are no BLAS matrix (depthwise) are multiplied and added image by image, tap by tap.
All scratch is one NumPy array of `workspace` bytes; the BLAS library's own buffers are not in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..product import Index, Packing, Product, View, size
from . import activation, blasthreads
from .memory import Array, Block, carve, count, cut, flat, inside, matrix, pack, room, split, virtual

PANEL_BYTES = 1 << 20
"""Bytes of a panel of B: half of it stays in a core's second-level cache while BLAS copies it once more."""

LEAST_COLUMNS = 128
"""A block of C has at least this many columns before its sum is cut: narrower ones cost BLAS more than a second pass."""

TILE_BYTES = 1 << 18
"""Bytes of output that one multiply-and-add of the tap-by-tap way touches: output, image and product stay in cache."""

Operands = Mapping[str, Array]
Weights = list[list[Array]]


@dataclass(frozen=True)
class Work:
    """What running a program costs, in the planner's units."""

    flops: int
    """Multiplications and additions in matrix products."""
    elementwise: int
    """Elements that multiply-and-add passes over, tap by tap."""
    packed: int
    """Bytes written to panels."""
    stored: int
    """Bytes written to the output a second time, or through a tile."""
    calls: int
    """NumPy calls, about."""
    columns: int
    """Columns of the narrowest matrix product."""


@dataclass(frozen=True)
class Dtypes:
    """NumPy dtypes of the operands, of the sums and of the output."""

    array: np.dtype[Any]
    work: np.dtype[Any]
    out: np.dtype[Any]


def prepare(
    products: tuple[Product, ...],
    packing: Packing,
    dtypes: Dtypes,
    shapes: Mapping[str, tuple[int, ...]],
    limit: int,
) -> Program | str:
    """A program for the products under a limit of scratch bytes, or the sentence why there is none.

    `shapes` are those of the operands, one extent per coordinate of their Views.
    """
    program = Program(tuple(_Step(p, packing, dtypes, shapes, limit) for p in products), dtypes)
    if program.workspace > limit:
        return f"needs {program.workspace:,} bytes of workspace, the limit is {limit:,}"
    return program


class Program:
    """Products made ready to run; holds no arrays, so it can be shared, pickled and run by several threads at once."""

    def __init__(self, steps: tuple[_Step, ...], dtypes: Dtypes) -> None:
        self.steps = steps
        self.dtypes = dtypes
        self.workspace = max((step.workspace for step in steps), default=0)
        self.weight_bytes = sum(step.weight_bytes for step in steps)

    @cached_property
    def work(self) -> Work:
        """The costs of all steps together."""
        parts = [step.work for step in self.steps]
        total = {
            name: sum(getattr(p, name) for p in parts)
            for name in ("flops", "elementwise", "packed", "stored", "calls")
        }
        return Work(**total, columns=min((p.columns for p in parts), default=0))

    @property
    def in_place(self) -> bool:
        """Whether x is read where it lies, which asks for its usual strides."""
        return any(step.in_place for step in self.steps)

    def bind(self, w: Array) -> Weights:
        """Pack the weights: for each product and term the matrices (batch, m, k), contiguous."""
        return [step.bind(w) for step in self.steps]

    def run(self, operands: Operands, weights: Weights, threads: int) -> None:
        """Compute: reads "x", "bias" and "residual", writes "y" (arrays with one axis per coordinate)."""
        buffer = np.empty(self.workspace, np.uint8)
        for step, packed in zip(self.steps, weights, strict=True):
            with blasthreads.limit(1 if step.small else threads):
                step.run(operands, packed, buffer)


class _Step:
    """One product with its blocks."""

    def __init__(
        self,
        product: Product,
        packing: Packing,
        dtypes: Dtypes,
        shapes: Mapping[str, tuple[int, ...]],
        limit: int,
    ) -> None:
        self.product, self.dtypes = product, dtypes
        self.epilogue = product.epilogue
        item = dtypes.work.itemsize
        m, n, batch = product.m, product.n, product.batch
        self.nested = next((b.source for _, b in product.terms if isinstance(b.source, View)), None)
        single = frozenset(i.name for i in self.nested.batch) if self.nested else frozenset[str]()
        depth = max((size(b.rows) for _, b in product.terms), default=0)

        self.in_place = packing is Packing.NOTHING and not self.nested and self._reads_in_place(shapes)
        self.taps = packing is Packing.NOTHING and not self.in_place
        if self.taps:
            columns = max(1, min(TILE_BYTES, limit // 4) // (item * max(m, 1)))
            depth_target = depth
        elif packing is Packing.WHOLE and not self.nested:
            columns, depth_target = max(n, 1), depth
        elif self.in_place or self.nested:
            single |= self._apart(shapes)
            columns = max(n if self.epilogue.empty else PANEL_BYTES // (item * max(m, 1)), 1)
            depth_target = depth
        else:
            budget = min(PANEL_BYTES, limit // 3)
            columns = max(budget // (item * max(depth, 1)), min(n, LEAST_COLUMNS), 1)
            depth_target = max(budget // (item * columns), 1)
        groups = batch if packing is Packing.WHOLE else max(1, columns // max(n, 1))
        self.columns = split(product.c.cols, columns, single)
        self.groups = split(product.c.batch, max(groups, 1), single)
        self.depths = [split(b.rows, depth_target) for _, b in product.terms]

        widest = max((count(c) for c in self.columns), default=0)
        tallest = max((count(g) for g in self.groups), default=0)
        deepest = max((count(d) for ds in self.depths for d in ds), default=0)
        self.tile_elements = tallest * m * widest
        passes = sum(len(ds) for ds in self.depths)
        self.direct = self._writes_direct(shapes)
        stored = tallest * deepest * widest * item
        self.sizes = {
            "panel": 0 if self.in_place or self.taps or self.nested else stored,
            "nested": size(self.nested.rows) * size(self.nested.cols) * item if self.nested else 0,
            "tile": 0 if self.direct else self.tile_elements * item,
            "spare": self.tile_elements * item
            if passes > 1 or self.taps or self._activation_scratch()
            else 0,
        }
        used = sum(room(s) for s in self.sizes.values())
        self.workspace = used + 64 if used else 0
        self.weight_bytes = sum(a.elements for a, _ in product.terms) * item
        self.small = 2 * m * widest * deepest < blasthreads.WORTH_TWO
        self.work = self._work(widest, deepest, passes, packing)

    # -- what is known before any array -------------------------------------------------------------------------------

    def _example(self, view: View, shapes: Mapping[str, tuple[int, ...]]) -> Array:
        """The View over a C-contiguous array that is never touched."""
        item = self.dtypes.work.itemsize
        if isinstance(view.source, View):
            inner, batch = view.source.rows + view.source.cols, len(view.source.batch)
            strides = [0] * batch + [item * size(inner[a + 1 :]) for a in range(len(inner))]
        else:
            shape = shapes[view.source]
            strides = [item * math.prod(shape[a + 1 :]) for a in range(len(shape))]
        by = dict.fromkeys(view.extents, 0)
        for coordinate, stride in zip(view.coordinates, strides, strict=True):
            for name, coefficient in coordinate.terms:
                by[name] += coefficient * stride
        return np.lib.stride_tricks.as_strided(
            np.empty(0, self.dtypes.work), tuple(view.extents.values()), tuple(by.values())
        )

    def _reads_in_place(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether every block of B is a matrix for a BLAS as it lies (one image at a time, say)."""
        if self.dtypes.array != self.dtypes.work:
            return False
        return all(
            b.inside and not b.conjugate and self._block_axis(b, self._example(b, shapes)) is not None
            for _, b in self.product.terms
        )

    def _apart(self, shapes: Mapping[str, tuple[int, ...]]) -> frozenset[str]:
        """The column indices that must be taken one value at a time for B to be a matrix where it lies."""
        axes = (self._block_axis(b, self._example(b, shapes)) or 0 for _, b in self.product.terms)
        return frozenset(i.name for i in self.product.c.cols[: max(axes, default=0)])

    def _block_axis(self, view: View, example: Array) -> int | None:
        """The first column axis from which on the columns of the View are one matrix."""
        batch, rows = len(view.batch), len(view.rows)
        if example.size == 0:
            return 0
        for axis in range(len(view.cols)):
            one = example[(slice(None),) * (batch + rows) + (slice(0, 1),) * axis]
            if matrix(one, batch, rows) is not None:
                return axis
        return None

    def _writes_direct(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether blocks of C can be multiplied straight into the output."""
        c, same = self.product.c, self.dtypes.out == self.dtypes.work
        if not same or self.epilogue.residual is not None or not self.columns or not self.groups:
            return False
        if self.taps:
            return True
        example = self._example(c, shapes)
        return all(
            matrix(self._cut_c(example, g, cols), len(c.batch), len(c.rows)) is not None
            for g in self.groups[:1]
            for cols in (self.columns[0], self.columns[-1])
        )

    def _activation_scratch(self) -> bool:
        chosen = self.epilogue.activation
        return chosen is not None and chosen.name in activation.NEEDS_SCRATCH

    def _work(self, widest: int, deepest: int, passes: int, packing: Packing) -> Work:
        product, item = self.product, self.dtypes.work.itemsize
        outer = len(self.groups) * len(self.columns)
        unrolled = sum(b.elements for _, b in product.terms) * item
        tile = product.batch * product.m * product.n * item
        stored = tile * (
            (0 if self.direct else 1) + (0 if self.epilogue.empty else 1) + 2 * (passes - 1 if passes else 0)
        )
        if self.taps:
            taps = product.k
            return Work(0, product.flops // 2, 0, stored, outer * taps * 4, widest)
        packed = 0 if self.in_place else unrolled
        if self.nested:
            packed = self.nested.elements * item
        calls = outer * passes * (3 if self.in_place or self.nested else 6 + 2 * 9)
        return Work(product.flops, 0, packed, stored, calls, widest)

    # -- running -------------------------------------------------------------------------------------------------------

    def bind(self, w: Array) -> list[Array]:
        packed = []
        for a, _ in self.product.terms:
            out = np.empty(tuple(i.extent for i in a.indices), self.dtypes.work)
            pack(a, virtual(a, w), tuple((0, i.extent) for i in a.indices), out)
            packed.append(out.reshape(size(a.batch), size(a.rows), size(a.cols)))
        return packed

    def run(self, operands: Operands, weights: list[Array], buffer: Array) -> None:
        product, work = self.product, self.dtypes.work
        if not product.c.elements:
            return
        names = list(self.sizes)
        scratch = {
            name: run.view(work)
            for name, run in zip(names, carve(buffer, list(self.sizes.values())), strict=True)
        }
        c = virtual(product.c, operands["y"])
        residual = virtual(self.epilogue.residual, operands["residual"]) if self.epilogue.residual else None
        bias = self._bias(operands)
        sources = [None if self.nested else virtual(b, operands["x"]) for _, b in product.terms]
        held: Block | None = None
        for group, columns in itertools.product(self.groups, self.columns):
            if self.nested is not None:
                wanted = self._nested_block(group, columns)
                if wanted != held:
                    sources = self._pack_nested(wanted, operands["x"], scratch["nested"])
                    held = wanted
            target = self._cut_c(c, group, columns)
            spare = scratch["spare"]
            if self.taps:
                tile = self._multiply_taps(group, columns, target, sources, weights, scratch)
            else:
                tile = self._multiply(group, columns, target, sources, weights, scratch)
            self._finish(tile, spare, bias, residual, group, columns)
            if tile is not target:
                np.copyto(target, tile, casting="unsafe")

    def _cut_c(self, c: Array, group: Block, columns: Block) -> Array:
        rows = ((0, i.extent) for i in self.product.c.rows)
        return cut(c, (*group, *rows, *columns))

    def _bias(self, operands: Operands) -> Array | None:
        """The bias as (batch axes, row axes, 1...) of the work dtype."""
        view = self.epilogue.bias
        if view is None:
            return None
        vector = operands["bias"].reshape([c.extent for c in view.coordinates])
        read = virtual(view, vector).astype(self.dtypes.work)
        return read.reshape(read.shape + (1,) * len(self.product.c.cols))

    def _finish(
        self,
        tile: Array,
        spare: Array,
        bias: Array | None,
        residual: Array | None,
        group: Block,
        columns: Block,
    ) -> None:
        """The epilogue, in place on a tile with one axis per index of C."""
        if bias is not None:
            np.add(tile, bias[tuple(slice(a, b) for a, b in group)], out=tile)
        if residual is not None:
            np.add(tile, self._cut_c(residual, group, columns), out=tile, casting="unsafe")
        if self.epilogue.activation is not None:
            free = spare[: tile.size].reshape(tile.shape) if self._activation_scratch() else None
            activation.apply(self.epilogue.activation, tile, free)

    def _multiply(
        self,
        group: Block,
        columns: Block,
        target: Array,
        sources: list[Array | None],
        weights: list[Array],
        scratch: dict[str, Array],
    ) -> Array:
        """The sum over terms and depths of one block, into C where it is a matrix, else into the tile."""
        product = self.product
        shape = (count(group), product.m, count(columns))
        into = matrix(target, len(product.c.batch), len(product.c.rows)) if self.direct else None
        tile = target
        if into is None:
            tile = self._scratch(scratch["tile"], target.shape)
            into = tile.reshape(shape)
        held = flat(product.c.batch, group)
        first = True
        for (_, b), source, packed, depths in zip(product.terms, sources, weights, self.depths, strict=True):
            assert source is not None
            for depth in depths:
                right = self._right(
                    b, source, (*group, *depth, *columns), count(depth), shape[2], scratch["panel"]
                )
                left = packed[held, :, flat(b.rows, depth)]
                if first:
                    _matmul(left, right, into)
                    first = False
                else:
                    more = self._scratch(scratch["spare"], shape)
                    _matmul(left, right, more)
                    np.add(into, more, out=into)
        if first:
            into[...] = 0
        return tile

    def _scratch(self, run: Array, shape: tuple[int, ...]) -> Array:
        """Room for a block: of the workspace, or fresh where arrays with unusual strides ask for more than planned."""
        elements = math.prod(shape)
        return (run if run.size >= elements else np.empty(elements, self.dtypes.work))[:elements].reshape(
            shape
        )

    def _right(self, b: View, source: Array, block: Block, depth: int, width: int, panel: Array) -> Array:
        """One block of B as (batch, depth, width): in place if a BLAS can read it there, else packed."""
        if self.in_place or self.nested is not None:
            found = matrix(cut(source, block), len(b.batch), len(b.rows))
            if found is not None:
                return found
        out = self._scratch(panel, tuple(stop - start for start, stop in block))
        pack(b, source, block, out)
        return out.reshape(-1 if out.size else count(block[: len(b.batch)]), depth, width)

    def _multiply_taps(
        self,
        group: Block,
        columns: Block,
        target: Array,
        sources: list[Array | None],
        weights: list[Array],
        scratch: dict[str, Array],
    ) -> Array:
        """acc += a * image for every tap, where the image has any pixels."""
        product = self.product
        tile = target if self.direct else self._scratch(scratch["tile"], target.shape)
        tile[...] = 0
        batch, rows = len(product.c.batch), len(product.c.rows)
        held = flat(product.c.batch, group)
        keep = (slice(None),) * batch
        for (_, b), source, packed in zip(product.terms, sources, weights, strict=True):
            assert source is not None
            depth = len(b.rows)
            left = packed[held].reshape(*(e - s for s, e in group), *(i.extent for i in product.c.rows), -1)
            for at, tap in enumerate(itertools.product(*(range(i.extent) for i in b.rows))):
                block = inside(b, (*group, *((t, t + 1) for t in tap), *columns))
                if block is None:
                    continue
                image = cut(source, block).squeeze(tuple(range(batch, batch + depth)))
                image = np.expand_dims(image, tuple(range(batch, batch + rows)))
                pixels = zip(block[batch + depth :], columns, strict=True)
                where = tuple(slice(start - origin, stop - origin) for (start, stop), (origin, _) in pixels)
                part = tile[(*keep, *(slice(None),) * rows, *where)]
                factor = left[..., at].reshape(*left.shape[:-1], *(1,) * len(columns))
                more = self._scratch(scratch["spare"], part.shape)
                np.multiply(np.conjugate(image) if b.conjugate else image, factor, out=more, casting="unsafe")
                np.add(part, more, out=part)
        return tile

    def _nested_block(self, group: Block, columns: Block) -> Block:
        """The values of the nested View's batch indices within a block of C."""
        assert self.nested is not None
        spans = dict(
            zip((i.name for i in self.product.c.batch + self.product.c.cols), group + columns, strict=True)
        )
        return tuple(spans[i.name] for i in self.nested.batch)

    def _pack_nested(self, wanted: Block, x: Array, store: Array) -> list[Array | None]:
        """Pack the nested View for one value of its batch, and lay the terms' Views over it."""
        nested = self.nested
        assert nested is not None
        inner = tuple(i.extent for i in nested.rows + nested.cols)
        lowered = store[: math.prod(inner)].reshape((1,) * len(wanted) + inner)
        pack(nested, virtual(nested, x), (*wanted, *((0, e) for e in inner)), lowered)
        # The batch is one image: its axes get stride 0, so any value of their indices reads it.
        same = np.lib.stride_tricks.as_strided(
            lowered, strides=(0,) * len(wanted) + lowered.strides[len(wanted) :]
        )
        return [virtual(b, same) for _, b in self.product.terms]


def _matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for stacks of matrices; a column-major `out` is computed as its transpose."""
    if out.strides[-1] != out.itemsize and out.strides[-2] == out.itemsize:
        np.matmul(b.swapaxes(1, 2), a.swapaxes(1, 2), out=out.swapaxes(1, 2))
    else:
        np.matmul(a, b, out=out)


__all__ = ["Dtypes", "Index", "Program", "Work", "prepare"]
