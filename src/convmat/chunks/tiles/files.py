"""A network from file to file: a job of `files.stream` whose blocks are tiles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...engine import preloaded
from ...network.net import Network
from ..files.stores import ArrayStore, Place, even_chunks, open_array
from .stages import Tell
from .tile_plan import describe_tiles
from .tiled import TileOptions, prepare_tiles

Array = npt.NDArray[Any]

CHUNK_ELEMENTS = 1 << 22
"""Elements that a chunk of a Zarr result has at most."""


class TileJob:
    """The output of a network of one input, which lies in a file. Raises ConvmatError where it cannot be tiled."""

    def __init__(
        self,
        network: Network,
        source: Path,
        options: TileOptions,
        *,
        folder: Path | None = None,
        progress: Tell | None = None,
    ) -> None:
        """`folder`: where passes keep values between them, on a cluster one that all workers see."""
        self.source, store = source, open_array(source)
        self._store: ArrayStore | None = store
        (self.name,) = (each.name for each in network.inputs)
        self.read_as = network.inputs[0].dtype
        shown = {self.name: _Sliced(store, self.read_as)}
        # The writer has one tile while the next is computed; what is read waits beside them.
        within = None if options.memory is None else options.memory - 3 * store.overhead
        tiled = prepare_tiles(network, shown, replace(options, memory=within))
        self.tiler, self.parts, self.plan = tiled.tiler, tiled.parts, describe_tiles(tiled)
        self._there: dict[str, Any] = {}
        if tiled.stages is not None:
            self._there = tiled.stages.compute(shown, tiled.extents, folder, progress)
        self.shape, self.dtype, self.count = self.tiler.shape, self.tiler.dtype, len(self.parts)
        self.chunks = even_chunks(tiled.extents, CHUNK_ELEMENTS)
        self.run = self._run(network, store, tiled.extents)

    def _run(self, network: Network, store: ArrayStore, extents: tuple[int, ...]) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, array in sorted(network.graph.constants.items()):
            digest.update(name.encode() + array.tobytes())
        digest.update(
            repr([(n.op, n.inputs, n.outputs, sorted(n.attributes)) for n in network.graph.nodes]).encode()
        )
        said = {
            "convmat": preloaded.version(),
            "input": str(self.source.absolute()),
            "shape": list(store.shape),
            "network": digest.hexdigest()[:32],
            "tile": list(extents),
        }
        return dict(json.loads(json.dumps(said)))

    def read(self, block: int) -> Array:
        """The part of the input that a tile looks at; none where it looks at what passes made of it alone."""
        if self._store is None:
            self._store = open_array(self.source)
        place = self.tiler.inputs(self.parts[block]).get(self.name)
        found = self._store.read(place) if place is not None else np.empty(0, self.read_as)
        return np.ascontiguousarray(found, self.read_as)

    def compute(self, block: int, x: Array, threads: int) -> Array:
        """The tile."""
        places = self.tiler.inputs(self.parts[block])
        there = {
            name: np.ascontiguousarray(self._there[name][p])
            for name, p in places.items()
            if name != self.name
        }
        return self.tiler.run(self.parts[block], {self.name: x, **there} if self.name in places else there)

    def place(self, block: int) -> Place:
        """Where it lies in the output."""
        return tuple(slice(a, b) for a, b in self.parts[block])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}


class _Sliced:
    """A store that is sliced like an array, of the network's element type."""

    def __init__(self, store: ArrayStore, dtype: np.dtype[Any]) -> None:
        self.store, self.shape, self.dtype = store, store.shape, dtype

    def __getitem__(self, place: Place) -> Array:
        return self.store.read(place).astype(self.dtype, copy=False)


__all__ = ["TileJob"]
