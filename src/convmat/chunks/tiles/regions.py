"""From a part of a network's output back to its input: what each value is needed of, and the graph that computes it.

    needed[value] = the smallest part that holds what its readers need

A node makes the part that its output is needed of; a reader that needs less of it reads it through a Slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import NetworkError
from ...network.graph import Graph, Node, Spec
from ...network.ops.options import Decided
from .parts import Needed, Part, WholeImage, elements, extents, others, overlap, whole
from .rules import find_tile_parts
from .windows import resize_in_place

SLICE_VERSION = 13


@dataclass(frozen=True)
class NeededRegions:
    """The part that every value is needed of for a part of the output, and what each node needs for that."""

    parts: Mapping[str, Part]
    nodes: Mapping[str, Needed]

    def alive(self, graph: Graph, specs: Mapping[str, Spec]) -> int:
        """Bytes of values at the busiest node, each from its writer to its last reader."""
        last = {name: at for at, node in enumerate(graph.nodes) for name in node.reads}
        size = {
            name: elements(part) * specs[name].dtype.itemsize
            for name, part in self.parts.items()
            if name in specs
        }
        now = sum(size.get(each.name, 0) for each in graph.inputs)
        most, output = now, set(graph.outputs)
        for at, node in enumerate(graph.nodes):
            now += sum(size.get(name, 0) for name in node.outputs)
            most = max(most, now)
            gone = {name for name in node.reads if last[name] == at and name not in output}
            now -= sum(size.get(name, 0) for name in gone)
        return most


@dataclass(frozen=True)
class NodeWay:
    """How the product of a node runs for the whole: what decides it, and the pixels that are computed together."""

    decided: Decided
    tile: tuple[int, ...]

    def whole_tiles(self, part: Part, shape: tuple[int, ...]) -> Part:
        """The part of a value, begun and ended where tiles are or the value does."""
        first = len(part) - len(self.tile)
        pixels = zip(part[first:], self.tile, shape[first:], strict=True)
        return (*part[:first], *((a // t * t, min(-(-b // t) * t, n)) for (a, b), t, n in pixels))


Ways = Mapping[str, NodeWay]
"""By the names of what nodes write."""

UNKNOWN = "makes what is known only when it runs"
"""Why a value has no parts."""


def find_regions(
    graph: Graph,
    specs: Mapping[str, Spec],
    output: str,
    part: Part,
    ways: Ways,
    *,
    approximate: bool = False,
) -> NeededRegions:
    """What is needed for a part of an output. Raises NetworkError, naming the node that looks at the whole image.

    `approximate`: such a node looks at the pixels of its input that lie where the part does in the output.
    """
    wanted: dict[str, list[Part]] = {output: [part]}
    parts: dict[str, Part] = {}
    found: dict[str, Needed] = {}
    for node in reversed(graph.nodes):
        used = [name for name in node.outputs if name in wanted]
        if not used:
            continue
        if node.op != "Split" and used != [node.outputs[0]]:
            raise tile_refusal(node, "has several outputs")
        if node.captured or any(name not in specs for name in (*used, *filter(None, node.inputs))):
            raise tile_refusal(node, UNKNOWN)
        asked = overlap(wanted[used[0]]) if len(used) == 1 else _several(node, used, wanted, specs)
        out = specs[used[0]]
        if used[0] in ways:
            asked = ways[used[0]].whole_tiles(asked, out.shape)
        inputs = [specs[name] if name else None for name in node.inputs]
        try:
            need = find_tile_parts(node, inputs, out, asked)
        except WholeImage as error:
            if not approximate:
                raise tile_refusal(node, str(error)) from None
            need = _in_place(node, inputs, out, asked, part, specs[output].shape)
        for name in used:
            parts[name] = asked
        found[node.outputs[0]] = need
        for name, each in zip(node.inputs, need.parts, strict=False):
            if name and name not in graph.constants:
                wanted.setdefault(name, []).append(each if each is not None else whole(specs[name].shape))
            elif name and each is not None and name in graph.constants:
                parts[name] = whole(specs[name].shape)
    for given in graph.inputs:
        if given.name in wanted:
            parts[given.name] = overlap(wanted[given.name])
    return NeededRegions(parts, found)


def _in_place(
    node: Node, inputs: Sequence[Spec | None], out: Spec, asked: Part, part: Part, shape: tuple[int, ...]
) -> Needed:
    """The pixels of a node's first input that lie where a part of the output of this shape does, as a whole image.

    Along axes that the node leaves as they are it makes what is asked for; resized to a fixed size, that of the part.
    """
    x, beside = inputs[0], others(inputs)
    assert x is not None
    if x.shape == out.shape:
        return Needed((asked, *beside), asked)
    if node.op in ("Resize", "Upsample"):
        return resize_in_place(node, inputs, out, asked)
    found, makes = list(whole(x.shape)), list(whole(out.shape))
    for back in range(1, min(x.rank - 1, len(shape) - 1)):
        if x.rank == out.rank and x.shape[-back] == out.shape[-back]:
            found[-back] = makes[-back] = asked[-back]
            continue
        (start, stop), n, extent = part[-back], x.shape[-back], shape[-back]
        found[-back] = start * n // extent, -(-stop * n // extent)
    return Needed((tuple(found), *beside), tuple(makes))


def _several(
    node: Node, used: list[str], wanted: Mapping[str, list[Part]], specs: Mapping[str, Spec]
) -> Part:
    """Regions of a node with several outputs, as Split has: the same pixels of each, all of their channels."""
    axis = node.get("axis", 0) % specs[used[0]].rank
    pixels = overlap([each for name in used for each in wanted[name]])
    return (*pixels[:axis], (0, specs[used[0]].shape[axis]), *pixels[axis + 1 :])


def tile_refusal(node: Node, reason: str) -> NetworkError:
    """The sentence for a node that cannot be computed in tiles."""
    return NetworkError(
        f"tiled: {node.label} cannot be computed tile by tile\n  it {reason}\n"
        f"  call the network with the whole image; exact_globals=True takes global pooling in passes of its own, "
        f"approximate=True each tile for a whole image"
    )


class TileGraphWriter:
    """The nodes of a tile's graph, written one after the other; Slices before those that need less than there is."""

    def __init__(self, made: dict[str, Part], specs: Mapping[str, Spec]) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Any] = {}
        self.made, self.specs = made, specs
        self._names: dict[tuple[str, Part], str] = {}

    def cut(self, name: str, want: Part) -> str:
        """The name of a part of a value, behind a Slice if it is less than what there is."""
        have = self.made[name] if name in self.made else whole(self.specs[name].shape)
        if have == want:
            return name
        if (name, want) not in self._names:
            self._names[name, want] = new = f"{name}/part{len(self._names)}"
            axes = [a for a, (h, w) in enumerate(zip(have, want, strict=True)) if h != w]
            given = {
                "starts": [want[a][0] - have[a][0] for a in axes],
                "ends": [want[a][1] - have[a][0] for a in axes],
                "axes": axes,
            }
            for word, numbers in given.items():
                self.constants[f"{new}/{word}"] = np.asarray(numbers, np.int64)
            reads = (name, *(f"{new}/{word}" for word in given))
            self.nodes.append(Node("Slice", reads, (new,), version=SLICE_VERSION))
        return self._names[name, want]

    def add(self, node: Node, need: Needed, way: NodeWay | None = None) -> None:
        """A node that makes a part of what it makes of the whole, in the same way."""
        reads = []
        for name, each in zip(node.inputs, (*need.parts, *(None for _ in node.inputs)), strict=False):
            reads.append(name if not name or each is None else self.cut(name, each))
        reads += [""] * (max((*need.inputs, *need.omit), default=0) + 1 - len(reads))
        for at in need.omit:
            reads[at] = ""
        for at, array in need.inputs.items():
            reads[at] = f"{node.outputs[0]}/in{at}"
            self.constants[reads[at]] = array
        while reads and not reads[-1]:
            reads.pop()
        kept = {name: value for name, value in node.attributes.items() if name not in need.drop}
        changed = {**kept, **need.attributes, **({} if way is None else {"whole": way.decided})}
        self.nodes.append(replace(node, inputs=tuple(reads), attributes=changed, source=b""))
        self.made.update((name, need.makes) for name in node.outputs if name)


def tile_graph(
    graph: Graph, specs: Mapping[str, Spec], found: NeededRegions, output: str, part: Part, ways: Ways
) -> Graph:
    """The graph that makes a part of the output of the parts of the inputs that `found` says."""
    given = [each for each in graph.inputs if each.name in found.parts]
    writer = TileGraphWriter({each.name: found.parts[each.name] for each in given}, specs)
    for node in graph.nodes:
        need = found.nodes.get(node.outputs[0])
        if need is not None:
            writer.add(node, need, ways.get(node.outputs[0]))
    final = writer.cut(output, part)
    return replace(
        graph,
        nodes=tuple(writer.nodes),
        inputs=tuple(replace(each, shape=extents(found.parts[each.name])) for each in given),
        outputs=(final,),
        constants={**graph.constants, **writer.constants},
    ).prune()


__all__ = [
    "UNKNOWN",
    "NeededRegions",
    "NodeWay",
    "TileGraphWriter",
    "Ways",
    "find_regions",
    "tile_graph",
    "tile_refusal",
]
