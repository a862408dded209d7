"""Models read without the onnx package: the same graphs as with it, or it is asked."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest

import convmat
from convmat.network.reading import messages, read, signatures
from convmat.network.reading.usual import DTYPES, TYPES
from convmat.network.reading.wire import Unclear
from tests.network import find_signatures
from tests.network.hostile import cut, flipped, models
from tests.network.made import branching, model, node, normal
from tests.network.test_readings import comparable


def found(source: bytes | Path) -> Any:
    """What a model says, or what is said against it."""
    try:
        graph = read.read_graph(source)
    except convmat.NetworkError as error:
        return str(error)
    return repr(comparable(graph)) + graph.name


def usual(source: bytes | Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a model is read without the package; what it says must be what it says with it."""
    own, taken = read._read_usual, list[bool]()

    def note(*given: Any) -> Any:
        taken.append((graph := own(*given)) is not None)
        return graph

    with monkeypatch.context() as changed:
        changed.setattr(read, "_read_usual", note)
        told = found(source)
        changed.setattr(read, "_read_usual", lambda *given: None)
        assert told == found(source)
    return bool(taken) and taken[0]


def test_signatures_are_those_of_the_standard() -> None:
    assert Path(signatures.__file__).read_text() == find_signatures.module()


def test_numbers_are_those_of_the_package() -> None:
    for number, name in DTYPES.items():
        assert oh.tensor_dtype_to_np_dtype(number) == np.dtype(name)
    assert dict(onnx.AttributeProto.AttributeType.items()) == {name: at for at, name in enumerate(TYPES)}
    for kind, fields in messages.KINDS.items():
        proto: Any = getattr(onnx, kind, None)
        for number, (name, _) in fields.kinds.items() if proto else ():
            assert proto.DESCRIPTOR.fields_by_number[number].name == name


def made(**attributes: Any) -> bytes:
    """A model with bodies, tensors of several storages, symbols for extents and these attributes."""
    value = oh.make_tensor_value_info
    nodes = [
        *branching(),
        oh.make_node("Transpose", ["u"], ["v"], **{"perm": [1, 0], **attributes}),
        oh.make_node("Constant", [], ["k"], value_ints=[-1, 2**40]),
        oh.make_node("Cast", ["k"], ["n"], to=1),
    ]
    weights = [
        onnx.numpy_helper.from_array(normal(3, 5), "w"),
        oh.make_tensor("low", 1, (), [-0.5]),
        *(oh.make_tensor(f"t{at}", at, (3,), [1, 0, 1]) for at in (2, 3, 4, 5, 6, 7, 9, 11)),
    ]
    inputs = [value("x", 1, ["rows", 5]), value("c", onnx.TensorProto.BOOL, []), value("free", 1, None)]
    graph = oh.make_graph(nodes, "chosen", inputs, [value("v", 1, None), value("n", 1, None)], weights)
    return bytes(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)]).SerializeToString())


def test_graphs_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(made())
    assert usual(made(), monkeypatch)
    assert usual(tmp_path / "net.onnx", monkeypatch)
    assert all([usual(each.SerializeToString(), monkeypatch) for each in models()][:3])


def test_what_is_unusual_is_read_by_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    half = oh.make_tensor("h", onnx.TensorProto.BFLOAT16, (2,), [1.0, 2.0])
    whole = onnx.load_from_string(made())
    whole.graph.initializer.append(half)
    assert not usual(whole.SerializeToString(), monkeypatch)
    assert not usual(made(wrong=3.0, perm="10"), monkeypatch)
    assert not usual(model([node("Det", "x", "y")], {"x": (3, 3)}, "y"), monkeypatch)
    assert not usual(model([node("Nothing", "x", "y")], {"x": (3, 3)}, "y"), monkeypatch)
    assert not usual(b"", monkeypatch)
    assert not usual(made() + b"\x3a\x00", monkeypatch), "a graph in two parts"
    assert not usual(made().replace(b"Clip_u", b"Cl\xff\xfe_u"), monkeypatch), "no text"


def test_a_model_without_operator_sets_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    without = onnx.load_from_string(made())
    del without.opset_import[:]
    assert not usual(without.SerializeToString(), monkeypatch)


def test_a_choice_said_twice_is_read_by_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protobuf keeps the first where it does not know the second: here that the data lie in another file."""
    whole = onnx.load_from_string(made())
    tensor = whole.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    known = tensor.SerializeToString()
    tensor.MergeFromString(b"\x70\x63")
    assert tensor.data_location == onnx.TensorProto.EXTERNAL
    assert tensor.SerializeToString() == known + b"\x70\x63"
    assert not usual(whole.SerializeToString(), monkeypatch)


def test_changed_bytes_are_read_as_protobuf_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, taken = random.Random(2), 0
    for each in [*(m.SerializeToString() for m in models()), made()] * 15:
        taken += usual(rng.choice((flipped, flipped, cut))(each, rng), monkeypatch)
    assert taken > 10


@pytest.mark.parametrize(
    "numbers", [[], [0], [1, 127, 128, 2**14, 2**62], [-1, -(2**63), 2**63 - 1, 5], [3] * 1000]
)
def test_numbers_side_by_side(numbers: list[int]) -> None:
    packed = onnx.TensorProto(int64_data=numbers).SerializeToString()
    apart = onnx.AttributeProto(ints=numbers).SerializeToString()
    for kind, name, data in (("TensorProto", "int64_data", packed), ("AttributeProto", "ints", apart)):
        message = messages._read(messages.KINDS[kind], memoryview(data), iter(range(2000)), 0)
        assert list(getattr(message, name)) == numbers


def test_numbers_in_several_parts() -> None:
    parts = [onnx.TensorProto(int64_data=[i, -i, 300]).SerializeToString() for i in range(3)]
    for data in (b"".join(parts), parts[0] + b"\x38\x05", b"\x38\x05" + parts[1], parts[2]):
        wanted = onnx.TensorProto.FromString(data).int64_data
        message: Any = messages._read(messages.KINDS["TensorProto"], memoryview(data), iter(range(99)), 0)
        assert list(message.int64_data) == list(wanted)


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x01", b"\x01\x80"])
def test_numbers_side_by_side_that_are_none(data: bytes) -> None:
    with pytest.raises(Unclear):
        messages._varints(memoryview(data))


def test_bodies_within_bodies_end() -> None:
    data = b""
    for key in (b"\x32", b"\x2a", b"\x0a") * 200 + (b"\x3a",):  # a graph in an attribute of a node
        size = len(data)
        data = key + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + data
    with pytest.raises(Unclear):
        messages.read_model(data)


def test_a_fresh_process_reads_without_the_package(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(made())
    script = (
        "import sys, convmat\n"
        "net = convmat.load(sys.argv[1])\n"
        "print(len(net.graph.nodes), sorted({'onnx', 'google.protobuf', 'ml_dtypes'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "net.onnx")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4", "[]"]
