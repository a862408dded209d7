"""Raw data read ahead by threads: the same bytes as one after the other, or a sentence"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from onnx import TensorProto, numpy_helper

import convmat
from convmat.network.reading import ahead, read
from convmat.network.reading.ahead import ReadAhead


def model(path: Path, rows: int = 1000) -> Any:
    """A sum of two constants and x."""
    rng = np.random.default_rng(0)
    kept = [rng.standard_normal((rows, 401)).astype(np.float32) for _ in range(2)]
    names = ("a", "b")
    nodes = [oh.make_node("Add", ["x", "a"], ["s"]), oh.make_node("Mul", ["s", "b"], ["y"])]
    value = oh.make_tensor_value_info
    graph = oh.make_graph(
        nodes, "sum", [value("x", TensorProto.FLOAT, [rows, 401])], [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for array, name in zip(kept, names, strict=True)],
    )  # fmt: skip
    onnx.save(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8), path)
    return kept


def test_constants_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PIECE", 100_000)
    kept = model(tmp_path / "net.onnx")
    graph = read.read_graph(tmp_path / "net.onnx")
    for name, array in zip(("a", "b"), kept, strict=True):
        found = graph.constants[name]
        np.testing.assert_array_equal(found, array)
        assert not found.flags.writeable
    x = np.ones((1000, 401), np.float32)
    np.testing.assert_array_equal(convmat.load(tmp_path / "net.onnx")(x), (x + kept[0]) * kept[1])


def test_a_file_cut_short_meanwhile_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "net.onnx")
    start = ReadAhead.start

    def cut(stream: io.BufferedIOBase, places: Any) -> ReadAhead | None:
        os.truncate(tmp_path / "net.onnx", 2_000_000)
        return start(stream, places)

    monkeypatch.setattr(ReadAhead, "start", cut)
    with pytest.raises(convmat.NetworkError) as refused:
        convmat.load(tmp_path / "net.onnx")
    assert str(refused.value) == "load: net.onnx: it became shorter while it was read\n  load it again"


def test_little_and_bytes_in_memory_are_read_at_once(tmp_path: Path) -> None:
    assert ReadAhead.start(io.BytesIO(bytes(2 << 20)), [(0, 2 << 20)]) is None
    path = tmp_path / "raw"
    path.write_bytes(bytes(range(256)) * 8192)
    with path.open("rb") as stream:
        assert ReadAhead.start(stream, [(0, 100), None]) is None
        found = ReadAhead.start(stream, [(3, 3), None, (5, (1 << 20) + 6), (1 << 20, (1 << 20) + 300)])
        assert found is not None
        for start, stop in ((3, 3), (5, (1 << 20) + 6), (1 << 20, (1 << 20) + 300)):
            taken = found.take((start, stop))
            assert taken is not None
            assert taken.tobytes() == path.read_bytes()[start:stop]
