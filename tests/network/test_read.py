"""What is read, and what is refused with which words."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import convmat
from convmat.network.ops import loops
from convmat.network.reading.read import read_whole
from tests.network.made import model, node, normal


def refusal(source: Any) -> str:
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


RELU = model([node("Relu", "x", "y")], {"x": (2,)}, "y")


@pytest.mark.parametrize(
    "source",
    [bytearray(RELU), memoryview(RELU), io.BytesIO(RELU), onnx.load_from_string(RELU)],
    ids=["bytearray", "memoryview", "BytesIO", "ModelProto"],
)
def test_what_else_a_network_is_loaded_from(source: Any) -> None:
    net = convmat.load(source)
    assert net(np.array([-1, 2], np.float32)).tolist() == [0, 2]


def test_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    path.write_bytes(RELU)
    with path.open("rb") as file:
        net = convmat.load(file)
    x = np.array([-1, 2], np.float32)
    assert net(x).tolist() == [0, 2]
    net.save(tmp_path / "relu.convmat")
    with (tmp_path / "relu.convmat").open("rb") as file:
        assert convmat.load(file, trust=True)(x).tolist() == [0, 2]
    assert refusal(file) == (
        "load: the open file cannot be read\n  ValueError: read of closed file\n  open it with mode 'rb'"
    )
    assert refusal(io.StringIO("text")) == (
        "load: the open file gives a str, not bytes\n  open it with mode 'rb'"
    )


FIX = "give the path of a .onnx file, its bytes, an open file or an onnx.ModelProto"


def test_what_nothing_is_loaded_from() -> None:
    assert refusal(5) == f"load: it cannot be read from an int\n  5\n  {FIX}"
    assert refusal(None) == f"load: it cannot be read from a NoneType\n  None\n  {FIX}"
    assert refusal("a\0") == f"load: no file has this name\n  'a\\x00'\n  {FIX}"
    assert refusal(onnx.ModelProto()).startswith("load: the model is not an ONNX model\n  0 bytes")


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


@pytest.mark.parametrize(
    ("extents", "data", "said"),
    [
        ([1] * 100, bytes(4), "has too many axes\n  100, at most 32 are read"),
        ([0, 2**62], b"", f"says it is larger than its file\n  {[0, 2**62]} elements"),
        ([2**62] * 300_000, b"", "has too many axes\n  300,000, at most 32 are read"),
    ],
    ids=["axes", "nothing", "product"],
)
def test_shapes_that_no_array_has(extents: list[int], data: bytes, said: str) -> None:
    wrong = onnx.load_from_string(model([node("Add", "x w", "y")], {"x": (3,)}, "y", {"w": normal(3)}))
    wrong.graph.initializer[0].dims[:] = extents
    wrong.graph.initializer[0].raw_data = data
    assert refusal(wrong.SerializeToString()) == f"load: the model: the initializer 'w' {said}"


def sparse(extents: list[int], indices: Any) -> bytes:
    """A model that adds a sparse tensor of one element 5."""
    made = onnx.load_from_string(model([node("Add", "x w", "y")], {"x": (2, 2)}, "y"))
    value = numpy_helper.from_array(np.array([5], np.float32), "w")
    where = numpy_helper.from_array(np.array(indices), "")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(value, where, extents))
    data: bytes = made.SerializeToString()
    return data


@pytest.mark.parametrize("indices", [[2], [[1, 0]]], ids=["flat", "by axis"])
def test_a_sparse_initializer(indices: list[Any]) -> None:
    assert convmat.load(sparse([2, 2], indices))(np.ones((2, 2), np.float32)).tolist() == [[1, 1], [6, 1]]


@pytest.mark.parametrize(
    ("extents", "indices", "said"),
    [
        ([2, 2], [[1, -1]], "has indices outside its shape\n  -1 is below 0"),
        (
            [2, 2],
            [[1]],
            "has indices that do not fit its values\n"
            "  int64 [1, 1] for [1] values of 2 axes; int64, one or one for each axis is needed",
        ),
        (
            [2, 2],
            [0.5],
            "has indices that do not fit its values\n"
            "  float64 [1] for [1] values of 2 axes; int64, one or one for each axis is needed",
        ),
        ([1] * 33, [0], "has too many axes\n  33, at most 32 are read"),
        ([0, 2**62], [0], f"is too large\n  {[0, 2**62]} elements"),
    ],
    ids=["below", "part", "fractions", "axes", "nothing"],
)
def test_sparse_initializers_that_hold_no_array(extents: list[int], indices: list[Any], said: str) -> None:
    assert refusal(sparse(extents, indices)) == f"load: the model: the sparse initializer 'w' {said}"


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


def linked(tmp_path: Path, location: str = "w.bin") -> Path:
    """A model in a cache: it and its data are links into a folder of blobs."""
    blobs, shown = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    shown.mkdir(parents=True)
    made = external(blobs, location=location)
    (shown / "model.onnx").symlink_to(Path("../../blobs") / made.rename(blobs / "4f1c").name)
    (shown / "w.bin").symlink_to(Path("../../blobs") / (blobs / "w.bin").rename(blobs / "9e07").name)
    return shown / "model.onnx"


def test_external_data_of_a_cache_made_of_links(tmp_path: Path) -> None:
    path = linked(tmp_path)
    assert np.array_equal(convmat.load(path)(np.zeros(3, np.float32)), normal(3))


@pytest.mark.parametrize("location", ["../../blobs/9e07", "other/../../../blobs/9e07", "away.bin"])
def test_links_lead_to_where_the_model_lies_and_no_further(tmp_path: Path, location: str) -> None:
    path = linked(tmp_path, location)
    (tmp_path / "secret.bin").write_bytes(b"x" * 64)
    (path.parent / "away.bin").symlink_to(tmp_path / "secret.bin")
    assert refusal(path) == (
        "load: model.onnx: the file with the data of the initializer 'w' is not in the model's folder\n"
        f"  location {location!r}\n  put it beside the model"
    )


def secret(name: str = "secret", location: str = "/etc/hostname") -> Any:
    """A tensor in a file that is nobody's business, or in another one."""
    tensor = numpy_helper.from_array(normal(3), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def branching(*, sparse: bool = False, deep: bool = False, location: str = "/etc/hostname") -> bytes:
    """An If whose branches keep such a tensor: as it is, in a sparse one, in a branch of a branch."""
    made = helper.make_graph(
        [node("Identity", "secret", "z")], "inner", [], [helper.make_empty_tensor_value_info("z")],
        *([] if sparse else [[secret(location=location)]]),
    )  # fmt: skip
    if sparse:
        indices = numpy_helper.from_array(np.arange(3), "where")
        made.sparse_initializer.append(helper.make_sparse_tensor(secret(location=location), indices, [3]))
    if deep:
        nodes = [
            node("Constant", "", "often", value=numpy_helper.from_array(np.array(True), "often")),
            node("If", "often", "z", then_branch=made, else_branch=made),
        ]
        made = helper.make_graph(nodes, "outer", [], [helper.make_empty_tensor_value_info("z")])
    nodes = [node("If", "flag", "y", then_branch=made, else_branch=made)]
    return model(nodes, {"x": (1,)}, "y", {"flag": np.array(True)})


HIDDEN = "keeps external data in an attribute\n  only initializers and Constant nodes may\n  save it within the model"


HOW = pytest.mark.parametrize("how", [{}, {"sparse": True}, {"deep": True}], ids=str)


@HOW
def test_external_data_in_a_subgraph_stays_in_the_folder(how: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "branching.onnx"
    path.write_bytes(branching(**how))
    said = refusal(path)
    assert said.startswith("load: branching.onnx: the file with the data of ")
    assert said.endswith(
        "is not in the model's folder\n  location '/etc/hostname'\n  put it beside the model"
    )


@HOW
def test_external_data_in_a_subgraph_is_read(how: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "branching.onnx"
    path.write_bytes(branching(**how, location="kept.bin"))
    (tmp_path / "kept.bin").write_bytes(normal(3).tobytes())
    net = convmat.load(path)
    assert np.array_equal(np.ravel(net(np.zeros(1, np.float32))), normal(3))
    # As others read it: what a comparison hands to onnxruntime has no data outside.
    assert b"kept.bin" not in read_whole(path).SerializeToString()


def test_external_data_in_a_sparse_attribute_is_not_read() -> None:
    indices = numpy_helper.from_array(np.arange(3), "where")
    sparse = helper.make_sparse_tensor(secret(), indices, [3])
    made = onnx.load_from_string(model([node("Relu", "x", "y")], {"x": (1,)}, "y"))
    made.graph.node[0].attribute.append(helper.make_attribute("more", sparse))
    assert refusal(made.SerializeToString()) == f"load: the model: Relu 'Relu_y' {HIDDEN}"


def test_a_saved_networks_nodes_hide_no_external_data(tmp_path: Path) -> None:
    net = convmat.load(model([node("Det", "x", "y")], {"x": (2, 2)}, "y"))
    proto = node("Det", "x", "y")
    sparse = helper.make_sparse_tensor(secret(), numpy_helper.from_array(np.arange(3), "where"), [3])
    proto.attribute.append(helper.make_attribute("more", sparse))
    net = net._around(net.graph.with_nodes([replace(net.graph.nodes[0], source=proto.SerializeToString())]))
    net.save(tmp_path / "hidden.convmat", ())
    assert refusal(tmp_path / "hidden.convmat") == f"load: hidden.convmat: Det 'Det_y' {HIDDEN}"


def test_unknown_numbers_of_types_and_operator_sets() -> None:
    made = onnx.load_from_string(model([node("Add", "x w", "y")], {"x": (3,)}, "y", {"w": normal(3)}))
    made.graph.initializer[0].data_type = 99
    assert refusal(made.SerializeToString()) == (
        "load: the model: the initializer 'w' has an unknown element type\n  type 99"
    )
    made.graph.initializer[0].data_type = 1
    made.graph.input[0].type.tensor_type.elem_type = 77
    assert refusal(made.SerializeToString()) == (
        "load: the model: the input 'x' has an unknown element type\n  type 77"
    )
    made.graph.node.append(helper.make_node("Scaler", ["x"], ["z"], domain="ai.onnx.ml"))
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2**40))
    assert refusal(made.SerializeToString()).startswith(
        "load: the model: some of its operators are not known\n  ai.onnx.ml.Scaler (1 node)\n"
    )


# -- loops -------------------------------------------------------------------------------------------------------------


def loop(trips: int, body: Any = None) -> bytes:
    """x doubled in each turn of a Loop whose condition stays true, or another body."""
    value = helper.make_empty_tensor_value_info
    names = [[value(n) for n in each.split()] for each in ("i go a", "on b")]
    nodes = [node("Identity", "go", "on"), node("Add", "a a", "b")]
    made = body or helper.make_graph(nodes, "body", *names)
    constants = {"trips": np.array(trips), "true": np.array(True)}
    return model([node("Loop", "trips true x", "y", body=made)], {"x": (2,)}, "y", constants)


def test_a_loop_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MOST_TURNS", 50)
    x = np.array([1, 2], np.float32)
    for _ in range(2):
        assert convmat.load(loop(6))(x).tolist() == [64, 128]
    assert convmat.load(loop(50))(0 * x).tolist() == [0, 0]
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(loop(2**62))(x)
    assert str(error.value) == (
        "load: Loop 'Loop_y' cannot run\n  a Loop takes too many turns\n"
        "  trip count 4,611,686,018,427,387,904; at most 50 turns are taken in a call\n"
        "  give a smaller trip count, or export the model with its loops unrolled"
    )


def test_turns_of_loops_in_loops_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MOST_TURNS", 50)
    value = helper.make_empty_tensor_value_info
    inner = onnx.load_from_string(loop(1)).graph.node[0].attribute[0].g
    seven = numpy_helper.from_array(np.array(7), "seven")
    nodes = [
        node("Constant", "", "seven", value=seven),
        node("Identity", "go", "more"),
        node("Loop", "seven go a", "c", body=inner),
    ]
    outer = helper.make_graph(
        nodes, "outer", [value(n) for n in ("j", "go", "a")], [value("more"), value("c")]
    )
    x = np.array([1, 2], np.float32)
    assert convmat.load(loop(2, outer))(x).tolist() == [2**14, 2**15]
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(loop(7, outer))(x)
    assert "trip count 7; at most 50 turns are taken" in str(error.value)


# -- keywords ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"tune": "foo"}, "load: unknown tune\n  tune = 'foo'\n  one of 'none', 'quick', 'full'"),
        (
            {"memory_limit": "1 GB"},
            "load: memory_limit must be a number of bytes\n  memory_limit = '1 GB'\n  e.g. memory_limit=8589934592",
        ),
        ({"rtol": 0}, "load: rtol must be a positive number\n  rtol = 0\n  e.g. rtol=5e-6, or None"),
        ({"tune": "quick", "deterministic": True}, "load: deterministic=True forbids choices made by timing\n"
                                                   "  tune = 'quick'\n  omit one of the two"),
        ({"weight_limit": "much"}, "load: weight_limit must be a number of bytes\n  weight_limit = 'much'\n"
                                   "  e.g. weight_limit=16777216, or None"),
    ],
)  # fmt: skip
def test_keywords_that_mean_nothing_are_refused_at_once(keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(convmat.PlanError) as error:
        convmat.load(model([node("Relu", "x", "y")], {"x": (1,)}, "y"), **keywords)
    assert str(error.value) == said
