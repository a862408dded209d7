"""Derivatives of images, as scipy.ndimage has them: differences, and normal distributions.

sobel, prewitt                  -1 0 1 along one axis, 1 2 1 or 1 1 1 along the others
laplace                         1 -2 1 along each axis, added up: one product with a cross of weights
gaussian_laplace                second derivatives of a normal distribution along each axis, added up
gaussian_gradient_magnitude     the root of the sum of the squares of first ones
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    Window,
    make_output,
    numpy_border,
    read_axes,
    read_axis,
    read_input,
    read_per_axis,
    spread_over_axes,
)
from .chains import along_axis, gaussian_weights, run_chains
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
    x = read_input(input)
    out = make_output(output, x, complex_output=x.dtype.kind == "c")
    along = read_axes(axes, x.ndim)
    if not along:
        return run_chains(x, out, [[]], [], cval, compute)
    modes = spread_over_axes(
        [numpy_border(m) for m in read_per_axis(mode, len(along))], along, x.ndim, "edge"
    )
    cross = np.zeros(tuple(3 if a in along else 1 for a in range(x.ndim)))
    for a in along:
        for at, value in enumerate((1.0, -2.0, 1.0)):
            cross[tuple(at if b == a else int(b in along) for b in range(x.ndim))] += value
    step = Correlation(cross, tuple(int(a in along) for a in range(x.ndim)), exact=True)
    return run_chains(x, out, [[step]], modes, cval, compute)


def gaussian_laplace(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    truncate: float = 4.0, radius: Any = None, compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.gaussian_laplace: second derivatives of normal distributions, added up.

    >>> gaussian_laplace([0.0, 0.0, 1.0, 0.0, 0.0], 1.0).round(2)
    array([ 0.2,  0. , -0.4,  0. ,  0.2])
    """
    return _derivatives(input, sigma, 2, output, Window(mode, cval, 0, axes), (truncate, radius), compute)


def gaussian_gradient_magnitude(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None,
    truncate: float = 4.0, radius: Any = None, compute: str | None = None,
) -> Array:  # fmt: skip
    """scipy.ndimage.gaussian_gradient_magnitude: the root of the sum of the squares of first derivatives.

    >>> gaussian_gradient_magnitude([0.0, 0.0, 1.0, 0.0, 0.0], 1.0).round(2)
    array([0.09, 0.24, 0.  , 0.24, 0.09])
    """
    return _derivatives(input, sigma, 1, output, Window(mode, cval, 0, axes), (truncate, radius), compute)


def _gradient(
    input: Any, axis: int, output: Any, mode: Any, cval: Any, compute: str | None, smooth: list[float]
) -> Array:
    """Differences along one axis, smoothed along the others."""
    x = read_input(input)
    at = read_axis(axis, x.ndim)
    out = make_output(output, x, complex_output=x.dtype.kind == "c")
    modes = [numpy_border(m) for m in read_per_axis(mode, x.ndim)]
    others = (a for a in range(x.ndim) if a != at)
    chain = [along_axis([-1.0, 0.0, 1.0], at, x.ndim), *(along_axis(smooth, a, x.ndim) for a in others)]
    return run_chains(x, out, [chain], modes, cval, compute)


def _derivatives(
    input: Any,
    sigma: Any,
    order: int,
    output: Any,
    window: Window,
    reach: tuple[float, Any],
    compute: str | None,
) -> Array:
    """Normal distributions' derivatives along each axis in turn: their sum (order 2), or its root over squares (1)."""
    x = read_input(input)
    out = make_output(output, x)
    along = read_axes(window.axes, x.ndim)
    sigmas = spread_over_axes(read_per_axis(sigma, len(along)), along, x.ndim, 0)
    given = read_per_axis(window.mode, len(along))
    if not along:
        out[...] = x
        return out
    modes = [(numpy_border(m),) * x.ndim for m in given]
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
        return run_chains(x, out, chains, modes[0], window.cval, compute, magnitude=order == 1)
    parts = [
        run_chains(x, np.empty(x.shape, out.dtype), [each], m, window.cval, compute)
        for each, m in zip(chains, modes, strict=True)
    ]
    return _combined(parts, out, squared=order == 1)


def _combined(parts: list[Array], out: Array, squared: bool) -> Array:
    """The sum of the parts, or the root of the sum of their squares, in a type whose overflows are to be seen."""
    for number, part in enumerate(parts):
        if squared:
            np.multiply(part, part, out=part)
        if number:
            out += part
        else:
            out[...] = part
    if squared:
        np.sqrt(out, out=out, casting="unsafe")
    return out


__all__ = ["gaussian_gradient_magnitude", "gaussian_laplace", "laplace", "prewitt", "sobel"]
