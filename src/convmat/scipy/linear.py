"""Linear filters over arrays of any type: complex ones part by part, dense weights taken apart where that is quicker.

(x + iy) * (u + iv) = (x*u - y*v) + i (x*v + y*u)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .arguments import (
    Window,
    make_output,
    one_border,
    read_axes,
    read_input,
    read_origin,
    read_per_axis,
    spread_over_axes,
)
from .steps import Correlation
from .strips import Borders, Chain, run_strips

Array = npt.NDArray[Any]

RTOL = 1e-14
"""What terms may leave of weights that are taken apart, by default: float64's rounding of a sum."""

CHEAPER = 1.6
"""How many times fewer taps pay for a pass more over a strip."""

BAD_ORIGIN = (
    "Invalid origin; origin must satisfy -(weights.shape[k] // 2) <= origin[k] <= (weights.shape[k]-1) // 2"
)


def compute_type(name: str | None, x: Array) -> np.dtype[Any]:
    """The type that sums are taken in: float64, or float32 where that is asked for.

    >>> compute_type("float32", np.zeros(3, np.float32))
    dtype('float32')
    """
    if name not in (None, "float32", "float64"):
        raise ValueError(f"compute must be 'float32' or 'float64', got {name!r}")
    return np.dtype(name or np.float64)


def exact_in_float32(x: Array, out: Array, chains: Sequence[Chain], cval: Any) -> bool:
    """Whether everything on the way from small integers to integers is below 2^24, so that float32 rounds nothing."""
    if not (x.dtype.kind in "biu" and out.dtype.kind in "biu" and x.dtype.itemsize <= 2):
        return False
    if cval != np.rint(cval) or abs(cval) >= 2**16:
        return False
    for chain in chains:
        most = max(2.0 ** (8 * x.dtype.itemsize), abs(cval))
        for step in chain:
            if isinstance(step, Correlation):
                if not step.integral:
                    return False
                most *= float(np.abs(step.weights).sum())
            elif most * math.prod(step.sizes) >= 2**24:
                return False
            if most >= 2**24:
                return False
    return True


def require_cval(x: Array, w: Array, cval: Any) -> None:
    """Refuse a complex value around a real array."""
    if w.dtype.kind == "c" and x.dtype.kind != "c" and np.iscomplexobj(cval):
        raise ValueError("Cannot provide a complex-valued cval when the input is real.")


def run_parts(
    x: Array,
    w: Array,
    out: Array,
    chains: Callable[[Array], Sequence[Chain]],
    borders: Borders,
    work: np.dtype[Any],
    magnitude: bool = False,
) -> Array:
    """`chains` of w over x, real or complex: w's real and imaginary part each have chains of their own."""
    cval = borders.cval

    def part(of: Array, weights: Array, to: Array, value: Any) -> Array:
        made = chains(weights)
        small = work == np.float64 and exact_in_float32(of, to, made, value)
        kind = np.dtype(np.float32) if small else work
        run_strips(of, to, made, Borders(borders.modes, float(value)), work=kind, magnitude=magnitude)
        return to

    if x.dtype.kind != "c" and w.dtype.kind != "c":
        return part(x, w, out, cval)
    if x.dtype.kind != "c":
        source = x.copy() if np.may_share_memory(x, out) else x
        part(source, w.real, out.real, cval)
        part(source, w.imag, out.imag, cval)
        return out
    source = x.copy() if np.may_share_memory(x, out) else x
    part(source.real, w.real, out.real, np.real(cval))
    part(source.imag, w.real, out.imag, np.imag(cval))
    if w.dtype.kind == "c":
        other = np.empty(x.shape, out.real.dtype)
        out.real[...] -= part(source.imag, w.imag, other, np.imag(cval))
        out.imag[...] += part(source.real, w.imag, other, np.real(cval))
    return out


def filter_dense(
    input: Any,
    weights: Any,
    output: Any,
    window: Window,
    compute: str | None,
    rtol: float | None,
    *,
    flip: bool,
) -> Array:
    """Correlate, or with `flip` convolve, an array with weights of as many axes as `axes` names."""
    x, w = read_input(input), np.asarray(weights)
    is_complex = x.dtype.kind == "c" or w.dtype.kind == "c"
    require_cval(x, w, window.cval)
    out = make_output(output, x, complex_output=is_complex) if is_complex else None
    along = read_axes(window.axes, x.ndim)
    if w.dtype.kind != "c":
        w = w.astype(np.float64)
    elif not flip:
        w = w.conj()
    if len(along) < x.ndim and w.ndim != len(along):
        raise RuntimeError(f"weights.ndim ({w.ndim}) must match len(axes) ({len(along)})")
    origins = read_per_axis(window.origin, len(along))
    if len(along) < x.ndim:
        w = np.expand_dims(w, tuple(a for a in range(x.ndim) if a not in along))
        origins = spread_over_axes(origins, along, x.ndim, 0)
    extents = [n for n in w.shape if n > 0]
    if len(extents) != x.ndim:
        raise RuntimeError(f"weights.ndim ({len(extents)}) must match len(axes) ({len(along)})")
    if flip:
        w = w[(slice(None, None, -1),) * w.ndim]
        origins = [-o - (n + 1) % 2 for o, n in zip(origins, w.shape, strict=True)]
    lo = tuple(n // 2 + read_origin(o, n, BAD_ORIGIN) for o, n in zip(origins, w.shape, strict=True))
    out = make_output(output, x) if out is None else out
    borders = Borders(one_border(window.mode, x.ndim), window.cval)
    tolerance = RTOL if rtol is None else rtol
    whole = out.dtype.kind in "biu"
    return run_parts(
        x, w, out, lambda part: _chains(part, lo, tolerance, whole), borders, compute_type(compute, x)
    )


def _chains(weights: Array, lo: tuple[int, ...], tolerance: float, whole: bool) -> Sequence[Chain]:
    """Weights as they are, or their factors where these have far fewer taps.

    `whole`: results are cut to integers, for which factors must be exact. Integer weights have exact ones or none, so
    that whole numbers stay whole.
    """
    dense: list[Chain] = [[Correlation(np.ascontiguousarray(weights), lo, exact=whole)]]
    wide = [axis for axis, n in enumerate(weights.shape) if n > 1]
    lines = sum(weights.shape[a] for a in wide)
    most = int(math.prod(weights.shape) / (CHEAPER * lines)) if len(wide) > 1 else 0
    if not most:
        return dense
    small = np.ascontiguousarray(weights.reshape([weights.shape[a] for a in wide]))
    whole = whole or bool((small == np.rint(small)).all())
    exact = kernels.factorise_integers(small)
    terms = [exact] if exact else [] if whole else kernels.factorise(small, tolerance, most)
    if not terms:
        return dense
    rank = weights.ndim
    return [
        [
            Correlation(
                w.reshape(tuple(len(w) if b == a else 1 for b in range(rank))),
                tuple(lo[a] if b == a else 0 for b in range(rank)),
                exact=True,
            )
            for a, w in zip(wide, term, strict=True)
        ]
        for term in terms
    ]


__all__ = ["compute_type", "filter_dense", "require_cval", "run_parts"]
