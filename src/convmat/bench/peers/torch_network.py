"""A network's graph through `torch.nn.functional`: a function for each node, run in order.

Images and weights are channels_last, normalisation is folded into weights, Relu works in place where nobody else reads
what it changes: what a careful user of PyTorch has without compiling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convmat.bench.jobs import Array
from convmat.bench.netgraph import bounds, even, graph_of, readers
from convmat.network.graph import Graph, Node

Function = Callable[..., Any]


def network(file: str, x: Array) -> Callable[[], Any]:
    """A call that runs the network on x. Raises ValueError for an operator that is not here."""
    import torch

    graph, _ = graph_of(file, x)
    counts = readers(graph)
    steps: list[tuple[Function, tuple[str, ...], str]] = []
    for node in graph.nodes:
        makes = OPERATORS.get(node.op)
        if makes is None:
            raise ValueError(f"PyTorch: no function is written here for {node.label}")
        alone = counts[node.inputs[0]] == 1 and node.inputs[0] not in {each.name for each in graph.inputs}
        steps.append(
            (
                makes(node, graph, alone),
                tuple(n for n in node.inputs if n not in graph.constants),
                node.outputs[0],
            )
        )
    image = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    start, (end,) = graph.inputs[0].name, graph.outputs

    def call() -> Any:
        values = {start: image}
        for function, reads, writes in steps:
            values[writes] = function(*[values[name] for name in reads])
        return values[end]

    return call


def _conv(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    w, bias = (_tensor(graph.constants[name]) if name else None for name in (*node.inputs[1:3], "")[:2])
    assert w is not None
    w = w.contiguous(memory_format=torch.channels_last)
    about = (
        tuple(node.get("strides", (1, 1))),
        even(node),
        tuple(node.get("dilations", (1, 1))),
        node.get("group", 1),
    )
    return lambda x: torch.nn.functional.conv2d(x, w, bias, *about)


def _gemm(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    w, bias = (_tensor(graph.constants[name]) for name in node.inputs[1:3])
    w = w if node.get("transB", 0) else w.T.contiguous()
    return lambda x: torch.nn.functional.linear(x, w, bias)


def _pool(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    F, s = tuple(node.get("kernel_shape")), tuple(node.get("strides", (1, 1)))
    p, ceil = even(node), bool(node.get("ceil_mode", 0))
    return lambda x: torch.nn.functional.max_pool2d(x, F, s, p, ceil_mode=ceil)


def _clip(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    low, high = bounds(node, graph)
    clamp = torch.clamp_ if alone else torch.clamp
    return lambda x: clamp(x, low, high)


def _relu(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    return torch.relu_ if alone else torch.relu  # type: ignore[no-any-return]  # torch is Any


def _concat(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    return lambda *each: torch.cat(each, node.get("axis"))


def _softmax(node: Node, graph: Graph, alone: bool) -> Function:
    import torch

    return lambda x: torch.softmax(x, node.get("axis", -1))


OPERATORS: dict[str, Callable[[Node, Graph, bool], Function]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _pool,
    "Clip": _clip,
    "Relu": _relu,
    "Concat": _concat,
    "Softmax": _softmax,
    "Add": lambda node, graph, alone: lambda a, b: a + b,
    "GlobalAveragePool": lambda node, graph, alone: lambda x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda node, graph, alone: lambda x: x.flatten(node.get("axis", 1)),
}
"""What makes a function of its node: from the node, its graph, and whether nobody else reads its first input."""


def _tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.array(array))
