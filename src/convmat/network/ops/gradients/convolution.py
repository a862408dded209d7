"""The gradients of Conv and ConvTranspose: convolutions of other geometries, planned like any.

    ConvInputGrad      dy, w, the shape of x  ->  dx
    ConvWeightGrad     x, dy, the shape of w  ->  dw

For ConvTranspose the same two with `transposed` set: its input gradient is a convolution, its weight gradient one whose
image is dy. The attributes are those of the node that is differentiated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....planner import Plan, PlanOptions
from ...graph import Node, Spec
from ..base import Specs, Step, input_at, own_operator, whole_numbers_at
from ..convolution import geometry_of
from ..options import Options, plan_node
from ..planned import Unpacked

DIRECTIONS = {"ConvInputGrad": "input", "ConvWeightGrad": "weight"}
"""Which gradient of the geometry an operator takes."""


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec(whole_numbers_at(node, specs, 2, "shape"), input_at(node, specs, 0).dtype),)


def grad_plan(node: Node, specs: Specs, options: Options) -> Plan:
    """The plan of a gradient for inputs of these shapes. Raises ConvmatError."""
    if options.plan is not None:
        return options.plan
    first, second, shape = (
        input_at(node, specs, 0),
        input_at(node, specs, 1),
        whole_numbers_at(node, specs, 2, "shape"),
    )
    x, w = (first.shape, shape) if node.op == "ConvWeightGrad" else (shape, second.shape)
    plain = replace(node, op="ConvTranspose" if node.get("transposed") else "Conv")
    words, _ = geometry_of(plain, x, w)
    asked = PlanOptions(direction=DIRECTIONS[node.op], transposed=bool(node.get("transposed")), **words)
    return plan_node(options, x, w, first.dtype, asked, constant=False)


@own_operator(*DIRECTIONS, shape=_shape)
def gradient(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """The gradient in x or in w, as its plan computes it; the shape, a third input, is known by then."""
    plan: Any = grad_plan(node, specs, options)
    return Unpacked(plan, bias=False, residual=False)
