"""Fast Fourier transforms of the last axes of an array: SciPy's pocketfft where it is installed, otherwise NumPy's.

SciPy's transforms several lines at once in vector registers and works in place; NumPy's takes twice as long. float32
stays float32, but with NumPy below 2, which computes in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..operands import Array

WIDENS = int(np.__version__.partition(".")[0]) < 2


@cache
def has_scipy() -> bool:
    """Whether SciPy is installed; it is imported with the first transform."""
    with suppress(ImportError):
        return find_spec("scipy") is not None
    return False


def spectrum_type(work: np.dtype[Any]) -> np.dtype[Any]:
    """The complex type of spectra of arrays of this type.

    >>> spectrum_type(np.dtype("float64"))
    dtype('complex128')
    """
    narrow = work in (np.dtype(np.float32), np.dtype(np.complex64))
    return np.dtype(np.complex64 if narrow and (has_scipy() or not WIDENS) else np.complex128)


def spectra_held(spectrum: np.dtype[Any]) -> int:
    """How many spectra of a type a transform holds at once, its result included: NumPy's takes narrow ones by wide."""
    if has_scipy():
        return 1
    return 6 if spectrum == np.complex64 else 2


def forward(tiles: Array, axes: Sequence[int]) -> Array:
    """The spectra of `tiles`, new or in place of them: of real ones the half along the last of `axes`.

    >>> forward(np.array([[1.0, 2.0, 3.0, 4.0]]), [1]).real
    array([[10., -2., -2.]])
    """
    real = tiles.dtype.kind == "f"
    if has_scipy():
        from scipy import fft

        if real:
            found = fft.rfftn(tiles, axes=axes)
        else:
            found = fft.fftn(tiles, axes=axes, overwrite_x=True)
    else:
        found = (np.fft.rfftn if real else np.fft.fftn)(tiles, axes=axes)
    made: Array = found
    return made


def inverse(spectra: Array, axes: Sequence[int], extent: int, real: bool) -> Array:
    """Back again; `spectra` are used up, `extent` is that of the last of `axes`."""
    if not has_scipy():
        for axis in axes[:-1]:
            spectra = np.fft.ifft(spectra, axis=axis)
        return np.fft.irfft(spectra, extent, axes[-1]) if real else np.fft.ifft(spectra, axis=axes[-1])
    from scipy import fft

    complex_axes = axes[:-1] if real else axes
    if complex_axes:
        spectra = fft.ifftn(spectra, axes=complex_axes, overwrite_x=True)
    if real:
        spectra = fft.irfft(spectra, extent, axes[-1])
    made: Array = spectra
    return made
