"""Operators of onnxruntime's own, as its documentation says what they mean: by values, and beside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

import convmat
from convmat import NetworkError

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(11)
DOMAIN = "com.microsoft"


def model(
    op: str, inputs: Mapping[str, Array], constants: Mapping[str, Any], names: str, outputs: str = "y",
    version: int = 17, **attributes: Any,
) -> bytes:  # fmt: skip
    """One node; names apart by blanks, "-" for one omitted."""
    kind = helper.np_dtype_to_tensor_dtype
    given = [helper.make_tensor_value_info(n, kind(a.dtype), a.shape) for n, a in inputs.items()]
    node = helper.make_node(
        op,
        ["" if n == "-" else n for n in names.split()],
        outputs.split(),
        name=op,
        domain=DOMAIN,
        **attributes,
    )
    graph = helper.make_graph(
        [node], "one", given, [helper.make_empty_tensor_value_info(n) for n in outputs.split()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )  # fmt: skip
    sets = [helper.make_opsetid("", version), helper.make_opsetid(DOMAIN, 1)]
    made: bytes = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    return made


def some(name: str, *shape: int) -> Array:
    about = np.iinfo(name)
    return RANDOM.integers(about.min, about.max + 1, shape).astype(name)


def real(q: Array, scale: Any, zero: Any) -> Array:
    return (q.astype(np.float64) - np.float64(zero)) * np.asarray(scale, np.float64)


def small(x: Array, scale: float, zero: Array) -> Array:
    about = np.iinfo(zero.dtype)
    return np.asarray(np.clip(np.rint(x / scale) + zero, about.min, about.max).astype(zero.dtype))


A, B = some("uint8", 2, 3, 7, 6), some("uint8", 2, 3, 7, 6)
GRAINS: dict[str, Any] = {
    "as": np.float32(0.05), "az": np.uint8(120), "bs": np.float32(0.07), "bz": np.uint8(3),
    "ys": np.float32(0.11), "yz": np.uint8(100),
}  # fmt: skip
X, Z = real(A, 0.05, 120), real(B, 0.07, 3)
C = RANDOM.random(A.shape) < 0.5


def pooled(x: Array) -> Array:
    """2x2 windows, 2 apart."""
    return np.asarray(x[..., :6, :6].reshape(2, 3, 3, 2, 3, 2).mean((3, 5)))


def softmax(x: Array, *axes: int) -> Array:
    made = np.exp(x - x.max(axes, keepdims=True))
    return np.asarray(made / made.sum(axes, keepdims=True))


ONE_TO_ONE: dict[str, tuple[str, Array, dict[str, Any]]] = {
    "QLinearAdd": ("a as az b bs bz ys yz", X + Z, {}),
    "QLinearMul": ("a as az b bs bz ys yz", X * Z, {}),
    "QLinearConcat": ("ys yz a as az b bs bz", np.concatenate([X, Z], 1), {"axis": 1}),
    "QLinearSigmoid": ("a as az ys yz", 1 / (1 + np.exp(-X)), {}),
    "QLinearLeakyRelu": ("a as az ys yz", np.where(X < 0, 0.2 * X, X), {"alpha": 0.2}),
    "QLinearSoftmax": ("a as az ys yz", softmax(X, 2), {"axis": 2, "opset": 17}),
    "QLinearWhere": ("c a as az b bs bz ys yz", np.where(C, X, Z), {}),
    "QLinearAveragePool": ("a as az ys yz", pooled(X), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearGlobalAveragePool": ("a as az ys yz", X.mean((2, 3), keepdims=True), {"channels_last": 0}),
}


def inputs_of(names: str) -> dict[str, Array]:
    return {name: array for name, array in (("a", A), ("b", B), ("c", C)) if name in names.split()}


@pytest.mark.parametrize("op", ONE_TO_ONE)
def test_by_values(op: str) -> None:
    names, wanted, attributes = ONE_TO_ONE[op]
    grains = {n: v for n, v in GRAINS.items() if n in names.split()}
    found = convmat.load(model(op, inputs_of(names), grains, names, **attributes))(inputs_of(names))
    q = small(wanted, 0.11, grains["yz"])
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - q).max() <= 1
    assert np.mean(found != q) < 0.02
    assert len(np.unique(found)) > 2


@pytest.mark.outside
@pytest.mark.parametrize("op", ONE_TO_ONE)
def test_as_onnxruntime_has_it(op: str) -> None:
    names, _, attributes = ONE_TO_ONE[op]
    made = model(
        op, inputs_of(names), {n: v for n, v in GRAINS.items() if n in names.split()}, names, **attributes
    )
    found, wanted = convmat.load(made)(inputs_of(names)), by_onnxruntime(made, inputs_of(names))[0]
    assert np.abs(found.astype(int) - wanted).max() <= 1


def by_onnxruntime(made: bytes, inputs: Mapping[str, Array]) -> Sequence[Array]:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    found: Sequence[Array] = session.run(None, dict(inputs))
    return found


def test_channels_may_lie_last() -> None:
    last = {"a": np.ascontiguousarray(A.transpose(0, 2, 3, 1))}
    grains = {n: v for n, v in GRAINS.items() if n[0] != "b"}
    for op, wanted in (
        ("QLinearGlobalAveragePool", X.mean((2, 3), keepdims=True)),
        ("QLinearAveragePool", pooled(X)),
    ):
        more: dict[str, Any] = {} if "Global" in op else {"kernel_shape": [2, 2], "strides": [2, 2]}
        more["channels_last"] = 1
        found = convmat.load(model(op, last, grains, "a as az ys yz", **more))(last)
        q = small(wanted, 0.11, grains["yz"]).transpose(0, 2, 3, 1)
        assert np.abs(found.astype(int) - q).max() <= 1


@pytest.mark.parametrize(
    "shape", [(2, 7, 3), (2, 5, 4, 3), (0, 5, 4, 3), (2, 3, 2, 4, 3), (1, 2, 3, 2, 2, 3)]
)
def test_means_of_images_of_any_rank_whose_channels_lie_last(shape: tuple[int, ...]) -> None:
    a = {"a": some("uint8", *shape)}
    grains = {n: v for n, v in GRAINS.items() if n[0] != "b"}
    made = model("QLinearGlobalAveragePool", a, grains, "a as az ys yz", channels_last=1)
    found = convmat.load(made)(a)
    x = real(a["a"], 0.05, 120)
    q = small(x.mean(tuple(range(1, x.ndim - 1)), keepdims=True), 0.11, grains["yz"])
    assert found.shape == q.shape
    assert np.abs(found.astype(int) - q).max(initial=0) <= 1


def test_softmax_of_older_sets_is_over_all_axes_from_one_on() -> None:
    grains = {n: v for n, v in GRAINS.items() if n[0] != "b"} | {"ys": np.float32(1 / 255), "yz": np.uint8(0)}
    for opset, axes in ((12, (2, 3)), (13, (2,))):
        made = model("QLinearSoftmax", {"a": A}, grains, "a as az ys yz", axis=2, opset=opset)
        found = convmat.load(made)({"a": A})
        q = small(softmax(X, *axes), 1 / 255, grains["yz"])
        assert np.abs(found.astype(int) - q).max() <= 1


def test_zero_points_that_are_omitted_are_0() -> None:
    grains = {n: v for n, v in GRAINS.items() if not n.endswith("z")}
    found = convmat.load(model("QLinearAdd", {"a": A, "b": B}, grains, "a as - b bs - ys -"))(
        {"a": A, "b": B}
    )
    q = small(A * 0.05 + B * 0.07, 0.11, np.zeros((), np.uint8))
    assert np.abs(found.astype(int) - q).max() <= 1


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
def test_without_any_zero_point_the_output_is_of_its_input_s_type(kind: str, shape: tuple[int, ...]) -> None:
    a = {"a": some(kind, *shape)}
    grains = {n: v for n, v in GRAINS.items() if n in ("as", "ys")}
    found = convmat.load(model("QLinearLeakyRelu", a, grains, "a as - ys -", alpha=0.2))(a)
    x = real(a["a"], 0.05, 0)
    assert found.dtype == kind
    wanted = small(np.where(x < 0, 0.2 * x, x), 0.11, np.zeros((), kind))
    assert np.abs(found.astype(int) - wanted).max(initial=0) <= 1


# -- products ----------------------------------------------------------------------------------------------------------

M, W = some("uint8", 4, 12), some("int8", 12, 5)
SCALES = RANDOM.uniform(0.01, 0.02, 5).astype(np.float32)
PRODUCT: dict[str, Any] = {
    "as": np.float32(0.05), "az": np.uint8(120), "w": W, "bs": SCALES, "bz": np.zeros(5, np.int8),
    "c": RANDOM.integers(-5000, 5000, 5).astype(np.int32), "ys": np.float32(0.2), "yz": np.uint8(100),
}  # fmt: skip
DENSE = real(M, 0.05, 120) @ real(W, SCALES, 0)


@pytest.mark.parametrize("quantised", [True, False])
def test_products_of_matrices(quantised: bool) -> None:
    wanted = DENSE + PRODUCT["c"] * np.float64(0.05) * SCALES
    names = "a as az w bs bz c" + " ys yz" * quantised
    known = {n: v for n, v in PRODUCT.items() if n in names.split()}
    net = convmat.load(model("QGemm", {"a": M}, known, names))
    if quantised:
        apart = net(M).astype(int) - small(wanted, 0.2, PRODUCT["yz"])
        assert np.abs(apart).max() <= 1
    else:
        np.testing.assert_allclose(net(M), wanted, rtol=1e-5, atol=1e-5)
    assert "IntegerGemm" in str(net.summary())


@pytest.mark.parametrize("transposed", [False, True])
def test_products_with_a_factor(transposed: bool) -> None:
    known = {n: v for n, v in PRODUCT.items() if n not in ("ys", "yz")} | (
        {"w": W.T.copy()} if transposed else {}
    )
    made = model("QGemm", {"a": M}, known, "a as az w bs bz c", alpha=0.5, transB=int(transposed))
    wanted = 0.5 * (DENSE + PRODUCT["c"] * np.float64(0.05) * SCALES)
    np.testing.assert_allclose(convmat.load(made)(M), wanted, rtol=1e-5, atol=1e-5)


def test_sums_in_float32() -> None:
    known = {n: v for n, v in PRODUCT.items() if n[0] not in "cy"} | {"d": np.arange(5, dtype=np.float32)}
    made = model("MatMulIntegerToFloat", {"a": M}, known, "a w as bs az bz d")
    np.testing.assert_allclose(convmat.load(made)(M), DENSE + np.arange(5), rtol=1e-5, atol=1e-5)


def test_products_by_range() -> None:
    x = RANDOM.standard_normal((2, 4, 12)).astype(np.float32)
    known = {"w": W, "bs": SCALES, "d": np.arange(5, dtype=np.float32)}
    found = convmat.load(model("DynamicQuantizeMatMul", {"x": x}, known, "x w bs - d"))(x)
    scale = (max(x.max(), 0) - min(x.min(), 0)) / 255
    zero = np.rint(-min(x.min(), 0) / scale)
    near = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale
    np.testing.assert_allclose(found, near @ real(W, SCALES, 0) + np.arange(5), rtol=1e-4, atol=1e-4)


def few_bits(bits: int, *, k: int = 40, n: int = 6, zeros: bool = True) -> tuple[dict[str, Array], Array]:
    """Weights in blocks of 16 as MatMulNBits has them, and in float64: (k, n)."""
    blocks, per = -(-k // 16), 8 // bits
    q = RANDOM.integers(0, 1 << bits, (n, blocks, 16))
    less = RANDOM.integers(0, 1 << bits, (n, blocks)) if zeros else np.full((n, blocks), 1 << bits >> 1)
    scales = RANDOM.uniform(0.1, 0.2, (n, blocks)).astype(np.float32)

    def pack(numbers: Array) -> Array:
        filled = np.zeros((*numbers.shape[:-1], -(-numbers.shape[-1] // per) * per), np.int64)
        filled[..., : numbers.shape[-1]] = numbers
        parts = filled.reshape(*filled.shape[:-1], -1, per) << np.arange(0, 8, bits)
        return np.asarray(parts.sum(-1).astype(np.uint8))

    known = {"w": pack(q), "s": scales.ravel()} | ({"z": pack(less).ravel()} if zeros else {})
    whole = (q - less[..., None]) * scales.astype(np.float64)[..., None]
    return known, whole.reshape(n, -1)[:, :k].T


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_of_few_bits(bits: int, zeros: bool) -> None:
    x = RANDOM.standard_normal((2, 3, 40)).astype(np.float32)
    known, whole = few_bits(bits, zeros=zeros)
    names = "x w s" + " z" * zeros + " -" * (not zeros) + " - b"
    about: dict[str, Any] = {"K": 40, "N": 6, "block_size": 16}
    known["b"] = np.arange(6, dtype=np.float32)
    found = convmat.load(model("MatMulNBits", {"x": x}, known, names, bits=bits, **about))(x)
    np.testing.assert_allclose(found, x @ whole + np.arange(6), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_of_few_bits_with_zero_points_between(bits: int) -> None:
    """Floats, one for each block."""
    x = RANDOM.standard_normal((3, 40)).astype(np.float32)
    known, whole = few_bits(bits, zeros=False)
    known["z"] = RANDOM.uniform(0, 1 << bits, known["s"].shape).astype(np.float32)
    moved = known["s"] * ((1 << bits >> 1) - known["z"].astype(np.float64))
    whole = whole + np.repeat(moved.reshape(6, -1), 16, axis=1)[:, :40].T
    made = model("MatMulNBits", {"x": x}, known, "x w s z", K=40, N=6, block_size=16, bits=bits)
    np.testing.assert_allclose(convmat.load(made)(x), x @ whole, rtol=1e-4, atol=1e-4 * 2**bits)


@pytest.mark.outside
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits_as_onnxruntime_has_them(bits: int) -> None:
    x = RANDOM.standard_normal((3, 64)).astype(np.float32)
    known, _ = few_bits(bits, k=64, n=16)
    made = model("MatMulNBits", {"x": x}, known, "x w s z", K=64, N=16, block_size=16, bits=bits)
    np.testing.assert_allclose(convmat.load(made)(x), by_onnxruntime(made, {"x": x})[0], rtol=1e-3, atol=1e-3)


def test_weights_of_few_bits_that_are_not_read() -> None:
    known, _ = few_bits(4)
    x = np.ones((1, 40), np.float32)

    def said(
        names: str = "x w s z",
        given: dict[str, Array] | None = None,
        known: dict[str, Array] = known,
        **about: Any,
    ) -> str:
        words: dict[str, Any] = {"K": 40, "N": 6, "block_size": 16, "bits": 4, **about}
        inputs = {"x": x, **(given or {})}
        with pytest.raises(NetworkError) as error:
            convmat.load(
                model(
                    "MatMulNBits", inputs, {n: v for n, v in known.items() if n not in inputs}, names, **words
                )
            )
        return str(error.value).split("'MatMulNBits'", 1)[1]

    assert (
        said(bits=3)
        == " has bits = 3, block_size = 16, K = 40, N = 6\n  2, 4 or 8 bits, blocks of whole bytes"
    )
    assert said(N=5) == " has 144 weights of uint8\n  120 uint8 are needed"
    whole = known | {"z": np.zeros(12, np.int32)}
    assert said(known=whole) == " has 12 zero points of int32\n  12 uint8 are needed"
    whole = known | {"s": known["s"].astype(np.float64)}
    assert said(known=whole) == " has 18 scales of float64\n  18 float32 or float16 are needed"
    assert said(given={"w": known["w"]}) == (
        " has weights, scales or zero points that are computed, or a g_idx\n  constants are read, in their order"
    )


@pytest.mark.outside
@pytest.mark.parametrize("op", ["QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"])
def test_products_as_onnxruntime_has_them(op: str) -> None:
    names = {
        "QGemm": "a as az w bs bz c",
        "MatMulIntegerToFloat": "a w as bs az bz",
        "DynamicQuantizeMatMul": "x w bs",
    }
    inputs = {"x": RANDOM.standard_normal((4, 12)).astype(np.float32)} if op.startswith("Dyn") else {"a": M}
    known = {n: v for n, v in PRODUCT.items() if n in names[op].split()}
    made = model(op, inputs, known, names[op])
    np.testing.assert_allclose(
        convmat.load(made)(inputs), by_onnxruntime(made, inputs)[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("wide", ["uint8", "uint16", "int16"])
def test_the_two_that_the_standard_has_as_well(wide: str) -> None:
    x, zero = RANDOM.standard_normal((3, 4)).astype(np.float32), np.full(4, 100, wide)
    scales = np.linspace(0.01, 0.04, 4).astype(np.float32)
    q = convmat.load(model("QuantizeLinear", {"x": x}, {"s": scales, "z": zero}, "x s z", axis=1))(x)
    about = np.iinfo(wide)
    np.testing.assert_array_equal(q, np.clip(np.rint(x / scales) + 100, about.min, about.max).astype(wide))
    y = convmat.load(model("DequantizeLinear", {"x": q}, {"s": scales, "z": zero}, "x s z", axis=1))(q)
    np.testing.assert_allclose(y, (q.astype(np.float32) - 100) * scales, rtol=1e-6)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_said() -> None:
    inputs, known = {"a": A, "b": B}, GRAINS
    wrong: list[tuple[str, str, dict[str, Any], str]] = [
        ("Inverse", "a b", {}, "some of its operators are not known\n  com.microsoft.Inverse (1 node)"),
        (
            "QLinearAdd",
            "a as az",
            {},
            "com.microsoft.QLinearAdd 'QLinearAdd' has 3 inputs\n  the operator has 7 to 8",
        ),
        ("QLinearConcat", "ys yz a as az b", {"axis": 1}, "has 6 inputs\n  two, and three for each array"),
        (
            "QLinearAdd",
            "a as az b bs bz ys yz",
            {"axis": 1},
            "its attribute 'axis' is none of the operator's",
        ),
        (
            "QLinearLeakyRelu",
            "a as az ys yz",
            {"alpha": 1},
            "its attribute 'alpha' is none of the operator's, or of",
        ),
    ]
    for op, names, attributes, said in wrong:
        with pytest.raises(NetworkError) as error:
            convmat.load(model(op, inputs, known, names, **attributes))
        assert said in str(error.value)


def test_they_are_written_as_the_standard_s_nodes(tmp_path: Any) -> None:
    names, _, _ = ONE_TO_ONE["QLinearAdd"]
    net = convmat.load(model("QLinearAdd", {"a": A, "b": B}, GRAINS, names, version=12))
    net.to_onnx(tmp_path / "plain.onnx")
    assert {each.domain for each in onnx.load(tmp_path / "plain.onnx").graph.node} == {""}
    again = convmat.load(tmp_path / "plain.onnx")
    np.testing.assert_array_equal(again({"a": A, "b": B}), net({"a": A, "b": B}))
