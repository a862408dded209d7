"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: what a class costs that was given so little.

    loss[n, d] = -w[t] * log_prob[n, t, d]       t = target[n, d];  0 where t is ignored
    none: all of them    sum: their sum    mean: the sum over that of the weights w[t]

log_prob is the input itself, or log_softmax of it along axis 1: x - max - log(sum(exp(x - max))), which no large x
makes infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node, Spec
from .base import Specs, has_input, input_at, operator, specs_of


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, target = input_at(node, specs, 0), input_at(node, specs, 1)
    reduction = node.get("reduction", "mean")
    if reduction not in ("none", "sum", "mean"):
        raise node.error(f"its reduction is {reduction!r}\n  one of none, sum and mean is needed")
    if x.rank < 2 or target.shape != (x.shape[0], *x.shape[2:]):
        raise node.error(
            f"its inputs are {x} and {target}\n  a class each is needed for every element: (N, C, ...) and (N, ...)"
        )
    if has_input(specs, 2) and input_at(node, specs, 2).shape != (x.shape[1],):
        raise node.error(
            f"its weights are {input_at(node, specs, 2)}\n  one for each of {x.shape[1]} classes is needed"
        )
    loss = Spec(target.shape if reduction == "none" else (), x.dtype)
    return (loss, x) if node.op == "SoftmaxCrossEntropyLoss" else (loss,)


@operator("NegativeLogLikelihoodLoss", shape=_shape)
def negative_log_likelihood(node: Node, log_prob: Array, target: Array, weight: Array | None = None) -> Any:
    """What the target costs where the input is the logarithms of probabilities."""
    _shape(node, specs_of((log_prob, target, weight)))
    return _loss(node, log_prob, target, weight)


@operator("SoftmaxCrossEntropyLoss", shape=_shape)
def softmax_cross_entropy(node: Node, scores: Array, target: Array, weight: Array | None = None) -> Any:
    """The same where it is scores of any size; the second output is the logarithms of their softmax."""
    _shape(node, specs_of((scores, target, weight)))
    apart = scores - scores.max(axis=1, keepdims=True, initial=-np.inf)
    log_prob = apart - np.log(np.exp(apart).sum(axis=1, keepdims=True, dtype=np.float64)).astype(scores.dtype)
    return _loss(node, log_prob, target, weight), log_prob


def _loss(node: Node, log_prob: Array, target: Array, weight: Array | None) -> Array:
    ignored = node.get("ignore_index")
    counted = np.ones(target.shape, bool) if ignored is None else target != ignored
    C = log_prob.shape[1]
    wrong = counted & ((target < 0) | (target >= C))
    if wrong.any():
        said = "" if ignored is None else f", or {ignored}, which is ignored"
        raise node.error(f"its target has the class {target[wrong][0]}\n  from 0 to {C - 1} there are{said}")
    classes = np.where(counted, target, 0).astype(np.intp)
    found = -np.take_along_axis(log_prob, classes[:, None], axis=1)[:, 0]
    weights = np.ones(C, log_prob.dtype) if weight is None else weight
    each = np.where(counted, weights[classes], 0).astype(log_prob.dtype)
    loss = np.where(counted, found * each, 0).astype(log_prob.dtype)
    reduction = node.get("reduction", "mean")
    if reduction == "none":
        return loss
    total = loss.sum(dtype=np.float64)
    made = total / each.sum(dtype=np.float64) if reduction == "mean" else total
    return np.asarray(made, log_prob.dtype)
