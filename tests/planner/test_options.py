"""The keywords of public functions: written once, typed, and the same wherever they are handed on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np
import pytest

import convmat
from convmat import api
from convmat.planner import ConvKeywords, PlanOptions, TransposeKeywords

KEYWORD, POSITION = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
BESIDE = {
    "missing",
    "normalize",
    "requantise",
    "residual_factors",
    "scale",
    "w_zero_point",
    "x",
    "w",
    "bias",
    "residual",
    "out",
    "dtype",
    "tune",
    "seconds",
    "progress",
    "x_shape",
    "w_shape",
    "dy",
}
"""Parameters that are arrays, shapes or say how to measure: no part of PlanOptions, but the two flags."""


@pytest.mark.parametrize(
    ("function", "keywords"), [(api.conv, ConvKeywords), (api.conv_transpose, TransposeKeywords)]
)
def test_handed_on_keywords_are_those_of_the_function(function: Callable[..., Any], keywords: type) -> None:
    own = {n for n, p in inspect.signature(function).parameters.items() if p.kind is KEYWORD}
    hints = get_type_hints(keywords)
    assert set(hints) == own
    assert {name: get_type_hints(function)[name] for name in own} == hints


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [(f"{name}{rank}d", name) for name in ("conv", "conv_transpose") for rank in (1, 2, 3)],
)
def test_functions_of_one_rank_take_the_same_positions(narrow: str, wide: str) -> None:
    def positions(name: str) -> list[tuple[str, Any]]:
        found = inspect.signature(getattr(convmat, name)).parameters.items()
        return [(n, p.default) for n, p in found if p.kind is POSITION]

    assert positions(narrow) == positions(wide)


@pytest.mark.parametrize(
    "name", ["conv", "conv_transpose", "conv_input_grad", "conv_weight_grad", "conv_grads", "plan"]
)
def test_defaults_are_those_of_the_record(name: str) -> None:
    defaults = PlanOptions._field_defaults
    for each, parameter in inspect.signature(getattr(convmat, name)).parameters.items():
        if each not in BESIDE and each != "reuse_weights":
            assert parameter.default == defaults[each], each


def test_plans_are_remembered_by_value_and_type() -> None:
    shapes = ((1, 3, 8, 8), (4, 3, 3, 3))
    one: Any = np.int64(1)
    first = convmat.plan(*shapes, stride=[2, 2], padding=1)
    assert convmat.plan(*shapes, stride=(2, 2), padding=one) is first
    with pytest.raises(convmat.GeometryError) as error:
        convmat.plan(*shapes, stride=True, padding=1)
    assert str(error.value) == (
        "plan: stride must be a whole number\n  stride = True\n  give an int of at least 1, e.g. stride=1"
    )
    assert convmat.plan(*shapes, stride=1, padding=1).problem.geometry.s == (1, 1)
