"""The largest, sums so far, numbers in a row, remainders, repetitions, sums of products, beside their definitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from convmat.network.graph import Node

from .cases import Array
from .made import normal
from .runtime import outside, run, said


def node(op: str, version: int = 13, outputs: int = 1, **about: Any) -> Node:
    return Node(op, (), tuple(f"y{i}" for i in range(outputs)), about, "here", version)


# -- TopK --------------------------------------------------------------------------------------------------------------


def top(made: Node, x: Array, k: int) -> tuple[Array, Array]:
    """By sorting (value, index) in Python: what is no number counts as the largest."""
    axis = made.get("axis", -1)
    rows = np.moveaxis(x, axis, -1)
    places = np.empty((*rows.shape[:-1], k), np.int64)
    sign = -1 if made.get("largest", 1) else 1
    for at in np.ndindex(*rows.shape[:-1]):
        keys = [
            (sign * (math.inf if v != v else float(v)), sign * float(v != v), i)
            for i, v in enumerate(rows[at])
        ]
        places[at] = [i for *_, i in sorted(keys)][:k]
    places = np.moveaxis(places, -1, axis)
    return np.take_along_axis(x, places, axis), places


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "int8", "bfloat16"])
def test_the_largest_and_the_first_of_equals(dtype: str) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    for seed in range(16):
        draw = np.random.default_rng(seed)
        shape = tuple(int(n) for n in draw.integers(1, 7, int(draw.integers(1, 4))))
        x = draw.integers(0, 5, shape).astype(kind)
        if "float" in dtype and seed % 2:
            x[draw.random(shape) < 0.2] = np.nan
            x[draw.random(shape) < 0.1] = -np.inf
        axis = int(draw.integers(-len(shape), len(shape)))
        k = int(draw.integers(0, shape[axis] + 1))
        about = {"largest": seed // 2 % 2, "sorted": 1}
        made = node("TopK", 24 if dtype == "bfloat16" else 11, 2, axis=axis, **about)
        for found, right in zip(run(made, x, np.array([k])), top(made, x, k), strict=True):
            np.testing.assert_array_equal(found.astype(float), right.astype(float), err_msg=str(made))
        if "float" in dtype and dtype != "bfloat16" and k:
            old = run(node("TopK", 9, 2, axis=axis, k=k), x)
            np.testing.assert_array_equal(old[1], top(node("TopK", axis=axis), x, k)[1])


@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_few_of_many(dtype: str) -> None:
    """Not all are sorted; of many that are equal the first ones are taken, and NaN is larger than all."""
    for seed in range(8):
        draw = np.random.default_rng(seed)
        x = draw.integers(0, 400, (3, 1300, 2)).astype(dtype)
        if dtype != "int64" and seed % 2:
            x[draw.random(x.shape) < (0.02, 0.2)[seed // 4]] = np.nan
        made = node("TopK", 11, 2, axis=1, largest=seed // 2 % 2, sorted=1)
        for found, right in zip(run(made, x, np.array([20])), top(made, x, 20), strict=True):
            np.testing.assert_array_equal(found, right, err_msg=str(made))


def test_more_than_there_are() -> None:
    assert said(node("TopK", 11, 2), normal(2, 3), np.array([4])) == (
        "  its k is 4\n  float32[2,3] has fewer along axis 1"
    )
    assert said(node("TopK", 11, 2), normal(2, 3), np.array([1, 2])) == "  its k is not one number"


# -- CumSum ------------------------------------------------------------------------------------------------------------


def test_sums_so_far() -> None:
    for seed, (exclusive, reverse) in itertools.product(range(6), itertools.product((0, 1), (0, 1))):
        draw = np.random.default_rng(seed)
        shape = tuple(int(n) for n in draw.integers(0 if seed == 5 else 1, 5, 3))
        dtype = ("float32", "float64", "int32", "int64", "uint32", "uint64")[seed]
        x, axis = draw.integers(0, 9, shape).astype(dtype), int(draw.integers(-3, 3))
        right, rows = np.zeros_like(x), np.moveaxis(x, axis, 0)
        sums = np.moveaxis(right, axis, 0)
        for i in range(len(rows)):
            seen = rows[i + exclusive :] if reverse else rows[: i + 1 - exclusive]
            sums[i] = seen.sum(0)
        for given in (np.array(axis), np.array([axis], np.int32)):
            (y,) = run(node("CumSum", 14, exclusive=exclusive, reverse=reverse), x, given)
            assert y.dtype == x.dtype
            np.testing.assert_array_equal(y, right)


def test_sums_along_no_axis() -> None:
    assert said(node("CumSum", 14), normal(2, 3), np.array(2)) == "  axis 2 of an array with 2 axes"
    assert said(node("CumSum", 14), normal(2, 3), np.array([0, 1])) == (
        "  its axis is int64[2]\n  one whole number is needed, an axis of float32[2,3]"
    )


# -- Range, Tile, Mod --------------------------------------------------------------------------------------------------


def test_numbers_in_a_row() -> None:
    for dtype in ("int16", "int32", "int64", "float32", "float64"):
        for first, end, by in ((3, 9, 3), (10, 4, -2), (0, 5, 2), (4, 4, 1), (4, 2, 1), (2, 4, -1)):
            given = [np.array(v, dtype) for v in (first, end, by)]
            (y,) = run(node("Range", 11), *given)
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, np.arange(first, end, by))
    tenth = [np.array(v, np.float32) for v in (0, 1, 0.1)]
    np.testing.assert_array_equal(
        run(node("Range", 11), *tenth)[0], np.arange(10, dtype=np.float32) * np.float32(0.1)
    )
    half = [np.array(v, np.float16) for v in (0, 60000, 32)]
    (y,) = run(node("Range", 27), *half)
    np.testing.assert_array_equal(y, np.arange(0, 60000, 32, dtype=np.float32).astype(np.float16))
    assert said(node("Range", 11), *(np.array(v, np.float32) for v in (0, np.inf, 1))) == (
        "  its start is 0.0, its limit inf and its delta 1.0\n  finite numbers of one type are needed"
    )
    assert said(node("Range", 11), np.array(0), np.array(1), np.array(0)) == (
        "  its start, limit and delta are not three numbers, the last not 0"
    )


def test_repetitions() -> None:
    x = normal(2, 3)
    for repeats in ((1, 1), (2, 3), (0, 2)):
        np.testing.assert_array_equal(run(node("Tile"), x, np.array(repeats))[0], np.tile(x, repeats))
    assert run(node("Tile", 6), np.array(3.0), np.zeros(0, np.int64))[0] == 3
    assert said(node("Tile"), x, np.array([2])) == (
        "  its repeats are (2,)\n  float32[2,3] needs one, from 0 on, for each axis"
    )


def test_remainders() -> None:
    a, b = np.array([-7, 7, -7, 7, 5]), np.array([3, -3, -3, 3, 5])
    for dtype in ("int8", "int64", "float32", "float64", "float16"):
        x, y = a.astype(dtype), b.astype(dtype)
        np.testing.assert_array_equal(run(node("Mod"), x, y)[0], [2, -2, -1, 1, 0])
        np.testing.assert_array_equal(run(node("Mod", fmod=1), x, y)[0], [-1, 1, -1, 1, 0])
        assert run(node("Mod"), x[:, None], y)[0].shape == (5, 5)
    x, y = (
        np.array(v, np.float32) for v in ([1, -1, np.inf, 1, np.nan, -2], [np.inf, np.inf, 2, 0, 1, np.inf])
    )
    np.testing.assert_array_equal(run(node("Mod"), x, y)[0], [1, np.inf, np.nan, np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(run(node("Mod", fmod=1), x, y)[0], [1, -1, np.nan, np.nan, np.nan, -2])
    assert said(node("Mod", fmod=2), a, b) == "  its fmod is 2\n  0 or 1 is needed"


# -- Einsum ------------------------------------------------------------------------------------------------------------


def summed(terms: list[str], right: str, arrays: list[Array]) -> Array:
    """Over every value of every letter; an extent of 1 stays at 0."""
    extents: dict[str, int] = {}
    for term, x in zip(terms, arrays, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            extents[letter] = max(n, extents.get(letter, 1)) if n else 0
    y = np.zeros(tuple(extents[letter] for letter in right))
    for at in itertools.product(*(range(n) for n in extents.values())):
        place = dict(zip(extents, at, strict=True))
        product = 1.0
        for term, x in zip(terms, arrays, strict=True):
            product *= float(x[tuple(min(place[c], n - 1) for c, n in zip(term, x.shape, strict=True))])
        y[tuple(place[letter] for letter in right)] += product
    return y


EQUATIONS = [
    ("ij,jk->ik", ["ij", "jk"], "ik", [(2, 3), (3, 4)]),
    ("ij, jk", ["ij", "jk"], "ik", [(2, 3), (3, 4)]),
    ("ba,Cb", ["ba", "Cb"], "Ca", [(2, 3), (4, 2)]),
    ("ii->i", ["ii"], "i", [(3, 3)]),
    ("ii", ["ii"], "", [(3, 3)]),
    ("i,j,k->kji", ["i", "j", "k"], "kji", [(2,), (3,), (4,)]),
    ("...ij,...jk->...ik", ["xij", "xjk"], "xik", [(2, 2, 3), (2, 3, 4)]),
    ("...ij,jk", ["xyij", "jk"], "xyik", [(2, 3, 2, 3), (3, 4)]),
    ("...i,...i", ["xyi", "yi"], "xy", [(2, 3, 4), (3, 4)]),
    ("...ii->...i", ["xii"], "xi", [(2, 3, 3)]),
    ("a...b->b...a", ["axb"], "bxa", [(2, 3, 4)]),
    ("...i->i", ["xi"], "i", [(2, 3)]),
    ("... , ...->...", ["xy", "xy"], "xy", [(2, 3), (1, 3)]),
    ("ij,ij->ij", ["ij", "ij"], "ij", [(1, 3), (2, 3)]),
    (",i->i", ["", "i"], "i", [(), (3,)]),
    ("ij,jk,kl->il", ["ij", "jk", "kl"], "il", [(2, 0), (0, 3), (3, 2)]),
]


@pytest.mark.parametrize(("equation", "terms", "right", "shapes"), EQUATIONS, ids=[e[0] for e in EQUATIONS])
def test_sums_of_products(equation: str, terms: list[str], right: str, shapes: list[tuple[int, ...]]) -> None:
    made = [np.asarray(normal(*s, seed=i) * 3, np.float32) for i, s in enumerate(shapes)]
    for dtype in (np.float64, np.float32, np.int32, np.float16, ml_dtypes.bfloat16):
        arrays = [x.astype(dtype) for x in made]
        (y,) = run(node("Einsum", 12, equation=equation), *arrays)
        exact = summed(terms, right, arrays)
        rtol = {2: 2**-7}.get(y.dtype.itemsize, 1e-5)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.astype(float), exact, rtol=rtol, atol=1e-5)
    theirs = outside(node("Einsum", 12, equation=equation), *made)
    if theirs is not None:
        np.testing.assert_allclose(summed(terms, right, made), theirs[0], rtol=1e-4, atol=1e-4)


def test_half_sums_are_float32() -> None:
    one = np.ones(5000, np.float16)
    assert run(node("Einsum", 12, equation="i,i->"), one, one)[0] == 5000


def test_equations_that_do_not_fit() -> None:
    x = normal(2, 3)
    assert said(node("Einsum", 12, equation="ij,jk"), x, x) == (
        "  its equation 'ij,jk' gives 'j' two extents\n  3 and 2, of float32[2,3]"
    )
    assert said(node("Einsum", 12, equation="ij->ik"), x) == (
        "  its equation 'ij->ik' has the output 'ik'\n  letters of its operands, once each"
    )
    assert said(node("Einsum", 12, equation="i1"), x) == (
        "  its equation 'i1' has the term 'i1'\n  letters and one ... are needed"
    )
    assert said(node("Einsum", 12, equation="i->i"), x) == (
        "  its equation 'i->i' does not fit its input 0\n  'i' and float32[2,3]"
    )
    assert (
        said(node("Einsum", 12, equation="i,i"), x)
        == "  its equation 'i,i' has 2 operands\n  it has 1 inputs"
    )


# -- an outside opinion ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_drawn_nodes_beside_onnxruntime() -> None:
    asked = 0
    for seed in range(500, 530):
        draw = np.random.default_rng(seed)
        shape = tuple(int(n) for n in draw.integers(1, 6, int(draw.integers(1, 4))))
        axis = int(draw.integers(-len(shape), len(shape)))
        x = draw.integers(-9, 9, shape).astype((np.float32, np.int64)[seed % 2])
        nodes: list[tuple[Node, list[Array]]] = [
            (
                node("TopK", 11, 2, axis=axis, largest=seed // 2 % 2),
                [x, np.array([int(draw.integers(1, shape[axis] + 1))])],
            ),
            (node("CumSum", 14, exclusive=seed // 2 % 2, reverse=seed // 4 % 2), [x, np.array(axis)]),
            (node("Tile", 13), [x, draw.integers(0, 3, len(shape))]),
            (node("Mod", 13, fmod=int(x.dtype.kind == "f")), [x, draw.integers(1, 7, shape).astype(x.dtype)]),
            (node("Range", 11), [np.array(v, x.dtype) for v in (*draw.integers(-9, 9, 2), 2 - seed % 4 or 3)]),
            (node("OneHot", 11, axis=axis), [x, np.array(5), np.array([0, 1], np.float32)]),
        ]  # fmt: skip
        for made, arrays in nodes:
            theirs = outside(made, *arrays)
            if theirs is not None:
                asked += 1
                for found, right in zip(run(made, *arrays), theirs, strict=True):
                    np.testing.assert_array_equal(found, right, err_msg=str(made))
    assert asked >= 120
