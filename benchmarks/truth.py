"""Is the answer right? Projected to a few channels, in float64.

    R (G, r, O/G) random signs      R y = conv(x, R w)        r = min(8, O/G) rows: a fraction of the work
                                    R dx = input gradient of dy with R applied to the input channels of w
                                    R dw = weight gradient of x with R dy

    error = |R y - R y64| / |R y64|           Frobenius norms

Signs keep lengths in expectation, so this estimates the norm-wise error |y - y64| / |y64|; a wrong, missing or
misplaced channel changes every projection that it enters. Johnson and Lindenstrauss, 1984; Freivalds, 1977.

y64 comes from sums over filter taps in NumPy, independent of every engine and lowering; `tests/benchmarks` holds it to
`convmat.reference`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.jobs import Job, operands
from convmat.geometry import Geometry

Array = npt.NDArray[Any]

ROWS = 8
MOST_TAPS = 500
"""Of an image's filter that are summed one by one."""

WRONG = 1e-3
"""From this error on an answer is not taken for float32 arithmetic, and not timed."""


class Truth:
    """The projected answer of one job, made once, for every peer's answer to be held against.

    >>> job = Job("2d/one-pixel")
    >>> x, w = operands(job)
    >>> Truth(job).error(x * w) < 1e-7, Truth(job).error(x + w) > 1e-3
    (True, True)
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        g = job.geometry
        width = (g.C if job.direction == "input" else g.O) // g.G
        random = np.random.default_rng(20)
        rows = min(ROWS, width)
        self._signs = random.choice([-1.0, 1.0], (g.G, rows, width))
        a, b = (operand.astype(np.float64) for operand in operands(job))
        if job.direction == "forward":
            self._expected = forward(a, self._project(b, 0), replace(g, O=g.G * rows))
        elif job.direction == "input":
            projected = _per_group(np.swapaxes(self._filters(b), 1, 2), self._signs)
            self._expected = input_grad(a, projected, replace(g, C=g.G * rows))
        else:
            self._expected = weight_grad(a, self._project(b, 1), replace(g, O=g.G * rows))
        self._length = float(np.linalg.norm(self._expected))

    def error(self, answer: Array) -> float:
        """The estimated norm-wise error of an answer, channels second; inf for a wrong shape or numbers not finite."""
        if answer.shape != self.job.shapes[2]:
            return float("inf")
        axis = 0 if self.job.direction == "weight" else 1
        off = float(np.linalg.norm(self._project(answer.astype(np.float64), axis) - self._expected))
        if not np.isfinite(off):
            return float("inf")
        return off / self._length if self._length else off

    def _project(self, array: Array, axis: int) -> Array:
        """The signs applied to the channels, group by group, that lie along `axis`."""
        G, rows, width = self._signs.shape
        moved = np.moveaxis(array, axis, 0)
        grouped = moved.reshape(G, width, -1)
        return np.moveaxis((self._signs @ grouped).reshape(G * rows, *moved.shape[1:]), 0, axis)

    def _filters(self, w: Array) -> Array:
        """(O, C/G, *F) -> (G, O/G, C/G, *F)."""
        g = self.job.geometry
        return w.reshape(g.G, g.m, g.C // g.G, *g.F)


def _per_group(filters: Array, signs: Array) -> Array:
    """(G, c, O/G, *F) with signs (G, r, c) over c -> (O, r, *F): filters of the projected input channels."""
    G, c, m, *F = filters.shape
    projected = (signs @ filters.reshape(G, c, -1)).reshape(G, -1, m, *F)
    swapped = np.swapaxes(projected, 1, 2)
    return swapped.reshape(G * m, -1, *F)


def forward(x: Array, w: Array, g: Geometry) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F) -> (B, O, *P): the sum over taps of  w[:, :, f] @ (the pixels behind f).

    >>> g = Geometry.of((1, 1, 3), (1, 1, 2))
    >>> forward(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 1.0]]]), g)
    array([[[12., 23.]]])
    """
    padded = _padded(x, g)
    if g.k > MOST_TAPS and (g.C, g.O) == (1, 1) and {*g.s, *g.d} == {1}:
        return _circular(padded, w, g)
    y = np.zeros((g.B, g.G, g.m, g.n // g.B if g.B else 0), x.dtype)
    for tap, window in _taps(g):
        y += w[tap].reshape(g.G, g.m, -1) @ _pixels(padded[window], g)
    return y.reshape(g.y_shape)


def _circular(padded: Array, w: Array, g: Geometry) -> Array:
    """The correlation of one channel around the padded image, in float64: thousands of taps would take minutes."""
    axes = tuple(range(2, 2 + g.rank))
    extents = padded.shape[2:]
    spectrum = np.fft.rfftn(padded, axes=axes) * np.conj(np.fft.rfftn(w, extents, axes))
    whole = np.fft.irfftn(spectrum, extents, axes)
    inner: Any = (..., *(slice(0, p) for p in g.P))
    return np.ascontiguousarray(whole[inner])


def input_grad(dy: Array, w: Array, g: Geometry) -> Array:
    """dy: (B, O, *P), w: (O, C//G, *F) -> (B, C, *I): each tap's product added to the pixels behind it.

    >>> g = Geometry.of((1, 1, 3), (1, 1, 2))
    >>> input_grad(np.array([[[1.0, 100.0]]]), np.array([[[10.0, 1.0]]]), g)
    array([[[  10., 1001.,  100.]]])
    """
    padded = _padded(np.zeros(g.x_shape, dy.dtype), g)
    columns = dy.reshape(g.B, g.G, g.m, -1)
    for tap, window in _taps(g):
        padded[window] += (np.swapaxes(w[tap].reshape(g.G, g.m, -1), 1, 2) @ columns).reshape(g.B, g.C, *g.P)
    inner: Any = (..., *(slice(lo, lo + i) for lo, i in zip(g.lo, g.I, strict=True)))
    inside: Array = padded[inner]
    return inside


def weight_grad(x: Array, dy: Array, g: Geometry) -> Array:
    """x: (B, C, *I), dy: (B, O, *P) -> (O, C//G, *F): for each tap, dy times the pixels behind it.

    >>> g = Geometry.of((1, 1, 3), (1, 1, 2))
    >>> weight_grad(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 1.0]]]), g)
    array([[[12., 23.]]])
    """
    padded = _padded(x, g)
    columns = dy.reshape(g.B, g.G, g.m, -1)
    dw = np.zeros(g.w_shape, x.dtype)
    for tap, window in _taps(g):
        products = columns @ np.swapaxes(_pixels(padded[window], g), 2, 3)
        dw[tap] = products.sum(axis=0).reshape(g.w_shape[:2])
    return dw


def _padded(x: Array, g: Geometry) -> Array:
    assert set(g.e) <= {1}
    assert min(*g.lo, *g.hi) >= 0, "no layer crops"
    return np.pad(x, ((0, 0), (0, 0), *zip(g.lo, g.hi, strict=True)))


def _taps(g: Geometry) -> Iterator[tuple[Any, Any]]:
    """Each filter position, as an index of w, with that of the part of the padded input that it meets."""
    for tap in itertools.product(*map(range, g.F)):
        spans = (
            slice(f * d, f * d + (p - 1) * s + 1, s) for f, d, p, s in zip(tap, g.d, g.P, g.s, strict=True)
        )
        yield (..., *tap), (..., *spans)


def _pixels(window: Array, g: Geometry) -> Array:
    return window.reshape(g.B, g.G, g.C // g.G, -1)
