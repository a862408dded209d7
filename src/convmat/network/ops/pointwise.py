"""Nodes as expressions: what an operator computes of single elements, said so that several become one pass.

    expression(node, specs)    the expression over the inputs that are there, None for operators that are no such
    Elementwise                the operator of several nodes in one: its expression is an attribute

NumPy runs an expression too, a block of the arrays at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...engine import Expression, ExpressionStep
from ..graph import Array, Node, Spec, type_name
from . import base
from .base import OWN, OWNED, Operator, Specs, broadcast_shape, input_at
from .blocks import blockwise
from .dtypes import dtype_named
from .elementwise import FOLLOWS_AXIS
from .expressions import EXPRESSIONS
from .half import AS_THEY_ARE, NARROW, WIDE
from .options import Options

ELEMENTWISE = "Elementwise"


def expression(node: Node, specs: Specs) -> Expression | None:
    """What a node computes of single elements; None where it is not said here, or not of these element types."""
    if node.op == ELEMENTWISE and node.domain == OWN:
        found: Expression = node.attributes["expression"]
        inputs = tuple([type_name(spec.dtype) for spec in specs if spec is not None])
        return found if found.inputs == inputs else replace(found, inputs=inputs)
    types = [type_name(spec.dtype) for spec in specs if spec is not None]
    if node.domain or node.op not in EXPRESSIONS or not types:
        return None
    if len(types) > 1 and node.version < FOLLOWS_AXIS:
        return None
    half = node.op not in AS_THEY_ARE
    wide = [WIDE.name if half and name in NARROW else name for name in types]
    steps = EXPRESSIONS[node.op](node, specs, wide)
    if steps is None:
        return None
    made = _narrow(Expression(tuple(wide), steps), types)
    return None if made.refusal else made


def _narrow(made: Expression, types: list[str]) -> Expression:
    """An expression in float32 for inputs some of which are half precision, and so is the result if the first is."""
    n, narrow = len(types), [i for i, name in enumerate(types) if name != made.inputs[i]]
    if not narrow:
        return made
    widened = {i: n + at for at, i in enumerate(narrow)}
    moved = {i: widened.get(i, i) for i in range(n)} | {
        n + i: n + len(narrow) + i for i in range(len(made.steps))
    }
    steps = [ExpressionStep("cast", (i,), (), WIDE.name) for i in narrow]
    steps += [replace(each, operands=tuple(moved[i] for i in each.operands)) for each in made.steps]
    if made.type == WIDE.name and 0 in narrow:
        steps.append(ExpressionStep("cast", (n + len(steps) - 1,), (), types[0]))
    return Expression(tuple(types), tuple(steps))


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    found = [input_at(node, specs, i) for i in range(len(node.inputs))]
    made = expression(node, specs)
    assert made is not None
    return (Spec(broadcast_shape(node, [each.shape for each in found]), dtype_named(made.type)),)


def _run(node: Node, *inputs: Array) -> Array:
    found = expression(node, base.specs_of(inputs))
    assert found is not None
    return found(*inputs)


def _prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> base.Step:
    found = expression(node, specs)
    assert found is not None
    return lambda *arrays: blockwise(found, arrays[-1], *arrays[:-1])


OWNED[ELEMENTWISE] = Operator(ELEMENTWISE, _shape, _run, _prepare, in_place=True)


def describe_pass(node: Node) -> str:
    """Which operators one pass does, for reports."""
    ops: Any = node.get("operators", (node.op,))
    return f"one pass: {', '.join(ops)}" if len(ops) > 1 else "one pass"
