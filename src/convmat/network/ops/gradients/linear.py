"""Gradients of MatMul: dA = dY B^T, dB = A^T dY, summed over the axes along which a matrix was repeated."""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Specs, Step, input_at, own_operator
from ..options import Options, repeatable


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    wanted = input_at(node, specs, 1 + node.get("of"))
    return (Spec(wanted.shape, wanted.dtype),)


@own_operator("MatMulGrad", shape=_shape)
def matmul_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy, a, b -> the gradient in a (`of` 0) or b (`of` 1)."""
    a, b = input_at(node, specs, 1), input_at(node, specs, 2)
    rows = extents(a, b)
    second = bool(node.get("of"))

    def step(dy: Array, a: Array, b: Array, out: Array) -> None:
        a = a[None] if a.ndim == 1 else a
        b = b[:, None] if b.ndim == 1 else b
        dy = dy.reshape(*dy.shape[: dy.ndim - rows[2]], *rows[:2])
        if second and b.ndim == 2:  # one matrix for all rows: one product
            np.matmul(a.reshape(-1, a.shape[-1]).T, dy.reshape(-1, dy.shape[-1]), out=out.reshape(b.shape))
            return
        found = a.swapaxes(-1, -2) @ dy if second else dy @ b.swapaxes(-1, -2)
        like = b if second else a
        extra = found.ndim - like.ndim
        axes = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(like.shape) if n == 1 and found.shape[i + extra] != 1
        )
        np.copyto(
            out, np.add.reduce(found, axis=axes).reshape(out.shape) if axes else found.reshape(out.shape)
        )

    return repeatable(step, options)


def extents(a: Spec, b: Spec) -> tuple[int, int, int]:
    """m and n of the product, and how many of them are axes of y."""
    m, n = (1 if a.rank == 1 else a.shape[-2]), (1 if b.rank == 1 else b.shape[-1])
    return m, n, (a.rank > 1) + (b.rank > 1)
