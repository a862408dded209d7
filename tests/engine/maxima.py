"""Maxima of windows of random geometries, with unreadable pages beside the arrays.

    python -m tests.engine.maxima SEED COUNT SIZES TARGET

In a process of its own, which a read outside the arrays ends. Beside the arrays all is NaN, which maxima would show.
What is constant in a kernel is drawn COUNT times, and SIZES geometries of each.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from convmat.engine import jit
from convmat.engine.cpu import Cpu
from convmat.errors import GeometryError
from convmat.geometry import Geometry
from convmat.planner.maxima import maxima
from tests.engine.guarded import Fenced, put_into
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


def drawn(pick: np.random.Generator, sizes: int) -> Iterator[Geometry]:
    """So many depthwise geometries of one to three axes, which differ in sizes alone."""
    rank, C = int(pick.integers(1, 4)), int(pick.integers(1, 4))
    F, s, d = ([int(n) for n in pick.integers(1, top, rank)] for top in (5, 6, 3))
    lo, count = [int(pick.integers(-1, f)) for f in F], 0
    while count < sizes:
        some = [int(n) for n in pick.integers(1, (40, 18, 9)[rank - 1], rank)]
        some[-1] *= int(pick.integers(1, 6))
        pads = tuple((a, int(pick.integers(-1, f + 1))) for a, f in zip(lo, F, strict=True))
        try:
            yield Geometry.of((2, C, *some), (C, 1, *F), stride=s, dilation=d, padding=pads, groups=C)
        except GeometryError:
            continue
        count += 1


def main(seed: int, count: int, sizes: int, target: str) -> None:
    if target != "native":
        put_into(jit, host=lambda: Cpu.named(target))
    pick = np.random.default_rng(seed)
    for kind in range(count):
        dtype = ("float32", "float64")[kind % 2]
        for size, g in enumerate(drawn(pick, sizes)):
            hold(g, dtype, 1 + (kind + size) % 2, pick)
    print(f"done: {count * sizes} geometries", flush=True)


def hold(g: Geometry, dtype: str, threads: int, pick: np.random.Generator) -> None:
    """Maxima between unreadable pages, held to those by hand; in a third of them an element is NaN."""
    print(f"{g} {dtype}", flush=True)
    x = pick.standard_normal(g.x_shape).astype(dtype) - 3
    if not pick.integers(3):
        x.flat[int(pick.integers(x.size))] = np.nan
    fill = maxima(g, dtype, threads)
    assert not isinstance(fill, str), fill
    for Fenced.behind in (True, False):
        fenced, out = Fenced.holding(x), Fenced.holding(np.zeros(g.y_shape, dtype))
        fenced.freeze()
        y = out.array(np.empty(g.y_shape, dtype))
        fill(fenced.array(x), y)
        assert np.array_equal(y, by_hand(x, g), equal_nan=True)
        assert fenced.untouched()
        assert out.untouched()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
