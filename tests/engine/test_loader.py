"""Objects into memory: constants and calls reached, everything else refused, nothing believed unchecked."""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
import time
from contextlib import suppress
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convmat import errors
from convmat.engine.cpu import host
from convmat.engine.runtime import compiler, elf, loader

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere LLVM loads objects")

# A vector constant and a scalar one, a table reached by index, calls forwards and backwards.
KERNEL = """
@table = private constant [4 x double] [double 1.5, double 2.5, double 3.5, double 4.5], align 32

define internal i64 @twice(i64 %a) noinline {
  %b = add i64 %a, %a
  ret i64 %b
}

define i64 @four_times(i64 %a) {
  %b = call i64 @twice(i64 %a)
  %c = call i64 @later(i64 %b)
  ret i64 %c
}

define internal i64 @later(i64 %a) noinline {
  %b = call i64 @twice(i64 %a)
  ret i64 %b
}

define double @look_up(i64 %i) {
  %p = getelementptr double, ptr @table, i64 %i
  %v = load double, ptr %p
  %w = fmul double %v, 0x400921FB54442D18
  ret double %w
}

define void @scale(ptr %x) {
  %v = load <8 x float>, ptr %x, align 4
  %w = fmul <8 x float> %v, <float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0, float 8.0>
  store <8 x float> %w, ptr %x, align 4
  ret void
}
"""


@lru_cache
def made(ir: str = KERNEL, triple: str = "", cpu: str = "native") -> bytes:
    return compiler.generate(ir, triple, cpu, "", 2)


@lru_cache
def made_for(arch: str) -> bytes:
    cpu = {"x86_64": "x86-64-v4", "aarch64": "neoverse-n1"}[arch]
    return made(KERNEL, f"{arch}-unknown-linux-gnu", cpu)


def test_a_kernel_reaches_its_constants_and_functions() -> None:
    code = loader.load(made())
    long = ctypes.c_int64
    assert code.function("four_times", long, long)(21) == 84
    look_up = code.function("look_up", ctypes.c_double, long)
    assert [look_up(i) for i in range(4)] == [v * 3.141592653589793 for v in (1.5, 2.5, 3.5, 4.5)]
    x = (ctypes.c_float * 8)(*[1.0] * 8)
    code.function("scale", None, ctypes.c_void_p)(ctypes.addressof(x))
    assert list(x) == [1, 2, 3, 4, 5, 6, 7, 8]
    code.close()


@linux
def test_code_is_never_writable_and_executable() -> None:
    code = loader.load(made())
    assert [rights for low, high, rights in maps() if low <= code.symbols["scale"] < high] == ["r-xp"]
    code.close()


@linux
def test_closing_gives_the_memory_back() -> None:
    code = loader.load(made())
    at = code.symbols["scale"]
    code.close()
    assert code.symbols == {}
    assert not any(low <= at < high for low, high, _ in maps())


def maps() -> list[tuple[int, int, str]]:
    """This process's memory: (first address, end, rights)."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            extent, rights = line.split()[:2]
            low, high = extent.split("-")
            found.append((int(low, 16), int(high, 16), rights))
    return found


@linux
def test_loading_takes_less_than_3_ms() -> None:
    """Of processor time, which a busy machine does not lengthen; a bound with room: what is usual is a tenth of it."""
    times = []
    for _ in range(5):
        start = time.thread_time()
        code = loader.load(made())
        times.append(time.thread_time() - start)
        code.close()
    assert min(times) < 3e-3


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_every_reference_is_settled(arch: str) -> None:
    """What a disassembler would follow: each settled field points where its symbol is."""
    image = elf.parse(made_for(arch))
    assert set(image.functions) == {"twice", "four_times", "later", "look_up", "scale"}
    assert len(image.references) >= 3
    base = 0x7F12_3456_7000
    placed = image.place(base)
    for reference in image.references:
        (word,) = struct.unpack_from("<I", placed, reference.offset)
        place, target = base + reference.offset, base + reference.target
        if arch == "x86_64":
            assert reference.kind in (2, 4)
            (distance,) = struct.unpack_from("<i", placed, reference.offset)
            assert place + distance == target
        elif reference.kind == 275:
            pages = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
            pages -= (pages >> 20) << 21
            assert (place >> 12) + pages == target >> 12
        elif reference.kind in (282, 283):
            steps = word & 0x3FFFFFF
            steps -= (steps >> 25) << 26
            assert place + 4 * steps == target
        else:
            unit = {277: 0, 286: 3, 299: 4}[reference.kind]
            assert (word >> 10 & 0xFFF) << unit == target & 0xFFF


@linux
def test_another_machines_object_is_refused() -> None:
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[host().arch]
    with pytest.raises(errors.EngineError) as error:
        loader.load(made_for(other))
    assert str(error.value) == (
        f"loader: this object holds {other} code, and this machine is {platform.machine()}\n"
        "  compile for this machine: Cpu.named('native')"
    )


@pytest.mark.parametrize(
    ("ir", "message"),
    [
        (
            "declare float @expf(float)\ndefine float @f(float %a) {\n"
            "  %b = call float @expf(float %a)\n  ret float %b\n}\n",
            "loader: a kernel wants 'expf', which is not in it\n"
            "  kernels call nothing outside: write it in IR, or pass its address as an argument",
        ),
        (
            "@count = internal global i64 7\ndefine void @f(i64 %a) {\n  store i64 %a, ptr @count\n  ret void\n}\n",
            "loader: a kernel holds '.data', which is neither code nor a constant\n"
            "  whatever it writes must come as an argument",
        ),
        (
            "@count = internal global i64 0\ndefine void @f(i64 %a) {\n  store i64 %a, ptr @count\n  ret void\n}\n",
            "loader: a kernel holds '.bss', which is neither code nor a constant\n"
            "  whatever it writes must come as an argument",
        ),
    ],
)
def test_what_a_kernel_may_not_hold(ir: str, message: str) -> None:
    with pytest.raises(errors.EngineError) as error:
        elf.parse(made(ir, f"{host().arch}-unknown-linux-gnu", "generic"))
    assert str(error.value) == message


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x7fELF",
        bytes(64),
        b"not an object, but long enough to have been one, if only it had tried harder",
    ],
)
def test_what_is_no_object(file: bytes) -> None:
    with pytest.raises(errors.EngineError, match="this is not an object of ours"):
        elf.parse(file)


def survives(file: bytes) -> None:
    """Parsing and placing either work or are refused, in bounded memory; nothing is run."""
    try:
        image = elf.parse(file)
        placed = image.place(0x7F12_3456_7000)
    except errors.EngineError:
        return
    assert len(placed) <= len(file) + 70_000 * mmap.PAGESIZE // 64
    assert all(0 <= at <= len(placed) for at in image.functions.values())


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_every_truncation_is_survived(arch: str) -> None:
    file = made_for(arch)
    for size in range(len(file)):
        survives(file[:size])


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_survived(arch: str, data: st.DataObject) -> None:
    """Any bytes anywhere, most of all in the tables."""
    file = bytearray(made_for(arch))
    (table,) = struct.unpack_from("<Q", file, 40)
    places = st.one_of(st.integers(0, 63), st.integers(table, len(file) - 1), st.integers(0, len(file) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(places)
        value = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(EXTREMES)))
        file[at : at + len(value)] = value
    survives(bytes(file))


EXTREMES = [
    bytes(8),
    b"\xff" * 8,
    b"\xff" * 4,
    b"\xff" * 2,
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\x7f",
    b"\x01" + bytes(7),
]


@linux
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_object_loads_or_is_refused(data: st.DataObject) -> None:
    """The same through the mapping itself; the code is not run."""
    file = bytearray(made())
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with suppress(errors.EngineError):
        loader.load(bytes(file)).close()


def test_overlapping_sections_do_not_multiply() -> None:
    """A thousand sections that are all the whole file would be a thousand times its memory."""
    file = bytearray(made_for("x86_64"))
    (table,) = struct.unpack_from("<Q", file, 40)
    greedy = struct.pack("<IIQQQQIIQQ", 0, 1, 2, 0, 0, len(file), 0, 0, 1, 0)
    count = 1000
    (old,) = struct.unpack_from("<H", file, 60)
    tables = bytes(file[table : table + 64 * old])
    body = file[:table] + tables + greedy * count
    struct.pack_into("<H", body, 60, old + count)
    with pytest.raises(errors.EngineError, match="its sections overlap"):
        elf.parse(bytes(body))


@linux
def test_a_system_that_forbids_running_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict:
        mmap = loader._libc().mmap
        munmap = loader._libc().munmap

        @staticmethod
        def mprotect(*arguments: object) -> int:
            return -1

    monkeypatch.setattr(loader, "_libc", Strict)
    with pytest.raises(errors.EngineError, match="does not let a program run code it made"):
        loader.load(made())


def test_llvm_loads_the_same_object_elsewhere() -> None:
    """The way of the other systems, on this one."""
    code = loader._through_llvm(made())
    assert code.function("four_times", ctypes.c_int64, ctypes.c_int64)(5) == 20
    with pytest.raises(KeyError):
        code.symbols["no such function"]
    code.close()
