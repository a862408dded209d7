"""The order of nodes around values that are kept: who writes in the place of one comes after all who read it."""

from __future__ import annotations

import heapq
from dataclasses import replace

from ..graph import Graph


def order_readers_first(graph: Graph) -> Graph:
    """The graph with nodes as near to their order as reading before writing allows.

    A kept value and the one that takes its place lie in one array: names are written once, this array is not.
    """
    takes = {next: name for name, next in graph.kept.items() if next}
    if not takes:
        return graph
    writer = {name: at for at, node in enumerate(graph.nodes) for name in node.outputs if name}
    after: list[set[int]] = [set() for _ in graph.nodes]
    for at, node in enumerate(graph.nodes):
        after[at].update(writer[name] for name in node.reads if name in writer)
        for name in filter(takes.__contains__, node.outputs):
            after[at].update(
                other for other, each in enumerate(graph.nodes) if takes[name] in each.reads and other != at
            )
    waiting: list[list[int]] = [[] for _ in graph.nodes]
    for at, others in enumerate(after):
        for other in others:
            waiting[other].append(at)
    left = [len(others) for others in after]
    free = [at for at, count in enumerate(left) if not count]
    order: list[int] = []
    while free:
        at = heapq.heappop(free)
        order.append(at)
        for other in waiting[at]:
            left[other] -= 1
            if not left[other]:
                heapq.heappush(free, other)
    assert len(order) == len(graph.nodes), "two kept values are each made of the other"
    return replace(graph, nodes=tuple(graph.nodes[at] for at in order))
