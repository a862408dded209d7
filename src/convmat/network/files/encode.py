"""The parts of a saved network's file, made of what it holds."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np

from ...errors import NetworkError
from ..graph import Array, Graph, Input, Node
from ..ops import OPERATORS
from ..ops.dtypes import NARROW
from .contents import ALIGNMENT, FLOATS, WHOLE, Code, Contents

Piece = bytes | memoryview


class Stretch:
    """Bytes one behind the other, each piece at a multiple of ALIGNMENT."""

    def __init__(self) -> None:
        self.parts: list[Piece] = []
        self.size = 0

    def add(self, piece: Piece) -> tuple[int, int]:
        """Where a piece begins, and how long it is."""
        at, length = self.size, len(piece)
        padding = -length % ALIGNMENT
        self.parts += [piece, bytes(padding)]
        self.size += length + padding
        return at, length


class FileWriter:
    """The head of a file, and the bytes that it points at."""

    def __init__(self) -> None:
        self.data, self.code = Stretch(), Stretch()
        self.tensors: list[dict[str, Any]] = []
        self._held: dict[int, tuple[Array, int]] = {}

    def head(self, contents: Contents) -> bytes:
        """The head; `data` and `code` then hold what it points at. Raises NetworkError."""
        graph, options = contents.graph, contents.options
        parts = self.graph(graph)
        choices = {
            key: [c.engine, c.lowering, c.packing, c.flops, c.moved, c.seconds]
            for key, c in contents.choices.items()
        }
        head = {
            **parts,
            "exact": options.exact,
            "rtol": options.rtol,
            "workspace_limit": options.workspace_limit,
            "weight_limit": options.weight_limit,
            "deterministic": options.deterministic,
            "precision": options.precision,
            "rules": contents.rules,
            "tensors": self.tensors,
            "choices": choices,
            "code": self.kernels(contents.code) if contents.code else None,
        }
        return json.dumps(head, separators=(",", ":"), allow_nan=False).encode()

    def node(self, node: Node) -> dict[str, Any]:
        """A node by its parts; as ONNX has it where nobody here knows the operator."""
        if node.domain or node.op not in OPERATORS:
            return {"source": self.data.add(node.source), "version": node.version}
        attributes = {
            name: self.value(value, f"{node.label}, attribute {name!r}")
            for name, value in node.attributes.items()
        }
        return {
            "op": node.op,
            "inputs": node.inputs,
            "outputs": node.outputs,
            "attributes": attributes,
            "name": node.name,
            "version": node.version,
        }

    def graph(self, graph: Graph) -> dict[str, Any]:
        """The parts that a network and a body have."""
        return {
            "name": graph.name,
            "inputs": [self.input(each) for each in graph.inputs],
            "outputs": graph.outputs,
            "nodes": [self.node(each) for each in graph.nodes],
            "constants": {
                name: self.value(array, f"the constant {name!r}") for name, array in graph.constants.items()
            },
        }

    def body(self, graph: Graph) -> dict[str, Any]:
        """A graph in an attribute of a node."""
        declared = [None if each is None else self.input(each) for each in graph.declared]
        return {**self.graph(graph), "declared": declared, "captured": graph.captured}

    def input(self, each: Input) -> list[Any]:
        """A name, an element type and a shape, and what it is if it is no tensor."""
        return [each.name, each.dtype.name, each.shape, *([] if each.kind == "tensor" else [each.kind])]

    def value(self, value: Any, what: str) -> Any:
        """A number, a text, an array, a body, or a tuple of such as JSON has them."""
        if isinstance(value, np.ndarray):
            return {"tensor": self.tensor(value, what)} if value.dtype != object else self.texts(value, what)
        if isinstance(value, Graph):
            return {"graph": self.body(value)}
        if isinstance(value, tuple | list):
            return [self.value(each, what) for each in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}
        if type(value) in (int, float, str):
            return value
        raise NetworkError(f"save: {what} cannot be saved\n  it is a {type(value).__name__}")

    def texts(self, array: Array, what: str) -> dict[str, Any]:
        """An array of texts."""
        found = [
            each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in array.ravel()
        ]
        if not all(isinstance(each, str) for each in found):
            raise NetworkError(f"save: {what} cannot be saved\n  it holds others than numbers and texts")
        return {"texts": found, "shape": array.shape}

    def tensor(self, array: Array, what: str) -> int:
        """The number of a tensor; the same array is written once."""
        if id(array) not in self._held:
            if array.dtype.name not in (*FLOATS, *WHOLE, *NARROW):
                raise NetworkError(f"save: {what} cannot be saved\n  its element type is {array.dtype}")
            flat = np.ascontiguousarray(array).reshape(-1)
            if sys.byteorder == "big":
                flat = flat.astype(flat.dtype.newbyteorder("<"))
            at, _ = self.data.add(flat.view(np.uint8).data)
            self.tensors.append({"dtype": array.dtype.name, "shape": array.shape, "at": at})
            self._held[id(array)] = array, len(self.tensors) - 1
        return self._held[id(array)][1]

    def kernels(self, code: Code) -> dict[str, Any]:
        """Equal objects are written once."""
        places: dict[bytes, tuple[int, int]] = {}
        for data in code.objects.values():
            if data not in places:
                places[data] = self.code.add(data)
        objects = {name: places[data] for name, data in code.objects.items()}
        return {"cpu": code.cpu, "version": code.version, "objects": objects}
