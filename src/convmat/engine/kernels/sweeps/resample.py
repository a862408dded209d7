"""Resample: every element of a plane a weighted sum of a few of another plane's, along rows and columns.

    y[l, p, q] = sum over s, t of  u[p, s] * v[q, t] * x[l, i[p, s], j[q, t]]

Lanes lie along q. What a vector of y is made of lies close together where planes grow: one load of x holds it, and a
permutation by a table puts it in its places. Where it does not, or the CPU has no such instruction, lanes are gathered.
A weight of 0 is no term: an infinity beside a window stays where it is. Bytes are summed in float32, too, and rounded
once, halves to even.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import (
    Type,
    Value,
    const,
    f32,
    fma,
    i1,
    i8,
    i32,
    i64,
    maximum,
    minimum,
    not_equal,
    rint,
    select,
    sext,
    splat,
    udiv,
)
from ...ir.shuffles import narrow, widen
from ..epilogue import gather_at
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

Array = npt.NDArray[Any]

ELEMENTS: dict[str, tuple[Type, tuple[float, float] | None]] = {
    "float32": (f32, None),
    "uint8": (i8, (0.0, 255.0)),
    "int8": (i8, (-128.0, 127.0)),
}
"""By name: the type in memory, and the least and the greatest number of an integer."""

MOST_TAPS = 4
"""Along an axis: cubic interpolation's."""

PERMUTATIONS = {64: "llvm.x86.avx512.permvar.sf.512", 32: "llvm.x86.avx2.permps"}
"""By bytes of a vector, what puts float32 lanes in any places on x86."""


class Weighted(NamedTuple):
    """Along an axis, what each output is made of: `places` and `weight`, both (outputs, terms)."""

    places: Array
    weight: Array


@dataclass(frozen=True)
class Resample(SweepRecipe):
    """Terms along rows and along columns, lanes of a vector, whether they are permuted, and what elements are."""

    down: int
    across: int
    lanes: int
    permutes: bool
    element: str
    words = ("height", "width", "padded", "outputs")
    arrays = ("x", "begin", "place", "weight", "row", "row weight", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line of y: all rows that it is made of, a vector of columns at a time."""
        lanes, kind = self.lanes, f32.x(self.lanes)
        item, limits = ELEMENTS[self.element][0].bytes, ELEMENTS[self.element][1]
        with fn.loop(share.first, share.stop) as line:
            plane = udiv(line.index, words["outputs"])
            number = (line.index - plane * words["outputs"]) * self.down
            x = words["x"] + plane * (words["height"] * words["width"] * item)
            rows = [
                x + fn.load(words["row"] + (number + s) * 8, i64) * words["width"] * item
                for s in range(self.down)
            ]
            factors = [fn.load(words["row weight"] + (number + s) * 4, f32) for s in range(self.down)]
            y = words["y"] + line.index * words["columns"] * item

            def vector(column: Value, left: Value | None) -> None:
                begin = fn.load(words["begin"] + udiv(column, lanes) * 8, i64)
                held = prefix_mask(lanes, words["width"] - begin)
                places, weights = (
                    [
                        fn.load(words[name] + (words["padded"] * t + column) * 4, type)
                        for t in range(self.across)
                    ]
                    for name, type in (("place", i32.x(lanes)), ("weight", kind))
                )
                total: Value = const(kind, 0.0)
                counts = [not_equal(each, 0.0) for each in weights]
                for row, factor in zip(rows, factors, strict=True):
                    found: Value = const(kind, 0.0)
                    terms = self._terms(fn, row + begin * item, places, held)
                    for term, weight, counted in zip(terms, weights, counts, strict=True):
                        found = fma(select(counted, term, const(kind, 0.0)), weight, found)
                    found = select(not_equal(factor, 0.0), found, const(kind, 0.0))
                    total = fma(found, splat(factor, lanes=lanes), total)
                if limits is not None:
                    least, most = (const(kind, limit) for limit in limits)
                    total = narrow(minimum(maximum(rint(total), least), most), i8)
                fn.store(total, y, column * item, mask=None if left is None else prefix_mask(lanes, left))

            share.vectors(fn, lanes, vector)

    def _terms(self, fn: Function, row: Value, places: list[Value], held: Value) -> list[Value]:
        """The elements of a row at each of several vectors of places from where the vector begins, as float32."""
        kind, element, signed = f32.x(self.lanes), ELEMENTS[self.element][0], self.element != "uint8"
        if not self.permutes:
            every = const(i1.x(self.lanes), 1)
            found = (
                gather_at(fn, row, sext(each, to=i64) * element.bytes, element.x(self.lanes), every)
                for each in places
            )
            return [widen(each, f32, signed=signed) for each in found]
        near = widen(fn.load(row, element.x(self.lanes), mask=held), f32, signed=signed)
        name = PERMUTATIONS[kind.bytes]
        return [
            fn.emit(f"call {kind.text} @{name}({kind.text} {near.name}, {each.type.text} {each.name})", kind)
            for each in places
        ]


def resample(
    planes: int,
    plane: tuple[int, int],
    rows: Weighted,
    columns: Weighted,
    threads: int,
    element: str = "float32",
) -> tuple[SweepPlan, tuple[Array, ...]] | str:
    """The kernel and the tables that it reads between x and y; a sentence where there is none.

    x: (planes, *plane) -> y: (planes, outputs of rows, outputs of columns), both of one element type, C-contiguous.

    >>> from convmat.engine import Sweep
    >>> both = Weighted(np.array([[0, 0], [0, 1], [1, 1]]), np.full((3, 2), 0.5))
    >>> plan, tables = resample(1, (1, 2), Weighted(np.zeros((1, 1), int), np.ones((1, 1))), both, 1)
    >>> made = Sweep(plan)
    >>> made.load()
    >>> y = np.empty((1, 1, 3), np.float32)
    >>> made(np.array([[[2, 6]]], np.float32), *tables, y)
    >>> y
    array([[[2., 4., 6.]]], dtype=float32)
    """
    if refusal := kernel_refusal():
        return refusal
    if element not in ELEMENTS:
        return f"takes {', '.join(ELEMENTS)}, got {element}"
    (P, down), (Q, across) = rows.places.shape, columns.places.shape
    if max(down, across) > MOST_TAPS:
        return f"takes up to {MOST_TAPS} terms along an axis, got {down} and {across}"
    if not planes * P * Q:
        return f"takes planes with elements, got {planes} of {P} x {Q}"
    cpu = host()
    lanes = cpu.lanes(4)
    padded = -(-Q // lanes) * lanes
    place, weight = np.zeros((across, padded), np.int64), np.zeros((across, padded), np.float32)
    place[:, :Q], weight[:, :Q] = columns.places.T, columns.weight.T
    place[:, Q:] = place[:, Q - 1 : Q]
    vectors = place.reshape(across, -1, lanes)
    begin = np.minimum(vectors.min((0, 2)), max(plane[1] - lanes, 0))
    near = cpu.arch == "x86_64" and cpu.vector_bytes in PERMUTATIONS
    permutes = bool(near and (vectors.max((0, 2)) - begin < lanes).all())
    begin = begin if permutes else np.zeros_like(begin)
    place = (vectors - begin[:, None]).reshape(across, padded).astype(np.int32)
    tables = (
        begin.astype(np.int64), place, weight, np.ascontiguousarray(rows.places, np.int64),
        np.ascontiguousarray(rows.weight, np.float32),
    )  # fmt: skip
    words, tasks = share_lines(planes * P, Q, threads, whole=False)
    words |= {"height": plane[0], "width": plane[1], "padded": padded, "outputs": P}
    recipe = Resample(down, across, lanes, permutes, element)
    return SweepPlan(recipe, words, tasks, threads, max(planes * P * Q, planes * plane[0] * plane[1])), tables


__all__ = ["Resample", "Weighted", "resample"]
