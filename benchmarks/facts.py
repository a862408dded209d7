"""What a reader must know about a run besides its figures: the machine, the versions, the moment."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from convmat.errors import EngineError

BUSY = 0.5
"""The load average from which on a reader is told that others were at work."""


def machine() -> dict[str, Any]:
    """CPU, caches (bytes), cores, system, load, Python and NumPy.

    >>> sorted(machine())[:4]
    ['arch', 'cores', 'cpu', 'kernel']
    """
    from convmat.engine import blas_threads, host

    cpu = host()
    return {
        "cpu": cpu.model,
        "arch": cpu.arch,
        "vector_bits": 8 * cpu.vector_bytes,
        "l1": cpu.l1,
        "l2": cpu.l2,
        "l3": cpu.l3,
        "cores": len(cores()),
        "pinned": hasattr(os, "sched_setaffinity"),
        "kernel": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": f"{np.__version__} ({', '.join(blas_threads.describe_libraries()) or 'no BLAS found'})",
    }


def now() -> str:
    """The moment, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def cores() -> list[int]:
    """One CPU number for each core that this process may use; the last first, since CPU 0 serves most interrupts.

    Where the system has no affinity the numbers are those of its CPUs, and nothing is pinned.
    """
    if sys.platform == "linux":
        allowed = sorted(os.sched_getaffinity(0))
    else:
        allowed = list(range(os.cpu_count() or 1))
    first_of: dict[str, int] = {}
    for number in allowed:
        first_of.setdefault(_siblings(number), number)
    return sorted(first_of.values(), reverse=True)


def cores_for(threads: int) -> list[int]:
    """The CPUs that `threads` threads are pinned to, a core each. Raises EngineError if there are too few."""
    there = cores()
    if threads > len(there):
        raise EngineError(
            f"bench: more threads than cores\n  {threads} threads; this process may use {len(there)} "
            f"core{'s' * (len(there) > 1)}\n  ask for at most {len(there)}, e.g. --threads {len(there)}"
        )
    return there[:threads]


def _siblings(number: int) -> str:
    """The hardware threads that share a CPU's core; the CPU alone where the system does not tell."""
    try:
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        return path.read_text().strip() or str(number)
    except OSError:
        return str(number)
