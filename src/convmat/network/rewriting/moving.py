"""Rules for nodes that move elements, or do not even that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Node
from ..ops.base import OWN
from .draft import Draft


def cancel_transposes(draft: Draft, node: Node) -> bool:
    """Two in a row are one; one that moves no element is a Reshape or nothing."""
    x = draft.specs.get(node.inputs[0]) if node.op == "Transpose" else None
    if x is None:
        return False
    order = tuple(node.get("perm") or range(x.rank)[::-1])
    if order == tuple(range(x.rank)):
        return draft.drop(node, node.inputs[0])
    before = draft.writer(node.inputs[0], "Transpose")
    if before is not None:
        first = tuple(before.get("perm") or range(x.rank)[::-1])
        both = tuple(first[a] for a in order)
        made = replace(node, inputs=before.inputs, attributes={**node.attributes, "perm": both})
        draft.replace([before, node] if draft.has_one_reader(node.inputs[0]) else [node], made)
        return True
    long = [a for a in order if x.shape[a] != 1]
    if long != sorted(long):
        return False
    shape = draft.keep(np.array([x.shape[a] for a in order], np.int64), f"{node.outputs[0]}.shape")
    attributes = {"allowzero": 1}
    draft.replace([node], Node("Reshape", (node.inputs[0], shape), node.outputs, attributes, node.name, 14))
    return True


def skip(draft: Draft, node: Node) -> bool:
    """Nodes that give what they take."""
    if node.op == "SumTo" and node.domain == OWN:
        x, y = (draft.specs.get(name) for name in (node.inputs[0], node.outputs[0]))
        return x is not None and x == y and draft.drop(node, node.inputs[0])
    same = node.op == "Cast" and draft.specs.get(node.inputs[0]) == draft.specs.get(node.outputs[0])
    if (
        not (same or node.op in ("Identity", "Dropout"))
        or [i for i, name in enumerate(node.outputs) if name] != [0]
        or node.inputs[0] not in draft.specs
    ):
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    flag = draft.constant(training) if training else None
    if training and (flag is None or flag.any()):
        return False
    return draft.drop(replace(node, outputs=node.outputs[:1]), node.inputs[0])
