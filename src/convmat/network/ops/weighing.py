"""Functions of two bytes that are weighted sums, as they are of quantised Add: by two factors instead of a dozen steps.

    quantise(dequantise(a) + dequantise(b)) = saturate(round(a * by + (b * with + add)))

A function of two bytes has 65,536 values, all of which are computed: factors are taken if they give every one of them.
Those of the exact quotient of scales nearly do. Where a sum lies so near the middle between two numbers that rounding
on the way decides, factors a few units in the last place away are tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...engine import Expression, weigh
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


def _before_rounding(
    said: Expression, there: Sequence[Spec], at: tuple[int, int]
) -> tuple[float, float, float] | None:
    """The weighted sum that is rounded first, in float64, if it is one between these bytes."""
    rounds = [step for step in said.steps if step.operation == "round"]
    last = rounds[0].operands[0] - len(said.inputs) if len(rounds) == 1 else -1
    if last < 0:
        return None
    steps = tuple(
        replace(s, type="float64" if s.type == "float32" else s.type) for s in said.steps[: last + 1]
    )
    types = tuple("float64" if name == "float32" else name for name in said.inputs)
    inner = Expression(types, steps)

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


def _move_by_units(number: float, units: Array) -> Array:
    """A number in float32, so many units in the last place away."""
    single = np.float32(number)
    return np.asarray(single + units * np.spacing(single), np.float32)


__all__ = ["BYTES", "find_factors"]
