"""Rounds of samples with processes that only exist on paper: what is kept of peers that fail, and when it ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import measure, truth
from benchmarks.crew import DiedError, Message
from benchmarks.jobs import Job, operands

JOB = Job("2d/3x3/tail")
TRUTH = truth.Truth(JOB)
X, W = (each.astype(np.float64) for each in operands(JOB))
RIGHT = truth.forward(X, W, JOB.geometry).astype(np.float32)


class Paper:
    """A crew whose peers each do what a function says: it is given the question's number and the message."""

    threads = 1
    warm_calls = 1

    def __init__(self, **peers: Callable[[int, Message], Message]) -> None:
        self._peers = {name.replace("_", " "): answer for name, answer in peers.items()}
        self._asked: dict[str, itertools.count[int]] = {name: itertools.count() for name in self._peers}
        self.log: list[str] = []
        self.told: list[Message] = []

    def group(self, library: str) -> str:
        return library

    def ask(self, group: str, message: Message, patience: float = 0.0) -> Message:
        name = message["peer"]
        if message["do"] == "prepare":
            np.save(message["answer"], RIGHT)
        else:
            self.log.append(name)
        return self._peers[name](next(self._asked[name]), message)

    def tell_all(self, message: Message) -> None:
        self.told.append(message)


def well(seconds: float = 1e-3) -> Callable[[int, Message], Message]:
    def answer(number: int, message: Message) -> Message:
        if message["do"] == "prepare":
            return {"seconds": seconds, "workspace": 64, "predicted": 2e-3}
        return {"seconds": seconds, "switched": False}

    return answer


def then(*answers: Any) -> Callable[[int, Message], Message]:
    """One answer after the other, the last again and again; errors are raised."""

    def answer(number: int, message: Message) -> Message:
        given = answers[min(number, len(answers) - 1)]
        if isinstance(given, Exception):
            raise given
        made: Message = given(number, message) if callable(given) else given
        return made

    return answer


def run(crew: Paper, names: list[str], tmp_path: Path, **options: Any) -> Any:
    options = {"seconds": 1e-9, "least_rounds": 4, **options}
    return measure.measure(JOB, names, crew, tmp_path, TRUTH, **options)  # type: ignore[arg-type]  # a crew on paper


def test_everyone_has_as_many_samples_and_others_between_them(tmp_path: Path) -> None:
    crew = Paper(convmat=well(), torch_eager=well(2e-3), litert=well(3e-3))
    found = run(crew, ["convmat", "torch eager", "litert"], tmp_path)
    assert [len(e.samples) for e in found.entries.values()] == [4, 4, 4]
    rounds = [sorted(crew.log[i : i + 3]) for i in range(0, 12, 3)]
    assert rounds == [["convmat", "litert", "torch eager"]] * 4
    assert found.seconds("litert") == 3e-3
    entry = found.entries["convmat"]
    assert (entry.workspace, entry.predicted) == (64, 2e-3)
    assert 0 < entry.error < 1e-6
    assert crew.told == [{"do": "forget"}]


def test_a_sample_lasts_about_two_milliseconds(tmp_path: Path) -> None:
    calls: dict[float, int] = {}

    def peer(seconds: float) -> Callable[[int, Message], Message]:
        def answer(number: int, message: Message) -> Message:
            if message["do"] == "sample":
                calls[seconds] = message["calls"]
            return well(seconds)(number, message)

        return answer

    run(
        Paper(convmat=peer(1e-3), torch_eager=peer(1e-9), litert=peer(1.0)),
        ["convmat", "torch eager", "litert"],
        tmp_path,
    )
    assert calls == {1e-3: 2, 1e-9: 1000, 1.0: 1}


def test_time_ends_it_but_not_before_the_least_number_of_rounds(tmp_path: Path) -> None:
    assert (
        len(run(Paper(convmat=well()), ["convmat"], tmp_path, seconds=1e9).entries["convmat"].samples) == 100
    )
    assert (
        len(run(Paper(convmat=well()), ["convmat"], tmp_path, least_rounds=7).entries["convmat"].samples) == 7
    )


@pytest.mark.parametrize(
    ("bad", "reason", "error"),
    [
        (then(DiedError("its process was ended by SIGSEGV")), "its process was ended by SIGSEGV", False),
        (then({"failed": "ValueError: no"}), "ValueError: no", False),
        (then(well(), well(), {"failed": "ValueError: no more"}), "ValueError: no more", True),
        (then(well(), well(), DiedError("its process gave no answer")), "its process gave no answer", True),
    ],
)
def test_a_peer_that_falls_out_is_recorded_and_the_others_go_on(
    tmp_path: Path, bad: Callable[[int, Message], Message], reason: str, error: bool
) -> None:
    found = run(Paper(convmat=well(), litert=bad), ["litert", "convmat"], tmp_path)
    lost = found.entries["litert"]
    assert (lost.failed, lost.figure, lost.error is not None) == (reason, None, error)
    assert len(found.entries["convmat"].samples) == 4
    assert list(found.entries) == ["litert", "convmat"]


def test_a_wrong_answer_is_not_timed(tmp_path: Path) -> None:
    def wrong(number: int, message: Message) -> Message:
        assert message["do"] == "prepare"
        np.save(message["answer"], RIGHT * 1.01)
        return well()(number, message)

    entry = run(Paper(convmat=wrong), ["convmat"], tmp_path).entries["convmat"]
    assert entry.failed == "wrong answer: off by 1.0e-02 of its length, not timed"
    assert entry.error == pytest.approx(0.01, rel=1e-3)
    assert entry.figure is None


def test_a_refusal_is_asked_for_without_a_process(tmp_path: Path) -> None:
    job = Job("1d/3/plain")
    found = measure.measure(job, ["litert"], Paper(), tmp_path, TRUTH, seconds=1, least_rounds=1)  # type: ignore[arg-type]
    assert (found.entries["litert"].refused or "").startswith("takes images with equal padding")
