"""What was asked for, from keywords to a Plan: every value checked once, then the plan is remembered.

Only plain values (numbers, words, tuples of them) are keys of the memory, each with its type: True is not 1 and 2.0
is not 2, whichever came first. Anything else is read anew at each call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..arguments import Padding, PerAxis, Shape, per_axis, require_layout, several
from ..engine import ENGINES
from ..errors import ConvmatError, GeometryError, PlanError, shown
from ..geometry import Geometry
from ..lowering import ALL
from ..problem import WORK_DTYPES, WORKSPACE_LIMIT, Epilogue, Problem
from ..product import Activation
from . import choices, follow
from .choose import make
from .integers import require_short
from .plan import Plan

EFFORTS = ("none", "quick", "full")
"""How much is measured before a choice: nothing; those predicted to be near the best; all that can run."""

Progress = Callable[[int, int], object]

ActivationLike = str | tuple[str | float, ...] | None

DIRECTIONS = ("forward", "input", "weight")
PADDING_MODES = ("zeros", "reflect", "symmetric", "edge", "wrap")
PYTORCH_MODES = {"replicate": "edge", "circular": "wrap"}
"""What PyTorch calls two of them."""

_PLAIN = frozenset({int, str, float, bool, type(None)})


def request(call: str, x_shape: Shape, w_shape: Shape, dtype: str, *rest: Any) -> Plan:
    """The plan for keywords in the order of `_planned`; shapes and dtype are read already. Raises ConvmatError."""
    try:
        rest, plain = tuple([value if type(value) in _PLAIN else _plain(value) for value in rest]), True
    except TypeError:
        plain = False
    if not plain or follow.active():
        return _planned.__wrapped__(call, x_shape, w_shape, dtype, *rest, threads=_threads(), version=0)
    return _planned(call, x_shape, w_shape, dtype, *rest, threads=_threads(), version=choices.version())


def _plain(value: Any) -> Any:
    """Lists as tuples and NumPy's integers as Python's; TypeError for what cannot be a key of the memory."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Activation):
        return value
    if not isinstance(value, tuple | list):
        raise TypeError
    # ("clip", 0, 6.0) may hold any numbers; a stride of (2.0, 2) must not be taken for (2, 2)
    allowed = (int, str, float) if value and type(value[0]) is str else (int, str)
    return tuple([each if type(each) in allowed else _plain(each) for each in value])


@lru_cache(maxsize=4096, typed=True)
def _planned(
    call: str,
    x_shape: Shape,
    w_shape: Shape,
    dtype: str,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
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
    weight_limit: int | None,
    rtol: float | None,
    exact: bool,
    deterministic: bool,
    reuse_weights: bool,
    direction: str,
    transposed: bool,
    *,
    threads: int,
    version: int,
) -> Plan:
    """With `transposed`, w is (C, O//G, *F). `version` is that of what tuning has found: plans follow it."""
    _choice(call, "direction", direction, DIRECTIONS)
    _choice(call, "padding_mode", padding_mode, (*PADDING_MODES, *PYTORCH_MODES), GeometryError)
    padding_mode = PYTORCH_MODES.get(padding_mode, padding_mode)
    _choice(call, "lowering", lowering, (None, *(way.name for way in ALL)))
    _choice(call, "engine", engine, (None, *ENGINES))
    flags = {
        "bias": bias, "residual": residual, "exact": exact, "deterministic": deterministic,
        "reuse_weights": reuse_weights, "transposed": transposed,
    }  # fmt: skip
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise PlanError(
                f"{call}: {name} must be True or False\n  {name} = {shown(flag)}\n  e.g. {name}=True"
            )
    options = _limits(call, workspace_limit, weight_limit, rtol)
    channels_last = _channels_last(call, layout, len(w_shape))
    require_layout(call, x_shape, w_shape, groups, channels_last=channels_last, transposed=bool(transposed))
    if channels_last and len(x_shape) == len(w_shape) >= 3:
        x_shape = (x_shape[0], x_shape[-1], *x_shape[1:-1])
    if transposed:
        g = Geometry.transposed(
            x_shape, w_shape, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
            groups=groups, call=call,
        )  # fmt: skip
    else:
        g = Geometry.of(
            x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, call=call
        )
        if any(per_axis(call, "output_padding", output_padding, g.rank, least=0)):
            raise GeometryError(
                f"{call}: output_padding belongs to transposed convolutions\n"
                f"  output_padding = {shown(output_padding)}\n  leave it away, or plan with transposed=True"
            )
    if padding_mode != "zeros":
        _repeatable(call, g, padding_mode, transposed=bool(transposed))
    places = "NHWC" if channels_last else "NCHW"
    problem = Problem.of(
        g, dtype, x=places, y=places, transposed=bool(transposed), padding_mode=padding_mode,
        epilogue=Epilogue(bias=bool(bias), residual=bool(residual), activation=_activation(call, activation, dtype)),
        exact=bool(exact), deterministic=bool(deterministic), reuse_weights=bool(reuse_weights), threads=threads,
        **options,
    )  # fmt: skip
    if direction == "input":
        problem = problem.grad_input()
    elif direction == "weight":
        problem = problem.grad_weight()
    require_short(call, problem, "dy" if direction == "input" else "x")
    return make(problem, lowering, engine)


def tuning_asked(
    call: str, effort: Any, seconds: Any, progress: Any, deterministic: Any
) -> tuple[float | None, Progress | None]:
    """The keywords of tuning, read: seconds and progress. Raises PlanError."""
    _choice(call, "tune", effort, EFFORTS)
    if effort is None:
        raise PlanError(f"{call}: unknown tune\n  tune = None\n  one of {', '.join(map(repr, EFFORTS))}")
    number = type(seconds) in (int, float) or isinstance(seconds, np.floating | np.integer)
    if seconds is not None and not (number and 0 < seconds < math.inf):
        raise PlanError(
            f"{call}: seconds must be a positive number\n  seconds = {shown(seconds)}\n  e.g. seconds=0.5, or None"
        )
    if progress is not None and not callable(progress):
        raise PlanError(
            f"{call}: progress must be a function\n  progress = {shown(progress)}\n"
            f"  it is called with steps done and all steps, e.g. progress=print"
        )
    if effort != "none" and deterministic:
        raise PlanError(
            f"{call}: deterministic=True forbids choices made by timing\n  tune = {effort!r}\n"
            f"  leave one of the two away"
        )
    return None if seconds is None else float(seconds), progress


def limits_asked(
    call: str, *, rtol: Any, workspace_limit: Any, weight_limit: Any, deterministic: Any, tune: Any
) -> None:
    """Keywords that many plans are going to share, read before there is one. Raises PlanError.

    >>> limits_asked("load", rtol=None, workspace_limit=-1, weight_limit=None, deterministic=False, tune="none")
    Traceback (most recent call last):
    ...
    convmat.errors.PlanError: load: workspace_limit must be a number of bytes
      workspace_limit = -1
      e.g. workspace_limit=16777216, or None
    """
    _limits(call, workspace_limit, weight_limit, rtol)
    tuning_asked(call, tune, None, None, deterministic)


def dtype_name(dtype: Any) -> str:
    """The name of an element type, however it is given; GeometryError if there is none.

    >>> dtype_name(np.float32), dtype_name("f8")
    ('float32', 'float64')
    """
    name = getattr(dtype, "name", dtype)
    if not isinstance(name, str) or name != "bfloat16":
        try:
            name = np.dtype(dtype).name if dtype is not None else None
        except Exception:  # NumPy looks into whatever was given, which may raise anything
            name = None
    if name not in WORK_DTYPES:
        raise GeometryError(
            f"plan: dtype is not taken\n  dtype = {shown(dtype)}\n"
            f"  one of {', '.join(WORK_DTYPES)}, e.g. dtype='float32'"
        )
    return str(name)


def _choice(
    call: str, name: str, value: Any, allowed: tuple[str | None, ...], error: type[ConvmatError] = PlanError
) -> None:
    if not (value is None or isinstance(value, str)) or value not in allowed:
        head = f"there is no {name} of that name" if name in ("lowering", "engine") else f"unknown {name}"
        words = ", ".join(repr(each) for each in allowed if each is not None)
        raise error(f"{call}: {head}\n  {name} = {shown(value)}\n  one of {words}")


def _limits(call: str, workspace_limit: Any, weight_limit: Any, rtol: Any) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, limit in (("workspace_limit", workspace_limit), ("weight_limit", weight_limit)):
        whole = type(limit) is int or isinstance(limit, np.integer)
        if limit is not None and not (whole and limit >= 0):
            raise PlanError(
                f"{call}: {name} must be a number of bytes\n  {name} = {shown(limit)}\n"
                f"  e.g. {name}={WORKSPACE_LIMIT}, or None"
            )
        options[name] = None if limit is None else int(limit)
    if rtol is not None:
        number = type(rtol) in (int, float) or isinstance(rtol, np.floating)
        if not number or not 0 < rtol < math.inf:
            raise PlanError(
                f"{call}: rtol must be a positive number\n  rtol = {shown(rtol)}\n  e.g. rtol=5e-6, or None"
            )
        options["rtol"] = float(rtol)
    return options


def _channels_last(call: str, layout: Any, ndim: int) -> bool:
    """Whether channels come last: NCHW and NHWC at any rank, and the usual names of other ranks."""
    spatial = {3: ("W", "L"), 4: ("HW",), 5: ("DHW",)}.get(ndim, ())
    first = {"NCHW", *(f"NC{s}" for s in spatial)}
    last = {"NHWC", *(f"N{s}C" for s in spatial)}
    if not isinstance(layout, str) or layout not in first | last:
        raise GeometryError(
            f"{call}: unknown layout\n  layout = {shown(layout)}\n"
            f"  'NCHW' (channels second) or 'NHWC' (channels last), at any rank"
        )
    return layout in last


def _repeatable(call: str, g: Geometry, mode: str, *, transposed: bool) -> None:
    """Whether something is left of x, once it is cropped, that its borders can repeat."""
    if transposed:
        raise GeometryError(
            f"{call}: a transposed convolution pads with zeros alone\n  padding_mode = {mode!r}\n"
            f"  leave padding_mode away"
        )
    left = tuple(i + min(lo, 0) + min(hi, 0) for i, lo, hi in zip(g.I, g.lo, g.hi, strict=True))
    if min(left) < 1:
        raise GeometryError(
            f"{call}: nothing is left of the input to repeat\n"
            f"  input {g.I}, padding {tuple(zip(g.lo, g.hi, strict=True))}, padding_mode = {mode!r}\n"
            f"  use padding_mode='zeros', or crop less"
        )


def _activation(call: str, value: Any, dtype: str) -> Activation | None:
    if value is None:
        return None
    given = value if isinstance(value, str | Activation) else several(value)
    made, reason = None, "a name, or a tuple of a name and its numbers, e.g. 'relu' or ('clip', 0.0, 6.0)"
    try:
        made = Activation.of(given) if given else None
    except Exception as error:  # its numbers are asked to be floats, which may raise anything
        reason = str(error)
    if made is None:
        raise GeometryError(
            f"{call}: the activation is not understood\n  activation = {shown(value)}\n  {reason}"
        )
    if dtype.startswith("complex"):
        raise GeometryError(
            f"{call}: complex numbers have no order, and no activations here\n"
            f"  activation = {made.name!r}, dtype {dtype}\n"
            f"  apply one to the real and imaginary parts of the result"
        )
    if dtype.endswith("int8") and made.name != "relu":
        raise GeometryError(
            f"{call}: this activation needs real floating-point results\n"
            f"  activation = {made.name!r}, dtype {dtype}\n"
            f"  apply it to the result, or convolve in float32"
        )
    return made


@lru_cache(maxsize=1)
def _counter() -> Callable[[], int]:
    from ..engine import thread_pool

    return thread_pool.count


def _threads() -> int:
    """How many threads a call may use now."""
    return _counter()()
