"""Keywords of a convolution, read once: a PlanOptions becomes a Problem, or a sentence that says why not.

Words are held to those known, flags to bools, limits to numbers; shapes, stride and padding are read by Geometry.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import Shape, entries_of, read_per_axis, require_layout
from ..engine import ENGINES
from ..errors import ConvmatError, GeometryError, PlanError, format_value
from ..geometry import Geometry
from ..lowering import ALL
from ..problem import WORK_DTYPES, WORKSPACE_LIMIT, EpilogueForm, Problem
from ..product import Activation
from .counting import read_counting
from .integers import require_short
from .options import PlanOptions, Tuning

EFFORTS = ("none", "quick", "full")
"""How much is measured before a choice: nothing; those predicted to be near the best; all that can run."""

DIRECTIONS = ("forward", "input", "weight")
PADDING_MODES = ("zeros", "reflect", "symmetric", "edge", "wrap")
PYTORCH_MODES = {"replicate": "edge", "circular": "wrap"}
"""What PyTorch calls two of them."""


def read_problem(
    call: str, x_shape: Shape, w_shape: Shape, dtype: str, options: PlanOptions, threads: int
) -> Problem:
    """The problem that was asked for, every value checked. Raises ConvmatError."""
    _require_words(call, options)
    limits = _read_limits(call, options)
    channels_last = _read_layout(call, options.layout, len(w_shape))
    require_layout(
        call,
        x_shape,
        w_shape,
        options.groups,
        channels_last=channels_last,
        transposed=bool(options.transposed),
    )
    if channels_last and len(x_shape) == len(w_shape) >= 3:
        x_shape = (x_shape[0], x_shape[-1], *x_shape[1:-1])
    mode, transposed = PYTORCH_MODES.get(options.padding_mode, options.padding_mode), bool(options.transposed)
    g = _read_geometry(call, x_shape, w_shape, options)
    if mode != "zeros":
        _require_repeatable(call, g, mode, transposed=transposed)
    counting, stored = read_counting(call, dtype, options)
    epilogue = EpilogueForm(
        bias=bool(options.bias),
        residual=bool(options.residual),
        activation=_read_activation(call, options.activation, dtype, scaled=bool(options.scale)),
        **stored,
    )
    places = "NHWC" if channels_last else "NCHW"
    problem = Problem.of(
        g, dtype, x=places, y=places, transposed=transposed, padding_mode=mode, epilogue=epilogue,
        exact=bool(options.exact), deterministic=bool(options.deterministic),
        reuse_weights=bool(options.reuse_weights), threads=threads, **limits, **counting,
    )  # fmt: skip
    if options.direction == "input":
        problem = problem.grad_input()
    elif options.direction == "weight":
        problem = problem.grad_weight()
    require_short(call, problem, "dy" if options.direction == "input" else "x")
    return problem


def _require_words(call: str, options: PlanOptions) -> None:
    """Raise PlanError or GeometryError for a word that is none of those known, and for flags that are no bools."""
    _require_choice(call, "direction", options.direction, DIRECTIONS)
    modes = (*PADDING_MODES, *PYTORCH_MODES)
    _require_choice(call, "padding_mode", options.padding_mode, modes, GeometryError)
    _require_choice(call, "lowering", options.lowering, (None, *(way.name for way in ALL)))
    _require_choice(call, "engine", options.engine, (None, *ENGINES))
    flags = (
        "bias",
        "residual",
        "exact",
        "deterministic",
        "reuse_weights",
        "transposed",
        "w_zero_point",
        "scale",
        "requantise",
    )
    for name in flags:
        flag = getattr(options, name)
        if not isinstance(flag, bool | np.bool_):
            raise PlanError(
                f"{call}: {name} must be True or False\n  {name} = {format_value(flag)}\n  e.g. {name}=True"
            )


def _read_geometry(call: str, x_shape: Shape, w_shape: Shape, options: PlanOptions) -> Geometry:
    """The geometry of a convolution, or of a transposed one; x_shape has its channels second."""
    stride, padding, dilation, groups = options.stride, options.padding, options.dilation, options.groups
    if options.transposed:
        return Geometry.transposed(
            x_shape, w_shape, stride=stride, padding=padding, output_padding=options.output_padding,
            dilation=dilation, groups=groups, call=call,
        )  # fmt: skip
    g = Geometry.of(
        x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, call=call
    )
    if any(read_per_axis(call, "output_padding", options.output_padding, g.rank, least=0)):
        raise GeometryError(
            f"{call}: output_padding belongs to transposed convolutions\n"
            f"  output_padding = {format_value(options.output_padding)}\n  omit it, or plan with transposed=True"
        )
    return g


def read_tuning(call: str, effort: Any, seconds: Any, progress: Any, deterministic: Any) -> Tuning:
    """The keywords of tuning, checked. Raises PlanError."""
    _require_choice(call, "tune", effort, EFFORTS)
    if effort is None:
        raise PlanError(f"{call}: unknown tune\n  tune = None\n  one of {', '.join(map(repr, EFFORTS))}")
    number = type(seconds) in (int, float) or isinstance(seconds, np.floating | np.integer)
    if seconds is not None and not (number and 0 < seconds < math.inf):
        raise PlanError(
            f"{call}: seconds must be a positive number\n  seconds = {format_value(seconds)}\n"
            f"  e.g. seconds=0.5, or None"
        )
    if progress is not None and not callable(progress):
        raise PlanError(
            f"{call}: progress must be a function\n  progress = {format_value(progress)}\n"
            f"  it is called with steps done and all steps, e.g. progress=print"
        )
    if effort != "none" and deterministic:
        raise PlanError(
            f"{call}: deterministic=True forbids choices made by timing\n  tune = {effort!r}\n"
            f"  omit one of the two"
        )
    return Tuning(effort, None if seconds is None else float(seconds), progress)


def require_limits(
    call: str, *, rtol: Any, workspace_limit: Any, weight_limit: Any, deterministic: Any, tune: Any
) -> None:
    """Keywords that many plans are going to share, read before there is one. Raises PlanError.

    >>> require_limits("load", rtol=None, workspace_limit=-1, weight_limit=None, deterministic=False, tune="none")
    Traceback (most recent call last):
    ...
    convmat.errors.PlanError: load: workspace_limit must be a number of bytes
      workspace_limit = -1
      e.g. workspace_limit=16777216, or None
    """
    limits = PlanOptions(rtol=rtol, workspace_limit=workspace_limit, weight_limit=weight_limit)
    _read_limits(call, limits)
    read_tuning(call, tune, None, None, deterministic)


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
            f"plan: dtype is not taken\n  dtype = {format_value(dtype)}\n"
            f"  one of {', '.join(WORK_DTYPES)}, e.g. dtype='float32'"
        )
    return str(name)


def _require_choice(
    call: str, name: str, value: Any, allowed: tuple[str | None, ...], error: type[ConvmatError] = PlanError
) -> None:
    if not (value is None or isinstance(value, str)) or value not in allowed:
        head = f"there is no {name} of that name" if name in ("lowering", "engine") else f"unknown {name}"
        texts = ", ".join(repr(each) for each in allowed if each is not None)
        raise error(f"{call}: {head}\n  {name} = {format_value(value)}\n  one of {texts}")


def _read_limits(call: str, options: PlanOptions) -> dict[str, Any]:
    """The limits as keywords of Problem. Raises PlanError."""
    found: dict[str, Any] = {}
    for name in ("workspace_limit", "weight_limit"):
        limit = getattr(options, name)
        whole = type(limit) is int or isinstance(limit, np.integer)
        if limit is not None and not (whole and limit >= 0):
            raise PlanError(
                f"{call}: {name} must be a number of bytes\n  {name} = {format_value(limit)}\n"
                f"  e.g. {name}={WORKSPACE_LIMIT}, or None"
            )
        found[name] = None if limit is None else int(limit)
    rtol: Any = options.rtol
    if rtol is not None:
        number = type(rtol) in (int, float) or isinstance(rtol, np.floating)
        if not number or not 0 < rtol < math.inf:
            raise PlanError(
                f"{call}: rtol must be a positive number\n  rtol = {format_value(rtol)}\n  e.g. rtol=5e-6, or None"
            )
        found["rtol"] = float(rtol)
    return found


def _read_layout(call: str, layout: Any, ndim: int) -> bool:
    """Whether channels come last: NCHW and NHWC at any rank, and the usual names of other ranks."""
    spatial = {3: ("W", "L"), 4: ("HW",), 5: ("DHW",)}.get(ndim, ())
    first = {"NCHW", *(f"NC{s}" for s in spatial)}
    last = {"NHWC", *(f"N{s}C" for s in spatial)}
    if not isinstance(layout, str) or layout not in first | last:
        raise GeometryError(
            f"{call}: unknown layout\n  layout = {format_value(layout)}\n"
            f"  'NCHW' (channels second) or 'NHWC' (channels last), at any rank"
        )
    return layout in last


def _require_repeatable(call: str, g: Geometry, mode: str, *, transposed: bool) -> None:
    """Whether something is left of x, once it is cropped, that its borders can repeat."""
    if transposed:
        raise GeometryError(
            f"{call}: a transposed convolution pads with zeros alone\n  padding_mode = {mode!r}\n"
            f"  omit padding_mode"
        )
    left = tuple(i + min(lo, 0) + min(hi, 0) for i, lo, hi in zip(g.I, g.lo, g.hi, strict=True))
    if min(left) < 1:
        raise GeometryError(
            f"{call}: nothing is left of the input to repeat\n"
            f"  input {g.I}, padding {tuple(zip(g.lo, g.hi, strict=True))}, padding_mode = {mode!r}\n"
            f"  use padding_mode='zeros', or crop less"
        )


def _read_activation(call: str, value: Any, dtype: str, *, scaled: bool) -> Activation | None:
    if value is None:
        return None
    given = value if isinstance(value, str | Activation) else entries_of(value)
    made, reason = None, "a name, or a tuple of a name and its numbers, e.g. 'relu' or ('clip', 0.0, 6.0)"
    try:
        made = Activation.of(given) if given else None
    except Exception as error:  # its numbers are asked to be floats, which may raise anything
        reason = str(error)
    if made is None:
        raise GeometryError(
            f"{call}: the activation is not understood\n  activation = {format_value(value)}\n  {reason}"
        )
    if dtype.startswith("complex"):
        raise GeometryError(
            f"{call}: complex numbers have no order, and no activations here\n"
            f"  activation = {made.name!r}, dtype {dtype}\n"
            f"  apply one to the real and imaginary parts of the result"
        )
    if dtype.endswith("int8") and made.name != "relu" and not scaled:
        raise GeometryError(
            f"{call}: this activation needs real floating-point results\n"
            f"  activation = {made.name!r}, dtype {dtype}\n"
            f"  apply it to the result, or convolve in float32"
        )
    return made


__all__ = ["dtype_name", "read_problem", "read_tuning", "require_limits"]
