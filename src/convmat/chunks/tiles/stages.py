"""Global pooling in networks that are computed in tiles: in stages, each of them a pass over the tiles of one value.

    level of a value      how many global nodes lie one behind the other before it
    a stage               earlier values  --tiles-->  a value, and what global nodes make of it
    the output            the values of the levels before, and what was pooled  --tiles-->  the output

What later levels read is kept on disk, so no pass computes again what an earlier one did. Sums are taken in float64,
tile by tile in their order.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import PlanError
from ...network.graph import Graph, Input, Node, Spec
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

        `given`: the whole inputs, of which tiles are read. Raises PlanError where the disk has no room.
        """
        files = _Files(folder, sum(stage.kept_bytes for stage in self.stages))
        found: dict[str, Any] = {}
        for stage in self.stages:
            total, into = None, files.place(stage) if stage.kept else None
            parts = list(stage.tiler.grid(stage.tile(tile, self.shape)))
            for at, part in enumerate(parts):
                read = {
                    name: np.ascontiguousarray((found if name in found else given)[name][place])
                    for name, place in stage.tiler.inputs(part).items()
                }
                made = stage.tiler.run(part, read)
                if into is not None:
                    into[tuple(slice(a, b) for a, b in part)] = made
                total = _pool_tile(stage.pools, made, total)
                if tell is not None:
                    tell(at + 1, len(parts))
            if into is not None:
                found[stage.name] = into
            for node, out, value in zip(stage.pools, stage.made, total or (), strict=True):
                found[node.outputs[0]] = _finish_pool(node, value, stage.spec, out)
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


def _pool_tile(pools: Sequence[Node], made: Array, total: list[Array] | None) -> list[Array]:
    """What global nodes have of the tiles so far, one more among them."""
    pixels = tuple(range(2, made.ndim))
    found = []
    for at, node in enumerate(pools):
        largest = node.op in LARGEST
        one = made.max(pixels) if largest else made.sum(pixels, dtype=np.float64)
        if total is not None:
            one = np.maximum(total[at], one) if largest else total[at] + one
        found.append(one)
    return found


def _finish_pool(node: Node, total: Array, source: Spec, out: Spec) -> Array:
    """What a global node makes of all tiles."""
    if node.op not in LARGEST and node.op != "ReduceSum":
        total = total / math.prod(source.shape[2:])
    return total.reshape(out.shape).astype(out.dtype)


def _fit_rank(numbers: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Numbers for `rank` axes: those given for the last ones, ones before them."""
    return ((1,) * rank + tuple(numbers))[-rank:]


class KeptValue:
    """A value in a file, sliced like an array. A pickle is its path; the file goes with the folder of its stages."""

    def __init__(self, path: Path, owner: object) -> None:
        self.path, self._owner = path, owner
        self._array: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_owner": None, "_array": None}

    @property
    def array(self) -> Array:
        """The file, mapped."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r+" if self._owner else "r")
        return self._array

    def __getitem__(self, place: Any) -> Array:
        return np.array(self.array[place])

    def __setitem__(self, place: Any, part: Array) -> None:
        self.array[place] = part


class _Files:
    """Where values are kept: a folder that goes with the last of them."""

    def __init__(self, folder: Path | None, needed: int) -> None:
        self._parent = Path(folder or tempfile.gettempdir())
        free = shutil.disk_usage(self._parent).free
        if needed > free:
            raise PlanError(
                f"tiled: there is no room for what passes keep between them\n"
                f"  they take {needed:,} bytes in {self._parent}, {free:,} are free\n"
                f"  make room there, or set TMPDIR to a folder that has it"
            )
        self._folder: _Folder | None = None
        self._count = 0

    def place(self, stage: Stage) -> Any:
        """What the tiles of a stage are written to."""
        if not stage.kept_bytes:
            return np.empty(stage.spec.shape, stage.spec.dtype)
        if self._folder is None:
            self._folder = _Folder(self._parent)
        self._count += 1
        path = self._folder.path / f"{self._count}.npy"
        np.lib.format.open_memmap(path, "w+", stage.spec.dtype, stage.spec.shape)
        return KeptValue(path, self._folder)


class _Folder:
    """A folder that goes with the last who holds it."""

    def __init__(self, parent: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="convmat-passes-", dir=parent))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


__all__ = ["KeptValue", "Stage", "Stages", "find_levels", "is_global"]
