"""Views over real memory: a virtual array of a View, and packing it.

`virtual(view, array)` is the View itself as an ndarray, one axis per index, made of nothing but a start and strides.
Where the View reads outside its array the virtual array would too, so only parts known to lie inside may be touched:
`pack` copies those and writes the fill elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..product import Coordinate, Index, View

Array = npt.NDArray[Any]
Span = tuple[int, int]  # start and stop of an index
Block = tuple[Span, ...]

FEW = 8  # up to this many taps are copied one by one; beyond, the inside of the image is copied in one piece


def split(indices: tuple[Index, ...], target: int, single: frozenset[str] = frozenset()) -> list[Block]:
    """Cut the index space into runs of at most about `target` values, C order; indices in `single` one at a time.

    >>> split((Index("b", 2), Index("p", 5)), 3)
    [((0, 1), (0, 3)), ((0, 1), (3, 5)), ((1, 2), (0, 3)), ((1, 2), (3, 5))]
    """
    whole, inner = len(indices), 1
    while whole and indices[whole - 1].name not in single and inner * indices[whole - 1].extent <= target:
        whole -= 1
        inner *= indices[whole].extent
    blocks: list[Block] = [tuple((0, i.extent) for i in indices[whole:])]
    for at in range(whole - 1, -1, -1):
        extent = indices[at].extent
        step = max(1, target // max(inner, 1)) if at == whole - 1 and indices[at].name not in single else 1
        cuts = [(start, min(start + step, extent)) for start in range(0, extent, step)]
        blocks = [(cut, *block) for cut in cuts for block in blocks]
    return [block for block in blocks if all(stop > start for start, stop in block)]


def count(block: Block) -> int:
    """How many values a block has."""
    return math.prod(stop - start for start, stop in block)


def flat(indices: tuple[Index, ...], block: Block) -> slice:
    """The block as one run of the flattened index space; blocks of `split` are such runs."""
    start = 0
    for index, (first, _) in zip(indices, block, strict=True):
        start = start * index.extent + first
    return slice(start, start + count(block))


class _Memory:
    """What NumPy needs to make an array of an address."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "strides": strides,
            "typestr": f"|V{item}",
            "version": 3,
        }


def virtual(view: View, array: Array) -> Array:
    """The View over an array with one axis per coordinate: an ndarray with the axes batch + rows + cols.

    It does not keep `array` alive and may lie outside it: slice it to what `inside` says before reading.
    """
    strides = dict.fromkeys(view.extents, 0)
    address = array.__array_interface__["data"][0]
    for coordinate, stride in zip(view.coordinates, array.strides, strict=True):
        address += coordinate.offset * stride
        for name, by in coordinate.terms:
            strides[name] += by * stride
    shape = tuple(index.extent for index in view.indices)
    made = np.asarray(_Memory(address, shape, tuple(strides[i.name] for i in view.indices), array.itemsize))
    return made.view(array.dtype)


def cut(array: Array, block: Block) -> Array:
    """A block of a virtual array."""
    return array[tuple(slice(start, stop) for start, stop in block)]


def pack(view: View, source: Array, block: Block, out: Array) -> None:
    """Write a block of a View to `out`, which has the block's shape; `source` is the View's virtual array."""
    if out.size:
        _pack(view, source, block, out)
        if view.conjugate:
            np.conjugate(out, out=out)


def _pack(view: View, source: Array, block: Block, out: Array) -> None:
    names = tuple(index.name for index in view.indices)
    for axis in view.risky:
        coordinate = view.coordinates[axis]
        spans = dict(zip(names, block, strict=True))
        low, high = reach(coordinate, spans)
        if low >= 0 and high < coordinate.extent:
            continue
        if high < 0 or low >= coordinate.extent:
            out[...] = view.fill
            return
        free = sorted(
            (t for t in coordinate.terms if t[1] and _long(spans[t[0]])), key=lambda t: _length(spans[t[0]])
        )
        at = names.index(free[-1][0])
        if len(free) == 1:
            inside = interval(coordinate, free[0], spans)
            block, out = _narrow(block, out, at, inside, view.fill)
            if not out.size:  # an empty block has no positions to ask the next axis about
                return
            continue
        few = names.index(free[0][0])
        whole = interval(coordinate, free[-1], spans)
        first, last = block[at]
        if _length(spans[free[0][0]]) <= FEW or whole[0] >= whole[1]:
            start, stop = block[few]
            pieces = [(few, (i, i + 1)) for i in range(start, stop)]
        else:
            pieces = [(at, p) for p in ((first, whole[0]), whole, (whole[1], last)) if p[0] < p[1]]
        for which, span in pieces:
            begin = block[which][0]
            part = (slice(None),) * which + (slice(span[0] - begin, span[1] - begin),)
            _pack(view, source, (*block[:which], span, *block[which + 1 :]), out[part])
        return
    np.copyto(out, cut(source, block), casting="unsafe")


def inside(view: View, block: Block) -> Block | None:
    """The part of a block that lies inside the array, if that part is a block; None if nothing of it does.

    Each coordinate may have one index that still varies: the case once the taps are fixed.
    """
    names = tuple(index.name for index in view.indices)
    for axis in view.risky:
        coordinate, spans = view.coordinates[axis], dict(zip(names, block, strict=True))
        low, high = reach(coordinate, spans)
        if low >= 0 and high < coordinate.extent:
            continue
        if high < 0 or low >= coordinate.extent:
            return None
        (term,) = (t for t in coordinate.terms if t[1] and _long(spans[t[0]]))
        at, span = names.index(term[0]), interval(coordinate, term, spans)
        if span[0] >= span[1]:
            return None
        block = (*block[:at], span, *block[at + 1 :])
    return block


def reach(coordinate: Coordinate, spans: dict[str, Span]) -> Span:
    """The smallest and largest position of a coordinate while its indices stay in their (non-empty) spans."""
    low = high = coordinate.offset
    for name, by in coordinate.terms:
        ends = by * spans[name][0], by * (spans[name][1] - 1)
        low, high = low + min(ends), high + max(ends)
    return low, high


def interval(coordinate: Coordinate, term: tuple[str, int], spans: dict[str, Span]) -> Span:
    """The values of one index for which the coordinate is inside whatever its other indices do; may be empty."""
    name, by = term
    low, high = reach(coordinate, {**spans, name: (0, 1)})
    start, stop = spans[name]
    if by > 0:
        first, last = -(low // by), (coordinate.extent - 1 - high) // by
    else:
        first, last = -((coordinate.extent - 1 - high) // -by), low // -by
    first, last = max(first, start), min(last + 1, stop)
    return (first, max(first, last))


def _narrow(block: Block, out: Array, at: int, span: Span, fill: int) -> tuple[Block, Array]:
    """Fill what lies before and after the span along an axis, and go on with what is left."""
    begin, end = block[at]
    axis = (slice(None),) * at
    out[(*axis, slice(0, span[0] - begin))] = fill
    out[(*axis, slice(span[1] - begin, end - begin))] = fill
    return (*block[:at], span, *block[at + 1 :]), out[(*axis, slice(span[0] - begin, span[1] - begin))]


def _length(span: Span) -> int:
    return span[1] - span[0]


def _long(span: Span) -> bool:
    return span[1] - span[0] > 1


def collapse(shape: tuple[int, ...], strides: tuple[int, ...]) -> int | None:
    """The one stride with which axes of these shapes and strides are walked in C order; None if there is none.

    >>> collapse((4, 5), (20, 4)), collapse((4, 5), (24, 4)), collapse((1, 1), (7, 9))
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


def matrix(array: Array, batch: int, rows: int) -> Array | None:
    """An array with batch, row and column axes as (batch, rows, cols) that a BLAS reads in place; None if it cannot.

    `batch` and `rows` are how many of its axes come first and second. One of rows and columns must be contiguous and
    the other's stride at least as long as a run.
    """
    groups = (slice(0, batch), slice(batch, batch + rows), slice(batch + rows, array.ndim))
    shape = tuple(math.prod(array.shape[g]) for g in groups)
    strides = [collapse(array.shape[g], array.strides[g]) for g in groups]
    if None in strides:
        return None
    b, r, c = (s or 0 for s in strides)
    item = array.itemsize
    r_unit, c_unit = r == item or shape[1] == 1, c == item or shape[2] == 1
    along_cols = c_unit and (shape[1] == 1 or r >= shape[2] * item)
    along_rows = r_unit and (shape[2] == 1 or c >= shape[1] * item)
    if not (along_cols or along_rows) or r % item or c % item:
        return None
    if along_cols:
        r, c = r if shape[1] > 1 else shape[2] * item, item
    else:
        r, c = item, c if shape[2] > 1 else shape[1] * item
    memory = _Memory(array.__array_interface__["data"][0], shape, (b, r, c), item)
    return np.asarray(memory).view(array.dtype)


def carve(buffer: Array, sizes: list[int]) -> Iterator[Array]:
    """Runs of a byte buffer, each beginning on a multiple of 64 bytes of address."""
    at = -buffer.__array_interface__["data"][0] % 64 if buffer.size else 0
    for size in sizes:
        yield buffer[at : at + size]
        at += room(size)


def room(size: int) -> int:
    """Bytes that a run of `size` bytes takes among others: rounded up to a multiple of 64."""
    return -(-size // 64) * 64
