"""How many threads NumPy's BLAS uses for one product.

Two BLAS threads on a tiny product can take fifty times as long as one, so products below WORTH_TWO FLOPs get one.
threadpoolctl finds the library; its own setter is called directly, in about a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

WORTH_TWO = 4_000_000
"""FLOPs from which a second BLAS thread pays for waking it."""


@cache
def _libraries() -> tuple[Any, ...]:
    from threadpoolctl import ThreadpoolController

    return tuple(c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")


def current() -> int:
    """The most threads any loaded BLAS would use now; 1 if there is none that can be asked."""
    return max((library.get_num_threads() or 1 for library in _libraries()), default=1)


def names() -> list[str]:
    """Each loaded BLAS with its version, for `convmat info`."""
    return [f"{library.internal_api} {library.version}" for library in _libraries()]


@contextmanager
def limit(threads: int) -> Iterator[None]:
    """Let BLAS use at most `threads` threads inside the block."""
    before = [(library, library.get_num_threads()) for library in _libraries()]
    changed = [(library, n) for library, n in before if n and n > threads]
    for library, _ in changed:
        library.set_num_threads(threads)
    try:
        yield
    finally:
        for library, n in changed:
            library.set_num_threads(n)
