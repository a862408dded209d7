"""One benchmark at a time on a machine: a lock on a file in the temporary folder.

The lock is the system's (`flock`), so it ends with the process however that ends; the file itself stays, and says who
held it last.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
    import fcntl

    path = path or default_path()
    descriptor = _open(path)
    try:
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(path)
                if not wait:
                    raise EngineError(
                        f"bench: another benchmark runs on this machine\n  {holder}\n"
                        "  two at once would measure each other: wait for it, e.g. with --wait"
                    ) from None
                if waiting and not told:
                    waiting(holder)
                told = True
                time.sleep(POLL_SECONDS)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """The file for reading and writing, made for everyone; for reading alone where it is another user's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise EngineError(
            f"bench: the lock file cannot be opened\n  {path}: {error.strerror}\n"
            "  TMPDIR names a folder that can be written to"
        ) from None
    return descriptor


def _sign(descriptor: int) -> None:
    """Write down who holds the lock. Another user's file can't be written to; the lock holds all the same."""
    text = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:
        return


def _holder(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()[:200] or f"whoever holds {path}"
    except OSError:
        return f"whoever holds {path}"
