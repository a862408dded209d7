"""Networks of half precision: in float32 inside, or as narrow as the file has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convmat
from convmat.engine.cpu import host
from convmat.network.graph import Spec

from .made import model, node, normal

X = (2, 3, 8, 8)


def narrow() -> bytes:
    """A convolution, a mean over a map, a dense layer and a cast, all float16; an output in the middle."""
    w, dense = normal(4, 3, 3, 3).astype(np.float16), normal(4, 5, seed=1).astype(np.float16)
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Sigmoid", "a", "s"),
        node("Mul", "a s", "b"),
        node("GlobalAveragePool", "b", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("MatMul", "flat dense", "scores"),
        node("Cast", "scores", "wide", to=TensorProto.FLOAT),
        node("Cast", "wide", "again", to=TensorProto.FLOAT16),
        node("Add", "again one", "y"),
    ]
    kinds = {
        "y": TensorProto.FLOAT16,
        "b": TensorProto.FLOAT16,
        "wide": TensorProto.FLOAT,
        "one": TensorProto.FLOAT16,
    }
    tensors = {"w": w, "dense": dense, "one": np.ones(1, np.float16)}
    graph = helper.make_graph(
        nodes, "narrow", [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", *X[1:]])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


def truth(x: Any) -> dict[str, Any]:
    read = onnx.load_from_string(narrow())
    w, dense = (numpy_helper.to_array(t).astype(np.float64) for t in read.graph.initializer[:2])
    a = convmat.conv(x.astype(np.float64), w, padding=1)
    b = a / (1 + np.exp(-a))
    scores = b.mean((2, 3)) @ dense
    return {"y": scores + 1, "b": b, "wide": scores, "one": np.ones(1)}


def test_values_between_are_wide_and_outputs_rounded_once() -> None:
    net, x = convmat.load(narrow()), (normal(*X, seed=2)).astype(np.float16)
    found, right = net(x), truth(x)
    assert {name: y.dtype.name for name, y in found.items()} == {
        "y": "float16", "b": "float16", "wide": "float32", "one": "float16",
    }  # fmt: skip
    for name, y in found.items():
        unit = 1e-6 if name == "wide" else 2**-11
        assert np.abs(y - right[name]).max() <= 1.01 * unit * np.abs(right[name]).max(), name
    inside = net.program({"x": Spec(X, x.dtype)})
    types = {inside.specs[name].dtype.name for n in inside.graph.nodes[1:-2] for name in n.outputs if name}
    assert types <= {"float32", "float16"}
    assert inside.specs["flat"].dtype == np.float32
    assert all(array.dtype == np.float16 for array in net.graph.constants.values())


@pytest.mark.parametrize("op", ["Gather", "ScatterND", "Mul"])
def test_a_constant_that_is_an_output_too(op: str) -> None:
    """Nodes read it in float32, and the outside in its own type; by kernels, since something is large."""
    table = normal(9, 5).astype(np.float16)
    nodes = {
        "Gather": node("Gather", "t i", "y"),
        "ScatterND": node("ScatterND", "t j rows", "y"),
        "Mul": node("Mul", "t rows", "y"),
    }
    whole = model(
        [node("Neg", "table", "t"), nodes[op], node("Neg", "large", "z")],
        {"large": (70, 70), "i": (3,), "j": (1, 1), "rows": (1, 5)}, "t y z", {"table": table},
        opset=18, dtype=TensorProto.FLOAT16, kinds={"i": TensorProto.INT64, "j": TensorProto.INT64},
    )  # fmt: skip
    rows, large = normal(1, 5, seed=1).astype(np.float16), normal(70, 70).astype(np.float16)
    given = {"large": large, "i": np.array([3, -1, 0]), "j": np.array([[4]]), "rows": rows}
    put = -table
    put[4] = rows
    right = {"Gather": -table[given["i"]], "ScatterND": put, "Mul": -table * rows}[op]
    found = convmat.load(whole)(given)
    np.testing.assert_array_equal(found["t"], -table)
    np.testing.assert_array_equal(found["y"], right)
    assert found["t"].dtype == found["y"].dtype == np.float16


def test_narrow_as_the_file_has_them() -> None:
    net, x = convmat.load(narrow(), precision="float16"), normal(*X, seed=2).astype(np.float16)
    found, right = net(x), truth(x)
    assert np.abs(found["y"] - right["y"]).max() <= 4e-3 * np.abs(right["y"]).max()
    inside = net.program({"x": Spec(X, x.dtype)})
    assert inside.specs["flat"].dtype == np.float16


def test_a_saved_network_keeps_its_precision(tmp_path: Path) -> None:
    x = normal(*X, seed=2).astype(np.float16)
    for precision in ("float32", "float16"):
        net = convmat.load(narrow(), precision=precision)
        net.save(tmp_path / "narrow.convmat", {"x": X})
        again = convmat.load(tmp_path / "narrow.convmat", trust=True)
        assert again.options.precision == precision
        np.testing.assert_array_equal(again(x)["y"], net(x)["y"])


def test_a_branch_keeps_its_types() -> None:
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float16[n] x, bool which) => (float16[m] y) {
        a = Add(x, x)
        y = If(which) <then_branch = t () => (float16[k] p) { p = Mul(a, a) },
                       else_branch = e () => (float16[k] q) { q = Concat<axis = 0>(a, a) }>
    }
    """
    net, x = convmat.load(onnx.parser.parse_model(text)), np.array([1, 2], np.float16)
    assert net({"x": x, "which": np.array(True)}).tolist() == [4, 16]
    assert net({"x": x, "which": np.array(False)}).tolist() == [2, 4, 2, 4]


def test_a_precision_that_means_nothing() -> None:
    with pytest.raises(convmat.PlanError) as error:
        convmat.load(narrow(), precision="int8")
    assert str(error.value) == (
        "load: precision must be one of float32, float16, bfloat16\n  precision = 'int8'\n  e.g. precision=\"float32\""
    )


def wide_network() -> bytes:
    """Two layers of 1x1 filters with a ReLU between, float32."""
    w, v = (normal(256, 256, 1, 1, seed=seed).astype(np.float32) / 16 for seed in (1, 2))
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Conv", "b v", "y")]
    graph = helper.make_graph(
        nodes, "wide", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 256, 14, 14))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(v, "v")],
    )  # fmt: skip
    made: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return made


def test_products_may_round_what_they_multiply(tmp_path: Path) -> None:
    x = normal(1, 256, 14, 14).astype(np.float32)
    exact = convmat.load(wide_network(), exact=True)(x)
    net = convmat.load(wide_network(), precision="bfloat16")
    y = net(x)
    rounds = any("bfloat16" in str(layer.way) for layer in net.summary().layers)  # where that is quicker
    assert host().bf16 or not rounds
    apart = float(np.linalg.norm(y - exact) / np.linalg.norm(exact))
    assert y.dtype == np.float32
    assert (1e-4 < apart < 1e-2) == rounds
    net.save(tmp_path / "kept.convmat")
    np.testing.assert_array_equal(convmat.load(tmp_path / "kept.convmat", trust=True)(x), y)


@pytest.mark.parametrize("keyword", ["exact", "deterministic"])
def test_what_forbids_rounding_is_told(keyword: str) -> None:
    asked: dict[str, Any] = {keyword: True}
    with pytest.raises(convmat.PlanError) as error:
        convmat.load(wide_network(), precision="bfloat16", **asked)
    assert str(error.value) == (
        f"load: precision='bfloat16' rounds what products multiply, {keyword}=True admits no such product\n"
        f"  omit {keyword}=, or use precision='float32'"
    )
    convmat.load(wide_network(), precision="bfloat16")
    convmat.load(wide_network(), **asked)
