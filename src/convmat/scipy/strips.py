"""Filters strip by strip: a strip of rows fits a cache, and all steps pass over it there.

    for each strip of y:   its part of x with borders  ->  step  ->  step  ->  store

A chain of steps is a separable filter, one axis a step; several chains of equal reach are added up, or the root of the
sum of their squares is taken. Every strip has the same number of rows, so that one plan serves all: the last strip
begins where it ends with the image, and computes some rows again.

Large images of the type that is computed in are read where they lie. Products then see zeros beyond the edges, which
is right inside; a slab along each edge is computed again, with its borders, and written over it:

    strips of the rows inside      x itself  ->  step  ->  step  ->  y
    slabs along the edges          as above, a few rows or columns of x; of one step, both of an axis side by side
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import buffers
from .borders import Laying, Slices, lay_part, slabs_outside, source_positions, store_rounded
from .steps import FEW_TAPS, Correlation, ReadyStep, StripStep

Array = npt.NDArray[Any]
Chain = Sequence[StripStep]
Shape = tuple[int, ...]

STRIP_BYTES = 1 << 19
"""Bytes of a strip, about: it and what becomes of it are in a cache still, and a step's call costs little."""

LARGE_BYTES = 1 << 20
"""Images from here on are read where they lie: laying their borders costs more than four slabs."""

MOST_EDGES = 1 / 4
"""The part of the image in slabs, up to which that is so."""

KEPT_BYTES = 8 << 20
"""Scratch that a Python thread keeps for its next call: fresh pages cost more than a strip's products do."""


@dataclass(frozen=True)
class Borders:
    """NumPy's name of the border along each axis, and the value of constant ones.

    apart: whether each step of a chain is a filter by itself: its result is cut to integers and has that value outside
    the image; otherwise the chain is one filter, taken apart.
    """

    modes: tuple[str, ...]
    cval: float
    apart: bool = True


@dataclass(frozen=True)
class Kind:
    """What a filter is prepared for: arrays of one shape, the type of input and output, and the type computed in."""

    shape: Shape
    source: np.dtype[Any]
    target: np.dtype[Any]
    work: np.dtype[Any]
    contiguous: bool = True
    """Whether both arrays are C-contiguous."""

    most: float = math.inf
    """What no element of the input is beyond."""


class Strips:
    """Writes to an output the sum of chains over an input, or the root of the sum of their squares.

    Everything is computed in `kind.work`. Between steps, what is not integral is cut to integers if the output holds
    these, as it would be if every step was written to it. May be called from several threads at once.
    """

    def __init__(
        self, kind: Kind, chains: Sequence[Chain], borders: Borders, *, magnitude: bool = False
    ) -> None:
        self._kind, self._chains, self._borders, self._magnitude = kind, chains, borders, magnitude
        self._whole = whole = kind.shape or (1,)
        self._lo = tuple(sum(step.lo[a] for step in chains[0]) for a in range(len(whole)))
        self._reach = tuple(sum(step.sizes[a] - 1 for step in chains[0]) for a in range(len(whole)))
        self._hi = tuple(reach - lo for reach, lo in zip(self._reach, self._lo, strict=True))
        self._direct = kind.target == kind.work and kind.contiguous and not magnitude
        self._runs: dict[Any, ReadyStep] = {}
        self._regions = list(self._plan()) if 0 not in whole else []
        self._scratch = max((region.scratch for region in self._regions), default=0)
        self.nbytes = sum(run.nbytes for run in self._runs.values())

    def __call__(self, x: Array, out: Array) -> None:
        """x and out: of the shape and types that were said; they may overlap."""
        if not self._regions:
            return
        if np.may_share_memory(x, out):
            x = x.copy()
        if not x.ndim:
            x, out = x.reshape(1), out.reshape(1)
        with _Borrowed(self._scratch) as memory:
            for region in self._regions:
                region.run(x, out, memory)

    def _plan(self) -> Iterator[_Region]:
        """The parts that the output is computed in, in order: some are written over by later ones."""
        extent, *others = self._whole
        first, last, zeros = 0, extent, self._in_place()
        rows = self._rows()
        if zeros:
            first, last = self._lo[0], extent - self._hi[0]
            alone = all(len(chain) == 1 for chain in self._chains)
            rows = last - first if alone else min(rows, last - first)
        for start in split_rows(first, last, rows):
            yield self._region((start, *(0,) * len(others)), (rows, *others), zeros)
        for axis, mode in enumerate(self._borders.modes if zeros else ()):
            if axis and mode == "constant" and self._borders.cval == 0:
                continue
            if self._lo[axis] and self._hi[axis] and all(len(chain) == 1 for chain in self._chains):
                yield self._both_edges(axis)
                continue
            for begin, count in slabs_outside(self._whole[axis], self._lo[axis], self._hi[axis]):
                starts, extents = [0] * len(self._whole), list(self._whole)
                starts[axis], extents[axis] = begin, count
                yield self._region(tuple(starts), tuple(extents), zeros=False)

    def _in_place(self) -> bool:
        """Whether the image is read where it lies."""
        kind, steps = self._kind, [step for chain in self._chains for step in chain]
        edges = sum(min(reach / n, 1) for n, reach in zip(self._whole, self._reach, strict=True))
        return (
            self._direct
            and kind.source == kind.work
            and math.prod(kind.shape) * kind.work.itemsize >= LARGE_BYTES
            and edges < MOST_EDGES
            and all(isinstance(step, Correlation) and math.prod(step.sizes) <= FEW_TAPS for step in steps)
        )

    def _rows(self) -> int:
        """Rows of a strip: as many as fit, not fewer than its border has; all where a product is transformed."""
        extent, work = self._whole[0], self._kind.work
        padded = tuple(n + reach for n, reach in zip(self._whole, self._reach, strict=True))
        correlations = [step for chain in self._chains for step in chain if isinstance(step, Correlation)]
        for step in correlations:
            many = not step.exact and math.prod(step.sizes) > FEW_TAPS
            if many and step.plan(padded, work).chosen.lowering == "fft":
                return extent
        strips = max(round(extent * math.prod(padded[1:]) * work.itemsize / STRIP_BYTES), 1)
        return min(max(-(-extent // strips), self._reach[0], 1), extent)

    def _region(self, begin: Shape, extent: Shape, zeros: bool) -> _Region:
        """The box of the output from `begin` on; with `zeros` beyond the edges of all axes but the first."""
        borders = self._borders
        first = tuple(at - lo for at, lo in zip(begin, self._lo, strict=True))
        shape = tuple(n + reach for n, reach in zip(extent, self._reach, strict=True))
        laying: Laying | slice = slice(first[0], first[0] + shape[0])
        if zeros:
            shape = (shape[0], *extent[1:])
        else:
            laying = lay_part(self._whole, first, shape, borders.modes, borders.cval)
        chains = self._prepare(shape, begin, extent, zeros=zeros)
        target = tuple(slice(at, at + n) for at, n in zip(begin, extent, strict=True))
        direct = self._direct and extent[1:] == self._whole[1:]
        targets = ((target, (slice(None),) * len(target)),)
        return _Region(
            laying, shape, targets, extent, chains, self._kind.work, borders.cval, direct, self._magnitude
        )

    def _both_edges(self, axis: int) -> _Region:
        """The slabs along both edges of an axis as one region: one step passes over what lies side by side.

        What it makes between the two, of windows with elements of both, is not stored.
        """
        borders, n, lo, hi = self._borders, self._whole[axis], self._lo[axis], self._hi[axis]
        reach = lo + hi
        places = [
            each for begin, count in ((-lo, lo + reach), (n - reach, reach + hi))
            for each in source_positions(borders.modes[axis], n, begin, count)
        ]  # fmt: skip
        begin = tuple(-lo for lo in self._lo)
        shape = [m + more for m, more in zip(self._whole, self._reach, strict=True)]
        shape[axis] = len(places)
        extent = tuple(m - more for m, more in zip(shape, self._reach, strict=True))
        laying = lay_part(self._whole, begin, shape, borders.modes, borders.cval, (axis, places))
        chains = self._prepare(tuple(shape), (0,) * len(shape), extent, zeros=False)
        ahead = (slice(None),) * axis
        if lo == hi == 1:  # one copy for both
            pairs = [(slice(0, n, n - 1), slice(0, extent[axis], extent[axis] - 1))]
        else:
            pairs = [(slice(0, lo), slice(0, lo)), (slice(n - hi, n), slice(extent[axis] - hi, extent[axis]))]
        targets = tuple(((*ahead, to), (*ahead, source)) for to, source in pairs)
        return _Region(
            laying, tuple(shape), targets, extent, chains, self._kind.work, borders.cval, False, False
        )

    def _prepare(self, shape: Shape, begin: Shape, extent: Shape, *, zeros: bool) -> list[list[_RegionStep]]:
        """The chains' steps over a part of this shape, which is laid for the outputs begin .. begin+extent-1."""
        chains = []
        for number, chain in enumerate(self._chains):
            made, at, most = [], shape, self._kind.most
            for step in chain:
                last = step is chain[-1]
                fills = () if zeros or step is chain[0] else tuple(self._fills(step, at, begin, extent))
                run = self._run(step, at, add=last and number > 0 and not self._magnitude, zeros=zeros)
                at = tuple(
                    n - size + 1 if axis == 0 or not zeros else n
                    for axis, (n, size) in enumerate(zip(at, step.sizes, strict=True))
                )
                most = max(most, abs(self._borders.cval)) * step.gain
                whole = last or not self._cuts(step)
                made.append(_RegionStep(run, at, fills, None if whole else self._kind.target, most))
                most = most if whole else 2.0 ** (8 * self._kind.target.itemsize)  # where it wraps around
            chains.append(made)
        return chains

    def _cuts(self, step: StripStep) -> bool:
        """Whether what a step makes is cut to integers before the next: where cutting it once, at the end, differs."""
        source, target, cval = self._kind.source, self._kind.target, self._borders.cval
        if target.kind not in "iu" or not self._borders.apart:
            return False
        constant, limits = "constant" in self._borders.modes, np.iinfo(target)
        whole = source.kind in "biu" and (not constant or cval == np.rint(cval))
        fits = np.can_cast(source, target) and (not constant or limits.min <= cval <= limits.max)
        return not (step.integral and whole and target != np.uint64 and (step.linear or fits))

    def _fills(self, step: StripStep, shape: Shape, begin: Shape, extent: Shape) -> Iterator[Slices]:
        """What lies outside the image, where it is `cval` for each step."""
        for axis, size in enumerate(step.sizes):
            if size > 1 and self._borders.modes[axis] == "constant" and self._borders.apart:
                before = max(self._lo[axis] - begin[axis], 0)
                after = max(begin[axis] + extent[axis] + self._hi[axis] - self._whole[axis], 0)
                for at, count in slabs_outside(shape[axis], before, after):
                    yield (*(slice(None),) * axis, slice(at, at + count))

    def _run(self, step: StripStep, shape: Shape, *, add: bool, zeros: bool) -> ReadyStep:
        """A step prepared for strips of a shape: strips of equal shapes share it."""
        key = (id(step), shape, add, zeros)
        if key not in self._runs:
            self._runs[key] = step.prepare(shape, self._kind.work, add=add, zeros=zeros)
        return self._runs[key]


@dataclass(frozen=True)
class _RegionStep:
    """A step of a region: what of its input is the constant outside, what runs, and the shape that it makes.

    cut: the integers that its result is cut to, which is not beyond `most`.
    """

    run: ReadyStep
    shape: Shape
    fills: tuple[Slices, ...]
    cut: np.dtype[Any] | None
    most: float


@dataclass(frozen=True)
class _Region:
    """A box of the output, and how it is computed: from rows of x as they are, or a part laid out with its borders.

    direct: the last step writes to the output itself, which the box is all of along the last axes. `targets`: where of
    the output parts of what is made go, and these.
    """

    laying: Laying | slice
    shape: Shape
    targets: tuple[tuple[Slices, Slices], ...]
    extent: Shape
    chains: list[list[_RegionStep]]
    work: np.dtype[Any]
    cval: float
    direct: bool
    magnitude: bool

    @property
    def pitch(self) -> int:
        """Bytes of scratch that one array of it takes at most."""
        return -(-math.prod(self.shape) * self.work.itemsize // 64) * 64

    @property
    def scratch(self) -> int:
        """Bytes of scratch: the part, the results of steps in turn, the sums."""
        return 4 * self.pitch

    def run(self, x: Array, out: Array, memory: Array) -> None:
        """Write the box of the output."""
        if isinstance(self.laying, slice):
            part = x[self.laying]
        else:
            part = self._array(memory, 0, self.shape)
            self.laying(x, part)
        sums = out[self.targets[0][0]] if self.direct else self._array(memory, 3, self.extent)
        for number, chain in enumerate(self.chains):
            self._through(chain, part, sums, memory)
            if self.magnitude:
                made = self._array(memory, 1 + (len(chain) - 1) % 2, self.extent)
                np.square(made, out=made)
                if number:
                    np.add(sums, made, out=sums)
                else:
                    np.copyto(sums, made)
        if self.magnitude:
            np.sqrt(sums, out=sums)
        for to, source in () if self.direct else self.targets:
            store_rounded(sums[source], out[to], sum(chain[-1].most for chain in self.chains))

    def _through(self, chain: list[_RegionStep], part: Array, sums: Array, memory: Array) -> None:
        """Pass through all steps of a chain, into `sums`; into scratch where squares are to come."""
        last = len(chain) - 1
        for number, stage in enumerate(chain):
            for at in stage.fills:
                part[at] = self.cval
            there = number == last and not self.magnitude
            made = sums if there else self._array(memory, 1 + number % 2, stage.shape)
            stage.run(part, made)
            if stage.cut is not None:
                whole = np.empty(stage.shape, stage.cut)
                store_rounded(made, whole, stage.most)
                np.copyto(made, whole, casting="unsafe")
            part = made

    def _array(self, memory: Array, slot: int, shape: Shape) -> Array:
        """An array in scratch."""
        return np.ndarray(shape, self.work, memory, slot * self.pitch)


class _Lendable(threading.local):
    memory: Array | None = None


_kept = _Lendable()


class _Borrowed:
    """Lends so many bytes of scratch while it is entered: those that this Python thread had before, or others."""

    __slots__ = ("memory", "size")

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> Array:
        kept, _kept.memory = _kept.memory, None  # a signal's handler that filters gets its own
        self.memory = kept if kept is not None and kept.nbytes >= self.size else buffers.take(self.size)
        return self.memory

    def __exit__(self, *error: object) -> None:
        if self.memory.nbytes <= KEPT_BYTES:
            _kept.memory = self.memory
        else:
            buffers.give(self.memory)


def split_rows(first: int, last: int, rows: int) -> Iterator[int]:
    """The first rows of strips that cover the rows first .. last-1 together.

    >>> list(split_rows(0, 10, 4))
    [0, 4, 6]
    """
    yield from range(first, last - rows, rows)
    yield last - rows


__all__ = ["Borders", "Chain", "Kind", "Strips", "split_rows"]
