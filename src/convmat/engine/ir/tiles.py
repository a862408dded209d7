"""Products of tiles: registers of 16 rows by 64 bytes, multiplied 16 x 64 by 64 x 16 bytes at once (AMX).

    C[row, column] += sum over quads q of  dot(A[row, q], B[q, column])     16 rows, 16 columns, 16 quads of bytes

Eight registers, numbered in the code; their sums wrap as 32-bit integers do, or are float32 of pairs of bfloat16
numbers, whose denormals are zero. A thread configures them before it multiplies, and releases them before it returns:
the system saves what is configured at each change of threads.

Intel, Architecture Instruction Set Extensions Programming Reference, chapter 3, 2022.
"""

from __future__ import annotations

from .emitter import Function
from .instructions import Value, const, i8

ROWS, WIDTH = 16, 64
"""Rows of a register, and bytes of a row."""

BYTES = ROWS * WIDTH

REGISTERS = 8

CONFIGURATION = 64
"""Bytes that say which shapes the registers have."""


def configure(fn: Function, room: Value) -> None:
    """Gives all registers their whole shape; `room`: 64 bytes that are written."""
    words = [1, *[0] * 15, *[WIDTH, 0] * REGISTERS, *[0] * 16, *[ROWS] * REGISTERS, *[0] * 8]
    fn.store(const(i8.x(CONFIGURATION), words), room)
    fn.do(f"call void @llvm.x86.ldtilecfg(ptr {room.name})")


def release(fn: Function) -> None:
    """Says that no register is in use."""
    fn.do("call void @llvm.x86.tilerelease()")


def zero(fn: Function, number: int) -> None:
    """Clears a register."""
    fn.do(f"call void @llvm.x86.tilezero(i8 {number})")


def load(fn: Function, number: int, at: Value, apart: Value) -> None:
    """Loads a register from rows that lie so many bytes apart."""
    fn.do(f"call void @llvm.x86.tileloadd64(i8 {number}, ptr {at.name}, i64 {apart.name})")


def store(fn: Function, number: int, at: Value, apart: Value) -> None:
    """Stores a register as rows that lie so many bytes apart."""
    fn.do(f"call void @llvm.x86.tilestored64(i8 {number}, ptr {at.name}, i64 {apart.name})")


def multiply(fn: Function, sums: int, x: int, w: int, *, floats: bool) -> None:
    """Adds the product of two registers to the sums: x unsigned bytes and w signed ones, or pairs of bfloat16."""
    name = "tdpbf16ps" if floats else "tdpbusd"
    fn.do(f"call void @llvm.x86.{name}(i8 {sums}, i8 {x}, i8 {w})")


__all__ = [
    "BYTES",
    "CONFIGURATION",
    "REGISTERS",
    "ROWS",
    "WIDTH",
    "configure",
    "load",
    "multiply",
    "release",
    "store",
    "zero",
]
