"""Rules that make one pass over memory of elementwise nodes in a row."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine import MOST_INPUTS, Expression, ExpressionStep
from ..graph import Node, Spec
from ..ops.base import OWN
from ..ops.normalisation import factors
from ..ops.pointwise import ELEMENTWISE, expression
from .draft import Draft

MOST_STEPS = 20
"""Operations of one pass, constants not counted: beyond, arithmetic takes longer than memory."""


def join(draft: Draft, node: Node) -> bool:
    """An elementwise node, and one that writes what it alone reads, of the same shape."""
    own = _expression(draft, node)
    if own is None:
        return False
    names, shape = [name for name in node.inputs if name], draft.specs[node.outputs[0]].shape
    for at, name in enumerate(names):
        before = draft.writer(name)
        if before is None or not draft.has_one_reader(name) or draft.specs[name].shape != shape:
            continue
        if _ends_quantised(draft, before):
            continue
        other = _expression(draft, before)
        if other is None:
            continue
        read = [*(n for n in before.inputs if n), *names[:at], *names[at + 1 :]]
        inputs = _order_names(draft, read, draft.specs[node.outputs[0]])
        made = own.after(at, other).taking([inputs.index(each) for each in read])
        if len(made.inputs) > MOST_INPUTS or _operations(made) > MOST_STEPS:
            continue
        attributes = {"expression": made, "operators": (*_operators(before), *_operators(node))}
        draft.replace(
            [before, node],
            Node(ELEMENTWISE, inputs, node.outputs, attributes, node.name, node.version, OWN),
        )
        return True
    return False


def batch_as_pass(draft: Draft, node: Node) -> bool:
    """A BatchNormalization whose numbers are constant, and that no convolution took: (x - less) * by + add."""
    if (
        node.op != "BatchNormalization"
        or len(list(filter(None, node.outputs))) != 1
        or node.get("training_mode", 0)
    ):
        return False
    x, values = draft.specs.get(node.inputs[0]), [draft.constant(name) for name in node.inputs[1:5]]
    known = [value for value in values if value is not None and value.ndim == 1]
    if x is None or x.dtype.name not in ("float32", "float64") or len(known) != 4:
        return False
    found = factors(*known, epsilon=node.get("epsilon", 1e-5), dtype=x.dtype)
    kept = [
        draft.keep(each.reshape(-1, *(1,) * (x.rank - 2)), f"{node.outputs[0]}.{word}")
        for each, word in zip(found, ("less", "by", "add"), strict=True)
    ]
    steps = (ExpressionStep("sub", (0, 1)), ExpressionStep("mul", (4, 2)), ExpressionStep("add", (5, 3)))
    attributes = {"expression": Expression((x.dtype.name,) * 4, steps), "operators": (node.op,)}
    made = Node(
        ELEMENTWISE, (node.inputs[0], *kept), node.outputs[:1], attributes, node.name, node.version, OWN
    )
    draft.replace([node], made)
    return True


def _ends_quantised(draft: Draft, node: Node) -> bool:
    """Whether numbers were made 8-bit ones last: nowhere does it cost less to end a pass."""
    return _operators(node)[-1] == "QuantizeLinear" and draft.specs[node.outputs[0]].dtype.itemsize == 1


def _operations(made: Expression) -> int:
    return sum(step.operation != "const" for step in made.steps)


def _expression(draft: Draft, node: Node) -> Expression | None:
    if len(node.outputs) != 1 or any(
        name and name not in draft.specs for name in (*node.inputs, *node.outputs)
    ):
        return None
    return expression(node, [draft.specs[name] if name else None for name in node.inputs])


def _order_names(draft: Draft, names: Sequence[str], made: Spec) -> tuple[str, ...]:
    """Each name once; first, if there is one, an array in whose place the result may be written."""
    once = list(dict.fromkeys(names))
    whole = [n for n in once if draft.specs[n] == made and draft.constant(n) is None]
    return tuple(dict.fromkeys([*whole, *once]))


def _operators(node: Node) -> tuple[str, ...]:
    found: tuple[str, ...] = node.get("operators", (node.op,))
    return found
