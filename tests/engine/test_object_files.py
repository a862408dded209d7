"""What the loader says of damaged object files: whole texts, one for each thing that may be wrong with one."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convmat.engine.cpu import host
from convmat.engine.runtime import compiler, elf, jit_cache, loader
from convmat.errors import EngineError

X86_64, AARCH64 = 62, 183
TEXT = 1
"""The index of the code's section in `ObjectFile`."""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere LLVM loads objects")


class ObjectFile:
    """A small ELF64 file: code, one relocation in it, a symbol table and names, each field to be changed."""

    def __init__(self, machine: int = X86_64, kind: int = 2, code: bytes = bytes(16)) -> None:
        self.head = {"magic": b"\x7fELF\x02\x01\x01", "kind": 1, "machine": machine, "entry": 64, "names": 4}
        names = b"\0f\0.text\0"
        symbols = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0) + struct.pack("<IBBHQQ", 1, 2, 0, TEXT, 0, 0)
        relocation = struct.pack("<QQq", 4, 1 << 32 | kind, 0)
        self.contents = [b"", code, relocation, symbols, names]
        self.sections: list[dict[str, int]] = [
            {"kind": 0},
            {"kind": 1, "flags": 6, "align": 16, "name": 3},
            {"kind": 4, "info": TEXT},
            {"kind": 2, "link": 4},
            {"kind": 3},
        ]

    @property
    def content(self) -> bytes:
        """The file: head, what the sections hold, their table."""
        body, table = bytearray(64), bytearray()
        for each, held in zip(self.sections, self.contents, strict=True):
            fields = {"offset": len(body), "size": len(held), **each}
            names = ("name", "kind", "flags", "address", "offset", "size", "link", "info", "align", "entry")
            table += struct.pack("<IIQQQQIIQQ", *(fields.get(name, 0) for name in names))
            body += held
        h: dict[str, Any] = {"table": len(body), "count": len(self.sections), **self.head}
        fixed = (h["magic"], h["kind"], h["machine"], 1, 0, 0, h["table"], 0, 64, 0, 0)
        body[:64] = struct.pack("<7s9xHHIQQQIHHHHHH", *fixed, h["entry"], h["count"], h["names"])
        return bytes(body + table)


def relocated(**fields: int) -> Callable[[ObjectFile], None]:
    """Give the relocation other fields: offset, symbol, addend."""
    given = {"offset": 4, "symbol": 1, "addend": 0, **fields}

    def change(file: ObjectFile) -> None:
        (_, info, _) = struct.unpack("<QQq", file.contents[2])
        info = given["symbol"] << 32 | info & 0xFFFFFFFF
        file.contents[2] = struct.pack("<QQq", given["offset"], info, given["addend"])

    return change


def section(index: int, **fields: int) -> Callable[[ObjectFile], None]:
    """Give a section other fields."""
    return lambda file: file.sections[index].update(fields)


def head(**fields: Any) -> Callable[[ObjectFile], None]:
    """Give the head other fields."""
    return lambda file: file.head.update(fields)


def held(index: int, content: bytes) -> Callable[[ObjectFile], None]:
    """Give a section another content."""

    def change(file: ObjectFile) -> None:
        file.contents[index] = content

    return change


OUTSIDE = struct.pack("<IBBHQQ", 1, 2, 0, TEXT, 99, 0)

DAMAGE = [
    (head(magic=b"MZ"), "no relocatable ELF64 file for x86-64 or AArch64"),
    (head(kind=2), "no relocatable ELF64 file for x86-64 or AArch64"),
    (head(machine=3), "no relocatable ELF64 file for x86-64 or AArch64"),
    (head(names=5), "its section table lies outside"),
    (head(entry=63), "its section table lies outside"),
    (head(table=1 << 20), "its section table lies outside"),
    (section(TEXT, align=3), "a section of 16 bytes, aligned to 3"),
    (section(TEXT, size=1 << 29), "a section of 536870912 bytes, aligned to 16"),
    (section(TEXT, offset=1 << 20), "a section of 16 bytes at 1048576 of 481"),
    (section(2, offset=64, size=416), "its sections overlap"),
    (section(3, kind=7), "no whole symbol table"),
    (section(3, link=5), "no whole symbol table"),
    (section(3, size=47), "no whole symbol table"),
    (section(3, link=TEXT), "its symbols have no names"),
    (held(3, OUTSIDE), "a symbol at 99 of 16 bytes"),
    (section(TEXT, name=99), "a name at 99 of 9 bytes"),
    (section(2, kind=9), "relocations of another form"),
    (section(2, size=23), "relocations of another form"),
    (relocated(offset=16), "a relocation at 16 of 16, to symbol 1 + 0"),
    (relocated(symbol=2), "a relocation at 4 of 16, to symbol 2 + 0"),
    (relocated(addend=1 << 29), "a relocation at 4 of 16, to symbol 1 + 536870912"),
]


@pytest.mark.parametrize(("change", "why"), DAMAGE)
def test_what_is_wrong_with_a_file_is_said(change: Callable[[ObjectFile], None], why: str) -> None:
    file = ObjectFile()
    assert elf.parse(file.content).functions == {"f": 0}
    change(file)
    with pytest.raises(EngineError) as error:
        elf.parse(file.content)
    assert str(error.value) == (
        f"loader: this is not an object of ours: {why}\n  delete it; it will be compiled again"
    )


FAR = 0x7F12_3456_7000

REFERENCES = [
    (X86_64, 1, {"offset": 12}, "a relocation runs over the end of its section"),
    (X86_64, 10, {}, f"a reference over {FAR} bytes does not reach"),
    (X86_64, 11, {}, f"a reference over {FAR} bytes does not reach"),
    (AARCH64, 257, {"offset": 9}, "a relocation runs over the end of its section"),
    (AARCH64, 282, {"offset": 13}, "a relocation runs over the end of its section"),
    (AARCH64, 283, {"addend": 1}, "a branch over -3 bytes does not reach"),
    (AARCH64, 282, {"addend": 1 << 28}, f"a branch over {(1 << 28) - 4} bytes does not reach"),
    (AARCH64, 284, {"addend": 5}, "2 bytes loaded from 0x5"),
    (AARCH64, 274, {"addend": (1 << 20) + 4}, f"an address {1 << 20} away does not reach"),
]


@pytest.mark.parametrize(("machine", "kind", "given", "why"), REFERENCES)
def test_references_that_cannot_be_settled(machine: int, kind: int, given: dict[str, int], why: str) -> None:
    file = ObjectFile(machine, kind)
    relocated(**given)(file)
    with pytest.raises(EngineError) as error:
        elf.parse(file.content).place(FAR)
    assert str(error.value) == (
        f"loader: this is not an object of ours: {why}\n  delete it; it will be compiled again"
    )


@pytest.mark.parametrize(("machine", "name"), [(X86_64, "x86-64"), (AARCH64, "AArch64")])
def test_relocations_that_kernels_do_not_need(machine: int, name: str) -> None:
    with pytest.raises(EngineError) as error:
        elf.parse(ObjectFile(machine, 99).content).place(FAR)
    assert str(error.value) == (
        f"loader: relocation type 99 of {name} is not one that kernels need\n"
        "  functions and constants that are referred to must be internal or private"
    )


@linux
def test_a_damaged_object_is_compiled_again_once_it_is_deleted(tmp_path: Path) -> None:
    """What the sentence says to do; the cache, which keeps checksums, does it by itself."""
    text = "define i64 @one() {\n  ret i64 1\n}\n"
    jit_cache.use_folder(tmp_path)
    try:
        jit_cache.load([text], host())
        (kept,) = (path for path in tmp_path.iterdir() if path.stat().st_size > 100)
        kept.unlink()
        jit_cache.use_folder(tmp_path)
        before = jit_cache.counts.compiled
        jit_cache.load([text], host())
        assert jit_cache.counts.compiled == before + 1
        assert kept.exists()
    finally:
        jit_cache.use_folder(None)


class _NoMemory:
    """A system that has none left."""

    @staticmethod
    def mmap(*arguments: object) -> None:
        return None


@linux
def test_no_memory_for_code_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_libc", lambda: _NoMemory)
    with pytest.raises(EngineError) as error:
        loader._Pages(5000)
    assert str(error.value) == "loader: no memory for 8192 bytes of code"


def test_what_llvm_cannot_load_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems other than Linux, which need llvmlite for kernels from disk too."""
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    with pytest.raises(EngineError) as error:
        loader._through_llvm(ObjectFile().content)
    assert str(error.value) == (
        "loader: LLVM cannot load this object\n  import of llvmlite.binding halted; None in sys.modules"
    )


def test_frames_between_processes_that_are_cut_are_said() -> None:
    whole = compiler.frame(b"one", b"two")
    assert compiler.unframe(_reading(whole)) == [b"one", b"two"]
    for damaged, said in (
        (b"MZ" + whole[2:], "bad frame: b'MZm1', 2 fields"),
        (whole[:8] + b"\xff" * (len(whole) - 8), f"bad frame: {2 * 0xFFFFFFFF} bytes"),
    ):
        with pytest.raises(compiler.Broken) as error:
            compiler.unframe(_reading(damaged))
        assert str(error.value) == said


def _reading(data: bytes) -> Callable[[int], bytes]:
    left = [data]

    def read(size: int) -> bytes:
        found, left[0] = left[0][:size], left[0][size:]
        return found

    return read
