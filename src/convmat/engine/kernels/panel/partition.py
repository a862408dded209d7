"""The work partition: which tiles of a product make a task, for several threads.

    task = NC columns x MC rows      its time = multiplying + packing its panels of B + fetching its blocks of A

NC is counted in panels (of NR columns), MC in blocks (of MR rows). A panel is packed once for every MC rows, a block
of A fetched once for every NC columns. Few large tasks save both and leave a thread idle at the end; which is better
is tried out on paper: tasks are taken from both ends, as the pool takes them. What could not be quicker even if all
threads ended together is not tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from heapq import heapreplace

from ....lazy_dataclass import dataclass

PANEL_BYTES = 400 << 10
"""Bytes of the panels that a task keeps packed: with a block of A they fit a second-level cache of 1 MiB."""

TASKS = 8
"""Tasks that a thread is given at most, of a product that is partitioned this way."""

LATE = 0.05
"""Share of its longest task by which a thread is expected to come late."""


@dataclass(frozen=True)
class Portions:
    """What is shared out: `count` panels or blocks, the last of which holds `last` of a whole one."""

    count: int
    last: float = 1.0

    @property
    def total(self) -> float:
        """All of them, in whole ones."""
        return self.count - 1 + self.last

    def within(self, size: int, at: int) -> float:
        """How many of them the `at`-th group of `size` holds."""
        first = at * size
        return min(size, self.count - first) - (1 - self.last) * (first + size >= self.count)

    def groups(self, size: int) -> list[float]:
        """How many of them each group of `size` holds.

        >>> Portions(4, 0.5).groups(3)
        [3.0, 0.5]
        """
        whole = -(-self.count // size) - 1
        return [*[float(size)] * whole, self.within(size, whole)] if whole >= 0 else []


@dataclass(frozen=True)
class Overheads:
    """What a task does beside multiplying, in times of multiplying a panel by a block.

    Packing a panel, fetching a block of A, and starting.
    """

    pack: float
    fetch: float
    start: float

    def beside(self, nc: int, mc: int) -> float:
        """Overheads of a task of `nc` panels and `mc` blocks."""
        return self.pack * nc + self.fetch * mc + self.start


@lru_cache(maxsize=4096)
def partition(
    panels: Portions, blocks: Portions, overheads: Overheads, *, most: int, threads: int
) -> tuple[int, int]:
    """(NC in panels, MC in blocks) of the least time on so many threads; `most`: the largest NC, for its memory.

    >>> overheads = Overheads(pack=0.1, fetch=0.05, start=0.01)
    >>> partition(Portions(4, last=0.5), Portions(6), overheads, most=9, threads=2)
    (4, 3)
    >>> partition(Portions(12), Portions(1), overheads, most=9, threads=2)
    (3, 1)
    >>> partition(Portions(100_000_000), Portions(6), overheads, most=1, threads=2)  # tasks enough
    (1, 6)
    """
    fewest = -(-panels.count // most)
    if fewest >= TASKS * threads:
        return -(-panels.count // fewest), blocks.count
    whole = (min(panels.count, most), blocks.count)
    tried: list[tuple[float, int, tuple[int, int]]] = []
    for least, at, sizes in sorted(_soonest_ends(panels, blocks, overheads, most, threads)):
        if tried and least > min(tried)[0] * ALIKE:
            break
        tried.append((_time_taken(panels, blocks, overheads, sizes, threads), at, sizes))
    quickest = min(tried, default=(0.0, 0, whole))[0]
    alike = ((at, sizes) for taken, at, sizes in tried if taken <= quickest * ALIKE)
    return min(alike, default=(0, whole))[1]


ALIKE = 1 + 1e-9
"""Times that differ by less are the same, added up in another order: the fewest tasks go first."""


def _soonest_ends(
    panels: Portions, blocks: Portions, overheads: Overheads, most: int, threads: int
) -> Iterator[tuple[float, int, tuple[int, int]]]:
    """Sizes of tasks, numbered, with the time when they end if all threads end together: the soonest there can be."""
    fewest, at, most_tasks = -(-panels.count // most), 0, TASKS * threads
    multiplied = panels.total * blocks.total
    heights = [
        (mc, -(-blocks.count // mc), blocks.within(mc, 0))
        for mc in _split_evenly(blocks.count, 1, most_tasks)
    ]
    for nc in _split_evenly(panels.count, fewest, most_tasks):
        across, wide = -(-panels.count // nc), panels.within(nc, 0)
        for mc, down, tall in heights:
            tasks = across * down
            if tasks > most_tasks:
                break
            beside = overheads.beside(nc, mc)
            longest = wide * tall + beside
            yield max((multiplied + tasks * beside) / threads, longest) + LATE * longest, at, (nc, mc)
            at += 1


def _time_taken(
    panels: Portions, blocks: Portions, overheads: Overheads, sizes: tuple[int, int], threads: int
) -> float:
    """What tasks of these sizes take, in times of multiplying a panel by a block."""
    nc, mc = sizes
    tall, beside = blocks.groups(mc), overheads.beside(nc, mc)
    tasks = [p * q + beside for p in panels.groups(nc) for q in tall]
    return makespan(tasks, threads) + LATE * max(tasks)


def makespan(tasks: list[float], threads: int) -> float:
    """When the last of the threads ends: the first takes tasks from the front, the others from the back.

    >>> makespan([3.0, 2.0, 2.0, 1.0], 2)
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


def _split_evenly(count: int, least: int, most: int) -> list[int]:
    """The sizes of pieces of which `least` to `most` make `count`, no two of the same number of pieces."""
    pieces = range(max(least, 1), max(min(count, most), least, 1) + 1)
    return list(dict.fromkeys(-(-count // n) for n in pieces))


__all__ = ["PANEL_BYTES", "Overheads", "Portions", "makespan", "partition"]
