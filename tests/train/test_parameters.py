"""What is trained: weights as exporters write them, and nothing that only looks like one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat import train
from convmat.network import Network
from convmat.network.graph import MEMORY_LIMIT, Graph, Input, Node
from convmat.network.ops import Options
from tests.network.differences import node, normal

Array = npt.NDArray[Any]
Made = tuple[list[Node], dict[str, Array]]


def network(nodes: list[Node], constants: dict[str, Array], *shape: int, dtype: Any = np.float32) -> Network:
    constants = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in constants.items()}
    entry = Input("x", np.dtype(dtype), ("batch", *shape))
    return Network(Graph(tuple(nodes), (entry,), ("y",), constants), Options(), MEMORY_LIMIT)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


W = normal(4, 3)
WRITTEN: dict[str, tuple[Made, set[str]]] = {
    "as they are": (([node("Gemm", "x w b", transB=1)], {"w": W, "b": normal(4)}), {"w", "b"}),
    "transposed": (([node("Transpose", "w", "t"), node("MatMul", "x t")], {"w": W}), {"w"}),
    "under another name": (
        ([node("Identity", "w", "i"), node("Transpose", "i", "t"), node("MatMul", "x t")], {"w": W}),
        {"w"},
    ),
    "joined": (
        ([node("Concat", "a b", "w", axis=0), node("Gemm", "x w", transB=1)], {"a": W[:1], "b": W[1:]}),
        {"a", "b"},
    ),
    "cut": (
        ([node("Slice", "a lo hi", "w"), node("Gemm", "x w", transB=1)],
         {"a": normal(9, 3), "lo": ints(2), "hi": ints(6)}),
        {"a"},
    ),
    "normalised": (
        ([node("ReduceL2", "v one", "n"), node("Div", "v n", "d"), node("Mul", "d g", "w"),
          node("Gemm", "x w", transB=1)], {"v": W, "g": normal(4, 1), "one": ints(1)}),
        {"v", "g"},
    ),
    "by a setting": (
        ([node("Mul", "v s", "w"), node("Gemm", "x w", transB=1)], {"v": W, "s": np.array([0.5])}),
        {"v"},
    ),
    "of which some are left out": (
        ([node("Mul", "v m", "w"), node("Gemm", "x w", transB=1)], {"v": W, "m": np.arange(12.0).reshape(4, 3) % 2}),
        {"v"},
    ),
    "of one number": (
        ([node("ReduceMean", "x last", "m"), node("Transpose", "w", "t"), node("MatMul", "m t")],
         {"w": normal(1, 1), "last": ints(1)}),
        {"w"},
    ),
    "with a bias of one number": (
        ([node("MatMul", "x w", "h"), node("Add", "h b")], {"w": W[:1].T, "b": normal(1)}),
        {"w", "b"},
    ),
    "beside the input": (
        ([node("Mul", "x s", "a"), node("Add", "b a", "c"), node("Add", "c p")],
         {"s": normal(3), "b": normal(1, 3), "p": normal(2, 3)}),
        {"s", "b", "p"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_weights_however_they_are_written(name: str) -> None:
    (nodes, constants), wanted = WRITTEN[name]
    learn(network(nodes, constants, 3), normal(2, 3).astype(np.float32), wanted)


def test_a_table_is_the_projection_too() -> None:
    nodes = [
        node("Gather", "w x", "g"), node("ReduceMean", "g last", "m", keepdims=0), node("Transpose", "w", "t"),
        node("MatMul", "m t"),
    ]  # fmt: skip
    net = network(nodes, {"w": W, "last": ints(1)}, 2, dtype=np.int64)
    learn(net, np.array([[0, 3], [1, 1]]), {"w"})


def learn(net: Network, x: Array, wanted: set[str]) -> None:
    """Its parameters are those wanted, and change so that the loss falls."""
    trainer = net.trainer(loss="mean_squared_error", optimiser=train.SGD(0.02))
    assert set(trainer.parameters) == wanted
    target = net(x) + 1
    losses = [trainer.step(x, target) for _ in range(10)]
    assert losses[-1] < 0.98 * losses[0]
    changed = trainer.network().graph.constants
    assert all(not np.array_equal(changed[each], net.graph.constants[each]) for each in wanted)


NO_WEIGHTS: dict[str, tuple[Node, Array]] = {
    "a single number": (node("Mul", "h s", "m"), np.array([0.5])),
    "a single number to add": (node("Add", "h s", "m"), np.array(0.5)),
    "a table of factors": (node("Mul", "h s", "m"), normal(2, 4)),
    "a mask": (node("Add", "h s", "m"), np.array([[0.0, -100, 0, 0], [0, 0, -100, 0]])),
    "a mask of infinities": (node("Add", "h s", "m"), np.array([[-3e38, 0, 0, 0], [0, 0, 0, -np.inf]])),
    "what comes off": (node("Sub", "h s", "m"), normal(4)),
    "whole numbers": (node("Add", "h s", "m"), ints(1, 2, 3, 4)),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_what_only_looks_like_weights(name: str) -> None:
    made, value = NO_WEIGHTS[name]
    nodes = [node("MatMul", "x w", "h"), made, node("ReduceMean", "m", "y", keepdims=0)]
    net = network(nodes, {"w": W.T, "s": value}, 3)
    assert net.trainer(loss="output").parameters == ("w",)


def test_factors_of_positions_are_no_weights() -> None:
    """A table that angles are computed of, from shapes alone: nothing of the input is in what it is multiplied by."""
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Range", "zero n step", "r"),
        node("Cast", "r", "p", to=1), node("Mul", "p f", "a"), node("Cos", "a", "c"), node("Mul", "x c", "h"),
        node("Gemm", "h w", "y", transB=1),
    ]  # fmt: skip
    constants = {"one": np.array(1), "zero": np.array(0), "step": np.array(1), "f": normal(3), "w": W}
    assert network(nodes, constants, 3).trainer().parameters == ("w",)


def test_running_values_are_each_normalisations_own() -> None:
    """Exporters write equal arrays once: here two means, two variances, and the zeros of a bias."""
    nodes = [
        node("Identity", "ones", "v"),
        node("BatchNormalization", "x s zeros zeros ones", "h", momentum=0.5),
        node("BatchNormalization", "h t b zeros v", "y", momentum=0.5),
    ]
    constants = {"ones": np.ones(3), "zeros": np.zeros(3), "s": normal(3), "t": np.ones(3), "b": np.ones(3)}
    trainer = network(nodes, constants, 3).trainer(loss="mean_squared_error", optimiser=train.SGD(0.1))
    x = (normal(8, 3) * 2 + 1).astype(np.float32)
    trainer.step(x, np.zeros((8, 3)))
    h = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * constants["s"]
    now = trainer.network().graph.constants
    kept = [now[name] for each in trainer.source.graph.nodes for name in each.inputs[3:5]]
    wanted = [x.mean(0) / 2, x.var(0, ddof=1) / 2 + 0.5, h.mean(0) / 2, h.var(0, ddof=1) / 2 + 0.5]
    for found, value in zip(kept, wanted, strict=True):
        assert np.allclose(found, value, atol=1e-6)
    assert not np.allclose(now["zeros"], kept[0])  # the bias went its own way


def test_ones_and_zeros_of_layers_that_have_not_been_trained_are_each_their_own() -> None:
    """Exporters write them once, and Identities of the others' names."""
    nodes = [
        node("Identity", "ones", "t"), node("Identity", "zeros", "c"), node("Identity", "w", "v"),
        node("LayerNormalization", "x ones zeros", "h"), node("Gemm", "h w c", "g"),
        node("LayerNormalization", "g t c", "k"), node("MatMul", "k v"),
    ]  # fmt: skip
    net = network(nodes, {"ones": np.ones(3), "zeros": np.zeros(3), "w": normal(3, 3)}, 3)
    x = normal(5, 3).astype(np.float32)
    trainer = net.trainer(loss="mean_squared_error", optimiser=train.SGD(0.1))
    assert set(trainer.parameters) == {"ones", "zeros", "w", "t", "c"}
    trainer.step(x, net(x) + normal(5, 3))
    now = trainer.network().graph.constants
    assert not np.allclose(now["ones"], now["t"], atol=1e-4)
    assert not np.allclose(now["zeros"], now["c"], atol=1e-4)


@pytest.mark.parametrize("scale", [np.ones(2), normal(2)])
def test_a_normalisation_of_groups_has_one_scale_and_bias(scale: Array) -> None:
    """As exporters write it: ones and zeros for the groups, which are no parameters."""
    nodes = [
        node("Conv", "x w", "h"), node("Reshape", "h apart", "a"), node("InstanceNormalization", "a s z", "n"),
        node("Shape", "h", "shape"), node("Reshape", "n shape", "b"), node("Mul", "b g", "m"),
        node("Add", "m c"),
    ]  # fmt: skip
    constants = {
        "w": normal(4, 1, 1, 1), "s": scale, "z": np.zeros(2), "g": normal(4, 1, 1), "c": normal(4, 1, 1),
        "apart": ints(0, 2, -1),
    }  # fmt: skip
    more = set() if (scale == 1).all() else {"s", "z"}
    learn(network(nodes, constants, 1, 3, 3), normal(2, 1, 3, 3).astype(np.float32), {"w", "g", "c"} | more)
