"""The lazy result of a convolution: a Dask array whose blocks are written to their places as they are made.

Dask's own `compute` keeps all blocks and joins them in new memory when the last is there: all of the result twice, and
a copy for which everything waits. What is derived from it (y + 1, y.sum()) is a plain Dask array.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.array.core import slices_from_chunks
from dask.base import compute_as_if_collection, get_scheduler
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph

from .cutting import CutBlock
from .slabs import Piece, find_chunks
from .work import Whole, find_around, find_together, run_block, threads_here

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BlockTasks:
    """The tasks that make a result's blocks of its `sources`, which are chunked, and the blocks by their numbers.

    A block is what it computes, the shape of its x, and the pieces of that. `name` is the result's.
    """

    name: str
    graph: dict[Any, Any]
    sources: Sequence[Any]
    whole: Whole
    blocks: dict[tuple[int, ...], tuple[CutBlock, tuple[int, ...], Sequence[Piece]]]

    def run_here(self, places: dict[tuple[int, ...], Array]) -> bool:
        """Write all blocks to `places` now, one after the other: no scheduler is needed where all x lies in one array.

        False, and nothing done, where some of it is still to be made or put together, or somebody watches a scheduler.
        """
        chunks = [find_chunks(each) for each in self.sources]
        if Callback.active or not all(chunks):
            return False
        there: dict[tuple[int, ...], Array] = {}
        for number, (_, region, pieces) in self.blocks.items():
            arrays = [chunks[0][piece.at][piece.part] for piece in pieces]
            x = find_together(arrays, [piece.place for piece in pieces], region) if arrays else None
            if x is None or find_around(x) is None:
                return False
            there[number] = x
        for number, x in there.items():
            residual = chunks[1][number] if len(chunks) > 1 else None
            run_block(self.whole, self.blocks[number][0], x, residual, threads_here(), places[number])
        return True

    def writing(self, places: dict[tuple[int, ...], Array]) -> tuple[Any, list[Any]]:
        """A graph of these tasks in which each writes its block to its place, and the keys to ask for."""
        token = uuid4().hex
        graph, keys = {}, []
        for key, task in self.graph.items():
            if not isinstance(key, tuple) or key[0] != self.name:
                graph[key] = task
                continue
            place = (f"place-{token}", *key[1:])
            graph[place] = BlockTarget(places[key[1:]])
            keys.append((f"written-{token}", *key[1:]))
            graph[keys[-1]] = (write_block, place, *task)
        layered = HighLevelGraph.from_collections(f"written-{token}", graph, dependencies=self.sources)
        return layered, keys


class BlockTarget:
    """An array that a block is written to, and that Dask neither looks into nor hashes."""

    def __init__(self, array: Array) -> None:
        self.array, self._token = array, uuid4().hex

    def __dask_tokenize__(self) -> str:
        return self._token


def write_block(place: BlockTarget, task: Any, *arguments: Any) -> None:
    """Have a block's task write it at its place."""
    task(*arguments, place.array)


class LazyResult(da.Array):  # type: ignore[misc]  # Dask's classes have no types
    """A Dask array that `compute` writes block by block where the blocks are made by threads of this process."""

    __slots__ = ("tasks",)
    tasks: BlockTasks

    def compute(self, **keywords: Any) -> Any:
        """The result in memory. `keywords` are those of Dask's own `compute`."""
        scheduler = get_scheduler(scheduler=keywords.get("scheduler"), collections=[self])
        here = scheduler in (dask.threaded.get, dask.local.get_sync)
        if not here or self.name != self.tasks.name:  # y[y < 0] = 0 gives this same object other tasks
            return super().compute(**keywords)
        made = np.empty(self.shape, self.dtype)
        numbers = itertools.product(*(range(len(each)) for each in self.chunks))
        places = dict(zip(numbers, (made[place] for place in slices_from_chunks(self.chunks)), strict=True))
        if not self.tasks.run_here(places):
            graph, keys = self.tasks.writing(places)
            compute_as_if_collection(da.Array, graph, keys, **keywords)
        return made


__all__ = ["BlockTasks", "LazyResult"]
