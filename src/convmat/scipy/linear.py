"""Linear filters over arrays of any type: complex ones part by part, dense weights taken apart where that is quicker.

(x + iy) * (u + iv) = (x*u - y*v) + i (x*v + y*u)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .arguments import (
    WindowPlaces,
    make_output,
    one_border,
    read_axes,
    read_origin,
    read_per_axis,
    read_real_constant,
    require_types,
    spread_over_axes,
)
from .ready import Filter, run_ready
from .steps import Correlation
from .strips import Borders, Chain, Kind, Strips

Array = npt.NDArray[Any]
ChainsOf = Callable[[Array], Sequence[Chain]]

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


def most_of(dtype: np.dtype[Any]) -> float:
    """Bound that no element of a type is beyond.

    >>> most_of(np.dtype(np.uint8)), most_of(np.dtype(np.float32))
    (256.0, inf)
    """
    return 2.0 ** (8 * dtype.itemsize) if dtype.kind in "biu" else math.inf


def exact_in_float32(x: np.dtype[Any], out: np.dtype[Any], chains: Sequence[Chain], cval: float) -> bool:
    """Whether everything on the way from small integers to integers is below 2^24, so that float32 rounds nothing."""
    if not (x.kind in "biu" and out.kind in "biu" and x.itemsize <= 2):
        return False
    if cval != np.rint(cval) or abs(cval) >= 2**16:
        return False
    for chain in chains:
        most = max(most_of(x), abs(cval))
        for step in chain:
            if isinstance(step, Correlation):
                if not step.integral:
                    return False
                most *= step.gain
            elif most * math.prod(step.sizes) >= 2**24:
                return False
            if most >= 2**24:
                return False
    return True


def require_cval(x: Array, w: Array, cval: Any) -> None:
    """Refuse a complex value around a real array."""
    if w.dtype.kind == "c" and x.dtype.kind != "c" and np.iscomplexobj(cval):
        raise ValueError("Cannot provide a complex-valued cval when the input is real.")


def make_filter(
    x: Array,
    w: Array,
    out: Array,
    chains: ChainsOf,
    borders: Borders,
    compute: str | None,
    *,
    magnitude: bool = False,
) -> Filter:
    """`chains` of w over arrays like x, real or complex: w's real and imaginary part each have chains of their own."""
    require_types(x, out, complex_output=x.dtype.kind == "c" or w.dtype.kind == "c")
    work = compute_type(compute, x)

    def part(weights: Array, value: Any) -> Strips:
        of, to = x.real.dtype, out.real.dtype
        number = read_real_constant(value)
        around = replace(borders, cval=number)
        cut = borders.apart and to.kind in "biu" and of.kind not in "biu"
        made = chains(weights) if cut else fuse_short(chains(weights), to, around)
        small = work == np.float64 and exact_in_float32(of, to, made, number)
        lies = (
            x.dtype.kind != "c" and out.dtype.kind != "c" and x.flags.c_contiguous and out.flags.c_contiguous
        )
        kind = Kind(x.shape, of, to, np.dtype(np.float32) if small else work, lies, most_of(of))
        return Strips(kind, made, around, magnitude=magnitude)

    cval = borders.cval
    if x.dtype.kind != "c" and w.dtype.kind != "c":
        return part(w, cval)
    if x.dtype.kind != "c":
        return _ComplexStrips(part(w.real, cval), part(w.imag, cval), None, None)
    of_real, of_imag = np.real(cval), np.imag(cval)
    if w.dtype.kind != "c":
        return _ComplexStrips(part(w, of_real), None, part(w, of_imag), None)
    return _ComplexStrips(
        part(w.real, of_real), part(w.imag, of_real), part(w.real, of_imag), part(w.imag, of_imag)
    )


@dataclass(frozen=True)
class _ComplexStrips:
    """A complex filter: of x's real part by w's real and imaginary part, and of x's imaginary part by both."""

    real_real: Strips
    real_imag: Strips | None
    imag_real: Strips | None
    imag_imag: Strips | None

    @property
    def nbytes(self) -> int:
        """Bytes that its parts hold."""
        parts = (self.real_real, self.real_imag, self.imag_real, self.imag_imag)
        return sum(part.nbytes for part in parts if part)

    def __call__(self, x: Array, out: Array) -> None:
        """(x + iy) * (u + iv) = (x*u - y*v) + i (x*v + y*u)."""
        source = x.copy() if np.may_share_memory(x, out) else x
        self.real_real(source.real, out.real)
        if self.imag_real is None:
            if self.real_imag is not None:
                self.real_imag(source, out.imag)
            return
        self.imag_real(source.imag, out.imag)
        if self.real_imag is not None and self.imag_imag is not None:
            other = np.empty(x.shape, out.real.dtype)
            self.imag_imag(source.imag, other)
            out.real[...] -= other
            self.real_imag(source.real, other)
            out.imag[...] += other


def fuse_short(chains: Sequence[Chain], out: np.dtype[Any], borders: Borders) -> Sequence[Chain]:
    """Chains of correlations that have few taps together as one correlation each: a pass less over a strip.

    Where nothing is cut between their steps, and what lies outside is no constant that steps would change.

    >>> steps = [Correlation(np.ones(shape), (0, 0), True) for shape in ((2, 1), (1, 2))]
    >>> ((fused,),) = fuse_short([steps], np.dtype(float), Borders(("edge", "edge"), 0.0))
    >>> fused.weights.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    if borders.apart and "constant" in borders.modes and borders.cval != 0:
        return chains
    return [_fuse(chain, out) for chain in chains]


def _fuse(chain: Chain, out: np.dtype[Any]) -> Chain:
    """The chain as one correlation, or as it is."""
    if len(chain) < 2 or not all(isinstance(step, Correlation) for step in chain):
        return chain
    taps = [math.prod(step.sizes) for step in chain]
    if math.prod(taps) >= CHEAPER * sum(taps):
        return chain
    if out.kind in "biu" and not (out != np.uint64 and all(step.integral for step in chain)):
        return chain
    weights, lo = np.ones(()), tuple(map(sum, zip(*(step.lo for step in chain), strict=True)))
    for step in chain:
        assert isinstance(step, Correlation)
        weights = weights * step.weights
    return [Correlation(weights, lo, exact=True)]


def filter_dense(
    input: Any,
    weights: Any,
    output: Any,
    window: WindowPlaces,
    compute: str | None,
    rtol: float | None,
    *,
    flip: bool,
) -> Array:
    """Correlate, or with `flip` convolve, an array with weights of as many axes as `axes` names."""
    x, w = np.asarray(input), np.asarray(weights)
    require_cval(x, w, window.cval)
    out = make_output(output, x, complex_output=x.dtype.kind == "c" or w.dtype.kind == "c")
    given = (w, window.mode, window.cval, window.origin, window.axes, compute, rtol, flip)
    return run_ready("dense", given, x, out, partial(_make_dense, x, w, out, window, compute, rtol, flip))


def _make_dense(
    x: Array,
    w: Array,
    out: Array,
    window: WindowPlaces,
    compute: str | None,
    rtol: float | None,
    flip: bool,
) -> Filter:
    """The filter of dense weights, once all that they and the window say is read."""
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
    if not x.ndim:
        w, lo = w.reshape(1), (0,)
    borders = Borders(one_border(window.mode, w.ndim), window.cval, apart=False)
    tolerance = RTOL if rtol is None else rtol
    whole = out.dtype.kind in "biu"
    return make_filter(x, w, out, lambda part: _chains(part, lo, tolerance, whole), borders, compute)


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


__all__ = ["compute_type", "filter_dense", "fuse_short", "make_filter", "most_of", "require_cval"]
