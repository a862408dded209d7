"""The parent's side of compiling: children are started, asked, shared, replaced, and never outlive us.

    compile_many([ir, ...], cpu) -> [object, ...]        up to one child for each usable core at once

A child is started at the first miss and kept: the next kernel pays for code generation alone. It sits in a
session of its own, so Ctrl-C does not reach it; an exchange that is interrupted ends its child, because the
pipe may hold half a frame. A child whose parent vanishes reads the end of its input and leaves. After `fork`
the new process forgets its parent's children and starts its own.

Where no child can be started, the same code runs in this process, with LLVM's default options.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from convmat.engine import compiler
from convmat.engine.cpu import Cpu, usable_cores
from convmat.errors import EngineError

# A kernel takes tens of milliseconds; only a stopped or swapped-out child takes minutes.
PATIENCE_SECONDS = 120.0


class _NoChild(Exception):
    """A child could not be started."""


class Child:
    """One compiling process."""

    def __init__(self) -> None:
        folder = llvmlite_folder()
        script = Path(compiler.__file__)
        # A frozen program's `sys.executable` is the program itself: it would start over, again and again.
        if not sys.executable or getattr(sys, "frozen", False) or not script.is_file() or folder is None:
            raise _NoChild("no Python to start")
        self.log = _scratch_file()
        # No site-packages, no environment variables: 25 ms less to start, and nobody's startup files run.
        command = [sys.executable, "-I", "-S", str(script), str(folder)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self.log is None else self.log,
                bufsize=0,
                cwd="/" if os.name == "posix" else None,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _NoChild(str(error)) from error
        assert self.process.stdin is not None and self.process.stdout is not None
        self.source = self.process.stdout.fileno()
        self.sink = self.process.stdin.fileno()
        self.greeted = False

    def ask(self, fields: Sequence[bytes]) -> None:
        """Send a request; its reply is fetched by `reply`."""
        compiler.write(self.sink, compiler.frame(*fields))

    def reply(self, deadline: float) -> list[bytes]:
        """The next reply. Raises: Broken when the child is gone or mute."""

        def read(size: int) -> bytes:
            parts = []
            while size:
                if (
                    os.name != "nt"
                    and not select.select([self.source], [], [], deadline - time.monotonic())[0]
                ):
                    raise compiler.Broken(f"no answer in {PATIENCE_SECONDS:.0f} s")
                part = os.read(self.source, min(size, 1 << 20))
                if not part:
                    raise compiler.Broken("it ended")
                parts.append(part)
                size -= len(part)
            return b"".join(parts)

        if not self.greeted:
            if compiler.unframe(read)[0] != b"ready":
                raise compiler.Broken("it did not greet")
            self.greeted = True
        return compiler.unframe(read)

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End the child now."""
        self.process.kill()
        self.process.wait()
        self.abandon()

    def abandon(self) -> None:
        """Close our ends of its pipes; the child then leaves by itself."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        if self.log is not None:
            os.close(self.log)
            self.log = None

    def last_words(self) -> str:
        """What LLVM printed before it gave up, and how the process ended."""
        code = self.process.wait()
        printed = b""
        if self.log is not None:
            size = os.fstat(self.log).st_size
            printed = os.pread(self.log, 2000, max(0, size - 2000))
        fault = next(
            (line for line in printed.decode(errors="replace").splitlines() if "LLVM ERROR" in line), ""
        )
        return f"{fault or 'no message'} (exit code {code})"


def llvmlite_folder() -> Path | None:
    """The folder that holds the package llvmlite, found without importing it; None when it is not installed."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).parent


@lru_cache(maxsize=1)
def llvm_version() -> str:
    """What identifies LLVM in cache keys, read without importing llvmlite (package metadata takes 30 ms to read)."""
    folder = llvmlite_folder()
    if folder is None:
        return "none"
    package = folder / "llvmlite"
    try:
        text = (package / "_version.py").read_text()
        sizes = [item.stat().st_size for item in sorted((package / "binding").glob("*llvmlite*"))]
    except OSError:
        return "unknown"
    return f"{text}{sizes}"


def _scratch_file() -> int | None:
    """A nameless file for the child's standard error: a pipe nobody reads would block it."""
    try:
        return os.memfd_create("convmat-compiler")
    except (AttributeError, OSError):
        return None


class _Team:
    """The idle children of this process and a count of all."""

    def __init__(self) -> None:
        self.idle: list[Child] = []
        self.busy = 0
        self.changed = threading.Condition()
        self.hopeless = False

    def take(self, wanted: int) -> list[Child]:
        """Between 1 and `wanted` children, waiting for one when all are busy; none when none can be started."""
        limit = usable_cores()
        taken: list[Child] = []
        with self.changed:
            while not taken and not self.hopeless:
                while self.idle and len(taken) < wanted:
                    child = self.idle.pop()
                    if child.alive():
                        taken.append(child)
                    else:
                        child.abandon()
                try:
                    while len(taken) < wanted and self.busy + len(taken) + len(self.idle) < limit:
                        taken.append(Child())
                except _NoChild:
                    self.hopeless = not taken
                if not taken and not self.hopeless:
                    self.changed.wait()
            self.busy += len(taken)
        return taken

    def give_back(self, child: Child, healthy: bool) -> None:
        if not healthy:
            child.kill()
        with self.changed:
            self.busy -= 1
            if healthy:
                self.idle.append(child)
            self.changed.notify()


_team = _Team()


def compile_many(irs: Sequence[str], cpu: Cpu, *, level: int = 2, form: str = "object") -> list[bytes]:
    """Compile modules of LLVM IR at once, as many at a time as this process has cores.

    irs: n texts -> n object files (or, with `form="assembly"`, texts in UTF-8), in the same order.

    Raises: EngineError with LLVM's message.
    """
    if not irs:
        return []
    requests = [
        tuple(field.encode() for field in (ir, cpu.triple, cpu.name, cpu.features, str(level), form))
        for ir in irs
    ]
    children = _team.take(min(len(irs), usable_cores()))
    if not children:
        return [_here(ir, cpu, level, form) for ir in irs]
    return _share_out(requests, children, irs, cpu, level, form)


def _share_out(
    requests: Sequence[Sequence[bytes]],
    children: list[Child],
    irs: Sequence[str],
    cpu: Cpu,
    level: int,
    form: str,
) -> list[bytes]:
    """Keep every child busy with one request until all are answered."""
    results: list[bytes | None] = [None] * len(requests)
    waiting = list(range(len(requests) - 1, -1, -1))
    at_work: dict[Child, int] = {}
    retried: set[int] = set()
    try:
        while waiting or at_work:
            for child in children:
                if waiting and child not in at_work:
                    at_work[child] = waiting.pop()
                    try:
                        child.ask(requests[at_work[child]])
                    except OSError:
                        # It has just left; the missing reply below says so, in one place.
                        pass
            child = _first_to_speak(list(at_work))
            index = at_work[child]
            try:
                status, payload = child.reply(time.monotonic() + PATIENCE_SECONDS)
            except (compiler.Broken, OSError, ValueError) as silence:
                greeted, words = child.greeted, f"{silence}: {_ending(child)}"
                children.remove(child)
                del at_work[child]
                _team.give_back(child, healthy=False)
                if not greeted:
                    # Perhaps no child can live here at all (no llvmlite on its path, no memory): do it ourselves.
                    results[index] = _here(irs[index], cpu, level, form)
                elif index not in retried:
                    # Killed from outside, perhaps; a module that fells LLVM fells the next child as well.
                    retried.add(index)
                    waiting.append(index)
                else:
                    raise EngineError(
                        f"compiler: LLVM gave up on a kernel for {cpu.model}\n  {words}"
                    ) from silence
                if waiting and not children:
                    children.extend(_team.take(1))
                    if not children:
                        for left in waiting:
                            results[left] = _here(irs[left], cpu, level, form)
                        waiting.clear()
                continue
            del at_work[child]
            if status != b"ok":
                raise EngineError(_refused(payload.decode(errors="replace"), cpu))
            results[index] = payload
    finally:
        for child in children:
            # A child that still owes an answer was interrupted: nobody would read its half-written frame.
            _team.give_back(child, healthy=child not in at_work)
    return [result for result in results if result is not None]


def _first_to_speak(children: list[Child]) -> Child:
    """The first child with something to read; the first of all after too long a silence."""
    if os.name == "nt":
        return children[0]
    ready = select.select([child.source for child in children], [], [], PATIENCE_SECONDS)[0]
    return next((child for child in children if child.source in ready), children[0])


def _ending(child: Child) -> str:
    """How a child that will not speak again came to its end."""
    child.process.kill()
    return child.last_words()


def _here(ir: str, cpu: Cpu, level: int, form: str) -> bytes:
    """Compile in this process, whose LLVM options are left alone."""
    try:
        return compiler.generate(ir, cpu.triple, cpu.name, cpu.features, level, form)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(_refused(str(error), cpu)) from error


def _refused(message: str, cpu: Cpu) -> str:
    return f"compiler: LLVM refused a kernel for {cpu.name} ({cpu.model})\n  {message.strip()}"


def close() -> None:
    """End the idle children; the next compilation starts new ones."""
    with _team.changed:
        idle, _team.idle = _team.idle, []
    for child in idle:
        child.kill()


def _after_fork() -> None:
    """In a forked process: the parent's children are not ours; holding their pipes open would keep them alive."""
    global _team
    for child in _team.idle:
        child.process.returncode = 0
        child.abandon()
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
