"""Operators of `ai.onnx.ml`: values worked by hand, onnxruntime's, and a network that has them around a convolution."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import convmat
from convmat.network.graph import Node
from convmat.network.ops import OPERATORS

from .cases import Array
from .made import normal
from .runtime import outside, run, said

X = np.array([[1, 2, -3], [0, np.nan, 4]], np.float32)
TEXTS = np.array([["a", "c"], ["b", "?"]], object)


def made(op: str, version: int = 3, outputs: Any = ("y",), **attributes: Any) -> Node:
    """A node called 'here'."""
    return Node(op, (), outputs, attributes, "here", version, "ai.onnx.ml")


def agrees(node: Node, *arrays: Array, rtol: float = 1e-6) -> list[Array]:
    """What a node gives, once onnxruntime has given the same."""
    found, theirs = run(node, *arrays), outside(node, *arrays)
    assert theirs is not None
    for a, b in zip(found, theirs, strict=True):
        assert (a.shape, a.dtype.kind) == (b.shape, b.dtype.kind)
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
        else:
            assert a.tolist() == b.tolist()
    return found


def test_scaling() -> None:
    node = made("Scaler", offset=(1.0, 2.0, 3.0), scale=(0.5, 1.0, 2.0))
    np.testing.assert_array_equal(agrees(node, X)[0], np.array([[0, 0, -12], [-0.5, np.nan, 2]], np.float32))
    agrees(made("Scaler", offset=(1.0,), scale=(0.5,)), X.astype(np.float64))
    whole = agrees(node, np.array([[2**24 + 1, 2, 3]], np.int64))[0]
    assert whole.tolist() == [[2**23, 0, 0]]
    assert said(made("Scaler", offset=(1.0, 2.0)), X) == (
        "  its offset has 2 numbers, and x has 3 features\n  1 or 3 are needed"
    )


def test_what_is_missing_is_imputed() -> None:
    node = made("Imputer", imputed_value_floats=(7.0, 8.0, 9.0), replaced_value_float=math.nan)
    assert agrees(node, X)[0].tolist() == [[1, 2, -3], [0, 8, 4]]
    whole = made("Imputer", imputed_value_int64s=(5,), replaced_value_int64=-1)
    assert agrees(whole, np.array([[-1, 2], [3, -1]], np.int64))[0].tolist() == [[5, 2], [3, 5]]
    assert said(whole, X) == (
        "  it says no imputed_value_floats\n  its input is float32: a number for each feature, or one for all"
    )
    assert said(made("Imputer", imputed_value_floats=(7.0, 8.0)), X) == (
        "  its imputed_value_floats has 2 numbers, and x has 3 features\n  1 or 3 are needed"
    )


def test_thresholds_and_norms() -> None:
    assert agrees(made("Binarizer", threshold=1.0), np.nan_to_num(X))[0].tolist() == [[0, 1, 0], [0, 0, 1]]
    x = np.array([[-3, -1], [0, 0], [2, -4]], np.float32)
    wanted: Any
    for norm, wanted in (
        ("MAX", [[3, 1], [0, 0], [1, -2]]),
        ("L1", [[-0.75, -0.25], [0, 0], [1 / 3, -2 / 3]]),
        ("L2", (x / np.array([[10**0.5], [1], [20**0.5]])).tolist()),
    ):
        np.testing.assert_allclose(agrees(made("Normalizer", norm=norm), x)[0], wanted, rtol=1e-6)
    assert said(made("Normalizer", norm="L3"), x) == "  its norm is 'L3'\n  one of MAX, L1, L2 is needed"


def test_features_are_extracted_and_joined() -> None:
    assert agrees(made("ArrayFeatureExtractor"), X, np.array([2, 0]))[0].tolist() == [[-3, 1], [4, 0]]
    assert agrees(made("ArrayFeatureExtractor"), X[0], np.array([[1]]))[0].tolist() == [[2]]
    assert run(made("ArrayFeatureExtractor"), TEXTS, np.array([1]))[0].tolist() == [["c"], ["?"]]
    assert said(made("ArrayFeatureExtractor"), X, np.array([3])) == (
        "  it asks for features [3]\n  its input is float32[2,3]"
    )
    node = made("FeatureVectorizer", inputdimensions=(2, 4))
    assert agrees(node, X[:, ::2], X[:, ::2])[0].tolist() == [[1, -3, 1, -3, 0, 0], [0, 4, 0, 4, 0, 0]]
    assert agrees(made("FeatureVectorizer", inputdimensions=(1,)), X[:, ::2])[0].tolist() == [[1], [0]]
    assert run(made("FeatureVectorizer"), X[:1], np.array([[5]]))[0].tolist() == [[1, 2, -3, 5]]
    assert said(node, X) == "  its inputdimensions are (2, 4)\n  a size for each of its 1 inputs is needed"
    assert (
        said(made("FeatureVectorizer"), X, X[:1]) == "  its inputs have 1, 2 rows\n  as many each are needed"
    )


@pytest.mark.parametrize("version", [1, 2, 4])
def test_labels(version: int) -> None:
    if version == 1:
        node = made("LabelEncoder", 1, classes_strings=("a", "b", "c"), default_int64=9)
        assert run(node, TEXTS)[0].tolist() == [[0, 2], [1, 9]]
        assert run(node, np.array([2, 5]))[0].tolist() == ["c", "_Unused"]
        return
    node = made("LabelEncoder", version, keys_strings=("a", "b"), values_int64s=(4, 5), default_int64=9)
    assert agrees(node, TEXTS)[0].tolist() == [[4, 9], [5, 9]]
    back = made("LabelEncoder", version, keys_int64s=(4, 5), values_strings=("a", "b"))
    assert agrees(back, np.array([5, 6]))[0].tolist() == ["b", "_Unused"]
    real = made(
        "LabelEncoder", version, keys_floats=(0.5, math.nan), values_floats=(1.5, 2.5), default_float=-1.0
    )
    x = np.array([0.5, np.nan, 3], np.float32)
    assert run(real, x)[0].tolist() == [1.5, 2.5, -1]
    if version == 4:  # onnxruntime finds no NaN before
        agrees(real, x)
    uneven = made("LabelEncoder", version, keys_int64s=(4, 5), values_int64s=(1,))
    assert said(uneven, np.array([4])) == "  it has 2 keys and 1 values\n  a value for each key is needed"
    assert said(made("LabelEncoder", version, keys_int64s=(4,)), np.array([4])) == (
        "  it has no values\n  values_strings, values_int64s or values_floats is needed"
    )


def test_labels_in_tensors() -> None:
    node = made(
        "LabelEncoder", 4, keys_tensor=np.array([0.1, 0.2]), values_tensor=np.array([3, 4], np.int16),
        default_tensor=np.array([7], np.int16),
    )  # fmt: skip
    (y,) = run(node, np.array([0.2, 0.1, 0.3]))
    assert (y.dtype.name, y.tolist()) == ("int16", [4, 3, 7])


def test_categories() -> None:
    node = made("CategoryMapper", 1, cats_strings=("a", "b"), cats_int64s=(10, 20), default_int64=-5)
    assert agrees(node, TEXTS)[0].tolist() == [[10, -5], [20, -5]]
    assert agrees(node, np.array([20, 30]))[0].tolist() == ["b", "_Unused"]
    hot = made("OneHotEncoder", 1, cats_strings=("a", "b"))
    assert agrees(hot, TEXTS)[0].tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]
    whole = made("OneHotEncoder", 1, cats_int64s=(1, 3), zeros=0)
    assert agrees(whole, np.array([3, 1], np.int64))[0].tolist() == [[0, 1], [1, 0]]
    assert said(whole, np.array([3, 2])) == "  2 is none of its 2 categories\n  with zeros=1 all are 0 there"
    assert run(made("OneHotEncoder", 1, cats_int64s=(1, 3), zeros=1), np.array([3, 2]))[0].tolist() == [
        [0, 1],
        [0, 0],
    ]


WAYS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")


@pytest.mark.parametrize("way", WAYS)
def test_linear_models(way: str) -> None:
    x, w, b = normal(5, 3), normal(4, 3), normal(4)
    about = {
        "coefficients": tuple(w.reshape(-1).tolist()),
        "intercepts": tuple(b.tolist()),
        "post_transform": way,
    }
    agrees(made("LinearRegressor", 1, targets=4, **about), x)
    labels = made("LinearClassifier", 1, ("y", "z"), classlabels_strings=("a", "b", "c", "d"), **about)
    y, z = agrees(labels, x)
    assert y.tolist() == ["abcd"[i] for i in (x @ w.T + b).argmax(1)]
    if way == "SOFTMAX":
        np.testing.assert_allclose(z.sum(1), 1, rtol=1e-6)
    two: dict[str, Any] = {
        "coefficients": about["coefficients"][:3],
        "intercepts": (0.1,),
        "post_transform": way,
    }
    agrees(made("LinearClassifier", 1, ("y", "z"), classlabels_ints=(3, 7), **two), x)


def test_probits_and_refusals_of_linear_models() -> None:
    node = made("LinearRegressor", 1, coefficients=(1.0,), post_transform="PROBIT")
    x = np.array([[0.25], [0.5], [0], [1], [2]], np.float32)
    wanted = [NormalDist().inv_cdf(0.25), 0, -np.inf, np.inf, np.nan]
    np.testing.assert_allclose(run(node, x)[0][:, 0], wanted, rtol=1e-6)
    assert said(made("LinearRegressor", 1, coefficients=(1.0,), post_transform="TANH"), x) == (
        "  its post_transform is 'TANH'\n  one of NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT is needed"
    )
    assert said(made("LinearRegressor", 1, coefficients=(1.0, 2.0)), x) == (
        "  it has 2 coefficients for 1 outputs\n  its input is float32[5,1]: 1 x 1 are needed"
    )
    assert said(made("LinearRegressor", 1, coefficients=(1.0,), intercepts=(1.0, 2.0)), x) == (
        "  it has 2 intercepts\n  one for each of its 1 outputs is needed, or none"
    )
    shared = made(
        "LinearClassifier", 1, ("y", "z"), coefficients=(1.0,), intercepts=(0.0,), post_transform="PROBIT"
    )
    assert said(shared, x) == (
        "  its post_transform is PROBIT, and one sum decides between two classes\n  give coefficients for both"
    )


def test_a_network_with_labels() -> None:
    """Scaled, convolved, classified, its scores by label: as exporters of pipelines write it."""
    x = normal(2, 3)
    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0]),
        helper.make_node("LinearClassifier", ["s"], ["label", "p"], domain="ai.onnx.ml",
                         coefficients=[1.0, 0, 0, 0, 1, 0],
                         intercepts=[0.0, 0.0], classlabels_strings=["cat", "dog"], post_transform="SOFTMAX"),
        helper.make_node("ZipMap", ["p"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "pipeline", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
         helper.make_value_info("maps", helper.make_sequence_type_proto(
             helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))))],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    net = convmat.load(helper.make_model(graph, opset_imports=opsets))
    found = net(x)
    assert found["label"].tolist() == ["cat" if a >= b else "dog" for a, b, _ in x]
    for row, (a, b, _) in zip(found["maps"], x.astype(np.float64), strict=True):
        assert [*row] == ["cat", "dog"]
        assert abs(row["dog"] - 1 / (1 + math.exp(2 * (a - b)))) < 1e-6
    node = made("ZipMap", 1, classlabels_int64s=(1, 2))
    with pytest.raises(convmat.NetworkError) as error:
        OPERATORS[node.key](node, [X])
    assert str(error.value) == (
        "load: ZipMap 'here' cannot run\n  it has 2 labels\n  a score for each is needed: (N, 2)"
    )


# -- support vectors ---------------------------------------------------------------------------------------------------

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")


def machine(classes: int, *, sure: bool, kernel: str = "RBF", **more: Any) -> Node:
    """A classifier of random vectors, one more for each class than for the one before; `sure`: with probabilities."""
    each = range(1, classes + 1)
    pairs, total = classes * (classes - 1) // 2, sum(each)
    about: dict[str, Any] = {
        "coefficients": tuple(normal((classes - 1) * total, seed=1).tolist()),
        "support_vectors": tuple(normal(total * 3, seed=2).tolist()),
        "rho": tuple(normal(pairs, seed=3).tolist()),
        "vectors_per_class": tuple(each),
        "kernel_type": kernel,
        "kernel_params": (0.3, 0.5, 2.0),
        "classlabels_ints": tuple(range(7, 7 + classes)),
    }
    if sure:
        about |= {"prob_a": tuple((-np.abs(normal(pairs, seed=4))).tolist())}
        about |= {"prob_b": tuple(normal(pairs, seed=5).tolist())}
    return made("SVMClassifier", 1, ("y", "z"), **about | more)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("sure", [False, True])
def test_support_vectors_vote_as_onnxruntime_has_it(kernel: str, classes: int, sure: bool) -> None:
    x = normal(20, 3, seed=6)
    labels, scores = agrees(machine(classes, sure=sure, kernel=kernel), x, rtol=1e-5)
    assert set(labels.tolist()) <= set(range(7, 7 + classes))
    if sure:
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)


def test_rows_taken_in_pieces_answer_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, x = machine(3, sure=True), normal(20, 3, seed=6)
    labels, scores = run(asked, x)
    monkeypatch.setattr("convmat.network.ops.support_vectors.MOST_DIFFERENCES", 40)
    again, found = run(asked, x)
    assert labels.tolist() == again.tolist()
    np.testing.assert_array_equal(scores, found)


@pytest.mark.parametrize("way", ["LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sure", [False, True])
def test_their_scores_are_transformed(way: str, classes: int, sure: bool) -> None:
    agrees(machine(classes, sure=sure, post_transform=way), normal(9, 3, seed=7), rtol=1e-5)
    texts = machine(classes, sure=sure, classlabels_ints=None, classlabels_strings=tuple("abcd"[:classes]))
    labels, _ = run(texts, normal(9, 3, seed=7))
    assert set(labels.tolist()) <= set("abcd")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("alone", [0, 1])
def test_support_vectors_add_up(kernel: str, alone: int) -> None:
    x, about = (
        normal(11, 3, seed=8),
        {"kernel_type": kernel, "kernel_params": (0.3, 0.5, 3.0), "rho": (0.25,)},
    )
    vectors, weights = normal(4, 3, seed=9), normal(4, seed=10)
    told = about | {
        "support_vectors": tuple(vectors.reshape(-1).tolist()),
        "n_supports": 4,
        "one_class": alone,
    }
    agrees(made("SVMRegressor", 1, coefficients=tuple(weights.tolist()), **told), x, rtol=1e-5)
    plain = made("SVMRegressor", 1, coefficients=tuple(weights[:3].tolist()), one_class=alone, **about)
    agrees(plain, x, rtol=1e-5)


def test_what_support_vectors_need() -> None:
    x = normal(2, 3)
    assert said(machine(3, sure=False, vectors_per_class=()), x) == (
        "  its vectors_per_class are 0 numbers, for 3 classes\n"
        "  one for each class is needed; without support vectors it is a LinearClassifier"
    )
    assert said(machine(2, sure=False, rho=(1.0, 2.0)), x) == "  its rho are 2 numbers\n  1 are needed"
    assert said(machine(2, sure=False, kernel="COSINE"), x) == (
        "  its kernel_type is 'COSINE'\n  one of LINEAR, POLY, RBF, SIGMOID is needed"
    )
    assert said(machine(2, sure=False), x[:, :2]) == (
        "  its support_vectors are 9 numbers, 3 rows of 2 are needed\n  its input is float64[2,2]"
    )
    assert said(made("SVMRegressor", 1, coefficients=(1.0,) * 3, rho=(0.0,), post_transform="PROBIT"), x) == (
        "  its post_transform is 'PROBIT'\n  only NONE is taken: runtimes do not agree on others"
    )
