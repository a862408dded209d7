"""With deterministic=True an image's bits are its own: no choice depends on the batch or on threads."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import convmat
from convmat.geometry import Geometry
from convmat.planner import make
from convmat.problem import Problem


def drawn(seed: int) -> Problem:
    """A problem like those of networks, any pass but the weight gradient, at times within a limit."""
    draw = random.Random(seed)
    rank, groups = draw.choice([1, 2, 2, 2, 3]), draw.choice([1, 1, 1, 2, 8])
    C, O = (groups * draw.choice([1, 3, 8, 32, 64]) for _ in range(2))
    I = [draw.choice([3, 7, 14, 25, 56]) if rank < 3 else draw.choice([3, 7]) for _ in range(rank)]
    F = [draw.choice([1, 2, 3, 3, 5, 7]) for _ in range(rank)]
    stride = draw.choice([1, 1, 2, 3])
    g = Geometry.of(
        (1, C, *I), (O, C // groups, *F), stride=stride, padding=tuple(f // 2 for f in F), groups=groups
    )
    layout = draw.choice(["NCHW", "NHWC"])
    dtype = draw.choice(["float32", "float32", "float64", "float16", "uint8"])
    limit = draw.choice([None, None, 600_000])
    made = Problem.of(g, dtype, x=layout, y=layout, deterministic=True, workspace_limit=limit)
    return made.grad_input() if draw.random() < 0.3 else made


def of_batch(problem: Problem, batch: int, threads: int) -> Problem:
    x, y = (layout.with_extent("b", batch) for layout in (problem.x, problem.y))
    return replace(problem, geometry=replace(problem.geometry, B=batch), x=x, y=y, threads=threads)


def chosen_alike(seed: int) -> None:
    problem = drawn(seed)
    try:
        alone = make(problem).chosen.way
    except convmat.PlanError:
        return  # one image does not keep to the limit
    for batch, threads in ((1, 2), (1, 8), (2, 1), (3, 2), (16, 4), (64, 1), (64, 2)):
        plan = make(of_batch(problem, batch, threads))
        assert plan.chosen.way == alone, (str(problem.geometry), batch, threads)
        assert problem.workspace_limit is None or plan.workspace <= problem.workspace_limit


@pytest.mark.parametrize("seed", range(12))
def test_the_way_depends_on_neither_batch_nor_threads(seed: int) -> None:
    chosen_alike(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 312))
def test_the_way_depends_on_neither_batch_nor_threads_for_300_shapes(seed: int) -> None:
    chosen_alike(seed)


def test_the_first_images_bits_are_its_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 256, 25), np.float32)
    w = rng.standard_normal((1024, 256, 3), np.float32)
    y = convmat.conv(x, w, deterministic=True)
    np.testing.assert_array_equal(y[:1], convmat.conv(x[:1], w, deterministic=True))


def test_where_scratch_is_short_fewer_threads_run() -> None:
    g = Geometry.of((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    plans = [
        make(Problem.of(g, deterministic=True, workspace_limit=700_000, threads=threads))
        for threads in (1, 2, 4)
    ]
    assert len({plan.chosen.way for plan in plans}) == 1
    assert all(plan.workspace <= 700_000 for plan in plans)
    assert plans[0].chosen.engine == "jit"


def bits_alike(seed: int) -> None:
    """Only a BLAS multiplies complex numbers."""
    rng, draw = np.random.default_rng(seed), random.Random(seed)
    rank, groups = draw.choice([1, 2, 2, 3]), draw.choice([1, 1, 2])
    C, O = (groups * draw.choice([1, 3, 8, 32, 64]) for _ in range(2))
    I = [draw.choice([3, 7, 14, 25, 56]) if rank < 3 else draw.choice([3, 7]) for _ in range(rank)]
    F = [draw.choice([1, 2, 3, 5, 7]) for _ in range(rank)]
    layout = draw.choice(["NCHW", "NHWC"])
    x = rng.standard_normal((8, C, *I)) + 1j * rng.standard_normal((8, C, *I))
    if layout == "NHWC":
        x = np.moveaxis(x, 1, -1)
    x = np.ascontiguousarray(x, "complex64")
    w = rng.standard_normal((O, C // groups, *F)).astype("complex64")
    bias = rng.standard_normal(O).astype("complex64")
    # A window of one position has no Fourier transform to gain by.
    for lowering in (None, "im2col", *(["fft"] if max(F) > 1 else [])):
        found = set()
        for batch in (1, 2, 5, 8):
            for threads in (1, 2, 4):
                with convmat.threads(threads):
                    y = convmat.conv(
                        x[:batch], w, bias, padding=tuple(f // 2 for f in F), groups=groups, layout=layout,
                        lowering=lowering, deterministic=True,
                    )  # fmt: skip
                found.add(y[:1].tobytes())
        assert len(found) == 1, lowering


@pytest.mark.parametrize("seed", [14, 19, 27, 55, 59])
def test_with_a_blas_alone_an_images_bits_are_its_own(seed: int) -> None:
    bits_alike(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60, 160))
def test_with_a_blas_alone_an_images_bits_are_its_own_for_100_shapes(seed: int) -> None:
    bits_alike(seed)


def test_the_plan_says_how_a_blas_is_deterministic() -> None:
    plan = convmat.plan((4, 3, 9, 9), (4, 3, 3, 3), dtype="complex64", deterministic=True)
    assert plan.why().endswith(
        "the bits do not depend on threads or batch: a BLAS computes image by image, on one thread."
    )
