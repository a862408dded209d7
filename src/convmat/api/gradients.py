"""The gradients of a convolution in x, in w and in a bias.

    conv_input_grad(dy, w, x_shape)     dy: (B, O, *P)      -> (B, C, *I)
    conv_weight_grad(x, dy, w_shape)                        -> (O, C//G, *F)
    conv_grads(x, w, dy)                both, and the bias's

Their keywords are those that `conv` was given; what each means is said there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import planner
from ..arguments import Padding, PerAxis, read_shape
from ..doors import open_room_of_arrays
from ..planner import (
    PlanOptions,
    request,
)
from ..planner.arrays import require_operand, require_same_dtype
from .calls import Array, name_dtype


def conv_input_grad(
    dy: Any,
    w: Any,
    x_shape: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    out: Array | None = None,
    layout: str = "NCHW",
    lowering: str | None = None,
    engine: str | None = None,
    workspace_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
    deterministic: bool = False,
) -> Array:
    """The gradient of sum(dy * conv(x, w)) in x: dy: (B, O, *P), w: (O, C//G, *F) -> dx of shape `x_shape`.

    The keywords are those given to `conv`. Complex w enters conjugated. Raises GeometryError or PlanError.

    >>> conv_input_grad(np.ones((1, 1, 3)), np.array([[[1.0, 10.0]]]), (1, 1, 4))
    array([[[ 1., 11., 11., 10.]]])
    """
    options = PlanOptions(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout,
        lowering=lowering, engine=engine, workspace_limit=workspace_limit, rtol=rtol, exact=exact,
        deterministic=deterministic, direction="input",
    )  # fmt: skip
    shape = read_shape("conv_input_grad", "x_shape", x_shape)
    if type(dy) is not np.ndarray and (room := open_room_of_arrays(dy)) is not None:
        made: Array = room.input_grad("conv_input_grad", options, dy, w, shape, out)  # lazy
        return made
    dy, w = require_same_dtype("conv_input_grad", "dy", dy, "w", w)
    plan = request("conv_input_grad", shape, w.shape, name_dtype(dy.dtype), options)
    return plan(require_operand("dy", dy, plan.problem.shape("x"), dy.dtype, "conv_input_grad"), w, out=out)


def conv_weight_grad(
    x: Any,
    dy: Any,
    w_shape: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    out: Array | None = None,
    layout: str = "NCHW",
    lowering: str | None = None,
    engine: str | None = None,
    workspace_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
    deterministic: bool = False,
) -> Array:
    """The gradient of sum(dy * conv(x, w)) in w: x: (B, C, *I), dy: (B, O, *P) -> dw of shape `w_shape`.

    The keywords are those given to `conv`. Complex x enters conjugated. Raises GeometryError or PlanError.

    >>> conv_weight_grad(np.array([[[1.0, 2.0, 4.0]]]), np.ones((1, 1, 2)), (1, 1, 2))
    array([[[3., 6.]]])
    """
    options = PlanOptions(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout,
        lowering=lowering, engine=engine, workspace_limit=workspace_limit, rtol=rtol, exact=exact,
        deterministic=deterministic, direction="weight",
    )  # fmt: skip
    shape = read_shape("conv_weight_grad", "w_shape", w_shape)
    if not type(x) is type(dy) is np.ndarray and (room := open_room_of_arrays(x, dy)) is not None:
        made: Array = room.weight_grad("conv_weight_grad", options, x, dy, shape, out)  # lazy
        return made
    x, dy = require_same_dtype("conv_weight_grad", "x", x, "dy", dy)
    plan = request("conv_weight_grad", x.shape, shape, name_dtype(x.dtype), options)
    return plan(x, require_operand("dy", dy, plan.problem.shape("w"), dy.dtype, "conv_weight_grad"), out=out)


class ConvGrads(NamedTuple):
    """The gradients of a convolution in x, in w and in a bias, of the shapes of these."""

    x: Array
    w: Array
    bias: Array


def conv_grads(
    x: Any,
    w: Any,
    dy: Any,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    engine: str | None = None,
    workspace_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
    deterministic: bool = False,
) -> ConvGrads:
    """All gradients of sum(dy * (conv(x, w) + bias)): x: (B, C, *I), w: (O, C//G, *F), dy: (B, O, *P).

    What `conv_input_grad` and `conv_weight_grad` give, and dy summed over images and pixels; nothing is computed before
    all three operands are found to fit. PyTorch tensors give tensors; Dask arrays are computed. The keywords are those
    given to `conv`. Raises GeometryError or PlanError.

    >>> dx, dw, db = conv_grads(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, 10.0]]]), np.ones((1, 1, 2)))
    >>> dx, dw, db
    (array([[[ 1., 11., 10.]]]), array([[[3., 6.]]]), array([2.]))
    """
    call = "conv_grads"
    options = PlanOptions(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout,
        engine=engine, workspace_limit=workspace_limit, rtol=rtol, exact=exact, deterministic=deterministic,
        direction="input",
    )  # fmt: skip
    if (room := open_room_of_arrays(x, w, dy)) is not None:
        found: ConvGrads = room.grads(call, options, x, w, dy)
        return found
    x, w = require_same_dtype(call, "x", x, "w", w)
    x, dy = require_same_dtype(call, "x", x, "dy", dy)
    back = request(call, x.shape, w.shape, name_dtype(x.dtype), options)
    filters = request(call, x.shape, w.shape, name_dtype(x.dtype), options._replace(direction="weight"))
    dy = require_operand("dy", dy, back.problem.shape("x"), x.dtype, call)
    bias = planner.bias_gradient(dy, dy.ndim - 1 if layout == "NHWC" else 1)
    return ConvGrads(back(dy, w), filters(x, dy), bias)
