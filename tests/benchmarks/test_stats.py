"""What is dropped, what is counted, what is left."""

from __future__ import annotations

import pytest

from benchmarks.stats import settle
from convmat.planner.sampling import Sample


def samples(*seconds: float) -> list[Sample]:
    return [Sample(s) for s in seconds]


def test_slow_samples_are_dropped_and_counted() -> None:
    figure = settle(samples(1.0, 1.1, 1.2, 1.9, 50.0))
    assert (figure.seconds, figure.kept, figure.dropped_slow) == (1.1, 3, 2)
    assert not figure.unsettled


def test_switched_samples_are_dropped_before_the_median_is_taken() -> None:
    figure = settle([*samples(1.0, 1.0, 1.0), *[Sample(3.0, switched=True)] * 3])
    assert (figure.seconds, figure.dropped_switched, figure.dropped_slow) == (1.0, 3, 0)


def test_figures_of_disturbed_samples_say_so() -> None:
    """Nothing calm is left: all samples count, and the figure is marked."""
    figure = settle(
        [Sample(1.0, switched=True), Sample(1.2, switched=True), Sample(1.1), Sample(1.3, switched=True)]
    )
    assert (figure.kept, figure.dropped_switched) == (4, 0)
    assert figure.unsettled


@pytest.mark.parametrize("count", [1, 2])
def test_a_sample_or_two_make_a_figure_but_not_a_settled_one(count: int) -> None:
    figure = settle(samples(*[2.0] * count))
    assert (figure.seconds, figure.kept) == (2.0, count)
    assert figure.unsettled


def test_the_spread_is_half_of_what_lies_between_the_quartiles() -> None:
    figure = settle(samples(0.9, 1.0, 1.0, 1.1, 1.0))
    assert (figure.low, figure.high) == (1.0, 1.0)
    wide = settle(samples(0.8, 0.9, 1.0, 1.1, 1.2))
    assert wide.spread == pytest.approx(0.1)
