"""The judge is judged: by the definition, and by answers that are wrong on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import truth
from benchmarks.jobs import DIRECTIONS, Job, operands
from benchmarks.truth import WRONG, Truth
from convmat import cases
from tests import support

Array = npt.NDArray[Any]

JUDGED = [
    case
    for case in cases.CASES
    if not case.transposed and min(*case.geometry.lo, *case.geometry.hi) >= 0 and case.geometry.flops
]
"""What layers are like: they do not crop, and have something to add up."""


@pytest.mark.parametrize("case", JUDGED, ids=str)
def test_sums_over_taps_are_the_definition(case: cases.Case) -> None:
    g, exact = case.geometry, support.truth(case, "real")
    np.testing.assert_array_equal(truth.forward(exact.x, exact.w, g), exact.y)
    np.testing.assert_array_equal(truth.input_grad(exact.dy, exact.w, g), exact.dx)
    np.testing.assert_array_equal(truth.weight_grad(exact.x, exact.dy, g), exact.dw)


def right(job: Job) -> Array:
    """The answer in float64, all channels."""
    a, b = (each.astype(np.float64) for each in operands(job))
    made = {"forward": truth.forward, "input": truth.input_grad, "weight": truth.weight_grad}
    return made[job.direction](a, b, job.geometry)


JOBS = [
    Job(name, direction, batch=2)
    for name in (
        "2d/3x3/plain",
        "2d/grouped/tail",
        "2d/depthwise/strided-tail",
        "1d/3/plain",
        "3d/grouped/tail",
    )
    for direction in DIRECTIONS
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.layer}-{job.direction}")
def test_right_answers_pass_and_their_error_is_estimated(job: Job) -> None:
    judge, answer = Truth(job), right(job)
    assert judge.error(answer) < 1e-14
    noise = np.random.default_rng(0).standard_normal(answer.shape)
    noise *= 1e-5 * np.linalg.norm(answer) / np.linalg.norm(noise)
    assert judge.error(answer + noise) == pytest.approx(1e-5, rel=0.5)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.layer}-{job.direction}")
def test_wrong_answers_do_not(job: Job) -> None:
    judge, answer = Truth(job), right(job)
    channels = 0 if job.direction == "weight" else 1
    lacking, swapped, bad = answer.copy(), answer.copy(), answer.copy()
    lacking.swapaxes(0, channels)[-1] = 0
    swapped.swapaxes(0, channels)[:2] = swapped.swapaxes(0, channels)[1::-1].copy()
    bad[(0,) * bad.ndim] = np.nan
    for wrong in (lacking, swapped, np.flip(answer, -1), -answer):
        assert judge.error(wrong) > WRONG
    assert judge.error(bad) == float("inf")
    assert judge.error(answer[:1]) == float("inf")
    assert judge.error(answer.astype(np.float16)) < WRONG
