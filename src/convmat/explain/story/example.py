"""The worked example: one small convolution in four ways, every number computed.

    x: 3x3x3    w: 3x2x2    y: 1x2x2

    y[p] = sum over c, f of  w[c, f] * x[c, p + f]                      the definition: loops
         = sum over c of  < w[c], x[c, p:p+2, q:q+2] >                  a 2-D dot product a channel
         = A[0] . U[:, p]                                               a 1-D dot product of 12 numbers
         = (A @ U)[0, p]                                                all four at once: a matrix product

A is the flattened kernel (1x12), U the unrolled input (12x4). `origins` says for each element of U where in x it
comes from; it is found by unrolling the numbers 0 .. 26 of x's elements instead of their values.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.api import conv, im2col
from convmat.geometry import Geometry
from convmat.reference import convolve

Array = npt.NDArray[Any]

X = np.array(
    [
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        [[1, 0, 1], [0, 2, 0], [1, 0, 1]],
        [[0, 1, 2], [2, 1, 0], [1, 0, 3]],
    ],
    np.float64,
)
"""The input, (C, H, W)."""

W = np.array([[[1, 2], [0, 1]], [[2, 0], [1, 1]], [[0, 1], [2, -1]]], np.float64)
"""The kernel, (C, KH, KW): the one filter there is."""


@dataclass(frozen=True)
class WorkedStep:
    """One way to the output: its name, its formula, and the numbers it gives."""

    name: str
    formula: str
    values: Array


@dataclass(frozen=True)
class Example:
    """Everything that `convmat example` shows.

    `taps` are the (c, row, col) in w of the 12 columns of A (rows of U); `origins` the (c, row, col) in x of each
    element of U, of shape (12, 4, 3); `windows` the four 3x2x2 parts of x; `per_channel` (3, 4) their 2-D dot
    products; `y` the output by the definition; `chain` the ways to it.
    """

    geometry: Geometry
    x: Array
    w: Array
    A: Array
    U: Array
    Y: Array
    y: Array
    taps: Array
    origins: Array
    windows: Array
    per_channel: Array
    chain: tuple[WorkedStep, ...]

    @property
    def equal(self) -> bool:
        """Whether all ways gave the same numbers."""
        return all(np.array_equal(step.values, self.chain[0].values) for step in self.chain)

    def as_dict(self) -> dict[str, Any]:
        """The same in lists, strings and numbers, for JSON."""
        return {
            "geometry": str(self.geometry),
            "x": to_lists(self.x),
            "w": to_lists(self.w),
            "A": to_lists(self.A),
            "A_taps": to_lists(self.taps),
            "U": to_lists(self.U),
            "U_origins": to_lists(self.origins),
            "Y": to_lists(self.Y),
            "y": to_lists(self.y),
            "per_channel": to_lists(self.per_channel),
            "chain": [{"name": s.name, "formula": s.formula, "y": to_lists(s.values)} for s in self.chain],
            "equal": self.equal,
        }


def work_out(x: Array = X, w: Array = W) -> Example:
    """The example, or the same with other numbers: x: (C, H, W), w: (C, KH, KW).

    >>> work_out().y
    array([[18., 20.],
           [26., 28.]])
    """
    geometry = Geometry.of((1, *x.shape), (1, *w.shape))
    size, places = w.shape[1:], list(itertools.product(*map(range, geometry.P)))
    A = w.reshape(1, -1)
    U = im2col(x[None], size)
    numbers = im2col(np.arange(x.size).reshape(1, *x.shape), size)
    y = convolve(x[None], w[None], geometry)[0, 0]
    windows = np.stack([x[:, r : r + size[0], q : q + size[1]] for r, q in places])
    per_channel = np.array([[np.vdot(w[c], window[c]) for window in windows] for c in range(len(x))])
    unrolled = np.array([np.dot(A[0], U[:, j]) for j in range(U.shape[1])])
    Y = A @ U
    shape = geometry.P
    chain = (
        WorkedStep("convolution, by its definition", "sum of w[c,f] * x[c,p+f]", y),
        WorkedStep("2-D dot products", "sum of < w[c], window[c] >", per_channel.sum(axis=0).reshape(shape)),
        WorkedStep("unrolled 1-D dot products", "A[0] . U[:, p]", unrolled.reshape(shape)),
        WorkedStep("matrix multiplication", "A @ U", Y.reshape(shape)),
        WorkedStep("convmat.conv", "conv(x, w)", conv(x[None], w[None])[0, 0]),
    )
    return Example(
        geometry=geometry, x=x, w=w, A=A, U=U, Y=Y, y=y, taps=_places(np.arange(w.size), w.shape),
        origins=_places(numbers, x.shape), windows=windows, per_channel=per_channel, chain=chain,
    )  # fmt: skip


def to_lists(array: Array) -> Any:
    """Nested lists, with whole numbers as ints.

    >>> to_lists(np.array([1.0, 2.0])), to_lists(np.array([0.5]))
    ([1, 2], [0.5])
    """
    whole = bool(np.all(array == np.rint(array)))
    return (array.astype(np.int64) if whole else array).tolist()


def _places(numbers: Array, shape: tuple[int, ...]) -> Array:
    """The (c, row, col) of elements given by their number, along a new last axis."""
    return np.stack(np.unravel_index(numbers, shape), axis=-1)
