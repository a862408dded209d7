"""The pool: every task once, whoever calls, whatever ends or interrupts it."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import convmat
from convmat import errors
from convmat.engine.cpu import host, usable_cores
from convmat.engine.job import HEADER
from convmat.engine.runtime import compiler, elf, jit_cache, thread_pool, thread_pool_ir
from convmat.engine.runtime.loader import Loaded

posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX")

# `mark` adds 1 to word `index` of its arguments' array and notes the largest thread; `busy` takes its time first.
TASKS = """
define void @mark(ptr %args, i64 %index, i64 %thread) {
  %p = getelementptr i64, ptr %args, i64 %index
  %q = getelementptr i64, ptr %p, i64 1
  %old = load i64, ptr %q
  %new = add i64 %old, 1
  store i64 %new, ptr %q
  %ignored = atomicrmw max ptr %args, i64 %thread monotonic
  ret void
}

define void @busy(ptr %args, i64 %index, i64 %thread) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %next = add i64 %i, 1
  %at = getelementptr i64, ptr %args, i64 0
  %ignored = load volatile i64, ptr %at
  %more = icmp ult i64 %next, ROUNDS
  br i1 %more, label %loop, label %out
out:
  call void @mark(ptr %args, i64 %index, i64 %thread)
  ret void
}
"""


def code(rounds: int = 20_000) -> Loaded:
    return jit_cache.load([TASKS.replace("ROUNDS", str(rounds))], host())[0]


# `halve` writes the bits of half the smallest normal number to word `index`, and notes the largest thread.
HALVE = """
define void @halve(ptr %args, i64 %index, i64 %thread) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %next = add i64 %i, 1
  %ignored = load volatile i64, ptr %args
  %more = icmp ult i64 %next, 20000
  br i1 %more, label %loop, label %out
out:
  %p = getelementptr i64, ptr %args, i64 %index
  %q = getelementptr i64, ptr %p, i64 1
  store i32 8388608, ptr %q
  %least = load volatile float, ptr %q
  %half = fmul float %least, 0.5
  %bits = bitcast float %half to i32
  %wide = zext i32 %bits to i64
  store i64 %wide, ptr %q
  %most = atomicrmw max ptr %args, i64 %thread monotonic
  ret void
}
"""


class Board:
    """What tasks write to: the largest thread seen, then how often each task was done."""

    def __init__(self, tasks: int) -> None:
        self.words = (ctypes.c_int64 * (tasks + 1))()
        self.address = ctypes.addressof(self.words)

    @property
    def thread(self) -> int:
        return self.words[0]

    @property
    def done(self) -> list[int]:
        return list(self.words[1:])


@pytest.fixture(params=["futex", "python"])
def crew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[thread_pool.Pool]:
    """A pool of its own for one test, as on Linux and as elsewhere."""
    if request.param == "futex" and not sys.platform.startswith("linux"):
        pytest.skip("futexes are Linux's")
    crew = thread_pool.Pool(host(), futex=request.param == "futex")
    monkeypatch.setattr(thread_pool, "_pool", crew)
    yield crew
    crew.stop()
    assert not [thread for thread in threading.enumerate() if thread in crew._threads]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 7, 64, 1000])
def test_every_task_is_done_once(crew: thread_pool.Pool, tasks: int, threads: int) -> None:
    mark = code().symbols["mark"]
    board = Board(tasks)
    for _ in range(5):
        thread_pool.run(mark, board.address, tasks, threads)
    assert board.done == [5] * tasks
    assert board.thread < threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_job_in_one_block(crew: thread_pool.Pool, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(thread_pool, "_count", threads)
    tasks = 50
    block = (ctypes.c_int64 * (5 + tasks))(code().symbols["mark"], tasks, threads)
    for _ in range(20):
        thread_pool.launch(ctypes.addressof(block))
    assert HEADER == 4 * 8
    assert block[4] < threads
    assert list(block[5:]) == [20] * tasks


def test_workers_do_take_part(crew: thread_pool.Pool) -> None:
    """Not in every job, on a machine that others use: in one of many."""
    busy = code().symbols["busy"]
    for _ in range(2000):
        board = Board(16)
        thread_pool.run(busy, board.address, 16, 3)
        assert board.done == [1] * 16
        if board.thread > 0:
            return
    pytest.fail("no worker took a task in 2000 jobs")


def test_a_job_has_no_more_threads_than_it_has_scratch_for(crew: thread_pool.Pool) -> None:
    busy = code(2000).symbols["busy"]
    crew.grow(8)
    for threads in (1, 2, 3, 8, 2, 1):
        board = Board(100)
        for _ in range(20):
            thread_pool.run(busy, board.address, 100, threads)
        assert board.thread < threads
        assert board.done == [20] * 100


@pytest.mark.parametrize("flushed", [False, True])
def test_workers_take_denormals_as_their_caller_does(crew: thread_pool.Pool, flushed: bool) -> None:
    """Every thread that took part halved the smallest normal number: to a denormal one, or to zero."""
    halve = jit_cache.load([HALVE], host())[0].symbols["halve"]
    crew.grow(2)
    for _ in range(2000):
        board = Board(64)
        mode = thread_pool.flush_denormals()
        if not flushed:
            thread_pool.restore_mode(mode)
        try:
            thread_pool.run(halve, board.address, 64, 2)
        finally:
            thread_pool.restore_mode(mode)
        assert set(board.done) == {0 if flushed else 1 << 22}
        if board.thread > 0:
            break
    else:
        pytest.fail("no worker took a task in 2000 jobs")
    assert np.float32(2.0**-126) * np.float32(0.5) > 0


def test_after_a_sleep_workers_come_back(crew: thread_pool.Pool) -> None:
    busy = code().symbols["busy"]
    crew.grow(4)
    for _ in range(20):
        # Longer than they spin, so that all sleep.
        time.sleep(0.005)
        board = Board(40)
        thread_pool.run(busy, board.address, 40, 4)
        assert board.done == [1] * 40


def test_pauses_of_every_length(crew: thread_pool.Pool) -> None:
    """Around half a millisecond a worker is just going to sleep when it is called."""
    mark = code().symbols["mark"]
    board = Board(6)
    chance = random.Random(1)
    for _ in range(1500):
        until = time.perf_counter() + chance.choice((0.0, 0.0001, 0.0004, 0.0005, 0.0006, 0.001))
        while time.perf_counter() < until:
            pass
        thread_pool.run(mark, board.address, 6, 3)
    assert board.done == [1500] * 6


def test_many_python_threads_call_at_once(crew: thread_pool.Pool) -> None:
    busy = code(500).symbols["busy"]
    failures: list[list[int]] = []

    def call() -> None:
        for tasks in (1, 2, 9, 33) * 50:
            board = Board(tasks)
            thread_pool.run(busy, board.address, tasks, 3)
            if board.done != [1] * tasks or board.thread >= 3:
                failures.append(board.done)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures


def test_stopping_in_the_middle_of_calls(crew: thread_pool.Pool) -> None:
    """Callers finish what workers leave; the next job gets workers again."""
    busy = code(500).symbols["busy"]
    ended = threading.Event()
    wrong: list[list[int]] = []

    def call() -> None:
        while not ended.is_set():
            board = Board(9)
            thread_pool.run(busy, board.address, 9, 3)
            if board.done != [1] * 9:
                wrong.append(board.done)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(5):
        time.sleep(0.02)
        thread_pool.stop()
    ended.set()
    for caller in callers:
        caller.join(60)
    assert not wrong
    thread_pool.stop()


def test_a_machine_without_threads_left(crew: thread_pool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        board = Board(10)
        thread_pool.run(code().symbols["mark"], board.address, 10, 4)
    assert board.done == [1] * 10


def test_one_core_has_no_workers(crew: thread_pool.Pool) -> None:
    board = Board(10)
    thread_pool.run(code().symbols["mark"], board.address, 10, 1)
    assert crew.size == 1
    assert board.done == [1] * 10


def test_threads_reports_sets_and_restores() -> None:
    before = convmat.threads()
    with convmat.threads(3) as three:
        assert three == 3
        assert (thread_pool.count(), convmat.threads(), repr(three)) == (3, 3, "3")
        with convmat.threads(1):
            assert thread_pool.count() == 1
            convmat.threads(2)
            assert thread_pool.count() == 2
        assert thread_pool.count() == 3
    assert convmat.threads() == before
    convmat.threads(5)
    assert thread_pool.count() == 5
    convmat.threads(before)
    assert thread_pool.count() == before


def test_threads_restores_after_an_error() -> None:
    before = convmat.threads()
    with pytest.raises(ZeroDivisionError), convmat.threads(3):
        _ = 1 / 0
    assert convmat.threads() == before


@pytest.mark.parametrize("n", [0, -1, 1025, 2.0, "2", True, np.array([1, 1])])
def test_what_is_no_number_of_threads(n: object) -> None:
    before = convmat.threads()
    with pytest.raises(errors.EngineError) as error:
        convmat.threads(n)  # type: ignore[arg-type]
    cores = usable_cores()
    assert str(error.value) == (
        f"threads: {n!r} is not a number of threads\n"
        f"  from 1 to 1024; this process may use {cores} cores\n"
        "  for example convmat.threads(1)"
    )
    assert convmat.threads() == before
    with convmat.threads(1):
        pass


def test_an_unknown_processor_is_a_sentence() -> None:
    with pytest.raises(errors.EngineError) as error:
        thread_pool_ir.pool_ir("pdp11")
    assert str(error.value) == (
        "pool: threads are not written for pdp11\n"
        "  known: x86_64, aarch64\n"
        "  the blas engine runs everywhere: engine='blas'"
    )


def test_the_pool_assembles_for_aarch64() -> None:
    object_file = compiler.generate(
        thread_pool_ir.pool_ir("aarch64"), "aarch64-unknown-linux-gnu", "neoverse-n1", "", 2
    )
    image = elf.parse(object_file)
    image.place(1 << 20)
    assert {"run", "launch", "worker", "stop", "clock", "nothing"} <= set(image.functions)


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_both_processes_work() -> None:
    busy = code().symbols["busy"]
    board = Board(30)
    thread_pool.run(busy, board.address, 30, 3)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            mine = Board(30)
            for _ in range(20):
                thread_pool.run(busy, mine.address, 30, 3)
            status = 0 if mine.done == [20] * 30 else 2
        finally:
            os._exit(status)
    for _ in range(20):
        thread_pool.run(busy, board.address, 30, 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert board.done == [21] * 30


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_another_threads_job() -> None:
    """The state is copied locked, with a job half done; the new process does not look at it."""
    long = code(20_000_000).symbols["busy"]
    mark = code().symbols["mark"]
    board = Board(4)
    other = threading.Thread(target=thread_pool.run, args=(long, board.address, 4, 2))
    other.start()
    time.sleep(0.01)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            mine = Board(8)
            thread_pool.run(mark, mine.address, 8, 2)
            status = 0 if mine.done == [1] * 8 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    other.join(60)
    assert board.done == [1] * 4


def in_a_process(text: str, timeout: float = 60.0, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a program that begins as these tests do."""
    start = (
        "import atexit, ctypes, os, signal, sys, threading, time\n"
        "from convmat.engine.runtime import jit_cache, thread_pool\nfrom convmat.engine.cpu import host\n"
        f"TASKS = {TASKS!r}\n"
        "def code(rounds=20_000):\n"
        "    return jit_cache.load([TASKS.replace('ROUNDS', str(rounds))], host())[0].symbols\n"
        "words = (ctypes.c_int64 * 101)()\n"
        "board = ctypes.addressof(words)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", start + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )


EXITS = {
    "right after a job": "thread_pool.run(code()['busy'], board, 100, 4)",
    "with sleeping workers": "thread_pool.run(code()['busy'], board, 100, 4); time.sleep(0.02)",
    "by sys.exit": "thread_pool.run(code()['busy'], board, 100, 4); sys.exit(0)",
    "without workers": "thread_pool.run(code()['busy'], board, 100, 1)",
    "with a job in a handler of the end": """
        atexit.register(lambda: thread_pool.run(code()['busy'], board, 100, 4))
        thread_pool.run(code()['busy'], board, 100, 2)
    """,
    "with another thread's job going on": """
        def forever():
            while True:
                thread_pool.run(code()['busy'], board, 100, 3)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.1)
    """,
    "with a job in a finaliser": """
        class Late:
            def __del__(self, run=thread_pool.run, busy=code()['busy']):
                run(busy, board, 100, 4)
        late = Late()
        thread_pool.run(code()['busy'], board, 100, 2)
    """,
    "without Python's end": "thread_pool.run(code()['busy'], board, 100, 4); sys.stdout.flush(); os._exit(0)",
}


@pytest.mark.parametrize("way", EXITS)
def test_the_process_ends(way: str, slow: bool) -> None:
    for _ in range(10 if slow else 2):
        ran = in_a_process(EXITS[way])
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@posix
def test_ctrl_c_during_a_job_is_raised_after_it() -> None:
    ran = in_a_process("""
        busy = code(100_000_000)['busy']
        def ctrl_c():
            while not any(words[1:9]):
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
        waiting = threading.Thread(target=ctrl_c)
        waiting.start()
        try:
            thread_pool.run(busy, board, 8, 2)
            waiting.join()
        except KeyboardInterrupt:
            print('interrupted', list(words[1:9]))
        thread_pool.run(code()['mark'], board, 8, 2)
        print('again', list(words[1:9]))
    """)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "interrupted [1, 1, 1, 1, 1, 1, 1, 1]",
        "again [2, 2, 2, 2, 2, 2, 2, 2]",
    ]


@posix
def test_signals_go_to_the_callers_threads() -> None:
    """Workers block them, so that a handler in Python runs soon and never waits for a worker."""
    ran = in_a_process("""
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread().name))
        thread_pool.run(code()['busy'], board, 100, 4)
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGUSR1)
        print(len(seen), set(seen))
        worker = next(t for t in threading.enumerate() if t.name == 'convmat-1')
        with open(f'/proc/self/task/{worker.native_id}/status') as file:
            blocked = next(int(line.split()[1], 16) for line in file if line.startswith('SigBlk'))
        print(bool(blocked >> (signal.SIGUSR1 - 1) & 1), bool(blocked >> (signal.SIGSEGV - 1) & 1))
    """)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["100 {'MainThread'}", "True False"]


def test_importing_the_pool_starts_nothing() -> None:
    ran = in_a_process("print(threading.active_count(), 'llvmlite' in sys.modules)")
    assert ran.stdout.split() == ["1", "False"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="affinity is Linux's")
def test_workers_may_run_where_the_process_may() -> None:
    """A caller keeps a worker it wakes away from its own CPU; awake, the worker may run anywhere again."""
    ran = in_a_process("""
        allowed = os.sched_getaffinity(0)
        busy = code()['busy']
        for _ in range(20):
            time.sleep(0.003)
            thread_pool.run(busy, board, 100, 3)
        deadline = time.monotonic() + 20
        workers = [t.native_id for t in threading.enumerate() if t.name.startswith('convmat-')]
        while time.monotonic() < deadline:
            # Only a worker that is still on its way may be elsewhere.
            thread_pool.run(busy, board, 100, 3)
            if all(os.sched_getaffinity(w) == allowed for w in workers):
                print('anywhere', len(workers))
                break
    """)
    assert (ran.stdout, ran.stderr) == ("anywhere 2\n", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="affinity is Linux's")
def test_workers_stay_where_they_are_put_from_outside() -> None:
    """As `taskset --all-tasks --pid` does it, while they sleep; runs and moves follow."""
    ran = in_a_process("""
        def state(worker):
            with open(f'/proc/self/task/{worker}/stat') as file:
                return file.read().rpartition(') ')[2][0]

        busy, allowed = code()['busy'], os.sched_getaffinity(0)
        thread_pool.run(busy, board, 100, 3)
        workers = [t.native_id for t in threading.enumerate() if t.name.startswith('convmat-')]
        for wanted in ({max(allowed)}, allowed, {min(allowed)}):
            # A worker that is just putting back its CPUs would put them over the wanted ones.
            deadline = time.monotonic() + 20
            while any(state(w) != 'S' for w in workers) and time.monotonic() < deadline:
                time.sleep(0.001)
            for worker in workers:
                os.sched_setaffinity(worker, wanted)
            for _ in range(10):
                time.sleep(0.003)
                thread_pool.run(busy, board, 100, 3)
            deadline = time.monotonic() + 20
            while any(os.sched_getaffinity(w) != wanted for w in workers) and time.monotonic() < deadline:
                time.sleep(0.003)  # only a worker that is still on its way may be elsewhere
                thread_pool.run(busy, board, 100, 3)
            print(all(os.sched_getaffinity(w) == wanted for w in workers))
    """)
    assert (ran.stdout, ran.stderr) == ("True\nTrue\nTrue\n", "")
