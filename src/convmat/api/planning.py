"""plan: how a convolution would run, and why, without its arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..arguments import Padding, PerAxis, read_shape
from ..doors import open_room_of_arrays
from ..planner import (
    ActivationLike,
    Plan,
    PlanOptions,
    dtype_name,
    read_tuning,
    request_tuned,
)


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
    requantise: bool = False,
) -> Plan:
    """How a convolution of these shapes would run, and why: a Plan, to print, to `bind` weights to, to call.

    `x_shape` is (B, C, *I), or (B, *I, C) with layout="NHWC"; `w_shape` is (O, C//G, *F). A Dask array in the place of
    `x_shape` is planned with its chunks and element type. `bias` and `residual` say whether the calls have one.
    `reuse_weights`: the weights are packed once and used often. `direction` "input" or
    "weight" plans a gradient. `transposed` plans `conv_transpose`, with w_shape (C, O//G, *F) and `output_padding`.
    `weight_limit` is in bytes of bound weights. For 8-bit integers `w_dtype` is that of w (by default x's), and
    `w_zero_point`, `scale` and `requantise` say whether calls have them. The other keywords are those of `conv`.

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
        w_zero_point=w_zero_point, scale=scale, out_dtype=out_dtype, y_zero_point=y_zero_point, requantise=requantise,
    )  # fmt: skip
    w = read_shape("plan", "w_shape", w_shape)
    if (room := open_room_of_arrays(x_shape)) is not None:
        lazy: Plan = room.plan(options, x_shape, w)
        return lazy
    x = read_shape("plan", "x_shape", x_shape)
    return request_tuned("plan", x, w, dtype_name(dtype), options, tuning)
