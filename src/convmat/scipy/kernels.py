"""Weights of one-dimensional filters, and dense ones taken apart into such.

gaussian    w[i] = exp(-i^2 / (2 sigma^2)) / sum, or its derivatives: a polynomial times that
factors     w[f0, f1, ..] = sum over r of  u_r[f0] v_r[f1] ..
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def gaussian_kernel(sigma: float, order: int, radius: int) -> Array:
    """The derivative of that order of a normal distribution, at -radius .. radius; its sum is 1 for order 0.

    The derivative of q(x) exp(p(x)) is (q' + q p') exp(p(x)), with p' = -x / sigma^2: q's coefficients go through one
    matrix for each order.

    >>> gaussian_kernel(1.0, 0, 1).round(3).tolist()
    [0.274, 0.452, 0.274]
    """
    if order < 0:
        raise ValueError("order must be non-negative")
    x = np.arange(-radius, radius + 1)
    bell: Array = np.exp(-0.5 / (sigma * sigma) * x**2)
    bell = bell / bell.sum()
    if order == 0:
        return bell
    polynomial = np.zeros(order + 1)
    polynomial[0] = 1
    powers = np.arange(order + 1)
    step = np.diag(powers[1:].astype(float), 1) + np.diag(np.full(order, -1 / (sigma * sigma)), -1)
    for _ in range(order):
        polynomial = step @ polynomial
    return np.asarray((x[:, None] ** powers) @ polynomial * bell)


def factorise(weights: Array, tolerance: float, most: int) -> list[list[Array]]:
    """Terms of one-dimensional filters, one an axis, whose sum of products is the weights within a relative tolerance.

    In two dimensions of as few terms as that takes, at most `most`; in more of one. An empty list where none is found.

    >>> terms = factorise(np.outer([0.5, 1.0], [0.1, 0.2, 0.1]), 1e-14, 3)
    >>> len(terms), np.outer(*terms[0]).round(6).tolist()
    (1, [[0.05, 0.1, 0.05], [0.1, 0.2, 0.1]])
    """
    if weights.ndim == 1 or not np.isfinite(weights).all() or not weights.any():
        return []
    u, s, v = np.linalg.svd(weights.reshape(weights.shape[0], -1), full_matrices=False)
    left = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
    rank = int((left > tolerance * left[0]).sum())
    if weights.ndim == 2:
        return [_scale(u[:, r] * s[r], v[r]) for r in range(rank)] if rank <= most else []
    if rank > 1:
        return []
    rest = factorise((v[0] * s[0]).reshape(weights.shape[1:]), tolerance, 1)
    return [[u[:, 0], *rest[0]]] if len(rest) == 1 else []


def _scale(u: Array, v: Array) -> list[Array]:
    """A pair of factors as positive numbers of even size, where signs allow it."""
    if u[np.argmax(np.abs(u))] < 0:
        u, v = -u, -v
    size = math.sqrt(np.abs(u).max() / max(np.abs(v).max(), 1e-300))
    return [u / size, v * size]


def factorise_integers(weights: Array) -> list[Array] | None:
    """The factors of integer weights of rank one, integers too and nothing lost; None where there are none.

    >>> [v.tolist() for v in factorise_integers(np.outer([1.0, 2.0], [2.0, 4.0, 2.0])) or []]
    [[2.0, 4.0], [1.0, 2.0, 1.0]]
    """
    if weights.ndim < 2 or not weights.any() or np.abs(weights).max() >= 2**31:
        return None
    if (weights != np.rint(weights)).any():
        return None
    left = weights.astype(np.int64)
    found = []
    while left.ndim > 1:
        flat = left.reshape(left.shape[0], -1)
        row = flat[np.flatnonzero(flat.any(1))[0]]
        row = row // np.gcd.reduce(row)
        at = np.flatnonzero(row)[0]
        column = flat[:, at] // row[at]
        if not np.array_equal(np.multiply.outer(column, row), flat):
            return None
        found.append(column.astype(np.float64))
        left = row.reshape(left.shape[1:])
    return [*found, left.astype(np.float64)]


__all__ = ["factorise", "factorise_integers", "gaussian_kernel"]
