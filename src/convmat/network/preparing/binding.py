"""Steps prepared side by side: the weights of one node are scaled while those of another are packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

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
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(prepare, nodes))
    finally:
        pool.shutdown(cancel_futures=True)


__all__ = ["prepare_steps"]
