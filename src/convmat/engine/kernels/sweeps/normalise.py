"""Normalise: every line around its mean, by its spread, then a scale and a bias.

    y[l, c] = (x[l, c] - m) / sqrt(v + epsilon) * scale + bias        m = mean of x[l], v = mean of (x[l] - m)^2

`centred`: without it m is 0. Scale and bias are one number for each of a line's parts (a channel of a group), or lie
along the line. Sums are taken in float64, m too: of equal elements it is exactly what they are, and x - m is taken in
two steps, m rounded and what that lacks. Three passes over a line, which then lies in a cache.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function
from ...ir.instructions import (
    Value,
    bitcast,
    const,
    f32,
    f64,
    fabs,
    fma,
    fpext,
    fptrunc,
    select,
    sitofp,
    splat,
    sqrt,
    urem,
)
from .base import Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines
from .lines import Line


@dataclass(frozen=True)
class Normalise(SweepRecipe):
    """Whether lines are centred and biased, whether scales lie along them, and lanes of a vector of float32."""

    centred: bool
    biased: bool
    along: bool
    lanes: int
    words = ("epsilon", "parts", "part", "cycle")

    @property
    def arrays(self) -> tuple[str, ...]:
        """x, scale, bias if there is one, and y."""
        return ("x", "scale", "bias", "y") if self.biased else ("x", "scale", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Line by line: the mean, the spread, then part by part what is made of them."""
        columns = words["columns"]
        count = sitofp(columns, to=f64)
        epsilon = bitcast(words["epsilon"], to=f64)
        with fn.loop(share.first, share.stop) as line:
            x = words["x"] + line.index * columns * 4
            at = Line(fn, x, f32, self.lanes, columns)
            less = _Less(())
            if self.centred:
                total = at.walk(2, 0.0, _sum, lambda vector, offset, mask: fpext(vector, to=f64), f64)
                less = _Less.of(total / count, self.lanes)

            def square(vector: Value, offset: Value, mask: Value | None) -> Value:
                wide = fpext(less(vector), to=f64)
                found = wide * wide
                return found if mask is None else select(mask, found, const(found.type, 0.0))

            spread = at.walk(2, 0.0, _sum, square, f64) / count + epsilon
            inverse = const(f64, 1.0) / sqrt(spread)
            first = urem(line.index, words["cycle"]) * words["parts"]
            with fn.loop(0, words["parts"]) as part:
                moved = part.index * words["part"] * 4
                y = words["y"] + (line.index * columns * 4 + moved)
                piece = Line(fn, x + moved, f32, self.lanes, words["part"])
                self._part(fn, words, piece, y, self._factors(fn, words, first + part.index, inverse), less)

    def _factors(
        self, fn: Function, words: Mapping[str, Value], part: Value, inverse: Value
    ) -> tuple[Value, Value | None]:
        """What a part is multiplied by, and what is added, where scales do not lie along lines."""
        if self.along:
            return splat(fptrunc(inverse, to=f32), lanes=self.lanes), None
        by = fpext(fn.load(words["scale"], f32, part * 4), to=f64) * inverse
        add = splat(fn.load(words["bias"], f32, part * 4), lanes=self.lanes) if self.biased else None
        return splat(fptrunc(by, to=f32), lanes=self.lanes), add

    def _part(
        self,
        fn: Function,
        words: Mapping[str, Value],
        at: Line,
        y: Value,
        factors: tuple[Value, Value | None],
        less: _Less,
    ) -> None:
        kind, (factor, add) = f32.x(self.lanes), factors

        def finish(offset: Value, mask: Value | None) -> None:
            about = less(fn.load(at.x, kind, offset, mask=mask))
            if not self.along:
                made = about * factor if add is None else fma(about, factor, add)
            else:
                made = about * factor
                scale = fn.load(words["scale"], kind, offset, mask=mask)
                bias = fn.load(words["bias"], kind, offset, mask=mask) if self.biased else None
                made = made * scale if bias is None else fma(made, scale, bias)
            fn.store(made, y, offset, mask=mask)

        at.each(finish)


def _sum(a: Value, b: Value) -> Value:
    return a + b


@dataclass(frozen=True)
class _Less:
    """A vector less the mean: rounded, and what that lacks; of nothing the vector itself."""

    parts: tuple[Value, ...]

    @classmethod
    def of(cls, mean: Value, lanes: int) -> _Less:
        """Subtraction of this mean, which is in float64."""
        near = fptrunc(mean, to=f32)
        lacks = select(fabs(mean) < float("inf"), mean - fpext(near, to=f64), const(f64, 0.0))
        return cls((splat(near, lanes=lanes), splat(fptrunc(lacks, to=f32), lanes=lanes)))

    def __call__(self, vector: Value) -> Value:
        """Written for a vector."""
        for part in self.parts:
            vector = vector - part
        return vector


def normalise(
    lines: int, columns: int, epsilon: float, threads: int, *, parts: int = 0, cycle: int = 1, biased: bool = True,
    centred: bool = True,
) -> SweepPlan | str:  # fmt: skip
    """The kernel of normalisation; a sentence where there is none.

    x: (lines, columns) -> y alike, float32. `parts` of a line have a scale and a bias each, those of line l from
    (l % cycle) * parts on; 0: these lie along lines, (columns,).

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(normalise(1, 2, 0.0, 1, parts=1))
    >>> made.load()
    >>> y = np.empty((1, 2), np.float32)
    >>> made(np.array([[3, 5]], np.float32), np.ones(1, np.float32), np.full(1, 2, np.float32), y)
    >>> y
    array([[1., 3.]], dtype=float32)
    """
    if refusal := kernel_refusal():
        return refusal
    if not lines * columns:
        return f"takes lines with elements, got {lines} of {columns}"
    words, tasks = share_lines(lines, columns, threads, whole=True)
    words |= {"epsilon": struct.unpack("<q", struct.pack("<d", epsilon))[0]}
    words |= {"parts": max(parts, 1), "part": columns // max(parts, 1), "cycle": cycle}
    recipe = Normalise(centred, biased, not parts, host().lanes(4))
    return SweepPlan(recipe, words, tasks, threads, lines * columns)


__all__ = ["Normalise", "normalise"]
