"""Support vector machines, of `ai.onnx.ml`: sums over kernels between a row and each support vector.

    linear   x . v              poly     (gamma x . v + c)^degree
    rbf      exp(-gamma |x - v|^2)       sigmoid  tanh(gamma x . v + c)

    regress    y[n]    = sum over v of a[v] K(x[n], v) + rho
    classify   s[n, p] = the same of the vectors of two classes, for each pair p of them; each pair votes for one

A sum above 0 votes for the first of its pair. Probabilities of pairs are sigmoids of the sums, those of classes agree
with them as well as can be. Sums run in float64 and are rounded once.

Wu, Lin, Weng, Probability estimates for multi-class classification by pairwise coupling, 2004 (the second way).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ..graph import Array, Node, Spec
from .base import Specs, input_at
from .classical import FLOAT, labels_of, ml_operator, numbers_of, rows_of, transform_scores

MOST_DIFFERENCES = 1 << 20
"""Differences between rows and support vectors that are written down at a time."""

NEAR_CERTAIN = 1e-7
"""How near 0 and 1 the probability of a pair comes."""


def _kernel(node: Node, x: Array, vectors: Array) -> Array:
    """K(x, v) of rows and vectors: (N, C), (V, C) -> (N, V)."""
    kind = node.get("kernel_type", "LINEAR")
    gamma, c, degree = (*numbers_of(node, "kernel_params"), 0.0, 0.0, 0.0)[:3]
    dots: Array = x @ vectors.T
    if kind == "LINEAR":
        return dots
    if kind == "POLY":
        return np.asarray((gamma * dots + c) ** degree)
    if kind == "SIGMOID":
        return np.asarray(np.tanh(gamma * dots + c))
    if kind == "RBF":
        rows = max(1, MOST_DIFFERENCES // max(1, vectors.size))
        apart = [np.square(x[i : i + rows, None] - vectors).sum(axis=-1) for i in range(0, len(x), rows)]
        return np.asarray(np.exp(-gamma * np.concatenate(apart))) if apart else dots
    raise node.error(f"its kernel_type is {kind!r}\n  one of LINEAR, POLY, RBF, SIGMOID is needed")


def _vectors(node: Node, name: str, count: int, x: Array) -> Array:
    """An attribute with `count` rows as long as those of x. Raises NetworkError."""
    found = numbers_of(node, name)
    if found.size != count * x.shape[1]:
        raise node.error(
            f"its {name} are {found.size} numbers, {count} rows of {x.shape[1]} are needed\n  its input is {Spec.of(x)}"
        )
    return found.reshape(count, -1)


def _require_count(node: Node, name: str, count: int) -> Array:
    found = numbers_of(node, name)
    if found.size != count:
        raise node.error(f"its {name} are {found.size} numbers\n  {count} are needed")
    return found


def _regress_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (Spec((x.shape[0] if x.rank > 1 else 1, 1), FLOAT),)


@ml_operator("SVMRegressor", shape=_regress_shape)
def regress(node: Node, x: Array) -> Array:
    """x: (N, C) -> (N, 1); with `one_class` 1 where the sum is above 0, else -1. Without supports w . x + rho."""
    rows, supports = rows_of(x).astype(np.float64), node.get("n_supports", 0)
    if (way := node.get("post_transform", "NONE")) != "NONE":
        raise node.error(
            f"its post_transform is {way!r}\n  only NONE is taken: runtimes do not agree on others"
        )
    rho = _require_count(node, "rho", 1)
    if supports:
        kernels = _kernel(node, rows, _vectors(node, "support_vectors", supports, rows))
        sums = kernels @ _require_count(node, "coefficients", supports) + rho
    else:
        sums = rows @ _vectors(node, "coefficients", 1, rows)[0] + rho
    if node.get("one_class", 0):
        sums = np.where(sums > 0, 1.0, -1.0)
    return sums.reshape(-1, 1).astype(FLOAT)


def _classify_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, labels = input_at(node, specs, 0), labels_of(node, "classlabels_ints")
    rows, classes = x.shape[0] if x.rank > 1 else 1, len(labels)
    scores = classes if node.get("prob_a") or classes == 2 else classes * (classes - 1) // 2
    return Spec((rows,), labels.dtype), Spec((rows, scores), FLOAT)


@ml_operator("SVMClassifier", shape=_classify_shape)
def classify(node: Node, x: Array) -> tuple[Array, Array]:
    """x: (N, C) -> the label with most votes, (N,), and scores: of each class where there are probabilities, or two.

    Else of each pair. As in onnxruntime the sum of two classes is the second's score, and the first has its opposite,
    or 1 less it for SOFTMAX.
    """
    labels, rows = labels_of(node, "classlabels_ints"), rows_of(x).astype(np.float64)
    sums, votes = _pairs(node, rows, len(labels))
    chosen = labels[votes.argmax(axis=1)]
    if node.get("prob_a"):
        scores = transform_scores(node, _couple(_probabilities(node, sums), len(labels)))
    elif len(labels) > 2:
        scores = transform_scores(node, sums)
    elif node.get("post_transform", "NONE").startswith("SOFTMAX"):
        scores = np.concatenate([1 - sums, sums], axis=1)
    else:
        scores = transform_scores(node, np.concatenate([-sums, sums], axis=1))
    return chosen, scores.astype(FLOAT)


def _pairs(node: Node, x: Array, classes: int) -> tuple[Array, Array]:
    """The sum of each pair of classes, and how many vote for each class: (N, pairs), (N, classes)."""
    each = numbers_of(node, "vectors_per_class").astype(np.int64)
    if len(each) != classes or classes < 2:
        raise node.error(
            f"its vectors_per_class are {len(each)} numbers, for {classes} classes\n"
            "  one for each class is needed; without support vectors it is a LinearClassifier"
        )
    total, pairs = int(each.sum()), list(combinations(range(classes), 2))
    weights = _require_count(node, "coefficients", (classes - 1) * total).reshape(classes - 1, total)
    rho = _require_count(node, "rho", len(pairs))
    kernels = _kernel(node, x, _vectors(node, "support_vectors", total, x))
    ends = np.cumsum(each)
    own = [slice(end - n, end) for end, n in zip(ends, each, strict=True)]
    sums, votes = np.empty((len(x), len(pairs))), np.zeros((len(x), classes), np.int64)
    for p, (i, j) in enumerate(pairs):
        first, second = (kernels[:, own[a]] @ weights[b, own[a]] for a, b in ((i, j - 1), (j, i)))
        sums[:, p] = first + second + rho[p]
        votes[np.arange(len(x)), np.where(sums[:, p] > 0, i, j)] += 1
    return sums, votes


def _probabilities(node: Node, sums: Array) -> Array:
    """How probable the first class of each pair is, of the two: 1 / (1 + exp(a s + b))."""
    a, b = (_require_count(node, name, sums.shape[1]) for name in ("prob_a", "prob_b"))
    return np.asarray(np.clip(1 / (1 + np.exp(sums * a + b)), NEAR_CERTAIN, 1 - NEAR_CERTAIN))


def _couple(pairs: Array, classes: int) -> Array:
    """The probabilities of classes whose ratios are nearest to those of all pairs: (N, pairs) -> (N, classes)."""
    r = np.zeros((len(pairs), classes, classes))
    for p, (i, j) in enumerate(combinations(range(classes), 2)):
        r[:, i, j], r[:, j, i] = pairs[:, p], 1 - pairs[:, p]
    q = -r.transpose(0, 2, 1) * r
    q[:, range(classes), range(classes)] = np.square(r).sum(axis=1)
    return np.stack([_least(each) for each in q]) if len(q) else np.empty((0, classes))


def _least(q: Array) -> Array:
    """The p with sum 1 that makes p q p least, by one of its elements after the other."""
    classes = len(q)
    p = np.full(classes, 1 / classes)
    for _ in range(max(100, classes)):
        qp = q @ p
        pqp = p @ qp
        if np.abs(qp - pqp).max() < 0.005 / classes:
            break
        for t in range(classes):
            by = (pqp - qp[t]) / q[t, t]
            p[t] += by
            pqp = (pqp + by * (by * q[t, t] + 2 * qp[t])) / (1 + by) ** 2
            qp = (qp + by * q[t]) / (1 + by)
            p /= 1 + by
    return p


__all__ = ["classify", "regress"]
