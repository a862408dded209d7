"""Rules of RNN, GRU and LSTM: finite differences, PyTorch beside, and a small network that learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import NetworkError
from convmat.network.gradients import differentiate
from convmat.network.graph import Graph, Input, Node

from .differences import check, node, normal, run
from .made import model
from .made import node as made

T, B, I, H = 4, 3, 2, 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
OUTPUTS = {"RNN": "y yh", "GRU": "y yh", "LSTM": "y yh yc"}


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(("direction", "layout"), [("forward", 0), ("reverse", 1), ("bidirectional", 1)])
def test_steps_back(op: str, direction: str, layout: int) -> None:
    """Sequences of several lengths, one of them empty, from given states, with peepholes."""
    D, G = 2 if direction == "bidirectional" else 1, GATES[op]
    x, state = ((B, T, I), (B, D, H)) if layout else ((T, B, I), (D, B, H))
    values = [normal(*x), normal(D, G * H, I), normal(D, G * H, H, seed=2), normal(D, 2 * G * H)]
    values += [normal(*state, seed=3), *([normal(*state, seed=4), normal(D, 3 * H)] if op == "LSTM" else [])]
    inputs = "X W R B lengths h" + (" c P" if op == "LSTM" else "")
    words: dict[str, Any] = {"hidden_size": H, "direction": direction, "layout": layout}
    lengths = {"lengths": np.array([4, 0, 2], np.int32)}
    check(node(op, inputs, OUTPUTS[op], 14, **words), values, lengths)


@pytest.mark.parametrize("op", GATES)
def test_steps_back_from_what_is_there(op: str) -> None:
    """Without biases and states; the state behind the reset gate of a GRU."""
    words: dict[str, Any] = {"hidden_size": H, **({"linear_before_reset": 1} if op == "GRU" else {})}
    values = [normal(T, B, I), normal(1, GATES[op] * H, I), normal(1, GATES[op] * H, H, seed=2)]
    check(node(op, "X W R", OUTPUTS[op], 14, **words), values)
    check(node(op, "X W R", OUTPUTS[op], 14, **words), values, seen=("yh",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"clip": 3.0}, "clip = 3.0"),
        ({"input_forget": 1}, "input_forget = 1"),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, "activations = ['Sigmoid', 'Relu', 'Tanh']"),
    ],
)
def test_other_cells_are_refused(words: dict[str, Any], said: str) -> None:
    values = {"X": (T, B, I), "W": (1, 4 * H, I), "R": (1, 4 * H, H)}
    inputs = tuple(Input(name, np.dtype(np.float64), shape) for name, shape in values.items())
    graph = Graph((node("LSTM", "X W R", "y", 14, **words),), inputs, ("y",), {})
    with pytest.raises(NetworkError) as error:
        differentiate(graph, ["y"], ["X"])
    assert str(error.value) == (
        f"train: LSTM 'LSTM' cannot be differentiated\n  its {said}\n"
        "  Sigmoid, Tanh, Tanh, without clip and input_forget, have a rule"
    )


def test_a_network_that_counts_learns() -> None:
    """Which of two numbers is more often in a sequence: an LSTM over time, and a dense layer of its last state."""
    rng = np.random.default_rng(0)
    constants = {
        "W": 0.5 * rng.standard_normal((1, 32, 1)).astype(np.float32),
        "R": 0.3 * rng.standard_normal((1, 32, 8)).astype(np.float32),
        "b": np.zeros((1, 64), np.float32),
        "A": 0.3 * rng.standard_normal((8, 2)).astype(np.float32),
        "last": np.array([0]),
    }
    nodes = [
        made("Transpose", "x", "xt", perm=[1, 0, 2]),
        made("LSTM", "xt W R b", "- h", hidden_size=8),
        made("Squeeze", "h last", "s"),
        made("MatMul", "s A", "y"),
    ]
    net = convmat.load(model(nodes, {"x": ("n", 7, 1)}, "y", constants))
    trainer = net.trainer(optimiser=convmat.train.SGD(0.5, momentum=0.9))
    assert set(trainer.made.parameters) == {"W", "R", "b", "A"}
    x = rng.integers(0, 2, (64, 7, 1)).astype(np.float32)
    target = (x.sum((1, 2)) > 3.5).astype(np.int64)
    losses = [trainer.step(x, target) for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("shape", [(0, B), (T, 0)])
@pytest.mark.parametrize("outputs", ["y h", "- h"])
def test_of_no_steps_or_sequences_weights_have_gradients_of_zero(
    op: str, shape: tuple[int, int], outputs: str
) -> None:
    given = {
        "X": normal(*shape, I), "W": normal(2, GATES[op] * H, I), "R": normal(2, GATES[op] * H, H),
        "b": normal(2, 2 * GATES[op] * H),
    }  # fmt: skip
    seen = [name for name in outputs.split() if name != "-"]
    names = tuple(name.replace("-", "") for name in outputs.split())
    words: dict[str, Any] = {"hidden_size": H, "direction": "bidirectional"}
    inputs = tuple(Input(name, x.dtype, x.shape) for name, x in given.items())
    graph = Graph((Node(op, tuple(given), names, words, op, 14),), inputs, tuple(seen), {})
    whole, gradients = differentiate(graph, seen, list(given))
    found = run(whole, given)
    for name, value in given.items():
        np.testing.assert_array_equal(found[gradients[name]], np.zeros_like(value))


@pytest.mark.outside
@pytest.mark.parametrize(("op", "order"), [("LSTM", [0, 2, 3, 1]), ("GRU", [1, 0, 2]), ("RNN", [0])])
def test_steps_back_beside_pytorch(op: str, order: list[int]) -> None:
    """PyTorch's gates stand in another order."""
    import torch

    G = GATES[op]
    words: dict[str, Any] = {"hidden_size": H, **({"linear_before_reset": 1} if op == "GRU" else {})}
    given = {
        "X": normal(T, B, I), "W": normal(1, G * H, I), "R": normal(1, G * H, H, seed=2), "b": normal(1, 2 * G * H),
    }  # fmt: skip
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in given.items()}
    turned = [leaves[name][0].reshape(G, H, -1)[order].reshape(G * H, -1) for name in ("W", "R")]
    turned += [each.reshape(G, H)[order].reshape(-1) for each in leaves["b"][0].reshape(2, -1)]
    h = torch.zeros(1, B, H, dtype=torch.float64)
    function = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_tanh}[op]
    state = (h, h) if op == "LSTM" else h
    y = function(leaves["X"], state, turned, True, 1, 0.0, False, False, False)[0]
    dy = normal(T, 1, B, H, seed=9)
    y.backward(torch.tensor(dy[:, 0]))
    inputs = tuple(Input(name, x.dtype, x.shape) for name, x in {**given, "dy": dy}.items())
    graph = Graph((node(op, "X W R b", "y", 14, **words),), inputs, ("y",), {})
    whole, names = differentiate(graph, {"y": "dy"}, list(given))
    found = run(whole, {**given, "dy": dy})
    for name, leaf in leaves.items():
        assert np.allclose(found[names[name]], leaf.grad.numpy(), rtol=1e-9, atol=1e-12), name
