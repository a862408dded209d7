"""Kernels by text or recipe: in memory, else brought along, else from disk, else compiled; each at most once.

load([kernel, ...], cpu, text) -> [Loaded, ...]

    key  = sha256(IR, CPU, LLVM and llvmlite, code generation options, convmat)      of an object on disk
    link = the same of a recipe's name instead of its IR                             of a file that holds such a key

A recipe's name has the engine's own source in it (`preloaded`). So where kernel and engine are those of before no text
is written; where the engine has changed, texts are written again, and what stayed the same is not compiled.
"""

from __future__ import annotations

import hashlib
import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from convmat.engine.cpu import Cpu
from convmat.engine.runtime import compiler, compiler_pool, loader, object_cache, preloaded
from convmat.engine.runtime.loader import Loaded
from convmat.engine.runtime.preloaded import Kernel
from convmat.errors import EngineError
from convmat.processes import Condition, run_in_child

from ...lazy_dataclass import dataclass

# Counts up when objects made by an earlier version must not be used (conventions of arguments, for example).
GENERATION = 1

LEVEL = 2
"""Level of LLVM's code generation, 0 to 3."""

MOST_BYTES = 16 << 20
"""Code that is kept in memory for whoever asks next; beyond it, what was asked for longest ago is left to its users."""

RECORDINGS_BYTES = 1 << 30
"""What networks record at most, all together: weights as kernels read them are in it."""

AHEAD = 2
"""Compiling processes that are started before it is known how many kernels there will be."""

WAIT_SECONDS = 1.0
"""After so long, whoever waits for another thread looks whether that is still there: in a forked child it is not."""

Text = Callable[[Kernel, Cpu], str]
"""Writes the LLVM IR of a kernel."""


@dataclass
class Counts:
    """How often each way was taken in this process."""

    memory: int = 0
    disk: int = 0
    compiled: int = 0


counts = Counts()
_loaded: OrderedDict[str, Loaded] = OrderedDict()
_being_made: dict[str, int] = {}
"""By which thread."""
_changed = Condition()
_disk: object_cache.ObjectCache | None = None


def key_of(ir: str, cpu: Cpu) -> bytes:
    """32 bytes that change with anything that could change the code.

    >>> from convmat.engine.cpu import Cpu
    >>> key_of("; a", Cpu.named("x86-64-v3")) == key_of("; a", Cpu.named("x86-64-v4"))
    False
    """
    circumstances = (
        GENERATION, cpu.triple, cpu.key, cpu.name, cpu.features, LEVEL, compiler_pool.llvm_version(),
        compiler.OPTIONS, platform.system(),
    )  # fmt: skip
    digest = hashlib.sha256(repr(circumstances).encode())
    digest.update(ir.encode())
    return digest.digest()


def disk() -> object_cache.ObjectCache:
    """The cache on disk that `load` uses."""
    global _disk
    if _disk is None:
        _disk = object_cache.ObjectCache(object_cache.default_path())
    return _disk


def recordings() -> object_cache.ObjectCache:
    """The cache on disk of what networks recorded: a folder in that of kernels, with a limit of its own."""
    return object_cache.ObjectCache(disk().path / "recordings", RECORDINGS_BYTES)


def use_folder(path: Path | None, limit: int = object_cache.LIMIT_BYTES) -> None:
    """Keep objects in `path` from now on (None: the user's cache folder), and forget those in memory.

    Kernels already handed out stay valid.
    """
    global _disk
    with _changed:
        _disk = object_cache.ObjectCache(path, limit) if path is not None else None
        _loaded.clear()


def expect_kernels() -> None:
    """Start what compiles if nothing was ever compiled here: it gets ready while others read and plan."""
    if disk().empty:
        compiler_pool.warm(AHEAD)


def _itself(kernel: Kernel, cpu: Cpu) -> str:
    """The text of a kernel that is one."""
    return str(kernel)


def load(
    kernels: Sequence[Kernel], cpu: Cpu, text: Text = _itself, names: Sequence[str] | None = None
) -> list[Loaded]:
    """Machine code of kernels, compiled side by side where it is new.

    n kernels -> n Loaded, in the same order; equal ones share one. `text` writes those that are not found. `names`:
    what they are called, where that is known.

    Raises: EngineError when LLVM refuses a module or the system refuses to run code.
    """
    if names is None:
        names = [preloaded.kernel_name(each, cpu) for each in kernels]
    ready = {name: found for name in names if (found := preloaded.find(name)) is not None}
    wanted = {name: each for name, each in zip(names, kernels, strict=True) if name not in ready}
    counts.memory += sum(name in _loaded for name in wanted)
    while True:
        with _changed:
            ready |= {name: found for name in wanted if (found := _loaded.get(name)) is not None}
            for name in ready.keys() & _loaded.keys():
                with suppress(KeyError):  # a signal's handler may come in between
                    _loaded.move_to_end(name)
            if len(ready) == len({*names}):
                return [ready[name] for name in names]
            # What this very thread is making, it makes again: this is then a signal's handler, amid that.
            us = threading.get_ident()
            mine = [name for name in wanted if name not in ready and _being_made.get(name, us) == us]
            if not mine:
                # Another thread is making what we need; if it fails, it is ours to make.
                _changed.wait(WAIT_SECONDS)
                continue
            _being_made.update(dict.fromkeys(mine, us))
        try:
            ready |= _compile_missing({name: wanted[name] for name in mine}, cpu, text)
        finally:
            with _changed:
                for name in mine:
                    _being_made.pop(name, None)
                _changed.notify_all()


def _compile_missing(kernels: Mapping[str, Kernel], cpu: Cpu, text: Text) -> dict[str, Loaded]:
    """Load these from disk, or compile, store and load them: a text is written while those before are compiled."""
    ready: dict[str, Loaded] = {}
    links = {name: key_of(name, cpu) for name, each in kernels.items() if not isinstance(each, str)}
    keys: dict[str, bytes] = {}
    asked: dict[bytes, None] = {}

    def missing() -> Iterator[str]:
        for name, each in kernels.items():
            linked = disk().get(links[name]) if name in links else None
            found = None if linked is None else _from_disk(linked)
            if found is not None:
                ready[name] = found
                continue
            ir = text(each, cpu)
            key = keys[name] = key_of(ir, cpu)
            found = _from_disk(key)
            if found is not None:
                ready[name] = found
            elif key not in asked:
                asked[key] = None
                yield ir

    objects = compiler_pool.compile_many(missing(), cpu, level=LEVEL)
    made = dict(zip(asked, objects, strict=True))
    for name, key in keys.items():
        if key in made:
            # First proof that it loads, then the copy on disk.
            ready[name] = loader.load(made[key])
            counts.compiled += 1
            disk().put(key, made[key])
        if name in links:
            disk().put(links[name], key)
    _keep(ready)
    return ready


def _keep(made: Mapping[str, Loaded]) -> None:
    """Have these at hand, and let go of what was asked for longest ago."""
    with _changed:
        _loaded.update(made)
        size = sum(each.size for each in _loaded.values())
        while size > MOST_BYTES and len(_loaded) > 1:
            size -= _loaded.popitem(last=False)[1].size


def _from_disk(key: bytes) -> Loaded | None:
    """The object of this key, loaded, if it is there."""
    data = disk().get(key)
    if data is None:
        return None
    try:
        found = loader.load(data)
    except EngineError:  # as it was written, but made under rules that no longer hold: make it again
        return None
    counts.disk += 1
    return found


def load_objects(files: Sequence[bytes]) -> list[Loaded]:
    """Machine code of object files that were made here. Raises EngineError where one cannot be loaded."""
    return [loader.load(each) for each in files]


def functions() -> dict[int, tuple[str, str]]:
    """The functions of kernels in memory by their addresses: of which kernel, and what they are called in it."""
    with _changed:
        loaded = list(_loaded.items())
    return {at: (name, symbol) for name, each in loaded for symbol, at in each.symbols.items()}


def object_of(name: str, cpu: Cpu) -> bytes | None:
    """The object file of a kernel that was made from a recipe of this name, if it is on disk."""
    linked = disk().get(key_of(name, cpu))
    return None if linked is None else disk().get(linked)


def object_files(irs: Sequence[str], cpu: Cpu) -> list[bytes]:
    """The object files themselves, from disk or else compiled: what a file brings along.

    Raises: EngineError when LLVM refuses a module.
    """
    keys = [key_of(ir, cpu) for ir in irs]
    found = {key: disk().get(key) for key in keys}
    missing = {key: ir for key, ir in zip(keys, irs, strict=True) if found[key] is None}
    found.update(zip(missing, compiler_pool.compile_many([*missing.values()], cpu, level=LEVEL), strict=True))
    return [found[key] or b"" for key in keys]


run_in_child(_being_made.clear)  # other threads of the parent are gone
