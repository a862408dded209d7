"""Saved networks: the same answers from a file, without onnx and without a compiler; what is wrong with one is said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import struct
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

import convmat
from convmat.engine.cpu import usable_cores
from convmat.engine.runtime import jit_cache, preloaded
from convmat.network.files import archive
from tests.network.made import model, node, normal

Array = npt.NDArray[Any]
Head = dict[str, Any]
SOURCE = Path(convmat.__file__).parent.parent


def small(classes: int = 5) -> bytes:
    """A network with what networks have: convolutions, a residual, pooling, shape arithmetic, a dense layer."""
    nodes = [
        node("Conv", "x w0", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a s t m v", "b"),
        node("Relu", "b", "c"),
        node("Conv", "c w1", "d", pads=[1, 1, 1, 1], group=2),
        node("Add", "d c", "e"),
        node("Clip", "e low high", "f"),
        node("MaxPool", "f", "g", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "g", "h"),
        node("Shape", "h", "n"),
        node("Gather", "n zero", "n0", axis=0),
        node("Concat", "n0 rest", "flat", axis=0),
        node("Reshape", "h flat", "i"),
        node("Gemm", "i w2", "y", transB=1),
    ]
    constants = {
        "w0": normal(8, 3, 3, 3), "s": normal(8, seed=1), "t": normal(8, seed=2), "m": normal(8, seed=3),
        "v": np.abs(normal(8, seed=4)), "w1": normal(8, 4, 3, 3, seed=5), "low": np.float32(-1),
        "high": np.float32(np.inf), "zero": np.array([0]), "rest": np.array([-1]), "w2": normal(classes, 8, seed=6),
    }  # fmt: skip
    return model(nodes, {"x": ("n", 3, "h", "w")}, "y", constants)


SHAPE = (1, 3, 12, 12)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Saved for as many threads as a new process uses, whatever other tests have set."""
    path = tmp_path / "small.convmat"
    with convmat.threads(usable_cores()):
        convmat.load(small()).save(path, {"x": SHAPE})
    return path


def fresh(program: str, file: Path, absent: tuple[str, ...], home: Path) -> list[str]:
    """What a program prints in a new process without these packages, with a cache folder of its own."""
    hidden = "".join(f"sys.modules[{name!r}] = None\n" for name in absent)
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\n{hidden}import numpy as np\nimport convmat\n{program}",
            str(file),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "XDG_CACHE_HOME": str(home)},
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [*run.stdout.splitlines(), *run.stderr.splitlines()]


# -- the same network --------------------------------------------------------------------------------------------------


def test_numpy_and_convmat_are_enough(file: Path, tmp_path: Path) -> None:
    """Not one of the other packages is there; the bits are those of the network that was saved."""
    others = ("onnx", "google.protobuf", "llvmlite", "platformdirs", "threadpoolctl", "ml_dtypes")
    x = normal(*SHAPE, seed=9)
    np.save(tmp_path / "x.npy", x)
    said = fresh(
        "net = convmat.load(sys.argv[1], trust=True)\n"
        f"print(net(np.load({str(tmp_path / 'x.npy')!r})).tobytes().hex())\n"
        "from convmat.engine.runtime import jit_cache\n"
        "print(jit_cache.counts.compiled + jit_cache.counts.disk)",
        file,
        others,
        tmp_path / "home",
    )
    assert said == [convmat.load(small())(x).tobytes().hex(), "0"]
    assert not (tmp_path / "home/convmat/objects").exists(), "no kernel is kept"


def test_kernels_of_computed_weights_come_along(tmp_path: Path) -> None:
    """A filter that is an input has a plan too: it is saved, and runs where nothing can be compiled."""
    source = model(
        [node("Conv", "x w b", "y", pads=[1, 1, 1, 1])], {"x": SHAPE, "w": (4, 3, 3, 3), "b": (4,)}, "y", {}
    )
    path, given = (
        tmp_path / "computed.convmat",
        {"x": normal(*SHAPE), "w": normal(4, 3, 3, 3, seed=1), "b": normal(4)},
    )
    with convmat.threads(usable_cores()):
        net = convmat.load(source)
        net.save(path)
    np.savez(tmp_path / "given.npz", x=given["x"], w=given["w"], b=given["b"])
    said = fresh(
        "net = convmat.load(sys.argv[1], trust=True)\n"
        f"print(net(dict(np.load({str(tmp_path / 'given.npz')!r}))).tobytes().hex())",
        path,
        ("onnx", "llvmlite"),
        tmp_path / "home",
    )
    assert said == [net(given).tobytes().hex()]
    assert np.allclose(net(given), convmat.conv(given["x"], given["w"], given["b"], padding=1), atol=1e-5)


def test_kernels_between_products_come_along(tmp_path: Path) -> None:
    """Elementwise nodes, reductions, enlargements and a woven product run where nothing can be compiled."""
    weights = {"w": normal(4, 3, 3, 3), "v": normal(4, 8, 2, 2, seed=1)}
    nodes = [
        node("Conv", "x w", "a"),
        node("Neg", "a", "n"),
        node("ConvTranspose", "n v", "b", strides=[2, 2]),
        node("Abs", "b", "c"),
        node("GlobalMaxPool", "c", "d"),
        node("Div", "c d", "y"),
    ]
    source, x = model(nodes, {"x": (1, 3, 182, 184)}, "y", weights), normal(1, 3, 182, 184, seed=2)
    path = tmp_path / "between.convmat"
    np.save(tmp_path / "x.npy", x)
    with convmat.threads(usable_cores()):
        net = convmat.load(source)
        net.save(path)
        y = net(x)
    said = fresh(
        "net = convmat.load(sys.argv[1], trust=True)\n"
        f"y = net(np.load({str(tmp_path / 'x.npy')!r}))\n"
        "import hashlib\n"
        "print(hashlib.sha256(y.tobytes()).hexdigest(), {each.engine for each in net.summary().layers})",
        path,
        ("onnx", "llvmlite"),
        tmp_path / "home",
    )
    assert said == [f"{hashlib.sha256(y.tobytes()).hexdigest()} {{'jit'}}"]


def test_without_trust_the_blas_engine_runs_where_nothing_compiles(file: Path, tmp_path: Path) -> None:
    said = fresh(
        "print(float(np.abs(convmat.load(sys.argv[1])(np.ones((1, 3, 12, 12), np.float32))).max()))",
        file,
        ("onnx", "llvmlite"),
        tmp_path / "home",
    )
    expected = float(np.abs(convmat.load(small())(np.ones(SHAPE, np.float32))).max())
    assert abs(float(said[0]) - expected) <= 1e-5 * expected
    assert "load: small.convmat: its machine code is not run: trust=True was not given" in "\n".join(said)
    assert "convmat computes with NumPy's BLAS, more slowly" in "\n".join(said)


def test_other_shapes_still_run(file: Path) -> None:
    x = normal(2, 3, 9, 7, seed=3)
    assert np.array_equal(convmat.load(file, trust=True)(x), convmat.load(small())(x))


def test_what_is_not_trusted_is_compiled_from_the_data(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(*SHAPE, seed=9)
    monkeypatch.setattr(preloaded, "_brought", OrderedDict())
    with pytest.warns(RuntimeWarning) as told:
        net = convmat.load(file)
    assert str(told[0].message) == (
        "load: small.convmat: its machine code is not run: trust=True was not given\n  its kernels are compiled here"
    )
    assert np.array_equal(net(x), convmat.load(small())(x))
    assert not preloaded._brought


def test_no_shapes_no_code(tmp_path: Path) -> None:
    net = convmat.load(small())
    net.save(tmp_path / "bare.convmat", ())
    assert archive.open_saved(tmp_path / "bare.convmat").code is None
    again = convmat.load(tmp_path / "bare.convmat")
    assert np.array_equal(again(np.ones(SHAPE, np.float32)), net(np.ones(SHAPE, np.float32)))
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(small()).save(tmp_path / "open.convmat")
    assert str(error.value) == (
        "save: the shape of the input 'x' is not known\n  it is declared as x: float32 nx3xhxw\n"
        "  say which, e.g. net.with_shapes({'x': (1, 3, 224, 224)})"
    )
    net.with_shapes({"x": SHAPE}).save(tmp_path / "closed.convmat")


def test_what_was_called_is_saved(tmp_path: Path) -> None:
    net = convmat.load(small(), exact=True, rewrite=["activate"])
    net(np.ones(SHAPE, np.float32))
    net.save(tmp_path / "called.convmat")
    found = archive.open_saved(tmp_path / "called.convmat")
    assert found.options.exact
    assert found.rules == ("activate",)
    assert found.choices
    assert all(choice.lowering != "winograd" for choice in found.choices.values())
    assert found.code is not None
    again = convmat.load(tmp_path / "called.convmat", trust=True)
    assert np.array_equal(again(np.ones(SHAPE, np.float32)), net(np.ones(SHAPE, np.float32)))


def test_all_kinds_of_values(tmp_path: Path) -> None:
    """Texts, infinities, halves, bfloat16 and nodes that ONNX's reference runs."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    nodes = [
        node("Cast", "half", "h", to=onnx.TensorProto.FLOAT),
        node("Cast", "brain", "b", to=onnx.TensorProto.FLOAT),
        node("Clip", "x low", "c"),
        node("Sum", "c h b", "y"),
        node("NonZero", "x", "z"),
        node("StringNormalizer", "words", "u", case_change_action="UPPER", stopwords=["no"]),
    ]
    constants = {
        "half": np.array([1, 2], np.float16), "brain": np.array([3, 4], ml_dtypes.bfloat16), "low": np.float32(-np.inf),
        "words": np.array(["yes", "no"], object),
    }  # fmt: skip
    net = convmat.load(model(nodes, {"x": (2,)}, "y z u", constants))
    net.save(tmp_path / "all.convmat")
    again = convmat.load(tmp_path / "all.convmat", trust=True)
    x = np.array([0, -7], np.float32)
    one, other = net(x), again(x)
    assert {name: found.tolist() for name, found in other.items()} == {
        "y": [4.0, -1.0], "z": [[1]], "u": ["YES"]
    }  # fmt: skip
    assert all(one[name].dtype == other[name].dtype for name in one)


def test_what_needs_onnx_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convmat.load(model([node("Det", "x", "y")], {"x": (2, 2)}, "y")).save(tmp_path / "z.convmat")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(tmp_path / "z.convmat", trust=True)
    assert str(error.value) == (
        "load: z.convmat: it needs the onnx package\n"
        "  1 of its 1 nodes run by the reference of the ONNX standard\n  pip install 'convmat[onnx]'"
    )


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_file_is_whole_or_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(small(7)).save(file, ())
    assert str(error.value) == (
        f"save: cannot write {file}\n  No space left on device\n  make room on the disk, or give a path on another"
    )
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) & 0o111 == 0


def test_saving_twice_gives_the_same_bytes(file: Path) -> None:
    before = file.read_bytes()
    convmat.load(file, trust=True).save(file, {"x": SHAPE})
    assert file.read_bytes() == before


# -- what is wrong with a file -----------------------------------------------------------------------------------------


def refusal(source: Path | bytes) -> str:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(source, trust=True)
    return str(error.value)


def parts(data: bytes) -> tuple[Head, bytes, bytes]:
    _, _, head, tensors, _ = struct.unpack_from("<16sQQQQ", data)
    at = 48 + 32 + head
    return json.loads(data[80:at]), data[at : at + tensors], data[at + tensors :]


def sealed(head: Head | bytes, tensors: bytes, code: bytes) -> bytes:
    """A file with a right checksum, whatever is in it."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    text += b" " * (-(80 + len(text)) % 64)
    header = struct.pack("<16sQQQQ", archive.MAGIC, archive.FORMAT, len(text), len(tensors), len(code))
    rest = text + tensors + code
    return header + hashlib.sha256(header + rest).digest() + rest


def test_no_saved_network(tmp_path: Path) -> None:
    path = tmp_path / "x.convmat"
    path.write_bytes(b"PK\x03\x04" * 40)
    assert refusal(path) == (
        "load: x.convmat is not a saved network\n  160 bytes, which do not begin as one does\n"
        "  give a file that net.save wrote"
    )
    assert refusal(tmp_path / "none.convmat") == (
        f"load: {tmp_path / 'none.convmat'} cannot be read\n  No such file or directory\n"
        "  give the path of a .convmat file"
    )
    (tmp_path / "folder.convmat").mkdir()
    assert refusal(tmp_path / "folder.convmat") == (
        f"load: {tmp_path / 'folder.convmat'} is not a file\n  give the path of a .convmat file"
    )


def test_damage(file: Path) -> None:
    data = file.read_bytes()
    assert refusal(data[:-1]) == (
        f"load: the network is not as long as it says\n  {len(data) - 1:,} bytes; it says {len(data):,}\n"
        "  save it again: net.save(...)"
    )
    for at in (50, 90, len(data) // 2, len(data) - 1):
        assert refusal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) == (
            f"load: the network is damaged\n  its checksum is not that of its {len(data):,} bytes\n"
            "  save it again: net.save(...)"
        )
    assert refusal(data[:16] + b"\2" + data[17:]) == (
        "load: the network is of a format that is not read\n  format 2; this convmat reads 1\n"
        "  save it again: net.save(...)"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h.update(nodes=3), "its nodes is no list\n  3"),
        (lambda h: h["tensors"][0].update(at=2**62), "one of its tensors lies outside the file\n  [8, 3, 3, 3] "),
        (lambda h: h["tensors"][0].update(shape=[2**40, 2**40]), "one of its tensors lies outside the file\n"),
        (lambda h: h["tensors"][0].update(shape=[0, 2**62]), "its shape is that of no array\n  [0, 46116860184"),
        (lambda h: h["tensors"][0].update(shape=[-1]), "its shape is out of range\n  -1; 0 to 9,223,"),
        (lambda h: h["tensors"][0].update(dtype="object"), 'it has elements of an unknown type\n  "object"'),
        (lambda h: h["nodes"][0].update(op="Conv2"), 'one of its operators is not known\n  "Conv2"'),
        (lambda h: h["nodes"][0].update(inputs=["x", "gone"]), "Conv 'Conv_a' reads 'gone', which nothing computes\n"),
        (lambda h: h["nodes"][0].update(inputs=["e", "w0"]), "its nodes wait for each other\n"),
        (lambda h: h.update(outputs=["q"]), "nothing computes the output 'q'"),
        (lambda h: h["constants"].update(x=h["constants"]["s"]), "two of its inputs and constants have the same name"),
        (lambda h: h.update(exact=1), "its exact is no bool\n  1"),
        (lambda h: h["constants"].update(s=3), "one of its constants is no array\n  3"),
        (lambda h: h["inputs"].__setitem__(0, ["x", "float32"]),
         'one of its inputs is not a name, a type and a shape\n  ["x", "float32"]'),
        (lambda h: h["nodes"][0]["attributes"].update(group={"a": 1}), 'it has a value of an unknown kind\n  {"a": 1}'),
        (lambda h: h.update(choices={"a": ["jit"]}), 'one of its choices is none\n  ["jit"]'),
        (lambda h: h.update(choices={"a": ["jit", "im2col", "panel", 1, 1, -1.0]}),
         "one of its choices takes no time that there is\n  -1.0 seconds"),
        (lambda h: h.update(precision="half"), 'its precision is "half"\n  one of float32, float16, bfloat16'),
        (lambda h: h["code"]["objects"].update(a=[0, 2**40]), "its object lies outside the file\n"),
    ],
)  # fmt: skip
def test_lies_in_the_head(file: Path, change: Callable[[Head], object], said: str) -> None:
    head, tensors, code = parts(file.read_bytes())
    change(head)
    assert refusal(sealed(head, tensors, code)).startswith(f"load: the network: {said}")


def test_a_head_that_is_no_json(file: Path) -> None:
    _, tensors, code = parts(file.read_bytes())
    for head in (b"{", b"[" * 10_000, b'{"rtol": NaN}'):
        size = -(-(80 + len(head)) // 64) * 64 - 80
        assert (
            refusal(sealed(head, tensors, code))
            == f"load: the network: its head is not JSON\n  {size:,} bytes"
        )


def test_other_machines_code_is_not_run(file: Path) -> None:
    head, tensors, code = parts(file.read_bytes())
    mine = head["code"]["cpu"]
    head["code"]["cpu"] = "x86_64/other"
    with pytest.warns(RuntimeWarning) as told:
        convmat.load(sealed(head, tensors, code), trust=True)
    assert str(told[0].message) == (
        "load: the network: its machine code is not run: it is for another CPU, x86_64/other; this one is "
        f"{mine}\n  its kernels are compiled here"
    )
    head["code"].update(cpu=mine, version="older")
    with pytest.warns(RuntimeWarning) as told:
        convmat.load(sealed(head, tensors, code), trust=True)
    assert str(told[0].message) == (
        "load: the network: its machine code is not run: another version of convmat made it\n"
        "  its kernels are compiled here"
    )


def test_choices_that_cannot_be_followed_are_not(file: Path) -> None:
    head, tensors, code = parts(file.read_bytes())
    for words in (["jit", "depthwise", "in place"], ["no", "im2col", "in place"], ["jit", "no", "no"]):
        head["choices"] = {key: [*words, 1, 1, 1e-6] for key in head["choices"]}
        net = convmat.load(sealed(head, tensors, code), trust=True)
        assert np.array_equal(
            net(np.ones(SHAPE, np.float32)), convmat.load(small())(np.ones(SHAPE, np.float32))
        )


def mutated(value: Any, rng: random.Random) -> Any:
    """The same with one part of it replaced by something else."""
    odd: list[Any] = [None, True, -1, 0, 2**63, 10**30, 1.5, "", "x", "NOTSET", [], [[]], {}, {"tensor": 0},
                      {"float": "nan"}, [1, 1], [-3], [2**31, 2**31], "Resize"]  # fmt: skip
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = rng.choice(sorted(value))
        if rng.random() < 0.05:
            return {other: each for other, each in value.items() if other != key}
        return {**value, key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        how = rng.random()
        if how < 0.1:
            return value[:at] + value[at + 1 :]
        if how < 0.2:
            return [*value, value[at]]
        return [*value[:at], mutated(value[at], rng), *value[at + 1 :]]
    return rng.choice(odd)


def test_a_thousand_mutated_files_give_an_answer_or_a_sentence(file: Path) -> None:
    """Every one has a right checksum, so that what is behind it is tried; only the data are trusted with a run."""
    head, tensors, code = parts(file.read_bytes())
    rng, answers = random.Random(7), 0
    x = np.ones(SHAPE, np.float32)
    for _ in range(1000):
        changed = dict(head)
        for part in rng.choices(
            ["nodes", "constants", "tensors", "inputs", "choices", "rest"], [6, 2, 2, 1, 1, 1]
        ):
            name = rng.choice(sorted(head)) if part == "rest" else part
            changed[name] = mutated(head[name], rng)
        with suppress(convmat.NetworkError), warnings.catch_warnings(action="ignore"):
            convmat.load(sealed(changed, tensors, code), trust=True, memory_limit=1 << 24)(x)
            answers += 1
    assert 0 < answers < 900


def test_truncations_and_flips(file: Path) -> None:
    data, rng = file.read_bytes(), random.Random(3)
    for at in (0, 1, 15, 16, 47, 79, 80, 81, *rng.choices(range(len(data)), k=50)):
        assert refusal(data[:at]).startswith("load: ")
    for _ in range(100):
        at = rng.randrange(len(data))
        with pytest.raises(convmat.NetworkError):
            convmat.load(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :], trust=True)


def test_a_hostile_node_of_onnx(tmp_path: Path) -> None:
    convmat.load(model([node("Det", "x", "y")], {"x": (2, 2)}, "y")).save(tmp_path / "z.convmat")
    head, tensors, code = parts((tmp_path / "z.convmat").read_bytes())
    strange = helper.make_node("Glue", ["x"], ["y"], domain="my").SerializeToString()
    head["nodes"][0]["source"] = [0, len(strange)]
    assert refusal(sealed(head, strange + tensors, code)) == (
        "load: the network: some of its operators are not known\n  my.Glue (1 node)\n"
        "  those of the ONNX standard are; export the model without the others"
    )
    assert refusal(sealed(head, b"\xff" * 64, code)) == (
        f"load: the network: one of its nodes is not one of ONNX\n  {len(strange)} bytes"
    )


def test_a_brought_object_that_does_not_load_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from convmat.engine.cpu import host

    monkeypatch.setattr(preloaded, "_brought", OrderedDict())
    text = f"define i64 @task() {{\n  ret i64 {random.randrange(10**9)}\n}}\n"
    preloaded.add({preloaded.kernel_name(text, host()): b"no object"})
    (loaded,) = jit_cache.load([text], host())
    assert "task" in loaded.symbols
    assert not preloaded._brought


def test_brought_objects_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for longest ago goes; one that is in use is there for its users."""
    monkeypatch.setattr(preloaded, "_brought", OrderedDict())
    monkeypatch.setattr(preloaded, "MOST_BYTES", 3000)
    for name in "abc":
        preloaded.add({name: bytes(1000)})
    preloaded.add({"a": bytes(1000)})  # another file with the same kernel
    preloaded.add({"d": bytes(1000), "e": bytes(1000)})
    assert list(preloaded._brought) == ["a", "d", "e"]
    preloaded.add({"f": bytes(9000)})
    assert list(preloaded._brought) == ["f"]
