"""From layers to a Graph: each layer adds its nodes and constants, and says which value it writes.

    layer(builder, x) -> y        names of values

Parameters are named by where their layer stands: "features.0.weight" is that of the first layer of `features`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from ..arguments import entries_of, require_whole
from ..errors import NetworkError, format_value
from ..network import Network
from ..network.graph import MEMORY_LIMIT, Array, Graph, Input, Node, Spec
from ..network.ops import Options, operator_of
from ..network.preparing import infer

VERSION = 20
"""The operator set that nodes are written in."""


class Layer(Protocol):
    """A part of a network."""

    def __call__(self, builder: Builder, x: str) -> str:
        """Add nodes that read the value x; the name of the value they write."""


class Builder:
    """A graph in the making: its nodes, its constants, and what is known of each value for a batch of one."""

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], seed: int) -> None:
        self.dtype = dtype
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.specs: dict[str, Spec] = {"x": Spec((1, *shape), dtype)}
        self.rng = np.random.default_rng(seed)
        self._path: list[str] = []
        self._count = 0

    @contextmanager
    def inside(self, name: str | int) -> Iterator[None]:
        """Names of what is added meanwhile begin with this one."""
        self._path.append(str(name))
        yield
        self._path.pop()

    def name(self, last: str) -> str:
        """The full name of something of the layer that is being added."""
        return ".".join([*self._path, last])

    def parameter(self, name: str, value: Array) -> str:
        """A constant of the network's element type under the layer's name: a copy, which nobody else changes."""
        full = self.name(name)
        if full in self.constants:
            raise NetworkError(
                f"build: two parameters have one name\n  {full}\n  put each layer into a Sequential, under its own name"
            )
        self.constants[full] = np.array(value, self.dtype, order="C", ndmin=1)
        self.specs[full] = Spec.of(self.constants[full])
        return full

    def constant(self, value: Array) -> str:
        """A constant that is no parameter, such as limits, scales, axes: a copy."""
        self._count += 1
        value = np.array(value, order="C")
        name = self.name(f"constant.{self._count}")
        self.constants[name], self.specs[name] = value, Spec.of(value)
        return name

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its one output. Raises NetworkError where its inputs do not fit."""
        self._count += 1
        name = self.name(f"{op.lower()}.{self._count}")
        node = Node(op, inputs, (name,), attributes, name, VERSION)
        made = infer.node_specs(node, operator_of(node), self.specs)
        assert made is not None
        assert made[0] is not None
        self.nodes.append(node)
        self.specs[name] = made[0]
        return name


def build(
    model: Layer | Callable[[Builder, str], str],
    shape: Sequence[int],
    *,
    seed: int = 0,
    dtype: Any = np.float32,
    name: str = "network",
) -> Network:
    """The network of a layer (mostly a Sequential) for inputs (B, *shape), with first weights drawn by `seed`.

    The first extent is a word, "batch": any number of examples may be given. Raises NetworkError.

    >>> from convmat import nn
    >>> net = nn.build(nn.Sequential(nn.Conv(4, 3), nn.Relu(), nn.Flatten(), nn.Linear(2)), (1, 8, 8))
    >>> net(np.zeros((3, 1, 8, 8), np.float32)).shape
    (3, 2)
    """
    shape = read_shape(shape)
    seed = require_whole("build", "seed", seed, least=0)
    require_layer("model", model)
    builder = Builder(shape, _read_dtype(dtype), seed)
    y = model(builder, "x")
    entry = Input("x", builder.dtype, ("batch", *shape))
    graph = Graph(tuple(builder.nodes), (entry,), (y,), builder.constants, name)
    return Network(graph, Options(), MEMORY_LIMIT)


def require_layer(name: str, given: object) -> None:
    """Raise NetworkError unless something can be called as a layer is; a layer's class cannot.

    >>> from convmat import nn
    >>> require_layer("0", nn.Relu())
    """
    if isinstance(given, type) or not callable(given):
        raise NetworkError(f"build: {name} is no layer\n  {name} = {format_value(given)}\n  e.g. nn.Relu()")


def read_shape(shape: Any) -> tuple[int, ...]:
    """Extents of one example."""
    found = entries_of(shape)
    if found is None:
        raise NetworkError(
            f"build: shape is that of one example\n  shape = {format_value(shape)}\n  e.g. shape=(1, 28, 28)"
        )
    return tuple(require_whole("build", f"shape[{i}]", n, least=1) for i, n in enumerate(found))


def _read_dtype(dtype: Any) -> np.dtype[Any]:
    """An element type that weights can have."""
    try:
        found: np.dtype[Any] | None = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in ("float16", "float32", "float64"):
        raise NetworkError(
            f"build: dtype is the weights' element type\n  dtype = {format_value(dtype)}\n"
            "  float32, float64 or float16, e.g. dtype=np.float32"
        )
    return found


__all__ = ["Builder", "Layer", "build", "read_shape"]
