"""Graphs of models as earlier processes read them, beside the kernels in the user's cache folder.

    sha256(the model without its raw data, how long those are, the source that reads)    ->    head, data

    head   JSON: the graph as saved networks have it; in place of each array that lies in the model's file its
           initializer, element type and shape
    data   all other arrays

The same bytes make the same graph, so all checks hold as they did. To import the onnx package takes a third of what a
small network takes from its file to its first answer; a process that has it already reads with it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...engine import jit_cache, preloaded
from ...errors import NetworkError
from ..graph import Array, Graph
from ..reading.known import Parted
from ..reading.read import ModelReader, read_graph
from ..reading.sources import Source
from .decode import Decoder
from .encode import FileWriter

MOST_BYTES = 4 << 20
"""A model without raw data that is larger takes longer to read than its reader to import, and much room."""

SOURCE = ("network/graph.py", "network/files", "network/ops", "network/reading")
"""What decides what becomes of a model."""

_LENGTH = struct.Struct("<Q")


def read_again(source: Source) -> Graph:
    """The graph of an ONNX file, from what was read of it earlier where that is known. Raises NetworkError."""
    return read_graph(source, Readings())


class Readings:
    """Those on disk; none where the onnx package is there already."""

    def __init__(self) -> None:
        self.used = "onnx" not in sys.modules and version() is not None

    def find(self, parted: Parted, reader: ModelReader) -> Graph | None:
        """The graph of a model, whose raw data the reader takes from their places; None where none is known."""
        if not self.used or len(parted[0]) > MOST_BYTES:
            return None
        kept = jit_cache.disk().get(_key(parted))
        if kept is None:
            return None
        data = np.frombuffer(kept, np.uint8)
        try:
            return _GraphReader(data, reader).read()
        except (NetworkError, ValueError, struct.error, RecursionError):
            return None  # it is read anew, and what is wrong is said of the model

    def add(self, parted: Parted, graph: Graph, reader: ModelReader) -> None:
        """Keep a graph that the reader made; what it was called by its file alone, another may call otherwise."""
        if not self.used or len(parted[0]) > MOST_BYTES:
            return
        writer = _GraphWriter(reader.lying)
        named = graph if reader.named else replace(graph, name="")
        try:
            head = json.dumps(writer.record(named), separators=(",", ":"), allow_nan=False).encode()
        except NetworkError:
            return
        head += b" " * (-(_LENGTH.size + len(head)) % 64)
        jit_cache.disk().put(
            _key(parted), b"".join((_LENGTH.pack(len(head)), head, *map(bytes, writer.data.parts)))
        )


class _GraphWriter(FileWriter):
    """A graph on its way to the disk."""

    def __init__(self, lying: Sequence[tuple[Array, int]]) -> None:
        super().__init__()
        self._lying = {id(array): (array, number) for array, number in lying}
        self._numbers: dict[int, int] = {}
        self._places: list[list[Any]] = []

    def record(self, graph: Graph) -> dict[str, Any]:
        """The head. Raises NetworkError for what it cannot hold."""
        found = self.graph(graph)
        return {**found, "tensors": self.tensors, "places": self._places}

    def value(self, value: Any, what: str) -> Any:
        """What saved networks have, or the number of an array that lies in the model's file."""
        if id(value) not in self._lying:
            return super().value(value, what)
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._places)
            self._places.append([self._lying[id(value)][1], value.dtype.name, value.shape])
        return {"place": self._numbers[id(value)]}

    def texts(self, array: Array, what: str) -> dict[str, Any]:
        """Texts may be bytes that are none, and would not be what they were."""
        raise NetworkError(f"load: {what} holds texts")


class _GraphReader(Decoder):
    """A graph on its way from the disk, every value checked as one of a saved network."""

    def __init__(self, kept: Array, reader: ModelReader) -> None:
        (length,) = _LENGTH.unpack(kept[: _LENGTH.size].tobytes())
        head, data = kept[_LENGTH.size : _LENGTH.size + length], kept[_LENGTH.size + length :]
        super().__init__(reader.name, json.loads(head.tobytes()), data, data[:0])
        self._reader = reader
        self._there: list[Array] = []

    def read(self) -> Graph:
        """The graph. Raises NetworkError."""
        head = self.require(self.head, "head", dict)
        self._tensors = [self.tensor(each) for each in self.get(head, "tensors", list)]
        wanted = []
        for number, dtype, shape in self.get(head, "places", list):
            place = self._reader.places[self.count(number, "place", len(self._reader.places) - 1)]
            if place is None:
                raise self.wrong("an array of it does not lie in the file")
            wanted.append((place, self.dtype(dtype), self.shape(shape, "shape")))
        self._there = self._reader.take_places(wanted)
        return replace(self.graph(head), name=self.get(head, "name", str) or self._reader.name)

    def value(self, value: Any) -> Any:
        """What the writer made."""
        if type(value) is dict and set(value) == {"place"}:
            return self._there[self.count(value["place"], "place", len(self._there) - 1)]
        return super().value(value)


def _key(parted: Parted) -> bytes:
    """32 bytes that tell a model without its raw data, and how long these are, from others."""
    lengths = [None if place is None else place[1] - place[0] for place in parted[1]]
    digest = hashlib.sha256(f"reading {version()} {lengths}".encode())
    digest.update(parted[0])
    return digest.digest()


@lru_cache(maxsize=1)
def version() -> str | None:
    """What changes with the source that reads models; None where nobody can say what it is that runs."""
    return preloaded.source_state(*SOURCE)


__all__ = ["Readings", "read_again"]
