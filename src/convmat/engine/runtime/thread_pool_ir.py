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
    `flush`, `mode` and `set_mode`.

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
    text = _IR
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
  %ignored = call i64 (i64, ...) %call(i64 %number, ptr %word, i32 %operation, i32 %value,
    ptr null, ptr null, i32 0)
  ret void
}

; Ask (%ask = 1) which CPUs `thread` (0: the one that calls) may run on, or say so (0). Negative where it is refused.
define internal i64 @settle(ptr %s, i64 %ask, i64 %thread, ptr %cpus) {
entry:
  %at.number = getelementptr i8, ptr %s, i64 $AFFINITY$
  %number = load i64, ptr %at.number
  %unknown = icmp eq i64 %number, 0
  br i1 %unknown, label %out, label %set
set:
  %at.call = getelementptr i8, ptr %s, i64 $SYSCALL$
  %call = load ptr, ptr %at.call
  %which = add i64 %number, %ask
  %said = call i64 (i64, ...) %call(i64 %which, i64 %thread, i64 $CPUS_BYTES$, ptr %cpus)
  ret i64 %said
out:
  ret i64 -1
}

; Copy a set of CPUs.
define internal void @copy(ptr %to, ptr %from) {
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %at.from = getelementptr i64, ptr %from, i64 %i
  %at.to = getelementptr i64, ptr %to, i64 %i
  %word = load i64, ptr %at.from
  store i64 %word, ptr %at.to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %each, label %out
out:
  ret void
}

; Whether two sets of CPUs are the same.
define internal i1 @same(ptr %a, ptr %b) {
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %so.far = phi i64 [ 0, %entry ], [ %differ, %each ]
  %at.a = getelementptr i64, ptr %a, i64 %i
  %at.b = getelementptr i64, ptr %b, i64 %i
  %in.a = load i64, ptr %at.a
  %in.b = load i64, ptr %at.b
  %bits = xor i64 %in.a, %in.b
  %differ = or i64 %so.far, %bits
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %each, label %out
out:
  %equal = icmp eq i64 %differ, 0
  ret i1 %equal
}

; Put back the CPUs that the thread of %bed, which calls, had before a caller moved it; not if others were given since.
define internal void @back(ptr %s, ptr %bed) {
entry:
  %at.moved = getelementptr i8, ptr %bed, i64 $MOVED$
  %was = atomicrmw xchg ptr %at.moved, i32 0 seq_cst, align 4
  %stayed = icmp eq i32 %was, 0
  br i1 %stayed, label %out, label %ask
ask:
  %now = getelementptr i8, ptr %bed, i64 $NOW$
  %given = getelementptr i8, ptr %bed, i64 $GIVEN$
  %said = call i64 @settle(ptr %s, i64 1, i64 0, ptr %now)
  %ours = call i1 @same(ptr %now, ptr %given)
  br i1 %ours, label %set, label %out
set:
  %cpus = getelementptr i8, ptr %bed, i64 $CPUS$
  %done = call i64 @settle(ptr %s, i64 0, i64 0, ptr %cpus)
  br label %out
out:
  ret void
}

; Let the sleeper in %bed run on all of its CPUs but the one we are on. (With one CPU that is none: no change.)
define internal void @elsewhere(ptr %s, ptr %bed) {
entry:
  %at.getcpu = getelementptr i8, ptr %s, i64 $GETCPU$
  %getcpu = load ptr, ptr %at.getcpu
  %unknown = icmp eq ptr %getcpu, null
  br i1 %unknown, label %out, label %ask
ask:
  %at.thread = getelementptr i8, ptr %bed, i64 $THREAD$
  %thread = load i64, ptr %at.thread
  %now = getelementptr i8, ptr %s, i64 $ELSEWHERE$
  %from = getelementptr i8, ptr %bed, i64 $CPUS$
  %to = getelementptr i8, ptr %bed, i64 $GIVEN$
  %at.moved = getelementptr i8, ptr %bed, i64 $MOVED$
  %said = call i64 @settle(ptr %s, i64 1, i64 %thread, ptr %now)
  %told = icmp sgt i64 %said, 0
  br i1 %told, label %compare, label %out
compare:
  ; It may still have what a caller gave it: the set it had before is then the one to put back.
  %was = load atomic i32, ptr %at.moved seq_cst, align 4
  %moved = icmp ne i32 %was, 0
  %given = call i1 @same(ptr %now, ptr %to)
  %known = and i1 %moved, %given
  br i1 %known, label %where, label %note
note:
  call void @copy(ptr %from, ptr %now)
  br label %where
where:
  %cpu32 = call i32 %getcpu()
  %cpu = sext i32 %cpu32 to i64
  %ours = ashr i64 %cpu, 6
  %bit.at = and i64 %cpu, 63
  %bit = shl i64 1, %bit.at
  %keep = xor i64 %bit, -1
  br label %copy
copy:
  %i = phi i64 [ 0, %where ], [ %next, %copy ]
  %at.from = getelementptr i64, ptr %from, i64 %i
  %at.to = getelementptr i64, ptr %to, i64 %i
  %word = load i64, ptr %at.from
  %less = and i64 %word, %keep
  %here = icmp eq i64 %i, %ours
  %new = select i1 %here, i64 %less, i64 %word
  store i64 %new, ptr %at.to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %copy, label %set
set:
  store atomic i32 1, ptr %at.moved seq_cst, align 4
  %done = call i64 @settle(ptr %s, i64 0, i64 %thread, ptr %to)
  br label %out
out:
  ret void
}

; Take tasks and do them until none is left for %id; returns how many were done.
define internal i64 @drain(ptr %s, i64 %id) {
entry:
  br label %look
look:
  %count = phi i64 [ 0, %entry ], [ %count, %take ], [ %more, %do ]
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
  %more = add i64 %count, 1
  %caller = icmp eq i64 %id, 0
  br i1 %caller, label %do, label %behind
behind:
  %at.back = getelementptr i8, ptr %s, i64 $BACK$
  %given = atomicrmw add ptr %at.back, i64 1 monotonic, align 8
  %above = sub i64 %tasks, %given
  %last = add i64 %above, -1
  %at.mode = getelementptr i8, ptr %s, i64 $MODE$
  %mode = load i64, ptr %at.mode
  %own = call i64 @mode()
  %same = icmp eq i64 %own, %mode
  br i1 %same, label %do, label %adopt
adopt:
  call void @set_mode(i64 %mode)
  br label %do
do:
  ; Task 0 was the caller's before it came here.
  %index = phi i64 [ %more, %work ], [ %last, %behind ], [ %last, %adopt ]
  call void %fn(ptr %args, i64 %index, i64 %id)
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
  br i1 %mine, label %risen, label %sleep
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
  br i1 %woken, label %risen, label %sleep
risen:
  call void @back(ptr %s, ptr %bed)
  br label %awake
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
