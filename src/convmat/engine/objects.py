"""Kernels by their text: in memory, else brought along, else from disk, else compiled; each at most once.

load([ir, ...], cpu) -> [Loaded, ...]

key = sha256(IR, CPU, LLVM and llvmlite, code generation options, convmat)
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convmat.engine import brought, cache, children, compiler, loader
from convmat.engine.cpu import Cpu
from convmat.engine.loader import Loaded
from convmat.errors import EngineError

# Counts up when objects made by an earlier version must not be used (conventions of arguments, for example).
GENERATION = 1


@dataclass
class Counts:
    """How often each way was taken in this process."""

    memory: int = 0
    disk: int = 0
    compiled: int = 0


counts = Counts()
_loaded: dict[bytes, Loaded] = {}
_being_made: set[bytes] = set()
_changed = threading.Condition()
_disk: cache.ObjectCache | None = None


def key_of(ir: str, cpu: Cpu, level: int = 2) -> bytes:
    """32 bytes that change with anything that could change the code.

    >>> from convmat.engine.cpu import Cpu
    >>> key_of("; a", Cpu.named("x86-64-v3")) == key_of("; a", Cpu.named("x86-64-v4"))
    False
    """
    circumstances = (
        GENERATION, cpu.triple, cpu.key, cpu.name, cpu.features, level, children.llvm_version(),
        compiler.OPTIONS, platform.system(),
    )  # fmt: skip
    digest = hashlib.sha256(repr(circumstances).encode())
    digest.update(ir.encode())
    return digest.digest()


def disk() -> cache.ObjectCache:
    """The cache on disk that `load` uses."""
    global _disk
    if _disk is None:
        _disk = cache.ObjectCache(cache.default_path())
    return _disk


def use_folder(path: Path | None, limit: int = cache.LIMIT_BYTES) -> None:
    """Keep objects in `path` from now on (None: the user's cache folder), and forget those in memory.

    Kernels already handed out stay valid.
    """
    global _disk
    with _changed:
        _disk = cache.ObjectCache(path, limit) if path is not None else None
        _loaded.clear()


def load(irs: Sequence[str], cpu: Cpu, *, level: int = 2) -> list[Loaded]:
    """Machine code for modules of LLVM IR, compiled side by side where it is new.

    irs: n texts -> n Loaded, in the same order; equal texts share one.

    Raises: EngineError when LLVM refuses a module or the system refuses to run code.
    """
    ready = {ir: found for ir in irs if (found := brought.find(ir, cpu)) is not None}
    missing = [ir for ir in irs if ir not in ready]
    made = iter(_load(missing, cpu, level) if missing else ())
    return [ready[ir] if ir in ready else next(made) for ir in irs]


def _load(irs: Sequence[str], cpu: Cpu, level: int) -> list[Loaded]:
    """Those that nobody brought along: in memory, or else made."""
    keys = [key_of(ir, cpu, level) for ir in irs]
    found = [_loaded.get(key) for key in keys]
    result = [one for one in found if one is not None]
    if len(result) == len(irs):
        counts.memory += len(result)
        return result
    texts = dict(zip(keys, irs, strict=True))
    while True:
        with _changed:
            mine = [key for key in texts if key not in _loaded and key not in _being_made]
            if not mine and all(key in _loaded for key in texts):
                return [_loaded[key] for key in keys]
            if not mine:
                # Another thread is making what we need; if it fails, it is ours to make.
                _changed.wait()
                continue
            _being_made.update(mine)
        try:
            _make({key: texts[key] for key in mine}, cpu, level)
        finally:
            with _changed:
                _being_made.difference_update(mine)
                _changed.notify_all()


def _make(texts: dict[bytes, str], cpu: Cpu, level: int) -> None:
    """Load these from disk, or compile, store and load them."""
    store = disk()
    missing = []
    for key in texts:
        data = store.get(key)
        try:
            if data is not None:
                _loaded[key] = loader.load(data)
                counts.disk += 1
                continue
        except EngineError:
            # As it was written, but not loadable: made under rules that no longer hold. Make it again.
            pass
        missing.append(key)
    objects = children.compile_many([texts[key] for key in missing], cpu, level=level)
    for key, data in zip(missing, objects, strict=True):
        # First proof that it loads, then the copy on disk.
        _loaded[key] = loader.load(data)
        counts.compiled += 1
        store.put(key, data)


def code(irs: Sequence[str], cpu: Cpu, *, level: int = 2) -> list[bytes]:
    """The object files themselves, from disk or else compiled: what a file brings along.

    Raises: EngineError when LLVM refuses a module.
    """
    keys = [key_of(ir, cpu, level) for ir in irs]
    found = {key: disk().get(key) for key in keys}
    missing = {key: ir for key, ir in zip(keys, irs, strict=True) if found[key] is None}
    found.update(zip(missing, children.compile_many([*missing.values()], cpu, level=level), strict=True))
    return [found[key] or b"" for key in keys]


def _after_fork() -> None:
    """Another thread of the parent may have held the lock or have been making something; here it is gone."""
    global _changed
    _changed = threading.Condition()
    _being_made.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
