"""DynamicQuantizeLSTM: by its meaning, step by step in float64 with sums of whole numbers, and beside onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.network.graph import specs_of
from convmat.network.ops.byte_recurrent import INTEGER_LSTM
from convmat.network.ops.rolled import Rolled, RolledToTheEnd
from tests.network.test_foreign import Array, by_onnxruntime, model, some

RANDOM = np.random.default_rng(5)


def by_range(x: Array) -> tuple[Array, float, int]:
    """What DynamicQuantizeLinear makes of x: whole numbers less their zero point, their scale and that point."""
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = (high - low) / 255 if high > low else 1.0
    zero = round(-low / scale)
    return np.clip(np.rint(x / scale) + zero, 0, 255) - zero, scale, zero


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def definition(
    x: Array, known: dict[str, Array], directions: int, clip: float = np.inf, lengths: Any = None
) -> list[Array]:
    """Y, Y_h, Y_c: x quantised as a whole, each state by itself; a sequence beyond its end is 0."""
    (T, B, _), H = x.shape, known["r"].shape[1]
    ends = np.reshape(np.full(B, T) if lengths is None else lengths, (B, 1))
    w, r = (
        (known[n].astype(float) - known[f"{n}z"].reshape(directions, 1, -1)) * known[f"{n}s"].reshape(directions, 1, -1)
        for n in "wr"
    )  # fmt: skip
    b, start = known.get("b", np.zeros((directions, 8 * H))), known.get("h", np.zeros((directions, B, H)))
    y, last = np.zeros((T, directions, B, H)), np.zeros((2, directions, B, H))
    whole, scale, _ = by_range(x)
    for d in range(directions):
        h, c = start[d].astype(float), np.zeros((B, H))
        for t in reversed(range(T)) if d else range(T):
            near = np.stack([q * s for q, s, _ in map(by_range, h)])
            sums = whole[t] * scale @ w[d] + near @ r[d] + b[d].reshape(2, -1).sum(0)
            i, o, f, n = np.split(np.clip(sums, -clip, clip), 4, axis=1)
            c = np.where(t < ends, sigmoid(f) * c + sigmoid(i) * np.tanh(n), c)
            h = np.where(t < ends, sigmoid(o) * np.tanh(c), h)
            y[t, d] = np.where(t < ends, h, 0)
        last[:, d] = np.where(ends > 0, (h, c), 0)
    return [y, *last]


def network(
    H: int, directions: int, kind: str = "int8", *, each: bool = False, everything: bool = False, T: int = 5,
    B: int = 2, lengths: Any = None, told: bool = False,
) -> tuple[bytes, dict[str, Array], dict[str, Array]]:  # fmt: skip
    """A model, its input, its constants; `told`: lengths are an input, too."""
    x = RANDOM.standard_normal((T, B, 6)).astype(np.float32)
    shape = (directions, 4 * H) if each else (directions,)
    known: dict[str, Any] = {}
    for name, rows in (("w", 6), ("r", H)):
        known[name] = some(kind, directions, rows, 4 * H)
        known[f"{name}s"] = (RANDOM.uniform(0.5, 1, shape) / (40 * np.sqrt(H))).astype(np.float32)
        known[f"{name}z"] = np.full(shape, 120 if kind == "uint8" else 0, kind)
    names = "x w r - - - - - ws wz rs rz"
    if everything:
        known["b"] = RANDOM.standard_normal((directions, 8 * H)).astype(np.float32)
        known["h"] = RANDOM.uniform(-1, 1, (directions, B, H)).astype(np.float32)
        names = "x w r b - h - - ws wz rs rz"
    attributes: dict[str, Any] = {
        "hidden_size": H,
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    if everything:
        attributes["clip"] = 2.0
    inputs = {"x": x}
    if lengths is not None:
        names = " ".join("len" if at == 4 else name for at, name in enumerate(names.split()))
        (inputs if told else known)["len"] = np.array(lengths, np.int32)
    return model("DynamicQuantizeLSTM", inputs, known, names, "y yh yc", **attributes), inputs, known


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("H", "B", "about"),
    [
        (4, 2, {}), (4, 1, {"kind": "uint8", "each": True, "everything": True}),
        (37, 1, {"everything": True}), (70, 5, {"kind": "uint8", "each": True}), (64, 9, {"each": True}),
    ],
)  # fmt: skip
def test_steps_in_bytes(H: int, B: int, about: dict[str, Any], threads: int) -> None:
    """By kernels, of few numbers as well: what falls to another byte moves sums by a step."""
    made, inputs, known = network(H, 2, **about, B=B)
    clip = 2.0 if about.get("everything") else np.inf
    with convmat.threads(threads):
        net = convmat.load(made)
        found = net(inputs)
        (task,) = [each for each in net.program(specs_of(inputs)).tasks if each.node.op == INTEGER_LSTM]
    assert isinstance(task.run, Rolled)
    step = max(float(known["rs"].max()), float(known["ws"].max())) * 128 / 255
    for name, wanted in zip(found, definition(inputs["x"], known, 2, clip), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=2 * step)
        assert np.mean(np.abs(found[name] - wanted)) < 2e-4


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("lengths", [(5, 3, 0), (5, 5, 5)])
def test_sequences_end(lengths: tuple[int, ...], told: bool) -> None:
    """By kernels where none ends early, whoever says so."""
    made, inputs, known = network(37, 2, everything=True, B=3, lengths=lengths, told=told)
    net = convmat.load(made)
    found = net(inputs)
    (task,) = [each for each in net.program(specs_of(inputs)).tasks if each.node.op == INTEGER_LSTM]
    whole = lengths == (5, 5, 5)
    assert isinstance(task.run, RolledToTheEnd if told else Rolled) == (told or whole)
    assert ("all steps" in str(net.summary())) == (told or whole)
    for name, wanted in zip(found, definition(inputs["x"], known, 2, 2.0, lengths), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=0.02)


def test_bits_do_not_depend_on_threads() -> None:
    made, inputs, _ = network(300, 1, everything=True, T=3, B=6)
    bits = []
    for threads in (1, 2, 3):
        with convmat.threads(threads):
            bits.append(b"".join(y.tobytes() for y in convmat.load(made)(inputs).values()))
    assert len({*bits}) == 1


def test_it_is_written_as_nodes_of_the_standard(tmp_path: Path) -> None:
    made, inputs, _ = network(64, 2, "uint8", everything=True)
    net = convmat.load(made)
    assert "IntegerLstm" in str(net.summary())
    wanted = net(inputs)
    net.to_onnx(tmp_path / "again.onnx")
    found = convmat.load(tmp_path / "again.onnx")(inputs)
    for name, y in wanted.items():
        np.testing.assert_array_equal(found[name], y)
    plain = convmat.load(made, rewrite=False)(inputs)  # states stay in float32
    np.testing.assert_allclose(plain["y"], wanted["y"], atol=0.02)


@pytest.mark.outside
@pytest.mark.parametrize("H", [4, 64])
def test_it_is_near_onnxruntime_s(H: int) -> None:
    """Which counts the states of all sequences by one range: with one sequence, by the same."""
    made, inputs, _ = network(H, 2, each=True, B=1)
    for found, wanted in zip(convmat.load(made)(inputs).values(), by_onnxruntime(made, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-3)
