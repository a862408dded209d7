"""The filters of scipy.ndimage that are convolutions, or maxima and minima of windows.

    correlate   y[p] = sum over f of  w[f] * x[p + f - F//2 - origin]        x is continued beyond its edges by `mode`
    convolve    the same with w flipped
    others      products of one-dimensional ones: gaussian, sobel, prewitt, uniform; sums of those: laplace

Arguments, results and errors are SciPy's: sums are taken in float64 and rounded to the output's type, or cut to
integers that wrap around. Keywords of ours:

    compute                     "float32" takes sums in float32, in about half the time
    missing, normalize          "nan", or a mask of what is missing: means over what is there (see `convmat.conv`)
    filters, stride, dilation   many filters in one call, every s-th result, taps d apart
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import (
    WindowPlaces,
    make_output,
    numpy_border,
    read_axes,
    read_axis,
    read_origin,
    read_per_axis,
    spread_over_axes,
)
from .banks import filter_bank
from .chains import along_axis, gaussian_weights, make_chains, mean_along
from .derivatives import gaussian_gradient_magnitude, gaussian_laplace, laplace, prewitt, sobel
from .extrema import maximum_filter, maximum_filter1d, minimum_filter, minimum_filter1d
from .holes import filter_present
from .linear import filter_dense, make_filter, require_cval
from .ready import Filter, run_ready
from .strips import Borders, Chain

Array = npt.NDArray[Any]

BAD_ORIGIN_1D = "Invalid origin; origin must satisfy -(len(weights) // 2) <= origin <= (len(weights)-1) // 2"


def correlate(
    input: Any, weights: Any = None, output: Any = None, mode: str = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None, compute: str | None = None, rtol: float | None = None,
    missing: Any = None,
    normalize: bool = True,
    filters: Any = None,
    stride: Any = 1,
    dilation: Any = 1,
) -> Array:  # fmt: skip
    """scipy.ndimage.correlate: weights are laid over x as they are.

    Weights of low rank, within `rtol` (1e-14 by default), are taken apart into filters along one axis each. Raises
    RuntimeError and ValueError as SciPy does.

    >>> correlate([1.0, 2.0, 4.0], [1.0, 10.0, 100.0])
    array([211., 421., 442.])
    """
    return _filter(
        input, weights, output, WindowPlaces(mode, cval, origin, axes), (filters, stride, dilation),
        (missing, normalize), compute, rtol, flip=False,
    )  # fmt: skip


def convolve(
    input: Any, weights: Any = None, output: Any = None, mode: str = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None, compute: str | None = None, rtol: float | None = None,
    missing: Any = None,
    normalize: bool = True,
    filters: Any = None,
    stride: Any = 1,
    dilation: Any = 1,
) -> Array:  # fmt: skip
    """scipy.ndimage.convolve: weights are flipped first; see `correlate`.

    >>> convolve([1.0, 2.0, 4.0], [1.0, 10.0, 100.0])
    array([112., 124., 244.])
    """
    return _filter(
        input, weights, output, WindowPlaces(mode, cval, origin, axes), (filters, stride, dilation),
        (missing, normalize), compute, rtol, flip=True,
    )  # fmt: skip


def correlate1d(
    input: Any, weights: Any, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: int = 0, *, compute: str | None = None,
    missing: Any = None,
    normalize: bool = True,
) -> Array:  # fmt: skip
    """scipy.ndimage.correlate1d: weights of one axis along `axis`.

    >>> correlate1d([2.0, 8.0, 0.0], [1.0, 3.0])
    array([ 8., 26.,  8.])
    """
    if missing is not None:
        return filter_present(
            lambda x, around: correlate1d(x, weights, axis, None, mode, around, origin, compute=compute),
            input, output, cval, missing, normalize, np.asarray(weights),
        )  # fmt: skip
    x, w = np.asarray(input), np.asarray(weights)
    require_cval(x, w, cval)
    out = make_output(output, x, complex_output=x.dtype.kind == "c" or w.dtype.kind == "c")

    def make() -> Filter:
        taps = w.conj().astype(np.complex128) if w.dtype.kind == "c" else w.astype(np.float64)
        if taps.ndim != 1 or taps.shape[0] < 1:
            raise RuntimeError("no filter weights given")
        at = read_axis(axis, x.ndim)
        before = len(taps) // 2 + read_origin(origin, len(taps), BAD_ORIGIN_1D)
        borders = Borders(tuple(spread_over_axes([numpy_border(mode)], (at,), x.ndim, "edge")), cval)

        def chains(part: Array) -> list[Chain]:
            return [[along_axis(part, at, x.ndim, before, exact=out.dtype.kind in "biu")]]

        return make_filter(x, taps, out, chains, borders, compute)

    return run_ready("correlate1d", (w, axis, mode, cval, origin, compute), x, out, make)


def convolve1d(
    input: Any, weights: Any, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: int = 0, *, compute: str | None = None,
    missing: Any = None,
    normalize: bool = True,
) -> Array:  # fmt: skip
    """scipy.ndimage.convolve1d: `correlate1d` with flipped weights.

    >>> convolve1d([2.0, 8.0, 0.0], [1.0, 3.0])
    array([14., 24.,  0.])
    """
    if missing is not None:
        return filter_present(
            lambda x, around: convolve1d(x, weights, axis, None, mode, around, origin, compute=compute),
            input, output, cval, missing, normalize, np.asarray(weights),
        )  # fmt: skip
    w = np.asarray(weights)[::-1]
    w = w.conj() if w.dtype.kind == "c" else w
    return correlate1d(input, w, axis, output, mode, cval, -origin - (len(w) + 1) % 2, compute=compute)


def gaussian_filter1d(
    input: Any, sigma: float, axis: int = -1, order: int = 0, output: Any = None, mode: str = "reflect",
    cval: Any = 0.0, truncate: float = 4.0, *, radius: int | None = None, compute: str | None = None,
    missing: Any = None,
    normalize: bool = True,
) -> Array:  # fmt: skip
    """scipy.ndimage.gaussian_filter1d: a normal distribution of deviation `sigma`, or a derivative of it.

    >>> gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(2)
    array([1.43, 2.07, 3.  , 3.93, 4.57])
    """
    if missing is not None:
        return filter_present(
            lambda x, around: gaussian_filter1d(
                x, sigma, axis, order, None, mode, around, truncate, radius=radius, compute=compute
            ),
            input, output, cval, missing, normalize, _sums_to(order),
        )  # fmt: skip
    x = np.asarray(input)
    out = make_output(output, x, complex_output=x.dtype.kind == "c")

    def make() -> Filter:
        at = read_axis(axis, x.ndim)
        modes = spread_over_axes([numpy_border(mode)], (at,), x.ndim, "edge")
        weights = gaussian_weights(sigma, order, truncate, radius)
        step = along_axis(weights, at, x.ndim, exact=out.dtype.kind in "biu")
        return make_chains(x, out, [[step]], modes, cval, compute)

    given = (sigma, axis, order, mode, cval, truncate, radius, compute)
    return run_ready("gaussian_filter1d", given, x, out, make)


def gaussian_filter(
    input: Any, sigma: Any, order: Any = 0, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    truncate: float = 4.0, *, radius: Any = None, axes: Any = None, compute: str | None = None,
    missing: Any = None,
    normalize: bool = True,
) -> Array:  # fmt: skip
    """scipy.ndimage.gaussian_filter: one-dimensional ones along each axis.

    >>> gaussian_filter(np.eye(3), 1).round(2)
    array([[0.5 , 0.33, 0.17],
           [0.33, 0.34, 0.33],
           [0.17, 0.33, 0.5 ]])
    """
    if missing is not None:
        return filter_present(
            lambda x, around: gaussian_filter(
                x, sigma, order, None, mode, around, truncate, radius=radius, axes=axes, compute=compute
            ),
            input, output, cval, missing, normalize, _sums_to(order),
        )  # fmt: skip
    x = np.asarray(input)
    out = make_output(output, x)

    def make() -> Filter:
        along = read_axes(axes, x.ndim)
        each_axis = zip(*(read_per_axis(v, len(along)) for v in (order, sigma, mode, radius)), strict=True)
        wanted = [(a, *each) for a, each in zip(along, each_axis, strict=True) if each[1] > 1e-15]
        chain = [along_axis(gaussian_weights(s, n, truncate, r), a, x.ndim) for a, n, s, _, r in wanted]
        modes = spread_over_axes(
            [numpy_border(m) for _, _, _, m, _ in wanted], tuple(each[0] for each in wanted), x.ndim, "edge"
        )
        return make_chains(x, out, [chain], modes, cval, compute)

    given = (sigma, order, mode, cval, truncate, radius, axes, compute)
    return run_ready("gaussian_filter", given, x, out, make)


def uniform_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: int = 0, *, compute: str | None = None,
    missing: Any = None,
    normalize: bool = True,
) -> Array:  # fmt: skip
    """scipy.ndimage.uniform_filter1d: the mean of `size` elements along one axis.

    >>> uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    if missing is not None:
        return filter_present(
            lambda x, around: uniform_filter1d(x, size, axis, None, mode, around, origin, compute=compute),
            input, output, cval, missing, normalize, np.ones(1),
        )  # fmt: skip
    x = np.asarray(input)
    out = make_output(output, x, complex_output=x.dtype.kind == "c")

    def make() -> Filter:
        at = read_axis(axis, x.ndim)
        if size < 1:
            raise RuntimeError("incorrect filter size")
        before = size // 2 + read_origin(origin, size, "invalid origin")
        modes = spread_over_axes([numpy_border(mode)], (at,), x.ndim, "edge")
        return make_chains(x, out, [[mean_along(size, at, before, x, out)]], modes, cval, compute)

    return run_ready("uniform_filter1d", (size, axis, mode, cval, origin, compute), x, out, make)


def uniform_filter(
    input: Any, size: Any = 3, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None, compute: str | None = None,
    missing: Any = None,
    normalize: bool = True,
) -> Array:  # fmt: skip
    """scipy.ndimage.uniform_filter: the mean of a box.

    >>> uniform_filter([[0, 0, 0], [0, 9, 0], [0, 0, 0]], 3)
    array([[1, 1, 1],
           [1, 1, 1],
           [1, 1, 1]])
    """
    if missing is not None:
        return filter_present(
            lambda x, around: uniform_filter(x, size, None, mode, around, origin, axes=axes, compute=compute),
            input, output, cval, missing, normalize, np.ones(1),
        )  # fmt: skip
    x = np.asarray(input)
    out = make_output(output, x, complex_output=x.dtype.kind == "c")

    def make() -> Filter:
        along = read_axes(axes, x.ndim)
        each_axis = zip(*(read_per_axis(v, len(along)) for v in (size, origin, mode)), strict=True)
        wanted = [(a, *each) for a, each in zip(along, each_axis, strict=True) if each[0] > 1]
        chain = [
            mean_along(int(n), a, int(n) // 2 + read_origin(o, int(n), "invalid origin"), x, out)
            for a, n, o, _ in wanted
        ]
        modes = spread_over_axes(
            [numpy_border(m) for *_, m in wanted], tuple(each[0] for each in wanted), x.ndim, "edge"
        )
        return make_chains(x, out, [chain], modes, cval, compute)

    return run_ready("uniform_filter", (size, mode, cval, origin, axes, compute), x, out, make)


# -- what they share -------------------------------------------------------------------------------------------------


def _filter(
    input: Any, weights: Any, output: Any, window: WindowPlaces, bank: tuple[Any, Any, Any], holes: tuple[Any, bool],
    compute: str | None, rtol: float | None, *, flip: bool,
) -> Array:  # fmt: skip
    """A correlation, or with `flip` a convolution; bank: (filters, stride, dilation), holes: (missing, normalize)."""
    filters, *steps = bank
    missing, normalize = holes
    if filters is not None or steps != [1, 1]:
        return _filter_bank(input, weights, filters, output, window, (steps[0], steps[1]), compute, flip=flip)
    if missing is None:
        return filter_dense(input, weights, output, window, compute, rtol, flip=flip)

    def apply(x: Array, around: Any) -> Array:
        return filter_dense(x, weights, None, replace(window, cval=around), compute, rtol, flip=flip)

    return filter_present(apply, input, output, window.cval, missing, normalize, np.asarray(weights))


def _filter_bank(
    input: Any, weights: Any, filters: Any, output: Any, window: WindowPlaces, steps: tuple[Any, Any],
    compute: str | None, *, flip: bool,
) -> Array:  # fmt: skip
    """Many filters, or one with a stride or a dilation, whose result has no axis of filters."""
    if (filters is None) == (weights is None):
        raise ValueError("give weights or filters=, one of them")
    if filters is not None:
        return filter_bank(input, filters, output, window, steps, compute, flip=flip)
    given = output[None] if isinstance(output, np.ndarray) else output
    made: Array = filter_bank(input, np.asarray(weights)[None], given, window, steps, compute, flip=flip)[0]
    return made if given is output else output


def _sums_to(order: Any) -> Array:
    """Weights with the sum of a normal distribution's derivative: 1, or 0 beside a size of 2."""
    return np.array([1.0, -1.0] if np.any(order) else [1.0])


__all__ = [
    "convolve", "convolve1d", "correlate", "correlate1d", "gaussian_filter", "gaussian_filter1d",
    "gaussian_gradient_magnitude", "gaussian_laplace", "laplace", "maximum_filter", "maximum_filter1d",
    "minimum_filter", "minimum_filter1d", "prewitt", "sobel", "uniform_filter", "uniform_filter1d",
]  # fmt: skip
