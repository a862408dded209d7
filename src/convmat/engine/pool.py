"""Threads that live in compiled code: a job's tasks are shared out without Python.

    run(fn, args, tasks, threads):   fn(args, index, thread)   for index in 0 .. tasks-1, in any order

`fn` is compiled, `void fn(ptr args, i64 index, i64 thread)`, with `0 <= thread < threads`: scratch for `threads`
threads is enough. The caller works too, as thread 0, and returns when every task is done.

One word, the ticket, holds (limit of threads, tasks left). A thread takes a task by compare-and-swap, ticket
-> ticket - 1; success alone proves that the job is unfinished and its description still stands, so workers
need not be counted in and out, and one that comes late simply finds nothing left. Idle workers spin for half a
millisecond, then sleep, each on a futex of its own; a caller wakes those its job can use. A caller that finds the
pool busy, from another Python thread, does its job alone.

The state and the code are never unmapped: a worker may be in them until the process ends.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import signal
import sys
import threading
import time
from typing import Any

from convmat.engine import objects
from convmat.engine.cpu import Cpu, host, usable_cores
from convmat.errors import EngineError

MOST_THREADS = 1024
SPIN_SECONDS = 0.5e-3

# The state's fields, in bytes, each group on cache lines of its own (pairs of lines: prefetchers fetch two).
TICKET, DONE, WAITER, LOCK, STOP = 0, 128, 132, 256, 384
FN, ARGS, TASKS = 512, 520, 528
SYSCALL, FUTEX, SPIN, WORKERS = 640, 648, 656, 664
ASLEEP, ASLEEP_STRIDE = 1024, 128
STATE_BYTES = ASLEEP + ASLEEP_STRIDE * MOST_THREADS

_FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98}
# How a processor says "I am waiting", and how it tells the time.
_PAUSE = {"x86_64": "call void @llvm.x86.sse2.pause()", "aarch64": "call void @llvm.aarch64.hint(i32 1)"}
_PAUSE_DECLARATION = {
    "x86_64": "declare void @llvm.x86.sse2.pause()",
    "aarch64": "declare void @llvm.aarch64.hint(i32 immarg)",
}
# The cycle counter of x86-64 runs at a constant rate; AArch64's may not be read by programs, its timer may.
_CLOCK = {"x86_64": "llvm.readcyclecounter", "aarch64": "llvm.readsteadycounter"}


def source(arch: str) -> str:
    """The pool as LLVM IR: `run`, `worker`, `clock`, and `nothing` (a task that does nothing).

    >>> "cmpxchg" in source("x86_64")
    True

    Raises: EngineError for a processor it is not written for.
    """
    if arch not in _PAUSE:
        raise EngineError(f"pool: threads are not written for {arch}\n  known: {', '.join(_PAUSE)}")
    values = {
        "PAUSE": _PAUSE[arch], "PAUSE_DECLARATION": _PAUSE_DECLARATION[arch], "CLOCK": _CLOCK[arch],
        "DONE": DONE, "WAITER": WAITER, "LOCK": LOCK, "STOP": STOP, "FN": FN, "ARGS": ARGS, "TASKS": TASKS,
        "SYSCALL": SYSCALL, "FUTEX": FUTEX, "SPIN": SPIN, "WORKERS": WORKERS,
        "ASLEEP_STRIDE": ASLEEP_STRIDE, "ASLEEP": ASLEEP,
    }  # fmt: skip
    text = _IR
    for name, value in values.items():
        text = text.replace(f"${name}$", str(value))
    return text


class Pool:
    """The workers of one process, and the compiled entries. `futex=False`: workers sleep in Python instead."""

    def __init__(self, cpu: Cpu, futex: bool = True) -> None:
        code = objects.load([source(cpu.arch)], cpu)[0]
        word, pointer = ctypes.c_int64, ctypes.c_void_p
        self.entry = code.function("run", None, pointer, pointer, pointer, word, word)
        self.nothing = code.symbols["nothing"]
        self._worker = code.function("worker", word, pointer, word)
        self._stop = code.function("stop", None, pointer)
        self.state = _memory(STATE_BYTES)
        self.size = 1
        self._threads: list[threading.Thread] = []
        self._growing = threading.Lock()
        self._beds: list[threading.Semaphore] = []
        self._ticks = int(SPIN_SECONDS * _ticks_a_second(code.function("clock", word)))
        self._put(SPIN, self._ticks)
        self.futex = futex and sys.platform.startswith("linux")
        if self.futex:
            libc = ctypes.CDLL(None)
            self._put(SYSCALL, ctypes.cast(libc.syscall, pointer).value or 0)
            self._put(FUTEX, _FUTEX_NUMBER[cpu.arch])

    def _put(self, field: int, value: int) -> None:
        ctypes.c_int64.from_address(self.state + field).value = value

    def run(self, fn: int, args: int, tasks: int, threads: int) -> None:
        """Share out one job; see the module's first lines."""
        if threads > self.size:
            self.grow(threads)
        if not self.futex:
            self._wake_in_python(min(threads, tasks, self.size))
        self.entry(self.state, fn, args, tasks, threads)

    def grow(self, threads: int) -> None:
        """Start workers until `threads` threads (the caller is one) can work; those already there stay."""
        with self._growing:
            # More threads than cores: a spinning worker would keep the one with work to do from its core.
            self._put(SPIN, self._ticks if threads <= usable_cores() else 0)
            while self.size < threads:
                number = self.size
                self._beds.append(threading.Semaphore(0))
                thread = threading.Thread(
                    target=self._live, args=(number,), name=f"convmat-{number}", daemon=True
                )
                # Counted even if it cannot be started (limits of the system): a job never needs its helpers.
                self.size += 1
                try:
                    thread.start()
                except RuntimeError:
                    continue
                self._threads.append(thread)
                self._put(WORKERS, number)

    def _live(self, number: int) -> None:
        """A worker's Python side: into compiled code, and out of it to end (or, without futexes, to sleep)."""
        if hasattr(signal, "pthread_sigmask"):
            # Signals are the callers' business; faults stay, so that a crash is reported.
            faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
        while self._worker(self.state, number) == 1:
            self._beds[number - 1].acquire()

    def _wake_in_python(self, helpers: int) -> None:
        for number in range(1, helpers):
            asleep = ctypes.c_int32.from_address(self.state + ASLEEP + ASLEEP_STRIDE * number)
            if asleep.value:
                asleep.value = 0
                self._beds[number - 1].release()

    def stop(self, seconds: float = 2.0) -> None:
        """Let the workers end and wait for them; a job in progress is finished by those who are in it."""
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
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    memory = mmap.mmap(-1, size, **private)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _ticks_a_second(clock: Any) -> float:
    """How fast `clock` counts, from a fifth of a millisecond of it."""
    start, first = time.perf_counter_ns(), clock()
    while time.perf_counter_ns() - start < 200_000:
        pass
    return float((clock() - first) / (time.perf_counter_ns() - start) * 1e9)


_pool: Pool | None = None
_starting = threading.Lock()
_count: int | None = None
_ending = False


def count() -> int:
    """How many threads a job may use now: what `threads` set, or the cores this process may use."""
    global _count
    if _count is None:
        _count = usable_cores()
    return _count


def start() -> Pool:
    """The process's pool, made at its first use."""
    global _pool
    with _starting:
        if _pool is None:
            _pool = Pool(host())
        return _pool


def run(fn: int, args: int, tasks: int, threads: int) -> None:
    """Do `fn(args, index, thread)` for each index below `tasks`, on at most `threads` threads; returns when all are done.

    fn: address of compiled `void fn(ptr args, i64 index, i64 thread)`, 0 <= thread < threads.
    Ctrl-C during a job is raised after it.
    """
    pool = _pool or start()
    if _ending:
        threads = 1
    pool.run(fn, args, tasks, threads)


def stop() -> None:
    """End the workers; the next job starts new ones."""
    global _pool
    with _starting:
        pool, _pool = _pool, None
    if pool is not None:
        pool.stop()


class threads(int):  # noqa: N801 - used as a function, and it is the number it reports
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

    Raises: EngineError when `n` is not a whole number from 1 to 1024.
    """

    _before: int

    def __new__(cls, n: int | None = None) -> threads:
        global _count
        before = count()
        if n is not None:
            if isinstance(n, bool) or not hasattr(n, "__index__") or not 1 <= n.__index__() <= MOST_THREADS:
                raise EngineError(
                    f"threads: {n!r} is not a number of threads\n"
                    f"  from 1 to {MOST_THREADS}; this process may use {usable_cores()} cores\n"
                    "  for example convmat.threads(1)"
                )
            _count = n.__index__()
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


def _after_fork() -> None:
    """Threads do not survive a fork, and the state may be in the middle of a job: start afresh when needed."""
    global _pool, _starting
    _pool, _starting = None, threading.Lock()


def _at_exit() -> None:
    global _ending
    _ending = True
    pool = _pool
    if pool is not None:
        pool.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


_IR = """\
; The ticket: bits 48.. hold the limit of threads, bits 0..47 the tasks left.
$PAUSE_DECLARATION$
declare i64 @$CLOCK$()

define i64 @clock() {
  %now = call i64 @$CLOCK$()
  ret i64 %now
}

define void @nothing(ptr %args, i64 %index, i64 %thread) {
  ret void
}

; Where worker %id says that it sleeps.
define internal ptr @bed(ptr %s, i64 %id) alwaysinline {
  %far = mul i64 %id, $ASLEEP_STRIDE$
  %at = add i64 %far, $ASLEEP$
  %bed = getelementptr i8, ptr %s, i64 %at
  ret ptr %bed
}

; futex(word, FUTEX_WAIT_PRIVATE = 128 | FUTEX_WAKE_PRIVATE = 129, value), through libc's syscall().
define internal void @futex(ptr %s, ptr %word, i32 %operation, i32 %value) {
  %at.call = getelementptr i8, ptr %s, i64 $SYSCALL$
  %call = load ptr, ptr %at.call
  %at.number = getelementptr i8, ptr %s, i64 $FUTEX$
  %number = load i64, ptr %at.number
  %ignored = call i64 (i64, ...) %call(i64 %number, ptr %word, i32 %operation, i32 %value, ptr null, ptr null, i32 0)
  ret void
}

; Take tasks and do them until none is left for %id; returns how many were done.
define internal i64 @drain(ptr %s, i64 %id) {
entry:
  br label %look
look:
  %count = phi i64 [ 0, %entry ], [ %count, %take ], [ %more, %work ]
  %ticket = load atomic i64, ptr %s acquire, align 8
  %left = and i64 %ticket, 281474976710655
  %limit = lshr i64 %ticket, 48
  %some = icmp ne i64 %left, 0
  %allowed = icmp ult i64 %id, %limit
  %mine = and i1 %some, %allowed
  br i1 %mine, label %take, label %out
take:
  %next = add i64 %ticket, -1
  %swap = cmpxchg ptr %s, i64 %ticket, i64 %next acq_rel acquire, align 8
  %won = extractvalue { i64, i1 } %swap, 1
  br i1 %won, label %work, label %look
work:
  %at.fn = getelementptr i8, ptr %s, i64 $FN$
  %fn = load ptr, ptr %at.fn
  %at.args = getelementptr i8, ptr %s, i64 $ARGS$
  %args = load ptr, ptr %at.args
  %at.tasks = getelementptr i8, ptr %s, i64 $TASKS$
  %tasks = load i64, ptr %at.tasks
  %index = sub i64 %tasks, %left
  call void %fn(ptr %args, i64 %index, i64 %id)
  %more = add i64 %count, 1
  br label %look
out:
  ret i64 %count
}

; A worker's life. Returns 0 when told to stop; 1 when idle for long and there is no futex to sleep on.
define i64 @worker(ptr %s, i64 %id) {
entry:
  %bed = call ptr @bed(ptr %s, i64 %id)
  %at.done = getelementptr i8, ptr %s, i64 $DONE$
  %at.waiter = getelementptr i8, ptr %s, i64 $WAITER$
  %at.stop = getelementptr i8, ptr %s, i64 $STOP$
  %at.spin = getelementptr i8, ptr %s, i64 $SPIN$
  %at.number = getelementptr i8, ptr %s, i64 $FUTEX$
  br label %awake
awake:
  store atomic i32 0, ptr %bed seq_cst, align 4
  br label %fresh
fresh:
  %start = call i64 @$CLOCK$()
  br label %try
try:
  %done = call i64 @drain(ptr %s, i64 %id)
  %idle = icmp eq i64 %done, 0
  br i1 %idle, label %spin, label %report
report:
  %done32 = trunc i64 %done to i32
  %before = atomicrmw add ptr %at.done, i32 %done32 seq_cst, align 4
  %waiter = load atomic i32, ptr %at.waiter seq_cst, align 4
  %none = icmp eq i32 %waiter, 0
  br i1 %none, label %fresh, label %call
call:
  call void @futex(ptr %s, ptr %at.done, i32 129, i32 1)
  br label %fresh
spin:
  $PAUSE$
  %stop = load atomic i32, ptr %at.stop acquire, align 4
  %go = icmp eq i32 %stop, 0
  br i1 %go, label %time, label %end
time:
  %now = call i64 @$CLOCK$()
  %spent = sub i64 %now, %start
  %budget = load atomic i64, ptr %at.spin monotonic, align 8
  %enough = icmp ugt i64 %spent, %budget
  br i1 %enough, label %tired, label %try
tired:
  ; First say that we sleep, then look once more: a caller first writes the ticket, then looks who sleeps.
  %old = atomicrmw xchg ptr %bed, i32 1 seq_cst, align 4
  %ticket = load atomic i64, ptr %s seq_cst, align 8
  %left = and i64 %ticket, 281474976710655
  %limit = lshr i64 %ticket, 48
  %some = icmp ne i64 %left, 0
  %allowed = icmp ult i64 %id, %limit
  %mine = and i1 %some, %allowed
  br i1 %mine, label %awake, label %sleep
sleep:
  %stop2 = load atomic i32, ptr %at.stop seq_cst, align 4
  %go2 = icmp eq i32 %stop2, 0
  br i1 %go2, label %how, label %end
how:
  %number = load i64, ptr %at.number
  %none.there = icmp eq i64 %number, 0
  br i1 %none.there, label %leave, label %wait
wait:
  call void @futex(ptr %s, ptr %bed, i32 128, i32 1)
  %still = load atomic i32, ptr %bed seq_cst, align 4
  %woken = icmp eq i32 %still, 0
  br i1 %woken, label %fresh, label %sleep
leave:
  ret i64 1
end:
  store atomic i32 0, ptr %bed seq_cst, align 4
  ret i64 0
}

; Every task on the calling thread.
define internal void @alone(ptr %fn, ptr %args, i64 %tasks) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %tasks
  br i1 %more, label %body, label %out
body:
  call void %fn(ptr %args, i64 %i, i64 0)
  %next = add i64 %i, 1
  br label %loop
out:
  ret void
}

define void @run(ptr %s, ptr %fn, ptr %args, i64 %tasks, i64 %threads) {
entry:
  %at.lock = getelementptr i8, ptr %s, i64 $LOCK$
  %one.task = icmp slt i64 %tasks, 2
  %one.thread = icmp slt i64 %threads, 2
  %many = icmp ugt i64 %tasks, 2147483647
  %a = or i1 %one.task, %one.thread
  %simple = or i1 %a, %many
  br i1 %simple, label %solo, label %lock
lock:
  %swap = cmpxchg ptr %at.lock, i32 0, i32 1 acquire monotonic, align 4
  %won = extractvalue { i32, i1 } %swap, 1
  br i1 %won, label %publish, label %solo
solo:
  call void @alone(ptr %fn, ptr %args, i64 %tasks)
  ret void
publish:
  %at.fn = getelementptr i8, ptr %s, i64 $FN$
  store ptr %fn, ptr %at.fn
  %at.args = getelementptr i8, ptr %s, i64 $ARGS$
  store ptr %args, ptr %at.args
  %at.tasks = getelementptr i8, ptr %s, i64 $TASKS$
  store i64 %tasks, ptr %at.tasks
  %at.done = getelementptr i8, ptr %s, i64 $DONE$
  store atomic i32 0, ptr %at.done monotonic, align 4
  %at.waiter = getelementptr i8, ptr %s, i64 $WAITER$
  store atomic i32 0, ptr %at.waiter monotonic, align 4
  %few = icmp ult i64 %threads, 65535
  %limit = select i1 %few, i64 %threads, i64 65535
  %high = shl i64 %limit, 48
  ; Task 0 is the caller's own: nobody else can take it.
  %rest = add i64 %tasks, -1
  %ticket = or i64 %high, %rest
  store atomic i64 %ticket, ptr %s seq_cst, align 8
  ; Wake those of workers 1 .. min(threads, tasks, workers + 1) - 1 who sleep.
  %at.workers = getelementptr i8, ptr %s, i64 $WORKERS$
  %workers = load atomic i64, ptr %at.workers monotonic, align 8
  %all = add i64 %workers, 1
  %b = icmp ult i64 %all, %limit
  %c = select i1 %b, i64 %all, i64 %limit
  %d = icmp ult i64 %c, %tasks
  %helpers = select i1 %d, i64 %c, i64 %tasks
  br label %who
who:
  %id = phi i64 [ 1, %publish ], [ %id.next, %awake ]
  %somebody = icmp ult i64 %id, %helpers
  br i1 %somebody, label %asleep, label %mine
asleep:
  %bed = call ptr @bed(ptr %s, i64 %id)
  %state = load atomic i32, ptr %bed seq_cst, align 4
  %up = icmp eq i32 %state, 0
  br i1 %up, label %awake, label %rouse
rouse:
  %at.number = getelementptr i8, ptr %s, i64 $FUTEX$
  %number = load i64, ptr %at.number
  %python = icmp eq i64 %number, 0
  br i1 %python, label %awake, label %wake
wake:
  store atomic i32 0, ptr %bed seq_cst, align 4
  call void @futex(ptr %s, ptr %bed, i32 129, i32 1)
  br label %awake
awake:
  %id.next = add i64 %id, 1
  br label %who
mine:
  call void %fn(ptr %args, i64 0, i64 0)
  %count = call i64 @drain(ptr %s, i64 0)
  %count.all = add i64 %count, 1
  %count32 = trunc i64 %count.all to i32
  %before = atomicrmw add ptr %at.done, i32 %count32 seq_cst, align 4
  %tasks32 = trunc i64 %tasks to i32
  %start = call i64 @$CLOCK$()
  br label %check
check:
  %done = load atomic i32, ptr %at.done acquire, align 4
  %finished = icmp eq i32 %done, %tasks32
  br i1 %finished, label %unlock, label %pause
pause:
  $PAUSE$
  %now = call i64 @$CLOCK$()
  %spent = sub i64 %now, %start
  %at.spin = getelementptr i8, ptr %s, i64 $SPIN$
  %budget = load atomic i64, ptr %at.spin monotonic, align 8
  %long = icmp ugt i64 %spent, %budget
  br i1 %long, label %how, label %check
how:
  %at.number2 = getelementptr i8, ptr %s, i64 $FUTEX$
  %number2 = load i64, ptr %at.number2
  %python2 = icmp eq i64 %number2, 0
  br i1 %python2, label %check, label %announce
announce:
  ; First say that we wait, then look: a worker first adds what it has done, then looks who waits.
  store atomic i32 1, ptr %at.waiter seq_cst, align 4
  %so.far = load atomic i32, ptr %at.done seq_cst, align 4
  %finished2 = icmp eq i32 %so.far, %tasks32
  br i1 %finished2, label %unlock, label %wait
wait:
  call void @futex(ptr %s, ptr %at.done, i32 128, i32 %so.far)
  br label %announce
unlock:
  store atomic i32 0, ptr %at.lock release, align 4
  ret void
}

; Tell the workers to leave, and wake all who sleep.
define void @stop(ptr %s) {
entry:
  %at.stop = getelementptr i8, ptr %s, i64 $STOP$
  store atomic i32 1, ptr %at.stop seq_cst, align 4
  %at.number = getelementptr i8, ptr %s, i64 $FUTEX$
  %number = load i64, ptr %at.number
  %none = icmp eq i64 %number, 0
  br i1 %none, label %out, label %begin
begin:
  %at.workers = getelementptr i8, ptr %s, i64 $WORKERS$
  %workers = load atomic i64, ptr %at.workers monotonic, align 8
  br label %who
who:
  %id = phi i64 [ 1, %begin ], [ %next, %wake ]
  %somebody = icmp ule i64 %id, %workers
  br i1 %somebody, label %wake, label %out
wake:
  %bed = call ptr @bed(ptr %s, i64 %id)
  store atomic i32 0, ptr %bed seq_cst, align 4
  call void @futex(ptr %s, ptr %bed, i32 129, i32 1)
  %next = add i64 %id, 1
  br label %who
out:
  ret void
}
"""
