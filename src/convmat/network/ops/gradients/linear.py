"""Gradients of products.

MatMulGrad    dA = dY B^T, dB = A^T dY, summed over the axes along which a matrix was repeated
EinsumGrad    "ik,kj->ij" in its first operand: "ij,kj->ik", dy in the operand's place
"""

from __future__ import annotations

import numpy as np

from ...graph import Array, Node, Spec
from ..base import Specs, Step, input_at, own_operator
from ..einsum import equation_of
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


def _operand_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    wanted = input_at(node, specs, 1 + node.get("at"))
    return (Spec(wanted.shape, wanted.dtype),)


@own_operator("EinsumGrad", shape=_operand_shape)
def einsum_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """dy and the operands of an Einsum -> the gradient in the operand `at`.

    What the operand has once along a letter, and others often, is a sum; what it alone has along a letter is repeated;
    a letter that it has twice is a diagonal, with zeros beside it.
    """
    at, shape = node.get("at"), made[0].shape
    left, right = equation_of(node.attributes["of"], specs[1:]).split("->")
    terms = left.split(",")
    own = terms[at]
    others = [right, *(term for i, term in enumerate(terms) if i != at)]
    there = dict.fromkeys(c for c, n in zip(own, shape, strict=True) if n > 1 and c in "".join(others))
    equation = f"{','.join(others)}->{''.join(there)}"
    once = "".join(dict.fromkeys(own))
    extents = dict(zip(own, shape, strict=True))

    def step(dy: Array, *rest: Array) -> None:
        arrays, out = rest[:-1], rest[-1]
        given = [dy, *(x for i, x in enumerate(arrays) if i != at)]
        found = np.einsum(equation, *given, optimize=len(given) > 2)
        sizes = iter(found.shape)
        spread = found.reshape([next(sizes) if c in there else 1 for c in once])
        out.fill(0)
        lines = np.einsum(f"{own}->{once}", out)  # a view
        np.copyto(lines, np.broadcast_to(spread, [extents[c] for c in once]))

    return repeatable(step, options)
