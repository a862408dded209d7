"""Bytes that are rounded again, in NumPy: what kernels of `kernels.weighing` make, to the last bit.

y = saturate(round(a * by + (b * with + add)))        halves to even, two sums rounded to float32
q = saturate(round((q - zero) * factor + offset))     one sum rounded to float32
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .operands import Array


def weigh(a: Array, b: Array, by: Array, with_: Array, add: Array, made: np.dtype[Any]) -> Array:
    """Weighed sums in NumPy.

    >>> numbers = [np.float32(each) for each in (0.5, 2.0, 1.0)]
    >>> weigh(np.uint8([9, 200]), np.int8([-3, 100]), *numbers, np.dtype(np.uint8))
    array([  0, 255], dtype=uint8)
    """
    add_up = _add_plainly if _float64_holds(by, with_, add) else _add_rounding_once
    inner = add_up(b.astype(np.float64) * np.float64(with_), np.asarray(add, np.float64))
    return _saturate(add_up(a.astype(np.float64) * np.float64(by), inner.astype(np.float64)), made)


def requantise(q: Array, zero: int, factor: Array, offset: Array) -> Array:
    """Bytes by a factor, in NumPy.

    >>> requantise(np.uint8([9, 200]), 1, np.float32(0.5), np.float32(3))
    array([  7, 102], dtype=uint8)
    """
    products = (q.astype(np.float64) - zero) * np.asarray(factor, np.float64)
    add_up = _add_plainly if _float64_holds(factor, offset) else _add_rounding_once
    return _saturate(add_up(products, np.asarray(offset, np.float64)), q.dtype)


def _float64_holds(*numbers: Array) -> bool:
    """Whether float64 surely holds sums of bytes times float32 numbers: of up to three of them."""
    sizes = np.concatenate([np.abs(np.asarray(each, np.float32)).reshape(-1) for each in numbers])
    sizes = sizes[sizes > 0]
    return not sizes.size or bool(2.0**10 * float(sizes.max()) <= 2.0**53 * float(np.spacing(sizes.min())))


def _add_plainly(a: Array, b: Array) -> Array:
    made: Array = (a + b).astype(np.float32)
    return made


def _add_rounding_once(a: Array, b: Array) -> Array:
    """Sums of numbers in float64, rounded once to float32, as an FMA does of an exact product.

    Where float64 rounds as well, the last bit is made odd: no such number lies in the middle between two of float32
    (Boldo and Melquiond, 2008).

    >>> a, b = np.array([126.5]), np.array([2.0**-18 + 2.0**-48])
    >>> float((a + b).astype(np.float32)[0]), float(_add_rounding_once(a, b)[0])
    (126.5, 126.50000762939453)
    """
    sums = np.asarray(a + b)
    beside = sums - a
    lost = (a - (sums - beside)) + (b - beside)
    if lost.any():
        even = (lost != 0) & (sums.view(np.int64) & 1 == 0)
        sums = np.where(even, np.nextafter(sums, np.copysign(np.inf, lost)), sums)
    made: Array = sums.astype(np.float32)
    return made


def _saturate(sums: Array, made: np.dtype[Any]) -> Array:
    limits = np.iinfo(made)
    return np.asarray(np.clip(np.rint(sums), limits.min, limits.max).astype(made))


__all__ = ["requantise", "weigh"]
