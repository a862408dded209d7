"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss against their formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat

from .cases import Array
from .test_ops import node, run


def wanted(
    log_prob: Array, target: Array, weight: Array | None, ignored: int | None, reduction: str
) -> Array:
    loss, total = np.zeros(target.shape), 0.0
    for place in np.ndindex(*target.shape):
        t = int(target[place])
        if t != ignored:
            w = 1.0 if weight is None else float(weight[t])
            loss[place] = -w * log_prob[(place[0], t, *place[1:])]
            total += w
    return loss if reduction == "none" else np.asarray(loss.sum() / (total if reduction == "mean" else 1.0))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignored", [None, -1, 2, 255])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_those_of_the_formula(reduction: str, ignored: int | None, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    scores = (rng.standard_normal((4, 5, 3)) * 60).astype(np.float32)
    target = rng.integers(0, 5, (4, 3))
    if ignored is not None:
        target[0, 1] = ignored
    weight = rng.random(5).astype(np.float32) if weighted else None
    wide = scores.astype(np.float64)
    log_prob = (
        wide
        - np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1, keepdims=True))
        - wide.max(1, keepdims=True)
    )
    how: dict[str, Any] = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
    right = wanted(log_prob, target, weight, ignored, reduction)
    loss, found = run(node("SoftmaxCrossEntropyLoss", 13, outputs=2, **how), scores, target, weight)
    np.testing.assert_allclose(loss, right, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, log_prob, rtol=1e-5, atol=1e-5)
    loss = run(node("NegativeLogLikelihoodLoss", 13, **how), log_prob.astype(np.float32), target, weight)
    np.testing.assert_allclose(loss, right, rtol=1e-5, atol=1e-5)
    assert loss.dtype == np.float32


def test_scores_of_any_size_make_no_infinite_loss() -> None:
    scores = np.array([[0, 500, -500]], np.float32)
    loss = run(node("SoftmaxCrossEntropyLoss", 13, reduction="none"), scores, np.array([2]), None)
    assert loss.tolist() == [1000]


@pytest.mark.parametrize("op", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
def test_a_class_that_is_not_there_is_refused(op: str) -> None:
    with pytest.raises(convmat.NetworkError) as error:
        run(node(op, 13, ignore_index=-1), np.zeros((2, 3), np.float32), np.array([0, 3]), None)
    assert str(error.value).endswith(
        "its target has the class 3\n  from 0 to 2 there are, or -1, which is ignored"
    )
    loss = run(node(op, 13, ignore_index=-1), np.zeros((2, 3), np.float32), np.array([0, -1]), None)
    assert np.isfinite(loss)


# -- what is no number, elsewhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("antialias", [0, 1])
def test_an_infinity_beside_the_window_of_a_resized_element_stays_there(mode: str, antialias: int) -> None:
    x = np.zeros((1, 1, 1, 16), np.float32)
    x[..., 15] = np.inf
    how: dict[str, Any] = {"mode": mode, "antialias": antialias}
    y = run(node("Resize", 19, **how), x, None, None, np.array([1, 1, 1, 8]))
    assert np.isfinite(y[..., :6]).all()
    assert not np.isfinite(y[..., 7]).any()


def test_coordinates_that_are_no_numbers() -> None:
    x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 1, 1), np.float32)
    offset = np.zeros((1, 2, 3, 3), np.float32)
    offset[0, 0, 0, :2] = np.nan, np.inf
    y = run(node("DeformConv", 19), x, w, offset)
    assert np.isnan(y[0, 0, 0, 0])
    assert y[0, 0, 0, 1:].tolist() == [0, 1]
    crop = node("Resize", 19, coordinate_transformation_mode="tf_crop_and_resize", mode="linear")
    with pytest.raises(convmat.NetworkError) as error:
        run(crop, x, np.array([0, 0, np.nan, 0, 1, 1, 1, 1], np.float32), None, np.array([1, 1, 2, 2]))
    assert "its roi is [0.0, 0.0, nan, 0.0, 1.0, 1.0, 1.0, 1.0]\n  finite numbers are needed" in str(
        error.value
    )
