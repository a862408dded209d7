"""Products of slices by the same constants, taken at once: a network unrolled in time takes one a step.

    X[t] @ w + b  =  (X @ w + b)[t]        X: (.., T, .., k), cut along any axis but the last

One product of all rows reads the weights once, where one of few rows reads them anew. What cut X before cuts the
product instead: Gather, Slice, Squeeze and Unsqueeze along other axes than the last, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import Node, Spec
from .draft import Draft
from .patterns import constant_dense

LEAST_SHARE = 0.5
"""Share of X's rows that products together must take: the others would be multiplied for nothing."""


def multiply_once(draft: Draft, node: Node) -> bool:
    """A Gemm or MatMul by constants of a slice, and the others that multiply slices of the same array by them."""
    found = _cuts_before(draft, node)
    if found is None:
        return False
    source, _ = found
    possible = [
        each
        for each in _products_of_slices(draft, source)
        if (each.op, each.inputs[1:], each.attributes) == (node.op, node.inputs[1:], node.attributes)
    ]
    if not _enough(draft, possible, source):  # before the way back from each is walked
        return False
    alike = [
        (each, other[1])
        for each in possible
        if (other := _cuts_before(draft, each)) is not None and other[0] == source
    ]
    if not _enough(draft, [each for each, _ in alike], source):
        return False
    product = _product_of_all(draft, node, source)
    draft.insert_before(min((each for each, _ in alike), key=draft.place), product)
    for each, cuts in alike:
        _cut_product(draft, each, product.outputs[0], cuts)
    return True


def _enough(draft: Draft, products: Sequence[Node], source: str) -> bool:
    """Whether there are several products, and they take a good part of the array's rows."""
    taken = sum(draft.specs[each.inputs[0]].size for each in products)
    return len(products) > 1 and taken >= LEAST_SHARE * draft.specs[source].size


def _cuts_before(draft: Draft, node: Node) -> tuple[str, list[Node]] | None:
    """The array whose slice a product by constants takes, and the nodes that cut it, first to last."""
    plain = node.op in ("Gemm", "MatMul") and not node.domain and len(node.inputs) < 4
    if (
        not plain
        or node.get("activation")
        or node.get("scale") is not None
        or constant_dense(draft, node.outputs[0]) is not node
    ):
        return None
    if (node.get("alpha", 1.0), node.get("beta", 1.0)) != (1.0, 1.0):
        return None
    name, cuts = node.inputs[0], list[Node]()
    while (cut := draft.writer(name, *AXES_OF)) is not None and _leaves_last(draft, cut):
        cuts.append(cut)
        name = cut.inputs[0]
    chosen = any(cut.op in ("Gather", "Slice") for cut in cuts)
    return (name, cuts[::-1]) if chosen and draft.constant(name) is None else None


def _products_of_slices(draft: Draft, source: str) -> list[Node]:
    """The products that read the array through nodes that cut it."""
    found, names = dict[str, Node](), [source]
    while names:
        for reader in draft.readers(names.pop()):
            if reader.op in AXES_OF and not reader.domain:
                names.append(reader.outputs[0])
            elif reader.op in ("Gemm", "MatMul"):
                found[reader.outputs[0]] = reader
    return list(found.values())


def _product_of_all(draft: Draft, node: Node, source: str) -> Node:
    """The product of all rows of the source: a MatMul, with the bias as its third input."""
    w, whole = draft.constant(node.inputs[1]), draft.specs[source]
    assert w is not None
    name = f"{source}@{node.inputs[1]}"
    names = [source, draft.keep(w.T, f"{name}.w") if node.get("transB") else node.inputs[1]]
    columns = draft.specs[names[1]].shape[1]
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = draft.constant(node.inputs[2])
        assert bias is not None
        names.append(draft.keep(np.broadcast_to(bias.reshape(-1), (columns,)).copy(), f"{name}.b"))
    made = draft.new_name(name)
    draft.specs[made] = Spec((*whole.shape[:-1], columns), whole.dtype)
    return Node("MatMul", tuple(names), (made,), {}, node.name, node.version)


def _cut_product(draft: Draft, node: Node, name: str, cuts: Sequence[Node]) -> None:
    """The slice of the product of all in the place of the product of a slice."""
    for cut in cuts[:-1]:
        made = draft.new_name(f"{node.outputs[0]}.cut")
        before, after = draft.specs[name], draft.specs[cut.outputs[0]]
        draft.specs[made] = Spec((*after.shape[:-1], before.shape[-1]), before.dtype)
        draft.insert_before(node, replace(cut, inputs=(name, *cut.inputs[1:]), outputs=(made,)))
        name = made
    last = cuts[-1]
    draft.replace([node], replace(last, inputs=(name, *last.inputs[1:]), outputs=node.outputs))


# -- which axes a node cuts --------------------------------------------------------------------------------------------


def _leaves_last(draft: Draft, node: Node) -> bool:
    """Whether a node takes rows of what it reads, each whole, whose last axis stays the last."""
    x, y = (draft.specs.get(name) for name in (node.inputs[0], node.outputs[0]))
    if x is None or y is None or x.rank < 2 or y.rank < 2 or node.domain:
        return False
    axes = AXES_OF[node.op](draft, node)
    rank = y.rank if node.op == "Unsqueeze" else x.rank
    return axes is not None and all(axis % rank < rank - 1 for axis in axes)


def _find_gathered_axes(draft: Draft, node: Node) -> list[int] | None:
    return None if draft.constant(node.inputs[1]) is None else [node.get("axis", 0)]


def _find_sliced_axes(draft: Draft, node: Node) -> list[int] | None:
    if node.version < 10 or any(n and draft.constant(n) is None for n in node.inputs[1:]):
        return None
    axes = _numbers(draft, node, 3)
    return axes if axes is not None else list(range(len(_numbers(draft, node, 1) or [])))


def _find_squeezed_axes(draft: Draft, node: Node) -> list[int] | None:
    return list(node.get("axes", ())) or _numbers(draft, node, 1)


def _numbers(draft: Draft, node: Node, at: int) -> list[int] | None:
    """The whole numbers of a constant input, None where it has none."""
    value = draft.constant(node.inputs[at]) if len(node.inputs) > at and node.inputs[at] else None
    return None if value is None else [int(n) for n in value.reshape(-1)]


AXES_OF: dict[str, Any] = {
    "Gather": _find_gathered_axes,
    "Slice": _find_sliced_axes,
    "Squeeze": _find_squeezed_axes,
    "Unsqueeze": _find_squeezed_axes,
}
"""Functions that tell which axes a node cuts, by its operator."""

__all__ = ["multiply_once"]
