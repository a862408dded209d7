"""Measuring before choosing: who is measured, what is remembered, and that wrong answers are never chosen."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import PlanError
from convmat.planner import choices, trial, tuning
from convmat.planner.choose import admit_candidates
from convmat.planner.comparison import CandidateTimes
from convmat.planner.prepared import Prepared
from convmat.planner.trial import Measured, Way

SHAPES = (1, 4, 12, 12), (6, 4, 3, 3)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which ways were timed, by call: the later in the list of candidates, the quicker."""
    order: list[str] = []
    way = trial.Operands.way

    def noted(self: trial.Operands, plan: convmat.Plan, out: Any) -> trial.Way:
        order.append(plan.chosen.way)
        return way(self, plan, out)

    monkeypatch.setattr(trial.Operands, "way", noted)
    monkeypatch.setattr(
        trial.Race, "medians", lambda self: [1e-3 / (at + 1) for at, _ in enumerate(self.samples)]
    )
    return order


def plan(**options: Any) -> convmat.Plan:
    return convmat.plan(*SHAPES, padding=1, **options)


def test_full_measures_all_that_can_run_and_keeps_the_quickest(folder: Path, timed: list[str]) -> None:
    before = plan()
    after = plan(tune="full", seconds=0.01)
    running = [c for c in before.candidates if c.cost is not None]
    assert {c.cost for c in running} == {c.cost for c in running if c.way in timed}, "one of each program"
    assert timed[0] == before.chosen.way
    assert after.chosen.way == timed[-1]
    assert after.chosen.measured == pytest.approx(1e-3 / len(timed), abs=1e-7)
    assert choices.lookup(choices.entry_key(before.problem))[timed[-1]] == after.chosen.measured


def test_what_was_measured_decides_later_plans_here_and_elsewhere(folder: Path, timed: list[str]) -> None:
    after = plan(tune="full", seconds=0.01)
    count = len(timed)
    assert plan() is plan(tune="full") is plan(tune="quick") is after
    choices.use_folder(folder)
    assert plan().chosen == after.chosen
    assert plan(exact=True).chosen.measured is None, "another problem"
    assert plan(bias=True).chosen.measured is None
    assert plan(deterministic=True).chosen.measured is None
    assert len(timed) == count, "nothing was measured twice"
    copy = pickle.loads(pickle.dumps(after))
    assert (copy.chosen, str(copy)) == (after.chosen, str(after))
    convmat.forget_choices()
    assert plan().chosen.measured is None


def test_plain_conv_follows_what_was_tuned_for_weights_used_once(
    folder: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, w = (np.ones(shape, np.float32) for shape in SHAPES)
    tuned = plan(tune="full", seconds=0.01, reuse_weights=False)
    seen: list[convmat.Plan] = []
    run = convmat.Plan.run

    def noted(self: convmat.Plan, *rest: Any) -> None:
        seen.append(self)
        run(self, *rest)

    monkeypatch.setattr(convmat.Plan, "run", noted)
    convmat.conv(x, w, padding=1)
    assert seen == [tuned]


def test_quick_measures_those_predicted_near_the_best(folder: Path, timed: list[str]) -> None:
    possible = admit_candidates(plan().problem, None, None).possible
    seconds = {c.way: c.cost.seconds for c in possible if c.cost}
    least = min(seconds.values())
    plan(tune="quick", seconds=0.01)
    assert 1 < len(timed) < len(tuning.choose_rivals(possible, "full"))
    assert all(seconds[way] <= tuning.QUICK * least for way in timed)
    count = len(timed)
    plan(tune="full", seconds=0.01)
    assert len(timed) > count, "full measures those that quick left out"


def test_forced_ways_are_measured_among_themselves(folder: Path, timed: list[str]) -> None:
    found = plan(tune="full", seconds=0.01, engine="blas")
    assert {way.split(":")[0] for way in timed} == {"blas"}
    assert found.chosen.way == timed[-1]
    assert plan().chosen.measured is None


def test_one_way_alone_is_not_measured(folder: Path, timed: list[str]) -> None:
    found = plan(tune="full", lowering="kn2row")
    assert (timed, found.chosen.measured) == ([], None)


def test_progress_hears_every_step(folder: Path) -> None:
    heard: list[tuple[int, int]] = []
    plan(tune="full", seconds=0.01, progress=lambda done, steps: heard.append((done, steps)))
    assert heard[0][0] == 0
    assert heard[-1][0] == heard[-1][1]
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_ctrl_c_keeps_what_was_found(folder: Path) -> None:
    def interrupt(done: int, steps: int) -> None:
        if done > steps // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan(tune="full", seconds=5.0, progress=interrupt)
    found = plan()
    assert found.chosen.measured is not None
    assert "measured" in found.why().splitlines()[0]


def test_a_wrong_answer_is_never_chosen(
    folder: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them lies: it is found out by the others, and stays out."""
    way = trial.Operands.way
    liar = plan().chosen.way

    def lying(self: trial.Operands, plan: convmat.Plan, out: Any) -> trial.Way:
        made = way(self, plan, out)
        if plan.chosen.way != liar:
            return made
        return trial.Way(made.name, lambda: made.call() + np.float32(0.01), made.candidate)

    monkeypatch.setattr(trial.Operands, "way", lying)
    with pytest.warns(
        RuntimeWarning, match=rf"does not choose {liar} for 1x4x12x12 .* off by \d.* is expected"
    ):
        found = plan(tune="full", seconds=0.01)
    assert found.chosen.way != liar
    choices.use_folder(folder)
    refused = next(c for c in plan().candidates if c.way == liar)
    assert (refused.cost, refused.refusal) == (None, "gave a wrong answer when it was measured")
    assert choices.lookup(choices.entry_key(found.problem))[liar] is None


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_who_writes_nothing_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """All write to one array, where the answer before would still lie."""
    way = trial.Operands.way
    running = [c.way for c in plan(dtype=dtype).candidates if c.cost]
    idle = running[-1]

    def idling(self: trial.Operands, plan: convmat.Plan, out: Any) -> trial.Way:
        return trial.Way("idle", lambda: out) if plan.chosen.way == idle else way(self, plan, out)

    monkeypatch.setattr(trial.Operands, "way", idling)
    with pytest.warns(RuntimeWarning, match=f"does not choose {idle}"):
        found = plan(tune="full", seconds=0.01, dtype=dtype)
    assert choices.lookup(choices.entry_key(found.problem))[idle] is None


@pytest.mark.parametrize("dtype", ["float16", "complex64", "int8", "float64"])
@pytest.mark.parametrize("options", [{}, {"bias": True, "residual": True}, {"direction": "weight"}], ids=str)
def test_answers_of_all_types_agree(folder: Path, dtype: str, options: dict[str, Any]) -> None:
    if dtype == "complex64" and "bias" in options:
        options = {"bias": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = plan(tune="full", seconds=0.01, dtype=dtype, **options)
    assert found.chosen.measured is not None


def test_compare_shows_predicted_beside_measured(folder: Path) -> None:
    found = plan().compare(seconds=0.05)
    assert [m.way.candidate for m in found.measured] == sorted(
        (c for c in plan().candidates if c.cost), key=lambda c: c is not plan().chosen
    )
    for m in found.measured:
        assert m.predicted is not None
        assert 0 < m.least <= m.seconds <= m.most
        assert m.apart <= m.predicted.error
        assert m.memory <= m.predicted.workspace + 64 * 1024
    assert found.loss >= 1
    table = str(found).splitlines()
    assert table[0].split() == [
        "way", "engine", "predicted", "measured", "ratio", "workspace", "allocated", "estimate", "error",
    ]  # fmt: skip
    assert len(table) == len(found.measured) + 3
    assert table[-1] == found.verdict()
    x = np.zeros(SHAPES[0], np.float32)
    assert all(m.apart == 0 for m in plan().compare(x, seconds=0.01).measured)


@pytest.mark.parametrize(
    ("options", "measured", "advice"),
    [
        ({}, (), "plan(..., tune='quick') measures before it chooses."),
        ({}, (0,), "It was measured, the quicker way was not: plan(..., tune='full') measures all."),
        (
            {}, (0, 1),
            "Both were measured before it was chosen: on a busy machine times differ, "
            "and convmat.forget_choices() lets plan(..., tune='full') measure again.",
        ),
        ({"deterministic": True}, (), "deterministic=True chooses without measuring."),
        ({"lowering": "im2col", "engine": "blas"}, (), "It was asked for by name."),
    ],
)  # fmt: skip
def test_a_comparison_advises_what_has_not_been_done(
    folder: Path, options: dict[str, Any], measured: tuple[int, ...], advice: str
) -> None:
    """The verdict on a plan whose second way is the quicker one; `measured` are ways that tuning has measured."""
    made = plan(**options)
    ways = [c for c in made.candidates if c.cost and c is not made.chosen][:1]
    known = [replace(c, measured=1e-3 if i in measured else None) for i, c in enumerate([made.chosen, *ways])]
    again = Prepared(made.decision.instead(known[0]))
    found = [
        Measured(Way(c.way, lambda: np.zeros(1), c), 1e-3 / (i + 1), 1e-4, 1e-2, 3, 0, 0.0)
        for i, c in enumerate(known)
    ]
    if len(found) == 1:  # a forced way has no rival: the quicker one is another engine's
        other = replace(known[0], engine="jit")
        found.append(Measured(Way(other.way, lambda: np.zeros(1), other), 1e-4, 1e-5, 1e-3, 3, 0, 0.0))
    said = CandidateTimes(again, tuple(found)).verdict()
    assert said.endswith(f" times as long. {advice}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tune": "hard"}, "plan: unknown tune\n  tune = 'hard'\n  one of 'none', 'quick', 'full'"),
        ({"tune": None}, "plan: unknown tune\n  tune = None\n  one of 'none', 'quick', 'full'"),
        (
            {"tune": "full", "seconds": 0},
            "plan: seconds must be a positive number\n  seconds = 0\n  e.g. seconds=0.5, or None",
        ),
        (
            {"tune": "full", "progress": 3},
            "plan: progress must be a function\n  progress = 3\n"
            "  it is called with steps done and all steps, e.g. progress=print",
        ),
        (
            {"tune": "full", "deterministic": True},
            "plan: deterministic=True forbids choices made by timing\n  tune = 'full'\n  omit one of the two",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_asked(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(**options)
    assert str(caught.value) == sentence
