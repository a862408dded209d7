"""A network's graph through `torch.nn.functional`: a function for each node, run in order.

Images and weights are channels_last, normalisation is folded into weights, Relu works in place where nobody else reads
what it changes: what a careful user of PyTorch has without compiling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.jobs import Array
from benchmarks.nettruth import geometry
from benchmarks.peers.base import RefusedError
from convmat.network.graph import Graph, Node, Spec
from convmat.network.ops.convolution import scale_weights
from convmat.network.preparing.infer import infer_specs
from convmat.network.reading.read import read_graph
from convmat.network.rewriting.rewrite import rewrite

FOLDED = ("skip", "fold_scale")

Function = Callable[..., Any]


@dataclass(frozen=True)
class Place:
    """Where a node stands: its graph, the Specs of values, and whether nobody else reads its first input."""

    graph: Graph
    specs: Mapping[str, Spec]
    alone: bool

    def tensor(self, name: str) -> Any:
        """A constant."""
        import torch

        return torch.from_numpy(np.array(self.graph.constants[name]))

    def filters(self, node: Node) -> tuple[Any, Any]:
        """Constant weights, channels_last, and the bias or None."""
        import torch

        names = (*node.inputs, "")[1:3]
        if any(name and name not in self.graph.constants for name in names):
            raise RefusedError(f"no function is written here for {node.label}, whose weights are computed")
        w = torch.from_numpy(np.array(scale_weights(node, self.graph.constants[names[0]])))
        w = w.contiguous(memory_format=torch.channels_last)
        return w, self.tensor(names[1]) if names[1] else None


def network(file: str, x: Array) -> Callable[[], tuple[Any, ...]]:
    """A call that runs the network on x and gives its outputs. Raises RefusedError for an operator that is not here."""
    import torch

    if x.ndim != 4:
        raise RefusedError(f"takes images of channels, got an input of shape {x.shape}")
    graph = read_graph(file)
    graph, specs = infer_specs(graph, {graph.inputs[0].name: Spec(x.shape, x.dtype)})
    graph, specs = rewrite(graph, specs, FOLDED)
    counts = _readers(graph)
    steps: list[tuple[Function, tuple[str, ...], str]] = []
    for node in graph.nodes:
        makes = OPERATORS.get(node.op)
        if makes is None or (node.op in ("Add", "Concat") and any(n in graph.constants for n in node.inputs)):
            raise RefusedError(f"no function is written here for {node.label}")
        alone = counts[node.inputs[0]] == 1 and node.inputs[0] not in {each.name for each in graph.inputs}
        steps.append(
            (
                makes(node, Place(graph, specs, alone)),
                tuple(n for n in node.inputs if n not in graph.constants),
                node.outputs[0],
            )
        )
    image = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    start, ends = graph.inputs[0].name, graph.outputs

    def call() -> tuple[Any, ...]:
        values = {start: image}
        for function, reads, writes in steps:
            values[writes] = function(*[values[name] for name in reads])
        return tuple(values[end] for end in ends)

    return call


def _readers(graph: Graph) -> dict[str, int]:
    """How often each value is read, outputs of the network included."""
    counts = dict.fromkeys(graph.outputs, 1)
    for name in (name for node in graph.nodes for name in node.reads):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _even(node: Node) -> tuple[int, int]:
    """The padding of two axes, the same on both sides. Raises RefusedError."""
    pads = tuple(node.get("pads") or (0, 0, 0, 0))
    if len(pads) != 4 or pads[:2] != pads[2:] or node.get("auto_pad", "NOTSET") != "NOTSET":
        raise RefusedError(f"{node.label}: padding must be the same on both sides of two axes, got {pads}")
    return pads[0], pads[1]


def _conv(node: Node, at: Place) -> Function:
    import torch

    (w, bias), functional = at.filters(node), torch.nn.functional
    g = geometry(at.specs[node.inputs[0]].shape, tuple(w.shape), dict(node.attributes))
    if g.lo == g.hi:
        return lambda x: functional.conv2d(x, w, bias, g.s, g.lo, g.d, g.G)
    sides = [n for axis in (1, 0) for n in (g.lo[axis], g.hi[axis])]  # the last axis first
    return lambda x: functional.conv2d(functional.pad(x, sides), w, bias, g.s, 0, g.d, g.G)


def _transposed(node: Node, at: Place) -> Function:
    import torch

    (w, bias), p, d = at.filters(node), _even(node), node.get("dilations", (1, 1))
    s, more, groups = node.get("strides", (1, 1)), node.get("output_padding", (0, 0)), node.get("group", 1)
    return lambda x: torch.nn.functional.conv_transpose2d(x, w, bias, s, p, more, groups, d)


def _gemm(node: Node, at: Place) -> Function:
    import torch

    w, bias = (at.tensor(name) for name in node.inputs[1:3])
    w = w if node.get("transB", 0) else w.T.contiguous()
    return lambda x: torch.nn.functional.linear(x, w, bias)


def _pool(node: Node, at: Place) -> Function:
    import torch

    F, s = tuple(node.get("kernel_shape")), tuple(node.get("strides", (1, 1)))
    p, ceil = _even(node), bool(node.get("ceil_mode", 0))
    return lambda x: torch.nn.functional.max_pool2d(x, F, s, p, ceil_mode=ceil)


def _clip(node: Node, at: Place) -> Function:
    import torch

    low, high = (float(at.graph.constants[name].item()) for name in node.inputs[1:3])
    clamp = torch.clamp_ if at.alone else torch.clamp
    return lambda x: clamp(x, low, high)


def _relu(node: Node, at: Place) -> Function:
    import torch

    return torch.relu_ if at.alone else torch.relu  # type: ignore[no-any-return]  # torch is Any


def _sigmoid(node: Node, at: Place) -> Function:
    import torch

    return torch.sigmoid  # type: ignore[no-any-return]  # torch is Any


def _concat(node: Node, at: Place) -> Function:
    import torch

    return lambda *each: torch.cat(each, node.get("axis"))


def _softmax(node: Node, at: Place) -> Function:
    import torch

    return lambda x: torch.softmax(x, node.get("axis", -1))


OPERATORS: dict[str, Callable[[Node, Place], Function]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MaxPool": _pool,
    "Clip": _clip,
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "Concat": _concat,
    "Softmax": _softmax,
    "Add": lambda node, at: lambda a, b: a + b,
    "GlobalAveragePool": lambda node, at: lambda x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda node, at: lambda x: x.flatten(node.get("axis", 1)),
}
"""What makes a function of its node, from where it stands."""
