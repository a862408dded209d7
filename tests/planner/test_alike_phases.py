"""Transposed convolutions with a long stride: phases of a kind are rows of one product, whatever is added to them."""

from __future__ import annotations

import numpy as np
import pytest

import convmat
from tests.support import Array


def whole(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(-3, 4, shape).astype(np.float32)


def scattered(x: Array, w: Array, shape: tuple[int, ...], stride: tuple[int, ...], groups: int) -> Array:
    """y[b, (g, o), p*s + f] = sum of w[(g, c), o, f] * x[b, (g, c), p] over c and all that lies there."""
    y = np.zeros(shape, np.float32)
    parts = [np.split(each, groups, axis) for each, axis in ((x, 1), (w, 0), (y, 1))]
    for a, b, into in zip(*parts, strict=True):
        for f in np.ndindex(*w.shape[2:]):
            at = tuple(
                slice(g, g + (i - 1) * s + 1, s) for g, i, s in zip(f, x.shape[2:], stride, strict=True)
            )
            into[(..., *at)] += np.einsum("bc...,co->bo...", a, b[(..., *f)])
    return y


@pytest.mark.parametrize(
    ("x", "w", "groups"),
    [
        ((2, 9, 5), (9, 1, 64), 1),
        ((1, 6, 4), (6, 5, 32), 1),
        ((2, 4, 1, 4), (4, 3, 1, 6), 2),
        ((1, 4, 3, 4), (4, 3, 4, 2), 1),
        ((1, 4, 3, 4), (4, 40, 2, 2), 1),
    ],
)
@pytest.mark.parametrize("engine", ["jit", "blas"])
def test_a_bias_and_a_residual_reach_every_phase(
    x: tuple[int, ...], w: tuple[int, ...], groups: int, engine: str
) -> None:
    stride = tuple(max(f // 2, 1) for f in w[2:])
    a, b = whole(*x), whole(*w)
    bias = whole(w[1] * groups)
    shape = (x[0], w[1] * groups, *((i - 1) * s + f for i, s, f in zip(x[2:], stride, w[2:], strict=True)))
    residual = whole(*shape)
    right = scattered(a, b, shape, stride, groups) + bias.reshape(-1, *(1,) * (len(x) - 2)) + residual
    products = []
    for bound in (True, False):
        plan = convmat.plan(
            x, w, stride=stride, groups=groups, transposed=True, bias=True, residual=True, engine=engine,
            lowering="im2col", reuse_weights=bound,
        )  # fmt: skip
        found = plan.bind(b, bias)(a, residual=residual) if bound else plan(a, b, bias, residual=residual)
        np.testing.assert_array_equal(found, right)
        products.append(plan.chosen.product or (0, 0, 0))
    joined = w[1] < 32 and (1,) * (len(stride) - 1) == stride[:-1] != stride
    assert all((m > w[1]) == joined for m, _, _ in products)
