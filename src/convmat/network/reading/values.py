"""The values in an ONNX file, believed in nothing: tensors, attributes, declared inputs.

A tensor holds just as many bytes as its shape says; external data lies inside the model's own folder, and is read here
or not at all.
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NetworkError
from ..graph import KINDS, Array, Input
from .ahead import ReadAhead, room_of
from .wire import Place

MOST_BYTES = 2**31
"""A protobuf message ends there; external data may be larger."""

MOST_AXES = 32
"""Axes of a tensor, at most: what all versions of NumPy have."""

MOST_ELEMENTS = 2**48
"""The product of extents above 0, where nothing says less: beyond, NumPy has no such shape, even of 0 elements."""

PLAIN = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13))
"""ONNX's numbers of the element types whose raw data are as NumPy has them: real numbers of 1 to 8 bytes, truth."""

CONSTANTS = {
    "value": ("TENSOR", None), "sparse_value": ("SPARSE_TENSOR", None), "value_float": ("FLOAT", np.float32),
    "value_floats": ("FLOATS", np.float32), "value_int": ("INT", np.int64), "value_ints": ("INTS", np.int64),
    "value_string": ("STRING", np.object_), "value_strings": ("STRINGS", np.object_),
}  # fmt: skip
"""The attributes of which a Constant has one: of which type it is, and the elements of numbers and texts."""


class Values:
    """What a model's messages hold; `name` is what errors call the model, `folder` where its external data may lie.

    `places`: where in `stream` the raw data of each initializer are that the model comes without; `ahead` may have read
    them already.
    """

    def __init__(
        self,
        onnx: Any,
        name: str,
        folder: Path | None,
        stream: io.BufferedIOBase | None = None,
        places: Sequence[Place | None] = (),
        ahead: ReadAhead | None = None,
    ) -> None:
        self.onnx, self.name, self.folder, self.stream, self.places = onnx, name, folder, stream, places
        self.ahead = ahead
        self.lying: list[tuple[Array, int]] = []
        """Arrays over raw data as they lie in the stream, each with the number of its initializer."""
        self.told = True
        """Whether all other values are told by the model without raw data."""
        self.whole = True
        """Whether no value lies in another file."""
        self.named = True
        """Whether the model says what its graph is called; else that is called what the model is."""

    def error(self, what: str) -> NetworkError:
        """A NetworkError that names the file."""
        return NetworkError(f"load: {self.name}: {what}")

    def initializers(self, protos: Sequence[Any], places: Sequence[Place | None]) -> dict[str, Array]:
        """All of them by name; raw data go from the stream to their places in one piece of memory."""
        plain: dict[int, Place] = {}
        for i, (proto, place) in enumerate(zip(protos, places, strict=True)):
            if place is not None and self.is_plain(proto, place):
                plain[i] = place
            elif place is not None:
                proto.raw_data = self.raw(place, np.empty(place[1] - place[0], np.uint8)).tobytes()
                self.told = False
        kinds = {i: (self.dtype(protos[i].data_type), tuple(protos[i].dims)) for i in plain}
        there = self.take_places([(plain[i], *kinds[i]) for i in plain])
        lying = dict(zip(plain, there, strict=True))
        self.lying += [(array, i) for i, array in lying.items()]
        return {
            proto.name: lying[i] if i in lying else self.tensor(proto, f"the initializer {proto.name!r}")
            for i, proto in enumerate(protos)
        }

    def take_places(self, wanted: Sequence[tuple[Place, np.dtype[Any], tuple[int, ...]]]) -> list[Array]:
        """Arrays of raw data as they lie in the stream; those that nobody read ahead in one piece of memory."""
        size = 0 if self.ahead is not None else sum(room_of(place) for place, *_ in wanted)
        memory, found, at = np.empty(size, np.uint8), [], 0
        for place, dtype, shape in wanted:
            made = self.raw(place, memory[at : at + place[1] - place[0]]).view(dtype).reshape(shape)
            made.flags.writeable = False
            at += room_of(place)
            found.append(made)
        return found

    def is_plain(self, proto: Any, place: Place) -> bool:
        """Whether raw data are the elements of an array as NumPy has them, and as many as its shape says."""
        return (
            proto.data_type in PLAIN
            and proto.data_location != self.onnx.TensorProto.EXTERNAL
            and sys.byteorder == "little"
            and len(proto.dims) <= MOST_AXES
            and all(n >= 0 for n in proto.dims)
            and extent(proto.dims) <= MOST_BYTES
            and math.prod(proto.dims) * self.dtype(proto.data_type).itemsize == place[1] - place[0]
        )

    def raw(self, place: Place, memory: Array) -> Array:
        """The stream's bytes from one place to another: in `memory`, or where they were read ahead."""
        if self.ahead is not None:
            found = self.ahead.take(place)
            if found is None:
                raise self.error("it became shorter while it was read\n  load it again")
            return found
        assert self.stream is not None
        self.stream.seek(place[0])
        if self.stream.readinto(memory.data) < place[1] - place[0]:
            raise self.error("it became shorter while it was read\n  load it again")
        return memory

    def tensor(self, proto: Any, what: str) -> Array:
        """A tensor as an array, of just the bytes that its shape says."""
        self.refuse_shape(proto.dims, what)
        try:
            dtype = self.dtype(proto.data_type)
        except KeyError:
            raise self.error(f"{what} has an unknown element type\n  type {proto.data_type}") from None
        if proto.data_location == self.onnx.TensorProto.EXTERNAL:
            return self.external(proto, what, dtype)
        if extent(proto.dims) > MOST_BYTES:
            raise self.error(f"{what} says it is larger than its file\n  {list(proto.dims)} elements")
        try:
            made = self.onnx.numpy_helper.to_array(proto)
            if made.shape != tuple(proto.dims):
                raise ValueError(f"{made.shape} elements found")
        except Exception as error:  # each storage of its elements has errors of its own
            raise self.error(
                f"{what} does not hold what its shape says\n  {list(proto.dims)} {dtype}: {shorten_error(error)}"
            ) from None
        return _freeze(made)

    def refuse_shape(self, dims: Sequence[int], what: str) -> None:
        """Extents that no array has."""
        if len(dims) > MOST_AXES:
            raise self.error(f"{what} has too many axes\n  {len(dims):,}, at most {MOST_AXES} are read")
        if any(n < 0 for n in dims):
            raise self.error(f"{what} has a negative extent\n  {list(dims)}")

    def external(self, proto: Any, what: str, dtype: np.dtype[Any]) -> Array:
        """A tensor kept in a file of its own, which must lie in the model's folder or below it."""
        self.told = self.whole = False
        about = {each.key: each.value for each in proto.external_data}
        location = about.get("location", "")
        if self.folder is None:
            raise self.error(
                f"{what} is external data, and the model was given as bytes\n  load it from its file"
            )
        path = self.find_beside(location)
        if path is None:
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
        fits = 0 <= offset <= size - length and length == wanted and extent(proto.dims) <= MOST_ELEMENTS
        if not fits or dtype.hasobject:
            raise self.error(
                f"{what} does not fit its file\n  {list(proto.dims)} {dtype} take {wanted:,} bytes; "
                f"offset {offset:,}, length {length:,}, the file has {size:,}"
            )
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        return _freeze(
            np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(proto.dims)
        )

    def find_beside(self, location: str) -> Path | None:
        """The file at a place in the model's folder, and not outside of it; None where there is none.

        Caches keep models as links into a folder of blobs: one beside the model's may lead where that leads.
        """
        assert self.folder is not None
        outside = os.path.isabs(location) or os.path.normpath(location).split(os.sep)[0] == os.pardir
        if not location or outside:
            return None
        try:
            path = (self.folder.resolve() / location).resolve()
            roots = (self.folder.resolve(), (self.folder / self.name).resolve().parent)
            return path if path.is_file() and any(map(path.is_relative_to, roots)) else None
        except (OSError, ValueError, RuntimeError):
            return None

    def dense(self, proto: Any) -> Array:
        """A sparse tensor with its zeros."""
        what = f"the sparse initializer {proto.values.name!r}"
        values, indices = self.tensor(proto.values, what), self.tensor(proto.indices, what)
        self.refuse_shape(proto.dims, what)
        shape, n = tuple(proto.dims), values.size
        if extent(shape) * values.itemsize > MOST_BYTES:
            raise self.error(f"{what} is too large\n  {list(shape)} elements")
        if values.ndim != 1 or indices.dtype != np.int64 or indices.shape not in ((n,), (n, len(shape))):
            raise self.error(
                f"{what} has indices that do not fit its values\n"
                f"  {indices.dtype} {list(indices.shape)} for {list(values.shape)} values of {len(shape)} axes;"
                " int64, one or one for each axis is needed"
            )
        made = np.zeros(shape, values.dtype)
        if indices.min(initial=0) < 0:
            raise self.error(f"{what} has indices outside its shape\n  {indices.min()} is below 0")
        try:
            made[tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, shape)] = values
        except (IndexError, ValueError) as error:
            raise self.error(f"{what} has indices outside its shape\n  {shorten_error(error)}") from None
        made.flags.writeable = False  # not `_freeze`: a copy would take pages for all the zeros
        return made

    def constant(self, proto: Any) -> Array:
        """What a Constant node holds."""
        what = f"Constant {proto.output[0]!r}"
        for each in proto.attribute:
            kind = CONSTANTS.get(each.name, ("", None))[0]
            if kind and each.type != getattr(self.onnx.AttributeProto, kind):
                said = f"its attribute {each.name!r} is of type {each.type}"
                raise self.error(f"{what}: {said}\n  the operator has {kind}")
        found = {a.name: self.attribute(a, what) for a in proto.attribute}
        if len(found) == 1 and CONSTANTS.keys() & found.keys():
            (name, value), *_ = found.items()
            return value if isinstance(value, np.ndarray) else _freeze(np.array(value, CONSTANTS[name][1]))
        raise self.error(f"{what} holds no value\n  its attributes: {', '.join(found) or 'none'}")

    def input(self, value: Any) -> Input:
        """A declared input, its extents as they are declared."""
        told = value.type
        kinds: list[str] = []
        while told.WhichOneof("value") in ("optional_type", "sequence_type") and len(kinds) < 2:
            kinds.append(told.WhichOneof("value").removesuffix("_type"))
            told = getattr(told, f"{kinds[-1]}_type").elem_type
        found, kind = told.WhichOneof("value"), " ".join(kinds) or "tensor"
        if found != "tensor_type" or kind not in KINDS:
            raise self.error(
                f"the input {value.name!r} is no tensor\n  it is a {found or 'value without a type'}"
            )
        tensor = told.tensor_type
        try:
            dtype = self.dtype(tensor.elem_type)
        except KeyError:
            raise self.error(
                f"the input {value.name!r} has an unknown element type\n  type {tensor.elem_type}"
            ) from None
        if not tensor.HasField("shape"):
            return Input(value.name, dtype, None, kind)
        shape = tuple(
            d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else (d.dim_param or None)
            for d in tensor.shape.dim
        )
        return Input(value.name, dtype, shape, kind)

    def read_output(self, value: Any) -> Input | None:
        """The same for an output of a body, where it says of which type it is and that is a tensor's."""
        try:
            found = self.input(value)
        except NetworkError:
            return None
        return found if found.kind == "tensor" else None

    def dtype(self, number: int) -> np.dtype[Any]:
        """An element type by ONNX's number. Raises KeyError for one that is none."""
        made: np.dtype[Any] = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(number))
        return made

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
        except Exception as error:  # lists of messages, and kinds that this onnx does not know
            raise self.error(
                f"{what}: its attribute {proto.name!r} cannot be read\n  {shorten_error(error)}"
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


def graphs(proto: Any) -> list[Any]:
    """The graphs in a node's attributes."""
    return [
        inner
        for attribute in proto.attribute
        for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs)
    ]


def all_graphs(graph: Any) -> Iterator[Any]:
    """A graph and those in the attributes of its nodes."""
    yield graph
    for proto in graph.node:
        for inner in graphs(proto):
            yield from all_graphs(inner)


def all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs in their attributes."""
    for each in all_graphs(graph):
        yield from each.node


def find_circle(functions: Sequence[Any]) -> list[str]:
    """The names of functions that call each other in a circle; none where there is no such."""

    def key(each: Any, name: str) -> tuple[str, str, str]:
        return each.domain, name, getattr(each, "overload", "")  # which old versions of onnx have not

    calls = {key(each, each.name): {key(n, n.op_type) for n in all_nodes(each)} for each in functions}
    try:
        TopologicalSorter({name: names & calls.keys() for name, names in calls.items()}).prepare()
    except CycleError as error:
        return [f"{domain}.{name}" for domain, name, _ in error.args[1]]
    return []


def tensors(proto: Any, *, inside: bool = True) -> Iterator[Any]:
    """The tensors of a graph or in a node's attributes, the parts of sparse ones too; `inside`: of nodes within too."""
    if hasattr(proto, "node"):
        yield from proto.initializer
        for sparse in proto.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in proto.node if inside else ():
            yield from tensors(node)
        return
    for attribute in proto.attribute:
        yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)
        single = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for sparse in (*single, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
    for inner in graphs(proto) if inside else ():
        yield from tensors(inner)


def captured_values(graph: Any) -> set[str]:
    """What a subgraph reads of the values around it."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer} | {
        name for proto in graph.node for name in proto.output
    }
    read = {v.name for v in graph.output} | {name for proto in graph.node for name in proto.input if name}
    for proto in graph.node:
        for inner in graphs(proto):
            read |= captured_values(inner)
    return read - own


def extent(dims: Sequence[int]) -> int:
    """The product of the extents above 0.

    >>> extent((3, 0, 4))
    12
    """
    return math.prod(n for n in dims if n)


def _freeze(array: Array) -> Array:
    """A C-contiguous array of the machine's byte order, that nobody writes to."""
    made = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    made.flags.writeable = False
    return made


def shorten_error(error: Exception) -> str:
    """What an error says, in a line."""
    return " ".join(str(error).split())[:200]
