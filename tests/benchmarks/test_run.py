"""Whole runs, as short as they can be, with real processes: never a word about how long anything took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import command, facts, lock, run, startup
from benchmarks.__main__ import bench
from benchmarks.results import Run
from benchmarks.run import Wish, quickly
from convmat.errors import EngineError, PlanError

WISH = Wish(
    layers=("2d/3x3/tail", "2d/depthwise/plain"), peers=("convmat", "convmat NHWC", "numpy im2col"), threads=(1,),
    seconds=1e-6, least_rounds=3, gradients=False, startup=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run while somebody measures, and beside each other."""
    monkeypatch.setattr(lock, "default_path", lambda: tmp_path / "lock")


@pytest.mark.parametrize(
    "threads",
    [1, pytest.param(2, marks=pytest.mark.skipif(len(facts.cores()) < 2, reason="needs two cores"))],
)
def test_a_run(threads: int) -> None:
    kept: list[int] = []
    told: list[str] = []
    found = run.run(
        replace(WISH, threads=(threads,)),
        tell=told.append,
        keep=lambda so_far: kept.append(len(so_far.measured)),
    )
    assert kept == [1, 2, 2]
    assert found.partial is None
    assert [m.job.subject for m in found.measured] == list(WISH.layers)
    for m in found.measured:
        for entry in m.entries.values():
            assert entry.failed is None
            assert entry.error is not None
            assert entry.error < 1e-6
            assert len(entry.samples) == 3
    assert found.peak(threads) is not None
    assert found.peers["numpy im2col"].version
    assert any(text.startswith("2d/3x3/tail, forward, batch 1") for text in told)
    assert Run.from_json(found.as_json()).without_samples() == found.without_samples()


def test_missing_peers_are_named_and_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In processes whose search path begins with an onnx that cannot be loaded."""
    (tmp_path / "onnx.py").write_text("raise ImportError('no onnx in this test')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run.run(replace(WISH, peers=("onnxruntime", "convmat"), layers=WISH.layers[:1]))
    assert found.peers["onnxruntime"].missing == "ImportError: no onnx in this test"
    assert list(found.measured[0].entries) == ["convmat"]


def test_an_interruption_keeps_what_there_is_and_ends_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        process = real(*arguments, **options)  # type: ignore[call-overload]  # handed on as it came
        started.append(process)
        return process  # type: ignore[no-any-return]

    def keep(so_far: Run) -> None:
        if so_far.partial is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", popen)
    found = run.run(WISH, keep=keep)
    assert found.partial == "interrupted after 1 of 2 measurements"
    assert len(found.measured) == 1
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_an_error_of_ours_keeps_what_there_is_too() -> None:
    kept: list[str | None] = []

    def keep(so_far: Run) -> None:
        kept.append(so_far.partial)
        if len(kept) == 1:
            raise ZeroDivisionError("test")

    with pytest.raises(ZeroDivisionError):
        run.run(WISH, keep=keep)
    assert kept == [None, "ended after 1 of 2 measurements by ZeroDivisionError('test')"]


def test_wishes_that_mean_nothing() -> None:
    cores = len(facts.cores())
    with pytest.raises(EngineError) as caught:
        run.run(replace(WISH, threads=(cores + 1,)))
    assert str(caught.value).splitlines()[0] == "bench: more threads than cores"
    assert str(caught.value).endswith(f"ask for at most {cores}, e.g. --threads {cores}")
    for wrong in (
        replace(WISH, threads=()),
        replace(WISH, threads=(0,)),
        replace(WISH, seconds=0.0),
        replace(WISH, peers=()),
    ):
        with pytest.raises(PlanError):
            run.run(wrong)


def test_quickly_asks_for_less() -> None:
    quick = quickly(Wish(WISH.layers, WISH.peers))
    assert (quick.seconds, quick.least_rounds, quick.quick) == (0.05, 4, True)
    assert quickly(replace(WISH, seconds=0.01)).seconds == 0.01


def test_cores_are_ours_one_number_each() -> None:
    cores = facts.cores()
    assert len(set(cores)) == len(cores) >= 1
    if sys.platform == "linux":
        assert set(cores) <= os.sched_getaffinity(0)
    assert facts.cores_for(1) == cores[:1]


def test_start_up_is_measured_in_fresh_processes() -> None:
    found = startup.measure(1)
    assert {name: len(seconds) for name, seconds in found.items()} == {"import": 1, "first": 1, "again": 1}
    assert all(seconds[0] > 0 for seconds in found.values())


def test_a_first_call_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "_SCRIPT", "raise SystemExit('no such luck')")
    with pytest.raises(EngineError) as caught:
        startup.measure(1)
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["bench: a first call failed with exit code 1", "  no such luck"]


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """`python -m benchmarks`, in a folder of its own; the run itself is the one above."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str) -> object:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return called


def test_the_command_writes_results_and_shows_them(call: Callable[..., object], tmp_path: Path) -> None:
    arguments = (
        "-l",
        "depthwise 3x3 960",
        "-p",
        "numpy",
        "--threads",
        "1",
        "--seconds",
        "1e-6",
        "--no-startup",
    )
    result = call(*arguments)
    assert result.exit_code == 0  # type: ignore[attr-defined]  # click's Result
    assert "depthwise 3x3 960 @7 pad 1" in result.stdout  # type: ignore[attr-defined]
    found = Run.from_json((tmp_path / "out/bench/latest.json").read_text())
    assert found.measured[0].seconds("numpy im2col")
    printed = call(*arguments, "--json")
    assert json.loads(printed.stdout)["jobs"] == 1  # type: ignore[attr-defined]


def test_the_command_lists_what_there_is(call: Callable[..., object]) -> None:
    text = call("--list").stdout  # type: ignore[attr-defined]
    assert "3x3 dilation 2 256->256 @28 pad 2" in text
    assert "onnxruntime" in text


def test_no_results_no_page(call: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        call("--docs")
    assert str(caught.value) == (
        "bench: there are no results to write the page from\n  out/bench/latest.json: No such file or directory\n"
        "  run `python -m benchmarks` first, or name a file with --from"
    )
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize(("typed", "meant"), [("1", (1,)), ("2,1", (1, 2)), (" 1 , 1 ", (1,))])
def test_numbers_of_threads(typed: str, meant: tuple[int, ...]) -> None:
    assert command.wish([], [], typed).threads == meant


def test_what_is_no_number_of_threads() -> None:
    with pytest.raises(PlanError) as caught:
        command.wish([], [], "both")
    assert str(caught.value) == (
        "bench: numbers of threads are not understood\n  threads = 'both'\n  e.g. --threads 1,2"
    )
