"""Arrays as they come from callers: read, checked against what a plan expects, refused with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import recycle
from ..errors import GeometryError
from ..problem import WORK_DTYPES

Array = npt.NDArray[Any]

WORK_FOR_OVERLAP = 100_000
"""Steps that deciding whether two strided arrays overlap may take; what stays undecided counts as overlap."""


_TAKEN = frozenset(np.dtype(name) for name in WORK_DTYPES if name != "bfloat16")


def read(name: str, value: Any, call: str = "conv") -> Array:
    """Anything with `__array__` or DLPack on the CPU, or nested lists, as an ndarray that is not copied if it is one.

    Raises GeometryError for ragged lists, objects and element types that no engine multiplies.
    """
    if type(value) is np.ndarray and value.dtype in _TAKEN:
        return value
    array: Array = value if isinstance(value, np.ndarray) else _foreign(name, value, call)
    if not _taken(array.dtype):
        if array.dtype == np.longdouble or array.dtype.kind in "iub":
            fix = f"convert it first, e.g. {name}.astype('float32') or {name}.astype('int8')"
        else:
            fix = f"give numbers, e.g. np.asarray({name}, dtype='float32')"
        raise GeometryError(
            f"{call}: {name} has an element type that is not taken\n  {name}.dtype = {array.dtype}\n"
            f"  one of {', '.join(WORK_DTYPES)}: {fix}"
        )
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


@lru_cache(maxsize=64)
def _taken(dtype: np.dtype[Any]) -> bool:
    """Whether there is an engine for it; asking a dtype for its name takes microseconds."""
    return dtype.name in WORK_DTYPES


def _foreign(name: str, value: Any, call: str) -> Array:
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.asarray(np.from_dlpack(value))
        made = np.asarray(value)
    except (ValueError, TypeError, RuntimeError, BufferError, AttributeError) as error:
        raise GeometryError(
            f"{call}: {name} cannot be read as an array\n  {name} is a {type(value).__name__}: "
            f"{str(error).splitlines()[0]}\n"
            f"  give a NumPy array, nested lists of equal lengths, or an array on the CPU"
        ) from None
    if isinstance(value, list | tuple) and made.dtype.kind in "iub":
        return made.astype(np.float64)  # numbers written by hand are meant as numbers, not as 64-bit integers
    return made


def checked(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], call: str = "plan") -> Array:
    """The operand as an array of exactly this shape and dtype. Raises GeometryError."""
    if type(value) is not np.ndarray or value.dtype != dtype:
        value = read(name, value, call) if dtype != np.int32 else np.asarray(value)
        if value.dtype != dtype:
            raise GeometryError(
                f"{call}: {name} has another element type than planned\n"
                f"  {name}.dtype = {value.dtype}, expected {dtype}\n"
                f"  convert it, e.g. {name}.astype('{dtype}')"
            )
    if value.shape != shape:
        raise GeometryError(
            f"{call}: {name} has another shape than planned\n"
            f"  {name}.shape = {value.shape}, expected {shape}\n"
            f"  give an array of that shape, or make a plan for this one"
        )
    return value  # type: ignore[no-any-return]  # an ndarray by now


def output(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[Array], residual: Array | None
) -> Array:
    """`out` once it is known to fit and to overlap no input, or a new array. `residual is out` is allowed."""
    if out is None:
        return recycle.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        given = (
            f"a {out.dtype} array of shape {out.shape}{'' if out.flags.writeable else ', read-only'}"
            if isinstance(out, np.ndarray)
            else f"a {type(out).__name__}"
        )
        raise GeometryError(
            f"conv: out does not fit the result\n  out is {given}\n"
            f"  give a writeable array, e.g. out=np.empty({shape}, '{dtype}')"
        )
    overlapping = [a for a in inputs if _overlap(out, a)]
    if residual is not None and not _same(residual, out) and _overlap(out, residual):
        overlapping.append(residual)
    if overlapping:
        raise GeometryError(
            f"conv: out overlaps an input in memory\n"
            f"  out of shape {out.shape} shares bytes with an array of shape {overlapping[0].shape}\n"
            f"  give memory of its own, e.g. out=np.empty({shape}, '{dtype}') (residual may be out itself)"
        )
    return out


def _overlap(a: Array, b: Array) -> bool:
    if not np.may_share_memory(a, b):
        return False
    steps: Any = WORK_FOR_OVERLAP  # some of NumPy's stubs know 0 and -1 alone
    try:
        return bool(np.shares_memory(a, b, max_work=steps))
    except np.exceptions.TooHardError:
        return True


def _same(a: Array, b: Array) -> bool:
    ours, theirs = a.__array_interface__, b.__array_interface__
    return bool(ours["data"][0] == theirs["data"][0] and a.strides == b.strides and a.shape == b.shape)
