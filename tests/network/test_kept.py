"""Triangles of matrices and sequences read backwards, beside their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS
from convmat.network.ops.options import Options

from .made import normal
from .runtime import outside, run, said


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64"])
def test_triangles(upper: int, dtype: str) -> None:
    node = Node("Trilu", (), ("y",), {"upper": upper}, "here", 14)
    for shape in ((4, 4), (2, 3, 5), (5, 2), (0, 3), (2, 0)):
        x = (normal(*shape) + 9).astype(dtype)
        for k in (None, 0, 1, -2, 7, -7, 2**62, -(2**62)):
            y = run(node, x, None if k is None else np.array(k, np.int64))[0]
            least = min(max(k or 0, -9), 9)
            np.testing.assert_array_equal(y, np.triu(x, least) if upper else np.tril(x, least))
    wild = np.full((2, 2), np.nan, np.float32)
    assert np.isnan(run(node, wild)[0]).sum() == 3
    assert said(node, wild[0]) == "  its input is float32[2]\n  matrices are needed: two axes at least"
    assert said(node, wild, np.array([1, 2])) == "  its k is int64[2]\n  one whole number is needed"


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "bool"])
def test_triangles_by_a_mask(upper: int, dtype: str) -> None:
    """Into an array that is there, whatever was in it, and with numbers that are none."""
    node, prepare = Node("Trilu", (), ("y",), {"upper": upper}, "here", 14), OPERATORS["Trilu"].prepare
    assert prepare is not None
    for k in (None, -2, 0, 3, 2**62):
        x = normal(3, 5, 7)
        if dtype.startswith("float"):
            x[0, ::2], x[1, 1::2], x[2] = np.nan, -np.inf, -0.0
        x = x.astype(dtype)
        given = [x] if k is None else [x, np.array(k, np.int64)]
        step = prepare(node, [Spec.of(each) for each in given], (Spec.of(x),), Options())
        assert step is not None
        y = np.ones_like(x)
        step(*given, y)
        assert y.tobytes() == run(node, *given)[0].tobytes()


@pytest.mark.parametrize("time", [0, 1])
def test_sequences_backwards(time: int) -> None:
    node = Node("ReverseSequence", (), ("y",), {"time_axis": time, "batch_axis": 1 - time}, "here", 10)
    for more in ((), (2,), (2, 3)):
        x = normal(4, 4, *more)
        lengths = np.array([0, 1, 3, 4])
        y = run(node, x, lengths)[0]
        for b, n in enumerate(lengths):
            one, its = (x[:, b], y[:, b]) if time == 0 else (x[b], y[b])
            np.testing.assert_array_equal(its, np.concatenate([one[:n][::-1], one[n:]]))
        theirs = outside(node, x, lengths)
        assert theirs is not None
        np.testing.assert_array_equal(y, theirs[0])
    assert run(node, normal(4, 0) if time == 0 else normal(0, 4), np.zeros(0, np.int64))[0].size == 0
    assert said(node, normal(4, 4), np.array([0, 1, 3, 5])) == (
        "  its sequence_lens are 0 to 5\n  its input has 4 steps: 0 to 4 are needed"
    )
    assert said(node, normal(4, 4), np.array([0, 1])) == (
        "  its sequence_lens is int64[2]\n  int64[4] is needed, as its input is float32[4,4]"
    )
    both = Node("ReverseSequence", (), ("y",), {"time_axis": 1}, "here", 10)
    assert said(both, normal(4, 4), np.zeros(4, np.int64)) == (
        "  its time_axis is 1 and its batch_axis 1\n  0 and 1, or 1 and 0, of float32[4,4] are needed"
    )
