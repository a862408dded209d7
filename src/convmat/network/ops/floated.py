"""Products of 8-bit numbers in float32, where that is predicted to be quicker, by fewer multiplications.

    widened = x - x_zero                                                      exact in float32
    product = activation(conv(widened, w * factor) + bias * factor)
    output  = saturate(round(product) + y_zero)                               or the product itself

For nodes alone that QDQ graphs mean: their sums are of float32, and integers the ones that differ, by a step at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...engine import (
    Sweep,
    SweepPlan,
    buffers,
    contiguous_strides,
    elementwise,
    lookup,
    peaks,
    requantise,
    strided_views,
    thread_pool,
    weigh_bytes,
)
from ...lazy_dataclass import dataclass
from ...planner import Plan, PlanOptions
from ..graph import Array, Node, Spec
from .options import Options, bind_node, load_sweep, plan_node
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
        sweep = load_sweep(plan, options)
        return None if sweep is None else cls(sweep, scale, zero)

    def __call__(self, x: Array, y: Array) -> None:
        """Write y."""
        self.sweep(x, self.scale, self.zero, y)

    def job(self, x: Array, y: Array) -> Any:
        """The pool's job of that."""
        return self.sweep.block([x, self.scale, self.zero, y])


@dataclass(frozen=True)
class AgainSweep:
    """A kernel that rounds bytes again where they lie, by constants; `added`: with a residual."""

    sweep: Sweep
    numbers: tuple[Array, ...]
    added: bool

    def arrays(self, y: Array, residual: Array | None) -> list[Array]:
        """What it takes, y last."""
        assert not self.added or residual is not None
        return [y, *([residual] if residual is not None and self.added else []), *self.numbers, y]


def _sweep_again(made: Spec, numbers: dict[str, Any], options: Options) -> tuple[AgainSweep, ...] | None:
    """Kernels that round bytes again; None where there are none."""
    threads = thread_pool.count()
    found: list[tuple[SweepPlan | str, tuple[Array, ...], bool]] = []
    if (pair := numbers["requantise"]) is not None:
        zero = numbers["y_zero_point"]
        channels, columns = made.shape[1], math.prod(made.shape[2:])
        factor, offset = (np.reshape(each, (-1, 1)) for each in pair)
        every = np.arange(256, dtype=np.uint8).view(made.dtype)[None]
        table = np.broadcast_to(requantise(every, zero, factor, offset), (channels, 256))
        plan = lookup(made.size // columns, columns, channels, threads) if columns >= SHORTEST_ROW else ""
        found.append((plan, (np.ascontiguousarray(table),), False))
    if (three := numbers["residual_factors"]) is not None:
        plan = weigh_bytes(made.size, (made.dtype.name,) * 3, threads)
        found.append((plan, tuple(np.asarray(each, FLOAT) for each in three), True))
    sweeps = []
    for plan, constants, added in found:
        sweep = load_sweep(plan, options)
        if sweep is None:
            return None
        sweeps.append(AgainSweep(sweep, constants, added))
    return tuple(sweeps)


SHORTEST_ROW = 16
"""Bytes in a row from which on a table for each channel is loaded."""


@dataclass(frozen=True)
class Floated(Planned):
    """A plan of float32 between 8-bit numbers, of which x is widened first and y rounded last, where it is not float32.

    `wide`: what the plan reads; `made`: what it writes.
    """

    widen: CountedSweep
    round_: CountedSweep | None
    wide: Spec
    made: Spec
    again: tuple[AgainSweep, ...] = ()

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays."""
        x, residual, y = self.order(arrays)
        wide = buffers.empty(self.wide.shape, FLOAT)
        self.widen(x, wide)
        made = y if self.round_ is None else buffers.empty(self.made.shape, FLOAT)
        self.bound(wide, None, made)
        if self.round_ is not None:
            self.round_(made, y)
        for each in self.again:
            each.sweep(*each.arrays(y, residual))

    @property
    def scratch(self) -> int:
        """Scratch of the plan, and what lies before and behind it."""
        return (
            self.bound.scratch + aligned_bytes(self.wide) + (aligned_bytes(self.made) if self.round_ else 0)
        )

    def jobs(self, arrays: Sequence[Array], scratch: int) -> list[Any] | None:
        """See `planned`."""
        x, residual, y = self.order(arrays)
        wide, made = _array_at(scratch, self.wide), y
        scratch += aligned_bytes(self.wide)
        if self.round_ is not None:
            made = _array_at(scratch, self.made)
            scratch += aligned_bytes(self.made)
        found = self.bound.jobs(wide, None, made, scratch)
        alike = all(each is None or each.flags.c_contiguous for each in (x, residual, y))
        if found is None or not alike:
            return None
        last = [] if self.round_ is None else [self.round_.job(made, y)]
        last += [each.sweep.block(each.arrays(y, residual)) for each in self.again]
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
    again = {name: channels.pop(name, None) for name in ("requantise", "residual_factors")}
    asked = PlanOptions(bias=bias is not None, **channels)
    plan = plan_node(options, x.shape, w.shape, FLOAT, asked)
    passes = [each for each in again.values() if each is not None]
    if not _quicker(plan, integers, x, made, len(passes)):
        return None
    widen = CountedSweep.of("DequantizeLinear", x, zero, options)
    last = None
    if made.dtype != FLOAT:
        rounded = np.asarray(y_zero, made.dtype)
        last = CountedSweep.of("QuantizeLinear", Spec(made.shape, FLOAT), rounded, options)
    later = _sweep_again(made, again | {"y_zero_point": y_zero}, options)
    if widen is None or (made.dtype != FLOAT and last is None) or later is None:
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
    order = partial(order_arrays, added=again["residual_factors"] is not None)
    return Floated(bound, order, widen, last, *kinds, later)


def order_arrays(arrays: Sequence[Array], added: bool) -> tuple[Array, Array | None, Array]:
    """A step's x, residual if one is `added`, and y."""
    return arrays[0], arrays[ADDED] if added else None, arrays[-1]


ADDED = -3
"""Where the residual is among a step's arrays: what weighs it and y are behind it."""


def _quicker(floats: Plan, integers: Plan, x: Spec, made: Spec, passes: int) -> bool:
    """Whether float32 is, with what it takes to widen x and to round y, so many times more often."""
    old, new = integers.chosen.cost, floats.chosen.cost
    if old is None or new is None:
        return False
    converted = CONVERTED * (x.size + (made.size if made.dtype != FLOAT else 0)) + 2 * passes * made.size
    return new.seconds + converted / peaks(thread_pool.count()).l3_bandwidth < old.seconds


__all__ = ["Floated", "bind_floats", "order_arrays"]
