"""Maxima of windows: what MaxPool computes, as a product in the semiring of max and +.

    y[b, c, p] = max over f of  x[b, c, p*s + f*d - lo]        entries outside x are left out

The depthwise product with its sums replaced by maxima: the same windows, masks and threads, and no weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import EngineError, shorten_error
from ..geometry import Geometry
from ..lowering import ALL
from ..problem import Problem
from ..processes import OfThisProcess
from ..product import Packing
from .candidates import byte_limit, dtypes_of, operand_extents

if TYPE_CHECKING:
    from ..engine import JitProgram

Array = npt.NDArray[Any]


NOTHING = np.empty(0, np.uint8)
"""The weights of what has none."""


class Maxima(OfThisProcess):
    """Fills y: (B, C, *P) with the maxima of x: (B, C, *I). May be called from several threads at once."""

    def __init__(self, program: JitProgram) -> None:
        self.program = program
        self._launcher = program.launcher([(NOTHING, NOTHING) for _ in program.steps], {})

    def __call__(self, x: Array, y: Array) -> None:
        """x of any strides, y C-contiguous; both of the planned shapes and type."""
        assert y.flags.carray
        if not self._launcher.start(np.ascontiguousarray(x), y):
            self._launcher.start(x.copy(), y)  # they overlap

    def jobs(self, x: Array, y: Array) -> list[Any]:
        """The jobs of a call with these C-contiguous arrays, which do not overlap, for `pool.launch_all`."""
        return self._launcher.blocks(x, y, None, 0)


def maxima(geometry: Geometry, dtype: str, threads: int) -> Maxima | str:
    """The maxima of a geometry's windows, or the sentence why no kernel takes them.

    `geometry` is depthwise: C = O = G.

    >>> g = Geometry.of((1, 2, 4), (2, 1, 2), stride=2, groups=2)
    >>> x, y = np.array([[[1, 3, 2, 0], [5, 4, 8, 9]]], np.float32), np.empty((1, 2, 2), np.float32)
    >>> maxima(g, "float32", 1)(x, y)
    >>> y.tolist()
    [[[3.0, 2.0], [5.0, 9.0]]]
    """
    from ..engine import JitProgram, prepare

    problem = Problem.of(geometry, dtype, threads=threads)
    (depthwise,) = (way for way in ALL if way.name == "depthwise")
    products = tuple(replace(each, maximum=True) for each in depthwise.products(problem))
    known = dtypes_of(problem)
    if problem.integral:  # of which the largest is one of them, and float32 holds all
        known = replace(known, work=np.dtype(np.float32), out=known.array)
    program = prepare(
        "jit",
        products,
        Packing.NOTHING,
        known,
        operand_extents(problem),
        byte_limit(problem),
        threads=threads,
    )
    if not isinstance(program, JitProgram):
        return str(program)
    try:
        program.load()
    except EngineError as error:
        return shorten_error(error)
    return Maxima(program)


__all__ = ["Maxima", "maxima"]
