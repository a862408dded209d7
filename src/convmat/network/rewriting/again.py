"""Passes over the bytes that a product made, as a part of the product: they are rounded again before they are stored.

    requantised     q = saturate(round((q - zero) * factor + offset))         of each channel: a normalisation, say
    added           q = saturate(round(q * by + (residual * with + add)))     a quantised Add

A function of one byte has 256 values for each channel and one of two bytes 65,536: numbers are taken if they give every
one of them, so a product with such a pass behind it is the two nodes to the last bit. Where there are none, the pass
stays one of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Array, Node
from ..ops.base import OWN
from ..ops.integers import ADDITION, AGAIN, FACTOR, INTEGER_CONV, OF_FLOATS, RESIDUAL, Y_ZERO
from ..ops.pointwise import ELEMENTWISE, expression
from ..ops.weighing import BYTES, find_factors, find_requantising
from .draft import Draft

LEAST_TESTED = 1 << 14
"""Elements from which on an Add repays that the 65,536 values of its function are computed."""

LARGEST_BIAS, MOST_TERMS = 1 << 30, 1 << 14
"""A bias of a QLinearConv, and products of bytes beside it, whose sums int32 surely holds: 2^30 + 2^14 * 2^16."""


def requantise_in_product(draft: Draft, node: Node) -> bool:
    """A pass that makes of each byte of a product another one, by two numbers for each channel."""
    late = _read_late(draft, node)
    if late is None or len(late) != 1:
        return False
    at, name = late[0]
    product = _find_product(draft, name, FACTOR)
    if product is None or draft.specs[name] != draft.specs[node.outputs[0]]:
        return False
    shape, numbers = draft.specs[name].shape, []
    for each in node.inputs:
        value = draft.constant(each)
        if value is not None:
            lined = (1,) * (len(shape) - value.ndim) + value.shape
            if any(n > 1 for axis, n in enumerate(lined) if axis != 1) or len(lined) > len(shape):
                return False
            numbers.append(value.reshape(-1, 1))
    numbers.insert(at, np.arange(256, dtype=np.uint8).view(draft.specs[name].dtype)[None])
    said = expression(node, [draft.specs[each] for each in node.inputs])
    zero = int(np.asarray(draft.constant(product.inputs[Y_ZERO])).item())
    found = None if said is None else find_requantising(said, numbers, at, shape[1], zero)
    if found is None:
        return False
    kept = [
        draft.keep(each, f"{node.outputs[0]}.{w}")
        for each, w in zip(found, ("factor", "offset"), strict=True)
    ]
    return _put(draft, product, node, FACTOR, kept)


def add_in_product(draft: Draft, node: Node) -> bool:
    """A pass that adds other bytes to those of a product."""
    late, made = _read_late(draft, node), draft.specs.get(node.outputs[0])
    if late is None or made is None or len(late) != 2 or made.size < LEAST_TESTED:
        return False
    specs = [draft.specs[each] for each in node.inputs]
    if any(draft.specs[name] != made for _, name in late):
        return False
    if any(spec.size != 1 for i, spec in enumerate(specs) if i not in dict(late)):
        return False
    said = expression(node, specs)
    # The later of two products adds the earlier one's.
    pairs = sorted((late, late[::-1]), key=lambda pair: -_place(draft, pair[0][1]))
    for (at, name), (other, residual) in pairs:
        product = _find_product(draft, name, RESIDUAL)
        if product is None or said is None:
            continue
        found = find_factors(said, specs, (at, other))
        if found is None:
            return False
        addition = draft.keep(np.array(found, np.float32), f"{node.outputs[0]}.addition")
        return _put(draft, product, node, RESIDUAL, [residual, addition])
    return False


def _place(draft: Draft, name: str) -> int:
    writer = draft.writer(name)
    return -1 if writer is None else draft.place(writer)


def _read_late(draft: Draft, node: Node) -> list[tuple[int, str]] | None:
    """The inputs of a pass between bytes that are no constants, with their numbers; None for other nodes."""
    if node.op != ELEMENTWISE or node.domain != OWN or len(node.outputs) != 1:
        return None
    if any(name not in draft.specs for name in (*node.inputs, *node.outputs)):
        return None
    late = [(at, name) for at, name in enumerate(node.inputs) if draft.constant(name) is None]
    bytes_ = all(draft.specs[name].dtype in BYTES for name in (*(name for _, name in late), *node.outputs))
    return late if bytes_ and len({name for _, name in late}) == len(late) else None


def _find_product(draft: Draft, name: str, free: int) -> Node | None:
    """The product that makes these bytes for one reader, and that has no inputs from a number on yet."""
    node = draft.writer(name, "QLinearConv", INTEGER_CONV)
    if node is None or not draft.has_one_reader(name) or any(node.inputs[free:]):
        return None
    x, w = (draft.specs.get(node.inputs[at]) for at in (0, 3))
    constant = all(draft.constant(each) is not None for each in node.inputs[1:FACTOR] if each)
    if x is None or w is None or not constant or x.dtype not in BYTES:
        return None
    bias = draft.constant(node.inputs[8]) if len(node.inputs) > 8 and node.inputs[8] else None
    if not node.get(OF_FLOATS) and bias is not None and not _leaves_room(bias, w.size // max(w.shape[0], 1)):
        return None
    return node


def _leaves_room(bias: Array, terms: int) -> bool:
    return terms <= MOST_TERMS and (not bias.size or int(np.abs(bias.astype(np.int64)).max()) < LARGEST_BIAS)


def _put(draft: Draft, product: Node, node: Node, at: int, names: list[str]) -> bool:
    """The product with more inputs, which writes what the pass wrote."""
    inputs = [*product.inputs, *[""] * (ADDITION + 1 - len(product.inputs))]
    inputs[at : at + 2] = names
    operators = (*product.get(AGAIN, ()), *node.get("operators", ()))
    made = replace(
        product, op=INTEGER_CONV, domain=OWN, inputs=tuple(inputs), outputs=node.outputs,
        attributes={**product.attributes, AGAIN: operators},
    )  # fmt: skip
    draft.replace([product, node], made)
    return True


__all__ = ["add_in_product", "requantise_in_product"]
