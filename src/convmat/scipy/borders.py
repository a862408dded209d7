"""Parts of an array with borders around them, in the type that is computed in; and results in the type asked for.

    part[i] = x[begin - lo + i]        positions outside x are what the border's mode says, `cval` for "constant"

The positions of an axis are runs that go up, down or stay in x, so a part is a few copies of views. Along an axis that
the part has all of, its borders are copied from what is inside it; along others, from x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ..planner.pad import inner_position

Array = npt.NDArray[Any]
Slices = tuple[slice, ...]


def source_positions(mode: str, extent: int, begin: int, count: int) -> list[int | None]:
    """The positions in x that positions begin .. begin+count-1 of an axis hold; None where that is a constant.

    >>> source_positions("symmetric", 4, -2, 8), source_positions("constant", 2, -1, 3)
    ([1, 0, 0, 1, 2, 3, 3, 2], [None, 0, 1])
    """
    positions = range(begin, begin + count)
    if mode == "constant":
        return [at if 0 <= at < extent else None for at in positions]
    return [at if 0 <= at < extent else inner_position(mode, at, extent) for at in positions]


def find_runs(positions: Sequence[int | None]) -> list[tuple[slice, slice | None]]:
    """Runs of positions one apart, one back or equal: where they are, and the slice that each is; None for constants.

    >>> find_runs([1, 0, 0, 1, 2])
    [(slice(0, 2, None), slice(1, None, -1)), (slice(2, 5, None), slice(0, 3, 1))]
    >>> find_runs([None, 3, 3])
    [(slice(0, 1, None), None), (slice(1, 3, None), slice(3, 4, None))]
    """
    runs: list[tuple[slice, slice | None]] = []
    start, count = 0, len(positions)
    while start < count:
        first = positions[start]
        stop = start + 1
        if first is None:
            while stop < count and positions[stop] is None:
                stop += 1
            runs.append((slice(start, stop), None))
            start = stop
            continue
        second = positions[stop] if stop < count else None
        step = 1 if second is None or abs(second - first) > 1 else second - first
        while stop < count and positions[stop] == first + step * (stop - start):
            stop += 1
        last = first + step * (stop - start)  # one beyond
        source = slice(first, None if last < 0 else last, step) if step else slice(first, first + 1)
        runs.append((slice(start, stop), source))
        start = stop
    return runs


@dataclass(frozen=True)
class Laying:
    """How a part of an array of one shape, with its borders, is laid out: by copies of views, and constant slabs."""

    from_x: tuple[tuple[Slices, Slices], ...]
    inside: tuple[tuple[Slices, Slices], ...]
    constants: tuple[Slices, ...]
    cval: float

    def __call__(self, x: Array, out: Array) -> None:
        """Fill `out` with elements of x turned into its type."""
        for to, source in self.from_x:
            out[to] = x[source]
        for to, source in self.inside:
            out[to] = out[source]
        for to in self.constants:
            out[to] = self.cval


def lay_part(
    shape: tuple[int, ...],
    begin: Sequence[int],
    extent: Sequence[int],
    modes: Sequence[str],
    cval: float,
    places: tuple[int, Sequence[int | None]] = (-1, ()),
) -> Laying:
    """The elements begin .. begin+extent-1 along each axis of an array of `shape`, continued beyond its edges.

    places: an axis along which the part holds these positions of x instead.

    >>> out = np.empty((2, 4))
    >>> lay_part((2, 2), (-1, 0), (2, 4), ("edge", "wrap"), 0.0)(np.array([[1, 2], [3, 4]]), out); out
    array([[1., 2., 1., 2.],
           [1., 2., 1., 2.]])
    """
    from_x: list[list[tuple[slice, slice]]] = []
    inside: list[tuple[Slices, Slices]] = []
    constants: list[Slices] = []
    for axis, (mode, n, first, count) in enumerate(zip(modes, shape, begin, extent, strict=True)):
        ahead = (slice(None),) * axis
        runs = find_runs(places[1] if axis == places[0] else source_positions(mode, n, first, count))
        constants += [(*ahead, to) for to, source in runs if source is None]
        found = [(to, source) for to, source in runs if source is not None]
        if first <= 0 and first + count >= n:
            middle = slice(-first, n - first)
            beside = [*find_runs(source_positions(mode, n, first, -first)), *_after(mode, n, first, count)]
            inside += [
                ((*ahead, to), (*ahead, _move(source, -first))) for to, source in beside if source is not None
            ]
            found = [(middle, slice(0, n))]
        from_x.append(found)
    copies = [(tuple(to for to, _ in each), tuple(source for _, source in each)) for each in product(*from_x)]
    return Laying(tuple(copies), tuple(inside), tuple(constants), cval)


def _after(mode: str, n: int, first: int, count: int) -> list[tuple[slice, slice | None]]:
    """The runs of the border behind an axis of extent n, of a part from `first` on."""
    there = n - first
    return [
        (_move(to, there), source) for to, source in find_runs(source_positions(mode, n, n, count - there))
    ]


def _move(part: slice, by: int) -> slice:
    """A slice moved: of an array with `by` elements more in front."""
    stop = None if part.stop is None and not by else (-1 if part.stop is None else part.stop) + by
    return slice(part.start + by, stop, part.step)


def slabs_outside(extent: int, before: int, after: int) -> Iterator[tuple[int, int]]:
    """Where the first `before` and the last `after` positions of an axis of that extent begin, and how many they are.

    >>> list(slabs_outside(5, 1, 0)), list(slabs_outside(5, 9, 2))
    ([(0, 1)], [(0, 5), (3, 2)])
    """
    if before:
        yield 0, min(before, extent)
    if after:
        yield max(extent - after, 0), min(after, extent)


def store_rounded(values: Array, out: Array, most: float = math.inf) -> None:
    """Write floating-point values to `out`, rounded to its type, or cut to integers that wrap around as C's do.

    most: what no value is beyond, where that is known.

    >>> out = np.empty(3, np.uint8); store_rounded(np.array([1.9, -1.0, 257.0]), out); out
    array([  1, 255,   1], dtype=uint8)
    """
    kind, size = out.dtype.kind, out.dtype.itemsize
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "b":
            np.not_equal(np.trunc(values), 0, out=out)
        elif kind == "u" and size == 8:
            magnitude = np.abs(values).astype(np.uint64)
            np.copyto(out, np.where(values > -1, magnitude, np.negative(magnitude)))
        elif kind in "iu" and size < 8:
            np.copyto(out, values.astype(_through(values, size, most)), casting="unsafe")
        else:
            np.copyto(out, values, casting="unsafe")


def _through(values: Array, size: int, most: float) -> type[np.signedinteger[Any]]:
    """The integers that hold the values, whose lower bytes are wanted: 32 bits are cast five times as fast as 64."""
    if not most < 2**31 and (size > 2 or not values.size or max(values.max(), -values.min()) >= 2**31):
        return np.int64
    return np.int32


__all__ = ["Laying", "find_runs", "lay_part", "slabs_outside", "source_positions", "store_rounded"]
