"""Rules of differentiation, each against finite differences in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.errors import NetworkError
from convmat.network.gradients import differentiate
from convmat.network.graph import Graph, Input, Node, Spec
from convmat.network.ops import Options
from convmat.network.preparing.programs import Programs, Setting

Array = npt.NDArray[Any]


def prepared(graph: Graph) -> Programs:
    return Programs(graph, Setting(Options(exact=True)))


def run(graph: Graph, values: Mapping[str, Array]) -> dict[str, Any]:
    return prepared(graph)(dict(values))


def check(
    node: Node, values: Sequence[Array], constants: Mapping[str, Array] | None = None, step: float = 1e-5
) -> None:
    """The gradients of a random linear function of a node's outputs, in all its inputs that are no constants."""
    rng = np.random.default_rng(1)
    names = [name for name in dict.fromkeys(node.inputs) if name and name not in (constants or {})]
    given = dict(zip(names, values, strict=True))
    inputs = tuple(Input(name, each.dtype, each.shape) for name, each in given.items())
    outputs = tuple(filter(None, node.outputs))
    graph = Graph((node,), inputs, outputs, dict(constants or {}))
    made = run(graph, given)
    seeds = {f"dy.{name}": rng.standard_normal(made[name].shape) for name in outputs}
    more = tuple(Input(name, each.dtype, each.shape) for name, each in seeds.items())
    floats = [name for name in names if given[name].dtype.kind == "f"]
    seeded = Graph((node,), (*inputs, *more), outputs, dict(constants or {}))
    whole, gradients = differentiate(seeded, {name: f"dy.{name}" for name in outputs}, floats)
    found = run(whole, {**given, **seeds})
    programs = prepared(graph)

    def value(moved: Mapping[str, Array]) -> float:
        answer = programs({**given, **moved})
        return sum(float((answer[name] * seeds[f"dy.{name}"]).sum()) for name in outputs)

    for name in floats:
        gradient = found[gradients[name]]
        assert gradient.shape == given[name].shape
        for index in list(np.ndindex(given[name].shape))[:: max(1, given[name].size // 12)]:
            ahead, behind = given[name].copy(), given[name].copy()
            ahead[index] += step
            behind[index] -= step
            wanted = (value({name: ahead}) - value({name: behind})) / (2 * step)
            assert gradient[index] == pytest.approx(wanted, rel=1e-6, abs=1e-7), (name, index)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def node(op: str, inputs: str, outputs: str = "y", version: int = 18, **attributes: Any) -> Node:
    return Node(op, tuple(inputs.split()), tuple(outputs.split()), attributes, op, version)


CONVOLUTIONS: dict[str, tuple[Node, list[tuple[int, ...]]]] = {
    "plain": (node("Conv", "x w b"), [(2, 3, 6, 5), (4, 3, 3, 3), (4,)]),
    "strided": (node("Conv", "x w", strides=[2, 2], pads=[1, 0, 1, 1]), [(2, 2, 7, 6), (3, 2, 3, 2)]),
    "grouped": (node("Conv", "x w", group=2, dilations=[2], pads=[2, 1]), [(2, 4, 9), (6, 2, 3)]),
    "same": (node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), [(1, 2, 5, 6), (2, 2, 3, 3)]),
    "transposed": (
        node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0]),
        [(2, 3, 4, 4), (3, 2, 3, 3), (2,)],
    ),
    "transposed groups": (node("ConvTranspose", "x w", group=2, strides=[3]), [(1, 4, 5), (4, 3, 3)]),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    made, shapes = CONVOLUTIONS[name]
    check(made, [normal(*shape) for shape in shapes])


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
def test_gemm(left: int, right: int) -> None:
    shapes = [(3, 4)[:: -1 if left else 1], (4, 5)[:: -1 if right else 1], (1, 5)]
    words: dict[str, Any] = {"transA": left, "transB": right, "alpha": 0.5, "beta": 2.0}
    check(node("Gemm", "a b c", **words), [normal(*shape) for shape in shapes])


@pytest.mark.parametrize("op", ["Relu"])
def test_functions_of_one(op: str) -> None:
    check(node(op, "x"), [normal(3, 7)])


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_functions_of_two_that_broadcast(op: str) -> None:
    check(node(op, "a b"), [normal(2, 3, 4), normal(3, 1)])
    check(node(op, "a a"), [normal(2, 3)])


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools(op: str) -> None:
    check(node(op, "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]), [normal(2, 2, 7, 6)])
    check(node(op, "x", kernel_shape=[2, 2], strides=[2, 2]), [normal(2, 3, 6, 8)])


def test_reshape() -> None:
    shape = np.array([4, 6], np.int64)
    check(node("Reshape", "x s"), [normal(2, 3, 4)], {"s": shape})


def test_what_cannot_be_differentiated_is_listed() -> None:
    nodes = (node("Det", "x", "a"), node("Det", "x", "b"), node("Add", "a b", "y"))
    graph = Graph(nodes, (Input("x", np.dtype(np.float64), (2, 2)),), ("y",), {})
    with pytest.raises(NetworkError) as error:
        differentiate(graph, ["y"], ["x"])
    assert str(error.value) == (
        "train: the network cannot be differentiated\n  no rule for Det (2); the first is Det 'Det'\n"
        "  freeze what stands before it (frozen=...), or train a part of the network that has none of these"
    )


def test_a_kept_input_is_written_in_place() -> None:
    x = Input("x", np.dtype(np.float64), (3,))
    total = Input("total", np.dtype(np.float64), (3,))
    graph = Graph((node("Add", "total x", "next"),), (x, total), ("next",), {}, kept={"total": "next"})
    held = {"total": np.zeros(3)}
    programs = Programs(graph, Setting(Options(), held=held))
    for _ in range(3):
        assert (
            programs.program({"x": Spec((3,), np.dtype(np.float64))})({"x": np.array([1.0, 2.0, 3.0])}) == {}
        )
    assert held["total"].tolist() == [3.0, 6.0, 9.0]
