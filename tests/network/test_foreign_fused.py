"""Float operators that onnxruntime's optimiser writes, as its documentation has them: by values, and beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import convmat
from convmat import NetworkError
from tests.network.test_foreign import by_onnxruntime, model, softmax

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(5)


def drawn(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def wide(**arrays: Array) -> dict[str, Array]:
    return {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in arrays.items()}


def normal(x: Array, scale: Array, shift: Array | float, epsilon: float) -> Array:
    about = x - x.mean(-1, keepdims=True)
    return np.asarray(about / np.sqrt((about**2).mean(-1, keepdims=True) + epsilon) * scale + shift)


def rms(x: Array, scale: Array, epsilon: float) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale)


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))


def tanh_gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


X, SKIP, BIAS = drawn(2, 5, 24), drawn(2, 5, 24), drawn(24)
SCALE, SHIFT = drawn(24), drawn(24)
IMAGE, KERNEL, EACH, REST = drawn(2, 3, 9, 8), drawn(4, 3, 1, 1), drawn(4), drawn(2, 4, 9, 8)
A, B, C = drawn(5, 7), drawn(7, 4), drawn(4)
LEFT, RIGHT = drawn(2, 3, 5, 7), drawn(2, 3, 7, 4)
FIRST = LEFT.transpose(2, 0, 1, 3).copy(), RIGHT.transpose(3, 0, 1, 2).copy()
I64 = wide(x=X, skip=SKIP, bias=BIAS, scale=SCALE, shift=SHIFT)
CONV = np.einsum("bchw,oc->bohw", IMAGE.astype(float), KERNEL[..., 0, 0].astype(float)) + EACH[:, None, None]
SUM = I64["x"] + I64["skip"]

Case = tuple[str, dict[str, Array], dict[str, Array], str, Array, dict[str, Any]]

CASES: dict[str, Case] = {
    "conv relu": ("FusedConv", {"x": IMAGE}, {"w": KERNEL, "b": EACH}, "x w b", np.maximum(CONV, 0),
                  {"activation": "Relu"}),
    "conv clip": ("FusedConv", {"x": IMAGE}, {"w": KERNEL, "b": EACH}, "x w b", CONV.clip(-0.5, 1.25),
                  {"activation": "Clip", "activation_params": [-0.5, 1.25]}),
    "conv leaky": ("FusedConv", {"x": IMAGE}, {"w": KERNEL, "b": EACH}, "x w b",
                   np.where(CONV < 0, np.float32(0.1) * CONV, CONV),
                   {"activation": "LeakyRelu", "activation_params": [0.1]}),
    "conv hard": ("FusedConv", {"x": IMAGE}, {"w": KERNEL, "b": EACH}, "x w b", (CONV * 0.25 + 0.5).clip(0, 1),
                  {"activation": "HardSigmoid", "activation_params": [0.25, 0.5]}),
    "conv and rest": ("FusedConv", {"x": IMAGE, "z": REST}, {"w": KERNEL, "b": EACH}, "x w b z",
                      np.maximum(CONV + REST, 0), {"activation": "Relu"}),
    "gemm": ("FusedGemm", {"a": A}, {"b": B.T.copy(), "c": C}, "a b c", np.tanh(A.astype(float) @ B + C),
             {"activation": "Tanh", "transB": 1}),
    "gemm leaky": ("FusedGemm", {"a": A}, {"b": B}, "a b",
                   np.where(A.astype(float) @ B < 0, 0.5 * (A.astype(float) @ B), A.astype(float) @ B),
                   {"activation": "LeakyRelu", "activation_alpha": 0.5}),
    "matmul": ("FusedMatMul", {"a": LEFT, "b": RIGHT}, {}, "a b", 0.5 * (LEFT.astype(float) @ RIGHT),
               {"alpha": 0.5}),
    "matmul turned": ("FusedMatMul", {"a": LEFT.swapaxes(-1, -2).copy(), "b": RIGHT.swapaxes(-1, -2).copy()}, {}, "a b",
                      LEFT.astype(float) @ RIGHT, {"transA": 1, "transB": 1}),
    "matmul rows first": ("FusedMatMul", {"a": FIRST[0], "b": FIRST[1]}, {}, "a b",
                          LEFT.astype(float) @ RIGHT, {"transBatchA": 1, "transBatchB": 1, "transB": 1}),
    "gelu": ("Gelu", {"x": X}, {}, "x", gelu(I64["x"]), {}),
    "bias gelu": ("BiasGelu", {"x": X}, {"b": BIAS}, "x b", gelu(I64["x"] + BIAS), {}),
    "fast gelu": ("FastGelu", {"x": X}, {}, "x", tanh_gelu(I64["x"]), {}),
    "fast gelu of bias": ("FastGelu", {"x": X}, {"b": BIAS}, "x b", tanh_gelu(I64["x"] + BIAS), {}),
    "quick gelu": ("QuickGelu", {"x": X}, {}, "x", I64["x"] / (1 + np.exp(-1.702 * I64["x"])), {}),
    "swish": ("QuickGelu", {"x": X}, {}, "x", I64["x"] / (1 + np.exp(-I64["x"])), {"alpha": 1.0}),
    "skip": ("SkipLayerNormalization", {"x": X, "skip": SKIP}, {"g": SCALE, "b": SHIFT}, "x skip g b",
             normal(SUM, SCALE, SHIFT, 1e-3), {"epsilon": 1e-3}),
    "skip of bias": ("SkipLayerNormalization", {"x": X, "skip": SKIP}, {"g": SCALE, "t": BIAS}, "x skip g - t",
                     normal(SUM + BIAS, SCALE, 0, 1e-12), {}),
    "skip one": ("SkipLayerNormalization", {"x": X, "skip": SKIP[:1].copy()}, {"g": SCALE, "b": SHIFT}, "x skip g b",
                 normal(I64["x"] + SKIP[:1], SCALE, SHIFT, 1e-12), {}),
    "skip rms": ("SkipSimplifiedLayerNormalization", {"x": X, "skip": SKIP}, {"g": SCALE, "t": BIAS}, "x skip g t",
                 rms(SUM + BIAS, SCALE, 1e-5), {"epsilon": 1e-5}),
}  # fmt: skip


def run(made: bytes, inputs: Mapping[str, Array]) -> list[Array]:
    found = convmat.load(made)(inputs)
    return list(found.values()) if isinstance(found, dict) else [found]


@pytest.mark.parametrize("name", CASES)
def test_by_values(name: str) -> None:
    op, inputs, constants, names, wanted, attributes = CASES[name]
    found = run(model(op, inputs, constants, names, **attributes), inputs)[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.outside
@pytest.mark.parametrize("name", CASES)
def test_as_onnxruntime_has_it(name: str) -> None:
    op, inputs, constants, names, _, attributes = CASES[name]
    made = model(op, inputs, constants, names, **attributes)
    wanted = by_onnxruntime(made, inputs)[0]
    np.testing.assert_allclose(run(made, inputs)[0], wanted, rtol=2e-5, atol=2e-5)


def test_the_sum_is_given_too() -> None:
    known = {"g": SCALE, "b": SHIFT, "t": BIAS}
    proto = onnx.load_from_string(
        model("SkipLayerNormalization", {"x": X, "skip": SKIP}, known, "x skip g b t", "y s")
    )
    proto.graph.node[0].output[:] = ["y", "", "", "s"]
    made = proto.SerializeToString()
    y, total = run(made, {"x": X, "skip": SKIP})
    np.testing.assert_allclose(total, SUM + BIAS, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y, normal(SUM + BIAS, SCALE, SHIFT, 1e-12), rtol=2e-5, atol=2e-5)


def test_numbers_have_their_input_s_type() -> None:
    x = X.astype(np.float64)
    y = run(model("QuickGelu", {"x": x}, {}, "x"), {"x": x})[0]
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, x / (1 + np.exp(-np.float64(np.float32(1.702)) * x)), rtol=1e-12)


# -- transformers ------------------------------------------------------------------------------------------------------

HEADS, WORDS = 3, drawn(24, 72) / 5
GIVEN = drawn(72)


def attention(x: Array, seen: Array | None, causal: bool = False, added: Array | float = 0) -> Array:
    """(B, S, 24) by heads; `seen`: (B, T) of bool."""
    q, k, v = np.split(x.astype(float) @ WORDS + GIVEN, 3, axis=-1)
    parts = [part.reshape(*x.shape[:2], HEADS, 8).swapaxes(1, 2) for part in (q, k, v)]
    scores = parts[0] @ parts[1].swapaxes(-1, -2) / math.sqrt(8) + added
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -1e30)
    if seen is not None:
        scores = scores + np.where(seen[:, None, None], 0, -10000.0)
    made = softmax(scores, -1) @ parts[2]
    return np.asarray(made.swapaxes(1, 2).reshape(x.shape))


MASKS: dict[str, tuple[Array, Array]] = {
    "lengths": (np.array([4, 2], np.int32), np.arange(5) < np.array([[4], [2]])),
    "each": (
        np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], np.int32),
        np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]]) > 0,
    ),
}


@pytest.mark.parametrize("mask", ["none", *MASKS])
@pytest.mark.parametrize("causal", [False, True])
def test_attention(mask: str, causal: bool) -> None:
    inputs: dict[str, Array] = {"x": X}
    seen = None
    if mask != "none":
        inputs["m"], seen = MASKS[mask]
    names = "x w b m" if mask != "none" else "x w b"
    made = model(
        "Attention", inputs, {"w": WORDS, "b": GIVEN}, names, num_heads=HEADS, unidirectional=int(causal)
    )
    np.testing.assert_allclose(run(made, inputs)[0], attention(X, seen, causal), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("T", [1, 2, 5])
def test_attention_to_what_is_added(T: int) -> None:
    x, added = X[:, :T].copy(), drawn(2, HEADS, T, T)
    made = model("Attention", {"x": x, "t": added}, {"w": WORDS, "b": GIVEN}, "x w b - - t", num_heads=HEADS)
    np.testing.assert_allclose(
        run(made, {"x": x, "t": added})[0], attention(x, None, added=added), rtol=1e-4, atol=1e-5
    )


SHAPED: dict[str, tuple[Array, Array]] = {
    "ends and begins": (
        np.array([2, 1, 1, 0], np.int32),
        np.array([[[False, True]], [[True, False]]]),
    ),
    "each of each": (
        np.array([[[1, 0], [1, 1]], [[0, 1], [1, 0]]], np.int32),
        np.array([[[1, 0], [1, 1]], [[0, 1], [1, 0]]]) > 0,
    ),
}


@pytest.mark.parametrize("mask", SHAPED)
@pytest.mark.parametrize("opset", [17, 18])
def test_attention_by_masks_of_other_shapes(mask: str, opset: int) -> None:
    """As many numbers as (B, T) has for T = 2 are ends and begins all the same."""
    inputs = {"x": X[:, :2].copy(), "m": SHAPED[mask][0]}
    made = model("Attention", inputs, {"w": WORDS, "b": GIVEN}, "x w b m", "y", opset, num_heads=HEADS)
    hidden = np.where(SHAPED[mask][1][:, None], 0, -10000.0)
    wanted = attention(inputs["x"], None, added=hidden)
    np.testing.assert_allclose(run(made, inputs)[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (2, 1, 4, 4)])
def test_masks_of_attention_that_are_refused(shape: tuple[int, ...]) -> None:
    """Sums of lengths, of which there are as many as (B, T) has numbers for T = 4; and maps."""
    inputs = {"x": X[:, :4].copy(), "m": np.ones(shape, np.int32)}
    made = model("Attention", inputs, {"w": WORDS, "b": GIVEN}, "x w b m", num_heads=HEADS)
    with pytest.raises(NetworkError, match="extents from 0 on"):
        run(made, inputs)


@pytest.mark.outside
@pytest.mark.parametrize("mask", MASKS)
def test_attention_as_onnxruntime_has_it(mask: str) -> None:
    inputs = {"x": X, "m": MASKS[mask][0]}
    made = model("Attention", inputs, {"w": WORDS, "b": GIVEN}, "x w b m", num_heads=HEADS)
    np.testing.assert_allclose(run(made, inputs)[0], by_onnxruntime(made, inputs)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", [False, True])
def test_embeddings(parts: bool) -> None:
    ids, kinds = (
        RANDOM.integers(0, 11, (2, 5)).astype(np.int32),
        RANDOM.integers(0, 2, (2, 5)).astype(np.int32),
    )
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    words, places, segments = drawn(11, 24), drawn(9, 24), drawn(2, 24)
    known = {"w": words, "p": places, "g": SCALE, "b": SHIFT} | ({"s": segments} if parts else {})
    inputs = {"i": ids, "m": mask} | ({"k": kinds} if parts else {})
    names = "i k w p s g b m" if parts else "i - w p - g b m"
    y, count, total = run(
        model("EmbedLayerNormalization", inputs, known, names, "y c t", epsilon=1e-6), inputs
    )
    wanted = words[ids].astype(float) + places[:5] + (segments[kinds] if parts else 0)
    np.testing.assert_allclose(total, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, normal(wanted, SCALE, SHIFT, 1e-6), rtol=2e-5, atol=2e-5)
    assert count.dtype == np.int32
    assert count.tolist() == [3, 5]


# -- in the standard's domain ------------------------------------------------------------------------------------------


def before(
    op: str, version: int, constants: dict[str, Array], names: str, outputs: str = "y", **attributes: Any
) -> bytes:
    made = onnx.load_from_string(model(op, {"x": X}, constants, names, outputs, version, **attributes))
    made.graph.node[0].domain = ""
    return bytes(made.SerializeToString())


def test_normalisations_before_the_standard_had_them() -> None:
    made = before("LayerNormalization", 14, {"g": SCALE, "b": SHIFT}, "x g b", axis=-1, epsilon=1e-5)
    np.testing.assert_allclose(
        run(made, {"x": X})[0], normal(I64["x"], SCALE, SHIFT, 1e-5), rtol=2e-5, atol=2e-5
    )
    made = before(
        "SimplifiedLayerNormalization", 17, {"g": SCALE}, "x g", axis=-1, epsilon=1e-5, stash_type=1
    )
    np.testing.assert_allclose(run(made, {"x": X})[0], rms(I64["x"], SCALE, 1e-5), rtol=2e-5, atol=2e-5)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "names", "outputs", "attributes", "said"),
    [
        ("FusedConv", "x w", "y", {"activation": "Gelu"}, "ends with 'Gelu' and 0 numbers"),
        (
            "FusedConv",
            "x w",
            "y",
            {"activation": "Clip", "activation_params": [1.0]},
            "ends with 'Clip' and 1 numbers",
        ),
        ("Attention", "x w", "y", {}, "or no heads"),
        ("Attention", "x w", "y", {"num_heads": 5}, "columns for q, k and v"),
        ("Attention", "x w", "y past", {"num_heads": 3}, "has a past, a present or rotates"),
        ("SkipSimplifiedLayerNormalization", "x x w", "y m", {}, "gives its mean or deviation too"),
    ],
)
def test_what_does_not_fit_is_said(
    op: str, names: str, outputs: str, attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(NetworkError) as error:
        convmat.load(model(op, {"x": X}, {"w": WORDS}, names, outputs, **attributes))
    assert said in str(error.value)


def test_they_are_written_as_the_standard_s_nodes(tmp_path: Any) -> None:
    op, inputs, constants, names, _, attributes = CASES["skip"]
    net = convmat.load(model(op, inputs, constants, names, **attributes))
    net.to_onnx(tmp_path / "plain.onnx")
    assert {each.domain for each in onnx.load(tmp_path / "plain.onnx").graph.node} == {""}
    np.testing.assert_array_equal(convmat.load(tmp_path / "plain.onnx")(inputs), net(inputs))
