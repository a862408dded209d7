"""How a product is cut up for a BLAS: what is a matrix where it lies, what is packed in which order, in which blocks.

Nothing here depends on array contents, so it is decided once. First the **form**, which no memory limit changes:

    stack     leading columns (images of a batch, say) taken one value at a time, where that makes B or C matrices
    order     of the depth and of the columns in a panel, and which of both is contiguous there: the order in which
              the array has them, unless the weights or the output lie the other way and are the larger part

then the **blocks**, for a budget of bytes a panel: see `Blocks`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ...lazy_dataclass import dataclass
from ...product import Index, Packing, Product, View, count_values
from ..operands import Array, Dtypes, Shape, aligned_size, contiguous_strides
from .cost import copy_work
from .cuts import Cut, slice_block
from .epilogue import BlockEpilogue
from .scratch import Scratch
from .strided_views import ViewReader, index_strides, stacked_matrices, untouched_array

LEAST_COLUMNS = 128
"""A block has at least this many columns before its sum is cut: narrower ones cost BLAS more than a second pass."""

WIDE = 192
"""Columns from which a stack of products straight into the output beats one product into a tile."""

Indices = tuple[Index, ...]
Extents = Mapping[str, Shape]


@dataclass(frozen=True)
class ProductForm:
    """A product with its stack moved into the batch, and how its operands lie.

    `turned[t]`: the panel of term t has its columns outermost. `left[t]`: A of term t is a stack of matrices in place.
    """

    product: Product
    groups: Indices
    stack: Indices
    in_place: bool
    nested: View | None
    turned: tuple[bool, ...]
    left: tuple[bool, ...]
    direct: bool

    @property
    def lead(self) -> int:
        """How many axes stand before the rows of C and B: groups and stack."""
        return len(self.groups) + len(self.stack)


def _kind(a: View, b: View) -> object:
    return a.cols, tuple(c.terms for c in a.coordinates), b.rows, tuple(c.terms for c in b.coordinates)


class Forms:
    """The forms that one product may take, given the shapes of its operands."""

    def __init__(
        self, product: Product, packing: Packing, dtypes: Dtypes, shapes: Extents, bound: bool
    ) -> None:
        self.product, self.packing, self.dtypes, self.shapes, self.bound = (
            product,
            packing,
            dtypes,
            shapes,
            bound,
        )
        sources = (b.source for _, b in product.terms)
        self.nested = next((source for source in sources if isinstance(source, View)), None)
        self.same = dtypes.array == dtypes.work
        # Terms that differ in nothing but offsets (the taps of kn2row, say) are alike in all that is asked here.
        seen: dict[object, int] = {}
        self.like = [seen.setdefault(_kind(a, b), t) for t, (a, b) in enumerate(product.terms)]
        self.kinds = {t: self.like.count(t) for t in seen.values()}

    def find_best(self) -> ProductForm | None:
        """The form to use; None where B was to be read in place and no BLAS can."""
        cols = self.product.c.cols
        if self.nested is not None or self.packing is Packing.NOTHING:
            alone = {i.name for i in self.nested.batch} if self.nested else set()
            start = max((s + 1 for s, i in enumerate(cols) if i.name in alone), default=0)
            least = next((s for s in range(start, len(cols) + 1) if self._reads(s)), None)
            if least is None or (
                self.nested is None and count_values(cols[least:]) == 1 < count_values(cols)
            ):
                return None  # or a matrix of one column for every pixel, which is none
            return self._form(self._stack_product(least), least, True)
        plain = self._form(self._stack_product(0), 0, False)
        found = [plain, *self._order_forms(0)]
        if not plain.direct:
            deeper = (
                self._form(self._stack_product(s), s, False)
                for s in range(1, len(cols))
                if count_values(cols[s:]) >= WIDE
            )
            stacked = next((form for form in deeper if form.direct), None)
            if stacked is not None:
                found = [stacked, *self._order_forms(len(stacked.stack)), *found]
        return min(found, key=self._nanoseconds)

    def _stack_product(self, s: int) -> Product:
        """The product with its first s column indices as part of the batch."""
        product = self.product
        if not s:
            return product
        stack, cols = product.c.cols[:s], product.c.cols[s:]
        batch = product.c.batch + stack
        terms = tuple((replace(a, batch=batch), replace(b, batch=batch, cols=cols)) for a, b in product.terms)
        e = product.epilogue
        residual = replace(e.residual, batch=batch, cols=cols) if e.residual else None
        return Product(terms, replace(product.c, batch=batch, cols=cols), replace(e, residual=residual))

    def _order_forms(self, s: int) -> Iterator[ProductForm]:
        """Forms with depth or columns in the order in which x has them, and with either contiguous in the panel."""
        base = self._stack_product(s)
        yield self._form(base, s, False, turned=True)
        if not base.terms:
            return
        cols = self._sort_indices(base.terms[0][1], base.c.cols)
        rows = [self._sort_indices(b, b.rows) for _, b in base.terms]
        by_columns = [base] if cols == base.c.cols else [base, _columns(base, cols)]
        for product in by_columns:
            sorted_terms = tuple(
                (replace(a, cols=order), replace(b, rows=order))
                for (a, b), order in zip(product.terms, rows, strict=True)
            )
            by_depth = replace(product, terms=sorted_terms)
            for other, turned in itertools.product((product, by_depth), (False, True)):
                if other != base:
                    yield self._form(other, s, False, turned)

    def _sort_indices(self, view: View, indices: Indices) -> Indices:
        lying = self.example(view)
        strides = dict(zip((i.name for i in view.indices), lying.strides, strict=True))
        return tuple(sorted(indices, key=lambda i: -abs(strides[i.name])))

    def _form(self, product: Product, s: int, in_place: bool, turned: bool = False) -> ProductForm:
        batch = product.c.batch
        groups, stack = batch[: len(batch) - s], batch[len(batch) - s :]
        there = {t: self._uses_left_in_place(product.terms[t][0], len(groups)) for t in self.kinds}
        left = tuple(there[t] for t in self.like)
        direct = (
            self.dtypes.out == self.dtypes.work
            and product.epilogue.residual is None
            and stacked_matrices(self.example(product.c), len(batch), len(product.c.rows)) is not None
        )
        return ProductForm(
            product, groups, stack, in_place, self.nested, (turned,) * len(product.terms), left, direct
        )

    def _uses_left_in_place(self, a: View, groups: int) -> bool:
        """Whether A can be used where it lies, once its stack (along which it does not move) is gone."""
        if self.bound or a.conjugate or not self.same:
            return False
        return (
            stacked_matrices(self.example(replace(a, batch=a.batch[:groups])), groups, len(a.rows))
            is not None
        )

    def _reads(self, s: int) -> bool:
        product = self._stack_product(s)
        if self.nested is None and not self.same:
            return False
        return all(
            b.inside
            and not b.conjugate
            and stacked_matrices(self.example(b), len(b.batch), len(b.rows)) is not None
            for _, b in (product.terms[t] for t in self.kinds)
        )

    def example(self, view: View) -> Array:
        """The View over a contiguous array nobody touches."""
        if isinstance(view.source, View):
            inner = view.source.rows + view.source.cols
            return untouched_array(
                view, (1,) * len(view.source.batch) + tuple(i.extent for i in inner), self.dtypes.work
            )
        dtype = self.dtypes.out if view.source in ("y", "residual") else self.dtypes.array
        return untouched_array(view, self.shapes[view.source], dtype)

    def _nanoseconds(self, form: ProductForm) -> float:
        """What packing B, packing A and storing C take, about: to weigh one order against another."""
        product = form.product
        total = sum(copy_work(*self.panel(form, t)).nanoseconds * many for t, many in self.kinds.items())
        if not self.bound:
            packed = (a for (a, _), there in zip(product.terms, form.left, strict=True) if not there)
            total += sum(count_values(a.rows + a.cols + form.groups) for a in packed)
        if not form.direct:
            total += product.batch * product.m * product.n * 0.5
        return total

    def panel(self, form: ProductForm, term: int) -> tuple[Shape, Shape]:
        """The extents and the source's strides of B, its axes in the order in which the panel has them."""
        _, b = form.product.terms[term]
        if not b.inside and b.elements:
            reader = ViewReader(b)  # by arithmetic: the whole box may be more than an array can be
            strides = index_strides(reader.boxed, contiguous_strides(reader.box_shape(reader.shape), 1))
        else:
            lying = self.example(b)
            strides = tuple(stride // lying.itemsize for stride in lying.strides)
        lead, rows = len(b.batch), len(b.rows)
        axes = list(range(len(strides)))
        if form.turned[term]:
            axes = axes[:lead] + axes[lead + rows :] + axes[lead : lead + rows]
        return tuple(b.indices[a].extent for a in axes), tuple(strides[a] for a in axes)


def _columns(product: Product, cols: Indices) -> Product:
    """The same product with its columns in another order."""
    e = product.epilogue
    residual = replace(e.residual, cols=cols) if e.residual else None
    terms = tuple((a, replace(b, cols=cols)) for a, b in product.terms)
    return Product(terms, replace(product.c, cols=cols), replace(e, residual=residual))


def _alone(indices: Indices, nested: View) -> Cut:
    """One value at a time of the indices that choose what the nested View packs, all values of the others."""
    names = {i.name for i in nested.batch}
    extents = tuple(i.extent for i in indices)
    return Cut(extents, tuple(1 if i.name in names else max(i.extent, 1) for i in indices))


def _cut_repeats(groups: Indices, product: Product) -> Cut:
    """One value at a time of the indices along which no B moves: stored whole, each would be the same once more."""
    moved = {name for _, b in product.terms for coordinate in b.coordinates for name, _ in coordinate.terms}
    extents = tuple(i.extent for i in groups)
    return Cut(extents, tuple(max(i.extent, 1) if i.name in moved or i is groups[0] else 1 for i in groups))


class Blocks:
    """A form cut up for a budget of bytes a panel, and the bytes of scratch that this takes.

    Columns are as many as fit the budget, at least LEAST_COLUMNS; a sum that then makes a panel over four times the
    budget is cut, too; rows only where a tile would be. Where nothing is packed and nothing is left to do with a
    finished block, everything is one block.

    `sizes` are the bytes of each run of scratch; `whole[t]`: A of term t is one stack of matrices while running.
    """

    def __init__(self, form: ProductForm, forms: Forms, packing: Packing, budget: int, limit: int) -> None:
        product, dtypes = form.product, forms.dtypes
        item = dtypes.work.itemsize
        m, n = product.m, product.n
        deepest = max((count_values(b.rows) for _, b in product.terms), default=0)
        self.finish = BlockEpilogue(product.epilogue, product.c, dtypes.work)
        whole = packing is Packing.WHOLE and form.nested is None
        one = whole or (form.in_place and form.direct and self.finish.empty)
        least = max(min(budget // (64 * item), LEAST_COLUMNS, n), 1)
        across = m if form.in_place else deepest
        columns = n if one else max(budget // (item * max(across, 1)), least)
        tall = min(columns, max(n, 1))
        depth = (
            deepest
            if form.in_place or whole or tall * deepest * item <= 4 * budget
            else budget // (item * tall)
        )
        if not (forms.bound or all(form.left) or whole):
            # A sum over images: A is a matrix in each image where it lies, and nowhere across two.
            inner = max((count_values(b.rows[1:]) for _, b in product.terms), default=0)
            depth = min(depth, inner) if inner >= WIDE else depth
        rows = m if one else 4 * budget // (item * tall)
        many = columns // max(n, 1) if not one else count_values(form.stack) * count_values(form.groups)
        self.columns = Cut.into(product.c.cols, max(columns, 1), multiple=16)
        self.rows = Cut.into(product.c.rows, max(rows, 1))
        self.depths = [Cut.into(b.rows, max(depth, 1), multiple=16) for _, b in product.terms]
        stack, groups = max(many, 1), max(many // max(count_values(form.stack), 1), 1)
        self.stack, self.groups = Cut.into(form.stack, stack), Cut.into(form.groups, groups)
        if form.nested is not None:
            self.stack, self.groups = (_alone(part, form.nested) for part in (form.stack, form.groups))
        elif whole:
            self.groups = _cut_repeats(form.groups, product)
        self.passes = sum(len(d) for d in self.depths)
        self.deep = max((d.most for d in self.depths), default=0)
        self.products = self.groups.most * self.stack.most

        tile = self.products * self.rows.most * self.columns.most * item
        panel = 0 if form.in_place else self.products * self.deep * self.columns.most * item
        self.sizes = {
            "panel": panel,
            "box": self._box(form, forms, panel, item),
            "nested": count_values(form.nested.rows + form.nested.cols) * item if form.nested else 0,
            "nested box": self._size_nested_box(form, item),
            "tile": 0 if form.direct else tile,
            "spare": tile if self.passes > 1 or self.finish.scratch else 0,
            "left": 0,
        }
        self.whole = tuple(forms.bound or there for there in form.left)
        if not all(self.whole) and not self._blocks_in_place(form, forms):
            packed = sum(count_values(a.rows + a.cols + form.groups) * item for a, _ in product.terms)
            if self.workspace + aligned_size(packed) + 64 <= limit:
                self.sizes["left"] = packed
                self.whole = (True,) * len(self.whole)
            else:
                self.sizes["left"] = self.groups.most * self.rows.most * self.deep * item

    @property
    def workspace(self) -> int:
        """Bytes of scratch."""
        return Scratch(self.sizes, self.finish.work).bytes

    @property
    def count(self) -> int:
        """How many blocks C has."""
        return len(self.groups) * len(self.stack) * len(self.columns) * len(self.rows)

    def _box(self, form: ProductForm, forms: Forms, panel: int, item: int) -> int:
        """Bytes for what a block reaches, if it may reach outside and that is no more than its panel."""
        if not panel or all(b.inside for _, b in form.product.terms):
            return 0
        most = 0
        for t in forms.kinds:
            (_, b), depth = form.product.terms[t], self.depths[t]
            widest = self.groups.widest + self.stack.widest + depth.widest + self.columns.widest
            most = max(most, ViewReader(b).box_elements(widest) * item)
        return most if most <= max(panel, 4096) else 0

    def _size_nested_box(self, form: ProductForm, item: int) -> int:
        nested = form.nested
        if nested is None or nested.inside:
            return 0
        widest = (1,) * len(nested.batch) + tuple(i.extent for i in nested.rows + nested.cols)
        needed = ViewReader(nested).box_elements(widest)
        return needed * item if needed <= count_values(nested.rows + nested.cols) else 0

    def _blocks_in_place(self, form: ProductForm, forms: Forms) -> bool:
        """Whether A, no stack of matrices as a whole, is one block by block (an image of dy, say)."""
        if forms.bound or not forms.same or any(a.conjugate for a, _ in form.product.terms):
            return False
        groups = len(form.groups)
        for (a, _), there, depths in zip(form.product.terms, form.left, self.depths, strict=True):
            # The first block tells: later ones differ in the extent of the one axis that is cut, the outermost.
            lying = forms.example(replace(a, batch=form.groups))
            first = (*self.groups.widest, *self.rows.widest, *depths.widest)
            block = slice_block(lying, tuple((0, extent) for extent in first))
            if not there and stacked_matrices(block, groups, len(a.rows)) is None:
                return False
        return True
