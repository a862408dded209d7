"""Gradients of softmax, of extremes and of products.

SoftmaxGrad       y * (dy - sum(dy * y))               LogSoftmaxGrad     dy - e^y * sum(dy)
ExtremeGrad       dy in equal parts to the elements of x that are y
ProductGrad       dy times the product of all other elements
"""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Specs, Step, broadcast_shape, has_input, input_at, own_operator, same_spec
from ..options import Options
from ..reductions import planes, reduced_axes


@own_operator("SoftmaxGrad", "LogSoftmaxGrad", shape=same_spec)
def softmax_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Gradient from dy and y, along the axis of the node that is differentiated."""
    folded = planes(node.attributes["of"], made[0].rank)
    logarithm = node.op == "LogSoftmaxGrad"

    def step(dy: Array, y: Array, out: Array) -> None:
        dy, y, out = folded(dy), folded(y), folded(out)
        if logarithm:
            np.subtract(dy, np.exp(y) * dy.sum(1, keepdims=True), out=out)
        else:
            np.multiply(y, dy - np.einsum("bcp,bcp->bp", dy, y)[:, None], out=out)

    return step


def _like_x(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 1)
    return (Spec(x.shape, x.dtype),)


@own_operator("ExtremeGrad", shape=_like_x)
def extreme_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x, y and the axes, if they are an input: elements as large as the largest share its gradient."""
    forward, x = node.attributes["of"], made[0]
    if forward.op.startswith("Global"):
        axes: tuple[int, ...] = tuple(range(2, x.rank))
    else:
        axes = reduced_axes(forward, [x, *([specs[3]] if has_input(specs, 3) else [])], x.rank)
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))

    def step(dy: Array, x: Array, y: Array, *rest: Array) -> None:
        found = x == y.reshape(kept)
        share = dy.reshape(kept) / found.sum(axes, keepdims=True, dtype=x.dtype)
        np.multiply(found, share, out=rest[-1])

    return step


def _like_first(node: Node, specs: Specs) -> tuple[Spec, ...]:
    y = input_at(node, specs, 1)
    shape = broadcast_shape(node, [input_at(node, specs, i).shape for i in range(2, len(node.inputs))])
    return tuple(Spec(shape, y.dtype) for _ in node.outputs)


@own_operator("MostGrad", shape=_like_first)
def most_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, y and the inputs of Max or Min -> a gradient for each, of the shape of y: those that are y share dy."""

    def step(dy: Array, y: Array, *rest: Array) -> None:
        inputs, outs = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        found = [np.broadcast_to(x, y.shape) == y for x in inputs]
        share = dy / np.maximum(sum(each.astype(y.dtype) for each in found), 1)
        for each, out in zip(found, outs, strict=True):
            np.multiply(each, share, out=out)

    return step


@own_operator("ProductGrad", shape=_like_x)
def product_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, x and the axes, if they are an input: dy times the product of all before an element and all after it.

    Nothing is divided, so that zeros among the elements have their gradients too.
    """
    x = made[0]
    axes = reduced_axes(node.attributes["of"], [x, *specs[2:]], x.rank)
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    ends = tuple(range(x.rank - len(axes), x.rank))

    def step(dy: Array, x: Array, *rest: Array) -> None:
        moved = np.moveaxis(x, axes, ends)
        lines = moved.reshape(*moved.shape[: ends[0] if ends else x.ndim], -1)
        before, after = np.ones_like(lines), np.ones_like(lines)
        np.multiply.accumulate(lines[..., :-1], axis=-1, out=before[..., 1:])
        np.multiply.accumulate(lines[..., :0:-1], axis=-1, out=after[..., -2::-1])
        others = np.moveaxis((before * after).reshape(moved.shape), ends, axes)
        np.multiply(others, dy.reshape(kept), out=rest[-1])

    return step
