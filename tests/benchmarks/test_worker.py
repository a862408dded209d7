"""What the measuring process does with a message, asked in this one; and that it goes with its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ROOT, peers, worker
from benchmarks.crew import Crew
from benchmarks.jobs import Array, Job, operands
from benchmarks.peers import Peer, Prepared
from benchmarks.worker import Worker

JOB = Job("2d/3x3/tail")


class Counting(Peer):
    """Adds nothing up, but counts; refuses to work from the fifth call on."""

    name = library = "counting"
    about = "counts its calls"

    def __init__(self) -> None:
        self.calls = 0

    def version(self) -> str:
        return "1"

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        def call() -> None:
            self.calls += 1
            if self.calls >= 5:
                raise ArithmeticError("I can count to four")

        return Prepared(call, lambda: a, workspace=7, predicted=0.5)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    made = Counting()
    monkeypatch.setattr(peers, "ALL", (*peers.ALL, made))
    return made


def ask(to: Worker, do: str, **message: Any) -> dict[str, Any]:
    return to.answer(json.loads(json.dumps({"do": do, **message})))


def test_versions_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(Worker(), "version", peer="numpy im2col")["version"].startswith(np.__version__)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "onnx" in ask(Worker(), "version", peer="onnxruntime")["missing"]


def test_prepare_saves_the_answer_and_times_a_call(tmp_path: Path, counting: Counting) -> None:
    made = ask(Worker(), "prepare", peer="counting", job=asdict(JOB), answer=str(tmp_path / "answer.npy"))
    assert made.pop("seconds") >= 0
    assert made == {"workspace": 7, "predicted": 0.5}
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), operands(JOB)[0])


def test_a_sample_is_warm_calls_and_timed_ones(counting: Counting) -> None:
    made = ask(Worker(), "sample", peer="counting", job=asdict(JOB), warm=1, calls=3)
    assert counting.calls == 4
    assert made["seconds"] >= 0
    assert made["switched"] in (True, False)


def test_an_error_is_an_answer(counting: Counting, capsys: pytest.CaptureFixture[str]) -> None:
    made = ask(Worker(), "sample", peer="counting", job=asdict(JOB), warm=9, calls=1)
    assert made == {"failed": "ArithmeticError: I can count to four"}
    assert "Traceback" in capsys.readouterr().err
    assert ask(Worker(), "fly")["failed"].startswith("AttributeError")


def test_long_reasons_are_cut() -> None:
    assert len(worker.reason(ValueError("x" * 5000))) < 700


def test_another_job_lets_go_of_the_first(counting: Counting) -> None:
    to = Worker()
    for job in (JOB, JOB, Job("2d/1x1/tail")):
        ask(to, "sample", peer="counting", job=asdict(job), warm=0, calls=1)
    assert to._job == Job("2d/1x1/tail")
    assert list(to._ready) == ["counting"]
    ask(to, "forget")
    assert not any(vars(to).values())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs affinity and a parent's death signal")
def test_a_real_one_is_pinned_and_goes_with_its_parent(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    with Crew(1, [cpu], tmp_path) as crew:
        assert crew.ask("all", {"do": "version", "peer": "convmat"})["version"]
        (process,) = crew._processes.values()
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        assert f"Cpus_allowed_list:\t{cpu}\n" in status
        # Its end of the pipe is closed, as when the parent is killed.
        process.pipe.close()
        assert process.process.wait(30) == 0


def test_it_does_not_start_for_another_parent() -> None:
    ours, theirs = Pipe()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", str(theirs.fileno()), "1", ""],
        pass_fds=[theirs.fileno()], timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
    )  # fmt: skip
    assert done.returncode == 0
    assert not ours.poll(0.1)


def test_serving_ends_with_the_pipe() -> None:
    ours, theirs = Pipe()
    serving = threading.Thread(target=worker.serve, args=(theirs, Worker()), daemon=True)
    serving.start()
    for do in ("forget", "fly"):
        ours.send_bytes(json.dumps({"do": do}).encode())
    assert json.loads(ours.recv_bytes()) == {}
    assert "failed" in json.loads(ours.recv_bytes())
    ours.close()
    serving.join(10)
    assert not serving.is_alive()
