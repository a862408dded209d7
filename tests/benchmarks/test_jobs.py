"""Which jobs a run has, and which layers a word means."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.jobs import TRAINING_LAYERS, Job, operands, suite
from convmat.cases import LAYERS, select_layers
from convmat.errors import PlanError

NAMES = [layer.name for layer in LAYERS]


def test_a_run_does_one_thread_count_after_the_other() -> None:
    jobs = suite(NAMES, (1, 2), gradients=True)
    assert [job.threads for job in jobs] == [1] * 28 + [2] * 28
    gradients = [job for job in jobs if job.direction != "forward"]
    assert {job.layer for job in gradients} == set(TRAINING_LAYERS)
    assert {job.batch for job in gradients} == {16}
    assert suite(NAMES, (1,), gradients=False) == jobs[:20]


def test_training_layers_are_layers() -> None:
    assert set(TRAINING_LAYERS) <= set(NAMES)


def test_every_process_makes_the_same_operands() -> None:
    job = Job("2d/3x3/tail", threads=1)
    other = Job("2d/3x3/tail", threads=2)
    for ours, theirs in zip(operands(job), operands(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(operands(job)[0], operands(Job("2d/3x3/tail", batch=2))[0][:1])


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ([], range(1, 21)),
        (["1"], [1]),
        (["19-25"], [19, 20]),
        (["2-4", "1"], [1, 2, 3, 4]),
        (["depthwise"], [14, 15, 16]),
        (["112", "@7 pad"], [9, 12, 14, 16, 17]),
    ],
)
def test_layers_by_number_range_or_part_of_the_name(wanted: list[str], numbers: list[int]) -> None:
    assert select_layers(wanted) == tuple(NAMES[n - 1] for n in numbers)


def test_what_no_layer_matches() -> None:
    with pytest.raises(PlanError) as caught:
        select_layers(["5x5"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "bench: no layer matches '5x5'"
    assert lines[1:-1] == [f"  {i:2}  {name}" for i, name in enumerate(NAMES, 1)]
    assert lines[-1] == "  give a number, a range or a part of a name"
