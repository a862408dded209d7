"""Arguments as scipy.ndimage reads them: axes, one value an axis, outputs, modes, origins; and its errors.

Types of errors and their texts are SciPy's, since programs that call it may look at them.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import buffers

Array = npt.NDArray[Any]

MODES = {
    "nearest": "edge",
    "wrap": "wrap",
    "grid-wrap": "wrap",
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "mirror": "reflect",
    "constant": "constant",
    "grid-constant": "constant",
}
"""SciPy's names of borders, and NumPy's, which `convmat.conv` takes as padding_mode."""


@dataclass(frozen=True)
class WindowPlaces:
    """Arguments that say where windows lie: as they were given, not read yet."""

    mode: Any
    cval: Any
    origin: Any = 0
    axes: Any = None


def numpy_border(mode: Any) -> str:
    """NumPy's name of a border that SciPy names.

    >>> numpy_border("reflect"), numpy_border("mirror")
    ('symmetric', 'reflect')
    """
    if not isinstance(mode, str) or mode not in MODES:
        raise RuntimeError("boundary mode not supported")
    return MODES[mode]


def one_border(mode: Any, rank: int) -> tuple[str, ...]:
    """The border of a filter that takes one for all axes."""
    if not isinstance(mode, str) and isinstance(mode, Iterable):
        raise RuntimeError("A sequence of modes is not supported")
    return (numpy_border(mode),) * rank


def read_per_axis(value: Any, rank: int) -> list[Any]:
    """One value for each of `rank` axes, from a sequence of them or one for all.

    >>> read_per_axis(3, 2)
    [3, 3]
    """
    if isinstance(value, str) or not np.iterable(value):
        return [value] * rank
    values = list(value)
    if len(values) != rank:
        raise RuntimeError("sequence argument must have length equal to input rank")
    return values


def read_axis(axis: Any, rank: int) -> int:
    """One axis, counted from the front."""
    number = operator.index(axis)
    if not -rank <= number < rank:
        raise np.exceptions.AxisError(number, rank)
    return number % rank


def read_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """The axes that a filter goes along, counted from the front; None for all of them."""
    if axes is None:
        return tuple(range(rank))
    if np.isscalar(axes):
        return (read_axis(axes, rank),)
    if not isinstance(axes, Iterable):
        raise ValueError("axes must be an integer, iterable of integers, or None")
    given = [operator.index(each) for each in axes]
    for each in given:
        if not -rank <= each < rank:
            raise ValueError(f"specified axis: {each} is out of range")
    found = tuple(each % rank for each in given)
    if len(set(found)) != len(found):
        raise ValueError("axes must be unique")
    return found


def spread_over_axes(values: list[Any], axes: tuple[int, ...], rank: int, others: Any) -> list[Any]:
    """One value for each axis of the array: those given for `axes`, `others` for the rest.

    >>> spread_over_axes([7], (1,), 3, 0)
    [0, 7, 0]
    """
    spread = [others] * rank
    for axis, value in zip(axes, values, strict=True):
        spread[axis] = value
    return spread


def require_type(dtype: np.dtype[Any], *, complex_output: bool = True) -> None:
    """Refuse element types that SciPy's filters refuse, complex ones as the output of what is real.

    Filters that compute ask for it; where there is nothing to be done, all types are copied.
    """
    kind, size = dtype.kind, dtype.itemsize
    fits = kind == "c" and size in (8, 16) and complex_output
    if not (kind in "bui" or (kind == "f" and size in (4, 8)) or fits):
        raise RuntimeError(f"array type {dtype!r} not supported")


def make_output(
    output: Any,
    like: Array,
    *,
    complex_output: bool = False,
    shape: tuple[int, ...] | None = None,
) -> Array:
    """The array that results are written to: the one given, or a new one of the type that is given or the input's.

    With `complex_output` a real type becomes a complex one.
    """
    shape = like.shape if shape is None else shape
    if output is None:
        dtype = like.dtype if like.dtype.isnative else like.dtype.newbyteorder("=")
        dtype = np.promote_types(dtype, np.complex64) if complex_output else dtype
    elif isinstance(output, type | np.dtype):
        dtype = np.dtype(output)
        if complex_output and dtype.kind != "c":
            warnings.warn("promoting specified output dtype to complex", stacklevel=4)
            dtype = np.promote_types(dtype, np.complex64)
    elif isinstance(output, str):
        dtype = np.dtype(output)
        if complex_output and dtype.kind != "c":
            raise RuntimeError("output must have complex dtype")
        if not issubclass(dtype.type, np.number):
            raise RuntimeError("output must have numeric dtype")
    else:
        given = np.asarray(output)
        if given.shape != shape:
            raise RuntimeError("output shape not correct")
        if complex_output and given.dtype.kind != "c":
            raise RuntimeError("output must have complex dtype")
        return given
    return buffers.empty(shape, dtype) if dtype.kind in "biufc" else np.zeros(shape, dtype)


def require_types(x: Array, out: Array, *, complex_output: bool) -> None:
    """Refuse types of input and output that SciPy's filters refuse, when they come to compute."""
    if complex_output and out.dtype.kind != "c":
        raise RuntimeError("output must have complex dtype")
    require_type(x.dtype)
    require_type(out.dtype, complex_output=complex_output)


def read_origin(origin: Any, size: int, text: str) -> int:
    """An origin that leaves the window's centre inside it."""
    number = operator.index(origin)
    if not 0 <= size // 2 + number < size:
        raise ValueError(text)
    return number


def read_real_constant(value: Any) -> float:
    """The constant outside a real array. Raises TypeError for a complex one, in SciPy's words.

    >>> read_real_constant(2)
    2.0
    """
    if isinstance(value, complex | np.complexfloating):
        raise TypeError("must be real number, not complex")
    return float(value)


__all__ = [
    "MODES",
    "WindowPlaces",
    "make_output",
    "numpy_border",
    "one_border",
    "read_axes",
    "read_axis",
    "read_origin",
    "read_per_axis",
    "read_real_constant",
    "require_type",
    "require_types",
    "spread_over_axes",
]
