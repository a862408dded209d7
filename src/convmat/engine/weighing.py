"""Bytes that are rounded again, in NumPy: what kernels of `kernels.weighing` make, to the last bit.

y = saturate(round(a * by + (b * with + add)))        halves to even, two sums rounded to float32
q = saturate(round((q - zero) * factor + offset))     one sum rounded to float32
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .operands import Array


def weigh(a: Array, b: Array, by: Array, with_: Array, add: Array, made: np.dtype[Any]) -> Array:
    """Weighed sums in NumPy, for factors whose products with bytes float64 adds up exactly.

    >>> numbers = [np.float32(each) for each in (0.5, 2.0, 1.0)]
    >>> weigh(np.uint8([9, 200]), np.int8([-3, 100]), *numbers, np.dtype(np.uint8))
    array([  0, 255], dtype=uint8)
    """
    inner = (b.astype(np.float64) * np.float64(with_) + np.float64(add)).astype(np.float32)
    return _saturate(a.astype(np.float64) * np.float64(by) + inner, made)


def requantise(q: Array, zero: int, factor: Array, offset: Array) -> Array:
    """Bytes by a factor, in NumPy: exact where `weigh` is.

    >>> requantise(np.uint8([9, 200]), 1, np.float32(0.5), np.float32(3))
    array([  7, 102], dtype=uint8)
    """
    counted = q.astype(np.float64) - zero
    return _saturate(counted * np.asarray(factor, np.float64) + np.asarray(offset), q.dtype)


def _saturate(sums: Array, made: np.dtype[Any]) -> Array:
    limits = np.iinfo(made)
    return np.asarray(np.clip(np.rint(sums.astype(np.float32)), limits.min, limits.max).astype(made))


__all__ = ["requantise", "weigh"]
