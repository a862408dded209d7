"""Global pooling in networks that are computed in tiles: in stages, each of them a pass over the tiles of one value.

    level of a value      how many global nodes lie one behind the other before it
    a stage               earlier values  --tiles-->  a value, and what global nodes make of it
    the output            the values of the levels before, and what was pooled  --tiles-->  the output

What later levels read is kept on disk, so no pass computes again what an earlier one did (`passes`). Sums are taken in
float64, tile by tile in their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...network.graph import Graph, Input, Node, Spec
from .inputs import cut_out
from .passes import PassFiles
from .tiler import Tiler

Array = npt.NDArray[Any]
Tell = Callable[[int, int], object]

SUMMED = ("GlobalAveragePool", "ReduceMean", "ReduceSum")
LARGEST = ("GlobalMaxPool", "ReduceMax")

SMALL = 1 << 20
"""Bytes of a value that stays in memory."""


@dataclass(frozen=True)
class Stage:
    """A pass over the tiles of one value, `name`: whether it is `kept`, and the global nodes that are computed of it.

    `made`: what these give.
    """

    name: str
    spec: Spec
    kept: bool
    pools: tuple[Node, ...]
    made: tuple[Spec, ...]
    tiler: Tiler

    @property
    def kept_bytes(self) -> int:
        """Bytes on disk."""
        return self.spec.bytes if self.kept and self.spec.bytes > SMALL else 0

    def describe_pooled(self, node: Node, tiles: int) -> Spec:
        """Shape and type of what a global node keeps of so many tiles: (tiles, B, C)."""
        dtype = self.spec.dtype if node.op in LARGEST else np.dtype(np.float64)
        return Spec((tiles, *self.spec.shape[:2]), dtype)

    def tile(self, tile: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The extents of its tiles where those of the output, of this shape, are `tile`."""
        rank = self.spec.rank
        if rank < 3:
            return self.spec.shape
        each = zip(_fit_rank(tile, rank), self.spec.shape, _fit_rank(shape, rank), strict=True)
        scaled = [max(-(-t * n // max(p, 1)), 1) for t, n, p in each]
        return (*self.spec.shape[:2], *scaled[2:])


class Stages:
    """The stages of a network, and `last`, the tiler of its output. Raises NetworkError where they are not enough."""

    def __init__(self, tiler: Tiler, *, approximate: bool = False) -> None:
        graph, specs = tiler.graph.prune(), tiler.specs
        pools = [node for node in graph.nodes if is_global(node, specs)]
        levels = find_levels(graph, {id(node) for node in pools})
        there: list[str] = []
        self.stages: list[Stage] = []
        self.shape = tiler.shape
        for name, kept in _values(graph, levels, pools, specs):
            after = tuple(node for node in pools if node.inputs[0] == name)
            made = tuple(specs[node.outputs[0]] for node in after)
            around = _around(tiler, there, name, approximate=approximate)
            self.stages.append(Stage(name, specs[name], kept, after, made, around))
            there += [*([name] if kept else []), *(node.outputs[0] for node in after)]
        self.last = _around(tiler, there, tiler.output, approximate=approximate)

    def compute(
        self, given: Mapping[str, Any], tile: tuple[int, ...], folder: Path | None, tell: Tell | None
    ) -> dict[str, Any]:
        """What the last tiler reads beside the inputs: arrays, and values in files of `folder` (None: a temporary one).

        `given`: the whole inputs, of which tiles are read. Tiles that `folder` has are not computed again. Raises
        PlanError where the disk has no room.
        """
        files = PassFiles(folder, sum(stage.kept_bytes for stage in self.stages))
        found: dict[str, Any] = {}
        for stage in self.stages:
            parts = list(stage.tiler.grid(stage.tile(tile, self.shape)))
            pools = [stage.describe_pooled(node, len(parts)) for node in stage.pools]
            record = files.record(stage.spec if stage.kept else None, not stage.kept_bytes, pools)
            for at, part in enumerate(parts):
                if at in record.done:
                    continue
                read = {
                    name: cut_out((found if name in found else given)[name], place)
                    for name, place in stage.tiler.inputs(part).items()
                }
                made = stage.tiler.run(part, read)
                place = tuple(slice(a, b) for a, b in part)
                record.add(at, place, made, [_pool_tile(node, made) for node in stage.pools])
                if tell is not None:
                    tell(at + 1, len(parts))
            if stage.kept:
                found[stage.name] = record.value
            for node, out, tiles in zip(stage.pools, stage.made, record.pools, strict=True):
                found[node.outputs[0]] = _finish_pool(node, tiles, stage.spec, out)
        return found


def is_global(node: Node, specs: Mapping[str, Spec]) -> bool:
    """Whether a node pools all pixels."""
    if node.domain or node.op not in SUMMED + LARGEST or node.inputs[0] not in specs:
        return False
    x, y = (specs[name] for name in (node.inputs[0], node.outputs[0]))
    if x.rank < 3 or x.size == 0:
        return False
    return y.size == int(np.prod(x.shape[:2])) and max(x.shape[2:]) > 1


def find_levels(graph: Graph, pools: set[int]) -> dict[str, int]:
    """The level of every value; `pools`: the identities of global nodes."""
    levels = dict.fromkeys((*graph.constants, *(each.name for each in graph.inputs)), 0)
    for node in graph.nodes:
        level = max((levels.get(name, 0) for name in node.reads), default=0) + (id(node) in pools)
        levels.update((name, level) for name in node.outputs if name)
    return levels


def _values(
    graph: Graph, levels: Mapping[str, int], pools: Sequence[Node], specs: Mapping[str, Spec]
) -> list[tuple[str, bool]]:
    """The values that stages compute, in order, and whether they are kept: those that a later level reads."""
    made_by_pools = {node.outputs[0] for node in pools}
    pooled, kept = {node.inputs[0] for node in pools}, set[str]()
    for node in graph.nodes:
        level = levels[next(filter(None, node.outputs))]
        if node.outputs[0] not in made_by_pools:
            kept.update(name for name in node.reads if levels.get(name, level) < level)
    given = {each.name for each in graph.inputs}
    kept -= made_by_pools | given | set(graph.constants)
    names = [*given, *(name for node in graph.nodes for name in node.outputs if name)]
    found = [(name, name in kept) for name in names if name in kept or name in pooled]
    return sorted(found, key=lambda each: levels[each[0]])


def _around(tiler: Tiler, there: Sequence[str], output: str, *, approximate: bool) -> Tiler:
    """The tiler of a value that is computed of inputs and of values that are there, every tile the way of the whole."""
    specs = tiler.specs
    known = {each.name for each in tiler.graph.inputs}
    inputs = (
        *tiler.graph.inputs,
        *(Input(name, specs[name].dtype, specs[name].shape) for name in there if name not in known),
    )
    nodes = tuple(node for node in tiler.graph.nodes if not set(node.outputs) & set(there))
    graph = replace(tiler.graph, nodes=nodes, inputs=inputs, outputs=(output,)).prune()
    used = {name for node in graph.nodes for name in node.reads} | {output}
    graph = replace(graph, inputs=tuple(each for each in inputs if each.name in used))
    made = Tiler(
        tiler.network._around(graph),
        {each.name: specs[each.name] for each in graph.inputs},
        approximate=approximate,
        same_bits=tiler.same_bits,
    )
    made.refuse()
    made.decide()
    return made


def _pool_tile(node: Node, made: Array) -> Array:
    """What a global node has of a tile. made: (B, C, *P) -> (B, C)"""
    pixels = tuple(range(2, made.ndim))
    found: Array = made.max(pixels) if node.op in LARGEST else made.sum(pixels, dtype=np.float64)
    return found


def _finish_pool(node: Node, tiles: Any, source: Spec, out: Spec) -> Array:
    """What a global node makes of all tiles, of which it has `tiles`: (tiles, B, C)."""
    each = tiles[...]
    total = each[0]
    for one in each[1:]:  # in their order
        total = np.maximum(total, one) if node.op in LARGEST else total + one
    if node.op not in LARGEST and node.op != "ReduceSum":
        total = total / math.prod(source.shape[2:])
    return np.asarray(total).reshape(out.shape).astype(out.dtype)


def _fit_rank(numbers: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Numbers for `rank` axes: those given for the last ones, ones before them."""
    return ((1,) * rank + tuple(numbers))[-rank:]


__all__ = ["Stage", "Stages", "find_levels", "is_global"]
