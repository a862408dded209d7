"""Batch normalisation while it is trained: each channel by its own mean and variance, and its gradients.

    y = clip((x - m) r * scale + bias)              m and v over all images and pixels, r = 1 / sqrt(v + epsilon)

    dx = r scale (g - mean(g) - z mean(g z))        g = dy where y is between the limits, z = (x - m) r
    dscale = sum(g z)     dbias = sum(g)

A line is a channel: planes of an image each. It belongs to one task, which reads it from memory once: sums are taken of
x less the mean of the first plane, then y is made of what a cache holds by then. v comes of at most B + 1 times as
large a number, B the images, so that float64, which planes are added up in, loses nothing. The gradients compute y
again, to the same bits, for the limits: whoever keeps x need not keep it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from ....lazy_dataclass import dataclass
from ...cpu import host
from ...ir.emitter import Function, prefix_mask
from ...ir.formulas import greatest, least
from ...ir.instructions import (
    TYPES,
    Type,
    Value,
    and_,
    bitcast,
    const,
    f64,
    fabs,
    fma,
    fpext,
    fptrunc,
    greater,
    less,
    maximum,
    minimum,
    select,
    sitofp,
    splat,
    sqrt,
    urem,
)
from .base import Share, SweepPlan, SweepRecipe, share_lines, type_refusal
from .lines import ACCUMULATORS, reduce_lanes

BLOCK = 2048
"""Elements up to which planes share their sums in the arrays' own type: of small planes most would be float64's."""

Summed = Callable[[Value, Value | None], Sequence[Value]]
"""From the offset of a vector's first byte and its mask, None where it is whole, to what is added to each sum."""


@dataclass(frozen=True)
class ChannelPlanes:
    """A channel: where it begins in bytes, `columns` of a plane, bytes from one plane to the next.

    `block`: planes whose sums are one before they are added in float64.
    """

    fn: Function
    begin: Value
    columns: Value
    step: Value
    block: Value
    type: Type
    lanes: int

    @classmethod
    def of(
        cls, fn: Function, words: Mapping[str, Value], line: Value, type: Type, lanes: int
    ) -> ChannelPlanes:
        """The channel of this number."""
        begin = line * words["columns"] * type.bytes
        return cls(fn, begin, words["columns"], words["step"], words["block"], type, lanes)

    def sums(self, many: int, planes: Value | int, of: Summed) -> list[Value]:
        """Write the sums over the first planes: of `block` planes in several vectors side by side, then in float64."""
        fn, lanes, zero = self.fn, self.lanes, self.columns - self.columns
        nothing, start = const(self.type.x(lanes), 0.0), [const(f64.x(lanes), 0.0)] * many
        with fn.loop(zero, planes, self.block, carried=start) as block:
            stop = minimum(block.index + self.block, planes)
            sums = [nothing] * (many * ACCUMULATORS)
            with fn.loop(block.index, stop, carried=sums, at_least_once=True) as plane:
                plane.carry(*self._add_plane(plane.index, plane.carried, many, of))
            totals = [reduce(lambda a, b: a + b, plane.results[i::many]) for i in range(many)]
            block.carry(*(t + extend(each) for t, each in zip(block.carried, totals, strict=True)))
        return [reduce_lanes(each, lambda a, b: a + b) for each in block.results]

    def _add_plane(self, plane: Value, sums: Sequence[Value], many: int, of: Summed) -> list[Value]:
        """The sums with one plane more."""
        fn, lanes, zero, item = self.fn, self.lanes, self.columns - self.columns, self.type.bytes
        begin, nothing = self.begin + plane * self.step, const(self.type.x(lanes), 0.0)
        left = urem(self.columns, lanes)
        whole, stride, mask = self.columns - left, ACCUMULATORS * lanes, prefix_mask(lanes, left)
        with fn.loop(zero, whole - (stride - 1), stride, carried=[zero, *sums]) as main:
            added = []
            for i in range(ACCUMULATORS):
                found = of(begin + (main.index + i * lanes) * item, None)
                added += [a + b for a, b in zip(found, main.carried[1 + i * many :], strict=False)]
            main.carry(main.index + stride, *added)
        at, *sums = main.results
        with fn.loop(at, whole, lanes, carried=sums[:many]) as rest:
            found = of(begin + rest.index * item, None)
            rest.carry(*(a + b for a, b in zip(found, rest.carried, strict=True)))
        second = sums[many : 2 * many]
        with fn.if_(greater(left, 0), default=second) as last:
            found = [select(mask, each, nothing) for each in of(begin + whole * item, mask)]
            last.carry(*(a + b for a, b in zip(found, second, strict=True)))
        return [*rest.results, *last.results, *sums[2 * many :]]

    def each(self, planes: Value, vector: Callable[[Value, Value | None], None]) -> None:
        """Emits `vector(offset, mask)` for all vectors."""
        fn, lanes, item, zero = self.fn, self.lanes, self.type.bytes, self.columns - self.columns
        left = urem(self.columns, lanes)
        whole, mask = self.columns - left, prefix_mask(lanes, left)
        with fn.loop(zero, planes) as plane:
            begin = self.begin + plane.index * self.step
            with fn.loop(zero, whole - (2 * lanes - 1), 2 * lanes, carried=[zero]) as main:
                for i in range(2):
                    vector(begin + (main.index + i * lanes) * item, None)
                main.carry(main.index + 2 * lanes)
            with fn.loop(main.results[0], whole, lanes) as rest:
                vector(begin + rest.index * item, None)
            with fn.if_(greater(left, 0)):
                vector(begin + whole * item, mask)


def extend(value: Value) -> Value:
    """A float32 or float64 in float64."""
    return value if value.type.scalar is f64 else fpext(value, to=f64)


def round_to(value: Value, type: Type) -> Value:
    """A float64 in the type."""
    return value if type is f64 else fptrunc(value, to=type)


@dataclass(frozen=True)
class Limits:
    """What y is kept between, vectors."""

    low: Value
    high: Value

    @classmethod
    def of(cls, words: Mapping[str, Value], type: Type, lanes: int) -> Limits:
        """Limits in the words `low` and `high`."""
        found = (round_to(bitcast(words[name], to=f64), type) for name in ("low", "high"))
        return cls(*(splat(each, lanes=lanes) for each in found))

    def keep(self, y: Value) -> Value:
        """Y within the limits, NaN as it is."""
        return least(greatest(y, self.low), self.high)

    def between(self, y: Value, dy: Value) -> Value:
        """The gradient where y is between the limits, 0 elsewhere."""
        return select(and_(greater(y, self.low), less(y, self.high)), dy, const(dy.type, 0.0))


@dataclass(frozen=True)
class BatchNormSweep(SweepRecipe):
    """Whether y is kept within limits, the type, lanes of a vector."""

    limited: bool
    type: Type
    lanes: int
    words = ("planes", "step", "block", "epsilon", "low", "high")
    arrays = ("x", "scale", "bias", "y", "mean", "by", "spread", "add")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Channel by channel: the sums, what is made of them, then all its elements."""
        type, lanes, kind, item = self.type, self.lanes, self.type.x(self.lanes), self.type.bytes
        count = sitofp(words["columns"] * words["planes"], to=f64)
        limits = Limits.of(words, type, lanes) if self.limited else None
        with fn.loop(share.first, share.stop) as line:
            channel, at = ChannelPlanes.of(fn, words, line.index, type, lanes), line.index * item

            def load(offset: Value, mask: Value | None) -> Value:
                return fn.load(words["x"], kind, offset, mask=mask)

            (first,) = channel.sums(1, 1, lambda offset, mask: [load(offset, mask)])
            near = round_to(first / sitofp(words["columns"], to=f64), type)
            around = splat(near, lanes=lanes)

            def moments(offset: Value, mask: Value | None) -> list[Value]:
                about = load(offset, mask) - around
                return [about, about * about]

            total, squares = (each / count for each in channel.sums(2, words["planes"], moments))
            mean = extend(near) + total
            variance = squares - total * total
            variance = select(less(variance, 0.0), const(f64, 0.0), variance)
            by = round_to(const(f64, 1.0) / sqrt(variance + bitcast(words["epsilon"], to=f64)), type)
            factor, m = self._factor(fn, words, at, by), round_to(mean, type)
            lacks = select(fabs(mean) < float("inf"), mean - extend(m), const(f64, 0.0))
            bias = extend(fn.load(words["bias"], type, at))
            add = round_to(bias - lacks * extend(factor), type)
            spread = round_to(variance * (count / maximum(count - 1.0, const(f64, 1.0))), type)
            for name, value in (("mean", m), ("by", by), ("spread", spread), ("add", add)):
                fn.store(value, words[name], at)
            m, factor, add = (splat(each, lanes=lanes) for each in (m, factor, add))

            def finish(offset: Value, mask: Value | None) -> None:
                y = fma(load(offset, mask) - m, factor, add)
                fn.store(limits.keep(y) if limits else y, words["y"], offset, mask=mask)

            channel.each(words["planes"], finish)

    def _factor(self, fn: Function, words: Mapping[str, Value], at: Value, by: Value) -> Value:
        return round_to(extend(fn.load(words["scale"], self.type, at)) * extend(by), self.type)


@dataclass(frozen=True)
class BatchNormGradSweep(SweepRecipe):
    """Whether y was kept within limits, whether mean and variance are given, the type, lanes of a vector."""

    limited: bool
    given: bool
    type: Type
    lanes: int
    words = ("planes", "step", "block", "epsilon", "low", "high")

    @property
    def arrays(self) -> tuple[str, ...]:
        """What comes in, with what is added to y where that is computed again; then what goes out."""
        return ("dy", "x", "scale", "mean", "by", *("add",) * self.limited, "dx", "dscale", "dbias")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """Channel by channel: both sums, then all elements of dx."""
        type, lanes, item = self.type, self.lanes, self.type.bytes
        count = sitofp(words["columns"] * words["planes"], to=f64)
        with fn.loop(share.first, share.stop) as line:
            channel, at = ChannelPlanes.of(fn, words, line.index, type, lanes), line.index * item
            mean = splat(fn.load(words["mean"], type, at), lanes=lanes)
            by = extend(fn.load(words["by"], type, at))
            if self.given:
                by = const(f64, 1.0) / sqrt(by + bitcast(words["epsilon"], to=f64))
            wide = extend(fn.load(words["scale"], type, at)) * by
            factor = splat(round_to(wide, type), lanes=lanes)
            both = self._both(fn, words, at, mean, factor)

            def products(offset: Value, mask: Value | None) -> list[Value]:
                g, about = both(offset, mask)
                return [g, g * about]

            total, moved = channel.sums(2, words["planes"], products)
            fn.store(round_to(moved * by, type), words["dscale"], at)
            fn.store(round_to(total, type), words["dbias"], at)
            slope, level = wide * moved * by * by / count, wide * total / count
            slope, level = (splat(round_to(each, type), lanes=lanes) for each in (slope, level))

            def finish(offset: Value, mask: Value | None) -> None:
                g, about = both(offset, mask)
                dx = g * factor if self.given else fma(g, factor, -fma(about, slope, level))
                fn.store(dx, words["dx"], offset, mask=mask)

            channel.each(words["planes"], finish)

    def _both(
        self, fn: Function, words: Mapping[str, Value], at: Value, mean: Value, factor: Value
    ) -> Callable[[Value, Value | None], tuple[Value, Value]]:
        """What gives a vector of dy, 0 where y was at a limit, and of x less the mean."""
        kind = self.type.x(self.lanes)
        if not self.limited:
            return lambda offset, mask: (
                fn.load(words["dy"], kind, offset, mask=mask),
                fn.load(words["x"], kind, offset, mask=mask) - mean,
            )
        limits = Limits.of(words, self.type, self.lanes)
        add = splat(fn.load(words["add"], self.type, at), lanes=self.lanes)

        def both(offset: Value, mask: Value | None) -> tuple[Value, Value]:
            about = fn.load(words["x"], kind, offset, mask=mask) - mean
            dy = fn.load(words["dy"], kind, offset, mask=mask)
            return limits.between(fma(about, factor, add), dy), about

        return both


def _share(
    shape: Sequence[int], epsilon: float, limits: tuple[float, float] | None, threads: int
) -> tuple[dict[str, int], int]:
    """The words of x: (B, C, *P), and the number of tasks."""
    B, C, *P = shape
    words, tasks = share_lines(C, B * math.prod(P), threads, whole=True)
    low, high = limits or (0.0, 0.0)
    words |= {
        "columns": math.prod(P),
        "piece": math.prod(P),
        "planes": B,
        "block": max(BLOCK // math.prod(P), 1),
    }
    words |= {
        name: struct.unpack("<q", struct.pack("<d", value))[0]
        for name, value in (("epsilon", epsilon), ("low", low), ("high", high))
    }
    return words, tasks


def _refusal(shape: Sequence[int], dtype: str) -> str | None:
    if refusal := type_refusal(dtype):
        return refusal
    if len(shape) < 2 or not math.prod(shape):
        return f"takes elements of channels, got {'x'.join(map(str, shape))}"
    return None


def batch_norm(
    shape: Sequence[int], epsilon: float, dtype: str, threads: int, limits: tuple[float, float] | None = None
) -> SweepPlan | str:
    """The kernel of normalisation over the batch; a sentence where there is none.

    x: (B, C, *P), scale, bias: (C,) -> y like x, kept within the limits, the mean, 1 / deviation, the variance over
    n - 1, and what is added to (x - mean) * scale / deviation, (C,) each; all C-contiguous.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(batch_norm((2, 1), 0.0, "float64", 1, (0.0, 3.5)))
    >>> made.load()
    >>> y, *rest = np.empty((2, 1)), np.empty(1), np.empty(1), np.empty(1), np.empty(1)
    >>> made(np.array([[3.0], [5.0]]), np.full(1, 2.0), np.full(1, 2.0), y, *rest)
    >>> y.ravel(), rest
    (array([0. , 3.5]), [array([4.]), array([1.]), array([2.]), array([2.])])
    """
    if refusal := _refusal(shape, dtype):
        return refusal
    type = TYPES[dtype]
    words, tasks = _share(shape, epsilon, limits, threads)
    words["step"] = math.prod(shape[1:]) * type.bytes
    recipe = BatchNormSweep(limits is not None, type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, math.prod(shape))


def batch_norm_grad(
    shape: Sequence[int],
    dtype: str,
    threads: int,
    *,
    limits: tuple[float, float] | None = None,
    given: float | None = None,
) -> SweepPlan | str:
    """The kernel of its gradients; a sentence where there is none.

    dy, x: (B, C, *P), scale, mean, 1 / deviation (and what was added, within `limits`) -> dx, dscale, dbias. `given`:
    mean and variance are no part of x, and this is the epsilon that is added to the variance, which stands in the place
    of 1 / deviation.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(batch_norm_grad((2, 1), "float64", 1))
    >>> made.load()
    >>> dx, *rest = np.empty((2, 1)), np.empty(1), np.empty(1)
    >>> made(np.array([[1.0], [0.0]]), np.array([[3.0], [5.0]]), np.ones(1), np.full(1, 4.0), np.ones(1), dx, *rest)
    >>> dx.ravel(), rest
    (array([0., 0.]), [array([-1.]), array([1.])])
    """
    if refusal := _refusal(shape, dtype):
        return refusal
    type = TYPES[dtype]
    words, tasks = _share(shape, given or 0.0, limits, threads)
    words["step"] = math.prod(shape[1:]) * type.bytes
    recipe = BatchNormGradSweep(limits is not None, given is not None, type, host().lanes(type.bytes))
    return SweepPlan(recipe, words, tasks, threads, math.prod(shape))


__all__ = ["BatchNormGradSweep", "BatchNormSweep", "batch_norm", "batch_norm_grad"]
