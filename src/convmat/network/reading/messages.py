"""Models as protobuf has them, read without protobuf where they are what everybody writes.

    message = field, field, ..      field = key (number*8 + kind), perhaps a length, a value

To import the onnx package takes longer than most networks take to read and to prepare. So a model is read here first;
what is not clear (groups, a field of a kind that it should not have, half of it twice, texts that are none) is left to
protobuf. Fields that nobody here looks at are skipped, whatever is in them.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..graph import Array
from .wire import EIGHT, FOUR, LENGTH, LONGEST, LONGEST_KEY, MOST_FIELDS, VARINT, Unclear

MOST_DEPTH = 90
"""Messages within messages: protobuf reads 100."""


class Message:
    """One message: fields that it does not have are what their kind begins with."""

    kinds: dict[int, tuple[str, str]]
    """By their numbers, the names of fields and what they are; [] behind it where there may be many."""

    one_of: frozenset[str] = frozenset()
    """Fields of which a message has one."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def HasField(self, name: str) -> bool:
        """Whether it says what a field is."""
        return name in self.__dict__

    def WhichOneof(self, _: str) -> str | None:
        """Which of the fields it has that exclude each other."""
        return next((name for name in self.__dict__ if name in self.one_of), None)

    def SerializeToString(self) -> bytes:
        """Its bytes as they were read."""
        return bytes(self._content)


FIELDS = {
    "ModelProto": "7 graph GraphProto, 8 opset_import OperatorSetIdProto[], 25 functions any[]",
    "OperatorSetIdProto": "1 domain text, 2 version int64",
    "GraphProto": "1 node NodeProto[], 2 name text, 5 initializer TensorProto[], 11 input ValueInfoProto[],"
    "12 output ValueInfoProto[], 15 sparse_initializer SparseTensorProto[]",
    "NodeProto": "1 input text[], 2 output text[], 3 name text, 4 op_type text, 5 attribute AttributeProto[],"
    "7 domain text",
    "AttributeProto": "1 name text, 2 f float, 3 i int64, 4 s bytes, 5 t TensorProto, 6 g GraphProto, 7 floats float[],"
    "8 ints int64[], 9 strings bytes[], 10 tensors TensorProto[], 11 graphs GraphProto[], 14 tp any,"
    "15 type_protos any[], 20 type enum, 21 ref_attr_name text, 22 sparse_tensor SparseTensorProto,"
    "23 sparse_tensors SparseTensorProto[]",
    "TensorProto": "1 dims int64[], 2 data_type int32, 3 segment any, 4 float_data float[], 5 int32_data int64[],"
    "6 string_data bytes[], 7 int64_data int64[], 8 name text, 9 raw_data bytes, 10 double_data double[],"
    "11 uint64_data int64[], 13 external_data StringStringEntryProto[], 14 data_location enum",
    "StringStringEntryProto": "1 key text, 2 value text",
    "SparseTensorProto": "1 values TensorProto, 2 indices TensorProto, 3 dims int64[]",
    "ValueInfoProto": "1 name text, 2 type TypeProto",
    "TypeProto": "1 tensor_type TensorType, 4 sequence_type ElementType, 5 map_type any, 7 opaque_type any,"
    "8 sparse_tensor_type any, 9 optional_type ElementType",
    "TensorType": "1 elem_type int32, 2 shape TensorShapeProto",
    "ElementType": "1 elem_type TypeProto",
    "TensorShapeProto": "1 dim Dimension[]",
    "Dimension": "1 dim_value int64, 2 dim_param text",
    "any": "",
}
"""The fields that are read of each kind of message: number, name and kind of each. `any`: what it holds is skipped."""

ONE_OF = {
    "TypeProto": "tensor_type sequence_type map_type opaque_type sparse_tensor_type optional_type",
    "Dimension": "dim_value dim_param",
}

NOTHING = {"text": "", "bytes": b"", "int64": 0, "int32": 0, "enum": 0, "float": 0.0, "double": 0.0}
"""Default of a field, by its kind, for a message that does not have it."""

AS_ARRAYS = frozenset(("float_data", "int32_data", "int64_data", "double_data"))
"""Fields of numbers that are left side by side where they are: as objects they would take ten times the memory."""

PACKED: dict[str, np.dtype[Any]] = {"float": np.dtype("<f4"), "double": np.dtype("<f8")}


def _make_kinds() -> dict[str, type[Message]]:
    made: dict[str, type[Message]] = {
        name: type(name, (Message,), {"one_of": frozenset(ONE_OF.get(name, "").split())}) for name in FIELDS
    }
    for name, text in FIELDS.items():
        kinds = {}
        for each in filter(None, text.split(",")):
            number, field, kind = each.split()
            kinds[int(number)] = field, kind
            setattr(made[name], field, () if kind.endswith("[]") else NOTHING.get(kind))
        made[name].kinds = kinds
    for name in FIELDS:  # a message that is not there is an empty one
        for field, kind in made[name].kinds.values():
            if kind in made:
                setattr(made[name], field, made[kind](memoryview(b"")))
    return made


KINDS = _make_kinds()


def read_model(data: bytes) -> Message:
    """The model in these bytes. Raises Unclear where protobuf is to judge them."""
    return _read(KINDS["ModelProto"], memoryview(data), itertools.count(1), 0)


def _read(kind: type[Message], data: memoryview, count: Iterator[int], depth: int) -> Message:
    """A message; `count` counts the fields of all of them. Raises Unclear."""
    if depth > MOST_DEPTH:
        raise Unclear
    made, kinds, at, stop = kind(data), kind.kinds, 0, len(data)
    found = made.__dict__
    while at < stop:
        if next(count) > MOST_FIELDS:
            raise Unclear
        key, at = _varint(data, at, LONGEST_KEY)
        form, known = key & 7, kinds.get(key >> 3)
        value: Any
        if form == LENGTH:
            length, at = _varint(data, at, LONGEST)
            value, at = data[at : at + length], at + length
        elif form == VARINT:
            value, at = _varint(data, at, LONGEST)
        elif form in (FOUR, EIGHT):
            size = 4 if form == FOUR else 8
            value, at = data[at : at + size], at + size
        else:
            raise Unclear
        if at > stop or not 0 < key >> 3 < 2**29:
            raise Unclear
        if known is None:
            continue
        name, what = known
        many, what = what.endswith("[]"), what.removesuffix("[]")
        if what in KINDS:
            if form != LENGTH or (not many and name in found):  # of which protobuf makes one
                raise Unclear
            value = _read(KINDS[what], value, count, depth + 1)
        else:
            if what == "enum" and name in found:  # protobuf keeps the first where it does not know the second
                raise Unclear
            value = _plain(what, form, value, many)
        if not many or (isinstance(value, np.ndarray) and name in AS_ARRAYS and name not in found):
            found[name] = value
        else:
            if isinstance(found.get(name), np.ndarray):
                found[name] = found[name].tolist()
            found.setdefault(name, []).extend(value.tolist() if isinstance(value, np.ndarray) else (value,))
    if len(made.one_of & found.keys()) > 1:
        raise Unclear
    return made


def _plain(what: str, form: int, value: Any, many: bool) -> Any:
    """The value of a field that is no message: an array where it holds many side by side. Raises Unclear."""
    if what in ("text", "bytes"):
        if form != LENGTH:
            raise Unclear
        try:
            return bytes(value) if what == "bytes" else str(value, "utf-8")
        except UnicodeDecodeError:
            raise Unclear from None
    if form == LENGTH:
        if not many:
            raise Unclear
        if what in PACKED:
            if len(value) % PACKED[what].itemsize:
                raise Unclear
            return np.frombuffer(value, PACKED[what])
        return _varints(value)
    if what in PACKED:
        if form != (FOUR if what == "float" else EIGHT):
            raise Unclear
        return struct.unpack("<f" if what == "float" else "<d", value)[0]
    if form != VARINT:
        raise Unclear
    if what in ("int32", "enum") and value >= 2**31:
        raise Unclear
    return value - 2**64 if value >= 2**63 else value


def _varint(data: memoryview, at: int, most: int) -> tuple[int, int]:
    """A number of at most so many bytes, and where it ends. Raises Unclear."""
    try:
        value = data[at]
        if value < 128:
            return value, at + 1
        value &= 127
        for i in range(1, most):
            byte = data[at + i]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if value >= 2**64:
                    break
                return value, at + i + 1
    except IndexError:
        pass
    raise Unclear


def _varints(data: memoryview) -> Array:
    """Numbers side by side. Raises Unclear."""
    content = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(content < 128)
    if not len(content):
        return np.empty(0, np.int64)
    if not len(ends) or ends[-1] != len(content) - 1:
        raise Unclear
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > LONGEST or (content[ends[sizes == LONGEST]] > 1).any():
        raise Unclear
    made = np.zeros(len(ends), np.uint64)
    for i in range(sizes.max()):
        longer = sizes > i
        made[longer] |= (content[starts[longer] + i] & 127).astype(np.uint64) << np.uint64(7 * i)
    return made.view(np.int64)


__all__ = ["Message", "read_model"]
