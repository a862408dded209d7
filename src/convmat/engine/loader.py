"""Object code in, addresses out: a loader for what kernels are made of.

    ELF64 relocatable file --check, place, relocate--> pages that can be read and run, never written again

Sections placed: code (`.text*`) and constants (`.rodata*`), at their alignment, in one mapping. Relocations:
those by which code reaches its own constants and functions, on x86-64 and AArch64. A kernel that wants
anything else (writable data, a name from outside) is refused with its name.

Every field is checked against the file before it is used: a damaged object is an EngineError, whatever the
damage. (That damaged *code* is not run is the cache's business: it keeps a checksum.)

Tool Interface Standard, Executable and Linking Format, 1995; the psABI supplements of both processors.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from convmat.errors import EngineError

_X86_64, _AARCH64 = 62, 183
_MACHINES = {_X86_64: "x86_64", _AARCH64: "aarch64"}
_ALLOC, _WRITE, _EXEC = 0x2, 0x1, 0x4
_PROGBITS, _SYMTAB, _RELA, _NOBITS, _REL = 1, 2, 4, 8, 9
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
# Far more than any kernel; an object that asks for more is not one of ours.
_MOST = 1 << 28


def _damaged(why: str) -> EngineError:
    return EngineError(
        f"loader: this is not an object of ours: {why}\n  delete it; it will be compiled again"
    )


@dataclass(frozen=True)
class _Section:
    name: bytes
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


@dataclass
class Loaded:
    """Machine code in memory: `symbols[name]` is a function's address. It stays mapped until `close()`."""

    symbols: dict[str, int]
    size: int
    _keep: Any = field(repr=False, default=None)

    def function(self, name: str, restype: Any = None, *argtypes: Any) -> Any:
        """A ctypes function; the GIL is released while it runs."""
        return ctypes.CFUNCTYPE(restype, *argtypes)(self.symbols[name])

    def close(self) -> None:
        """Unmap the code. Nothing may run in it, now or later."""
        self.symbols = {}
        if isinstance(self._keep, _Pages):
            self._keep.release()
        self._keep = None


class _Pages:
    """Anonymous memory: written once, then readable and executable, never both writable and executable."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        # Private and anonymous: a fork gets its own, at the same address.
        libc = _libc()
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        address = libc.mmap(None, self.size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise EngineError(f"loader: no memory for {self.size} bytes of code")
        self.address: int = address

    def seal(self, image: bytes) -> None:
        """Copy `image` in and take the right to write away."""
        ctypes.memmove(self.address, bytes(image), len(image))
        if _libc().mprotect(self.address, self.size, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
            error = ctypes.get_errno()
            self.release()
            raise EngineError(
                f"loader: this system does not let a program run code it made (mprotect: errno {error})\n"
                "  the blas engine needs no such permission"
            )
        _flush(self.address, self.size)

    def release(self) -> None:
        _libc().munmap(self.address, self.size)


@lru_cache(maxsize=1)
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _flush(address: int, size: int) -> None:
    """On Arm the instruction cache does not see stores by itself. (Linux also cleans fresh executable pages.)"""
    if _host_machine() == _AARCH64:
        try:
            clear = ctypes.CDLL("libgcc_s.so.1").__clear_cache
        except (OSError, AttributeError):
            return
        clear(ctypes.c_void_p(address), ctypes.c_void_p(address + size))


@lru_cache(maxsize=1)
def _host_machine() -> int:
    import platform

    return {"x86_64": _X86_64, "amd64": _X86_64, "aarch64": _AARCH64, "arm64": _AARCH64}.get(
        platform.machine().lower(), 0
    )


def load(data: bytes) -> Loaded:
    """Map one object file. data: an ELF64 relocatable file for this machine -> Loaded.

    Raises: EngineError when it is damaged, made for another machine, or needs what a kernel may not need.
    """
    if not sys.platform.startswith("linux"):
        return _through_llvm(data)
    image, symbols, machine = _Object(data).parts()
    if machine != _host_machine():
        raise EngineError(
            f"loader: this object holds {_MACHINES[machine]} code\n  it can be written out, but not run on this machine"
        )
    pages = _Pages(max(1, len(image.data)))
    try:
        image.relocate(pages.address)
    except BaseException:
        pages.release()
        raise
    pages.seal(image.data)
    return Loaded({name: pages.address + at for name, at in symbols.items()}, len(image.data), pages)


def check(data: bytes, base: int = 0x7F0000000000) -> tuple[bytes, dict[str, int]]:
    """What `load` would map at `base`, without mapping it: the relocated image, and the functions' offsets in it."""
    image, symbols, _ = _Object(data).parts()
    image.relocate(base)
    return bytes(image.data), symbols


class _Object:
    """A parsed file; every offset in it has been checked."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) < 64 or len(data) > _MOST or data[:7] != b"\x7fELF\x02\x01\x01":
            raise _damaged("no ELF64 little-endian header")
        kind, self.machine = struct.unpack_from("<HH", data, 16)
        (table,) = struct.unpack_from("<Q", data, 40)
        entry, count, names = struct.unpack_from("<HHH", data, 58)
        if kind != 1 or self.machine not in _MACHINES:
            raise _damaged(f"type {kind}, machine {self.machine}")
        if entry != _SECTION.size or table + entry * count > len(data) or names >= count:
            raise _damaged("its section table lies outside the file")
        raw = [_SECTION.unpack_from(data, table + entry * i) for i in range(count)]
        for _, section_kind, _, _, offset, size, _, _, align, _ in raw:
            inside = section_kind in (0, _NOBITS) or offset + size <= len(data)
            if not inside or size > _MOST or align > 1 << 16 or align & (align - 1):
                raise _damaged(
                    f"a section of {size} bytes at {offset}, alignment {align}, in {len(data)} bytes"
                )
        strings = data[raw[names][4] : raw[names][4] + raw[names][5]]
        self.sections = [
            _Section(_string(strings, name), kind, flags, offset, size, link, info, max(1, align))
            for name, kind, flags, _, offset, size, link, info, align, _ in raw
        ]

    def parts(self) -> tuple[_Image, dict[str, int], int]:
        """The image to map, its functions' offsets, and the machine it is for."""
        places: dict[int, int] = {}
        image = bytearray()
        for index, section in enumerate(self.sections):
            if not section.flags & _ALLOC or not section.size:
                continue
            if section.name.startswith(b".eh_frame"):
                # For exceptions and debuggers; kernels throw nothing.
                continue
            if section.kind != _PROGBITS or section.flags & _WRITE:
                raise EngineError(f"loader: a kernel may hold code and constants only, not {section.name!r}")
            image.extend(bytes(-len(image) % section.align))
            places[index] = len(image)
            image.extend(self.data[section.offset : section.offset + section.size])
        symbols = self._symbols()
        result = _Image(image, self.machine)
        for section in self.sections:
            if section.kind == _REL and section.info in places:
                raise EngineError("loader: relocations without addends are not for this processor")
            if section.kind != _RELA or section.info not in places:
                continue
            if section.size % _RELOCATION.size:
                raise _damaged("a relocation section of odd size")
            target = self.sections[section.info]
            for offset, info, addend in _RELOCATION.iter_unpack(
                self.data[section.offset : section.offset + section.size]
            ):
                number, kind = info >> 32, info & 0xFFFFFFFF
                if number >= len(symbols):
                    raise _damaged(f"a relocation against symbol {number} of {len(symbols)}")
                name, where, value, _ = symbols[number]
                if where not in places:
                    raise EngineError(
                        f"loader: a kernel wants {name.decode(errors='replace')!r}, which it does not hold itself\n"
                        "  kernels call nothing outside: write it in IR, or pass its address as an argument"
                    )
                if offset >= target.size:
                    raise _damaged(f"a relocation at {offset} in a section of {target.size} bytes")
                end = places[section.info] + target.size
                result.fixes.append((places[section.info] + offset, end, kind, places[where] + value, addend))
        functions = {}
        for name, where, value, kind in symbols:
            if kind == 2 and where in places and self.sections[where].flags & _EXEC:
                if value >= self.sections[where].size:
                    raise _damaged(f"function {name!r} lies outside its section")
                functions[name.decode(errors="replace")] = places[where] + value
        return result, functions, self.machine

    def _symbols(self) -> list[tuple[bytes, int, int, int]]:
        """(name, section, value, type) of every symbol."""
        tables = [section for section in self.sections if section.kind == _SYMTAB]
        if len(tables) != 1:
            raise _damaged(f"{len(tables)} symbol tables")
        table = tables[0]
        if table.size % _SYMBOL.size or table.link >= len(self.sections):
            raise _damaged("its symbol table is cut short")
        holder = self.sections[table.link]
        strings = self.data[holder.offset : holder.offset + holder.size] if holder.kind == 3 else b""
        found = []
        for name, info, _, where, value, _ in _SYMBOL.iter_unpack(
            self.data[table.offset : table.offset + table.size]
        ):
            if value > _MOST:
                raise _damaged(f"a symbol at {value}")
            found.append((_string(strings, name), where, value, info & 15))
        return found


def _string(strings: bytes, at: int) -> bytes:
    end = strings.find(b"\0", at)
    if at >= len(strings) or end < 0:
        if at == 0:
            return b""
        raise _damaged(f"a name at {at} of {len(strings)} bytes")
    return strings[at:end]


class _Image:
    """The bytes to map and the places to fix: (offset, end of its section, type, target offset, addend)."""

    def __init__(self, data: bytearray, machine: int) -> None:
        self.data = data
        self.machine = machine
        self.fixes: list[tuple[int, int, int, int, int]] = []

    def relocate(self, base: int) -> None:
        """Fix every place, for an image mapped at `base`."""
        fix = self._x86_64 if self.machine == _X86_64 else self._aarch64
        for offset, end, kind, target, addend in self.fixes:
            if offset + (8 if kind == 1 and self.machine == _X86_64 else 4) > end and kind != 0:
                raise _damaged("a relocation runs over the end of its section")
            if abs(addend) > 1 << 40:
                raise _damaged(f"a relocation with addend {addend}")
            fix(kind, offset, base + target + addend, base + offset)

    def _put(self, layout: str, offset: int, value: int) -> None:
        try:
            struct.pack_into(layout, self.data, offset, value)
        except struct.error as error:
            raise _damaged(f"a relocation's value {value} does not fit") from error

    def _x86_64(self, kind: int, offset: int, target: int, place: int) -> None:
        if kind == 0:
            return
        if kind == 1:  # R_X86_64_64
            self._put("<Q", offset, target)
        elif kind in (2, 4):  # R_X86_64_PC32, R_X86_64_PLT32 (what is called is here: no table is needed)
            self._put("<i", offset, target - place)
        elif kind == 10:  # R_X86_64_32
            self._put("<I", offset, target)
        elif kind == 11:  # R_X86_64_32S
            self._put("<i", offset, target)
        elif kind == 24:  # R_X86_64_PC64
            self._put("<q", offset, target - place)
        else:
            raise EngineError(f"loader: relocation type {kind} of x86-64 is not one that kernels need")

    def _aarch64(self, kind: int, offset: int, target: int, place: int) -> None:
        distance = target - place
        if kind == 0:
            return
        if kind == 257:  # R_AARCH64_ABS64
            self._put("<Q", offset, target)
            return
        if kind == 260:  # R_AARCH64_PREL64
            self._put("<q", offset, distance)
            return
        if kind == 261:  # R_AARCH64_PREL32
            self._put("<i", offset, distance)
            return
        (word,) = struct.unpack_from("<I", self.data, offset)
        if kind == 275:  # R_AARCH64_ADR_PREL_PG_HI21: which 4 KiB page, counted from the instruction's own
            pages = (target >> 12) - (place >> 12)
            if not -(1 << 20) <= pages < 1 << 20:
                raise _damaged(f"a page {pages} pages away")
            word = word & ~0x60FFFFE0 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
        elif kind in _AARCH64_LOW12:  # the place in that page, in units of what is loaded
            scale = _AARCH64_LOW12[kind]
            low = target & 0xFFF
            if low & ((1 << scale) - 1):
                raise _damaged(f"a {1 << scale}-byte load from {low:#x}")
            word = word & ~(0xFFF << 10) | (low >> scale) << 10
        elif kind in (282, 283):  # R_AARCH64_JUMP26, CALL26
            steps = distance >> 2
            if distance & 3 or not -(1 << 25) <= steps < 1 << 25:
                raise _damaged(f"a branch over {distance} bytes")
            word = word & ~0x3FFFFFF | steps & 0x3FFFFFF
        elif kind == 274:  # R_AARCH64_ADR_PREL_LO21
            if not -(1 << 20) <= distance < 1 << 20:
                raise _damaged(f"an address {distance} bytes away")
            word = word & ~0x60FFFFE0 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5
        else:
            raise EngineError(f"loader: relocation type {kind} of AArch64 is not one that kernels need")
        self._put("<I", offset, word)


# ADD and the loads of 1, 2, 4, 8, 16 bytes: the logarithm of their unit.
_AARCH64_LOW12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}


def _through_llvm(data: bytes) -> Loaded:
    """Elsewhere than Linux, LLVM's own loader maps its own kind of object."""
    try:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        engine = llvm.create_mcjit_compiler(
            llvm.parse_assembly(""),
            llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(),
        )
        held = llvm.ObjectFileRef.from_data(data)
        engine.add_object_file(held)
        engine.finalize_object()
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"loader: LLVM cannot load this object\n  {error}") from error
    return Loaded(_Lookup(engine), len(data), (engine, held))


class _Lookup(dict[str, int]):
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
