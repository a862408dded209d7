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
from ...errors import NetworkError
from ...network.net import Network
from ..files.stores import ArrayStore, Place, can_read_as, even_chunks, last_changed, open_array
from .stages import Tell
from .tile_plan import TilePlan, describe_tiles
from .tiled import Tiled, TileOptions, prepare_tiles, require_fit

Array = npt.NDArray[Any]

CHUNK_ELEMENTS = 1 << 22
"""Elements that a chunk of a Zarr result has at most."""


class TileJob:
    """The output of a network of one input, which lies in a file. Raises ConvmatError where it cannot be tiled."""

    def __init__(
        self, network: Network, source: Path, options: TileOptions, *, progress: Tell | None = None
    ) -> None:
        """`progress` is told of the tiles of passes."""
        self.source, store = source.absolute(), open_array(source)
        self._store: ArrayStore | None = store
        (self.name,) = (each.name for each in network.inputs)
        self.read_as = network.inputs[0].dtype
        if not can_read_as(store.dtype, self.read_as):
            raise NetworkError(
                f"tiled: the file's numbers do not fit the network's input {self.name!r}\n"
                f"  {source} has {store.dtype}, the input takes {self.read_as}\n"
                f"  save them as such: array.astype('{self.read_as}')"
            )
        self._shown, self._tell = {self.name: _Sliced(store, self.read_as)}, progress
        # The writer has one tile while the next is computed; what is read waits beside them.
        within = None if options.memory is None else options.memory - 3 * store.overhead
        self._within = within if options.tile in (None, "auto") else None
        self._there: dict[str, Any] = {}
        self._use(prepare_tiles(network, self._shown, replace(options, memory=within)))
        self.run = self._run(network, store, options)

    def _use(self, tiled: Tiled) -> None:
        self._tiled, self.tiler, self.parts = tiled, tiled.tiler, tiled.parts
        self.shape, self.dtype, self.count = self.tiler.shape, self.tiler.dtype, len(self.parts)
        self.chunks = even_chunks(tiled.extents, CHUNK_ELEMENTS)
        self._extents, self._reserved = tiled.extents, False

    @property
    def plan(self) -> TilePlan:
        """How many tiles, and what they and the passes come to."""
        return describe_tiles(self._tiled)

    def _run(self, network: Network, store: ArrayStore, options: TileOptions) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, array in sorted(network.graph.constants.items()):
            digest.update(name.encode() + array.tobytes())
        for n in network.graph.nodes:
            digest.update(repr((n.op, n.inputs, n.outputs, sorted(map(repr, n.attributes.items())))).encode())
        asked = (network.options, options.same_bits, options.approximate, options.exact_globals)
        said = {
            "convmat": preloaded.version(),
            "input": str(self.source.absolute()),
            "shape": list(store.shape),
            "modified": last_changed(self.source),
            "network": digest.hexdigest()[:32],
            "options": hashlib.sha256(repr(asked).encode()).hexdigest()[:32],
            "tile": list(self._tiled.extents),
            "ways": [each.describe_ways() for each in self._tiled.tilers],
        }
        return dict(json.loads(json.dumps(said)))

    def follow(self, before: dict[str, Any]) -> None:
        """Take the tiles of the run that is resumed and the way of each node, where those are all that differs.

        Which tiles fit depends on what a process has already, and ways on what was measured. Raises PlanError where
        there is no room for such tiles now.
        """
        own = {name: before.get(name) for name in ("tile", "ways")}
        if before == self.run or before != {**self.run, **own}:
            return
        extents = tuple(before["tile"])
        if self._within is None and extents != self._tiled.extents:  # they were asked for
            return
        tilers, said = self._tiled.tilers, before["ways"]
        if len(said) != len(tilers) or not all(
            each.follow(ways) for each, ways in zip(tilers, said, strict=True)
        ):
            return
        if self._within is not None:
            require_fit(self.tiler, extents, self._within)
        self._use(replace(self._tiled, extents=extents))
        self.run = before

    def prepare(self, folder: Path) -> None:
        """Compute what looks at the whole image, in passes over the tiles, kept in a folder that all workers see."""
        if self._tiled.stages is not None:
            self._there = self._tiled.stages.compute(self._shown, self._tiled.extents, folder, self._tell)

    def read(self, block: int) -> Array:
        """The part of the input that a tile looks at; none where it looks at what passes made of it alone.

        What computes the tile is prepared meanwhile, that is, while the one before is computed.
        """
        if self._store is None:
            self._store = open_array(self.source)
        part = self.parts[block]
        if not self._reserved:
            self.tiler.reserve(self._extents)
            self._reserved = True
        self.tiler.prepare(part)
        place = self.tiler.inputs(part).get(self.name)
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
        here = ("_tiled", "_shown", "_tell")  # what is prepared and told before workers get it
        return {
            **{k: v for k, v in self.__dict__.items() if k not in here},
            "_store": None,
            "_reserved": False,
        }


class _Sliced:
    """A store that is sliced like an array, of the network's element type."""

    def __init__(self, store: ArrayStore, dtype: np.dtype[Any]) -> None:
        self.store, self.shape, self.dtype = store, store.shape, dtype

    def __getitem__(self, place: Place) -> Array:
        return self.store.read(place).astype(self.dtype, copy=False)


__all__ = ["TileJob"]
