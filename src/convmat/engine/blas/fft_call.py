"""One call by Fourier transforms: spectra of a block of B, times A's, transformed back and stored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..operands import Array, Block, Operands, Shape, count
from . import fft_backend
from .definition import find_unsound
from .epilogue import BoundEpilogue

if TYPE_CHECKING:
    from .fft import Transformed


class FftCall:
    """One call: its operands and scratch."""

    def __init__(
        self, step: Transformed, operands: Operands, weights: list[Array] | None, scratch: dict[str, Array]
    ) -> None:
        self.step, self.operands, self.scratch = step, operands, scratch
        self.weights = None if weights is None else weights[0]
        self.filters = None if weights is None else weights[1]
        self.x = operands["x"]
        self.source = step.b.over(self.x)
        self.target = step.c.over(operands["y"])
        self._at_left: tuple[Block, Block, Block] | None = None
        self.finishing: BoundEpilogue | None = None if step.finish.empty else step.finish.over(operands)

    def spectra(self, group: Block, column: Block, depth: Block) -> Array:
        """The spectra of a block of B, as its products read them: (groups, k, n, points), or (groups, points, k, n)."""
        step = self.step
        spans = (*group, *((0, extent) for extent in step.window), *depth, *column)
        inner = tuple(stop - start for start, stop in (*group, *depth, *column))
        tiles = part_of(self.scratch["tiles"], (*inner, *step.window), step.dtypes.work)
        box = self.scratch["box"].view(step.dtypes.work)
        step.b.pack(self.x, self.source, spans, step.as_view(tiles), box)
        found = fft_backend.forward(tiles, step.axes)
        groups, k, n = map(count, (group, depth, column))
        points = math.prod(step.points)
        found = found.reshape(groups, k, n, points)
        if step.thin:
            return found
        turned = part_of(self.scratch["turned"], (groups, points, k, n), step.spectrum)
        np.copyto(turned, np.moveaxis(found, 3, 1))
        return turned

    def multiply(self, right: Array, group: Block, row: Block, depth: Block, total: Array | None) -> Array:
        """A @ right for a block, added to `total`: (groups, m, n, points)."""
        step = self.step
        if self.weights is None:
            shape = step.spectra_shape(count(group), count(row), count(depth))
            left = part_of(self.scratch["left"], shape, step.spectrum)
            if self._at_left != (group, row, depth):  # of the columns before they may be there still
                step.transform(self.operands["w"], (group, row, depth), self.scratch["taps"], left)
                self._at_left = group, row, depth
        else:
            left = self.weights[step.place(group, row, depth)]
        groups, m, points = count(group), count(row), math.prod(step.points)
        n = right.size // (groups * count(depth) * points)
        shape = (groups, m, n, points)
        out = part_of(self.scratch["sum"], shape, step.spectrum)
        if not step.thin:
            made = np.matmul(
                left, right, out=part_of(self.scratch["product"], (groups, points, m, n), step.spectrum)
            )
            made = np.moveaxis(made, 1, 3)
            if total is None:
                np.copyto(out, made)
            else:
                np.add(out, made, out=out)
            return out
        for k in range(right.shape[1]):
            factors = left[:, :, k, None], right[:, None, k]
            if total is None:
                total = np.multiply(*factors, out=out)
            else:
                more = np.multiply(*factors, out=part_of(self.scratch["more"], shape, step.spectrum))
                total = np.add(out, more, out=out)
        return out

    def store(self, total: Array, group: Block, row: Block, column: Block) -> None:
        """Transform back, finish, write what lies inside C."""
        step = self.step
        inner = tuple(stop - start for start, stop in (*group, *row, *column))
        made = fft_backend.inverse(
            total.reshape(*inner, *step.points),
            step.axes,
            step.window[step.axes[-1]],
            step.real,
        )
        bad = find_unsound(made, len(step.window), step.dtypes.work)
        if bad is not None:
            self.compute_afresh(made[corner(step.kept)], bad, (group, row, column))
        tile = step.as_view(made[corner(step.kept)])
        block = (*group, *((0, extent) for extent in step.kept), *row, *column)
        for within, where, part in step.pieces(block):
            piece = tile[within]
            if self.finishing is not None:
                self.finishing(piece, part, self.scratch["spare"].view(step.dtypes.work))
            np.copyto(self.target[where], piece, casting="unsafe")

    def compute_afresh(self, made: Array, bad: Array, block: tuple[Block, Block, Block]) -> None:
        """Take the windows that are `bad` by the definition; made: (*groups, *rows, *columns, *kept)."""
        step = self.step
        a, b = step.product.terms[0]
        names = tuple(index.name for index in (*b.indices, *a.rows))
        groups, rows = len(block[0]), len(block[1])
        window, terms = ("tiles", "sum") if step.real else ("window", "terms")
        spare = self.scratch[terms].view(step.dtypes.work)
        for at in np.ndindex(bad.shape):
            if not bad[at]:
                continue
            one = tuple((start + i, start + i + 1) for (start, _), i in zip(sum(block, ()), at, strict=True))
            group, row, column = one[:groups], one[groups : groups + rows], one[groups + rows :]
            out = made[at]
            out[...] = 0
            for depth in step.cuts[3]:
                read = (*group, *((0, extent) for extent in step.window), *depth, *column)
                x = part_of(
                    self.scratch[window], extents_of(group, depth, column) + step.window, step.dtypes.work
                )
                step.b.pack(self.x, self.source, read, step.as_view(x), spare[:0])
                w = step.taps_of(self, (group, row, depth))
                spans = dict(zip(names, (*read, *row), strict=True))
                inner = extents_of(depth)
                step.definition.add(
                    x.reshape(inner + step.window), w.reshape(inner + step.taps), spans, out, spare
                )


def extents_of(*blocks: Block) -> Shape:
    """How many values each index of some blocks takes."""
    return tuple(stop - start for block in blocks for start, stop in block)


def corner(extents: Shape) -> tuple[Any, ...]:
    """The first elements along the last axes."""
    return (..., *(slice(0, extent) for extent in extents))


def part_of(run: Array | None, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An array of this shape at the beginning of a run of bytes, or new."""
    if run is None:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, run)
