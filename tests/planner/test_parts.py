"""Plans of blocks whose x and y are parts of larger arrays: read and written where they lie, nothing beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.cases import CASES, Case
from convmat.errors import PlanError
from convmat.planner import Candidate, plan_block
from tests.support import TAILS, operands, problem_of, way_name, ways

Array = npt.NDArray[Any]
WAYS = [way for way in ways() if way[0] == "jit" and way[1] not in ("mec", "kn2row", "fft")]


def part_of(array: Array, more: tuple[int, ...], filled: Any) -> tuple[Array, Array]:
    """A larger array, and the array as a part of it, begun at one along every axis that has more."""
    around = np.full([n + m for n, m in zip(array.shape, more, strict=True)], filled, array.dtype)
    part = around[tuple(slice(min(m, 1), min(m, 1) + n) for n, m in zip(array.shape, more, strict=True))]
    part[...] = array
    return around, part


def check(case: Case, dtype: str, layout: str, direction: str, way: Any, more: tuple[int, ...]) -> bool:
    """Whether the way is taken; then the bits are those of arrays that lie alone."""
    problem = problem_of(case, dtype, layout, direction)
    first, second, _ = operands(case, dtype, layout, direction)
    if 0 in problem.shape("x") + problem.shape("y"):
        return False
    chosen = Candidate(*way)
    try:
        alone = plan_block(problem, chosen, 2)
    except PlanError:
        return False
    expected = alone(first, second)
    filled = 99 if first.dtype.kind in "iu" else np.nan
    extra = more[: first.ndim]
    x_in, x = part_of(first, extra, filled)
    y_in, y = part_of(np.zeros_like(expected), extra, filled)
    beside = y_in.copy()
    plan = plan_block(problem, chosen, 2, x_in.shape, y_in.shape)
    made = plan(x, second, out=y)
    assert made is y
    np.testing.assert_array_equal(y, expected, f"{way_name(way)}, {case}, {dtype}, {layout}, {direction}")
    y[...] = 0
    beside[tuple(slice(min(m, 1), min(m, 1) + n) for n, m in zip(y.shape, extra, strict=True))] = 0
    np.testing.assert_array_equal(y_in, beside, f"beside: {way_name(way)}, {case}, {layout}, {direction}")
    np.testing.assert_array_equal(plan(first, second), expected)  # arrays that lie otherwise are copied
    return True


MORE = ((1, 0, 3, 2, 1, 2), (0, 2, 1, 3, 2, 1), (0, 0, 4, 0, 0, 0))
"""How much the arrays around are larger along each axis."""


@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_parts_of_larger_arrays(way: Any) -> None:
    """A few cases of each way: kernels take a tenth of a second each to compile."""
    taken, first = 0, WAYS.index(way)
    for number, case in enumerate([*TAILS[first:], *TAILS[:first]]):
        direction, layout = ("forward", "input")[number % 2], ("NCHW", "NHWC")[number // 2 % 2]
        taken += check(case, "float32", layout, direction, way, MORE[number % 3])
        if taken == 4:
            break
    assert taken or way[1] == "pieces"  # of long filters, which are among the slow cases


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=way_name)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "complex64"])
def test_parts_of_larger_arrays_of_every_type(way: Any, dtype: str) -> None:
    for case in CASES:
        for layout in ("NCHW", "NHWC"):
            for direction in ("forward", "input"):
                for more in MORE:
                    check(case, dtype, layout, direction, way, more)
