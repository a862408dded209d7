"""What a call is given and asked for: arrays that fit the inputs, and the values that names mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NetworkError, format_value
from .graph import Array, Graph, Input
from .input_shapes import suggest_axes

if TYPE_CHECKING:
    pass


def read_inputs(inputs: Sequence[Input], x: Any) -> dict[str, Any]:
    """What a call was given, by the names of the inputs: C-contiguous arrays of their types, lists of them, or None.

    Raises NetworkError.
    """
    if not isinstance(x, Mapping):
        if len(inputs) != 1:
            raise NetworkError(
                f"call: the network has {len(inputs)} inputs, one array was given\n"
                f"  inputs: {', '.join(map(str, inputs))}\n  give a dict of arrays by name"
            )
        x = {inputs[0].name: x}
    if set(x) != {each.name for each in inputs}:
        raise NetworkError(
            f"call: the inputs are not those of the network\n  given: {', '.join(map(repr, x)) or 'none'}\n"
            f"  inputs: {', '.join(map(str, inputs))}"
        )
    return {each.name: _read_input(each, x[each.name]) for each in inputs}


def _read_input(wanted: Input, value: Any) -> Any:
    """A value as an input wants it. Raises NetworkError."""
    if value is None and wanted.kind.startswith("optional"):
        return None
    if not wanted.kind.endswith("sequence"):
        return read_array("call", wanted, value)
    if not isinstance(value, list | tuple):
        raise NetworkError(
            f"call: the input {wanted.name!r} is no sequence\n  {type(value).__name__}; the network takes {wanted}\n"
            "  give a list of arrays"
        )
    return [read_array("call", wanted, each) for each in value]


def read_array(call: str, wanted: Input, value: Any) -> Array:
    """An array as an input wants it; numbers of Python's are given its type. Raises NetworkError."""
    array = np.asarray(value)
    if isinstance(value, list | tuple) and np.can_cast(array.dtype, wanted.dtype, "same_kind"):
        array = array.astype(wanted.dtype)
    require_type(call, wanted, array.dtype)
    if wanted.shape is not None and array.ndim != len(wanted.shape):
        raise NetworkError(
            f"{call}: the input {wanted.name!r} has {array.ndim} axes, {array.shape}\n"
            f"  the network takes {wanted}\n  {suggest_axes(wanted, array.shape)}"
        )
    return np.ascontiguousarray(array).reshape(array.shape)


def require_type(call: str, wanted: Input, dtype: np.dtype[Any]) -> None:
    """Raise NetworkError where an array has another element type than an input."""
    if dtype != wanted.dtype:
        numbers = dtype.kind in "biufcV" or wanted.dtype == object  # those of ml_dtypes are V
        fix = (
            f"convert it, e.g. x.astype('{wanted.dtype}')" if numbers else f"give an array of {wanted.dtype}"
        )
        raise NetworkError(
            f"{call}: the input {wanted.name!r} has another element type than the network's\n"
            f"  {dtype}, expected {wanted.dtype}\n  {fix}"
        )


def find_values(graph: Graph, names: Sequence[str]) -> list[str]:
    """The values that are meant by names of values, and of nodes for what they write first. Raises NetworkError."""
    if isinstance(names, str):
        raise NetworkError(
            f"call: outputs is a text\n  outputs = {format_value(names)}\n  give names in a list: [{names!r}]"
        )
    values = {*graph.constants, *(each.name for each in graph.inputs), *graph.producer}
    nodes = {node.name: node.outputs[0] for node in graph.nodes if node.name and node.outputs}
    for name in names:
        if name not in values and name not in nodes:
            import difflib  # for a sentence that is seldom said

            near = difflib.get_close_matches(str(name), sorted(values | set(nodes)), 5, 0)
            raise NetworkError(
                f"call: there is no value or node of that name\n  outputs = {format_value(name)}\n"
                f"  the nearest: {', '.join(map(repr, near))}"
            )
    return [name if name in values else nodes[name] for name in names]


def read_numbers(tile: Any) -> Any:
    """Extents of tiles as Python's own numbers, which are looked up and compared."""
    made = tile.tolist() if isinstance(tile, np.ndarray | np.generic) else tile
    if not isinstance(made, Iterable) or isinstance(made, str):
        return made
    return tuple(each.item() if isinstance(each, np.integer) else each for each in made)
