"""Conversions between the element types of arrays, as NumPy's `astype` has them; bool is a mask in registers.

Integers keep their lowest bits. What a float beyond an integer type's range becomes is left to the CPU by C and by the
standard; here it is what NumPy makes of it on x86: the integer part in 32 bits (64 for wider types), its lowest bits.
"""

from __future__ import annotations

from .instructions import (
    TYPES,
    Type,
    Value,
    bf16,
    bitcast,
    const,
    equal,
    f16,
    f32,
    f64,
    fabs,
    fpext,
    fptosi,
    fptrunc,
    i1,
    i8,
    i16,
    i32,
    i64,
    not_equal,
    select,
    sext,
    sitofp,
    trunc,
    uitofp,
    xor,
    zext,
)
from .shuffles import narrow, widen

ELEMENTS: dict[str, Type] = {
    **TYPES, "int16": i16, "int64": i64, "uint16": i16, "uint32": i32, "uint64": i64, "bool": i1,
}  # fmt: skip
"""What an element is in a register, by NumPy's names."""


def stored_type(name: str) -> Type:
    """What an element is in memory: a bool takes a byte."""
    return i8 if name == "bool" else ELEMENTS[name]


def is_unsigned(name: str) -> bool:
    """Whether it is an unsigned integer."""
    return name.startswith("uint")


def convert(value: Value, source: str, target: str) -> Value:
    """The same numbers in another element type."""
    if source == target:
        return value
    if {source, target} & {"float16", "bfloat16"}:
        return _of_half(value, source, target)
    a, b = ELEMENTS[source], ELEMENTS[target]
    if b is i1:
        return not_equal(value, 0.0 if a.is_float else 0)
    if a.is_float:
        return _of_float(value, a, b, target)
    if a is i1:
        value, source, a = zext(value, to=i8), "uint8", i8
    if b.is_float:
        return (uitofp if is_unsigned(source) else sitofp)(value, to=b)
    if b.bytes > a.bytes:
        return (zext if is_unsigned(source) else sext)(value, to=b)
    return trunc(value, to=b) if b.bytes < a.bytes else value


def _of_float(value: Value, a: Type, b: Type, target: str) -> Value:
    """Convert from float32 or float64."""
    if b.is_float:
        return fpext(value, to=b) if b is f64 else fptrunc(value, to=b)
    if target == "uint64":
        above = 2.0**63
        large = value >= above
        found = fptosi(select(large, value - above, value), to=i64)
        return select(large, xor(found, -(2**63)), found)
    whole = fptosi(value, to=i64 if target in ("uint32", "int64") else i32)
    return trunc(whole, to=b) if b.bytes < whole.type.scalar.bytes else whole


def _of_half(value: Value, source: str, target: str) -> Value:
    """Convert from or to a 16-bit float, by float32; float64 is rounded once."""
    if source in ("float16", "bfloat16"):
        wide = widen(value, f32) if source == "bfloat16" else fpext(value, to=f32)
        return convert(wide, "float32", target)
    wide = _to_odd(value) if source == "float64" else convert(value, source, "float32")
    return narrow(wide, bf16 if target == "bfloat16" else f16)


def _to_odd(value: Value) -> Value:
    """float64 as float32, where inexact with an odd last bit: rounded once more, that cannot go wrong."""
    near = fptrunc(value, to=f32)
    back = fpext(near, to=f64)
    bits = bitcast(near, to=i32)
    towards = select(fabs(back) > fabs(value), const(bits.type, -1), const(bits.type, 1))
    even = equal(bits & 1, 0)
    inexact = not_equal(back, value)
    finite = fabs(back) < float("inf")
    changed = bitcast(bits + towards, to=f32)
    # beyond the largest float32 it is infinite in 16 bits anyway
    return select(inexact, select(even, select(finite, changed, near), near), near)


__all__ = ["ELEMENTS", "convert", "is_unsigned", "stored_type"]
