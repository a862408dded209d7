"""Operations on single elements: what each means to NumPy, beside what is written for vectors.

An operation takes operands of one element type (`select` and `const` say theirs) and gives that type, or bool where it
`asks`. Element types are NumPy's names; in registers a bool is a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from ....lazy_dataclass import dataclass
from ...ir import powers
from ...ir.activations import FORMULAS
from ...ir.conversions import is_unsigned
from ...ir.formulas import greatest, least
from ...ir.instructions import (
    Value,
    and_,
    below,
    bitcast,
    ceil,
    const,
    equal,
    f16,
    fabs,
    floor,
    greater,
    greater_equal,
    i16,
    less,
    less_equal,
    lshr,
    maximum,
    minimum,
    not_equal,
    or_,
    rint,
    sdiv,
    select,
    shl,
    sqrt,
    srem,
    udiv,
    urem,
    xor,
)

Array = npt.NDArray[Any]
Emit = Callable[..., Value]

FLOATS = frozenset({"float32", "float64"})
SINGLE = frozenset({"float32"})
UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64"})
INTEGERS = UNSIGNED | {"int8", "int16", "int32", "int64"}
NUMBERS = FLOATS | INTEGERS
BOOL = frozenset({"bool"})
ALL = NUMBERS | BOOL | {"float16", "bfloat16"}


@dataclass(frozen=True)
class Operation:
    """Its meaning, and `emit` for the element types it takes; parameters follow the operands.

    `unsigned`: emits it for unsigned integers, where that differs. `heavy`: a vector takes dozens of instructions.
    """

    meaning: Callable[..., Any]
    emit: Emit
    types: frozenset[str] = FLOATS
    unsigned: Emit | None = None
    asks: bool = False
    heavy: bool = False

    def emit_for(self, type: str, *operands: Any) -> Value:
        """Written for operands of an element type."""
        emit = self.unsigned if self.unsigned is not None and is_unsigned(type) else self.emit
        return emit(*operands)


# ---- integers, which wrap and divide by 0 ----------------------------------------------------------------------------


def towards_zero(a: Array, b: Array) -> Array:
    """a / b; whole numbers are cut towards zero, and by 0 give 0.

    >>> towards_zero(np.array([-7, 7, 7]), np.array([2, -2, 0])).tolist()
    [-3, -3, 0]
    """
    with np.errstate(all="ignore"):
        if a.dtype.kind not in "iu":
            return np.asarray(np.true_divide(a, b))
        found = np.asarray(np.floor_divide(a, b))
    return np.asarray(found + ((found < 0) & (found * b != a)).astype(a.dtype))


def _divisor(a: Value, b: Value) -> tuple[Value, Value, Value]:
    """b so that no division traps, and where it is 0 and -1."""
    zero, one = equal(b, 0), equal(b, -1)
    return select(or_(zero, one), const(b.type, 1), b), zero, one


def _divide(a: Value, b: Value) -> Value:
    if a.type.is_float:
        return a / b
    safe, zero, one = _divisor(a, b)
    nothing = const(a.type, 0)
    return select(zero, nothing, select(one, -a, sdiv(a, safe)))


def _divide_unsigned(a: Value, b: Value) -> Value:
    zero = equal(b, 0)
    return select(zero, const(a.type, 0), udiv(a, select(zero, const(b.type, 1), b)))


def _fmod(a: Value, b: Value) -> Value:
    if a.type.is_float:
        return powers.fmod(a, b)
    safe, zero, one = _divisor(a, b)
    return select(or_(zero, one), const(a.type, 0), srem(a, safe))


def _remainder(a: Value, b: Value) -> Value:
    if a.type.is_float:
        return powers.remainder(a, b)
    left = _fmod(a, b)
    apart = and_(not_equal(left, 0), less(xor(left, b), 0))
    return select(apart, left + b, left)


def _remainder_unsigned(a: Value, b: Value) -> Value:
    zero = equal(b, 0)
    return select(zero, const(a.type, 0), urem(a, select(zero, const(b.type, 1), b)))


def _bound_shift(shift: Emit) -> Emit:
    """0 where more bits are shifted than there are."""

    def emit(a: Value, b: Value) -> Value:
        bits = 8 * a.type.scalar.bytes
        there = below(b, bits)
        nothing = const(a.type, 0)
        return select(there, shift(a, select(there, b, nothing)), nothing)

    return emit


def _select_bits(mask: Value, a: Value, b: Value) -> Value:
    """Select; 16-bit floats by their bits, as they are moved."""
    if a.type.kind != "f16":
        return select(mask, a, b)
    return bitcast(select(mask, bitcast(a, to=i16), bitcast(b, to=i16)), to=f16)


# ---- signs, extremes, comparisons ------------------------------------------------------------------------------------


def _size(a: Value) -> Value:
    return fabs(a) if a.type.is_float else maximum(a, -a)


def _sign(a: Value) -> Value:
    one, nothing = const(a.type, 1), const(a.type, 0)
    found = select(greater(a, 0), one, select(less(a, 0), const(a.type, -1), nothing))
    return select(not_equal(a, a), a, found) if a.type.is_float else found


def _sign_unsigned(a: Value) -> Value:
    return select(not_equal(a, 0), const(a.type, 1), const(a.type, 0))


def _more(a: Value, b: Value) -> Value:
    return greatest(a, b) if a.type.is_float else maximum(a, b)


def _less(a: Value, b: Value) -> Value:
    return least(a, b) if a.type.is_float else minimum(a, b)


def _comparison(
    meaning: np.ufunc, emit: Emit, unsigned: Emit | None = None, types: frozenset[str] = NUMBERS
) -> Operation:
    return Operation(meaning, emit, types, unsigned, asks=True)


def _infinite(x: Value, above: float, under: float) -> Value:
    """`above` and `under` say which infinities count."""
    signs = [equal(x, sign * inf) for sign, counts in ((1, above), (-1, under)) if counts]
    return or_(*signs) if len(signs) == 2 else signs[0] if signs else and_(less(x, 0.0), greater(x, 0.0))


def _infinities(x: Array, above: float, under: float) -> Array:
    positive = np.isposinf(x) if above else np.zeros(np.shape(x), bool)
    return np.asarray(positive | np.isneginf(x) if under else positive)


OPERATIONS: dict[str, Operation] = {
    "add": Operation(np.add, lambda a, b: a + b, NUMBERS),
    "sub": Operation(np.subtract, lambda a, b: a - b, NUMBERS),
    "mul": Operation(np.multiply, lambda a, b: a * b, NUMBERS),
    "div": Operation(towards_zero, _divide, NUMBERS, _divide_unsigned),
    "mod": Operation(np.remainder, _remainder, INTEGERS | SINGLE, _remainder_unsigned, heavy=True),
    "fmod": Operation(np.fmod, _fmod, INTEGERS | SINGLE, _remainder_unsigned, heavy=True),
    "pow": Operation(np.power, powers.power, SINGLE, heavy=True),
    "max": Operation(np.maximum, _more, NUMBERS, lambda a, b: select(below(a, b), b, a)),
    "min": Operation(np.minimum, _less, NUMBERS, lambda a, b: select(below(a, b), a, b)),
    "prelu": Operation(
        lambda x, slope: np.where(x < 0, x * slope, x),
        lambda x, s: select(less(x, 0), x * s, x),
        NUMBERS,
        lambda x, s: x,
    ),
    "neg": Operation(np.negative, lambda a: -a, NUMBERS),
    "abs": Operation(np.absolute, _size, NUMBERS, lambda a: a),
    "sign": Operation(np.sign, _sign, NUMBERS, _sign_unsigned),
    "sqrt": Operation(np.sqrt, sqrt),
    "round": Operation(np.rint, rint),
    "floor": Operation(np.floor, floor),
    "ceil": Operation(np.ceil, ceil),
    "reciprocal": Operation(np.reciprocal, lambda a: const(a.type, 1.0) / a),
    "scale": Operation(lambda a, by: a * by, lambda a, by: a * by),
    "shift": Operation(lambda a, by: a + by, lambda a, by: a + by),
    "relu_grad": Operation(
        lambda dy, y: np.where(y > 0, dy, 0), lambda dy, y: select(greater(y, 0.0), dy, const(dy.type, 0.0))
    ),
    "bent_grad": Operation(
        lambda dy, y, up, slope, lift: np.where(y > 0, dy * up, dy * (y * slope + lift)),
        lambda dy, y, up, slope, lift: select(greater(y, 0.0), dy * up, dy * (y * slope + lift)),
    ),
    "within": Operation(
        lambda dy, y, low, high: np.where((y > low) & (y < high), dy, 0),
        lambda dy, y, low, high: select(and_(greater(y, low), less(y, high)), dy, const(dy.type, 0.0)),
    ),
    "hardswish_grad": Operation(
        lambda dy, x: dy * np.where(x > 3, 1, np.where(x < -3, 0, (x + 1.5) * (1 / 3))),
        lambda dy, x: dy * select(
            greater(x, 3.0), const(x.type, 1.0), select(less(x, -3.0), const(x.type, 0.0), (x + 1.5) * (1 / 3))
        ),
    ),
    "if_negative": Operation(
        lambda x, a, b: np.where(x < 0, a, b), lambda x, a, b: select(less(x, 0.0), a, b)
    ),
    "equal": _comparison(np.equal, lambda a, b: xor(xor(a, b), 1) if a.type.kind == "i1" else equal(a, b),
                       types=NUMBERS | BOOL),
    "less": _comparison(np.less, less, below),
    "less_equal": _comparison(np.less_equal, less_equal, lambda a, b: xor(below(b, a), 1)),
    "greater": _comparison(np.greater, greater, lambda a, b: below(b, a)),
    "greater_equal": _comparison(np.greater_equal, greater_equal, lambda a, b: xor(below(a, b), 1)),
    "isnan": Operation(np.isnan, lambda a: not_equal(a, a), asks=True),
    "isinf": Operation(_infinities, _infinite, asks=True),
    "and": Operation(np.logical_and, and_, BOOL),
    "or": Operation(np.logical_or, or_, BOOL),
    "xor": Operation(np.logical_xor, xor, BOOL),
    "not": Operation(np.logical_not, lambda a: xor(a, 1), BOOL),
    "bit_and": Operation(np.bitwise_and, and_, INTEGERS | BOOL),
    "bit_or": Operation(np.bitwise_or, or_, INTEGERS | BOOL),
    "bit_xor": Operation(np.bitwise_xor, xor, INTEGERS | BOOL),
    "bit_not": Operation(np.invert, lambda a: xor(a, 1 if a.type.kind == "i1" else -1), INTEGERS | BOOL),
    "shift_left": Operation(np.left_shift, _bound_shift(shl), UNSIGNED),
    "shift_right": Operation(np.right_shift, _bound_shift(lshr), UNSIGNED),
    "select": Operation(np.where, _select_bits, ALL),
    **{
        name: Operation(
            each.meaning, each.emit, SINGLE if each.single else FLOATS, heavy=name not in ("relu", "relu6", "clip")
        )
        for name, each in FORMULAS.items()
    },
    "hardsigmoid": Operation(
        lambda x, alpha, beta: np.clip(x * alpha + beta, 0, 1), FORMULAS["hardsigmoid"].emit
    ),
}  # fmt: skip
"""By name; those of `ir.activations` among them."""

CAST, CONST = "cast", "const"
"""Operations whose result has an element type of its own: of one operand, and of a parameter alone."""

__all__ = ["ALL", "CAST", "CONST", "OPERATIONS", "Operation", "towards_zero"]
