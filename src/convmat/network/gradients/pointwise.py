"""Elements each for themselves: dx = dy * f'(x), said by y = f(x) where that is enough, so that x need not be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..graph import Node
from .rules import Gradients, Tape, rule

Steps = tuple[tuple[Any, ...], ...]

# -- functions of one: steps over dy, numbered 0, and x or y, numbered 1 -----------------------------------------------


def _by(read: str) -> Callable[[dict[str, Callable[[Node], Steps]]], None]:
    """Enter functions whose gradient is an expression of dy and x, or of dy and y."""

    def enter(table: dict[str, Callable[[Node], Steps]]) -> None:
        for name, steps in table.items():

            def gradient(
                node: Node, dy: Sequence[str], tape: Tape, steps: Callable[[Node], Steps] = steps
            ) -> Gradients:
                other = node.inputs[0] if read == "x" else node.outputs[0]
                return {0: tape.each(*steps(node), inputs=[dy[0], other], near=f"d.{node.inputs[0]}")}

            rule(name)(gradient)

    return enter


def _bend(up: float, slope: float, lift: float) -> Steps:
    """dy * up where y > 0, dy * (slope * y + lift) elsewhere."""
    return (("bent_grad", 0, 1, (up, slope, lift)),)


@rule("LeakyRelu")
def leaky(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """By y, whose sign is that of x unless the slope turns it round."""
    alpha, x = node.get("alpha", 0.01), node.inputs[0]
    other = node.outputs[0] if alpha >= 0 else x
    return {0: tape.each(*_bend(1.0, 0.0, alpha), inputs=[dy[0], other], near=f"d.{x}")}


@rule("Elu", "Celu", "Selu")
def exponential(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """By y: dy * up where x > 0; dy * up * high * e^(x / wide) elsewhere, y being up * high * wide (e^(x / wide) - 1).

    Where one of these numbers is negative y has not the sign of x, and the gradient is by x.
    """
    up, high, wide = 1.0, node.get("alpha", 1.6732632423543772 if node.op == "Selu" else 1.0), 1.0
    if node.op == "Selu":
        up = node.get("gamma", 1.0507009873554805)
    elif node.op == "Celu":
        high, wide = 1.0, high
    x, y = node.inputs[0], node.outputs[0]
    if up > 0 and high >= 0 and wide > 0:
        return {0: tape.each(*_bend(up, 1 / wide, up * high), inputs=[dy[0], y], near=f"d.{x}")}
    steps: Steps = (
        ("scale", 1, (1 / wide,)), ("exp", 2), ("scale", 3, (up * high,)), ("mul", 0, 4),
        ("scale", 0, (up,)), ("neg", 1), ("if_negative", 7, 6, 5),
    )  # fmt: skip
    return {0: tape.each(*steps, inputs=[dy[0], x], near=f"d.{x}")}


_by("y")({
    "Relu": lambda node: (("relu_grad", 0, 1),),
    "Sigmoid": lambda node: (("mul", 1, 1), ("sub", 1, 2), ("mul", 0, 3)),
    "Tanh": lambda node: (("mul", 1, 1), ("neg", 2), ("shift", 3, (1.0,)), ("mul", 0, 4)),
    "Tan": lambda node: (("mul", 1, 1), ("shift", 2, (1.0,)), ("mul", 0, 3)),
    "Exp": lambda node: (("mul", 0, 1),),
    "Sqrt": lambda node: (("div", 0, 1), ("scale", 2, (0.5,))),
    "Reciprocal": lambda node: (("mul", 1, 1), ("mul", 0, 2), ("neg", 3)),
    "HardSigmoid": lambda node: (("within", 0, 1, (0.0, 1.0)), ("scale", 2, (node.get("alpha", 0.2),))),
})  # fmt: skip


def _sigmoid_of(at: int, n: int, alpha: float = 1.0) -> Steps:
    """Steps n and n + 1: the sigmoid of alpha times value `at`."""
    return (("scale", at, (alpha,)), ("sigmoid", n))


def _gelu(node: Node) -> Steps:
    """Phi(x) + x phi(x); of the tanh formula, its own derivative."""
    if node.get("approximate", "none") == "tanh":
        k, c = math.sqrt(2 / math.pi), 0.044715
        return (
            ("mul", 1, 1), ("scale", 2, (c,)), ("shift", 3, (1.0,)), ("mul", 4, 1), ("scale", 5, (k,)), ("tanh", 6),
            ("scale", 2, (3 * c * k,)), ("shift", 8, (k,)), ("mul", 9, 1),  # 10: x u'
            ("neg", 7), ("shift", 11, (1.0,)), ("mul", 12, 10), ("shift", 13, (1.0,)),  # (1 - t) x u' + 1
            ("shift", 7, (1.0,)), ("mul", 14, 15), ("scale", 16, (0.5,)), ("mul", 0, 17),
        )  # fmt: skip
    return (
        ("scale", 1, (math.sqrt(0.5),)), ("erf", 2), ("scale", 3, (0.5,)), ("shift", 4, (0.5,)),
        ("mul", 1, 1), ("scale", 6, (-0.5,)), ("exp", 7), ("scale", 8, (1 / math.sqrt(2 * math.pi),)), ("mul", 1, 9),
        ("add", 5, 10), ("mul", 0, 11),
    )  # fmt: skip


def _swish(node: Node) -> Steps:
    """s + a x s (1 - s), s = sigmoid(a x)."""
    alpha = node.get("alpha", 1.0)
    return (
        *_sigmoid_of(1, 2, alpha), ("mul", 3, 3), ("sub", 3, 4), ("mul", 2, 5), ("add", 3, 6), ("mul", 0, 7),
    )  # fmt: skip


def _mish(node: Node) -> Steps:
    """t + x sigmoid(x) (1 - t^2), t = tanh(softplus(x)) = n / (n + 2), n = e^x (e^x + 2), e^x up to e^20."""
    return (
        ("clip", 1, (-math.inf, 20.0)), ("exp", 2), ("shift", 3, (2.0,)), ("mul", 3, 4), ("shift", 5, (2.0,)),
        ("div", 5, 6), ("sigmoid", 1), ("mul", 1, 8), ("mul", 7, 7), ("neg", 10), ("shift", 11, (1.0,)),
        ("mul", 9, 12), ("add", 7, 13), ("mul", 0, 14),
    )  # fmt: skip


def _shrink(node: Node) -> Steps:
    """0 within the limits, dy outside."""
    edge = node.get("lambd", 0.5)
    return (("within", 0, 1, (-edge, edge)), ("sub", 0, 2))


_by("x")({
    "Neg": lambda node: (("neg", 0),),
    "Abs": lambda node: (("sign", 1), ("mul", 0, 2)),
    "Log": lambda node: (("div", 0, 1),),
    "Erf": lambda node: (
        ("mul", 1, 1), ("neg", 2), ("exp", 3), ("scale", 4, (2 / math.sqrt(math.pi),)), ("mul", 0, 5)
    ),
    "Atan": lambda node: (("mul", 1, 1), ("shift", 2, (1.0,)), ("div", 0, 3)),
    "Gelu": _gelu,
    "Swish": _swish,
    "Mish": _mish,
    "Softplus": lambda node: (("sigmoid", 1), ("mul", 0, 2)),
    "Softsign": lambda node: (("abs", 1), ("shift", 2, (1.0,)), ("mul", 3, 3), ("div", 0, 4)),
    "HardSwish": lambda node: (("hardswish_grad", 0, 1),),
    "Sinh": lambda node: (("cosh", 1), ("mul", 0, 2)),
    "Cosh": lambda node: (("sinh", 1), ("mul", 0, 2)),
    "Asin": lambda node: (("mul", 1, 1), ("neg", 2), ("shift", 3, (1.0,)), ("sqrt", 4), ("div", 0, 5)),
    "Acos": lambda node: (("mul", 1, 1), ("neg", 2), ("shift", 3, (1.0,)), ("sqrt", 4), ("div", 0, 5), ("neg", 6)),
    "Atanh": lambda node: (("mul", 1, 1), ("neg", 2), ("shift", 3, (1.0,)), ("div", 0, 4)),
    "Asinh": lambda node: (("mul", 1, 1), ("shift", 2, (1.0,)), ("sqrt", 3), ("div", 0, 4)),
    "Acosh": lambda node: (("mul", 1, 1), ("shift", 2, (-1.0,)), ("sqrt", 3), ("div", 0, 4)),
    "Shrink": _shrink,
    "ThresholdedRelu": lambda node: (("within", 0, 1, (node.get("alpha", 1.0), math.inf)),),
})  # fmt: skip


@rule("Sin", "Cos")
def wave(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The other of the two, with its sign."""
    other = tape.op("Cos" if node.op == "Sin" else "Sin", node.inputs[0])
    steps: Steps = (("mul", 0, 1),) if node.op == "Sin" else (("mul", 0, 1), ("neg", 2))
    return {0: tape.each(*steps, inputs=[dy[0], other], near=f"d.{node.inputs[0]}")}


@rule("Clip")
def clip(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy where y is between the limits; a limit that is no constant has dy where it is y."""
    x, low, high = (*node.inputs, "", "")[:3]
    numbers = [
        node.get(word, end) if not name else _number(tape, name)
        for word, end, name in (("min", -math.inf, low), ("max", math.inf, high))
    ]
    if None not in numbers:
        steps = ("within", 0, 1, tuple(numbers))
        return {0: tape.each(steps, inputs=[dy[0], node.outputs[0]], near=f"d.{x}")}
    return _clip_by_values(node, dy[0], tape, low, high)


def _clip_by_values(node: Node, dy: str, tape: Tape, low: str, high: str) -> Gradients:
    """y = min(max(x, low), high): dy to the one of the three that y is; to x where it is on a limit."""
    x, zeros = node.inputs[0], tape.op("Zeros", dy, own=True)
    raised = tape.op("Max", x, low) if low else x
    left = tape.op("Where", tape.op("Greater", raised, high), zeros, dy) if high else dy
    found = {}
    if tape.wants(node, 2):
        found[2] = tape.sum_to(tape.op("Where", tape.op("Greater", raised, high), dy, zeros), high)
    under = tape.op("Less", x, low) if low else ""
    if tape.wants(node, 1):
        found[1] = tape.sum_to(tape.op("Where", under, left, zeros), low)
    if tape.wants(node, 0):
        found[0] = tape.op("Where", under, zeros, left, near=f"d.{x}") if low else left
    return found


def _number(tape: Tape, name: str) -> float | None:
    """The number that a value is, if it is one and constant."""
    value = tape.graph.constants.get(name)
    return None if value is None or value.size != 1 else float(value.item())


# -- functions of several ----------------------------------------------------------------------------------------------


@rule("Add", "Sum")
def add(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy for each, summed over what was broadcast."""
    return {at: tape.sum_to(dy[0], name) for at, name in enumerate(node.inputs) if tape.wants(node, at)}


@rule("Mean")
def mean(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """An equal share of dy for each, summed over what was broadcast."""
    share = tape.each(("scale", 0, (1 / len(node.inputs),)), inputs=[dy[0]])
    return {at: tape.sum_to(share, name) for at, name in enumerate(node.inputs) if tape.wants(node, at)}


@rule("Sub")
def sub(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy, and -dy."""
    found = {}
    if tape.wants(node, 0):
        found[0] = tape.sum_to(dy[0], node.inputs[0])
    if tape.wants(node, 1):
        found[1] = tape.sum_to(tape.each(("neg", 0), inputs=[dy[0]]), node.inputs[1])
    return found


@rule("Mul")
def mul(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy times the other."""
    found = {}
    for at, name in enumerate(node.inputs):
        if tape.wants(node, at):
            product = tape.each(("mul", 0, 1), inputs=[dy[0], node.inputs[1 - at]])
            found[at] = tape.sum_to(product, name)
    return found


@rule("Div")
def div(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy / b, and -dy * y / b."""
    a, b = node.inputs
    found = {}
    if tape.wants(node, 0):
        found[0] = tape.sum_to(tape.each(("div", 0, 1), inputs=[dy[0], b]), a)
    if tape.wants(node, 1):
        steps = (("mul", 0, 1), ("div", 3, 2), ("neg", 4))
        found[1] = tape.sum_to(tape.each(*steps, inputs=[dy[0], node.outputs[0], b]), b)
    return found


@rule("Pow")
def power(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy * p * x^(p - 1), 0 where p is; dy * y * log x, 0 where x is."""
    x, p = node.inputs
    found = {}
    if tape.wants(node, 0) and _number(tape, p) == 2:
        found[0] = tape.sum_to(tape.each(("mul", 0, 1), ("scale", 2, (2.0,)), inputs=[dy[0], x]), x)
    elif tape.wants(node, 0):
        number = tape.op("CastLike", p, x)
        lower = tape.op("Pow", x, tape.each(("shift", 0, (-1.0,)), inputs=[number]))
        product = tape.each(("mul", 0, 1), ("mul", 3, 2), inputs=[dy[0], lower, number])
        found[0] = tape.sum_to(_zero_where(tape, number, product), x)
    if tape.wants(node, 1):
        log = tape.op("Log", x)
        product = tape.each(("mul", 0, 1), ("mul", 2, 3), inputs=[dy[0], node.outputs[0], log])
        found[1] = tape.sum_to(tape.op("CastLike", _zero_where(tape, x, product), p), p)
    return found


def _zero_where(tape: Tape, name: str, value: str) -> str:
    """The value, but 0 where another is 0."""
    nothing = tape.op("Zeros", name, own=True)
    there = tape.op("Equal", name, nothing)
    return tape.op("Where", there, tape.op("Zeros", value, own=True), value)


@rule("Max", "Min")
def extreme(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy to those that are the extreme, in equal parts."""
    near = tuple(f"d.{name}" for name in node.inputs)
    made = tape.ops("MostGrad", dy[0], node.outputs[0], *node.inputs, outputs=near, own=True)
    return {at: tape.sum_to(made[at], name) for at, name in enumerate(node.inputs) if tape.wants(node, at)}


@rule("PRelu")
def prelu(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy, times the slope where x < 0; the slope's own is a sum of dy * x there."""
    x, slope = node.inputs
    found = {}
    if tape.wants(node, 0):
        steps = (("mul", 0, 2), ("if_negative", 1, 3, 0))
        found[0] = tape.each(*steps, inputs=[dy[0], x, slope], near=f"d.{x}")
    if tape.wants(node, 1):
        product = tape.each(("mul", 0, 1), ("sub", 0, 0), ("if_negative", 1, 2, 3), inputs=[dy[0], x])
        found[1] = tape.sum_to(product, slope)
    return found
