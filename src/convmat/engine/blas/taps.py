"""Products too thin for a BLAS: every depth index (a tap) is one multiplication and addition of whole images.

    tile[row, cols] += A[row, tap] * box[cols * step + tap]        for each tap, block by block

x is copied to a box first: with its padding, in the type of the sums, its axes in the order of the tile's, so that
NumPy's inner loops run along memory. That order is y's own, or, where y's last axis is short, the batch (groups,
say) innermost: one inner loop is then as long as there are groups.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from ...product import Product, count_values
from ..operands import Array, Block, Dtypes, Operands
from .blocking import Extents
from .cost import Copying, ProductWork
from .cuts import Cut, slice_block
from .epilogue import BlockEpilogue
from .scratch import Scratch
from .strided_views import ViewReader, untouched_array

MOST_PASSES = 4096
"""Rows of A times taps, at most: each is a pass over the output, and a thicker product is a BLAS's."""

SHORT = 64
"""An innermost axis of y below this is too short a loop to pay for its start."""


class Taps:
    """One product with one term, in blocks of about `budget` bytes of C."""

    alone = True

    def __init__(self, product: Product, dtypes: Dtypes, shapes: Extents, budget: int, bound: bool) -> None:
        ((a, b),) = product.terms or ((None, None),)
        self.product, self.dtypes, self.bound = product, dtypes, bound
        item, c = dtypes.work.itemsize, product.c
        lead, high = len(c.batch), len(c.rows)
        self.order, self.inward = self._order(untouched_array(c, shapes["y"], dtypes.out))
        self.finish = BlockEpilogue(product.epilogue, c, dtypes.work)
        self.c = ViewReader(c)

        many = max(budget // (item * max(product.m, 1)), 1)
        if self.inward:
            self.groups = Cut.into(c.batch, many)
            self.columns = Cut.into(c.cols, max(many // max(self.groups.most, 1), 1))
        else:
            self.columns = Cut.into(c.cols, many, multiple=16)
            self.groups = Cut.into(c.batch, max(many // max(product.n, 1), 1))
        tile = self.groups.most * product.m * self.columns.most

        # A as (taps, *the rest in the tile's order): one factor per tap, its columns left out.
        self.a = self.b = None
        self.boxed = False
        box = weights = 0
        if a is not None and b is not None:
            kept = tuple(c.indices[i] for i in self.order if i < lead + high)
            self.a = ViewReader(replace(a, batch=(), rows=a.cols, cols=kept))
            weights = self.a.view.elements
            moved = {i.name for i in c.batch} if self.inward else set()
            axes = range(len(b.coordinates))
            inner = [axis for axis in axes if moved & {name for name, _ in b.coordinates[axis].terms}]
            self.b = ViewReader(b, tuple(axis for axis in axes if axis not in inner) + tuple(inner))
            self.boxed = self.inward or not b.inside or b.conjugate or dtypes.array != dtypes.work
            widest = self.groups.widest + tuple(i.extent for i in b.rows) + self.columns.widest
            box = self.b.box_elements(widest) if self.boxed else 0
        # NumPy copies an output in which it cannot see at once that no two elements share a place: phases side by side.
        dense = all(by == 1 for coordinate in c.coordinates for _, by in coordinate.terms)
        plain = dtypes.out == dtypes.work and product.epilogue.residual is None
        self.direct = dense and plain and not self.inward
        self.sizes = {
            "box": box * item,
            "tile": 0 if self.direct else tile * item,
            "spare": tile * item,
            "left": 0 if bound else weights * item,
        }
        self.scratch = Scratch(self.sizes, dtypes.work)
        self.workspace = self.scratch.bytes
        self.weight_bytes = weights * item if bound else 0
        self.work = self._work(box)

    def _order(self, y: Array) -> tuple[tuple[int, ...], bool]:
        """The tile's axes, outermost first, as positions among C's indices; whether the batch is innermost."""
        c = self.product.c
        lead, high = len(c.batch), len(c.rows)
        long = [axis for axis in range(y.ndim) if y.shape[axis] > 1]
        lying = tuple(sorted(range(y.ndim), key=lambda axis: -abs(y.strides[axis])))
        last = min(long, key=lambda axis: abs(y.strides[axis]), default=0)
        short = last < lead + high or y.shape[last] < min(SHORT, self.product.batch)
        if not c.batch or self.product.batch == 1 or not short:
            return lying, False
        columns = tuple(axis for axis in lying if axis >= lead + high)
        return (*range(lead, lead + high), *columns, *range(lead)), True

    # -- running ------------------------------------------------------------------------------------------------------

    def bind(self, w: Array) -> list[Array]:
        """Pack A: its factors, tap by tap."""
        return [] if self.a is None else [self._pack(w, np.empty(self.a.view.elements, self.dtypes.work))]

    def _pack(self, w: Array, store: Array) -> Array:
        assert self.a is not None
        out = store[: self.a.view.elements].reshape(self.a.shape)
        self.a.pack(w, self.a.over(w), tuple((0, e) for e in self.a.shape), out, store[:0])
        return out

    def run(self, operands: Operands, weights: list[Array] | None, buffer: Array) -> None:
        """Compute the product; `weights` are what `bind` made, None takes operands["w"] as it is."""
        scratch = self.scratch.over(buffer)
        c = self.c.over(operands["y"])
        finishing = None if self.finish.empty else self.finish.over(operands)
        factors = None
        if self.a is not None:
            packed = weights[0] if weights is not None else self._pack(operands["w"], scratch["left"])
            factors = self._factors(packed)
        all_rows = tuple((0, i.extent) for i in self.product.c.rows)
        for group, columns in ((group, columns) for group in self.groups for columns in self.columns):
            block = (*group, *all_rows, *columns)
            target = slice_block(c, block)
            shape = tuple(target.shape[i] for i in self.order)
            elements = math.prod(shape)
            tile = target.transpose(self.order)
            if not self.direct:
                tile = scratch["tile"][:elements].reshape(shape)
            spare = scratch["spare"][:elements].reshape(shape)
            if factors is None or not len(factors):
                tile[...] = 0
            else:
                self._sweep(
                    tile, spare, self._images(operands["x"], group, columns, scratch["box"]), factors, group
                )
            straight = tile.transpose(sorted(range(len(self.order)), key=self.order.__getitem__))
            if finishing is not None:
                finishing(straight, block, scratch["spare"])
            if not self.direct:
                np.copyto(target, straight, casting="unsafe")

    def _factors(self, packed: Array) -> Array:
        """(taps, *tile axes): extents of 1 where a factor does not depend on an axis."""
        assert self.a is not None
        fixed = len(self.product.c.batch) + len(self.product.c.rows)
        extents = [self.product.c.indices[i].extent if i < fixed else 1 for i in self.order]
        return packed.reshape(count_values(self.a.view.rows), *extents)

    def _images(self, x: Array, group: Block, columns: Block, store: Array) -> Array:
        """(*taps, *tile axes): for each tap what it multiplies, an extent of 1 along the rows."""
        assert self.b is not None
        view, c = self.b.view, self.product.c
        block = (*group, *((0, i.extent) for i in view.rows), *columns)
        if self.boxed:
            made = self.b.box(x, block, store)
        else:
            made = slice_block(self.b.over(x), block)
        lead, taps, high = len(group), len(view.rows), len(c.rows)
        made = made.transpose(*range(lead, lead + taps), *range(lead), *range(lead + taps, made.ndim))
        made = made[(slice(None),) * (taps + lead) + (None,) * high]
        return made.transpose(*range(taps), *(taps + i for i in self.order))

    def _sweep(self, tile: Array, spare: Array, images: Array, factors: Array, group: Block) -> None:
        """tile = sum over taps of factor * image."""
        place = dict(enumerate(itertools.starmap(slice, group)))
        mine = factors[(slice(None), *(place.get(i, slice(None)) for i in self.order))]
        taps = itertools.product(*(range(e) for e in images.shape[: images.ndim - tile.ndim]))
        for number, tap in enumerate(taps):
            if number == 0:
                np.multiply(images[tap], mine[number], out=tile)
            else:
                np.multiply(images[tap], mine[number], out=spare)
                np.add(tile, spare, out=tile)

    def _work(self, box: int) -> ProductWork:
        product, blocks = self.product, len(self.groups) * len(self.columns)
        written = product.batch * product.m * product.n
        longest = max(product.c.indices[self.order[-1]].extent if self.order else 1, 1)
        moved = blocks * box
        copies = Copying(moved, moved // longest, 0, moved if self.inward else 0)
        if not self.direct:
            copies += Copying(written, written // longest, 0, written if self.inward else 0)
        passes = max(2 * product.k - 1, 1)
        return ProductWork(
            copies=copies,
            tapped=written * passes,
            loops=written * (passes + self.finish.passes) // longest,
            swept=written * self.finish.passes,
            calls=blocks * (4 * product.k + 20),
        )
