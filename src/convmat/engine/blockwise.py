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
from dataclasses import replace
from typing import Any

import numpy as np

from ..product import size
from . import blasthreads
from .blocking import Blocks, Copying, Form, Forms, copying
from .finish import Operands
from .memory import Array, Block, Reader, at, carve, count, cut, flat, matrices
from .work import Work

Weights = list[Array]


class Blockwise:
    """One product in blocks: `workspace` bytes of scratch a run, `weight_bytes` that `bind` packs."""

    def __init__(self, forms: Forms, form: Form, blocks: Blocks) -> None:
        self.form, self.blocks, self.dtypes, self.bound = form, blocks, forms.dtypes, forms.bound
        product = self.product = form.product
        self.workspace = blocks.workspace
        plain = [replace(a, batch=form.groups) for a, _ in product.terms]  # A does not move along the stack
        self.a = [Reader(a) for a in plain]
        self.b = [Reader(b) for _, b in product.terms]
        self.c = Reader(product.c)
        self.nested = Reader(form.nested) if form.nested is not None else None
        self.weight_bytes = sum(a.elements for a in plain) * self.dtypes.work.itemsize if forms.bound else 0
        self.row_extents = tuple(i.extent for i in product.c.rows)
        self.col_extents = tuple(i.extent for i in product.c.cols)
        self.depth_extents = [tuple(i.extent for i in b.rows) for _, b in product.terms]
        self.alone = 2 * blocks.rows.most * blocks.columns.most * blocks.deep < blasthreads.WORTH_TWO
        self.work = self._work(forms)

    # -- weights ------------------------------------------------------------------------------------------------------

    def bind(self, w: Array) -> Weights:
        """Pack A: for each term the matrices (*groups, m, k), contiguous."""
        return [self._packed(reader, w, None) for reader in self.a]

    def _packed(self, reader: Reader, w: Array, store: Array | None) -> Array:
        view = reader.view
        elements = view.elements
        store = np.empty(elements, self.dtypes.work) if store is None else store[:elements]
        spans = tuple((0, i.extent) for i in view.indices)
        reader.pack(w, reader.over(w), spans, store.reshape(reader.shape), store[:0])
        return store.reshape(*(i.extent for i in view.batch), size(view.rows), size(view.cols))

    def _left(self, w: Array, store: Array) -> list[Array | None]:
        """A of each term as one stack of matrices, in place or packed whole; None: block by block."""
        found: list[Array | None] = []
        for reader, whole in zip(self.a, self.blocks.whole, strict=True):
            made = None
            if whole:
                virtual = reader.over(w)
                if not reader.view.conjugate and w.dtype == self.dtypes.work:
                    made = matrices(virtual, len(self.form.groups), len(reader.view.rows))
                if made is None:
                    room = store if store.size >= reader.view.elements else None
                    made = self._packed(reader, w, room)
                    store = store[reader.view.elements :]
            found.append(made)
        return found

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, operands: Operands, weights: Weights | None, buffer: Array) -> None:
        """Compute the product; `weights` are what `bind` made, None takes operands["w"] as it is."""
        form, blocks, sizes = self.form, self.blocks, self.blocks.sizes
        scratch = {
            name: run.view(self.dtypes.work)
            for name, run in zip(sizes, carve(buffer, list(sizes.values())), strict=True)
        }
        lead, rows = form.lead, len(self.row_extents)
        lefts: list[Array | None] = (
            list(weights) if weights is not None else self._left(operands["w"], scratch["left"])
        )
        apart = (slice(None),) * len(form.groups) + (None,) * len(form.stack)
        lefts = [None if left is None else left[apart] for left in lefts]
        c = self.c.over(operands["y"])
        whole = matrices(c, lead, rows) if form.direct else None
        finishing = None if blocks.finish.empty else blocks.finish.over(operands)
        run = _Run(self, operands, scratch, lefts)
        for group, stack, columns, high in itertools.product(
            blocks.groups, blocks.stack, blocks.columns, blocks.rows
        ):
            block = (*group, *stack, *high, *columns)
            place = tuple(itertools.starmap(slice, group + stack))
            target = cut(c, block)
            if whole is not None:
                into = whole[(*place, flat(self.row_extents, high), flat(self.col_extents, columns))]
                tile = target
            else:
                tile = _take(scratch["tile"], tuple(b - a for a, b in block), self.dtypes.work)
                into = tile.reshape(*tile.shape[:lead], count(high), count(columns))
            run.multiply(into, group, stack, high, columns)
            if finishing is not None:
                finishing(tile, block, scratch["spare"])
            if whole is None:
                np.copyto(target, tile, casting="unsafe")

    def _work(self, forms: Forms) -> Work:
        form, blocks, product = self.form, self.blocks, self.product
        outer, item = blocks.count, self.dtypes.work.itemsize
        packed = []
        if not form.in_place:
            for term, depths in enumerate(blocks.depths):
                lead = (*blocks.groups.widest, *blocks.stack.widest)
                k, n = depths.widest, blocks.columns.widest
                extents = lead + (n + k if form.turned[term] else k + n)
                again = outer // (len(blocks.rows) if blocks.passes == 1 else 1) * len(depths)
                packed.append(copying(extents, forms.panel(form, term)[1]).times(again))
            boxes = blocks.sizes["box"] // item * outer * blocks.passes
            packed.append(Copying(boxes, boxes // max(self.col_extents[-1] if self.col_extents else 1, 1), 0))
        elif form.nested is not None:
            lying = forms.example(form.nested)
            packed.append(copying(lying.shape, tuple(s // lying.itemsize for s in lying.strides)))
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
                    packed.append(copying(lying.shape, steps).times(whole))
        written = product.batch * product.m * product.n
        sweeps = 2 * max(blocks.passes - 1, 0) + blocks.finish.passes + (0 if form.direct else 1)
        return Work(
            flops=product.flops,
            products=outer * blocks.products * blocks.passes,
            m=blocks.rows.most,
            n=blocks.columns.most,
            k=blocks.deep,
            threads=not self.alone,
            copied=sum(c.elements for c in packed),
            loops=sum(c.loops for c in packed),
            apart=sum(c.apart for c in packed),
            swept=written * sweeps,
            calls=outer * (6 + blocks.passes * (4 if form.in_place else 12) + 2 * blocks.finish.passes),
        )


class _Run:
    """One call: the operands, and what is already packed of them."""

    def __init__(
        self, step: Blockwise, operands: Operands, scratch: dict[str, Array], lefts: list[Array | None]
    ) -> None:
        self.step, self.operands, self.scratch, self.lefts = step, operands, scratch, lefts
        self.dtype = step.dtypes.work
        self.held: tuple[Block, ...] | None = None
        self.right: Array | None = None
        self.sources: list[Array] = []
        self.wholes: list[Array | None] = []
        if step.nested is None:
            self._look(operands["x"], [b.over(operands["x"]) for b in step.b])

    def _look(self, x: Array, sources: list[Array]) -> None:
        """Take these virtual arrays of B, and those that are stacks of matrices as such."""
        self.x, self.sources = x, sources
        form = self.step.form
        self.wholes = [
            matrices(source, form.lead, len(b.view.rows))
            if form.in_place and source.dtype == self.dtype
            else None
            for source, b in zip(sources, self.step.b, strict=True)
        ]

    def multiply(self, into: Array, group: Block, stack: Block, high: Block, columns: Block) -> None:
        """The sum over terms and depths of one block."""
        step, first = self.step, True
        if step.nested is not None:
            self._lower(group, stack)
        for term, depths in enumerate(step.blocks.depths):
            for depth in depths:
                right = self._right(term, group, stack, depth, columns)
                left = self._left(term, group, high, depth)
                if first:
                    _matmul(left, right, into)
                    first = False
                else:
                    more = _take(self.scratch["spare"], into.shape, self.dtype)
                    _matmul(left, right, more)
                    np.add(into, more, out=into)
        if first:
            into[...] = 0

    def _left(self, term: int, group: Block, high: Block, depth: Block) -> Array:
        step, left = self.step, self.lefts[term]
        rows, columns = flat(step.row_extents, high), flat(step.depth_extents[term], depth)
        if left is not None:
            stack = (slice(None),) * len(step.form.stack)
            return left[(*itertools.starmap(slice, group), *stack, rows, columns)]
        reader, w = step.a[term], self.operands["w"]
        virtual, block = reader.over(w), (*group, *high, *depth)
        made, lead = None, len(group)
        if w.dtype == self.dtype and not reader.view.conjugate:
            made = matrices(cut(virtual, block), lead, len(high))
        if made is None:
            out = _take(self.scratch["left"], tuple(b - a for a, b in block), self.dtype)
            reader.pack(w, virtual, block, out, out.reshape(-1)[:0])
            made = out.reshape(*out.shape[:lead], count(high), count(depth))
        return made[(slice(None),) * lead + (None,) * len(step.form.stack)]

    def _right(self, term: int, group: Block, stack: Block, depth: Block, columns: Block) -> Array:
        """One block of B as (*groups, *stack, depth, columns): in place, or packed."""
        step, whole = self.step, self.wholes[term]
        lead = (*group, *stack)
        if whole is not None:
            rows = flat(step.depth_extents[term], depth)
            return whole[(*itertools.starmap(slice, lead), rows, flat(step.col_extents, columns))]
        key = (lead, depth, columns)
        if step.blocks.passes == 1 and self.held == key and self.right is not None:
            return self.right  # the next rows of A meet the same panel
        extents = tuple(b - a for a, b in lead)
        k, n = tuple(b - a for a, b in depth), tuple(b - a for a, b in columns)
        turned = step.form.turned[term]
        out = _take(self.scratch["panel"], extents + (n + k if turned else k + n), self.dtype)
        flatter = (
            (*extents, count(columns), count(depth)) if turned else (*extents, count(depth), count(columns))
        )
        made = out.reshape(flatter)
        if turned:
            axes = range(out.ndim)
            out = out.transpose(
                *axes[: len(lead)], *axes[len(lead) + len(n) :], *axes[len(lead) : len(lead) + len(n)]
            )
            made = made.swapaxes(-1, -2)
        reader = step.b[term]
        reader.pack(self.x, self.sources[term], (*lead, *depth, *columns), out, self.scratch["box"])
        self.held, self.right = key, made
        return made

    def _lower(self, group: Block, stack: Block) -> None:
        """Pack the View that B is a View of, for the one value of its batch that a block has."""
        step, nested = self.step, self.step.nested
        assert nested is not None
        spans = dict(zip((i.name for i in step.product.c.batch), group + stack, strict=True))
        wanted = tuple(spans.get(i.name, (0, 1)) for i in nested.view.batch)
        if self.held == (wanted,):
            return
        self.held = (wanted,)
        inner = nested.shape[len(wanted) :]
        store = self.scratch["nested"][: math.prod(inner)]
        out = store.reshape((1,) * len(wanted) + inner)
        x = self.operands["x"]
        nested.pack(x, nested.over(x), (*wanted, *((0, e) for e in inner)), out, self.scratch["nested box"])
        # The batch is one image: its axes get stride 0, so any value of their indices reads it.
        same = at(
            store.__array_interface__["data"][0],
            (1,) * len(wanted) + inner,
            (0,) * len(wanted) + out.strides[len(wanted) :],
            out.dtype,
        )
        self._look(same, [b.over(same) for b in step.b])


def _take(run: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Room for a block: of the workspace, or fresh where arrays with unusual strides ask for more than planned."""
    elements = math.prod(shape)
    return (run if run.size >= elements else np.empty(elements, dtype))[:elements].reshape(shape)


def _matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for stacks of matrices; a column-major `out` is computed as its transpose."""
    if out.strides[-1] != out.itemsize and out.strides[-2] == out.itemsize:
        np.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out=out.swapaxes(-1, -2))
    else:
        np.matmul(a, b, out=out)
