"""Steps prepared side by side: the weights of one node are scaled while those of another are packed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from ...engine import thread_pool
from ...planner import Plan
from ..graph import Node
from ..ops.base import Step
from ..ops.options import Options

LEAST_BYTES = 4 << 20
"""Bytes of packed weights: fewer are packed in the time that it takes to start threads."""


def prepare_steps(
    nodes: Sequence[Node], prepare: Callable[[Node], Step | None], options: Options, plans: Mapping[int, Plan]
) -> list[Step | None]:
    """What `prepare` makes of each node, in their order; where `plans` pack much, on as many threads as calls have.

    What was packed for other shapes is not packed again: then one thread, which waits for nobody, is quicker. Raises
    what preparing the first node that cannot be prepared raises.
    """
    packed = options.packed is not None and not options.packed.empty
    size = 0 if packed else sum(plan.weight_bytes for plan in plans.values())
    threads = thread_pool.count()
    if threads == 1 or size < LEAST_BYTES:
        return [prepare(node) for node in nodes]
    return _Side(nodes, prepare).run(threads)


class _Side:
    """Nodes that several threads take in turns, this one among them.

    Threads alone: the standard library's executors take 5 ms to import.
    """

    def __init__(self, nodes: Sequence[Node], prepare: Callable[[Node], Step | None]) -> None:
        self._nodes, self._prepare = nodes, prepare
        self._found: list[Step | None] = [None] * len(nodes)
        self._waiting = iter(range(len(nodes)))
        self._failed: dict[int, BaseException] = {}

    def run(self, threads: int) -> list[Step | None]:
        """All of them. Raises what the first that failed raised."""
        others = [threading.Thread(target=self._take, daemon=True) for _ in range(threads - 1)]
        begun = []
        for each in others:
            try:
                each.start()
            except RuntimeError:  # no more threads: those that run do all of it
                break
            begun.append(each)
        self._take()
        for each in begun:
            each.join()
        if self._failed:
            raise self._failed[min(self._failed)]
        return self._found

    def _take(self) -> None:
        """Prepare nodes until none is left or one failed: those before it are with others, or done."""
        while not self._failed and (at := next(self._waiting, None)) is not None:
            try:
                self._found[at] = self._prepare(self._nodes[at])
            except BaseException as error:
                self._failed[at] = error


__all__ = ["prepare_steps"]
