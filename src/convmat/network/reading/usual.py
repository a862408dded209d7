"""What reading asks of the onnx package, answered without it for models that have nothing unusual in them.

Operators that others than the standard's reference compute, and values of NumPy's own element types. For anything else
there is no answer, and the model is read with the package.
"""

from __future__ import annotations

from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array
from .signatures import NEWEST, SIGNATURES

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""NumPy's element types by ONNX's numbers."""

TYPES = {
    "UNDEFINED": "", "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "floats",
    "INTS": "ints", "STRINGS": "strings", "TENSORS": "tensors", "GRAPHS": "graphs", "SPARSE_TENSOR": "sparse_tensor",
    "SPARSE_TENSORS": "sparse_tensors", "TYPE_PROTO": "tp", "TYPE_PROTOS": "type_protos",
}  # fmt: skip
"""Types of attributes, in the order of their numbers, and where an attribute of each has its value."""

DATA = {
    "float_data": ("float32", (1,)),
    "int32_data": ("int32", (2, 3, 4, 5, 6, 9)),
    "int64_data": ("int64", (7,)),
    "double_data": ("float64", (11,)),
}
"""Where a tensor without raw data has its elements, as which type, and those of which types it has there."""


class NeedsPackage(Exception):
    """The onnx package is to answer."""


class Signature(NamedTuple):
    """What a version of an operator takes: inputs and outputs, at least and at most, and attributes."""

    min_input: int
    max_input: int
    min_output: int
    max_output: int
    attributes: dict[str, Any]


@lru_cache(maxsize=1)
def _all_versions() -> dict[str, list[tuple[int, Signature]]]:
    """By the name of an operator, what each of its versions takes, the oldest first."""
    found: dict[str, list[tuple[int, Signature]]] = {}
    name = ""
    for line in SIGNATURES.replace("\n  ", " ").strip().splitlines():
        named, version, counts, *attributes = line.split()
        name = name if named == "-" else named
        least, most, fewest, largest = (2**31 - 1 if n == "*" else int(n) for n in counts.split(","))
        kinds = {a: SimpleNamespace(type=_kind(int(n))) for a, n in (each.split(":") for each in attributes)}
        found.setdefault(name, []).append((int(version), Signature(least, most, fewest, largest, kinds)))
    return found


@cache
def _kind(number: int) -> Any:
    return SimpleNamespace(value=number, name=[*TYPES][number])


def _find(name: str, version: int, domain: str) -> Signature | None:
    versions = _all_versions().get(f"{domain}.{name}" if domain else name, [])
    return next((found for begun, found in reversed(versions) if begun <= version), None)


def _get_schema(name: str, version: int, domain: str) -> Signature:
    found = _find(name, version, domain)
    if found is None:
        raise NeedsPackage
    return found


def _dtype(number: int) -> np.dtype[Any]:
    if number not in DTYPES:
        raise NeedsPackage
    return np.dtype(DTYPES[number])


def _attribute_value(proto: Any) -> Any:
    if proto.ref_attr_name or not 0 < proto.type < len(TYPES):
        raise NeedsPackage
    return getattr(proto, [*TYPES.values()][proto.type])


def _to_array(proto: Any) -> Array:
    dtype = _dtype(proto.data_type)
    if proto.HasField("segment"):
        raise NeedsPackage
    if proto.HasField("raw_data"):
        return np.frombuffer(proto.raw_data, dtype.newbyteorder("<")).reshape(proto.dims)
    for name, (kept, types) in DATA.items():
        if proto.data_type in types:
            return np.asarray(getattr(proto, name), kept).astype(dtype, copy=False).reshape(proto.dims)
    raise NeedsPackage


USUAL = SimpleNamespace(
    TensorProto=SimpleNamespace(EXTERNAL=1),
    AttributeProto=SimpleNamespace(
        **{name: number for number, name in enumerate(TYPES)},
        AttributeType={name: number for number, name in enumerate(TYPES)},
    ),
    defs=SimpleNamespace(
        onnx_opset_version=lambda: NEWEST,
        has=lambda name, version, domain: _find(name, version, domain) is not None,
        get_schema=_get_schema,
    ),
    helper=SimpleNamespace(tensor_dtype_to_np_dtype=_dtype, get_attribute_value=_attribute_value),
    numpy_helper=SimpleNamespace(to_array=_to_array),
)
"""Those parts of the package that are used, by its names."""

__all__ = ["DTYPES", "TYPES", "USUAL", "NeedsPackage"]
