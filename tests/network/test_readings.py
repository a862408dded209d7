"""Graphs that an earlier process read: the same as they are read anew, and never those of another file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest

import convmat
from convmat.engine import jit_cache
from convmat.network.files import readings
from convmat.network.files.readings import Readings
from convmat.network.graph import Graph, Node
from convmat.network.reading import read
from convmat.network.reading.known import Parted
from tests.network.made import branching, model, node, normal


@pytest.fixture(autouse=True)
def _by_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are read anew, which takes no longer."""
    monkeypatch.setattr(read, "_read_usual", lambda *given: None)


def kept() -> Readings:
    """As in a process that has not imported the onnx package."""
    found = Readings()
    found.used = True
    return found


def read_again(source: bytes | Path, monkeypatch: pytest.MonkeyPatch) -> Graph | None:
    """A graph without the onnx package, None where it takes that."""

    class Needed(Exception):
        pass

    def needed() -> Any:
        raise Needed

    with monkeypatch.context() as changed:
        changed.setattr(read, "require_onnx", needed)
        try:
            return read.read_graph(source, kept())
        except Needed:
            return None


def comparable(value: Any) -> Any:
    """What graphs are compared by: all but what says again how a node stood in its file."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes(), value.flags.writeable
    if isinstance(value, Node):
        return comparable(vars(replace(value, source=b"")))
    if isinstance(value, Graph):
        return comparable(
            {name: getattr(value, name) for name in ("nodes", "inputs", "outputs", "constants")}
        )
    if isinstance(value, dict):
        return [(name, comparable(each)) for name, each in value.items()]
    return [comparable(each) for each in value] if isinstance(value, tuple | list) else value


def chosen(scale: float) -> bytes:
    """A branch in a body, attributes of several kinds, weights as raw data and as numbers."""
    value = oh.make_tensor_value_info
    nodes = [
        *branching(),
        oh.make_node("Transpose", ["u"], ["v"], perm=[1, 0]),
    ]
    weights = [
        onnx.numpy_helper.from_array(normal(3, 5) * np.float32(scale), "w"),
        oh.make_tensor("low", 1, (), [-0.5]),
    ]
    inputs = [value("x", 1, ["rows", 5]), value("c", onnx.TensorProto.BOOL, [])]
    graph = oh.make_graph(nodes, "chosen", inputs, [value("v", 1, None)], weights)
    made: bytes = oh.make_model(
        graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return made


def test_a_graph_is_the_same_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (chosen(1.0), model([node("Relu", "x", "y")], {"x": (3,)}, "y")):
        (tmp_path / "net.onnx").write_bytes(source)
        first = read.read_graph(tmp_path / "net.onnx", kept())
        for each in (source, tmp_path / "net.onnx"):
            again = read_again(each, monkeypatch)
            assert again is not None
            assert comparable(again) == comparable(first)


def test_a_graph_without_a_name_is_called_what_its_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file was called that had the same bytes before."""
    whole = onnx.load_from_string(model([node("Neg", "x", "y")], {"x": (3,)}, "y"))
    whole.graph.ClearField("name")
    names = ("a.onnx", "b.onnx")
    for name in names:
        (tmp_path / name).write_bytes(whole.SerializeToString())
    assert read.read_graph(tmp_path / names[0], kept()).name == names[0]
    for name in names:
        again = read_again(tmp_path / name, monkeypatch)
        assert again is not None
        assert again.name == name


def test_weights_are_those_of_the_file_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read.read_graph(chosen(1.0), kept())
    other = read_again(chosen(2.0), monkeypatch)
    assert other is not None
    np.testing.assert_array_equal(other.constants["w"], normal(3, 5) * np.float32(2))


def test_raw_data_of_another_length_are_read_by_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (8, 7)
    sources = [model([node("Add", "x w", "y")], {"x": (8,)}, "y", {"w": normal(8)}) for _ in sizes]
    read.read_graph(sources[0], kept())
    whole = onnx.load_from_string(sources[1])
    whole.graph.initializer[0].raw_data = normal(7).tobytes()
    assert read_again(whole.SerializeToString(), monkeypatch) is None
    with pytest.raises(convmat.NetworkError, match="does not hold what its shape says"):
        read.read_graph(whole.SerializeToString(), kept())


def test_a_record_that_is_none_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    source = model([node("Sub", "x w", "y")], {"x": (6,)}, "y", {"w": normal(6)})
    keys: list[bytes] = []
    key_of = readings._key

    def note(parted: Parted) -> bytes:
        keys.append(key_of(parted))
        return keys[-1]

    monkeypatch.setattr(readings, "_key", note)
    first = read.read_graph(source, kept())
    record = jit_cache.disk().get(keys[0])
    assert record is not None
    for wrong in (b"", b"12345678", record[:40], record.replace(b'"place":0', b'"place":9')):
        jit_cache.disk().put(keys[0], wrong)
        assert comparable(read.read_graph(source, kept())) == comparable(first)


def test_what_lies_elsewhere_or_decides_how_nodes_are_spelt_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = onnx.load_from_string(model([node("Add", "x w", "y")], {"x": (9,)}, "y", {"w": normal(9)}))
    onnx.save(outside, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    read.read_graph(tmp_path / "a.onnx", kept())
    assert read_again(tmp_path / "a.onnx", monkeypatch) is None
    foreign = oh.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], domain="com.microsoft")
    kinds = {"x": onnx.TensorProto.UINT8}
    spelt = model([foreign], {"x": (2, 3)}, "y", {"s": np.float32(0.5), "z": np.uint8(3)}, kinds=kinds)
    read.read_graph(spelt, kept())
    assert read_again(spelt, monkeypatch) is None


def test_a_process_that_finds_its_network_read_imports_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(chosen(1.0))
    read.read_graph(path, kept())
    program = (
        "import sys, convmat; net = convmat.load(sys.argv[1]); print('onnx' in sys.modules, *net.outputs)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "v"]
