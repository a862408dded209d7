"""A float times a power of two, in one instruction where the CPU has one.

    vscalefps, vscalefpd      value * 2^n, rounded once, whatever the size of n; of AVX-512

Multiplying by 2^n as one or two floats gives the same bits wherever these are normal, and takes a shift for each.
"""

from __future__ import annotations

from .emitter import PREFER_512, Function
from .instructions import Value

NAMES = {"v16f32": ("ps", "i16"), "v8f64": ("pd", "i8")}
"""What LLVM calls it for vectors of 64 bytes, and the type of its mask."""


def scale_by_power(value: Value, n: Value) -> Value | None:
    """Emits value * 2^n, n being whole numbers; None where the CPU has no instruction for such vectors."""
    home, name = value.home or n.home, NAMES.get(value.type.suffix)
    if not isinstance(home, Function) or home.module.attributes != PREFER_512 or name is None:
        return None
    kind, (suffix, mask) = value.type.text, name
    return home.emit(
        f"call {kind} @llvm.x86.avx512.mask.scalef.{suffix}.512({kind} {value.name}, {kind} {n.name}, "
        f"{kind} zeroinitializer, {mask} -1, i32 4)",
        value.type,
    )


__all__ = ["scale_by_power"]
