"""Arrays read between their elements: GridSample, and the interpolation that DeformConv shares.

    y[b, c, k] = sum over the corners of  x[b, c, i0, i1, ...] * w0 * w1 * ...

Along each axis a coordinate has a few terms, an index i and a weight w: one for the nearest element, two for a line
between neighbours, four for a cubic through them (Keys, 1981, with a = -0.75). The corners are all choices of a term
for each axis. A corner outside x is 0, or its index is brought back to the edge, or mirrored at it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...engine import Sweep, buffers, read_places, thread_pool
from ...errors import EngineError
from ..graph import Array, Node, Spec
from .base import Specs, input_at, operator


class Term(NamedTuple):
    """One of the elements that a coordinate reads, (B, K) each: where, how much of it, and whether it is there."""

    place: Array
    weight: Array
    inside: Array | None = None


def interpolate(x: Array, terms: Sequence[Sequence[Term]]) -> Array:
    """x: (B, C, *I), for each of its I axes terms of (B, K) coordinates -> (B, C, K)."""
    B, C, *I = x.shape
    flat = x.reshape(B, C, math.prod(I))
    corners = [*itertools.product(*terms)]
    sweep = None
    if x.dtype == np.float32 and corners[0][0].weight.dtype == np.float32:
        K = corners[0][0].place.shape[1]
        sweep = find_reader(B, C, flat.shape[2], len(corners), K, thread_pool.count())
    if sweep is not None:
        return _read_by_kernel(sweep, flat, I, terms)
    y = None
    for corner in corners:
        value = np.take_along_axis(flat, _place(corner, I)[:, None], 2)
        inside = _inside_of(corner)
        if inside is not None:
            value = np.where(inside[:, None], value, value.dtype.type(0))
        part = value * _weight(corner)[:, None]
        y = part if y is None else y + part
    assert y is not None
    return np.asarray(y)


Corner = tuple[Term, ...]


def _place(corner: Corner, extents: Sequence[int]) -> Array:
    """Where it is in an image read flat."""
    at = corner[0].place
    for n, term in zip(extents[1:], corner[1:], strict=True):
        at = at * n + term.place
    return at


def _weight(corner: Corner) -> Array:
    return np.asarray(math.prod((term.weight for term in corner[1:]), start=corner[0].weight))


def _inside_of(corner: Corner) -> Array | None:
    """Whether each place of a corner lies in the image: (B, K); None where all do."""
    inside = [term.inside for term in corner if term.inside is not None]
    return np.asarray(np.logical_and.reduce(inside)) if inside else None


def _read_by_kernel(
    sweep: Sweep, flat: Array, extents: Sequence[int], terms: Sequence[Sequence[Term]]
) -> Array:
    """`interpolate` of images read flat, (B, C, pixels) -> (B, C, K), by the kernel of `find_reader`."""
    (B, C, _), (_, K), step = flat.shape, terms[0][0].place.shape, flat.itemsize
    nowhere = -(
        MOST_BYTES // len(extents)
    )  # below 0 with whatever the other axes add, and never below 32 bits
    apart: list[list[tuple[Array, Array]]] = []
    for n, along in zip(reversed(extents), reversed(terms), strict=True):
        bytes_ = [(term.place * step).astype(np.int32) for term in along]
        for each, term in zip(bytes_, along, strict=True):
            if term.inside is not None:
                each[~term.inside] = nowhere
        apart.insert(0, [(each, term.weight) for each, term in zip(bytes_, along, strict=True)])
        step *= n
    count = math.prod(map(len, terms))
    place, weight = (buffers.empty((B, count, K), np.dtype(t)) for t in (np.int32, np.float32))
    for t, corner in enumerate(itertools.product(*apart)):
        place[:, t], weight[:, t] = corner[0]
        for more, factor in corner[1:]:
            place[:, t] += more
            weight[:, t] *= factor
    y = buffers.empty((B, C, K), flat.dtype)
    sweep(flat, np.arange(B), place, weight, y)
    return y


@lru_cache(maxsize=64)
def find_reader(B: int, C: int, plane: int, terms: int, K: int, threads: int) -> Sweep | None:
    """What reads places of images, loaded; None where there is no kernel, or nothing is compiled."""
    large = C * K >= LEAST and plane * FEWEST_BYTES < MOST_BYTES
    plan = read_places(B, C, plane, terms, K, threads) if large else ""
    if isinstance(plan, str):
        return None
    sweep = Sweep(plan)
    try:
        sweep.load()
    except EngineError:
        return None
    return sweep


MOST_BYTES, FEWEST_BYTES = 2**31, 64
"""Beyond places in 32 bits; and so many bytes an element of an image may have that it stays below a share of them."""

LEAST = 1024
"""Elements of an image from which on a kernel reads them."""


def linear_terms(at: Array, n: int) -> list[Term]:
    """Terms of a line between neighbours along an axis of n, nothing outside."""
    at = np.clip(at, -4, n + 4)  # outside stays outside, and small enough for an index
    low = np.floor(at)
    return [_inside(low, 1 - (at - low), n), _inside(low + 1, at - low, n)]


def _inside(place: Array, weight: Array, n: int) -> Term:
    # A place that is no number is nowhere outside: its weight makes the sum no number either.
    index = np.nan_to_num(np.clip(place, 0, n - 1)).astype(np.int64)
    return Term(index, weight, ~((place < 0) | (place >= n)))


# -- GridSample --------------------------------------------------------------------------------------------------------

MODES = {
    "bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic", "cubic": "cubic",
}  # fmt: skip
"""The names before operator set 20 and since."""

PADDINGS = ("zeros", "border", "reflection")


def _sample_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, grid = input_at(node, specs, 0), input_at(node, specs, 1)
    mode, padding = node.get("mode", "linear"), node.get("padding_mode", "zeros")
    if mode not in MODES or padding not in PADDINGS:
        raise node.error(
            f"its mode is {mode!r} and its padding_mode {padding!r}\n"
            f"  linear, nearest or cubic (before operator set 20 bilinear, nearest or bicubic) "
            f"and {', '.join(PADDINGS)} are needed"
        )
    rank = x.rank - 2
    if rank < 1 or grid.rank != x.rank or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise node.error(
            f"its X is {x} and its grid {grid}\n  (N, C, d1 ... dr) and (N, p1 ... pr, r) are needed"
        )
    if grid.dtype.kind not in "fV" or x.dtype.kind not in "fVciub":
        raise node.error(f"its X is {x} and its grid {grid}\n  numbers and floating point numbers are needed")
    if 0 in x.shape[2:] and 0 not in (*grid.shape, x.shape[1]):
        raise node.error(f"its X is {x}\n  there is nothing to sample")
    return (Spec((*x.shape[:2], *grid.shape[1:-1]), x.dtype),)


@operator("GridSample", shape=_sample_shape)
def grid_sample(node: Node, x: Array, grid: Array) -> Any:
    """y[b, c, p] = x[b, c] at grid[b, p], whose numbers from -1 to 1 span the axes of x, the last axis first.

    A coordinate that is no number, or infinite, counts as -1, as in PyTorch and onnxruntime. Whole numbers are computed
    as floating point and cut towards zero, within their range.
    """
    shape = (*x.shape[:2], *grid.shape[1:-1])
    if 0 in shape:
        return np.zeros(shape, x.dtype)
    extents = x.shape[2:]
    places = np.where(np.isfinite(grid), grid, grid.dtype.type(-1)).reshape(x.shape[0], -1, len(extents))
    terms = [_terms(node, places[:, :, -1 - a], n) for a, n in enumerate(extents)]
    exact = x.dtype.kind in "iub"
    if exact and all(len(each) == 1 for each in terms):
        terms = [[Term(t.place, t.weight.astype(x.dtype), t.inside) for t in each] for each in terms]
    elif exact:
        x, made = x.astype(np.float64), x.dtype
        least, most = (0, 1) if made.kind == "b" else (np.iinfo(made).min, np.iinfo(made).max)
        return np.clip(np.trunc(interpolate(x, terms)), least, most).astype(made).reshape(shape)
    return interpolate(x, terms).astype(x.dtype, copy=False).reshape(shape)


def _terms(node: Node, at: Array, n: int) -> list[Term]:
    """The terms along an axis of n of coordinates from -1 to 1."""
    mode, padding = MODES[node.get("mode", "linear")], node.get("padding_mode", "zeros")
    aligned = bool(node.get("align_corners", 0))
    lo, hi = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
    at = (at + 1) / 2 * (n - 1) if aligned else ((at + 1) * n - 1) / 2
    if mode == "nearest":
        at = np.rint(at)
    outside = (at < lo) | (at > hi)
    if padding == "zeros" or (padding == "border" and mode == "cubic"):
        at = np.clip(
            at, -4, n + 4
        )  # a cubic's elements are brought to the edge, not its middle: as in PyTorch
    elif padding == "border":
        at = np.where(outside, np.clip(at, 0, n - 1), at)
    else:
        at = np.where(outside, _mirror(at, lo, hi), at)

    def term(place: Array, weight: Array) -> Term:
        if padding == "zeros":
            return _inside(place, weight, n)
        place = np.clip(_mirror(place, lo, hi) if padding == "reflection" else place, 0, n - 1)
        return Term(place.astype(np.int64), weight)

    if mode == "nearest":
        return [term(at, np.ones_like(at))]
    low = np.floor(at)
    t = at - low
    if mode == "linear":
        return [term(low, 1 - t), term(low + 1, t)]
    return [term(low + k, _cubic(np.abs(t - k))) for k in (-1, 0, 1, 2)]


def _mirror(at: Array, lo: float, hi: float) -> Array:
    """Coordinates mirrored at both ends until they lie between them."""
    if hi <= lo:
        return np.full_like(at, lo)
    far = np.mod(at - lo, 2 * (hi - lo))
    return np.asarray(lo + np.minimum(far, 2 * (hi - lo) - far))


def _cubic(distance: Array) -> Array:
    """The weight of an element so far from the coordinate, below 2."""
    a, d = -0.75, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    return np.where(d <= 1, near, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)
