"""A rule for tables that are kept in few bits: rows are taken of them before they are made larger.

    f(W)[i] = f(W[i])           f element by element: Cast, DequantizeLinear, arithmetic with numbers or one a row

So embeddings in 8 bits stay in 8 bits. It comes before anything is computed of constants, or f(W) would be there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Array, Node, Shape
from .draft import Draft

ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def rows_first(draft: Draft, node: Node) -> bool:
    """Rows of a table that is computed of numbers in 8 bits."""
    if (
        node.op != "Gather"
        or node.domain
        or node.get("axis", 0)
        or draft.constant(node.inputs[1]) is not None
    ):
        return False
    table, indices = node.inputs[:2]
    readers = draft.readers(table)
    shape = _shape(draft, table)
    if (
        shape is None
        or len(shape) < 2
        or table in draft.graph.outputs
        or any(r.op != "Gather" for r in readers)
    ):
        return False
    if read_constant(draft, table) is not None or not _holds_bytes(draft, table, shape):
        return False
    rows = draft.writer(_take_rows(draft, node, table, indices, shape))
    assert rows is not None
    draft.replace([rows, node], replace(rows, outputs=node.outputs, name=node.name))
    return True


def read_constant(draft: Draft, name: str) -> Array | None:
    """The value of a constant, one that a node of its own holds too."""
    node = draft.writer(name, "Constant")
    value = draft.constant(name) if node is None else node.get("value")
    return value if isinstance(value, np.ndarray) else None


def _operands(draft: Draft, name: str) -> tuple[str, ...]:
    """What a value is computed of element by element; nothing where it is not."""
    node = draft.writer(name, "Cast", "DequantizeLinear", *ARITHMETIC)
    return (
        () if node is None or node.domain or node.get("block_size", 0) else tuple(filter(None, node.inputs))
    )


def _shape(draft: Draft, name: str) -> Shape | None:
    """Shape of a value computed of constants whose rows can be taken of them; None of any other."""
    value = read_constant(draft, name)
    if value is not None:
        return value.shape
    found = [_shape(draft, each) for each in _operands(draft, name)]
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found):
        return None
    most = max(known, key=len)
    # Of as many axes, or fewer by one and more: what has 1 row for all would have an axis too many beside one row.
    fits = all(each[:1] == most[:1] if len(each) == len(most) else len(each) < len(most) for each in known)
    node = draft.writer(name)
    grains = known[1:] if node is not None and node.op == "DequantizeLinear" else []
    if not fits or any(grains):
        return None
    try:
        return np.broadcast_shapes(*known)
    except ValueError:
        return None


def _holds_bytes(draft: Draft, name: str, shape: Shape) -> bool:
    """Whether the numbers of the table itself are of 8 bits."""
    value = read_constant(draft, name)
    if value is not None:
        return value.shape == shape and value.dtype.itemsize == 1
    return any(_holds_bytes(draft, each, shape) for each in _operands(draft, name))


def _take_rows(draft: Draft, node: Node, name: str, indices: str, shape: Shape) -> str:
    """The value with rows taken of all that has a row for each of the table's; new nodes stand before `node`."""
    value = read_constant(draft, name)
    own = _shape(draft, name)
    if own is None or len(own) < len(shape):
        return name
    made = draft.new_name(f"{name}.rows")
    if value is not None:
        new = Node("Gather", (name, indices), (made,), {"axis": 0}, "", node.version)
    else:
        writer = draft.writer(name)
        assert writer is not None
        inputs = tuple(
            _take_rows(draft, node, each, indices, shape) if each else each for each in writer.inputs
        )
        new = replace(writer, inputs=inputs, outputs=(made,), name="")
    draft.insert_before(node, new)
    return made
