"""What a saved network holds, from the parts of its file: every value is checked before it is used."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import NetworkError
from ...planner import Choice
from ..graph import KINDS, Array, Graph, Input, Node, captured_names
from ..ops import OPERATORS, Options
from ..ops.dtypes import NARROW, dtype_named
from ..ops.options import PRECISIONS
from ..reading.package import require_onnx
from ..reading.read import MOST_DEPTH, MOST_NODES, ModelReader
from ..reading.values import MOST_AXES, MOST_ELEMENTS, extent
from .contents import ALIGNMENT, FLOATS, WHOLE, Code, Contents


def decode(name: str, head: Array, data: Array, code: Array) -> Contents:
    """The contents of a file; `name` is what errors call it. Raises NetworkError."""
    try:
        found = json.loads(bytes(head), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NetworkError(f"load: {name}: its head is not JSON\n  {len(head):,} bytes") from None
    return Decoder(name, found, data, code).contents()


def _no_number(word: str) -> Any:
    raise ValueError(word)


class Decoder:
    """The head of a file on its way to its contents."""

    def __init__(self, name: str, head: Any, data: Array, code: Array) -> None:
        self.name, self.head, self.data, self.code = name, head, data, code
        self._tensors: list[Array] = []
        self._count = self._depth = 0

    def contents(self) -> Contents:
        """All that a saved network's file holds."""
        head = self.require(self.head, "head", dict)
        self._tensors = [self.tensor(each) for each in self.get(head, "tensors", list)]
        graph = self.graph(head)
        rules = None if head.get("rules") is None else self.texts(head, "rules")
        choices = {key: self.choice(value) for key, value in self.get(head, "choices", dict).items()}
        code = None if head.get("code") is None else self.kernels(self.get(head, "code", dict))
        return Contents(graph, self.options(head), rules, choices, code)

    def graph(self, found: dict[str, Any]) -> Graph:
        """The graph of a network or of a body."""
        constants = {name: self.array(value) for name, value in self.get(found, "constants", dict).items()}
        inputs = tuple(self.input(each) for each in self.get(found, "inputs", list))
        names = [each.name for each in inputs]
        if len({*names, *constants}) < len(names) + len(constants):
            raise self.wrong("two of its inputs and constants have the same name")
        outputs = self.texts(found, "outputs")
        several = self.get(found, "nodes", list)
        self._count += len(several)
        if self._count > MOST_NODES:
            raise self.wrong(f"too many nodes\n  {self._count:,}, at most {MOST_NODES:,} are read")
        name = self.get(found, "name", str)
        return ModelReader(None, self.name, None).connect(
            self.nodes(several), inputs, outputs, constants, name
        )

    def body(self, value: Any) -> Graph:
        """A graph in an attribute of a node."""
        if self._depth == MOST_DEPTH:
            raise self.wrong(
                f"its bodies lie too deep within each other\n  at most {MOST_DEPTH} levels are read"
            )
        found = self.require(value, "graph", dict)
        self._depth += 1
        graph = self.graph(found)
        self._depth -= 1
        captured = self.texts(found, "captured")
        last = tuple(each.name for each in graph.inputs)[len(graph.inputs) - len(captured) :]
        if last != captured:
            raise self.wrong(
                f"a body of it captures what is none of its last inputs\n  {_shorten(list(captured))}"
            )
        declared = tuple(
            None if each is None else self.input(each) for each in self.get(found, "declared", list)
        )
        return replace(graph, declared=declared, captured=captured)

    # -- values --------------------------------------------------------------------------------------------------------

    def wrong(self, what: str) -> NetworkError:
        """A NetworkError that names the file."""
        return NetworkError(f"load: {self.name}: {what}")

    def require(self, value: Any, what: str, *kinds: type) -> Any:
        """A value of one of these types, exactly."""
        if type(value) not in kinds:
            names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
            raise self.wrong(f"its {what} is no {names}\n  {_shorten(value)}")
        return value

    def get(self, found: dict[str, Any], key: str, *kinds: type) -> Any:
        """A value by its key, of one of these types."""
        return self.require(found.get(key), key, *kinds)

    def texts(self, found: dict[str, Any], key: str) -> tuple[str, ...]:
        """A list of texts by its key."""
        return tuple(self.require(each, key, str) for each in self.get(found, key, list))

    def count(self, value: Any, what: str, most: int = 2**63 - 1) -> int:
        """A whole number from 0 on."""
        if not 0 <= self.require(value, what, int) <= most:
            raise self.wrong(f"its {what} is out of range\n  {_shorten(value)}; 0 to {most:,}")
        return int(value)

    def place(self, value: Any, what: str, within: Array) -> Array:
        """Bytes of the file: where they begin and how many there are."""
        pair = self.require(value, what, list)
        at, length = (self.count(each, what) for each in pair) if len(pair) == 2 else (0, -1)
        if length < 0 or at + length > within.size:
            raise self.wrong(
                f"its {what} lies outside the file\n  {_shorten(value)}; there are {within.size:,} bytes"
            )
        return within[at : at + length]

    def dtype(self, name: Any, *more: str) -> np.dtype[Any]:
        """An element type by its name."""
        if self.require(name, "dtype", str) in NARROW:
            return dtype_named(name)
        if name not in (*FLOATS, *WHOLE, *more):
            raise self.wrong(f"it has elements of an unknown type\n  {_shorten(name)}")
        made: np.dtype[Any] = np.dtype(name)
        return made

    def shape(self, value: Any, what: str) -> tuple[int, ...]:
        """Extents of an array."""
        found = self.require(value, what, list)
        if len(found) > MOST_AXES:
            raise self.wrong(f"its {what} has too many axes\n  {len(found)}, at most {MOST_AXES}")
        made = tuple(self.count(n, what) for n in found)
        if 0 in made and extent(made) > MOST_ELEMENTS:
            raise self.wrong(f"its {what} is that of no array\n  {list(made)}")
        return made

    def tensor(self, value: Any) -> Array:
        """A tensor as an array over the bytes of the file."""
        found = self.require(value, "tensor", dict)
        dtype, shape = self.dtype(found.get("dtype")), self.shape(found.get("shape"), "shape")
        at, length = self.count(found.get("at"), "at"), math.prod(shape) * dtype.itemsize
        if at % ALIGNMENT or at + length > self.data.size:
            raise self.wrong(
                f"one of its tensors lies outside the file\n"
                f"  {list(shape)} {dtype} from byte {at:,} on; there are {self.data.size:,} bytes"
            )
        array = np.ndarray(shape, dtype.newbyteorder("<") if sys.byteorder == "big" else dtype, self.data, at)
        array = array.astype(dtype, copy=False)
        array.flags.writeable = False
        return array

    def array(self, value: Any) -> Array:
        """A value that is an array."""
        made = self.value(value)
        if not isinstance(made, np.ndarray):
            raise self.wrong(f"one of its constants is no array\n  {_shorten(value)}")
        return made

    def value(self, value: Any) -> Any:
        """What `FileWriter.value` made."""
        if type(value) in (str, float):
            return value
        if type(value) is int and -(2**63) <= value < 2**64:
            return value
        if type(value) is list:
            return tuple(self.value(each) for each in value)
        if type(value) is dict and set(value) == {"tensor"}:
            return self._tensors[self.count(value["tensor"], "tensor", len(self._tensors) - 1)]
        if type(value) is dict and set(value) == {"graph"}:
            return self.body(value["graph"])
        if type(value) is dict and value in ({"float": "inf"}, {"float": "-inf"}, {"float": "nan"}):
            return float(value["float"])
        if type(value) is dict and set(value) == {"texts", "shape"}:
            texts, shape = self.texts(value, "texts"), self.shape(value["shape"], "shape")
            if math.prod(shape) == len(texts):
                made = np.array(texts, object).reshape(shape)
                made.flags.writeable = False
                return made
        raise self.wrong(f"it has a value of an unknown kind\n  {_shorten(value)}")

    def input(self, value: Any) -> Input:
        """A declared input."""
        found = self.require(value, "input", list)
        kind = found.pop() if len(found) == 4 and found[3] in KINDS else "tensor"
        if len(found) != 3:
            raise self.wrong(f"one of its inputs is not a name, a type and a shape\n  {_shorten(value)}")
        name, dtype = self.require(found[0], "input", str), self.dtype(found[1], "object")
        if found[2] is None:
            return Input(name, dtype, None, kind)
        extents = self.require(found[2], "shape", list)
        kinds = (int, str, type(None))
        shape = tuple(
            self.count(n, "shape") if type(n) is int else self.require(n, "shape", *kinds) for n in extents
        )
        return Input(name, dtype, shape, kind)

    def options(self, head: dict[str, Any]) -> Options:
        """What the network was loaded with; whether it measures is up to who loads it now."""
        return Options(
            exact=self.get(head, "exact", bool),
            rtol=self.get(head, "rtol", float, type(None)),
            workspace_limit=self.limit(head, "workspace_limit"),
            weight_limit=self.limit(head, "weight_limit"),
            deterministic=self.get(head, "deterministic", bool),
            precision=self.precision(head),
        )

    def precision(self, head: dict[str, Any]) -> str:
        """Precision of the network; files of versions before have none."""
        found = self.require(head.get("precision", PRECISIONS[0]), "precision", str)
        if found not in PRECISIONS:
            raise self.wrong(f"its precision is {_shorten(found)}\n  one of {', '.join(PRECISIONS)}")
        return str(found)

    def limit(self, head: dict[str, Any], key: str) -> int | None:
        """A number of bytes by its key, or None."""
        return None if head.get(key) is None else self.count(head[key], key)

    def choice(self, value: Any) -> Choice:
        """The choice of a plan."""
        found = self.require(value, "choice", list)
        if len(found) != 6:
            raise self.wrong(f"one of its choices is none\n  {_shorten(value)}")
        names = [self.require(each, "choice", str) for each in found[:3]]
        flops, moved = (self.count(each, "choice") for each in found[3:5])
        seconds = self.require(found[5], "choice", float)
        if not 0 <= seconds <= 1e9:
            raise self.wrong(f"one of its choices takes no time that there is\n  {seconds} seconds")
        return Choice(names[0], names[1], names[2], flops, moved, seconds)

    def kernels(self, found: dict[str, Any]) -> Code:
        """Machine code by the names of its kernels."""
        objects = {
            name: bytes(self.place(value, "object", self.code))
            for name, value in self.get(found, "objects", dict).items()
        }
        return Code(self.get(found, "cpu", str), self.get(found, "version", str), objects)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def nodes(self, found: Iterable[Any]) -> list[Node]:
        """The nodes; those of operators that nobody here knows are read by the onnx package."""
        made = [self.require(each, "node", dict) for each in found]
        foreign = [each for each in made if "source" in each]
        reader = self.foreign(len(foreign), len(made)) if foreign else None
        return [self.read_source(each, reader) if "source" in each else self.node(each) for each in made]

    def node(self, found: dict[str, Any]) -> Node:
        """A node of an operator that is known here."""
        op = self.get(found, "op", str)
        if op not in OPERATORS:
            raise self.wrong(f"one of its operators is not known\n  {_shorten(op)}")
        attributes = {name: self.value(each) for name, each in self.get(found, "attributes", dict).items()}
        around = captured_names(attributes)
        return Node(
            op=op,
            inputs=self.texts(found, "inputs"),
            outputs=self.texts(found, "outputs"),
            attributes=attributes,
            name=self.get(found, "name", str),
            version=self.count(found.get("version"), "version", 10**6),
            captured=around,
            inside=around,
        )

    def foreign(self, count: int, of: int) -> ModelReader:
        """Reader of nodes of other operators."""
        try:
            return ModelReader(require_onnx(), self.name, None)
        except NetworkError:
            raise self.wrong(
                f"it needs the onnx package\n"
                f"  {count} of its {of} nodes run by the reference of the ONNX standard\n  pip install 'convmat[onnx]'"
            ) from None

    def read_source(self, found: dict[str, Any], reader: Any) -> Node:
        """A node as ONNX has it, checked as one in a model is."""
        source = bytes(self.place(found["source"], "source", self.data))
        version = self.count(found.get("version"), "version", 10**6)
        proto = reader.onnx.NodeProto()
        try:
            proto.ParseFromString(source)
        except Exception:  # protobuf's own error differs between its implementations
            raise self.wrong(f"one of its nodes is not one of ONNX\n  {len(source):,} bytes") from None
        versions = {"": version, "ai.onnx": version, proto.domain: version}
        graph = reader.onnx.GraphProto()
        graph.node.append(proto)
        reader.refuse_bytes(graph)
        reader.refuse_unknown(graph, versions)
        reader.refuse_unheld(graph, versions)
        reader.refuse_hidden(graph)
        made: Node = reader.node(proto, versions)
        return made


def _shorten(value: Any) -> str:
    """A value in an error, not all of it where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
