"""What is said of graphs and tensors that no file can hold, or that a file should not; and that the fix works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat import NetworkError, nn
from convmat.network.files.encode import FileWriter
from convmat.network.files.to_onnx import to_model
from convmat.network.graph import Graph, Input, Node

from .made import model, node, normal


def said(act: Callable[[], Any]) -> str:
    with pytest.raises(NetworkError) as error:
        act()
    return str(error.value)


def parsed(*parts: Any) -> onnx.ModelProto:
    return onnx.load_model_from_string(model(*parts))


def relu() -> convmat.Network:
    return convmat.load(model([node("Relu", "x", "y")], {"x": (2,)}, "y"))


# -- tensors of a model ------------------------------------------------------------------------------------------------


def test_a_negative_extent() -> None:
    made = parsed([node("Add", "x w", "y")], {"x": (2,)}, "y", {"w": normal(2)})
    made.graph.initializer[0].dims[0] = -2
    assert said(lambda: convmat.load(made)) == (
        "load: the model: the initializer 'w' has a negative extent\n  [-2]"
    )


def test_external_data_of_bytes(tmp_path: Any) -> None:
    made = parsed([node("Add", "x w", "y")], {"x": (2,)}, "y", {"w": normal(2)})
    path = str(tmp_path / "net.onnx")
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    bare = onnx.load(path, load_external_data=False)
    assert said(lambda: convmat.load(bare)) == (
        "load: the model: the initializer 'w' is external data, and the model was given as bytes\n"
        "  load it from its file"
    )
    np.testing.assert_array_equal(convmat.load(path)(np.zeros(2, np.float32)), normal(2))
    bare.graph.initializer[0].external_data.append(onnx.StringStringEntryProto(key="offset", value="far"))
    onnx.save(bare, path)
    assert said(lambda: convmat.load(path)) == (
        "load: net.onnx: the initializer 'w' has an offset or length that is no number\n"
        "  {'location': 'w.bin', 'offset': 'far', 'length': '8'}"
    )


# -- networks written as ONNX ------------------------------------------------------------------------------------------


def test_nodes_of_several_operator_sets() -> None:
    net = relu()
    nodes = (replace(net.graph.nodes[0], outputs=("a",)), Node("Abs", ("a",), ("y",), {}, "", 6))
    version = net.graph.nodes[0].version
    assert said(lambda: _write(replace(net.graph, nodes=nodes))) == (
        f"to_onnx: the network's nodes are of several operator sets\n  {{'': [6, {version}]}}\n"
        "  a file has one of each domain: convert the file that it came from first"
    )
    _write(replace(net.graph, nodes=(nodes[0], replace(nodes[1], version=version))))


def _write(graph: Graph) -> onnx.ModelProto:
    made: onnx.ModelProto = to_model(graph)
    return made


def test_inputs_that_are_no_tensors_and_models_that_onnx_refuses() -> None:
    net = relu()
    sequence = Input("x", np.dtype(np.float32), (2,), "sequence")
    assert said(lambda: _write(replace(net.graph, inputs=(sequence,)))) == (
        "to_onnx: the input 'x' is no tensor\n  it is a sequence"
    )
    wrong = replace(net.graph, nodes=(replace(net.graph.nodes[0], attributes={"alpha": 1.0}),))
    assert said(lambda: _write(wrong)).startswith(
        "to_onnx: onnx refuses the model\n  Unrecognized attribute: alpha for operator Relu"
    )


# -- other files -------------------------------------------------------------------------------------------------------


def test_two_parameters_of_one_name() -> None:
    def twice(builder: nn.Builder, x: str) -> str:
        return builder.op("Add", x, builder.parameter("w", np.ones(3)), builder.parameter("w", np.ones(3)))

    assert said(lambda: nn.build(twice, (3,))) == (
        "build: two parameters have one name\n  w\n  put each layer into a Sequential, under its own name"
    )
    net = nn.build(nn.Sequential(nn.Linear(3), nn.Linear(3)), (3,))
    assert {"0.weight", "1.weight"} <= set(net.graph.constants)


def test_a_network_without_a_file_is_compared_with_none() -> None:
    net = nn.build(nn.Relu(), (3,))
    given = {"x": np.ones((1, 3), np.float32)}
    assert said(lambda: net.compare(given)) == (
        "compare: the network was not loaded from an ONNX file\n  onnxruntime needs one\n"
        "  load it with convmat.load('model.onnx')"
    )


def test_receptive_fields_need_a_rank() -> None:
    made = parsed([node("Relu", "x", "y")], {"x": (2,)}, "y")
    made.graph.input[0].type.tensor_type.ClearField("shape")
    net = convmat.load(made)
    assert said(net.receptive_field) == (
        "receptive_field: the rank of input 'x' is not declared\n  x: float32 any shape\n"
        "  say it: net.with_shapes(x=(1, 3, 512, 512))"
    )
    assert net.with_shapes(x=(1, 3, 512, 512)).receptive_field() is not None


def test_training_wants_one_input_and_one_output() -> None:
    made = model([node("Add", "x z", "y")], {"x": (1, 2), "z": (1, 2)}, "y")
    net = convmat.load(made)
    assert said(net.trainer) == (
        "train: one input and one output are trained\n  inputs ['x', 'z'], outputs ['y']\n"
        "  make a network of the part that is to be trained"
    )


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.array([b"a", 1], object), "it holds others than numbers and texts"),
        (np.array(["2026-01-01"], "M8[D]"), "its element type is datetime64[D]"),
    ],
)
def test_constants_that_are_not_saved(value: Any, why: str, tmp_path: Any) -> None:
    net = relu()
    made = replace(net.graph, constants={"w": value})
    assert said(lambda: FileWriter().graph(made)) == f"save: the constant 'w' cannot be saved\n  {why}"
    FileWriter().graph(replace(made, constants={"w": np.array(["a", "1"], object)}))
