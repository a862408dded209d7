"""Steps of machine code: what reports ask for their product, their way and their memory, and how they run in a row.

`jobs(arrays, scratch)` are what the pool does for a call with these arrays, as long as they live: a network runs those
of one step after those of another without coming back to Python. None where a call takes another way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...engine.sweep import Sweep
from ...planner import Bound, Plan
from ...planner.maxima import Maxima
from ..graph import Array

Order = Callable[[Sequence[Array]], tuple[Array, Array | None, Array]]
"""From a step's arrays, inputs first, to x, residual and y."""


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
    def plan(self) -> Plan:
        """Which product, and how."""
        return self.bound.plan

    @property
    def scratch(self) -> int:
        """Bytes that its jobs need beside the arrays."""
        return self.bound.scratch

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        return self.bound.jobs(*self.order(arrays), scratch)


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
class Swept:
    """One pass of a kernel over the first `reads` arrays and the last; others are constants that it knows."""

    sweep: Sweep
    way: str
    reads: int = 1
    scratch = 0

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        self.sweep(*arrays[: self.reads], arrays[-1])

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See the module."""
        taken = [*arrays[: self.reads], arrays[-1]]
        return [self.sweep.block(taken)] if all(each.flags.c_contiguous for each in taken) else None
