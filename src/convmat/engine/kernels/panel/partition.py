"""How the tiles of a product are dealt to threads: panels in groups, blocks of A's rows in chunks.

    task = group of panels x chunk of blocks      its time = multiplying + packing its panels + fetching its blocks

A panel is packed once in every chunk, a block of A fetched once in every group. Few large tasks save both and leave a
thread idle at the end; which is better is tried out on paper: tasks are dealt from both ends, as the pool deals them.
"""

from __future__ import annotations

from functools import lru_cache
from heapq import heapreplace

TASKS = 8
"""Tasks that a thread is given at most, of a product that is dealt this way."""

LATE = 0.05
"""Of its longest task that a thread is expected to come late."""


@lru_cache(maxsize=4096)
def shares(
    panels: int,
    last_panel: float,
    blocks: int,
    last_block: float,
    *,
    most: int,
    threads: int,
    pack: float,
    fetch: float,
    start: float,
) -> tuple[int, int]:
    """(panels of a group, blocks of a chunk) of the least time on so many threads.

    last_panel, last_block: how much of a whole one the last is. most: panels of a group, for their memory. pack,
    fetch, start: packing a panel, fetching a block of A and starting a task, in times of multiplying the one by the
    other.

    >>> shares(4, 0.5, 6, 1.0, most=9, threads=2, pack=0.1, fetch=0.05, start=0.01)
    (4, 3)
    >>> shares(12, 1.0, 1, 1.0, most=9, threads=2, pack=0.1, fetch=0.05, start=0.01)
    (3, 1)
    >>> shares(100_000_000, 1.0, 6, 1.0, most=1, threads=2, pack=0.1, fetch=0.05, start=0.01)  # tasks enough
    (1, 6)
    """
    fewest = -(-panels // most)
    if fewest >= TASKS * threads:
        return -(-panels // fewest), blocks
    best, least = (min(panels, most), blocks), float("inf")
    for group in _even(panels, fewest, TASKS * threads):
        for chunk in _even(blocks, 1, TASKS * threads):
            groups, chunks = -(-panels // group), -(-blocks // chunk)
            if groups * chunks > TASKS * threads:
                continue
            wide = [_cut(panels, last_panel, group, at) for at in range(groups)]
            tall = [_cut(blocks, last_block, chunk, at) for at in range(chunks)]
            tasks = [p * q + pack * group + fetch * chunk + start for p in wide for q in tall]
            taken = dealt(tasks, threads) + LATE * max(tasks)
            if taken < least * (1 - 1e-9):
                best, least = (group, chunk), taken
    return best


def dealt(tasks: list[float], threads: int) -> float:
    """When the last of the threads ends: the first takes from the front, the others from the back.

    >>> dealt([3.0, 2.0, 2.0, 1.0], 2)
    5.0
    """
    free, first, last = [(0.0, thread) for thread in range(threads)], 0, len(tasks)
    while first < last:
        since, thread = free[0]
        if thread == 0:
            task = tasks[first]
            first += 1
        else:
            last -= 1
            task = tasks[last]
        heapreplace(free, (since + task, thread))
    return max(free)[0]


def _even(count: int, least: int, most: int) -> list[int]:
    """The sizes of pieces of which `least` to `most` make `count`, no two of the same number of pieces."""
    pieces = range(max(least, 1), max(min(count, most), least, 1) + 1)
    return list(dict.fromkeys(-(-count // n) for n in pieces))


def _cut(count: int, last: float, size: int, at: int) -> float:
    """How much the `at`-th piece holds."""
    first = at * size
    return min(size, count - first) - (1 - last) * (first + size >= count)


__all__ = ["dealt", "shares"]
