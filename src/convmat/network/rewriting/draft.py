"""Draft: a graph while it is being rewritten.

Rules replace nodes by nodes. What a draft keeps true: nodes stand in an order in which they can run, each name is
written once, and the network's outputs keep their names. A new node stands where the last of those it replaces stood,
so all that any of them read is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..graph import Array, Graph, Node, Spec
from ..ops.base import OWN


class Draft:
    """The nodes of a graph with who writes and who reads each value, and the Specs that are known."""

    def __init__(self, graph: Graph, specs: Mapping[str, Spec]) -> None:
        self.graph, self.specs = graph, dict(specs)
        self.constants = dict(graph.constants)
        self._nodes: list[Node | None] = list(graph.nodes)
        self._writer = {name: at for at, node in enumerate(graph.nodes) for name in node.outputs if name}
        self._readers: dict[str, list[int]] = {}
        for at, node in enumerate(graph.nodes):
            for name in node.reads:
                self._readers.setdefault(name, []).append(at)

    def __iter__(self) -> Iterator[Node]:
        """The nodes in order, those made meanwhile too."""
        at = 0
        while at < len(self._nodes):  # which may be more by then
            node = self._nodes[at]
            if node is not None:
                yield node
            at += 1

    def writer(self, name: str, *ops: str) -> Node | None:
        """The node that writes a value, if it is one of these operators."""
        node = self._nodes[self._writer[name]] if name in self._writer else None
        return node if node is not None and node.domain in ("", OWN) and (not ops or node.op in ops) else None

    def holds(self, node: Node) -> bool:
        """Whether a node is among its own: no rule has taken it away."""
        name = next(filter(None, node.outputs))
        return name in self._writer and self._nodes[self._writer[name]] is node

    def has_one_reader(self, name: str) -> bool:
        """Whether one node reads a value, once, and nobody outside the graph."""
        return len(self._readers.get(name, ())) == 1 and name not in self.graph.outputs

    def readers(self, name: str) -> list[Node]:
        """The nodes that read a value, once for each time."""
        return [node for at in self._readers.get(name, ()) if (node := self._nodes[at]) is not None]

    def constant(self, name: str) -> Array | None:
        """The value of a name that is constant."""
        return self.constants.get(name)

    def keep(self, array: Array, near: str) -> str:
        """A new constant; `near` is the name that its own is made from."""
        name = self.new_name(near)
        array.flags.writeable = False
        self.constants[name], self.specs[name] = array, Spec.of(array)
        return name

    def new_name(self, near: str) -> str:
        """A name that no value has, made from another."""
        name, n = near, 0
        while name in self.constants or name in self._writer or name in self.specs:
            name, n = f"{near}#{n}", n + 1
        return name

    def insert_before(self, node: Node, new: Node) -> None:
        """One more node, where all that it reads is there: before another."""
        at = self.place(node)
        self._nodes.insert(at, new)
        self._writer = {name: i + (i >= at) for name, i in self._writer.items()}
        self._readers = {name: [i + (i >= at) for i in found] for name, found in self._readers.items()}
        for name in filter(None, new.outputs):
            self._writer[name] = at
        for name in new.reads:
            self._readers.setdefault(name, []).append(at)

    def replace(self, old: Sequence[Node], new: Node) -> None:
        """One node instead of others, where the last of them stood; it writes what that one wrote."""
        places = sorted(self.place(node) for node in old)
        for at in places:
            self._take(at)
        at = places[-1]
        self._nodes[at] = new
        for name in filter(None, new.outputs):
            self._writer[name] = at
        for name in new.reads:
            self._readers.setdefault(name, []).append(at)

    def drop(self, node: Node, instead: str) -> bool:
        """Drop a node whose one output is the value `instead`; False if the outside knows it by its own name."""
        (name,) = node.outputs
        if name in self.graph.outputs:
            return False
        readers = list(self._readers.get(name, ()))
        self._take(self.place(node))
        for at in readers:
            reader = self._nodes[at]
            if reader is not None:
                inputs, captured = (
                    tuple(instead if n == name else n for n in names)
                    for names in (reader.inputs, reader.captured)
                )
                self._nodes[at] = replace(reader, inputs=inputs, captured=captured)
        self._readers[instead] = sorted([*self._readers.get(instead, ()), *readers])
        self._readers.pop(name, None)
        return True

    def finish(self) -> Graph:
        """The graph, without what no output needs any more."""
        return replace(self.graph, nodes=tuple(self), constants=self.constants).prune()

    def place(self, node: Node) -> int:
        """Where a node stands."""
        return self._writer[next(filter(None, node.outputs))]

    def _take(self, at: int) -> None:
        node = self._nodes[at]
        assert node is not None
        self._nodes[at] = None
        for name in filter(None, node.outputs):
            del self._writer[name]
        for name in node.reads:
            self._readers[name].remove(at)
