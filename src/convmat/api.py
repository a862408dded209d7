"""The functions on NumPy arrays. Names and defaults follow torch.nn.functional, so its users have nothing to learn.

    conv(x, w)                 x: (B, C, *I), w: (O, C//G, *F)  -> (B, O, *P)
    conv_transpose(x, w)       x: (B, C, *I), w: (C, O//G, *F)  -> (B, O, *P)
    conv_input_grad(dy, w)     dy: (B, O, *P)                   -> (B, C, *I)
    conv_weight_grad(x, dy)                                     -> (O, C//G, *F)
    im2col(x), col2im(cols)    the unrolled input and its adjoint

Each makes a Problem, asks the planner for its Plan (remembered), and runs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from . import planner
from .errors import GeometryError, PlanError
from .geometry import Geometry, Padding, PerAxis
from .planner import Plan
from .planner.arrays import checked, read
from .problem import WORKSPACE_LIMIT, Epilogue, Problem
from .product import Activation

Array = npt.NDArray[Any]
ActivationLike = str | tuple[str | float, ...] | None

INT32_ROOM = {"int8": 2**31 // 2**14, "uint8": 2**31 // 2**16}
"""The longest sum of products of 8-bit integers that surely fits int32."""


def conv(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
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
) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F), bias: (O,) -> y: (B, O, *P) = activation(conv + bias + residual).

    The rank is that of the arrays: one spatial axis or more; x without its batch axis gives y without it. `layout`
    says where x, residual and y have their channels ("NCHW" second, "NHWC" last, whatever the rank); w is always
    (O, C//G, *F).

    padding          a number, one per axis, (lo, hi) per axis, "valid", "same" or "same_lower"; negative crops
    padding_mode     "zeros", "reflect", "edge" or "wrap"
    activation       relu, relu6, leaky_relu, sigmoid, tanh, silu, hardswish, hardsigmoid, clip; ("clip", 0.0, 1.0)
    out              written and returned; overlaps no input, but may be the residual
    lowering, engine force one by name; see `plan`
    workspace_limit  bytes of scratch that may be allocated; None: at most 16 MiB where any way keeps to that
    rtol, exact      the norm-wise error to spend on fewer multiplications; exact=True spends none

    float32, float64, complex64 and complex128 stay what they are; float16 and bfloat16 are summed in float32; int8
    and uint8 give exact int32. Raises GeometryError or PlanError before anything is written.

    >>> y = conv([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, -1.0]]])
    >>> y
    array([[[-1., -1., -1.]]])
    """
    x, w, bias, residual = _operands("conv", x, w, bias, residual)
    single = x.ndim == w.ndim - 1
    if single:
        x = x[None]
        residual = None if residual is None else residual[None]
        out = out[None] if isinstance(out, np.ndarray) else out
    made = _plan(
        "conv", x.shape, w.shape, _name(x.dtype), stride, padding, dilation, groups, padding_mode, activation,
        bias is not None, residual is not None, layout, lowering, engine, workspace_limit, rtol, exact, False,
    )  # fmt: skip
    y = made(x, w, bias, residual=residual, out=out)
    return y[0] if single else y


def conv1d(x: Any, w: Any, bias: Any = None, **options: Any) -> Array:
    """`conv` of x: (B, C, W) with w: (O, C//G, K); GeometryError for other ranks.

    >>> conv1d(np.ones((1, 1, 4)), np.ones((1, 1, 3)), padding=1)
    array([[[2., 3., 3., 2.]]])
    """
    return conv(x, _ranked("conv1d", w, 1), bias, **options)


def conv2d(x: Any, w: Any, bias: Any = None, **options: Any) -> Array:
    """`conv` of x: (B, C, H, W) with w: (O, C//G, KH, KW); GeometryError for other ranks.

    >>> conv2d(np.ones((1, 3, 4, 4)), np.ones((8, 3, 3, 3)), stride=2, padding=1).shape
    (1, 8, 2, 2)
    """
    return conv(x, _ranked("conv2d", w, 2), bias, **options)


def conv3d(x: Any, w: Any, bias: Any = None, **options: Any) -> Array:
    """`conv` of x: (B, C, D, H, W) with w: (O, C//G, KD, KH, KW); GeometryError for other ranks.

    >>> conv3d(np.ones((1, 1, 3, 3, 3)), np.ones((1, 1, 3, 3, 3))).item()
    27.0
    """
    return conv(x, _ranked("conv3d", w, 3), bias, **options)


def conv_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    residual: Any = None,
    out: Array | None = None,
    layout: str = "NCHW",
    lowering: str | None = None,
    engine: str | None = None,
    workspace_limit: int | None = None,
    rtol: float | None = None,
    exact: bool = False,
) -> Array:
    """x: (B, C, *I), w: (C, O//G, *F), bias: (O,) -> y: (B, O, *P).

    P = (I - 1)*stride - lo - hi + dilation*(F - 1) + output_padding + 1 along each axis.

    The input gradient of a convolution, run forward (w is not conjugated). Inserted zeros are never multiplied. The
    other keywords are those of `conv`. Raises GeometryError or PlanError.

    >>> conv_transpose([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]], stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    x, w, bias, residual = _operands("conv_transpose", x, w, bias, residual)
    single = x.ndim == w.ndim - 1
    if single:
        x = x[None]
        residual = None if residual is None else residual[None]
        out = out[None] if isinstance(out, np.ndarray) else out
    made = _transposed(
        x.shape, w.shape, _name(x.dtype), *_hashable(stride, padding, output_padding, dilation), groups,
        *_hashable(activation), bias is not None, residual is not None, layout, lowering, engine, workspace_limit, rtol,
        exact, _threads(),
    )  # fmt: skip
    y = made(x, w, bias, residual=residual, out=out)
    return y[0] if single else y


def conv_transpose1d(x: Any, w: Any, bias: Any = None, **options: Any) -> Array:
    """`conv_transpose` of x: (B, C, W) with w: (C, O//G, K); GeometryError for other ranks.

    >>> conv_transpose1d(np.ones((1, 2, 3)), np.ones((2, 5, 4)), stride=2, padding=1).shape
    (1, 5, 6)
    """
    return conv_transpose(x, _ranked("conv_transpose1d", w, 1), bias, **options)


def conv_transpose2d(x: Any, w: Any, bias: Any = None, **options: Any) -> Array:
    """`conv_transpose` of x: (B, C, H, W) with w: (C, O//G, KH, KW); GeometryError for other ranks.

    >>> conv_transpose2d(np.ones((1, 2, 3, 3)), np.ones((2, 5, 2, 2)), stride=2).shape
    (1, 5, 6, 6)
    """
    return conv_transpose(x, _ranked("conv_transpose2d", w, 2), bias, **options)


def conv_transpose3d(x: Any, w: Any, bias: Any = None, **options: Any) -> Array:
    """`conv_transpose` of x: (B, C, D, H, W) with w: (C, O//G, KD, KH, KW); GeometryError for other ranks.

    >>> conv_transpose3d(np.ones((1, 2, 2, 2, 2)), np.ones((2, 1, 2, 2, 2)), stride=2).shape
    (1, 1, 4, 4, 4)
    """
    return conv_transpose(x, _ranked("conv_transpose3d", w, 3), bias, **options)


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
) -> Array:
    """The gradient of sum(dy * conv(x, w)) in x: dy: (B, O, *P), w: (O, C//G, *F) -> dx of shape `x_shape`.

    The keywords are those given to `conv`. Complex w enters conjugated. Raises GeometryError or PlanError.

    >>> conv_input_grad(np.ones((1, 1, 3)), np.array([[[1.0, 10.0]]]), (1, 1, 4))
    array([[[ 1., 11., 11., 10.]]])
    """
    dy, w, _, _ = _operands("conv_input_grad", dy, w, None, None, first="dy")
    made = _plan(
        "conv_input_grad", tuple(x_shape), w.shape, _name(dy.dtype), stride, padding, dilation, groups, padding_mode,
        None, False, False, layout, lowering, engine, workspace_limit, rtol, exact, False, "input",
    )  # fmt: skip
    return made(checked("dy", dy, made.problem.shape("x"), dy.dtype, "conv_input_grad"), w, out=out)


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
) -> Array:
    """The gradient of sum(dy * conv(x, w)) in w: x: (B, C, *I), dy: (B, O, *P) -> dw of shape `w_shape`.

    The keywords are those given to `conv`. Complex x enters conjugated. Raises GeometryError or PlanError.

    >>> conv_weight_grad(np.array([[[1.0, 2.0, 4.0]]]), np.ones((1, 1, 2)), (1, 1, 2))
    array([[[3., 6.]]])
    """
    x, dy, _, _ = _operands("conv_weight_grad", x, dy, None, None, second="dy")
    made = _plan(
        "conv_weight_grad", x.shape, tuple(w_shape), _name(x.dtype), stride, padding, dilation, groups, padding_mode,
        None, False, False, layout, lowering, engine, workspace_limit, rtol, exact, False, "weight",
    )  # fmt: skip
    return made(x, checked("dy", dy, made.problem.shape("w"), dy.dtype, "conv_weight_grad"), out=out)


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
    rtol: float | None = None,
    exact: bool = False,
    direction: str = "forward",
    transposed: bool = False,
    output_padding: PerAxis = 0,
) -> Plan:
    """How a convolution of these shapes would run, and why: a Plan, to print, to `bind` weights to, to call.

    `x_shape` is (B, C, *I), or (B, *I, C) with layout="NHWC"; `w_shape` is (O, C//G, *F). `bias` and `residual` say
    whether the calls have one. `reuse_weights`: the weights are packed once and used often. `direction` "input" or
    "weight" plans a gradient. `transposed` plans `conv_transpose`, with w_shape (C, O//G, *F) and `output_padding`. The
    other keywords are those of `conv`. Raises GeometryError or PlanError.

    >>> p = plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> p.chosen.lowering, p.chosen.product
    ('im2col', (64, 3136, 576))
    """
    if transposed:
        if padding_mode != "zeros":
            raise GeometryError(
                f"plan: a transposed convolution pads with zeros alone\n  padding_mode = {padding_mode!r}\n"
                "  leave padding_mode away"
            )
        return _transposed(
            tuple(x_shape), tuple(w_shape), dtype_name(dtype), *_hashable(stride, padding, output_padding, dilation),
            groups, *_hashable(activation), bias, residual, layout, lowering, engine, workspace_limit, rtol, exact,
            _threads(), reuse_weights, direction, "plan",
        )  # fmt: skip
    if output_padding != 0:
        raise GeometryError(
            f"plan: output_padding belongs to transposed convolutions\n  output_padding = {output_padding!r}\n"
            "  leave it away, or plan with transposed=True"
        )
    return _plan(
        "plan", tuple(x_shape), tuple(w_shape), dtype_name(dtype), stride, padding, dilation, groups, padding_mode,
        activation, bias, residual, layout, lowering, engine, workspace_limit, rtol, exact, reuse_weights, direction,
    )  # fmt: skip


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
    x = _numbers("im2col", "x", x)
    g = _windows("im2col", x.shape, kernel_size, stride, padding, dilation)
    if order not in ("C", "F"):
        raise GeometryError(
            f"im2col: unknown order\n  order = {order!r}\n  'F' (columns contiguous) or 'C' (rows)"
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
    cols = _numbers("col2im", "cols", cols)
    g = _windows("col2im", tuple(x_shape), kernel_size, stride, padding, dilation)
    if cols.shape != (g.k, g.n):
        raise GeometryError(
            f"col2im: cols does not have the shape that im2col gives\n"
            f"  cols {cols.shape};  x_shape {g.x_shape} gives (C*F, B*P) = ({g.k}, {g.n})\n"
            f"  give cols of shape ({g.k}, {g.n})"
        )
    return planner.fold(Problem.of(g, "float32"), cols)


# -- from keywords to a problem ---------------------------------------------------------------------------------------


def dtype_name(dtype: Any) -> str:
    """The name of an element type, however it is given; GeometryError if there is none."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    if name != "bfloat16":
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    if name == "object" or name not in planner.DTYPES:
        raise GeometryError(
            f"plan: dtype is not taken\n  dtype = {dtype!r}\n  one of {', '.join(planner.DTYPES)}, e.g. dtype='float32'"
        )
    return str(name)


def _plan(call: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: str, *rest: Any) -> Plan:
    try:
        hash(rest)
    except TypeError:
        rest = _hashable(*rest)
    return _planned(call, x_shape, w_shape, dtype, *rest, threads=_threads())


@lru_cache(maxsize=4096)
def _planned(
    call: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    dtype: str,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    groups: int,
    padding_mode: str,
    activation: ActivationLike,
    bias: bool,
    residual: bool,
    layout: str,
    lowering: str | None,
    engine: str | None,
    workspace_limit: int | None,
    rtol: float | None,
    exact: bool,
    reuse_weights: bool,
    direction: str = "forward",
    *,
    threads: int,
) -> Plan:
    _checked_direction(direction)
    if padding_mode not in ("zeros", "reflect", "edge", "wrap"):
        raise GeometryError(
            f"{call}: unknown padding_mode\n  padding_mode = {padding_mode!r}\n"
            f'  one of "zeros", "reflect", "edge", "wrap"'
        )
    channels_last = _channels_last(call, layout, len(w_shape))
    if channels_last and len(x_shape) == len(w_shape):
        x_shape = (x_shape[0], x_shape[-1], *x_shape[1:-1])
    g = Geometry.of(
        x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, call=call
    )
    if padding_mode != "zeros" and 0 in g.I:
        raise GeometryError(
            f"{call}: nothing to repeat\n  input {g.I}, padding_mode = {padding_mode!r}\n  use padding_mode='zeros'"
        )
    return _make(
        call, g, dtype, channels_last, activation, bias, residual, lowering, engine, workspace_limit, rtol, exact,
        direction, padding_mode=padding_mode, reuse_weights=reuse_weights, threads=threads,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _transposed(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    dtype: str,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    dilation: PerAxis,
    groups: int,
    activation: ActivationLike,
    bias: bool,
    residual: bool,
    layout: str,
    lowering: str | None,
    engine: str | None,
    workspace_limit: int | None,
    rtol: float | None,
    exact: bool,
    threads: int,
    reuse_weights: bool = False,
    direction: str = "forward",
    call: str = "conv_transpose",
) -> Plan:
    _checked_direction(direction)
    channels_last = _channels_last(call, layout, len(w_shape))
    if channels_last and len(x_shape) == len(w_shape):
        x_shape = (x_shape[0], x_shape[-1], *x_shape[1:-1])
    g = Geometry.transposed(
        x_shape, w_shape, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
        groups=groups, call=call,
    )  # fmt: skip
    return _make(
        call, g, dtype, channels_last, activation, bias, residual, lowering, engine, workspace_limit, rtol,
        exact, direction, transposed=True, reuse_weights=reuse_weights, threads=threads,
    )  # fmt: skip


def _checked_direction(direction: str) -> None:
    if direction not in ("forward", "input", "weight"):
        raise PlanError(
            f'plan: unknown direction\n  direction = {direction!r}\n  "forward", "input" or "weight"'
        )


def _make(
    call: str,
    g: Geometry,
    dtype: str,
    channels_last: bool,
    activation: ActivationLike,
    bias: bool,
    residual: bool,
    lowering: str | None,
    engine: str | None,
    workspace_limit: Any,
    rtol: Any,
    exact: bool,
    direction: str,
    **rest: Any,
) -> Plan:
    if dtype in INT32_ROOM and g.k > INT32_ROOM[dtype]:
        raise GeometryError(
            f"{call}: the sums may pass what int32 holds\n  C//G * F = {g.k} products of {dtype};  at most "
            f"{INT32_ROOM[dtype]}\n  convolve parts of the channels and add them as int64, or use dtype float64"
        )
    limited = workspace_limit is not None
    if limited and (
        not isinstance(workspace_limit, int) or isinstance(workspace_limit, bool) or workspace_limit < 0
    ):
        raise PlanError(
            f"{call}: workspace_limit must be a number of bytes\n  workspace_limit = {workspace_limit!r}\n"
            f"  e.g. workspace_limit={WORKSPACE_LIMIT}"
        )
    layout = "NHWC" if channels_last else "NCHW"
    options = dict(rest, workspace_limit=workspace_limit, exact=bool(exact))
    if rtol is not None:
        if not isinstance(rtol, int | float) or not 0 < rtol < math.inf:
            raise PlanError(f"{call}: rtol must be a positive number\n  rtol = {rtol!r}\n  e.g. rtol=5e-6")
        options["rtol"] = float(rtol)
    epilogue = Epilogue(bias=bias, residual=residual, activation=_activation(call, activation, dtype))
    problem = Problem.of(g, dtype, x=layout, y=layout, epilogue=epilogue, **options)
    if direction == "input":
        problem = problem.grad_input()
    elif direction == "weight":
        problem = problem.grad_weight()
    return planner.make(problem, lowering, engine)


def _activation(call: str, value: Any, dtype: str) -> Activation | None:
    try:
        made = Activation.of(tuple(value) if isinstance(value, list) else value)
    except (ValueError, TypeError) as error:
        raise GeometryError(
            f"{call}: the activation is not understood\n  activation = {value!r}\n  {error}"
        ) from None
    if made is not None and (dtype.startswith("complex") or dtype.endswith("int8")) and made.name != "relu":
        raise GeometryError(
            f"{call}: this activation needs real floating-point results\n  activation = {made.name!r}, dtype {dtype}\n"
            f"  apply it to the result, or convolve in float32"
        )
    if made is not None and dtype.startswith("complex"):
        raise GeometryError(
            f"{call}: complex numbers have no order for relu\n  activation = {made.name!r}, dtype {dtype}\n"
            f"  apply an activation to the real and imaginary parts of the result"
        )
    return made


def _channels_last(call: str, layout: str, ndim: int) -> bool:
    """Whether channels come last: NCHW and NHWC at any rank, and the usual names of other ranks."""
    spatial = {3: ("W", "L"), 4: ("HW",), 5: ("DHW",)}.get(ndim, ())
    first = {"NCHW", *(f"NC{s}" for s in spatial)}
    last = {"NHWC", *(f"N{s}C" for s in spatial)}
    if layout not in first | last:
        raise GeometryError(
            f"{call}: unknown layout\n  layout = {layout!r}\n"
            f'  "NCHW" (channels second) or "NHWC" (channels last), at any rank'
        )
    return layout in last


def _operands(
    call: str, x: Any, w: Any, bias: Any, residual: Any, first: str = "x", second: str = "w"
) -> tuple[Array, Array, Array | None, Array | None]:
    """The arrays, read and of one element type. Raises GeometryError."""
    x, w = read(first, x, call), read(second, w, call)
    if x.dtype != w.dtype:
        raise GeometryError(
            f"{call}: {first} and {second} have different element types\n"
            f"  {first}.dtype = {x.dtype}, {second}.dtype = {w.dtype}\n"
            f"  convert one, e.g. {second}.astype('{x.dtype}')"
        )
    if bias is None and residual is None:
        return x, w, None, None
    wide = np.dtype(np.int32) if x.dtype.name in INT32_ROOM else x.dtype
    made = []
    for name, value in (("bias", bias), ("residual", residual)):
        if value is not None and not isinstance(value, np.ndarray):
            value = (
                np.asarray(value, dtype=wide) if isinstance(value, list | tuple) else read(name, value, call)
            )
        if value is not None and value.dtype != wide:
            raise GeometryError(
                f"{call}: {name} has another element type than the result\n"
                f"  {name}.dtype = {value.dtype}, the result is {wide}\n  convert it, e.g. {name}.astype('{wide}')"
            )
        made.append(value)
    return x, w, made[0], made[1]


def _numbers(call: str, name: str, value: Any) -> Array:
    """An array of any numeric type: im2col only moves elements."""
    made = np.asarray(value)
    if made.dtype.kind not in "biufc" and made.dtype.name != "bfloat16":
        raise GeometryError(
            f"{call}: {name} does not hold numbers\n  {name}.dtype = {made.dtype}\n"
            f"  give numbers, e.g. np.asarray({name}, dtype='float32')"
        )
    return made


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
    sizes = tuple(kernel_size) if isinstance(kernel_size, Sequence) else (kernel_size,) * max(rank, 0)
    channels = x_shape[1] if len(x_shape) > 1 else 1
    return Geometry.of(
        x_shape, (1, channels, *sizes), stride=stride, padding=padding, dilation=dilation, call=call
    )


def _ranked(call: str, w: Any, rank: int) -> Array:
    array = read("w", w, call)
    if array.ndim != rank + 2:
        raise GeometryError(
            f"{call}: w must have {rank + 2} axes\n  w has {array.ndim}: {array.shape}\n"
            f"  (O, C//G, *F) with {rank} spatial {'axis' if rank == 1 else 'axes'}, or call conv, which takes any rank"
        )
    return array


def _hashable(*values: Any) -> tuple[Any, ...]:
    """The same with lists as tuples, all the way down."""
    return tuple(_hashable(*v) if isinstance(v, list | tuple) else v for v in values)


@lru_cache(maxsize=1)
def _counter() -> Callable[[], int]:
    from .engine import pool

    return pool.count


def _threads() -> int:
    """How many threads a call may use now."""
    return _counter()()


@lru_cache(maxsize=64)
def _name(dtype: np.dtype[Any]) -> str:
    """NumPy takes a microsecond to name a dtype."""
    return dtype.name


__all__ = [
    "col2im", "conv", "conv1d", "conv2d", "conv3d", "conv_input_grad", "conv_transpose", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "conv_weight_grad", "im2col", "plan",
]  # fmt: skip
