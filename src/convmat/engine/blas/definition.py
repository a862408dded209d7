"""Windows taken by the definition: those whose sums are not finite, or too large beside the others.

    out[v] = sum over terms, f of  w[term, f] * x[term, v + f]

A transform spreads each element of a window over all its sums, to be taken out again by subtraction: a NaN or an
infinity stays in all of them, and beside 1e30 everything else is lost. The definition spreads nothing; taps that lie
outside w or x are left out, since zero times an infinity is no zero.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...product import Product, View
from ..operands import Array, Span
from .strided_views import coordinate_range, inside_interval

LARGEST = {"float32": 2.0**40, "float64": 2.0**400, "complex64": 2.0**40, "complex128": 2.0**400}
"""Size of a window's sums, those that are not stored too, beyond which it is taken by the definition: what is lost
beside one such sum is more than any tolerance that is asked of ordinary data."""


def find_unsound(sums: Array, many: int, work: np.dtype[Any]) -> Array | None:
    """Which windows, of `many` last axes, hold a sum that is not finite or too large; None if no window does.

    >>> find_unsound(np.array([[1.0, 2.0], [np.nan, 1.0]]), 1, np.dtype("float64"))
    array([False,  True])
    """
    most = LARGEST[work.name]
    parts = (sums.real, sums.imag) if sums.dtype.kind == "c" else (sums,)
    # A comparison with NaN is false.
    if all(part.max() <= most and part.min() >= -most for part in parts):
        return None
    axes = tuple(range(-many, 0))
    bad: Array = np.zeros(sums.shape[:-many], bool)
    for part in parts:
        bad |= ~((part.max(axes) <= most) & (part.min(axes) >= -most))
    return bad


class Definition:
    """The definition of a product's sums, a window at a time."""

    def __init__(self, product: Product) -> None:
        ((a, b),) = product.terms
        self.a, self.b = a, b
        taps, reached = product.windows(a), product.windows(b)
        self.taps, self.reached = tuple(i.name for i in taps), tuple(i.name for i in reached)
        self.extents = tuple(i.extent for i in taps)
        moved = {name for view, names in ((a, self.taps), (b, self.reached)) for name in _beside(view, names)}
        # Terms that say which position is read, one after the other; the others, channels, are summed at once.
        self.single = tuple(index.name in moved for index in b.rows)

    def add(self, x: Array, w: Array, spans: dict[str, Span], out: Array, spare: Array) -> None:
        """Add to `out`, of the kept extents, the terms of x: (*depth, *window) and w: (*depth, *taps).

        spans: the indices of the one window, and of this block of the depth. `spare` has room for as many elements.
        """
        names = [index.name for index in self.b.rows]
        singles = [
            [(value, value + 1) for value in range(*spans[name])] if single else [spans[name]]
            for name, single in zip(names, self.single, strict=True)
        ]
        for chosen in itertools.product(*singles):
            here = {**spans, **dict(zip(names, chosen, strict=True))}
            depth = tuple(
                slice(start - spans[name][0], stop - spans[name][0])
                for name, (start, stop) in zip(names, chosen, strict=True)
            )
            inside = self._inside(here)
            for f in np.ndindex(self.extents):
                here.update(zip(self.taps, ((at, at + 1) for at in f), strict=True))
                ends = ((coordinate_range(c, here), c.extent) for c in self.a.coordinates)
                if any(low < 0 or high >= extent for (low, high), extent in ends):
                    continue
                kept = [
                    (max(start - at, 0), min(stop - at, extent))
                    for (start, stop), at, extent in zip(inside, f, out.shape, strict=True)
                ]
                if any(start >= stop for start, stop in kept):
                    continue
                shape = tuple(stop - start for start, stop in kept)
                read = tuple(slice(start + at, stop + at) for (start, stop), at in zip(kept, f, strict=True))
                terms = x[(*depth, *read)].reshape(-1, *shape)
                made = spare[: np.prod(shape, dtype=int)].reshape(shape)
                np.einsum("c,c...->...", w[(*depth, *f)].reshape(-1), terms, out=made)
                target = out[tuple(itertools.starmap(slice, kept))]
                np.add(target, made, out=target, casting="unsafe")

    def _inside(self, spans: dict[str, Span]) -> list[Span]:
        """The part of the window that lies inside x, along each of its axes."""
        found: dict[str, Span] = {}
        for coordinate in self.b.coordinates:
            for term in coordinate.terms:
                if term[0] in self.reached:
                    found[term[0]] = inside_interval(coordinate, term, spans)
        return [found.get(name, spans[name]) for name in self.reached]


def _beside(view: View, names: tuple[str, ...]) -> set[str]:
    """The indices that share a coordinate with one of these."""
    return {
        term[0]
        for coordinate in view.coordinates
        if any(name in names for name, _ in coordinate.terms)
        for term in coordinate.terms
    }


__all__ = ["LARGEST", "Definition", "find_unsound"]
