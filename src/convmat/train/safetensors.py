"""Arrays and words in one file, in the format of safetensors: a header in JSON, then the bytes of each array.

    8 bytes: how long the header is     {"name": {"dtype", "shape", "data_offsets"}, ..., "__metadata__": {..}}

Written beside its place and moved there when it is whole: whatever ends the writing, the file before is still there.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..network.graph import Array
from ..whole_files import replace_when_whole

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "U8": "uint8"}
"""The format's names of element types."""

MOST_HEADER = 100 << 20
"""Bytes: the format's own limit."""


def write_safetensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], texts: Mapping[str, str]
) -> None:
    """Write the file, or leave the one that is there as it is. Raises PlanError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_safetensors(f"{folder}/a.safetensors", {"w": np.arange(3.0)}, {"step": "7"})
    ...     read_safetensors(f"{folder}/a.safetensors")
    ({'w': array([0., 1., 2.])}, {'step': '7'})
    """
    names = {each: name for name, each in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(texts)}
    at = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": names[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replace_when_whole(path, "train") as part, part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())
        file.flush()
        os.fsync(file.fileno())


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and words of a file. Raises NetworkError where it is not whole."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise NetworkError(f"train: cannot read {path}\n  {error.strerror or error}") from None
    try:
        length = int.from_bytes(data[:8], "little")
        if not 0 < length <= min(MOST_HEADER, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length])
        texts, arrays = header.pop("__metadata__", {}), {}
        for name, each in header.items():
            begin, end = each["data_offsets"]
            dtype, shape = np.dtype(DTYPES[each["dtype"]]), tuple(each["shape"])
            size = dtype.itemsize * math.prod(shape)
            if min((begin, *shape)) < 0 or end - begin != size or 8 + length + end > len(data):
                raise ValueError(f"the array {name!r} does not lie in it")
            arrays[name] = (
                np.frombuffer(data, dtype, math.prod(shape), 8 + length + begin).reshape(shape).copy()
            )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise no_checkpoint(path, error) from None
    return arrays, texts


def no_checkpoint(path: str | os.PathLike[str], error: Exception) -> NetworkError:
    """The error of a file that is torn, or was written by somebody else."""
    said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return NetworkError(
        f"train: {path} is no checkpoint, or not a whole one\n  {said}\n  take the one before it"
    )


__all__ = ["no_checkpoint", "read_safetensors", "write_safetensors"]
