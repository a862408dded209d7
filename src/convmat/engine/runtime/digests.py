"""Digests of much data: of its pieces by several threads, and of these digests.

digest = sha256(length, sha256(piece), sha256(piece), ..)
"""

from __future__ import annotations

import hashlib
import threading
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
    starts = range(0, len(whole), PIECE)
    found = [b""] * len(starts)
    waiting = list(enumerate(starts))

    def work() -> None:
        while waiting:
            try:
                at, start = waiting.pop()
            except IndexError:  # another thread took the last one
                return
            found[at] = hashlib.sha256(whole[start : start + PIECE]).digest()

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
    return hashlib.sha256(b"".join([len(whole).to_bytes(8, "little"), *found])).digest()


__all__ = ["digest"]
