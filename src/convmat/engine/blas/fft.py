"""Products with Fourier transforms: spectra of windows, multiplied frequency by frequency.

    for each block of columns:
        tiles = windows of B, packed            (groups, depth, columns, *window)
        U     = their spectra                   (groups, depth, columns, *points)
        for each block of rows:
            Y    = A * U, or one product of matrices for each point where A has more than a few rows and columns
            tile = its inverse, without what has wrapped around
            take by the definition what of it is not finite, or too large
            finish the tile and store what of it lies inside C

Blocks of columns are shared out among threads, each with scratch of its own: NumPy and pocketfft let go of Python's
lock. Spectra of A are kept by `bind` as the products read them. The depth is cut too where a limit leaves no other way:
windows are then transformed again for each block of rows. pocketfft's lines in work are its own, like BLAS's buffers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextvars import copy_context

import numpy as np

from ...product import Fourier, Product, count_values
from ..operands import Array, Block, Dtypes, Operands, Shape, count
from . import fft_backend
from .cost import Copying, ProductWork
from .cuts import Cut, flatten_block
from .definition import Definition
from .epilogue import BlockEpilogue
from .fft_call import FftCall, corner, extents_of, part_of
from .scratch import Scratch
from .strided_views import REMEMBERED, ViewReader, coordinate_range, inside_interval, part_inside

FEW = 16
"""Rows times columns of A up to which whole spectra are multiplied and added: turning them for a BLAS costs more."""

BUDGET = 4 << 20
"""Bytes of a block's windows and spectra: more would not be found in a cache."""

LEAST_COLUMNS = 16
"""Columns of a product of matrices that are not given up for rows."""


class Transformed:
    """One product with Fourier transforms: `workspace` bytes of scratch and of new arrays in a run."""

    alone = True

    def __init__(
        self,
        product: Product,
        transforms: tuple[Fourier, ...],
        dtypes: Dtypes,
        limit: int,
        bound: bool,
        threads: int,
    ) -> None:
        ((a, b),) = product.terms
        self.product, self.dtypes, self.bound = product, dtypes, bound
        self.real = dtypes.work.kind == "f"
        self.spectrum = fft_backend.spectrum_type(dtypes.work)
        self.groups = product.groups(product.c)
        self.window = tuple(t.window for t in transforms)
        self.points = tuple(t.points for t in transforms)
        self.kept = tuple(t.windows[2] for t in transforms)
        self.thin = count_values(a.cols) == 1 or product.m * count_values(a.cols) <= FEW
        turned = len(transforms)
        self.a, self.b, self.c = ViewReader(a), ViewReader(b), ViewReader(product.c)
        self.axes = [axis - turned for axis in range(turned) if self.window[axis] > 1]
        self.finish = BlockEpilogue(product.epilogue, product.c, dtypes.work)
        self.definition = Definition(product)
        self.taps = tuple(i.extent for i in product.windows(a))
        self.known: dict[Block, tuple[_Piece, ...]] = {}
        self.lanes = threads
        self._cut_to_fit(limit)
        if threads > 1 and (self.workspace > limit or len(self.cuts[0]) * len(self.cuts[1]) < threads):
            self.lanes = 1
            self._cut_to_fit(limit)
        kept = math.prod(self._filters()) * dtypes.work.itemsize
        self.weight_bytes = self._weights() * self.spectrum.itemsize + kept if bound else 0
        self.work = self._work()

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _cut_to_fit(self, limit: int) -> None:
        """Blocks of groups, columns, rows and depth that keep to the limit, if there are any."""
        p, (a, b) = self.product, self.product.terms[0]
        # Two blocks for each thread at least, so that one who comes late is not waited for.
        many = [1, -(-p.n // (2 * self.lanes)) if self.lanes > 1 else p.n, p.m, count_values(a.cols)]
        limit //= self.lanes
        budget = min(limit, BUDGET)
        groups, n, m, k = range(4)
        while self._bytes(many) > budget:
            whole = self._bytes(many) > limit
            if many[n] > (1 if self.thin else LEAST_COLUMNS):
                at = n
            elif many[m] > LEAST_COLUMNS:
                at = m
            elif whole and max(many[n], many[m]) > 1:
                at = n if many[n] > 1 else m
            elif whole and many[k] > 1:
                at = k
            else:
                break
            many[at] = -(-many[at] // 2)
        while many[groups] < count_values(self.groups) // self.lanes:
            more = [min(2 * many[groups], count_values(self.groups)), *many[1:]]
            if self._bytes(more) > budget:
                break
            many = more
        self.cuts = [
            Cut.into(indices, target)
            for indices, target in zip((self.groups, p.c.cols, p.c.rows, b.rows), many, strict=True)
        ]
        self.sizes = self._sizes(many)
        self.scratch = Scratch(self.sizes, np.dtype(np.uint8), self.lanes)
        self.beside = self._beside(many)
        # What `bind` takes beside the spectra that it leaves, a few filters at a time.
        spectra = math.prod(self.points) * fft_backend.spectra_held(self.spectrum) * self.spectrum.itemsize
        one = (math.prod(self.taps) + math.prod(self.window)) * self.dtypes.work.itemsize + spectra
        self.workspace = max(self.scratch.bytes + self.lanes * self.beside, one + SMALL)
        self.filters = (self.workspace - SMALL) // one

    def _bytes(self, many: list[int]) -> int:
        """Bytes that blocks of these sizes take."""
        return sum(self._sizes(many).values()) + self._beside(many)

    def _sizes(self, many: list[int]) -> dict[str, int]:
        """Bytes of the named parts of the scratch."""
        groups, n, m, k = many
        item, wide = self.dtypes.work.itemsize, self.spectrum.itemsize
        window, points = math.prod(self.window), math.prod(self.points)
        p, (a, b) = self.product, self.product.terms[0]
        cuts = [
            Cut.into(indices, target).widest
            for indices, target in zip((self.groups, p.c.cols, b.rows), (groups, n, k), strict=True)
        ]
        box = 0 if b.inside else self.b.box_elements((*cuts[0], *self.window, *cuts[2], *cuts[1]))
        taps = math.prod(self.taps)
        more = count_values(a.cols) > k or (self.thin and k > 1)
        # Transforms of real arrays are new ones: what they were made of is free for windows taken by the definition.
        again = 0 if self.real else 1
        return {
            "tiles": groups * k * n * window * item,
            "box": box * item,
            "turned": 0 if self.thin else groups * k * n * points * wide,
            "product": 0 if self.thin else groups * m * n * points * wide,
            "sum": groups * m * n * points * wide,
            "more": groups * m * n * points * wide if more else 0,
            "spare": groups * m * n * math.prod(self.kept) * item if self.finish.scratch else 0,
            "window": again * k * window * item,
            "terms": again * math.prod(self.kept) * item,
            "taps": 0 if self.bound else groups * m * k * taps * item,
            "left": 0 if self.bound else groups * m * k * points * wide,
        }

    def _beside(self, sizes: list[int]) -> int:
        """Bytes that transforms allocate themselves, at most."""
        groups, n, m, k = sizes
        window, points = math.prod(self.window), math.prod(self.points)
        wide = self.spectrum.itemsize
        real = window * wide // 2 if self.real else 0
        many = fft_backend.spectra_held(self.spectrum)
        # SciPy transforms complex numbers where they are, NumPy makes as many more.
        inside = many - 1 if self.real or fft_backend.has_scipy() else many
        read = groups * k * n * points * wide
        # The spectra of a block of columns stay while its rows are multiplied.
        kept = read if self.real and self.thin else 0
        back = groups * m * n * (real + points * wide * inside + 4 * wide)
        weights = (
            0 if self.bound else groups * m * k * (window * wide // (1 + self.real) + points * wide * many)
        )
        return max(read * (many if self.real else inside), kept + back, kept + weights) + SMALL

    # -- weights ------------------------------------------------------------------------------------------------------

    def _weights(self) -> int:
        return self.product.batch * self.product.m * self.product.k

    def _filters(self) -> Shape:
        """The shape of A's filters as the definition reads them."""
        return (
            count_values(self.groups),
            self.product.m,
            count_values(self.product.terms[0][0].cols),
            *self.taps,
        )

    def bind(self, w: Array) -> list[Array]:
        """The spectra of A, (groups, m, k, points) whole or (groups, points, m, k) for a BLAS; then A itself."""
        p, (a, _) = self.product, self.product.terms[0]
        out = np.empty(self.spectra_shape(count_values(self.groups), p.m, p.k), self.spectrum)
        depths = Cut.into(a.cols, self.filters)
        rows = Cut.into(a.rows, self.filters // depths.most)
        filters = np.empty(self._filters(), self.dtypes.work)
        groups = Cut.into(self.groups, 1)
        for block in ((group, row, depth) for group in groups for row in rows for depth in depths):
            self.transform(w, block, None, out[self.place(*block)])
            self._read_filters(w, block, self._block_of(filters, block))
        return [out, filters]

    def spectra_shape(self, groups: int, m: int, k: int) -> Shape:
        """Shape of a block of A's spectra."""
        points = math.prod(self.points)
        return (groups, m, k, points) if self.thin else (groups, points, m, k)

    def place(self, group: Block, row: Block, depth: Block) -> tuple[slice, ...]:
        """Where the spectra of a block are among all."""
        g, m, k = self._runs((group, row, depth))
        return (g, m, k) if self.thin else (g, slice(None), m, k)

    def _runs(self, block: tuple[Block, ...]) -> Iterator[slice]:
        """A block of groups, rows and depth as runs of each."""
        a = self.product.terms[0][0]
        extents = (tuple(i.extent for i in indices) for indices in (self.groups, a.rows, a.cols))
        return itertools.starmap(flatten_block, zip(extents, block, strict=True))

    def _block_of(self, filters: Array, block: tuple[Block, ...]) -> Array:
        """A block of all filters."""
        return filters[tuple(self._runs(block))].reshape(extents_of(*block) + self.taps)

    def _read_filters(self, w: Array, block: tuple[Block, ...], out: Array) -> None:
        """Write a block of A's filters to `out`: groups, rows, depth, taps."""
        group, row, depth = block
        spans = (*group, *((0, extent) for extent in self.taps), *row, *depth)
        self.a.pack(w, self.a.over(w), spans, self.as_view(out), out.reshape(-1)[:0])

    def taps_of(self, call: FftCall, block: tuple[Block, ...]) -> Array:
        """A block of A's filters, as `bind` kept them or read anew."""
        if call.filters is not None:
            return self._block_of(call.filters, block)
        out = part_of(call.scratch["taps"], extents_of(*block) + self.taps, self.dtypes.work)
        self._read_filters(call.operands["w"], block, out)
        return out

    def transform(self, w: Array, block: tuple[Block, ...], run: Array | None, out: Array) -> None:
        """Write the spectra of a block of A, its filters packed in `run` or anew."""
        shape = extents_of(*block)
        packed = part_of(run, shape + self.taps, self.dtypes.work)
        self._read_filters(w, block, packed)
        # z^(-s*f): the spectrum of the conjugate, conjugated.
        if not self.real:
            np.conjugate(packed, out=packed)
        wide = np.zeros((*shape, *self.window), self.dtypes.work)
        wide[corner(self.taps)] = packed
        del packed
        found = fft_backend.forward(wide, self.axes)
        del wide
        found = found.reshape(*map(count, block), math.prod(self.points))
        np.conjugate(found if self.thin else np.moveaxis(found, 3, 1), out=out)

    def as_view(self, array: Array) -> Array:
        """The axes in the order of a View's indices: its windows stand behind its groups, a transform has them last."""
        lead, many = len(self.groups), len(self.window)
        rest = array.ndim - many
        return array.transpose(*range(lead), *range(rest, array.ndim), *range(lead, rest))

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, operands: Operands, weights: list[Array] | None, buffer: Array) -> None:
        """Compute the product; `weights` are what `bind` made, None transforms operands["w"]."""
        groups, columns, *_ = self.cuts

        def share(lane: int) -> None:
            call = FftCall(self, operands, weights, self.scratch.over(buffer, lane))
            with np.errstate(all="ignore"):
                blocks = ((group, column) for group in groups for column in columns)
                for group, column in itertools.islice(blocks, lane, None, self.lanes):
                    self._run_block(call, group, column)

        if self.lanes == 1:
            share(0)
            return
        from concurrent.futures import ThreadPoolExecutor  # 5 ms, which few programs need

        with ThreadPoolExecutor(self.lanes - 1) as others:
            # In the caller's context: NumPy's allocator is part of it.
            waiting = [others.submit(copy_context().run, share, lane) for lane in range(1, self.lanes)]
            share(0)
            for each in waiting:
                each.result()

    def _run_block(self, call: FftCall, group: Block, column: Block) -> None:
        """A block of columns: all its rows."""
        _, _, rows, depths = self.cuts
        held = None
        for row in rows:
            total: Array | None = None
            for depth in depths:
                if held is None or len(depths) > 1:
                    held = None
                    held = call.spectra(group, column, depth)
                total = call.multiply(held, group, row, depth, total)
            assert total is not None
            call.store(total, group, row, column)

    def pieces(self, block: Block) -> tuple[_Piece, ...]:
        """The parts of a block of C that lie inside it, each with where it is in the block's tile."""
        found = self.known.get(block)
        if found is None:
            found = tuple(
                (
                    tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(part, block, strict=True)),
                    tuple(itertools.starmap(slice, part)),
                    part,
                )
                for part in split_inside(self.product, block)
            )
            if len(self.known) < REMEMBERED:
                self.known[block] = found
        return found

    def _work(self) -> ProductWork:
        p, (a, b) = self.product, self.product.terms[0]
        groups, columns, rows, depths = self.cuts
        window, points = math.prod(self.window), math.prod(self.points)
        deep, again = count_values(a.cols), len(rows) if len(depths) > 1 else 1
        tiles = count_values(self.groups) * p.n
        log = math.log2(max(window, 2)) * (2.5 if self.real else 5.0)
        transforms = tiles * (deep * again + p.m) + (
            0 if self.bound else count_values(self.groups) * p.m * deep
        )
        blocks = len(groups) * len(columns)
        read, written = tiles * deep * again * window, tiles * p.m * math.prod(self.kept)
        turned = 0 if self.thin else tiles * (deep * again + p.m) * points
        boxes = 0 if b.inside else self.sizes["box"] // self.dtypes.work.itemsize * blocks * again
        copies = Copying(read, read // self.window[-1]) + Copying(written, written // self.kept[-1])
        return ProductWork(
            flops=8 * p.batch * p.m * p.n * deep,
            products=0 if self.thin else blocks * groups.most * len(rows) * len(depths) * points,
            m=0 if self.thin else 2 * rows.most,
            n=columns.most,
            k=2 * depths.most,
            copies=copies + Copying(boxes) + Copying(3 * turned, 0, 0, 3 * turned),
            swept=2 * p.batch * p.m * p.n * (2 * deep - 1) * self.thin + written * self.finish.passes,
            calls=blocks * (50 + len(rows) * len(depths) * (60 + 6 * self.finish.passes)),
            lanes=self.lanes,
            fourier=round(transforms * window * log),
            spectra=0 if self.thin or not self.bound else self.weight_bytes * len(columns),
        )


_Piece = tuple[tuple[slice, ...], tuple[slice, ...], Block]

SMALL = 2048
"""Bytes of what NumPy and SciPy make beside: numbers, axes."""


def split_inside(product: Product, block: Block) -> Iterator[Block]:
    """What of a block of C lies inside the array, as blocks: an index of tiles is cut off where windows reach out."""
    view, windows = product.c, {i.name for i in product.windows(product.c)}
    names = tuple(index.name for index in view.indices)
    spans = dict(zip(names, block, strict=True))
    for axis in view.risky:
        coordinate = view.coordinates[axis]
        low, high = coordinate_range(coordinate, spans)
        if high < 0 or low >= coordinate.extent:
            return
        if low >= 0 and high < coordinate.extent:
            continue
        free = [t for t in coordinate.terms if t[1] and spans[t[0]][1] - spans[t[0]][0] > 1]
        if len(free) == 1:
            continue
        term = next(t for t in free if t[0] not in windows)
        at = names.index(term[0])
        start, stop = block[at]
        first, last = inside_interval(coordinate, term, spans)
        parts = [(first, last)] if first < last else []
        parts += [(i, i + 1) for i in range(start, stop) if not first <= i < last]
        for part in parts:
            yield from split_inside(product, (*block[:at], part, *block[at + 1 :]))
        return
    found = part_inside(view, block)
    if found is not None:
        yield found
