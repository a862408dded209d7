"""Gradients of what copies elements: the elements of dy that one of x went to are added.

SumTo      dy, a shape that broadcasts to dy's   ->  sums over the axes along which it was repeated
Ones       x                                     ->  as many ones: where the gradient of a scalar begins
"""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Options, Specs, Step, broadcast, given, owned, same, whole


def _sum_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    dy, shape = given(node, specs, 0), whole(node, specs, 1, "shape")
    if broadcast(node, [dy.shape, shape]) != dy.shape:
        raise node.error(f"its shape {shape} does not broadcast to {dy}")
    return (Spec(shape, dy.dtype),)


@owned("SumTo", shape=_sum_shape)
def sum_to(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The sum over what broadcasting repeated, axis by axis from the last, whose elements lie side by side."""
    dy, shape = given(node, specs, 0).shape, made[0].shape
    padded = (1,) * (len(dy) - len(shape)) + shape
    axes = tuple(a for a, (n, m) in enumerate(zip(dy, padded, strict=True)) if n != m)

    def step(dy: Array, shape: Array, out: Array) -> None:
        if not axes:
            np.copyto(out, dy.reshape(out.shape))
            return
        last = dy
        for axis in reversed(axes[1:]):
            last = np.add.reduce(last, axis=axis, keepdims=True)
        np.add.reduce(last, axis=axes[0], keepdims=True, out=out.reshape(padded))

    return step


@owned("Ones", shape=same)
def ones(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Ones in the shape of x."""
    return lambda x, out: out.fill(1)
