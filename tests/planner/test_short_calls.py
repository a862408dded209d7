"""Calls without bound weights, of arrays just as planned: the short way, and what is too much for it."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest

import convmat
from convmat.engine import host
from convmat.engine.runtime import jit_cache
from convmat.geometry import Geometry
from convmat.reference import convolve

pytestmark = pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")

rng = np.random.default_rng(0)
X, W = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 4, 8, 9), (4, 4, 3, 3)))
Y = convolve(X, W, Geometry.of(X.shape, W.shape)).astype(np.float32)


def planned(engine: str = "jit", lowering: str = "im2col") -> convmat.Plan:
    return convmat.plan(X.shape, W.shape, reuse_weights=False, engine=engine, lowering=lowering)


@pytest.mark.parametrize("lowering", ["im2col", "winograd 2"])
def test_again_and_again_with_other_weights(lowering: str) -> None:
    plan = planned(lowering=lowering)
    for factor in (1, -2, 3):
        np.testing.assert_allclose(plan(X, factor * W), factor * Y, atol=1e-4)
        assert plan._loose is not None
    out = np.empty_like(Y)
    assert plan(X, W, out=out) is out
    np.testing.assert_allclose(out, Y, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "w"),
    [(X[..., ::-1], W), (X, np.asfortranarray(W)), (X.tolist(), W), (X, W.tolist())],
    ids=["x reversed", "w in another order", "x as lists", "w as lists"],
)
def test_other_arrays_go_the_long_way(x: np.ndarray, w: np.ndarray) -> None:
    plan = planned()
    plan(X, W)
    expected = plan(np.ascontiguousarray(x, np.float32), np.ascontiguousarray(w, np.float32))
    np.testing.assert_array_equal(plan(x, w), expected)


def test_bound_weights_go_the_short_way_without_an_output_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = convmat.plan(X.shape, W.shape, engine="jit", lowering="im2col").bind(W)
    first = bound(X)

    def the_long_way(*arguments: object) -> None:
        raise AssertionError("the long way")

    monkeypatch.setattr(convmat.Plan, "run", the_long_way)
    second = bound(X)
    np.testing.assert_array_equal(first, Y)
    np.testing.assert_array_equal(second, Y)
    assert not np.shares_memory(first, second)
    with pytest.raises(AssertionError, match="the long way"):
        bound(X[..., ::-1])
    with pytest.raises(convmat.GeometryError, match="x has another shape than planned"):
        bound(X[:1])


def test_an_output_over_an_operand_is_refused_as_ever() -> None:
    memory = np.zeros(X.size + Y.size, np.float32)
    x = memory[: X.size].reshape(X.shape)
    x[...] = X
    plan = planned()
    plan(X, W)
    with pytest.raises(convmat.GeometryError) as caught:
        plan(x, W, out=memory[1 : 1 + Y.size].reshape(Y.shape))
    assert str(caught.value).startswith("conv: out overlaps an input in memory")
    np.testing.assert_array_equal(x, X)


def test_the_blas_engine_has_no_such_way() -> None:
    plan = planned("blas")
    np.testing.assert_array_equal(plan(X, W), Y)
    assert plan._loose is None


def test_code_that_was_let_go_is_loaded_again() -> None:
    plan = planned()
    plan(X, W)
    jit_cache.use_folder(None)
    gc.collect()
    np.testing.assert_array_equal(plan(X, W), Y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plan))(X, W), Y)
