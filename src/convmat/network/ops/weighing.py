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

MOST = 1 << 20
"""Sums that are tried, at most, of all factors together."""

STEPS = (0, 1, -1, 2, -2, 3, -3)
"""Units in the last place by which factors are moved."""


def find_factors(said: Expression, there: Sequence[Spec], at: tuple[int, int]) -> Factors | None:
    """The factors of the inputs `at`, and what is added: all of the function; None where there are none.

    `there`: Specs of all inputs, the others numbers.
    """
    kinds = [there[i].dtype for i in at]
    a, b = (np.arange(256, dtype=np.uint8).view(kind) for kind in kinds)
    every = {at[0]: np.repeat(a, 256), at[1]: np.tile(b, 256)}
    inputs = [every.get(i, spec.value) for i, spec in enumerate(there)]
    with np.errstate(all="ignore"):
        wanted = said(*(each for each in inputs if each is not None))
        exact = _before_rounding(said, there, at)
    if exact is None:
        return None
    by, with_, add = exact
    sums = every[at[0]] * by + every[at[1]] * with_ + add
    limits = np.iinfo(wanted.dtype)
    inside = (wanted > limits.min) & (wanted < limits.max)
    if not inside.any():
        return None
    zero = np.rint(np.median((wanted - np.rint(sums))[inside]))
    add, sums = add + zero, sums + zero
    near = (np.abs(sums - np.floor(sums) - 0.5) < NEAR) & (sums > limits.min - 1) & (sums < limits.max + 1)
    first, second = (every[i] for i in at)
    tries = max(MOST // max(int(np.count_nonzero(near)), 1), 1)
    for moved in itertools.islice(itertools.product(STEPS, repeat=3), tries):
        factors = _move_by_units(by, moved[0]), _move_by_units(with_, moved[1]), _move_by_units(add, moved[2])
        found = weigh(first[near], second[near], *factors, wanted.dtype)
        if np.array_equal(found, wanted[near]):
            every_one = weigh(first, second, *factors, wanted.dtype)
            return factors if np.array_equal(every_one, wanted) else None
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


def _move_by_units(number: float, by: int) -> Array:
    """A number in float32, so many units in the last place away."""
    single = np.float32(number)
    return np.asarray(single + by * np.spacing(single), np.float32)


__all__ = ["BYTES", "find_factors"]
