"""Numbers as small integers with a scale and a zero point, and back.

    q = saturate(round(x / scale) + zero)        x = (q - zero) * scale

Halves are rounded to the even neighbour; NaN becomes the smallest integer, as onnxruntime has it. Scale and zero point
are one for all of x, one for each index of an axis, or one for each block of `block_size` indices of it. Division and
product are taken in the type that the standard names, 16-bit ones in float32 and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, axis_of, has_input, input_at, operator
from .blocks import blockwise
from .dtypes import NARROW, convert, dtype_numbered, is_whole, limits, widen
from .options import Options

PER_AXIS, BLOCKED = 13, 21
"""The operator sets since which scales are one for each index, and one for each block."""

HALVES = ("float16", "bfloat16")


def broadcast_scales(node: Node, values: Array, shape: Shape) -> Array:
    """Scales or zero points so that they broadcast over x of this shape."""
    if values.size == 1:
        return values.reshape(())
    axis, block = axis_and_block(node, len(shape))
    if not block:
        return values.reshape(*(-1 if a == axis else 1 for a in range(len(shape))))
    return np.repeat(values, block, axis)[(slice(None),) * axis + (slice(shape[axis]),)]


def refuse_scale(node: Node, what: str, scale: Array) -> None:
    """Scales that are zero, negative, infinite or NaN."""
    bad = ~(np.isfinite(scale) & (scale > 0))
    if bad.any():
        raise node.error(
            f"its {what} has {scale.reshape(-1)[bad.reshape(-1)][0]!s}\n  finite numbers above 0 are needed"
        )


def refuse_grain(node: Node, specs: Specs) -> None:
    """Scales that do not fit x, and zero points that do not fit their scales."""
    x, scale = input_at(node, specs, 0), input_at(node, specs, 1)
    if scale.value is not None and scale.dtype.kind == "f":
        refuse_scale(node, "scale", scale.value)
    zero = input_at(node, specs, 2) if has_input(specs, 2) else None
    if zero is not None and zero.shape != scale.shape and (zero.size, scale.size) != (1, 1):
        raise node.error(f"its zero point {zero} is not of its scale's shape\n  {scale}")
    if scale.size == 1:
        return
    if node.version < PER_AXIS:
        raise node.error(
            f"its scale {scale} is not one number\n  more are for operator sets from {PER_AXIS} on"
        )
    axis, block = axis_and_block(node, x.rank)
    if block < 0 or (block and node.version < BLOCKED):
        raise node.error(
            f"its block_size is {block}\n  0, or a block's extent from operator set {BLOCKED} on"
        )
    wanted: Shape = (x.shape[axis],)
    if block:
        wanted = tuple(-(-n // block) if a == axis else n for a, n in enumerate(x.shape))
    if scale.shape != wanted:
        grain = f"blocks of {block} along axis {axis}" if block else f"one for each index of axis {axis}"
        raise node.error(f"its scale {scale} does not fit its input {x}\n  {grain}: shape {wanted}")


# -- to integers -------------------------------------------------------------------------------------------------------


def axis_and_block(node: Node, rank: int) -> tuple[int, int]:
    """The axis that has several scales, and of how many of its indices each is one; 0: of a single one."""
    return axis_of(node, node.get("axis", 1), rank), node.get("block_size", 0)


def _quantise_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    refuse_grain(node, specs)
    zero = input_at(node, specs, 2).dtype if has_input(specs, 2) else None
    number = node.get("output_dtype", 0)
    asked = dtype_numbered(node, number, "output_dtype") if number else None
    if zero is not None and asked is not None and zero != asked:
        raise node.error(f"its output_dtype is {asked} and its zero point {zero}\n  one type is needed")
    made = zero or asked or np.dtype(np.uint8)
    if made.itemsize > 2 or not (is_whole(made) or made.name in NARROW) or made.name in HALVES:
        raise node.error(f"it cannot make {made} of its input\n  integers of 2 to 16 bits, floats of 4 to 8")
    _precision(node, input_at(node, specs, 1).dtype)
    return (Spec(x.shape, made),)


def _precision(node: Node, scale: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which x is divided: the scale's unless the node says another."""
    number = node.get("precision", 0)
    found = dtype_numbered(node, number, "precision") if number else scale
    if is_whole(found):
        return np.dtype(np.float64)  # which holds the quotient of two int32 near enough to round it
    if found.name in HALVES or found in (np.float32, np.float64):
        return found
    if number:
        raise node.error(f"its precision is {found}\n  a float type of 16 bits or more is needed")
    return np.dtype(np.float32)


def quantise_array(
    x: Array, scale: Array, zero: Array | None, dtype: np.dtype[Any], precision: np.dtype[Any], saturate: bool
) -> Array:
    """x / scale + zero as elements of a type: rounded to integers, or converted to narrow floats."""
    with np.errstate(all="ignore"):
        q = _quotient(x, scale, precision)
        if not is_whole(dtype):
            shift = None if zero is None else widen(zero)
            return convert(q + shift if shift is not None and shift.any() else q, dtype, saturate=saturate)
        return saturate_integers(np.rint(q), zero, dtype)


def saturate_integers(q: Array, zero: Array | None, dtype: np.dtype[Any]) -> Array:
    """Whole numbers q in a float type plus their zero point, as integers of a type; NaN as its smallest."""
    low, high = limits(dtype)
    shift = np.zeros((), q.dtype) if zero is None else widen(zero).astype(q.dtype)
    # Cut before the shift is added: both sums are then exact.
    kept = np.minimum(np.fmax(q, low - shift), high - shift) + shift
    return np.asarray(kept.astype(np.int32).astype(dtype))


def _quotient(x: Array, scale: Array, precision: np.dtype[Any]) -> Array:
    """x / scale rounded to a precision, in a type of NumPy's own that holds it."""
    if precision.name not in HALVES:
        return np.asarray(widen(x).astype(precision) / widen(scale).astype(precision))
    wide = x.astype(precision).astype(np.float32) / widen(scale).astype(precision).astype(np.float32)
    return np.asarray(wide.astype(precision).astype(np.float32))


def _quantise_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    shape, dtype = made[0].shape, made[0].dtype
    precision, saturate = _precision(node, input_at(node, specs, 1).dtype), bool(node.get("saturate", 1))

    def step(x: Array, scale: Array, *rest: Array) -> None:
        zero = [broadcast_scales(node, each, shape) for each in rest[:-1]]
        blockwise(
            lambda x, scale, zero=None: quantise_array(x, scale, zero, dtype, precision, saturate),
            rest[-1], x, broadcast_scales(node, scale, shape), *zero,
        )  # fmt: skip

    return step


@operator("QuantizeLinear", shape=_quantise_shape, prepare=_quantise_step)
def quantise(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Any:
    """saturate(round(x / scale) + zero), of the zero point's element type."""
    specs = [Spec.of(x), Spec.of(scale), None if zero is None else Spec.of(zero)]
    made = _quantise_shape(node, specs)[0]
    zero = None if zero is None else broadcast_scales(node, zero, x.shape)
    precision = _precision(node, scale.dtype)
    return quantise_array(
        x, broadcast_scales(node, scale, x.shape), zero, made.dtype, precision, bool(node.get("saturate", 1))
    )


# -- and back ----------------------------------------------------------------------------------------------------------


def _numbers_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, scale = input_at(node, specs, 0), input_at(node, specs, 1)
    refuse_grain(node, specs)
    if has_input(specs, 2) and input_at(node, specs, 2).dtype != x.dtype:
        raise node.error(f"its input is {x.dtype} and its zero point {input_at(node, specs, 2).dtype}")
    number = node.get("output_dtype", 0)
    made = dtype_numbered(node, number, "output_dtype") if number else scale.dtype
    if made.name not in (*HALVES, "float32"):
        raise node.error(
            f"it cannot make {made}\n  output_dtype is float32 (1), float16 (10) or bfloat16 (16)"
        )
    return (Spec(x.shape, made),)


def dequantise_array(x: Array, scale: Array, zero: Array | None, dtype: np.dtype[Any]) -> Array:
    """(x - zero) * scale: the difference exact, the product in float32."""
    x = widen(x)
    if zero is not None and zero.any():
        x = x - widen(zero).astype(np.int64 if x.dtype.kind in "iu" else np.float32)
    with np.errstate(all="ignore"):
        return (x.astype(np.float32) * widen(scale).astype(np.float32)).astype(dtype, copy=False)


def _dequantise_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    shape, dtype = made[0].shape, made[0].dtype

    def step(x: Array, scale: Array, *rest: Array) -> None:
        zero = [broadcast_scales(node, each, shape) for each in rest[:-1]]
        blockwise(
            lambda x, scale, zero=None: dequantise_array(x, scale, zero, dtype),
            rest[-1], x, broadcast_scales(node, scale, shape), *zero,
        )  # fmt: skip

    return step


@operator("DequantizeLinear", shape=_numbers_shape, prepare=_dequantise_step)
def dequantise(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Any:
    """(x - zero) * scale, of the scale's element type or the one asked for."""
    specs = [Spec.of(x), Spec.of(scale), None if zero is None else Spec.of(zero)]
    made = _numbers_shape(node, specs)[0]
    zero = None if zero is None else broadcast_scales(node, zero, x.shape)
    return dequantise_array(x, broadcast_scales(node, scale, x.shape), zero, made.dtype)


# -- a scale of its own ------------------------------------------------------------------------------------------------


def _measure_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    if x.dtype != np.float32:
        raise node.error(f"its input is {x.dtype}\n  float32 is needed")
    byte = np.dtype(np.uint8)
    return Spec(x.shape, byte), Spec((), x.dtype), Spec((), byte)


@operator("DynamicQuantizeLinear", shape=_measure_shape)
def quantise_by_range(node: Node, x: Array) -> tuple[Array, ...]:
    """x: float32 -> uint8, the scale and the zero point that take its range, and 0, to 0 .. 255.

    The scale is 1 where all of x is 0 and NaN is no part of the range, as onnxruntime has it.
    """
    low = np.fmin.reduce(x, axis=None, initial=np.float32(0))
    high = np.fmax.reduce(x, axis=None, initial=np.float32(0))
    scale = np.asarray(np.float32(1) if low == high else (high - low) / np.float32(255))
    zero = saturate_integers(np.rint(-low / scale), None, np.dtype(np.uint8))
    return quantise_array(x, scale, zero, zero.dtype, scale.dtype, True), scale, zero
