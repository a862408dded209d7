"""Steps of a window that lead far outside the array: nothing is read there, and no code is made for the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat

X, W = np.arange(1.0, 41, dtype=np.float32).reshape(1, 1, 40), np.ones((4, 1, 7), np.float32)


@pytest.mark.parametrize("stride", [2**31 - 1, 2**31, 2**40, 2**52])
def test_one_output_takes_no_step(stride: int) -> None:
    layer = convmat.plan(X.shape, W.shape, stride=stride, padding=3).bind(W)
    assert layer(X).tolist() == [[[X[0, 0, :4].sum()]] * 4]


@pytest.mark.parametrize("stride", [2**29, 2**31, 2**40])
def test_two_outputs_far_apart(stride: int) -> None:
    plan = convmat.plan(X.shape, W.shape, stride=stride, padding=((3, stride),))
    refusals = {c.refusal for c in plan.candidates if c.engine == "jit" and c.lowering == "im2col"}
    assert refusals == {"counts positions in 32 bits: no axis over 536870912, its padding included"}
    assert plan.bind(W)(X).tolist() == [[[X[0, 0, :4].sum(), 0]] * 4]


@pytest.mark.parametrize("dilation", [(1000, 1), (2**20, 1), (1, 2**20)])
def test_taps_far_apart(dilation: Any) -> None:
    x, w = np.ones((2, 8, 6, 6), np.float32), np.ones((8, 1, 3, 3), np.float32)
    plan = convmat.plan(x.shape, w.shape, dilation=dilation, padding=dilation, groups=8)
    y = plan.bind(w)(x)
    rows = [2.0, 3, 3, 3, 3, 2]
    assert y[0, 0].tolist() == ([rows] * 6 if dilation[0] > 1 else [[n] * 6 for n in rows])
