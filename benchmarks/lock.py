"""One benchmark at a time on a machine: a lock on a file in the temporary folder.

The lock is the system's (`flock`, taken by filelock), so it ends with the process however that ends; the file itself
stays, and says who held it last: filelock leaves its contents alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from convmat.errors import EngineError

POLL_SECONDS = 0.5


def default_path() -> Path:
    """The file that all users of this machine share."""
    return Path(tempfile.gettempdir()) / "convmat-bench.lock"


@contextmanager
def alone(
    path: Path | None = None, *, wait: bool = False, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock inside the block. Without `wait`, raises EngineError if another benchmark has it.

    `waiting` is told once, with who has it, when there is something to wait for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with alone(Path(folder) / "lock"):
    ...         (Path(folder) / "lock").exists()
    True
    """
    if sys.platform == "win32":
        raise EngineError(
            "bench: needs a system with POSIX signals and file locks\n"
            f"  this is {sys.platform}\n  run it on Linux, or on macOS (there without pinning to cores)"
        )
    path = path or default_path()
    # For all users to read and write, so that each can say who has it.
    lock = filelock.FileLock(path, mode=0o666, poll_interval=POLL_SECONDS, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        holder = _holder(path)
        if not wait:
            raise EngineError(
                f"bench: another benchmark runs on this machine\n  {holder}\n"
                "  two at once would measure each other: wait for it, e.g. with --wait"
            ) from None
        if waiting:
            waiting(holder)
        lock.acquire()
    except OSError as error:
        raise EngineError(
            f"bench: the lock file cannot be opened\n  {path}: {error.strerror}\n"
            "  TMPDIR names a folder that can be written to"
        ) from None
    try:
        with path.open("r+") as file:  # which is there: systems refuse to make one where another user's is
            file.truncate()
            file.write(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()[:200] or f"whoever holds {path}"
    except OSError:
        return f"whoever holds {path}"
