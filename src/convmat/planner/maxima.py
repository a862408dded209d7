"""Maxima of windows: what MaxPool computes, as a product in the semiring of max and +.

    y[b, c, p] = max over f of  x[b, c, p*s + f*d - lo]        entries outside x are left out

The depthwise product with its sums replaced by maxima: the same windows, masks and threads, and no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EngineError
from ..geometry import Geometry
from ..lowering import ALL
from ..problem import Problem
from ..product import Packing
from .candidates import dtypes_of, extents, limit_of

Array = npt.NDArray[Any]


def maxima(geometry: Geometry, dtype: str, threads: int) -> Callable[[Array, Array], None] | str:
    """The function (x, y) that fills y: (B, C, *P), C-contiguous, or the sentence why no kernel does.

    `geometry` is depthwise: C = O = G.

    >>> g = Geometry.of((1, 2, 4), (2, 1, 2), stride=2, groups=2)
    >>> x, y = np.array([[[1, 3, 2, 0], [5, 4, 8, 9]]], np.float32), np.empty((1, 2, 2), np.float32)
    >>> maxima(g, "float32", 1)(x, y)
    >>> y.tolist()
    [[[3.0, 2.0], [5.0, 9.0]]]
    """
    from ..engine import jit

    problem = Problem.of(geometry, dtype, threads=threads)
    (depthwise,) = (way for way in ALL if way.name == "depthwise")
    products = tuple(replace(each, maximum=True) for each in depthwise.products(problem))
    known = dtypes_of(problem)
    program = jit.prepare(
        products, Packing.NOTHING, known, extents(problem), limit_of(problem), threads=threads
    )
    if isinstance(program, str):
        return program
    try:
        program.load()
    except EngineError as error:
        return str(error).splitlines()[0]
    launcher = program.launcher([np.empty(0, known.array) for _ in products], None)

    def fill(x: Array, y: Array) -> None:
        assert y.flags.carray
        if not launcher.start(np.ascontiguousarray(x), y):
            launcher.start(x.copy(), y)  # they overlap

    return fill


__all__ = ["maxima"]
