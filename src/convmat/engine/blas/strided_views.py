"""Views over real memory: a virtual array of a View, and packing it.

`virtual_array(view, array)` is the View itself as an ndarray, one axis per index: nothing but a start and strides.
Where the View reads outside its array the virtual array would too, so only parts known to lie inside may be touched.
A block that reads outside goes by way of a **box**: all positions that it reaches, those outside holding the fill;
the block is then a virtual array over the box. One copy into the box and one out of it, whatever the padding.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...product import Coordinate, View
from ..operands import Array, Block, Shape, Span, contiguous_strides
from .cuts import slice_block

Slices = tuple[slice, ...]

REMEMBERED = 128
"""Blocks whose way into memory is worked out once, not in every call."""


# -- arrays of nothing but an address ---------------------------------------------------------------------------------


class _ArrayInterface:
    """What NumPy needs to make an array of an address."""

    def __init__(self, address: int, shape: Shape, strides: Shape, dtype: np.dtype[Any]) -> None:
        plain = dtype.isbuiltin == 1
        self.__array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "strides": strides,
            "typestr": dtype.str if plain else f"|V{dtype.itemsize}",
            "version": 3,
        }


def array_at(address: int, shape: Shape, strides: Shape, dtype: np.dtype[Any]) -> Array:
    """An array at an address, strides in bytes. It keeps nothing alive and may lie outside everything."""
    made = np.asarray(_ArrayInterface(address, shape, strides, dtype))
    return made if made.dtype == dtype else made.view(dtype)


def window_of(run: Array, shape: Shape, offset: int = 0, strides: Shape | None = None) -> Array:
    """An array within the memory of a contiguous one, at an offset in bytes; C-contiguous without strides."""
    return np.ndarray(shape, run.dtype, run, offset, strides)


def virtual_array(view: View, array: Array) -> Array:
    """The View over an array with one axis per coordinate: an ndarray with the axes batch + rows + cols.

    It does not keep `array` alive and may lie outside it: slice it to what `part_inside` says before reading.
    """
    offset, strides = _strides(view, array.strides)
    address = array.__array_interface__["data"][0] + offset
    return array_at(address, tuple(i.extent for i in view.indices), strides, array.dtype)


def _strides(view: View, steps: Shape) -> tuple[int, Shape]:
    """The offset and the stride of each index where an array axis moves by `steps`."""
    offset, strides = 0, dict.fromkeys(view.extents, 0)
    for coordinate, step in zip(view.coordinates, steps, strict=True):
        offset += coordinate.offset * step
        for name, by in coordinate.terms:
            strides[name] += by * step
    return offset, tuple(strides[i.name] for i in view.indices)


def index_strides(view: View, steps: Shape) -> Shape:
    """How far each index of the View moves in an array whose axes move by `steps`."""
    return _strides(view, steps)[1]


def untouched_array(view: View, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """The View over a C-contiguous array of this shape that is never touched: to ask about strides."""
    _, strides = _strides(view, contiguous_strides(shape, dtype.itemsize))
    return array_at(1 << 40, tuple(i.extent for i in view.indices), strides, dtype)


# -- packing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Box:
    """How a block is read by way of a box; strides and offset of the block in bytes of the box."""

    shape: Shape
    elements: int
    extents: Shape
    inner: Slices
    part: Slices
    margins: tuple[Slices, ...]
    offset: int
    strides: Shape


class ViewReader:
    """A View made ready to be read block by block. Holds no arrays.

    `order` are the array's axes as the box has them, outermost first; by default as they are.
    """

    def __init__(self, view: View, order: Shape | None = None) -> None:
        self.view = view
        self.shape = tuple(i.extent for i in view.indices)
        self.order = order or tuple(range(len(view.coordinates)))
        self._straight = self.order == tuple(range(len(view.coordinates)))
        self._names = tuple(i.name for i in view.indices)
        self._risky = view.risky
        self._inside = view.inside and view.elements > 0
        self._strides: dict[Shape, tuple[int, Shape]] = {}
        self._matrices: dict[Shape, tuple[int, tuple[Shape, Shape] | None]] = {}
        self._known: dict[Block, _Box | bool] = {}

    def over(self, array: Array) -> Array:
        """`virtual_array` of this View, with its strides remembered."""
        found = self._strides.get(array.strides)
        if found is None:
            if len(self._strides) >= REMEMBERED:
                self._strides.clear()
            found = self._strides[array.strides] = _strides(self.view, array.strides)
        return self._lay(array, found[0], self.shape, found[1])

    def _lay(self, array: Array, offset: int, shape: Shape, strides: Shape) -> Array:
        """An array of the memory of another; the quick way where it surely lies within."""
        if self._inside and array.flags.c_contiguous and array.dtype.isbuiltin == 1:
            return np.ndarray(shape, array.dtype, array, offset, strides)
        return array_at(array.__array_interface__["data"][0] + offset, shape, strides, array.dtype)

    def matrices(self, array: Array, lead: int) -> Array | None:
        """`stacked_matrices` of `over(array)`: one stack of matrices where it lies, None if no BLAS reads it there."""
        found = self._matrices.get(array.strides)
        if found is None:
            if len(self._matrices) >= REMEMBERED:
                self._matrices.clear()
            offset, strides = _strides(self.view, array.strides)
            made = _collapse_axes(self.shape, strides, array.itemsize, lead, len(self.view.rows))
            found = self._matrices[array.strides] = (offset, made)
        return None if found[1] is None else self._lay(array, found[0], *found[1])

    def box_shape(self, widest: Shape) -> Shape:
        """The extents of the box of a block of these extents."""
        spans = dict(zip(self._names, ((0, e) for e in widest), strict=True))
        ends = (coordinate_range(c, spans) for c in self.view.coordinates)
        return tuple(high - low + 1 for low, high in ends) if all(widest) else (0,)

    def box_elements(self, widest: Shape) -> int:
        """How many elements that box has."""
        return math.prod(self.box_shape(widest))

    @property
    def boxed(self) -> View:
        """The View over its box: to ask about strides."""
        moved = (replace(c, offset=0) for c in self.view.coordinates)
        return replace(self.view, coordinates=tuple(moved))

    def pack(self, array: Array, source: Array, block: Block, out: Array, room: Array) -> None:
        """Write a block to `out`, which has the block's extents; `source` is `over(array)`, `room` holds the box."""
        if not out.size:
            return
        found = self._find(block, room.itemsize)
        if found is True:
            np.copyto(out, slice_block(source, block), casting="unsafe")
        elif found is False:
            out[...] = self.view.fill
        elif found.elements <= room.size:
            np.copyto(out, self._fill_box(found, array, block, room), casting="unsafe")
        else:
            _scatter(self.view, source, block, out)
        if self.view.conjugate:
            np.conjugate(out, out=out)

    def box(self, array: Array, block: Block, room: Array) -> Array:
        """The block as an array over a box in `room`, of the type of `room`, conjugated where the View is."""
        found = self._find(block, room.itemsize, always=True)
        assert isinstance(found, _Box)
        made = self._fill_box(found, array, block, room)
        if self.view.conjugate:
            box = room[: found.elements]
            np.conjugate(box, out=box)
        return made

    def _fill_box(self, found: _Box, array: Array, block: Block, room: Array) -> Array:
        box = window_of(room, found.shape)
        for margin in found.margins:
            box[margin] = self.view.fill
        part = array[found.part]
        np.copyto(box[found.inner], part if self._straight else part.transpose(self.order), casting="unsafe")
        return window_of(room, found.extents, found.offset, found.strides)

    def _find(self, block: Block, item: int, always: bool = False) -> _Box | bool:
        """True: inside the array; False: all of it outside; else by way of a box (`always`: even where inside)."""
        found = self._known.get(block)
        if found is None:
            found = self._work_out(block, item, always)
            if len(self._known) < REMEMBERED:
                self._known[block] = found
        return found

    def _work_out(self, block: Block, item: int, always: bool) -> _Box | bool:
        spans = dict(zip(self._names, block, strict=True))
        coordinates = self.view.coordinates
        if not always:
            ends = {a: coordinate_range(coordinates[a], spans) for a in self._risky}
            if any(high < 0 or low >= coordinates[a].extent for a, (low, high) in ends.items()):
                return False
            if all(low >= 0 and high < coordinates[a].extent for a, (low, high) in ends.items()):
                return True
        lows, extents, inner, part = [], [], [], []
        for coordinate in coordinates:
            low, high = coordinate_range(coordinate, spans)
            first, last = min(max(low, 0), high + 1), max(min(high + 1, coordinate.extent), low)
            lows.append(low)
            extents.append(high + 1 - low)
            inner.append(slice(first - low, max(last, first) - low))
            part.append(slice(first, max(last, first)))
        if any(s.start == s.stop for s in part):
            part = [slice(0, 0)] * len(part)
            inner = [slice(0, 0)] * len(inner)
        shape = tuple(extents[a] for a in self.order)
        inside = tuple(inner[a] for a in self.order)
        steps = dict(zip(self.order, contiguous_strides(shape, item), strict=True))
        offset, by = 0, dict.fromkeys(self._names, 0)
        for a, coordinate in enumerate(coordinates):
            first = coordinate.offset + sum(c * spans[name][0] for name, c in coordinate.terms)
            offset += (first - lows[a]) * steps[a]
            for name, c in coordinate.terms:
                by[name] += c * steps[a]
        blocks = tuple(stop - start for start, stop in block)
        return _Box(
            shape,
            math.prod(shape),
            blocks,
            inside,
            tuple(part),
            _margins(shape, inside),
            offset,
            tuple(by[name] for name in self._names),
        )


def _margins(shape: Shape, inner: Slices) -> tuple[Slices, ...]:
    """What lies around the inner part, as slabs along one axis after the other."""
    slabs: list[Slices] = []
    for axis, (extent, span) in enumerate(zip(shape, inner, strict=True)):
        around = (slice(0, span.start), slice(span.stop, extent))
        slabs += [(*inner[:axis], part) for part in around if part.start < part.stop]
    return tuple(slabs)


def pack(view: View, source: Array, block: Block, out: Array) -> None:
    """Write a block of a View to `out`, which has the block's shape; `source` is the View's virtual array."""
    if out.size:
        _scatter(view, source, block, out)
        if view.conjugate:
            np.conjugate(out, out=out)


def _scatter(view: View, source: Array, block: Block, out: Array) -> None:
    """The same without a box: what lies inside, one tap at a time, over an array of the fill."""
    spans = dict(zip((i.name for i in view.indices), block, strict=True))
    fixed: dict[str, Span] = {}
    risk = False
    for axis in view.risky:
        coordinate = view.coordinates[axis]
        low, high = coordinate_range(coordinate, spans)
        if low < 0 or high >= coordinate.extent:
            risk = True
            free = sorted((_length(spans[name]), name) for name, by in coordinate.terms if by)
            fixed |= {name: spans[name] for _, name in free[:-1]}
    if not risk:
        np.copyto(out, slice_block(source, block), casting="unsafe")
        return
    out[...] = view.fill
    for tap in itertools.product(*(range(*span) for span in fixed.values())):
        held = dict(zip(fixed, tap, strict=True))
        part = part_inside(view, tuple((held[n], held[n] + 1) if n in held else s for n, s in spans.items()))
        if part is not None:
            where = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(part, block, strict=True))
            np.copyto(out[where], slice_block(source, part), casting="unsafe")


def part_inside(view: View, block: Block) -> Block | None:
    """The part of a block that lies inside the array, if that part is a block; None if nothing of it does.

    Each coordinate may have one index that still varies: the case once the taps are fixed.
    """
    names = tuple(index.name for index in view.indices)
    for axis in view.risky:
        coordinate, spans = view.coordinates[axis], dict(zip(names, block, strict=True))
        low, high = coordinate_range(coordinate, spans)
        if low >= 0 and high < coordinate.extent:
            continue
        if high < 0 or low >= coordinate.extent:
            return None
        (term,) = (t for t in coordinate.terms if t[1] and _length(spans[t[0]]) > 1)
        where, span = names.index(term[0]), inside_interval(coordinate, term, spans)
        if span[0] >= span[1]:
            return None
        block = (*block[:where], span, *block[where + 1 :])
    return block


def coordinate_range(coordinate: Coordinate, spans: dict[str, Span]) -> Span:
    """The smallest and largest position of a coordinate while its indices stay in their (non-empty) spans."""
    low = high = coordinate.offset
    for name, by in coordinate.terms:
        start, stop = spans[name]
        if by > 0:
            low, high = low + by * start, high + by * (stop - 1)
        else:
            low, high = low + by * (stop - 1), high + by * start
    return low, high


def inside_interval(coordinate: Coordinate, term: tuple[str, int], spans: dict[str, Span]) -> Span:
    """The values of one index for which the coordinate is inside whatever its other indices do; may be empty."""
    name, by = term
    low, high = coordinate_range(coordinate, {**spans, name: (0, 1)})
    start, stop = spans[name]
    if by > 0:
        first, last = -(low // by), (coordinate.extent - 1 - high) // by
    else:
        first, last = -((coordinate.extent - 1 - high) // -by), low // -by
    first, last = max(first, start), min(last + 1, stop)
    return (first, max(first, last))


def _length(span: Span) -> int:
    return span[1] - span[0]


# -- matrices where they lie ------------------------------------------------------------------------------------------


def single_stride(shape: Shape, strides: Shape) -> int | None:
    """The one stride with which axes of these shapes and strides are walked in C order; None if there is none.

    >>> single_stride((4, 5), (20, 4)), single_stride((4, 5), (24, 4)), single_stride((1, 1), (7, 9))
    (4, None, 0)
    """
    found, expected = None, 0
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent == 1:
            continue
        if found is None:
            found, expected = stride, stride
        elif stride != expected:
            return None
        expected *= extent
    return 0 if found is None else found


def stacked_matrices(array: Array, lead: int, rows: int) -> Array | None:
    """The array as (*its first `lead` axes, R, C) if a BLAS reads each matrix in place; None if it cannot.

    `rows` axes after the leading ones are collapsed to R, the others to C. One of R and C must be contiguous and the
    other's stride at least as long as a run.
    """
    made = _collapse_axes(array.shape, array.strides, array.itemsize, lead, rows)
    return None if made is None else array_at(array.__array_interface__["data"][0], *made, array.dtype)


def _collapse_axes(
    shape: Shape, strides: Shape, item: int, lead: int, rows: int
) -> tuple[Shape, Shape] | None:
    R, C = math.prod(shape[lead : lead + rows]), math.prod(shape[lead + rows :])
    r = single_stride(shape[lead : lead + rows], strides[lead : lead + rows])
    c = single_stride(shape[lead + rows :], strides[lead + rows :])
    if r is None or c is None or r % item or c % item:
        return None
    r_unit, c_unit = r == item or R == 1, c == item or C == 1
    if c_unit and (R == 1 or r >= C * item):
        r, c = r if R > 1 else C * item, item
    elif r_unit and (C == 1 or c >= R * item):
        r, c = item, c if C > 1 else R * item
    else:
        return None
    return (*shape[:lead], R, C), (*strides[:lead], r, c)


# -- scratch ----------------------------------------------------------------------------------------------------------
