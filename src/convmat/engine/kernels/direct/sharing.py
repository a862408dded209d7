"""How the planes of y, and the rows of one, are shared out as tasks."""

from __future__ import annotations

TASKS = 4
"""Tasks that a thread should have: enough to even out who is late."""

TASK_FLOPS = 100_000
"""FLOPs of one task at least, a few microseconds: waking a worker must pay."""

BEGUN = 0.5
"""Rows of a part in whose time it is begun: its first ones are not in the first cache, and neither are its weights."""

MUCH = 1.03
"""How much later the last thread has to end for tasks to be as few as threads: nobody helps then who is late."""


def share_planes(
    flops: int, threads: int, planes: int, blocks: int, lines: int, height: int, slabs: int
) -> tuple[int, int, int]:
    """(planes of a task, parts of a plane, rows of a part).

    Tasks are planes, whole where there are many; of `blocks` planes each that read the same of x, together where that
    leaves enough of them. A plane is cut into `slabs` parts at least, of about `height` rows or more, by multiples of
    that or, where it is even, of its half: blocks are so high, or half as high. And where it is high, into one for each
    thread, which then has the rows that it has of other layers: to fetch what another core wrote takes longer than
    multiplying it. Another number of parts is taken where threads then end much nearer to each other.

    >>> share_planes(10**9, 2, 32, 1, 14, 8, 1), share_planes(10**9, 2, 32, 1, 56, 8, 1)
    ((4, 1, 14), (8, 2, 28))
    >>> share_planes(10**9, 2, 8, 8, 112, 3, 2)  # 57 rows and 55: seven parts of 15 leave one thread with 60
    (8, 2, 57)
    >>> share_planes(10**9, 2, 1, 1, 56, 8, 1)
    (1, 2, 28)
    """
    wanted = max(1, min(TASKS * threads, flops // TASK_FLOPS)) if threads > 1 else 1
    units = max(planes // blocks, 1)
    if wanted >= threads and lines >= threads * height:
        slabs = max(slabs, threads)
    step = height if height % 2 else height // 2

    def share(parts: int, tasks: int) -> tuple[int, int, int]:
        tall = -(-lines // parts // step) * step if parts > 1 else max(lines, 1)
        parts = max(-(-lines // tall), 1)
        if units * parts >= tasks:
            return -(-units // -(-tasks // parts)) * blocks, parts, tall
        return max(planes * parts // tasks, 1), parts, tall

    usual = share(max(min(max(slabs, -(-wanted // units)), -(-lines // height)), 1), wanted)
    if usual[1] == 1 or wanted < threads:
        return usual
    ends = {way: _end(way, planes, lines, threads) for way in (usual, share(slabs, threads))}
    best = min(ends, key=lambda way: ends[way])
    return best if ends[best] * MUCH < ends[usual] else usual


def _end(way: tuple[int, int, int], planes: int, lines: int, threads: int) -> float:
    """When the last thread is done, in rows: one takes tasks from the first on, the others from the last."""
    per, parts, tall = way
    tasks = [
        (min(tall, lines - part * tall) + BEGUN) * min(per, planes - first)
        for part in range(parts)
        for first in range(0, planes, per)
    ]
    busy, low, high = [0.0] * threads, 0, len(tasks)
    while low < high:
        at = busy.index(min(busy))
        if at:
            high -= 1
        busy[at] += tasks[high if at else low]
        low += not at
    return max(busy)


__all__ = ["share_planes"]
