"""The pool's compiled half: how a job is published, its tasks are taken, and its workers spin and sleep.

    state   ticket = (limit of threads << 48) | tasks left         the one word that everybody watches
            done, waiter     tasks finished; whether the caller sleeps until they all are
            lock             held by the caller whose job it is
            fn, args, tasks  the job; stands still until every task taken from the ticket is reported done
            mode             how its caller computes with floats
            back             how many of its last tasks workers have been given
            asleep[id]       1 while worker `id` sleeps on it; beside it, its thread and the CPUs it may use

Taking a task is a compare-and-swap of the ticket to ticket - 1. A worker may come late, with a ticket read
long ago: if the swap succeeds, the ticket stood there now, so there is an unfinished job and this is one of
its tasks, whichever job it is. That is why workers are not counted in and out.

Which task is settled after that: the caller's are the first ones, in order, the workers' the last ones, backwards. Of
two threads each then finds in its own cache what it wrote there in the call before; and no task is given twice, since
no more are taken than there are.

Nobody misses anybody: who wants to sleep first says so and then looks at the ticket; a caller first writes
the ticket and then looks who sleeps; all four are sequentially consistent. So it is for the caller's sleep.

A scheduler may put a woken worker in the queue of the very CPU its caller is busy on, for milliseconds. So the
caller first takes that CPU from the sleeper's set, and the sleeper, once awake elsewhere, puts back the set that the
caller found. Both ask the system: a set that is neither was given from outside meanwhile, and stays. (One that comes in
the microsecond between question and answer is lost: no system compares and swaps sets of CPUs.)

A worker does a task in its caller's mode of floats (rounding, whether denormals count as zero), so that no bit depends
on who does it.
"""

from __future__ import annotations

from convmat.engine.job import HEADER
from convmat.engine.runtime.thread_pool_worker import WORKER_IR
from convmat.errors import EngineError

MOST_THREADS = 1024

# The state's fields, in bytes, each group on cache lines of its own (pairs of lines: prefetchers fetch two).
DONE, WAITER, LOCK, STOP = 128, 132, 256, 384
FN, ARGS, TASKS, MODE, BACK = 512, 520, 528, 536, 576
SYSCALL, FUTEX, WORKERS, CORES, TICKS, SPIN, GETCPU, AFFINITY = 640, 648, 656, 664, 672, 680, 688, 696
ELSEWHERE = 768
ASLEEP, ASLEEP_STRIDE = 1024, 512
STATE_BYTES = ASLEEP + ASLEEP_STRIDE * MOST_THREADS
# Beside a worker's `asleep`: its thread's number, whether a caller has moved it, and sets of CPUs, one bit each: which
# it had, which a caller gave it, and room to ask which it has.
THREAD, MOVED, CPUS, GIVEN, NOW, CPUS_BYTES = 8, 16, 128, 256, 384, 128


# Linux's numbers for futex and sched_setaffinity; sched_getaffinity follows.
FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98}
AFFINITY_NUMBER = {"x86_64": 203, "aarch64": 122}
# How a processor says "I am waiting", and how it tells the time.
_PAUSE = {"x86_64": "call void @llvm.x86.sse2.pause()", "aarch64": "call void @llvm.aarch64.hint(i32 1)"}
_PAUSE_DECLARATION = {
    "x86_64": "declare void @llvm.x86.sse2.pause()",
    "aarch64": "declare void @llvm.aarch64.hint(i32 immarg)",
}
# The register that says how floats are computed with (MXCSR, FPCR), without its flags of what has happened; and
# the bits of it by which denormals count as zero: FTZ and DAZ, FZ.
_READ_MODE = {
    "x86_64": """\
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %low = load i32, ptr %at
  %all = zext i32 %low to i64
  %mode = and i64 %all, -64""",
    "aarch64": "  %mode = call i64 @llvm.aarch64.get.fpcr()",
}
_WRITE_MODE = {
    "x86_64": """\
  %at = alloca i32
  %low = trunc i64 %mode to i32
  store i32 %low, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)""",
    "aarch64": "  call void @llvm.aarch64.set.fpcr(i64 %mode)",
}
_MODE_DECLARATIONS = {
    "x86_64": "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
    "aarch64": "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
}
_FLUSH = {"x86_64": 0x8040, "aarch64": 1 << 24}
# The cycle counter of x86-64 runs at a constant rate; AArch64's may not be read by programs, its timer may.
_CLOCK = {"x86_64": "llvm.readcyclecounter", "aarch64": "llvm.readsteadycounter"}


def pool_ir(arch: str) -> str:
    """The module as LLVM IR: `run`, `launch`, `launch_all`, `worker`, `stop`, `clock`, `nothing` (an empty task),
    `in_turn` (a task that does jobs), `flush`, `mode` and `set_mode`.

    >>> "cmpxchg" in pool_ir("x86_64")
    True

    Raises: EngineError for a processor it is not written for.
    """
    if arch not in _PAUSE:
        raise EngineError(
            f"pool: threads are not written for {arch}\n"
            f"  known: {', '.join(_PAUSE)}\n"
            "  the blas engine runs everywhere: engine='blas'"
        )
    values = {
        "PAUSE": _PAUSE[arch], "PAUSE_DECLARATION": _PAUSE_DECLARATION[arch], "CLOCK": _CLOCK[arch],
        "MODES": mode_ir(arch), "MODE": MODE,
        "DONE": DONE, "WAITER": WAITER, "LOCK": LOCK, "STOP": STOP, "FN": FN, "ARGS": ARGS, "TASKS": TASKS,
        "BACK": BACK, "SYSCALL": SYSCALL, "FUTEX": FUTEX, "WORKERS": WORKERS, "CORES": CORES, "TICKS": TICKS,
        "SPIN": SPIN, "GETCPU": GETCPU, "AFFINITY": AFFINITY, "ELSEWHERE": ELSEWHERE, "THREAD": THREAD,
        "CPUS_BYTES": CPUS_BYTES, "CPUS": CPUS, "MOVED": MOVED, "GIVEN": GIVEN, "NOW": NOW,
        "ASLEEP_STRIDE": ASLEEP_STRIDE, "ASLEEP": ASLEEP, "HEADER": HEADER,
    }  # fmt: skip
    text = _IR.replace("$WORKER$", WORKER_IR)
    for name, value in values.items():
        text = text.replace(f"${name}$", str(value))
    return text


def mode_ir(arch: str) -> str:
    """Functions `mode`, `set_mode` and `flush`: how the calling thread computes with floats."""
    text = _MODES.replace("$MODE_DECLARATIONS$", _MODE_DECLARATIONS[arch]).replace(
        "$FLUSH$", str(_FLUSH[arch])
    )
    return text.replace("$READ_MODE$", _READ_MODE[arch]).replace("$WRITE_MODE$", _WRITE_MODE[arch])


_MODES = """\
$MODE_DECLARATIONS$

; How this thread computes with floats.
define i64 @mode() {
$READ_MODE$
  ret i64 %mode
}

define void @set_mode(i64 %mode) {
$WRITE_MODE$
  ret void
}

; Let denormals count as zero in this thread; returns its mode before.
define i64 @flush() {
  %before = call i64 @mode()
  %after = or i64 %before, $FLUSH$
  call void @set_mode(i64 %after)
  ret i64 %before
}
"""

_IR = """\
; The ticket: bits 48.. hold the limit of threads, bits 0..47 the tasks left.
$PAUSE_DECLARATION$
$MODES$
declare i64 @$CLOCK$()

define i64 @clock() {
  %now = call i64 @$CLOCK$()
  ret i64 %now
}

define void @nothing(ptr %args, i64 %index, i64 %thread) {
  ret void
}

$WORKER$; Every task on the calling thread.
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
  %at.mode = getelementptr i8, ptr %s, i64 $MODE$
  %mode = call i64 @mode()
  store i64 %mode, ptr %at.mode
  %at.back = getelementptr i8, ptr %s, i64 $BACK$
  store atomic i64 0, ptr %at.back monotonic, align 8
  %at.done = getelementptr i8, ptr %s, i64 $DONE$
  store atomic i32 0, ptr %at.done monotonic, align 4
  %at.waiter = getelementptr i8, ptr %s, i64 $WAITER$
  store atomic i32 0, ptr %at.waiter monotonic, align 4
  ; More threads than cores: a spinning worker would keep one that has work to do from its core.
  %at.cores = getelementptr i8, ptr %s, i64 $CORES$
  %cores = load i64, ptr %at.cores
  %at.ticks = getelementptr i8, ptr %s, i64 $TICKS$
  %ticks = load i64, ptr %at.ticks
  %crowded = icmp ugt i64 %threads, %cores
  %patience = select i1 %crowded, i64 0, i64 %ticks
  %at.spin = getelementptr i8, ptr %s, i64 $SPIN$
  %was = load atomic i64, ptr %at.spin monotonic, align 8
  %same = icmp eq i64 %was, %patience
  br i1 %same, label %write, label %change
change:
  store atomic i64 %patience, ptr %at.spin monotonic, align 8
  br label %write
write:
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
  %id = phi i64 [ 1, %write ], [ %id.next, %awake ]
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
  call void @elsewhere(ptr %s, ptr %bed)
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

; The same for a job that is one block of memory: fn, tasks, threads, a spare word, then what fn is given.
define void @launch(ptr %s, ptr %block) {
  %fn = load ptr, ptr %block
  %at.tasks = getelementptr i8, ptr %block, i64 8
  %tasks = load i64, ptr %at.tasks
  %at.threads = getelementptr i8, ptr %block, i64 16
  %threads = load i64, ptr %at.threads
  %args = getelementptr i8, ptr %block, i64 $HEADER$
  call void @run(ptr %s, ptr %fn, ptr %args, i64 %tasks, i64 %threads)
  ret void
}

; One job after the other: the addresses of their blocks.
define void @launch_all(ptr %s, ptr %blocks, i64 %count) {
entry:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %out, label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %at = getelementptr ptr, ptr %blocks, i64 %i
  %block = load ptr, ptr %at
  call void @launch(ptr %s, ptr %block)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %each, label %out
out:
  ret void
}

; A task of a job that holds others: those of its row, one after the other, every task of each on this thread. args has
; two words for each row: how many bytes from args its first job lies, and how many follow each other from there. The
; spare word of a job that lies so says how many bytes it takes.
define void @in_turn(ptr %args, i64 %index, i64 %thread) {
entry:
  %twice = mul i64 %index, 2
  %at.offset = getelementptr i64, ptr %args, i64 %twice
  %offset = load i64, ptr %at.offset
  %at.count = getelementptr i64, ptr %at.offset, i64 1
  %count = load i64, ptr %at.count
  %first = getelementptr i8, ptr %args, i64 %offset
  %none = icmp eq i64 %count, 0
  br i1 %none, label %out, label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %job = phi ptr [ %first, %entry ], [ %behind, %each ]
  %fn = load ptr, ptr %job
  %at.tasks = getelementptr i8, ptr %job, i64 8
  %tasks = load i64, ptr %at.tasks
  %own = getelementptr i8, ptr %job, i64 $HEADER$
  call void @alone(ptr %fn, ptr %own, i64 %tasks)
  %at.size = getelementptr i8, ptr %job, i64 24
  %size = load i64, ptr %at.size
  %behind = getelementptr i8, ptr %job, i64 %size
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %each, label %out
out:
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
