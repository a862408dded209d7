"""Products of rows: sums of products about a number of each line, which variances and their gradients are made of.

y[l] = sum over c of (x[l, c] - m[l])^2          or of (x[l, c] - m[l]) * v[l, c]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...cpu import host
from ...ir.emitter import Function
from ...ir.instructions import TYPES, Type, Value, const, select, splat
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal
from .lines import ACCUMULATORS, Line


@dataclass(frozen=True)
class Products(SweepRecipe):
    """Whether x is multiplied by itself alone, the type, lanes of a vector."""

    alone: bool
    type: Type
    lanes: int
    words = ()

    @property
    def arrays(self) -> tuple[str, ...]:
        """x, v where there is one, m, and y."""
        return ("x", "m", "y") if self.alone else ("x", "v", "m", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line."""
        item, columns, kind = self.type.bytes, words["columns"], self.type.x(self.lanes)
        with fn.loop(share.first, share.stop) as line:
            moved = line.index * columns * item
            about = splat(fn.load(words["m"], self.type, line.index * item), lanes=self.lanes)

            def product(vector: Value, offset: Value, mask: Value | None) -> Value:
                nothing = const(kind, 0.0)
                other = vector - about
                if not self.alone:
                    other = other * fn.load(words["v"] + moved, kind, offset, mask=mask, other=nothing)
                else:
                    other = other * other
                return other if mask is None else select(mask, other, nothing)

            at = Line(fn, words["x"] + moved, self.type, self.lanes, columns)
            found = at.walk(ACCUMULATORS, 0.0, lambda a, b: a + b, product)
            fn.store(found, words["y"], line.index * item)


def products_of_rows(lines: int, columns: int, alone: bool, dtype: str, threads: int) -> SweepPlan | str:
    """The kernel of such sums; a sentence where there is none.

    x (and v unless `alone`): (lines, columns), m: (lines,) -> y: (lines,); all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(products_of_rows(1, 3, True, "float64", 1))
    >>> made.load()
    >>> y = np.empty(1)
    >>> made(np.array([[1.0, 2.0, 3.0]]), np.array([2.0]), y)
    >>> y
    array([2.])
    """
    if refusal := type_refusal(dtype):
        return refusal
    if not lines or not columns:
        return f"takes lines with elements, got {lines} of {columns}"
    type = TYPES[dtype]
    words, tasks = share_lines(lines, columns, threads, whole=True)
    recipe = Products(alone, type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, lines * columns)


__all__ = ["Products", "products_of_rows"]
