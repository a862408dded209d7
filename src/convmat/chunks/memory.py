"""Bytes that a process has, and the largest blocks that keep within a limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import PlanError
from .cutting import Cuts

SPARE = 48 << 20
"""Bytes that are left to the allocator, Python's objects and what libraries do beside the blocks."""


def anonymous_bytes() -> int:
    """Bytes of memory that belong to no file, of this process; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def available_bytes() -> int:
    """Bytes that could be had now, of the machine or of the control group that the process is in."""
    free = 1 << 62
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) << 10
    except OSError:
        if hasattr(os, "sysconf") and sys.platform != "win32":
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            free = min(free, int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):
            continue
    return free


def largest_blocks(
    extents: Sequence[int],
    units: Sequence[int],
    needs: Callable[[tuple[int, ...]], int],
    limit: int,
) -> tuple[int, ...] | None:
    """Extents of blocks whose `needs` in bytes keep within the limit; None where not even single elements do.

    Axes are cut from the outermost on, each by as little as does, in multiples of its unit; below units only where that
    is not enough.

    >>> largest_blocks((4, 100, 100), (1, 10, 10), lambda n: n[0] * n[1] * n[2], 3000)
    (1, 30, 100)
    """
    block = tuple(max(n, 1) for n in extents)
    for least in (units, [1] * len(block)):
        block = cut_down(block, least, needs, limit)
    return block if needs(block) <= limit else None


def cut_down(
    block: tuple[int, ...], units: Sequence[int], needs: Callable[[tuple[int, ...]], int], limit: int
) -> tuple[int, ...]:
    """A block cut, from the outermost axis on, until its `needs` keep within the limit or single units are left.

    >>> cut_down((100, 100), (30, 100), lambda n: n[0] * n[1], 7000)
    (60, 100)
    """
    found = list(block)
    for axis, unit in enumerate(units):
        if needs(tuple(found)) <= limit:
            break
        unit = min(max(unit, 1), found[axis])
        low, high = 1, found[axis] // unit
        while low < high:  # the most units that keep within it, or one
            middle = (low + high + 1) // 2
            fits = needs((*found[:axis], middle * unit, *found[axis + 1 :])) <= limit
            low, high = (middle, high) if fits else (low, middle - 1)
        found[axis] = low * unit
    return tuple(found)


def even_cuts(extent: int, block: int) -> Cuts:
    """The boundaries of blocks of this extent; the last may be smaller.

    >>> even_cuts(10, 4)
    (0, 4, 8, 10)
    """
    return (*range(0, extent, max(block, 1)), extent) if extent else (0, 0)


def describe_least_limit(call: str, limit: int, least: int, present: int) -> PlanError:
    """The sentence for a limit that nothing keeps to."""
    needed = least + present + SPARE
    mib = -(-needed // 2**20)
    return PlanError(
        f"{call}: nothing runs within so little memory\n"
        f"  memory = {limit:,} bytes;  the process has {present:,} already, the smallest block takes {least:,}\n"
        f"  {mib} MiB are enough: --memory {mib}MiB"
    )


__all__ = [
    "SPARE",
    "anonymous_bytes",
    "available_bytes",
    "cut_down",
    "describe_least_limit",
    "even_cuts",
    "largest_blocks",
]
