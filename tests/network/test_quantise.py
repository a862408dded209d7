"""Numbers as small integers and back: every granularity, type and version, by loops over single elements."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Node
from convmat.network.ops.dtypes import NARROW

from .cases import Array
from .made import by_onnxruntime, model, normal
from .made import node as made_node
from .test_ops import node, run, said

powers = pytest.mark.skipif(
    not hasattr(ml_dtypes, "float8_e8m0fnu"), reason="this ml_dtypes has no powers of two as elements"
)

INTEGERS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767), "uint4": (0, 15),
            "int4": (-8, 7)}  # fmt: skip


def dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def at(values: Array, index: tuple[int, ...], axis: int, block: int) -> Any:
    """The scale or zero point of one element."""
    if values.size == 1:
        return values.reshape(-1)[0]
    if block:
        return values[(*index[:axis], index[axis] // block, *index[axis + 1 :])]
    return values[index[axis]]


def quantised(x: Array, scale: Array, zero: Array, axis: int = 1, block: int = 0) -> Array:
    """By the formula: the quotient in the scale's type, then whole numbers of Python."""
    low, high = INTEGERS[zero.dtype.name]
    out = np.empty(x.shape, np.int64)
    for index in np.ndindex(x.shape):
        quotient = x[index].astype(scale.dtype) / at(scale, index, axis, block)
        shifted = round(Fraction(float(quotient))) + int(at(zero, index, axis, block))
        out[index] = min(max(shifted, low), high)
    return out.astype(zero.dtype)


def numbers(x: Array, scale: Array, zero: Array, axis: int = 1, block: int = 0) -> Array:
    """By the formula: the difference exact, the product in float32."""
    out = np.empty(x.shape, np.float32)
    for index in np.ndindex(x.shape):
        difference = int(x[index]) - int(at(zero, index, axis, block))
        out[index] = np.float32(difference) * np.float32(at(scale, index, axis, block))
    return out.astype(scale.dtype)


GRAINS = {
    "tensor": (13, {}, ()),
    "tensor of one element": (13, {}, (1,)),
    "axis": (13, {"axis": 1}, (6,)),
    "axis from behind": (13, {"axis": -1}, (5,)),
    "blocks": (21, {"axis": 1, "block_size": 3}, (2, 2, 5)),
    "blocks, the last short": (21, {"axis": -1, "block_size": 2}, (2, 6, 3)),
}


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("name", INTEGERS)
def test_every_granularity_by_its_formula(grain: str, name: str) -> None:
    version, attributes, shape = GRAINS[grain]
    random = np.random.default_rng(3)
    x = normal(2, 6, 5) * 40
    x[0, 0, :3] = 0.5, 1.5, 3e9
    scale = random.uniform(0.25, 2, shape).astype(np.float32)
    low, high = INTEGERS[name]
    zero = np.asarray(random.integers(low, high + 1, shape)).astype(dtype(name))
    axis = attributes.get("axis", 1) % 3
    q = run(node("QuantizeLinear", max(version, 21), **attributes), x, scale, zero)
    np.testing.assert_array_equal(q, quantised(x, scale, zero, axis, attributes.get("block_size", 0)))
    assert q.dtype == zero.dtype
    back = run(node("DequantizeLinear", max(version, 21), **attributes), q, scale, zero)
    np.testing.assert_array_equal(back, numbers(q, scale, zero, axis, attributes.get("block_size", 0)))


@pytest.mark.parametrize("scale", ["float16", "bfloat16"])
def test_sixteen_bit_scales_divide_in_their_own_type(scale: str) -> None:
    x = (normal(3, 40) * 30).astype(dtype(scale))
    by, zero = np.array(0.3).astype(dtype(scale)), np.array(7, np.uint8)
    q = run(node("QuantizeLinear", 19), x, by, zero)
    np.testing.assert_array_equal(q, quantised(x, by, zero))
    back = run(node("DequantizeLinear", 19), q, by, zero)
    assert back.dtype == by.dtype
    np.testing.assert_array_equal(back, numbers(q, by, zero))


def test_the_precision_of_the_division_may_be_named() -> None:
    """5003 is 5004 in float16."""
    x, scale = np.array([5003, 6000], np.float32), np.array(1, np.float32)
    assert run(node("QuantizeLinear", 23, output_dtype=4), x, scale).tolist() == [5003, 6000]
    assert run(node("QuantizeLinear", 23, output_dtype=4, precision=10), x, scale).tolist() == [5004, 6000]


@pytest.mark.parametrize(("zero", "wanted"), [
    (np.array(3, np.uint8), [0, 255, 0, 255, 0, 3, 5, 5, 1]),
    (np.array(-5, np.int8), [-128, 127, -128, 127, -128, -5, -3, -3, -7]),
    (np.array(1, np.int16), [-32768, 32767, -32768, 32767, -32768, 1, 3, 3, -1]),
])  # fmt: skip
def test_what_does_not_fit_saturates(zero: Array, wanted: list[int]) -> None:
    """And NaN is the smallest, as onnxruntime has it."""
    x = np.array([np.nan, 3e9, -3e9, np.inf, -np.inf, 0.5, 1.5, 2.5, -2.5], np.float32)
    assert run(node("QuantizeLinear", 21), x, np.array(1, np.float32), zero).tolist() == wanted


def test_integers_are_quantised_too() -> None:
    x = np.array([-7, 5, 7, 2**30 + 1], np.int32)
    assert run(node("QuantizeLinear", 13), x, np.array(2, np.float32)).tolist() == [0, 2, 4, 255]
    assert run(node("QuantizeLinear", 21, output_dtype=5), x, np.array(2, np.int32)).tolist() == [
        -4,
        2,
        4,
        32767,
    ]
    back = run(node("DequantizeLinear", 10), x, np.array(0.5, np.float32))
    assert back.tolist() == [-3.5, 2.5, 3.5, 2.0**29]


FLOATS = {"float8_e4m3fn": 448, "float8_e4m3fnuz": 240, "float8_e5m2": 57344, "float8_e5m2fnuz": 57344}


@pytest.mark.parametrize("name", FLOATS)
def test_floats_of_eight_bits(name: str) -> None:
    most = FLOATS[name]
    x, scale, zero = (
        np.array([1e6, -1e6, 3, -0.5, np.nan], np.float32),
        np.array(2, np.float32),
        np.zeros((), dtype(name)),
    )
    wanted = [float(most), float(-most), 1.5, -0.25]
    q = run(node("QuantizeLinear", 19), x, scale, zero)
    assert q.dtype == zero.dtype
    assert q.astype(np.float32).tolist()[:4] == wanted
    assert np.isnan(q.astype(np.float32)[4])
    open_end = run(node("QuantizeLinear", 19, saturate=0), x, scale, zero).astype(np.float32)
    assert not np.isfinite(open_end[:2]).any()
    assert open_end[2:4].tolist() == wanted[2:]
    back = run(node("DequantizeLinear", 19), q, scale, zero)
    assert back.tolist()[:4] == [2.0 * most, -2.0 * most, 3, -0.5]


@powers
def test_floats_of_four_bits_and_a_power_as_scale() -> None:
    x, scale = np.array([0.7, -3, 100], np.float32), np.array(2, ml_dtypes.float8_e8m0fnu)
    q = run(node("QuantizeLinear", 25, output_dtype=23), x, scale)
    assert q.dtype == ml_dtypes.float4_e2m1fn
    assert q.astype(np.float32).tolist() == [0.5, -1.5, 6]
    back = run(node("DequantizeLinear", 25, output_dtype=10), q, scale)
    assert (back.dtype, back.tolist()) == (np.float16, [1, -3, 12])


def test_no_zero_point_means_bytes_or_what_is_asked_for() -> None:
    x, scale = np.array([-3, 300], np.float32), np.array(1, np.float32)
    for version, attributes, wanted in (
        (10, {}, "uint8"),
        (21, {"output_dtype": 3}, "int8"),
        (21, {"output_dtype": 22}, "int4"),
    ):
        q = run(node("QuantizeLinear", version, **attributes), x, scale)
        assert q.dtype == dtype(wanted)
        assert q.astype(int).tolist() == [max(-3, INTEGERS[wanted][0]), min(300, INTEGERS[wanted][1])]


def test_a_network_quantises_large_arrays_block_by_block() -> None:
    """Prepared steps write what the operator alone gives, for scales that are constant and for those that come."""
    x, scale = normal(3, 7, 150, 91) * 30, np.linspace(0.2, 2, 7, dtype=np.float32)
    zero = np.arange(7, dtype=np.uint8)
    both = [made_node("QuantizeLinear", "x s z", "q"), made_node("DequantizeLinear", "q s z", "y")]
    for inputs in ({"x": x}, {"x": x, "s": scale}):
        kept = {name: array for name, array in {"s": scale, "z": zero}.items() if name not in inputs}
        net = convmat.load(model(both, {name: a.shape for name, a in inputs.items()}, "q y", kept))
        found = net(inputs)
        np.testing.assert_array_equal(found["q"], run(node("QuantizeLinear", 13), x, scale, zero))
        np.testing.assert_array_equal(found["y"], run(node("DequantizeLinear", 13), found["q"], scale, zero))


@pytest.mark.parametrize("rows", [[0.0, 0.0], [1, 2.5, 300], [-1, -2], [-3, 5.25, 0.01], [np.nan, 1, 2], []])
def test_a_scale_from_the_range(rows: list[float]) -> None:
    x = np.array(rows, np.float32)
    y, scale, zero = run(node("DynamicQuantizeLinear", 11, 3), x)
    theirs = by_onnxruntime("DynamicQuantizeLinear", 11, [x], 3)
    for mine, other in zip((y, scale, zero), theirs, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    known = [n for n in rows if n == n] + [0.0]
    width = np.float32(np.float32(max(known)) - np.float32(min(known)))
    assert scale == (np.float32(1) if width == 0 else width / np.float32(255))


@pytest.mark.parametrize("kind", ["normal", "positive", "negative", "none", "missing", "far"])
@pytest.mark.parametrize("threads", [1, 2])
def test_numbers_by_range_have_the_same_bits_by_kernels(kind: str, threads: int) -> None:
    x = np.random.default_rng(5).standard_normal((3, 41, 67)).astype(np.float32)
    changed = {"positive": np.abs(x), "negative": -np.abs(x), "none": 0 * x, "far": x * np.float32(1e30)}
    x = changed.get(kind, x)
    if kind == "missing":
        x[1, 2, 3:9] = np.nan
    with convmat.threads(threads):
        net = convmat.load(model([made_node("DynamicQuantizeLinear", "x", "y s z")], {"x": x.shape}, "y s z"))
        found = net(x)
        assert net.with_shapes(x=x.shape).summary().layers[0].engine == "jit"
    for name, wanted in zip("ysz", run(node("DynamicQuantizeLinear", 11, 3), x), strict=True):
        np.testing.assert_array_equal(found[name], wanted)
        assert found[name].dtype == wanted.dtype


@pytest.mark.parametrize(
    ("version", "name"), [(10, "uint8"), (13, "int8"), (19, "uint8"), (21, "int16"), (21, "uint16")]
)
def test_onnxruntime_agrees(version: int, name: str) -> None:
    """Equal integers from equal numbers, in each operator set that it has."""
    x = (normal(2, 5, 64) * 60).astype(np.float32)
    shape = () if version < 13 else (5,)
    scale = np.random.default_rng(1).uniform(0.1, 3, shape).astype(np.float32)
    zero = np.full(shape, 3, name)
    q = run(node("QuantizeLinear", version), x, scale, zero)
    np.testing.assert_array_equal(q, by_onnxruntime("QuantizeLinear", version, [x, scale, zero])[0])
    back = run(node("DequantizeLinear", version), q, scale, zero)
    np.testing.assert_array_equal(back, by_onnxruntime("DequantizeLinear", version, [q, scale, zero])[0])


X, SCALE, ROW = np.zeros((2, 6), np.float32), np.ones((), np.float32), np.ones(6, np.float32)


@pytest.mark.parametrize(("made", "arrays", "wanted"), [
    (node("QuantizeLinear", 10), (X, ROW),
     "its scale float32[6] is not one number\n  more are for operator sets from 13 on"),
    (node("QuantizeLinear", 13, axis=0), (X, ROW),
     "its scale float32[6] does not fit its input float32[2,6]\n  one for each index of axis 0: shape (2,)"),
    (node("QuantizeLinear", 13, axis=2), (X, ROW), "axis 2 of an array with 2 axes"),
    (node("QuantizeLinear", 21, block_size=4), (X, ROW.reshape(2, 3)),
     "its scale float32[2,3] does not fit its input float32[2,6]\n  blocks of 4 along axis 1: shape (2, 2)"),
    (node("QuantizeLinear", 19, block_size=4), (X, ROW.reshape(2, 3)),
     "its block_size is 4\n  0, or a block's extent from operator set 21 on"),
    (node("QuantizeLinear", 13), (X, ROW, np.zeros(3, np.uint8)),
     "its zero point uint8[3] is not of its scale's shape\n  float32[6]"),
    (node("QuantizeLinear", 21, output_dtype=3), (X, SCALE, np.zeros((), np.uint8)),
     "its output_dtype is int8 and its zero point uint8\n  one type is needed"),
    (node("QuantizeLinear", 21, output_dtype=1), (X, SCALE),
     "it cannot make float32 of its input\n  integers of 2 to 16 bits, floats of 4 to 8"),
    (node("QuantizeLinear", 21, output_dtype=99), (X, SCALE),
     "its output_dtype is no element type\n  number 99; 1 to 28 are known"),
    (node("QuantizeLinear", 23, precision=17), (X, SCALE),
     "its precision is float8_e4m3fn\n  a float type of 16 bits or more is needed"),
    (node("DequantizeLinear", 13), (np.zeros(3, np.int8), SCALE, np.zeros((), np.uint8)),
     "its input is int8 and its zero point uint8"),
    (node("DequantizeLinear", 23, output_dtype=11), (np.zeros(3, np.int8), SCALE),
     "it cannot make float64\n  output_dtype is float32 (1), float16 (10) or bfloat16 (16)"),
    (node("DynamicQuantizeLinear", 11, 3), (np.zeros(3),), "its input is float64\n  float32 is needed"),
])  # fmt: skip
def test_what_does_not_fit_is_said(made: Node, arrays: tuple[Array, ...], wanted: str) -> None:
    assert said(made, *arrays) == f"load: {made.label} cannot run\n  {wanted}"


# -- conversions -------------------------------------------------------------------------------------------------------

NAMES = (
    *("float32", "float16", "int32", "int8", "uint8", "bool", "object"),
    *(name for name in sorted(NARROW) if hasattr(ml_dtypes, name)),
)


def test_any_type_is_cast_to_any_other() -> None:
    """1 is a number of all of them."""
    for one, other in product(NAMES, NAMES):
        x = np.array(["1", "1"], object) if one == "object" else np.ones(2).astype(dtype(one))
        y = run(node("CastLike", 25), x, np.zeros(1, dtype(other)))
        assert y.dtype == dtype(other)
        assert [float(each) for each in y] == [1, 1]


@pytest.mark.parametrize("op", ["Cast", "CastLike"])
def test_casts_to_eight_bits_saturate(op: str) -> None:
    x, like = np.array([1e6, -1e6, np.inf, 2], np.float32), np.zeros(1, ml_dtypes.float8_e5m2)
    arrays = (x, like) if op == "CastLike" else (x,)
    to = {} if op == "CastLike" else {"to": 19}
    assert run(node(op, 19, **to), *arrays).astype(np.float32).tolist() == [57344, -57344, 57344, 2]
    kept = run(node(op, 19, saturate=0, **to), *arrays)
    assert kept.astype(np.float32).tolist() == [np.inf, -np.inf, np.inf, 2]


@powers
def test_powers_of_two_round_as_they_are_told() -> None:
    x = np.array([1, 1.25, 1.5, 0, 1e39, np.inf], np.float64)
    for rounding, saturate, wanted in (
        ("up", 1, [1, 2, 2, 2.0**-127, 2.0**127, 2.0**127]), ("down", 1, [1, 1, 1, 2.0**-127, 2.0**127, 2.0**127]),
        ("nearest", 0, [1, 1, 2, np.nan, np.nan, np.nan]),
    ):  # fmt: skip
        made = run(node("Cast", 24, to=24, round_mode=rounding, saturate=saturate), x)
        np.testing.assert_array_equal(made.astype(np.float64), wanted)


def test_integers_lose_the_bits_without_a_place() -> None:
    x = np.array([200, -9, 2**40 + 5], np.int64)
    assert run(node("Cast", 21, to=3), x).tolist() == [-56, -9, 5]
    assert run(node("Cast", 21, to=22), x).astype(int).tolist() == [-8, 7, 5]


def test_texts_of_numbers_and_back() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.1, 1e-10, 100, 16777216], np.float32)
    texts = run(node("Cast", 19, to=8), x)
    assert texts.tolist() == ["NaN", "INF", "-INF", "0.1", "1e-10", "100", "16777216"]
    np.testing.assert_array_equal(run(node("Cast", 19, to=1), texts), x)
    assert texts.tolist()[:6] == by_onnxruntime("Cast", 19, [x], to=8)[0].tolist()[:6]
    assert run(node("Cast", 19, to=8), np.array([True, False])).tolist() == ["1", "0"]
    words = np.array(["9007199254740993", "-2.9", "1e3"], object)
    assert run(node("Cast", 19, to=7), words).tolist() == [9007199254740993, -2, 1000]
    assert said(node("Cast", 19, to=99), x).endswith(
        "its attribute 'to' is no element type\n  number 99; 1 to 28 are known"
    )


@pytest.mark.parametrize(("axis", "block"), [(1, 0), (-1, 0), (2, 0), (2, 8), (-1, 16), (1, 7)])
@pytest.mark.parametrize("name", ["uint8", "int8", "uint16"])
def test_scales_of_an_axis_are_one_pass(name: str, axis: int, block: int) -> None:
    """To numbers and back, of the formula's bits; the last of the blocks is not full in one case, which NumPy takes."""
    shape, (low, high), rng = (2, 12, 24, 48), INTEGERS[name], np.random.default_rng(block)
    grains = [-(-n // block) if a == axis % 4 else n for a, n in enumerate(shape)] if block else [shape[axis]]
    scale = rng.uniform(0.01, 0.1, grains).astype(np.float32)
    zero = rng.integers(low, high + 1, grains).astype(name)
    x = (rng.standard_normal(shape) * 0.04 * (high - low) + 0.5).astype(np.float32)
    wide = {"axis": axis, **({"block_size": block} if block else {})}
    spread = scale.reshape(-1, *(1,) * (3 - axis % 4)) if not block else scale
    zeros = zero.astype(np.float32).reshape(spread.shape)
    if block:
        take = (slice(None),) * (axis % 4) + (slice(shape[axis]),)
        spread, zeros = (np.repeat(each, block, axis)[take] for each in (spread, zeros))
    for op, given, wanted in (
        ("QuantizeLinear", x, np.clip(np.rint(x / spread) + zeros, low, high)),
        ("DequantizeLinear", np.arange(x.size).reshape(shape).astype(name), None),
    ):
        if wanted is None:
            wanted = (given.astype(np.float32) - zeros) * spread
        kind = onnx.helper.np_dtype_to_tensor_dtype(given.dtype)
        nodes = [made_node(op, "x s z", "y", **wide)]
        net = convmat.load(model(nodes, {"x": shape}, "y", {"s": scale, "z": zero}, opset=21, dtype=kind))
        np.testing.assert_array_equal(net(given), wanted)
        assert [layer.engine for layer in net.summary().layers] == ["numpy" if block == 7 else "jit"]
