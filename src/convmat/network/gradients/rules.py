"""What a rule of differentiation is, and what rules write with.

    rule(node, dy, draft) -> {input's position: the gradient's name}

`dy` are the names of the gradients of the node's outputs, "" where an output has none. A rule adds nodes to the draft;
it knows no shapes: where one is needed it asks for `draft.shape(x)`, which is constant once the inputs' shapes are.
It gives gradients only for inputs that `tape.wants`, since others may not be numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...engine import Expression, ExpressionStep
from ..graph import Array, Graph, Node
from ..ops.base import OWN
from ..ops.dtypes import NUMBERS
from ..ops.pointwise import ELEMENTWISE

VERSION = 18
"""The operator set that nodes are written in here."""

Gradients = Mapping[int, str]


class Tape:
    """Nodes and constants that are added to a graph, under names that it has not."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.needed: set[str] = set()
        """The values that depend on what is differentiated by."""
        self._taken = {*graph.constants, *(each.name for each in graph.inputs), *graph.producer}
        self._shapes: dict[str, str] = {}

    def name(self, near: str) -> str:
        """A name that nothing has yet."""
        found, n = near, 0
        while found in self._taken:
            n += 1
            found = f"{near}#{n}"
        self._taken.add(found)
        return found

    def wants(self, node: Node, at: int) -> bool:
        """Whether an input is there and depends on what is differentiated by."""
        return at < len(node.inputs) and node.inputs[at] in self.needed

    def constant(self, value: Any, near: str = "constant") -> str:
        """A constant, read-only."""
        array = np.asarray(value)
        array.flags.writeable = False
        name = self.name(near)
        self.constants[name] = array
        return name

    def whole(self, *numbers: int) -> str:
        """A constant of int64, for axes and shapes."""
        return self.constant(np.array(numbers, np.int64))

    def shape(self, name: str) -> str:
        """The shape of a value: a constant once those of the inputs are known."""
        if name not in self._shapes:
            self._shapes[name] = self.op("Shape", name, near=f"{name}.shape")
        return self._shapes[name]

    def op(self, op: str, *inputs: str, near: str = "", own: bool = False, **attributes: Any) -> str:
        """The one output of a new node."""
        return self.ops(op, *inputs, outputs=(near or op.lower(),), own=own, **attributes)[0]

    def ops(
        self, op: str, *inputs: str, outputs: Sequence[str], own: bool = False, **attributes: Any
    ) -> tuple[str, ...]:
        """The outputs of a new node, named near these; "" for one that is not wanted."""
        made = tuple(self.name(near) if near else "" for near in outputs)
        self.nodes.append(Node(op, inputs, made, attributes, made[0], VERSION, OWN if own else ""))
        return made

    def each(self, *steps: tuple[Any, ...], inputs: Sequence[str], near: str = "each") -> str:
        """One pass: `steps` of an expression, each (operation, operands ..), a number in a tuple being a parameter.

        Operands count the inputs first, then the steps.
        """
        read = tuple(
            ExpressionStep(
                step[0],
                tuple(each for each in step[1:] if isinstance(each, int)),
                tuple(float(p) for each in step[1:] if isinstance(each, tuple) for p in each),
            )
            for step in steps
        )
        names = tuple(dict.fromkeys(inputs))
        # element types are known when shapes are
        found = Expression(("",) * len(inputs), read).taking([names.index(each) for each in inputs])
        operators = tuple(step[0] for step in steps)
        return self.op(ELEMENTWISE, *names, near=near, own=True, expression=found, operators=operators)

    def sum_to(self, dy: str, like: str, near: str = "") -> str:
        """The gradient of what was broadcast, from that of the result."""
        return self.op("SumTo", dy, self.shape(like), near=near or f"d.{like}", own=True)


Rule = Callable[[Node, Sequence[str], Tape], Gradients]

RULES: dict[str, Rule] = {}
"""By ONNX's name."""

FLAT = frozenset({
    "And", "ArgMax", "ArgMin", "Ceil", "ConstantOfShape", "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual",
    "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero", "Not", "OneHot", "Or", "Range", "Round", "Shape", "Sign",
    "Size", "Xor",
})  # fmt: skip
"""Operators through which no gradient goes: their results are constant in steps, or no numbers."""

TRUE_FALSE_OR_WHOLE = {"Dropout": (1,), "MaxPool": (1,), "TopK": (1,)}
"""Outputs by their numbers that are no floats: no gradient goes through these."""

SEVERAL = frozenset({"GRU", "LSTM", "RNN", "Split"})
"""Operators whose rules take gradients of all outputs; the others', of the first alone."""


def is_flat(node: Node) -> bool:
    """Whether a node stops gradients: it answers, counts, or gives whole numbers."""
    return node.key in FLAT or (node.op == "Cast" and "float" not in NUMBERS.get(node.get("to", 1), "float"))


def sloping_outputs(node: Node) -> list[str]:
    """The outputs of a node through which gradients go."""
    others = () if node.domain else TRUE_FALSE_OR_WHOLE.get(node.op, ())
    return [] if is_flat(node) else [n for at, n in enumerate(node.outputs) if n and at not in others]


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule under its operators' names."""

    def enter(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, name
            RULES[name] = function
        return function

    return enter


def without_rule(nodes: Collection[Node]) -> list[Node]:
    """Nodes that nothing here can differentiate."""
    return [node for node in nodes if node.key not in RULES and not is_flat(node)]
