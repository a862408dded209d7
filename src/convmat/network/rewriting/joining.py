"""Rules that make one pass over memory of elementwise nodes in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...engine import MOST_INPUTS, Expression, ExpressionStep
from ..graph import Node, Spec
from ..ops.base import OWN
from ..ops.classical import DOMAIN, numbers_of
from ..ops.expressions import Spelling
from ..ops.normalisation import factors
from ..ops.pointwise import ELEMENTWISE, expression
from .draft import Draft

BYTES = (np.uint8, np.int8)

SHORTEST_ROW = 16
"""Bytes in a row from which on a table for each index of an axis is loaded, as kernels have it."""

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
        if before is None or before.outputs != (name,) or draft.specs[name].shape != shape:
            continue
        alone, tables = draft.has_one_reader(name), _are_tables(draft, before, node)
        if not alone and not _reads_bytes(draft, before):
            continue
        if _ends_quantised(draft, before) and not tables and not _are_rounded_alone(draft, before, node):
            continue
        other = _expression(draft, before)
        if other is None:
            continue
        read = [*(n for n in before.inputs if n), *names[:at], *names[at + 1 :]]
        inputs = _order_names(draft, read, draft.specs[node.outputs[0]])
        made = own.after(at, other).taking([inputs.index(each) for each in read])
        if not tables and (len(made.inputs) > MOST_INPUTS or _operations(made) > MOST_STEPS):
            continue
        attributes = {"expression": made, "operators": (*_operators(before), *_operators(node))}
        draft.replace(
            [before, node] if alone else [node],
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


def scale_as_pass(draft: Draft, node: Node) -> bool:
    """Scaler of ai.onnx.ml is (x - offset) * scale in float64, rounded once: an elementwise node."""
    x = draft.specs.get(node.inputs[0])
    if node.key != SCALER or x is None or not x.rank or x.dtype.name not in SCALED:
        return False
    factors = [numbers_of(node, name, [default]) for name, default in (("offset", 0.0), ("scale", 1.0))]
    if any(each.size not in (1, x.shape[-1]) for each in factors):
        return False  # the operator says what is wrong
    kept = [
        draft.keep(each.copy(), f"{node.outputs[0]}.{word}")
        for each, word in zip(factors, ("less", "by"), strict=True)
    ]
    spelt = Spelling((x.dtype.name, "float64", "float64"))
    scaled = spelt("mul", spelt("sub", spelt.cast(0, "float64") if x.dtype.name != "float64" else 0, 1), 2)
    spelt.cast(scaled, "float32")
    attributes = {"expression": Expression(spelt.types, spelt.steps), "operators": (node.op,)}
    made = Node(
        ELEMENTWISE, (node.inputs[0], *kept), node.outputs[:1], attributes, node.name, node.version, OWN
    )
    draft.replace([node], made)
    return True


SCALER = f"{DOMAIN}.Scaler"

SCALED = ("float32", "float64", "int32", "int64")
"""Element types that Scaler takes."""


def _ends_quantised(draft: Draft, node: Node) -> bool:
    """Whether numbers were made 8-bit ones last: nowhere does it cost less to end a pass."""
    return _operators(node)[-1] == "QuantizeLinear" and draft.specs[node.outputs[0]].dtype.itemsize == 1


def _reads_bytes(draft: Draft, node: Node) -> bool:
    """Whether a node dequantises bytes: to read these again costs less than the float32 numbers it makes of them."""
    return node.op == "DequantizeLinear" and not node.domain and draft.specs[node.inputs[0]].dtype in BYTES


def _are_tables(draft: Draft, before: Node, node: Node) -> bool:
    """Whether two nodes in a row make of each byte another one, by constants of one axis at most: one table does, too.

    The second may read what else is made of that byte: f(x) * g(x) is a function of x.
    """
    shape = draft.specs[node.outputs[0]].shape
    read = {name for each in (before, node) for name in each.inputs if name} - {*before.outputs}
    late = {name for name in read if draft.constant(name) is None}
    constants, sources = read - late, set()
    for name in late:
        source, more = _find_source(draft, name)
        sources.add(source)
        constants |= more if len(late) > 1 else set()
    if len(sources) != 1 or any(draft.specs[name].shape != shape for name in (*sources, *late)):
        return False
    if any(draft.specs[name].dtype not in BYTES for name in (*late, *before.outputs, *node.outputs)):
        return False
    axes = set()
    for name in constants:
        own = draft.specs[name].shape
        axes |= {len(shape) - len(own) + axis for axis, extent in enumerate(own) if extent > 1}
    return not axes or (len(axes) == 1 and math.prod(shape[max(axes) + 1 :]) >= SHORTEST_ROW)


def _find_source(draft: Draft, name: str) -> tuple[str, set[str]]:
    """The byte that a value is a function of, by nodes that nobody else reads from; the constants that these take."""
    constants = set[str]()
    while (node := draft.writer(name)) is not None and draft.has_one_reader(name):
        late = [each for each in node.inputs if each and draft.constant(each) is None]
        if len(late) != 1 or _expression(draft, node) is None or draft.specs[late[0]].dtype not in BYTES:
            break
        constants |= {each for each in node.inputs if each} - {*late}
        name = late[0]
    return name, constants


def _are_rounded_alone(draft: Draft, before: Node, node: Node) -> bool:
    """Whether numbers that were none of 8 bits become such and others again, for no further pass.

    They are then rounded where they are. Otherwise a pass from 8 bits to 8 bits may be a table.
    """
    (out,) = node.outputs
    arrays = [draft.specs[name] for name in before.inputs if name and draft.constant(name) is None]
    if any(each.dtype.itemsize == 1 for each in (*arrays, draft.specs[out])):
        return False
    return not draft.has_one_reader(out) or all(
        _expression(draft, each) is None for each in draft.readers(out)
    )


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
