"""Kernels that a file brings along: run because its reader trusts who made it, and compiled nowhere.

    name = sha256(this engine's own source, the system, the CPU, what the kernel is made from)

A kernel is made from its text or from a recipe, which says less and is there sooner: one that was brought along is
found without its text ever being written. The source of the engine is in the name because it decides which words a
kernel reads: another version's kernels are not found.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from convmat import errors
from convmat.engine.cpu import Cpu
from convmat.engine.runtime import loader
from convmat.engine.runtime.loader import Loaded
from convmat.errors import EngineError
from convmat.processes import Lock

Kernel = Any
"""The text of a module, or a recipe: a value whose `repr` says all that its text is made from."""

SHAPING = ("product.py", "lazy_dataclass.py", "engine/cpu.py", "engine/operands.py", "engine/job.py", "engine/jit.py",
           "engine/launch.py", "engine/fitting.py", "engine/gaussian.py", "engine/ir", "engine/kernels")  # fmt: skip
"""What shapes a kernel: what writes its text, and what fills in its arguments; rooms whole."""

_PACKAGE = Path(errors.__file__).parent
_IMPORTED = time.time()
_brought: OrderedDict[str, bytes | Loaded] = OrderedDict()
_lock = Lock()

MOST_BYTES = 64 << 20
"""Code of all files together that is kept; beyond it, what was asked for longest ago goes, and compiled if wanted."""


def shaping_files() -> list[Path]:
    """The files of source that decide what a kernel does and which arguments it is given.

    Raises OSError where a room of them is not there.
    """
    found: list[Path] = []
    for name in SHAPING:
        path = _PACKAGE / name
        found += [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
        if not found or not path.exists():
            raise FileNotFoundError(path)
    return found


@lru_cache(maxsize=1)
def version() -> str:
    """What changes with this engine's source and with the system.

    Where the source is not there (a frozen program, compiled files alone), or was written after it was imported, nobody
    can say what it is that runs: then it is another one in each process.
    """
    digest = hashlib.sha256(f"{platform.system()} {sys.byteorder}".encode())
    try:
        for path in shaping_files():
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
            if path.stat().st_mtime > _IMPORTED:
                digest.update(os.urandom(32))
    except OSError:
        digest.update(os.urandom(32))
    return digest.hexdigest()


def source_state(*names: str) -> str | None:
    """What changes when files of source do, or all those below these folders, by their sizes and times: none is read.

    `names` below the package. None where nobody can say what it is that runs: see `version`.
    """
    found: list[tuple[str, int, int]] = []
    try:
        for name in names:
            path = os.path.join(_PACKAGE, name)
            for each in [path] if name.endswith(".py") else _sources(path):
                fact = os.stat(each)
                found.append((each, fact.st_size, fact.st_mtime_ns))
    except OSError:
        return None
    if max((time for *_, time in found), default=0) > _IMPORTED * 1e9:
        return None
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def _sources(folder: str) -> list[str]:
    """The files of source below a folder. Raises OSError."""
    found = []
    with os.scandir(folder) as entries:
        for each in entries:
            if each.name.endswith(".py"):
                found.append(each.path)
            elif "." not in each.name and each.name != "__pycache__" and each.is_dir():
                found += _sources(each.path)
    return found


def kernel_name(kernel: Kernel, cpu: Cpu) -> str:
    """What a kernel for a CPU is called.

    >>> from convmat.engine.cpu import Cpu
    >>> kernel_name("; a", Cpu.named("x86-64-v3")) == kernel_name("; a", Cpu.named("x86-64-v4"))
    False
    """
    code = (cpu.triple, cpu.key, cpu.name, cpu.features, str(cpu.vector_bytes), str(cpu.fma))
    # A text is all of its kernel; a recipe is, together with the source that writes it.
    said = ("", kernel) if isinstance(kernel, str) else (version(), repr(kernel))
    return hashlib.sha256("\0".join((*said, *code, type(kernel).__module__)).encode()).hexdigest()


def add(objects: Mapping[str, bytes]) -> None:
    """Use these object files from now on, each for the kernel of its name: whoever calls this trusts them."""
    with _lock:
        for each, data in objects.items():
            _brought.setdefault(each, data)
            _brought.move_to_end(each)
        size = sum(map(_size, _brought.values()))
        while size > MOST_BYTES and len(_brought) > 1:
            size -= _size(_brought.popitem(last=False)[1])


def _size(kept: bytes | Loaded) -> int:
    return len(kept) if isinstance(kept, bytes) else kept.size


def find(name: str) -> Loaded | None:
    """The kernel of a name that was brought along, ready to run; None where it was not, or cannot be loaded here."""
    with _lock:
        found = _brought.get(name)
        if isinstance(found, bytes):
            try:
                found = _brought[name] = loader.load(found)
            except EngineError:
                _brought.pop(name, None)
                return None
        if found is not None:
            _brought.move_to_end(name)
        return found
