"""Gradients where a rule has a case of its own: zeros, limits that are values, negative slopes, whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.errors import NetworkError
from convmat.network.gradients import differentiate
from convmat.network.graph import Graph, Input, Node

from .differences import check, node, normal, run

Array = npt.NDArray[Any]


def gradient(
    nodes: list[Node], given: dict[str, Array], constants: dict[str, Array] | None = None, y: str = "y"
) -> dict[str, list[Any]]:
    inputs = tuple(Input(name, each.dtype, each.shape) for name, each in given.items())
    whole, names = differentiate(Graph(tuple(nodes), inputs, (y,), dict(constants or {})), [y], list(given))
    found = run(whole, given)
    return {name: found[names[name]].tolist() for name in given}


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("LeakyRelu", {"alpha": -0.5}),
        ("Elu", {"alpha": -0.5}),
        ("Celu", {"alpha": -0.7}),
        ("Selu", {"alpha": -0.5}),
        ("Selu", {"gamma": -0.5}),
        ("Selu", {"alpha": -0.5, "gamma": -2.0}),
        ("ThresholdedRelu", {"alpha": -0.4}),
        ("Shrink", {"lambd": -0.2, "bias": 0.3}),
        ("HardSigmoid", {"alpha": -0.3}),
    ],
)
def test_slopes_that_turn_the_sign_round(op: str, words: dict[str, Any]) -> None:
    check(node(op, "x", **words), [normal(3, 7)])


@pytest.mark.parametrize("alpha", [1.0, -1.0])
def test_exponentials_of_large_numbers_are_not_in_the_way(alpha: float) -> None:
    found = gradient([node("Elu", "x", alpha=alpha)], {"x": np.array([1000.0, -1000.0])})
    assert found["x"] == [1.0, 0.0]


def test_limits_that_are_values() -> None:
    x, low, high = normal(3, 4), np.array(-0.5), np.array(0.6)
    check(node("Clip", "x low high"), [x, low, high])
    check(node("Clip", "x low high"), [x, low], {"high": high})
    check(node("Clip", "x low"), [x, low])
    check(Node("Clip", ("x", "", "high"), ("y",), {}, "clip", 18), [x, high])
    check(node("Clip", "x low high"), [x, np.array(0.7), high])  # the wrong way round: all are `high`


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -2.5])
def test_powers(p: float) -> None:
    x = np.abs(normal(3, 4)) + 0.2
    check(node("Pow", "x p"), [x], {"p": np.array(p)})
    check(node("Pow", "x p"), [x[0]], {"p": np.full((1, 2, 1), p)})


def test_powers_that_are_values() -> None:
    x, p = np.abs(normal(3, 4)) + 0.2, normal(4)
    check(node("Pow", "x p"), [x, p])
    check(node("Pow", "x p"), [x], {"p": p})
    check(node("Pow", "x p"), [p], {"x": np.array(2.0)})
    check(node("Pow", "x p"), [normal(3, 4)], {"p": np.array(3)})


def test_a_power_of_zero_has_no_slope() -> None:
    given = {"x": np.zeros(2)}
    assert gradient([node("Pow", "x p")], given, {"p": np.array([0.0, 1.0])})["x"] == [0.0, 1.0]
    assert gradient([node("Pow", "x p")], {"p": np.ones(2)}, {"x": np.zeros(2)})["p"] == [0.0, 0.0]


def test_the_norm_of_nothing_has_no_slope() -> None:
    x = np.array([[0.0, 0.0], [3.0, -4.0]])
    found = gradient([node("ReduceL2", "x a")], {"x": x}, {"a": np.array([1])})
    assert found["x"] == [[0.0, 0.0], [0.6, -0.8]]


REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("noop", [0, 1])
def test_reductions_without_axes(op: str, keepdims: int, noop: int) -> None:
    words: dict[str, Any] = {"keepdims": keepdims, "noop_with_empty_axes": noop}
    x = np.abs(normal(2, 3)) + 0.3
    check(node(op, "x", **words), [x])
    check(node(op, "x a", **words), [x], {"a": np.array([], np.int64)})


def test_whole_numbers_have_no_slope() -> None:
    x = np.array([1.7, 2.0])
    there = [node("Cast", "x", "i", to=7), node("Cast", "i", "f", to=1), node("Cast", "f", "c", to=11)]
    assert gradient([*there, node("Add", "c x", "y")], {"x": x})["x"] == [1.0, 1.0]


def test_places_of_maxima_have_no_slope() -> None:
    x = np.array([[[1.0, 3.0, 2.0, 5.0]]])
    nodes = [
        node("MaxPool", "x", "m i", kernel_shape=[2], strides=[2]),
        node("Cast", "i", "f", to=11),
        node("Mul", "m f", "y"),
    ]
    assert gradient(nodes, {"x": x})["x"] == [[[0.0, 1.0, 0.0, 3.0]]]


def test_a_second_output_that_no_rule_takes_is_refused() -> None:
    nodes = [node("LayerNormalization", "x s", "n m"), node("Add", "n m", "y")]
    with pytest.raises(NetworkError) as error:
        gradient(nodes, {"x": normal(2, 3)}, {"s": np.ones(3)})
    assert str(error.value) == (
        "train: LayerNormalization 'LayerNormalization' cannot be differentiated\n"
        "  the loss depends on its output 'm'\n"
        "  the rule of LayerNormalization takes the first output alone: compute the other by nodes of its own"
    )
    mean = [node("ReduceMean", "x a", "m"), node("LayerNormalization", "x s", "n"), node("Add", "n m", "y")]
    found = gradient(mean, {"x": normal(2, 3)}, {"s": np.ones(3), "a": np.array([-1])})
    assert np.allclose(found["x"], 1.0)
