"""Operators as steps of an expression: what each computes of single elements.

    made(node, specs, types)    the steps over the inputs that are there, None where it is no such

`types` are the names of the inputs' element types, half precision as the float32 that it is computed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...engine import Expression, ExpressionStep
from ..graph import Node
from .base import Specs, has_input
from .dtypes import NUMBERS

Steps = tuple[ExpressionStep, ...]
Made = Callable[[Node, Specs, Sequence[str]], Steps | None]


class Spelling:
    """Steps being written down: each call adds one and gives its number.

    >>> spelt = Spelling(("float32",))
    >>> spelt("mul", 0, spelt.const(2.0))
    2
    >>> [step.operation for step in spelt.steps]
    ['const', 'mul']
    """

    def __init__(self, types: Sequence[str]) -> None:
        self.types = tuple(types)
        self._steps: list[ExpressionStep] = []

    def __call__(self, operation: str, *operands: int, parameters: tuple[float, ...] = ()) -> int:
        """An operation on values by their numbers."""
        return self._add(ExpressionStep(operation, operands, parameters))

    def const(self, number: float) -> int:
        """A number of the first input's type."""
        return self._add(ExpressionStep("const", (), (float(number),), self.types[0]))

    def cast(self, operand: int, type: str) -> int:
        """A value in another element type."""
        return self._add(ExpressionStep("cast", (operand,), (), type))

    def _add(self, step: ExpressionStep) -> int:
        self._steps.append(step)
        return len(self.types) + len(self._steps) - 1

    @property
    def steps(self) -> Steps:
        """All of them."""
        return tuple(self._steps)


# -- the same for many operators ---------------------------------------------------------------------------------------


def _of_one(name: str, *attributes: tuple[str, float]) -> Made:
    return lambda node, specs, types: (
        ExpressionStep(name, (0,), tuple(float(node.get(a, default)) for a, default in attributes)),
    )


def _of_two(name: str) -> Made:
    return lambda node, specs, types: (ExpressionStep(name, (0, 1)),) if len(types) == 2 else None


def _fold(name: str) -> Made:
    """The first with the second, that with the third."""

    def write_steps(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
        spelt, last = Spelling(types), 0
        for i in range(1, len(types)):
            last = spelt(name, last, i)
        return spelt.steps or None

    return write_steps


def _spell(write: Callable[[Spelling, Node], object]) -> Made:
    def write_steps(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
        spelt = Spelling(types)
        write(spelt, node)
        return spelt.steps

    return write_steps


# -- operators with attributes or constants of their own ---------------------------------------------------------------


def _mean(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    added = _fold("add")(node, specs, types)
    if added is None or not types[0].startswith("float"):
        return None
    last = len(types) + len(added) - 1
    count = ExpressionStep("const", (), (float(len(types)),), types[0])
    return (*added, count, ExpressionStep("div", (last, last + 1)))


def _power(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    """Small whole exponents are products, as exact."""
    if len(types) != 2 or not types[0].startswith("float"):
        return None
    exponent, spelt = specs[1].value if specs[1] is not None else None, Spelling(types)
    known = float(exponent.item()) if exponent is not None and exponent.size == 1 else None
    if known == 0.5:
        spelt("sqrt", 0)
    elif known == -1:
        spelt("reciprocal", 0)
    elif known in (2.0, 3.0):
        square = spelt("mul", 0, 0)
        _ = spelt("mul", square, 0) if known == 3 else square
    elif types[1] == "float64" != types[0]:
        return None  # whose digits count
    else:
        spelt("pow", 0, 1 if types[1] == types[0] else spelt.cast(1, types[0]))
    return spelt.steps


def _clip(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    """Limits are attributes before operator set 11, inputs since; NumPy's rule: first the lower one."""
    if node.version < 11:
        return (ExpressionStep("clip", (0,), (node.get("min", -np.inf), node.get("max", np.inf))),)
    spelt, last = Spelling(types), 0
    for i, word in enumerate([word for at, word in ((1, "max"), (2, "min")) if has_input(specs, at)], 1):
        last = spelt(word, last, i)
    return spelt.steps or None


def _gelu(node: Node, specs: Specs, types: Sequence[str]) -> Steps:
    return (ExpressionStep("gelu_tanh" if node.get("approximate", "none") == "tanh" else "gelu", (0,)),)


def _swish(node: Node, specs: Specs, types: Sequence[str]) -> Steps:
    if node.get("alpha", 1.0) == 1:
        return (ExpressionStep("silu", (0,)),)
    spelt = Spelling(types)
    spelt("mul", 0, spelt("sigmoid", spelt("mul", 0, spelt.const(node.get("alpha")))))
    return spelt.steps


def _below(spelt: Spelling, made: int) -> int:
    """`made` where x < 0, else x."""
    return spelt("select", spelt("less", 0, spelt.const(0.0)), made, 0)


def _elu(spelt: Spelling, node: Node) -> None:
    _below(spelt, spelt("mul", spelt("expm1", 0), spelt.const(node.get("alpha", 1.0))))


def _celu(spelt: Spelling, node: Node) -> None:
    alpha = spelt.const(node.get("alpha", 1.0))
    _below(spelt, spelt("mul", spelt("expm1", spelt("div", 0, alpha)), alpha))


def _selu(spelt: Spelling, node: Node) -> None:
    alpha = spelt.const(node.get("alpha", 1.67326319217681884765625))
    gamma = spelt.const(node.get("gamma", 1.05070102214813232421875))
    spelt("mul", gamma, _below(spelt, spelt("mul", alpha, spelt("expm1", 0))))


def _softsign(spelt: Spelling, node: Node) -> None:
    spelt("div", 0, spelt("add", spelt("abs", 0), spelt.const(1.0)))


def _threshold(spelt: Spelling, node: Node) -> None:
    above = spelt("greater", 0, spelt.const(node.get("alpha", 1.0)))
    spelt("select", above, 0, spelt.const(0.0))


def _shrink(spelt: Spelling, node: Node) -> None:
    bias, edge = spelt.const(node.get("bias", 0.0)), node.get("lambd", 0.5)
    above = spelt("select", spelt("greater", 0, spelt.const(edge)), spelt("sub", 0, bias), spelt.const(0.0))
    spelt("select", spelt("less", 0, spelt.const(-edge)), spelt("add", 0, bias), above)


def _choose(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    return (ExpressionStep("select", (0, 1, 2)),) if len(types) == 3 else None


def _shift(node: Node, specs: Specs, types: Sequence[str]) -> Steps:
    return (ExpressionStep("shift_left" if node.get("direction") == "LEFT" else "shift_right", (0, 1)),)


def _cast(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    wanted = NUMBERS.get(node.get("to", 0))
    if wanted is None:
        return None
    return () if wanted == types[0] else (ExpressionStep("cast", (0,), (), wanted),)


def _one_scale(node: Node, specs: Specs, types: Sequence[str]) -> bool:
    """Whether 8- or 16-bit integers have one scale and zero point in float32."""
    scale, zero = specs[1], specs[2] if has_input(specs, 2) else None
    plain = not {"precision", "output_dtype"} & {*node.attributes} and not node.get("block_size", 0)
    fits = (
        scale is not None and scale.size == 1 and types[1] == "float32" and (zero is None or zero.size == 1)
    )
    return plain and fits and node.get("saturate", 1) == 1


def _quantise(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    """round(x / scale) + zero, cut to the type; NaN is its least."""
    made = types[2] if has_input(specs, 2) else "uint8"
    if types[0] != "float32" or made not in LIMITS or not _one_scale(node, specs, types):
        return None
    spelt = Spelling(types)
    _saturate(spelt, spelt("div", 0, 1), made, zero=2 if has_input(specs, 2) else None)
    return spelt.steps


def _saturate(spelt: Spelling, quotient: int, made: str, zero: int | None = None) -> None:
    """A quotient rounded, plus its zero point, cut to an integer type; NaN is its least."""
    low, high = (spelt.const(each) for each in LIMITS[made])
    q = spelt("round", quotient)
    q = q if zero is None else spelt("add", q, spelt.cast(zero, "float32"))
    spelt.cast(spelt("min", spelt("select", spelt("greater", q, low), q, low), high), made)


def _dequantise(node: Node, specs: Specs, types: Sequence[str]) -> Steps | None:
    """(x - zero) * scale."""
    if types[0] not in LIMITS or not _one_scale(node, specs, types):
        return None
    spelt = Spelling(types)
    x = spelt.cast(0, "float32")
    spelt("mul", spelt("sub", x, spelt.cast(2, "float32")) if has_input(specs, 2) else x, 1)
    return spelt.steps


LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
"""The least and greatest of integers whose differences float32 holds."""


def _range_scale() -> Expression:
    spelt = Spelling(("float32", "float32"))
    step = spelt("div", spelt("sub", 1, 0), spelt.const(255.0))
    spelt("select", spelt("equal", 0, 1), spelt.const(1.0), step)
    return Expression(("float32", "float32"), spelt.steps)


def _range_zero() -> Expression:
    spelt = Spelling(("float32", "float32"))
    _saturate(spelt, spelt("div", spelt("neg", 0), 1), "uint8")
    return Expression(("float32", "float32"), spelt.steps)


def _range_numbers() -> Expression:
    types = ("float32", "float32", "uint8")
    spelt = Spelling(types)
    _saturate(spelt, spelt("div", 0, 1), "uint8", zero=2)
    return Expression(types, spelt.steps)


BY_RANGE_SCALE = _range_scale()
"""The scale of DynamicQuantizeLinear, from least and greatest."""

BY_RANGE_ZERO = _range_zero()
"""The zero point, from the least and the scale."""

BY_RANGE = _range_numbers()
"""The numbers, from x, scale and zero point."""

EXPRESSIONS: dict[str, Made] = {
    "QuantizeLinear": _quantise,
    "DequantizeLinear": _dequantise,
    "Add": _of_two("add"),
    "Sub": _of_two("sub"),
    "Mul": _of_two("mul"),
    "Div": _of_two("div"),
    "Mod": lambda node, specs, types: (ExpressionStep("fmod" if node.get("fmod") else "mod", (0, 1)),),
    "Pow": _power,
    "PRelu": _of_two("prelu"),
    "Max": _fold("max"),
    "Min": _fold("min"),
    "Sum": _fold("add"),
    "Mean": _mean,
    "Clip": _clip,
    "Where": _choose,
    "Cast": _cast,
    "Equal": _of_two("equal"),
    "Greater": _of_two("greater"),
    "GreaterOrEqual": _of_two("greater_equal"),
    "Less": _of_two("less"),
    "LessOrEqual": _of_two("less_equal"),
    "And": _of_two("and"),
    "Or": _of_two("or"),
    "Xor": _of_two("xor"),
    "BitwiseAnd": _of_two("bit_and"),
    "BitwiseOr": _of_two("bit_or"),
    "BitwiseXor": _of_two("bit_xor"),
    "BitShift": _shift,
    "IsInf": _of_one("isinf", ("detect_positive", 1), ("detect_negative", 1)),
    "Gelu": _gelu,
    "Swish": _swish,
    "HardSigmoid": _of_one("hardsigmoid", ("alpha", 0.2), ("beta", 0.5)),
    "LeakyRelu": _of_one("leaky_relu", ("alpha", 0.01)),
    "Elu": _spell(_elu),
    "Celu": _spell(_celu),
    "Selu": _spell(_selu),
    "Softsign": _spell(_softsign),
    "ThresholdedRelu": _spell(_threshold),
    "Shrink": _spell(_shrink),
    **{
        op: _of_one(name)
        for op, name in {
            "Neg": "neg", "Abs": "abs", "Sign": "sign", "Sqrt": "sqrt", "Round": "round", "Floor": "floor",
            "Ceil": "ceil", "Reciprocal": "reciprocal", "Not": "not", "BitwiseNot": "bit_not", "IsNaN": "isnan",
            "Exp": "exp", "Log": "log", "Erf": "erf", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin",
            "Acos": "acos", "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Tanh": "tanh", "Asinh": "asinh",
            "Acosh": "acosh", "Atanh": "atanh", "Relu": "relu", "Sigmoid": "sigmoid", "HardSwish": "hardswish",
            "Softplus": "softplus", "Mish": "mish",
        }.items()
    },
}  # fmt: skip
"""By ONNX's name."""
