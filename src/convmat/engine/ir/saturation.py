"""Floats as narrow integers, kept inside what those hold.

    nearest      float32 -> int32, halves to even; what is too large becomes MOST, what is too small something as small
    pack_words   int32 -> int16, pack_bytes int16 -> int8 or uint8: what a type does not hold becomes its nearest number

Two vectors become one of half as wide lanes. As on x86, whose instructions these are, lanes come in blocks of 16 bytes:
a block of the first vector, one of the second. CPUs whose vectors are a block have the two side by side.
"""

from __future__ import annotations

from .emitter import Function
from .instructions import Type, Value, const, i8, i16, i32, maximum, minimum, rint, trunc
from .shuffles import concat

MOST = float(1 << 30)
"""The greatest float that is made an integer: x86 makes the least of what is beyond."""

CONVERT = {8: "x86.avx.cvt.ps2dq.256", 4: "x86.sse2.cvtps2dq"}

PACK = {64: "x86.avx512.{}.512", 32: "x86.avx2.{}", 16: "x86.sse2.{}.128"}
"""LLVM's intrinsics, by the bytes of a vector."""


def nearest(fn: Function, value: Value, *, x86: bool, bounded: bool = False) -> Value:
    """Emits the nearest int32 of float32 numbers up to MOST; `bounded`: none is beyond."""
    lanes = value.type.lanes
    value = value if bounded else minimum(value, const(value.type, MOST))
    made, kind = i32.x(lanes), f"{value.type.text} {value.name}"
    if not x86:
        value = rint(value)
        name = f"llvm.fptosi.sat.{made.suffix}.{value.type.suffix}"
        return fn.emit(f"call {made.text} @{name}({value.type.text} {value.name})", made)
    if lanes in CONVERT:
        return fn.emit(f"call {made.text} @llvm.{CONVERT[lanes]}({kind})", made)
    return fn.emit(
        f"call {made.text} @llvm.x86.avx512.mask.cvtps2dq.512({kind}, {made.text} zeroinitializer, i16 -1, i32 4)",
        made,
    )


def pack_words(fn: Function, a: Value, b: Value, *, x86: bool) -> Value:
    """Emits two vectors of int32 as one of int16."""
    return _pack(fn, "packssdw", a, b, i16, (-(1 << 15), (1 << 15) - 1), x86=x86)


def pack_bytes(fn: Function, a: Value, b: Value, *, signed: bool, x86: bool) -> Value:
    """Emits two vectors of int16 as one of int8, or of uint8."""
    if signed:
        return _pack(fn, "packsswb", a, b, i8, (-128, 127), x86=x86)
    return _pack(fn, "packuswb", a, b, i8, (0, 255), x86=x86)


def add_saturating(fn: Function, a: Value, b: Value) -> Value:
    """Emits `a + b` of integers with a sign, kept inside what they hold."""
    kind = a.type
    return fn.emit(
        f"call {kind.text} @llvm.sadd.sat.{kind.suffix}({kind.text} {a.name}, {kind.text} {b.name})", kind
    )


def _pack(
    fn: Function, name: str, a: Value, b: Value, to: Type, limits: tuple[int, int], *, x86: bool
) -> Value:
    kind, made = a.type, to.x(2 * a.type.lanes)
    if x86:
        call = PACK[kind.bytes].format(name)
        return fn.emit(f"call {made.text} @llvm.{call}({kind.text} {a.name}, {kind.text} {b.name})", made)
    low, high = limits
    return concat(
        [trunc(minimum(maximum(each, const(kind, low)), const(kind, high)), to=to) for each in (a, b)]
    )


__all__ = ["MOST", "add_saturating", "nearest", "pack_bytes", "pack_words"]
