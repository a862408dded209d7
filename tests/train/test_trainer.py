"""Trainers: a step is a graph, its answers are PyTorch's, and what is wrong is said before anything changes."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import nn, train
from convmat.errors import NetworkError, PlanError
from convmat.network.ops.planned import Multiplied
from tests.train.models import normalised

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
        "adam": train.Adam(1e-3, epsilon=1e-4, decay=1e-3),  # so that no step is a rounding error's sign
        "adamw": train.AdamW(1e-3, epsilon=1e-4),
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
        "adam": lambda: torch.optim.Adam(p, 1e-3, eps=1e-4, weight_decay=1e-3),
        "adamw": lambda: torch.optim.AdamW(p, 1e-3, eps=1e-4),
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


def test_a_checkpoint_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    x, target = batch(40)
    examples = train.Examples(x, target)
    words: dict[str, Any] = {"batch": 8, "augment": train.shifts(1)}
    optimiser = train.Adam(1e-2)
    whole = normalised(optimiser=optimiser)
    wanted = [each.loss for each in whole.fit(examples, 4, **words)]
    stopped, told = normalised(optimiser=optimiser), []

    def stop(progress: train.Progress) -> None:
        told.append(progress)
        if len(told) == 13:
            signal.raise_signal(signal.SIGINT)

    path = tmp_path / "here.safetensors"
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(examples, 4, **words, checkpoint=path, progress=stop, history=tmp_path / "a.csv")
    assert len(told) == 13
    again = normalised(optimiser=optimiser)
    again.resume(path)
    found = again.fit(examples, 4, **words, history=tmp_path / "a.csv")
    assert [each.loss for each in found] == wanted[2:]
    for name, array in whole.held.items():
        assert np.array_equal(array, again.held[name]), name
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "epoch,steps,loss,accuracy,test_loss,test_accuracy,seconds"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]


def test_a_checkpoint_that_is_not_whole(tmp_path: Path) -> None:
    trainer, path = small(), tmp_path / "here.safetensors"
    trainer.save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with pytest.raises(NetworkError, match="is no checkpoint, or not a whole one"):
        trainer.resume(path)
    path.write_bytes(data)
    with pytest.raises(NetworkError, match="is of another trainer"):
        small(optimiser=train.Adam()).resume(path)
    with pytest.raises(PlanError, match="cannot write"):
        trainer.save(tmp_path / "nowhere" / "here.safetensors")
    assert [each.name for each in tmp_path.iterdir()] == ["here.safetensors"]


def test_several_batches_make_one_change_as_one_large_batch() -> None:
    x, target = batch(8)
    once, twice = small(optimiser=train.SGD(0.1)), small(optimiser=train.SGD(0.1), accumulate=2)
    for _ in range(3):
        once.step(x, target)
        for part in (slice(0, 4), slice(4, 8)):
            twice.step(x[part], target[part])
    assert (once.steps, twice.steps, twice.batches) == (3, 3, 6)
    for name in once.made.parameters:
        assert np.allclose(once.held[name], twice.held[name], atol=1e-6), name


def test_gradients_are_cut_to_a_norm() -> None:
    x, target = batch()
    trainer = small(optimiser=train.SGD(1.0), clip=0.01)
    before = {name: trainer.held[name].copy() for name in trainer.made.parameters}
    trainer.step(x, target)
    moved = sum(float(np.square(trainer.held[n] - before[n]).sum()) for n in before) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_a_loss_that_is_no_number_changes_nothing() -> None:
    x, target = batch()
    trainer = normalised(optimiser=train.SGD(0.1))
    trainer.step(x, target)
    before = {name: array.copy() for name, array in trainer.held.items()}
    x[1, 0, 2, 2] = np.nan
    with pytest.raises(NetworkError) as error:
        trainer.step(x, target)
    assert str(error.value) == (
        "train: the loss is nan at step 1\n  the input 'x' has NaN or inf in it\n"
        "  look for it in the data; the parameters are as they were before this step"
    )
    for name in (*trainer.made.parameters, *trainer.made.running):
        assert np.array_equal(before[name], trainer.held[name]), name
    trainer.held["stem.0.weight"][...] = 3e38
    with pytest.raises(NetworkError, match=r"Conv 'stem.0.conv.\d+' is the first node that gives NaN or inf"):
        trainer.step(np.ones_like(x), target)


def test_the_error_says_which_checkpoint_is_from_before(tmp_path: Path) -> None:
    x, target = batch()
    keep, told = tmp_path / "here.safetensors", list[int]()
    trainer = normalised(optimiser=train.SGD(train.Steps(0.01, every=2, factor=1e30)))
    with pytest.raises(NetworkError) as error:
        trainer.fit(
            train.Examples(x, target), 9, batch=len(x), checkpoint=keep,
            each_epoch=lambda each: told.append(each.steps),
        )  # fmt: skip
    assert str(error.value).endswith(f"  {keep} is from before it, after {told[-1]} steps")
    assert "a smaller rate, clip=1.0, or a warm-up help" in str(error.value)


def test_what_is_normalised_by_the_batch_is_folded_again() -> None:
    x, target = batch(12)
    trainer = normalised(optimiser=train.SGD(0.1))
    for _ in range(5):
        trainer.step(x, target)
    net = trainer.network()
    assert trainer.made.running
    loss, accuracy = trainer.evaluate(train.Examples(x, target))
    scores = net(x).astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert loss == pytest.approx(-logs[np.arange(12), target].mean(), rel=1e-5)
    assert accuracy == np.mean(scores.argmax(1) == target)


LOSSES = {
    "binary_cross_entropy": lambda y, t: np.log1p(np.exp(-np.abs(y))) + np.maximum(y, 0) - t * y,
    "mean_squared_error": lambda y, t: (y - t) ** 2,
    "mean_absolute_error": lambda y, t: np.abs(y - t),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_numbers(name: str) -> None:
    trainer = small(loss=name, optimiser=train.SGD(0.05))
    x, _ = batch()
    t = np.random.default_rng(1).random((6, 3))
    y = trainer.network()(x)
    assert trainer.step(x, t) == pytest.approx(LOSSES[name](y, t).mean(), rel=1e-5)
    assert [trainer.step(x, t) for _ in range(30)][-1] < LOSSES[name](y, t).mean()
    with pytest.raises(NetworkError, match="targets do not fit"):
        trainer.step(x, t[:, :2])


def test_limits_behind_a_normalisation_are_part_of_its_pass() -> None:
    """One pass forward and one back instead of two each: where nothing else reads what it gives."""
    first = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.Relu())
    second = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.Clip(0, 6))
    third = nn.Sequential(nn.BatchNorm(), nn.Residual(nn.Relu()), nn.Flatten(), nn.Linear(2))
    graph = nn.build(nn.Sequential(first, second, third), (1, 9, 9)).trainer().made.graph
    found = [node.get("limits") for node in graph.nodes if node.op == "BatchNorm"]
    assert found == [(0.0, float("inf")), (0.0, 6.0), None], "the last is read beside the Relu"
    assert [node.op for node in graph.nodes if node.op in ("Relu", "Clip")] == ["Relu"]


def test_a_deterministic_step_has_the_same_bits_with_any_number_of_threads() -> None:
    def trained(threads: int) -> dict[str, Any]:
        model = nn.Sequential(
            nn.Conv(32, 3, padding=1), nn.Relu(), nn.Conv(32, 3), nn.Flatten(), nn.Linear(96), nn.Linear(10)
        )
        with convmat.threads(threads):
            made = nn.build(model, (3, 20, 20), seed=1).trainer(deterministic=True, seed=3)
            rng = np.random.default_rng(0)
            for _ in range(3):
                made.step(rng.standard_normal((16, 3, 20, 20), np.float32), rng.integers(0, 10, 16))
        return dict(made.network().graph.constants)

    one, two = trained(1), trained(2)
    assert one.keys() == two.keys()
    assert all(np.array_equal(value, two[name]) for name, value in one.items())


def test_products_of_dense_layers_run_on_own_kernels() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(40), nn.Relu(), nn.Linear(24))
    trainer = nn.build(model, (1, 16, 16)).trainer(optimiser=train.SGD(0.1))
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((64, 1, 16, 16), np.float32), rng.integers(0, 24, 64)
    w = {name: array.copy().astype(np.float64) for name, array in trainer.held.items()}
    trainer.step(x, target)
    program = trainer._programs.latest
    assert program is not None
    products = [task.run for task in program.tasks if task.node.op == "Gemm"]
    assert len(products) == 5
    assert all(isinstance(each, Multiplied) for each in products)
    a = x.reshape(64, -1)
    h = a @ w["1.weight"].T + w["1.bias"]
    z = np.maximum(h, 0) @ w["3.weight"].T + w["3.bias"]
    dz = (np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(24)[target]) / 64
    dh = (dz @ w["3.weight"]) * (h > 0)
    assert np.allclose(trainer.held["3.weight"], w["3.weight"] - 0.1 * dz.T @ np.maximum(h, 0), atol=1e-6)
    assert np.allclose(trainer.held["1.weight"], w["1.weight"] - 0.1 * dh.T @ a, atol=1e-6)
    assert np.allclose(trainer.held["1.bias"], w["1.bias"] - 0.1 * dh.sum(0), atol=1e-6)


@pytest.mark.parametrize("how", ["no space", "a limit of the file's size"])
def test_a_full_disk_costs_no_checkpoint(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    x, target = batch(16)
    path, told = tmp_path / "here.safetensors", []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(progress: train.Progress) -> None:
        told.append(progress)
        if progress.epoch == 1 and how == "no space":
            monkeypatch.setattr(os, "fsync", full)
        elif progress.epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    trainer = small(optimiser=train.SGD(0.1, momentum=0.9))
    try:
        with pytest.raises(PlanError) as error:
            trainer.fit(train.Examples(x, target), 3, batch=8, checkpoint=path, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        monkeypatch.undo()
    lines = str(error.value).splitlines()
    assert lines[0] == f"train: cannot write {path}"
    if how == "no space":
        assert lines[1:] == [
            "  No space left on device",
            "  make room on the disk, or give a path on another",
        ]
    assert [each.name for each in tmp_path.iterdir()] == [path.name], (
        "the one before it, and no part of another"
    )
    before = small(optimiser=train.SGD(0.1, momentum=0.9))
    before.resume(path)
    assert (before.epoch, trainer.epoch) == (1, 2)
    trainer.save(path)  # nothing is lost of what was learned since
    wanted = [each.loss for each in before.fit(train.Examples(x, target), 3, batch=8)][1:]
    assert [each.loss for each in trainer.fit(train.Examples(x, target), 3, batch=8)] == wanted


@pytest.mark.outside
def test_fifty_steps_stay_as_near_to_float64_as_those_of_pytorch() -> None:
    """From equal weights and batches: how far all parameters together are from PyTorch's in float64."""
    import torch
    from torch.nn import functional as F

    net, rng = nn.lenet(), np.random.default_rng(0)
    trainer = net.trainer(optimiser=train.SGD(0.02, momentum=0.9, decay=5e-4))
    target = rng.integers(0, 10, (50, 32))
    x = rng.standard_normal((50, 32, 1, 28, 28), np.float32) * 0.3
    for at in range(50):
        x[at, np.arange(32), 0, 2 * target[at]] += 1  # each class has a bright line of its own

    def theirs(dtype: Any) -> dict[str, Array]:
        c = {
            name: torch.tensor(value.copy(), dtype=dtype, requires_grad=True)
            for name, value in net.graph.constants.items()
            if value.dtype == np.float32
        }
        optimiser = torch.optim.SGD(list(c.values()), 0.02, momentum=0.9, weight_decay=5e-4)
        for at in range(50):
            h = torch.tensor(x[at], dtype=dtype)
            for name in ("features.0", "features.3"):
                h = F.max_pool2d(F.relu(F.conv2d(h, c[f"{name}.weight"], c[f"{name}.bias"])), 2)
            h = F.relu(F.linear(h.flatten(1), c["classifier.0.weight"], c["classifier.0.bias"]))
            h = F.linear(h, c["classifier.2.weight"], c["classifier.2.bias"])
            optimiser.zero_grad()
            F.cross_entropy(h, torch.tensor(target[at])).backward()
            optimiser.step()
        return {name: value.detach().numpy().astype(np.float64) for name, value in c.items()}

    exact, single = theirs(torch.float64), theirs(torch.float32)
    losses = [trainer.step(x[at], target[at]) for at in range(50)]
    assert losses[-1] < 0.5 * losses[0]

    def far(found: Any) -> float:
        about = [np.ravel(found[name] - exact[name]) for name in exact]
        return float(np.linalg.norm(np.concatenate(about)))

    assert far(trainer.held) <= 2 * far(single)
