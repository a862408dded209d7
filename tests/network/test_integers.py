"""Convolutions and products in 8-bit integers: sums of whole numbers of Python, then the standard's formulas."""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import convmat
from convmat import NetworkError
from convmat.network.graph import Node
from convmat.network.ops.base import specs_of
from convmat.network.ops.integers import bind_constants
from convmat.network.ops.options import Options

from .cases import Array
from .made import by_onnxruntime, model
from .made import node as made_node
from .test_ops import node, run, said

RANDOM = np.random.default_rng(7)


def some(name: str, *shape: int) -> Array:
    """Numbers over the whole range of an element type."""
    about = np.iinfo(name)
    return RANDOM.integers(about.min, about.max + 1, shape).astype(name)


def sums(
    x: Array, w: Array, x_zero: int, w_zero: Array, groups: int, stride: int, dilation: int, lo: int, hi: int
) -> Array:
    """The definition, one output after the other, in whole numbers."""
    B, O, rank = len(x), len(w), x.ndim - 2
    wide = np.pad(x.astype(np.int64) - x_zero, [(0, 0), (0, 0), *[(lo, hi)] * rank])
    w = w.astype(np.int64) - w_zero.astype(np.int64).reshape(-1, *(1,) * (rank + 1))
    P = [(n - dilation * (f - 1) - 1) // stride + 1 for n, f in zip(wide.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((B, O, *P), np.int64)
    for b, o, *p in np.ndindex(*y.shape):
        first = o // (O // groups) * w.shape[1]
        window = tuple(
            slice(stride * at, stride * at + dilation * (f - 1) + 1, dilation)
            for at, f in zip(p, w.shape[2:], strict=True)
        )
        y[(b, o, *p)] = (wide[(b, slice(first, first + w.shape[1]), *window)] * w[o]).sum()
    return y


def rounded(total: Array, factor: Any, zero: Array) -> Array:
    """saturate(round(total * factor) + zero), products in float32."""
    about = np.iinfo(zero.dtype)
    q = total.astype(np.float32) * np.asarray(factor, np.float32)
    whole = np.vectorize(lambda each: round(Fraction(float(each))), otypes=[object])(q) + int(zero)
    return np.asarray(np.clip(whole, about.min, about.max).astype(zero.dtype))


CASES = {  # x, w, groups, stride, dilation, lo, hi
    "one axis": ((2, 3, 11), (4, 3, 3), 1, 1, 1, 1, 1),
    "one axis, strided": ((1, 4, 13), (6, 2, 2), 2, 2, 3, 0, 2),
    "two axes": ((2, 3, 7, 6), (5, 3, 3, 2), 1, 2, 1, 1, 0),
    "depthwise": ((1, 4, 6, 5), (4, 1, 3, 3), 4, 1, 1, 1, 1),
    "three axes": ((1, 2, 4, 5, 3), (3, 2, 2, 2, 2), 1, 1, 1, 0, 1),
    "many terms": ((1, 64, 4, 4), (3, 64, 3, 3), 1, 1, 1, 1, 1),
    "no rows": ((0, 3, 5, 5), (2, 3, 3, 3), 1, 1, 1, 0, 0),
}


def attributes(case: str) -> dict[str, Any]:
    x, _, groups, stride, dilation, lo, hi = CASES[case]
    rank = len(x) - 2
    return {
        "group": groups,
        "strides": (stride,) * rank,
        "dilations": (dilation,) * rank,
        "pads": (lo,) * rank + (hi,) * rank,
    }


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("case", CASES)
def test_convolutions_by_the_definition(case: str, types: tuple[str, str]) -> None:
    """A zero point for x and for each filter, a scale for each filter; sums and outputs, prepared and not."""
    x, w = (some(kind, *shape) for kind, shape in zip(types, CASES[case][:2], strict=True))
    x_zero, w_zero = some(types[0]), some(types[1], len(w))
    truth = sums(x, w, int(x_zero), w_zero, *CASES[case][2:])
    about = attributes(case)
    found = run(node("ConvInteger", 10, **about), x, w, x_zero, w_zero)
    np.testing.assert_array_equal(found, truth)
    assert found.dtype == np.int32
    x_scale, y_scale = np.float32(0.03), np.float32(1.7)
    w_scale, bias = (
        RANDOM.uniform(0.001, 0.02, len(w)).astype(np.float32),
        some("int16", len(w)).astype(np.int32),
    )
    y_zero = some(types[0])
    each = (-1, *(1,) * (w.ndim - 2))
    wanted = rounded(truth + bias.reshape(each), x_scale * w_scale.reshape(each) / y_scale, y_zero)
    rest = [np.asarray(x_scale), x_zero, w, w_scale, w_zero, np.asarray(y_scale), y_zero, bias]
    np.testing.assert_array_equal(run(node("QLinearConv", 10, **about), x, *rest), wanted)
    names = ["xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    nodes = [
        made_node("QLinearConv", "x " + " ".join(names), "y", **about),
        made_node("ConvInteger", "x w xz wz", "s", **about),
    ]
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    net = convmat.load(model(nodes, {"x": x.shape}, "y s", dict(zip(names, rest, strict=True)), dtype=kind))
    both = net(x)
    np.testing.assert_array_equal(both["y"], wanted)
    np.testing.assert_array_equal(both["s"], truth)


@pytest.mark.parametrize("case", ["one axis", "two axes", "depthwise", "many terms"])
def test_onnxruntime_convolves_the_same(case: str) -> None:
    """Of weights below 64: it adds pairs of products in 16 bits, which saturate, where a CPU has no better."""
    x, w = some("uint8", *CASES[case][0]), some("int8", *CASES[case][1]) // 2
    scales = RANDOM.uniform(0.001, 0.01, len(w)).astype(np.float32)
    arrays = [x, np.array(0.02, np.float32), np.array(131, np.uint8), w, scales, np.zeros(len(w), np.int8),
              np.array(0.4, np.float32), np.array(7, np.uint8), some("int16", len(w)).astype(np.int32)]  # fmt: skip
    about = attributes(case)
    found = run(node("QLinearConv", 10, **about), *arrays)
    np.testing.assert_array_equal(found, by_onnxruntime("QLinearConv", 10, arrays, **about)[0])
    arrays = [x, w, np.array(131, np.uint8), np.array(-3, np.int8)]
    found = run(node("ConvInteger", 10, **about), *arrays)
    np.testing.assert_array_equal(found, by_onnxruntime("ConvInteger", 10, arrays, **about)[0])


def test_keywords_stay_as_they_were_given() -> None:
    x, w, zeros = some("uint8", 1, 2, 8), some("int8", 3, 2, 3), np.array([1, 0, 2], np.int8)
    keywords = MappingProxyType({"w_zero_point": zeros, "x_zero_point": 3})
    made = bind_constants(node("ConvInteger"), specs_of((x, w)), 1, None, keywords, Options())
    np.testing.assert_array_equal(made.bound(x), sums(x, w, 3, zeros, 1, 1, 1, 0, 0))


@pytest.mark.parametrize("prepared", [False, True])
def test_a_bias_that_leaves_the_sums_no_room_in_int32_is_added_in_64_bits(prepared: bool) -> None:
    x, w = np.full((1, 2, 9), 255, np.uint8), np.full((3, 2, 4), 127, np.int8)
    bias = np.array([2**31 - 1, -(2**31), 5], np.int32)
    arrays: list[Array] = [x, np.array(0.5, np.float32), np.array(0, np.uint8), w, np.array(2.0**-20, np.float32),
              np.array(0, np.int8), np.array(8, np.float32), np.array(7, np.uint8), bias]  # fmt: skip
    names = [f"i{at}" for at in range(len(arrays))]
    constants = dict(zip(names[1:], arrays[1:], strict=True))
    linear = made_node("QLinearConv", " ".join(names), "y")
    graph = model([linear], {"i0": x.shape}, "y", constants, dtype=onnx.TensorProto.UINT8)
    whole = sums(x, w, 0, np.zeros(1), 1, 1, 1, 0, 0).astype(np.int64) + bias.reshape(-1, 1)
    assert whole.max() > 2**31
    wanted = np.clip(np.rint(whole.astype(np.float32) * np.float32(2.0**-24)) + 7, 0, 255)
    found = convmat.load(graph)(x) if prepared else run(node("QLinearConv", 10), *arrays)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("word", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_by_a_word(word: str) -> None:
    x, w = some("uint8", 1, 2, 9), some("uint8", 3, 2, 4)
    lo, hi = {"SAME_UPPER": (1, 2), "SAME_LOWER": (2, 1), "VALID": (0, 0)}[word]
    found = run(node("ConvInteger", 10, auto_pad=word), x, w, np.array(9, np.uint8))
    np.testing.assert_array_equal(found, sums(x, w, 9, np.zeros(1), 1, 1, 1, lo, hi))


def test_sums_of_more_than_24_bits_are_exact() -> None:
    """255 x 255 x 33,100 is above 2^31: a convolution is refused, of a product the low 32 bits are left."""
    for terms in (257, 33000, 33100):
        x, w = np.full((1, terms, 1), 255, np.uint8), np.full((1, terms, 1), 255, np.uint8)
        wanted = np.array(255 * 255 * terms).astype(np.int32)
        assert run(node("MatMulInteger", 10), x[:, :, 0], w[0]).item() == wanted
        if terms < 33100:
            assert run(node("ConvInteger", 10), x, w).item() == wanted
            continue
        with pytest.raises(NetworkError, match="sums of 33100 products of uint8;  at most 33025"):
            run(node("ConvInteger", 10), x, w)


PRODUCTS = {
    "matrices": ((3, 5), (5, 4), (3,), (4,)),
    "one number": ((3, 5), (5, 4), (), (1,)),
    "stacks": ((2, 1, 3, 5), (4, 5, 2), (2, 1, 3, 1), (4, 1, 2)),
    "a row": ((5,), (2, 5, 4), (), (2, 1, 4)),
    "a column": ((2, 3, 5), (5,), (2, 3, 1), ()),
    "long": ((2, 300), (300, 3), (2, 1), (1, 3)),
    "none": ((0, 5), (5, 4), (0,), (4,)),
}


def shaped(each: Array, of: Array, axis: int) -> Array:
    """One number for each row or column, beside the matrices."""
    return each[:, None] if axis == 0 and each.ndim == 1 and each.size != 1 else each


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("case", PRODUCTS)
def test_products_by_the_definition(case: str, types: tuple[str, str]) -> None:
    a_shape, b_shape, rows, columns = PRODUCTS[case]
    a, b = some(types[0], *a_shape), some(types[1], *b_shape)
    a_zero, b_zero = some(types[0], *rows), some(types[1], *columns)
    left = a.astype(np.int64) - shaped(a_zero, a, 0).astype(np.int64)
    right = b.astype(np.int64) - b_zero.astype(np.int64)
    truth = np.matmul(left, right)
    found = run(node("MatMulInteger", 10), a, b, a_zero, b_zero)
    np.testing.assert_array_equal(found, truth)
    assert (found.dtype, found.shape) == (np.int32, truth.shape)
    a_scale, b_scale = (RANDOM.uniform(0.001, 0.02, shape).astype(np.float32) for shape in (rows, columns))
    y_scale, y_zero = np.array(0.7, np.float32), some(types[1])
    ones = np.ones(a.shape, np.float32) * shaped(a_scale, a, 0), np.ones(b.shape, np.float32) * b_scale
    factor = (ones[0][..., 0] if case == "a column" else ones[0][..., :1]) * (
        ones[1][0] if case == "a column" else ones[1][..., 0, :] if case == "a row" else ones[1][..., :1, :]
    )
    found = run(node("QLinearMatMul", 10), a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
    np.testing.assert_array_equal(found, rounded(truth, factor / y_scale, y_zero))
    assert found.dtype == y_zero.dtype


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("shape", [(1, 40), (2, 3, 40), (500, 40)])
def test_products_by_constant_matrices_are_plans_of_the_same_bits(
    shape: tuple[int, ...], types: tuple[str, str]
) -> None:
    a, b = some(types[0], *shape), some(types[1], 40, 9)
    a_zero, b_zero = some(types[0]), some(types[1], 9)
    kinds = {name: helper.np_dtype_to_tensor_dtype(a.dtype) for name in ("a", "z")}
    known = {"b": b, "bz": b_zero, "az": a_zero}
    for names, inputs in (("a b az bz", {"a": a}), ("a b z bz", {"a": a, "z": a_zero}), ("a b", {"a": a})):
        net = convmat.load(
            model(
                [made_node("MatMulInteger", names, "y")],
                {n: x.shape for n, x in inputs.items()},
                "y",
                known,
                kinds=kinds,
            )
        )
        zeros = (a_zero, b_zero) if len(names) > 3 else ()
        np.testing.assert_array_equal(net(inputs), run(node("MatMulInteger", 10), a, b, *zeros))
        assert "z" in inputs or net.summary().layers[0].engine == "jit"
    scales = np.float32(0.02), RANDOM.uniform(0.01, 0.03, 9).astype(np.float32), np.float32(0.3)
    more = {"as": scales[0], "bs": scales[1], "ys": scales[2], "yz": some("uint8")}
    factors = [np.asarray(each, np.float32) for each in scales]
    source = model(
        [made_node("QLinearMatMul", "a as az b bs bz ys yz", "y")],
        {"a": a.shape},
        "y",
        {**known, **more},
        kinds=kinds,
    )
    net = convmat.load(source)
    arrays = a, factors[0], a_zero, b, factors[1], b_zero, factors[2], np.asarray(more["yz"])
    np.testing.assert_array_equal(net(a), run(node("QLinearMatMul", 10), *arrays))
    assert net.summary().layers[0].engine == "jit"


@pytest.mark.parametrize("kind", ["uint8", "int8", "float8_e4m3fn"])
def test_the_product_of_two_vectors_is_a_number(kind: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    a, b = (np.array([1, 2, 3]).astype(dtype), np.array([4, 5, 6]).astype(dtype))
    half, zero = np.array(0.5, np.float32), np.zeros((), dtype)
    found = run(node("QLinearMatMul", 21), a, half, zero, b, half, zero, half, zero)
    assert (found.shape, found.dtype, float(found)) == ((), dtype, 16)
    if kind != "float8_e4m3fn":
        assert run(node("MatMulInteger", 10), a, b).shape == ()


def test_sums_that_int32_may_not_hold_are_multiplied_otherwise() -> None:
    a, b = np.full((1, 40_000), 255, np.uint8), np.full((40_000, 1), 255, np.uint8)
    source = model(
        [made_node("MatMulInteger", "a b", "y")], {"a": a.shape}, "y", {"b": b}, dtype=onnx.TensorProto.UINT8
    )
    assert convmat.load(source)(a).item() == 255 * 255 * 40_000 - 2**32  # modulo 2^32, as the standard has it


def test_onnxruntime_multiplies_the_same() -> None:
    a, b = some("uint8", 2, 6, 40), some("int8", 40, 8) // 2
    a_scale, b_scale, y_scale = (np.array(each, np.float32) for each in (0.02, 0.01, 0.4))
    a_zero, b_zero, y_zero = np.array(131, np.uint8), np.array(4, np.int8), np.array(7, np.uint8)
    arrays = [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero]
    found = run(node("QLinearMatMul", 10), *arrays)
    np.testing.assert_array_equal(found, by_onnxruntime("QLinearMatMul", 10, arrays)[0])
    arrays = [a, b, np.array(131, np.uint8), some("int8", 8)]
    found = run(node("MatMulInteger", 10), *arrays)
    np.testing.assert_array_equal(found, by_onnxruntime("MatMulInteger", 10, arrays)[0])


@pytest.mark.parametrize("scale", ["float32", "float16", "bfloat16"])
def test_products_of_eight_bit_floats(scale: str) -> None:
    kind = np.dtype(ml_dtypes.float8_e4m3fn)
    a, b = np.array([[0.5, -2, 4]]).astype(kind), np.array([[1], [0.25], [400]]).astype(kind)
    one, half, zero = (np.array(n).astype(getattr(ml_dtypes, scale, scale)) for n in (1, 0.5, 0))
    zero = zero.astype(kind)
    made = node("QLinearMatMul", 21)
    assert (
        run(made, a, half, zero, b, one, zero, one, zero).astype(np.float32).item() == 448
    )  # 832 without an end
    assert (
        run(made, a[:, :2], half, zero, b[:2], one, zero, half, np.array(3).astype(kind))
        .astype(np.float32)
        .item()
        == 3
    )


U, I = np.zeros((1, 2, 5), np.uint8), np.zeros((3, 2, 2), np.int8)
ONE, U0, I0 = np.ones((), np.float32), np.zeros((), np.uint8), np.zeros((), np.int8)


@pytest.mark.parametrize(("made", "arrays", "wanted"), [
    (node("ConvInteger", 10), (U, I, np.zeros(2, np.uint8)), "its zero point of x is uint8[2]\n  one number is needed"),
    (node("ConvInteger", 10), (U, I, I0), "its zero point of x is int8\n  uint8 is needed"),
    (node("ConvInteger", 10), (U, I, U0, np.zeros(2, np.int8)),
     "its zero point of w is int8[2]\n  one number, or one for each of 3 filters is needed"),
    (node("ConvInteger", 10), (U.astype(np.int16), I), "its input 0 is int16\n  int8 or uint8 is needed"),
    (node("QLinearConv", 10), (U, ONE, U0, I, np.ones(2, np.float32), I0, ONE, U0),
     "its scale of w is float32[2]\n  one number, or one for each of 3 filters is needed"),
    (node("QLinearConv", 10), (U, ONE, U0, I, ONE, I0, ONE, U0, np.zeros(2, np.int32)),
     "its bias is int32[2]\n  one number for each of 3 filters is needed"),
    (node("QLinearConv", 10), (U, ONE, U0, I, ONE, I0, ONE.astype(float), U0),
     "its scale of y is float64\n  float32 is needed"),
    (node("MatMulInteger", 10), (U, I), "its inputs uint8[1,2,5] and int8[3,2,2] are no product\n"
     "  (..., m, k) @ (..., k, n) is needed"),
    (node("MatMulInteger", 10), (U[0], I[0].repeat(3, 0)[:5], np.zeros(5, np.uint8)),
     "its zero point of a is uint8[5]\n  one number, or one for each row of uint8[2,5] is needed"),
    (node("QLinearMatMul", 10), (U[0], ONE, U0, I[0].repeat(3, 0)[:5], np.ones(3, np.float32), I0, ONE, U0),
     "its scale of b is float32[3]\n  one number, or one for each column of int8[5,2] is needed"),
])  # fmt: skip
def test_what_does_not_fit_is_said(made: Node, arrays: tuple[Array, ...], wanted: str) -> None:
    assert said(made, *arrays) == f"load: {made.label} cannot run\n  {wanted}"
