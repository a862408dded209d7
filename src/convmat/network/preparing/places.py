"""Where the values of a prepared graph lie: each in a stretch of the arena, or where another value lies.

    view        the output of Reshape and its kin lies where its input does, be that the caller's
    in place    y = f(x) element by element lies where x did, if nobody needs x any more
    joined      what Concat joins, or Pad puts a constant around, along its first axis longer than 1 is written where
                the whole has it; what no step writes, such as constants and margins, is copied there

Inputs, outputs and what is known only at run time are arrays of their own, which each call brings or makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Graph, Node, Shape, Spec, Value
from ..ops import operator_of
from ..ops.movement import pads_around
from .arena import Allotment, Life, allot


@dataclass
class Places:
    """Where values lie: `root` and `shift` of each value in the arena; what of a join is done by lying right.

    `joined`: by the joined value, its parts that lie there.
    """

    root: dict[str, str] = field(default_factory=dict)
    shift: dict[str, int] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    joined: dict[str, set[str]] = field(default_factory=dict)

    def allotment(self) -> Allotment:
        """Places in an arena."""
        return allot(self.lives, self.root, self.shift)


def choose_places(
    graph: Graph,
    specs: Mapping[str, Spec],
    stepped: Sequence[bool],
    parted: Sequence[bool],
    together: Iterable[tuple[int, ...]] = (),
) -> Places:
    """Places for what the nodes with steps write, and for views of that.

    `parted`: whether a node's step can leave out some of what it copies. Nodes `together` run in turns: what any of
    them reads or writes is needed as long as all of them run.
    """
    found, inside = Places(), _joins(graph, specs, stepped, parted)
    last = {name: at for at, node in enumerate(graph.nodes) for name in node.reads}
    for at, node in enumerate(graph.nodes):
        first = node.inputs[0] if node.inputs else ""
        for name in filter(None, node.outputs):
            if name in graph.outputs or name not in specs:  # those of `kept` among them
                continue
            size, shift = specs[name].bytes, 0
            if is_view(node) and first in found.root:
                root, shift = found.root[first], found.shift[first]
            elif not stepped[at]:
                continue
            elif name in inside:
                root, shift = inside[name]
                size = specs[root].bytes
            elif (
                operator_of(node).in_place
                and specs.get(first) == specs[name]
                and _dies(found, node, at, last)
            ):
                root, shift = found.root[first], found.shift[first]
            else:
                root = name
            found.root[name], found.shift[name] = root, shift
            life = found.lives.get(root, Life(size, at, at))
            found.lives[root] = life.until(max(at, last.get(name, at)))
    for group in together:
        names = {n for at in group for n in (*graph.nodes[at].reads, *graph.nodes[at].outputs)}
        for root in {found.root[name] for name in names if name in found.root}:
            life = found.lives[root]
            found.lives[root] = Life(life.bytes, min(life.first, group[0]), max(life.last, group[-1]))
    for name, (root, _) in inside.items():
        found.joined.setdefault(root, set()).add(name)
    return found


def is_view(node: Node) -> bool:
    """Whether the one output is the first input with another shape."""
    return operator_of(node).view and bool(node.outputs[0]) and not any(node.outputs[1:])


def find_aliases(graph: Graph, specs: Mapping[str, Spec]) -> dict[str, str]:
    """Views of what each call brings, and of such views, by what they show with another shape.

    What the network gives away is none of them, and kept values are none: they are written in place.
    """
    shown = {each.name for each in graph.inputs if each.name in specs} - set(graph.kept)
    found: dict[str, str] = {}
    for node in graph.nodes:
        made = node.outputs[0]
        if is_view(node) and node.inputs[0] in shown and made in specs and made not in graph.outputs:
            found[made] = node.inputs[0]
            shown.add(made)
    return found


def take_in(values: list[Value], given: Iterable[int], aliases: Iterable[tuple[int, int, Shape]]) -> None:
    """Make what a call brings contiguous where it is not, and show it with the shapes of its aliases."""
    for slot in given:
        array = values[slot]
        if isinstance(array, np.ndarray) and not (array.flags.c_contiguous and array.flags.aligned):
            values[slot] = np.require(array, requirements=["C", "A"])
    for slot, of, shape in aliases:
        array = values[of]
        if isinstance(array, np.ndarray):
            values[slot] = array.reshape(shape)


def _joins(
    graph: Graph, specs: Mapping[str, Spec], stepped: Sequence[bool], parted: Sequence[bool]
) -> dict[str, tuple[str, int]]:
    """The joined array that each value lies in: which one, and how many bytes from its beginning."""
    inside: dict[str, tuple[str, int]] = {}
    wholes = {
        at: parts
        for at, node in enumerate(graph.nodes)
        if stepped[at]
        and node.outputs[0] not in graph.outputs
        and (parts := _parts(node, specs)) is not None
        and (parted[at] or node.op == "Concat")
    }
    writer = {
        name
        for at, node in enumerate(graph.nodes)
        for name in node.outputs
        if name and stepped[at] and at not in wholes and node.op != "Concat" and not is_view(node)
    }
    for at, parts in wholes.items():
        node = graph.nodes[at]
        free = (name for name in parts if name not in inside and name not in graph.outputs)
        here = {name for name in free if node.inputs.count(name) == 1 and name in writer}
        if len(here) == len(node.inputs) or parted[at]:
            inside |= {name: (node.outputs[0], parts[name]) for name in here}
    return inside


def _parts(node: Node, specs: Mapping[str, Spec]) -> dict[str, int] | None:
    """The values that a node puts behind each other along the first axis longer than 1, each with the bytes before it.

    None for a node that does anything else.
    """
    found = [specs.get(name) for name in node.inputs]
    if node.op not in ("Concat", "Pad") or node.domain or node.outputs[0] not in specs or found[0] is None:
        return None
    whole, shift, parts = specs[node.outputs[0]], 0, dict[str, int]()
    lead = next((axis for axis, n in enumerate(whole.shape) if n > 1), 0)
    if node.op == "Pad":
        pads = pads_around(node, found)
        behind = all(min(pad) == 0 == max(pad) for axis, pad in enumerate(pads) if axis != lead)
        if node.get("mode", "constant") != "constant" or not pads or not behind or min(pads[lead]) < 0:
            return None
        return {node.inputs[0]: pads[lead][0] * whole.bytes // max(whole.shape[lead], 1)}
    axis = int(node.get("axis", 1)) % max(whole.rank, 1)
    if any(n != 1 for n in whole.shape[:axis]):
        return None
    for name, spec in zip(node.inputs, found, strict=True):
        if spec is None:
            return None
        parts.setdefault(name, shift)
        shift += spec.bytes
    return parts


def _dies(found: Places, node: Node, at: int, last: Mapping[str, int]) -> bool:
    """Whether the node may write over its first input: nothing that lies there is read later, or twice now."""
    first = node.inputs[0]
    if first not in found.root or node.reads.count(first) > 1:
        return False
    root = found.root[first]
    together = [name for name, other in found.root.items() if other == root]
    others = set(node.inputs[1:]).intersection(together)
    return not others and found.lives[root].last <= at and all(last.get(name, -1) <= at for name in together)
