"""How many threads NumPy's BLAS uses for one product.

Two BLAS threads on a tiny product can take fifty times as long as one, so products below WORTH_TWO FLOPs get one.
threadpoolctl finds the library. OpenBLAS is then asked and told directly: its number of threads belongs to the
process, and threadpoolctl would let one Python thread alone set it, for good.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import field
from functools import cache
from types import TracebackType
from typing import Any

from ...lazy_dataclass import dataclass
from ...processes import Lock, run_in_child

WORTH_TWO = 4_000_000
"""FLOPs from which a second BLAS thread pays for waking it."""


@dataclass
class _Library:
    """A loaded BLAS: its number of threads, and the limits in force now, of whichever Python threads."""

    name: str
    get: Callable[[], int | None]
    set: Callable[[int], Any]
    before: int = 1
    owed: int = 0
    """What a forked child has to put back, where another thread of its parent held a limit."""
    active: list[int] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def enter(self, threads: int) -> bool:
        """Limit it, if that is needed; whether `leave` must be called."""
        now = self.get() or 1
        if now <= threads and not self.active:
            return False
        with self.lock:
            if not self.active:
                self.before, self.owed = max(self.get() or 1, self.owed), 0
            self.active.append(threads)
            self.set(min(self.before, *self.active))
        return True

    def leave(self, threads: int) -> None:
        """Lift one limit; the last one puts back what was there before the first."""
        with self.lock:
            if threads in self.active:  # not in a child that was forked inside the limit
                self.active.remove(threads)
            self.set(min(self.before, *self.active) if self.active else self.before)

    def forget(self) -> None:
        """Forget the limits in a forked child: they were other threads'."""
        if self.active:
            self.owed = self.before
            self.active.clear()


_found: list[_Library] = []


@run_in_child
def _forget() -> None:
    for library in _found:
        library.forget()


@cache
def _libraries() -> tuple[_Library, ...]:
    import numpy  # noqa: F401  # its BLAS must be loaded to be found

    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:  # where saved networks run, NumPy and convmat are enough
        return ()

    found = (c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")
    _found.extend(_Library(f"{c.internal_api} {c.version}", *_functions(c)) for c in found)
    return tuple(_found)


def _functions(controller: Any) -> tuple[Callable[[], int | None], Callable[[int], Any]]:
    """How to ask and to tell a library: OpenBLAS with threads of its own directly, others by threadpoolctl."""
    library = getattr(controller, "dynlib", None)
    if controller.internal_api == "openblas" and getattr(controller, "threading_layer", "") == "pthreads":
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
            names = [f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set")]
            if all(hasattr(library, name) for name in names):
                get, tell = (getattr(library, name) for name in names)
                return get, tell
    return controller.get_num_threads, controller.set_num_threads


def count_threads() -> int:
    """The most threads any loaded BLAS would use now; 1 if there is none that can be asked."""
    return max((library.get() or 1 for library in _libraries()), default=1)


def describe_libraries() -> list[str]:
    """Each loaded BLAS with its version, for `convmat info`."""
    return [library.name for library in _libraries()]


class limit:
    """Let BLAS use at most `threads` threads inside the block, in all Python threads: BLAS has one number for all.

    >>> with limit(1):
    ...     count_threads()
    1
    """

    __slots__ = ("limited", "threads")

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.limited: list[_Library] = []

    def __enter__(self) -> None:
        self.limited = [library for library in _libraries() if library.enter(self.threads)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for library in self.limited:
            library.leave(self.threads)
