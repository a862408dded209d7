"""Calls timed in turns: what a sample is, which ones count, who is left out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from convmat.planner import trial
from convmat.planner.sampling import FEWEST, Sample
from convmat.planner.trial import MOST, Race

ONES = np.ones(1)


def counting(calls: list[int], at: int, seconds: float, clock: list[float]) -> trial.Call:
    def call() -> trial.Array:
        calls[at] += 1
        clock[0] += seconds
        return ONES

    return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only calls move."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def test_short_calls_are_timed_together(clock: list[float]) -> None:
    calls = [0, 0]
    race = Race([counting(calls, 0, 1e-4, clock), counting(calls, 1, 0.5, clock)])
    parts = list(race.rounds(0.0))
    assert race.medians() == pytest.approx([1e-4, 0.5])
    assert calls == [1 + FEWEST * (1 + 20), 1 + FEWEST * 2], (
        "one tells how many; one untimed call, then 2 ms of them"
    )
    assert parts[-1] == 1.0
    assert parts == sorted(parts)


def test_a_cold_first_call_does_not_say_how_many_make_a_sample(clock: list[float]) -> None:
    cold = [0.5]

    def call() -> trial.Array:
        clock[0] += cold.pop() if cold else 1e-4
        return ONES

    race = Race([call, counting([0], 0, 1e-4, clock)])
    list(race.rounds(0.0))
    assert race._counts == [20, 20]


def test_each_round_has_an_order_of_its_own() -> None:
    turns: list[int] = []

    def noting(at: int) -> trial.Call:
        def call() -> trial.Array:
            turns.append(at)
            return ONES

        return call

    race = Race([noting(at) for at in range(4)])
    race._counts = [1] * 4
    for _ in zip(race.rounds(1e9), range(20), strict=False):
        pass
    rounds = [tuple(turns[at : at + 8 : 2]) for at in range(0, 160, 8)]
    assert all(sorted(each) == [0, 1, 2, 3] for each in rounds)
    before = {(first, second) for each in rounds for first, second in pairwise(each)}
    assert len(before) == 12, "each is timed behind each other one"


def test_rounds_end_with_the_time_or_at_their_most(clock: list[float]) -> None:
    calls = [0]
    race = Race([counting(calls, 0, 0.125, clock)])
    list(race.rounds(1.0))
    assert len(race.samples[0]) == 4, "each sample is two calls"
    race = Race([counting(calls, 0, 0.1, clock)])
    list(race.rounds(1e9))
    assert len(race.samples[0]) == MOST


def test_the_hopeless_are_left_out(clock: list[float]) -> None:
    calls = [0, 0, 0]
    race = Race([counting(calls, at, seconds, clock) for at, seconds in enumerate((0.01, 0.019, 0.021))])
    list(race.rounds(1.0, hopeless=2.0))
    assert [len(taken) > FEWEST for taken in race.samples] == [True, True, False]


def test_disturbed_samples_do_not_count(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race([counting([0], 0, 0.125, clock)])
    list(race.rounds(1.25))
    race.samples[0] = [Sample(9.0, switched=True)] * 2 + [Sample(0.125)] * 3
    assert race.select_calm() == [[0.125] * 3]
    race.samples[0][2] = Sample(0.125, switched=True)
    assert race.select_calm() == [[9.0, 9.0, 0.125, 0.125, 0.125]], "too few calm ones: all count"
    assert Race([lambda: ONES]).medians() == [None]
