"""Maxima of windows of random geometries, with unreadable pages beside the arrays.

    python -m tests.engine.maxima SEED COUNT

In a process of its own, which a read outside the arrays ends. Beside the arrays all is NaN, which maxima would show.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np

from convmat.errors import GeometryError
from convmat.geometry import Geometry
from convmat.planner.maxima import maxima
from tests.engine.guarded import Fenced
from tests.support import Array


def by_hand(x: Array, g: Geometry) -> Array:
    """The definition, tap by tap on an image that is padded by the lowest number."""
    pads = [(max(lo, 0), max(hi, 0)) for lo, hi in zip(g.lo, g.hi, strict=True)]
    wide = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=-np.inf)
    starts = [max(-lo, 0) for lo in g.lo]
    y = np.full(g.y_shape, -np.inf, x.dtype)
    for tap in itertools.product(*map(range, g.F)):
        begin = [start + f * d for start, f, d in zip(starts, tap, g.d, strict=True)]
        where: list[Any] = [slice(b, b + (p - 1) * s + 1, s) for b, p, s in zip(begin, g.P, g.s, strict=True)]
        y = np.maximum(y, wide[(slice(None), slice(None), *where)])
    return y


def drawn(pick: np.random.Generator) -> Geometry | None:
    """A depthwise geometry of one to three axes."""
    rank = int(pick.integers(1, 4))
    some = [int(n) for n in pick.integers(1, (40, 18, 9)[rank - 1], rank)]
    F, s, d = ([int(n) for n in pick.integers(1, top, rank)] for top in (5, 4, 3))
    pads = tuple((int(pick.integers(-1, f)), int(pick.integers(-1, f + 1))) for f in F)
    C = int(pick.integers(1, 4))
    try:
        return Geometry.of((2, C, *some), (C, 1, *F), stride=s, dilation=d, padding=pads, groups=C)
    except GeometryError:
        return None


def main(seed: int, count: int) -> None:
    pick, done = np.random.default_rng(seed), 0
    while done < count:
        g = drawn(pick)
        if g is None:
            continue
        dtype = ("float32", "float64")[done % 2]
        print(f"{g} {dtype}", flush=True)
        x = pick.standard_normal(g.x_shape).astype(dtype) - 3
        if done % 3 == 0:
            x.flat[int(pick.integers(x.size))] = np.nan
        fill = maxima(g, dtype, 1 + done % 2)
        assert not isinstance(fill, str), fill
        for Fenced.behind in (True, False):
            fenced, out = Fenced.holding(x), Fenced.holding(np.zeros(g.y_shape, dtype))
            fenced.freeze()
            y = out.array(np.empty(g.y_shape, dtype))
            fill(fenced.array(x), y)
            assert np.array_equal(y, by_hand(x, g), equal_nan=True)
            assert fenced.untouched()
            assert out.untouched()
        done += 1
    print(f"done: {done} geometries", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
