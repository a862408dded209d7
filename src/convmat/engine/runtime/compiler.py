"""LLVM IR in, object code out: code generation, and the child process it happens in.

    text --parse, verify--> module --code generation--> ELF object        no optimisation pipeline

LLVM's options belong to a whole process, and its lock to every thread in it. So kernels are compiled in a
process of their own, `python -I -S compiler.py FOLDER` (FOLDER holds llvmlite; `python -m
convmat.engine.runtime.compiler` works too), where `OPTIONS` disturb nobody: the pre-register-allocation scheduler,
which hoists loads until accumulators spill, is off, and so is what rewrites the steps of loops.

This file imports nothing of convmat or NumPy: start-up time is compile time. Both ends speak in frames,

    magic (4 bytes)  count (u32)  count * length (u32)  count * bytes      little-endian

A request is `(ir, triple, cpu, features, level, form)`, all text; `cpu = "native"` means LLVM's own
description of this machine and `form` is `object` or `assembly`. The reply is `("ok", code)` or `("error",
LLVM's message)`. The child greets with `("ready", LLVM's version)`, and leaves when its input ends, or idle
for a minute.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llvmlite.binding import TargetMachine

MAGIC = b"cvm1"
# No loop strength reduction: kernels move their pointers themselves, and what it makes of many of them takes three
# quarters of a depthwise kernel's compilation and up to half of its speed.
OPTIONS = ("-enable-misched=false", "-disable-lsr")
IDLE_SECONDS = 60.0
# Far above any kernel (tens of kilobytes), far below what a confused length field would claim.
LIMIT = 1 << 28


class Broken(Exception):
    """The other end spoke nonsense or fell silent."""


def frame(*fields: bytes) -> bytes:
    """Pack fields into one frame.

    >>> frame(b"ab", b"")
    b'cvm1\\x02\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00ab'
    """
    sizes = struct.pack(f"<4sI{len(fields)}I", MAGIC, len(fields), *map(len, fields))
    return sizes + b"".join(fields)


def unframe(read: Callable[[int], bytes]) -> list[bytes]:
    """Read one frame; `read(size)` gives exactly `size` bytes or raises Broken.

    >>> import io
    >>> unframe(io.BytesIO(frame(b"ab", b"")).read)
    [b'ab', b'']
    """
    magic, count = struct.unpack("<4sI", read(8))
    if magic != MAGIC or count > 16:
        raise Broken(f"bad frame: {magic!r}, {count} fields")
    sizes = struct.unpack(f"<{count}I", read(4 * count))
    if sum(sizes) > LIMIT:
        raise Broken(f"bad frame: {sum(sizes)} bytes")
    return [read(size) for size in sizes]


def reader(descriptor: int) -> Callable[[int], bytes]:
    """Exact reads from a pipe."""

    def read(size: int) -> bytes:
        parts = []
        while size:
            part = os.read(descriptor, min(size, 1 << 20))
            if not part:
                raise Broken("end of input")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    return read


def wait_readable(descriptors: Sequence[int], seconds: float) -> list[int]:
    """The pipes that have something to read (or an end), after waiting for at most `seconds`."""
    if os.name == "nt":
        # Windows cannot wait for pipes: the read that follows waits.
        return list(descriptors[:1])
    # Not select(): that fails in a process with a thousand open files.
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)]


@lru_cache(maxsize=8)
def machine(triple: str, cpu: str, features: str, level: int) -> TargetMachine:
    """LLVM's code generator for one target; an empty `triple` means this process's."""
    import llvmlite.binding as llvm

    if triple:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    else:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
    if cpu == "native":
        cpu = llvm.get_host_cpu_name()
        features = features or llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_triple(triple or llvm.get_process_triple())
    # Position-independent, small model: code reaches its constants relative to itself, wherever it is mapped.
    return target.create_target_machine(cpu, features, opt=level, reloc="pic", codemodel="small")


def generate(ir: str, triple: str, cpu: str, features: str, level: int, form: str = "object") -> bytes:
    """Compile one module in this process. `ir`: LLVM IR text -> an object file, or assembly text in UTF-8.

    Raises: RuntimeError with LLVM's message.
    """
    import llvmlite.binding as llvm

    generator = machine(triple, cpu, features, level)
    module = llvm.parse_assembly(ir)
    try:
        module.verify()
        module.triple = generator.triple
        module.data_layout = str(generator.target_data)
        if form == "assembly":
            return str(generator.emit_assembly(module)).encode()
        return bytes(generator.emit_object(module))
    finally:
        module.close()


def answer_request(fields: Sequence[bytes]) -> bytes:
    """The reply frame to one request."""
    try:
        ir, triple, cpu, features, level, form = (field.decode() for field in fields)
        return frame(b"ok", generate(ir, triple, cpu, features, int(level), form))
    except (RuntimeError, ValueError) as error:
        return frame(b"error", str(error).encode())


def serve(source: int, sink: int) -> None:
    """Greet, then answer requests until the input ends or nothing was asked for `IDLE_SECONDS`."""
    import llvmlite.binding as llvm

    for option in OPTIONS:
        llvm.set_option("convmat", option)
    write(sink, frame(b"ready", ".".join(map(str, llvm.llvm_version_info)).encode()))
    machine("", "native", "", 2)
    read = reader(source)
    while wait_readable([source], IDLE_SECONDS):
        write(sink, answer_request(unframe(read)))


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data` to a pipe."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def main(folder: str | None) -> None:
    """The child's life. Ctrl-C belongs to the parent; whatever LLVM prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.dup(1)
    os.dup2(2, 1)
    if folder:
        sys.path.append(folder)
    with suppress(Broken, BrokenPipeError, ConnectionResetError):
        serve(0, sink)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
