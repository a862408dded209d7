"""Streams: a convolution of a signal that comes block by block, whose end nobody knows yet.

    kept      the inputs that outputs to come still reach: at first the `lo` zeros of the padding
    push      kept, block  ->  y of all windows that are complete  ->  kept is what lies behind their starts
    flush     the `hi` zeros of the padding are the last block

An output needs x up to r - lo elements ahead, r = d*(F-1): 0 for a causal padding (r, 0), half the window for a centred
one. Blocks run under the whole's decision, by the same products; by im2col where these refuse so few elements.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .doors import open_room
from .errors import PlanError
from .planner import Bound, Plan, chosen_way, plan_short_block
from .planner.arrays import require_type
from .problem import Problem
from .product import Packing

Array = npt.NDArray[Any]

BLOCKS = 16
"""Extents of blocks whose plans are kept with packed weights."""


class Stream:
    """A plan's convolution, fed with blocks along the first spatial axis: time, or the rows of images.

    `plan` is of any extent along that axis, with w: (O, C//G, *F) and bias: (O,) as it takes them. All results together
    are what the plan gives for all blocks together, whatever their sizes. One thread at a time may use a Stream.

    >>> import convmat
    >>> plan = convmat.plan((1, 1, 100), (1, 1, 3), padding=((2, 0),), dtype="float64")
    >>> stream = Stream(plan, np.array([[[1.0, 10.0, 100.0]]]))
    >>> stream.latency, stream.push(np.array([[[1.0, 2.0]]])), stream.push(np.array([[[3.0]]])), stream.flush().shape
    (0, array([[[100., 210.]]]), array([[[321.]]]), (1, 1, 0))
    """

    def __new__(cls, plan: Any, *args: Any, **words: Any) -> Stream:
        """A network's stream is one of its own kind."""
        if cls is Stream and not isinstance(plan, Plan):
            cls = open_room("chunks").NetworkStream
        return super().__new__(cls)

    def __init__(self, plan: Any, w: Any = None, bias: Any = None) -> None:
        if w is None:
            raise PlanError("stream: the plan's weights are missing\n  w = None\n  give Stream(plan, w)")
        problem, g = plan.problem, plan.problem.geometry
        reasons = {
            "borders other than zeros, which lie at the end": problem.pad is not None,
            "a residual": problem.epilogue.residual,
            "an input dilation, of gradients and transposed convolutions": any(e > 1 for e in g.e),
        }
        for reason, there in reasons.items():
            if there:
                raise PlanError(f"stream: the plan has {reason}\n  {g}\n  plan without, by convmat.plan")
        self.plan: Plan = plan
        self._w, self._bias = np.asarray(w), bias
        way = chosen_way(plan.decision)
        plainly = replace(way, lowering="im2col", packing=Packing.PANEL)
        self._way = way if plan.lowering.exact else plainly
        roles = [axis[0].role for axis in problem.x.axes]
        self._axis, self._out_axis = roles.index("i0"), [a[0].role for a in problem.y.axes].index("p0")
        self._bound = lru_cache(maxsize=BLOCKS)(self._bind)
        self._bound(self._reach + 1)  # says now what is wrong with w or bias
        self.reset()

    @property
    def _reach(self) -> int:
        g = self.plan.problem.geometry
        return g.d[0] * (g.F[0] - 1)

    @property
    def latency(self) -> int:
        """How many elements beyond its own place an output waits for."""
        return max(self._reach - self.plan.problem.geometry.lo[0], 0)

    @property
    def state(self) -> Any:
        """What is kept of the input for outputs to come; a copy."""
        return self._kept.copy()

    def reset(self) -> None:
        """Begin anew: what is kept is the padding before the first element."""
        lo = self.plan.problem.geometry.lo[0]
        self._skip = max(-lo, 0)
        self._kept = np.zeros(self._shape(max(lo, 0)), self.plan._dtypes.array)

    def push(self, block: Any) -> Array:
        """x's next elements, any number of them: (B, C, n, ..) -> the outputs that are complete now.

        Raises GeometryError for another element type and PlanError for another shape, and has taken nothing then.
        """
        given = require_type("block", block, self.plan._dtypes.array, "stream")
        wanted = self._shape(given.shape[self._axis] if given.ndim == self._kept.ndim else 0)
        if given.shape != wanted:
            raise PlanError(
                f"stream: the block does not fit the plan\n  block.shape = {given.shape}\n"
                f"  give {wanted}, with any extent along axis {self._axis}"
            )
        given = self._cut(given, self._axis, min(self._skip, wanted[self._axis]), None)
        skipped = wanted[self._axis] - given.shape[self._axis]
        return self._through(np.concatenate([self._kept, given], self._axis), skipped)

    def flush(self) -> Array:
        """The outputs that reach into the padding behind the last element; then `reset`."""
        hi = max(self.plan.problem.geometry.hi[0], 0)
        skipped = min(self._skip, hi)
        after = np.zeros(self._shape(hi - skipped), self._kept.dtype)
        made = self._through(np.concatenate([self._kept, after], self._axis), skipped)
        self.reset()
        return made

    def _through(self, x: Array, skipped: int) -> Array:
        """All complete windows of x, before which so many were skipped; what lies behind their starts is kept."""
        g = self.plan.problem.geometry
        held = x.shape[self._axis] + min(g.hi[0], 0)  # a negative padding: the last elements are not read
        count = max((held - self._reach - 1) // g.s[0] + 1, 0)
        if count:
            used = (count - 1) * g.s[0] + self._reach + 1
            made = self._bound(used)(np.ascontiguousarray(self._cut(x, self._axis, 0, used)))
        else:
            shape = list(self.plan.problem.shape("y"))
            shape[self._out_axis] = 0
            made = np.empty(shape, self.plan._dtypes.out)
        # Last: a block that could not be computed is one that did not come.
        self._skip += max(count * g.s[0] - x.shape[self._axis], 0) - skipped
        self._kept = self._cut(x, self._axis, count * g.s[0], None).copy()
        return made

    def _bind(self, extent: int) -> Bound:
        """The plan of so many elements without padding along the axis, its weights packed."""
        problem: Problem = self.plan.problem
        g = problem.geometry
        part = replace(g, I=(extent, *g.I[1:]), lo=(0, *g.lo[1:]), hi=(0, *g.hi[1:]))
        x, y = problem.x.with_extent("i0", extent), problem.y.with_extent("p0", part.P[0])
        block = replace(problem, geometry=part, x=x, y=y, reuse_weights=True)
        return plan_short_block(block, self._way).bind(self._w, self._bias)

    def _shape(self, extent: int) -> tuple[int, ...]:
        shape = list(self.plan.problem.shape("x"))
        shape[self._axis] = extent
        return tuple(shape)

    @staticmethod
    def _cut(array: Array, axis: int, start: int, stop: int | None) -> Array:
        return array[(slice(None),) * axis + (slice(start, stop),)]


__all__ = ["Stream"]
