"""Gradients of single nodes beside finite differences in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.network.gradients import differentiate
from convmat.network.graph import Graph, Input, Node
from convmat.network.ops import Options
from convmat.network.preparing.programs import Programs, Setting

Array = npt.NDArray[Any]


def prepared(graph: Graph) -> Programs:
    return Programs(graph, Setting(Options(exact=True)))


def run(graph: Graph, values: Mapping[str, Array]) -> dict[str, Any]:
    return prepared(graph)(dict(values))


def check(
    node: Node,
    values: Sequence[Array],
    constants: Mapping[str, Array] | None = None,
    step: float = 1e-5,
    seen: tuple[str, ...] = (),
) -> None:
    """The gradients of a random linear function of a node's outputs, in all its inputs that are no constants."""
    rng = np.random.default_rng(1)
    names = [name for name in dict.fromkeys(node.inputs) if name and name not in (constants or {})]
    given = dict(zip(names, values, strict=True))
    inputs = tuple(Input(name, each.dtype, each.shape) for name, each in given.items())
    outputs = seen or tuple(filter(None, node.outputs))
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
