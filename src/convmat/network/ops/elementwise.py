"""Arithmetic, comparisons and logic on single elements, of one array or several that broadcast.

Each is a NumPy ufunc, or a formula that names one; three rules of shapes serve all.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from ...engine import towards_zero
from ..graph import Array, Node, Spec
from .base import Specs, Step, axis_of, broadcast_shape, input_at, operator, same_spec, step_operator
from .blocks import blockwise
from .options import Options

FOLLOWS_AXIS = 7
"""The operator set since which operands broadcast as in NumPy; before, `axis` said where the second one begins."""


def _align_shape(node: Node, first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """The second operand's shape, with the axes that the attribute `axis` of old operator sets leaves to its right."""
    if node.version >= FOLLOWS_AXIS or "axis" not in node.attributes or len(second) >= len(first):
        return second
    behind = len(first) - axis_of(node, node.get("axis"), len(first)) - len(second)
    if behind < 0:
        raise node.error(
            f"its second input has {len(second)} axes\n  they do not fit from axis {node.get('axis')} on"
        )
    return (*second, *(1,) * behind)


def _together(node: Node, specs: Specs) -> tuple[Spec, ...]:
    """All inputs broadcast; the element type is the first one's."""
    found = [input_at(node, specs, i) for i in range(max(len(specs), 1))]
    if any(each.dtype != found[0].dtype for each in found[1:]):
        raise node.error(
            f"its inputs have different element types: {', '.join(str(each.dtype) for each in found)}"
        )
    shapes = [found[0].shape, *(_align_shape(node, found[0].shape, each.shape) for each in found[1:])]
    return (Spec(broadcast_shape(node, shapes), found[0].dtype),)


def _compare_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    (first,) = _together(node, specs)
    return (Spec(first.shape, np.dtype(bool)),)


def _ask_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec(input_at(node, specs, 0).shape, np.dtype(bool)),)


# -- one pass: the ufunc writes where it should ------------------------------------------------------------------------


def _enter(names: dict[str, np.ufunc], rule: Any) -> None:
    def prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
        ufunc = names[node.op]
        if node.version >= FOLLOWS_AXIS or len(specs) < 2:
            return ufunc  # its last argument is where the result goes
        second = _align_shape(node, input_at(node, specs, 0).shape, input_at(node, specs, 1).shape)
        return lambda a, b, out: ufunc(a, b.reshape(second), out)

    step_operator(*names, shape=rule, in_place=rule not in (_compare_shape, _ask_shape))(prepare)


_enter({
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}, _together)  # fmt: skip
_enter({
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
}, _compare_shape)  # fmt: skip
_enter({
    "Abs": np.absolute, "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh,
    "Atan": np.arctan, "Atanh": np.arctanh, "BitwiseNot": np.invert, "Ceil": np.ceil, "Cos": np.cos, "Cosh": np.cosh,
    "Exp": np.exp, "Floor": np.floor, "Log": np.log, "Neg": np.negative, "Reciprocal": np.reciprocal,
    "Round": np.rint, "Sign": np.sign, "Sin": np.sin, "Sinh": np.sinh, "Sqrt": np.sqrt, "Tan": np.tan, "Tanh": np.tanh,
}, same_spec)  # fmt: skip
_enter({"Not": np.logical_not, "IsNaN": np.isnan}, _ask_shape)


# -- division and powers, whose meaning depends on the element types ---------------------------------------------------


def _divide(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    first, second = input_at(node, specs, 0), input_at(node, specs, 1)
    plain = first.dtype.kind not in "iub" and _align_shape(node, first.shape, second.shape) == second.shape
    return np.true_divide if plain else None


@operator("Div", shape=_together, prepare=_divide, in_place=True)
def div(node: Node, a: Array, b: Array) -> Any:
    """a / b; whole numbers are cut towards zero."""
    return towards_zero(a, b.reshape(_align_shape(node, a.shape, b.shape)))


def _remains(node: Node, specs: Specs) -> tuple[Spec, ...]:
    if node.get("fmod", 0) not in (0, 1):
        raise node.error(f"its fmod is {node.get('fmod')}\n  0 or 1 is needed")
    return _together(node, specs)


@operator("Mod", shape=_remains)
def mod(node: Node, a: Array, b: Array) -> Any:
    """The remainder: of the divisor's sign, or with `fmod` of the dividend's; by 0, of whole numbers, 0."""
    return np.fmod(a, b) if node.get("fmod") else np.remainder(a, b)


@operator("BitShift", shape=_together)
def bit_shift(node: Node, a: Array, b: Array) -> Any:
    """a shifted by b places in the `direction`."""
    return np.left_shift(a, b) if node.get("direction") == "LEFT" else np.right_shift(a, b)


def _power_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    base, exponent = input_at(node, specs, 0), input_at(node, specs, 1)
    return (
        Spec(broadcast_shape(node, [base.shape, _align_shape(node, base.shape, exponent.shape)]), base.dtype),
    )


def _power(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    base, exponent = input_at(node, specs, 0), input_at(node, specs, 1)
    if base.dtype.kind != "f":
        return None
    if exponent.value is not None and exponent.size == 1 and made[0].shape == base.shape:
        p = float(exponent.value.item())
        if p == 2.0:
            return lambda x, _, out: np.multiply(x, x, out=out)
        if p == 0.5:
            return lambda x, _, out: np.sqrt(x, out=out)
    return (
        np.power
        if exponent.dtype == base.dtype and _align_shape(node, base.shape, exponent.shape) == exponent.shape
        else None
    )


@operator("Pow", shape=_power_shape, prepare=_power, in_place=True)
def power(node: Node, a: Array, b: Array) -> Any:
    """a ** b, of a's element type."""
    b = b.reshape(_align_shape(node, a.shape, b.shape))
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return np.where(b < 0, np.power(a.astype(np.float64), b), np.power(a, np.maximum(b, 0))).astype(
            a.dtype
        )
    return np.power(a, b).astype(a.dtype)


# -- any number of operands --------------------------------------------------------------------------------------------


FOLDS = {"Max": np.maximum, "Min": np.minimum, "Sum": np.add, "Mean": np.add}


@step_operator(*FOLDS, shape=_together, in_place=True)
def fold(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """All inputs, one after the other, joined by a ufunc; the Mean is a share of their sum."""
    ufunc, share = FOLDS[node.op], node.op == "Mean"

    def together(*several: Array) -> Array:
        found = reduce(ufunc, several)
        return found / found.dtype.type(len(several)) if share else found

    if len(specs) == 2 and not share:
        return lambda a, b, out: ufunc(a, b, out=out)
    return lambda *arrays: blockwise(together, arrays[-1], *arrays[:-1])


# -- choices -----------------------------------------------------------------------------------------------------------


def _choose_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    condition, a, b = (input_at(node, specs, i) for i in range(3))
    if condition.dtype != bool or a.dtype != b.dtype:
        raise node.error(
            f"its inputs are {condition.dtype}, {a.dtype} and {b.dtype}\n  a bool and two of one type are needed"
        )
    return (Spec(broadcast_shape(node, [condition.shape, a.shape, b.shape]), a.dtype),)


@operator(
    "Where", shape=_choose_shape, prepare=lambda *_: lambda c, a, b, out: blockwise(np.where, out, c, a, b)
)
def where(node: Node, condition: Array, a: Array, b: Array) -> Any:
    """a where the condition holds, else b."""
    return np.where(condition, a, b)


@operator("IsInf", shape=_ask_shape)
def is_inf(node: Node, x: Array) -> Any:
    """Which elements are infinite, of the signs asked for."""
    above = np.isposinf(x) if node.get("detect_positive", 1) else False
    return above | (np.isneginf(x) if node.get("detect_negative", 1) else np.zeros(x.shape, bool))
