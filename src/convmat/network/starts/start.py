"""What earlier processes recorded of a model's file, beside the kernels in the user's cache folder.

    sha256(the file, this package's source, CPU, choices that tuning keeps)     ->  that it was loaded
    sha256(that, threads, shapes and element types of a call's arrays)          ->  a recording, or that there is none

A process that finds them answers its first calls with the recording: it reads no graph, plans nothing and packs
nothing. What calls find out about the machine, and layers computed depth first, are a prepared network's alone; so when
its calls have taken as long as preparing would, the network prepares itself. It does so as well for anything else that
is asked of it, from the bytes that were there when it was loaded.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import digest, host, jit_cache, preloaded, thread_pool
from ...errors import EngineError
from ..reading.held_file import HeldFile
from .recorded import Recorded

MOST_BYTES = 64 << 20
"""A larger model takes longer to read, to tell from others and to pack than all else."""

SOURCE = ("",)
"""What decides what a network does: all of the package, since few files of it do not."""


class Start:
    """Answers of a network that is not prepared yet, and what is written down for such."""

    def __init__(self, file: HeldFile, key: bytes) -> None:
        self.path = file.path
        self._file: HeldFile | None = file
        self._key = key
        self._cache = jit_cache.recordings()
        self.known = self._cache.path.exists() and self._cache.get(key) is not None
        """Whether another process loaded this file, and recorded it."""
        self._found: dict[bytes, Recorded | None] = {}
        self._spent = 0.0

    @classmethod
    def of(cls, source: Any) -> Start | None:
        """That of a file; None where nothing is kept of such: other sources, much data, a process that has onnx."""
        version = _version()
        if version is None or "onnx" in sys.modules or not isinstance(source, str | os.PathLike):
            return None
        try:
            path = Path(source)
            facts = os.stat(path)
            if platform.system() != "Linux" or not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
                return None
            content = path.read_bytes()
        except (OSError, ValueError, TypeError):  # who reads it anew says what is wrong
            return None
        about = f"start {version} {host()!r} {_choices_state()}".encode()
        return cls(HeldFile(path, content), hashlib.sha256(about + digest(content)).digest())

    def take_file(self) -> HeldFile:
        """The file as it was read, given away once."""
        file, self._file = self._file, None
        assert file is not None
        return file

    def answer(self, x: Any) -> dict[str, Any] | None:
        """The outputs by name for an array, or arrays by name, as one was recorded for; otherwise None."""
        recorded = self._find(x)
        given = None if recorded is None else recorded.match(x)
        if recorded is None or given is None:
            return None
        begin = time.perf_counter()
        found = recorded(given)
        self._spent += time.perf_counter() - begin
        return found

    @property
    def over(self) -> bool:
        """Whether its answers took as long as preparing would."""
        return self._spent > max(
            (each.seconds for each in self._found.values() if each is not None), default=0.0
        )

    def keep(self, given: Mapping[str, Any], make: Callable[[], bytes | None]) -> None:
        """Write down what is made of a call with these arrays, or that nothing can be, unless one of both is known."""
        key = self._key_of(given)
        if key is None:
            return
        refused = hashlib.sha256(key + b"none").digest()
        if self._cache.get(refused) is None and self._cache.map(key) is None:
            content = make()
            if content is None:
                self._cache.put(refused, b"none")
            else:
                self._cache.put_mapped(key, content)
                self._cache.put(self._key, b"known")

    def _find(self, x: Any) -> Recorded | None:
        """What is known of arrays of these shapes."""
        key = self._key_of(x)
        if key is None:
            return None
        if key not in self._found:
            content = self._cache.map(key)
            try:
                self._found[key] = None if content is None else Recorded(content)
            except (EngineError, ValueError, KeyError, IndexError):  # made under rules that no longer hold
                self._found[key] = None
        return self._found[key]

    def _key_of(self, x: Any) -> bytes | None:
        """32 bytes that tell the arrays of a call from others; None for what is never recorded."""
        named = x if type(x) is dict else {"": x}
        if not all(type(name) is str and type(array) is np.ndarray for name, array in named.items()):
            return None
        kinds = [(name, named[name].shape, named[name].dtype.str) for name in sorted(named)]
        alone = len(kinds) == 1  # then its name may be left out
        about = f"{thread_pool.count()} {[kind[alone:] for kind in kinds]}".encode()
        return hashlib.sha256(self._key + about).digest()


@lru_cache(maxsize=1)
def _version() -> str | None:
    """What changes with any source of convmat; None where nobody can say what it is that runs."""
    return preloaded.source_state(*SOURCE)


def _choices_state() -> int:
    """What changes when a tuned choice is written."""
    try:
        return os.stat(jit_cache.disk().path.parent / "choices").st_mtime_ns
    except OSError:
        return 0


__all__ = ["Start"]
