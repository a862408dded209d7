"""Products of 8-bit numbers in float32, where that is predicted to be quicker, by fewer multiplications.

    widened = x - x_zero                                                      exact in float32
    product = activation(conv(widened, w * factor) + bias * factor)
    output  = saturate(round(product) + y_zero)                               or the product itself

For nodes alone that QDQ graphs mean: their sums are of float32, and integers the ones that differ, by a step at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import Sweep, buffers, contiguous_strides, elementwise, peaks, strided_views, thread_pool
from ...lazy_dataclass import dataclass
from ...planner import Plan, PlanOptions
from ..graph import Array, Node, Spec
from .options import Options, bind_node, plan_node
from .planned import Planned, aligned_bytes
from .pointwise import expression

CONVERTED = 5
"""Bytes that are read and written for an element that is widened, or rounded."""

FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class CountedSweep:
    """A kernel from an array to another of its shape, by a scale and a zero point."""

    sweep: Sweep
    scale: Array
    zero: Array

    @classmethod
    def of(cls, op: str, x: Spec, zero: Array, options: Options) -> CountedSweep | None:
        """QuantizeLinear or DequantizeLinear by a scale of 1; None where there is no kernel."""
        scale = np.ones((), FLOAT)
        node = Node(op, ("x", "scale", "zero"), ("y",), {}, "", 13)
        said = expression(node, [Spec(x.shape, x.dtype), Spec.of(scale), Spec.of(zero)])
        if said is None:
            return None
        plan = elementwise(said, [x.shape, (), ()], x.shape, thread_pool.count())
        if isinstance(plan, str):
            return None
        sweep = Sweep(plan)
        sweep.load()
        if options.record is not None:
            options.record.add_program(sweep)
        return cls(sweep, scale, zero)

    def __call__(self, x: Array, y: Array) -> None:
        """Write y."""
        self.sweep(x, self.scale, self.zero, y)

    def job(self, x: Array, y: Array) -> Any:
        """The pool's job of that."""
        return self.sweep.block([x, self.scale, self.zero, y])


@dataclass(frozen=True)
class Floated(Planned):
    """A plan of float32 between 8-bit numbers, of which x is widened first and y rounded last, where it is not float32.

    `wide`: what the plan reads; `made`: what it writes.
    """

    widen: CountedSweep
    round_: CountedSweep | None
    wide: Spec
    made: Spec

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        x, y, wide = arrays[0], arrays[-1], buffers.empty(self.wide.shape, FLOAT)
        self.widen(x, wide)
        made = y if self.round_ is None else buffers.empty(self.made.shape, FLOAT)
        self.bound(wide, None, made)
        if self.round_ is not None:
            self.round_(made, y)

    @property
    def scratch(self) -> int:
        """Scratch of the plan, and what lies before and behind it."""
        return (
            self.bound.scratch + aligned_bytes(self.wide) + (aligned_bytes(self.made) if self.round_ else 0)
        )

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See `planned`."""
        x, y = arrays[0], arrays[-1]
        wide, made = _array_at(scratch, self.wide), y
        scratch += aligned_bytes(self.wide)
        if self.round_ is not None:
            made = _array_at(scratch, self.made)
            scratch += aligned_bytes(self.made)
        found = self.bound.jobs(wide, None, made, scratch)
        if found is None or not (x.flags.c_contiguous and y.flags.c_contiguous):
            return None
        last = [] if self.round_ is None else [self.round_.job(made, y)]
        return [self.widen.job(x, wide), *found, *last]


def _array_at(place: int, spec: Spec) -> Array:
    return strided_views.array_at(
        place, spec.shape, contiguous_strides(spec.shape, spec.dtype.itemsize), spec.dtype
    )


def bind_floats(
    integers: Plan,
    x: Spec,
    made: Spec,
    w: Array,
    bias: Array | None,
    channels: dict[str, Any],
    options: Options,
) -> Floated | None:
    """The same product in float32, if that is predicted to be quicker than the plan of integers, or None.

    `channels`: scales of the channels of y, zero points of w where it has any, and what `PlanOptions` has beside.
    """
    scale, w_zero = channels.pop("scale"), channels.pop("w_zero_point", None)
    zero = np.asarray(channels.pop("x_zero_point", 0), x.dtype)
    channels.pop("out_dtype", None)
    y_zero = channels.pop("y_zero_point", 0)
    asked = PlanOptions(bias=bias is not None, **channels)
    plan = plan_node(options, x.shape, w.shape, FLOAT, asked)
    if not _quicker(plan, integers, x, made):
        return None
    widen = CountedSweep.of("DequantizeLinear", x, zero, options)
    last = None
    if made.dtype != FLOAT:
        rounded = np.asarray(y_zero, made.dtype)
        last = CountedSweep.of("QuantizeLinear", Spec(made.shape, FLOAT), rounded, options)
    if widen is None or (made.dtype != FLOAT and last is None):
        return None
    along = [1] * w.ndim
    along[1 if asked.transposed else 0] = -1
    wide = w.astype(FLOAT)
    if w_zero is not None:
        wide -= np.asarray(w_zero, FLOAT).reshape(along)
    factors = np.broadcast_to(np.asarray(scale, FLOAT).reshape(-1), (made.shape[1],))
    wide *= np.asarray(scale, FLOAT).reshape(along)
    added = None if bias is None else (bias * factors.astype(np.float64)).astype(FLOAT)
    bound = bind_node(options, plan, wide, added)
    kinds = Spec(x.shape, FLOAT), Spec(made.shape, FLOAT)
    return Floated(bound, lambda arrays: (arrays[0], None, arrays[-1]), widen, last, *kinds)


def _quicker(floats: Plan, integers: Plan, x: Spec, made: Spec) -> bool:
    """Whether float32 is, with what it takes to widen x and to round y."""
    old, new = integers.chosen.cost, floats.chosen.cost
    if old is None or new is None:
        return False
    converted = CONVERTED * (x.size + (made.size if made.dtype != FLOAT else 0))
    return new.seconds + converted / peaks(thread_pool.count()).l3_bandwidth < old.seconds


__all__ = ["Floated", "bind_floats"]
