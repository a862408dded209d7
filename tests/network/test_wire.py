"""Raw data that go around protobuf: the same arrays and the same refusals as when protobuf reads everything."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import onnx
import pytest

import convmat
from convmat.network.reading import wire
from convmat.network.reading.read import read_graph
from tests.network.hostile import cut, flipped, models
from tests.network.made import model, node, normal


def small() -> bytes:
    return model(
        [node("Add", "x w", "a"), node("Mul", "a v", "y")],
        {"x": (3,)},
        "y",
        {"w": normal(3), "v": normal(3, 3)},
    )


def found(source: bytes | Path) -> object:
    """The constants of a model, or what is said against it."""
    try:
        graph = read_graph(source)
    except convmat.NetworkError as error:
        return str(error)
    return {name: (a.dtype, a.shape, a.tobytes(), a.flags.writeable) for name, a in graph.constants.items()}


def by_protobuf(source: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    """The same where protobuf reads everything."""

    def unclear(stream: object, size: int) -> object:
        raise wire.Unclear

    with monkeypatch.context() as changed:
        changed.setattr(wire, "part_raw_data", unclear)
        return found(source)


def test_a_model_apart_from_its_raw_data() -> None:
    data = small()
    rest, places = wire.part_raw_data(io.BytesIO(data), len(data))
    assert [data[slice(*place)] for place in places if place] == [normal(3).tobytes(), normal(3, 3).tobytes()]
    whole = onnx.load_from_string(data)
    for tensor in whole.graph.initializer:
        tensor.ClearField("raw_data")
    assert onnx.load_from_string(rest) == whole


def test_a_file_as_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "the model").write_bytes(small())
    assert found(tmp_path / "the model") == found(small())


def field(number: int, value: bytes) -> bytes:
    """A field whose value is bytes."""
    assert len(value) < 2**14
    return bytes([number << 3 | 2, len(value) & 127 | 128, len(value) >> 7]) + value


def test_parts_of_a_message_that_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of a name are one, of several values the last one counts, lengths may be longer than they need be."""
    nodes = model([node("Add", "x w", "a"), node("Mul", "a v", "y")], {"x": (3,)}, "y")
    tensors = [
        field(1, b"\x03")
        + bytes([2 << 3, 1])
        + field(8, name)
        + field(9, b"?")
        + field(9, normal(3).tobytes())
        for name in (b"w", b"v")
    ]
    data = nodes + b"".join(field(7, field(5, each)) for each in tensors)
    told = found(data)
    assert isinstance(told, dict)
    assert told["v"] == told["w"] == (np.dtype("float32"), (3,), normal(3).tobytes(), False)
    assert told == by_protobuf(data, monkeypatch)


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a", b"\x3a\x80", b"\x3a\x05abcd", b"\x02\x00", b"\x3b", b"\x3e", b"\x39abcdefg", b"\x3dabc",
        b"\xff\xff\xff\xff\xff\x01", b"\x08" + b"\xff" * 10, b"\x3a" + b"\xff" * 9 + b"\x01",
    ],
)  # fmt: skip
def test_what_is_no_message_is_left_to_protobuf(data: bytes) -> None:
    with pytest.raises(wire.Unclear):
        wire.part_raw_data(io.BytesIO(data), len(data))
    assert str(found(data)).startswith("load: the model is not an ONNX model\n")


def test_more_fields_than_anybody_writes_are_left_to_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small()
    parts = wire.part_raw_data(io.BytesIO(data), len(data))
    assert parts[1].count(None) == 0
    monkeypatch.setattr(wire, "MOST_FIELDS", 10)
    with pytest.raises(wire.Unclear):
        wire.part_raw_data(io.BytesIO(data), len(data))
    told = found(data)
    monkeypatch.undo()
    assert told == found(data)


def test_changed_bytes_are_read_as_protobuf_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, told = random.Random(1), []
    for each in [made.SerializeToString() for made in models()] * 40:
        data = rng.choice((flipped, flipped, cut))(each, rng)
        told.append(found(data))
        assert told[-1] == by_protobuf(data, monkeypatch)
    read_ones = sum(isinstance(each, dict) for each in told)
    assert 10 < read_ones < len(told) - 10


def test_a_file_cut_short_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model([node("Add", "x w", "y")], {"x": (2**16,)}, "y", {"w": normal(2**16)}))
    parted = wire.part_raw_data

    def then_cut(stream: io.BufferedReader, size: int) -> object:
        parts = parted(stream, size)
        path.write_bytes(path.read_bytes()[:1000])
        return parts

    monkeypatch.setattr(wire, "part_raw_data", then_cut)
    assert found(path) == "load: model.onnx: it became shorter while it was read\n  load it again"
