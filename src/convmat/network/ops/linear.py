"""Products of matrices.

MatMul    (..., m, k) @ (..., k, n); an array of one axis is a row on the left, a column on the right
Gemm      alpha * A' @ B' + beta * C, where ' transposes if transA or transB says so

A product with a constant matrix is a 1x1 convolution whose pixels are the rows of the other: convmat's own, its weights
packed once. The others are NumPy's matmul. Rewriting gives those of constants an epilogue as convolutions have: a bias
as the third input, a residual as the fourth, the attribute `activation`, and `scale`, a number for each column.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...engine import apply_activation, buffers
from ...planner import Plan, PlanOptions
from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, broadcast_shape, has_input, input_at, operator
from .options import Options, bind_node, plan_again, plan_node, repeatable
from .planned import Planned


def _product_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    if a.dtype != b.dtype:
        raise node.error(f"its inputs are {a} and {b}\n  one element type is needed")
    left, right = (1, *a.shape) if a.rank == 1 else a.shape, (*b.shape, 1) if b.rank == 1 else b.shape
    if not a.rank or not b.rank or left[-1] != right[-2]:
        raise node.error(f"its inputs {a} and {b} are no product\n  (..., m, k) @ (..., k, n) is needed")
    shape = (
        *broadcast_shape(node, [left[:-2], right[:-2]]),
        *left[-2:-1] * (a.rank > 1),
        *right[-1:] * (b.rank > 1),
    )
    return (Spec(shape, a.dtype),)


def _product_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    if _dense_product(a, b) and b.value is not None:
        bias = input_at(node, specs, 2).value if has_input(specs, 2) else None
        return dense(node, a, b.value.T, bias, options, residual=_residual_at(specs))
    if a.rank > 2 and b.rank == 2:  # one matrix for all: one product
        return repeatable(
            lambda a, b, out: np.matmul(a.reshape(-1, a.shape[-1]), b, out=out.reshape(-1, out.shape[-1])),
            options,
        )
    return repeatable(lambda a, b, out: np.matmul(a, b, out=out), options)


def scale_columns(node: Node, w: Array, room: buffers.Slots | None = None) -> Array:
    """w: (n, k), its rows times the node's `scale`, computed in float64 and rounded once; in `room`, if it is given."""
    scale = node.get("scale")
    if scale is None:
        return w
    made = np.empty(w.shape, w.dtype) if room is None else room.empty(w.shape, w.dtype)
    return np.asarray(np.multiply(w, scale[:, None], out=made, casting="same_kind"))


@operator("MatMul", shape=_product_shape, prepare=_product_step)
def matmul(node: Node, a: Array, b: Array, bias: Array | None = None, residual: Array | None = None) -> Any:
    """a @ b, and what rewriting put into the epilogue."""
    b = scale_columns(node, b.T).T if node.get("scale") is not None else b
    return _finish(node, np.matmul(a, b), bias, residual)


def _finish(node: Node, found: Array, *added: Array | None) -> Any:
    """activation(found + bias + residual)."""
    for each in added:
        found = found if each is None else found + each
    if node.get("activation"):
        apply_activation(node.get("activation"), found, np.empty_like(found))
    return found


DENSE = ("float32", "float64")
"""Element types of the products that convmat takes over."""


def plan_dense(node: Node, specs: Specs, options: Options) -> Plan | None:
    """The plan of a Gemm or a MatMul by constants; None where it is not computed by one."""
    if not dense_product(node, specs):
        return None
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    w = b.shape if node.op == "Gemm" and node.get("transB") else b.shape[::-1]
    asked = PlanOptions(bias=has_input(specs, 2), residual=has_input(specs, 3))
    return _plan_product(node, a, w, asked, options)


def _plan_product(node: Node, a: Spec, w: Shape, asked: PlanOptions, options: Options) -> Plan:
    """The plan of `dense`; w: (n, k)."""
    (n, k), rows = w, a.size // max(a.shape[-1], 1)
    alone = rows == 1 if options.whole is None else options.whole.problem.x.axes[-1][0].role == "i0"
    x, layout = ((1, k, 1), "NCHW") if alone else ((1, rows, k), "NHWC")
    asked = asked._replace(layout=layout, activation=node.get("activation"))
    return plan_again(
        options, node, (w, asked, a.dtype),
        lambda plan: plan.problem.geometry.resize(1, (1,) if alone else (rows,)),
        lambda: plan_node(options, x, (n, k, 1), a.dtype, asked),
    )  # fmt: skip


def _dense_product(a: Spec, b: Spec) -> bool:
    """Whether a MatMul multiplies by a constant matrix: what `dense` does."""
    return a.rank >= 2 and b.rank == 2 and b.value is not None and a.dtype.name in DENSE and a.size > 0


def dense_product(node: Node, specs: Specs) -> bool:
    """Whether a Gemm or a MatMul multiplies by constants: what `dense` does."""
    if node.op == "Gemm":
        return dense_gemm(node, specs)
    return _dense_product(input_at(node, specs, 0), input_at(node, specs, 1))


def dense(node: Node, a: Spec, w: Array, bias: Array | None, options: Options, *, residual: int = 0) -> Step:
    """a: (..., k) times w: (n, k), transposed, plus bias: (n,); `residual`: which of its arrays is added, if any."""
    asked = PlanOptions(bias=bias is not None, residual=residual > 0)
    plan = options.plan or _plan_product(node, a, w.shape, asked, options)
    factor = node.get("scale")
    scale = None if factor is None else (factor.tobytes(), partial(scale_columns, node, room=options.scaled))
    bound = bind_node(options, plan, w, bias, scale)
    x, y = plan.problem.shape("x"), plan.problem.shape("y")

    def order(arrays: Sequence[Array]) -> tuple[Array, Array | None, Array]:
        added = arrays[residual].reshape(y) if residual else None
        return arrays[0].reshape(x), added, arrays[-1].reshape(y)

    return Planned(bound, order)


def _residual_at(specs: Specs) -> int:
    """Which of a node's arrays is its residual; 0 for none."""
    return 2 + has_input(specs, 2) if has_input(specs, 3) else 0


def dense_gemm(node: Node, specs: Specs) -> bool:
    """Whether a Gemm multiplies by constants and adds one number to each column: what `dense` does."""
    a, b, c = (
        input_at(node, specs, 0),
        input_at(node, specs, 1),
        input_at(node, specs, 2) if has_input(specs, 2) else None,
    )
    fits = a.dtype.name in DENSE and b.value is not None and not node.get("transA") and a.size > 0
    return fits and (c is None or (c.value is not None and (c.rank < 2 or c.shape[0] == 1)))


def _gemm_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    if a.rank != 2 or b.rank != 2 or a.dtype != b.dtype:
        raise node.error(f"its inputs are {a} and {b}\n  two matrices of one element type are needed")
    m, k = a.shape[::-1] if node.get("transA") else a.shape
    other, n = b.shape[::-1] if node.get("transB") else b.shape
    if k != other:
        raise node.error(f"its inputs {a} and {b} are no product\n  ({m}, {k}) @ ({other}, {n})")
    if has_input(specs, 2):
        c = input_at(node, specs, 2)
        if broadcast_shape(node, [(m, n), c.shape]) != (m, n):
            raise node.error(f"its third input {c} does not broadcast to the product\n  ({m}, {n})")
    return (Spec((m, n), a.dtype),)


def _gemm_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    if a.dtype.kind not in "fc":
        return None
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    c = input_at(node, specs, 2) if has_input(specs, 2) else None
    if dense_gemm(node, specs):
        w = b.value if node.get("transB") else np.asarray(b.value).T
        each = None if c is None else np.broadcast_to(np.asarray(c.value).reshape(-1), made[0].shape[1:])
        scaled = np.asarray(w) if alpha == 1 else np.asarray(w) * a.dtype.type(alpha)
        bias = each if each is None or beta == 1 else each * a.dtype.type(beta)
        return dense(node, a, scaled, bias, options, residual=_residual_at(specs))
    if node.get("scale") is not None:
        return None

    def step(a: Array, b: Array, *rest: Array) -> None:
        out = rest[-1]
        np.matmul(a.T if node.get("transA") else a, b.T if node.get("transB") else b, out=out)
        if alpha != 1:
            np.multiply(out, alpha, out=out)
        if len(rest) > 1:
            np.add(out, rest[0] if beta == 1 else rest[0] * rest[0].dtype.type(beta), out=out)

    return repeatable(step, options)


@operator("Gemm", shape=_gemm_shape, prepare=_gemm_step)
def gemm(node: Node, a: Array, b: Array, c: Array | None = None, residual: Array | None = None) -> Any:
    """alpha * A' @ B' + beta * C, and what rewriting put into the epilogue."""
    w = scale_columns(node, b if node.get("transB") else b.T)
    found = (a.T if node.get("transA") else a) @ w.T
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    found = found if alpha == 1 else found * alpha
    if c is not None:
        found = found + (c if beta == 1 else c * beta)
    return _finish(node, np.ascontiguousarray(found, a.dtype), residual)
