"""What a network is loaded from: a path, the bytes of a file, a file that is open, a model of the onnx package."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import NetworkError, format_value
from .held_file import HeldFile
from .values import MOST_BYTES

Source = str | os.PathLike[str] | bytes | HeldFile
"""What a model is read from: its path, its bytes, or both."""

FIX = "give the path of a .onnx file, its bytes, an open file or an onnx.ModelProto"


def locate(source: Any) -> str | os.PathLike[str] | bytes:
    """A path, or the bytes of a model. Raises NetworkError for all that is neither, nor can be read as such.

    >>> import io
    >>> locate(io.BytesIO(b"a model")), locate("net.onnx")
    (b'a model', 'net.onnx')
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if not isinstance(path, str) or "\0" in path:
            raise NetworkError(f"load: no file has this name\n  {path!r}\n  {FIX}")
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if callable(getattr(source, "read", None)):
        return _read(source)
    if callable(getattr(source, "SerializeToString", None)) and hasattr(source, "graph"):
        return _serialize(source)
    raise NetworkError(f"load: it cannot be read from {_kind(source)}\n  {format_value(source, 80)}\n  {FIX}")


@contextmanager
def open_source(
    source: Source,
) -> Iterator[tuple[str, Path | None, io.BufferedIOBase, int]]:
    """What errors call a model, the folder it is in, its bytes and how many. Raises NetworkError."""
    held = source.content if isinstance(source, HeldFile) else source
    path = (
        None if isinstance(source, bytes) else Path(source.path if isinstance(source, HeldFile) else source)
    )
    name, folder = ("the model", None) if path is None else (path.name, path.parent)
    try:
        with io.BytesIO(held) if isinstance(held, bytes) else Path(held).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            if size > MOST_BYTES:
                raise NetworkError(
                    f"load: {name} is too large for an ONNX model\n"
                    f"  {size:,} bytes, a model has at most {MOST_BYTES:,}\n"
                    "  save its tensors as external data beside it"
                )
            yield name, folder, stream, size
    except OSError as error:
        raise NetworkError(
            f"load: {error.filename or name} cannot be read\n  {error.strerror or error}\n"
            "  give the path of a .onnx file"
        ) from None


def _read(file: Any) -> bytes:
    """The rest of an open file."""
    try:
        found = file.read()
    except (OSError, ValueError) as error:  # closed, open for writing alone, or text that is none
        raise NetworkError(
            f"load: the open file cannot be read\n  {type(error).__name__}: {error}\n  open it with mode 'rb'"
        ) from None
    if not isinstance(found, bytes | bytearray | memoryview):
        raise NetworkError(f"load: the open file gives {_kind(found)}, not bytes\n  open it with mode 'rb'")
    return bytes(found)


def _serialize(model: Any) -> bytes:
    """The bytes of an onnx.ModelProto."""
    size = int(model.ByteSize())
    if size > MOST_BYTES - 1:
        raise NetworkError(
            f"load: the model is too large to be given as a message\n"
            f"  {size:,} bytes, one has at most {MOST_BYTES - 1:,}\n"
            "  save it with external data, onnx.save(model, 'net.onnx', save_as_external_data=True), and load that"
        )
    made: bytes = model.SerializeToString()
    return made


def _kind(of: Any) -> str:
    """An object's type, with its article.

    >>> _kind(5), _kind("a"), _kind(None)
    ('an int', 'a str', 'a NoneType')
    """
    name = type(of).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
