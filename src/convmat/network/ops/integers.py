"""Convolutions and products of matrices in 8-bit integers: exact sums, then one rounding.

    sum      s = (x - x_zero) * (w - w_zero)                    a convolution or a product of matrices; the output of
                                                                ConvInteger and MatMulInteger, cut to 32 bits
    output   saturate(round(s * (x_scale * w_scale / y_scale)) + y_zero)      of QLinearConv and QLinearMatMul

Convolutions and products by constant matrices are plans of 8-bit products. Others are NumPy's: differences of bytes are
below 2^8 and their products below 2^16, so float32 holds sums of 256 of them exactly, float64 all that fit in memory.
The factor of the output is a float32, and so is its product with s, as in onnxruntime.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ... import api
from ...engine import Expression, Sweep, elementwise, thread_pool
from ...errors import ConvmatError, NetworkError
from ...planner import PlanOptions
from ..graph import Array, Node, Shape, Spec
from .base import (
    OWNED,
    Operator,
    Options,
    Specs,
    Step,
    broadcast_shape,
    has_input,
    input_at,
    operator,
    plan_node,
    specs_of,
)
from .convolution import geometry_of
from .dtypes import convert, is_whole, widen
from .expressions import Spelling
from .planned import Followed, Planned
from .quantise import refuse_scale, saturate_integers

INTEGER_GEMM = "IntegerGemm"
"""The name of a product by a constant matrix, as QLinearConv is one of filters; rewriting makes it."""

INTEGER_CONV = "IntegerConv"
"""The name of QLinearConv without a scale of y: its output is float32. IntegerGemm may lack it, too."""

WITH_WINDOWS = ("ConvInteger", "QLinearConv", INTEGER_CONV)
"""Those that have a convolution's attributes."""

FEW_TERMS = 256
"""Products of differences of bytes whose sums float32 holds: 256 * 255^2 < 2^24."""


def _differences(x: Array, zero: Array | None, terms: int) -> Array:
    """x - zero in a float type that holds sums of so many products of them exactly."""
    dtype = np.float32 if terms <= FEW_TERMS and is_whole(x.dtype) else np.float64
    wide = widen(x).astype(dtype)
    return wide if zero is None else wide - widen(zero).astype(dtype)


def _scalar(node: Node, spec: Spec, what: str) -> None:
    if spec.size != 1 or spec.rank > 1:
        raise node.error(f"its {what} is {spec}\n  one number is needed")


def _of_type(node: Node, spec: Spec, what: str, wanted: np.dtype[Any]) -> None:
    if spec.dtype != wanted:
        raise node.error(f"its {what} is {spec.dtype}\n  {wanted} is needed")


def _bytes(node: Node, specs: Specs, *inputs: int) -> None:
    for at in inputs:
        if input_at(node, specs, at).dtype not in (np.int8, np.uint8):
            raise node.error(
                f"its input {at} is {input_at(node, specs, at).dtype}\n  int8 or uint8 is needed"
            )


# -- convolutions ------------------------------------------------------------------------------------------------------


def _convolved(node: Node, specs: Specs, w_at: int, x_zero: int, w_zero: int) -> Shape:
    """The output's shape, once the types and shapes of zero points fit, which are inputs of these numbers."""
    x, w = input_at(node, specs, 0), input_at(node, specs, w_at)
    _bytes(node, specs, 0, w_at)
    _, g = geometry_of(node, x.shape, w.shape)
    if has_input(specs, x_zero):
        _scalar(node, input_at(node, specs, x_zero), "zero point of x")
        _of_type(node, input_at(node, specs, x_zero), "zero point of x", x.dtype)
    if has_input(specs, w_zero):
        _each_filter(node, input_at(node, specs, w_zero), g.O, "zero point of w")
        _of_type(node, input_at(node, specs, w_zero), "zero point of w", w.dtype)
    return g.y_shape


def _each_filter(node: Node, spec: Spec, filters: int, what: str) -> None:
    if spec.rank > 1 or spec.size not in (1, filters):
        raise node.error(
            f"its {what} is {spec}\n  one number, or one for each of {filters} filters is needed"
        )


def _rowwise(each: Array, rank: int) -> Array:
    """One number, or one for each filter, so that it broadcasts over weights of so many axes."""
    return each.reshape(-1, *(1,) * (rank - 1))


def _counting(
    node: Node, specs: Specs, w_at: int, x_zero: Array | None, w_zero: Array | None
) -> dict[str, Any]:
    """The keywords of `conv` and `plan` that both operators share; of w's zero points whether there are any but 0."""
    words: dict[str, Any] = {}
    if node.op in WITH_WINDOWS:
        words, _ = geometry_of(node, input_at(node, specs, 0).shape, input_at(node, specs, w_at).shape)
    if x_zero is not None:
        words["x_zero_point"] = int(x_zero.reshape(()))
    if w_zero is not None and w_zero.any():
        words["w_zero_point"] = w_zero.reshape(-1)
    return words


def _convolve(node: Node, x: Array, w: Array, bias: Array | None, words: dict[str, Any]) -> Array:
    try:
        return np.asarray(api.conv(x, w, bias, exact=True, **words))
    except ConvmatError as error:
        raise node.error(str(error)) from None


def _bound(
    node: Node, specs: Specs, w_at: int, bias: Array | None, words: dict[str, Any], options: Options
) -> Planned:
    """The plan of these keywords with its weights packed."""
    x, w = input_at(node, specs, 0), input_at(node, specs, w_at)
    assert w.value is not None
    channels = {name: words.pop(name) for name in ("scale", "w_zero_point") if name in words}
    words |= dict.fromkeys(channels, True)
    asked = PlanOptions(w_dtype=w.dtype.name, bias=bias is not None, **words)
    exactly = replace(options, exact=True, rtol=None)
    try:
        bound = plan_node(exactly, x.shape, w.shape, x.dtype, asked).bind(w.value, bias, **channels)
    except ConvmatError as error:
        raise node.error(str(error)) from None
    return Planned(bound, lambda arrays: (arrays[0], None, arrays[-1]))


def _constants(specs: Specs, *inputs: int) -> list[Any] | None:
    """The values of inputs, None for those that are omitted; None where one of them is no constant."""
    found: list[Any] = []
    for at in inputs:
        spec = specs[at] if has_input(specs, at) else None
        if spec is not None and spec.value is None:
            return None
        found.append(None if spec is None else spec.value)
    return found


def _integer_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec(_convolved(node, specs, 1, 2, 3), np.dtype(np.int32)),)


def _integer_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    constants = _constants(specs, 1, 2, 3)
    if constants is None:
        return None
    return _bound(node, specs, 1, None, _counting(node, specs, 1, *constants[1:]), options)


@operator("ConvInteger", shape=_integer_shape, prepare=_integer_step)
def conv_integer(
    node: Node, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None
) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F), 8-bit integers -> (B, O, *P) in int32."""
    return _convolve(node, x, w, None, _counting(node, specs_of((x, w)), 1, x_zero, w_zero))


def _linear_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    shape = _convolved(node, specs, 3, 2, 5)
    filters, y_zero = shape[1], input_at(node, specs, 7)
    _bytes(node, specs, 7)
    for at, what in ((6, "scale of y"), (7, "zero point of y")):
        _scalar(node, input_at(node, specs, at), what)
    _of_type(node, input_at(node, specs, 6), "scale of y", np.dtype(np.float32))
    _require_factors(node, specs, filters)
    return (Spec(shape, y_zero.dtype),)


def _require_factors(node: Node, specs: Specs, filters: int) -> None:
    """That scales of x and w, and a bias, are what they must be."""
    _scalar(node, input_at(node, specs, 1), "scale of x")
    _each_filter(node, input_at(node, specs, 4), filters, "scale of w")
    for at, what in ((1, "scale of x"), (4, "scale of w")):
        _of_type(node, input_at(node, specs, at), what, np.dtype(np.float32))
    if has_input(specs, 8):
        bias = input_at(node, specs, 8)
        _of_type(node, bias, "bias", np.dtype(np.int32))
        if bias.shape != (filters,):
            raise node.error(f"its bias is {bias}\n  one number for each of {filters} filters is needed")


def _linear_words(
    node: Node, specs: Specs, x_scale: Array, x_zero: Array, w_scale: Array, w_zero: Array,
    y_scale: Array | None = None, y_zero: Array | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The keywords that QLinearConv's scales and zero points mean; without y's, for an output in float32.

    Raises NetworkError for scales that are none.
    """
    for what, scale in (("x", x_scale), ("w", w_scale), ("y", y_scale)):
        if scale is not None:
            refuse_scale(node, f"scale of {what}", scale)
    with np.errstate(all="ignore"):
        factor = x_scale.reshape(()) * w_scale.reshape(-1)
        factor = factor if y_scale is None else factor / y_scale.reshape(())
    words = {
        **_counting(node, specs, 3, x_zero, w_zero),
        "scale": factor,
        "activation": node.get("activation"),
    }
    if y_zero is not None:
        words |= {"out_dtype": y_zero.dtype.name, "y_zero_point": int(y_zero.reshape(()))}
    return words


def _linear_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    constants = _constants(specs, 3, 8, 1, 2, 4, 5, 6, 7)
    if constants is None:
        return None
    _, bias, *numbers = constants
    words = _linear_words(node, specs, *numbers)
    return _bound(node, specs, 3, bias, words, options)


@operator("QLinearConv", shape=_linear_shape, prepare=_linear_step)
def conv_linear(
    node: Node, x: Array, x_scale: Array, x_zero: Array, w: Array, w_scale: Array, w_zero: Array, y_scale: Array,
    y_zero: Array, bias: Array | None = None,
) -> Array:  # fmt: skip
    """x: (B, C, *I), w: (O, C//G, *F), 8-bit integers -> (B, O, *P) of y's scale and zero point."""
    specs = specs_of((x, x_scale, x_zero, w))
    words = _linear_words(node, specs, x_scale, x_zero, w_scale, w_zero, y_scale, y_zero)
    return _convolve(node, x, w, bias, words)


# -- a product by a constant matrix, its rows as pixels ----------------------------------------------------------------


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
    constants = _constants(specs, 3, 8, 1, 2, 4, 5, 6, 7)
    if constants is None or constants[0] is None:
        return None
    x, filters = input_at(node, specs, 0), _filters_of(node, constants[0])
    _, bias, *numbers = constants
    words = _linear_words(node, specs, *numbers)
    return _rows_step(node, x, filters[..., 0], bias, words, options)


def _dense_run(
    node: Node, x: Array, x_scale: Array, x_zero: Array, w: Array, w_scale: Array, w_zero: Array,
    y_scale: Array | None = None, y_zero: Array | None = None, bias: Array | None = None,
) -> Array:  # fmt: skip
    """x: (.., k) times w: (k, n), or (n, k) with `transB` -> (.., n) of y's scale and zero point, or in float32."""
    specs = specs_of((x, x_scale, x_zero, w))
    words = _linear_words(node, specs, x_scale, x_zero, w_scale, w_zero, y_scale, y_zero)
    found = _convolve(node, x.reshape(-1, x.shape[-1], 1), _filters_of(node, w), bias, words)
    return found.reshape(*x.shape[:-1], -1)


OWNED[INTEGER_GEMM] = Operator(INTEGER_GEMM, _dense_shape, _dense_run, _dense_step)


# -- a convolution whose sums are wanted in float32 --------------------------------------------------------------------


def _float_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    shape = _convolved(node, specs, 3, 2, 5)
    _require_factors(node, specs, shape[1])
    return (Spec(shape, np.dtype(np.float32)),)


def _float_run(
    node: Node,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    *rest: Array | None,
) -> Array:
    """QLinearConv's inputs, those of y omitted -> (B, O, *P) in float32."""
    words = _linear_words(node, specs_of((x, x_scale, x_zero, w)), x_scale, x_zero, w_scale, w_zero)
    return _convolve(node, x, w, rest[2] if len(rest) > 2 else None, words)


OWNED[INTEGER_CONV] = Operator(INTEGER_CONV, _float_shape, _float_run, _linear_step)


# -- products of matrices ----------------------------------------------------------------------------------------------


def _requantised(sums: Array, factor: Array, zero: Array) -> Array:
    """saturate(round(sums * factor) + zero), the product in float32."""
    with np.errstate(all="ignore"):
        q = np.multiply(sums.astype(np.float32, copy=False), factor)
        return saturate_integers(np.rint(q, out=q), zero, zero.dtype)


def _cut(sums: Array) -> Array:
    """Whole numbers in a float type as int32, their low 32 bits."""
    return sums.astype(np.int32 if sums.dtype == np.float32 else np.int64).astype(np.int32)


def _multiplied(node: Node, a: Spec, b: Spec) -> Shape:
    left, right = (1, *a.shape) if a.rank == 1 else a.shape, (*b.shape, 1) if b.rank == 1 else b.shape
    if not a.rank or not b.rank or left[-1] != right[-2]:
        raise node.error(f"its inputs {a} and {b} are no product\n  (..., m, k) @ (..., k, n) is needed")
    rows, columns = left[-2:-1] * (a.rank > 1), right[-1:] * (b.rank > 1)
    return (*broadcast_shape(node, [left[:-2], right[:-2]]), *rows, *columns)


def _along(each: Shape, of: Shape, axis: int) -> Shape:
    """The shape that makes one number for each row (axis -2) or column (-1) of matrices broadcast over them."""
    if math.prod(each) == 1:
        return ()
    return (*each, 1) if len(each) == 1 and axis == -2 and len(of) > 1 else each


def _fits(node: Node, spec: Spec, of: Spec, axis: int, what: str) -> None:
    """Zero points and scales: one number, or one for each row of a (axis -2) or column of b (-1)."""
    shape = _along(spec.shape, of.shape, axis)
    full = of.shape if of.rank > 1 else ()
    wanted = tuple(n if i - len(full) == axis or i < len(full) - 2 else 1 for i, n in enumerate(full))
    if shape not in ((), wanted, wanted[-1:] if axis == -1 else wanted, wanted[-2:]):
        word = "row" if axis == -2 else "column"
        raise node.error(f"its {what} is {spec}\n  one number, or one for each {word} of {of} is needed")


def _product(a: Array, b: Array, a_zero: Array | None, b_zero: Array | None) -> Array:
    """(a - a_zero) @ (b - b_zero), exact in a float type for integers, in float64 for 8-bit floats."""
    terms = a.shape[-1]
    if a_zero is not None:
        a_zero = a_zero.reshape(_along(a_zero.shape, a.shape, -2))
    if b_zero is not None:
        b_zero = b_zero.reshape(_along(b_zero.shape, b.shape, -1))
    return np.asarray(_differences(a, a_zero, terms) @ _differences(b, b_zero, terms))


def _integer_product_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    a, b = input_at(node, specs, 0), input_at(node, specs, 1)
    _bytes(node, specs, 0, 1)
    for at, of, axis, name in ((2, a, -2, "a"), (3, b, -1, "b")):
        if has_input(specs, at):
            _fits(node, input_at(node, specs, at), of, axis, f"zero point of {name}")
            _of_type(node, input_at(node, specs, at), f"zero point of {name}", of.dtype)
    return (Spec(_multiplied(node, a, b), np.dtype(np.int32)),)


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
    constants = _constants(specs, 1, 3)
    assert constants is not None
    b, b_zero = constants
    assert b is not None
    a, late = input_at(node, specs, 0), has_input(specs, 2) and input_at(node, specs, 2).value is None
    a_zero = input_at(node, specs, 2).value if has_input(specs, 2) else None
    words: dict[str, Any] = {} if a_zero is None else {"x_zero_point": int(a_zero.reshape(()))}
    if b_zero is not None and b_zero.any():
        words["w_zero_point"] = b_zero.reshape(-1)
    if (step := _rows_step(node, a, b.T, None, words, options)) is None or not late:
        return step
    sums = b.astype(np.int64) - (0 if b_zero is None else b_zero.astype(np.int64))
    return _taken_off(step, made[0], input_at(node, specs, 2), sums.sum(0).astype(np.int32), options)


def _taken_off(step: Planned, y: Spec, zero: Spec, sums: Array, options: Options) -> Step:
    """A plan, then its y less a zero point, the third of the arrays, times the sums of b's columns."""
    types = ("int32", zero.dtype.name, "int32")
    spelt = Spelling(types)
    spelt("sub", 0, spelt("mul", 2, spelt.cast(1, "int32")))
    plan = elementwise(
        Expression(types, spelt.steps), [y.shape, (), sums.shape], y.shape, thread_pool.count()
    )
    if isinstance(plan, str) or y.size < FEWEST:

        def taken_off(*arrays: Array) -> None:
            step(*arrays)
            arrays[-1][...] -= arrays[2].reshape(()).astype(np.int32) * sums

        return taken_off
    sweep = Sweep(plan)
    sweep.load()
    if options.record is not None:
        options.record.add_program(sweep)
    return Followed(step.bound, step.order, sweep, (-1, 2, sums))


FEWEST = 4096
"""Elements of a product from which on a kernel for its zero point repays being compiled."""


def _rows_step(
    node: Node, x: Spec, w: Array, bias: Array | None, words: dict[str, Any], options: Options
) -> Planned | None:
    """The plan of rows x times the transpose of w: (n, k); None for sums that int32 may not hold."""
    rows, k = x.size // max(x.shape[-1], 1), x.shape[-1]
    shape, words["layout"] = ((1, k, 1), "NCHW") if rows == 1 else ((1, rows, k), "NHWC")
    filters = np.ascontiguousarray(w)[..., None]
    pixels = [Spec(shape, x.dtype), Spec.of(filters)]
    try:
        bound = _bound(node, pixels, 1, bias, words, options).bound
    except NetworkError:
        return None
    y = bound.plan.problem.shape("y")
    return Planned(bound, lambda arrays: (arrays[0].reshape(shape), None, arrays[-1].reshape(y)))


@operator("MatMulInteger", shape=_integer_product_shape, prepare=_integer_product_step)
def matmul_integer(
    node: Node, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> Array:
    """(a - a_zero) @ (b - b_zero) of 8-bit integers, in int32, modulo 2^32."""
    return _cut(_product(a, b, a_zero, b_zero))


EIGHT_BITS = ("int8", "uint8", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def _linear_product_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    a, b, zero = input_at(node, specs, 0), input_at(node, specs, 3), input_at(node, specs, 7)
    for at in (0, 3, 7):
        if input_at(node, specs, at).dtype.name not in EIGHT_BITS:
            raise node.error(
                f"its input {at} is {input_at(node, specs, at).dtype}\n  one of {', '.join(EIGHT_BITS)} is needed"
            )
    for at, of, axis, name in ((1, a, -2, "a"), (4, b, -1, "b")):
        _fits(node, input_at(node, specs, at), of, axis, f"scale of {name}")
        _fits(node, input_at(node, specs, at + 1), of, axis, f"zero point of {name}")
        _of_type(node, input_at(node, specs, at + 1), f"zero point of {name}", of.dtype)
    _scalar(node, input_at(node, specs, 6), "scale of y")
    _scalar(node, zero, "zero point of y")
    return (Spec(_multiplied(node, a, b), zero.dtype),)


def _linear_product_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    bytes_ = all(input_at(node, specs, at).dtype in (np.int8, np.uint8) for at in (0, 3, 7))
    singles = all(input_at(node, specs, at).dtype == np.float32 for at in (1, 4, 6))
    ones = all(input_at(node, specs, at).size == 1 for at in (1, 2))
    if not (bytes_ and singles and ones and _of_rows(node, specs, 3, 1, 2, 4, 5, 6, 7)):
        return None
    constants = _constants(specs, 3, 1, 2, 4, 5, 6, 7)
    assert constants is not None
    b, *numbers = constants
    assert b is not None
    words = _linear_words(node, specs, *numbers)
    return _rows_step(node, input_at(node, specs, 0), b.T, None, words, options)


@operator("QLinearMatMul", shape=_linear_product_shape, prepare=_linear_product_step)
def matmul_linear(
    node: Node, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, y_scale: Array,
    y_zero: Array,
) -> Array:  # fmt: skip
    """a @ b of 8-bit numbers with scales and zero points -> numbers of y's."""
    sums = _product(a, b, a_zero, b_zero)
    rows = a_scale.reshape(_along(a_scale.shape, a.shape, -2)).astype(np.float32)
    columns = b_scale.reshape(_along(b_scale.shape, b.shape, -1)).astype(np.float32)
    if a.ndim == 1 and columns.ndim > 1:  # the product of a row has no axis of rows
        columns = columns[..., 0, :]
    if b.ndim == 1 and rows.ndim > 1:
        rows = rows[..., 0]
    factor = rows * columns / y_scale.astype(np.float32).reshape(())
    zero = y_zero.reshape(())
    if is_whole(zero.dtype):
        return _requantised(sums, factor, zero)
    return convert(sums.astype(np.float32) * factor + widen(zero), zero.dtype)
