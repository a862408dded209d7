"""ONNX files, read with the onnx package and believed in nothing: a Graph, or a NetworkError that says why not.

Checked here: that the bytes are a model, its operator sets, that every operator is known, that names are written once
and that some order writes each before it is read, that tensors hold as many bytes as their shapes say, that external
data lies inside the model's own folder. What a node's shapes and attributes allow is checked when it is prepared.
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import NetworkError
from . import wire
from .graph import Array, Graph, Input, Node
from .wire import Place

STANDARD = {"": "ai.onnx", "ai.onnx": "ai.onnx", "ai.onnx.ml": "ai.onnx.ml"}
"""The domains whose operators the standard defines."""

OLDEST = 6
"""The first operator set that is read."""

MOST_NODES = 1_000_000
MOST_BYTES = 2**31
"""A protobuf message ends there; external data may be larger."""


def read(source: str | os.PathLike[str] | bytes) -> Graph:
    """The graph of an ONNX file, or of the bytes of one. Raises NetworkError."""
    onnx = the_package()
    name, folder = (
        ("the model", None) if isinstance(source, bytes) else (Path(source).name, Path(source).parent)
    )
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            if size > MOST_BYTES:
                raise NetworkError(
                    f"load: {name} is too large for an ONNX model\n"
                    f"  {size:,} bytes, a model has at most {MOST_BYTES:,}\n"
                    "  save its tensors as external data beside it"
                )
            model, places = _model(onnx, stream, size)
            if model is None or not model.HasField("graph") or not model.opset_import:
                raise NetworkError(
                    f"load: {name} is not an ONNX model\n  {size:,} bytes, no graph in them\n"
                    f"  give a .onnx file, as torch.onnx.export and others write it"
                )
            return Reader(onnx, name, folder, stream, places).graph(model)
    except OSError as error:
        raise NetworkError(
            f"load: {error.filename or name} cannot be read\n  {error.strerror or error}\n"
            "  give the path of a .onnx file"
        ) from None


def _model(onnx: Any, stream: BinaryIO, size: int) -> tuple[Any, Sequence[Place | None]]:
    """The model without raw data and where these are, or the model as it is; None where the bytes are no model."""
    with suppress(wire.Unclear):
        data, places = wire.parted(stream, size)
        model = _parsed(onnx, data)
        # What replaces functions by their nodes is to find all of the model.
        if model is not None and len(places) == len(model.graph.initializer) and not len(model.functions):
            return model, places
    stream.seek(0)
    model = _parsed(onnx, stream.read())
    return model, [None] * len(model.graph.initializer if model is not None else ())


def _parsed(onnx: Any, data: bytes) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf's own error differs between its implementations
        return None
    return model


def the_package() -> Any:
    """onnx. Raises NetworkError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise NetworkError(
            "load: reading ONNX files needs the onnx package\n  it is not installed\n  pip install 'convmat[onnx]'"
        ) from None
    return onnx


PLAIN = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13))
"""ONNX's numbers of the element types whose raw data are as NumPy has them: real numbers of 1 to 8 bytes, truth."""


class Reader:
    """One model on its way to a Graph.

    `places`: where in `stream` the raw data of each initializer are that the model comes without.
    """

    def __init__(
        self,
        onnx: Any,
        name: str,
        folder: Path | None,
        stream: BinaryIO | None = None,
        places: Sequence[Place | None] = (),
    ) -> None:
        self.onnx, self.name, self.folder, self.stream, self.places = onnx, name, folder, stream, places

    def graph(self, model: Any) -> Graph:
        """All checks, in the order in which their errors help most."""
        if len(model.functions):
            model = self.inlined(model)
            self.places = [None] * len(model.graph.initializer)
        versions = self.versions(model)
        graph = model.graph
        if len(graph.node) > MOST_NODES:
            raise self.error(f"too many nodes\n  {len(graph.node):,}, at most {MOST_NODES:,} are read")
        self.refuse_bytes(graph)
        self.refuse_unknown(graph, versions)
        self.refuse_hidden(graph)
        constants = self.initializers(graph.initializer)
        for sparse in graph.sparse_initializer:
            constants[sparse.values.name] = self.dense(sparse)
        nodes = []
        for proto in graph.node:
            if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx") and len(proto.output) == 1:
                constants[proto.output[0]] = self.constant(proto)
            else:
                nodes.append(self.node(proto, versions))
        inputs = tuple(self.input(value) for value in graph.input if value.name not in constants)
        outputs = tuple(value.name for value in graph.output)
        return self.connected(nodes, inputs, outputs, constants, graph.name or self.name)

    def connected(
        self,
        nodes: list[Node],
        inputs: tuple[Input, ...],
        outputs: tuple[str, ...],
        constants: dict[str, Array],
        name: str,
    ) -> Graph:
        """The graph of these, once every value that is read or given away is written, and once."""
        ordered = self.ordered(nodes, {each.name for each in inputs} | set(constants))
        there = {each.name for each in inputs} | set(constants) | {n for node in nodes for n in node.outputs}
        for output in outputs:
            if output not in there:
                raise self.error(f"nothing computes the output {output!r}")
        if not outputs:
            raise self.error("the graph has no outputs")
        return Graph(ordered, inputs, outputs, constants, name)

    def error(self, what: str) -> NetworkError:
        """A NetworkError that names the file."""
        return NetworkError(f"load: {self.name}: {what}")

    def inlined(self, model: Any) -> Any:
        """Without functions of its own: each call replaced by the function's nodes."""
        try:
            from onnx import inliner

            return inliner.inline_local_functions(model)
        except Exception as error:  # C++ behind it: whatever it says, the model is not one
            raise self.error(f"its functions cannot be inlined\n  {_short(error)}") from None

    def versions(self, model: Any) -> dict[str, int]:
        """Which version of each domain's operators the model means."""
        newest = self.onnx.defs.onnx_opset_version()
        found = {each.domain: each.version for each in model.opset_import}
        main = found.get("", found.get("ai.onnx", newest))
        if not OLDEST <= main <= newest:
            fix = (
                "pip install --upgrade onnx"
                if main > newest
                else "convert it, e.g. with onnx.version_converter.convert_version(model, 13)"
            )
            raise self.error(
                f"its operators are of a set that is not read\n"
                f"  operator set {main}; {OLDEST} to {newest} are read\n  {fix}"
            )
        return found | {"": main, "ai.onnx": main}

    def refuse_bytes(self, graph: Any) -> None:
        """Names that are no text: protobuf hands those over as bytes."""
        for proto in _all_nodes(graph):
            own = (proto.op_type, proto.domain, proto.name, *(each.name for each in proto.attribute))
            for name in (*own, *proto.input, *proto.output):
                if not isinstance(name, str):
                    raise self.error(f"a name in it is no text\n  {name!r} is not UTF-8")
        values = (*graph.input, *graph.output, *graph.initializer)
        for name in (graph.name, *(each.name for each in values)):
            if not isinstance(name, str):
                raise self.error(f"a name in it is no text\n  {name!r} is not UTF-8")

    def refuse_hidden(self, graph: Any) -> None:
        """External data where only the standard's reference would read it, from wherever it says."""
        for proto in graph.node:
            kept = proto.op_type == "Constant"  # read here, with all checks
            if not kept and any(t.data_location == self.onnx.TensorProto.EXTERNAL for t in _tensors(proto)):
                label = f"{proto.op_type} {(proto.name or next(iter(proto.output), ''))!r}"
                raise self.error(
                    f"{label} keeps external data in an attribute\n"
                    f"  only initializers and Constant nodes may\n  save it within the model"
                )

    def refuse_unknown(self, graph: Any, versions: dict[str, int]) -> None:
        """All operators that nobody here knows, in one error."""
        missing: dict[str, int] = {}
        for proto in _all_nodes(graph):
            known = proto.domain in STANDARD and self.known(proto, versions)
            if not known:
                word = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
                missing[word] = missing.get(word, 0) + 1
        if missing:
            raise self.error(
                "some of its operators are not known\n  "
                + ", ".join(f"{word} ({n} node{'s' if n > 1 else ''})" for word, n in sorted(missing.items()))
                + "\n  those of the ONNX standard are; export the model without the others"
            )

    def known(self, proto: Any, versions: dict[str, int]) -> bool:
        """Whether the standard has the operator."""
        try:
            domain = "" if proto.domain == "ai.onnx" else proto.domain
            return bool(self.onnx.defs.has(proto.op_type, versions.get(proto.domain, 1), domain))
        except Exception:  # a type name that is no name
            return False

    # -- values --------------------------------------------------------------------------------------------------------

    def initializers(self, protos: Sequence[Any]) -> dict[str, Array]:
        """All of them by name; raw data go from the stream to their places in one piece of memory."""
        plain: dict[int, Place] = {}
        for i, (proto, place) in enumerate(zip(protos, self.places, strict=True)):
            if place is not None and self.is_plain(proto, place):
                plain[i] = place
            elif place is not None:
                proto.raw_data = self.raw(place, np.empty(place[1] - place[0], np.uint8)).tobytes()
        memory = np.empty(sum(_room(place) for place in plain.values()), np.uint8)
        found, at = {}, 0
        for i, proto in enumerate(protos):
            if i in plain:
                (start, stop), dtype = plain[i], self.dtype(proto.data_type)
                made = self.raw(plain[i], memory[at : at + stop - start]).view(dtype).reshape(proto.dims)
                made.flags.writeable = False
                at += _room(plain[i])
            else:
                made = self.tensor(proto, f"the initializer {proto.name!r}")
            found[proto.name] = made
        return found

    def is_plain(self, proto: Any, place: Place) -> bool:
        """Whether raw data are the elements of an array as NumPy has them, and as many as its shape says."""
        return (
            proto.data_type in PLAIN
            and proto.data_location != self.onnx.TensorProto.EXTERNAL
            and sys.byteorder == "little"
            and all(n >= 0 for n in proto.dims)
            and math.prod(proto.dims) * self.dtype(proto.data_type).itemsize == place[1] - place[0]
        )

    def raw(self, place: Place, memory: Array) -> Array:
        """Fill memory with the stream's bytes from one place to another."""
        assert self.stream is not None
        self.stream.seek(place[0])
        if self.stream.readinto(memory.data) < place[1] - place[0]:  # type: ignore[attr-defined]
            raise self.error("it became shorter while it was read\n  load it again")
        return memory

    def tensor(self, proto: Any, what: str) -> Array:
        """A tensor as an array, of just the bytes that its shape says."""
        if any(n < 0 for n in proto.dims):
            raise self.error(f"{what} has a negative extent\n  {list(proto.dims)}")
        try:
            dtype = self.dtype(proto.data_type)
        except Exception:
            raise self.error(f"{what} has an unknown element type\n  type {proto.data_type}") from None
        if proto.data_location == self.onnx.TensorProto.EXTERNAL:
            return self.external(proto, what, dtype)
        elements = math.prod(proto.dims)
        if elements > MOST_BYTES:
            raise self.error(f"{what} says it is larger than its file\n  {list(proto.dims)} elements")
        try:
            made = self.onnx.numpy_helper.to_array(proto)
            if made.shape != tuple(proto.dims):
                raise ValueError(f"{made.shape} elements found")
        except Exception as error:
            raise self.error(
                f"{what} does not hold what its shape says\n  {list(proto.dims)} {dtype}: {_short(error)}"
            ) from None
        return _frozen(made)

    def external(self, proto: Any, what: str, dtype: np.dtype[Any]) -> Array:
        """A tensor kept in a file of its own, which must lie in the model's folder or below it."""
        about = {each.key: each.value for each in proto.external_data}
        location = about.get("location", "")
        if self.folder is None:
            raise self.error(
                f"{what} is external data, and the model was given as bytes\n  load it from its file"
            )
        root = self.folder.resolve()
        path = root
        try:
            path = (root / location).resolve()
            inside = bool(location) and path.is_relative_to(root) and path.is_file()
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise self.error(
                f"the file with the data of {what} is not in the model's folder\n  location {location!r}\n"
                f"  put it beside the model"
            )
        try:
            offset = int(about.get("offset") or 0)
            wanted = math.prod(proto.dims) * dtype.itemsize
            length = int(about["length"]) if about.get("length") else wanted
        except ValueError:
            raise self.error(f"{what} has an offset or length that is no number\n  {about}") from None
        size = path.stat().st_size
        if offset < 0 or length != wanted or offset + length > size or dtype.hasobject:
            raise self.error(
                f"{what} does not fit its file\n  {list(proto.dims)} {dtype} take {wanted:,} bytes; "
                f"offset {offset:,}, length {length:,}, the file has {size:,}"
            )
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        return _frozen(
            np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(proto.dims)
        )

    def dense(self, proto: Any) -> Array:
        """A sparse tensor with its zeros."""
        what = f"the sparse initializer {proto.values.name!r}"
        values, indices = self.tensor(proto.values, what), self.tensor(proto.indices, what)
        shape = tuple(proto.dims)
        if any(n < 0 for n in shape) or math.prod(shape) > MOST_BYTES // 8:
            raise self.error(f"{what} is too large\n  {list(shape)} elements")
        made = np.zeros(shape, values.dtype)
        try:
            made[tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, shape)] = values
        except (IndexError, ValueError) as error:
            raise self.error(f"{what} has indices outside its shape\n  {_short(error)}") from None
        return _frozen(made)

    def constant(self, proto: Any) -> Array:
        """What a Constant node holds."""
        what = f"Constant {proto.output[0]!r}"
        found = {a.name: self.attribute(a, what) for a in proto.attribute}
        if len(found) == 1:
            name, value = next(iter(found.items()))
            if name == "value" and isinstance(value, np.ndarray):
                return value
            if name == "sparse_value" and isinstance(value, np.ndarray):
                return value
            kinds: dict[str, Any] = {
                "value_float": np.float32,
                "value_int": np.int64,
                "value_string": np.object_,
            }
            kinds |= {f"{name}s": kind for name, kind in kinds.items()}
            if name in kinds and not isinstance(value, np.ndarray):
                return _frozen(np.array(value, kinds[name]))
        raise self.error(f"{what} holds no value\n  its attributes: {', '.join(found) or 'none'}")

    def input(self, value: Any) -> Input:
        """A declared input, its extents as they are declared."""
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise self.error(
                f"the input {value.name!r} is no tensor\n  it is a {kind or 'value without a type'}"
            )
        tensor = value.type.tensor_type
        try:
            dtype = self.dtype(tensor.elem_type)
        except Exception:
            raise self.error(
                f"the input {value.name!r} has an unknown element type\n  type {tensor.elem_type}"
            ) from None
        if not tensor.HasField("shape"):
            return Input(value.name, dtype, None)
        shape = tuple(
            d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else (d.dim_param or None)
            for d in tensor.shape.dim
        )
        return Input(value.name, dtype, shape)

    def dtype(self, number: int) -> np.dtype[Any]:
        """An element type by ONNX's number. Raises whatever onnx does for one that is none."""
        made: np.dtype[Any] = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(number))
        return made

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def node(self, proto: Any, versions: dict[str, int]) -> Node:
        """A node, its attributes read. Raises NetworkError."""
        what = f"{proto.op_type} {(proto.name or next(filter(None, proto.output), ''))!r}"
        known = self.signature(proto, what, versions)
        attributes, graphs = {}, []
        for each in proto.attribute:
            if each.name not in known:
                continue
            if each.type in (self.onnx.AttributeProto.GRAPH, self.onnx.AttributeProto.GRAPHS):
                graphs += [each.g] if each.type == self.onnx.AttributeProto.GRAPH else list(each.graphs)
            else:
                attributes[each.name] = self.attribute(each, what)
        captured: set[str] = set().union(*map(_captured, graphs))
        return Node(
            op=proto.op_type,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes=attributes,
            name=proto.name,
            version=versions.get(proto.domain, 1),
            domain="" if proto.domain == "ai.onnx" else proto.domain,
            source=proto.SerializeToString(),
            captured=tuple(sorted(captured)),
        )

    def signature(self, proto: Any, what: str, versions: dict[str, int]) -> frozenset[str]:
        """The attributes that the standard knows of an operator, once the node's counts and types are those it has."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        schema = self.onnx.defs.get_schema(proto.op_type, versions.get(proto.domain, 1), domain)
        counts = (
            ("inputs", len(proto.input), schema.min_input, schema.max_input),
            ("outputs", len(proto.output), schema.min_output, schema.max_output),
        )
        for word, count, least, most in counts:
            if not least <= count <= most:
                wanted = (
                    f"{least}"
                    if least == most
                    else f"{least} to {most}"
                    if most < 2**31 - 1
                    else f"at least {least}"
                )
                raise self.error(f"{what} has {count} {word}\n  the operator has {wanted}")
        for each in proto.attribute:
            wanted = schema.attributes.get(each.name)
            if wanted is not None and each.type != wanted.type.value:
                raise self.error(
                    f"{what}: its attribute {each.name!r} is of type {each.type}\n"
                    f"  the operator has {wanted.type.name}, {wanted.type.value}"
                )
        return frozenset(schema.attributes)

    def attribute(self, proto: Any, what: str) -> Any:
        """An attribute as plain numbers, texts, arrays and tuples of them. Raises NetworkError."""
        kinds = self.onnx.AttributeProto
        try:
            if proto.type == kinds.TENSOR:
                return self.tensor(proto.t, f"{what}, attribute {proto.name!r}")
            if proto.type == kinds.SPARSE_TENSOR:
                return self.dense(proto.sparse_tensor)
            value = self.onnx.helper.get_attribute_value(proto)
        except NetworkError:
            raise
        except Exception as error:
            raise self.error(
                f"{what}: its attribute {proto.name!r} cannot be read\n  {_short(error)}"
            ) from None
        if proto.type == kinds.STRING:
            return value.decode("utf-8", "replace")
        if proto.type in (kinds.INTS, kinds.FLOATS):
            return tuple(value)
        if proto.type == kinds.STRINGS:
            return tuple(each.decode("utf-8", "replace") for each in value)
        if proto.type == kinds.TENSORS:
            return tuple(self.tensor(each, what) for each in value)
        return value

    def ordered(self, nodes: list[Node], given: set[str]) -> tuple[Node, ...]:
        """In an order in which each reads what is there. Raises for names written twice, missing names, and cycles."""
        writer: dict[str, int] = {}
        for i, node in enumerate(nodes):
            for name in filter(None, node.outputs):
                if name in writer or name in given:
                    raise self.error(f"{node.label} writes {name!r}, which is there already")
                writer[name] = i
        for node in nodes:
            for name in node.reads:
                if name not in writer and name not in given:
                    raise self.error(
                        f"{node.label} reads {name!r}, which nothing computes\n"
                        f"  it is no input, constant or output of a node"
                    )
        if all(writer.get(name, -1) < i for i, node in enumerate(nodes) for name in node.reads):
            return tuple(nodes)
        before = {i: [writer[name] for name in node.reads if name in writer] for i, node in enumerate(nodes)}
        try:
            return tuple(nodes[i] for i in TopologicalSorter(before).static_order())
        except CycleError as error:
            round_trip = [nodes[i].label for i in error.args[1]]
            raise self.error("its nodes wait for each other\n  " + " <- ".join(round_trip[:8])) from None


def _all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs in their attributes."""
    for proto in graph.node:
        yield proto
        for attribute in proto.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _all_nodes(inner)


def _tensors(node: Any) -> Iterator[Any]:
    """The tensors in a node's attributes, and in the graphs there."""
    for attribute in node.attribute:
        yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)
        for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            yield from inner.initializer
            for proto in inner.node:
                yield from _tensors(proto)


def _captured(graph: Any) -> set[str]:
    """What a subgraph reads of the values around it."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer} | {
        name for proto in graph.node for name in proto.output
    }
    read = {v.name for v in graph.output} | {name for proto in graph.node for name in proto.input if name}
    for proto in graph.node:
        for attribute in proto.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                read |= _captured(inner)
    return read - own


def _room(place: Place) -> int:
    """Bytes for raw data: a multiple of what any element wants to begin at."""
    return (place[1] - place[0] + 63) // 64 * 64


def _frozen(array: Array) -> Array:
    """A C-contiguous array of the machine's byte order, that nobody writes to."""
    made = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    made.flags.writeable = False
    return made


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def names(values: Iterable[str]) -> str:
    """Names in an error."""
    return ", ".join(map(repr, values)) or "none"
