"""Object code in, addresses out: a loader for what kernels are made of.

    object file --check, place (elf.py)--> bytes --map, copy, seal--> addresses of its functions

Memory is writable while the bytes are copied and executable afterwards, never both. It takes 0.3 ms and no
LLVM, so a kernel from the disk cache or a saved network runs in a process that never imports llvmlite.

Outside Linux LLVM's own loader does this, for that system's own kind of object.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
import weakref
from dataclasses import field
from functools import lru_cache
from typing import Any

from convmat.engine.runtime import elf
from convmat.errors import EngineError
from convmat.processes import OfThisProcess

from ...lazy_dataclass import dataclass


@dataclass
class Loaded(OfThisProcess):
    """Machine code in memory: `symbols[name]` is a function's address, as long as this lives, or until `close()`."""

    symbols: dict[str, int]
    size: int
    """Bytes that it takes, whole pages."""
    _keep: Any = field(repr=False, default=None)

    def function(self, name: str, restype: Any = None, *argtypes: Any) -> Any:
        """A ctypes function; the GIL is released while it runs."""
        found: Any = ctypes.CFUNCTYPE(restype, *argtypes)(self.symbols[name])
        found.code = self  # as long as it can be called
        return found

    def close(self) -> None:
        """Unmap the code. Nothing may be running in it, or ever enter it again."""
        self.symbols = {}
        if isinstance(self._keep, _Pages):
            self._keep.release()
        self._keep = None


class _Pages:
    """Anonymous memory: written once, then readable and executable."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        # Private: a forked process gets its own, at the same address.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        address = _libc().mmap(None, self.size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            raise EngineError(f"loader: no memory for {self.size} bytes of code")
        self.address: int = address
        self.release = weakref.finalize(self, _libc().munmap, address, self.size)
        """Give the memory back; done by itself once nobody holds the pages."""
        self.release.atexit = False  # a thread that is still in there keeps it to the end

    def seal(self, data: bytes) -> None:
        """Copy the bytes in and exchange the right to write for the right to execute."""
        ctypes.memmove(self.address, data, len(data))
        if _libc().mprotect(self.address, self.size, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
            raise EngineError(
                f"loader: this system does not let a program run code it made (errno {ctypes.get_errno()})\n"
                "  the blas engine needs no such permission: engine='blas'"
            )
        _flush(self.address, self.size)


@lru_cache(maxsize=1)
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.mprotect.argtypes = [pointer, size, number]
    libc.munmap.argtypes = [pointer, size]
    return libc


def _flush(address: int, size: int) -> None:
    """Clean the instruction cache, which on Arm does not see stores by itself (Linux cleans new executable pages)."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        try:
            clear = ctypes.CDLL("libgcc_s.so.1").__clear_cache
        except (OSError, AttributeError):
            return
        clear(ctypes.c_void_p(address), ctypes.c_void_p(address + size))


def load(file: bytes) -> Loaded:
    """Map one object file. file: an ELF64 relocatable file for this machine -> Loaded.

    Raises: EngineError when it is damaged, made for another machine, or needs what a kernel may not need.
    """
    if not sys.platform.startswith("linux"):
        return _through_llvm(file)
    image = elf.parse(file)
    here = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if image.machine != here:
        raise EngineError(
            f"loader: this object holds {image.machine} code, and this machine is {here}\n"
            "  compile for this machine: Cpu.named('native')"
        )
    pages = _Pages(max(1, len(image.data)))
    try:
        pages.seal(image.place(pages.address))
    except EngineError:
        pages.release()
        raise
    symbols = {name: pages.address + offset for name, offset in image.functions.items()}
    return Loaded(symbols, pages.size, pages)


def _through_llvm(file: bytes) -> Loaded:
    """LLVM's own loader, which knows the other systems' object files."""
    try:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine())
        held = llvm.ObjectFileRef.from_data(file)
        engine.add_object_file(held)
        engine.finalize_object()
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"loader: LLVM cannot load this object\n  {error}") from error
    return Loaded(_SymbolTable(engine), len(file), (engine, held))


class _SymbolTable(dict[str, int]):
    """Addresses asked of LLVM one by one, and remembered."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self._engine = engine

    def __missing__(self, name: str) -> int:
        address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(name)
        self[name] = address
        return address
