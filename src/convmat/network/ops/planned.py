"""Steps of machine code: what reports ask for their product, their way and their memory, and how they run in a row.

`jobs(arrays, scratch)` are what the pool does for a call with these arrays, as long as they live: a network runs those
of one step after those of another without coming back to Python. None where a call takes another way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ...engine import Sweep, buffers, contiguous_strides, strided_views
from ...lazy_dataclass import dataclass
from ...planner import Bound, Contracted, Prepared
from ...planner.maxima import Maxima
from ..graph import Array, Spec

Order = Callable[[Sequence[Array]], tuple[Array, Array | None, Array]]
"""From a step's arrays, inputs first, to x, residual and y."""


class HoldsWeights(Protocol):
    """A step that packed weights."""

    @property
    def packed(self) -> dict[int, int]:
        """The bytes of its packed weights by their identity."""


@dataclass(frozen=True)
class Planned:
    """A plan with its weights packed, called with the arrays that `order` picks."""

    bound: Bound
    order: Order

    def __call__(self, *arrays: Array) -> None:
        """Write into the outputs, which are the last of the arrays."""
        x, residual, y = self.order(arrays)
        self.bound(x, residual, y)

    @property
    def plan(self) -> Prepared:
        """Which product, and how."""
        return self.bound.plan

    @property
    def packed(self) -> dict[int, int]:
        """See HoldsWeights."""
        return {self.bound.weights: self.bound.weight_bytes}

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return self.bound.scratch

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        return self.bound.jobs(*self.order(arrays), scratch)


@dataclass(frozen=True)
class Unpacked:
    """A plan whose weights are computed by the network: called with x, w, bias and residual where there are, and y.

    `turned`: w comes before x.
    """

    plan: Prepared
    bias: bool
    residual: bool
    turned: bool = False
    scratch = 0

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        x, w, *rest, y = arrays
        x, w = (w, x) if self.turned else (x, w)
        bias = rest[0] if self.bias else None
        self.plan(x, w, bias, residual=rest[-1] if self.residual else None, out=y)

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module: weights are packed by the call itself."""
        return None


@dataclass(frozen=True)
class Interleaved(Planned):
    """A plan whose y, of the shape `between`, is interleaved by a kernel."""

    sweep: Sweep
    between: Spec

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        x, _, y = self.order(arrays)
        made = buffers.empty(self.between.shape, self.between.dtype)
        self.bound(x, None, made)
        self.sweep(made, y)

    @property
    def scratch(self) -> int:
        """Scratch of the plan, and what lies between it and the kernel."""
        return self.bound.scratch + self._room

    @property
    def _room(self) -> int:
        return aligned_bytes(self.between)

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        x, _, y = self.order(arrays)
        shape, dtype = self.between.shape, self.between.dtype
        made = strided_views.array_at(scratch, shape, contiguous_strides(shape, dtype.itemsize), dtype)
        found = self.bound.jobs(x, None, made, scratch + self._room)
        return None if found is None or not y.flags.c_contiguous else [*found, self.sweep.block([made, y])]


@dataclass(frozen=True)
class Compared:
    """Maxima of windows by a kernel."""

    maxima: Maxima
    way = "maxima, in place"
    scratch = 0

    def __call__(self, x: Array, y: Array) -> None:
        """Write y."""
        self.maxima(x, y)

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        return self.maxima.jobs(*arrays)


@dataclass(frozen=True)
class Multiplied:
    """A product of two arrays that the network computes: the inputs of these numbers."""

    contracted: Contracted
    reads: tuple[int, int] = (0, 1)
    way = "batched product"

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return self.contracted.scratch

    @property
    def kernels(self) -> tuple[Any, ...]:
        """What is loaded."""
        return (self.contracted.program,)

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        self.contracted(*self._take(arrays))

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        a, b, y = self._take(arrays)
        if not all(each.flags.c_contiguous for each in (a, b, y)):
            return None
        return self.contracted.jobs(a, b, y, scratch)

    def _take(self, arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
        first, second = self.reads
        return arrays[first], arrays[second], arrays[-1]


@dataclass(frozen=True)
class Moved:
    """Kernels one after the other: for each the arrays it reads (or constants) and the one it writes.

    `between`: arrays that lie between them, counted behind the step's own. `check`: refuses indices that name no place,
    of a step that is called by itself; in a row kernels say so in their jobs, when nobody has read the answer yet.
    """

    moves: tuple[tuple[Sweep, tuple[int | Array, ...], int], ...]
    way: str = "copied"
    between: tuple[Spec, ...] = ()
    check: Callable[[Sequence[Array]], None] | None = None

    def without(self, lying: Collection[int]) -> Moved:
        """All but the moves of these arrays, whose elements lie in their places."""
        moves = (each for each in self.moves if not isinstance(each[1][0], int) or each[1][0] not in lying)
        return replace(self, moves=tuple(moves))

    @property
    def kernels(self) -> tuple[Sweep, ...]:
        """What is loaded."""
        return tuple(sweep for sweep, *_ in self.moves)

    @property
    def scratch(self) -> int:
        """Bytes of what lies between, each in lines of its own."""
        return sum(aligned_bytes(spec) for spec in self.between)

    def __call__(self, *arrays: Array) -> None:
        """Write the outputs, which are the last of the arrays. Raises what `check` does, before anything is written."""
        if self.check is not None:
            self.check(arrays)
        arrays = (*arrays, *(np.empty(spec.shape, spec.dtype) for spec in self.between))
        for sweep, sources, target in self.moves:
            sweep(*_take(arrays, sources), arrays[target])

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        if not all(each.flags.c_contiguous for each in arrays):
            return None
        arrays = [*arrays]
        for spec in self.between:
            strides = contiguous_strides(spec.shape, spec.dtype.itemsize)
            arrays.append(strided_views.array_at(scratch, spec.shape, strides, spec.dtype))
            scratch += aligned_bytes(spec)
        return [
            sweep.block([*_take(arrays, sources), arrays[target]]) for sweep, sources, target in self.moves
        ]


def aligned_bytes(spec: Spec) -> int:
    """Bytes of a value up to the end of its last line of the cache."""
    return -(-spec.bytes // 64) * 64


@dataclass(frozen=True)
class Followed(Planned):
    """A plan, and a kernel that passes over y where it lies, with arrays of the step (by number) and constants."""

    sweep: Sweep
    sources: tuple[int | Array, ...]

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        super().__call__(*arrays)
        self.sweep(*_take(arrays, self.sources), arrays[-1])

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        found = super().jobs(arrays, scratch)
        if found is None or not all(each.flags.c_contiguous for each in arrays):
            return None
        return [*found, self.sweep.block([*_take(arrays, self.sources), arrays[-1]])]


def _take(arrays: Sequence[Array], sources: Sequence[int | Array]) -> list[Array]:
    return [arrays[each] if isinstance(each, int) else each for each in sources]


@dataclass(frozen=True)
class Swept:
    """One pass of a kernel over the first `reads` arrays and the last `writes`; others are constants that it knows."""

    sweep: Sweep
    way: str
    reads: int = 1
    writes: int = 1
    scratch = 0

    @property
    def kernels(self) -> tuple[Sweep, ...]:
        """What is loaded."""
        return (self.sweep,)

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        self.sweep(*self._take(arrays))

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        taken = self._take(arrays)
        return [self.sweep.block(taken)] if all(each.flags.c_contiguous for each in taken) else None

    def _take(self, arrays: Sequence[Array]) -> list[Array]:
        return [*arrays[: self.reads], *arrays[-self.writes :]]
