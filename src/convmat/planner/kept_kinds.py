"""What was found of kinds of problems, kept beside the kernels for other processes.

    sha256(source that weighs, CPU, what the machine reaches)  ->  {kind: [[B, I, {way: ratio}, tiled], ..], ..}

A process that plans what was planned before finds the quickest way without weighing others: the same figures and the
same source would choose it again. One file for each number of threads; whoever writes reads what others wrote first.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import time
from functools import lru_cache
from typing import Any

from ..processes import Lock

Row = list[Any]
"""Batch, spatial extents, the ways near the quickest with their ratios, and whether it holds at these extents alone."""

PAUSE = 2.0
"""Seconds between two times that it is written: all of it, which takes as long as planning several layers."""

MOST, ROWS = 512, 8
"""Kinds that are kept, and rows of each; of more those that were added first go."""

SOURCE = ("geometry.py", "problem.py", "layout.py", "axis_phases.py", "lowering", "planner")
"""What decides how problems are weighed, beside what shapes kernels."""


class KeptKinds:
    """Those on disk, read when they are first asked for, with what is added to them."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, list[Row]]] = {}
        self._new: dict[int, dict[str, list[Row]]] = {}  # no more than what is kept: not all who add write
        self._next, self._at_exit = 0.0, False
        self._lock = Lock()

    def find(self, threads: int, kind: str) -> list[Row]:
        """What is known of a kind; nothing where nothing is."""
        with self._lock:
            if threads not in self._known:
                self._known[threads] = _read(threads)
            return self._known[threads].get(kind, [])

    def add(self, threads: int, kind: str, row: Row) -> None:
        """Remember a row until `write` is called."""
        with self._lock:
            _put_rows(self._new.setdefault(threads, {}), kind, [row])

    def write(self) -> None:
        """Put what was added on disk; less than PAUSE after the last time, at the next or when the process ends."""
        now = time.monotonic()
        with self._lock:
            waits = now < self._next
            if waits and self._new and not self._at_exit:
                self._at_exit = True
                atexit.register(self.write_all)
        if not waits:
            self._next = now + PAUSE
            self.write_all()

    def write_all(self) -> None:
        """Put what was added on disk now."""
        with self._lock:
            added, self._new = self._new, {}
        for threads, kinds in added.items():
            known = _read(threads)
            for kind, rows in kinds.items():
                _put_rows(known, kind, rows)
            _write(threads, known)


def _put_rows(kinds: dict[str, list[Row]], kind: str, rows: list[Row]) -> None:
    """Add rows to a kind, which is then the latest."""
    kinds[kind] = [*kinds.pop(kind, []), *rows][-ROWS:]
    while len(kinds) > MOST:
        del kinds[next(iter(kinds))]


def _read(threads: int) -> dict[str, list[Row]]:
    from ..engine import jit_cache

    key = _key(threads)
    content = None if key is None else jit_cache.disk().get(key)
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(threads: int, kinds: dict[str, list[Row]]) -> None:
    from ..engine import jit_cache

    key = _key(threads)
    if key is not None:
        jit_cache.disk().put(key, json.dumps(kinds, separators=(",", ":")).encode())


@lru_cache(maxsize=1)
def _version() -> str | None:
    """What changes with the source that weighs; None where nobody can say what it is that runs."""
    from ..engine import preloaded

    state = preloaded.source_state(*SOURCE)
    return None if state is None else f"{preloaded.version()} {state}"


def _key(threads: int) -> bytes | None:
    """32 bytes that change with anything that could change which way is predicted quickest."""
    from ..engine import host, machine, peaks

    version = _version()
    if version is None:
        return None
    figures = machine(threads), peaks(threads).fma_flops
    return hashlib.sha256(f"kinds {version} {host().key} {threads} {figures!r}".encode()).digest()


__all__ = ["KeptKinds", "Row"]
