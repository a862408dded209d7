"""From what was asked to a Plan: what is remembered under which key, what is read anew, and what follows a record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import GeometryError
from convmat.planner import Plan, PlanOptions, Record, request
from convmat.planner.choices import version
from convmat.planner.request import thread_count

X, W = (1, 4, 12, 12), (4, 4, 3, 3)


def asked(record: Record | None = None, **options: Any) -> Plan:
    """The plan for X and W."""
    return request("plan", X, W, "float32", PlanOptions(**options), record)


def test_plain_values_are_remembered() -> None:
    first = asked(stride=2)
    assert asked(stride=2) is first
    for same in (np.int64(2), [2, 2], (np.int64(2), 2)):
        again = asked(stride=same)
        assert again == first
        assert asked(stride=same) is again


def test_what_is_equal_is_not_the_same() -> None:
    """1, True and 1.0 are one key of a dict; the last two are no strides, whichever came first."""
    assert asked(stride=1).problem.geometry.s == (1, 1)
    for wrong, name, value in (
        (True, "stride", "True"),
        (1.0, "stride", "1.0"),
        ((1.0, 1), "stride[0]", "1.0"),
    ):
        with pytest.raises(GeometryError) as error:
            asked(stride=wrong)
        assert str(error.value).startswith(f"plan: {name} must be a whole number\n  {name} = {value}\n")
    assert asked(stride=1).problem.geometry.s == (1, 1)


def test_what_cannot_be_a_key_is_read_anew() -> None:
    strides = np.array([2, 1])
    first = asked(stride=strides)
    strides[0] = 1
    second = asked(stride=strides)
    assert (first.problem.geometry.s, second.problem.geometry.s) == ((2, 1), (1, 1))


def test_another_number_of_threads_is_another_plan() -> None:
    before = convmat.threads()
    try:
        convmat.threads(1)
        alone = asked()
        assert (thread_count(), alone.problem.threads) == (1, 1)
        convmat.threads(2)
        assert (thread_count(), asked().problem.threads) == (2, 2)
        convmat.threads(1)
        assert asked() is alone
    finally:
        convmat.threads(before)


def test_what_tuning_finds_makes_plans_anew() -> None:
    first, number = asked(), version()
    convmat.forget_choices()
    assert version() != number
    assert asked() is not first
    assert asked().problem == first.problem


def test_a_record_is_followed() -> None:
    """A plan made with a record runs as the record says, whatever would be chosen otherwise."""
    first = asked()
    other = next(each for each in first.candidates if each.cost is not None and each.way != first.chosen.way)
    written = Record()
    forced = asked(written, lowering=other.lowering, engine=other.engine)
    assert (forced.chosen.lowering, forced.chosen.engine) == (other.lowering, other.engine)
    again = asked(written, lowering=other.lowering, engine=other.engine)
    assert again.chosen.way == forced.chosen.way
    assert asked().chosen.way == first.chosen.way
