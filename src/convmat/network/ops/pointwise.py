"""Nodes as expressions: what an operator computes of single elements, said so that several become one pass.

    expression(node, specs)    the expression over the inputs that are there, None for operators that are no such
    Elementwise                the operator of several nodes in one: its expression is an attribute

NumPy runs an expression too, a block of the arrays at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...engine import Expression, ExpressionStep
from ..graph import Array, Node, Spec
from . import base
from .base import OWN, OWNED, Operator, Options, Specs, broadcast, given, has
from .blocks import blockwise
from .elementwise import FOLLOWS_AXIS

ELEMENTWISE = "Elementwise"

Made = tuple[ExpressionStep, ...] | None


def _of_two(name: str) -> Callable[[Node, Specs], Made]:
    return lambda node, specs: (ExpressionStep(name, (0, 1)),) if len(specs) == 2 else None


def _of_one(name: str, *attributes: tuple[str, float]) -> Callable[[Node, Specs], Made]:
    return lambda node, specs: (
        ExpressionStep(name, (0,), tuple(float(node.get(a, default)) for a, default in attributes)),
    )


def _fold(name: str) -> Callable[[Node, Specs], Made]:
    """The first with the second, that with the third."""

    def made(node: Node, specs: Specs) -> Made:
        n = len(specs)
        return (
            tuple(ExpressionStep(name, (0 if i == 1 else n + i - 2, i)) for i in range(1, n))
            if n > 1
            else None
        )

    return made


def _power(node: Node, specs: Specs) -> Made:
    exponent = specs[1].value if len(specs) == 2 and specs[1] is not None else None
    if exponent is None or exponent.size != 1:
        return None
    known: dict[float, Made] = {2.0: (ExpressionStep("mul", (0, 0)),), 0.5: (ExpressionStep("sqrt", (0,)),)}
    return known.get(float(exponent.item()))


def _clip(node: Node, specs: Specs) -> Made:
    """Limits are attributes before operator set 11, inputs since; NumPy's rule: first the lower one."""
    if node.version < 11:
        return (ExpressionStep("clip", (0,), (node.get("min", -np.inf), node.get("max", np.inf))),)
    names = [word for at, word in ((1, "max"), (2, "min")) if has(specs, at)]
    n = len(names) + 1
    return tuple(ExpressionStep(word, (n + i - 1 if i else 0, i + 1)) for i, word in enumerate(names)) or None


def _swish(node: Node, specs: Specs) -> Made:
    return (ExpressionStep("silu", (0,)),) if node.get("alpha", 1.0) == 1 else None


def _gelu(node: Node, specs: Specs) -> Made:
    return (ExpressionStep("gelu_tanh" if node.get("approximate", "none") == "tanh" else "gelu", (0,)),)


EXPRESSIONS: dict[str, Callable[[Node, Specs], Made]] = {
    "Add": _of_two("add"),
    "Sub": _of_two("sub"),
    "Mul": _of_two("mul"),
    "Div": _of_two("div"),
    "PRelu": _of_two("prelu"),
    "Max": _fold("max"),
    "Min": _fold("min"),
    "Sum": _fold("add"),
    "Pow": _power,
    "Clip": _clip,
    "Swish": _swish,
    "Neg": _of_one("neg"),
    "Abs": _of_one("abs"),
    "Sqrt": _of_one("sqrt"),
    "Exp": _of_one("exp"),
    "Round": _of_one("round"),
    "Reciprocal": _of_one("reciprocal"),
    "Relu": _of_one("relu"),
    "Sigmoid": _of_one("sigmoid"),
    "Tanh": _of_one("tanh"),
    "Erf": _of_one("erf"),
    "Gelu": _gelu,
    "HardSwish": _of_one("hardswish"),
    "HardSigmoid": _of_one("hardsigmoid", ("alpha", 0.2), ("beta", 0.5)),
    "LeakyRelu": _of_one("leaky_relu", ("alpha", 0.01)),
}
"""By ONNX's name, the steps over the inputs that are there."""


def expression(node: Node, specs: Specs) -> Expression | None:
    """What a node computes of single elements; None where it is not said here."""
    if node.op == ELEMENTWISE and node.domain == OWN:
        found: Expression = node.attributes["expression"]
        return found
    there = [spec for spec in specs if spec is not None]
    if (
        node.domain
        or node.op not in EXPRESSIONS
        or not there
        or any(s.dtype != there[0].dtype for s in there)
    ):
        return None
    if there[0].dtype.name not in ("float32", "float64") or (len(there) > 1 and node.version < FOLLOWS_AXIS):
        return None
    steps = EXPRESSIONS[node.op](node, specs)
    return None if steps is None else Expression(len(there), steps)


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    found = [given(node, specs, i) for i in range(len(node.inputs))]
    return (Spec(broadcast(node, [each.shape for each in found]), found[0].dtype),)


def _run(node: Node, *inputs: Array) -> Array:
    found = expression(node, ())
    assert found is not None
    return found(*inputs)


def _prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> base.Step:
    found = expression(node, specs)
    assert found is not None
    return lambda *arrays: blockwise(found, arrays[-1], *arrays[:-1])


OWNED[ELEMENTWISE] = Operator(ELEMENTWISE, _shape, _run, _prepare, in_place=True)


def described(node: Node) -> str:
    """Which operators one pass does, for reports."""
    ops: Any = node.get("operators", (node.op,))
    return f"one pass: {', '.join(ops)}" if len(ops) > 1 else "one pass"
