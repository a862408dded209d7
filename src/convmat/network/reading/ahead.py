"""Raw data read from a file by threads of their own, while the onnx package is imported and the rest of it parsed.

    memory = the places of a file side by side, each at a multiple of 64 bytes

Copying from the system's pages holds no lock of the interpreter; both touch each page for the first time, which takes
as long as all of the parsing. Pieces of one place may be read by several threads.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from ..graph import Array
from .wire import Place

PIECE = 8 << 20
"""Bytes that a thread reads at a time."""

LEAST = 1 << 20
"""Bytes that are worth a thread."""

MOST_THREADS = 2
"""Memory is not quicker for more."""


class ReadAhead:
    """The bytes of some places of an open file, which stays open until `close`."""

    def __init__(self, file: int, places: Sequence[Place | None]) -> None:
        self._starts: dict[Place, int] = {}
        size = 0
        for place in places:
            if place is not None and place not in self._starts:
                self._starts[place] = size
                size += room_of(place)
        self._memory = np.empty(size, np.uint8)
        self._short = False
        self._pieces: deque[tuple[int, memoryview]] = deque()
        for (start, stop), to in self._starts.items():
            for at in range(0, stop - start, PIECE):
                long = min(PIECE, stop - start - at)
                self._pieces.append((start + at, self._memory.data[to + at : to + at + long]))
        self._threads: list[threading.Thread] = []
        for _ in range(min(MOST_THREADS, len(self._pieces))):
            thread = threading.Thread(target=self._read, args=(file,), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: those that run do all of it
                if self._threads:
                    break
                raise
            self._threads.append(thread)

    @classmethod
    def start(cls, stream: io.BufferedIOBase, places: Sequence[Place | None]) -> ReadAhead | None:
        """Reading begun; None where there is little, or the stream is no file that may be read at any place."""
        if sum(place[1] - place[0] for place in places if place is not None) < LEAST:
            return None
        if not hasattr(os, "preadv"):
            return None
        try:
            return cls(stream.fileno(), places)
        except (OSError, RuntimeError):  # bytes in memory; no more threads
            return None

    def take(self, place: Place) -> Array | None:
        """The bytes of a place; None where the file became shorter."""
        self.close()
        start = self._starts[place]
        return None if self._short else self._memory[start : start + place[1] - place[0]]

    def close(self) -> None:
        """Wait for all of it."""
        for each in self._threads:
            each.join()

    def _read(self, file: int) -> None:
        try:
            while True:
                start, piece = self._pieces.popleft()
                while piece:
                    count = os.preadv(file, [piece], start)
                    if count <= 0:
                        self._short = True
                        return
                    start, piece = start + count, piece[count:]
        except IndexError:  # nothing is left
            pass
        except OSError:
            self._short = True


def room_of(place: Place) -> int:
    """Bytes for raw data: a multiple of what any element wants to begin at.

    >>> room_of((10, 75))
    128
    """
    return (place[1] - place[0] + 63) // 64 * 64


__all__ = ["ReadAhead", "room_of"]
