"""The functions on NumPy arrays. Names, defaults and the order of arguments follow torch.nn.functional.

    conv(x, w)                 x: (B, C, *I), w: (O, C//G, *F)  -> (B, O, *P)
    conv_transpose(x, w)       x: (B, C, *I), w: (C, O//G, *F)  -> (B, O, *P)
    conv_input_grad(dy, w)     dy: (B, O, *P)                   -> (B, C, *I)
    conv_weight_grad(x, dy)                                     -> (O, C//G, *F)
    conv_grads(x, w, dy)       both, and the bias's             -> (B, C, *I), (O, C//G, *F), (O,)
    im2col(x), col2im(cols)    the unrolled input and its adjoint

Each makes a Problem, asks the planner for its Plan (remembered), and runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from . import planner
from .arguments import Padding, PerAxis, format_shape, read_per_axis, read_shape
from .doors import open_room_of_arrays
from .errors import GeometryError, format_value
from .geometry import Geometry
from .missing import convolve_present, read_missing
from .planner import (
    ActivationLike,
    ConvKeywords,
    Plan,
    PlanOptions,
    TransposeKeywords,
    dtype_name,
    read_tuning,
    request,
    request_tuned,
)
from .planner.arrays import read_addend, read_array, read_numbers, require_operand, require_same_dtype
from .problem import Problem

Array = npt.NDArray[Any]


def conv(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: ActivationLike = None,
    residual: Any = None,
    out: Array | None = None,
    layout: str = "NCHW",
    lowering: str | None = None,
    engine: str | None = None,
    workspace_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
    deterministic: bool = False,
    x_zero_point: int = 0,
    w_zero_point: Any = None,
    scale: Any = None,
    out_dtype: Any = None,
    y_zero_point: int = 0,
    missing: Any = None,
    normalize: bool = True,
) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F), bias: (O,) -> y: (B, O, *P) = activation(conv + bias + residual).

    The rank is that of the arrays: one spatial axis or more; x without its batch axis gives y without it. `layout`
    says where x, residual and y have their channels ("NCHW" second, "NHWC" last, whatever the rank); w is always
    (O, C//G, *F). The first seven may be given by position, as PyTorch has them.

    padding          a number, one per axis, (lo, hi) per axis, "valid", "same" or "same_lower"; negative crops
    padding_mode     "zeros"; NumPy's "reflect" (c b | a b c d), "symmetric" (b a | a b c d, which SciPy calls reflect),
                     "edge" (a a | a b c d, also "replicate"), "wrap" (c d | a b c d, also "circular")
    activation       relu, relu6, leaky_relu, sigmoid, tanh, silu, gelu, gelu_tanh, hardswish, hardsigmoid, clip, which
                     takes bounds: ("clip", 0.0, 1.0)
    out              written and returned; overlaps no input, but may be the residual
    lowering, engine force one by name; see `plan`
    workspace_limit  bytes of scratch that may be allocated; None: at most 16 MiB where any way keeps to that
    rtol, exact      the norm-wise error to spend on fewer multiplications; exact=True spends none
    deterministic    True: no choice depends on what was ever timed on this machine, and the jit engine is taken where
                     it can run, whose bits depend on neither threads nor batch

    float32, float64, complex64 and complex128 stay what they are; float16 and bfloat16 are summed in float32; int8
    and uint8, also one of each, give exact int32. Of these alone:

    x_zero_point     what x counts from, outside it too: sums are of x - x_zero_point
    w_zero_point     the same of w, one number or one for each channel of y
    scale            one number or one for each channel of y: y = activation(scale * (conv + bias)), in float32
    out_dtype        with a scale "float32" (the default), "uint8" or "int8": y is then rounded, halves to even,
                     y_zero_point added, and what the type cannot hold becomes its least or greatest number

    missing          "nan", or booleans that broadcast to x and are true where it is missing: y is the sum over what is
                     there, divided by the weights that met it, NaN where nothing is; padding is there
    normalize        False: not divided

    Raises GeometryError or PlanError before anything is written.

    >>> y = conv([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, -1.0]]])
    >>> y
    array([[[-1., -1., -1.]]])
    """
    options = PlanOptions(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode,
        activation=activation, bias=bias is not None, residual=residual is not None, layout=layout, lowering=lowering,
        engine=engine, workspace_limit=workspace_limit, rtol=rtol, exact=exact, deterministic=deterministic,
        x_zero_point=x_zero_point, w_zero_point=w_zero_point is not None, scale=scale is not None, out_dtype=out_dtype,
        y_zero_point=y_zero_point,
    )  # fmt: skip
    if type(x) is not np.ndarray and (room := open_room_of_arrays(x)) is not None:
        _require_arrays("conv", x, missing=missing, scale=scale, w_zero_point=w_zero_point)
        made: Array = room.convolve("conv", options, x, w, bias, residual, out)  # lazy
        return made
    x, w = require_same_dtype("conv", "x", x, "w", w, bytes_too=True)
    if missing is not None:
        return _over_missing(x, w, out, options, missing, normalize)
    if x.dtype != w.dtype:
        options = options._replace(w_dtype=_name(w.dtype))
    if bias is not None or residual is not None:
        bias, residual = _epilogue("conv", bias, residual, x.dtype)
    plan = request("conv", _add_batch(x, w), w.shape, _name(x.dtype), options)
    return _run("conv", plan, x, w, bias, residual, out, scale=scale, w_zero_point=w_zero_point)


def conv1d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    **options: Unpack[ConvKeywords],
) -> Array:
    """`conv` of x: (B, C, W) with w: (O, C//G, K); GeometryError for other ranks.

    >>> conv1d(np.ones((1, 1, 4)), np.ones((1, 1, 3)), padding=1)
    array([[[2., 3., 3., 2.]]])
    """
    return conv(x, _ranked("conv1d", w, 1), bias, stride, padding, dilation, groups, **options)


def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    **options: Unpack[ConvKeywords],
) -> Array:
    """`conv` of x: (B, C, H, W) with w: (O, C//G, KH, KW); GeometryError for other ranks.

    >>> conv2d(np.ones((1, 3, 4, 4)), np.ones((8, 3, 3, 3)), stride=2, padding=1).shape
    (1, 8, 2, 2)
    """
    return conv(x, _ranked("conv2d", w, 2), bias, stride, padding, dilation, groups, **options)


def conv3d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    **options: Unpack[ConvKeywords],
) -> Array:
    """`conv` of x: (B, C, D, H, W) with w: (O, C//G, KD, KH, KW); GeometryError for other ranks.

    >>> conv3d(np.ones((1, 1, 3, 3, 3)), np.ones((1, 1, 3, 3, 3))).item()
    27.0
    """
    return conv(x, _ranked("conv3d", w, 3), bias, stride, padding, dilation, groups, **options)


def conv_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    activation: ActivationLike = None,
    residual: Any = None,
    out: Array | None = None,
    layout: str = "NCHW",
    lowering: str | None = None,
    engine: str | None = None,
    workspace_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
    deterministic: bool = False,
) -> Array:
    """x: (B, C, *I), w: (C, O//G, *F), bias: (O,) -> y: (B, O, *P).

    P = (I - 1)*stride - lo - hi + dilation*(F - 1) + output_padding + 1 along each axis.

    The input gradient of a convolution, run forward (w is not conjugated); with padding="same" of the convolution with
    "same" padding, so that P = I*stride. Inserted zeros are never multiplied. The first eight may be given by position,
    as PyTorch has them; the other keywords are those of `conv`. Raises GeometryError or PlanError.

    >>> conv_transpose([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]], stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    options = PlanOptions(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups,
        transposed=True, activation=activation, bias=bias is not None, residual=residual is not None, layout=layout,
        lowering=lowering, engine=engine, workspace_limit=workspace_limit, rtol=rtol, exact=exact,
        deterministic=deterministic,
    )  # fmt: skip
    if type(x) is not np.ndarray and (room := open_room_of_arrays(x)) is not None:
        made: Array = room.convolve("conv_transpose", options, x, w, bias, residual, out)  # lazy
        return made
    x, w = require_same_dtype("conv_transpose", "x", x, "w", w)
    if bias is not None or residual is not None:
        bias, residual = _epilogue("conv_transpose", bias, residual, x.dtype)
    plan = request("conv_transpose", _add_batch(x, w), w.shape, _name(x.dtype), options)
    return _run("conv_transpose", plan, x, w, bias, residual, out)


def conv_transpose1d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    **options: Unpack[TransposeKeywords],
) -> Array:
    """`conv_transpose` of x: (B, C, W) with w: (C, O//G, K); GeometryError for other ranks.

    >>> conv_transpose1d(np.ones((1, 2, 3)), np.ones((2, 5, 4)), stride=2, padding=1).shape
    (1, 5, 6)
    """
    filters = _ranked("conv_transpose1d", w, 1)
    return conv_transpose(x, filters, bias, stride, padding, output_padding, groups, dilation, **options)


def conv_transpose2d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    **options: Unpack[TransposeKeywords],
) -> Array:
    """`conv_transpose` of x: (B, C, H, W) with w: (C, O//G, KH, KW); GeometryError for other ranks.

    >>> conv_transpose2d(np.ones((1, 2, 3, 3)), np.ones((2, 5, 2, 2)), stride=2).shape
    (1, 5, 6, 6)
    """
    filters = _ranked("conv_transpose2d", w, 2)
    return conv_transpose(x, filters, bias, stride, padding, output_padding, groups, dilation, **options)


def conv_transpose3d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    **options: Unpack[TransposeKeywords],
) -> Array:
    """`conv_transpose` of x: (B, C, D, H, W) with w: (C, O//G, KD, KH, KW); GeometryError for other ranks.

    >>> conv_transpose3d(np.ones((1, 2, 2, 2, 2)), np.ones((2, 1, 2, 2, 2)), stride=2).shape
    (1, 1, 4, 4, 4)
    """
    filters = _ranked("conv_transpose3d", w, 3)
    return conv_transpose(x, filters, bias, stride, padding, output_padding, groups, dilation, **options)


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
    plan = request("conv_input_grad", shape, w.shape, _name(dy.dtype), options)
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
    plan = request("conv_weight_grad", x.shape, shape, _name(x.dtype), options)
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
    back = request(call, x.shape, w.shape, _name(x.dtype), options)
    filters = request(call, x.shape, w.shape, _name(x.dtype), options._replace(direction="weight"))
    dy = require_operand("dy", dy, back.problem.shape("x"), x.dtype, call)
    bias = planner.bias_gradient(dy, dy.ndim - 1 if layout == "NHWC" else 1)
    return ConvGrads(back(dy, w), filters(x, dy), bias)


def plan(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    dtype: Any = "float32",
    reuse_weights: bool = True,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: ActivationLike = None,
    bias: bool = False,
    residual: bool = False,
    layout: str = "NCHW",
    lowering: str | None = None,
    engine: str | None = None,
    workspace_limit: int | None = None,
    weight_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
    deterministic: bool = False,
    direction: str = "forward",
    transposed: bool = False,
    output_padding: PerAxis = 0,
    tune: str = "none",
    seconds: float | None = None,
    progress: Callable[[int, int], object] | None = None,
    w_dtype: Any = None,
    x_zero_point: int = 0,
    w_zero_point: bool = False,
    scale: bool = False,
    out_dtype: Any = None,
    y_zero_point: int = 0,
) -> Plan:
    """How a convolution of these shapes would run, and why: a Plan, to print, to `bind` weights to, to call.

    `x_shape` is (B, C, *I), or (B, *I, C) with layout="NHWC"; `w_shape` is (O, C//G, *F). A Dask array in the place of
    `x_shape` is planned with its chunks and element type. `bias` and `residual` say whether the calls have one.
    `reuse_weights`: the weights are packed once and used often. `direction` "input" or
    "weight" plans a gradient. `transposed` plans `conv_transpose`, with w_shape (C, O//G, *F) and `output_padding`.
    `weight_limit` is in bytes of bound weights. For 8-bit integers `w_dtype` is that of w (by default x's), and
    `w_zero_point` and `scale` say whether calls have them. The other keywords are those of `conv`.

    `tune` says what is measured before the choice: "none"; "quick", the ways predicted to be near the best, in a
    fraction of a second; "full", all that can run. `seconds` is the time for it, without compiling, and
    `progress(done, all)` is called after every step. What is found is remembered on disk, and plans of the same problem
    choose by it, whatever their `tune`; what was measured before is not measured again. Raises GeometryError or
    PlanError; KeyboardInterrupt passes through, and what was measured until then is remembered.

    >>> p = plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1, exact=True)
    >>> p.chosen.product
    (64, 3136, 576)
    """
    tuning = read_tuning("plan", tune, seconds, progress, deterministic)
    options = PlanOptions(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups,
        padding_mode=padding_mode, activation=activation, bias=bias, residual=residual, layout=layout,
        lowering=lowering, engine=engine, workspace_limit=workspace_limit, weight_limit=weight_limit, rtol=rtol,
        exact=exact, deterministic=deterministic, reuse_weights=reuse_weights, direction=direction,
        transposed=transposed, w_dtype=None if w_dtype is None else dtype_name(w_dtype), x_zero_point=x_zero_point,
        w_zero_point=w_zero_point, scale=scale, out_dtype=out_dtype, y_zero_point=y_zero_point,
    )  # fmt: skip
    w = read_shape("plan", "w_shape", w_shape)
    if (room := open_room_of_arrays(x_shape)) is not None:
        lazy: Plan = room.plan(options, x_shape, w)
        return lazy
    x = read_shape("plan", "x_shape", x_shape)
    return request_tuned("plan", x, w, dtype_name(dtype), options, tuning)


def im2col(
    x: Any,
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    order: str = "F",
) -> Array:
    """The unrolled input: x: (B, C, *I) -> (C*F, B*P); column (b, p) holds the elements behind output p of image b.

    order="F": the elements behind one output lie in one sequential block of memory; "C": a row does. Any rank; x of
    any NumPy numeric dtype keeps it. Raises GeometryError.

    >>> im2col(np.arange(4.0).reshape(1, 1, 4), 2)
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    x = read_numbers("x", x, "im2col")
    g = _windows("im2col", x.shape, kernel_size, stride, padding, dilation)
    if type(order) is not str or order not in ("C", "F"):
        raise GeometryError(
            f"im2col: unknown order\n  order = {format_value(order)}\n  'F' (columns contiguous) or 'C' (rows)"
        )
    return planner.unroll(Problem.of(g, "float32"), x, order)


def col2im(
    cols: Any,
    x_shape: Sequence[int],
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
) -> Array:
    """The adjoint of `im2col`: cols: (C*F, B*P) -> (B, C, *I), every column added back to where it came from.

    Elements that came from padding are dropped. Raises GeometryError.

    >>> col2im(np.ones((2, 3)), (1, 1, 4), 2)
    array([[[1., 2., 2., 1.]]])
    """
    cols = read_numbers("cols", cols, "col2im")
    g = _windows("col2im", read_shape("col2im", "x_shape", x_shape), kernel_size, stride, padding, dilation)
    if cols.shape != (g.k, g.n):
        raise GeometryError(
            f"col2im: cols does not have the shape that im2col gives\n"
            f"  cols {cols.shape};  x_shape {g.x_shape} gives (C*F, B*P) = ({g.k}, {g.n})\n"
            f"  give cols of shape ({g.k}, {g.n})"
        )
    return planner.fold(Problem.of(g, "float32"), cols)


def _require_arrays(call: str, x: Any, **more: Any) -> None:
    """Refuse what another room's arrays are not computed with, rather than leave it out. Raises GeometryError."""
    given = next((name for name, value in more.items() if value is not None), None)
    if given is not None:
        raise GeometryError(
            f"{call}: {given}= goes with NumPy's arrays\n  x is a {type(x).__module__}.{type(x).__name__}\n"
            f"  give the array, e.g. numpy.asarray(x), or omit {given}="
        )


def _over_missing(x: Array, w: Array, out: Any, options: PlanOptions, missing: Any, normalize: bool) -> Array:
    """`conv` over what is there of x; `options` are those of the whole call."""
    later = {"bias": options.bias, "residual": options.residual, "activation": options.activation is not None}
    if given := [name for name, there in later.items() if there]:
        raise GeometryError(
            f"conv: missing= gives means, to which nothing is added on the way\n  {given[0]} is given\n"
            f"  convolve without {given[0]}, then apply it to the result"
        )
    if _name(x.dtype) in (
        "float16",
        "bfloat16",
    ):  # sums and the weights that they met are divided, then rounded once
        wide = _over_missing(x.astype(np.float32), w.astype(np.float32), None, options, missing, normalize)
        return wide.astype(x.dtype) if out is None else _into(out, wide.astype(x.dtype))
    if x.dtype.kind not in "fc":
        raise GeometryError(
            f"conv: missing= takes numbers with a fraction\n  x.dtype = {x.dtype}\n"
            "  give x.astype('float32') and w.astype('float32')"
        )
    gone = read_missing("conv", x, missing)

    def run(part: Array, into: Any = None) -> Array:
        plan = request("conv", _add_batch(part, w), w.shape, _name(x.dtype), options)
        return _run("conv", plan, part, w, None, None, into)

    if not normalize:
        return run(np.where(gone, x.dtype.type(0), x), out)
    cost = request("conv", _add_batch(x, w), w.shape, _name(x.dtype), options).chosen.cost
    channels = -1 if options.layout == "NHWC" else -1 - (w.ndim - 2)
    rounding = 4 * cost.error if cost else 0.0
    made = convolve_present("conv", x, w, gone, run, channels=channels, rounding=rounding)
    return made if out is None else _into(out, made)


def _into(out: Any, made: Array) -> Array:
    """The result in the array that was given for it."""
    if not isinstance(out, np.ndarray) or out.shape != made.shape or out.dtype != made.dtype:
        raise GeometryError(
            f"conv: out does not fit the result\n"
            f"  out: {getattr(out, 'shape', format_value(out))}, expected {made.shape} of "
            f"{made.dtype}\n  give an array of that shape and type"
        )
    np.copyto(out, made)
    return out


# -- arrays on their way to a plan ------------------------------------------------------------------------------------


def _epilogue(call: str, bias: Any, residual: Any, dtype: np.dtype[Any]) -> tuple[Array | None, Array | None]:
    """Bias and residual, of the result's element type."""
    wide = np.dtype(np.int32) if dtype.kind in "iu" else dtype
    bias = None if bias is None else read_addend(call, "bias", bias, wide)
    return bias, None if residual is None else read_addend(call, "residual", residual, wide)


def _run(
    call: str, plan: Plan, x: Array, w: Array, bias: Array | None, residual: Any, out: Any, **channels: Any
) -> Array:
    """The plan on a whole batch, or on one image without its batch axis, whose result has none either."""
    if x.ndim == w.ndim and bias is None and residual is None:
        return plan(x, w, out=out, **channels)
    single, shape = x.ndim < w.ndim, plan.problem.shape("y")
    expected = {"bias": (plan.problem.geometry.O,), "residual": shape[1:] if single else shape}
    if single:
        expected["out"] = shape[1:]
    given = {"bias": bias, "residual": residual, "out": out}
    for name, wanted in expected.items():
        array = given[name]
        if isinstance(array, np.ndarray) and array.shape != wanted:
            without = ", and x has no batch axis" if single and name != "bias" else ""
            raise GeometryError(
                f"{call}: {name} does not fit the result{without}\n  {name}.shape = {array.shape}, expected {wanted}\n"
                f"  give an array of that shape"
                + (", or give x a batch axis, e.g. x[None]" if without else "")
            )
    if not single:
        return plan(x, w, bias, residual=residual, out=out, **channels)
    residual = residual if residual is None else residual[None]
    written = out[None] if isinstance(out, np.ndarray) else out
    found = plan(x[None], w, bias, residual=residual, out=written, **channels)
    image: Array = found[0] if out is None else out
    return image


def _add_batch(x: Array, w: Array) -> tuple[int, ...]:
    """x's shape with a batch axis, if it is only that one which it lacks."""
    return (1, *x.shape) if x.ndim == w.ndim - 1 else x.shape


def _windows(
    call: str,
    x_shape: tuple[int, ...],
    kernel_size: PerAxis,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
) -> Geometry:
    """The geometry of one filter over x."""
    rank = len(x_shape) - 2
    if rank < 1:
        raise GeometryError(
            f"{call}: x must have a batch axis, a channel axis and one spatial axis or more\n"
            f"  x has {len(x_shape)} axes {format_shape(x_shape)}\n  (B, C, *I), e.g. 1x3x8x8"
        )
    sizes = read_per_axis(call, "kernel_size", kernel_size, rank, least=1)
    return Geometry.of(
        x_shape, (1, x_shape[1], *sizes), stride=stride, padding=padding, dilation=dilation, call=call
    )


def _ranked(call: str, w: Any, rank: int) -> Any:
    """w itself, if it has the rank that the function's name promises."""
    foreign = type(w) is not np.ndarray and open_room_of_arrays(w) is not None
    array = w if foreign else read_array("w", w, call)
    if array.ndim != rank + 2:
        if array.ndim == rank:
            more = "[[w]]" if isinstance(w, list | tuple) else "w[None, None]"
            fix = f"give it two more axes, {more}, and x likewise if it is one image of one channel"
        else:
            other = "" if array.ndim < 3 else ", or call conv, which takes any rank"
            fix = f"(O, C//G, *F) with {rank} spatial {'axis' if rank == 1 else 'axes'}{other}"
        raise GeometryError(
            f"{call}: w must have {rank + 2} axes\n  w has {array.ndim}: {tuple(array.shape)}\n  {fix}"
        )
    return w if isinstance(w, list | tuple) else array


@lru_cache(maxsize=64)
def _name(dtype: np.dtype[Any]) -> str:
    """NumPy takes a microsecond to name a dtype."""
    return dtype.name


__all__ = [
    "col2im", "conv", "conv1d", "conv2d", "conv3d", "conv_input_grad", "conv_transpose", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "conv_weight_grad", "im2col", "plan",
]  # fmt: skip
