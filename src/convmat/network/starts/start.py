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
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import digest, file_digest, host, jit_cache, object_cache, preloaded, thread_pool
from ...errors import EngineError, NetworkError
from ..reading.held_file import HeldFile
from .recorded import Recorded, fixed_value

HELD_BYTES = 16 << 20
"""A larger model is looked at once its size and times say that something is known of it, and not kept in memory."""

RATE = 1e9
"""Bytes of a recording that are checked a second, at least."""

SHARE = 2
"""How many times as long as its recording's check preparing takes, at least."""

SETTLED_SECONDS = 2.0
"""A large model changed so shortly before is not told from one that changes just now: its times are too coarse."""

SOURCE = ("",)
"""What decides what a network does: all of the package, since few files of it do not."""


class Start:
    """Answers of a network that is not prepared yet, and what is written down for such."""

    def __init__(self, path: Path, about: str) -> None:
        """Raises OSError for a file that cannot be read."""
        self.path, self._about = path, about
        self._cache = jit_cache.recordings()
        self._facts = _facts(path)
        self._hint: bytes | None = None
        self._read: Callable[[], HeldFile | Path] = lambda: path
        self._key: bytes | None = None
        there = self._cache.path.exists()
        if self._facts[0] > HELD_BYTES:
            self._hint = hashlib.sha256(f"{about} large {self._facts}".encode()).digest()
            there = there and self._cache.get(self._hint) is not None
        if self._hint is None:
            held = HeldFile(path, path.read_bytes())
            self._read = lambda: held
            self._key = self._key_of(digest(held.content))
        elif there:
            opened = OpenFile(path)
            self._read = opened.read
            self._key = self._key_of(opened.digest)
        self.known = there and self._key is not None and self._cache.get(self._key) is not None
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
            if platform.system() != "Linux" or not stat.S_ISREG(facts.st_mode):
                return None
            return cls(path, f"start {version} {host()!r} {_choices_state()}")
        except (OSError, ValueError, TypeError):  # who reads it anew says what is wrong
            return None

    def take_file(self) -> Callable[[], HeldFile | Path]:
        """What gives the file as it was read, or where it is to be read; given away once."""
        read, self._read = self._read, lambda: self.path
        return read

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
        spent = self._spent > max(
            (each.seconds for each in self._found.values() if each is not None), default=0.0
        )
        return spent and (self._hint is None or self._is_there())

    def _is_there(self) -> bool:
        """Whether the file is what it was: else its recording is what is left of it."""
        with suppress(OSError):
            return _facts(self.path) == self._facts
        return False

    def keep(
        self,
        given: Mapping[str, Any],
        answer: Mapping[str, Any],
        seconds: float,
        least: int,
        make: Callable[[Mapping[str, Any], Mapping[str, Any], int], bytes | None],
    ) -> None:
        """Write down what is made of a call with these arrays, or that nothing can be, unless one of both is known.

        It is done after the answer, by a thread that the process waits for before it ends. `seconds`: what preparing
        took, `least`: bytes of a recording, `make`: what makes one of these arrays, of so many bytes at most.
        """
        most = min(self._cache.limit // object_cache.LARGEST, int(seconds * RATE / SHARE))
        if least > most or not all(type(x) is np.ndarray for x in (*given.values(), *answer.values())):
            return
        x, y = ({name: array.copy() for name, array in arrays.items()} for arrays in (given, answer))
        threads = thread_pool.count()

        def work() -> None:
            with suppress(OSError, MemoryError):
                key = self._find_key(x)
                if key is not None and thread_pool.count() == threads:
                    self._keep(key, lambda: make(x, y, most), threads)

        run_behind(work)

    def _find_key(self, x: Mapping[str, Any]) -> bytes | None:
        """The key of these arrays; that of a large file is found now, if it is still what it was."""
        if self._key is None:
            settled = time.time() - max(self._facts[-2:]) / 1e9 > SETTLED_SECONDS
            if not settled or _facts(self.path) != self._facts:
                return None
            found = OpenFile(self.path).digest
            if _facts(self.path) != self._facts:
                return None
            self._key = self._key_of(found)
        return self._key_of_arrays(x)

    def _keep(self, key: bytes, make: Callable[[], bytes | None], threads: int) -> None:
        refused = hashlib.sha256(key + b"none").digest()
        if self._cache.get(refused) is not None:
            return
        if self._cache.map(key) is None:  # perhaps it is known by another file's name
            made = make()
            if thread_pool.count() != threads:  # made for another number, or for two
                return
            if made is None:
                self._cache.put(refused, b"none")
                return
            self._cache.put_mapped(key, made)
        for each in filter(None, (self._key, self._hint)):
            self._cache.put(each, b"known")

    def _key_of(self, found: bytes) -> bytes:
        """The key of the file whose digest was found."""
        return hashlib.sha256(self._about.encode() + found).digest()

    def _find(self, x: Any) -> Recorded | None:
        """What is known of arrays of these shapes."""
        key = self._key_of_arrays(x)
        if key is None:
            return None
        if key not in self._found:
            content = self._cache.map(key)
            try:
                self._found[key] = None if content is None else Recorded(content)
            except (EngineError, ValueError, KeyError, IndexError):  # made under rules that no longer hold
                self._found[key] = None
        return self._found[key]

    def _key_of_arrays(self, x: Any) -> bytes | None:
        """32 bytes that tell the arrays of a call from others; None for what is never recorded."""
        named = x if type(x) is dict else {"": x}
        if self._key is None or not all(
            type(name) is str and type(x) is np.ndarray for name, x in named.items()
        ):
            return None
        kinds = [(name, x.shape, x.dtype.str, fixed_value(x)) for name, x in sorted(named.items())]
        alone = len(kinds) == 1  # then its name may be left out
        about = f"{thread_pool.count()} {[kind[alone:] for kind in kinds]}".encode()
        return hashlib.sha256(self._key + about).digest()


class OpenFile:
    """A large file that is read when it is needed, and then must be what it was; one put in its place is not seen."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path, self._descriptor = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.digest = file_digest(self._descriptor, os.fstat(self._descriptor).st_size)

    def read(self) -> HeldFile:
        """What is in it. Raises NetworkError."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            content = file.read()
        if digest(content) != self.digest:
            raise NetworkError(
                f"load: {self.path.name} was written to after it was loaded\n"
                "  the network was to be prepared for these inputs\n  load it again"
            )
        return HeldFile(self.path, content)


def run_behind(work: Callable[[], None]) -> None:
    """Have a thread do this, which the process waits for before it ends; it is not done where there are no more."""
    with suppress(RuntimeError):
        threading.Thread(target=work, name="convmat recorder").start()


def _facts(path: Path) -> tuple[int, ...]:
    """What changes when a file does: its size, what it is on disk, its times."""
    found = os.stat(path)
    return found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


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
