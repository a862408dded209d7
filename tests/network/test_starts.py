"""What a process recorded of a network: another one answers with it, to the last bit, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import convmat
from convmat.engine import address, digest, jit_cache, object_cache, preloaded
from convmat.errors import NetworkError
from convmat.network import Network
from convmat.network.graph import MEMORY_LIMIT
from convmat.network.loading import PLAIN
from convmat.network.opening import open_network
from convmat.network.starts import record
from convmat.network.starts import start as starting
from convmat.network.starts.recorded import Recorded
from convmat.network.starts.start import Start
from tests.network.made import Array, body, model, node, normal


def layers(seed: int, channels: int = 33, size: int = 17) -> bytes:
    """Two convolutions, a maximum, a sum of both halves, a dense layer and a view of a value in the middle."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32)

    half = (size + 1) // 2
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "d"),
        node("MaxPool", "d", "e", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", "e depthwise", "f", pads=[1, 1, 1, 1], group=channels),
        node("Add", "f e", "g"),
        node("Sigmoid", "g", "h"),
        node("Reshape", "h flat", "i"),
        node("Gemm", "i dense", "y"),
        node("Reshape", "g rows", "z"),
    ]
    constants = {
        "w": weights(channels, 3, 3, 3),
        "b": weights(channels),
        "depthwise": weights(channels, 1, 3, 3),
        "flat": np.array([1, -1]),
        "rows": np.array([channels, -1]),
        "dense": weights(channels * half * half, 7),
    }
    return model(nodes, {"x": (1, 3, "size", "size")}, "y z", constants)


MOST = 1 << 30
"""Bytes that a recording may take."""


LONG = 1e6
"""Seconds that answers take, until a network prepares itself: a machine may be busy."""


class Loads:
    """Loads files as processes do that have not imported the onnx package."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self._monkeypatch = folder / "net.onnx", monkeypatch

    def write(self, content: bytes) -> None:
        self.path.write_bytes(content)

    def start(self) -> Start:
        with self._monkeypatch.context() as changed:
            changed.delitem(sys.modules, "onnx", raising=False)
            found = Start.of(self.path)
        assert found is not None
        return found

    def __call__(self) -> Network:
        start = self.start()
        return (
            Network.from_start(start)
            if start.known
            else open_network(self.path, PLAIN, MEMORY_LIMIT, True, False, start)
        )


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loads:
    monkeypatch.setattr(starting, "run_behind", lambda work: work())
    monkeypatch.setattr(Start, "over", property(lambda start: start._spent >= LONG and start._is_there()))
    return Loads(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _own_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of those that other tests' files brought along, which are recorded by nobody."""
    monkeypatch.setattr(preloaded, "_brought", OrderedDict())


def unread(net: Network) -> bool:
    """Whether a network has read no graph."""
    return net._graph is None


def same(a: Any, b: Any) -> bool:
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("channels", "size"), [(5, 65), (16, 32), (33, 17)])
def test_another_process_answers_to_the_same_bits(
    channels: int, size: int, threads: int, loads: Loads
) -> None:
    loads.write(layers(threads, channels, size))
    x = normal(1, 3, size, size)
    with convmat.threads(threads):
        first = loads()
        assert not unread(first)
        wanted = first(x)
        net = loads()
        assert same(net(x), wanted)
        assert same(net({"x": x}), wanted)
        assert same(net(x[..., ::-1].copy()[..., ::-1]), wanted), "any strides"
        assert unread(net)
        odd = x.copy()
        odd[0, 1, 0, 0], odd[0, 2, -1, -1] = np.nan, np.inf
        assert same(net(odd), first(odd))
        assert unread(net)
        answers = [net(x), net(-x)]
        assert same(answers[0], wanted), "what was given away stays"
        assert not same(answers[1], wanted)


def test_what_was_not_recorded_is_prepared(loads: Loads) -> None:
    loads.write(layers(10))
    x, other = normal(1, 3, 17, 17), normal(1, 3, 19, 19)
    first = loads()
    wanted = first(x)
    net = loads()
    with pytest.raises(NetworkError):
        net(other)  # whose dense layer does not fit
    assert not unread(net)
    assert same(net(x), wanted)
    net = loads()
    with convmat.threads(convmat.threads() + 1):
        assert same(net(x), wanted)
    assert not unread(net)
    for wrong in (x.astype(np.float64), {"wrong": x}, {"x": x, "more": x}, x[0], [x]):
        messages = []
        for each in (first, loads()):
            with pytest.raises(NetworkError) as refused:
                each(wrong)
            messages.append(str(refused.value))
        assert messages[0] == messages[1]


def test_the_graph_is_that_of_the_file_as_it_was_loaded(loads: Loads) -> None:
    loads.write(layers(20))
    x = normal(1, 3, 17, 17)
    first = loads()
    wanted, nodes = first(x), len(first.graph.nodes)
    net = loads()
    loads.write(layers(21))
    assert same(net(x), wanted)
    assert unread(net)
    assert len(net.graph.nodes) == nodes
    assert net.inputs == first.inputs
    assert net.graph.name == first.graph.name
    assert str(net.with_shapes(size=17).summary()) == str(first.with_shapes(size=17).summary())
    assert list(net(x, outputs=["e"])) == ["e"]
    net._start = None
    assert same(net(x), wanted)
    other = loads()
    assert not other._start or not other._start.known
    assert not same(other(x), wanted)


def test_a_network_prepares_itself_when_its_calls_took_as_long(loads: Loads) -> None:
    loads.write(layers(30))
    x = normal(1, 3, 17, 17)
    wanted = loads()(x)
    net = loads()
    assert same(net(x), wanted)
    start = net._start
    assert start is not None
    start._spent = LONG
    assert same(net(x), wanted)
    assert net._start is None
    assert unread(net)
    assert same(net(x), wanted)
    assert not unread(net)


def files(suffix: int) -> list[Path]:
    """Recordings, the largest first."""
    return sorted(jit_cache.recordings().path.glob("*.o"), key=lambda path: -path.stat().st_size)[:suffix]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:40] + b"x" + data[41:], lambda data: b""]
)
def test_damaged_recordings_are_made_again(
    damage: Callable[[bytes], bytes], loads: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit_cache, "recordings", lambda: object_cache.ObjectCache(tmp_path / "recordings"))
    loads.write(layers(40))
    x = normal(1, 3, 17, 17)
    wanted = loads()(x)
    (path,) = files(1)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    net = loads()
    assert same(net(x), wanted)
    assert not unread(net)
    assert path.read_bytes()[128:] != b""
    again = loads()
    assert same(again(x), wanted)
    assert unread(again)


def prepared(content: bytes, x: Array) -> tuple[Any, dict[str, Any]]:
    """A Program, and what it answers."""
    net = convmat.load(content)
    answer = net(x)
    program = net._programs.latest
    assert program is not None
    return program, answer if isinstance(answer, dict) else {net.outputs[0]: answer}


def test_a_recording_that_answers_otherwise_is_not_kept() -> None:
    x = normal(1, 3, 17, 17)
    program, answer = prepared(layers(50), x)
    content = record.record(program, {"x": x}, answer, 1.0, MOST)
    assert content is not None
    recorded = Recorded(content)
    for fill in (0, 1, 0xFF, None):
        found = recorded([x], fill)
        assert same(found, answer)
    y = answer["y"].copy()
    y[0, 0] = np.nextafter(y[0, 0], np.float32(9))
    assert record.record(program, {"x": x}, {**answer, "y": y}, 1.0, MOST) is None


def test_addresses_that_nobody_knows_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(1, 3, 17, 17)
    program, answer = prepared(layers(51), x)
    hiding: list[tuple[Any, str, Any]] = [
        (record, "held_arrays", lambda roots: iter(())),
        (jit_cache, "functions", dict),
        (record, "lowest_memory", lambda: 0x400000),  # of a Python that is linked to a fixed place
    ]
    for where, name, instead in hiding:
        with monkeypatch.context() as changed:
            changed.setattr(where, name, instead)
            assert record.record(program, {"x": x}, answer, 1.0, MOST) is None
    assert record.record(program, {"x": x}, answer, 1.0, MOST) is not None


def test_tables_that_hold_addresses_are_seen() -> None:
    x = normal(1, 3, 17, 17)
    program, _ = prepared(layers(52), x)
    recorder = record._Recorder(program, {"x": x}, MOST)
    held_by = np.arange(4)
    held = record._HeldArrays([held_by])
    for table in (np.arange(4), np.arange(9, dtype=np.int32), np.arange(35, dtype=np.uint8)):
        recorder._require_plain(table, held)
        table.view(np.uint8)[16:24] = np.array([address(held_by) + 8]).view(np.uint8)
        with pytest.raises(record.Unrecorded, match=r"^an array holds an address$"):
            recorder._require_plain(table, held)
    recorder._require_plain(table.astype(np.float32), held)


@pytest.mark.parametrize(
    ("nodes", "inputs", "why"),
    [
        ([node("NonZero", "x", "y")], {"x": (2, 3)}, "shapes that values decide"),
        ([node("RandomNormalLike", "x", "y")], {"x": (2, 3)}, "what is computed anew"),
        ([node("Cast", "x", "i", to=7), node("CumSum", "x zero", "y")], {"x": (2, 3)}, "Python's steps"),
    ],
)
def test_what_python_computes_is_not_recorded(
    nodes: list[Any], inputs: dict[str, Any], why: str, loads: Loads
) -> None:
    loads.write(model(nodes, inputs, "y", {"zero": np.array(0)} if "Python" in why else {}))
    x = normal(2, 3)
    loads()(x)
    assert not loads.start().known, why


def test_whole_numbers_are_recorded_and_checked(loads: Loads) -> None:
    """Rows by indices of a call, one of which is outside once; and none where a branch follows from one."""
    rows = [node("Gather", "w i", "a"), node("Exp", "a", "b"), node("Identity", "b", "y")]
    loads.write(model(rows, {"i": (90,)}, "y", {"w": normal(70, 60)}, kinds={"i": TensorProto.INT64}))
    first, indices = loads(), np.random.default_rng(0).integers(-70, 70, 90)
    right = first(indices)
    net, other = loads(), np.array(indices[::-1])
    assert net(indices).tobytes() == right.tobytes()
    assert net(other).tobytes() == right[::-1].tobytes()
    assert unread(net)
    other[5] = 70
    with pytest.raises(NetworkError, match=r"its indices are -\d+ to 70\n  there are 70 places"):
        net(other)
    assert net(indices).tobytes() == right.tobytes()


def test_networks_with_options_are_not_recorded(loads: Loads) -> None:
    loads.write(layers(60))
    x = normal(1, 3, 17, 17)
    convmat.load(loads.path, exact=True)(x)
    assert not loads.start().known


def test_networks_of_several_files_are_not_recorded(loads: Loads) -> None:
    """Whose weights lie in a file beside the model's: that may change, and the model's stays what it was."""
    weights, x = normal(24, 16), normal(8, 24)
    made = onnx.load_from_string(model([node("MatMul", "x w", "y")], {"x": (8, 24)}, "y", {"w": weights}))
    onnx.save(made, loads.path, save_as_external_data=True, location="weights", size_threshold=0)
    wanted = loads()(x)
    (loads.path.parent / "weights").write_bytes((2 * weights).tobytes())
    net = loads()
    assert not unread(net)
    np.testing.assert_allclose(net(x), 2 * wanted, rtol=1e-5)


def rated(rate: int) -> bytes:
    """A branch that a whole number decides on."""
    nodes = [
        node("Equal", "rate wanted", "same"),
        node("If", "same", "a", then_branch=body("", [node("Mul", "x two", "z")], "z"),
             else_branch=body("", [node("Neg", "x", "z")], "z")),
        node("Conv", "a w", "y"),
    ]  # fmt: skip
    constants = {"wanted": np.array(rate), "two": np.array(2, np.float32), "w": normal(4, 3, 3, 3)}
    return model(nodes, {"x": (2, 3, 8, 8), "rate": ()}, "y", constants, kinds={"rate": 7})


def test_whole_numbers_that_decide_are_told_apart(loads: Loads) -> None:
    loads.write(rated(16))
    x = normal(2, 3, 8, 8)
    given = [{"x": x, "rate": np.array(rate)} for rate in (16, 8)]
    wanted = [loads()(each) for each in given]
    assert wanted[0].tobytes() != wanted[1].tobytes()
    for _ in range(2):
        for each, want in zip(given, wanted, strict=True):
            net = loads()
            assert net(each).tobytes() == want.tobytes()
            assert unread(net)
            assert net(given[0]).tobytes() == wanted[0].tobytes()
            assert net(given[1]).tobytes() == wanted[1].tobytes()


def test_large_files_are_known_by_size_and_times(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "HELD_BYTES", 1000)
    loads.write(layers(45))
    x = normal(1, 3, 17, 17)
    wanted = loads()(x)
    assert not loads.start().known, "it may be changing"
    monkeypatch.setattr(starting, "SETTLED_SECONDS", 0)
    assert same(loads()(x), wanted)
    net = loads()
    assert same(net(x), wanted)
    assert unread(net)
    assert len(net.graph.nodes) == 9
    assert same(net(normal(1, 3, 17, 17)), wanted)
    net = loads()
    loads.path.unlink()
    loads.write(layers(46))
    assert same(net(x), wanted)
    assert len(net.graph.nodes) == 9, "another file in its place"
    loads.write(layers(45))
    loads()(x)
    net, content = loads(), loads.path.read_bytes()
    assert unread(net)
    loads.write(content[:-1] + b"?")
    assert same(net(x), wanted)
    with pytest.raises(NetworkError, match="was written to after it was loaded"):
        net(normal(1, 3, 17, 17).repeat(2, axis=0))
    assert same(net(x), wanted)
    loads.write(content)
    loads()(x)
    os.utime(loads.path, (1, 1))
    assert not loads.start().known
    first = loads()
    loads.write(layers(46))
    other = first(x)
    assert not loads.start().known, "what was read is not what was there"
    assert not same(loads()(x), wanted) or same(other, wanted)


def test_what_takes_longer_to_check_than_to_prepare_is_not_recorded(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "RATE", 1.0)
    loads.write(layers(47))
    loads()(normal(1, 3, 17, 17))
    assert not loads.start().known


SCRIPT = """
import json, sys
import numpy as np
import convmat
from convmat.engine import jit_cache
x = np.load(sys.argv[2])
net = convmat.load(sys.argv[1])
found = net(x)
light = {name for name in ("convmat.planner", "convmat.network.ops", "onnx", "llvmlite") if name in sys.modules}
print(json.dumps([{name: y.tobytes().hex() for name, y in found.items()}, sorted(light), jit_cache.counts.compiled]))
"""


def test_a_fresh_process_loads_nothing_that_prepares(tmp_path: Path) -> None:
    path, data = tmp_path / "net.onnx", tmp_path / "x.npy"
    path.write_bytes(layers(70))
    np.save(data, normal(1, 3, 17, 17))
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", SCRIPT, str(path), str(data)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(2)
    ]
    (first, *_), (second, light, compiled) = found
    assert first == second
    assert (light, compiled) == ([], 0)


def test_digests_change_with_every_byte() -> None:
    data = bytearray(np.random.default_rng(0).bytes(9 << 20))
    before = digest(data)
    assert digest(bytes(data)) == before
    for at in (0, 4 << 20, len(data) - 1):
        data[at] ^= 1
        assert digest(data) != before
        data[at] ^= 1
    assert digest(data[:-1]) != before
    assert digest(b"") != digest(b"\0")
