"""The file of a saved network: a data part, read as warily as an ONNX file, and a code part, run only if trusted.

    magic, format, lengths    sha256 of all the rest    head    data    code

    head   JSON: nodes, names, options, the choices of its plans, and where tensors and objects lie
    data   tensors, little-endian, each at a multiple of 64 bytes; nodes as ONNX has them, where its reference runs them
    code   object files of kernels, for one CPU and one version of the engine

Nothing in it is a pickle, and every value is checked before it is used.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...errors import NetworkError, PlanError
from ...whole_files import replace_when_whole
from ..graph import Array
from .contents import ALIGNMENT, Contents
from .decode import decode
from .encode import FileWriter, Piece

MAGIC = b"convmat network\n"
FORMAT = 1
"""Counts up where older files can no longer be read as they are."""

SUFFIX = ".convmat"

_HEADER = struct.Struct("<16sQQQQ")  # magic, format, bytes of head, data and code; the digest follows
_DIGEST = 32
MOST_HEAD = 64 << 20
"""Bytes: as JSON read into memory takes twenty times as much."""


def is_saved(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether these are the bytes, or this is the name or the content, of a saved network."""
    if isinstance(source, bytes):
        return source.startswith(MAGIC)
    path = Path(source)
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == SUFFIX or file.read(len(MAGIC)) == MAGIC
    except OSError:
        return path.suffix.lower() == SUFFIX


# -- writing -----------------------------------------------------------------------------------------------------------


def write_archive(path: Path, contents: Contents) -> None:
    """Write a file whole, or leave what was there. Raises NetworkError."""
    parts = pack_parts(contents)
    try:
        with replace_when_whole(path, "save") as whole, whole.open("wb") as file:
            for part in parts:
                file.write(part)
    except PlanError as error:
        raise NetworkError(str(error)) from None


def pack_parts(contents: Contents) -> list[Piece]:
    """The parts of a file, one after the other. Raises NetworkError for what a file cannot hold."""
    made = FileWriter()
    head = made.head(contents)
    if len(head) > MOST_HEAD:
        raise NetworkError(
            f"save: the network has too many nodes\n  {len(head):,} bytes of them, a file holds {MOST_HEAD:,}\n"
            f"  save its parts"
        )
    head += b" " * (
        -(_HEADER.size + _DIGEST + len(head)) % ALIGNMENT
    )  # so that the data begin at a multiple too
    header = _HEADER.pack(MAGIC, FORMAT, len(head), made.data.size, made.code.size)
    parts = [head, *made.data.parts, *made.code.parts]
    digest = hashlib.sha256(header)
    for part in parts:
        digest.update(part)
    return [header, digest.digest(), *parts]


# -- reading -----------------------------------------------------------------------------------------------------------


def open_saved(source: str | os.PathLike[str] | bytes) -> Contents:
    """What a saved network holds, every value checked. Raises NetworkError."""
    if isinstance(source, bytes):
        name, data = "the network", np.frombuffer(source, np.uint8)
    else:
        path = Path(source)
        name = path.name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise NetworkError(f"load: {path} is not a file\n  give the path of a {SUFFIX} file")
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise NetworkError(
                f"load: {path} cannot be read\n  {error.strerror or error}\n  give the path of a {SUFFIX} file"
            ) from None
    data.flags.writeable = False
    head, tensors, code = _parts(name, data)
    return decode(name, head, tensors, code)


def _parts(name: str, data: Array) -> tuple[Array, Array, Array]:
    """Head, data and code of a file that is whole."""
    again = "save it again: net.save(...)"
    start = _HEADER.size + _DIGEST
    if data.size < start or bytes(data[: len(MAGIC)]) != MAGIC:
        raise NetworkError(
            f"load: {name} is not a saved network\n  {data.size:,} bytes, which do not begin as one does\n"
            f"  give a file that net.save wrote"
        )
    _, version, *sizes = _HEADER.unpack(bytes(data[: _HEADER.size]))
    if version != FORMAT:
        raise NetworkError(
            f"load: {name} is of a format that is not read\n  format {version}; this convmat reads {FORMAT}\n  {again}"
        )
    misplaced = (start + sizes[0]) % ALIGNMENT
    if start + sum(sizes) != data.size or sizes[0] > MOST_HEAD or misplaced:
        raise NetworkError(
            f"load: {name} is not as long as it says\n  {data.size:,} bytes; it says {start + sum(sizes):,}\n  {again}"
        )
    digest = hashlib.sha256(data[: _HEADER.size].data)
    digest.update(data[start:].data)
    if digest.digest() != bytes(data[_HEADER.size : start]):
        raise NetworkError(
            f"load: {name} is damaged\n  its checksum is not that of its {data.size:,} bytes\n  {again}"
        )
    ends = np.cumsum([start, *sizes]).tolist()
    head, tensors, code = (data[a:b] for a, b in pairwise(ends))
    return head, tensors, code
