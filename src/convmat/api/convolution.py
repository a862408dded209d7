"""Convolutions and transposed convolutions of NumPy arrays, of any rank or of a rank that the name says."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from ..arguments import Padding, PerAxis
from ..doors import open_room_of_arrays
from ..planner import (
    ActivationLike,
    ConvKeywords,
    PlanOptions,
    TransposeKeywords,
    request,
)
from ..planner.arrays import require_same_dtype
from .calls import Array, add_batch, name_dtype, read_epilogue, require_rank, run_plan
from .over_missing import convolve_missing


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
    requantise: Any = None,
    residual_factors: Any = None,
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
    requantise       (factor, offset), numbers or arrays of one for each channel: y is then rounded again, to
                     saturate(round(factor * (y - y_zero_point) + offset)), as a pass of its own would
    residual_factors (a, b, c) with a residual of y's 8-bit type, which is added last, to
                     saturate(round(a * y + (b * residual + c)))

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
        y_zero_point=y_zero_point, requantise=requantise is not None,
    )  # fmt: skip
    numbers = {
        "scale": scale, "w_zero_point": w_zero_point, "requantise": requantise, "residual_factors": residual_factors,
    }  # fmt: skip
    if type(x) is not np.ndarray and (room := open_room_of_arrays(x)) is not None:
        more = {"missing": missing, "normalize": normalize, **numbers}
        made: Array = room.convolve(
            "conv", options, x, w, bias, residual, out, _without_defaults(more)
        )  # lazy
        return made
    x, w = require_same_dtype("conv", "x", x, "w", w, bytes_too=True)
    if missing is not None:
        return convolve_missing(x, w, out, options, missing, normalize)
    if x.dtype != w.dtype:
        options = options._replace(w_dtype=name_dtype(w.dtype))
    if bias is not None or residual is not None:
        bias, residual = read_epilogue("conv", bias, residual, x.dtype, options)
    plan = request("conv", add_batch(x, w), w.shape, name_dtype(x.dtype), options)
    return run_plan("conv", plan, x, w, bias, residual, out, **numbers)


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
    return conv(x, require_rank("conv1d", w, 1), bias, stride, padding, dilation, groups, **options)


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
    return conv(x, require_rank("conv2d", w, 2), bias, stride, padding, dilation, groups, **options)


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
    return conv(x, require_rank("conv3d", w, 3), bias, stride, padding, dilation, groups, **options)


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
    x_zero_point: int = 0,
    w_zero_point: Any = None,
    scale: Any = None,
    out_dtype: Any = None,
    y_zero_point: int = 0,
    requantise: Any = None,
    residual_factors: Any = None,
) -> Array:
    """x: (B, C, *I), w: (C, O//G, *F), bias: (O,) -> y: (B, O, *P).

    P = (I - 1)*stride - lo - hi + dilation*(F - 1) + output_padding + 1 along each axis.

    The input gradient of a convolution, run forward (w is not conjugated); with padding="same" of the convolution with
    "same" padding, so that P = I*stride. Inserted zeros are never multiplied. The first eight may be given by position,
    as PyTorch has them; the other keywords are those of `conv`, zero points and scales of 8-bit integers among them.
    Raises GeometryError or PlanError.

    >>> conv_transpose([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]], stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    options = PlanOptions(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups,
        transposed=True, activation=activation, bias=bias is not None, residual=residual is not None, layout=layout,
        lowering=lowering, engine=engine, workspace_limit=workspace_limit, rtol=rtol, exact=exact,
        deterministic=deterministic, x_zero_point=x_zero_point, w_zero_point=w_zero_point is not None,
        scale=scale is not None, out_dtype=out_dtype, y_zero_point=y_zero_point, requantise=requantise is not None,
    )  # fmt: skip
    numbers = {
        "scale": scale, "w_zero_point": w_zero_point, "requantise": requantise, "residual_factors": residual_factors,
    }  # fmt: skip
    if type(x) is not np.ndarray and (room := open_room_of_arrays(x)) is not None:
        more = _without_defaults(numbers)
        made: Array = room.convolve("conv_transpose", options, x, w, bias, residual, out, more)  # lazy
        return made
    x, w = require_same_dtype("conv_transpose", "x", x, "w", w, bytes_too=True)
    if x.dtype != w.dtype:
        options = options._replace(w_dtype=name_dtype(w.dtype))
    bias, residual = read_epilogue("conv_transpose", bias, residual, x.dtype, options)
    plan = request("conv_transpose", add_batch(x, w), w.shape, name_dtype(x.dtype), options)
    return run_plan("conv_transpose", plan, x, w, bias, residual, out, **numbers)


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
    filters = require_rank("conv_transpose1d", w, 1)
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
    filters = require_rank("conv_transpose2d", w, 2)
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
    filters = require_rank("conv_transpose3d", w, 3)
    return conv_transpose(x, filters, bias, stride, padding, output_padding, groups, dilation, **options)


def _without_defaults(more: dict[str, Any]) -> dict[str, Any]:
    """Arguments beside the options, those that were given: rooms refuse what they do not know."""
    defaults = {"normalize": True}
    return {name: value for name, value in more.items() if value is not defaults.get(name)}
