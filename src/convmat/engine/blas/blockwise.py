"""Products multiplied by BLAS, one block of C after the other.

    for each block:
        C = A @ B          straight into the output where that is a matrix for a BLAS, else into a tile
        finish C           bias, residual, activation, while it is in cache
        store the tile, if there is one

B is used in place or packed to a panel; a sum longer than a panel is taken in parts, each added to the ones before.
What is in place, in which order panels are packed and how large blocks are, `blocking` decides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...product import count_values
from ..operands import Array, Block, Operands, Shape, count
from . import threads as blas_threads
from .blocking import Blocks, Forms, ProductForm
from .cost import Copying, ProductWork, copy_work
from .cuts import flatten_block, slice_block
from .scratch import Scratch
from .strided_views import REMEMBERED, ViewReader, stacked_matrices, window_of

Weights = list[Array]


class Blockwise:
    """One product in blocks: `workspace` bytes of scratch a run, `weight_bytes` that `bind` packs."""

    def __init__(self, forms: Forms, form: ProductForm, blocks: Blocks) -> None:
        self.form, self.blocks, self.dtypes, self.bound = form, blocks, forms.dtypes, forms.bound
        product = self.product = form.product
        plain = [replace(a, batch=form.groups) for a, _ in product.terms]  # A does not move along the stack
        self.a = [ViewReader(a) for a in plain]
        self.b = [ViewReader(b) for _, b in product.terms]
        self.c = ViewReader(product.c)
        self.nested = ViewReader(form.nested) if form.nested is not None else None
        self.weight_bytes = sum(a.elements for a in plain) * self.dtypes.work.itemsize if forms.bound else 0
        self.row_extents = tuple(i.extent for i in product.c.rows)
        self.col_extents = tuple(i.extent for i in product.c.cols)
        self.depth_extents = [tuple(i.extent for i in b.rows) for _, b in product.terms]
        self.scratch = Scratch(blocks.sizes, self.dtypes.work)
        self.workspace = self.scratch.bytes
        self.apart = (slice(None),) * len(form.groups) + (None,) * len(form.stack)
        self.known: tuple[tuple[_BlockOfC, tuple[_TermStep, ...]], ...] | None = None
        self.alone = 2 * blocks.rows.most * blocks.columns.most * blocks.deep < blas_threads.WORTH_TWO
        self.work = self._work(forms)

    # -- weights ------------------------------------------------------------------------------------------------------

    def bind(self, w: Array) -> Weights:
        """Pack A: for each term the matrices (*groups, m, k), contiguous."""
        return [self._pack_whole(reader, w, np.empty(0, self.dtypes.work)) for reader in self.a]

    def _pack_whole(self, reader: ViewReader, w: Array, store: Array) -> Array:
        view = reader.view
        store = _take(store, (view.elements,), self.dtypes.work)
        spans = tuple((0, i.extent) for i in view.indices)
        reader.pack(w, reader.over(w), spans, store.reshape(reader.shape), store[:0])
        return store.reshape(
            *(i.extent for i in view.batch), count_values(view.rows), count_values(view.cols)
        )

    def _prepare_left(self, w: Array, store: Array) -> list[Array | None]:
        """A of each term as one stack of matrices, in place or packed whole; None: block by block."""
        found: list[Array | None] = []
        for reader, whole in zip(self.a, self.blocks.whole, strict=True):
            made = None
            if whole:
                if not reader.view.conjugate and w.dtype == self.dtypes.work:
                    made = reader.matrices(w, len(self.form.groups))
                if made is None:
                    made = self._pack_whole(reader, w, store)
                    store = store[reader.view.elements :]
            found.append(made)
        return found

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, operands: Operands, weights: Weights | None, buffer: Array) -> None:
        """Compute the product; `weights` are what `bind` made, None takes operands["w"] as it is."""
        form, finish, y = self.form, self.blocks.finish, operands["y"]
        scratch = self.scratch.over(buffer)
        lefts: list[Array | None] = (
            list(weights) if weights is not None else self._prepare_left(operands["w"], scratch["left"])
        )
        if form.stack:
            lefts = [None if left is None else left[self.apart] for left in lefts]
        call = _BlockwiseCall(self, operands, scratch, lefts)
        whole = self.c.matrices(y, form.lead) if form.direct else None
        finishing = None if finish.empty else finish.over(operands)
        c = None if whole is not None and finishing is None else self.c.over(y)
        for block, steps in self._blocks():
            if whole is not None:
                into = whole[block.into]
                tile = into if c is None else c[block.part]
            else:
                tile = _take(scratch["tile"], block.extents, self.dtypes.work)
                into = tile.reshape(block.matrices)
            if self.blocks.passes and self.nested is not None:
                call.lower(block)
            self._multiply(call, block, steps, into)
            if finishing is not None:
                finishing(tile, block.spans, scratch["spare"])
            if whole is None and c is not None:
                np.copyto(c[block.part], tile, casting="unsafe")

    def _multiply(
        self, call: _BlockwiseCall, block: _BlockOfC, steps: Iterable[_TermStep], into: Array
    ) -> None:
        """The sum over terms and depths of one block."""
        if not self.blocks.passes:
            into[...] = 0
        for number, step in enumerate(steps):
            left, right = call.left_block(block, step), call.right_block(block, step)
            if number == 0:
                _matmul(left, right, into)
            else:
                more = _take(call.scratch["spare"], into.shape, self.dtypes.work)
                _matmul(left, right, more)
                np.add(into, more, out=into)

    def _blocks(self) -> Iterable[tuple[_BlockOfC, Iterable[_TermStep]]]:
        """The blocks of C with the steps of their sums: remembered if they are few, else one at a time."""
        if self.known is not None:
            return self.known
        cuts = self.blocks
        made = (
            _BlockOfC(self, group, stack, columns, high)
            for group in cuts.groups
            for stack in cuts.stack
            for columns in cuts.columns
            for high in cuts.rows
        )
        if cuts.count * max(cuts.passes, 1) > REMEMBERED:
            return ((block, self._steps(block)) for block in made)
        self.known = tuple((block, tuple(self._steps(block))) for block in made)
        return self.known

    def _steps(self, block: _BlockOfC) -> Iterator[_TermStep]:
        for term, depths in enumerate(self.blocks.depths):
            for depth in depths:
                yield _TermStep(self, block, term, depth)

    def _work(self, forms: Forms) -> ProductWork:
        form, blocks, product = self.form, self.blocks, self.product
        outer, item = blocks.count, self.dtypes.work.itemsize
        packed = []
        if not form.in_place:
            for term, many in forms.kinds.items():
                depths, lead = blocks.depths[term], (*blocks.groups.widest, *blocks.stack.widest)
                k, n = depths.widest, blocks.columns.widest
                extents = lead + (n + k if form.turned[term] else k + n)
                again = outer // (len(blocks.rows) if blocks.passes == 1 else 1) * len(depths) * many
                packed.append(copy_work(extents, forms.panel(form, term)[1]).times(again))
            boxes = blocks.sizes["box"] // item * outer * blocks.passes
            packed.append(Copying(boxes, boxes // max(self.col_extents[-1] if self.col_extents else 1, 1)))
        elif form.nested is not None:
            lying = forms.example(form.nested)
            packed.append(copy_work(lying.shape, tuple(s // lying.itemsize for s in lying.strides)))
        if not forms.bound:
            whole = (
                len(blocks.columns) * len(blocks.stack)
                if blocks.sizes["left"] and not any(blocks.whole)
                else 1
            )
            for (a, _), there in zip(product.terms, form.left, strict=True):
                if not there and blocks.sizes["left"]:
                    lying = forms.example(replace(a, batch=form.groups))
                    steps = tuple(s // lying.itemsize for s in lying.strides)
                    packed.append(copy_work(lying.shape, steps).times(whole))
        written = product.batch * product.m * product.n
        cold = 0 if outer * max(blocks.passes, 1) <= REMEMBERED else 12
        sweeps = 2 * max(blocks.passes - 1, 0) + blocks.finish.passes + (0 if form.direct else 1)
        return ProductWork(
            flops=product.flops,
            products=outer * blocks.products * blocks.passes,
            m=blocks.rows.most,
            n=blocks.columns.most,
            k=blocks.deep,
            threads=not self.alone,
            panel=blocks.sizes["panel"],
            copies=sum(packed, Copying()),
            swept=written * sweeps,
            loops=written * sweeps // max(blocks.columns.widest[-1] if self.col_extents else 1, 1),
            calls=outer
            * (cold + 6 + blocks.passes * (4 if form.in_place else 12) + 2 * blocks.finish.passes),
        )


class _BlockOfC:
    """A block of C, worked out as slices and extents."""

    __slots__ = ("columns", "extents", "group", "high", "into", "lead", "matrices", "part", "spans", "stack")

    def __init__(self, step: Blockwise, group: Block, stack: Block, columns: Block, high: Block) -> None:
        self.group, self.stack, self.columns, self.high = group, stack, columns, high
        self.spans = (*group, *stack, *high, *columns)
        self.part = _slices(self.spans)
        self.lead = _slices(group + stack)
        self.into = (
            *self.lead,
            flatten_block(step.row_extents, high),
            flatten_block(step.col_extents, columns),
        )
        self.extents = _lengths(self.spans)
        self.matrices = (*_lengths(group + stack), count(high), count(columns))


class _TermStep:
    """One term and depth of a block: where A and B are in place, and how B's panel is laid out."""

    __slots__ = ("axes", "depth", "flat", "left", "right", "shape", "spans", "term", "turned")

    def __init__(self, step: Blockwise, block: _BlockOfC, term: int, depth: Block) -> None:
        form, columns = step.form, block.columns
        *_, m, n = block.into
        k = flatten_block(step.depth_extents[term], depth)
        self.term, self.depth, self.turned = term, depth, form.turned[term]
        self.left = (*_slices(block.group), *(slice(None),) * len(form.stack), m, k)
        self.right = (*block.lead, k, n)
        self.spans = (*block.group, *block.stack, *depth, *columns)
        lead, high, wide = (_lengths(part) for part in (block.group + block.stack, depth, columns))
        self.shape = lead + (wide + high if self.turned else high + wide)
        self.flat = (
            *lead,
            *((count(columns), count(depth)) if self.turned else (count(depth), count(columns))),
        )
        axes = tuple(range(len(self.shape)))
        first, second = len(lead), len(lead) + len(wide)
        self.axes = axes[:first] + axes[second:] + axes[first:second]


class _BlockwiseCall:
    """One call: the operands, and what is already packed of them."""

    def __init__(
        self, step: Blockwise, operands: Operands, scratch: dict[str, Array], lefts: list[Array | None]
    ) -> None:
        self.step, self.operands, self.scratch, self.lefts = step, operands, scratch, lefts
        self.dtype = step.dtypes.work
        self.held: Block | None = None
        self.panel = scratch["panel"]
        self.x = operands["x"]
        self.sources: list[Array | None] = [None] * len(step.b)
        self.wholes: list[Array | None] = [None] * len(step.b)
        if step.form.in_place and step.nested is None:
            self.wholes = self._wholes()

    def _wholes(self) -> list[Array | None]:
        """B of each term as one stack of matrices in place, where it is."""
        if self.x.dtype != self.dtype:
            return self.wholes
        return [b.matrices(self.x, self.step.form.lead) for b in self.step.b]

    def left_block(self, block: _BlockOfC, step: _TermStep) -> Array:
        """A block of A as (*groups, *stack, rows, depth): in place, or packed."""
        owner, whole = self.step, self.lefts[step.term]
        if whole is not None:
            return whole[step.left]
        reader, w = owner.a[step.term], self.operands["w"]
        virtual, spans, lead = reader.over(w), (*block.group, *block.high, *step.depth), len(block.group)
        made = None
        if w.dtype == self.dtype and not reader.view.conjugate:
            made = stacked_matrices(slice_block(virtual, spans), lead, len(block.high))
        if made is None:
            out = _take(self.scratch["left"], _lengths(spans), self.dtype)
            reader.pack(w, virtual, spans, out, self.scratch["left"][:0])
            made = out.reshape(*out.shape[:lead], count(block.high), count(step.depth))
        return made[owner.apart]

    def right_block(self, block: _BlockOfC, step: _TermStep) -> Array:
        """A block of B as (*groups, *stack, depth, columns): in place, or packed."""
        whole = self.wholes[step.term]
        if whole is not None:
            return whole[step.right]
        if self.held == step.spans and self.step.blocks.passes == 1:
            return self.panel  # the next rows of A meet the same panel
        source = self.sources[step.term]
        reader = self.step.b[step.term]
        if source is None:
            source = self.sources[step.term] = reader.over(self.x)
        out = _take(self.scratch["panel"], step.shape, self.dtype)
        made = out.reshape(step.flat)
        if step.turned:
            out, made = out.transpose(step.axes), made.swapaxes(-1, -2)
        reader.pack(self.x, source, step.spans, out, self.scratch["box"])
        self.held, self.panel = step.spans, made
        return made

    def lower(self, block: _BlockOfC) -> None:
        """Pack the View that B is a View of, for the one value of its batch that a block has."""
        owner, nested = self.step, self.step.nested
        assert nested is not None
        names = (i.name for i in owner.product.c.batch)
        spans = dict(zip(names, block.group + block.stack, strict=True))
        wanted = tuple(spans.get(i.name, (0, 1)) for i in nested.view.batch)
        if self.held == wanted:
            return
        self.held = wanted
        inner = nested.shape[len(wanted) :]
        out = window_of(self.scratch["nested"], (1,) * len(wanted) + inner)
        x = self.operands["x"]
        everything = (*wanted, *((0, extent) for extent in inner))
        nested.pack(x, nested.over(x), everything, out, self.scratch["nested box"])
        # The batch is one image: its axes get stride 0, so any value of their indices reads it.
        self.x = window_of(
            self.scratch["nested"], out.shape, 0, (0,) * len(wanted) + out.strides[len(wanted) :]
        )
        self.wholes = self._wholes()


def _take(run: Array, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Room for a block: of the workspace, or fresh where arrays with unusual strides ask for more than planned."""
    return window_of(run, shape) if run.size >= math.prod(shape) else np.empty(shape, dtype)


def _slices(spans: Block) -> tuple[slice, ...]:
    return tuple(itertools.starmap(slice, spans))


def _lengths(spans: Block) -> Shape:
    return tuple(stop - start for start, stop in spans)


def _matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for stacks of matrices; a column-major `out` is computed as its transpose."""
    if a.shape[-1] == 1:  # NumPy gives these to no BLAS, and its own loop is slower than a plain product
        np.multiply(a, b, out=out)
    elif out.strides[-1] != out.itemsize and out.strides[-2] == out.itemsize:
        np.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out=out.swapaxes(-1, -2))
    else:
        np.matmul(a, b, out=out)
