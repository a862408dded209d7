"""A limit of memory is kept by computing again, changes no bit, and where nothing keeps it the least is said."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from convmat import nn, train
from convmat.errors import NetworkError
from convmat.train.recomputing import Passes, Recomputation


def model() -> Any:
    def block() -> Any:
        body = nn.Sequential(nn.Conv(8, 3, padding=1, bias=False), nn.BatchNorm(), nn.Relu())
        return nn.Sequential(nn.Residual(body), nn.Relu())

    return nn.build(
        nn.Sequential(
            nn.Conv(8, 3, padding=1), nn.BatchNorm(), nn.Relu(), block(), block(), nn.Dropout(0.2), block(), block(),
            nn.MaxPool(2), nn.Flatten(), nn.Linear(3),
        ),
        (1, 16, 16),
    )  # fmt: skip


NET = model()
SHARES = {"cheap": 0.9, "segments": 0.7}
X = np.random.default_rng(0).standard_normal((16, 1, 16, 16), np.float32)
TARGET = np.arange(16) % 3


def trainer(**words: Any) -> train.Trainer:
    made: train.Trainer = NET.trainer(optimiser=train.SGD(0.05, momentum=0.9), deterministic=True, **words)
    return made


@pytest.fixture(scope="module")
def whole() -> tuple[train.Trainer, list[float]]:
    made = trainer()
    return made, [made.step(X, TARGET) for _ in range(2)]


@pytest.mark.parametrize("share", SHARES.values(), ids=SHARES)
def test_a_limit_is_kept_and_changes_no_bit(whole: Any, share: float) -> None:
    limit = int(share * whole[0].memory(X.shape).total)
    made = trainer(memory_limit=limit)
    memory = made.memory(X.shape)
    assert memory.total <= limit
    assert memory.again > 0
    assert 0 < memory.again_seconds < memory.seconds
    last = rf"{memory.again} nodes of the forward pass run again in the backward pass: .* on paper, \d+% of the step"
    assert re.fullmatch(last, str(memory).splitlines()[1])
    assert [made.step(X, TARGET) for _ in range(2)] == whole[1]
    assert all(np.array_equal(array, made.held[name]) for name, array in whole[0].held.items())
    program = made._programs.latest
    assert program is not None
    again = {task.node.op for task in program.tasks if task.node.outputs[0].endswith(".again")}
    assert ("Conv" in again) == (share == SHARES["segments"])


def test_a_limit_that_nothing_keeps_says_the_least_that_does(whole: Any) -> None:
    with pytest.raises(NetworkError) as error:
        trainer(memory_limit=100_000).step(X, TARGET)
    lines = str(error.value).splitlines()
    assert lines[0] == "train: a step on 16 examples keeps to no such memory limit"
    assert lines[1].startswith("  memory_limit = 100,000; parameters and the optimiser's state take ")
    found = re.fullmatch(
        r"  memory_limit=(\d+) is the least that does, or take fewer examples a batch, or shards", lines[2]
    )
    assert found
    least = int(found[1])
    made = trainer(memory_limit=least)
    assert made.memory(X.shape).total == least
    assert made.step(X, TARGET) == whole[1][0]
    with pytest.raises(NetworkError, match="keeps to no such memory limit"):
        trainer(memory_limit=least - 1).step(X, TARGET)


def test_shards_keep_to_a_limit_too() -> None:
    free = trainer()
    limit = int(0.8 * free.memory(X.shape, shards=2).total)
    made = trainer(memory_limit=limit)
    assert made.memory(X.shape, shards=2).total <= limit
    assert made.step(X, TARGET, shards=2) == free.step(X, TARGET, shards=2)


def test_what_is_dropped_is_computed_once_before_it_is_read() -> None:
    made = trainer()
    programs = made._programs
    graph, specs = programs.graph, made._programs.program
    assert specs is not None
    passes = Passes(graph, {}, programs.seen)
    dropped = frozenset(name for name in passes.kept if passes.maker[name].op == "Relu")
    found = passes.with_copies(Recomputation(dropped))
    written = [name for node in found.nodes for name in node.outputs if name]
    assert len(written) == len(set(written))
    known = {*graph.constants, *(each.name for each in found.inputs)}
    for node in found.nodes:
        assert known.issuperset(node.reads), node.label
        known.update(node.outputs)
    assert not any(dropped.intersection(node.reads) for node in found.nodes[len(passes.forward) :])


@pytest.mark.parametrize("limit", [0, True, 1.5, "2GiB"])
def test_what_is_no_limit(limit: Any) -> None:
    with pytest.raises(NetworkError, match="memory_limit is a number of bytes"):
        trainer(memory_limit=limit)
