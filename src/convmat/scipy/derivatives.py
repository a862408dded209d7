"""Derivatives of images, as scipy.ndimage has them: differences, and normal distributions.

sobel, prewitt                  -1 0 1 along one axis, 1 2 1 or 1 1 1 along the others
laplace                         1 -2 1 along each axis, added up: one product with a cross of weights
gaussian_laplace                second derivatives of a normal distribution along each axis, added up
gaussian_gradient_magnitude     the root of the sum of the squares of first ones
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    WindowPlaces,
    make_output,
    numpy_border,
    read_axes,
    read_axis,
    read_per_axis,
    spread_over_axes,
)
from .chains import along_axis, gaussian_weights, make_chains
from .ready import Copy, Filter, run_ready
from .steps import Correlation
from .strips import Chain

Array = npt.NDArray[Any]


def sobel(
    input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *,
    compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.sobel: differences along one axis, smoothed by 1 2 1 along the others.

    >>> sobel([[0, 0, 1], [0, 0, 1], [0, 0, 1]])
    array([[0, 4, 4],
           [0, 4, 4],
           [0, 4, 4]])
    """
    return _gradient(input, axis, output, mode, cval, compute, [1.0, 2.0, 1.0])


def prewitt(
    input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *,
    compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.prewitt: differences along one axis, summed over three along the others.

    >>> prewitt([[0, 0, 1], [0, 0, 1], [0, 0, 1]])
    array([[0, 3, 3],
           [0, 3, 3],
           [0, 3, 3]])
    """
    return _gradient(input, axis, output, mode, cval, compute, [1.0, 1.0, 1.0])


def laplace(
    input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.laplace: second differences along all axes, added up; one product with a cross of weights.

    >>> laplace([0, 0, 1, 0])
    array([ 0,  1, -2,  1])
    """
    x = np.asarray(input)
    out = make_output(output, x)

    def make() -> Filter:
        along = read_axes(axes, x.ndim)
        if not along:
            return Copy()
        modes = spread_over_axes(
            [numpy_border(m) for m in read_per_axis(mode, len(along))], along, x.ndim, "edge"
        )
        cross = np.zeros(tuple(3 if a in along else 1 for a in range(x.ndim)))
        for a in along:
            for at, value in enumerate((1.0, -2.0, 1.0)):
                cross[tuple(at if b == a else int(b in along) for b in range(x.ndim))] += value
        step = Correlation(cross, tuple(int(a in along) for a in range(x.ndim)), exact=True)
        fractions = x.dtype.kind not in "biu" or ("constant" in modes and cval != np.rint(cval))
        if out.dtype.kind in "biu" and fractions:
            part = np.empty(x.shape, out.dtype)  # fractions are cut axis by axis
            each_axis = [[along_axis([1.0, -2.0, 1.0], a, x.ndim)] for a in along]
            return _Combined(
                [make_chains(x, part, [c], modes, cval, compute) for c in each_axis], squared=False
            )
        return make_chains(x, out, [[step]], modes, cval, compute)

    return run_ready("laplace", (mode, cval, axes, compute), x, out, make)


def gaussian_laplace(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    truncate: float = 4.0, radius: Any = None, compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.gaussian_laplace: second derivatives of normal distributions, added up.

    >>> gaussian_laplace([0.0, 0.0, 1.0, 0.0, 0.0], 1.0).round(2)
    array([ 0.2,  0. , -0.4,  0. ,  0.2])
    """
    return _derivatives(
        input, sigma, 2, output, WindowPlaces(mode, cval, 0, axes), (truncate, radius), compute
    )


def gaussian_gradient_magnitude(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    truncate: float = 4.0, radius: Any = None, compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.gaussian_gradient_magnitude: the root of the sum of the squares of first derivatives.

    >>> gaussian_gradient_magnitude([0.0, 0.0, 1.0, 0.0, 0.0], 1.0).round(2)
    array([0.09, 0.24, 0.  , 0.24, 0.09])
    """
    return _derivatives(
        input, sigma, 1, output, WindowPlaces(mode, cval, 0, axes), (truncate, radius), compute
    )


def _gradient(
    input: Any, axis: int, output: Any, mode: Any, cval: Any, compute: str | None, smooth: list[float]
) -> Array:
    """Differences along one axis, smoothed along the others."""
    x = np.asarray(input)
    out = make_output(output, x)

    def make() -> Filter:
        at = read_axis(axis, x.ndim)
        modes = [numpy_border(m) for m in read_per_axis(mode, x.ndim)]
        others = (a for a in range(x.ndim) if a != at)
        chain = [along_axis([-1.0, 0.0, 1.0], at, x.ndim), *(along_axis(smooth, a, x.ndim) for a in others)]
        return make_chains(x, out, [chain], modes, cval, compute)

    return run_ready("gradient", (axis, mode, cval, compute, smooth), x, out, make)


def _derivatives(
    input: Any,
    sigma: Any,
    order: int,
    output: Any,
    window: WindowPlaces,
    reach: tuple[float, Any],
    compute: str | None,
) -> Array:
    """Normal distributions' derivatives along each axis in turn: their sum (order 2), or its root over squares (1)."""
    x = np.asarray(input)
    out = make_output(output, x)
    given = (order, sigma, window.mode, window.cval, window.axes, *reach, compute)
    return run_ready(
        "derivatives", given, x, out, lambda: _make(x, out, sigma, order, window, reach, compute)
    )


def _make(
    x: Array,
    out: Array,
    sigma: Any,
    order: int,
    window: WindowPlaces,
    reach: tuple[float, Any],
    compute: str | None,
) -> Filter:
    """The filter of `_derivatives`: one where its chains can be added up, else one for each axis."""
    along = read_axes(window.axes, x.ndim)
    # SciPy's magnitude smooths along all axes, also where it derives along some.
    everywhere = order == 1 and (np.ndim(sigma) == 0 or np.size(sigma) == x.ndim)
    spread = tuple(range(x.ndim)) if everywhere else along
    sigmas = spread_over_axes(read_per_axis(sigma, len(spread)), spread, x.ndim, 0)
    if not along:
        return Copy()
    modes = [(numpy_border(m),) * x.ndim for m in read_per_axis(window.mode, len(along))]
    radii = read_per_axis(reach[1], x.ndim)

    def chain(derived: int) -> Chain:
        return [
            along_axis(
                gaussian_weights(sigmas[a], order if a == derived else 0, reach[0], radii[a]), a, x.ndim
            )
            for a in range(x.ndim)
            if sigmas[a] > 1e-15
        ]

    chains = [chain(a) for a in along]
    if out.dtype.kind == "f" and x.dtype.kind != "c" and chains[0] and len(set(modes)) == 1:
        return make_chains(x, out, chains, modes[0], window.cval, compute, magnitude=order == 1)
    part = np.empty(x.shape, out.dtype)
    filters = [
        make_chains(x, part, [each], m, window.cval, compute) for each, m in zip(chains, modes, strict=True)
    ]
    return _Combined(filters, squared=order == 1)


@dataclass(frozen=True)
class _Combined:
    """Filters whose results are added up, or the root of the sum of their squares."""

    filters: list[Filter]
    squared: bool

    @property
    def nbytes(self) -> int:
        """Bytes that they hold."""
        return sum(each.nbytes for each in self.filters)

    def __call__(self, x: Array, out: Array) -> None:
        """Compute in the output's type, whose overflows are to be seen."""
        if np.may_share_memory(x, out):
            x = x.copy()
        for number, each in enumerate(self.filters):
            part = np.empty(x.shape, out.dtype)
            each(x, part)
            if self.squared:
                np.multiply(part, part, out=part)
            if number:
                out += part
            else:
                out[...] = part
        if self.squared:
            np.sqrt(out, out=out, casting="unsafe")


__all__ = ["gaussian_gradient_magnitude", "gaussian_laplace", "laplace", "prewitt", "sobel"]
