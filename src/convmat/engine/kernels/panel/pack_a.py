"""Packing A: for each block of its rows, the vectors (or scalars) of every k, one after the other.

    out[k, row] = a[row, k]            row < rows <= width; rows beyond are zero

Two ways to read it: lines contiguous along k are transposed in squares of registers; anything else is gathered.
"""

from __future__ import annotations

from ...ir.emitter import Function, Module, prefix_mask
from ...ir.instructions import Type, Value, const, i1, i64, minimum, ptr, select
from ...ir.shuffles import transpose, widen
from ..tile import gather_at


def line_packer(
    module: Module,
    name: str,
    rows: int,
    width: int,
    source: Type,
    work: Type,
    lanes: int,
    signed: bool,
    ordered: bool,
) -> Function:
    """Writes `pack(a, out, line, depth)`: lines of A, contiguous along k, become the vectors of a tile.

        out[k, row] = a[row, k]        row < rows, k < depth; `line` bytes from row to row; zero for row >= rows

    Squares of lanes x lanes elements are transposed in registers. Where k does not run along the lines in its order
    (not `ordered`), the last parameter is a table of where in `out` each element of a line goes, in bytes.
    """
    parameters = {"a": ptr, "out": ptr, "line": i64, "depth": i64} | ({} if ordered else {"places": ptr})
    fn = module.function(name, parameters)
    a, out, line, depth, *places = fn.arguments
    with fn.loop(0, depth, lanes) as chunk:
        at = chunk.index
        mask = prefix_mask(lanes, depth - at)
        left = minimum(depth - at, lanes)
        target = out + at * (width * work.bytes)
        for first in range(0, width, lanes):
            loaded = [
                widen(
                    fn.load(a + (line * row + at * source.bytes), source.x(lanes), mask=mask),
                    work,
                    signed=signed,
                )
                for row in range(first, min(first + lanes, rows))
            ]
            turned = transpose(loaded) if loaded else [const(work.x(lanes), 0.0)] * lanes
            if 0 < len(loaded) < lanes:
                kept = const(i1.x(lanes), [i < len(loaded) for i in range(lanes)])
                turned = [select(kept, t, const(work.x(lanes), 0.0)) for t in turned]
            narrow_store = min(lanes, width - first)
            for i, each in enumerate(turned):
                with fn.if_(left > i):
                    to = target + i * width * work.bytes
                    if places:
                        to = out + fn.load(places[0] + at * i64.bytes, i64, i * i64.bytes)
                    fn.store(each, to, first * work.bytes, mask=prefix_mask(lanes, narrow_store))
    return fn


def gather_packer(
    module: Module,
    name: str,
    indices: int,
    rows: int,
    width: int,
    source: Type,
    work: Type,
    lanes: int,
    signed: bool,
) -> Function:
    """Writes `pack(a, out, places, walk)`: A read at any strides.

    places: a table of where each row is, in bytes from `a`. walk: the extent and the step in bytes of each of the
    `indices` of k, outermost first.
    """
    fn = module.function(name, {"a": ptr, "out": ptr, "places": ptr, "walk": ptr})
    a, out, places, walk = fn.arguments
    counts, steps = ([fn.load(walk, i64, 16 * i + at) for i in range(indices)] for at in (0, 8))
    lanes_at = [
        fn.load(places, i64.x(lanes), first * i64.bytes, mask=prefix_mask(lanes, max(rows - first, 0)))
        for first in range(0, width, lanes)
    ]

    def nest(depth: int, at: Value, to: Value) -> Value:
        if depth == indices:
            for v, where in enumerate(lanes_at):
                held = prefix_mask(lanes, max(rows - v * lanes, 0))
                stored = prefix_mask(lanes, width - v * lanes)
                made = widen(gather_at(fn, at, where, source.x(lanes), held), work, signed=signed)
                fn.store(made, to, v * lanes * work.bytes, mask=stored)
            return to + width * work.bytes
        with fn.loop(0, counts[depth], carried=[at, to]) as loop:
            here, there = loop.carried
            loop.carry(here + steps[depth], nest(depth + 1, here, there))
        return loop.results[1]

    nest(0, a, out)
    return fn


__all__ = ["gather_packer", "line_packer"]
