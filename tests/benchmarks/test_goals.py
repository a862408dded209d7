"""The summary's arithmetic, on a run whose ratios are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import goals
from benchmarks.goals import Goal
from benchmarks.results import Entry, Library, Measured, Run
from convmat.cases import LAYERS
from tests.benchmarks import made

Wanted = dict[tuple[str, str], tuple[float, float | None, int]]


def about(value: float) -> Any:
    return pytest.approx(value)


def found(run: Run) -> dict[tuple[str, str], Goal]:
    return {(goal.text, goal.statistic): goal for goal in goals.goals(run)}


def test_every_figure_of_the_jit_goals() -> None:
    values = {
        (text, statistic): (goal.value, goal.wanted, goal.over, goal.of)
        for (text, statistic), goal in found(made.run()).items()
    }
    assert values == {
        key: (about(value), wanted, of, of)
        for key, (value, wanted, of) in {
            **both("1 thread: of the FMA peak, dense layers", 0.9, 0.92, 0.80, 15),
            **both("2 threads: of the FMA peak, dense layers", 0.9 * 0.95, 0.85, 0.72, 15),
            **both("two threads against one, layers above 0.1 GFLOP", 1.9, None, 1.8, 15),
            **{key: value for t in ("1 thread", "2 threads") for key, value in each_thread(t).items()},
            ("import convmat", "median"): (0.11, 0.15, 1),
            ("first call, compiling", "median"): (0.9, 1.0, 1),
            ("first call of a new process, from the disk cache", "median"): (0.3, 0.4, 1),
        }.items()
    }


def each_thread(t: str) -> Wanted:
    return {
        **both(f"{t}: against the fastest direct peer, dense layers", 1.2, 1.03, 0.95, 15),
        **both(f"{t}: weights packed per call, against torch eager", 1.6, 1.5, 1.0, 20),
        **both(f"{t}: depthwise and grouped, against the fastest peer", 1.2, 1.3, 1.0, 4),
        **both(f"{t}: input gradient, against the best of torch", 1.2, 0.95, None, 4),
        **both(f"{t}: weight gradient, against the best of torch", 1.2, 1.15, None, 4),
        (f"{t}: error, in errors of torch eager", "most"): (1.5, 2.0, 20),
        (f"{t}: layers whose time the plan predicts within 25 %", "number"): (20, 16, 20),
    }


def both(text: str, value: float, mean: float | None, least: float | None, of: int) -> Wanted:
    return {(text, "geometric mean"): (value, mean, of), (text, "least"): (value, least, of)}


def test_met_and_missed() -> None:
    met = {key: goal.met for key, goal in found(made.run()).items()}
    missed = {
        ("1 thread: of the FMA peak, dense layers", "geometric mean"),
        *(
            (f"{t}: depthwise and grouped, against the fastest peer", "geometric mean")
            for t in ("1 thread", "2 threads")
        ),
    }
    unasked = {key for key, goal in found(made.run()).items() if goal.wanted is None}
    assert {key for key, verdict in met.items() if verdict is False} == missed
    assert {key for key, verdict in met.items() if verdict is None} == unasked


def with_entry(run: Run, layer: str, threads: int, name: str, entry: Entry) -> Run:
    measured = [
        Measured(m.job, {**m.entries, name: entry})
        if (m.job.subject, m.job.threads, m.job.direction) == (layer, threads, "forward")
        else m
        for m in run.measured
    ]
    return replace(run, measured=measured)


def test_the_worst_layer_is_named() -> None:
    layer = LAYERS[4].name
    one = made.run().measured[4].seconds("convmat")
    assert one is not None
    run = with_entry(made.run(), layer, 1, "litert", made.entry(0.5 * one))
    goal = found(run)["1 thread: against the fastest direct peer, dense layers", "least"]
    assert (goal.value, goal.where, goal.met) == (about(0.5), layer, False)
    mean = found(run)["1 thread: against the fastest direct peer, dense layers", "geometric mean"]
    assert mean.value == about((1.2**14 * 0.5) ** (1 / 15))


def test_a_layer_without_a_figure_leaves_its_goals_open() -> None:
    run = with_entry(made.run(), LAYERS[0].name, 1, "convmat", Entry(failed="it broke"))
    goal = found(run)["1 thread: against the fastest direct peer, dense layers", "geometric mean"]
    assert (goal.over, goal.of, goal.met) == (14, 15, None)


def test_a_part_can_miss_a_least_but_no_mean() -> None:
    assert Goal("", "least", "times", 0.9, 1.0, 3, 20).met is False
    assert Goal("", "most", "times", 1.1, 1.0, 3, 20, at_most=True).met is False
    assert Goal("", "geometric mean", "times", 0.9, 1.0, 3, 20).met is None
    assert Goal("", "least", "times", 1.1, 1.0, 3, 20).met is None
    assert Goal("", "geometric mean", "times", 0.9, 1.0, 20, 20).met is False


def test_without_peers_there_are_no_ratios() -> None:
    run = made.run()
    alone = [Measured(m.job, {"convmat": m.entries["convmat"]}) for m in run.measured]
    texts = {text for text, _ in found(replace(run, measured=alone, peaks={}, startup={}))}
    assert texts == {
        "1 thread: layers whose time the plan predicts within 25 %",
        "2 threads: layers whose time the plan predicts within 25 %",
        "two threads against one, layers above 0.1 GFLOP",
    }


def test_the_blas_goals() -> None:
    run = made.run()
    peers = {
        "convmat blas": Library("convmat", "bound", True, "1"),
        "convmat blas per call": Library("convmat", "", True, "1"),
        "numpy im2col": Library("numpy", "", True, "1"),
    }
    measured = [
        Measured(
            m.job,
            {
                "convmat blas": made.entry(1.0, workspace=1 << 20),
                "convmat blas per call": made.entry(2.5, workspace=17 << 20),
                "numpy im2col": made.entry(2.0),
            },
        )
        for m in run.of(1, "forward")
    ]
    values = {
        key: (goal.value, goal.met)
        for key, goal in found(replace(run, engine="blas", peers=peers, measured=measured)).items()
    }
    assert values == {
        ("1 thread: convmat blas, against numpy im2col", "geometric mean"): (about(2.0), None),
        ("1 thread: convmat blas, against numpy im2col", "least"): (2.0, True),
        ("1 thread: convmat blas, workspace", "most"): (1 << 20, True),
        ("1 thread: convmat blas per call, against numpy im2col", "geometric mean"): (
            about(0.8),
            None,
        ),
        ("1 thread: convmat blas per call, against numpy im2col", "least"): (0.8, False),
        ("1 thread: convmat blas per call, workspace", "most"): (17 << 20, False),
    }
