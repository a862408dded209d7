"""A part of the full convolution of two arrays of any type, by `convmat.conv`.

    y[j] = sum over i of  x[i] * w[j - i]          start <= j < start + extent, along each axis

Integers are exact. Where sums may pass 2^53 both operands are taken apart into digits of so few bits that no sum of
products of digits does, and what these make is added up modulo 2^64:

    x = sum over p of  x_p 2^(b p)        y = sum over p, q of  2^(b (p + q)) (x_p * w_q)        2 b + log2(taps) <= 53

Types that no engine takes (extended precision, Python's numbers) are added up tap by tap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import api
from ..engine import buffers
from .borders import store_rounded
from .ready import run_ready

Array = npt.NDArray[Any]
Product = Callable[[Array, Array], Array]

EXACT = 53
"""Bits of a float64's integers."""

NO_KERNEL = 1 << 20
"""FLOPs of a call for which no kernel is compiled: signals' lengths and filters' come in all sizes."""

PATIENCE = 100
"""Calls with one filter after which one is, which takes as long as some hundreds of them: later ones take a tenth."""

MOST_KEPT = 1 << 18
"""Bytes of a filter's elements up to which it is kept, packed: comparing more with those of the next call costs."""


def convolve(
    x: Array, w: Array, start: Sequence[int], shape: Sequence[int], *, groups: int = 1, exact: bool = False
) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F) -> (B, O, *shape), from `start` of the full result on, in the operands' type.

    `exact`: by the definition's own products alone.

    >>> convolve(np.array([[[1, 2, 3]]]), np.array([[[1, 10]]]), (0,), (4,)).tolist()
    [[[1, 12, 23, 30]]]
    """
    kind = np.result_type(x, w)
    flipped = w[(slice(None), slice(None), *(slice(None, None, -1),) * (w.ndim - 2))]
    padding = tuple(
        (f - 1 - first, first + n - i)
        for first, n, i, f in zip(start, shape, x.shape[2:], w.shape[2:], strict=True)
    )

    def product(a: Array, b: Array, only: bool = exact) -> Array:
        out = buffers.empty((x.shape[0], w.shape[0], *shape), a.dtype)
        few = 2 * math.prod(out.shape) * b.size < NO_KERNEL * b.shape[0]
        if b.nbytes > MOST_KEPT:
            engine = "blas" if few else None
            return api.conv(a, b, padding=padding, groups=groups, exact=only, engine=engine, out=out)
        options = {"padding": padding, "groups": groups, "exact": only}
        given = b, *options.values()
        return run_ready("product", given, a, out, lambda: _KeptFilter(a.shape, b, options, few))

    if kind.kind in "fc" and kind.itemsize <= (8 if kind.kind == "f" else 16):
        work = np.dtype(np.float32) if kind == np.float16 else kind
        return product(x.astype(work, copy=False), flipped.astype(work, copy=False)).astype(kind, copy=False)
    if kind.kind in "biu":
        return _integers(x, flipped, kind, lambda a, b: product(a, b, True))
    return _tap_by_tap(x, w, start, shape, groups)


class _KeptFilter:
    """A convolution with one filter, over arrays of one shape.

    Small ones are NumPy's product until they were called so often that a kernel is worth compiling.
    """

    def __init__(self, shape: tuple[int, ...], w: Array, options: dict[str, Any], few: bool) -> None:
        self._plan = partial(api.plan, shape, w.shape, dtype=w.dtype.name, **options)
        self._w = np.ascontiguousarray(w)
        self._left = PATIENCE if few else 0
        plan = self._plan(engine="blas" if few else None)
        self._bound = plan.bind(self._w)
        self.nbytes = plan.weight_bytes + self._w.nbytes

    def __call__(self, x: Array, out: Array) -> None:
        """x: (B, C, *I) -> out: (B, O, *P), new memory."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._bound = self._plan().bind(self._w)
        self._bound(x, None, out)


def _integers(x: Array, w: Array, kind: np.dtype[Any], product: Product) -> Array:
    """The product of integers in their own type, which wraps around as C's do."""
    taps = math.prod(w.shape[1:])
    most_x, most_w = (max(abs(int(a.max(initial=0))), abs(int(a.min(initial=0)))) for a in (x, w))
    if most_x * most_w * taps < 2**EXACT:
        sums = product(x.astype(np.float64), w.astype(np.float64))
        made = np.empty(sums.shape, kind)
        store_rounded(sums, made)
        return made
    bits = (EXACT - 1 - taps.bit_length()) // 2
    total = np.zeros((), np.uint64)
    for p, digit in _digits(x, bits):
        for q, other in _digits(w, bits):
            if bits * (p + q) < 64:
                sums = product(digit, other).astype(np.int64).view(np.uint64)
                total = total + (sums << np.uint64(bits * (p + q)))
    return total.astype(kind)


def _digits(a: Array, bits: int) -> list[tuple[int, Array]]:
    """An array of integers modulo 2^64 as digits, the least first."""
    left = a.astype(np.int64).view(np.uint64) if a.dtype.kind != "u" else a.astype(np.uint64)
    mask = np.uint64(2**bits - 1)
    places = range(-(-64 // bits))
    return [(p, (left >> np.uint64(bits * p) & mask).astype(np.float64)) for p in places]


def _tap_by_tap(x: Array, w: Array, start: Sequence[int], shape: Sequence[int], groups: int) -> Array:
    """The same for any type that can be multiplied and added."""
    kind = np.result_type(x, w)
    full = tuple(i + f - 1 for i, f in zip(x.shape[2:], w.shape[2:], strict=True))
    out = np.zeros((x.shape[0], w.shape[0], *full), kind)
    per, each = w.shape[1], w.shape[0] // groups
    for o in range(w.shape[0]):
        for c in range(per):
            source = x[:, o // each * per + c]
            for tap in np.ndindex(*w.shape[2:]):
                at: Any = tuple(slice(f, f + n) for f, n in zip(tap, source.shape[1:], strict=True))
                out[:, o][(slice(None), *at)] += source * w[o, c][tap]
    wanted: Any = (slice(first, first + n) for first, n in zip(start, shape, strict=True))
    return np.asarray(out[(..., *wanted)])


__all__ = ["convolve"]
