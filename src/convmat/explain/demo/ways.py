"""Ways to an output that no plan knows: the definition's loops, and im2col as one writes it with NumPy alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.engine import blas_threads
from convmat.geometry import Geometry
from convmat.planner.trial import Way
from convmat.reference import convolve

Array = npt.NDArray[Any]


def by_definition(x: Array, w: Array, g: Geometry, filters: int, pixels: int) -> Way:
    """The definition's loops over some filters and a block of pixels amid the output: the rest would take minutes."""
    filters = min(filters, g.O // g.G)
    pieces, borders, cut = [], [], []
    for a in range(g.rank):
        count = min(pixels, g.P[a])
        first = (g.P[a] - count) // 2
        start = first * g.s[a] - g.lo[a]
        stop = start + (count - 1) * g.s[a] + g.reach[a]
        pieces.append(slice(max(start, 0), min(stop, g.I[a])))
        borders.append((max(-start, 0), max(stop - g.I[a], 0)))
        cut.append(slice(first, first + count))
    piece = x[(slice(None), slice(None), *pieces)][:, : g.C // g.G]
    some = w[:filters]
    small = Geometry.of(piece.shape, some.shape, stride=g.s, dilation=g.d, padding=borders)
    return Way(
        "the definition, loops",
        partial(convolve, piece, some, small),
        part=(slice(None), slice(filters), *cut),
        scale=g.flops / small.flops,
        note=f"{filters} of {g.O} filters and {'x'.join(map(str, small.P))} of {'x'.join(map(str, g.P))} pixels",
    )


def by_hand(x: Array, w: Array, g: Geometry, threads: int) -> Way:
    """im2col as one writes it with NumPy alone: pad, windows, copy, `@`. One group."""
    out = np.empty((g.B, g.O, *g.P), x.dtype)
    borders = ((0, 0), (0, 0), *zip(g.lo, g.hi, strict=True))
    axes = tuple(range(2, 2 + g.rank))
    every: tuple[Any, ...] = (..., *(slice(None, None, step) for step in (*g.s, *g.d)))
    taps = tuple(a + g.rank for a in axes)

    def call() -> Array:
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, borders), g.reach, axes)[every]
        unrolled = windows.transpose(0, 1, *taps, *axes).reshape(g.B, g.k, -1)
        with blas_threads.limit(threads):
            np.matmul(w.reshape(g.O, g.k), unrolled, out=out.reshape(g.B, g.O, -1))
        return out

    return Way("im2col in plain NumPy", call)
