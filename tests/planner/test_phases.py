"""Strides far beyond filters: phases that are alike are planned once, and those without taps are filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.engine.kernels.phases import plan as phases
from convmat.geometry import Geometry

CASES = {
    "one tap, stride 65": ((1, 1, 66, 66), (1, 1, 1, 1), 65, 1, 0),
    "stride 100 of 100 taps": ((1, 1, 200, 200), (1, 1, 100, 100), 100, 1, 0),
    "stride 64 of 4 taps": ((1, 1, 68, 68), (1, 1, 4, 4), 64, 1, 0),
    "upsampling by 32": ((1, 21, 512, 512), (21, 1, 64, 64), 32, 21, 16),
    "a million": ((1, 2, 3_000_001), (1, 2, 5), 1_000_000, 1, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_planning_does_not_grow_with_the_phases(name: str) -> None:
    x, w, stride, groups, padding = CASES[name]
    g = Geometry.of(x, w, stride=stride, groups=groups, padding=padding).grad_input()
    assert len(g.phases()) <= 4 < g.phase_count


def test_phases_written_together_are_not_read_one_by_one_where_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, plain = [0], phases._read_axis

    def counted(*given: Any) -> Any:
        read[0] += 1
        return plain(*given)

    monkeypatch.setattr(phases, "_read_axis", counted)
    convmat.plan(
        (1, 2, 1_000_001), (1, 2, 5), stride=1_000_000, direction="input", engine="jit", lowering="im2col"
    )
    assert read[0] < 100


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("engine", ["jit", "blas"])
def test_far_strides_are_right(name: str, engine: str) -> None:
    shape, w_shape, stride, groups, padding = CASES[name]
    rng = np.random.default_rng(0)
    w = rng.integers(-3, 4, w_shape).astype(np.float32)
    g = Geometry.of(shape, w_shape, stride=stride, groups=groups, padding=padding)
    dy = rng.integers(-3, 4, g.y_shape).astype(np.float32)
    dx = convmat.conv_input_grad(
        dy, w, shape, stride=stride, groups=groups, padding=padding, engine=engine, lowering="im2col"
    )
    wanted = np.zeros((*shape[:2], *(n + 2 * padding for n in shape[2:])), np.float32)
    per, made = shape[1] // groups, w_shape[0] // groups
    for at in np.ndindex(*dy.shape[2:]):
        window = tuple(slice(p * stride, p * stride + f) for p, f in zip(at, w_shape[2:], strict=True))
        for group in range(groups):
            filters = slice(group * made, (group + 1) * made)
            added = np.tensordot(dy[0, filters][(slice(None), *at)], w[filters], 1)
            wanted[0, group * per : (group + 1) * per][(slice(None), *window)] += added
    inner = tuple(slice(padding, padding + n) for n in shape[2:])
    np.testing.assert_array_equal(dx, wanted[(slice(None), slice(None), *inner)])


def test_outputs_without_taps_have_their_epilogue() -> None:
    x, w = np.array([[[1.0, -2.0]]]), np.array([[[3.0]]])
    y = convmat.conv_transpose(x, w, np.array([0.5]), stride=3, output_padding=2, activation="relu")
    assert y.tolist() == [[[3.5, 0.5, 0.5, 0, 0.5, 0.5]]]
    residual = np.arange(6.0).reshape(1, 1, 6)
    convmat.conv_transpose(x, w, stride=3, output_padding=2, residual=residual, out=residual)
    assert residual.tolist() == [[[3, 1, 2, -3, 4, 5]]]
