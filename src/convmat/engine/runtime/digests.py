"""Digests of much data: of its pieces by several threads, and of these digests.

digest = sha256(length, sha256(piece), sha256(piece), ..)
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import Any

PIECE = 4 << 20
"""Bytes that a thread takes at a time: 2 ms, a start of a thread takes a fiftieth of it."""

MOST_THREADS = 4


def digest(data: Any) -> bytes:
    """32 bytes that change with the data, which are bytes or memory of bytes.

    >>> digest(b"a") == digest(b"b"), digest(bytes(9 << 20)) == digest(bytearray(9 << 20))
    (False, True)
    """
    whole = memoryview(data)
    return _digest_pieces(len(whole), lambda start: whole[start : start + PIECE])


def file_digest(descriptor: int, size: int) -> bytes:
    """The digest of an open file's first bytes, of which no more than a few pieces are in memory at a time.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     _ = file.write(b"a" * 5_000_000)
    ...     file.flush()
    ...     file_digest(file.fileno(), 5_000_000) == digest(b"a" * 5_000_000)
    True
    """

    def read(start: int) -> bytes:
        try:
            return os.pread(descriptor, min(PIECE, size - start), start)
        except OSError:  # then it is the digest of something else
            return b""

    return _digest_pieces(size, read)


def _digest_pieces(size: int, read: Callable[[int], Any]) -> bytes:
    starts = range(0, size, PIECE)
    found = [b""] * len(starts)
    waiting = list(enumerate(starts))

    def work() -> None:
        while waiting:
            try:
                at, start = waiting.pop()
            except IndexError:  # another thread took the last one
                return
            found[at] = hashlib.sha256(read(start)).digest()

    helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(MOST_THREADS, len(starts)) - 1)]
    started = []
    for each in helpers:
        try:
            each.start()
        except RuntimeError:  # the system has no more: those that run do all of it
            break
        started.append(each)
    work()
    for each in started:
        each.join()
    return hashlib.sha256(b"".join([size.to_bytes(8, "little"), *found])).digest()


__all__ = ["digest", "file_digest"]
