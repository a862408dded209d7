"""The instructions: what each one means, beside the text that LLVM reads.

An instruction is a pure function of values. Its meaning is a NumPy function of arrays (a vector of n lanes is
an array of n elements, a scalar an array of shape ()), its text the right-hand side of one line of LLVM IR:

    @pure(np.add, identity=0)
    def add(a, b):
        return f"{a.type.prefix}add {a.type.text} {a.name}, {b.name}", a.type

Calling `add(x, y)` appends that line to the function in which `x` or `y` live and gives the new value.
Python numbers are taken as constants, in every lane; what is computed from constants alone is folded by the
meaning itself, so address arithmetic that is known in Python costs no instruction. The tests run every
meaning against its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from .values import (
    INSTRUCTIONS,
    TYPES,
    Instruction,
    Operand,
    Text,
    Type,
    Value,
    advance,
    bf16,
    const,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
    poison,
    ptr,
    pure,
)

# fmt: off
# What instructions are made of, so that their users import one module; then the instructions, in order.
__all__ = [  # noqa: RUF022
    "INSTRUCTIONS", "TYPES", "Instruction", "Operand", "Type", "Value", "const", "poison",
    "bf16", "f16", "f32", "f64", "i1", "i8", "i16", "i32", "i64", "ptr",
    "add", "sub", "mul", "div", "neg", "maximum", "minimum", "fma", "fabs", "sqrt", "copysign", "rint",
    "floor", "ceil",
    "and_", "or_", "xor", "shl", "lshr", "ashr", "sdiv", "udiv", "srem", "urem",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "below", "select",
    "all_lanes", "lanes_of_bits", "bits_of_lanes", "trailing_zeros",
    "sext", "zext", "trunc", "sitofp", "uitofp", "fptosi", "fpext", "fptrunc", "bitcast", "regroup",
    "advance", "splat", "shuffle", "extract", "insert",
]
# fmt: on


def _binary(opcode: str, a: Value, b: Value) -> Text:
    return f"{opcode} {a.type.text} {a.name}, {b.name}", a.type


def _compare(predicate: str, a: Value, b: Value) -> Text:
    return f"{a.type.prefix or 'i'}cmp {predicate} {a.type.text} {a.name}, {b.name}", i1.x(a.type.lanes)


def _intrinsic(name: str, *arguments: Value) -> Text:
    type = arguments[0].type
    given = ", ".join([f"{argument.type.text} {argument.name}" for argument in arguments])
    return f"call {type.text} @llvm.{name}.{type.suffix}({given})", type


def _cast(opcode: str, a: Value, to: Type) -> Text:
    result = to.x(a.type.lanes)
    return f"{opcode} {a.type.text} {a.name} to {result.text}", result


def _as_unsigned(a: Any) -> Any:
    return a.view(f"u{a.dtype.itemsize}")


def _as_signed(a: Any) -> Any:
    return a.view(f"i{a.dtype.itemsize}")


# ---- arithmetic: floats and integers (which wrap) ---------------------------------------------------------


@pure(np.add, identity=0)
def add(a: Value, b: Value) -> Text:
    """`a + b`."""
    return _binary(f"{a.type.prefix}add", a, b)


@pure(np.subtract, identity=0)
def sub(a: Value, b: Value) -> Text:
    """`a - b`."""
    return _binary(f"{a.type.prefix}sub", a, b)


@pure(np.multiply, identity=1)
def mul(a: Value, b: Value) -> Text:
    """`a * b`."""
    return _binary(f"{a.type.prefix}mul", a, b)


@pure(np.divide)
def div(a: Value, b: Value) -> Text:
    """`a / b` of floats; integers have `sdiv` and `udiv`."""
    return _binary("fdiv", a, b)


@pure(np.negative)
def neg(a: Value) -> Text:
    """`-a`."""
    return (
        (f"fneg {a.type.text} {a.name}", a.type) if a.type.is_float else _binary("sub", const(a.type, 0), a)
    )


@pure(lambda a, b: np.where(a > b, a, b))
def maximum(a: Value, b: Value) -> Text:
    """The greater of two integers; for floats `a > b ? a : b`, which is `b` where either is NaN."""
    # One vmaxps on x86, which has exactly this meaning; llvm.maximum would cost three instructions more.
    return _choice("ogt", "smax", a, b)


@pure(lambda a, b: np.where(a < b, a, b))
def minimum(a: Value, b: Value) -> Text:
    """The lesser of two integers; for floats `a < b ? a : b`, which is `b` where either is NaN."""
    return _choice("olt", "smin", a, b)


def _choice(predicate: str, integers: str, a: Value, b: Value) -> Text:
    if not a.type.is_float:
        return _intrinsic(integers, a, b)
    home = a.home or b.home
    assert home is not None
    mask = home.emit(*_compare(predicate, a, b))
    return f"select {mask.type.text} {mask.name}, {a.type.text} {a.name}, {a.type.text} {b.name}", a.type


# ---- arithmetic: floats only ------------------------------------------------------------------------------


def _fma_meaning(a: Any, b: Any, c: Any) -> Any:
    """a*b + c in rational numbers, rounded once."""

    def one(a: Any, b: Any, c: Any) -> Any:
        plain = a * b + c
        if not (np.isfinite(a) and np.isfinite(b)):
            return plain
        if not np.isfinite(c):
            return c  # also where the product alone would overflow
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        if exact == 0 or abs(exact) > Fraction(np.finfo(np.float64).max):
            return plain  # the sign of zero and infinity are as ever
        near = np.float64(float(exact))
        if Fraction(float(near)) != exact and not int(near.view(np.int64)) & 1:
            # Inexact and about to be rounded again, to float32: with an odd last bit that cannot go wrong.
            odd = np.nextafter(near, np.inf if Fraction(float(near)) < exact else -np.inf)
            return near if plain.dtype == np.float64 else odd
        return near

    return np.array([one(*each) for each in zip(a.flat, b.flat, c.flat, strict=True)], a.dtype).reshape(
        a.shape
    )


@pure(_fma_meaning)
def fma(a: Value, b: Value, c: Value) -> Text:
    """`a*b + c` rounded once; on a CPU without the instruction (`Module(fused=False)`), twice."""
    home = a.home or b.home or c.home
    if home is not None and not home.fused:
        return _binary("fadd", home.emit(*_binary("fmul", a, b)), c)
    t = a.type.text
    return f"call {t} @llvm.fma.{a.type.suffix}({t} {a.name}, {t} {b.name}, {t} {c.name})", a.type


@pure(np.abs)
def fabs(a: Value) -> Text:
    """`a` without its sign."""
    return _intrinsic("fabs", a)


@pure(np.sqrt)
def sqrt(a: Value) -> Text:
    """The square root, correctly rounded."""
    return _intrinsic("sqrt", a)


@pure(np.copysign)
def copysign(a: Value, b: Value) -> Text:
    """The magnitude of `a` with the sign of `b`."""
    return _intrinsic("copysign", a, b)


@pure(np.rint)
def rint(a: Value) -> Text:
    """Round to the nearest integer, halves to even. Needs SSE4.1 on x86, else LLVM calls libm."""
    return _intrinsic("roundeven", a)


@pure(np.floor)
def floor(a: Value) -> Text:
    """The integer next below; as for `rint`, SSE4.1 is needed."""
    return _intrinsic("floor", a)


@pure(np.ceil)
def ceil(a: Value) -> Text:
    """The integer next above; as for `rint`, SSE4.1 is needed."""
    return _intrinsic("ceil", a)


# ---- integers ---------------------------------------------------------------------------------------------


@pure(np.bitwise_and, identity=-1)
def and_(a: Value, b: Value) -> Text:
    """Bits of both, also of masks."""
    return _binary("and", a, b)


@pure(np.bitwise_or, identity=0)
def or_(a: Value, b: Value) -> Text:
    """Bits of either, also of masks."""
    return _binary("or", a, b)


@pure(np.bitwise_xor, identity=0)
def xor(a: Value, b: Value) -> Text:
    """Bits that differ, also of masks."""
    return _binary("xor", a, b)


@pure(np.left_shift, identity=0)
def shl(a: Value, b: Value) -> Text:
    """`a << b`; shifts need 0 <= b < bits."""
    return _binary("shl", a, b)


@pure(lambda a, b: _as_signed(_as_unsigned(a) >> _as_unsigned(b)), identity=0)
def lshr(a: Value, b: Value) -> Text:
    """`a >> b`, zeros coming in from above."""
    return _binary("lshr", a, b)


@pure(np.right_shift, identity=0)
def ashr(a: Value, b: Value) -> Text:
    """`a >> b`, the sign coming in from above."""
    return _binary("ashr", a, b)


@pure(lambda a, b: (a - np.fmod(a, b)) // b, identity=1)
def sdiv(a: Value, b: Value) -> Text:
    """`a / b` towards zero, as hardware does and Python's `//` does not."""
    return _binary("sdiv", a, b)


@pure(lambda a, b: _as_signed(_as_unsigned(a) // _as_unsigned(b)), identity=1)
def udiv(a: Value, b: Value) -> Text:
    """`a // b` of unsigned integers."""
    return _binary("udiv", a, b)


@pure(np.fmod)
def srem(a: Value, b: Value) -> Text:
    """What `sdiv` leaves; it has the sign of `a`."""
    return _binary("srem", a, b)


@pure(lambda a, b: _as_signed(_as_unsigned(a) % _as_unsigned(b)))
def urem(a: Value, b: Value) -> Text:
    """`a % b` of unsigned integers."""
    return _binary("urem", a, b)


# ---- comparisons (false where an operand is NaN, but for not_equal) and choice ----------------------------


@pure(np.equal)
def equal(a: Value, b: Value) -> Text:
    """`a == b`."""
    return _compare("oeq" if a.type.is_float else "eq", a, b)


@pure(np.not_equal)
def not_equal(a: Value, b: Value) -> Text:
    """`a != b`, true where either is NaN."""
    return _compare("une" if a.type.is_float else "ne", a, b)


@pure(np.less)
def less(a: Value, b: Value) -> Text:
    """`a < b`, of signed integers."""
    return _compare("olt" if a.type.is_float else "slt", a, b)


@pure(np.less_equal)
def less_equal(a: Value, b: Value) -> Text:
    """`a <= b`, of signed integers."""
    return _compare("ole" if a.type.is_float else "sle", a, b)


@pure(np.greater)
def greater(a: Value, b: Value) -> Text:
    """`a > b`, of signed integers."""
    return _compare("ogt" if a.type.is_float else "sgt", a, b)


@pure(np.greater_equal)
def greater_equal(a: Value, b: Value) -> Text:
    """`a >= b`, of signed integers."""
    return _compare("oge" if a.type.is_float else "sge", a, b)


@pure(lambda a, b: _as_unsigned(a) < _as_unsigned(b))
def below(a: Value, b: Value) -> Text:
    """`a < b` of unsigned integers: `below(i, n)` is `0 <= i < n` in one comparison."""
    return _compare("ult", a, b)


@pure(np.where)
def select(mask: Value, a: Value, b: Value) -> Text:
    """`a` where the mask is true, else `b`; a scalar mask chooses whole vectors."""
    return f"select {mask.type.text} {mask.name}, {a.type.text} {a.name}, {b.type.text} {b.name}", a.type


@pure(np.all)
def all_lanes(mask: Value) -> Text:
    """Whether a mask is true in every lane."""
    return (
        f"call i1 @llvm.vector.reduce.and.{mask.type.suffix}({mask.type.text} {mask.name})",
        mask.type.scalar,
    )


@pure(lambda a: np.unpackbits(np.atleast_1d(a).view(np.uint8), bitorder="little").astype(bool))
def lanes_of_bits(a: Value) -> Text:
    """The mask whose lanes are the bits of an integer, the lowest first."""
    mask = i1.x(8 * a.type.bytes)
    return f"bitcast {a.type.text} {a.name} to {mask.text}", mask


@pure(lambda a: np.int64(sum(1 << lane for lane in np.flatnonzero(a))).astype(np.int64))
def bits_of_lanes(mask: Value) -> Text:
    """The 64-bit integer whose lowest bits are the lanes of a mask, the first the lowest; of 32 lanes at most."""
    assert mask.home is not None
    bits = f"i{mask.type.lanes}"
    number = mask.home.emit(f"bitcast {mask.type.text} {mask.name} to {bits}", i64)
    return f"zext {bits} {number.name} to i64", i64


@pure(lambda a: np.asarray(next((i for i in range(64) if int(a) >> i & 1), 64), np.int64))
def trailing_zeros(a: Value) -> Text:
    """The number of zeros below the lowest one of a 64-bit integer; 64 where there is no one."""
    return f"call i64 @llvm.cttz.i64(i64 {a.name}, i1 false)", i64


# ---- conversions: `to` is the kind of a lane --------------------------------------------------------------


@pure(lambda a, to: a.astype(to.dtype))
def sext(a: Value, to: Type) -> Text:
    """A wider signed integer."""
    return _cast("sext", a, to)


@pure(lambda a, to: _as_signed(_as_unsigned(a).astype(f"u{to.bytes}")))
def zext(a: Value, to: Type) -> Text:
    """A wider unsigned integer; of a mask, 0 and 1."""
    return _cast("zext", a, to)


@pure(lambda a, to: a.astype(to.dtype))
def trunc(a: Value, to: Type) -> Text:
    """The lower bits."""
    return _cast("trunc", a, to)


@pure(lambda a, to: a.astype(to.dtype))
def sitofp(a: Value, to: Type) -> Text:
    """The float nearest to a signed integer."""
    return _cast("sitofp", a, to)


@pure(lambda a, to: _as_unsigned(a).astype(to.dtype))
def uitofp(a: Value, to: Type) -> Text:
    """The float nearest to an unsigned integer."""
    return _cast("uitofp", a, to)


@pure(lambda a, to: a.astype(to.dtype))
def fptosi(a: Value, to: Type) -> Text:
    """The integer towards zero; meaningless outside the range of `to`."""
    return _cast("fptosi", a, to)


@pure(lambda a, to: a.astype(to.dtype))
def fpext(a: Value, to: Type) -> Text:
    """A wider float."""
    return _cast("fpext", a, to)


@pure(lambda a, to: a.astype(to.dtype))
def fptrunc(a: Value, to: Type) -> Text:
    """The narrower float that is nearest, halves to even."""
    return _cast("fptrunc", a, to)


@pure(lambda a, to: a.view(to.dtype))
def bitcast(a: Value, to: Type) -> Text:
    """The same bits, lane by lane, under another type of the same size."""
    return _cast("bitcast", a, to)


@pure(lambda a, to: np.atleast_1d(a).view(to.dtype))
def regroup(a: Value, to: Type) -> Text:
    """The same bits as lanes of another size: `to` is the whole type, as large as that of `a`."""
    assert a.type.bytes == to.bytes, f"{a.type} is not as large as {to}"
    return f"bitcast {a.type.text} {a.name} to {to.text}", to


# ---- pointers and lanes -----------------------------------------------------------------------------------


@pure(lambda a, lanes: np.full(lanes, a))
def splat(a: Value, lanes: int) -> Text:
    """A scalar in every one of `lanes` lanes."""
    assert a.home is not None
    vector = a.type.x(lanes)
    one = a.home.emit(f"insertelement {vector.text} poison, {a.type.text} {a.name}, i64 0", vector)
    return (
        f"shufflevector {vector.text} {one.name}, {vector.text} poison, <{lanes} x i32> zeroinitializer",
        vector,
    )


@lru_cache(maxsize=1024)
def _indices(indices: tuple[int, ...]) -> str:
    return f"<{len(indices)} x i32> <{', '.join(f'i32 {i}' if i >= 0 else 'i32 poison' for i in indices)}>"


@pure(lambda a, b, indices: np.concatenate([a, b])[list(indices)])
def shuffle(a: Value, b: Value, indices: Sequence[int]) -> Text:
    """Lanes picked from those of `a` followed by those of `b`; an index of -1 is a lane nobody looks at."""
    text = f"shufflevector {a.type.text} {a.name}, {b.type.text} {b.name}, {_indices(tuple(indices))}"
    return text, a.type.scalar.x(len(indices))


@pure(lambda a, lane: a[lane])
def extract(a: Value, lane: int) -> Text:
    """The scalar in one lane, counted from 0."""
    return f"extractelement {a.type.text} {a.name}, i64 {lane}", a.type.scalar


@pure(lambda a, scalar, lane: np.where(np.arange(len(a)) == lane, scalar, a))
def insert(a: Value, scalar: Value, lane: int) -> Text:
    """`a` with the scalar in place of one lane."""
    return f"insertelement {a.type.text} {a.name}, {scalar.type.text} {scalar.name}, i64 {lane}", a.type
