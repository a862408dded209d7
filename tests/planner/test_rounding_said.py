"""What a plan says of its error, and for which data that does not hold."""

from __future__ import annotations

import numpy as np
import pytest

import convmat

X, W = (1, 16, 24, 24), (16, 16, 3, 3)


@pytest.mark.parametrize(
    ("lowering", "dtype", "least"),
    [
        ("im2col", "float32", "1.2e-38"),
        ("im2col", "float64", "2.2e-308"),
        ("im2col", "float16", "6.1e-05"),
        ("winograd 2", "float32", "1.2e-38"),
        ("winograd 2", "float64", "2.2e-308"),
        ("fft", "complex64", "1.2e-38"),
    ],
)
def test_the_plan_names_data_outside_its_estimate(lowering: str, dtype: str, least: str) -> None:
    plan = convmat.plan(X, W, padding=1, lowering=lowering, dtype=dtype, rtol=1e-2)
    end = f"Products and sums below {least} (denormal) lose digits beyond that."
    cancel = (
        "The expectation is for data of mean 0: where sums cancel, as a photograph's do under filters that sum to 0, "
        "it was exceeded up to 1.22 times."
    )
    for text in (str(plan), plan.why()):
        said = [line for line in text.splitlines() if line.endswith(end)]
        assert len(said) == 1
        assert (cancel in said[0]) == (lowering != "im2col")


def test_integers_are_exact_and_say_nothing_else() -> None:
    assert str(convmat.plan(X, W, padding=1, dtype="int8")).endswith("\nExact.")


def test_the_estimate_holds_from_the_smallest_normal_number_on() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(X), rng.standard_normal(W)
    for size, holds in ((1e-36, True), (1e-41, False)):
        small, filters = (x * size).astype(np.float32), w.astype(np.float32)
        plan = convmat.plan(X, W, padding=1, lowering="winograd 4", rtol=1e-4)
        right = convmat.conv(small.astype(float), filters.astype(float), padding=1, exact=True)
        error = np.linalg.norm(plan(small, filters) - right) / np.linalg.norm(right)
        cost = plan.chosen.cost
        assert cost is not None
        assert (error <= cost.error) == holds
