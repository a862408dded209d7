"""The parent's side of compiling: children are started, asked, shared and replaced, and never outlive us.

    compile_many([ir, ...], cpu) -> [object, ...]        as many at once as there are usable cores

A child is started at the first miss and kept, so the next kernel pays for code generation alone. It sits in
a session of its own, where Ctrl-C does not reach it; an exchange that is interrupted ends its child, because
the pipe may hold half a frame. A child whose parent is gone reads the end of its input and leaves. After
`fork` the new process forgets its parent's children and starts its own.

Where no child can be started, the same code runs in this process, with LLVM's options as they are.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from convmat.engine.cpu import Cpu, usable_cores
from convmat.engine.runtime import compiler
from convmat.errors import EngineError
from convmat.processes import Condition, run_in_child

# A kernel takes tens of milliseconds; a child that computes may take this long where many want the processor.
PATIENCE_SECONDS = 120.0
# How long a child may be silent without computing anything: it is stopped, or frozen.
STALL_SECONDS = 6.0
# After waiting this long for a busy child, another one is started beyond the number of cores.
QUEUE_SECONDS = 5.0


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
        self.log = _nameless_file()
        try:
            self.process = subprocess.Popen(
                # Neither site-packages nor environment variables: a sooner start, and nobody's startup files.
                [sys.executable, "-I", "-S", str(script), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self.log is None else self.log,
                bufsize=0,
                cwd="/" if os.name == "posix" else None,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._close_log()
            raise _NoChild(str(error)) from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.sink = self.process.stdin.fileno()
        self.source = self.process.stdout.fileno()
        self.greeted = False

    def ask(self, fields: Sequence[bytes]) -> None:
        """Send a request. A child that is gone says so in `reply`."""
        with suppress(BrokenPipeError, ConnectionResetError):
            compiler.write(self.sink, compiler.frame(*fields))

    def reply(self) -> list[bytes]:
        """The answer to the request. Raises: compiler.Broken when the child is gone or mute."""
        read = compiler.reader(self.source)

        def patiently(size: int) -> bytes:
            if not first_to_speak([self]):
                raise Stalled("no answer")
            return read(size)

        if not self.greeted:
            compiler.unframe(patiently)
            self.greeted = True
        return compiler.unframe(patiently)

    def state(self) -> tuple[str, str] | None:
        """State as the system tells it: a letter, and how much it has computed; None where that is not known."""
        try:
            facts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return facts[0], " ".join(facts[11:13])

    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """How the process ended, and what LLVM printed before it gave up."""
        code = self._end()
        printed = b""
        if self.log is not None:
            printed = os.pread(self.log, 4000, max(0, os.fstat(self.log).st_size - 4000))
        lines = printed.decode(errors="replace").splitlines()
        fault = next((line for line in lines if "LLVM ERROR" in line), "it printed nothing")
        return f"exit code {code}: {fault}"

    def kill(self) -> None:
        """End the process now."""
        self._end()
        self.abandon()

    def _end(self) -> int | None:
        """End it; its exit code, None where the system keeps it frozen."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(1.0)
        return None

    def abandon(self) -> None:
        """Close our ends of its pipes; the process then leaves by itself."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self._close_log()

    def _close_log(self) -> None:
        if self.log is not None:
            os.close(self.log)
            self.log = None


class Stalled(compiler.Broken):
    """A child neither answers nor computes."""


def first_to_speak(children: Sequence[Child]) -> Child | None:
    """A child with something to read; None once one of them has stalled, or all have been silent for too long."""
    deadline, before = time.monotonic() + PATIENCE_SECONDS, {child: child.state() for child in children}
    still = dict.fromkeys(children, 0)
    while time.monotonic() < deadline:
        spoken = compiler.wait_readable([child.source for child in children], STALL_SECONDS / 3)
        if spoken:
            return next(child for child in children if child.source in spoken)
        for child in children:
            now = child.state()
            still[child] = still[child] + 1 if now is not None and now == before[child] else 0
            before[child] = now
            if still[child] == 3 or (now is not None and now[0] in "Tt"):
                return None
    return None


def _nameless_file() -> int | None:
    """Where a child's standard error goes: a pipe that nobody reads would block it."""
    try:
        return os.memfd_create("convmat-compiler")
    except (AttributeError, OSError):
        return None


def llvmlite_folder() -> Path | None:
    """The folder that holds the package llvmlite, found without importing it; None: not installed."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).parent


@lru_cache(maxsize=1)
def llvm_version() -> str:
    """What tells one LLVM from another in cache keys, without importing it.

    Its package's version file and its library's size: package metadata would take 30 ms to read.
    """
    folder = llvmlite_folder()
    if folder is None:
        return "none"
    try:
        text = (folder / "llvmlite" / "_version.py").read_text()
        sizes = [path.stat().st_size for path in sorted((folder / "llvmlite/binding").glob("*llvmlite*"))]
    except OSError:
        return "unknown"
    return f"{text}{sizes}"


class _Children:
    """The children of this process."""

    def __init__(self) -> None:
        self.all: set[Child] = set()
        self.idle: list[Child] = []
        self.changed = Condition()
        self.hopeless = False

    def take(self, wanted: int, *, patient: bool = True) -> list[Child]:
        """Between 1 and `wanted` children; none when none can be started, or where nobody waits while all are busy."""
        taken: list[Child] = []
        with self.changed:
            limit = usable_cores()
            while not taken and not self.hopeless:
                while self.idle and len(taken) < wanted:
                    child = self.idle.pop()
                    if child.alive():
                        taken.append(child)
                    else:
                        self._remove(child)
                try:
                    while len(taken) < wanted and len(self.all) < limit:
                        child = Child()
                        self.all.add(child)
                        taken.append(child)
                except _NoChild:
                    self.hopeless = not self.all
                if not patient:
                    break
                # Whoever was interrupted between taking a child and using it has kept its place.
                if not taken and not self.hopeless and not self.changed.wait(QUEUE_SECONDS):
                    limit = len(self.all) + 1
        return taken

    def give_back(self, child: Child, healthy: bool) -> None:
        """Keep a child for the next call, or end one whose pipes are in an unknown state."""
        with self.changed:
            if healthy:
                self.idle.append(child)
            else:
                self._remove(child)
            self.changed.notify_all()

    def give_up(self) -> None:
        """Start no more children in this process."""
        if not self.hopeless:
            self.hopeless = True
            warnings.warn(
                "convmat compiles in this process, one kernel after the other: its compiling process was stopped",
                RuntimeWarning,
                stacklevel=2,
            )

    def _remove(self, child: Child) -> None:
        self.all.discard(child)
        child.kill()

    def close(self) -> None:
        """End the idle children."""
        with self.changed:
            while self.idle:
                self._remove(self.idle.pop())


_team = _Children()


def compile_many(irs: Iterable[str], cpu: Cpu, *, level: int = 2, form: str = "object") -> list[bytes]:
    """Compile modules of LLVM IR, as many at once as this process has cores.

    irs: n texts -> n object files (with `form="assembly"` n texts in UTF-8), in the same order. They are asked for one
    by one: while a child compiles one, the next is written.

    Raises: EngineError with LLVM's message.
    """
    return _Batch(((ir, cpu.triple, cpu.name, cpu.features, level, form) for ir in irs), cpu).compile_all()


def warm(children: int = 1) -> None:
    """Start children, as far as there are cores, and wait for none: they are ready when the first IR is written."""
    for child in _team.take(children, patient=False):
        _team.give_back(child, healthy=True)


class _Batch:
    """One call's modules: which are waiting, which child is at which, and what has come back."""

    def __init__(self, requests: Iterator[tuple[str, str, str, str, int, str]], cpu: Cpu) -> None:
        self.coming = requests
        self.requests: list[tuple[str, str, str, str, int, str]] = []
        self.cpu = cpu
        self.waiting: list[int] = []
        self.at_work: dict[Child, int] = {}
        self.results: dict[int, bytes] = {}
        self.retried: set[int] = set()

    def _pending(self) -> bool:
        """Whether a module waits, the next one taken up if none did."""
        if not self.waiting:
            for request in itertools.islice(self.coming, 1):
                self.waiting.append(len(self.requests))
                self.requests.append(request)
        return bool(self.waiting)

    def _hand_out(self, children: list[Child]) -> None:
        """Give each child that has nothing to do a module, and take more of them while modules wait."""
        while self._pending():
            child = next((each for each in children if each not in self.at_work), None)
            if child is None:
                more = _team.take(1, patient=not children)
                children += more
                if not more:
                    return
                child = more[0]
            self.at_work[child] = self.waiting.pop()
            child.ask([str(field).encode() for field in self.requests[self.at_work[child]]])

    def compile_all(self) -> list[bytes]:
        """Compile them all."""
        children: list[Child] = []
        try:
            while self._pending() or self.at_work:
                self._hand_out(children)
                if not children:
                    self._compile_here(self.waiting.pop())
                    continue
                # After too long a silence any: reading will say which it is that has stalled.
                child = first_to_speak([*self.at_work]) or next(iter(self.at_work))
                try:
                    status, payload = child.reply()
                except (compiler.Broken, OSError, ValueError) as silence:
                    children.remove(child)
                    self._give_again(child, silence)
                    continue
                index = self.at_work.pop(child)
                if status != b"ok":
                    raise self._error_of(payload.decode(errors="replace"))
                self.results[index] = payload
        finally:
            for child in children:
                # One that still owes an answer was interrupted; nobody would read it.
                _team.give_back(child, healthy=child not in self.at_work)
        return [self.results[index] for index in range(len(self.requests))]

    def _give_again(self, child: Child, silence: Exception) -> None:
        """A child ended or fell silent in the middle of a module."""
        index = self.at_work.pop(child)
        greeted, words = child.greeted, f"{silence}; {child.last_words()}"
        _team.give_back(child, healthy=False)
        if isinstance(silence, Stalled):
            # Something stops them (a debugger, a frozen group): no further child is tried.
            _team.give_up()
            self._compile_here(index)
        elif not greeted:
            # Perhaps none can live here (its Python cannot import llvmlite, no memory): do it ourselves.
            self._compile_here(index)
        elif index not in self.retried:
            # Ended from outside, perhaps, or idle too long; what fells LLVM fells the next child as well.
            self.retried.add(index)
            self.waiting.append(index)
        else:
            raise self._error_of(words) from silence

    def _compile_here(self, index: int) -> None:
        """Compile one in this process."""
        try:
            self.results[index] = compiler.generate(*self.requests[index])
        except (ImportError, OSError, RuntimeError) as error:
            raise self._error_of(str(error)) from error

    def _error_of(self, message: str) -> EngineError:
        return EngineError(f"compiler: no code for {self.cpu.name} ({self.cpu.model})\n  {message.strip()}")


def close() -> None:
    """End the idle children; the next compilation starts new ones."""
    _team.close()


@run_in_child
def _after_fork() -> None:
    """The parent's children are not ours; to hold their pipes open would keep them alive without it."""
    global _team
    for child in _team.all:
        child.process.returncode = 0
        child.abandon()
    _team = _Children()


atexit.register(close)
