"""How the planes of y, and the rows of one, are shared out as tasks."""

from __future__ import annotations

TASKS = 4
"""Tasks that a thread should have: enough to even out who is late."""

TASK_FLOPS = 100_000
"""FLOPs of one task at least, a few microseconds: waking a worker must pay."""


def share_planes(
    flops: int, threads: int, planes: int, blocks: int, lines: int, height: int, slabs: int
) -> tuple[int, int, int]:
    """(planes of a task, parts of a plane, rows of a part).

    Tasks are planes, whole where there are many; of `blocks` planes each that read the same of x, together where that
    leaves enough of them. A plane is cut into `slabs` parts at least, of about `height` rows or more, by multiples of
    that or, where it is even, of its half: blocks are so high, or half as high. And where it is high, into one for each
    thread, which then has the rows that it has of other layers: to fetch what another core wrote takes longer than
    multiplying it.

    >>> share_planes(10**9, 2, 32, 1, 14, 8, 1), share_planes(10**9, 2, 32, 1, 56, 8, 1)
    ((4, 1, 14), (8, 2, 28))
    >>> share_planes(10**9, 2, 1, 1, 56, 8, 1)
    (1, 7, 8)
    """
    wanted = max(1, min(TASKS * threads, flops // TASK_FLOPS)) if threads > 1 else 1
    units = max(planes // blocks, 1)
    if wanted >= threads and lines >= threads * height:
        slabs = max(slabs, threads)
    parts = max(min(max(slabs, -(-wanted // units)), -(-lines // height)), 1)
    step = height if height % 2 else height // 2
    tall = -(-lines // parts // step) * step if parts > 1 else max(lines, 1)
    parts = max(-(-lines // tall), 1)
    if units * parts >= wanted:
        return -(-units // -(-wanted // parts)) * blocks, parts, tall
    return max(planes * parts // wanted, 1), parts, tall


__all__ = ["share_planes"]
