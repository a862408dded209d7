"""What is done to a strip with its borders around it: one product, with no border left.

    Correlation   y[p] = sum over f of  w[f] * x[p + f]
    OfWindows     y[p] = mean, max or min over f of  x[p + f]        along one axis
    Footprint     y[p] = max or min over some f of  x[p + f]

A step is prepared for strips of one shape: planned, its weights packed. Axes along which a window has one element are
merged: before the first other axis they are a batch, after the last one they are pixels. So a filter along any axis of
a volume is one of two kernels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import api
from ..engine import Sweep, threads, windows
from ..errors import EngineError
from ..planner import Plan

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
DType = np.dtype[Any]


FEW_TAPS = 64
"""Windows of more may be transformed, for which the planner is asked; those want the whole image at once."""


class ReadyStep(Protocol):
    """A step ready for strips of one shape and type; it may be called from several threads at once."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

    def __call__(self, x: Array, y: Array) -> None:
        """Write the strip's result, or add it to what is there; both are C-contiguous and of one type."""


class StripStep(ABC):
    """One product over strips. `sizes`: extents of its window; `lo`: how many elements before the centre it reaches."""

    sizes: tuple[int, ...]
    lo: tuple[int, ...]

    @abstractmethod
    def prepare(self, shape: Shape, dtype: DType, *, add: bool = False, zeros: bool = False) -> ReadyStep:
        """Prepare strips of this shape. `add`: to what is in y; `zeros`: beyond the edges of all axes but the first.

        With zeros, y is as wide as x along these axes.
        """

    @property
    def integral(self) -> bool:
        """Whether it makes integers of integers: cutting them to another integer type can then wait."""
        return True

    @property
    def linear(self) -> bool:
        """Whether it sums: what wraps around before it does so after it, too."""
        return False

    @property
    def gain(self) -> float:
        """How many times the largest element of x an element of y may be."""
        return 1.0


def merge_axes(
    shape: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], slice]:
    """The shapes (B, C, *I) and (O, C, *F) of the same product with as few axes as it needs, and the axes left.

    >>> merge_axes((5, 6, 7), (1, 3, 1))
    ((5, 1, 6, 7), (1, 1, 3, 1), slice(1, 2, None))
    >>> merge_axes((5, 6, 7), (1, 1, 3))
    ((30, 1, 7), (1, 1, 3), slice(2, 3, None))
    """
    wide = [axis for axis, size in enumerate(sizes) if size > 1] or [len(sizes) - 1]
    first, last = wide[0], wide[-1]
    inner, after = list(shape[first : last + 1]), math.prod(shape[last + 1 :])
    taps = list(sizes[first : last + 1])
    if last + 1 < len(shape):
        inner, taps = [*inner, after], [*taps, 1]
    return (math.prod(shape[:first]), 1, *inner), (1, 1, *taps), slice(first, last + 1)


@dataclass(frozen=True)
class Correlation(StripStep):
    """A product with weights of as many axes as the array has; `exact`: by the definition's own products alone."""

    weights: Array
    lo: tuple[int, ...]
    exact: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]  # what the weights say
        """The window's extents are the weights' shape."""
        return self.weights.shape

    @property
    def integral(self) -> bool:
        """Whether all weights are integers."""
        return bool((self.weights == np.rint(self.weights)).all())

    @property
    def linear(self) -> bool:
        """A sum."""
        return True

    @property
    def gain(self) -> float:
        """The sum of the weights' absolute values."""
        return float(np.abs(self.weights).sum())

    def plan(self, shape: Shape, dtype: DType, add: bool = False, zeros: bool = False) -> Plan:
        """How a strip of this shape runs."""
        x, w, axes = merge_axes(shape, self.sizes)
        padding = [(0, 0)] * (len(x) - 2)
        if zeros:
            for at, axis in enumerate(range(len(shape))[axes]):
                if axis:
                    padding[at] = self.lo[axis], self.sizes[axis] - 1 - self.lo[axis]
        # Strips and slabs of an image, and any number of threads, sum alike: nothing is chosen by timing.
        few = math.prod(self.sizes) <= FEW_TAPS
        return api.plan(
            x, w, dtype=dtype.name, exact=self.exact, residual=add, padding=tuple(padding), deterministic=few
        )

    def prepare(self, shape: Shape, dtype: DType, *, add: bool = False, zeros: bool = False) -> ReadyStep:
        """Pack the weights, for one plan."""
        plan = self.plan(shape, dtype, add, zeros)
        return _StripProduct(plan, self.weights.astype(dtype), add)


class _StripProduct:
    """A plan with its weights, called with strips of any number of axes."""

    def __init__(self, plan: Plan, weights: Array, add: bool) -> None:
        self._bound = plan.bind(weights.reshape(plan.problem.shape("w")))
        self._x, self._y = plan.problem.shape("x"), plan.problem.shape("y")
        self._add = add
        self.nbytes = plan.weight_bytes + weights.nbytes

    def __call__(self, x: Array, y: Array) -> None:
        whole = y.reshape(self._y)
        self._bound(x.reshape(self._x), whole if self._add else None, whole)


@dataclass(frozen=True)
class OfWindows(StripStep):
    """One number of each window along one axis: "mean", "max" or "min"."""

    name: str
    size: int
    axis: int
    rank: int
    before: int

    @property
    def integral(self) -> bool:
        """Whether whole numbers give whole numbers: division makes fractions."""
        return self.name != "mean"

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]  # what the axis says
        """Extents of the window: 1 along other axes."""
        return tuple(self.size if a == self.axis else 1 for a in range(self.rank))

    @property
    def lo(self) -> tuple[int, ...]:  # type: ignore[override]
        """Elements of the window before its centre: none along other axes."""
        return tuple(self.before if a == self.axis else 0 for a in range(self.rank))

    def prepare(self, shape: Shape, dtype: DType, *, add: bool = False, zeros: bool = False) -> ReadyStep:
        """Prepare one pass, whatever the size; by NumPy on CPUs for which no kernel is made."""
        assert not add
        assert not zeros
        lines = math.prod(shape[: self.axis]), shape[self.axis], math.prod(shape[self.axis + 1 :])
        found = windows(self.name, lines, self.size, dtype.name, threads())
        if isinstance(found, str):
            return _ByNumPy(self)
        sweep = Sweep(found[0])
        try:
            sweep.load()
        except EngineError:
            return _ByNumPy(self)
        return _StripSweep(sweep, found[1])


@dataclass(frozen=True)
class _StripSweep:
    """A kernel of windows, and the bytes of scratch that it wants."""

    sweep: Sweep
    scratch: int
    nbytes = 0

    def __call__(self, x: Array, y: Array) -> None:
        self.sweep(x, np.empty(self.scratch, np.uint8), y)


@dataclass(frozen=True)
class _ByNumPy:
    """Windows as a view, reduced by NumPy."""

    of: OfWindows
    nbytes = 0

    def __call__(self, x: Array, y: Array) -> None:
        view = np.lib.stride_tricks.sliding_window_view(x, self.of.size, self.of.axis)
        getattr(view, self.of.name)(-1, out=y)


@dataclass(frozen=True)
class Footprint(StripStep):
    """The greatest or least element of a window that is no box: of its runs, shifted and compared."""

    name: str
    mask: Array
    lo: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]  # what the mask says
        """The window's extents are the mask's shape."""
        return self.mask.shape

    def prepare(self, shape: Shape, dtype: DType, *, add: bool = False, zeros: bool = False) -> ReadyStep:
        """One pass for each length of a run, and one for each run."""
        assert not add
        assert not zeros
        runs = list(_runs(self.mask))
        axis = len(shape) - 1
        passes = {
            length: OfWindows(self.name, length, axis, len(shape), 0).prepare(shape, dtype)
            for length in {length for _, length in runs if length > 1}
        }
        return _RunExtremes(np.maximum if self.name == "max" else np.minimum, runs, passes)


@dataclass(frozen=True)
class _RunExtremes:
    """Runs of a footprint: where they begin, how long they are, and what finds the extreme of that many neighbours."""

    pair: np.ufunc
    runs: list[tuple[tuple[int, ...], int]]
    passes: dict[int, ReadyStep]
    nbytes = 0

    def __call__(self, x: Array, y: Array) -> None:
        of_length: dict[int, Array] = {1: x}
        for length, run in self.passes.items():
            of_length[length] = np.empty((*x.shape[:-1], x.shape[-1] - length + 1), x.dtype)
            run(x, of_length[length])
        for number, (at, length) in enumerate(self.runs):
            part = of_length[length][tuple(slice(a, a + n) for a, n in zip(at, y.shape, strict=True))]
            if number:
                self.pair(y, part, out=y)
            else:
                np.copyto(y, part)


def _runs(mask: Array) -> Iterator[tuple[tuple[int, ...], int]]:
    """Where runs of True along the last axis begin, and their lengths."""
    edges = np.diff(np.pad(mask.astype(np.int8), [(0, 0)] * (mask.ndim - 1) + [(1, 1)]), axis=-1)
    for begin, end in zip(np.argwhere(edges == 1), np.argwhere(edges == -1), strict=True):
        yield tuple(map(int, begin)), int(end[-1] - begin[-1])


__all__ = ["FEW_TAPS", "Correlation", "Footprint", "OfWindows", "ReadyStep", "StripStep", "merge_axes"]
