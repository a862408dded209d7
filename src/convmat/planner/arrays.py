"""Arrays as they come from callers: read, checked against what a plan expects, refused with a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..arguments import format_shape
from ..engine import buffers
from ..errors import EngineError, GeometryError, format_value
from ..layout import Layout
from ..problem import WORK_DTYPES

Array = npt.NDArray[Any]

WORK_FOR_OVERLAP = 100_000
"""Steps that deciding whether two strided arrays overlap may take; what stays undecided counts as overlap."""


_TAKEN = frozenset(np.dtype(name) for name in WORK_DTYPES if name != "bfloat16")


def read_array(name: str, value: Any, call: str = "conv", wanted: np.dtype[Any] | None = None) -> Array:
    """Anything with `__array__` or DLPack on the CPU, or nested lists, as an ndarray that is not copied if it is one.

    `wanted`: the element type that the array will be needed in; it may be one that only results have. Raises
    GeometryError for ragged lists, objects, masked arrays and element types that no engine multiplies.
    """
    if type(value) is np.ndarray and value.dtype in _TAKEN:
        return value
    array = value if type(value) is np.ndarray else read_foreign(name, value, call)
    if not _has_engine(array.dtype) and array.dtype != wanted:
        taken = (
            *WORK_DTYPES,
            *([wanted.name] if wanted is not None and wanted.name not in WORK_DTYPES else ()),
        )
        raise GeometryError(
            f"{call}: {name} has an element type that is not taken\n  {name}.dtype = {array.dtype}\n"
            f"  one of {', '.join(taken)}: {_numbers_of(name, array, wanted)}"
        )
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def read_numbers(name: str, value: Any, call: str) -> Array:
    """The same for functions that only move elements: any type of numbers. Raises GeometryError."""
    array = value if type(value) is np.ndarray else read_foreign(name, value, call)
    if array.dtype.kind not in "iufc" and not _has_engine(array.dtype):
        raise GeometryError(
            f"{call}: {name} does not hold numbers\n  {name}.dtype = {array.dtype}\n"
            f"  give numbers, e.g. np.asarray({name}, dtype='float32')"
        )
    return array


def _numbers_of(name: str, array: Array, wanted: np.dtype[Any] | None) -> str:
    """How to make numbers of what no engine multiplies."""
    if array.dtype.kind in "biufc":
        near = {"float": "float64", "complex": "complex128"}.get(
            str(array.dtype).rstrip("0123456789"), "float32"
        )
        return f"convert it first, e.g. {_suggest_conversion(name, array.dtype, wanted or np.dtype(near))}"
    target = "float32" if wanted is None else wanted.name
    try:
        array.astype(target)
    except Exception:  # whatever an object raises when it is asked for its number, it has none
        return "give an array of numbers"
    return f"give numbers, e.g. np.asarray({name}, dtype='{target}')"


def _suggest_conversion(name: str, have: np.dtype[Any], wanted: np.dtype[Any]) -> str:
    """What a caller writes for the same numbers in another element type."""
    if have.kind == "c" and wanted.kind != "c":
        name, have = f"{name}.real", np.dtype("float64")
    if wanted.kind in "iu" and have.kind not in "biu":
        return f"np.rint({name}).astype('{wanted}')"
    return f"{name}.astype('{wanted}')"


@lru_cache(maxsize=64)
def _has_engine(dtype: np.dtype[Any]) -> bool:
    """Whether there is an engine for it; asking a dtype for its name takes microseconds."""
    return dtype.name in WORK_DTYPES


def read_foreign(name: str, value: Any, call: str) -> Array:
    """Anything with `__array__` or DLPack on the CPU, or nested lists, as one of any type. Raises GeometryError."""
    if isinstance(value, np.ma.MaskedArray):
        raise GeometryError(
            f"{call}: {name} is a masked array, and a product has no masks\n"
            f"  {np.count_nonzero(np.ma.getmaskarray(value))} of {value.size} elements are masked\n"
            f"  say what they count as, e.g. {name}.filled(0)"
        )
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.asarray(np.from_dlpack(value))
        made = np.asarray(value)
    except Exception as error:  # whatever the foreign object raises, it is not an array then
        reason = " ".join(str(error).split())[:200]
        raise GeometryError(
            f"{call}: {name} cannot be read as an array\n  {name} is a {type(value).__name__}: {reason}\n"
            f"  {_readable(name, value)}"
        ) from None
    if value is None or isinstance(value, str | bytes):
        raise GeometryError(
            f"{call}: {name} is not an array\n  {name} = {format_value(value)}\n"
            f"  give a NumPy array, nested lists of equal lengths, or an array on the CPU"
        )
    if isinstance(value, list | tuple) and made.dtype.kind in "iub":
        return made.astype(np.float64)  # numbers written by hand are meant as numbers, not as 64-bit integers
    return made


def _readable(name: str, value: Any) -> str:
    """What to give instead of an object that NumPy could not read."""
    # PyTorch's tensors say what keeps them from being arrays; what NumPy knows no bfloat16 of, it reads as float32.
    kind = format_value(getattr(value, "dtype", ""))
    if "bfloat16" in kind:
        return f"NumPy has no bfloat16: give {name}{'.float()' if 'torch' in kind else ' as float32'}"
    if getattr(value, "requires_grad", False) is True:
        return f"give it without its gradient, {name}.detach()"
    if getattr(getattr(value, "device", None), "type", "cpu") != "cpu":
        return f"give it on the CPU, {name}.cpu()"
    return "give a NumPy array, nested lists of equal lengths, or an array on the CPU"


def require_same_dtype(
    call: str, first: str, x: Any, second: str, w: Any, *, bytes_too: bool = False
) -> tuple[Array, Array]:
    """Two operands of one element type: lists take the type of the array beside them. Raises GeometryError.

    `bytes_too`: or one of bytes with a sign and one without.
    """
    a, b = read_array(first, x, call), read_array(second, w, call)
    if a.dtype == b.dtype or (bytes_too and a.dtype.itemsize == b.dtype.itemsize == 1):
        return a, b
    if isinstance(x, list | tuple):
        a = _as_beside(a, b.dtype)
    elif isinstance(w, list | tuple):
        b = _as_beside(b, a.dtype)
    if a.dtype != b.dtype:
        raise GeometryError(
            f"{call}: {first} and {second} have different element types\n"
            f"  {first}.dtype = {a.dtype}, {second}.dtype = {b.dtype}\n"
            f"  {_suggest_common_type(first, a.dtype, second, b.dtype)}"
        )
    return a, b


def _suggest_common_type(first: str, a: np.dtype[Any], second: str, b: np.dtype[Any]) -> str:
    """How two arrays come to one element type in which both keep their values.

    >>> _suggest_common_type("x", np.dtype("uint8"), "w", np.dtype("float32"))
    "convert x, e.g. x.astype('float32')"
    >>> _suggest_common_type("x", np.dtype("uint8"), "w", np.dtype("int8"))
    "convert both, e.g. x.astype('float32') and w.astype('float32')"
    """
    classes = [0 if dtype.kind in "iu" else 2 if dtype.kind == "c" else 1 for dtype in (a, b)]
    if classes == [0, 0]:  # bytes with and without a sign: neither holds the other
        return f"convert both, e.g. {first}.astype('float32') and {second}.astype('float32')"
    if classes[0] < classes[1]:
        return f"convert {first}, e.g. {first}.astype('{b}')"
    return f"convert {second}, e.g. {second}.astype('{a}')"


def read_addend(call: str, name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """A bias or residual: of the result's element type. Raises GeometryError."""
    array = _like(name, value, dtype, call)
    if array.dtype != dtype:
        raise GeometryError(
            f"{call}: {name} has another element type than the result\n"
            f"  {name}.dtype = {array.dtype}, the result is {dtype}\n"
            f"  convert it, e.g. {_suggest_conversion(name, array.dtype, dtype)}"
        )
    return array


def require_type(name: str, value: Any, dtype: np.dtype[Any], call: str) -> Array:
    """The operand as an array of exactly this dtype. Raises GeometryError.

    >>> require_type("x", [1, 2], np.dtype("float32"), "plan")
    array([1., 2.], dtype=float32)
    """
    array: Array = (
        value if type(value) is np.ndarray and value.dtype == dtype else _like(name, value, dtype, call)
    )
    if array.dtype != dtype:
        # Bytes would wrap or be cut off: what holds them all is planned anew.
        narrow = dtype.kind in "iu" and dtype.itemsize == 1
        raise GeometryError(
            f"{call}: {name} has another element type than planned\n"
            f"  {name}.dtype = {array.dtype}, expected {dtype}\n  "
            + ("plan with dtype='float32' and " if narrow else "")
            + f"convert it, e.g. {_suggest_conversion(name, array.dtype, np.dtype('float32') if narrow else dtype)}"
        )
    return array


def require_operand(
    name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], call: str = "plan"
) -> Array:
    """The operand as an array of exactly this shape and dtype. Raises GeometryError."""
    array = require_type(name, value, dtype, call)
    if array.shape != shape:
        raise GeometryError(
            f"{call}: {name} has another shape than planned\n"
            f"  {name}.shape = {array.shape}, expected {shape}\n"
            f"  give an array of that shape, or make a plan for this one"
        )
    return array


def _like(name: str, value: Any, dtype: np.dtype[Any], call: str) -> Array:
    """What was given, in the wanted type if it was written by hand."""
    array = read_array(name, value, call, dtype)
    return _as_beside(array, dtype) if isinstance(value, list | tuple) else array


def _as_beside(written: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers written by hand in another type, unless that would change more of them than rounding does."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = written.dtype.kind == "f" and bool(np.all(written == np.floor(written)))
        fits = whole and bool(np.all((written >= limits.min) & (written <= limits.max)))
        return written.astype(dtype) if fits else written
    return written if written.dtype.kind == "c" and dtype.kind != "c" else written.astype(dtype)


def allocate(
    call: str, shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"] = "C"
) -> Array:
    """A new array. Raises EngineError where there is no memory for it."""
    try:
        return buffers.empty(shape, dtype) if order == "C" else np.empty(shape, dtype, order)
    except (MemoryError, ValueError):
        raise EngineError(
            f"{call}: no memory for the result\n"
            f"  {format_shape(shape)} elements of {dtype} take {math.prod(shape) * dtype.itemsize:,} bytes\n"
            f"  take a smaller batch, or parts of the image"
        ) from None


def require_output(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[Array], residual: Array | None
) -> Array:
    """`out` once it is known to fit and to overlap no input, or a new array. `residual is out` is allowed."""
    if out is None:
        return allocate("conv", shape, dtype)
    array = isinstance(out, np.ndarray) and not isinstance(out, np.ma.MaskedArray)
    if not array or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        given = (
            f"a {out.dtype} array of shape {out.shape}{'' if out.flags.writeable else ', read-only'}"
            if array
            else f"a {type(out).__name__}"
        )
        raise GeometryError(
            f"conv: out does not fit the result\n  out is {given}\n"
            f"  give a writeable array, e.g. out=np.empty({shape}, '{dtype}')"
        )
    overlapping = [a for a in inputs if _overlap(out, a)]
    if residual is not None and not _is_same_memory(residual, out) and _overlap(out, residual):
        overlapping.append(residual)
    if overlapping:
        raise GeometryError(
            f"conv: out overlaps an input in memory\n"
            f"  out of shape {out.shape} shares bytes with an array of shape {overlapping[0].shape}\n"
            f"  give memory of its own, e.g. out=np.empty({shape}, '{dtype}') (residual may be out itself)"
        )
    written: Array = out
    return written


def _overlap(a: Array, b: Array) -> bool:
    if not np.may_share_memory(a, b):
        return False
    steps: Any = WORK_FOR_OVERLAP  # some of NumPy's stubs know 0 and -1 alone
    try:
        return bool(np.shares_memory(a, b, max_work=steps))
    except np.exceptions.TooHardError:
        return True


def _is_same_memory(a: Array, b: Array) -> bool:
    ours, theirs = a.__array_interface__, b.__array_interface__
    return bool(ours["data"][0] == theirs["data"][0] and a.strides == b.strides and a.shape == b.shape)


def split_dims(layout: Layout, array: Array) -> Array:
    """The array with one axis per Dim of its layout: splitting axes, so always a view of it."""
    return array.reshape(tuple(d.extent for d in layout.dims))
