"""Recomputing: values of the forward pass that the backward pass computes again, instead of their being kept for it.

    x -> a -> b -> c -> loss          the backward pass reads a, b and c: all three are kept
    {a, b} dropped                    .. -> backward of c -> (x -> a' -> b') -> backward of b and a

A copy is computed right before the first node of the backward pass that reads it, from what is kept, once for all who
read it. It is the same node on the same numbers: the bits are those of a step that keeps everything. Cheap values go
first, since a pass over memory brings them back: activations, normalisations, pooling. Then convolutions' too, segment
by segment from the network's beginning: of a segment stays what crosses its borders, which are where that is least.
Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..engine import thread_pool
from ..errors import NetworkError
from ..network.graph import Graph, Node, Spec, specs_of
from ..network.ops.half import plan_behind
from ..network.preparing import infer
from ..network.preparing.keeping import order_readers_first
from ..network.preparing.places import choose_places
from ..network.preparing.program import Program
from ..network.preparing.programs import Programs, Setting
from ..network.reports.layers import list_layers
from ..network.reports.shares import predicted_seconds
from ..network.rewriting.rewrite import rewrite
from ..processes import kept_property

COSTLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Attention", "RNN", "GRU", "LSTM"})
"""Operators that multiply: computed again only where passes over memory are not enough."""

SEGMENTS = 32
"""The finest cut of a network: of those beyond, most would be a layer or less."""


@dataclass(frozen=True)
class Recomputation:
    """What is not kept, though the backward pass reads it; and what is kept so that it can be computed again."""

    dropped: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


class Passes:
    """The two passes of a step whose shapes are known: what is computed before the losses `seen`, and after."""

    def __init__(self, graph: Graph, specs: Mapping[str, Spec], seen: Collection[str]) -> None:
        self.graph, self.specs = graph, specs
        ahead = set(seen)
        for node in reversed(graph.nodes):
            if ahead.intersection(node.outputs):
                ahead.update(node.reads)
        self.forward = [node for node in graph.nodes if ahead.intersection(node.outputs)]
        self.backward = [node for node in graph.nodes if not ahead.intersection(node.outputs)]
        self.maker = {name: node for node in self.forward for name in node.outputs if name}
        read = {name for node in self.backward for name in node.reads}
        self.once = frozenset(  # what cannot be computed again: numbers that are drawn anew, loops
            name for name, node in self.maker.items() if node.op in infer.RANDOM or node.captured
        )
        self.kept = {name: self._bytes(name) for name in self.maker if name in read and name not in self.once}

    def _bytes(self, name: str) -> int:
        return self.specs[name].bytes if name in self.specs else 0

    def with_copies(self, choice: Recomputation) -> Graph:
        """The graph in which what is dropped is computed again."""
        have = (self.kept.keys() - choice.dropped) | choice.held | self.once
        copies: dict[str, str] = {}
        nodes = list(self.forward)
        for node in self.backward:
            for name in node.inputs:
                if name in self.maker and name not in have and name not in copies:
                    for each in self._behind(name, have | copies.keys()):
                        copies |= {old: f"{old}.again" for old in each.outputs if old}
                        nodes.append(_rename(each, copies, outputs=True))
            nodes.append(_rename(node, copies))
        return replace(self.graph, nodes=tuple(nodes))

    def _behind(self, name: str, have: Collection[str]) -> list[Node]:
        """The nodes of the forward pass that lead from what there is to a value, in their order."""
        wanted, waiting = set(), [name]
        while waiting:
            node = self.maker.get(each := waiting.pop())
            if node is not None and each not in have and id(node) not in wanted:
                wanted.add(id(node))
                waiting += node.reads
        return [node for node in self.forward if id(node) in wanted]

    def choices(self) -> Iterator[Recomputation]:
        """Choices of what is computed again, from little to much."""
        cheap = self._cheap()
        for count in range(1, len(cheap) + 1):
            yield Recomputation(frozenset(cheap[:count]))
        count = min(SEGMENTS, sum(node.op in COSTLY for node in self.forward))
        while count > 1:
            borders = self._borders(count)
            for last in range(1, len(borders) + 1):
                held = frozenset(name for at in borders[:last] for name in self._crossing[at])
                inside = {name for node in self.forward[: borders[last - 1] + 1] for name in node.outputs}
                dropped = (inside & self.kept.keys()) | set(cheap)
                yield Recomputation(frozenset(dropped - held), held)
            count //= 2

    def _cheap(self) -> list[str]:
        """What passes over memory bring back from values that are kept, the largest first."""
        there = set(self.kept)
        found = []
        for node in self.forward:
            cheap = node.op not in COSTLY and all(n not in self.maker or n in there for n in node.inputs)
            if cheap:
                found += [name for name in node.outputs if name in self.kept]
                there.update(node.outputs)
        return sorted(found, key=lambda name: -self.kept[name])

    @kept_property
    def _crossing(self) -> list[list[str]]:
        """Values behind each node of the forward pass that later nodes of it read."""
        last = {name: at for at, node in enumerate(self.forward) for name in node.reads}
        alive: list[str] = []
        found = []
        for at, node in enumerate(self.forward):
            alive = [name for name in (*alive, *filter(None, node.outputs)) if last.get(name, -1) > at]
            found.append(alive)
        return found

    def _borders(self, count: int) -> list[int]:
        """Nodes behind which segments end, about equal in what is kept of them, where the least crosses."""
        sizes = [sum(self.kept.get(name, 0) for name in node.outputs) for node in self.forward]
        total, sums = sum(sizes), list[int]()
        for size in sizes:
            sums.append(size + (sums[-1] if sums else 0))
        crossing, found = self._crossing, []
        for number in range(1, count):
            first, beyond = (bisect_left(sums, (number + half) * total / count) for half in (-0.5, 0.5))
            if first < beyond:
                found.append(min(range(first, beyond), key=lambda at: sum(map(self._bytes, crossing[at]))))
        return sorted(set(found))

    def peak(self, graph: Graph) -> int:
        """Bytes of all values that are alive at the busiest node, roughly: before anything is joined."""
        last = {name: at for at, node in enumerate(graph.nodes) for name in node.reads}
        ends: dict[int, int] = {}
        alive = most = 0
        for at, node in enumerate(graph.nodes):
            for name in filter(None, node.outputs):
                size = self._bytes(name.removesuffix(".again"))
                alive += size
                ends[last.get(name, at)] = ends.get(last.get(name, at), 0) + size
            most = max(most, alive)
            alive -= ends.pop(at, 0)
        return most


def _rename(node: Node, names: Mapping[str, str], outputs: bool = False) -> Node:
    made = replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
    return replace(made, outputs=tuple(names.get(name, name) for name in node.outputs)) if outputs else made


def count_bytes(program: Program) -> int:
    """Bytes of a program's arena, and of the scratch and packed weights of the product that needs most."""
    return program.memory.size + scratch(program)


def scratch(program: Program) -> int:
    """Bytes that the product takes which needs most beside its operands."""
    plans = [plan for task in program.tasks if (plan := plan_behind(task.run)) is not None]
    return max((plan.workspace + plan.weight_bytes for plan in plans), default=0)


def count_repeats(program: Program) -> tuple[int, float, float]:
    """How many nodes compute again what there was, and seconds on paper: those of these nodes, and of all."""
    threads = thread_pool.count()
    every = [(layer, predicted_seconds(layer, threads)) for layer in list_layers(program)]
    again = [seconds for layer, seconds in every if layer.outputs and layer.outputs[0][0].endswith(".again")]
    return len(again), sum(again), sum(seconds for _, seconds in every)


class Sparing(Programs):
    """A step's graph, prepared so that it keeps to `most` bytes of arena and scratch; None: as it is.

    `fixed`: bytes that are needed beside these, which an error tells.
    """

    def __init__(
        self, graph: Graph, setting: Setting, seen: Collection[str], limit: int | None, fixed: int
    ) -> None:
        super().__init__(graph, setting)
        self.seen, self.limit, self.fixed = frozenset(seen), limit, fixed

    def _prepare(self, specs: Mapping[str, Spec], setting: Setting) -> Program:
        made = super()._prepare(specs, setting)
        if self.limit is None or count_bytes(made) + self.fixed <= self.limit:
            return made
        spare, least = self.limit - self.fixed, count_bytes(made)
        room = spare - scratch(made)
        known = {**specs, **specs_of(setting.held)}
        graph, found = infer.infer_specs(self.graph, known, setting.limit, setting.open_bodies)
        passes = Passes(graph, found, self.seen)
        less = _select_falling(passes)
        arenas: dict[int, int] = {}

        def arena(at: int) -> int:
            if at not in arenas:
                arenas[at] = _arena(passes.with_copies(less[at]), known, setting)
            return arenas[at]

        low, high = 0, len(less) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if arena(middle) <= room else (middle + 1, high)
        for at in range(low, len(less)):
            if low < at < len(less) - 1 and arena(at) > room:
                continue
            made = self.prepare_graph(passes.with_copies(less[at]), specs, setting)
            least = min(least, count_bytes(made))
            if least <= spare:
                return made
        size = next(iter(specs.values())).shape[0]
        raise NetworkError(
            f"train: a step on {size} examples keeps to no such memory limit\n"
            f"  memory_limit = {self.limit:,}; parameters and the optimiser's state take {self.fixed:,}\n"
            f"  memory_limit={self.fixed + least} is the least that does, or take fewer examples a batch, or shards"
        )


def _select_falling(passes: Passes) -> Sequence[Recomputation]:
    """The choices each of which takes less memory than all before it."""
    found, least = [], passes.peak(passes.graph)
    for choice in passes.choices():
        peak = passes.peak(passes.with_copies(choice))
        if peak < least:
            found.append(choice)
            least = peak
    return found


def _arena(graph: Graph, specs: Mapping[str, Spec], setting: Setting) -> int:
    """Bytes of the arena of a graph, were it prepared."""
    graph, known = infer.infer_specs(graph, specs, setting.limit, setting.open_bodies)
    graph, known = rewrite(graph, known, setting.rules)
    graph = order_readers_first(graph)
    every = [True] * len(graph.nodes)
    return choose_places(graph, known, every, every).allotment().size


__all__ = ["Passes", "Recomputation", "Sparing", "count_bytes", "count_repeats", "scratch"]
