"""QuantizeLinear and DequantizeLinear by a kernel where one scale is not all: of an axis, or of blocks of it.

    x: (.., n, ..), scale: (n,)              ->  x and y (.., n, ..), scale (n, 1, ..)
    x: (.., n, ..), scale: (.., n/b, ..)     ->  x and y (.., n/b, b, ..), scale (.., n/b, 1, ..)

Arrays are contiguous, so an axis in two is the same memory, and what broadcasts is one pass like any other.
"""

from __future__ import annotations

from dataclasses import replace

from ...engine import Sweep, elementwise, thread_pool
from ..graph import Node, Spec
from .base import Specs
from .planned import Swept
from .pointwise import describe_pass, expression
from .quantise import axis_and_block


def sweep_by_axis(node: Node, specs: Specs, x: Spec, y: Spec) -> Swept | None:
    """The pass of a node with several scales; None where there is none, as of blocks the last of which is not full."""
    axis, block = axis_and_block(node, x.rank)
    if block and x.shape[axis] % block:
        return None
    plain = {name: value for name, value in node.attributes.items() if name != "block_size"}
    ones = [None if spec is None else Spec((), spec.dtype) for spec in specs[1:]]
    said = expression(replace(node, attributes=plain), [x, *ones])
    if said is None:
        return None
    before, extent, behind = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    whole = (*before, extent // block, block, *behind) if block else x.shape
    grain = (*before, extent // block, 1, *behind) if block else (extent, *(1,) * len(behind))
    plan = elementwise(said, [whole, *[grain] * (len(said.inputs) - 1)], whole, thread_pool.count())
    return None if isinstance(plan, str) else Swept(Sweep(plan), describe_pass(node), len(said.inputs))


__all__ = ["sweep_by_axis"]
