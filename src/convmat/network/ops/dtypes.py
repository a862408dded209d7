"""Element types by the numbers that ONNX gives them, and conversion between any two of them.

Those that NumPy lacks (bfloat16; floats of 4, 6 and 8 bits; integers of 2 and 4) are the package ml_dtypes', which
whoever has such arrays has. Between two of them a conversion goes through float32 or int32, which hold all of their
values but int32's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import NetworkError
from ..graph import Array, Node

NUMBERS = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "object", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2", 27: "float6_e2m3fn", 28: "float6_e3m2fn",
}  # fmt: skip
"""Names of element types; texts are objects."""

NARROW = frozenset(name for number, name in NUMBERS.items() if number >= 16)
"""Those that NumPy lacks."""

BITS = {"uint2": 2, "int2": 2, "uint4": 4, "int4": 4}
"""Bits of integers that take a byte each all the same."""

SATURATING = {
    "float8_e4m3fn": 448.0, "float8_e4m3fnuz": 240.0, "float8_e5m2": 57344.0, "float8_e5m2fnuz": 57344.0,
}  # fmt: skip
"""The largest values of the 8-bit floats that `saturate` is about."""

LARGEST_POWER = 127
"""float8_e8m0fnu holds the powers of two from -127 to this one, and NaN."""


def dtype_named(name: str) -> np.dtype[Any]:
    """The element type of a name. Raises NetworkError where it is ml_dtypes' and that is missing or too old."""
    if name not in NARROW:
        return np.dtype(name)
    try:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError):
        raise NetworkError(
            f"load: {name} elements need the package ml_dtypes\n"
            "  it is not installed, or older than they are\n  pip install --upgrade ml_dtypes"
        ) from None
    return found


def number_of(dtype: np.dtype[Any]) -> int:
    """ONNX's number of an element type: that of every version of the standard, which old packages of it lack.

    Raises NetworkError for types that ONNX does not have.

    >>> number_of(np.dtype(np.float16)), number_of(np.dtype(object))
    (10, 8)
    """
    name = "object" if dtype.kind in "OSU" else dtype.name
    if name not in NUMBERS.values():
        known = ", ".join(each for each in NUMBERS.values() if each not in NARROW | {"object"})
        raise NetworkError(
            f"load: ONNX has no elements of the type {name}\n  one of {known}, or one of ml_dtypes"
        )
    return next(number for number, each in NUMBERS.items() if each == name)


def dtype_numbered(node: Node, number: int, what: str) -> np.dtype[Any]:
    """The element type that an attribute names by ONNX's number. Raises NetworkError."""
    if number not in NUMBERS:
        raise node.error(f"its {what} is no element type\n  number {number}; 1 to {max(NUMBERS)} are known")
    return dtype_named(NUMBERS[number])


def is_whole(dtype: np.dtype[Any]) -> bool:
    """Whether an element type is one of integers, narrow ones too."""
    return dtype.kind in "iu" or dtype.name in BITS


def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and largest integer of an element type.

    >>> limits(np.dtype("int8"))
    (-128, 127)
    """
    bits = BITS.get(dtype.name, 8 * dtype.itemsize)
    signed = dtype.kind == "i" or dtype.name.startswith("int")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def widen(x: Array) -> Array:
    """x in an element type of NumPy's own that holds its values: float32 or int32 for narrow ones."""
    if x.dtype.name not in NARROW:
        return x
    return x.astype(np.int32 if x.dtype.name in BITS else np.float32)


def convert(x: Array, dtype: np.dtype[Any], *, saturate: bool = True, rounding: str = "up") -> Array:
    """x in another element type, as Cast has it.

    Numbers beyond an 8-bit float's largest become that one, or with `saturate=False` its infinity or NaN. Integers lose
    the bits that have no place. `rounding` is for float8_e8m0fnu: "up", "down" or "nearest", by magnitude.
    """
    if x.dtype == dtype:
        return x.copy()
    if x.dtype.kind in "OUS":
        return _read(x, dtype)
    if dtype.hasobject:
        return _write_numbers(x)
    x = widen(x) if dtype.name in NARROW or dtype.kind == "b" else x
    if dtype.name in SATURATING:
        x = x if x.dtype.kind == "f" else x.astype(np.float32)
        most = SATURATING[dtype.name]
        return (np.clip(x, -most, most) if saturate else x).astype(dtype)
    if dtype.name == "float8_e8m0fnu":
        return _power(x, dtype, saturate, rounding)
    if dtype.name in BITS and x.dtype.kind in "fb":
        x = x.astype(np.int32)
    return x.astype(dtype)


def _power(x: Array, dtype: np.dtype[Any], saturate: bool, rounding: str) -> Array:
    """The power of two beside x > 0; NaN for what is none, and for what is beyond the largest without `saturate`.

    0 is the smallest; with "nearest", and without `saturate`, NaN, as the table of Cast has it.
    """
    wide = np.abs(x.astype(np.float64))
    part, power = np.frexp(wide)  # wide = part * 2^power, part in [1/2, 1)
    raised = {"up": part > 0.5, "down": np.zeros(part.shape, bool), "nearest": part >= 0.75}[rounding]
    power = np.where(wide == 0, -LARGEST_POWER, power - 1 + raised)
    odd = np.isnan(wide)
    if saturate:
        power = np.where(np.isinf(wide), LARGEST_POWER, power)
        power = np.clip(power, -LARGEST_POWER, LARGEST_POWER)
    else:
        odd |= np.isinf(wide) | (power > LARGEST_POWER) | (power < -LARGEST_POWER)
        odd |= (wide == 0) if rounding == "nearest" else False
    bits = np.where(odd, 255, np.clip(power, -LARGEST_POWER, LARGEST_POWER) + LARGEST_POWER)
    return bits.astype(np.uint8).view(dtype)


def _read(x: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers that texts spell, as whole numbers first where integers are wanted."""
    if dtype.hasobject:
        return x.astype(object)
    if is_whole(dtype) or dtype.kind == "b":
        wide = np.array([_whole(str(each)) for each in x.ravel()], object).reshape(x.shape)
        if dtype.kind == "b":
            return wide.astype(bool)
        low, high = limits(dtype)
        return (
            ((wide - low) % (high - low + 1) + low)
            .astype(np.int64 if high < 2**63 else np.uint64)
            .astype(dtype)
        )
    return convert(np.array([float(str(each)) for each in x.ravel()]).reshape(x.shape), dtype)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return int(float(text))


def _write_numbers(x: Array) -> Array:
    """Texts of numbers: the shortest that are read back as the same, whole numbers without a point."""
    made = np.empty(x.shape, object)
    made.reshape(-1)[:] = [_text(each) for each in widen(x).ravel()]
    return made


def _text(number: Any) -> str:
    """A number as the standard and onnxruntime spell it.

    >>> _text(np.float32(0.1)), _text(np.float64("-inf")), _text(np.bool_(True))
    ('0.1', '-INF', '1')
    """
    if number.dtype.kind in "iub":
        return str(int(number))
    if not np.isfinite(number):
        return "NaN" if np.isnan(number) else "INF" if number > 0 else "-INF"
    if number == 0 or 1e-4 <= abs(number) < 1e16:
        return np.format_float_positional(number, trim="-")
    return np.format_float_scientific(number, trim="-", exp_digits=2)
