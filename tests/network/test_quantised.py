"""Graphs that quantise and dequantise around float products: integers between, one step from their meaning at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

import convmat
from convmat import NetworkError
from convmat.engine import Peaks, thread_pool
from convmat.engine.measure import machine

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(3)


class Drawn:
    """A graph being written down: nodes and constants, each method giving the name of a value."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, kind: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def grain(self, scale: Any, zero: Any, kind: Any) -> tuple[str, str]:
        return self.constant(scale, np.float32), self.constant(zero, kind)

    def weights(self, w: Array, scale: Any, axis: int = 0) -> str:
        scale = np.asarray(scale, np.float32)
        zero = np.zeros(scale.shape, w.dtype)
        return self.node(
            "DequantizeLinear", self.constant(w, w.dtype), *self.grain(scale, zero, w.dtype), axis=axis
        )

    def model(self, inputs: dict[str, tuple[int, ...]], out: str, kind: int = TensorProto.UINT8) -> bytes:
        given = [helper.make_tensor_value_info(n, TensorProto.UINT8, shape) for n, shape in inputs.items()]
        graph = helper.make_graph(
            self.nodes, "drawn", given, [helper.make_tensor_value_info(out, kind, None)], self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        found: bytes = model.SerializeToString()
        return found


def conv(out: str, scale: float = 0.07, zero: int = 7, after: tuple[Any, ...] = (), **words: Any) -> bytes:
    """x: (1, 8, 9, 9) -> a quantised convolution of it by (12, 8, 3, 3), perhaps with an activation."""
    d = Drawn()
    w = RANDOM.integers(-127, 128, (12, 8, 3, 3)).astype(np.int8)
    scales = RANDOM.uniform(0.001, 0.01, 12).astype(np.float32)
    bias = RANDOM.integers(-3000, 3000, 12).astype(np.int32)
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    b = d.node(
        "DequantizeLinear", d.constant(bias, np.int32), d.constant(scales * np.float32(0.05), np.float32), axis=0
    )  # fmt: skip
    y = d.node("Conv", x, d.weights(w, scales), b, pads=[1, 1, 1, 1], **words)
    for op, *limits in after:
        y = d.node(op, y, *(d.constant(each, np.float32) for each in limits))
    d.node("QuantizeLinear", y, *d.grain(scale, zero, np.uint8), out=out)
    return d.model({"x": (1, 8, 9, 9)}, out)


def gemm(out: str, op: str) -> bytes:
    """x: (3, 20) -> a quantised product of it by (20, 11)."""
    d = Drawn()
    w = RANDOM.integers(-127, 128, (20, 11)).astype(np.int8)
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    more = (d.constant(RANDOM.standard_normal(11), np.float32),) if op == "Gemm" else ()
    y = d.node(op, x, d.weights(w, 0.01), *more)
    d.node("QuantizeLinear", y, *d.grain(0.1, 130, np.uint8), out=out)
    return d.model({"x": (3, 20)}, out)


def transposed(out: str, groups: int = 1, one_scale: bool = False, quantised: bool = True) -> bytes:
    """x: (1, 8, 9, 9) -> a transposed convolution of it by (8, 12 / groups, 2, 3), quantised or in float32."""
    d = Drawn()
    w = RANDOM.integers(-127, 128, (8, 12 // groups, 2, 3)).astype(np.int8)
    scales = RANDOM.uniform(0.001, 0.01, () if one_scale else 12 // groups).astype(np.float32)
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    b = d.constant(RANDOM.standard_normal(12), np.float32)
    words = {"strides": [2, 2], "pads": [0, 1, 0, 0], "group": groups}
    y = d.node("ConvTranspose", x, d.weights(w, scales, axis=1), b, out="" if quantised else out, **words)
    if quantised:
        d.node("QuantizeLinear", y, *d.grain(0.07, 7, np.uint8), out=out)
    return d.model({"x": (1, 8, 9, 9)}, out, TensorProto.UINT8 if quantised else TensorProto.FLOAT)


PRODUCTS = {
    "transposed": lambda: transposed("y"),
    "transposed groups": lambda: transposed("y", 2, one_scale=True),
    "conv": lambda: conv("y"),
    "relu": lambda: conv("y", after=(("Relu",),)),
    "clip": lambda: conv("y", after=(("Clip", 0.0, 6.0),)),
    "strided": lambda: conv("y", strides=[2, 2]),
    "Gemm": lambda: gemm("y", "Gemm"),
    "MatMul": lambda: gemm("y", "MatMul"),
}


def both(model: bytes, **arrays: Array) -> tuple[Array, Array, str]:
    """What the rewritten network gives, what its nodes give one by one, and which operators it has."""
    net, plain = convmat.load(model), convmat.load(model, rewrite=False)
    return np.asarray(net(arrays)), np.asarray(plain(arrays)), str(net.summary())


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_one_step_from_the_graphs_meaning(name: str) -> None:
    model = PRODUCTS[name]()
    shape = (3, 20) if name in ("Gemm", "MatMul") else (1, 8, 9, 9)
    x = RANDOM.integers(0, 256, shape).astype(np.uint8)
    found, wanted, said = both(model, x=x)
    apart = np.abs(found.astype(int) - wanted.astype(int))
    assert apart.max() <= 1
    assert np.mean(apart) < 0.01
    assert wanted.std() > 20
    made = {"Gemm": "IntegerGemm", "MatMul": "IntegerGemm", "transposed": "IntegerConvTranspose"}
    assert made.get(name.split(" groups")[0], "QLinearConv") in said


def test_transposed_sums_that_nobody_quantises_are_integers() -> None:
    x = RANDOM.integers(0, 256, (1, 8, 9, 9)).astype(np.uint8)
    found, wanted, said = both(transposed("y", quantised=False), x=x)
    assert "IntegerConvTranspose" in said
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_scales_of_several_groups_channels_stay_in_float32() -> None:
    x = RANDOM.integers(0, 256, (1, 8, 9, 9)).astype(np.uint8)
    found, wanted, said = both(transposed("y", 2), x=x)
    assert "Integer" not in said
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("op", "quantised"), [("Conv", True), ("Conv", False), ("ConvTranspose", True)])
def test_float32_is_kept_where_it_is_quicker(
    op: str, quantised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU whose dot products of bytes are slow; `deterministic` and `exact` stay with the same bits everywhere."""
    rates = dict.fromkeys(Peaks.FIGURES, 1e11) | {"dot_ops": 1e7, "tile_ops": 1e7}
    count = thread_pool.count()
    monkeypatch.setitem(machine._peaks, count, Peaks(count, rates.__getitem__))
    d, c = Drawn(), 128  # sums that float32 may not hold
    w = RANDOM.integers(-127, 128, (c, 16, 3, 3) if op == "ConvTranspose" else (16, c, 3, 3)).astype(np.int8)
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    weights = d.weights(w, RANDOM.uniform(0.001, 0.01, 16), axis=int(op == "ConvTranspose"))
    bias = d.constant(RANDOM.standard_normal(16), np.float32)
    y = d.node(op, x, weights, bias, out="" if quantised else "y", pads=[1] * 4)
    if quantised:
        y = d.node("Clip", y, d.constant(-20, np.float32), d.constant(90, np.float32))
        d.node("QuantizeLinear", y, *d.grain(0.7, 40, np.uint8), out="y")
    model = d.model({"x": (1, c, 7, 7)}, "y", TensorProto.UINT8 if quantised else TensorProto.FLOAT)
    given = RANDOM.integers(0, 256, (1, c, 7, 7)).astype(np.uint8)
    found, wanted, said = both(model, x=given)
    assert ", in float32" in said
    step = 1 if quantised else 1e-5 * np.abs(wanted).max()
    apart = np.abs(found.astype(float) - wanted.astype(float))
    assert apart.max() <= step
    assert np.mean(apart) < (0.01 if quantised else 0.1 * step)
    for same in (convmat.load(model, deterministic=True), convmat.load(model, exact=True)):
        assert "in float32" not in str(same.summary())
        np.testing.assert_allclose(np.asarray(same(given), float), wanted, rtol=0, atol=step)


def test_weights_that_the_graph_quantises_itself() -> None:
    """As onnxruntime's quantiser writes those that come from nodes: float32 constants, quantised on the way."""
    d, w = Drawn(), RANDOM.standard_normal((12, 8, 3, 3)).astype(np.float32)
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    grain = d.grain(0.03, 128, np.uint8)
    made = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(w))
    d.nodes.append(made)
    weights = d.node("DequantizeLinear", d.node("QuantizeLinear", "w", *grain), *grain)
    d.node("QuantizeLinear", d.node("Conv", x, weights), *d.grain(0.2, 120, np.uint8), out="y")
    given = RANDOM.integers(0, 256, (1, 8, 9, 9)).astype(np.uint8)
    found, wanted, said = both(d.model({"x": (1, 8, 9, 9)}, "y"), x=given)
    assert "QLinearConv" in said
    assert "QuantizeLinear  " not in said
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1


def test_scales_whose_factor_is_no_number_stay_in_float32() -> None:
    model = conv("y", scale=1e-44)
    x = RANDOM.integers(0, 256, (1, 8, 9, 9)).astype(np.uint8)
    found, wanted, said = both(model, x=x)
    assert "QLinearConv" not in said
    np.testing.assert_array_equal(found, wanted)


def test_tables_in_a_row_are_one() -> None:
    """Also where two functions of a number meet again: their product is a function of it."""
    d, each = Drawn(), RANDOM.uniform(0.5, 2, (8, 1, 1))
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    q = d.node(
        "QuantizeLinear", d.node("Mul", x, d.constant(each, np.float32)), *d.grain(0.06, 100, np.uint8)
    )
    twice = d.node("DequantizeLinear", q, *d.grain(0.06, 100, np.uint8))
    gate = d.node("QuantizeLinear", d.node("HardSigmoid", twice), *d.grain(1 / 255, 0, np.uint8))
    gate = d.node("DequantizeLinear", gate, *d.grain(1 / 255, 0, np.uint8))
    q = d.node(
        "QuantizeLinear", d.node("Add", twice, d.constant(1.0, np.float32)), *d.grain(0.07, 90, np.uint8)
    )
    other = d.node("DequantizeLinear", q, *d.grain(0.07, 90, np.uint8))
    d.node("QuantizeLinear", d.node("Mul", other, gate), *d.grain(0.06, 80, np.uint8), out="y")
    given = RANDOM.integers(0, 256, (1, 8, 24, 24)).astype(np.uint8)
    found, wanted, said = both(d.model({"x": (1, 8, 24, 24)}, "y"), x=given)
    np.testing.assert_array_equal(found, wanted)
    assert said.count("a table: ") == 1
    assert "one pass: " not in said
    assert "\n1 nodes" in said


def test_what_moves_elements_keeps_them_in_8_bits() -> None:
    d = Drawn()
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    pooled = d.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 0, 0])
    middle = d.node("QuantizeLinear", pooled, *d.grain(0.05, 121, np.uint8))
    again = d.node("DequantizeLinear", middle, *d.grain(0.05, 121, np.uint8))
    d.node("QuantizeLinear", d.node("Flatten", again), *d.grain(0.05, 121, np.uint8), out="y")
    x_ = RANDOM.integers(0, 256, (1, 8, 9, 9)).astype(np.uint8)
    found, wanted, said = both(d.model({"x": (1, 8, 9, 9)}, "y"), x=x_)
    np.testing.assert_array_equal(found, wanted)
    assert "Linear" not in said


@pytest.mark.parametrize(("words", "integers"), [
    ({"kernel_shape": [2, 2], "strides": [2, 2]}, True),
    ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, True),
    ({"kernel_shape": [3, 2], "strides": [3, 4], "ceil_mode": 0}, True),
    ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, False),
    ({"kernel_shape": [20, 20]}, False),
])  # fmt: skip
def test_means_of_windows_are_sums_of_bytes_where_all_have_as_many(
    words: dict[str, Any], integers: bool
) -> None:
    d = Drawn()
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    d.node("QuantizeLinear", d.node("AveragePool", x, **words), *d.grain(0.031, 110, np.uint8), out="y")
    given = RANDOM.integers(0, 256, (1, 8, 24, 26)).astype(np.uint8)
    found, wanted, said = both(d.model({"x": given.shape}, "y"), x=given)
    assert ("QLinearConv" in said) == integers
    apart = np.abs(found.astype(int) - wanted.astype(int))
    assert apart.max() <= 1
    assert np.mean(apart) < 0.01


def test_elementwise_nodes_between_are_one_pass_with_the_same_bits() -> None:
    d = Drawn()
    a = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    b = d.node("DequantizeLinear", "z", *d.grain(0.031, 3, np.uint8))
    d.node("QuantizeLinear", d.node("Relu", d.node("Add", a, b)), *d.grain(0.06, 5, np.uint8), out="y")
    x, z = (RANDOM.integers(0, 256, (1, 8, 30, 30)).astype(np.uint8) for _ in range(2))
    found, wanted, said = both(d.model({"x": x.shape, "z": z.shape}, "y"), x=x, z=z)
    np.testing.assert_array_equal(found, wanted)
    assert "one pass" in said or "Elementwise" in said


def biased(least: int, tiny: float, out: str) -> bytes:
    """x: (1, 6, 5, 5) -> its 1x1 convolution by 4 filters, one of them of so small a scale, with such a bias."""
    d = Drawn()
    w = RANDOM.integers(-127, 128, (4, 6, 1, 1)).astype(np.int8)
    scales = np.array([0.004, tiny, 0.006, 0.005], np.float32)
    bias = np.array([300, least, -500, 2**31 - 1 if tiny < 1e-6 else 7], np.int32)
    scales[3] = tiny if tiny < 1e-6 else scales[3]
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    b = d.node(
        "DequantizeLinear",
        d.constant(bias, np.int32),
        d.constant(scales * np.float32(0.05), np.float32),
        axis=0,
    )
    y = d.node("Conv", x, d.weights(w, scales), b)
    if out == "float":
        d.node("Identity", y, out="y")
        return d.model({"x": (1, 6, 5, 5)}, "y", TensorProto.FLOAT)
    d.node("QuantizeLinear", y, *d.grain(0.08, 120, np.uint8), out="y")
    return d.model({"x": (1, 6, 5, 5)}, "y")


@pytest.mark.parametrize(
    ("tiny", "out", "whole"), [(4e-8, "bytes", True), (0.005, "bytes", False), (4e-8, "float", False)]
)
def test_biases_that_leave_the_sums_no_room(tiny: float, out: str, whole: bool) -> None:
    """As others' quantisers write them for channels of next to nothing; 2^31 steps of 2e-9 are 4.3."""
    x = RANDOM.integers(0, 256, (1, 6, 5, 5)).astype(np.uint8)
    found, wanted, said = both(biased(-(2**31) + 9, tiny, out), x=x)
    assert ("QLinearConv" in said) == whole
    assert "Integer" not in said
    if out == "float":
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    else:
        assert np.abs(found.astype(int) - wanted.astype(int)).max() <= (1 if whole else 0)
        assert len({*wanted[0, 1].flat}) == 1
        assert wanted.std() > 20


def test_sums_too_long_for_int32_stay_in_float32() -> None:
    d = Drawn()
    w = RANDOM.integers(-127, 128, (140_000, 2)).astype(np.int8)
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    y = d.node("MatMul", x, d.weights(w, 0.01))
    d.node("QuantizeLinear", y, *d.grain(2.0, 130, np.uint8), out="y")
    x_ = RANDOM.integers(0, 256, (1, 140_000)).astype(np.uint8)
    found, wanted, said = both(d.model({"x": (1, 140_000)}, "y"), x=x_)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
    assert "IntegerGemm" not in said


@pytest.mark.parametrize("scale", [0.0, -0.5, np.nan, np.inf])
def test_scales_that_are_none_are_refused_by_name(scale: float) -> None:
    with pytest.raises(NetworkError, match="scale"):
        convmat.load(conv("y", scale=scale))({"x": np.zeros((1, 8, 9, 9), np.uint8)})


def test_a_bias_of_another_length_is_refused_by_name() -> None:
    d = Drawn()
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    w = d.weights(np.ones((12, 8, 3, 3), np.int8), np.full(12, 0.01))
    bias = d.constant(np.zeros(3), np.int32), d.constant(np.full(12, 5e-4), np.float32)
    y = d.node("Conv", x, w, d.node("DequantizeLinear", *bias, axis=0))
    d.node("QuantizeLinear", y, *d.grain(2.0, 130, np.uint8), out="y")
    with pytest.raises(NetworkError, match=r"float32\[12\] does not fit its input int32\[3\]"):
        convmat.load(d.model({"x": (1, 8, 9, 9)}, "y"))({"x": np.zeros((1, 8, 9, 9), np.uint8)})


@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "MatMul, Add", "Conv, Relu"])
def test_sums_that_nobody_quantises_are_integers_scaled_once(op: str) -> None:
    d, first = Drawn(), op.split(", ")[0]
    shape, w = ((1, 6, 7, 7), (5, 6, 3, 3)) if first == "Conv" else ((3, 20), (20, 11))
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    scales = RANDOM.uniform(0.01, 0.02, w[0 if first == "Conv" else 1])
    filters = RANDOM.integers(-127, 128, w).astype(np.int8)
    y = d.node(first, x, d.weights(filters, scales, 0 if first == "Conv" else 1))
    if "Add" in op:
        y = d.node("Add", d.constant(RANDOM.standard_normal(11), np.float32), y)
    if "Relu" in op:
        y = d.node("Relu", y)
    d.node("Identity", y, out="y")
    x_ = RANDOM.integers(0, 256, shape).astype(np.uint8)
    model = d.model({"x": shape}, "y", TensorProto.FLOAT)
    found, wanted, said = both(model, x=x_)
    np.testing.assert_allclose(
        found, wanted, rtol=1e-5, atol=1e-5 * wanted.std() if "Add" not in op else 2e-3
    )
    assert wanted.std() > 1
    assert ("IntegerConv" if first == "Conv" else "IntegerGemm") in said
    assert "Relu" not in said


def test_numbers_of_several_scales_are_joined_in_8_bits() -> None:
    d = Drawn()
    parts = [
        d.node("DequantizeLinear", name, *d.grain(scale, zero, np.uint8))
        for name, scale, zero in (("x", 0.05, 121), ("z", 0.08, 3))
    ]
    d.node("QuantizeLinear", d.node("Concat", *parts, axis=1), *d.grain(0.05, 121, np.uint8), out="y")
    x, z = (RANDOM.integers(0, 256, (1, 8, 30, 30)).astype(np.uint8) for _ in range(2))
    found, wanted, said = both(d.model({"x": x.shape, "z": z.shape}, "y"), x=x, z=z)
    np.testing.assert_array_equal(found, wanted)
    assert "a table: DequantizeLinear, QuantizeLinear" in said
    assert "\nDequantizeLinear" not in said


def test_nearest_neighbours_stay_in_8_bits() -> None:
    d = Drawn()
    x = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    y = d.node("Resize", x, "", d.constant([1, 1, 2, 3], np.float32), mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    d.node("QuantizeLinear", y, *d.grain(0.05, 121, np.uint8), out="y")
    x_ = RANDOM.integers(0, 256, (1, 8, 20, 37)).astype(np.uint8)
    found, wanted, said = both(d.model({"x": x_.shape}, "y"), x=x_)
    np.testing.assert_array_equal(found, wanted)
    assert "Linear" not in said
    assert "repeated" in said


TABLES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "Sigmoid": (("Sigmoid",),),
    "HardSwish": (("HardSwish",),),
    "LeakyRelu": (("LeakyRelu",),),
    "clipped": (("Relu",), ("Clip", 0.5, 2.0)),
    "for each channel": (("Mul", np.linspace(-1, 2, 8).reshape(8, 1, 1)), ("Add", np.ones((8, 1, 1)))),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("types", [(np.uint8, np.int8), (np.int8, np.uint8)])
def test_functions_of_single_bytes_are_tables(name: str, types: tuple[Any, Any]) -> None:
    d = Drawn()
    q = d.node("QuantizeLinear", d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8)),
               *d.grain(0.05, 3, types[0]))  # fmt: skip
    y = d.node("DequantizeLinear", q, *d.grain(0.05, 3, types[0]))
    for op, *constants in TABLES[name]:
        y = d.node(op, y, *(d.constant(each, np.float32) for each in constants))
    d.node("QuantizeLinear", y, *d.grain(0.03, 5, types[1]), out="y")
    x = RANDOM.integers(0, 256, (2, 8, 19, 23)).astype(np.uint8)
    found, wanted, said = both(
        d.model({"x": x.shape}, "y", helper.np_dtype_to_tensor_dtype(np.dtype(types[1]))), x=x
    )
    assert found.dtype == types[1]
    apart = np.abs(found.astype(int) - wanted.astype(int))
    assert apart.max() <= (1 if name in ("Sigmoid", "HardSwish") else 0)
    assert "a table: " in said
    assert "one pass" not in said
