"""Values and what an instruction is.

A `Type` is a scalar kind or a vector of them, a `Value` a name in the text of a function, with its type. An
`Instruction` is a pure function of values: its meaning is a NumPy function of arrays (a vector of n lanes is an
array of n elements, a scalar an array of shape ()), its text the right-hand side of one line of LLVM IR. The
instructions themselves are declared in `instructions`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np

# The kinds of scalars: name -> (LLVM's name, suffix of intrinsics, bytes, NumPy's name if it has one)
KINDS: dict[str, tuple[str, str, int, str | None]] = {
    "i1": ("i1", "i1", 1, "bool"),
    "i8": ("i8", "i8", 1, "int8"),
    "i16": ("i16", "i16", 2, "int16"),
    "i32": ("i32", "i32", 4, "int32"),
    "i64": ("i64", "i64", 8, "int64"),
    "f16": ("half", "f16", 2, "float16"),
    # By its bits: where the CPU has no instructions for it, LLVM takes vectors of bfloat apart and calls the runtime
    # for each element, be they only moved.
    "bf16": ("i16", "i16", 2, None),
    "f32": ("float", "f32", 4, "float32"),
    "f64": ("double", "f64", 8, "float64"),
    "ptr": ("ptr", "p0", 8, "uint64"),
}


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar kind (`lanes == 0`) or a vector of `lanes` of them. `bytes` is its size in memory."""

    kind: str
    lanes: int = 0
    text: str = field(init=False, compare=False)  # as LLVM writes it: `<16 x float>`
    suffix: str = field(init=False, compare=False)  # as intrinsics are named: `v16f32`
    bytes: int = field(init=False, compare=False)
    is_float: bool = field(init=False, compare=False)
    prefix: str = field(init=False, compare=False)  # "f" where LLVM says fadd and add

    def __post_init__(self) -> None:
        text, suffix, size, _ = KINDS[self.kind]
        is_float = self.kind in ("f16", "bf16", "f32", "f64")
        for name, value in (
            ("text", f"<{self.lanes} x {text}>" if self.lanes else text),
            ("suffix", f"v{self.lanes}{suffix}" if self.lanes else suffix),
            ("bytes", size * max(self.lanes, 1)),
            ("is_float", is_float),
            ("prefix", "f" if is_float else ""),
        ):
            object.__setattr__(self, name, value)

    def x(self, lanes: int) -> Type:
        """The vector of `lanes` such scalars (of none: the scalar itself).

        >>> f32.x(16).text
        '<16 x float>'
        """
        return _intern(self.kind, lanes)

    @property
    def scalar(self) -> Type:
        """The type of one lane."""
        return _intern(self.kind, 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of one lane; bfloat16 has none in NumPy and appears as its bits, uint16."""
        return np.dtype(KINDS[self.kind][3] or "uint16")

    def __str__(self) -> str:
        return self.text


@cache
def _intern(kind: str, lanes: int) -> Type:
    return Type(kind, lanes)


i1, i8, i16, i32, i64 = (_intern(kind, 0) for kind in ("i1", "i8", "i16", "i32", "i64"))
f16, bf16, f32, f64 = (_intern(kind, 0) for kind in ("f16", "bf16", "f32", "f64"))
ptr = _intern("ptr", 0)

TYPES: dict[str, Type] = {
    "float32": f32, "float64": f64, "float16": f16, "bfloat16": bf16, "int8": i8, "uint8": i8, "int32": i32,
}  # fmt: skip
"""The types of the elements of arrays, by NumPy's names."""


class Home(Protocol):
    """Where values live: a function under construction."""

    fused: bool

    def emit(self, text: str, result: Type) -> Value:
        """Writes the right-hand side of a line and names what it gives."""
        ...


class Value:
    """A name that a line of IR defined, its type, and the function it lives in.

    A constant lives in none and has its `number` (None too where its lanes differ). `+ - * / & | ^ << >>` and
    comparisons are instructions; a pointer plus an integer advances by bytes.
    """

    __slots__ = ("home", "name", "number", "type")

    def __init__(self, name: str, type: Type, home: Home | None, number: float | None = None) -> None:
        self.name = name
        self.type = type
        self.home = home
        self.number = number

    def __repr__(self) -> str:
        return f"{self.type.text} {self.name}"

    def __bool__(self) -> bool:
        raise TypeError(f"{self} is known when the code runs, not when it is written: use if_ or select")

    def __add__(self, other: Operand) -> Value:
        if self.type is ptr:
            assert not isinstance(other, float)
            return advance(self, other)
        return INSTRUCTIONS["add"](self, other)

    def __radd__(self, other: Operand) -> Value:
        return self + other

    def __sub__(self, other: Operand) -> Value:
        return INSTRUCTIONS["sub"](self, other)

    def __rsub__(self, other: Operand) -> Value:
        return INSTRUCTIONS["sub"](other, self)

    def __mul__(self, other: Operand) -> Value:
        return INSTRUCTIONS["mul"](self, other)

    def __rmul__(self, other: Operand) -> Value:
        return INSTRUCTIONS["mul"](self, other)

    def __truediv__(self, other: Operand) -> Value:
        return INSTRUCTIONS["div"](self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return INSTRUCTIONS["div"](other, self)

    def __and__(self, other: Operand) -> Value:
        return INSTRUCTIONS["and"](self, other)

    def __or__(self, other: Operand) -> Value:
        return INSTRUCTIONS["or"](self, other)

    def __xor__(self, other: Operand) -> Value:
        return INSTRUCTIONS["xor"](self, other)

    def __lshift__(self, other: Operand) -> Value:
        return INSTRUCTIONS["shl"](self, other)

    def __rshift__(self, other: Operand) -> Value:
        return INSTRUCTIONS["ashr"](self, other)

    def __neg__(self) -> Value:
        return INSTRUCTIONS["neg"](self)

    def __lt__(self, other: Operand) -> Value:
        return INSTRUCTIONS["less"](self, other)

    def __le__(self, other: Operand) -> Value:
        return INSTRUCTIONS["less_equal"](self, other)

    def __gt__(self, other: Operand) -> Value:
        return INSTRUCTIONS["greater"](self, other)

    def __ge__(self, other: Operand) -> Value:
        return INSTRUCTIONS["greater_equal"](self, other)


Operand = Value | int | float


def _literal(kind: str, number: float) -> str:
    """One lane as LLVM writes it; floats by their bits, since decimals must be exact there."""
    if kind in ("f32", "f64"):
        exact = np.float32(number) if kind == "f32" else number
        return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
    if kind == "f16":
        return f"0xH{struct.unpack('<H', struct.pack('<e', number))[0]:04X}"
    if kind == "bf16":  # only numbers that bfloat16 holds exactly, so that nothing is rounded here
        bits = struct.unpack("<I", struct.pack("<f", number))[0]
        assert bits & 0xFFFF == 0, f"{number} is not a bfloat16"
        return str(struct.unpack("<h", struct.pack("<H", bits >> 16))[0])
    if kind == "i1":
        return "true" if number else "false"
    if kind == "ptr":
        assert number == 0, "the only constant pointer is null"
        return "null"
    return str(int(number))


@lru_cache(maxsize=4096)
def _constant(type: Type, number: float | tuple[float, ...], text_too: str) -> Value:
    scalar = type.scalar
    if isinstance(number, tuple):
        assert len(number) == type.lanes, f"{len(number)} numbers for {type}"
        lanes = ", ".join(f"{scalar.text} {_literal(type.kind, each)}" for each in number)
        return Value(f"<{lanes}>", type, None)
    text = _literal(type.kind, number)
    return Value(f"splat ({scalar.text} {text})" if type.lanes else text, type, None, number)


_NUMBERS = (int, float, np.number)


def const(type: Type, number: float | Sequence[float]) -> Value:
    """A constant of that type: one number in every lane, or a sequence with a number for each lane.

    >>> const(f32.x(4), 1.5)
    <4 x float> splat (float 0x3FF8000000000000)
    >>> const(i32.x(2), [0, 1])
    <2 x i32> <i32 0, i32 1>
    """
    # 0.0 and -0.0 are equal, but must not find each other's entry
    if isinstance(number, _NUMBERS):
        return _constant(type, number, str(number) if number == 0 else "")
    return _constant(type, tuple(number), str(tuple(number)))


def poison(type: Type) -> Value:
    """A value of no meaning: what a lane is that nobody looks at."""
    return Value("poison", type, None)


def advance(pointer: Value, offset: Value | int) -> Value:
    """`pointer` moved by `offset` bytes (any sign); by the number 0, nothing is emitted."""
    step = offset.name if isinstance(offset, Value) else str(offset)
    if step == "0":
        return pointer
    assert pointer.home is not None
    return pointer.home.emit(f"getelementptr i8, ptr {pointer.name}, i64 {step}", ptr)


Text = tuple[str, Type]


class Instruction:
    """An instruction: `meaning` for arrays, `text` for values. Called with values or numbers it is emitted.

    What is no value (the indices of a shuffle, the type of a conversion) is given by keyword.
    """

    def __init__(self, text: Callable[..., Text], meaning: Callable[..., Any], identity: int | None) -> None:
        self.text = text
        self.meaning = meaning
        self.identity = identity
        self.name = text.__name__
        self.__doc__ = text.__doc__

    def __call__(self, *operands: Operand, **immediate: Any) -> Value:
        """Writes the instruction where its operands live."""
        # This runs for every line of every kernel: one pass, nothing copied.
        values: Any = operands
        home: Home | None = None
        for value in values:
            if value.__class__ is not Value:
                return self(*_values(operands), **immediate)
            if value.home is not None:
                home = value.home
        if self.identity is not None and value.number == self.identity and not value.type.is_float:
            first: Value = values[0]
            return first
        if home is None:
            return self._fold(values, immediate)
        text, result = self.text(*operands, **immediate)
        return home.emit(text, result)

    def _fold(self, values: Sequence[Value], immediate: dict[str, Any]) -> Value:
        assert all(value.number is not None for value in values), f"{self.name} of {values} has no function"
        _, result = self.text(*values, **immediate)
        arrays = [np.asarray(value.number, value.type.dtype) for value in values]
        return const(result, self.meaning(*arrays, **immediate).item())


def _values(operands: tuple[Operand, ...]) -> tuple[Value, ...]:
    """Numbers become constants of the last value's type (in `select(mask, x, 0.0)` not of the mask's)."""
    type = i64
    for operand in operands:
        if isinstance(operand, Value):
            type = operand.type
    return tuple(operand if isinstance(operand, Value) else const(type, operand) for operand in operands)


INSTRUCTIONS: dict[str, Instruction] = {}


def pure(
    meaning: Callable[..., Any], identity: int | None = None
) -> Callable[[Callable[..., Text]], Instruction]:
    """Declares an instruction: its meaning above, its text below.

    identity: the integer that changes nothing as a last operand, so that `x + 0` emits nothing.
    """

    def declare(text: Callable[..., Text]) -> Instruction:
        instruction = Instruction(text, meaning, identity)
        INSTRUCTIONS[instruction.name.rstrip("_")] = instruction
        return instruction

    return declare
