"""A network tile by tile: graphs of tiles, prepared once for each kind.

    part of y  --regions-->  part of x  --the tile's graph-->  part of y

Tiles inside an image are one kind: their graphs differ in nothing. Those at a border have its padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import format_shape
from ...engine import ENGINES
from ...errors import NetworkError, shorten_error
from ...lowering import ALL, find_lowering
from ...network.graph import Graph, Node, Spec
from ...network.net import Network
from ...network.ops.options import Decided
from ...network.preparing.infer import infer_specs
from ...network.preparing.program import Program
from ...network.preparing.sharing import Shared
from ...network.rewriting.rewrite import rewrite_before_constants
from ...planner import Candidate, Prepared, chosen_way, plan_block
from ...processes import Lock
from ...product import Packing
from .parts import Part, elements, extents, middle_part
from .regions import UNKNOWN, NeededRegions, NodeWay, Ways, find_regions, tile_graph, tile_refusal
from .windows import FILTERS

Array = npt.NDArray[Any]
KINDS = 32
"""Kinds of tiles that are kept prepared: corners, edges and the inside of an image, and those of passes."""

UNLIMITED = 2**62
"""Bytes that a value may take: none is ever there as a whole."""


class Tiler:
    """One network with inputs of given shapes, whose output is asked for in parts. May be pickled; holds no images."""

    def __init__(
        self,
        network: Network,
        specs: Mapping[str, Spec],
        *,
        approximate: bool = False,
        same_bits: bool = False,
    ) -> None:
        if len(network.outputs) != 1:
            raise NetworkError(
                f"tiled: the network has {len(network.outputs)} outputs\n  {', '.join(network.outputs)}\n"
                f"  ask for one, e.g. convmat.load(...) of a file that ends with it"
            )
        self.network, self.approximate, self.same_bits = network, approximate, same_bits
        graph = rewrite_before_constants(network.graph, network.rules)
        self.graph, self.specs = infer_specs(graph, specs, UNLIMITED)
        self.output = self.graph.outputs[0]
        self.ways: Ways = {}
        self._forget()

    def _forget(self) -> None:
        self._kinds: dict[Any, Network] = {}
        self._regions: dict[tuple[Part, str], NeededRegions] = {}
        self._ready: dict[tuple[Part, str], Network] = {}
        self._shared = Shared()
        self._lock, self._turn = Lock(), Lock()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_kinds", "_regions", "_ready", "_shared", "_lock", "_turn")
        return {k: v for k, v in self.__dict__.items() if k not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return self.specs[self.output].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its element type."""
        return self.specs[self.output].dtype

    def regions(self, part: Part, output: str = "") -> NeededRegions:
        """What a part of the output (or of another value) needs. Raises NetworkError."""
        name = output or self.output
        found = self._regions.get((part, name))
        if found is None:
            found = find_regions(self.graph, self.specs, name, part, self.ways, approximate=self.approximate)
            self._keep(self._regions, (part, name), found)
        return found

    def _keep(self, kept: dict[Any, Any], key: Any, value: Any) -> Any:
        """Keep something beside the latest others."""
        with self._lock:
            while len(kept) >= KINDS:
                kept.pop(next(iter(kept)))
            return kept.setdefault(key, value)

    def bytes(self, part: Part) -> int:
        """Estimate what computing a part allocates: the busiest node's values, the input and the output."""
        found = self.regions(part)
        read = [each for each in self.graph.inputs if each.name in found.parts]
        inputs = sum(elements(found.parts[each.name]) * each.dtype.itemsize for each in read)
        made = elements(part) * self.dtype.itemsize
        return found.alive(self.graph, self.specs) + inputs + 2 * made

    def work(self, part: Part) -> float:
        """Estimate what computing a part takes, in multiplications."""
        found, total = self.regions(part), 0.0
        for node in self.graph.nodes:
            if node.outputs[0] in found.nodes:
                made = elements(found.nodes[node.outputs[0]].makes)
                at = FILTERS.get(node.op)
                spec = None if at is None else self.specs.get(node.inputs[at])
                total += made * (1 if spec is None else spec.size / self.specs[node.outputs[0]].shape[1])
        return total

    def require_shape(self) -> None:
        """Raise NetworkError, naming the node, where the shape of the output is known only when the network runs."""
        if self.output not in self.specs:
            late = (n for n in self.graph.nodes if any(name not in self.specs for name in n.outputs if name))
            raise tile_refusal(next(late), UNKNOWN)

    def refuse(self) -> None:
        """Raise NetworkError where a node cannot be computed in tiles."""
        self.inputs(self._one_pixel)

    def require_whole_images(self, tile: tuple[int, ...]) -> None:
        """Raise NetworkError where a tile of these extents cannot be taken for a whole image."""
        part = middle_part(self.shape, tile[2:])
        found = self.regions(part)
        graph = tile_graph(self.graph, self.specs, found, self.output, part, self.ways)
        given = {each.name: Spec(extents(found.parts[each.name]), each.dtype) for each in graph.inputs}
        try:
            made = infer_specs(graph, given, UNLIMITED)[1].get(graph.outputs[0])
            if made is None or made.shape == extents(part):
                return
            why = f"it makes {format_shape(made.shape)} where {format_shape(extents(part))} is needed"
        except NetworkError as error:
            why = shorten_error(error).removeprefix("load: ")
        raise NetworkError(
            f"tiled: a tile cannot be taken for a whole image\n  {why}\n  call the network with the whole image"
        )

    @property
    def _one_pixel(self) -> Part:
        """All channels of the pixel in the middle of the output."""
        return middle_part(self.shape, tuple(min(n, 1) for n in self.shape[2:]))

    @property
    def weight_bytes(self) -> int:
        """Bytes of the network's constants, as they are and packed."""
        return 2 * sum(array.nbytes for array in self.graph.constants.values())

    def inputs(self, part: Part, output: str = "") -> dict[str, tuple[slice, ...]]:
        """Which parts of the inputs a part of the output (or of another value) needs."""
        found = self.regions(part, output)
        return {
            each.name: tuple(slice(a, b) for a, b in found.parts[each.name])
            for each in self.graph.inputs
            if each.name in found.parts
        }

    def run(self, part: Part, given: Mapping[str, Array], output: str = "") -> Array:
        """A part of the output from those parts of the inputs."""
        name = output or self.output
        kind = self._ready.pop((part, name), None) or self._find_kind(part, name)
        with self._turn:  # their values lie in one arena
            made: Array = kind(dict(given))
        return made

    def prepare(self, part: Part, output: str = "") -> Network:
        """What computes a part, made ready before its turn: by another thread, while an earlier part is computed."""
        name = output or self.output
        kind = self._find_kind(part, name)
        kind.program(self._read_specs(part, name))
        made: Network = self._keep(self._ready, (part, name), kind)
        return made

    def reserve(self, tile: tuple[int, ...]) -> None:
        """Take the memory of the largest of the tiles of these extents, so that it need not grow from kind to kind.

        That is one amid the image: what it reads is cut off by no border.
        """
        last = [max(-(-n // max(t, 1)) - 2, 0) for n, t in zip(self.shape, tile, strict=True)]
        start = [min(1, more) * t for more, t in zip(last, tile, strict=True)]
        part = tuple((a, min(a + t, n)) for a, t, n in zip(start, tile, self.shape, strict=True))
        with self._turn:
            program = self.prepare(part).program(self._read_specs(part, self.output))
            self._shared.arenas.reserve(program.memory.size)

    def _read_specs(self, part: Part, output: str) -> dict[str, Spec]:
        parts = self.regions(part, output).parts
        read = (each for each in self.graph.inputs if each.name in parts)
        return {each.name: Spec(extents(parts[each.name]), each.dtype) for each in read}

    def _find_kind(self, part: Part, output: str) -> Network:
        found = self.regions(part, output)
        graph = tile_graph(self.graph, self.specs, found, output, part, self.ways)
        key = _kind(graph, self.graph)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._keep(self._kinds, key, self.network._around(graph, self._shared))
        return kind

    def grid(self, tile: tuple[int, ...], output: str = "") -> Iterator[Part]:
        """The parts of a value in tiles of these extents, in order."""
        shape = self.specs[output or self.output].shape
        axes = [
            [(a, min(a + t, n)) for a in range(0, n, max(t, 1))] for n, t in zip(shape, tile, strict=True)
        ]
        yield from itertools.product(*axes)

    # -- the whole's way -----------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Plan the whole, run nowhere, and have tiles follow: its rewritten nodes, each product by its way and order.

        With `same_bits` they hold whole tiles of Winograd's, however much more of the image is read for that.
        What is known only when it runs, or has no rule once it is rewritten, leaves tiles to be planned by themselves.
        """
        source = self.network
        whole = Network(self.graph, source.options, UNLIMITED, source.rules, source.choices)
        program = whole.program({each.name: self.specs[each.name] for each in self.graph.inputs})
        if program.rest is not None or program.graph.outputs != self.graph.outputs:
            return
        ways = {}
        for task in program.tasks:
            plan, out = getattr(task.run, "plan", None), self._pixels(program, task.node)
            if isinstance(plan, Prepared) and out is not None:
                whole_way = Decided(plan.problem, chosen_way(plan.decision))
                ways[task.node.outputs[0]] = self._node_way(whole_way, out)
        if not self._has_rules(program):
            return
        self.graph, self.specs, self.ways = program.graph, program.specs, ways
        options = replace(source.options, swept=program.swept)
        self.network = Network(self.graph, options, source.memory_limit, (), source.choices)
        self._forget()

    def _node_way(self, decided: Decided, pixels: tuple[int, ...]) -> NodeWay:
        geometry = decided.problem.geometry
        aligned = self.same_bits and pixels == geometry.P
        return NodeWay(
            decided, find_lowering(decided.way.lowering).tile(geometry) if aligned else (1,) * len(pixels)
        )

    def describe_ways(self) -> dict[str, list[str]]:
        """Engine, lowering and packing of each node's product, by the names of what nodes write: plain values."""
        each = {name: way.decided.way for name, way in self.ways.items()}
        return {name: [way.engine, way.lowering, way.packing.value] for name, way in each.items()}

    def follow(self, ways: Mapping[str, Sequence[str]]) -> bool:
        """Take each node's way from what another Tiler of the same network said; False where these are no such ways.

        Raises PlanError where this CPU cannot go one of them.
        """
        if set(ways) != set(self.ways):
            return False
        made: dict[str, NodeWay] = {}
        for name, said in ways.items():
            way, decided = read_way(said), self.ways[name].decided
            if way is None:
                return False
            plan_block(decided.problem, way, 1)
            made[name] = self._node_way(replace(decided, way=way), self.specs[name].shape[2:])
        self.ways = made
        self._forget()
        return True

    def _has_rules(self, program: Program) -> bool:
        """Whether what rewriting made of the nodes can be computed in tiles, as they can."""
        try:
            part, loose = self._one_pixel, self.approximate
            find_regions(program.graph, program.specs, self.output, part, {}, approximate=loose)
        except NetworkError:
            return False
        return True

    def _pixels(self, program: Program, node: Node) -> tuple[int, ...] | None:
        spec = program.specs.get(node.outputs[0])
        return None if spec is None else spec.shape[2:]


def read_way(said: Sequence[str]) -> Candidate | None:
    """The way of an engine, a lowering and a packing by their names; None where one of them is not known.

    >>> read_way(["jit", "im2col", "a panel at a time"]).way
    'jit: im2col, a panel at a time'
    """
    engine, lowering, packing = said if len(said) == 3 else ("", "", "")
    known = engine in ENGINES and lowering in [each.name for each in ALL]
    if not known or packing not in [each.value for each in Packing]:
        return None
    return Candidate(engine, lowering, Packing(packing))


def _kind(graph: Graph, around: Graph) -> Any:
    """What tells tiles of different kinds apart: nodes, and the constants that tiles have of their own."""
    nodes = tuple(
        (n.op, n.inputs, n.outputs, repr(sorted(n.attributes.items(), key=_first))) for n in graph.nodes
    )
    own = tuple((name, a.tobytes()) for name, a in graph.constants.items() if name not in around.constants)
    return nodes, own, tuple((i.name, i.shape) for i in graph.inputs), graph.outputs


def _first(item: tuple[str, Any]) -> str:
    return item[0]


__all__ = ["Tiler", "read_way"]
