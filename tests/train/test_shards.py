"""Shards: a step in parts is the step of the whole batch, and its bits do not depend on who computes the parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import nn, train
from convmat.errors import NetworkError
from tests.train.models import normalised

Array = npt.NDArray[Any]


def plain(**words: Any) -> train.Trainer:
    model = nn.Sequential(nn.Conv(4, 3), nn.Relu(), nn.MaxPool(2), nn.Flatten(), nn.Linear(3))
    made: train.Trainer = nn.build(model, (1, 8, 8)).trainer(**words)
    return made


def examples(size: int = 22) -> train.Examples:
    rng = np.random.default_rng(0)
    return train.Examples(rng.standard_normal((size, 1, 8, 8), np.float32), rng.integers(0, 3, size))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_without_normalisation_parts_are_the_whole(accumulate: int) -> None:
    x, target = examples(11)[:]
    target[3:6] = -100  # one part counts for nothing, another for less than its size
    words: dict[str, Any] = {
        "loss": train.CrossEntropy(weights=(1.0, 2.0, 0.5), smoothing=0.1), "clip": 0.5, "accumulate": accumulate
    }  # fmt: skip
    whole, parts = (plain(optimiser=train.SGD(0.1, momentum=0.9), **words) for _ in range(2))
    for _ in range(4):
        assert parts.step(x, target, shards=4) == pytest.approx(whole.step(x, target), rel=1e-6)
        assert parts.right == whole.right
    assert parts.steps == whole.steps == 4 // accumulate
    for name, array in whole.held.items():
        assert np.allclose(array, parts.held[name], atol=1e-6), name


def test_running_values_are_the_means_of_the_parts() -> None:
    x, target = examples(12)[:]
    trainer = normalised(optimiser=train.SGD(0.1))
    w = trainer.held["stem.0.weight"].copy()
    name = next(each for each in trainer.made.running if "stem" in each and "var" in each)
    trainer.step(x, target, shards=3)
    y = convmat.conv(x, w)
    variances = [part.transpose(1, 0, 2, 3).reshape(4, -1).var(1, ddof=1) for part in np.split(y, 3)]
    assert np.allclose(trainer.held[name], 0.9 + 0.1 * np.mean(variances, axis=0), rtol=1e-5)


def test_a_fit_in_parts_has_the_same_bits_with_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2):
        with convmat.threads(threads):
            trainer = normalised(optimiser=train.Adam(1e-2), seed=5)
            course = trainer.fit(examples(), 2, batch=8, shards=3)
            found.append(([each.loss for each in course], trainer.held))
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(array, found[1][1][name]) for name, array in found[0][1].items())


def test_a_checkpoint_of_a_fit_in_parts_goes_on(tmp_path: Path) -> None:
    whole, first, second = (normalised(optimiser=train.Adam(1e-2)) for _ in range(3))
    wanted = whole.fit(examples(), 3, batch=8, shards=2)
    first.fit(examples(), 2, batch=8, shards=2, checkpoint=tmp_path / "here.safetensors")
    second.resume(tmp_path / "here.safetensors")
    assert second.fit(examples(), 1, batch=8, shards=2)[0].loss == wanted[2].loss


def test_a_part_whose_loss_is_no_number_changes_nothing() -> None:
    x, target = examples(8)[:]
    trainer, other = (normalised(optimiser=train.SGD(0.1, momentum=0.9)) for _ in range(2))
    for each in (trainer, other):
        each.step(x, target, shards=4)
    wrong = x.copy()
    wrong[7, 0, 2, 2] = np.inf  # the last part
    with pytest.raises(NetworkError, match="the loss is nan at step 1\n  the input 'x' has NaN or inf in it"):
        trainer.step(wrong, target, shards=4)
    for each in (trainer, other):
        each.step(x, target, shards=4)
    assert all(np.array_equal(array, other.held[name]) for name, array in trainer.held.items())


def test_more_parts_take_less_memory() -> None:
    trainer = plain()
    assert trainer.memory((64, 1, 8, 8), shards=8).arena < trainer.memory((64, 1, 8, 8)).arena / 4
    with pytest.raises(NetworkError) as error:
        trainer.fit(examples(), shards=0)
    assert str(error.value) == (
        "train: shards is a number of parts of each batch\n  shards = 0\n  e.g. shards=4"
    )
