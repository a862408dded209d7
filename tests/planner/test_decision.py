"""A Decision: what a plan was made of, compared and pickled as a value; its program is prepared once."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from convmat.geometry import Geometry
from convmat.planner import Plan, Record, candidates, choose, make, prepared
from convmat.planner.decision import Decision
from convmat.problem import Problem

PROBLEM = Problem.of(Geometry.of((1, 3, 9, 7), (4, 3, 3, 3), padding=1), exact=True)


def test_the_program_that_was_weighed_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    prepare = candidates.make_program

    def counted(*arguments: Any) -> Any:
        made.append(prepare(*arguments))
        return made[-1]

    choose.admit_candidates.cache_clear()
    monkeypatch.setattr(candidates, "make_program", counted)
    monkeypatch.setattr(prepared, "make_program", counted)
    decision, program = choose.choose(PROBLEM)
    count = len(made)
    plan = Plan(decision, program)
    assert any(each is plan.program for each in made)
    assert len(made) == count, "nothing was prepared twice"


def test_a_decision_is_a_value() -> None:
    plan = make(PROBLEM)
    copy = pickle.loads(pickle.dumps(plan))
    assert copy.decision == plan.decision
    assert (str(copy), copy.why()) == (str(plan), plan.why())
    other = next(c for c in plan.candidates if c.cost is not None and c is not plan.chosen)
    forced = Plan(plan.decision.force(other))
    assert (forced.chosen, forced.forced, plan.forced) == (other, True, False)
    assert forced.why().splitlines()[0] == f"{other.name} ({other.engine}): asked for."


def test_how_a_choice_came_about_is_no_part_of_what_it_is() -> None:
    decision = make(PROBLEM).decision
    again = Decision(
        PROBLEM, decision.candidates, decision.chosen, like=Geometry.of((1, 3, 8, 8), (4, 3, 3, 3))
    )
    assert again == decision
    assert hash(again) == hash(decision)
    assert pickle.loads(pickle.dumps(again)).like == again.like
    assert Decision(PROBLEM, decision.candidates, decision.chosen, forced=True) != decision


def test_a_record_has_the_choices_and_is_followed() -> None:
    record = Record()
    first = make(PROBLEM, record=record)
    (choice,) = record.choices.values()
    assert (choice.engine, choice.lowering) == (first.chosen.engine, first.chosen.lowering)
    again = Record(record.choices)
    followed = make(PROBLEM, record=again)
    assert followed.candidates == (followed.chosen,)
    assert followed.chosen.way == first.chosen.way
    assert make(PROBLEM, record=again) is followed
    assert again.follows(followed)
    assert again.choices == record.choices
    assert len(again.kernels()) == len(record.kernels())


def test_choices_that_break_a_limit_are_not_followed() -> None:
    record = Record()
    convmat_choice = make(PROBLEM, engine="blas", lowering="im2col", record=record)
    assert not Record(record.choices).follows(convmat_choice)
    refusing = Problem.of(Geometry.of((1, 3, 9, 7), (4, 3, 3, 3), padding=1), exact=True, threads=3)
    assert len(make(refusing, record=Record(record.choices)).candidates) > 1
