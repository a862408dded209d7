"""What tiles are cut out of: a network's inputs by name, each an array or what is sliced like one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import NetworkError
from ...network.graph import Input
from ...network.inputs import read_array, require_type
from ...network.net import Network

Array = npt.NDArray[Any]


def name_inputs(network: Network, x: Any) -> dict[str, Any]:
    """The inputs by name; what has neither a shape nor NumPy's element types becomes an array. Raises NetworkError."""
    said = ", ".join(map(str, network.inputs))
    if not isinstance(x, Mapping):
        if len(network.inputs) != 1:
            raise NetworkError(
                f"tiled: the network has {len(network.inputs)} inputs, one array was given\n"
                f"  inputs: {said}\n  give a dict of arrays by name"
            )
        x = {network.inputs[0].name: x}
    if set(x) != {each.name for each in network.inputs}:
        raise NetworkError(
            f"tiled: the inputs are not those of the network\n  given: {', '.join(map(repr, x)) or 'none'}\n"
            f"  inputs: {said}"
        )
    return {each.name: _require_sliced(each, x[each.name]) for each in network.inputs}


def _require_sliced(wanted: Input, value: Any) -> Any:
    """What is sliced like an array, of the input's element type in any order of bytes. Raises NetworkError."""
    try:
        dtype = np.dtype(value.dtype)
    except (AttributeError, TypeError):  # a list, or another library's tensor
        return read_array("tiled", wanted, value)
    require_type("tiled", wanted, dtype.newbyteorder("="))
    return value


def cut_out(array: Any, place: tuple[slice, ...]) -> Array:
    """A part of an input, C-contiguous and in the machine's order of bytes.

    >>> cut_out(np.array([1, 2, 3], ">i2"), (slice(1, 3),))
    array([2, 3], dtype=int16)
    """
    part = np.asarray(array[place])
    return np.ascontiguousarray(part, part.dtype.newbyteorder("="))


__all__ = ["cut_out", "name_inputs"]
