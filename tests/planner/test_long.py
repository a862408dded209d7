"""Long axes and many channels: plans are shapes, and whatever the shapes, they are made at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import convmat
from convmat.planner import DTYPES

LONG = 15 * 2**20
"""The longest product of powers of 2, 3 and 5 that a table of transforms once knew."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", ["forward", "input", "weight"])
def test_axes_of_any_length_are_planned(dtype: str, direction: str) -> None:
    for extent, sure, taps in itertools.product((LONG + 1, 2**40), (True, False), (3, 257)):
        if dtype in ("int8", "uint8") and (direction == "weight" or extent > 2**31):
            continue
        shapes = (1, 1, extent), (1, 1, taps)
        plan = convmat.plan(*shapes, dtype=dtype, direction=direction, deterministic=sure)
        assert plan.chosen.cost is not None


def test_a_long_line_is_convolved() -> None:
    x = np.zeros((1, 1, LONG + 1), np.float32)
    x[0, 0, [0, 1, LONG // 2, -1]] = [1, 2, 3, 4]
    w = np.array([[[1, 10, 100]]], np.float32)
    y = convmat.conv(x, w)
    assert y.shape == (1, 1, LONG - 1)
    assert [*y[0, 0, :3], y[0, 0, LONG // 2 - 1], y[0, 0, -1]] == [21, 2, 0, 30, 400]
    assert np.count_nonzero(y) == 6
    assert convmat.conv_weight_grad(x, y, (1, 1, 3), exact=True)[0, 0, 0] == 21 + 2 * 2 + 3 * 3
