"""Results go to JSON and come back; what is none is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.jobs import Job
from benchmarks.results import Entry, Library, Measured, Run, write
from convmat.errors import PlanError
from convmat.planner.sampling import Sample
from tests.benchmarks import made


def small() -> Run:
    entries = {
        "convmat": Entry(
            made.entry(2e-3).figure, 1e-7, 5, 0.002, samples=(Sample(0.002), Sample(0.003, True))
        ),
        "litert": Entry(refused="does no gradients"),
        "torch eager": Entry(error=0.5, failed="wrong answer"),
    }
    return replace(
        made.run(), measured=[Measured(Job("2d/3x3/tail"), entries)], partial="interrupted",
        peers={"torch eager": Library("torch", "", True, None, "ModuleNotFoundError")},
    )  # fmt: skip


@pytest.mark.parametrize("run", [small(), replace(small(), measured=[])])
def test_there_and_back(run: Run) -> None:
    assert Run.from_json(run.as_json()) == run


def test_a_whole_run_there_and_back_to_the_nanosecond() -> None:
    run = made.run()
    back = Run.from_json(run.as_json())
    assert back.without_samples() == run.without_samples()
    samples = [e.samples for m in run.measured for e in m.entries.values()]
    again = [e.samples for m in back.measured for e in m.entries.values()]
    for ours, theirs in zip(samples, again, strict=True):
        assert [s.switched for s in ours] == [s.switched for s in theirs]
        assert [s.seconds for s in ours] == pytest.approx([s.seconds for s in theirs], abs=1e-9)


def test_one_measurement_a_line() -> None:
    lines = made.run().as_json().splitlines()
    assert sum(line.startswith('  {"job": ') for line in lines) == 56


def test_figures_alone_are_short() -> None:
    run = made.run()
    assert len(run.without_samples().as_json()) < len(run.as_json())
    assert run.without_samples().measured[0].entries["convmat"].samples == ()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "measured": [3], "peers": {}}']
)
def test_what_is_no_result(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        Run.from_json(text)
    lines = str(caught.value).splitlines()
    assert (lines[0], lines[-1]) == (
        "bench: this is no benchmark's result",
        "  give a file that `python -m benchmarks` has written",
    )


def test_results_of_another_version() -> None:
    parts = json.loads(small().as_json())
    with pytest.raises(PlanError) as caught:
        Run.from_json(json.dumps({**parts, "format": 99}))
    assert str(caught.value) == (
        "bench: results of another version\n  format 99, this convmat reads 1\n  run the benchmark again"
    )


def test_fastest_and_peaks() -> None:
    run = made.run()
    m = run.measured[0]
    fastest = m.fastest(("torch eager", "onnxruntime", "absent"))
    assert fastest is not None
    assert fastest[0] == "onnxruntime"
    assert m.fastest(("absent",)) is None
    assert (run.peak(1), run.peak(2), run.peak(3)) == (made.PEAK, 2 * made.PEAK, None)
    assert run.threads() == [1, 2]


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write(tmp_path / "new" / "a.json", "text")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    assert (tmp_path / "new" / "a.json").read_text() == "text"
