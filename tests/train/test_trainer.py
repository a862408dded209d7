"""Trainers: a step is a graph, its answers are PyTorch's, and what is wrong is said before anything changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat import nn, train
from convmat.errors import NetworkError

Array = npt.NDArray[Any]


def small(**words: Any) -> train.Trainer:
    model = nn.Sequential(nn.Conv(4, 3), nn.Relu(), nn.MaxPool(2), nn.Flatten(), nn.Linear(3))
    made: train.Trainer = nn.build(model, (1, 8, 8)).trainer(**words)
    return made


def batch(size: int = 6) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, 1, 8, 8), np.float32), rng.integers(0, 3, size)


@pytest.mark.parametrize(
    "optimiser",
    [
        train.SGD(0.1),
        train.SGD(0.1, momentum=0.9, decay=1e-3),
        train.SGD(0.1, momentum=0.9, nesterov=True),
        train.Adam(1e-2),
        train.AdamW(1e-2),
    ],
    ids=["plain", "momentum", "nesterov", "adam", "adamw"],
)
def test_every_optimiser_learns_a_batch(optimiser: Any) -> None:
    trainer, (x, target) = small(optimiser=optimiser), batch()
    losses = [trainer.step(x, target) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
    assert trainer.right >= 5
    scores = trainer.network()(x)
    assert int((scores.argmax(axis=1) == target).sum()) >= 5


def test_a_frozen_parameter_stays() -> None:
    trainer, (x, target) = small(frozen=["0.*"]), batch()
    before = trainer.source.graph.constants
    trainer.step(x, target)
    after = trainer.network().graph.constants
    assert np.array_equal(before["0.weight"], after["0.weight"])
    assert not np.array_equal(before["4.weight"], after["4.weight"])


def test_targets_that_are_no_classes() -> None:
    trainer, (x, target) = small(), batch()
    before = trainer.network()(x)
    with pytest.raises(NetworkError) as error:
        trainer.step(x, np.where(np.arange(6) == 1, 7, target))
    assert str(error.value) == (
        "train: a target is no class\n  target[1] = 7; the network has 3 classes\n"
        "  0 to 2, or -100 for what takes no part"
    )
    with pytest.raises(NetworkError, match="targets do not fit"):
        trainer.step(x, target[:3])
    assert np.array_equal(trainer.network()(x), before)


def test_batches_of_other_sizes_share_what_is_learned() -> None:
    trainer, (x, target) = small(optimiser=train.SGD(0.1, momentum=0.9)), batch()
    first = trainer.step(x, target)
    trainer.step(x[:2], target[:2])
    assert trainer.step(x, target) != first
    assert trainer.steps == 3


@pytest.mark.outside
@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam", "adamw"])
def test_lenet_as_in_pytorch(kind: str) -> None:
    import torch
    from torch.nn import functional as F

    ours: Any = {
        "sgd": train.SGD(0.05, momentum=0.9, decay=1e-3),
        "nesterov": train.SGD(0.05, momentum=0.9, decay=1e-3, nesterov=True),
        "adam": train.Adam(1e-3, decay=1e-3),
        "adamw": train.AdamW(1e-3),
    }[kind]
    net = nn.lenet()
    trainer = net.trainer(optimiser=ours, loss=train.CrossEntropy(smoothing=0.1, weights=range(1, 11)))
    c = {
        name: torch.tensor(value.copy(), requires_grad=True)
        for name, value in net.graph.constants.items()
        if value.dtype == np.float32
    }
    p = list(c.values())
    theirs: Any = {
        "sgd": lambda: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3),
        "nesterov": lambda: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
        "adam": lambda: torch.optim.Adam(p, 1e-3, weight_decay=1e-3),
        "adamw": lambda: torch.optim.AdamW(p, 1e-3),
    }[kind]()
    x = np.random.default_rng(0).standard_normal((8, 1, 28, 28), np.float32)
    target = np.arange(8)
    for _ in range(4):
        loss = trainer.step(x, target)
        h = torch.tensor(x)
        for name in ("features.0", "features.3"):
            h = F.max_pool2d(F.relu(F.conv2d(h, c[f"{name}.weight"], c[f"{name}.bias"])), 2)
        h = F.relu(F.linear(h.flatten(1), c["classifier.0.weight"], c["classifier.0.bias"]))
        h = F.linear(h, c["classifier.2.weight"], c["classifier.2.bias"])
        wanted = F.cross_entropy(h, torch.tensor(target), torch.arange(1.0, 11.0), label_smoothing=0.1)
        theirs.zero_grad()
        wanted.backward()
        theirs.step()
        assert loss == pytest.approx(wanted.item(), rel=1e-5)
    for name, value in c.items():
        assert np.allclose(trainer.network().graph.constants[name], value.detach().numpy(), atol=1e-5)
