"""What a block does: a graph of the parts that can be computed now, and where every value stands after it.

    kept of v, new of v  --Concat-->  v        node: v -> the outputs whose inputs are there        v -> kept for later

Blocks that do the same, a period or more apart, share the prepared graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...network.graph import Graph, Input, Node, Spec
from ..tiles.parts import extents
from ..tiles.regions import TileGraphWriter
from .recurrent import begin_with, is_recurrent, states_of
from .timeline import Timeline, last_that

JOIN_VERSION = 13


@dataclass(frozen=True)
class StreamPlace:
    """Where one value stands: elements made so far, and the first that an output to come reads."""

    made: int = 0
    first: int = 0

    @property
    def kept(self) -> int:
        """Elements that are carried over."""
        return max(self.made - self.first, 0)


Places = Mapping[str, StreamPlace]


@dataclass(frozen=True)
class BlockGraph:
    """A block's graph: which kept parts it reads, what it makes of the outputs, and what is kept then.

    `graph`: None where nothing is computed. `made` and `kept` are names of its outputs by those of values; a value in
    `stay` keeps what it has. `after`: where the values stand; `inside`: whether it touches no border.
    """

    graph: Graph | None
    reads: tuple[str, ...]
    made: Mapping[str, str]
    kept: Mapping[str, str]
    stay: frozenset[str]
    after: Places
    inside: bool


def move(timeline: Timeline, places: Places, n: int, specs: Mapping[str, Spec] | None = None) -> BlockGraph:
    """What can be done once n elements more have come; `specs` of the whole where these are the last."""
    return _Moving(timeline, places, specs).move(n)


class _Moving:
    """One Move being found: the nodes that run, in order, over the values that are there."""

    def __init__(self, timeline: Timeline, places: Places, specs: Mapping[str, Spec] | None) -> None:
        self.line, self.places, self.ended = timeline, places, specs
        self.specs = timeline.specs if specs is None else specs
        self.writer = TileGraphWriter({}, timeline.specs)
        self.names: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.allowed: dict[str, int] = {}
        self.stop = {name: place.made for name, place in places.items()}
        self.inside = specs is None

    def move(self, n: int) -> BlockGraph:
        line, graph = self.line, self.line.graph
        arriving: list[Input] = []
        self.stop[line.name] += n
        if self.ended is None:
            self.allowed = line.list_allowances(self.stop[line.name])
        if n:
            part = line.part(line.name, self.specs, self.stop[line.name] - n, self.stop[line.name])
            self.writer.made[line.name] = part
            arriving.append(replace(graph.inputs[0], shape=extents(part)))
            self._join(line.name, line.name)
        made = {}
        for node in graph.nodes:
            done = self.places[node.outputs[0]].made
            stop = self._find_reach(node, done)
            if stop > done:
                made.update(self._run(node, done, stop))
        after = self._after()
        kept, stay = dict(self.states), set()
        for name, place in after.items():
            if place.kept and (place.made, place.first) == (self.places[name].made, self.places[name].first):
                stay.add(name)
            elif place.kept:
                part = line.part(name, self.specs, place.first, place.made)
                kept[name] = self.writer.cut(self._full(name), part)
        stay |= {name for name in line.states if self._has_begun(name) and name not in kept}
        given = {name: made[name] for name in graph.outputs if name in made}
        wanted = tuple(dict.fromkeys([*given.values(), *kept.values()]))
        block = replace(
            graph,
            nodes=tuple(self.writer.nodes),
            inputs=(*arriving, *self._carry_inputs()),
            outputs=wanted,
            constants={**graph.constants, **self.writer.constants},
        ).prune()
        used = {name for node in block.nodes for name in node.reads} | set(wanted)
        block = replace(block, inputs=tuple(each for each in block.inputs if each.name in used))
        reads = tuple(n for n in (*self.places, *line.states) if kept_name(n) in used)
        return BlockGraph(block if wanted else None, reads, given, kept, frozenset(stay), after, self.inside)

    # -- values --------------------------------------------------------------------------------------------------------

    def _full(self, name: str) -> str:
        """The name of all that is there of a value: what was kept, and what is new."""
        if name not in self.names:
            place = self.places[name]
            self.names[name] = kept_name(name)
            self.writer.made[kept_name(name)] = self.line.part(name, self.specs, place.first, place.made)
        return self.names[name]

    def _join(self, name: str, new: str) -> None:
        """Put what is new of a value behind what was kept of it."""
        place, axis = self.places[name], self.line.axes[name]
        if not place.kept:
            self.names[name] = new
            return
        both = f"{name}/all"
        self.writer.nodes.append(
            Node("Concat", (self._full(name), new), (both,), {"axis": axis}, version=JOIN_VERSION)
        )
        self.writer.made[both] = self.line.part(name, self.specs, place.first, self.stop[name])
        self.names[name] = both

    def _carry_inputs(self) -> Iterator[Input]:
        for name, place in self.places.items():
            if place.kept:
                part = self.line.part(name, self.specs, place.first, place.made)
                yield Input(kept_name(name), self.specs[name].dtype, extents(part))
        for name in filter(self._has_begun, self.line.states):
            state = self.line.state(name)
            yield Input(kept_name(name), state.dtype, state.shape)

    def _has_begun(self, state: str) -> bool:
        """Whether any recurrent node holds a state from the blocks before."""
        return self.places[self.line.states[state].outputs[0]].made > 0

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _find_reach(self, node: Node, done: int) -> int:
        """Up to where the node's outputs can be made of what is there."""
        line, name = self.line, node.outputs[0]
        if self.ended is not None:
            return self.ended[name].shape[line.axes[name]]

        def fits(stop: int) -> bool:
            reads = line.reads(node, line.needs(node, self.specs, done, stop))
            return all(last <= self.stop[each] for each, (_, last) in reads.items())

        return max(min(last_that(fits, done), self.allowed[name]), done)

    def _run(self, node: Node, done: int, stop: int) -> dict[str, str]:
        """Write the node down for its outputs from `done` to `stop`; the names of these by those of its outputs."""
        line = self.line
        need = line.needs(node, self.specs, done, stop)
        reads = line.reads(node, need)
        self.inside = self.inside and all(first > 0 for first, _ in reads.values())
        mapped = tuple(self._full(name) if name in line.axes else name for name in node.inputs)
        run = replace(node, inputs=mapped)
        if is_recurrent(node):
            states = states_of(node)
            self.states.update((name, f"{name}/next") for name in states)
            run = begin_with(
                run, [kept_name(name) for name in states if done], [self.states[n] for n in states]
            )
        self.writer.add(run, need)
        made = {}
        for name in filter(None, node.outputs):
            self.writer.made[name] = line.part(name, self.specs, *need.makes[line.axes[name]])
            part = line.part(name, self.specs, done, stop)
            made[name] = self.writer.cut(name, part)
            self.writer.made[made[name]] = part
            self.stop[name] = stop
            self._join(name, made[name])
        return made

    def _after(self) -> Places:
        """Where all values stand then."""
        line = self.line
        first = dict(self.stop)
        reads: dict[str, list[int]] = {name: [] for name in first}
        for node in line.graph.nodes if self.ended is None else ():
            made = self.stop[node.outputs[0]]
            more = self.allowed[node.outputs[0]] > made
            for name, low in line.behind(node, made).items():
                # Outputs that come at an end now would read padding alone, which is put beside the last element.
                last = self.stop[name] - 1
                padding = more and self.allowed[name] <= self.stop[name]
                reads[name].append(min(low, max(last, 0)) if padding else low)
        first.update((name, min(lows)) for name, lows in reads.items() if lows)
        self.inside = self.inside and all(low > 0 for lows in reads.values() for low in lows)
        return {name: StreamPlace(self.stop[name], first[name]) for name in first}


def kept_name(name: str) -> str:
    """How a block's graph calls what was kept of a value."""
    return f"{name}/kept"


__all__ = ["BlockGraph", "Places", "StreamPlace", "kept_name", "move"]
