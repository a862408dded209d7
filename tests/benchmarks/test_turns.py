"""Layers and networks of few bits, asked in turns: who answers, in which process, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from benchmarks import facts, int8
from benchmarks.bf16 import KINDS, Bfloat16Layer
from benchmarks.crew import Crew
from benchmarks.int8_nets import EightBitNet
from benchmarks.int8_peers import EightBitLayer
from benchmarks.turns import Array, Call, Measured, Subject, TurnsWorker, ask
from convmat.errors import EngineError


@dataclass(frozen=True)
class Numbers(Subject):
    """Peers give their number; the third has none to give."""

    first: int

    peers: ClassVar[tuple[str, ...]] = ("convmat", "torch a", "torch b", "ncnn")
    limit: ClassVar[float] = 1
    rounds: ClassVar[int] = 3

    @property
    def title(self) -> str:
        return f"from {self.first}"

    def call(self, peer: str, threads: int) -> Call | None:
        number = self.first + threads * self.peers.index(peer)
        return None if peer == "torch b" else Call.plain(lambda: np.array([number]))

    def apart(self, answers: Mapping[str, Array]) -> float:
        return float(max(y[0] for y in answers.values()) - min(y[0] for y in answers.values()))


class Here(Crew):
    """Processes that are none: each group is a worker in this process."""

    def __init__(self, threads: int, folder: Path) -> None:
        super().__init__(threads, (), folder)
        self.there: dict[str, TurnsWorker] = {}
        self.asked: list[tuple[str, str]] = []

    def ask(self, group: str, message: dict[str, Any], patience: float = 1.0) -> dict[str, Any]:
        self.asked.append((group, message["do"]))
        worker = self.there.setdefault(group, TurnsWorker({"Numbers": Numbers}))
        return worker.answer(dict(message))

    def tell_all(self, message: dict[str, Any]) -> None:
        for group in self.there:
            self.ask(group, message)


def test_each_library_has_a_process_of_its_own_on_two_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Numbers, "limit", 6)
    crew = Here(2, tmp_path)
    found = ask(Numbers(4), crew, tmp_path)
    assert list(found.seconds) == ["convmat", "torch a", "ncnn"]
    assert (found.name, found.apart) == ("from 4", 6)
    assert set(crew.there) == {"convmat", "torch", "ncnn"}
    sampled = [group for group, do in crew.asked if do == "sample"]
    assert sorted(sampled) == ["convmat"] * 3 + ["ncnn"] * 3 + ["torch"] * 3
    assert [do for _, do in crew.asked[-3:]] == ["forget"] * 3


def test_one_process_has_all_libraries_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Numbers, "limit", 3)
    crew = Here(1, tmp_path)
    ask(Numbers(0), crew, tmp_path)
    assert set(crew.there) == {"all"}


def test_answers_that_are_apart_are_not_timed(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        ask(Numbers(4), Here(1, tmp_path), tmp_path)
    assert str(caught.value) == (
        "bench: answers are further apart than rounding explains\n"
        "  from 4: convmat, torch a, ncnn\n"
        "  3 apart; at most 1 are allowed"
    )


def test_a_library_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crew = Here(1, tmp_path)
    crew.there["all"] = TurnsWorker({})
    with pytest.raises(EngineError) as caught:
        ask(Numbers(4), crew, tmp_path)
    assert str(caught.value) == (
        "bench: a library failed\n  convmat: KeyError: 'Numbers'\n  prepare was asked"
    )
    assert "KeyError" in capsys.readouterr().err


def subjects() -> Iterator[Subject]:
    """Small ones of each kind."""
    yield from (EightBitLayer("depthwise 3x3 960 @7 pad 1", layout) for layout in ("NCHW", "NHWC"))
    yield from (Bfloat16Layer("depthwise 3x3 960 @7 pad 1", kind) for kind in KINDS)


@pytest.mark.parametrize("subject", [*subjects()], ids=lambda each: each.title)
def test_layers_answer_rightly(subject: Subject) -> None:
    call = subject.call("convmat", 1)
    assert call is not None
    answer = call.answer()
    assert subject.apart({"convmat": answer}) <= subject.limit
    assert not subject.apart({"convmat": answer + 200}) <= subject.limit


def test_whole_processes_measure_a_layer() -> None:
    said: list[str] = []
    threads = min(2, len(facts.cores()))
    (found,) = [
        each
        for each in int8.run(["depthwise 3x3 960"], layers=True, threads=threads, tell=said.append)
        if each.name.endswith("NHWC")
    ]
    assert found.seconds["convmat"] > 0
    assert found.share is not None
    assert found.share > 0
    assert [text.partition(":")[0] for text in said] == [
        "depthwise 3x3 960 @7 pad 1, NCHW", "depthwise 3x3 960 @7 pad 1, NHWC", "geometric means",
    ]  # fmt: skip


def test_a_summary_has_the_means_of_what_is_known() -> None:
    layer = Measured("a", {"convmat": 2e-3, "ncnn": 4e-3}, 1, share=0.5)
    net = Measured("b", {"convmat": 1e-3, "ncnn": 3e-3, "torch": 2e-3, "convmat f32": 4e-3}, 0.25)
    assert int8.line(layer) == "a: convmat 2.000  ncnn 4.000 ms  50% of the peak  2.00 x  apart 1"
    assert int8.line(net) == (
        "b: convmat 1.000  ncnn 3.000  torch 2.000  convmat f32 4.000 ms  2.00 x  apart 0.25"
    )
    assert int8.summary([layer, net], 1e12) == (
        "geometric means: share of the peak of 1000 GOP/s 50%; against the fastest peer 2.00, least 2.00; "
        "against our own float32 4.00, least 4.00"
    )


def test_subjects_are_made_again_from_their_fields() -> None:
    for subject in (*subjects(), EightBitNet("resnet50", "a.onnx", "b.onnx")):
        assert type(subject)(**asdict(subject)) == subject
