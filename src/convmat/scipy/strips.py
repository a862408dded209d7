"""Filters strip by strip: a strip of rows with its borders fits a cache, and all steps pass over it there.

    for each strip of y:   lay its part of x with borders  ->  step  ->  step  ->  store

A chain of steps is a separable filter, one axis a step; several chains of equal reach are added up, or the root of the
sum of their squares is taken. Every strip has the same number of rows, so that one plan serves all: the last strip
begins where it ends with the image, and computes some rows again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import buffers
from .borders import lay_borders, refill_border, store_rounded
from .steps import Correlation, Step

Array = npt.NDArray[Any]
Chain = Sequence[Step]

STRIP_BYTES = 1 << 20
"""Of a strip, about: it and what becomes of it are in a cache still, and a step's call costs little of its time."""

FEW_TAPS = 64
"""Windows of more may be transformed, for which the planner is asked; those want the whole image at once."""


@dataclass(frozen=True)
class Borders:
    """NumPy's name of the border along each axis, and the value of constant ones."""

    modes: tuple[str, ...]
    cval: float


def run_strips(
    x: Array,
    out: Array,
    chains: Sequence[Chain],
    borders: Borders,
    *,
    work: np.dtype[Any],
    magnitude: bool = False,
) -> None:
    """Write to `out`, of x's shape and any type, the sum of the chains, or the root of the sum of their squares.

    Everything is computed in `work`. Between steps, what is not integral is cut to integers if `out` holds these, as
    it would be if every step was written to `out`.
    """
    if not out.size:
        return
    if not x.ndim:
        x, out = x.reshape(1), out.reshape(1)
    lo = tuple(sum(step.lo[a] for step in chains[0]) for a in range(x.ndim))
    reach = tuple(sum(step.sizes[a] - 1 for step in chains[0]) for a in range(x.ndim))
    hi = tuple(r - before for r, before in zip(reach, lo, strict=True))
    source = x.copy() if np.may_share_memory(x, out) else x
    rows = _rows(source, chains, reach, work)
    padded = (rows + reach[0], *(n + r for n, r in zip(x.shape[1:], reach[1:], strict=True)))
    scratch = _Scratch(math.prod(padded), work)
    direct = out.dtype == work and out.flags.c_contiguous and not magnitude
    for start in _starts(x.shape[0], rows):
        target = out[start : start + rows]
        sums = target if direct else scratch.array("sums", target.shape)
        part = scratch.array("part", padded)
        lay_borders(source, part, lo, hi, borders.modes, borders.cval, start)
        strip = _Strip(x.shape, start, rows, lo, hi, borders, scratch, out.dtype)
        for number, chain in enumerate(chains):
            strip.through(chain, part, sums, number > 0, magnitude)
        if magnitude:
            np.sqrt(sums, out=sums)
        if not direct:
            store_rounded(sums, target)


@dataclass(frozen=True)
class _Strip:
    """Where a strip is in the image, and where its results go on the way."""

    shape: tuple[int, ...]
    start: int
    rows: int
    lo: tuple[int, ...]
    hi: tuple[int, ...]
    borders: Borders
    scratch: _Scratch
    dtype: np.dtype[Any]

    def through(self, chain: Chain, part: Array, sums: Array, add: bool, magnitude: bool) -> None:
        """Through all steps of a chain, into `sums`."""
        last = len(chain) - 1
        for number, step in enumerate(chain):
            if number:
                self._constant(part, step)
            shape = tuple(n - size + 1 for n, size in zip(part.shape, step.sizes, strict=True))
            if number == last and not magnitude:
                step.run(part, sums, add)
                return
            made = self.scratch.array(f"step {number % 2}", shape)
            step.run(part, made)
            if self.dtype.kind in "iu" and not (step.integral and self.dtype != np.uint64):
                whole = np.empty(shape, self.dtype)
                store_rounded(made, whole)
                np.copyto(made, whole, casting="unsafe")
            part = made
        np.square(part, out=part)
        if add:
            np.add(sums, part, out=sums)
        else:
            np.copyto(sums, part)

    def _constant(self, part: Array, step: Step) -> None:
        """What lies outside the image is `cval` for every step, not what steps before made of it."""
        for axis, size in enumerate(step.sizes):
            if size > 1 and self.borders.modes[axis] == "constant":
                start, rows = (self.start, self.rows) if axis == 0 else (0, self.shape[axis])
                before = max(self.lo[axis] - start, 0)
                after = max(start + rows + self.hi[axis] - self.shape[axis], 0)
                refill_border(part, axis, min(before, part.shape[axis]), after, "constant", self.borders.cval)


class _Scratch:
    """Memory of a call: what is asked for under a name lies where it lay before."""

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self.size, self.dtype = size, dtype
        self._kept: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """An array of this shape, of at most the size that was said."""
        if name not in self._kept:
            self._kept[name] = buffers.empty((self.size,), self.dtype)
        return self._kept[name][: math.prod(shape)].reshape(shape)


def _starts(extent: int, rows: int) -> Iterator[int]:
    """The first rows of strips that cover an image together.

    >>> list(_starts(10, 4))
    [0, 4, 6]
    """
    yield from range(0, extent - rows, rows)
    yield extent - rows


def _rows(x: Array, chains: Sequence[Chain], reach: tuple[int, ...], work: np.dtype[Any]) -> int:
    """Rows of a strip: as many as fit, not fewer than its border has; all of them where one product is transformed."""
    extent: int = x.shape[0]
    for step in (step for chain in chains for step in chain):
        if isinstance(step, Correlation) and not step.exact and math.prod(step.sizes) > FEW_TAPS:
            padded = tuple(n + r for n, r in zip(x.shape, reach, strict=True))
            if step.plan(padded, work).chosen.lowering == "fft":
                return extent
    line: int = math.prod(n + r for n, r in zip(x.shape[1:], reach[1:], strict=True)) * work.itemsize
    strips = max(round(extent * line / STRIP_BYTES), 1)
    return min(max(-(-extent // strips), reach[0], 1), extent)


__all__ = ["Borders", "Chain", "run_strips"]
