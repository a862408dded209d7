"""Sums of 8-bit integers, and what is added to them: whether all of it fits int32, whose sums would wrap unseen.

    least, greatest = terms * that of one product,  plus bias and residual          inside [-2^31, 2^31 - 1]

How long sums are is known when a call is planned, bias and residual when it is made; what may not fit is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GeometryError
from ..problem import Problem

Array = npt.NDArray[Any]

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
"""The least and the greatest number of a type."""

LEAST, GREATEST = -(2**31), 2**31 - 1


def require_short(call: str, problem: Problem, first: str) -> None:
    """Refuse sums so long that they may not fit; `first` is what the call's first array is called.

    Raises GeometryError.
    """
    if not problem.integral or problem.longest_sum <= _most(problem):
        return
    fix = (
        "plan for dtype='float64'"
        if call == "plan"
        else f"convert both arrays, e.g. {first}.astype('float64')"
    )
    raise GeometryError(
        f"{call}: the sums may pass what int32 holds\n"
        f"  sums of {problem.longest_sum} products of {_types(problem)};  at most {_most(problem)}\n"
        f"  {fix}"
    )


def product_range(problem: Problem) -> tuple[int, int]:
    """The least and the greatest product of an element of x and one of w, zero points taken off.

    >>> from ..geometry import Geometry
    >>> product_range(Problem.of(Geometry.of((1, 1, 9), (1, 1, 3)), "uint8", w_dtype="int8", x_zero=100))
    (-19840, 19685)
    """
    return _products(problem.dtype, problem.x_zero, problem.w_dtype or problem.dtype, problem.w_zero)


def _products(dtype: str, x_zero: int, w_dtype: str, w_zero: bool) -> tuple[int, int]:
    low, high = (each - x_zero for each in LIMITS[dtype])
    w_low, w_high = LIMITS[w_dtype]
    if w_zero:  # any of the type, of which the numbers are as far away as they can
        w_low, w_high = w_low - w_high, w_high - w_low
    found = [a * b for a in (low, high) for b in (w_low, w_high)]
    return min(found), max(found)


def room_beside(terms: int, dtype: str, x_zero: int, w_dtype: str, w_zero: bool) -> tuple[int, int]:
    """The least and the greatest number that may be added to sums of so many products; `w_zero`: whether w has any.

    Sums that may not fit by themselves leave none: the least is above 0, or the greatest below.

    >>> room_beside(9, "uint8", 100, "int8", False)
    (-2147305088, 2147306482)
    >>> room_beside(200_000, "uint8", 100, "int8", False)
    (1820516352, -1789516353)
    """
    low, high = _products(dtype, x_zero, w_dtype, w_zero)
    return LEAST - terms * low, GREATEST - terms * high


def _most(problem: Problem) -> int:
    low, high = product_range(problem)
    return min(GREATEST // max(high, 1), -LEAST // max(-low, 1))


def _types(problem: Problem) -> str:
    return problem.dtype if problem.w_dtype is None else f"{problem.dtype} and {problem.w_dtype}"


def require_small(problem: Problem, **added: Array | None) -> None:
    """Refuse what is added to the sums, arrays by name, where the result may not fit. Raises GeometryError."""
    given = {name: array for name, array in added.items() if array is not None and array.size}
    if not problem.integral or not given:
        return
    low, high = (each * problem.longest_sum for each in product_range(problem))
    ranges = {name: (int(np.min(array)), int(np.max(array))) for name, array in given.items()}
    least, greatest = low + sum(r[0] for r in ranges.values()), high + sum(r[1] for r in ranges.values())
    if least >= LEAST and greatest <= GREATEST:
        return
    said = ", ".join(f"{name} {a} .. {b}" for name, (a, b) in ranges.items())
    names = " and ".join(f"the {name}" for name in ranges)
    raise GeometryError(
        f"conv: {names} may take the sums past what int32 holds\n"
        f"  products of {_types(problem)} sum up to {low} .. {high};  {said}\n"
        f"  {least} .. {greatest} in all: convolve without, and add to y.astype('int64')"
    )


__all__ = ["LIMITS", "product_range", "require_short", "require_small", "room_beside"]
