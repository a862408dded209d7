"""Graph: a network as nodes between named values, whatever file it came from.

    Graph    inputs, constants, nodes in an order in which they can run, outputs
    Node     an operator, the names of what it reads and writes, its attributes
    Spec     what is known of a value before it exists: shape, element type, and the value itself if it is constant

Graphs are values: a rewrite makes a new one. Operators carry ONNX's names and the version of the operator set they
were written for, since that is the alphabet of the files; nothing here needs the onnx package.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NetworkError
from ..lazy_dataclass import dataclass
from ..processes import kept_property

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
MEMORY_LIMIT = 8 * 2**30
"""Bytes that one value of a network may take, unless it is loaded with another limit."""

Value = Array | list[Any] | None
"""What a name stands for while a network runs: a tensor, a sequence of tensors, an optional that is empty.

Nobody writes into a sequence or its tensors.
"""


@lru_cache(maxsize=256)
def type_name(dtype: np.dtype[Any]) -> str:
    """The name of an element type, which NumPy puts together anew each time.

    >>> type_name(np.dtype("float32"))
    'float32'
    """
    return dtype.name


@dataclass(frozen=True)
class Spec:
    """Shape and element type of a value, and its content where that is constant.

    >>> Spec((2, 3), np.dtype("float32")).bytes
    24
    """

    shape: Shape
    dtype: np.dtype[Any]
    value: Array | None = field(default=None, compare=False)

    @classmethod
    def of(cls, array: Array) -> Spec:
        """The Spec of a constant."""
        return cls(array.shape, array.dtype, array)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of a C-contiguous array of it."""
        return self.size * self.dtype.itemsize

    @property
    def rank(self) -> int:
        """Axes."""
        return len(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def captured_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """What the graphs in a node's attributes read of the values around it."""
    bodies = [value for value in attributes.values() if isinstance(value, Graph)]
    return tuple(sorted({name for graph in bodies for name in graph.captured}))


@dataclass(frozen=True)
class Node:
    """One operator. `inputs` and `outputs` are names of values, "" where an optional one is omitted.

    `version` is the operator set's; `source` the node as its file has it, for operators that others compute. Graphs in
    its attributes read `captured` of the values around the node, and call them by the names `inside`, one for each.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    version: int = 0
    domain: str = ""
    source: bytes = field(default=b"", repr=False)
    captured: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How errors and tables call it: the operator and the node's name, or that of its first output."""
        return f"{self.op} {(self.name or next(filter(None, self.outputs), ''))!r}"

    @property
    def key(self) -> str:
        """The name that its operator is entered under: with the domain, where it is not ONNX's first."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    @kept_property
    def reads(self) -> tuple[str, ...]:
        """All names that it needs, those of its subgraphs too."""
        return (*(name for name in self.inputs if name), *self.captured)

    def error(self, what: str) -> NetworkError:
        """A NetworkError that names this node; `what` is the sentence, with its values."""
        return NetworkError(f"load: {self.label} cannot run\n  {what}")


def copy_lists(found: dict[str, Value]) -> dict[str, Value]:
    """The outputs, sequences among them with arrays of their own."""
    for name, v in found.items():
        if isinstance(v, list):
            found[name] = [np.array(y) if isinstance(y, np.ndarray) else y for y in v]
    return found


def specs_of(values: Mapping[str, Value]) -> dict[str, Spec]:
    """The Specs of those values that are tensors; what is in them is not known."""
    return {
        name: Spec(value.shape, value.dtype)
        for name, value in values.items()
        if isinstance(value, np.ndarray)
    }


KINDS = ("tensor", "sequence", "optional", "optional sequence")
"""What an input may be: an array, a list of arrays, and one of these or None."""


@dataclass(frozen=True)
class Input:
    """One input: its name, element type and declared extents (a word stands for any extent, None is not declared).

    `kind`: one of KINDS; of a sequence or an optional these are its tensors'.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None
    kind: str = "tensor"

    def __str__(self) -> str:
        shape = (
            "any shape" if self.shape is None else "x".join("?" if n is None else str(n) for n in self.shape)
        )
        of = "" if self.kind == "tensor" else f"{self.kind} of "
        return f"{self.name}: {of}{self.dtype} {shape}"


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run; every name is written once.

    The graph in an attribute of a node is a body: its inputs, untyped, are those that its operator gives it, then what
    it reads of the values around the node.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    name: str = ""
    declared: tuple[Input | None, ...] = ()
    """What a body says of its outputs, None where it says nothing of use."""
    captured: tuple[str, ...] = ()
    """The inputs of a body, the last of them, that are values around its node."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Inputs that stay from call to call, and the outputs that take their places; "" where nothing does."""
    whole: bool = True
    """Whether all of it lay in one file: none of its constants in others beside that."""

    @kept_property
    def producer(self) -> dict[str, Node]:
        """Which node writes each value."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @kept_property
    def readers(self) -> dict[str, list[Node]]:
        """Which nodes read each value, once for each time they do."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.reads:
                found.setdefault(name, []).append(node)
        return found

    def only_reader(self, name: str) -> Node | None:
        """The one node that reads a value, if it is one, reads it once, and nobody outside sees the value."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def with_nodes(self, nodes: Iterable[Node], constants: Mapping[str, Array] | None = None) -> Graph:
        """The same inputs and outputs around other nodes; `constants` are added."""
        more = self.constants if not constants else {**self.constants, **constants}
        return replace(self, nodes=tuple(nodes), constants=more)

    def prune(self) -> Graph:
        """The graph without nodes and constants that no output needs."""
        wanted, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs):
                kept.append(node)
                wanted.update(node.reads)
        constants = {name: array for name, array in self.constants.items() if name in wanted}
        if len(kept) == len(self.nodes) and len(constants) == len(self.constants):
            return self
        return replace(self, nodes=tuple(reversed(kept)), constants=constants)
