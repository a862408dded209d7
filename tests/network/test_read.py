"""What is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import convmat
from tests.network.made import model, node, normal


def refusal(source: bytes | str | Path) -> str:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(source)
    return str(error.value)


def test_what_is_no_model() -> None:
    assert refusal(b"not a model") == (
        "load: the model is not an ONNX model\n  11 bytes, no graph in them\n"
        "  give a .onnx file, as torch.onnx.export and others write it"
    )


def test_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    assert (
        refusal(path)
        == f"load: {path} cannot be read\n  No such file or directory\n  give the path of a .onnx file"
    )


def test_all_unknown_operators_are_named_at_once() -> None:
    nodes = [
        node("Relu", "x", "a"),
        node("Fold", "a", "b"),
        node("Fold", "b", "c"),
        helper.make_node("Glue", ["c"], ["y"], domain="my"),
    ]
    assert refusal(model(nodes, {"x": (1,)}, "y")) == (
        "load: the model: some of its operators are not known\n  Fold (2 nodes), my.Glue (1 node)\n"
        "  those of the ONNX standard are; export the model without the others"
    )


def test_a_cycle() -> None:
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b")]
    assert refusal(model(nodes, {"x": (1,)}, "b")) == (
        "load: the model: its nodes wait for each other\n  Add 'Add_a' <- Relu 'Relu_b' <- Add 'Add_a'"
    )


def test_nodes_in_any_order() -> None:
    net = convmat.load(model([node("Relu", "a", "y"), node("Sub", "x x", "a")], {"x": (2,)}, "y"))
    assert net(np.ones(2, np.float32)).tolist() == [0, 0]


def test_a_value_that_nothing_computes() -> None:
    assert refusal(model([node("Add", "x z", "y")], {"x": (1,)}, "y")) == (
        "load: the model: Add 'Add_y' reads 'z', which nothing computes\n  it is no input, constant or output of a node"
    )


def test_a_tensor_shorter_than_its_shape() -> None:
    wrong = onnx.load_from_string(model([node("Add", "x w", "y")], {"x": (3,)}, "y", {"w": normal(3)}))
    wrong.graph.initializer[0].dims[0] = 400
    assert refusal(wrong.SerializeToString()).startswith(
        "load: the model: the initializer 'w' does not hold what its shape says\n  [400] float32: "
    )


def external(tmp_path: Path, **about: object) -> Path:
    made = onnx.load_from_string(model([node("Add", "x w", "y")], {"x": (3,)}, "y", {"w": normal(3)}))
    tensor = made.graph.initializer[0]
    (tmp_path / "w.bin").write_bytes(b"...." + numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "offset": 4, "length": 12} | about).items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    path = tmp_path / "inner" / "model.onnx" if "inner" in about else tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_external_data(tmp_path: Path) -> None:
    assert np.array_equal(convmat.load(external(tmp_path))(np.zeros(3, np.float32)), normal(3))


def test_external_data_shorter_than_said(tmp_path: Path) -> None:
    assert refusal(external(tmp_path, offset=8)) == (
        "load: model.onnx: the initializer 'w' does not fit its file\n"
        "  [3] float32 take 12 bytes; offset 8, length 12, the file has 16"
    )


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "", "link.bin", "."])
def test_external_data_stays_in_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"x" * 64)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert refusal(external(folder, location=location)) == (
        "load: model.onnx: the file with the data of the initializer 'w' is not in the model's folder\n"
        f"  location {location!r}\n  put it beside the model"
    )


def test_external_data_in_a_subgraph_is_not_read(tmp_path: Path) -> None:
    """What runs by the reference would read any file."""
    tensor = numpy_helper.from_array(normal(3), "secret")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    inner = helper.make_graph(
        [node("Identity", "secret", "z")], "inner", [], [helper.make_empty_tensor_value_info("z")], [tensor]
    )
    nodes = [node("If", "flag", "y", then_branch=inner, else_branch=inner)]
    made = model(nodes, {"x": (1,)}, "y", {"flag": np.array(True)})
    assert refusal(made) == (
        "load: the model: If 'If_y' keeps external data in an attribute\n"
        "  only initializers and Constant nodes may\n  save it within the model"
    )
