"""Threads that live in compiled code: a job's tasks are shared out without Python.

    run(fn, args, tasks, threads):   fn(args, index, thread)   for index in 0 .. tasks-1, in any order

`fn` is compiled, `void fn(ptr args, i64 index, i64 thread)`, with `0 <= thread < threads`: scratch for
`threads` threads is enough. The caller works too, as thread 0, and returns when every task is done. `launch`
does the same for a job kept as one block of memory, for 0.3 us less.

Workers are daemon threads that enter compiled code once (`thread_pool_ir`), without the GIL. Idle, they spin for
half a millisecond, then sleep; a caller wakes those its job can use. A caller that finds the pool busy, from
another Python thread, does its job alone. One thread, or one task, wakes nobody.

Neither state nor code is ever unmapped: a worker may be in them until the process ends.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import operator
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from convmat.engine.cpu import Cpu, host, usable_cores
from convmat.engine.runtime import jit_cache, thread_pool_ir
from convmat.errors import EngineError, format_value
from convmat.processes import Lock, run_in_child

if TYPE_CHECKING:
    from convmat.engine.runtime.team import Team

SPIN_SECONDS = 0.5e-3


class Pool:
    """The workers of one process. `futex=False`: they sleep in Python, as they must outside Linux."""

    def __init__(self, cpu: Cpu, futex: bool = True) -> None:
        code = jit_cache.load([thread_pool_ir.pool_ir(cpu.arch)], cpu)[0]
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))
        word, pointer = ctypes.c_int64, ctypes.c_void_p
        self.enter_run = code.function("run", None, pointer, pointer, pointer, word, word)
        self.enter_launch = code.function("launch", None, pointer, pointer)
        self.enter_all = code.function("launch_all", None, pointer, pointer, word)
        self._worker = code.function("worker", word, pointer, word)
        self._stop = code.function("stop", None, pointer)
        self.flush = code.function("flush", word)
        self.set_mode = code.function("set_mode", None, word)
        self.nothing, self.in_turn = code.symbols["nothing"], code.symbols["in_turn"]
        self.state = _memory(thread_pool_ir.STATE_BYTES)
        self.size = 1
        self._threads: list[threading.Thread] = []
        self._beds: list[threading.Semaphore] = []
        self._growing = Lock()
        self._grower = 0
        self._put(thread_pool_ir.CORES, usable_cores())
        self._put(thread_pool_ir.TICKS, int(SPIN_SECONDS * _ticks_a_second(code.function("clock", word))))
        self.futex = futex and sys.platform.startswith("linux")
        if self.futex:
            libc = ctypes.CDLL(None)
            self._put(thread_pool_ir.SYSCALL, ctypes.cast(libc.syscall, pointer).value or 0)
            self._put(thread_pool_ir.FUTEX, thread_pool_ir.FUTEX_NUMBER[cpu.arch])
            if hasattr(libc, "sched_getcpu"):
                self._put(thread_pool_ir.GETCPU, ctypes.cast(libc.sched_getcpu, pointer).value or 0)
                self._put(thread_pool_ir.AFFINITY, thread_pool_ir.AFFINITY_NUMBER[cpu.arch])

    def _put(self, field: int, value: int) -> None:
        ctypes.c_int64.from_address(self.state + field).value = value

    def grow(self, threads: int) -> None:
        """Start workers until `threads` threads (the caller is one) can work; those already there stay."""
        us = threading.get_ident()
        if self._grower == us:  # a signal's handler, amid that: it makes do with those that are there
            return
        with self._growing:
            self._grower = us
            try:
                self._grow(threads)
            finally:
                self._grower = 0

    def _grow(self, threads: int) -> None:
        """Start them, one after the other."""
        while self.size < threads and not _ending:
            number = self.size
            self._beds.append(threading.Semaphore(0))
            thread = threading.Thread(
                target=self._live, args=(number,), name=f"convmat-{number}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                # The system has no thread left for us: counted, not started. No job needs its helpers.
                self.size = threads
                return
            self._threads.append(thread)
            self._put(thread_pool_ir.WORKERS, number)
            self.size += 1

    def _live(self, number: int) -> None:
        """A worker's Python side: into compiled code; out of it to end or, without futexes, to sleep."""
        if hasattr(signal, "pthread_sigmask"):
            # Signals are the callers' business; faults stay, so that a crash is reported.
            faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
        if self.futex:
            bed = thread_pool_ir.ASLEEP + thread_pool_ir.ASLEEP_STRIDE * number
            self._put(bed + thread_pool_ir.THREAD, threading.get_native_id())
        while self._worker(self.state, number) == 1:
            self._beds[number - 1].acquire()

    def wake_in_python(self, tasks: int, threads: int) -> None:
        """Wake the sleeping workers among those a job can use, without futexes."""
        for number in range(1, min(tasks, threads, len(self._threads) + 1)):
            address = self.state + thread_pool_ir.ASLEEP + thread_pool_ir.ASLEEP_STRIDE * number
            asleep = ctypes.c_int32.from_address(address)
            if asleep.value:
                asleep.value = 0
                self._beds[number - 1].release()

    def stop(self, seconds: float = 2.0) -> None:
        """Let the workers end and wait for them. A job in progress is finished by those who are in it."""
        with self._growing:
            self._stop(self.state)
            for bed in self._beds:
                bed.release()
            deadline = time.monotonic() + seconds
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            self._threads = []


def _memory(size: int) -> int:
    """Zeroed memory that outlives the interpreter: at exit a worker may still be reading it."""
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)
    else:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _ticks_a_second(clock: Any) -> float:
    """How fast `clock` counts, from a fifth of a millisecond of it."""
    start, first = time.perf_counter_ns(), clock()
    while time.perf_counter_ns() - start < 200_000:
        pass
    return float((clock() - first) / (time.perf_counter_ns() - start) * 1e9)


_pool: Pool | None = None
_team: Team | None = None
_starting = Lock()
_ending = False
_refused = False  # a pool, to who asked whether there is one
# None until first asked: the cores are counted when they are needed, not at import.
_count: int | None = None


def start(threads: int = 1) -> Pool:
    """The process's pool, made at its first use, with workers for `threads` threads."""
    global _pool
    with _starting:
        if _pool is None:
            made = Pool(host())
            if _pool is None:  # else a signal's handler made one meanwhile
                _pool = made
        pool = _pool
    if threads > pool.size:
        pool.grow(min(threads, thread_pool_ir.MOST_THREADS))
    return pool


def run(fn: int, args: int, tasks: int, threads: int) -> None:
    """Do `fn(args, index, thread)` for each index below `tasks`; returns when all are done.

    fn: address of compiled `void fn(ptr args, i64 index, i64 thread)`, 0 <= thread < threads.
    Ctrl-C during a job is raised after it.

    >>> run(start().nothing, 0, 100, threads=2)
    """
    if _team is not None:
        _team.run(fn, args, tasks, threads)
        return
    pool = _pool
    if pool is None or threads > pool.size:
        pool = start(threads)
    if not pool.futex:
        pool.wake_in_python(tasks, threads)
    pool.enter_run(pool.state, fn, args, tasks, threads)


def launch(block: int) -> None:
    """Run a job that is one block of memory, 64-bit words `fn, tasks, threads, 0`, then whatever `fn` reads.

    block: its address; `fn` is given `block + 32` as `args`.
    """
    if _team is not None:
        _team.launch(block)
        return
    pool = _pool
    if pool is None or _count is None or pool.size < _count:
        pool = start(count())
    if not pool.futex:
        tasks, threads = (ctypes.c_int64.from_address(block + at).value for at in (8, 16))
        pool.wake_in_python(tasks, threads)
    pool.enter_launch(pool.state, block)


def launch_all(blocks: ctypes.Array[ctypes.c_int64]) -> None:
    """The same for several jobs, one after the other: the addresses of their blocks. Python is entered once."""
    if _team is not None:
        for block in blocks:
            _team.launch(block)
        return
    pool = _pool
    if pool is None or _count is None or pool.size < _count:
        pool = start(count())
    if pool.futex:
        pool.enter_all(pool.state, ctypes.addressof(blocks), len(blocks))
        return
    for block in blocks:
        launch(block)


def flush_denormals() -> int | None:
    """Let denormals count as zero in the calling thread, and in others for its jobs; returns what `restore_mode` takes.

    A CPU that leaves denormals to its microcode takes a hundred cycles for each vector that has one. None, and nothing
    is done, where no kernels can run.
    """
    global _refused
    pool = _pool
    if pool is None and _refused:
        return None
    try:
        mode: int = (pool or start()).flush()
        return mode
    except EngineError:
        _refused = True
        return None


def restore_mode(mode: int | None) -> None:
    """Let the calling thread compute with floats as it did before `flush_denormals`."""
    if mode is not None:
        (_pool or start()).set_mode(mode)


def use_team(team: Team | None) -> None:
    """Have jobs done by another runtime's threads from now on, or by our own again; a forked child has its own."""
    global _team
    _team = team


def stop() -> None:
    """End the workers; the next job starts new ones."""
    global _pool
    with _starting:
        pool, _pool = _pool, None
    if pool is not None:
        pool.stop()


def count() -> int:
    """How many threads a job may use now: what `threads` set, else the cores this process may use."""
    global _count
    if _count is None:
        _count = usable_cores()
    return _count


class threads(int):
    """`threads(n)` sets how many threads convmat's jobs use in this process; `threads()` tells it.

    As a context manager it puts back, at the end, the number that was in force before the call:

    >>> import convmat
    >>> before = convmat.threads()
    >>> with convmat.threads(1) as n:
    ...     n, convmat.threads()
    (1, 1)
    >>> convmat.threads() == before
    True

    The default is the number of cores this process may use. More threads than cores are slower, not wrong.
    The number is the process's, not the calling thread's.

    Raises: EngineError when `n` is not a whole number from 1 to 1024.
    """

    _before: int

    def __new__(cls, n: int | None = None) -> threads:
        """Set the number if one is given; the value is the number now in force."""
        global _count
        before = count()
        if n is not None:
            _count = _number(n)
        self = super().__new__(cls, count())
        self._before = before
        return self

    def __enter__(self) -> threads:
        return self

    def __exit__(self, *exception: object) -> None:
        global _count
        _count = self._before

    def __repr__(self) -> str:
        return int.__repr__(self)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)  # a copy is the number: what it was made for has been done


def _number(n: Any) -> int:
    """What `threads` is given, as a number of threads. Raises EngineError."""
    try:
        number = 0 if isinstance(n, bool) else operator.index(n)
    except Exception:  # whatever an object's own `__index__` raises
        number = 0
    if not 1 <= number <= thread_pool_ir.MOST_THREADS:
        raise EngineError(
            f"threads: {format_value(n)} is not a number of threads\n"
            f"  from 1 to {thread_pool_ir.MOST_THREADS}; this process may use {usable_cores()} cores\n"
            "  for example convmat.threads(1)"
        )
    return number


@run_in_child
def _after_fork() -> None:
    """Threads do not survive a fork, and the state may be amid a job: start afresh when needed."""
    global _pool, _team
    _pool = _team = None


def _at_exit() -> None:
    """Call the workers out of compiled code while Python can still receive them."""
    global _ending
    _ending = True
    if _pool is not None:
        _pool.stop()


atexit.register(_at_exit)
