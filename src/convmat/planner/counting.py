"""What 8-bit integers count from and are scaled by: keywords and arrays as they come from callers, read and checked.

sums of (x - x_zero_point) * (w - w_zero_point)            y = scale * (sums + bias), rounded, plus y_zero_point
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import GeometryError, PlanError, format_value
from ..problem import Problem
from .integers import LIMITS

if TYPE_CHECKING:
    from .options import PlanOptions

Array = npt.NDArray[Any]

MOST_FACTOR = 1 << 20
"""What bytes are weighed by, at most, and what is added to them: their sums are then an int32."""

NUMBERS = {"requantise": "numbers to requantise by", "residual_factors": "factors of a residual"}
"""What keywords are in words."""

STORED = ("int32", "uint8", "int8", "float32")
"""The types that sums of 8-bit integers are stored as."""


def read_counting(call: str, dtype: str, options: PlanOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a Problem and its epilogue say of zero points, scale and types. Raises GeometryError, PlanError."""
    o, out = options, _read_type(call, options)
    words = {
        "w_dtype": o.w_dtype, "x_zero_point": o.x_zero_point, "w_zero_point": o.w_zero_point, "scale": o.scale,
        "out_dtype": out, "y_zero_point": o.y_zero_point, "requantise": o.requantise,
    }  # fmt: skip
    given = {
        name: value
        for name, value in words.items()
        if _several(value) or value not in (None, 0, False) or format_value(value) == "nan"
    }
    if not given:
        return {}, {}
    name, value = next(iter(given.items()))
    if dtype not in LIMITS or (o.w_dtype or dtype) not in LIMITS:
        raise GeometryError(
            f"{call}: {name} belongs to 8-bit integers\n"
            f"  {name} = {format_value(value)};  x is {dtype}, w {o.w_dtype or dtype}\n"
            f"  omit it, or give int8 or uint8 arrays"
        )
    added = o.residual and not (o.scale and out in LIMITS)
    if o.direction != "forward" or added:
        what = "a residual" if added else f"direction={o.direction!r}"
        raise PlanError(
            f"{call}: {name} does not go with {what}\n  {name} = {format_value(value)}\n"
            f"  omit one of the two; float32 arrays take both"
            + ", and so do 8-bit ones with a scale and out_dtype='uint8' or 'int8'"
            * added
        )
    for name in ("x_zero_point", "y_zero_point"):
        _require_one(call, name, words[name])
    if (out in LIMITS or o.y_zero_point or o.requantise) and not (o.scale and out in LIMITS):
        scaled = f"scale = {format_value(o.scale)}"
        scaled += f", requantise = {format_value(o.requantise)}" * bool(o.requantise)
        raise PlanError(
            f"{call}: numbers of 8 bits are made of sums by a scale\n"
            f"  out_dtype = {out}, y_zero_point = {format_value(o.y_zero_point)}, {scaled}\n"
            f"  give a scale and out_dtype='uint8' or 'int8', or omit these: int32 holds every sum"
        )
    if o.scale and out == "int32":
        raise PlanError(
            f"{call}: a scale makes other numbers than int32\n  scale = {format_value(o.scale)}, out_dtype = 'int32'\n"
            f"  one of {', '.join(map(repr, STORED[1:]))}"
        )
    x_zero = read_zero_points(call, "x_zero_point", o.x_zero_point, np.dtype(dtype))
    stored: dict[str, Any] = {"scale": bool(o.scale), "requantise": bool(o.requantise)}
    if o.scale or out == "float32":
        stored["dtype"] = out or "float32"
    if out in LIMITS:
        stored["zero"] = int(read_zero_points(call, "y_zero_point", o.y_zero_point, np.dtype(out)))
    w_dtype = None if o.w_dtype == dtype else o.w_dtype
    return {"w_dtype": w_dtype, "x_zero": int(x_zero), "w_zero": bool(o.w_zero_point)}, stored


def _several(value: Any) -> bool:
    """Whether it has an axis, however ragged."""
    return isinstance(value, list | tuple) or bool(getattr(value, "ndim", 0))


def _require_one(call: str, name: str, value: Any) -> None:
    if _several(value):
        raise GeometryError(
            f"{call}: {name} must be one number for the whole array\n  {name} = {format_value(value)}\n"
            f"  give one number, e.g. {name}=3; w_zero_point may be one for each channel of y"
        )


def _read_type(call: str, options: PlanOptions) -> str | None:
    """The name of the type that sums are stored as, however it is given."""
    value = options.out_dtype
    try:
        name = None if value is None else np.dtype(value).name
    except Exception:  # NumPy looks into whatever was given, which may raise anything
        name = ""
    if name is not None and name not in STORED:
        raise GeometryError(
            f"{call}: out_dtype is not taken\n  out_dtype = {format_value(value)}\n"
            f"  one of {', '.join(map(repr, STORED))}"
        )
    return name


def require_absent(**given: Any) -> None:
    """Refuse what the plan was made without. Raises PlanError."""
    for name, value in given.items():
        if value is not None:
            what, one = _describe_numbers(name)
            fix = (
                "omit them: a residual of floats is added as it is"
                if name == "residual_factors"
                else f"plan again with {name}=True, which takes 8-bit integers"
            )
            raise PlanError(
                f"plan: made without {what}, called with {one}\n  {name} = {format_value(value)}\n  {fix}"
            )


def _describe_numbers(name: str) -> tuple[str, str]:
    """What a keyword is in words, and the pronoun of that."""
    return (NUMBERS[name], "them") if name in NUMBERS else (f"a {name.replace('_', ' ')}", "one")


def read_channels(call: str, problem: Problem, given: Mapping[str, Any]) -> dict[str, Array]:
    """What calls have beside w and a bias, by the names of keywords, as numbers for each channel of y, or three.

    `call`: what errors say was called. Raises ConvmatError.
    """
    made: dict[str, Array] = {}
    epilogue, channels = problem.epilogue, problem.geometry.O
    wanted = {
        "scale": epilogue.scale, "w_zero_point": problem.w_zero, "requantise": epilogue.requantise,
        "residual_factors": epilogue.weighed,
    }  # fmt: skip
    for name, needed in wanted.items():
        value = given.get(name)
        if needed != (value is not None):
            what, one = _describe_numbers(name)
            fix = f"plan again with {name}={value is not None}"
            if name == "residual_factors":
                fix = (
                    "give three numbers, e.g. (1.0, 0.5, 0.0), or omit the residual"
                    if needed
                    else "give a residual with them, for which a plan is made by residual=True, or omit them"
                )
            raise PlanError(
                f"plan: made {'with' if needed else 'without'} {what}, called "
                f"{'with' if value is not None else 'without'} {one}\n"
                f"  {name} = {'None' if value is None else 'given'}\n"
                f"  {fix}"
            )
    if epilogue.scale:
        made["scale"] = _each_channel(call, "scale", read_scales(call, "scale", given["scale"]), channels)
    if problem.w_zero:
        kind = np.dtype(problem.w_dtype or problem.dtype)
        zeros = read_zero_points(call, "w_zero_point", given["w_zero_point"], kind)
        made["w zero"] = _each_channel(call, "w_zero_point", zeros, channels)
    if epilogue.requantise:
        pair = _read_numbers(
            call, "requantise", given["requantise"], 2, "a factor and an offset, e.g. (0.5, 3.0)"
        )
        for name, each in zip(("factor", "offset"), pair, strict=True):
            made[name] = _each_channel(call, "requantise", each, channels)
    if epilogue.weighed:
        three = _read_numbers(
            call, "residual_factors", given["residual_factors"], 3, "three numbers, e.g. (1.0, 0.5, 0.0)"
        )
        if any(each.size != 1 for each in three):
            raise GeometryError(
                f"{call}: residual_factors must be three numbers\n"
                f"  residual_factors has {max(each.size for each in three)} numbers for one\n"
                f"  give one number for the whole array each, e.g. (1.0, 0.5, 0.0)"
            )
        made["addition"] = np.concatenate([each.reshape(1) for each in three])
    return made


def _read_numbers(call: str, name: str, value: Any, count: int, example: str) -> list[Array]:
    """So many finite numbers, or arrays of them, as float32. Raises GeometryError."""
    try:
        found = [np.asarray(each, np.float32) for each in value]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all((np.abs(each) <= MOST_FACTOR).all() for each in found):
        raise GeometryError(
            f"{call}: {name} is not understood\n  {name} = {format_value(value)}\n"
            f"  give {example}, none beyond {MOST_FACTOR}"
        )
    return found


def _each_channel(call: str, name: str, array: Array, channels: int) -> Array:
    if array.size not in (1, channels) or array.ndim > 1:
        raise GeometryError(
            f"{call}: {name} is neither one number nor one for each channel of y\n"
            f"  {name}.shape = {array.shape};  y has {channels} channels\n"
            f"  give one number, or an array of shape ({channels},)"
        )
    return np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (channels,)))


def read_scales(call: str, name: str, value: Any) -> Array:
    """Scales as float32: finite and above zero. Raises GeometryError."""
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.array(np.nan, np.float32)
    good = np.isfinite(array) & (array > 0)
    if not good.all():
        worst = value if array.ndim == 0 else np.asarray(value)[~good][0].item()
        raise GeometryError(
            f"{call}: {name} must be finite numbers above 0\n  {name} has {format_value(worst)}\n"
            f"  give float32 numbers such as 0.02"
        )
    return array


def read_zero_points(call: str, name: str, value: Any, kind: np.dtype[Any]) -> Array:
    """Zero points as int32: whole numbers that the type of what they belong to holds. Raises GeometryError."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        array = np.array(None)
    limits = LIMITS[kind.name]
    typed = isinstance(value, np.ndarray | np.generic) and array.dtype.itemsize == 1
    whole = array.dtype.kind in "iu" and (not typed or array.dtype == kind)
    if not whole or (array.size and not (limits[0] <= array.min() and array.max() <= limits[1])):
        raise GeometryError(
            f"{call}: {name} must be whole numbers of the type that they belong to\n"
            f"  {name} = {format_value(value)}, of {array.dtype};  {kind} holds {limits[0]} .. {limits[1]}\n"
            f"  give such a number, e.g. {name}={max(limits[0], 0)}"
        )
    return array.astype(np.int32)


__all__ = ["read_channels", "read_counting", "read_scales", "read_zero_points", "require_absent"]
