"""Small images of a batch share panels: columns of all are one matrix where those of one would leave lanes empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import convmat
from convmat.engine import host, jit
from convmat.engine.kernels.panel.plan import PanelPlan
from convmat.geometry import Geometry
from convmat.problem import Problem

from .drawn import programs


def joined(problem: Problem) -> set[bool]:
    """Of each product of im2col by panels, whether its columns run over all images."""
    steps = [step for way, made in programs(problem) if way == "im2col" for step in made.steps]
    return {"b" in step.recipe.walk.run for step in steps if isinstance(step, PanelPlan)}


@pytest.mark.parametrize(
    ("x", "w", "stride", "direction", "whole"),
    [
        ((6, 48, 4, 4), (40, 48, 3, 3), 2, "input", {True}),  # 2x2 of every second element
        ((1, 48, 4, 4), (40, 48, 3, 3), 2, "input", {False}),  # nothing to join
        ((6, 48, 32, 32), (40, 48, 3, 3), 2, "input", {False}),  # no lane is empty
        ((6, 48, 4, 4), (40, 48, 3, 3), 2, "forward", {True}),  # 4 of a vector's lanes
        ((6, 48, 8, 8), (40, 48, 3, 3), 2, "forward", {False}),  # all of them
    ],
)
def test_columns_of_small_images_are_one_matrix(
    x: tuple[int, ...], w: tuple[int, ...], stride: int, direction: str, whole: set[bool]
) -> None:
    g = Geometry.of(x, w, stride=stride, padding=1)
    problem = Problem.of(g)
    fills = host().lanes(4) <= 4  # an image of 2x2 fills a vector of four
    assert joined(problem.grad_input() if direction == "input" else problem) == ({False} if fills else whole)
    rng = np.random.default_rng(0)
    filters = rng.integers(-3, 4, w).astype(np.float32)
    plan = convmat.plan(x, w, stride=stride, padding=1, direction=direction, engine="jit", lowering="im2col")
    if direction == "input":
        dy = rng.integers(-3, 4, g.y_shape).astype(np.float32)
        found, expected = plan(dy, filters), np.zeros((*x[:2], x[2] + 2, x[3] + 2), np.float32)
        for i, j in np.ndindex(3, 3):
            part = expected[:, :, i : i + stride * g.P[0] : stride, j : j + stride * g.P[1] : stride]
            part += np.einsum("bopq,oc->bcpq", dy, filters[:, :, i, j])
        expected = expected[:, :, 1:-1, 1:-1]
    else:
        image = rng.integers(-3, 4, x).astype(np.float32)
        padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]
        found, expected = plan(image, filters), np.einsum("bcpqij,ocij->bopq", windows, filters)
    assert np.array_equal(found, expected)


def test_many_filters_are_read_once_for_several_small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the second cache does not keep them: lanes lie along filters, an image has columns for part of a tile."""
    problem = Problem.of(Geometry.of((6, 16, 3, 3), (96, 16, 3, 3), padding=1))
    for bytes_, whole in ((1 << 30, {False}), (1 << 10, {True})):
        monkeypatch.setattr(jit, "host", lambda l2=bytes_: replace(host(), l2=l2))
        assert joined(problem) == whole
