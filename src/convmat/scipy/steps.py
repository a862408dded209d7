"""What is done to a strip with its borders around it: one product, with no border left.

    Correlation   y[p] = sum over f of  w[f] * x[p + f]
    OfWindows     y[p] = mean, max or min over f of  x[p + f]        along one axis
    Footprint     y[p] = max or min over some f of  x[p + f]

Axes along which a window has one element are merged: before the first other axis they are a batch, after the last one
they are pixels. So a filter along any axis of a volume is one of two kernels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import api
from ..engine import Sweep, threads, windows
from ..errors import EngineError
from ..planner import Bound, Plan

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Step(ABC):
    """One product over strips. `sizes`: extents of its window; `lo`: how many elements before the centre it reaches."""

    sizes: tuple[int, ...]
    lo: tuple[int, ...]

    @abstractmethod
    def run(self, x: Array, y: Array, add: bool = False) -> None:
        """Write the strip's result, or add it to what is there; both are C-contiguous and of one type."""

    @property
    def integral(self) -> bool:
        """Whether it makes integers of integers: cutting them to another integer type can then wait."""
        return True


def merge_axes(shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes (B, C, *I) and (O, C, *F) of the same product with as few axes as it needs.

    >>> merge_axes((5, 6, 7), (1, 3, 1)), merge_axes((5, 6, 7), (1, 1, 3))
    (((5, 1, 6, 7), (1, 1, 3, 1)), ((30, 1, 7), (1, 1, 3)))
    """
    wide = [axis for axis, size in enumerate(sizes) if size > 1] or [len(sizes) - 1]
    first, last = wide[0], wide[-1]
    inner, after = list(shape[first : last + 1]), math.prod(shape[last + 1 :])
    taps = list(sizes[first : last + 1])
    if last + 1 < len(shape):
        inner, taps = [*inner, after], [*taps, 1]
    return (math.prod(shape[:first]), 1, *inner), (1, 1, *taps)


@dataclass
class Correlation(Step):
    """A product with weights of as many axes as the array has; `exact`: by the definition's own products alone."""

    weights: Array
    lo: tuple[int, ...]
    exact: bool = False
    _bound: dict[Any, tuple[Bound, Shape, Shape]] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]  # what the weights say
        """The window's extents are the weights' shape."""
        return self.weights.shape

    @property
    def integral(self) -> bool:
        """Whether all weights are integers."""
        return bool((self.weights == np.rint(self.weights)).all())

    def plan(self, shape: tuple[int, ...], dtype: np.dtype[Any], add: bool = False) -> Plan:
        """How a strip of this shape runs."""
        x, w = merge_axes(shape, self.sizes)
        return api.plan(x, w, dtype=dtype.name, exact=self.exact, residual=add)

    def run(self, x: Array, y: Array, add: bool = False) -> None:
        """Weights are packed once for each shape of strips, of which there is one in a call."""
        key = (x.shape, add)
        if key not in self._bound:
            plan = self.plan(x.shape, x.dtype, add)
            taps = plan.problem.shape("w")
            bound = plan.bind(self.weights.astype(x.dtype).reshape(taps))
            self._bound[key] = bound, plan.problem.shape("x"), plan.problem.shape("y")
        bound, given, made = self._bound[key]
        whole = y.reshape(made)
        bound(x.reshape(given), residual=whole if add else None, out=whole)


@dataclass
class OfWindows(Step):
    """One number of each window along one axis: "mean", "max" or "min"."""

    name: str
    size: int
    axis: int
    rank: int
    before: int
    _sweeps: dict[Any, tuple[Sweep, Array] | None] = field(default_factory=dict)

    @property
    def integral(self) -> bool:
        """Division makes fractions."""
        return self.name != "mean"

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]  # what the axis says
        """1 along other axes."""
        return tuple(self.size if a == self.axis else 1 for a in range(self.rank))

    @property
    def lo(self) -> tuple[int, ...]:  # type: ignore[override]
        """0 along other axes."""
        return tuple(self.before if a == self.axis else 0 for a in range(self.rank))

    def run(self, x: Array, y: Array, add: bool = False) -> None:
        """In one pass, whatever the size; by NumPy on CPUs for which no kernel is made."""
        if x.shape not in self._sweeps:
            self._sweeps[x.shape] = self._sweep(x)
        made = self._sweeps[x.shape]
        if made is None:
            view = np.lib.stride_tricks.sliding_window_view(x, self.size, self.axis)
            getattr(view, self.name)(-1, out=y)
        else:
            made[0](x, made[1], y)

    def _sweep(self, x: Array) -> tuple[Sweep, Array] | None:
        shape = math.prod(x.shape[: self.axis]), x.shape[self.axis], math.prod(x.shape[self.axis + 1 :])
        found = windows(self.name, shape, self.size, x.dtype.name, threads())
        if isinstance(found, str):
            return None
        sweep = Sweep(found[0])
        try:
            sweep.load()
        except EngineError:
            return None
        return sweep, np.empty(found[1], np.uint8)


@dataclass
class Footprint(Step):
    """The greatest or least element of a window that is no box: of its runs, shifted and compared."""

    name: str
    mask: Array
    lo: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]  # what the mask says
        """The window's extents are the mask's shape."""
        return self.mask.shape

    def run(self, x: Array, y: Array, add: bool = False) -> None:
        """One pass for each length of a run, and one for each run."""
        pair = np.maximum if self.name == "max" else np.minimum
        of_length: dict[int, Array] = {1: x}
        for number, (at, length) in enumerate(_runs(self.mask)):
            if length not in of_length:
                made = np.empty((*x.shape[:-1], x.shape[-1] - length + 1), x.dtype)
                OfWindows(self.name, length, x.ndim - 1, x.ndim, 0).run(x, made)
                of_length[length] = made
            part = of_length[length][tuple(slice(a, a + n) for a, n in zip(at, y.shape, strict=True))]
            if number:
                pair(y, part, out=y)
            else:
                np.copyto(y, part)


def _runs(mask: Array) -> Iterator[tuple[tuple[int, ...], int]]:
    """Where runs of True along the last axis begin, and their lengths."""
    edges = np.diff(np.pad(mask.astype(np.int8), [(0, 0)] * (mask.ndim - 1) + [(1, 1)]), axis=-1)
    for begin, end in zip(np.argwhere(edges == 1), np.argwhere(edges == -1), strict=True):
        yield tuple(map(int, begin)), int(end[-1] - begin[-1])


__all__ = ["Correlation", "Footprint", "OfWindows", "Step", "merge_axes"]
