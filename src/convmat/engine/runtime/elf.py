"""Object files: which bytes a kernel puts into memory, and how its references are settled.

    parse(file)          -> Image      sections side by side, at their alignment; no address is known yet
    Image.place(base)    -> bytes      the same, for memory that starts at `base`

Of an ELF64 relocatable file for x86-64 or AArch64, code (`.text*`) and constants (`.rodata*`) are taken. A
reference is a relocation,

    S + A - P  or the like:   S + A what is referred to, P the place that refers to it

and only those are known by which a kernel reaches its own constants and functions. One that wants anything
else (writable data, a name from outside) is refused with its name.

Every field is checked against the file before it is used: a damaged file is an EngineError, whatever the
damage. (That damaged *code* is not run is the cache's business: it keeps a checksum.)

Tool Interface Standard: Executable and Linking Format, 1995; the processors' psABI supplements.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from convmat.errors import EngineError

from ...lazy_dataclass import dataclass

_HEADER = struct.Struct("<7s9xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_MACHINES = {62: "x86_64", 183: "aarch64"}
_NULL, _PROGBITS, _SYMTAB, _STRTAB, _RELA, _NOBITS, _REL = 0, 1, 2, 3, 4, 8, 9
_WRITE, _ALLOC, _EXEC = 1, 2, 4
_FUNCTION = 2
# What mmap guarantees everywhere.
PAGE = 4096
# Far more than any kernel; an object that asks for more is not one of ours.
_MOST = 1 << 28


def _damage_error(why: str) -> EngineError:
    return EngineError(
        f"loader: this is not an object of ours: {why}\n  delete it; it will be compiled again"
    )


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


@dataclass(frozen=True)
class _Symbol:
    name: str
    kind: int
    section: int
    value: int


@dataclass(frozen=True)
class _Reference:
    """A place at `offset` of the image, up to `end` of its section, that refers to `target` in the way `kind`."""

    offset: int
    end: int
    kind: int
    target: int


@dataclass(frozen=True)
class Image:
    """What goes into memory; `functions[name]` is an offset in it."""

    machine: str
    data: bytes
    functions: dict[str, int]
    references: tuple[_Reference, ...]

    def place(self, base: int) -> bytes:
        """The bytes for memory that starts at `base`, a multiple of 4096.

        Raises: EngineError for a reference that is unknown or does not reach.
        """
        data = bytearray(self.data)
        settle = _settle_x86_64 if self.machine == "x86_64" else _settle_aarch64
        for reference in self.references:
            settle(data, reference, base + reference.target, base + reference.offset)
        return bytes(data)


def parse(file: bytes) -> Image:
    """Read and check an object file.

    Raises: EngineError when it is damaged or holds what a kernel may not hold.
    """
    machine, sections = _sections(file)
    places: dict[int, int] = {}
    image = bytearray()
    for index, section in enumerate(sections):
        # Tables for exceptions and debuggers stay out: kernels throw nothing.
        if not section.flags & _ALLOC or not section.size or section.name.startswith(".eh_frame"):
            continue
        if section.kind != _PROGBITS or section.flags & _WRITE:
            raise EngineError(
                f"loader: a kernel holds {section.name!r}, which is neither code nor a constant\n"
                "  whatever it writes must come as an argument"
            )
        image.extend(bytes(-len(image) % section.align))
        places[index] = len(image)
        image.extend(_content(file, section))
    symbols = list(_symbols(file, sections))
    functions = {
        symbol.name: places[symbol.section] + symbol.value
        for symbol in symbols
        if symbol.kind == _FUNCTION and symbol.section in places and sections[symbol.section].flags & _EXEC
    }
    references = tuple(_references(file, sections, symbols, places))
    return Image(machine, bytes(image), functions, references)


def _sections(file: bytes) -> tuple[str, list[_Section]]:
    """The machine and the section table, every extent inside the file."""
    if len(file) < _HEADER.size or len(file) > _MOST:
        raise _damage_error(f"{len(file)} bytes")
    magic, kind, machine, _, _, _, table, _, _, _, _, entry, count, names = _HEADER.unpack_from(file)
    if magic != b"\x7fELF\x02\x01\x01" or kind != 1 or machine not in _MACHINES:
        raise _damage_error("no relocatable ELF64 file for x86-64 or AArch64")
    if entry != _SECTION.size or table + entry * count > len(file) or names >= count:
        raise _damage_error("its section table lies outside")
    raw = list(_SECTION.iter_unpack(file[table : table + entry * count]))
    stored = 0
    for _, kind, _, _, offset, size, _, _, align, _ in raw:
        if size > _MOST or align > PAGE or align & (align - 1):
            raise _damage_error(f"a section of {size} bytes, aligned to {align}")
        if kind not in (_NULL, _NOBITS):
            stored += size
            if offset + size > len(file):
                raise _damage_error(f"a section of {size} bytes at {offset} of {len(file)}")
    # Sections that overlap could make a small file ask for any amount of memory.
    if stored > len(file):
        raise _damage_error("its sections overlap")
    strings = file[raw[names][4] : raw[names][4] + raw[names][5]]
    sections = [
        _Section(_string(strings, name), kind, flags, offset, size, link, info, max(1, align))
        for name, kind, flags, _, offset, size, link, info, align, _ in raw
    ]
    return _MACHINES[machine], sections


def _symbols(file: bytes, sections: list[_Section]) -> Iterator[_Symbol]:
    """The symbol table; a symbol of a section lies inside it."""
    tables = [section for section in sections if section.kind == _SYMTAB]
    if len(tables) != 1 or tables[0].size % _SYMBOL.size or tables[0].link >= len(sections):
        raise _damage_error("no whole symbol table")
    holder = sections[tables[0].link]
    if holder.kind != _STRTAB:
        raise _damage_error("its symbols have no names")
    strings = _content(file, holder)
    for name, info, _, section, value, _ in _SYMBOL.iter_unpack(_content(file, tables[0])):
        if section < len(sections) and value > sections[section].size:
            raise _damage_error(f"a symbol at {value} of {sections[section].size} bytes")
        yield _Symbol(_string(strings, name), info & 15, section, value)


def _references(
    file: bytes, sections: list[_Section], symbols: list[_Symbol], places: dict[int, int]
) -> Iterator[_Reference]:
    """The relocations of all sections that go into memory."""
    for section in sections:
        if section.kind not in (_RELA, _REL) or section.info not in places:
            continue
        if section.kind == _REL or section.size % _RELOCATION.size:
            raise _damage_error("relocations of another form")
        start, size = places[section.info], sections[section.info].size
        for offset, info, addend in _RELOCATION.iter_unpack(_content(file, section)):
            number, kind = info >> 32, info & 0xFFFFFFFF
            if number >= len(symbols) or offset >= size or abs(addend) > _MOST:
                raise _damage_error(f"a relocation at {offset} of {size}, to symbol {number} + {addend}")
            symbol = symbols[number]
            if symbol.section not in places:
                raise EngineError(
                    f"loader: a kernel wants {symbol.name!r}, which is not in it\n"
                    "  kernels call nothing outside: write it in IR, or pass its address as an argument"
                )
            yield _Reference(
                start + offset, start + size, kind, places[symbol.section] + symbol.value + addend
            )


def _content(file: bytes, section: _Section) -> bytes:
    return file[section.offset : section.offset + section.size]


def _string(strings: bytes, at: int) -> str:
    """The zero-terminated name at `at`."""
    end = strings.find(b"\0", at)
    if end < 0:
        raise _damage_error(f"a name at {at} of {len(strings)} bytes")
    return strings[at:end].decode(errors="replace")


def _put(layout: str, data: bytearray, reference: _Reference, value: int) -> None:
    """Write `value`, if it fits its field and the field its section."""
    if reference.offset + struct.calcsize(layout) > reference.end:
        raise _damage_error("a relocation runs over the end of its section")
    try:
        struct.pack_into(layout, data, reference.offset, value)
    except struct.error as error:
        raise _damage_error(f"a reference over {value} bytes does not reach") from error


def _settle_x86_64(data: bytearray, reference: _Reference, target: int, place: int) -> None:
    match reference.kind:
        case 0:  # R_X86_64_NONE
            pass
        case 1:  # R_X86_64_64
            _put("<Q", data, reference, target)
        case 2 | 4:  # R_X86_64_PC32, R_X86_64_PLT32: what is called is here, no table in between is needed
            _put("<i", data, reference, target - place)
        case 10:  # R_X86_64_32
            _put("<I", data, reference, target)
        case 11:  # R_X86_64_32S
            _put("<i", data, reference, target)
        case 24:  # R_X86_64_PC64
            _put("<q", data, reference, target - place)
        case _:
            raise _unknown(reference, "x86-64")


# ADD and the loads and stores of 1, 2, 4, 8, 16 bytes: the logarithm of their unit.
_AARCH64_LOW12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}


def _settle_aarch64(data: bytearray, reference: _Reference, target: int, place: int) -> None:
    distance = target - place
    match reference.kind:
        case 0 | 256:  # R_AARCH64_NONE
            return
        case 257:  # R_AARCH64_ABS64
            _put("<Q", data, reference, target)
            return
        case 260:  # R_AARCH64_PREL64
            _put("<q", data, reference, distance)
            return
        case 261:  # R_AARCH64_PREL32
            _put("<i", data, reference, distance)
            return
    if reference.offset + 4 > reference.end:
        raise _damage_error("a relocation runs over the end of its section")
    (word,) = struct.unpack_from("<I", data, reference.offset)
    match reference.kind:
        case 274:  # R_AARCH64_ADR_PREL_LO21
            word = _adr(word, distance)
        case 275:  # R_AARCH64_ADR_PREL_PG_HI21: which 4 KiB page, counted from the instruction's own
            word = _adr(word, (target >> 12) - (place >> 12))
        case 282 | 283:  # R_AARCH64_JUMP26, R_AARCH64_CALL26
            if distance & 3 or not -(1 << 27) <= distance < 1 << 27:
                raise _damage_error(f"a branch over {distance} bytes does not reach")
            word = word & ~0x3FFFFFF | distance >> 2 & 0x3FFFFFF
        case kind if kind in _AARCH64_LOW12:  # the place in that page, in units of what is loaded there
            unit = _AARCH64_LOW12[kind]
            low = target & 0xFFF
            if low & (1 << unit) - 1:
                raise _damage_error(f"{1 << unit} bytes loaded from {low:#x}")
            word = word & ~(0xFFF << 10) | low >> unit << 10
        case _:
            raise _unknown(reference, "AArch64")
    _put("<I", data, reference, word)


def _adr(word: int, value: int) -> int:
    """An ADR or ADRP instruction with this 21-bit value, whose two lowest bits sit apart."""
    if not -(1 << 20) <= value < 1 << 20:
        raise _damage_error(f"an address {value} away does not reach")
    return word & ~0x60FFFFE0 | (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5


def _unknown(reference: _Reference, machine: str) -> EngineError:
    return EngineError(
        f"loader: relocation type {reference.kind} of {machine} is not one that kernels need\n"
        "  functions and constants that are referred to must be internal or private"
    )
