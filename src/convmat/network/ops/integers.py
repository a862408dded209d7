"""Convolutions of 8-bit integers: exact sums, then one rounding; products of matrices are in `integer_products`.

    sum      s = (x - x_zero) * (w - w_zero)                    a convolution or a product of matrices; the output of
                                                                ConvInteger and MatMulInteger, cut to 32 bits
    output   saturate(round(s * (x_scale * w_scale / y_scale)) + y_zero)      of QLinearConv and QLinearMatMul

All are plans of 8-bit products. The factor of the output is a float32, and so is its product with s, as in onnxruntime.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ... import api
from ...errors import ConvmatError
from ...planner import PlanOptions
from ...planner.integers import room_beside
from ..graph import Array, Node, Shape, Spec
from .base import OWNED, Operator, Specs, Step, has_input, input_at, operator, specs_of
from .convolution import INTEGER_TRANSPOSE, TRANSPOSED, geometry_of
from .floated import bind_floats, order_arrays
from .options import Options, plan_node
from .planned import Planned
from .quantise import refuse_scale, saturate_integers

INTEGER_GEMM = "IntegerGemm"
"""The name of a product by a constant matrix, as QLinearConv is one of filters; rewriting makes it."""

INTEGER_CONV = "IntegerConv"
"""The name of QLinearConv without a scale of y, whose output is float32 (IntegerGemm may lack it, too), or with more
behind it: see `AGAIN`."""

Y_ZERO = 7
"""The input of QLinearConv and IntegerConv that is y's zero point."""

FACTOR, OFFSET, RESIDUAL, ADDITION = 9, 10, 11, 12
"""Inputs of an IntegerConv whose bytes are rounded again: see `product.Epilogue`. Any may be omitted."""

AGAIN = "again"
"""The attribute of such a node: the operators that it does behind its product, for reports."""

OF_FLOATS = "of_floats"
"""The attribute of nodes whose graph means products of float32: such may be taken where they are quicker."""

WITH_WINDOWS = ("ConvInteger", "QLinearConv", INTEGER_CONV, INTEGER_TRANSPOSE)
"""Those that have a convolution's attributes."""


def require_scalar(node: Node, spec: Spec, what: str) -> None:
    """Raise NetworkError for what is not one number."""
    if spec.size != 1 or spec.rank > 1:
        raise node.error(f"its {what} is {spec}\n  one number is needed")


def require_type(node: Node, spec: Spec, what: str, wanted: np.dtype[Any]) -> None:
    """Raise NetworkError for what is not of the wanted type."""
    if spec.dtype != wanted:
        raise node.error(f"its {what} is {spec.dtype}\n  {wanted} is needed")


def require_bytes(node: Node, specs: Specs, *inputs: int) -> None:
    """Raise NetworkError where one of these inputs is not of 8-bit integers."""
    for at in inputs:
        if input_at(node, specs, at).dtype not in (np.int8, np.uint8):
            raise node.error(
                f"its input {at} is {input_at(node, specs, at).dtype}\n  int8 or uint8 is needed"
            )


# -- convolutions ------------------------------------------------------------------------------------------------------


def _output_shape(node: Node, specs: Specs, w_at: int, x_zero: int, w_zero: int) -> Shape:
    """The output's shape, once the types and shapes of zero points fit, which are inputs of these numbers."""
    x, w = input_at(node, specs, 0), input_at(node, specs, w_at)
    require_bytes(node, specs, 0, w_at)
    _, g = geometry_of(node, x.shape, w.shape)
    if has_input(specs, x_zero):
        require_scalar(node, input_at(node, specs, x_zero), "zero point of x")
        require_type(node, input_at(node, specs, x_zero), "zero point of x", x.dtype)
    if has_input(specs, w_zero):
        _require_each_filter(node, input_at(node, specs, w_zero), g.O, "zero point of w")
        require_type(node, input_at(node, specs, w_zero), "zero point of w", w.dtype)
    return g.y_shape


def _require_each_filter(node: Node, spec: Spec, filters: int, what: str) -> None:
    if spec.rank > 1 or spec.size not in (1, filters):
        raise node.error(
            f"its {what} is {spec}\n  one number, or one for each of {filters} filters is needed"
        )


def _rowwise(each: Array, rank: int) -> Array:
    """One number, or one for each filter, so that it broadcasts over weights of so many axes."""
    return each.reshape(-1, *(1,) * (rank - 1))


def _zero_keywords(
    node: Node, specs: Specs, w_at: int, x_zero: Array | None, w_zero: Array | None
) -> dict[str, Any]:
    """The keywords of `conv` and `plan` that both operators share; of w's zero points whether there are any but 0."""
    keywords: dict[str, Any] = {}
    if node.op in WITH_WINDOWS:
        keywords, _ = geometry_of(node, input_at(node, specs, 0).shape, input_at(node, specs, w_at).shape)
    if x_zero is not None:
        keywords["x_zero_point"] = int(x_zero.reshape(()))
    if w_zero is not None and w_zero.any():
        keywords["w_zero_point"] = w_zero.reshape(-1)
    return keywords


def convolve_exactly(
    node: Node,
    x: Array,
    w: Array,
    bias: Array | None,
    keywords: Mapping[str, Any],
    residual: Array | None = None,
) -> Array:
    """The convolution of arrays by the definition's own products. Raises NetworkError."""
    call = api.conv_transpose if node.op in TRANSPOSED else api.conv
    try:
        return np.asarray(call(x, w, bias, residual=residual, exact=True, **keywords))
    except ConvmatError as error:
        raise node.error(str(error)) from None


CHANNELS = ("scale", "w_zero_point", "requantise")
"""Keywords of numbers for each channel of y, of which a plan knows only whether there are any."""


def bind_constants(
    node: Node, specs: Specs, w_at: int, bias: Array | None, keywords: Mapping[str, Any], options: Options,
    made: Spec | None = None,
) -> Planned:  # fmt: skip
    """The plan of these keywords with its weights packed.

    `made`: the output, where its product may be one of float32 if the graph means that.
    """
    x, w = input_at(node, specs, 0), input_at(node, specs, w_at)
    assert w.value is not None
    given = {**keywords, "transposed": node.op in TRANSPOSED}
    channels = {name: keywords[name] for name in CHANNELS if name in keywords}
    numbers = {name: given.pop(name) for name in ("residual_factors",) if name in given}
    flags = dict.fromkeys(channels, True) | {"residual": bool(numbers)}
    asked = PlanOptions(w_dtype=w.dtype.name, bias=bias is not None, **(given | flags))
    exactly = replace(options, exact=True, rtol=None)
    try:
        plan = plan_node(exactly, x.shape, w.shape, x.dtype, asked)
        if made is not None and node.get(OF_FLOATS) and not (options.exact or options.deterministic):
            floats = bind_floats(plan, x, made, w.value, bias, given | numbers, options)
            if floats is not None:
                return floats
        bound = plan.bind(w.value, bias, **channels, **numbers)
    except ConvmatError as error:
        raise node.error(str(error)) from None
    return Planned(bound, partial(order_arrays, added=bool(numbers)))


def constants_at(specs: Specs, *inputs: int) -> list[Any] | None:
    """The values of inputs, None for those that are omitted; None where one of them is no constant."""
    found: list[Any] = []
    for at in inputs:
        spec = specs[at] if has_input(specs, at) else None
        if spec is not None and spec.value is None:
            return None
        found.append(None if spec is None else spec.value)
    return found


def _integer_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec(_output_shape(node, specs, 1, 2, 3), np.dtype(np.int32)),)


def _integer_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    constants = constants_at(specs, 1, 2, 3)
    if constants is None:
        return None
    return bind_constants(node, specs, 1, None, _zero_keywords(node, specs, 1, *constants[1:]), options)


@operator("ConvInteger", shape=_integer_shape, prepare=_integer_step)
def conv_integer(
    node: Node, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None
) -> Array:
    """x: (B, C, *I), w: (O, C//G, *F), 8-bit integers -> (B, O, *P) in int32."""
    return convolve_exactly(node, x, w, None, _zero_keywords(node, specs_of((x, w)), 1, x_zero, w_zero))


def _linear_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    shape = _output_shape(node, specs, 3, 2, 5)
    filters, y_zero = shape[1], input_at(node, specs, 7)
    require_bytes(node, specs, 7)
    for at, what in ((6, "scale of y"), (7, "zero point of y")):
        require_scalar(node, input_at(node, specs, at), what)
    require_type(node, input_at(node, specs, 6), "scale of y", np.dtype(np.float32))
    _require_factors(node, specs, filters)
    return (Spec(shape, y_zero.dtype),)


def _require_factors(node: Node, specs: Specs, filters: int) -> None:
    """Require scales of x and w, and a bias, to be what they must be."""
    require_scalar(node, input_at(node, specs, 1), "scale of x")
    _require_each_filter(node, input_at(node, specs, 4), filters, "scale of w")
    for at, what in ((1, "scale of x"), (4, "scale of w")):
        require_type(node, input_at(node, specs, at), what, np.dtype(np.float32))
    if has_input(specs, 8):
        bias = input_at(node, specs, 8)
        require_type(node, bias, "bias", np.dtype(np.int32))
        if bias.shape != (filters,):
            raise node.error(f"its bias is {bias}\n  one number for each of {filters} filters is needed")


def linear_keywords(
    node: Node, specs: Specs, x_scale: Array, x_zero: Array, w_scale: Array, w_zero: Array,
    y_scale: Array | None = None, y_zero: Array | None = None, factor: Array | None = None,
    offset: Array | None = None, addition: Array | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The keywords that QLinearConv's scales and zero points mean; without y's, for an output in float32.

    Raises NetworkError for scales that are none.
    """
    for what, scale in (("x", x_scale), ("w", w_scale), ("y", y_scale)):
        if scale is not None:
            refuse_scale(node, f"scale of {what}", scale)
    with np.errstate(all="ignore"):
        scales = x_scale.reshape(()) * w_scale.reshape(-1)
        scales = scales if y_scale is None else scales / y_scale.reshape(())
    keywords = {
        **_zero_keywords(node, specs, 3, x_zero, w_zero),
        "scale": scales,
        "activation": node.get("activation"),
    }
    if y_zero is not None:
        keywords |= {"out_dtype": y_zero.dtype.name, "y_zero_point": int(y_zero.reshape(()))}
    if factor is not None:
        keywords["requantise"] = (factor, offset)
    if addition is not None:
        keywords["residual_factors"] = tuple(addition)
    return keywords


def _linear_step(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    constants = constants_at(specs, 3, 8, 1, 2, 4, 5, 6, 7, FACTOR, OFFSET, ADDITION)
    if constants is None:
        return None
    _, bias, *numbers = constants
    keywords = linear_keywords(node, specs, *numbers)
    if _fits(node, specs, bias, keywords):
        return bind_constants(node, specs, 3, bias, keywords, options, made[0])
    sums_of = bind_constants(node, specs, 3, None, _without_scale(keywords), options)

    def step(*arrays: Array) -> None:
        sums = np.empty(made[0].shape, np.int32)
        sums_of(arrays[0], sums)
        arrays[-1][...] = _finish_late(sums, bias, keywords)

    return step


def _fits(node: Node, specs: Specs, bias: Array | None, keywords: Mapping[str, Any]) -> bool:
    """Whether int32 surely holds the sums with their bias, which may be as large as int32 holds."""
    if bias is None or not bias.size or node.op != "QLinearConv":
        return True
    x, w = input_at(node, specs, 0), input_at(node, specs, 3)
    terms, counted = math.prod(w.shape[1:]), "w_zero_point" in keywords
    low, high = room_beside(terms, x.dtype.name, keywords.get("x_zero_point", 0), w.dtype.name, counted)
    return bool(low <= bias.min() and bias.max() <= high)


def _without_scale(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of the sums alone."""
    left_out = ("scale", "activation", "out_dtype", "y_zero_point")
    return {name: value for name, value in keywords.items() if name not in left_out}


def _finish_late(sums: Array, bias: Array, keywords: Mapping[str, Any]) -> Array:
    """What QLinearConv makes of sums whose bias may take them past int32: added in 64 bits, rounded as ever."""
    along = (-1, *(1,) * (sums.ndim - 2))
    whole = (sums.astype(np.int64) + bias.reshape(along)).astype(np.float32)
    dtype = np.dtype(keywords["out_dtype"])
    scaled = whole * np.asarray(keywords["scale"], np.float32).reshape(along)
    return saturate_integers(np.rint(scaled), np.asarray(keywords["y_zero_point"], dtype), dtype)


@operator("QLinearConv", shape=_linear_shape, prepare=_linear_step)
def conv_linear(
    node: Node, x: Array, x_scale: Array, x_zero: Array, w: Array, w_scale: Array, w_zero: Array, y_scale: Array,
    y_zero: Array, bias: Array | None = None,
) -> Array:  # fmt: skip
    """x: (B, C, *I), w: (O, C//G, *F), 8-bit integers -> (B, O, *P) of y's scale and zero point."""
    specs = specs_of((x, x_scale, x_zero, w))
    keywords = linear_keywords(node, specs, x_scale, x_zero, w_scale, w_zero, y_scale, y_zero)
    if bias is None or _fits(node, specs, bias, keywords):
        return convolve_exactly(node, x, w, bias, keywords)
    return _finish_late(convolve_exactly(node, x, w, None, _without_scale(keywords)), bias, keywords)


# -- a convolution whose sums are wanted in float32, or whose bytes are rounded again ----------------------------------


def _float_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    shape = _output_shape(node, specs, 3, 2, 5)
    _require_factors(node, specs, shape[1])
    return (Spec(shape, np.dtype(np.float32)),)


def _again_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return _linear_shape(node, specs) if has_input(specs, 7) else _float_shape(node, specs)


def _again_run(node: Node, *inputs: Any) -> Array:
    """QLinearConv's inputs, those of y perhaps omitted, and how its bytes are rounded again -> (B, O, *P)."""
    every = (*inputs, *[None] * (ADDITION + 1 - len(inputs)))
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = every[:FACTOR]
    factor, offset, residual, addition = every[FACTOR:]
    keywords = linear_keywords(
        node, specs_of((x, x_scale, x_zero, w)), x_scale, x_zero, w_scale, w_zero, y_scale, y_zero, factor, offset,
        addition,
    )  # fmt: skip
    return convolve_exactly(node, x, w, bias, keywords, residual)


OWNED[INTEGER_CONV] = Operator(INTEGER_CONV, _again_shape, _again_run, _linear_step)


OWNED[INTEGER_TRANSPOSE] = Operator(INTEGER_TRANSPOSE, _again_shape, _again_run, _linear_step)
