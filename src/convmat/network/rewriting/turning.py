"""Axes that change places before and behind a product of two computed matrices: the product reads and writes them so.

    Transpose(a) @ Transpose(b)     Einsum("..mk,..kn->..mn") with the letters of a and b where their axes lie
    Transpose(a @ b)                the same with y's letters in its order
    Transpose(x)[i]                 Transpose(x[i]): what is chosen is moved alone

An attention cuts queries, keys and values from one array, turns each, and turns what it found back: none is copied for
its axes' sake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...planner import Contraction
from ..graph import Node
from ..ops.einsum import LETTERS
from ..ops.kernels import LEAST_FMAS
from .draft import Draft


def choose_first(draft: Draft, node: Node) -> bool:
    """Gather of one index of a transposed array, of which nothing else is read: moved before the Transpose."""
    index = draft.constant(node.inputs[1]) if node.op == "Gather" and not node.domain else None
    before = draft.writer(node.inputs[0], "Transpose") if index is not None and index.ndim == 0 else None
    x = draft.specs.get(before.inputs[0]) if before is not None else None
    chosen = draft.specs.get(node.outputs[0])
    if before is None or x is None or chosen is None or node.inputs[0] in draft.graph.outputs:
        return False
    readers = draft.readers(node.inputs[0])
    axis = node.get("axis", 0) % x.rank
    if any(each.op != "Gather" or each.get("axis", 0) % x.rank != axis for each in readers):
        return False
    if len(readers) > x.shape[_order(before, x.rank)[axis]]:
        return False
    order = _order(before, x.rank)
    cut = order[axis]
    made = draft.new_name(f"{node.outputs[0]}.chosen")
    draft.specs[made] = replace(chosen, shape=x.shape[:cut] + x.shape[cut + 1 :])
    attributes = {**node.attributes, "axis": cut}
    first = replace(node, inputs=(before.inputs[0], node.inputs[1]), outputs=(made,), attributes=attributes)
    draft.insert_before(node, first)
    left = tuple(a - (a > cut) for a in order if a != cut)
    draft.replace([node], replace(before, inputs=(made,), outputs=node.outputs, attributes={"perm": left}))
    return True


def turn_in_product(draft: Draft, node: Node) -> bool:
    """A MatMul of computed matrices and the Transposes around it as one Einsum."""
    if node.op != "MatMul" or node.domain or len(node.inputs) != 2 or node.attributes:
        return False
    a, b = (draft.specs.get(name) for name in node.inputs)
    computed = all(draft.constant(name) is None for name in node.inputs)
    if (
        a is None
        or b is None
        or not computed
        or a.rank != b.rank
        or a.rank < 3
        or a.shape[:-2] != b.shape[:-2]
    ):
        return False
    if a.dtype != b.dtype or a.dtype.name not in ("float32", "float64"):
        return False
    *batch, m, k, n = list(LETTERS[: a.rank + 1])
    terms, names, gone = [[*batch, m, k], [*batch, k, n]], list(node.inputs), list[Node]()
    for i, name in enumerate(node.inputs):
        before = draft.writer(name, "Transpose") if draft.has_one_reader(name) else None
        if before is not None and before.inputs[0] in draft.specs:
            order = _order(before, a.rank)
            terms[i] = [terms[i][order.index(axis)] for axis in range(a.rank)]
            names[i] = before.inputs[0]
            gone.append(before)
    y, last = [*batch, m, n], node
    readers = draft.readers(node.outputs[0])
    if draft.has_one_reader(node.outputs[0]) and readers[0].op == "Transpose" and not readers[0].domain:
        last = readers[0]
        y = [y[axis] for axis in _order(last, a.rank)]
        gone.append(node)
    equation = ",".join(map("".join, terms)) + "->" + "".join(y)
    if not gone or not _is_product(equation, [draft.specs[name].shape for name in names]):
        return False
    made = Node("Einsum", tuple(names), last.outputs, {"equation": equation}, node.name, 12)
    draft.replace([*gone, last], made)
    return True


def _is_product(equation: str, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether a contraction is a batched product of matrices, and large enough for a kernel."""
    found = Contraction.of(equation, *shapes)
    return found.refusal is None and math.prod(found.product) >= LEAST_FMAS


def _order(node: Node, rank: int) -> tuple[int, ...]:
    """The axes of what a Transpose reads, in the order of those of what it writes."""
    return tuple(node.get("perm") or range(rank)[::-1])


__all__ = ["choose_first", "turn_in_product"]
