"""The convolutions of scipy.signal.

    convolve     y[j] = sum over i of  x[i] * w[j - i]            all of it ("full"), its middle ("same"), or where
    correlate    y[j] = sum over i of  x[i] * conj(w[i - j])      the arrays lie in each other wholly ("valid")

The planner chooses how: directly, or through Fourier transforms of tiles where their rounding is within bounds. So
`fftconvolve` and `oaconvolve` are one function here, integers stay exact, and a NaN stays where it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from . import products
from .borders import lay_part

Array = npt.NDArray[Any]

MODES = ("valid", "same", "full")
BOUNDARIES = {
    **dict.fromkeys(("fill", "pad"), "constant"),
    **dict.fromkeys(("wrap", "circular"), "wrap"),
    **dict.fromkeys(("symm", "symmetric"), "symmetric"),
}
"""SciPy's names of boundaries, and NumPy's."""


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Array:
    """scipy.signal.convolve: "direct" multiplies as the definition says; "auto" and "fft" leave it to the planner.

    >>> convolve([1, 2, 3], [0, 1, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    x, w = np.asarray(in1), np.asarray(in2)
    if x.ndim == w.ndim == 0:
        return x * w  # type: ignore[no-any-return]  # a scalar, as SciPy gives
    if x.ndim != w.ndim:
        raise ValueError("volume and kernel should have the same dimensionality")
    x, w = _in_order(x, w, mode, range(x.ndim))
    if method not in ("auto", "direct", "fft"):
        raise ValueError("Acceptable method flags are 'auto', 'direct', or 'fft'.")
    return _part(x, w, mode, exact=method == "direct")


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Array:
    """scipy.signal.correlate: the convolution with in2 flipped and conjugated.

    >>> correlate([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    x, w = np.asarray(in1), np.asarray(in2)
    if x.ndim == w.ndim == 0:
        return x * w.conj()  # type: ignore[no-any-return]  # a scalar, as SciPy gives
    if x.ndim != w.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    if mode not in MODES:
        raise ValueError("Acceptable mode flags are 'valid', 'same', or 'full'.")
    return convolve(x, _flip(w).conj(), mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Array:
    """scipy.signal.fftconvolve: along `axes`; along the others the arrays are multiplied, and broadcast.

    >>> fftconvolve([[1.0, 2.0, 3.0]], [[0.0, 1.0, 0.5]], axes=1)
    array([[0. , 1. , 2.5, 4. , 1.5]])
    """
    x, w = np.asarray(in1), np.asarray(in2)
    if x.ndim == w.ndim == 0:
        return x * w  # type: ignore[no-any-return]  # a scalar, as SciPy gives
    if x.ndim != w.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    if not x.size or not w.size:
        return np.asarray([])
    along = _read_axes(axes, x.ndim)
    along = [a for a in along if x.shape[a] != 1 and w.shape[a] != 1]
    if not all(
        x.shape[a] == w.shape[a] or 1 in (x.shape[a], w.shape[a]) for a in range(x.ndim) if a not in along
    ):
        raise ValueError(f"incompatible shapes for in1 and in2: {x.shape} and {w.shape}")
    x, w = _in_order(x, w, mode, along)
    if mode not in MODES:
        raise ValueError("acceptable mode flags are 'valid', 'same', or 'full'")
    return _along(x, w, mode, along)


def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Array:
    """scipy.signal.oaconvolve: `fftconvolve`, whose transforms are of tiles anyway.

    >>> oaconvolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    return fftconvolve(in1, in2, mode, axes)


def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Array:
    """scipy.signal.convolve2d: in1 continued beyond its edges by a value, around, or by its mirror image.

    >>> convolve2d([[1, 2], [3, 4]], [[1, 1]], mode="same", boundary="wrap")
    array([[3, 3],
           [7, 7]])
    """
    x, w = np.asarray(in1), np.asarray(in2)
    if not x.ndim == w.ndim == 2:
        raise ValueError("convolve2d inputs must both be 2-D arrays")
    x, w = _in_order(x, w, mode, (0, 1))
    return _continue_edges(x, w, mode, boundary, fillvalue)


def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Array:
    """scipy.signal.correlate2d: `convolve2d` with in2 flipped and conjugated.

    >>> correlate2d([[1, 2], [3, 4]], [[1, 1]], mode="valid")
    array([[3],
           [7]])
    """
    x, w = np.asarray(in1), np.asarray(in2)
    if not x.ndim == w.ndim == 2:
        raise ValueError("correlate2d inputs must both be 2-D arrays")
    ordered, other = _in_order(x, w, mode, (0, 1))
    made = _continue_edges(ordered, _flip(other.conj()), mode, boundary, fillvalue, late=True)
    return made if ordered is x else _flip(made)


# -- what they share -------------------------------------------------------------------------------------------------


def _in_order(x: Array, w: Array, mode: str, axes: Any) -> tuple[Array, Array]:
    """The arrays, for "valid" the larger one first."""
    if mode != "valid" or not x.shape:
        return x, w
    fits = all(x.shape[a] >= w.shape[a] for a in axes)
    if not fits and not all(w.shape[a] >= x.shape[a] for a in axes):
        raise ValueError("For 'valid' mode, one must be at least as large as the other in every dimension")
    return (x, w) if fits else (w, x)


def _flip(array: Array) -> Array:
    return array[(slice(None, None, -1),) * array.ndim]


def _read_axes(axes: Any, rank: int) -> list[int]:
    """The axes as SciPy's transforms read them."""
    if axes is None:
        return list(range(rank))
    given = [axes] if np.ndim(axes) == 0 else list(axes)
    if not given:
        raise ValueError("when provided, axes cannot be empty")
    if any(isinstance(a, float) or np.ndim(a) for a in given):
        raise ValueError("axes must be a scalar or iterable of integers")
    if any(not -rank <= a < rank for a in given):
        raise ValueError("axes exceeds dimensionality of input")
    found = [int(a) % rank for a in given]
    if len(set(found)) != len(found):
        raise ValueError("all axes must be unique")
    return found


def _region(i: int, f: int, mode: str, late: bool = False) -> tuple[int, int]:
    """Where the wanted part of the full result begins, and how long it is.

    late: of two middles of a window of even size, the one behind, as correlate2d has it.

    >>> [_region(5, 3, mode) for mode in ("full", "same", "valid")]
    [(0, 7), (1, 5), (2, 3)]
    """
    if mode == "full":
        return 0, i + f - 1
    if mode == "same":
        return (f - 1 + late) // 2, i
    if mode == "valid":
        return f - 1, i - f + 1
    raise ValueError("Acceptable mode flags are 'valid', 'same', or 'full'.")


def _part(x: Array, w: Array, mode: str, exact: bool = False, late: bool = False) -> Array:
    """The wanted part of the convolution of two arrays along all axes; the smaller one is the weights."""
    start, shape = zip(
        *(_region(i, f, mode, late) for i, f in zip(x.shape, w.shape, strict=True)), strict=True
    )
    if 0 in shape or not x.size or not w.size:
        return np.zeros(shape, np.result_type(x, w))
    image, filters = (x, w) if w.size <= x.size else (w, x)
    made = products.convolve(image[None, None], filters[None, None], start, shape, exact=exact)
    return np.asarray(made[0, 0])


def _along(x: Array, w: Array, mode: str, along: list[int]) -> Array:
    """The convolution along some axes, a product along the others: these become a batch, filters, or groups."""
    rank = x.ndim
    others = [a for a in range(rank) if a not in along]
    apart = tuple(max(x.shape[a], w.shape[a]) for a in others)
    if not along:
        made = x * w
    else:
        x, w = (a.astype(np.float64) if a.dtype.kind in "biuO" else a for a in (x, w))
        regions = [_region(x.shape[a], w.shape[a], mode) for a in along]
        start, shape = zip(*regions, strict=True)
        order = (*others, *along)
        made = _batch(x.transpose(order), w.transpose(order), start, shape)
        made = np.moveaxis(made.reshape(*apart, *shape), range(len(others), rank), along)
    if mode == "same":  # also along axes on which x has one element and w more
        made = made[
            tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(made.shape, x.shape, strict=True))
        ]
    return np.ascontiguousarray(made)


def _batch(x: Array, w: Array, start: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """x: (*N, *I), w: (*N, *F), which broadcast -> (prod N, *shape)."""
    rank = len(shape)
    apart = x.shape[: x.ndim - rank], w.shape[: w.ndim - rank]
    if math.prod(apart[1]) == 1:
        filters = w.reshape(1, 1, *w.shape[w.ndim - rank :])
        return products.convolve(x.reshape(-1, 1, *x.shape[x.ndim - rank :]), filters, start, shape)
    if math.prod(apart[0]) == 1:
        return _batch(w, x, start, shape)
    common = np.broadcast_shapes(*apart)
    x, w = (np.broadcast_to(a, (*common, *a.shape[a.ndim - rank :])) for a in (x, w))
    image = x.reshape(1, -1, *x.shape[len(common) :])
    filters = w.reshape(-1, 1, *w.shape[len(common) :])
    return products.convolve(image, filters, start, shape, groups=image.shape[1])


def _continue_edges(
    x: Array, w: Array, mode: str, boundary: str, fillvalue: Any, late: bool = False
) -> Array:
    """The convolution of x, continued beyond its edges."""
    if mode not in MODES:
        raise ValueError("Acceptable mode flags are 'valid', 'same', or 'full'.")
    if boundary not in BOUNDARIES:
        raise ValueError(
            "Acceptable boundary flags are 'fill', 'circular' (or 'wrap'), and 'symmetric' (or 'symm')."
        )
    kind = np.result_type(x, w)
    fill = _fill(fillvalue, kind) if BOUNDARIES[boundary] == "constant" else 0
    regions = [_region(i, f, mode, late) for i, f in zip(x.shape, w.shape, strict=True)]
    shape = tuple(n for _, n in regions)
    if mode == "valid" or (BOUNDARIES[boundary] == "constant" and not fill):
        return _part(x, w, mode, exact=True, late=late)
    if 0 in shape or not w.size:
        return np.zeros(shape, kind)
    lo = tuple(f - 1 - first for (first, _), f in zip(regions, w.shape, strict=True))
    hi = tuple(first + n - i for (first, n), i in zip(regions, x.shape, strict=True))
    padded = np.empty(tuple(a + i + b for a, i, b in zip(lo, x.shape, hi, strict=True)), kind)
    lay_part(x.shape, [-n for n in lo], padded.shape, (BOUNDARIES[boundary],) * 2, fill)(x, padded)
    return _part(padded, w, "valid", exact=True)


def _fill(value: Any, kind: np.dtype[Any]) -> Any:
    """The value outside an array, of the result's type."""
    given = np.asarray(value)
    if given.size != 1:
        raise ValueError("`fillvalue` must be scalar or an array with one element.")
    if given.dtype.kind not in "biufc" or (given.dtype.kind == "c" and kind.kind != "c"):
        raise ValueError(
            "could not cast `fillvalue` directly to the output type (it was first converted to complex)."
        )
    number = given.reshape(()).item()
    if kind.kind == "c":
        return number
    return np.real(number) if kind.kind == "f" else int(np.real(number))


__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve", "oaconvolve"]
