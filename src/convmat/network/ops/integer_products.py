"""Products of matrices in 8-bit integers: exact sums, then one rounding; convolutions are in `integers`.

By plans of 8-bit products where one of them is a constant matrix, its rows as pixels. Others are NumPy's: differences
of bytes are below 2^8 and their products below 2^16, so float32 holds sums of 256 of them exactly, float64 all that fit
in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...engine import Expression, Sweep, elementwise, thread_pool
from ...errors import NetworkError
from ..graph import Array, Node, Shape, Spec
from .base import OWNED, Operator, Specs, Step, broadcast_shape, has_input, input_at, operator, specs_of
from .dtypes import convert, is_whole, widen
from .expressions import Spelling
from .integers import (
    INTEGER_GEMM,
    bind_constants,
    constants_at,
    convolve_exactly,
    linear_keywords,
    require_bytes,
    require_scalar,
    require_type,
)
from .options import Options
from .planned import Followed, Planned
from .quantise import saturate_integers

FEW_TERMS = 256
"""Products of differences of bytes whose sums float32 holds: 256 * 255^2 < 2^24."""


def _differences(x: Array, zero: Array | None, terms: int) -> Array:
    """x - zero in a float type that holds sums of so many products of them exactly."""
    dtype = np.float32 if terms <= FEW_TERMS and is_whole(x.dtype) else np.float64
    wide = widen(x).astype(dtype)
    return wide if zero is None else wide - widen(zero).astype(dtype)


def _dense_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, w = input_at(node, specs, 0), input_at(node, specs, 3)
    made = input_at(node, specs, 7).dtype if has_input(specs, 7) else np.dtype(np.float32)
    k, n = w.shape[::-1] if node.get("transB", 0) else w.shape
    if not x.rank or x.shape[-1] != k:
        raise node.error(f"its input {x} and weights {w} are no product\n  (.., {k}) is needed")
    return (Spec((*x.shape[:-1], n), made),)


def _filters_of(node: Node, w: Array) -> Array:
    return np.ascontiguousarray(w if node.get("transB", 0) else w.T)[..., None]


def _dense_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    constants = constants_at(specs, 3, 8, 1, 2, 4, 5, 6, 7)
    if constants is None or constants[0] is None:
        return None
    x, filters = input_at(node, specs, 0), _filters_of(node, constants[0])
    _, bias, *numbers = constants
    keywords = linear_keywords(node, specs, *numbers)
    return bind_rows(node, x, filters[..., 0], bias, keywords, options)


def _dense_run(
    node: Node, x: Array, x_scale: Array, x_zero: Array, w: Array, w_scale: Array, w_zero: Array,
    y_scale: Array | None = None, y_zero: Array | None = None, bias: Array | None = None,
) -> Array:  # fmt: skip
    """x: (.., k) times w: (k, n), or (n, k) with `transB` -> (.., n) of y's scale and zero point, or in float32."""
    specs = specs_of((x, x_scale, x_zero, w))
    keywords = linear_keywords(node, specs, x_scale, x_zero, w_scale, w_zero, y_scale, y_zero)
    found = convolve_exactly(node, x.reshape(-1, x.shape[-1], 1), _filters_of(node, w), bias, keywords)
    return found.reshape(*x.shape[:-1], -1)


OWNED[INTEGER_GEMM] = Operator(INTEGER_GEMM, _dense_shape, _dense_run, _dense_step)


def _requantise(sums: Array, factor: Array, zero: Array) -> Array:
    """saturate(round(sums * factor) + zero), the product in float32."""
    with np.errstate(all="ignore"):
        q = np.asarray(sums.astype(np.float32, copy=False) * factor)  # of two vectors: one number
        return saturate_integers(np.rint(q, out=q), zero, zero.dtype)


def _wrap(sums: Array) -> Array:
    """Whole numbers in a float type as int32, their low 32 bits."""
    return sums.astype(np.int32 if sums.dtype == np.float32 else np.int64).astype(np.int32)


def _product_shape(node: Node, a: Spec, b: Spec) -> Shape:
    left, right = (1, *a.shape) if a.rank == 1 else a.shape, (*b.shape, 1) if b.rank == 1 else b.shape
    if not a.rank or not b.rank or left[-1] != right[-2]:
        raise node.error(f"its inputs {a} and {b} are no product\n  (..., m, k) @ (..., k, n) is needed")
    rows, columns = left[-2:-1] * (a.rank > 1), right[-1:] * (b.rank > 1)
    return (*broadcast_shape(node, [left[:-2], right[:-2]]), *rows, *columns)


def _shape_along(each: Shape, of: Shape, axis: int) -> Shape:
    """The shape that makes one number for each row (axis -2) or column (-1) of matrices broadcast over them."""
    if math.prod(each) == 1:
        return ()
    return (*each, 1) if len(each) == 1 and axis == -2 and len(of) > 1 else each


def _require_fit(node: Node, spec: Spec, of: Spec, axis: int, what: str) -> None:
    """Zero points and scales: one number, or one for each row of a (axis -2) or column of b (-1)."""
    shape = _shape_along(spec.shape, of.shape, axis)
    full = of.shape if of.rank > 1 else ()
    wanted = tuple(n if i - len(full) == axis or i < len(full) - 2 else 1 for i, n in enumerate(full))
    if shape not in ((), wanted, wanted[-1:] if axis == -1 else wanted, wanted[-2:]):
        word = "row" if axis == -2 else "column"
        raise node.error(f"its {what} is {spec}\n  one number, or one for each {word} of {of} is needed")


def _product(a: Array, b: Array, a_zero: Array | None, b_zero: Array | None) -> Array:
    """(a - a_zero) @ (b - b_zero), exact in a float type for integers, in float64 for 8-bit floats."""
    terms = a.shape[-1]
    if a_zero is not None:
        a_zero = a_zero.reshape(_shape_along(a_zero.shape, a.shape, -2))
    if b_zero is not None:
        b_zero = b_zero.reshape(_shape_along(b_zero.shape, b.shape, -1))
    return np.asarray(_differences(a, a_zero, terms) @ _differences(b, b_zero, terms))


def _integer_product_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    require_bytes(node, specs, 0, 1)
    for at, of, axis, name in ((2, a, -2, "a"), (3, b, -1, "b")):
        if has_input(specs, at):
            _require_fit(node, input_at(node, specs, at), of, axis, f"zero point of {name}")
            require_type(node, input_at(node, specs, at), f"zero point of {name}", of.dtype)
    return (Spec(_product_shape(node, a, b), np.dtype(np.int32)),)


def _of_rows(node: Node, specs: Specs, b_at: int, *each: int) -> bool:
    """Whether b is a constant matrix for all rows of a, and these inputs one number, or one for each column."""
    a, b = input_at(node, specs, 0), input_at(node, specs, b_at)
    sizes = (1, b.shape[-1] if b.rank else 1)
    known = [specs[at] for at in each if has_input(specs, at)]
    fits = all(spec is not None and spec.value is not None and spec.size in sizes for spec in known)
    return fits and a.rank > 1 and b.rank == 2 and b.value is not None and a.size > 0


def _integer_product_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """By a plan where b is constant: a's zero point, one number known late, is taken off afterwards.

    sum (a - a0)(b - b0) = sum a (b - b0)  -  a0 * sum (b - b0)
    """
    if not _of_rows(node, specs, 1, 3) or (has_input(specs, 2) and input_at(node, specs, 2).size != 1):
        return None
    constants = constants_at(specs, 1, 3)
    assert constants is not None
    b, b_zero = constants
    assert b is not None
    a, late = input_at(node, specs, 0), has_input(specs, 2) and input_at(node, specs, 2).value is None
    a_zero = input_at(node, specs, 2).value if has_input(specs, 2) else None
    keywords: dict[str, Any] = {} if a_zero is None else {"x_zero_point": int(a_zero.reshape(()))}
    if b_zero is not None and b_zero.any():
        keywords["w_zero_point"] = b_zero.reshape(-1)
    if (step := bind_rows(node, a, b.T, None, keywords, options)) is None or not late:
        return step
    sums = b.astype(np.int64) - (0 if b_zero is None else b_zero.astype(np.int64))
    return _take_off_zero(step, made[0], input_at(node, specs, 2), sums.sum(0).astype(np.int32), options)


def _take_off_zero(step: Planned, y: Spec, zero: Spec, sums: Array, options: Options) -> Step:
    """A plan, then its y less a zero point, the third of the arrays, times the sums of b's columns."""
    types = ("int32", zero.dtype.name, "int32")
    spelt = Spelling(types)
    spelt("sub", 0, spelt("mul", 2, spelt.cast(1, "int32")))
    plan = elementwise(
        Expression(types, spelt.steps), [y.shape, (), sums.shape], y.shape, thread_pool.count()
    )
    if isinstance(plan, str) or y.size < FEWEST:

        def run(*arrays: Array) -> None:
            step(*arrays)
            arrays[-1][...] -= arrays[2].reshape(()).astype(np.int32) * sums

        return run
    sweep = Sweep(plan)
    sweep.load()
    if options.record is not None:
        options.record.add_program(sweep)
    return Followed(step.bound, step.order, sweep, (-1, 2, sums))


FEWEST = 4096
"""Elements of a product from which on a kernel for its zero point repays being compiled."""


def bind_rows(
    node: Node, x: Spec, w: Array, bias: Array | None, keywords: Mapping[str, Any], options: Options
) -> Planned | None:
    """The plan of rows x times the transpose of w: (n, k); None for sums that int32 may not hold."""
    rows, k = x.size // max(x.shape[-1], 1), x.shape[-1]
    shape, layout = ((1, k, 1), "NCHW") if rows == 1 else ((1, rows, k), "NHWC")
    filters = np.ascontiguousarray(w)[..., None]
    pixels = [Spec(shape, x.dtype), Spec.of(filters)]
    try:
        bound = bind_constants(node, pixels, 1, bias, {**keywords, "layout": layout}, options).bound
    except NetworkError:
        return None
    y = bound.plan.problem.shape("y")
    return Planned(bound, lambda arrays: (arrays[0].reshape(shape), None, arrays[-1].reshape(y)))


@operator("MatMulInteger", shape=_integer_product_shape, prepare=_integer_product_step)
def matmul_integer(
    node: Node, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> Array:
    """(a - a_zero) @ (b - b_zero) of 8-bit integers, in int32, modulo 2^32."""
    return _wrap(_product(a, b, a_zero, b_zero))


EIGHT_BITS = ("int8", "uint8", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def _linear_product_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    a, b, zero = input_at(node, specs, 0), input_at(node, specs, 3), input_at(node, specs, 7)
    for at in (0, 3, 7):
        if input_at(node, specs, at).dtype.name not in EIGHT_BITS:
            raise node.error(
                f"its input {at} is {input_at(node, specs, at).dtype}\n  one of {', '.join(EIGHT_BITS)} is needed"
            )
    for at, of, axis, name in ((1, a, -2, "a"), (4, b, -1, "b")):
        _require_fit(node, input_at(node, specs, at), of, axis, f"scale of {name}")
        _require_fit(node, input_at(node, specs, at + 1), of, axis, f"zero point of {name}")
        require_type(node, input_at(node, specs, at + 1), f"zero point of {name}", of.dtype)
    require_scalar(node, input_at(node, specs, 6), "scale of y")
    require_scalar(node, zero, "zero point of y")
    return (Spec(_product_shape(node, a, b), zero.dtype),)


def _linear_product_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    bytes_ = all(input_at(node, specs, at).dtype in (np.int8, np.uint8) for at in (0, 3, 7))
    singles = all(input_at(node, specs, at).dtype == np.float32 for at in (1, 4, 6))
    ones = all(input_at(node, specs, at).size == 1 for at in (1, 2))
    if not (bytes_ and singles and ones and _of_rows(node, specs, 3, 1, 2, 4, 5, 6, 7)):
        return None
    constants = constants_at(specs, 3, 1, 2, 4, 5, 6, 7)
    assert constants is not None
    b, *numbers = constants
    assert b is not None
    keywords = linear_keywords(node, specs, *numbers)
    return bind_rows(node, input_at(node, specs, 0), b.T, None, keywords, options)


@operator("QLinearMatMul", shape=_linear_product_shape, prepare=_linear_product_step)
def matmul_linear(
    node: Node, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, y_scale: Array,
    y_zero: Array,
) -> Array:  # fmt: skip
    """a @ b of 8-bit numbers with scales and zero points -> numbers of y's."""
    sums = _product(a, b, a_zero, b_zero)
    rows = a_scale.reshape(_shape_along(a_scale.shape, a.shape, -2)).astype(np.float32)
    columns = b_scale.reshape(_shape_along(b_scale.shape, b.shape, -1)).astype(np.float32)
    if a.ndim == 1 and columns.ndim > 1:  # the product of a row has no axis of rows
        columns = columns[..., 0, :]
    if b.ndim == 1 and rows.ndim > 1:
        rows = rows[..., 0]
    factor = rows * columns / y_scale.astype(np.float32).reshape(())
    zero = y_zero.reshape(())
    if is_whole(zero.dtype):
        return _requantise(sums, factor, zero)
    return convert(sums.astype(np.float32) * factor + widen(zero), zero.dtype)
