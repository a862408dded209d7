"""Training on a cluster: the bits of one process, whoever computes the shards and whoever is lost."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convmat import nn, train
from convmat.chunks import training
from convmat.errors import NetworkError
from convmat.train.shards import CrewLostError

distributed = pytest.importorskip("distributed")


def trainer() -> train.Trainer:
    model = nn.Sequential(
        nn.Conv(4, 3), nn.BatchNorm(), nn.Relu(), nn.MaxPool(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(3)
    )
    made: train.Trainer = nn.build(model, (1, 8, 8)).trainer(optimiser=train.SGD(0.05, momentum=0.9))
    return made


def examples(size: int = 20) -> train.Examples:
    rng = np.random.default_rng(0)
    return train.Examples(rng.standard_normal((size, 1, 8, 8), np.float32), rng.integers(0, 3, size))


WORDS: dict[str, Any] = {"epochs": 3, "batch": 8, "shards": 3}


@pytest.fixture(scope="module")
def alone() -> tuple[list[float], dict[str, Any]]:
    """What one process makes of it."""
    made = trainer()
    return [each.loss for each in made.fit(examples(), **WORDS)], made.held


def test_a_lost_worker_changes_nothing_and_a_new_one_is_used(
    workers: Any, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[set[str]] = []
    send = training._ShardStep._send

    def sending(step: Any, plan: Any) -> None:
        send(step, plan)
        used.append(set(plan))
        if len(used) == 4:  # its shards are on their way
            (pid,) = workers.run(os.getpid, workers=[next(iter(plan))]).values()
            os.kill(pid, signal.SIGKILL)

    def progress(here: train.Progress) -> None:
        if (here.epoch, here.batch) == (1, 3):
            workers.wait_for_workers(2, timeout=300)

    monkeypatch.setattr(training._ShardStep, "_send", sending)
    made = trainer()
    found = made.fit(examples(), **WORDS, client=workers, progress=progress)
    assert [each.loss for each in found] == alone[0]
    assert all(np.array_equal(array, made.held[name]) for name, array in alone[1].items())
    first, last = used[0], used[-1]
    assert len(first) == len(last) == 2
    assert len(first & last) == 1, "one was lost, and another has come"
    assert any(len(each) == 1 for each in used), "the one that was left took the shards of the other"


def test_a_lost_scheduler_leaves_a_checkpoint(alone: Any, tmp_path: Path) -> None:
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    client = distributed.Client(cluster)
    path = tmp_path / "here.safetensors"

    def progress(here: train.Progress) -> None:
        if (here.epoch, here.batch) == (1, 1):
            client._timeout = 1  # seconds to look for the scheduler: the test waits as long
            cluster.close()

    made = trainer()
    with pytest.raises(CrewLostError) as error:
        made.fit(examples(), **WORDS, client=client, checkpoint=path, progress=progress)
    client.close(timeout=1)
    lines = str(error.value).splitlines()
    assert lines[0] == "train: the scheduler is lost"
    assert lines[2] == (
        "  4 steps are done: fit of this trainer with another client goes on from here, "
        f"and a trainer that resumes {path}"
    )
    again = trainer()
    again.resume(path)
    for each in (made, again):
        assert [epoch.loss for epoch in each.fit(examples(), **WORDS)] == alone[0][1:]


def test_a_loss_that_is_no_number_is_the_error_that_it_is_here(workers: Any) -> None:
    x, target = examples()[:]
    x[5, 0, 1, 1] = np.nan
    told = []
    for words in ({}, {"client": workers}):
        with pytest.raises(NetworkError) as error:
            trainer().fit(train.Examples(x, target), **WORDS, **words)
        told.append(str(error.value))
    assert told[0] == told[1]
    assert told[0].startswith("train: the loss is nan at step ")


def test_workers_of_another_version_are_refused(workers: Any) -> None:
    version = "import convmat; convmat.__version__ = '0.2.9'"
    other = sorted(workers.nthreads())[1]
    before = workers.run(eval, "__import__('convmat').__version__", workers=[other])[other]
    workers.run(exec, version, workers=[other])
    try:
        with pytest.raises(NetworkError) as error:
            trainer().fit(examples(), **WORDS, client=workers)
    finally:
        workers.run(exec, version.replace("0.2.9", before), workers=[other])
    assert str(error.value) == (
        "train: a worker cannot be used: it has another version of convmat\n"
        f"  {other} has 0.2.9, here is {before}\n  install the same there, or leave it out"
    )


def test_why_a_worker_cannot_be_used() -> None:
    ours = training.facts()
    assert training.describe_mismatch("w", ours, ours, ours) == ""
    assert training.describe_mismatch("w", replace(ours, cpu="x", model="Old"), ours, ours) == (
        f"its CPU is of another kind, whose bits are others\n  w has Old, the others {ours.model}"
    )
    assert training.describe_mismatch("w", replace(ours, kernels="0" * 64), ours, ours).startswith(
        "its convmat "
    )
    assert training.describe_mismatch("w", ModuleNotFoundError("no convmat"), ours, ours) == (
        "it cannot say what it is\n  w: ModuleNotFoundError: no convmat"
    )


def test_what_is_no_client_is_refused(workers: Any) -> None:
    with pytest.raises(NetworkError) as error:
        trainer().fit(examples(), client=workers)
    assert str(error.value) == (
        "train: a cluster computes shards, and their number is part of the result\n  shards = None\n"
        "  e.g. shards=2, with fewer workers or more"
    )
    with pytest.raises(NetworkError, match=r"client is a dask\.distributed\.Client that waits"):
        trainer().fit(examples(), client="tcp://127.0.0.1:1", shards=2)


def test_a_shard_that_nobody_can_compute_ends_the_fit(
    workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's own errors of input and output count as its loss: another one may have room."""

    class Broken(np.ndarray):
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "nowhere"),)

    made, path = trainer(), tmp_path / "here.safetensors"
    parts = made.sharded.parts

    def broken(inputs: Any, shards: int) -> Any:
        found = parts(inputs, shards)
        return [replace(found[0], inputs={"x": found[0].inputs["x"].view(Broken)}), *found[1:]]

    monkeypatch.setattr(made.sharded, "parts", broken)
    with pytest.raises(CrewLostError) as error:
        made.fit(examples(), **WORDS, client=workers, checkpoint=path)
    lines = str(error.value).splitlines()
    assert lines[0] == "train: the workers are lost while they compute a shard"
    assert lines[1].startswith("  shard 0, handed out 5 times; ")
    assert path.exists()
