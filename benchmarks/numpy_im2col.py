"""The yardstick: im2col as one writes it with NumPy alone, the unrolled input stored whole.

    pad, then sliding_window_view -> (B, G, C/G, *P, *F), each s-th window, each d-th element
    U = (B, G, C/G * F, P)   one copy          A = (G, O/G, C/G * F)   w as it lies
    y = A @ U                one product (NumPy multiplies the stack of B * G matrices)

What `convmat.conv` with the blas engine must never be slower than.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.geometry import Geometry

Array = npt.NDArray[Any]


def convolve(x: Array, w: Array, g: Geometry) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F) -> (B, O, *P). Needs padding of at least 0 and no input dilation.

    >>> g = Geometry.of((1, 1, 3), (1, 1, 2))
    >>> convolve(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 1.0]]]), g)
    array([[[12., 23.]]])
    """
    assert set(g.e) <= {1}
    borders = tuple(zip(g.lo, g.hi, strict=True))
    padded = np.pad(x, ((0, 0), (0, 0), *borders)) if any(map(any, borders)) else x
    axes = tuple(range(2, 2 + g.rank))
    every: tuple[Any, ...] = (..., *(slice(None, None, step) for step in (*g.s, *g.d)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, g.reach, axes)[every]
    pixels, taps = axes, tuple(range(2 + g.rank, 2 + 2 * g.rank))
    unrolled = windows.transpose(0, 1, *taps, *pixels).reshape(g.B, g.G, g.k, math.prod(g.P))
    y: Array = w.reshape(g.G, g.m, g.k) @ unrolled
    return y.reshape(g.y_shape)
