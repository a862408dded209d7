"""Dot products of what fills 32 bits: four bytes, or two bfloat16 numbers.

Of bytes: acc + x0*w0 + x1*w1 + x2*w2 + x3*w3 in each 32-bit lane, x unsigned and w signed.

    VNNI       one instruction (vpdpbusd, which wraps and never saturates), of AVX-512 VNNI or AVX-VNNI
    SDOT       one instruction of AArch64, of signed bytes: x is moved by 128, and so its sums are less by that of w
    PMADDWD    bytes as 16-bit numbers, two products of two: AVX2 and AVX-512 without VNNI
    PLAIN      shifts and 32-bit products, whatever the CPU

All of them are the same number modulo 2^32. vpmaddubsw is not among them: its sums of two products stop at 2^15 - 1.

Of bfloat16 numbers: acc + x0*w0 + x1*w1 in float32.

    BF16       one instruction (vdpbf16ps), which takes denormals for zero and has its own order of rounding

AMX and AMX_BF16 are the same of whole tiles at once, in `tiles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ..cpu import Cpu
from .emitter import Function
from .instructions import Type, Value, ashr, const, i8, i16, i32, lshr, regroup, shl


class Unit(Enum):
    """How a CPU multiplies bytes: see the module."""

    VNNI = "vpdpbusd"
    SDOT = "sdot"
    PMADDWD = "vpmaddwd"
    PLAIN = "plain"
    BF16 = "vdpbf16ps"
    AMX = "tdpbusd"
    AMX_BF16 = "tdpbf16ps"

    @property
    def moved(self) -> int:
        """How much less than x are the numbers that it multiplies in its place."""
        return 128 if self is Unit.SDOT else 0


def unit_of(cpu: Cpu) -> Unit:
    """How this CPU multiplies bytes."""
    if cpu.arch != "x86_64":
        return Unit.SDOT if cpu.dotprod else Unit.PLAIN
    return Unit.VNNI if cpu.vnni or cpu.avx_vnni else Unit.PMADDWD


TILED = (Unit.AMX, Unit.AMX_BF16)
"""The units of registers that are tiles: see `tiles`."""

HALVES = (Unit.BF16, Unit.AMX_BF16)
"""The units of bfloat16 numbers."""

X86 = (Unit.VNNI, Unit.PMADDWD, Unit.BF16, Unit.AMX, Unit.AMX_BF16)
"""The units of x86."""

WHOLE = (Unit.VNNI, Unit.SDOT)
"""The units that take four bytes as they are."""

MOVE = 0x80808080 - (1 << 32)
"""What makes four unsigned bytes signed ones, each less by 128."""

Bytes = tuple[Value, ...]
"""An operand as its unit takes it: four bytes in each lane, or what was made of them once for several products."""


def unsigned_bytes(x: Value, unit: Unit) -> Bytes:
    """Four unsigned bytes in each 32-bit lane, for `dot`."""
    if unit is Unit.BF16:
        return (x,)
    if unit in WHOLE:
        return (regroup(x ^ MOVE if unit.moved else x, to=i8.x(4 * x.type.lanes)),)
    if unit is Unit.PMADDWD:
        return x & 0x00FF00FF, lshr(x, 8) & 0x00FF00FF
    return x & 255, lshr(x, 8) & 255, lshr(x, 16) & 255, lshr(x, 24)


def signed_bytes(w: Value, unit: Unit) -> Bytes:
    """Four signed bytes in each 32-bit lane, for `dot`."""
    if unit is Unit.BF16:
        return (w,)
    if unit in WHOLE:
        return (regroup(w, to=i8.x(4 * w.type.lanes)),)
    if unit is Unit.PMADDWD:
        halves = _halves(w)
        return ashr(shl(halves, 8), 8), ashr(halves, 8)
    return tuple(ashr(shl(w, 24 - 8 * at) if at < 3 else w, 24) for at in range(4))


def constant_bytes(numbers: Sequence[int], lanes: int, unit: Unit) -> Bytes:
    """Signed bytes for `dot`: four for each of so many lanes, or the same four in each."""
    every = [*numbers] * (4 * lanes // len(numbers))
    if unit in WHOLE:
        return (const(i8.x(4 * lanes), every),)
    if unit is Unit.PMADDWD:
        return tuple(const(i16.x(2 * lanes), every[at::2]) for at in (0, 1))
    return tuple(const(i32.x(lanes), every[at::4]) for at in range(4))


NAMES = {
    Unit.VNNI: {16: "x86.avx512.vpdpbusd.512", 8: "x86.avx512.vpdpbusd.256", 4: "x86.avx512.vpdpbusd.128"},
    Unit.PMADDWD: {16: "x86.avx512.pmaddw.d.512", 8: "x86.avx2.pmadd.wd", 4: "x86.sse2.pmadd.wd"},
    Unit.SDOT: {4: "aarch64.neon.sdot.v4i32.v16i8"},
}
"""LLVM's intrinsics, by the 32-bit lanes of a vector."""


def dot(fn: Function, total: Value, x: Bytes, w: Bytes, unit: Unit) -> Value:
    """Emits `total` plus the four products of each lane; x of `unsigned_bytes`, w of `signed_bytes`."""
    lanes = total.type.lanes
    if unit is Unit.BF16:
        pairs = f"<{2 * lanes} x bfloat>"
        x_pairs, w_pairs = (
            fn.emit(f"bitcast {each.type.text} {each.name} to {pairs}", each.type) for (each,) in (x, w)
        )
        return fn.emit(
            f"call {total.type.text} @llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}({total.type.text} {total.name}, "
            f"{pairs} {x_pairs.name}, {pairs} {w_pairs.name})",
            total.type,
        )
    if unit is Unit.VNNI:
        # LLVM 22 takes bytes here, LLVM 20 these lanes, which later versions still read where they are declared.
        name, kind = NAMES[unit][lanes], total.type.text
        fn.module.declared[f"declare {kind} @llvm.{name}({kind}, {kind}, {kind})"] = None
        given = (fn.emit(f"bitcast {b.type.text} {b.name} to {kind}", total.type) for b in (*x, *w))
        return _call(fn, name, total.type, total, *given)
    if unit in WHOLE:
        return _call(fn, NAMES[unit][lanes], total.type, total, *x, *w)
    for each, weight in zip(x, w, strict=True):
        if unit is Unit.PMADDWD:
            total = total + _call(fn, NAMES[unit][lanes], total.type, _halves(each), weight)
        else:
            total = total + each * weight
    return total


def halves(fn: Function, value: Value) -> Value:
    """Emits float32 numbers rounded to bfloat16, halves to even and denormals to zero, as the bits of their lanes."""
    lanes = value.type.lanes
    made = fn.emit(
        f"call <{lanes} x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.{32 * lanes}({value.type.text} {value.name})",
        i16.x(lanes),
    )
    return fn.emit(f"bitcast <{lanes} x bfloat> {made.name} to {made.type.text}", made.type)


def _call(fn: Function, name: str, gives: Type, *arguments: Value) -> Value:
    given = ", ".join(f"{each.type.text} {each.name}" for each in arguments)
    return fn.emit(f"call {gives.text} @llvm.{name}({given})", gives)


def _halves(value: Value) -> Value:
    """The same bits as 16-bit lanes."""
    return regroup(value, to=i16.x(2 * value.type.lanes))


__all__ = [
    "HALVES",
    "TILED",
    "X86",
    "Bytes",
    "Unit",
    "constant_bytes",
    "dot",
    "halves",
    "signed_bytes",
    "unit_of",
    "unsigned_bytes",
]
