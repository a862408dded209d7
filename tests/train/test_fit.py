"""fit: what an epoch's figures are means of, and in which order files are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convmat import nn, train
from convmat.errors import PlanError


def test_figures_are_of_what_takes_part() -> None:
    """Of pixels where each has a class, of those that are not ignored, by the weights of their classes."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((5, 1, 4, 4), np.float32), rng.integers(0, 2, (5, 4, 4))
    target[0], target[1:3, :2] = 9, 9
    weights = (1.0, 3.0)
    net = nn.build(nn.Conv(2, 3, padding=1), (1, 4, 4))
    trainer = net.trainer(loss=train.CrossEntropy(weights, ignore=9), optimiser=train.SGD(0.0))
    z = net(x)
    logs = z - np.log(np.exp(z).sum(1, keepdims=True))
    there = target != 9
    classes = np.where(there, target, 0)
    each = np.array(weights)[classes] * there
    loss = -(np.take_along_axis(logs, classes[:, None], 1)[:, 0] * each).sum() / each.sum()
    right = ((z.argmax(1) == target) & there).sum() / there.sum()
    examples = train.Examples(x, target)
    assert trainer.evaluate(examples, 2) == pytest.approx((loss, right))
    told: list[train.Progress] = []
    epoch = trainer.fit(examples, batch=2, validate=examples, progress=told.append)[0]
    for found in ((epoch.loss, epoch.accuracy), (epoch.test_loss, epoch.test_accuracy)):
        assert found == pytest.approx((loss, right))
    assert (told[-1].loss, told[-1].accuracy) == pytest.approx((loss, right))


def test_of_nothing_there_is_no_mean() -> None:
    net = nn.build(nn.Linear(2), (3,))
    nothing = train.Examples(np.ones((4, 3), np.float32), np.full(4, -100))
    trainer = net.trainer(optimiser=train.SGD(0.1))
    assert np.isnan(trainer.evaluate(nothing)).all()
    assert np.isnan(trainer.evaluate(train.Examples(nothing.x[:0], nothing.target[:0]))).all()
    assert trainer.step(nothing.x, nothing.target) == 0
    assert np.array_equal(trainer.network().graph.constants["weight"], net.graph.constants["weight"])
    numbers = train.Examples(nothing.x, np.zeros((4, 2)))
    epoch = net.trainer(loss="mean_squared_error").fit(numbers)[0]
    assert np.isnan(epoch.accuracy)


def test_a_history_that_cannot_be_written_costs_no_checkpoint(tmp_path: Path) -> None:
    net = nn.build(nn.Linear(2), (3,))
    examples = train.Examples(np.ones((4, 3), np.float32), np.arange(4) % 2)
    folder = tmp_path / "gone"
    folder.mkdir()
    with pytest.raises(PlanError, match="cannot write"):
        net.trainer().fit(
            examples,
            checkpoint=tmp_path / "a.safetensors",
            history=folder / "a.csv",
            progress=lambda here: folder.rmdir(),
        )
    trainer = net.trainer()
    trainer.resume(tmp_path / "a.safetensors")
    assert (trainer.epoch, trainer.steps) == (1, 1)


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_checkpoint_without_a_name(name: str) -> None:
    with pytest.raises(PlanError, match="it is a folder"):
        nn.build(nn.Linear(2), (3,)).trainer().save(name)


def test_all_of_a_dropout_are_zeros() -> None:
    net = nn.build(nn.Sequential(nn.Linear(3), nn.Dropout(1.0)), (4,))
    assert net.trainer().step(np.ones((2, 4), np.float32), np.array([0, 1])) == pytest.approx(np.log(3))
