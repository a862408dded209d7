"""Functions of bytes that are weighted sums, as they are of quantised Add: by two factors instead of a dozen steps.

    quantise(dequantise(a) + dequantise(b)) = saturate(round(a * by + (b * with + add)))
    quantise(normalise(dequantise(a)))      = saturate(round(a * factor + offset))               for each channel

A function of two bytes has 65,536 values, all of which are computed: factors are taken if they give every one of them.
Those of the exact quotient of scales nearly do. Where a sum lies so near the middle between two numbers that rounding
on the way decides, factors a few units in the last place away are tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...engine import Expression, requantise, weigh
from ..graph import Array, Spec

BYTES = (np.uint8, np.int8)

Factors = tuple[Array, Array, Array]

NEAR = 2.0**-8
"""How far from the middle between two numbers rounding on the way decides, at most."""

LARGE = 2.0**8
"""The greatest factor, and one over the least: float64 then adds their products with bytes up exactly."""

SPAN = 64
"""Numbers apart at which the slope of a sum is taken."""

MOST = 1 << 18
"""Sums that are tried, at most, of all factors together."""

STEPS = (0, 1, -1, 2, -2, 3, -3)
"""Units in the last place by which factors are moved."""


def find_factors(said: Expression, there: Sequence[Spec], at: tuple[int, int]) -> Factors | None:
    """The factors of the inputs `at`, and what is added: all of the function; None where there are none.

    `there`: Specs of all inputs, the others numbers.
    """
    a, b = (np.arange(256, dtype=np.uint8).view(there[i].dtype) for i in at)
    every = {at[0]: a[:, None], at[1]: b}
    inputs = [every.get(i, spec.value) for i, spec in enumerate(there)]
    with np.errstate(all="ignore"):
        wanted = said(*(each for each in inputs if each is not None))
        exact = _before_rounding(said, there, at)
    if exact is None:
        return None
    by, with_, add = exact
    sums = (a * by)[:, None] + (b * with_ + add)
    limits = np.iinfo(wanted.dtype)
    inside = (wanted > limits.min) & (wanted < limits.max)
    if not inside.any():
        return None
    zero = float(np.rint(np.mean((wanted - sums)[inside])))
    add, sums = add + zero, sums + zero
    near = (np.abs(sums - np.floor(sums) - 0.5) < NEAR) & (sums > limits.min - 1) & (sums < limits.max + 1)
    rows, columns = np.nonzero(near)
    tries = max(MOST // max(len(rows), 1), 1)
    moved = np.array([*itertools.islice(itertools.product(STEPS, repeat=3), tries)], np.float32)
    for some in np.split(moved, [1, 16]):
        each = [_move_by_units(n, some[:, k : k + 1]) for k, n in enumerate((by, with_, add))]
        found = weigh(a[rows], b[columns], each[0], each[1], each[2], wanted.dtype)
        good = np.flatnonzero((found == wanted[rows, columns]).all(1))
        if len(good):
            first, second, more = (np.asarray(n[good[0], 0]) for n in each)
            factors = first, second, more
            return factors if np.array_equal(weigh(a[:, None], b, *factors, wanted.dtype), wanted) else None
    return None


def find_requantising(
    said: Expression, inputs: Sequence[Array], at: int, channels: int, zero: int
) -> tuple[Array, Array] | None:
    """A factor and an offset for each channel that give all of a function of bytes; None where one has none.

    zero: what bytes are counted from.
    inputs: those of the expression, that of number `at` every byte: (1, 256), the others (channels, 1) or (1, 1).
    """
    with np.errstate(all="ignore"):
        wanted = np.broadcast_to(said(*inputs), (channels, 256))
        inner = _until_rounded(said)
        if inner is None:
            return None
        wide = [each if each.dtype in BYTES else each.astype(np.float64) for each in inputs]
        sums = np.broadcast_to(inner(*wide), (channels, 256))
    bytes_ = inputs[at][0]
    order = np.argsort(bytes_)
    q, wanted, sums = bytes_[order].astype(np.float64) - zero, wanted[:, order], sums[:, order]
    low, high = (float(n) for n in (np.iinfo(wanted.dtype).min, np.iinfo(wanted.dtype).max))
    slopes = _find_slopes(sums, (wanted > low) & (wanted < high), wanted)
    if not (np.abs(slopes) <= LARGE).all():
        return None
    factors, offsets = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    left = np.arange(channels)
    for step in STEPS:
        tried = _move_by_units(slopes[left], np.asarray(step))
        own, products = wanted[left].astype(np.float64), q * tried[:, None].astype(np.float64)
        # What rounds to a number lies within half a step of it, what is cut off anywhere beyond.
        least = np.where(own > low, own - 0.5 - products, -np.inf).max(1)
        most = np.where(own < high, own + 0.5 - products, np.inf).min(1)
        least, most = np.where(np.isinf(least), most - 1, least), np.where(np.isinf(most), least + 1, most)
        offset = ((least + most) / 2).astype(np.float32)
        made = requantise(bytes_[order], zero, tried[:, None], offset[:, None])
        good = (made == wanted[left]).all(1)
        factors[left[good]], offsets[left[good]] = tried[good], offset[good]
        left = left[~good]
        if not len(left):
            return factors, offsets
    return None


def count_steps_behind(
    steps: int, dtype: np.dtype[Any], zero: int, pair: tuple[Array, Array] | None, three: Array | None
) -> int:
    """How far apart bytes may be that are rounded again from bytes so many steps apart: by all of their values.

    `pair`: the factor and the offset of each channel; `three`: numbers that a residual is added by.

    >>> pair = np.float32([0.5, 3.0]), np.float32([0, 0])
    >>> count_steps_behind(1, np.dtype(np.uint8), 0, pair, None)
    3
    """
    about = np.iinfo(dtype)
    every = np.arange(about.min, about.max + 1).astype(dtype)

    def apart(table: Array) -> int:
        wide = table.astype(np.int64)
        return int(np.abs(wide[:, steps:] - wide[:, :-steps]).max()) if steps else 0

    if pair is not None:
        steps = apart(requantise(every[None], zero, *(each.reshape(-1, 1) for each in pair)))
    if three is not None:
        by, with_, add = three
        steps = apart(weigh(every[None], every[:, None], by, with_, add, dtype))
    return steps


def _find_slopes(sums: Array, inside: Array, wanted: Array) -> Array:
    """How much a step of the byte moves the sums of each channel, where nothing is cut off; 0 where nothing moves."""
    rows = np.arange(len(sums))
    first, last = inside.argmax(1), inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
    apart = np.maximum(last - first, 1)
    slopes = (sums[rows, last] - sums[rows, first]) / apart
    steps = np.diff(sums, axis=1)
    steepest = steps[rows, np.abs(steps).argmax(1)]
    slopes = np.where(inside.any(1) & (last > first), slopes, steepest)
    return np.where((wanted == wanted[:, :1]).all(1), 0.0, slopes)


def _until_rounded(said: Expression) -> Expression | None:
    """What an expression rounds, in float64, if it rounds once."""
    rounds = [step for step in said.steps if step.operation == "round"]
    last = rounds[0].operands[0] - len(said.inputs) if len(rounds) == 1 else -1
    if last < 0:
        return None
    steps = tuple(
        replace(s, type="float64" if s.type == "float32" else s.type) for s in said.steps[: last + 1]
    )
    return Expression(tuple("float64" if name == "float32" else name for name in said.inputs), steps)


def _before_rounding(
    said: Expression, there: Sequence[Spec], at: tuple[int, int]
) -> tuple[float, float, float] | None:
    """The weighted sum that is rounded first, in float64, if it is one between these bytes."""
    inner = _until_rounded(said)
    if inner is None:
        return None
    types = inner.inputs

    def value(a: int, b: int) -> float:
        given = {at[0]: np.asarray(a, there[at[0]].dtype), at[1]: np.asarray(b, there[at[1]].dtype)}
        inputs = [
            given[i] if i in given else np.asarray(spec.value, types[i]) for i, spec in enumerate(there)
        ]
        return float(inner(*inputs).item())

    a, b = (int(np.iinfo(there[i].dtype).max) for i in at)  # where no lower limit of Relu's is near
    top = value(a, b)
    by, with_ = (top - value(a - SPAN, b)) / SPAN, (top - value(a, b - SPAN)) / SPAN
    add = top - a * by - b * with_
    fits = all(1 / LARGE <= abs(each) <= LARGE for each in (by, with_)) and abs(add) <= LARGE * LARGE
    far = abs(value(a - SPAN // 2, b - SPAN // 2) - top + SPAN // 2 * (by + with_))
    return (by, with_, add) if fits and far < NEAR else None


def _move_by_units(number: float | Array, units: Array) -> Array:
    """A number in float32, so many units in the last place away."""
    single = np.asarray(number, np.float32)
    return np.asarray(single + units * np.spacing(single), np.float32)


__all__ = ["BYTES", "count_steps_behind", "find_factors", "find_requantising"]
