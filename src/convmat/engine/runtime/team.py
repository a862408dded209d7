"""Jobs on another runtime's threads: those of an OpenMP that the process has already.

Two pools of threads on the same cores wait for each other: each lets its workers spin for a while when a job is done,
on the cores that the other's next job wants. Inside PyTorch, whose elementwise work lies between our products, that
costs more than the products. So there its own OpenMP is asked for the threads: `GOMP_parallel(share, job, n, 0)`, which
calls `share(job)` in each of n threads, and they take the tasks from one another.

    job    fn, args, tasks; taken, back, threads come so far: three counts; the caller's mode of floats
    the thread that came first takes tasks from the front, the others from the back: each finds what it wrote before
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from convmat.engine.cpu import host
from convmat.engine.job import HEADER
from convmat.engine.runtime import jit_cache
from convmat.engine.runtime.thread_pool_ir import mode_ir

WORDS = 7

_IR = """\
define void @share(ptr %job) {
entry:
  %at.args = getelementptr i64, ptr %job, i64 1
  %at.tasks = getelementptr i64, ptr %job, i64 2
  %at.taken = getelementptr i64, ptr %job, i64 3
  %at.back = getelementptr i64, ptr %job, i64 4
  %at.come = getelementptr i64, ptr %job, i64 5
  %fn = load ptr, ptr %job
  %args = load ptr, ptr %at.args
  %tasks = load i64, ptr %at.tasks
  %at.mode = getelementptr i64, ptr %job, i64 6
  %mode = load i64, ptr %at.mode
  %own = call i64 @mode()
  call void @set_mode(i64 %mode)
  %thread = atomicrmw add ptr %at.come, i64 1 monotonic
  %first = icmp eq i64 %thread, 0
  %last = sub i64 %tasks, 1
  br label %next
next:
  %front = phi i64 [ 0, %entry ], [ %on, %do ]
  %taken = atomicrmw add ptr %at.taken, i64 1 monotonic
  %left = icmp ult i64 %taken, %tasks
  br i1 %left, label %which, label %out
which:
  br i1 %first, label %do, label %behind
behind:
  %back = atomicrmw add ptr %at.back, i64 1 monotonic
  %from.last = sub i64 %last, %back
  br label %do
do:
  %index = phi i64 [ %front, %which ], [ %from.last, %behind ]
  %on = add i64 %front, 1
  call void %fn(ptr %args, i64 %index, i64 %thread)
  br label %next
out:
  call void @set_mode(i64 %own)
  ret void
}
"""


class Team:
    """The threads of an OpenMP, by its shared library. Raises OSError where that cannot be loaded, or is another's.

    A forked child must not use it: the threads are the parent's.
    """

    def __init__(self, library: Path) -> None:
        found = ctypes.CDLL(str(library))
        if not hasattr(found, "GOMP_parallel"):
            raise OSError(f"{library} has no GOMP_parallel")
        self._parallel = found.GOMP_parallel
        self._parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self._parallel.restype = None
        cpu = host()
        self._code = jit_cache.load([mode_ir(cpu.arch) + _IR], cpu)[0]
        self._share = self._code.symbols["share"]
        self._mode = self._code.function("mode", ctypes.c_int64)

    def run(self, fn: int, args: int, tasks: int, threads: int) -> None:
        """Do `fn(args, index, thread)` for each index below `tasks`, 0 <= thread < threads, to the end."""
        job = (ctypes.c_int64 * WORDS)(fn, args, tasks, 0, 0, 0, self._mode())
        self._parallel(self._share, ctypes.addressof(job), max(1, min(tasks, threads)), 0)

    def launch(self, block: int) -> None:
        """The same for a job that is one block of memory, as `thread_pool.launch` has it."""
        fn, tasks, threads = (ctypes.c_int64.from_address(block + at).value for at in (0, 8, 16))
        self.run(fn, block + HEADER, tasks, threads)


__all__ = ["Team"]
