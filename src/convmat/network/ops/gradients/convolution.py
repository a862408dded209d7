"""The gradients of Conv and ConvTranspose: convolutions of other geometries, planned like any.

    ConvInputGrad      dy, w, the shape of x  ->  dx
    ConvWeightGrad     x, dy, the shape of w  ->  dw

For ConvTranspose the same two with `transposed` set: its input gradient is a convolution, its weight gradient that of
one whose image is dy. The attributes are those of the node that is differentiated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....errors import ConvmatError
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
    if of_plain(node, specs):
        keywords, _ = geometry_of(replace(node, op="Conv"), second.shape, shape)
        asked = PlanOptions(direction="weight", **keywords)
        return plan_node(options, second.shape, shape, first.dtype, asked, constant=False)
    x, w = (first.shape, shape) if node.op == "ConvWeightGrad" else (shape, second.shape)
    plain = replace(node, op="ConvTranspose" if node.get("transposed") else "Conv")
    keywords, _ = geometry_of(plain, x, w)
    asked = PlanOptions(direction=DIRECTIONS[node.op], transposed=bool(node.get("transposed")), **keywords)
    return plan_node(options, x, w, first.dtype, asked, constant=False)


def of_plain(node: Node, specs: Specs) -> bool:
    """Whether a weight gradient of a ConvTranspose is taken as that of the Conv which leads from y back to x.

        y[b, o, p*s + f] += w[c, o, f] * x[b, c, p]        dw[c, o, f] = sum over b, p of x[b, c, p] * dy[b, o, p*s + f]

    The two are one sum; a Conv's runs along pixels, where the other's has one pixel of output for each channel and
    tap. Not where padding cuts off more than windows reach, or shapes are given: the Conv has another x then.
    """
    if node.op != "ConvWeightGrad" or not node.get("transposed"):
        return False
    x, dy, shape = (
        input_at(node, specs, 0),
        input_at(node, specs, 1),
        whole_numbers_at(node, specs, 2, "shape"),
    )
    if node.get("output_shape") is not None or (node.get("auto_pad") or "NOTSET") != "NOTSET":
        return False
    try:
        _, g = geometry_of(replace(node, op="Conv"), dy.shape, shape)
    except ConvmatError:
        return False
    return g.y_shape == x.shape


@own_operator(*DIRECTIONS, shape=_shape)
def gradient(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """The gradient in x or in w, as its plan computes it; the shape, a third input, is known by then."""
    plan: Any = grad_plan(node, specs, options)
    return Unpacked(plan, bias=False, residual=False, turned=of_plain(node, specs))
